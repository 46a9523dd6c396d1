"""The plan on the screen, and the only key that starts anything. Rule: what starts it grows with its risk and is typed
by the one who read it; a plan that is refused or older than its data has no such key."""

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, Static

from agent.wire.actions import Risk
from cockpit.errors import CockpitError
from cockpit.runtime.hands import Hands
from cockpit.tui.acting.confirming import Asked, asked, dangerous, reason_of, refusing
from cockpit.tui.acting.menu_lines import name_of
from cockpit.tui.acting.plan_lines import danger_line, head_lines, plan_lines
from cockpit.tui.acting.screens.asking import Parameters
from cockpit.tui.acting.screens.menu import Drafted, draft
from cockpit.tui.acting.screens.parts import ActField, Key, Part, Window, keys_line
from cockpit.tui.format import plain
from cockpit.tui.lines import Line, wrapped
from cockpit.tui.speech import Field
from cockpit.tui.theme import Ink
from cockpit.tui.view import View
from cockpit.tui.widgets.page import Page

_ROOMY = 30  # lines from which fields stand apart
_LEAST = 5  # lines of the plan that stay in sight


class PlanPage(Page, inherit_bindings=False):
    """The plan, to be scrolled."""

    BINDINGS: ClassVar = [
        *Page.BINDINGS,
        Binding("y", "screen.confirm_by_key", "run it", show=False, id="plan.run"),
        Binding("r", "screen.again", "ask anew", id="plan.again"),
        Binding("c", "screen.parameters", "parameters", id="plan.parameters"),
        Binding("enter", "screen.confirm", "confirm", show=False, id="plan.confirm"),
    ]


class PlanWindow(Window[str | None]):
    """Returns the id of the run that was started, or None."""

    BINDINGS: ClassVar = [
        Binding("tab", "app.focus_next", "next field", show=False, id="act.field_next", priority=True),
        Binding("shift+tab", "app.focus_previous", "field before", show=False, id="act.field_previous", priority=True),
        Binding("down", "by(1)", "down", show=False, id="plan.down", priority=True),
        Binding("up", "by(-1)", "up", show=False, id="plan.up", priority=True),
        Binding("pagedown", "page(1)", "page down", show=False, id="plan.page_down", priority=True),
        Binding("pageup", "page(-1)", "page up", show=False, id="plan.page_up", priority=True),
        Binding("ctrl+r", "again", "ask anew", show=False, id="plan.again_typing", priority=True),
    ]
    widest = 116

    def __init__(self, view: View, hands: Hands, drafted: Drafted) -> None:
        super().__init__(view)
        self.hands_of_fleet = hands
        self.drafted = drafted
        self.wrong = ""
        self._since: float | None = None  # when it was asked for anew
        self._started = False
        ask = self.ask
        self.reason = ActField(Field("reason", self._hint(ask), reason_of(drafted.plan, drafted.fault)))
        self.phrase = ActField(Field("confirm", f"type  {ask.phrase}"))
        self.head = Part(view, self._head, self.inside, id="plan-head")
        self.page = PlanPage(view, self._lines, id="plan-page")
        self.foot = Part(view, self._foot, self.inside, id="plan-foot")

    @property
    def ask(self) -> Asked:
        """What it takes to start it, now."""
        return asked(self.drafted.plan, self.wall)

    def compose(self) -> ComposeResult:
        """What, everything about it, why, the word."""
        with Vertical(classes="window"):
            yield self.head
            yield self.page
            with Horizontal(id="plan-reason"):
                yield Static("why", markup=False)
                yield self.reason
            with Horizontal(id="plan-phrase"):
                yield Static("confirm", markup=False)
                yield self.phrase
            yield self.foot

    def on_mount(self) -> None:
        """Into the reason, from where arrows scroll the plan; where a key is enough, to the plan."""
        self.head.add_class("gap")
        self.foot.add_class("rise")
        self.draw()
        self.go_home()
        self.set_interval(0.5, self.draw)

    def go_home(self) -> None:
        """Where keys go first, as the plan is now."""
        ask = self.ask
        (self.page if ask.barred or not ask.phrase else self.reason).focus()

    def on_resize(self) -> None:
        """Share the lines out anew."""
        self.draw()

    def draw(self) -> None:
        """All lines anew."""
        window = self.query_one(".window")
        plan, ask = self.drafted.plan, self.ask
        window.styles.width = self.outer
        window.set_class(plan.risk is Risk.MEDIUM, "-medium")
        window.set_class(dangerous(plan), "-danger")
        open_ = not ask.barred
        if not open_ and not self.page.has_focus:
            self.page.focus()  # the fields go: keys are for the plan
        self.query_one("#plan-reason").display = open_
        self.query_one("#plan-phrase").display = open_ and bool(ask.phrase)
        roomy = self.app.size.height >= _ROOMY
        self.page.styles.margin = (0, 0, 1 if roomy and open_ else 0, 0)
        used = self.head.fit() + self.foot.fit() + 4 + (open_ + (open_ and bool(ask.phrase))) + roomy
        wanted = len(self._lines(self.inside()))
        self.page.styles.height = max(_LEAST, min(wanted, self.app.size.height - used))
        self.page.paint()

    def _hint(self, ask: Asked) -> str:
        return "why; it goes into the audit" + ("" if ask.reason else " (may stay empty)")

    def _head(self, width: int) -> list[Line]:
        plan = self.drafted.plan
        lines = head_lines(plan, self.wall, width)
        return [danger_line(plan, width), *lines] if dangerous(plan) else lines

    def _lines(self, width: int) -> list[Line]:
        return plan_lines(self.drafted.plan, (width or self.inside()) - 1)

    def _foot(self, width: int) -> list[Line]:
        ask = self.ask
        if self._since is not None:
            waited = self.view.hands() - self._since
            return [((f"asking the agents anew, {waited:.1f} s ...", Ink.ACCENT),)]
        lines: list[Line] = []
        if self.wrong:
            lines += [((part, Ink.CRITICAL),) for part in wrapped(f"✖ {plain(self.wrong)}", width, 3)]
        if ask.barred:
            ink = Ink.CRITICAL if refusing(self.drafted.plan) else Ink.WARNING
            lines += [((part, ink),) for part in wrapped(f"▲ {ask.barred}", width, 2)]
        return [*lines, keys_line(self._keys(ask))]

    def _keys(self, ask: Asked) -> list[Key]:
        again: list[Key] = [("r", "asks anew"), *([("c", "parameters")] if self.drafted.fit.params else [])]
        leave: Key = ("esc", "leaves")
        if ask.barred:
            return [*again, leave]
        if not ask.phrase:
            return [("y", "runs it"), ("tab", "why"), *again, leave]
        if self.page.has_focus:
            return [("tab", "to say why"), *again, leave]
        if self.reason.has_focus:
            return [("tab", f"to type {ask.phrase}"), ("↑↓", "the plan"), ("ctrl+r", "asks anew"), leave]
        return [("enter", "runs it"), ("↑↓", "the plan"), ("ctrl+r", "asks anew"), leave]

    # Hands.

    def action_by(self, lines: int) -> None:
        """Scroll the plan, wherever keys go."""
        self.page.action_by(lines)

    def action_page(self, step: int) -> None:
        """Scroll by a page."""
        self.page.action_page(step)

    def on_descendant_focus(self) -> None:
        """What can be pressed depends on where keys go."""
        self.foot.fit()

    @on(Input.Changed)
    def typed(self, event: Input.Changed) -> None:
        """A sentence about what stood there before is no longer true."""
        event.stop()
        if self.wrong and event.value:  # a field that was emptied for them is nothing that hands have typed
            self.wrong = ""
            self.draw()

    @on(Input.Submitted)
    def submitted(self, event: Input.Submitted) -> None:
        """Enter in any field."""
        event.stop()
        self.action_confirm()

    def action_confirm_by_key(self) -> None:
        """`y`, where a key is enough."""
        if not self.ask.phrase:
            self._start()

    def action_confirm(self) -> None:
        """Enter: starts what was confirmed by its word; of a plan that asks for a key alone it starts nothing."""
        ask = self.ask
        if ask.barred or not ask.phrase:
            return
        if not self.phrase.has_focus and not self.phrase.value.strip():
            (self.phrase if self.reason.value.strip() or not ask.reason else self.reason).focus()
        else:
            self._start()

    def _start(self) -> None:
        ask, reason = self.ask, self.reason.value.strip()
        if self._started or self._since is not None or not (self.armed or ask.phrase):
            return
        lacks = ask.lacks(self.phrase.value if ask.phrase else "", reason)
        if lacks:
            self.wrong = lacks
            if ask.reason and not reason:
                self.reason.focus()
            self.draw()
            return
        try:
            run = self.hands_of_fleet.start(
                self.drafted.plan, author=self.view.author, reason=reason, overrides=ask.overrides
            )
        except CockpitError as error:
            self.wrong = str(error)
            self.draw()
            return
        self._started = True
        self.dismiss(run)

    def action_parameters(self) -> None:
        """Other parameters, and the plan that follows from them."""
        item = self.drafted.fit
        if item.params and self._since is None:
            self.app.push_screen(Parameters(self.view, name_of(item), item.params, self.drafted.params), self._given)

    def _given(self, params: dict[str, str] | None) -> None:
        if params is not None:
            self._ask_anew(params)

    def action_again(self) -> None:
        """The same on the data of now."""
        if self._since is None:
            self._ask_anew(self.drafted.params)

    def _ask_anew(self, params: dict[str, str]) -> None:
        self.wrong, self._since = "", self.view.hands()
        self.draw()
        self.run_worker(self._draft(params), exclusive=True, group="draft", exit_on_error=False)

    def _take(self, drafted: Drafted) -> None:
        """Another plan in place of this one: the reason stays, the word only if the plan reads the same."""
        same = drafted.plan.hash == self.drafted.plan.hash
        self.drafted = drafted
        if not same:
            self.wrong = "the plan reads otherwise now: read it before it is confirmed"
            self.phrase.value = ""
            self.page.action_edge(0)
        self.phrase.placeholder = f"type  {self.ask.phrase}"
        self._opened = self.view.hands()
        if same and (self.reason.has_focus or self.phrase.has_focus):
            return
        self.go_home()

    async def _draft(self, params: dict[str, str]) -> None:
        known = self.drafted
        try:
            plan = await draft(self.hands_of_fleet, known.fit, known.about, params)
        except CockpitError as error:
            self.wrong = str(error)
        else:
            self._take(Drafted(plan, known.fit, known.about, params, known.fault))
        finally:
            self._since = None
        self.draw()
