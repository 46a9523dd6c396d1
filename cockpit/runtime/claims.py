"""A pool without a load balancer: its keepers are asked whether a replica may go out, all at once.

Rule: a majority of those that the agents' configuration *names*, never of those that answer. Under the lock of a
majority the ready ones are counted afresh, the out is written on a majority, and only then it holds. Whoever gets only
part of a lock gives it back at once and tries again after a moment of its own.
"""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass

from agent.wire.actions import Claim, Claimed, Wanted
from cockpit.errors import RequestError
from cockpit.runbook.guards import keeper_host
from cockpit.runbook.scene import pool_rows, ready_rows
from cockpit.runtime.base import Owner

LOCK_S = 15.0  # real seconds for which a lock is wanted
LOCK_MOST_S = 60.0  # data seconds that a keeper gives at most
EACH_S = 3.0  # real seconds that a keeper may take
AGAIN_S = (0.05, 0.25)
_NOT_ASKED = "not asked"
AWAY = "?"  # begins the sentence of a vote that was not given, because its keeper cannot be reached


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted of a pool's keepers, from the step that says it. `replica` is HOST_ID/ID, `for_s` how long it is
    out."""

    pool: str
    run: str
    replica: str
    keepers: tuple[str, ...]
    floor: int
    author: str
    for_s: float

    @property
    def majority(self) -> int:
        """How many have to agree."""
        return len(self.keepers) // 2 + 1


@dataclass(frozen=True, slots=True)
class Said:
    """How it ended: whether they agree, one sentence, and our wall second until which it holds. `again`: they may
    agree in a moment; `away`: too few of them can be reached to know."""

    ok: bool
    says: str
    until: float = 0.0
    again: bool = False
    away: bool = False


def wish_of(params: Mapping[str, str], run: str, author: str, for_s: float) -> Wish:
    """A claim step's wish."""
    keepers = tuple(name for name in params.get("keepers", "").split(",") if name)
    floor = params.get("floor", "0")
    return Wish(params.get("pool", ""), run, params.get("replica", ""), keepers,
                int(floor) if floor.isdecimal() else 0, author, for_s)  # fmt: skip


class Keepers:
    """Talks to the keepers of pools; one claim of this console at a time for each."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._turns: dict[str, asyncio.Lock] = {}

    async def out(self, wish: Wish, deadline_s: float) -> Said:
        """Have a replica go out, tried again while others change the pool, `deadline_s` real seconds at most."""
        until = self._owner.clock.real() + deadline_s
        async with self._turns.setdefault(wish.pool, asyncio.Lock()):
            while True:
                said = await self._round(wish)
                if said.ok or not said.again or self._owner.clock.real() >= until:
                    return said
                await self._owner.clock.sleep(random.uniform(*AGAIN_S))

    async def back(self, wish: Wish) -> Said:
        """Tell them that it is back, or goes out no more."""
        votes = await self._all(wish, Wanted.BACK)
        heard = sum(vote.granted for vote in votes.values())
        return Said(heard >= wish.majority, f"{heard} of {len(wish.keepers)} keepers of {wish.pool} know it is back")

    async def _round(self, wish: Wish) -> Said:
        """Lock, count, out, unlock."""
        votes = await self._lock(wish)
        locked = {name: vote for name, vote in votes.items() if vote.granted}
        if len(locked) < wish.majority:
            await self._all(wish, Wanted.UNLOCK)
            return self._short(wish, votes, "agree that we change it")
        try:
            said, ready, floor = self._count(wish, votes)
            if other := next((name for name, vote in locked.items() if {*vote.keepers} != {*wish.keepers}), ""):
                says = f"{other} has other keepers of {wish.pool} in its configuration than the plan: make them alike"
                return Said(False, says)
            if said is not None:
                return said
            now = self._owner.clock.now().wall
            answers = await self._all(wish, Wanted.OUT, for_s=wish.for_s, ready=ready, floor=floor, only=set(locked))
            outs = [name for name, vote in answers.items() if vote.granted]
            if len(outs) < wish.majority:
                await self._all(wish, Wanted.BACK)
                return self._short(wish, answers, "have it written down")
            says = (
                f"{len(outs)} of {len(wish.keepers)} keepers of {wish.pool} agree: {ready} ready, the floor is {floor}"
            )
            return Said(True, says, now + wish.for_s)
        finally:
            await self._all(wish, Wanted.UNLOCK)

    async def _lock(self, wish: Wish) -> dict[str, Claimed]:
        """The votes on the lock. The first keeper that answers is asked before the others: who does not get it there
        asks no further, so that two who come at once do not share the votes for ever."""
        for_s, votes = min(LOCK_MOST_S, LOCK_S * self._owner.clock.speed), dict[str, Claimed]()
        left = list(wish.keepers)
        while left:
            name = left.pop(0)
            votes |= await self._all(wish, Wanted.LOCK, for_s=for_s, only={name})
            if votes[name].granted:
                break
            if not votes[name].says.startswith(AWAY):
                return votes | {one: Claimed(0, False, _NOT_ASKED) for one in left}
        return votes | (await self._all(wish, Wanted.LOCK, for_s=for_s, only=set(left)))

    def _count(self, wish: Wish, votes: Mapping[str, Claimed]) -> tuple[Said | None, int, int]:
        """What is ready now and in nobody's hands, ours counted; a sentence where that is not enough."""
        fleet = self._owner.fleet
        floor = max([wish.floor, *(vote.floor for vote in votes.values())])
        outs = {one.replica: one for vote in votes.values() for one in vote.outs if one.run != wish.run}
        outs |= {one.replica: one for vote in votes.values() for one in vote.outs if one.replica != wish.replica}
        if wish.replica in outs:
            one = outs[wish.replica]
            return Said(False, f"it is out already, by the run {one.run} of {one.by}"), 0, floor
        names = {row: f"{fleet.hosts[int(fleet.replicas.host[row])].host_id}/{fleet.replicas.ids[row]}"
                 for row in pool_rows(fleet, wish.pool)}  # fmt: skip
        others = [row for row in ready_rows(fleet, wish.pool) if names[row] != wish.replica and names[row] not in outs]
        if len(others) < floor:
            held = f", {len(outs)} are out for others" if outs else ""
            says = f"only {len(others)} others of {wish.pool} are ready{held}: the floor is {floor}"
            return Said(False, says), 0, floor
        return None, len(others) + 1, floor

    def _short(self, wish: Wish, votes: Mapping[str, Claimed], what: str) -> Said:
        """Too few said yes. Those that said no may say yes in a moment; those that are away will not."""
        yes = sum(vote.granted for vote in votes.values())
        why = [f"{name}: {vote.says}" for name, vote in votes.items() if not vote.granted and vote.says != _NOT_ASKED]
        says = f"{yes} of the {len(wish.keepers)} keepers of {wish.pool} {what}, {wish.majority} are needed"
        answered = sum(not vote.says.startswith(AWAY) for vote in votes.values())
        told = "; ".join(one.replace(f": {AWAY}", ": ") for one in why[:3])
        enough = answered >= wish.majority
        return Said(False, f"{says} ({told})" if told else says, again=enough, away=not enough)

    async def _all(
        self, wish: Wish, what: Wanted, *, for_s: float = 0.0, ready: int = 0, floor: int = 0,
        only: set[str] | None = None,
    ) -> dict[str, Claimed]:  # fmt: skip
        """The votes of all keepers by name; one that is away votes no, its sentence begins with `AWAY`."""
        votes: dict[str, Claimed] = {}

        async def one(name: str) -> None:
            claim = Claim(0, wish.pool, wish.run, what, wish.author, wish.replica, for_s, ready, floor)
            votes[name] = await self._vote(name, claim)

        async with asyncio.TaskGroup() as group:
            for name in wish.keepers:
                if only is None or name in only:
                    group.create_task(one(name))
        return votes

    async def _vote(self, name: str, claim: Claim) -> Claimed:
        record = keeper_host(self._owner.fleet, name)
        if record is None:
            return Claimed(0, False, f"{AWAY}{name} is no host of this fleet")
        try:
            answer = (await self._owner.request(record.number, claim, EACH_S))[-1]
        except RequestError as error:
            return Claimed(0, False, f"{AWAY}{error}")
        return answer if isinstance(answer, Claimed) else Claimed(0, False, f"{AWAY}{name} answers something else")
