"""Which run an operator means: its id, the beginning of it, or the one that nobody leads."""

from collections.abc import Mapping, Sequence
from typing import Any

from cockpit.errors import UsageError
from cockpit.fleet.acting.words import acting_target
from cockpit.fleet.state import Fleet
from cockpit.inventory import did_you_mean
from cockpit.runbook.records import RunState, RunView

_SHORTEST = 3


def named(runs: Sequence[RunView], fleet: Fleet, own: Mapping[str, Any], word: str) -> RunView:
    """The run with this id or beginning of an id; without one that which can be gone on with, of the runbook and target
    that were given with it.

    Raises:
        UsageError: none is meant by it, or several.
    """
    if word:
        return _by_id(runs, word)
    if own["runbook"] and own["target"]:
        about = acting_target(fleet, own["target"])
        there = (fleet.hosts[about.host].name, about.subject)
        runs = [view for view in runs if view.plan.runbook == own["runbook"] and _at(view) == there]
    left = [view for view in runs if "continue" in view.may]
    if not left:
        raise UsageError("there is no run to go on with; `gpu-cockpit runs` lists those there are")
    if len(left) > 1:
        raise UsageError(f"--resume may mean {', '.join(view.id for view in left[:4])}: name one")
    return left[0]


def _by_id(runs: Sequence[RunView], word: str) -> RunView:
    begun = [view for view in runs if view.id == word]
    begun = begun or [view for view in runs if len(word) >= _SHORTEST and view.id.startswith(word)]
    if len(begun) == 1:
        return begun[0]
    if begun:
        ids = ", ".join(view.id for view in begun[:4])
        raise UsageError(f"{word!r} may be {len(begun)} runs ({ids}): give more of the id")
    raise UsageError(f"no run {word!r}{did_you_mean(word, [view.id for view in runs])}; `gpu-cockpit runs` lists them")


def led(view: RunView) -> str:
    """Of a run that is under way elsewhere: that it is."""
    return "" if view.ours or view.state is not RunState.RUNNING else " and led by another console"


def _at(view: RunView) -> tuple[str, str]:
    return view.plan.target.host, view.plan.target.subject
