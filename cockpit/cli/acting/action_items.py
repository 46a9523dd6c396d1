"""Actions and runs as JSON items and as rows of the human tables; schema 1. Times are ISO-8601 on our clock."""

from collections.abc import Sequence
from typing import Any

from agent.wire.actions import ActionFacts
from cockpit.cli.items import age
from cockpit.cli.printing import age_text
from cockpit.clock import Instant
from cockpit.fleet.acting.rows import ActionItem, RunItem
from cockpit.fleet.rollup import iso
from cockpit.fleet.state import Fleet

Item = dict[str, Any]
ACTION_HEADS = ("KEY", "ACTION", "TARGET", "STATE", "BY", "AGE", "TOOK", "SAYS")
RUN_HEADS = ("RUN", "RUNBOOK", "TARGET", "STATE", "BY", "AGE", "STEPS", "SAYS")
ACTION_SORTS = ("host", "severity", "started", "action", "target", "by", "state", "run", "id", "age_s")
RUN_SORTS = ("host", "severity", "started", "runbook", "target", "by", "state", "id", "age_s")


def action(fleet: Fleet, found: ActionItem, now: Instant) -> Item:
    """One item of `actions`; `started` is when it was taken up, `began` when it was first done something."""
    facts = found.facts
    return {
        "id": facts.key,
        "host": fleet.hosts[found.host].name,
        "severity": found.severity.word,
        "age_s": age(now.wall - found.at),
        "run": facts.run or None,
        "action": facts.action,
        "target": found.target,
        "subject": facts.subject,
        "by": found.by,
        "author": facts.by,
        "user": facts.user,
        "state": found.state,
        "says": facts.says,
        "started": iso(found.at),
        "began": _iso(found.began),
        "ended": _iso(found.ended),
        "step": facts.step or None,
        "runbook": facts.runbook or None,
        "reason": facts.reason,
        "incident": facts.incident or None,
        "params": dict(facts.params),
        "command": list(facts.command),
        "undo": facts.undo or None,
        "undoes": facts.undoes or None,
        "undone": facts.undone or None,
        "overrides": list(facts.overrides),
        "lease": _lease(fleet, found, facts),
        "on_orphan": facts.on_orphan.value or "auto",
        "orphaned": facts.orphaned,
        "parts": dict(facts.parts),
        "before": dict(facts.before),
    }


def run(fleet: Fleet, found: RunItem, now: Instant) -> Item:
    """One item of `runs`; `heard_age_s` is how long ago whoever leads it was last heard of."""
    facts, record = found.facts, fleet.hosts[found.hosts[0]]
    return {
        "id": facts.id,
        "host": record.name,
        "severity": found.severity.word,
        "age_s": age(now.wall - found.at),
        "runbook": facts.runbook,
        "target": found.target,
        "subject": facts.subject,
        "by": found.by,
        "author": facts.by,
        "user": facts.user,
        "leader": facts.leader,
        "state": found.state,
        "says": found.says,
        "started": iso(found.at),
        "ended": _iso(found.ended),
        "heard_age_s": age(now.wall - record.here(facts.heard, now.wall)) if facts.heard else None,
        "reason": facts.reason,
        "incident": facts.incident or None,
        "plan_hash": facts.plan_hash,
        "hosts": [fleet.hosts[host].name for host in found.hosts],
        "marks": [
            {
                "step": mark.step,
                "state": mark.state,
                "says": mark.says,
                "by": mark.by,
                "at": iso(record.here(mark.at, now.wall)),
            }
            for mark in facts.marks
        ],
        "actions": [item.facts.key for item in found.actions],
    }


def action_row(fleet: Fleet, found: ActionItem, item: Item) -> Sequence[Any]:
    """One row of the table."""
    facts = found.facts
    end = found.ended if found.ended is not None else fleet.now.wall
    took = age_text(max(0.0, end - found.began)) if found.began is not None else "-"
    took = took if found.ended is not None or found.began is None else f"{took} ..."
    return (facts.key, facts.action, found.target, found.state, found.by, age_text(item["age_s"]), took, facts.says)


def run_row(fleet: Fleet, found: RunItem, item: Item) -> Sequence[Any]:
    """One row of the table."""
    facts = found.facts
    steps = len(found.actions) + len(facts.marks)
    return (
        facts.id, facts.runbook, found.target, found.state, found.by, age_text(item["age_s"]), steps, found.says,
    )  # fmt: skip


def _lease(fleet: Fleet, found: ActionItem, facts: ActionFacts) -> str | None:
    record = fleet.hosts[found.host]
    return iso(record.here(facts.lease, fleet.now.wall)) if facts.lease else None


def _iso(wall: float | None) -> str | None:
    return None if wall is None else iso(wall)
