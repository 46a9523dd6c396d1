"""Where a login's questions reach the screens: each becomes a window on top of whatever is shown, and goes with it."""

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cockpit.link.asking.prompts import PromptRequest
    from cockpit.tui.app import CockpitApp


class Asking:
    """The human at the screens. Made before them; `app` is set when they are."""

    def __init__(self) -> None:
        self.app: CockpitApp | None = None
        self._declined = 0  # questions that were declined before they came up

    async def ask(self, request: "PromptRequest") -> str | None:
        """See `cockpit.link.asking.prompts.Prompter`."""
        from cockpit.tui.screens.prompt import PromptScreen

        app = self.app
        if self._declined or app is None:
            self._declined = max(0, self._declined - 1)
            return None
        answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        screen = PromptScreen(app.view, request, answer)
        app.call_later(app.push_screen, screen)  # from the app's own task: links run in others
        try:
            given = await answer
        finally:
            app.call_later(screen.withdraw)
        if screen.declined_all:
            self._declined = request.more()
        return given
