"""The small window between a key and what it would do to a run: abort, continue, roll back, answer. Rule: a run is
changed by no key alone; what may touch the world again is confirmed as its plan was."""

from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, Static

from cockpit.runbook.records import RunView
from cockpit.tui.acting import words
from cockpit.tui.acting.confirming import dangerous
from cockpit.tui.acting.run_lines import title_of
from cockpit.tui.acting.screens.parts import ActField, Key, Part, Window, keys_line
from cockpit.tui.format import plain
from cockpit.tui.lines import BLANK, Line, wrapped
from cockpit.tui.speech import Field
from cockpit.tui.theme import Ink
from cockpit.tui.view import View

YES, NO = "yes", "no"


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be decided: `word` as in `RunView.may`, what it means, the `phrase` to be typed ("" is a key), and
    whether `n` is an answer of its own."""

    word: str
    title: str
    says: str
    phrase: str = ""
    both: bool = False
    loud: bool = False


def decision(run: RunView, word: str, asks: str = "") -> Decision:
    """What a key of the run's page would do, in words."""
    loud = dangerous(run.plan)
    match word:
        case "abort":
            says = (
                "No further step begins; the one under way ends as it ends. What is done stays done: u rolls it back."
            )
            return Decision(word, "ABORT", says)
        case "continue":
            says = "It goes on where it stands; a step that failed is tried again, one that is done is not."
            if words.under_way(run) and not run.ours:
                says = f"Another console leads it: this takes it over. {says}"
            return Decision(word, "CONTINUE", says, plain(run.plan.confirm), loud=loud)
        case "undo":
            says = "What was done and can be taken back is taken back, last first."
            return Decision(word, "ROLL BACK", says, "yes" if run.plan.confirm else "")
        case _:
            return Decision("answer", "THE RUN ASKS", plain(asks), both=True, loud=loud)


class Deciding(Window[str | None]):
    """Returns YES, NO or None."""

    BINDINGS: ClassVar = [
        Binding("y", "key('yes')", "yes", show=False, id="decide.yes"),
        Binding("n", "key('no')", "no", show=False, id="decide.no"),
    ]
    widest = 84

    def __init__(self, view: View, run: RunView, wanted: Decision) -> None:
        super().__init__(view)
        self.run = run
        self.wanted = wanted
        self.wrong = ""
        self.phrase = ActField(Field("confirm", f"type  {wanted.phrase}"))
        self.head = Part(view, self._head, self.inside, id="act-head")
        self.foot = Part(view, self._foot, self.inside, id="act-foot")

    def compose(self) -> ComposeResult:
        """What it means, and the word."""
        with Vertical(classes="window -danger" if self.wanted.loud else "window -medium"):
            yield self.head
            if self.wanted.phrase:
                with Horizontal():
                    yield Static("confirm", markup=False)
                    yield self.phrase
            yield self.foot

    def on_mount(self) -> None:
        """Into the field, where there is one."""
        self.head.add_class("gap")
        self.draw()
        if self.wanted.phrase:
            self.phrase.focus()

    def draw(self) -> None:
        """All lines anew."""
        self.query_one(".window").styles.width = self.outer
        for part in (self.head, self.foot):
            part.fit()

    def _head(self, width: int) -> list[Line]:
        lines: list[Line] = [((f"{self.wanted.title}  ", Ink.HEADING), (title_of(self.run), Ink.STRONG)), BLANK]
        return [*lines, *(((text, Ink.TEXT),) for text in wrapped(self.wanted.says, width, 6))]

    def _foot(self, width: int) -> list[Line]:
        lines: list[Line] = [((part, Ink.WARNING),) for part in wrapped(f"▲ {self.wrong}", width)] if self.wrong else []
        keys: list[Key] = [("enter", "once it is typed")] if self.wanted.phrase else [("y", "yes")]
        if self.wanted.both:
            keys.append(("n", "no"))
        return [*lines, keys_line([*keys, ("esc", "leaves; nothing changes")])]

    def action_key(self, word: str) -> None:
        """A key, where one is enough."""
        if self.wanted.phrase or not self.armed or (word == NO and not self.wanted.both):
            return
        self.dismiss(word)

    @on(Input.Changed)
    def typed(self, event: Input.Changed) -> None:
        """A sentence about what stood there before is no longer true."""
        event.stop()
        if self.wrong:
            self.wrong = ""
            self.draw()

    @on(Input.Submitted)
    def submitted(self, event: Input.Submitted) -> None:
        """The word was typed, or another."""
        event.stop()
        if " ".join(self.phrase.value.split()) == self.wanted.phrase:
            self.dismiss(YES)
        else:
            self.wrong = f"type {self.wanted.phrase} to confirm"
            self.draw()
