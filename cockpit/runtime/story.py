"""All runs that any host tells of, as views: ours and those of others, newest first.

Rule: built from what the fleet knows and kept until that changes; looking at it again costs nothing. The plans of runs
that others began are fetched once, in the background, and a run whose plan cannot be had is shown by its ledger.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from agent.wire.actions import ActionFacts, RunFacts
from cockpit.fleet.acting.told import line_of
from cockpit.fleet.state import Fleet
from cockpit.runbook.journal import Known, Told, join
from cockpit.runbook.records import Plan, RunState, RunView
from cockpit.runbook.scene import host_number, target
from cockpit.runbook.views import newest, sketch, view
from cockpit.runtime.leading import Leader

LINES = 200  # of one action
TALKERS = 512  # actions whose lines are kept; beyond them those that began to speak first go
_AGE_S = 5.0  # how often a run that others lead is looked at for having been left alone, data seconds


class Progress:
    """The lines that actions say while they work, by key, oldest first."""

    def __init__(self) -> None:
        self._lines: dict[str, tuple[str, ...]] = {}
        self._seen = 0
        self.version = 0

    def look(self, fleet: Fleet) -> None:
        """Take in what was said since the last look."""
        fresh = fleet.events_total - self._seen
        if not fresh:
            return
        self._seen = fleet.events_total
        for entry in fleet.events[-fresh:]:
            said = line_of(entry.event)
            if said is not None:
                key, line = said
                self._lines[key] = (*self._lines.get(key, ()), line)[-LINES:]
                if len(self._lines) > TALKERS:
                    del self._lines[next(iter(self._lines))]
                self.version += 1

    def of(self, key: str) -> tuple[str, ...]:
        """The lines of one action."""
        return self._lines.get(key, ())


@dataclass(slots=True)
class _Kept:
    """A view, and what it was made of."""

    of: tuple[Any, ...]
    view: RunView


@dataclass(slots=True)
class Story:
    """`plans` are those that are known, by run; `leaders` the runs that we lead or led, by run."""

    plans: dict[str, Plan] = field(default_factory=dict)
    leaders: dict[str, Leader] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    _kept: dict[str, _Kept] = field(default_factory=dict)
    _all: tuple[tuple[int, int], tuple[RunView, ...]] = ((-1, -1), ())

    def views(self, fleet: Fleet, version: int) -> tuple[RunView, ...]:
        """All runs; `version` grows with what only we know."""
        if self._all[0] != (fleet.version, version):
            self.progress.look(fleet)
            told = self.told(fleet)
            runs = [*told, *(run for run in self.leaders if run not in told)]
            made = [self._view(fleet, run, told.get(run, {}), version) for run in runs]
            found = tuple(sorted(made, key=lambda one: (-one.began, one.id)))
            self._all = ((fleet.version, version), found)
            for known in (self._kept, self.plans):  # what nobody tells of any more is forgotten with its plan
                for gone in [run for run in known if run not in told and run not in self.leaders]:
                    del known[gone]
        return self._all[1]

    def told(self, fleet: Fleet) -> dict[str, dict[int, RunFacts]]:
        """By run, by host number, what that host has of it."""
        found: dict[str, dict[int, RunFacts]] = {}
        for record in fleet.hosts:
            if record.hands.runs:
                for run, facts in record.hands.runs.items():
                    found.setdefault(run, {})[record.number] = facts
        return found

    def missing(self, fleet: Fleet) -> list[tuple[str, int, str]]:
        """(run, host number, hash) of plans that could be fetched now, newest first."""
        found = [
            (facts.at, run, number, facts.plan_hash)
            for run, by_host in self.told(fleet).items()
            if run not in self.plans
            for number, facts in by_host.items()
            if fleet.hosts[number].live
        ]
        return [(run, number, wanted) for _, run, number, wanted in sorted(found, reverse=True)]

    def _view(self, fleet: Fleet, run: str, told: Mapping[int, RunFacts], version: int) -> RunView:
        leader, plan = self.leaders.get(run), self.plans.get(run)
        ours = leader is not None and not leader.over
        hands = [(number, fleet.hosts[number].hands.actions) for number in told]
        made_of = (
            plan, *told.values(), *(actions for _, actions in hands), version if leader is not None else 0,
            self.progress.version, int(fleet.now.wall / _AGE_S) if not ours else 0,
        )  # fmt: skip
        kept = self._kept.get(run)
        if kept is not None and len(kept.of) == len(made_of) and all(map(_same, kept.of, made_of)):
            return kept.view
        if plan is None:
            plan = _sketched(fleet, told)
        known = leader.known() if leader is not None else _known(fleet, plan, told)
        live = leader.live() if leader is not None and not leader.over else None
        found = view(plan, known, self.progress.of, _here(fleet), fleet.now.wall, live)
        if leader is not None and leader.over and not known.runs:
            found = replace(found, state=RunState.FAILED, says=leader.trouble, may=())  # it never began
        self._kept[run] = _Kept(made_of, found)
        return found


def _same(old: Any, new: Any) -> bool:
    return old is new or (isinstance(old, int) and old == new)


def _known(fleet: Fleet, plan: Plan, told: Mapping[int, RunFacts]) -> Known:
    return join(plan, (
        Told(record.host_id, record.hands.actions, record.hands.runs.get(plan.id))
        for record in fleet.hosts if record.number in told or record.host_id in plan.hosts
    ))  # fmt: skip


def _here(fleet: Fleet) -> Any:
    """Wall seconds of a host, by its id, as ours."""

    def here(host_id: str, wall: float) -> float:
        number = host_number(fleet, host_id)
        return wall if number is None else fleet.hosts[number].here(wall, fleet.now.wall)

    return here


def _sketched(fleet: Fleet, told: Mapping[int, RunFacts]) -> Plan:
    run = newest(told.values())
    assert run is not None
    entries: dict[str, tuple[str, ActionFacts]] = {
        key: (fleet.hosts[number].host_id, entry)
        for number in told
        for key, entry in fleet.hosts[number].hands.actions.items()
        if entry.run == run.id
    }
    number = host_number(fleet, run.host) if run.host else None
    number = next(iter(told)) if number is None else number
    about = target(fleet, number, run.subject or "host")
    return sketch(run, fleet.hosts[number].host_id, fleet.hosts[number].name, about.name, entries)
