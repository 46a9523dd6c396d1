"""PURE. A host's wall clock against ours: what it says about times is turned into our time, also across a step.

Order and age of what is measured rest on monotonic clocks alone; only what an agent tells as a wall time (when a
finding began) needs this. A clock that is far off is a problem of its own: the host's logs, certificates and tickets
suffer from it, the console does not.
"""

from collections.abc import Iterable

from agent.wire.specs import Event, Severity
from cockpit.clock import Instant
from cockpit.fleet.records import SKEW_WARNING_S, HostRecord, Problem

_KEPT = 4  # different skews of one host
_SAME_S = 1.0  # skews closer than this are one: a clock that is slewed


def measured(record: HostRecord, skew_s: float) -> bool:
    """The host's wall clock is `skew_s` before ours; whether that changes the host's severity."""
    before, record.skew_s = abs(record.skew_s) > SKEW_WARNING_S, skew_s
    older = [other for other in record.skews if abs(other - skew_s) > _SAME_S]
    record.skews = (skew_s, *older)[:_KEPT]
    return before != (abs(skew_s) > SKEW_WARNING_S)


def our_clock_stepped(record: HostRecord, seconds: float) -> None:
    """Our own wall clock jumped ahead by so much."""
    record.skew_s -= seconds
    record.skews = tuple(skew - seconds for skew in record.skews)


def happened(record: HostRecord, event: Event, shift_s: float, now: Instant) -> float:
    """When an event happened, on our wall clock: by the monotonic clock, whatever the host's wall clock said."""
    if event.replayed or not event.mono:
        return record.here(event.at, now.wall)
    return event.mono + shift_s - now.mono + now.wall


def words(skew_s: float) -> str:
    """`1.0 years ahead of`, `42 s behind`."""
    size = abs(skew_s)
    for unit, seconds in (("years", 31_557_600.0), ("days", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if size >= 2 * seconds or (unit == "years" and size >= 0.9 * seconds):
            amount = f"{size / seconds:.1f} {unit}"
            break
    else:
        amount = f"{size:.0f} s" if size >= 10 else f"{size:.2g} s"
    return f"{amount} {'ahead of' if skew_s > 0 else 'behind'}"


def problems(records: Iterable[HostRecord], told_alone: int) -> list[Problem]:
    """Hosts whose clock is far off; many that are off alike are one problem, and rather ours."""
    off = [record for record in records if record.live and abs(record.skew_s) > SKEW_WARNING_S]
    alike: dict[int, list[HostRecord]] = {}
    for record in off:
        alike.setdefault(round(record.skew_s / max(10.0, abs(record.skew_s) / 10)), []).append(record)
    found = []
    for same in alike.values():
        if len(same) > told_alone:
            found.append(_ours(same))
        else:
            found += [_theirs(record) for record in same]
    return found


def _theirs(record: HostRecord) -> Problem:
    return Problem(
        Severity.WARNING,
        f"{record.name}: its clock is {words(record.skew_s)} ours",
        "times here are corrected for it, its own logs, certificates and tickets are not; "
        f"on {record.name}: timedatectl; chronyc tracking",
        record.link_since,
        record.number,
        hosts=(record.number,),
    )


def _ours(records: list[HostRecord]) -> Problem:
    return Problem(
        Severity.WARNING,
        f"the clocks of {len(records)} hosts are about {words(records[0].skew_s)} ours",
        "so many agree that it may be this machine's clock; times here are corrected; try: timedatectl",
        min(record.link_since for record in records),
        hosts=tuple(record.number for record in records),
        count=len(records),
    )
