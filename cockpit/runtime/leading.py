"""One run that this console leads: it begins what may begin, and ends when the journals say that nothing is left.

Rule: what comes next follows from the journals alone (`cockpit.runbook.machine`); nothing is remembered here that
another console would need to go on.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from cockpit.fleet.records import HostRecord
from cockpit.runbook import journal
from cockpit.runbook.journal import Known, Now, Told, join, newer, standing
from cockpit.runbook.machine import Mind, Next, anew, decide, retried
from cockpit.runbook.records import Plan, RunState, StepKind, StepState
from cockpit.runbook.views import Live
from cockpit.runtime.base import Owner
from cockpit.runtime.claims import Keepers
from cockpit.runtime.doing import Doer
from cockpit.runtime.voice import Voice

LEASE_S = 120.0  # data seconds: the leases that library steps take
TICK_S = 0.5
_BUSY = (StepState.RUNNING, StepState.UNDOING)
_NOBODY_KNOWS = Next(
    RunState.UNKNOWN, "given up while what was under way could not be seen: look at its hosts when they are back",
    end=True,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Order:
    """What the operator has confirmed. `token` tells this console from others of the same operator."""

    plan: Plan
    author: str
    token: str
    reason: str = ""
    overrides: tuple[str, ...] = field(default=())


class Leader:
    """`changed` is called when the run stands elsewhere. `ending`: its last word is on its way; `over`: we do not lead
    it any more; `trouble` says why if that is not its end."""

    def __init__(self, owner: Owner, keepers: Keepers, order: Order, changed: Callable[[], None]) -> None:
        self.plan = order.plan
        self.mind = Mind.ON
        self.trouble = ""
        self.over = self.ending = False
        self.voice = Voice(owner, order.plan, order.author, order.token, order.reason)
        self.doer = Doer(owner, keepers, order.plan, self.voice, order.overrides, changed)
        self._owner, self._changed = owner, changed
        self._hard = False
        self._since: dict[str, float] = {}
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._sent: dict[str, Now] = {}
        self._halted: set[str] = set()
        self._stir = asyncio.Event()

    # What screens ask.

    def live(self) -> Live:
        """What only we know of it."""
        doer = self.doer
        return Live(self.mind, dict(doer.says), dict(self._since), frozenset(doer.lost), self.voice.anew)

    def known(self) -> Known:
        """What the journals say, with what was answered to us and has not come back as a fact yet."""
        fleet, run = self._owner.fleet, self.plan.id
        found = join(self.plan, (
            Told(record.host_id, record.hands.actions, record.hands.runs.get(run))
            for record in fleet.hosts if record.host_id in self.plan.hosts
        ))  # fmt: skip
        entries = dict(found.entries)
        for key, entry in self.doer.entries.items():
            entries[key] = newer(entry, entries[key]) if key in entries else entry
        return Known(entries, {**found.marks, **self.voice.marks}, found.runs)

    # What the operator wants.

    def want(self, mind: Mind, author: str) -> None:
        """Go on, stop or take back. What is to be tried again is written down before it is done."""
        self.voice.author = author or self.voice.author
        self._hard = mind is Mind.STOP and self.mind is Mind.STOP
        if mind is Mind.ON:
            nows = standing(self.plan, self.known(), self.voice.anew)
            for now in retried(self.plan, nows, mind):
                self.voice.again(journal.following(now.name))
        self.mind = mind
        self.stir()

    def answer(self, step: str, yes: bool, author: str) -> bool:
        """The operator's word; False if nothing waits for one."""
        waiting = next((one for name, one in self.doer.asked.items() if name.partition("~")[0] == step), None)
        if waiting is None or waiting.done():
            return False
        waiting.set_result((yes, author))
        return True

    def stir(self) -> None:
        """Something may have changed."""
        self._stir.set()

    # Its life.

    async def begin(self) -> None:
        """See `Voice.begin`."""
        await self.voice.begin()

    async def take_over(self, *, onward: bool) -> None:
        """See `Voice.take_over`; what was seen directly before an action is looked at again."""
        await self.voice.take_over(onward=onward)
        self.voice.anew = anew(self.plan, self.known())

    async def lead(self) -> None:
        """Until it has ended, or somebody else leads it."""
        try:
            async with asyncio.TaskGroup() as group:
                words = group.create_task(self.voice.box.run(), name="words")
                alive = group.create_task(self._live(), name="renew")
                await self._go_on(group)
                for task in (words, alive, *self._busy.values()):
                    task.cancel()
        finally:
            self.over = True
            self._changed()

    async def _go_on(self, group: asyncio.TaskGroup) -> None:
        while True:
            self._stir.clear()
            if self.voice.box.ousted:
                self.trouble = self.voice.box.ousted
                return
            nows = standing(self.plan, self.known(), self.voice.anew)
            following = decide(self.plan, nows, self.mind)
            hopeless = self._is_hopeless(nows)
            if hopeless or (following.end and self._settled(back=True)):
                await self._end(following if following.end and not hopeless else _NOBODY_KNOWS)
                return
            if not following.end and (not following.back or self._settled(back=False)):
                self._begin(group, following)
            self._overdue(group, nows)
            self._changed()
            await self._stirred()

    async def _stirred(self) -> None:
        try:
            async with asyncio.timeout(TICK_S):
                await self._stir.wait()
        except TimeoutError:
            pass

    async def _do(self, now: Now) -> None:
        try:
            await self.doer.do(now)
        finally:
            self._busy.pop(now.name, None)
            self._since.pop(now.name, None)
            self._sent.pop(now.name, None)
            self.stir()

    def _begin(self, group: asyncio.TaskGroup, following: Next) -> None:
        for now in following.begin:
            if now.name not in self._busy:
                self._since[now.name] = self._owner.clock.now().wall
                if now.step.kind is StepKind.ASK and not now.back:
                    self.doer.expect(now.name)
                task = group.create_task(self._do(now), name=f"{self.plan.id}/{now.name}")
                self._busy[now.name] = task
                if now.step.kind is StepKind.ACTION:
                    self._sent[now.name] = now

    def _settled(self, *, back: bool) -> bool:
        """Whether nothing is on its way to an agent: what is, may take place, and has to be known first. What only
        looks or asks is dropped. `back`: what takes back counts too."""
        for name, task in self._busy.items():
            if name not in self._sent and (back or "/undo" not in name):
                task.cancel()
        return not any(back or "/undo" not in name for name in self._sent)

    async def _live(self) -> None:
        """A sign of life, three times as often as leases need it."""
        while True:
            await self._owner.clock.sleep(LEASE_S / 3 / self._owner.clock.speed)
            await self.voice.renew()
            self.stir()

    # Ends.

    def _overdue(self, group: asyncio.TaskGroup, nows: list[Now]) -> None:
        """An action past the deadline of its step, or that nobody wants to wait for, is halted once."""
        wall = self._owner.clock.now().wall
        for now in nows:
            entry = now.entry
            if now.state not in _BUSY or entry is None or entry.key in self._halted:
                continue
            record = self._record(now.step.target.host_id)
            began = record.here(entry.began or entry.at, wall) if record is not None else wall
            if self._hard or wall - began > now.step.deadline_s:
                self._halted.add(entry.key)
                group.create_task(self.doer.halt(now, entry.key), name=f"halt:{entry.key}")

    def _is_hopeless(self, nows: list[Now]) -> bool:
        """Whether the operator gave it up twice and all that is under way is on hosts that cannot be reached."""
        under_way = [*(now for now in nows if now.state in _BUSY), *self._sent.values()]
        busy = [self._record(now.step.target.host_id) for now in under_way]
        return self._hard and bool(busy) and not any(record is not None and record.live for record in busy)

    async def _end(self, following: Next) -> None:
        self.ending = True
        for task in self._busy.values():
            task.cancel()
        silent = await self.voice.end(following.state, following.says)
        if silent:
            self.trouble = f"{', '.join(silent)} did not hear that it has ended: leases there run out by themselves"

    def _record(self, host_id: str) -> HostRecord | None:
        return next((one for one in self._owner.fleet.hosts if one.host_id == host_id), None)
