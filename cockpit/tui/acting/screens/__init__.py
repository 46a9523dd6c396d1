"""The windows and pages of acting. Rule: imported by a key or a click, never before the first picture."""

from textual.dom import DOMNode


def owners() -> tuple[type[DOMNode], ...]:
    """All that have keys of their own."""
    from cockpit.tui.acting.screens.asking import Parameters
    from cockpit.tui.acting.screens.deciding import Deciding
    from cockpit.tui.acting.screens.fetching import Fetching
    from cockpit.tui.acting.screens.leaving import Leaving
    from cockpit.tui.acting.screens.menu import Entries
    from cockpit.tui.acting.screens.parts import ActField, Window
    from cockpit.tui.acting.screens.plan import PlanPage, PlanWindow
    from cockpit.tui.acting.screens.run import RunPage

    return (RunPage, Window, Parameters, PlanWindow, Deciding, Fetching, Leaving, ActField, Entries, PlanPage)
