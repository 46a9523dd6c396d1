"""What has to hold before anything is done, beside what the executor itself looks at: the role, the target that nobody
else has, the boot and the time that the plan counted on.

A look that fails or takes too long is a guard that does not hold, never silence. Of guards that do not hold the
operator may pass soft ones, and by typed confirmation those that are about capacity; never who, what and whom.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agent.actions.base import Preflight, Who
from agent.actions.conduct import who as roles
from agent.errors import Refusal
from agent.wire.actions import GUARDS, Act, Guard

FIXED = frozenset({"policy", "role", "identity", "tool", "busy", "floor", "boot", "look"})
CODES = {"policy": "denied", "role": "denied", "identity": "gone", "boot": "gone", "tool": "missing", "busy": "busy"}
NOT_BEFORE = "invalid"  # the code for all other guards


@dataclass(frozen=True, slots=True)
class Looked:
    """What a preflight gave, with all guards, and `expect` as the console is to send it back."""

    found: Preflight
    guards: tuple[Guard, ...]
    expect: Mapping[str, str] = field(default_factory=dict)


def judged(found: Preflight, who: Who, more: Iterable[Guard]) -> tuple[Guard, ...]:
    """All guards, each id once as far as it holds; what does not hold comes first."""
    guards = list(found.guards)
    if found.role and not any(one.id == "role" for one in guards):
        guards.append(roles.guard(who, found.role))
    if not any(one.id in ("policy", "role", "look") for one in guards):
        guards.append(Guard("policy", False, "no rule of the policy of this host allows it; ask its administrator"))
    guards += more
    return tuple(sorted(guards, key=lambda one: one.ok or one.soft)[:GUARDS])


def boot(act: Act, boot_id: str) -> tuple[Guard, ...]:
    """The host is the one that was planned for, not rebooted since."""
    planned = act.expect.get("boot", "")
    if not planned or planned == boot_id:
        return ()
    return (Guard("boot", False, "this host was rebooted since the plan: plan it again"),)


def busy(other: tuple[str, str] | None) -> tuple[Guard, ...]:
    """Nobody else is at work on the target; `other` is the key and the subject of who is."""
    if other is None:
        return (Guard("busy", True, "nothing else is at work on it"),)
    key, subject = other
    return (Guard("busy", False, f"the action {key} is at work on {subject}: one at a time, wait until it has ended"),)


def first_in_the_way(guards: Iterable[Guard], overrides: Iterable[str]) -> Guard | None:
    """The first guard because of which nothing is done."""
    passed = frozenset(overrides) - FIXED
    return next((one for one in guards if not one.ok and not one.soft and one.id not in passed), None)


def check(act: Act, looked: Looked) -> None:
    """Raises Refusal: a guard does not hold, or nobody has said that the caller may."""
    stop = first_in_the_way(looked.guards, act.overrides)
    if stop is not None:
        raise Refusal(CODES.get(stop.id, NOT_BEFORE), stop.says or f"the guard {stop.id} does not hold")
    if not any(one.id == "role" and one.ok for one in looked.guards):
        raise Refusal("denied", f"which role may have {act.action} done is not known here")


def in_time(act: Act, wall: float) -> None:
    """Raises Refusal: it was to begin before."""
    if act.not_after and wall > act.not_after:
        late = wall - act.not_after
        raise Refusal("expired", f"it was to begin {late:.0f} s ago at the latest: what it was decided on is over")
