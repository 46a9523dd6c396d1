"""Votes on pools, given by this host where its configuration names it as a keeper. A vote that is not on disk is not
given: a keeper that restarts has forgotten nothing."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from agent.actions.pool.keeper import Hold, Kept, Pool, current, judge
from agent.clock import Clock
from agent.errors import Refusal
from agent.recorder import Recorder
from agent.recorder.journal.batch import Row
from agent.wire.actions import Claim, Claimed, Wanted

log = logging.getLogger(__name__)

ROOM = "pool"
DURABLE_S = 2.0
NAME = 64


class Voting:
    """`names` are the name and the id of this host; `boot_id` the boot whose monotonic clock it reads."""

    def __init__(
        self, recorder: Recorder, clock: Clock, boot_id: str, names: Iterable[str], pools: Mapping[str, Pool]
    ) -> None:
        self._recorder = recorder
        self._clock = clock
        self._boot_id = boot_id
        self._names = frozenset(names)
        self._pools = pools
        self._kept = {row.key: _read(row.body) for row in recorder.rows if row.room == ROOM}

    def told(self) -> list[dict[str, Any]]:
        """The section `pools` of the facts: what the configuration says."""
        return [
            {"name": pool.name, "keepers": list(pool.keepers), "floor": pool.floor} for pool in self._pools.values()
        ]

    def start(self) -> None:
        """What is held from an earlier start or boot counts from now on; it is written down as it counts."""
        for name, kept in self._kept.items():
            self._keep(name, current(kept, self._boot_id, self._clock.now()))

    async def vote(self, claim: Claim) -> Claimed:
        """The vote of this keeper.

        Raises:
            Refusal: it is none of this pool.
        """
        pool = self._pools.get(claim.pool)
        if pool is None:
            has = f"it knows {', '.join(sorted(self._pools)[:8])}" if self._pools else "it knows none"
            raise Refusal("unknown", f"the configuration of this host has no [pools.{claim.pool[:NAME]}]; {has}")
        if not self._names & frozenset(pool.keepers):
            raise Refusal(
                "denied", f"this host keeps nothing of {pool.name}: its keepers are {', '.join(pool.keepers)}"
            )
        kept, answer = judge(self._kept.get(pool.name, Kept()), claim, pool, self._boot_id, self._clock.now())
        if not answer.granted:
            return answer
        self._keep(pool.name, kept)
        if await self._recorder.settled(DURABLE_S) or claim.what in (Wanted.BACK, Wanted.UNLOCK):
            return answer
        says = "the journal of this keeper cannot be written now: it votes for nobody"
        return Claimed(claim.id, False, says, answer.outs, pool.keepers, pool.floor)

    def _keep(self, name: str, kept: Kept) -> None:
        self._kept[name] = kept
        empty = kept == Kept()
        self._recorder.keep(Row(ROOM, name, self._clock.wall(), None if empty else _body(kept)))


def _body(kept: Kept) -> dict[str, Any]:
    lock = kept.lock
    return {"lock": _packed(lock) if lock else None, "outs": [[name, _packed(hold)] for name, hold in kept.outs]}


def _packed(hold: Hold) -> list[Any]:
    return [hold.run, hold.by, hold.boot, hold.mono, hold.wall, hold.for_s]


def _read(body: Any) -> Kept:
    """What is not to be read is held by nobody, and said."""
    try:
        lock = _hold(body["lock"]) if body.get("lock") else None
        return Kept(lock, tuple((str(name), _hold(hold)) for name, hold in body.get("outs", ())))
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        log.warning("votes on a pool cannot be read: %s", error)
        return Kept()


def _hold(found: list[Any]) -> Hold:
    run, by, boot, mono, wall, for_s = found
    return Hold(str(run), str(by), str(boot), float(mono), float(wall), float(for_s))
