"""A login asks its human. Rule: who asks and for what are our words, the server's stand behind a bar; keys meant for
the screen below are never taken for an answer."""

import asyncio
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from agent.wire.signals import Severity
from cockpit.link.asking.prompts import ANSWER_CHARS, TRIES, WORDS, PromptKind
from cockpit.tui.format import plain
from cockpit.tui.lines import Line, spread, wrapped
from cockpit.tui.theme import GLYPH, Ink
from cockpit.tui.view import View
from cockpit.tui.widgets.filter_bar import EDITING
from cockpit.tui.widgets.line_view import LineView

if TYPE_CHECKING:
    from cockpit.link.asking.prompts import PromptRequest

ARM_S = 0.5  # keys that were on their way to the screen below
WIDTH = 68
_INSIDE = WIDTH - 4


class AnswerInput(Input, inherit_bindings=False):
    """An input whose text is not shown, unless the server says it may be."""

    BINDINGS: ClassVar = [*EDITING, Binding("enter", "submit", "send", id="prompt.send")]


class Words(LineView, can_focus=False):
    """What is asked, by whom, and who waits."""

    def __init__(self, view: View, request: "PromptRequest") -> None:
        super().__init__(view, id="words")
        self.request = request
        self._since = view.hands()
        self.styles.height = self.total()

    def total(self) -> int:
        return len(self._lines())

    def build(self, first: int, last: int) -> list[Line]:
        return self._lines()[first:last]

    def _lines(self) -> list[Line]:
        request = self.request
        since = f"{max(0.0, self.view.hands() - self._since):.0f} s"
        title: Line = ((request.kind.value.upper(), Ink.HEADING),)
        lines: list[Line] = [spread(title, ((since, Ink.FAINT),), _INSIDE)]
        asks = f"{plain(request.hop)} asks for {WORDS[request.kind]}"
        lines += [((text, Ink.STRONG),) for text in wrapped(asks, _INSIDE, 3)]
        lines += [((text, Ink.ACCENT),) for text in wrapped(plain(request.subject), _INSIDE, 3)]
        if request.attempt > 1:
            again = f"{GLYPH[Severity.WARNING]} that was not it; attempt {request.attempt} of {TRIES}"
            lines.append(((again, Ink.WARNING),))
        lines.append(((self._waiting(), Ink.MUTED),))
        if request.said:
            lines += [(), (("the server says", Ink.FAINT),)]
            said = [text for line in request.said for text in wrapped(plain(line), _INSIDE - 2, 3)]
            lines += [(("│ ", Ink.FAINT), (text, Ink.TEXT)) for text in said[:8]]
        return lines

    def _waiting(self) -> str:
        hosts = self.request.hosts
        words = "1 host waits for it" if hosts == 1 else f"{hosts:,} hosts wait for it"
        more = self.request.more()
        return f"{words}; {more} more {'question' if more == 1 else 'questions'} after it" if more else words


class PromptScreen(ModalScreen[None], inherit_bindings=False):
    """One question; `answer` gets what was typed, or None."""

    BINDINGS: ClassVar = [
        Binding("escape", "decline", "decline", id="prompt.decline"),
        Binding("ctrl+d", "decline_all", "decline all", id="prompt.decline_all"),
        Binding("ctrl+c", "app.quit_now", "quit", show=False, id="prompt.quit"),
    ]
    AUTO_FOCUS = ""
    DEFAULT_CSS = f"""
    PromptScreen {{
        align: center bottom;
        & > Vertical {{
            width: {WIDTH}; height: auto; max-height: 100%; padding: 0 1; margin: 0 0 1 0;
            border: round $accent; background: $background;
        }}
        & #words {{ height: auto; }}
        & AnswerInput {{ margin: 1 0 0 0; background: $panel; }}
        & #how {{ height: 1; margin: 1 0 0 0; }}
    }}
    """
    see_through = True  # the screen below is painted on

    def __init__(self, view: View, request: "PromptRequest", answer: "asyncio.Future[str | None]") -> None:
        super().__init__()
        self.request = request
        self.declined_all = False
        self._answer = answer
        self._armed = False
        self.words = Words(view, request)
        self.how = How(view, request)
        self.input = AnswerInput(
            password=not request.echo,
            placeholder="type it here" if request.echo else "type it here; it is not shown",
            compact=True,
            select_on_focus=False,
            max_length=ANSWER_CHARS,
            id="answer",
        )
        self.input.disabled = True
        self.styles.background = "transparent"  # the colours of the screen below keep their meaning

    def compose(self) -> ComposeResult:
        """The question, room for the answer, what can be pressed."""
        with Vertical():
            yield self.words
            if self.request.kind is not PromptKind.TOUCH:
                yield self.input
            yield self.how

    def on_mount(self) -> None:
        """Take no key for an answer that was meant for the screen below."""
        self.set_timer(ARM_S, self.arm)
        self.set_interval(1.0, self.words.paint)

    def arm(self) -> None:
        """From now on keys are the answer."""
        self._armed = True
        self.input.disabled = False
        if self.input.is_mounted:
            self.input.focus()

    @on(Input.Submitted)
    def send(self, event: Input.Submitted) -> None:
        """What was typed is the answer; an empty one only where a server may want it."""
        event.stop()
        if event.value or self.request.kind is PromptKind.CODE:
            self._end(event.value)

    def action_decline(self) -> None:
        """No answer."""
        if self._armed:
            self._end(None)

    def action_decline_all(self) -> None:
        """No answer, and none to those who wait behind."""
        if self._armed:
            self.declined_all = True
            self._end(None)

    def withdraw(self) -> None:
        """The question is answered or has become pointless."""
        self.input.value = ""
        if self.is_running and self in self.app.screen_stack:
            self.dismiss()

    def _end(self, text: str | None) -> None:
        if not self._answer.done():
            self._answer.set_result(text)


class How(LineView, can_focus=False):
    """What can be pressed."""

    def __init__(self, view: View, request: "PromptRequest") -> None:
        super().__init__(view, id="how")
        self.request = request

    def total(self) -> int:
        return 1

    def build(self, first: int, last: int) -> list[Line]:
        touch = self.request.kind is PromptKind.TOUCH
        keys = [("touch", "it now")] if touch else [("enter", "sends it")]
        keys += [("esc", "declines"), *([("ctrl+d", "declines all")] if self.request.more() else [])]
        return [tuple(span for key, what in keys for span in ((key, Ink.ACCENT), (f" {what}   ", Ink.MUTED)))]
