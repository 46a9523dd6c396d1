"""PURE. What it takes to start a plan, and whether that was given. Rule: the word that is asked for grows with the
risk, a soft guard that does not hold asks for `yes` at least, a hard one is passed only by a word that names it, where
one passes it at all; a plan that is refused or older than its data is never started.
"""

from dataclasses import dataclass

from agent.wire.actions import Guard, Risk
from cockpit.runbook.guards import PASSABLE
from cockpit.runbook.records import Plan
from cockpit.tui.format import duration, plain

OVERRIDE = "override"
REASON_CHARS = 240


@dataclass(frozen=True, slots=True)
class Asked:
    """What a plan asks of its operator: `phrase` to be typed ("" is one key), whether a `reason` has to be given, the
    ids of the guards that the phrase passes, and why it cannot be started at all, empty if it can."""

    phrase: str
    reason: bool
    overrides: tuple[str, ...] = ()
    barred: str = ""

    def lacks(self, typed: str, reason: str) -> str:
        """What is missing still, in one sentence; empty if nothing is."""
        if self.barred:
            return self.barred
        if self.reason and not reason.strip():
            return "say why: it goes into the audit and into the timeline"
        if " ".join(typed.split()) != self.phrase:
            return f"type {self.phrase} to confirm"
        return ""


def passable(plan: Plan) -> tuple[Guard, ...]:
    """The guards that forbid it unless a typed word names them."""
    return tuple(guard for guard in plan.refused if guard.id in PASSABLE)


def refusing(plan: Plan) -> tuple[Guard, ...]:
    """The guards that no word passes."""
    return tuple(guard for guard in plan.refused if guard.id not in PASSABLE)


def warning(plan: Plan) -> tuple[Guard, ...]:
    """The soft guards that do not hold: what is confirmed, is confirmed in spite of them."""
    return tuple(guard for guard in plan.guards if guard.soft and not guard.ok)


def dangerous(plan: Plan) -> bool:
    """Whether its dialog has to look like danger: what it does cannot be taken back, or takes others along."""
    return plan.risk in (Risk.HIGH, Risk.UNKNOWN)


def asked(plan: Plan, now: float) -> Asked:
    """What this plan asks for; `now` is our wall second."""
    overrides = tuple(dict.fromkeys(plain(guard.id) for guard in passable(plan)))
    words = [plain(plan.confirm)] if plan.confirm else ["yes"] if warning(plan) else []
    if overrides:
        words = [OVERRIDE, *overrides, *(word for word in words if word != "yes")]
    reason = plan.risk is not Risk.LOW or bool(words)
    return Asked(" ".join(" ".join(words).split()), reason, overrides, barred(plan, now))


def barred(plan: Plan, now: float) -> str:
    """Why it cannot be started, empty if it can."""
    if not plan.steps:
        return "this plan has no steps: there is nothing to be done"
    if refusals := refusing(plan):
        return f"refused by {', '.join(plain(guard.id) for guard in refusals)}: nothing can be started"
    if now > plan.good_until:
        return f"this plan rests on data that is {duration(now - plan.as_of)} old: r asks anew"
    return ""


def reason_of(plan: Plan, fault: str) -> str:
    """What the reason begins with: the fault that it answers, if it does."""
    named = plain(plan.incident or plan.finding)
    words = plain(fault)
    return f"{named}: {words}"[:REASON_CHARS] if named and words else words[:REASON_CHARS] or named
