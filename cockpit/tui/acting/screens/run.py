"""The page of one run: each step as it stands, what it said, what can be done. Rule: leaving it leaves the run going;
what is shown comes from the hosts, so a run of another console reads the same."""

from collections.abc import Iterable
from typing import ClassVar

from textual import events
from textual.binding import Binding
from textual.widget import Widget

from cockpit.errors import CockpitError
from cockpit.fleet.saying import About
from cockpit.runbook.records import RunView
from cockpit.tui.acting import words
from cockpit.tui.acting.run_lines import asking, brief, head_lines, run_lines, title_of
from cockpit.tui.acting.run_rows import known_runs
from cockpit.tui.acting.screens.deciding import NO, Deciding, decision
from cockpit.tui.format import plain
from cockpit.tui.lines import Line, text_of, wrapped
from cockpit.tui.messages import OpenHost
from cockpit.tui.screens.place import Place
from cockpit.tui.theme import Ink
from cockpit.tui.view import View
from cockpit.tui.widgets.bars import TitleBar
from cockpit.tui.widgets.page import Page

_BARS = 2
_WIDEST = 132  # columns that an eye follows from a step to its clock


class Steps(Page, inherit_bindings=False):
    """The steps. They follow what runs until somebody scrolls; the bottom follows again."""

    BINDINGS: ClassVar = [*Page.BINDINGS]

    def __init__(self, view: View, page: "RunPage") -> None:
        super().__init__(view, page.step_lines, id="page")
        self._page = page
        self.following = True

    def paint(self) -> None:
        """Draw, then keep what runs in sight."""
        super().paint()
        at = self._page.at
        if self.following and at >= 0 and self.rows:
            self.reveal(min(self.total() - 1, at + 2))
            self.reveal(at)

    def action_by(self, lines: int) -> None:
        """Hands decide from now on."""
        self.following = False
        super().action_by(lines)

    def action_edge(self, end: int) -> None:
        """To the top or the bottom; the bottom follows again."""
        self.following = bool(end)
        super().action_edge(end)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """As keys do."""
        self.following = False


class RunPage(Place):
    """One run. `n` goes to the next that needs somebody."""

    BINDINGS: ClassVar = [
        Binding("enter", "look", "output", id="run.look"),
        Binding("b", "decide('abort')", "abort", id="run.abort"),
        Binding("c", "decide('continue')", "continue", id="run.continue"),
        Binding("u", "decide('undo')", "roll back", id="run.undo"),
        Binding("f", "fetch", "fetch", id="run.fetch"),
        Binding("h", "host", "host", show=False, id="run.host"),
    ]

    def __init__(self, view: View, places: tuple[tuple[str, str], ...], here: str, run: str) -> None:
        super().__init__(view, places, here)
        self.run_id = run
        self.trail = f"run {plain(run)}"
        self.unfolded = False
        self.at = -1  # the line of the step that it is at
        self.wrong = ""  # why the last thing that was asked for could not be done; stays until something else is asked
        self.shown: RunView | None = None  # as it was last seen: a run that is no longer told of stays
        self.head = Page(view, self._head, id="head")
        self.head.can_focus = False
        self.steps = Steps(view, self)

    def body(self) -> Iterable[Widget]:
        return (self.head, self.steps)

    def on_resize(self) -> None:
        """The head takes what it needs."""
        self.share()

    def after_tick(self) -> None:
        self.share()
        self.refresh_bindings()

    def share(self) -> None:
        """Lines of the head; the steps get the rest."""
        lines = min(len(self._head(max(40, self.size.width))), max(4, (self.size.height - _BARS) // 2))
        if self.head.styles.height is None or self.head.styles.height.value != lines:
            self.head.styles.height = lines

    def look(self) -> RunView | None:
        """The run as it stands now."""
        hands = self.view.acting
        found = hands.run(self.run_id) if hands is not None else None
        if found is not None:
            self.shown = found
            if not words.under_way(found):
                self.view.read.add((found.id, found.state))
        return self.shown

    def _head(self, width: int) -> list[Line]:
        run = self.look()
        if run is None:
            return [
                ((f" {words.WARN} run {plain(self.run_id)} is not known here (yet): no host tells of it", Ink.WARNING),)
            ]
        lines = head_lines(run, self.view.wall, min(width, _WIDEST))
        hands = self.view.acting
        if hands is not None and run.ours and (trouble := hands.trouble(run.id)):
            lines += [((f"   {words.WARN} {part}", Ink.WARNING),) for part in wrapped(plain(trouble), width - 6, 3)]
        if self.wrong:
            lines.append(((f"   ✖ {plain(self.wrong)}", Ink.CRITICAL),))
        return [*lines, ()]

    def step_lines(self, width: int) -> list[Line]:
        """All steps; remembers where it is."""
        run = self.look()
        if run is None:
            return []
        lines, self.at = run_lines(run, self.view.wall, min(width, _WIDEST), unfolded=self.unfolded)
        return lines

    def hosts_in_detail(self) -> frozenset[int]:
        run = self.look()
        number = None if run is None else self._host(run)
        return frozenset() if number is None else frozenset({number})

    def _host(self, run: RunView) -> int | None:
        return self.view.fleet.numbers.get(run.plan.target.host)

    # What keys mean here.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what can be done with it now."""
        run = self.shown
        if action == "decide":
            return run is not None and str(parameters[0]) in run.may
        if action in ("evidence", "say"):
            return False  # a run is no fault; its incident has both
        if action == "fetch":
            return run is not None and bool(collected(run))
        return True

    def action_look(self) -> None:
        """Answer what it asks; else all that its steps said, or only what matters."""
        run = self.look()
        if run is not None and asking(run) is not None and "answer" in run.may:
            self.action_decide("answer")
            return
        self.unfolded = not self.unfolded
        self.tick(force=True)

    def action_decide(self, word: str) -> None:
        """Ask once more, then do it."""
        run = self.look()
        if run is None or word not in run.may:
            return
        step = asking(run)
        wanted = decision(run, word, (step.says or step.step.title) if step else run.says)
        number = step.step.n if step else ""
        self.app.push_screen(Deciding(self.view, run, wanted), lambda given: self._decided(wanted.word, number, given))

    def _decided(self, word: str, step: str, given: str | None) -> None:
        hands = self.view.acting
        if given is None or hands is None:
            return
        author, run = self.view.author, self.run_id
        self.wrong = ""
        try:
            match word:
                case "abort":
                    hands.abort(run, author)
                case "continue":
                    hands.resume(run, author)
                case "undo":
                    hands.roll_back(run, author)
                case _:
                    hands.answer(run, step, given != NO, author)
        except CockpitError as error:
            self.wrong = str(error)
        self.steps.following = True
        self.tick(force=True)

    def action_act(self) -> None:
        """`x` here is about the run: the first thing that it waits for, else what can be done with it is said."""
        run = self.look()
        able = [word for word in ("answer", "continue", "abort", "undo") if run is not None and word in run.may]
        if able:
            self.action_decide(able[0])
        else:
            self.notify("Nothing can be done with this run any more.", timeout=3, markup=False)

    def action_fetch(self) -> None:
        """Bring what it collected here."""
        from cockpit.tui.acting.screens.fetching import Fetching

        run, hands = self.look(), self.view.acting
        if run is not None and hands is not None and (parts := collected(run)):
            self.app.push_screen(Fetching(self.view, hands, run, parts))

    def action_host(self) -> None:
        """The page of its target's host."""
        run = self.look()
        number = None if run is None else self._host(run)
        if number is not None:
            self.post_message(OpenHost(number))

    def next_problem(self, step: int) -> bool:
        runs = [run.id for run in known_runs(self.view) if words.needs_somebody(run)]
        if not runs:
            return False
        here = runs.index(self.run_id) if self.run_id in runs else (-1 if step > 0 else 0)
        self.show(runs[(here + step) % len(runs)])
        return True

    def show(self, run: str) -> None:
        """Another run on the same page."""
        self.run_id, self.shown, self.wrong, self.at = run, None, "", -1
        self.trail = f"run {plain(run)}"
        self.query_one(TitleBar).trail = self.trail
        self.steps.following = True
        self.tick(force=True)

    def about(self) -> tuple[About, ...]:
        run = self.look()
        number = None if run is None else self._host(run)
        return () if run is None or number is None else (About(number, run.plan.target.subject),)

    def copied(self) -> str:
        run = self.look()
        if run is None:
            return ""
        lines, _ = run_lines(run, self.view.wall, 100, unfolded=True)
        head = f"{title_of(run)}: {run.state.value}, by {plain(run.by)}, run {plain(run.id)}"
        return "\n".join([head, brief(run, self.view.wall), *(text_of(line).rstrip() for line in lines)])


def collected(run: RunView) -> list[tuple[str, str, str, int]]:
    """Host, key, name and bytes of each part that the run's steps collected."""
    found = []
    for one in run.steps:
        if one.entry is not None:
            host = one.step.target.host
            found += [(host, one.entry.key, name, bytes_) for name, bytes_ in sorted(one.entry.parts.items())]
    return found
