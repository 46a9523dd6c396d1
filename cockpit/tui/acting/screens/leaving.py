"""The question on the way out while runs are led from here: stay, leave them to their leases, or abort them. Rule: no
answer is taken for granted; leaving says what becomes of what stands."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical

from cockpit.errors import CockpitError
from cockpit.tui.acting.run_lines import brief, title_of
from cockpit.tui.acting.screens.parts import Part, Window, keys_line
from cockpit.tui.acting.standing import leaving_says, ours
from cockpit.tui.format import plain, plural
from cockpit.tui.lines import BLANK, Line, wrapped
from cockpit.tui.theme import Ink
from cockpit.tui.view import View

_SHOWN = 4
_LOOK_S = 0.1


class Leaving(Window[None]):
    """Leaves the app, or stays."""

    BINDINGS: ClassVar = [
        Binding("b", "abort", "abort", show=False, id="leaving.abort"),
        Binding("l", "go", "leave", show=False, id="leaving.go"),
        # A second ctrl+c is an answer: leave.
        Binding("ctrl+c", "go", "leave", show=False, id="leaving.go_now", priority=True),
    ]
    widest = 90

    def __init__(self, view: View) -> None:
        super().__init__(view)
        self.stopping = False
        self.wrong = ""
        self.head = Part(view, self._lines, self.inside, id="act-head")

    def compose(self) -> ComposeResult:
        """What is under way, and what can be said to it."""
        with Vertical(classes="window -medium"):
            yield self.head

    def on_mount(self) -> None:
        """As true as the runs are."""
        self.draw()
        self.set_interval(_LOOK_S, self._look)

    def draw(self) -> None:
        """All lines anew."""
        self.query_one(".window").styles.width = self.outer
        self.head.fit()

    def _look(self) -> None:
        if not ours(self.view):
            if self.stopping:
                self.app.exit()
            else:
                self.dismiss(None)
            return
        self.draw()

    def _lines(self, width: int) -> list[Line]:
        runs = ours(self.view)
        lines: list[Line] = [
            (("LEAVE  ", Ink.HEADING), (f"{plural(len(runs), 'run')} led from here", Ink.STRONG)),
            BLANK,
        ]
        for run in runs[:_SHOWN]:
            lines.append(((title_of(run), Ink.TEXT),))
            lines += [((f"  {part}", Ink.MUTED),) for part in wrapped(brief(run, self.view.wall), width - 2, 2)]
        lines += [((f"and {len(runs) - _SHOWN} more", Ink.FAINT),)] if len(runs) > _SHOWN else []
        lines.append(BLANK)
        for sentence in leaving_says(runs)[:_SHOWN]:
            lines += [((part, Ink.TEXT),) for part in wrapped(sentence, width, 3)]
        lines.append(BLANK)
        if self.wrong:
            lines += [((part, Ink.CRITICAL),) for part in wrapped(f"✖ {plain(self.wrong)}", width, 3)]
        if self.stopping:
            return [
                *lines,
                (("stopping after the step under way ...  ", Ink.ACCENT), *keys_line([("l", "leaves now")])),
            ]
        keys = [("esc", "stays"), ("b", "aborts, then leaves"), ("l", "leaves it to its leases")]
        return [*lines, keys_line(keys)]

    def action_abort(self) -> None:
        """Stop after the step under way, then leave."""
        hands = self.view.acting
        if hands is None or self.stopping or not self.armed:
            return
        try:
            for run in ours(self.view):
                hands.abort(run.id, self.view.author)
        except CockpitError as error:
            self.wrong = str(error)
        else:
            self.stopping = True
        self.draw()

    def action_go(self) -> None:
        """Leave at once; others may go on with it."""
        hands = self.view.acting
        if not self.armed:
            return
        for run in ours(self.view):
            if hands is not None:
                hands.leave(run.id)
        self.app.exit()
