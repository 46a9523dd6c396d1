"""Leases of what an action left behind, such as a drain: the run that wanted it says now and then that it lives, and
what nobody speaks for any more is an orphan. PURE.

Within one boot the monotonic clock counts, so that a clock that is set neither ends a lease nor stretches it; across a
reboot the wall clock is all there is. Time in which nobody could have been heard, because the agent was away, gives
`GRACE_S` more.
"""

from collections.abc import Iterable
from dataclasses import replace

from agent.actions.conduct.ledger import Entry, Lease, Ledger
from agent.clock import Instant
from agent.wire.actions import ActState, Orphan

GRACE_S = 30.0
LASTS = frozenset({ActState.DONE, ActState.UNKNOWN})  # ends after which something may be left behind


def granted(entry: Entry, for_s: float, boot: str, now: Instant) -> Entry:
    """The entry with a lease of `for_s` seconds from now on."""
    return replace(entry, lease=Lease(for_s, boot, now.mono + for_s)).now(lease=now.wall + for_s)


def without(entry: Entry) -> Entry:
    """The entry without one; what it left behind stands for good."""
    return replace(entry, lease=None).now(lease=0.0, orphaned=False)


def of_run(ledger: Ledger, run: str) -> list[Entry]:
    """Entries of a run that have a lease or had one."""
    return [
        entry for entry in ledger.live() if run and entry.facts.run == run and (entry.lease or entry.facts.orphaned)
    ]


def renewed(ledger: Ledger, run: str, boot: str, now: Instant) -> list[Entry]:
    """Those of a run that speaks, as they stand from now on: none of them is an orphan any more."""
    return [
        granted(entry.now(orphaned=False), entry.lease.for_s, boot, now) for entry in of_run(ledger, run) if entry.lease
    ]


def after_absence(ledger: Ledger, boot: str, now: Instant) -> list[Entry]:
    """Leases that ran out, or nearly, while the agent was away: with a little time to be heard."""
    held = [entry for entry in ledger.live() if entry.lease and not entry.facts.orphaned]
    return [
        granted(entry, entry.lease.for_s, boot, now).now(lease=now.wall + GRACE_S)
        if entry.lease.boot != boot
        else replace(entry, lease=replace(entry.lease, mono=now.mono + GRACE_S)).now(lease=now.wall + GRACE_S)
        for entry in held
        if entry.lease and _left(entry, boot, now) < GRACE_S
    ]


def run_out(ledger: Ledger, boot: str, now: Instant) -> list[Entry]:
    """Those for which nobody has spoken in time, and that are not known as orphans yet."""
    return [
        entry
        for entry in ledger.live()
        if entry.lease and not entry.open and entry.facts.state in LASTS and not entry.facts.orphaned
        and _left(entry, boot, now) <= 0
    ]  # fmt: skip


def kept(entry: Entry, concerned: Iterable[str], troubled: Iterable[str]) -> str:
    """Why an orphan is left as it is, in a sentence; empty if it is to be taken back. `concerned` are the subjects it
    is about, `troubled` those that have something open."""
    facts = entry.facts
    if facts.on_orphan is Orphan.KEEP:
        return "it was asked to be kept"
    if facts.on_orphan is Orphan.UNDO:
        return ""
    if bad := sorted(frozenset(concerned) & frozenset(troubled)):
        return f"something is wrong with {bad[0]}"
    if facts.subject.startswith("backend:") and facts.incident and len(frozenset(concerned)) == 1:
        return f"it was taken out for the incident {facts.incident}, and this host cannot see how it is"
    return ""


def _left(entry: Entry, boot: str, now: Instant) -> float:
    """Seconds until nobody speaks for it."""
    assert entry.lease is not None
    return entry.lease.mono - now.mono if entry.lease.boot == boot else entry.facts.lease - now.wall
