"""The window that asks for parameters: typed, bounded, with their defaults. Nothing is drafted before all are right."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, Static

from agent.wire.actions import ParamSpec
from cockpit.tui.acting.parameters import checked, fields, hint
from cockpit.tui.acting.screens.parts import ActField, Part, Window, keys_line
from cockpit.tui.format import plain
from cockpit.tui.lines import Line, wrapped
from cockpit.tui.theme import Ink
from cockpit.tui.view import View


class Parameters(Window[dict[str, str] | None]):
    """Returns the parameters to draft with, or None."""

    BINDINGS: ClassVar = [
        Binding("tab,down", "app.focus_next", "next field", show=False, id="act.field_next", priority=True),
        Binding(
            "shift+tab,up", "app.focus_previous", "field before", show=False, id="act.field_previous", priority=True
        ),
    ]
    widest = 84

    def __init__(self, view: View, name: str, params: Sequence[ParamSpec], values: Mapping[str, str]) -> None:
        super().__init__(view)
        self.runbook = name
        self.params = tuple(params)
        self._fields = fields(self.params, values)
        self.inputs = [ActField(field) for field in self._fields]
        self.wrong = ""
        self.head = Part(view, self._head, self.inside, id="act-head")
        self.foot = Part(view, self._foot, self.inside, id="act-foot")

    def compose(self) -> ComposeResult:
        """One line a parameter."""
        with Vertical(classes="window"):
            yield self.head
            for field, box in zip(self._fields, self.inputs, strict=True):
                with Horizontal():
                    yield Static(field.name[:10], markup=False)
                    yield box
            yield self.foot

    def on_mount(self) -> None:
        """Into the first field."""
        self.head.add_class("gap")
        self.foot.add_class("rise")
        self.draw()
        if self.inputs:
            self.inputs[0].focus()

    def draw(self) -> None:
        """All lines anew."""
        self.query_one(".window").styles.width = self.outer
        for part in (self.head, self.foot):
            part.fit()

    def _head(self, width: int) -> list[Line]:
        return [(("PARAMETERS  ", Ink.HEADING), (self.runbook, Ink.STRONG))]

    def _foot(self, width: int) -> list[Line]:
        at = next((number for number, box in enumerate(self.inputs) if box.has_focus), 0)
        lines: list[Line] = []
        if self.params:
            spec = self.params[at]
            about = f"{plain(spec.help)}: {hint(spec)}" if spec.help else hint(spec)
            lines = [((part, Ink.MUTED),) for part in wrapped(about, width, 3)]
        if self.wrong:
            lines = [((part, Ink.WARNING),) for part in wrapped(f"▲ {self.wrong}", width, 3)]
        return [*lines, keys_line([("enter", "shows the plan"), ("tab", "next"), ("esc", "leaves")])]

    def on_descendant_focus(self) -> None:
        """What the field wants is told below."""
        self.foot.fit()

    @on(Input.Changed)
    def typed(self, event: Input.Changed) -> None:
        """A sentence about what stood there before is no longer true."""
        event.stop()
        self.wrong = ""
        self.foot.fit()

    @on(Input.Submitted)
    def submitted(self, event: Input.Submitted) -> None:
        """All of them, if all are right."""
        event.stop()
        values = {spec.name: box.value for spec, box in zip(self.params, self.inputs, strict=True)}
        found, self.wrong = checked(self.params, values)
        if self.wrong:
            self.foot.fit()
        else:
            self.dismiss(found)
