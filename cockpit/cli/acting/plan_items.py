"""Plans, runs and entries as JSON; schema 1. Times are ISO-8601 on our clock, what nobody knows is null."""

from typing import Any

from agent.wire.actions import Guard
from agent.wire.shape import pack
from cockpit.cli.items import number
from cockpit.fleet.rollup import iso
from cockpit.runbook.records import Blast, Plan, RunView, Step, StepView

Item = dict[str, Any]


def plan_item(plan: Plan) -> Item:
    """The whole plan. `rests_on` is when the oldest data under it was true, after `good_until` it is drafted anew."""
    return {
        "id": plan.id,
        "runbook": plan.runbook,
        "title": plan.title,
        "target": plan.target.name,
        "host": plan.target.host,
        "subject": plan.target.subject,
        "params": dict(plan.params),
        "hash": plan.hash,
        "risk": plan.risk.value,
        "confirm": plan.confirm,
        "incident": plan.incident or None,
        "finding": plan.finding or None,
        "rests_on": iso(plan.as_of),
        "good_until": iso(plan.good_until),
        "steps": [step_item(step) for step in plan.steps],
        "guards": [guard_item(guard) for guard in plan.guards],
        "expected": plan.expected,
        "blast": blast_item(plan.blast),
    }


def step_item(step: Step) -> Item:
    """One step; `command` are its exact commands or calls, `undo` null where nothing takes it back."""
    return {
        "n": step.n,
        "kind": step.kind.value,
        "title": step.title,
        "action": step.action or None,
        "target": step.target.name,
        "host": step.target.host,
        "subject": step.target.subject,
        "params": dict(step.params),
        "command": list(step.command),
        "undo": step.undo or None,
        "effect": step.effect,
        "condition": step.condition or None,
        "deadline_s": number(step.deadline_s),
        "lease_s": number(step.lease_s),
        "on_orphan": step.on_orphan.value or "auto",
        "risk": step.risk.value,
        "group": step.group,
        "expect": dict(step.expect),
    }


def guard_item(guard: Guard) -> Item:
    """A guard; `soft` ones that do not hold are warnings."""
    return {"id": guard.id, "ok": guard.ok, "says": guard.says, "soft": guard.soft}


def blast_item(blast: Blast) -> Item:
    """What it costs the users."""
    return {
        "replicas": list(blast.replicas),
        "pools": list(blast.pools),
        "in_flight": blast.in_flight,
        "ready_before": blast.ready_before,
        "ready_after": blast.ready_after,
        "expected": blast.expected,
        "floor": blast.floor,
        "n_plus_one": blast.n_plus_one,
        "tokens_per_s": number(blast.tokens_per_s),
    }


def run_item(run: RunView) -> Item:
    """A run with its plan and how each step stands."""
    return {
        "id": run.id,
        "state": run.state.value,
        "says": run.says,
        "by": run.by,
        "reason": run.reason,
        "began": iso(run.began),
        "ended": _iso(run.ended),
        "ours": run.ours,
        "may": list(run.may),
        "steps": [step_view_item(step) for step in run.steps],
        "plan": plan_item(run.plan),
    }


def step_view_item(step: StepView) -> Item:
    """One step of a run; `entry` is that of its agent's ledger, null where it has none."""
    return {
        "n": step.step.n,
        "kind": step.step.kind.value,
        "title": step.step.title,
        "action": step.step.action or None,
        "target": step.step.target.name,
        "state": step.state.value,
        "says": step.says,
        "at": _iso(step.at),
        "ended": _iso(step.ended),
        "lines": list(step.lines),
        "entry": None if step.entry is None else pack(step.entry),
    }


def _iso(wall: float | None) -> str | None:
    return None if wall is None else iso(wall)
