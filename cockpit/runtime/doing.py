"""One step of a run, done: sent, waited for, asked or written down, to the point where the journals say more than we.

Rule: what was sent and not answered is looked for before it is sent again, and then under the same key: the ledger of
its host takes a key once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import pairwise
from typing import ClassVar

from agent.wire.actions import Act, Acted, ActionFacts, ActMode
from agent.wire.requests import Annotate, Mark
from cockpit.errors import RequestError
from cockpit.fleet.records import HostRecord
from cockpit.runbook import journal
from cockpit.runbook.journal import Now
from cockpit.runbook.records import Plan, Step, StepKind
from cockpit.runtime.base import AWAY, DOUBT, Owner, ask
from cockpit.runtime.claims import Keepers, Wish, wish_of
from cockpit.runtime.voice import SAYS, Voice
from cockpit.runtime.waiting import Waiter

BEGIN_S = 30.0  # real seconds within which an agent that was asked must have begun
SOUGHT_S = 8.0  # how long a lost reply is looked for on a link that stays up
LOOK_S = 0.1
AGAIN_S = 0.5
OUT_S = 3600.0  # data seconds that a replica is out at most, as its keepers count


class Doer:
    """Does steps of one run. `entries` are ledger entries that were answered to us, `says` what each step waits for,
    `lost` the names of steps of which the reply was lost; `changed` is called when one of these changes."""

    def __init__(
        self, owner: Owner, keepers: Keepers, plan: Plan, voice: Voice, overrides: tuple[str, ...],
        changed: Callable[[], None],
    ) -> None:  # fmt: skip
        self.entries: dict[str, ActionFacts] = {}
        self.says: dict[str, str] = {}
        self.lost: set[str] = set()
        self.asked: dict[str, asyncio.Future[tuple[bool, str]]] = {}
        self._owner, self._keepers, self._plan, self._voice = owner, keepers, plan, voice
        self._overrides, self._changed = overrides, changed
        self._claimed = 0.0

    async def do(self, now: Now) -> None:
        """One step."""
        try:
            await (self._take_back(now) if now.back else self._KINDS[now.step.kind](self, now))
        except RequestError as error:
            await self._voice.mark(now.name, journal.FAILED, str(error))
        finally:
            self.says.pop(now.name, None)
            self.asked.pop(now.name, None)

    def expect(self, name: str) -> None:
        """From now on the operator may answer the step of this name."""
        self.asked[name] = asyncio.get_running_loop().create_future()
        self.progress(name, "waits for the operator")

    async def halt(self, now: Now, key: str) -> None:
        """No longer wait for an action."""
        act = Act(0, f"{key[:58]}/halt", ActMode.HALT, of=key, author=self._voice.author, run=self._plan.id,
                  step=now.step.n)  # fmt: skip
        try:
            answer = await ask(self._owner, now.step.target.host_id, act)
        except RequestError:
            return  # it has ended, or its host is away: either is seen
        if isinstance(answer, Acted):
            self.entries[key] = journal.newer(self.entries.get(key), answer.action)

    async def _run(self, now: Now) -> None:
        step, plan, clock = now.step, self._plan, self._owner.clock
        if why := await self._claimed_anew(step):
            await self._voice.mark(now.name, journal.FAILED, f"nothing was done: {why}")
            return
        record = self._record(step.target.host_id)
        begin = clock.now().wall + BEGIN_S * clock.speed
        begin = min(begin, self._claimed) if self._claimed else begin
        act = Act(
            0, f"{plan.id}/{now.name}", ActMode.RUN, step.action, step.target.subject, step.params, "",
            self._voice.author, self._voice.reason[:SAYS], plan.id, step.n, plan.runbook, plan.hash, plan.incident,
            step.expect, begin + (record.skew_s if record is not None else 0.0), step.lease_s, step.on_orphan,
            self._overrides,
        )  # fmt: skip
        await self._act(now, act)

    async def _take_back(self, now: Now) -> None:
        if now.step.kind is StepKind.CLAIM:
            said = await self._keepers.back(self._wish(now.step))
            await self._voice.mark(now.name, journal.DONE if said.ok else journal.FAILED, said.says)
            return
        assert now.entry is not None
        plan = self._plan
        act = Act(
            0, f"{plan.id}/{now.name}", ActMode.UNDO, of=now.entry.undoes or now.entry.key, author=self._voice.author,
            reason=self._voice.reason[:SAYS], run=plan.id, step=now.step.n, runbook=plan.runbook, plan=plan.hash,
            incident=plan.incident,
        )  # fmt: skip
        await self._act(now, act)

    async def _act(self, now: Now, act: Act) -> None:
        """Send it until its host has it, or says that it will not."""
        clock, host_id = self._owner.clock, now.step.target.host_id
        first = clock.real()
        if why := await self._voice.strange(host_id):
            await self._voice.mark(now.name, journal.FAILED, f"nothing was done: {why}")
            return
        while True:
            try:
                answer = await ask(self._owner, host_id, act)
            except RequestError as error:
                if error.code in DOUBT:
                    if await self._sought(now, act.key):
                        return
                    continue
                if error.code not in AWAY or clock.real() - first > BEGIN_S:
                    await self._voice.mark(now.name, journal.FAILED, f"nothing was done: {error}")
                    return
                self.progress(now.name, str(error))
                await clock.sleep(AGAIN_S)
                continue
            if isinstance(answer, Acted):
                self.entries[act.key] = answer.action
            self.lost.discard(now.name)
            return

    async def _sought(self, now: Now, key: str) -> bool:
        """Whether the ledger has the entry of which the reply was lost, once it could be looked at. That it has not is
        only known after a new session has told all, or after `SOUGHT_S` on one that stayed."""
        clock, host_id = self._owner.clock, now.step.target.host_id
        self.lost.add(now.name)
        self.progress(now.name, "the reply was lost: looking whether it was taken")
        record, since = self._record(host_id), clock.real()
        before = record.hands.specs if record is not None else None
        while True:
            record = self._record(host_id)
            if record is not None and record.live:
                if key in record.hands.actions:
                    self.lost.discard(now.name)
                    return True
                if record.hands.specs is not before or clock.real() - since > SOUGHT_S:
                    return False
            await clock.sleep(LOOK_S)

    async def _wait(self, now: Now) -> None:
        waiter = Waiter(self._owner, self._plan, now.step, self._voice.author)
        state, says = await waiter.until_over(lambda text: self.progress(now.name, text))
        await self._voice.mark(now.name, state, says)

    async def _claim(self, now: Now) -> None:
        wish = self._wish(now.step)
        if now.step.condition == "back":
            said = await self._keepers.back(wish)
            bad = journal.SKIPPED if now.step.soft else journal.FAILED
            await self._voice.mark(now.name, journal.DONE if said.ok else bad, said.says)
            return
        said = await self._keepers.out(wish, now.step.deadline_s / self._owner.clock.speed)
        self._claimed = said.until if said.ok else 0.0
        state = journal.DONE if said.ok else journal.FAILED
        if not said.ok and "quorum" in self._overrides and said.away:
            state, said = journal.SKIPPED, replace(said, says=f"passed by the operator: {said.says}")
        await self._voice.mark(now.name, state, said.says)

    async def _claimed_anew(self, step: Step) -> str:
        """The step that takes a replica out rests on the keepers' word. Where that was given to another console, or has
        run out meanwhile, it is asked for again; why it is refused, if it is."""
        ours = [one for one in self._plan.steps if one.target == step.target]
        claim = next((one for one, later in pairwise(ours) if later.n == step.n), step)
        if claim.kind is not StepKind.CLAIM or claim.condition == "back":
            return ""
        if "quorum" in self._overrides or self._claimed > self._owner.clock.now().wall:
            return ""
        said = await self._keepers.out(self._wish(claim), claim.deadline_s / self._owner.clock.speed)
        self._claimed = said.until if said.ok else 0.0
        return "" if said.ok else said.says

    def _wish(self, claim: Step) -> Wish:
        """Out for as long as the rest of the plan may take on that host."""
        rest = sum(step.deadline_s for step in self._plan.steps if step.target.host_id == claim.target.host_id)
        return wish_of(claim.params, self._plan.id, self._voice.author, min(OUT_S, rest + 60.0))

    async def _ask(self, now: Now) -> None:
        yes, author = await self.asked[now.name]
        says = f"{author} said {'yes' if yes else 'no'}"
        await self._voice.mark(now.name, journal.DONE if yes else journal.FAILED, says)

    async def _note(self, now: Now) -> None:
        note = Annotate(
            0, f"{self._plan.id}/{now.name}", Mark.NOTE, self._voice.author, now.step.title[:1000], "",
            now.step.target.subject,
        )  # fmt: skip
        await ask(self._owner, now.step.target.host_id, note)
        await self._voice.mark(now.name, journal.DONE, now.step.title)

    def progress(self, name: str, text: str) -> None:
        """What a step waits for."""
        if self.says.get(name) != text:
            self.says[name] = text
            self._changed()

    def _record(self, host_id: str) -> HostRecord | None:
        return next((one for one in self._owner.fleet.hosts if one.host_id == host_id), None)

    _KINDS: ClassVar[dict[StepKind, Callable[["Doer", Now], Awaitable[None]]]] = {
        StepKind.ACTION: _run, StepKind.WAIT: _wait, StepKind.CHECK: _wait, StepKind.CLAIM: _claim,
        StepKind.ASK: _ask, StepKind.NOTE: _note,
    }  # fmt: skip
