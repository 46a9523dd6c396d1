"""One keeper's vote on one pool. PURE: state, request and time in; state and answer out.

A console that wants a replica out asks all keepers that are *named*. It needs the `LOCK` of a majority of them, learns
from their answers who is out, counts afresh who else is ready (`Claim.ready`: its own replica counts, those that are
out do not), writes its own `OUT` on a majority under that same lock, unlocks, and only then drains, before the end of
the claim. Two majorities share a keeper, and a keeper votes for one run at a time: so whoever counts
has heard of everybody who counted before.

A vote holds until it is given back or its time is over, on the monotonic clock of the keeper's boot. After a reboot
nothing is known of that clock, and a wall clock may be wrong: what was held is held for its whole length again.
"""

from dataclasses import dataclass, replace

from agent.clock import Instant
from agent.wire.actions import Claim, Claimed, Out, Wanted

LOCK_MOST_S = 60.0
OUT_MOST_S = 86400.0
OUTS = 256


@dataclass(frozen=True, slots=True)
class Hold:
    """Something held until `mono` of boot `boot`; `wall` is the same moment on the wall clock, `for_s` how long."""

    run: str
    by: str
    boot: str
    mono: float
    wall: float
    for_s: float


@dataclass(frozen=True, slots=True)
class Kept:
    """What a keeper knows of one pool: who holds the lock, and who is out by replica (HOST_ID/ID)."""

    lock: Hold | None = None
    outs: tuple[tuple[str, Hold], ...] = ()


@dataclass(frozen=True, slots=True)
class Pool:
    """What the configuration says: the `keepers` by name or id of their host, at most five, and the least number of
    ready replicas."""

    name: str
    keepers: tuple[str, ...]
    floor: int


def judge(kept: Kept, claim: Claim, pool: Pool, boot: str, now: Instant) -> tuple[Kept, Claimed]:
    """The vote on `claim`, and what is to be kept, on disk, before it is given."""
    kept = current(kept, boot, now)
    says = _VERBS[claim.what](kept, claim, pool) if claim.what in _VERBS else "a console says lock, out, back or unlock"
    if says:
        return kept, _answer(claim, pool, kept, now, says)
    after = _after(kept, claim, boot, now)
    return after, _answer(claim, pool, after, now, "")


def current(kept: Kept, boot: str, now: Instant) -> Kept:
    """Without what is over."""
    lock = _still(kept.lock, boot, now)
    outs = tuple((replica, hold) for replica, old in kept.outs if (hold := _still(old, boot, now)) is not None)
    return Kept(lock, outs)


def _still(hold: Hold | None, boot: str, now: Instant) -> Hold | None:
    """The hold as it counts now, None if it is over."""
    if hold is None:
        return None
    if hold.boot == boot:
        return hold if now.mono < hold.mono else None
    return replace(hold, boot=boot, mono=now.mono + hold.for_s, wall=now.wall + hold.for_s)


def _lock(kept: Kept, claim: Claim, pool: Pool) -> str:
    if kept.lock is not None and kept.lock.run != claim.run:
        return f"the pool {pool.name} is being changed by the run {kept.lock.run} of {kept.lock.by}; try again soon"
    return "" if 0 < claim.for_s <= LOCK_MOST_S else f"a lock is held for at most {LOCK_MOST_S:g} s"


def _out(kept: Kept, claim: Claim, pool: Pool) -> str:
    if kept.lock is None or kept.lock.run != claim.run:
        return f"the run {claim.run} does not hold the lock of the pool {pool.name}: lock it first"
    if not claim.replica:
        return "which replica is to be out is not said"
    floor = max(pool.floor, claim.floor)
    if claim.ready <= floor:
        return f"of {claim.ready} ready replicas of {pool.name} none can be spared: the floor is {floor}"
    if len({replica for replica, _ in kept.outs} - {claim.replica}) >= OUTS:
        return f"{OUTS} replicas are out of the pool {pool.name} already"
    return "" if 0 < claim.for_s <= OUT_MOST_S else f"a replica is out for at most {OUT_MOST_S:g} s"


def _back(kept: Kept, claim: Claim, pool: Pool) -> str:
    del kept, pool
    return "" if claim.replica else "which replica is back is not said"


def _unlock(kept: Kept, claim: Claim, pool: Pool) -> str:
    del kept, claim, pool
    return ""  # a lock of somebody else stays


_VERBS = {Wanted.LOCK: _lock, Wanted.OUT: _out, Wanted.BACK: _back, Wanted.UNLOCK: _unlock}


def _after(kept: Kept, claim: Claim, boot: str, now: Instant) -> Kept:
    hold = Hold(claim.run, claim.author, boot, now.mono + claim.for_s, now.wall + claim.for_s, claim.for_s)
    if claim.what is Wanted.LOCK:
        return replace(kept, lock=hold)
    if claim.what is Wanted.UNLOCK:
        return replace(kept, lock=None) if kept.lock is not None and kept.lock.run == claim.run else kept
    outs = tuple((replica, old) for replica, old in kept.outs if replica != claim.replica)
    if claim.what is Wanted.OUT:
        return replace(kept, outs=(*outs, (claim.replica, hold)))
    mine = dict(kept.outs).get(claim.replica)
    return replace(kept, outs=outs) if mine is None or mine.run == claim.run else kept


def _answer(claim: Claim, pool: Pool, kept: Kept, now: Instant, says: str) -> Claimed:
    outs = tuple(Out(replica, hold.run, hold.by, hold.wall) for replica, hold in kept.outs)
    held = kept.lock if claim.what is Wanted.LOCK else dict(kept.outs).get(claim.replica)
    until = held.wall if held is not None and not says else 0.0
    del now
    return Claimed(claim.id, not says, says, outs, pool.keepers, pool.floor, until)
