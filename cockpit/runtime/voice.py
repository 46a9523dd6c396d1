"""What a run that we lead says to the journals of its targets, and what it has said.

Rule: what was judged or decided is written down where it happened; a host that is away gets it when it is back. A word
has a key, so that saying it again changes nothing.
"""

import asyncio
from dataclasses import replace

from agent.wire.actions import Mark, RunSays, Said
from cockpit.errors import RequestError
from cockpit.runbook import journal
from cockpit.runbook.packing import packed
from cockpit.runbook.records import Plan, RunState
from cockpit.runtime.base import AWAY, DOUBT, Owner, ask, name_of
from cockpit.runtime.outbox import AGAIN_S, Outbox

TOLD_S = 5.0  # real seconds that one waits for a word to be in the journals, before going on without
LAST_S = 10.0
SAYS = 500


class Voice:
    """`author` is the operator, `token` tells this console from others of theirs. `marks` are what was said of steps
    and may not have come back as facts yet; `anew` what has to be judged again whatever was said; `there` are the hosts
    that are known to have this run with this plan: all, unless it was taken over."""

    def __init__(self, owner: Owner, plan: Plan, author: str, token: str, reason: str) -> None:
        self.author, self.reason = author, reason
        self.marks: dict[str, Mark] = {}
        self.anew: frozenset[str] = frozenset()
        self.there = set(plan.hosts)
        self.box = Outbox(owner, plan.hosts)
        self._owner, self._plan, self._token = owner, plan, token
        self._name = f"{author[:56]}#{token}"
        self._count = 0

    async def begin(self) -> None:
        """Every host of the plan writes it down, or it does not begin.

        Raises:
            RequestError: one does not; those that had it know that it has ended.
        """
        plan = self._plan
        word = replace(
            self._word(Said.BEGUN, "begun"), runbook=plan.runbook, subject=plan.target.subject, plan=packed(plan),
            host=plan.target.host_id,
            plan_hash=plan.hash, reason=self.reason[:SAYS], incident=plan.incident,
        )  # fmt: skip
        results = await self._all(word, plan.hosts)
        bad = [(host, error) for host, error in results.items() if error is not None]
        if not bad:
            return
        host, error = bad[0]
        says = f"{name_of(self._owner, host)} did not take it: {error}; nothing was done"
        await self._all(self._end(RunState.FAILED, says), plan.hosts)  # also where it was refused: it may stand there
        raise RequestError(error.code, says)

    async def take_over(self, *, onward: bool) -> None:
        """From now on we lead it: all hosts that can be reached know. `onward`: new steps are to be done.

        Raises:
            RequestError: none can be reached, or one was never told of this plan and is to go on with it: what one host
                says of a run moves no other.
        """
        word = replace(self._word(Said.TAKEN, self._own("taken")), plan_hash=self._plan.hash)
        results = await self._all(word, self._plan.hosts)
        self.there = {host for host, error in results.items() if error is None}
        for host, error in results.items():
            if onward and error is not None and error.code not in DOUBT | AWAY:
                says = f"{name_of(self._owner, host)} was not told of this run ({error}): abort it and plan anew"
                raise RequestError(error.code, says)
        failed = [error for error in results.values() if error is not None]
        if len(failed) == len(results):
            raise RequestError(failed[0].code, f"nobody can be told that the run is led from here: {failed[0]}")

    async def strange(self, host: str) -> str:
        """Why nothing is done at a host: it was away when we took the run over, and is not known to have its plan."""
        if host in self.there:
            return ""
        word = replace(self._word(Said.TAKEN, self._own("taken")), plan_hash=self._plan.hash)
        error = await self._tell(host, word)
        if error is None:
            self.there.add(host)
        return str(error or "")

    async def mark(self, name: str, state: str, says: str) -> None:
        """Write down what became of a step, and wait a moment that the journals have it."""
        word = replace(self._word(Said.STEP, self._own(name)), step=name, state=state, says=says[:SAYS])
        letters = self.box.say(word)
        self.anew -= {name}
        self.marks[name] = Mark(name, state, says[:SAYS], self.author, self._owner.clock.now().wall)
        await self.box.heard(letters, TOLD_S)

    def again(self, name: str) -> None:
        """The operator has a step tried once more, under this name; in each journal that stands before what follows."""
        word = replace(
            self._word(Said.STEP, self._own(name)), step=name, state=journal.AGAIN, says=f"by {self.author}"[:SAYS]
        )
        self.box.say(word)
        self.marks[name] = Mark(name, journal.AGAIN, "", self.author, self._owner.clock.now().wall)

    async def renew(self) -> None:
        """A sign of life."""
        await self.box.renew(self._word(Said.RENEW, self._own("renew")))

    async def end(self, state: RunState, says: str) -> list[str]:
        """It is over; the names of the hosts that did not hear it in time."""
        return await self.box.heard(self.box.say(self._end(state, says)), LAST_S)

    def _end(self, state: RunState, says: str) -> RunSays:
        return replace(self._word(Said.ENDED, self._own("ended")), state=state.value, says=says[:SAYS])

    def _own(self, what: str) -> str:
        """A key that no other word of any console has."""
        self._count += 1
        return f"{what[:32]}/{self._token}/{self._count}"

    def _word(self, what: Said, key: str) -> RunSays:
        return RunSays(0, f"{self._plan.id}/{key}"[:64], self._plan.id, what, self._name)

    async def _all(self, word: RunSays, hosts: tuple[str, ...]) -> dict[str, RequestError | None]:
        """A word to all at once; by host, why it does not have it."""
        results = await asyncio.gather(*(self._tell(host, word) for host in hosts))
        return dict(zip(hosts, results, strict=True))

    async def _tell(self, host: str, word: RunSays) -> RequestError | None:
        """To one host, said again while it is not known whether it has it; why it has not."""
        clock = self._owner.clock
        until = clock.real() + TOLD_S
        while True:
            try:
                await ask(self._owner, host, word)
            except RequestError as error:
                if error.code not in DOUBT | AWAY or clock.real() >= until:
                    return error
            else:
                return None
            await clock.sleep(AGAIN_S)
