"""From a key to a window, and from a window to the next: the menu, the plan, the run. One way for `x`, a click and the
palette."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cockpit.fleet.targets import About
from cockpit.tui.acting.screens.menu import Drafted, Menu
from cockpit.tui.acting.screens.plan import PlanWindow
from cockpit.tui.acting.screens.run import RunPage
from cockpit.tui.screens import PLACES

if TYPE_CHECKING:
    from cockpit.tui.app import CockpitApp


def open_menu(app: "CockpitApp", targets: Sequence[About], *, chosen: str = "", at_once: bool = False) -> None:
    """What can be done to the first of these, with the others near."""
    hands = app.view.acting
    if hands is None:
        app.notify("This is a recording: nobody is there to act.", timeout=3, markup=False)
        return
    if not targets:
        app.notify(
            "Nothing to act on here: no host, GPU, replica or fault is under the cursor.", timeout=3, markup=False
        )
        return
    menu = Menu(app.view, hands, targets, chosen=chosen, at_once=at_once)
    app.push_screen(menu, lambda drafted: open_plan(app, drafted))


def open_plan(app: "CockpitApp", drafted: Drafted | None) -> None:
    """The plan that was drafted."""
    hands = app.view.acting
    if drafted is not None and hands is not None:
        app.push_screen(PlanWindow(app.view, hands, drafted), lambda run: open_run(app, run))


def open_run(app: "CockpitApp", run: str | None) -> None:
    """The page of a run."""
    if run:
        app.push_screen(RunPage(app.view, PLACES, app.current_mode, run))
