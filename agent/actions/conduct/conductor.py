"""Takes what consoles want of this host's hands: one answer for each wish, one execution for each key.

An answer comes within `ANSWER_S`, and before it the journal has the entry; what takes longer than that was not taken.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from agent.actions.base import Executor, Preflight, RootAbsent, RootLost, Who, World
from agent.actions.conduct import gate, wish
from agent.actions.conduct import who as roles
from agent.actions.conduct.leases import granted
from agent.actions.conduct.ledger import Entry
from agent.actions.conduct.record import Record
from agent.actions.conduct.touch import held, touches
from agent.actions.conduct.work import JOURNAL, Job, Step, Worker, nothing
from agent.errors import Refusal
from agent.wire.actions import Act, Acted, ActionFacts, ActState, Guard

LOOK_S = 2.6  # of one look before an action; a console waits 5 s in all
ANSWER_S = 4.2
FRESH_S = 0.5  # a look that is older is taken again at the last moment
WAITING = "the agent has only just started; ask again in a moment"

Done = Callable[[Entry], None]


@dataclass(slots=True)
class _Taking:
    """A wish that is being taken: who sends it again meanwhile gets the same answer. Another user is judged by his own
    role, for a key is no secret."""

    about: str
    answer: "asyncio.Future[Acted]"


class Conductor:
    """`executors` by the id of their action. `over` hears of every entry that has come to its end; `refused` of every
    attempt that was not taken, with the code of the refusal."""

    def __init__(
        self,
        boot_id: str,
        world: World,
        record: Record,
        executors: Mapping[str, Executor],
        *,
        over: Done,
        refused: Callable[[ActionFacts, Who, str], None],
        step: Step = nothing,
    ) -> None:
        self._boot_id = boot_id
        self._world = world
        self._record = record
        self._ledger = record.ledger
        self._clock = record.clock
        self._executors = executors
        self._tell_over = over
        self._refused = refused
        self._step = step
        self._worker = Worker(world, record, self._over, step)
        self._group: asyncio.TaskGroup | None = None
        self._taking: dict[tuple[str, int], _Taking] = {}
        self._at_work: dict[str, frozenset[str]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._halted: dict[str, str] = {}

    @property
    def at_work(self) -> dict[str, frozenset[str]]:
        """The subjects that actions have their hands on now, by key: those of when it began, for a replica may be gone
        from the facts meanwhile, and those of now, for after a start the facts come later."""
        found = {}
        for key, subjects in self._at_work.items():
            entry = self._ledger.get(key)
            now = touches(entry.facts.action, entry.facts.subject, self._world.facts) if entry else frozenset()
            found[key] = subjects | now
        return found

    async def run(self) -> None:
        """Take wishes until cancelled; first see to what an earlier start left unfinished."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._recover(group)
                await asyncio.Event().wait()
        finally:
            self._group = None

    async def dry(self, act: Act, who: Who) -> Acted:
        """What would be done. Nothing is changed or written.

        Raises:
            Refusal: there is no such action or target.
        """
        wish.checked(act)
        act, undoes = self._meant(act)
        executor = self._executor(act)
        looked = await self._look(act, who, executor, ANSWER_S - 0.4)
        entry = self._entry(act, who, looked.found, undoes)
        return Acted(act.id, entry.facts, looked.guards, dict(looked.expect), looked.found.effect)

    async def take(self, act: Act, who: Who) -> Acted:
        """Have it done; the answer says that it is written down.

        Raises:
            Refusal: it is not done.
        """
        wish.checked(act)
        about = wish.about(act)
        if (known := self._ledger.get(act.key)) is not None:
            _same(about, known.about)
            return Acted(act.id, known.facts)
        taking = self._taking.get((act.key, who.uid))
        if taking is None:
            if self._group is None:
                raise Refusal("denied", WAITING)
            taking = self._take_up(act, who, about, self._group)
        _same(about, taking.about)
        return replace(await asyncio.shield(taking.answer), id=act.id)

    def take_soon(self, act: Act, who: Who) -> None:
        """The same for the agent itself, which waits for no answer."""
        if self._group is not None and (act.key, who.uid) not in self._taking:
            self._take_up(act, who, wish.about(act), self._group)

    async def halt(self, act: Act, who: Who) -> Acted:
        """Stop waiting for an action; what is done stays done, and what became of it is looked at.

        Raises:
            Refusal: there is nothing to stop, or the caller may not.
        """
        entry, task = self._known(act.of), self._tasks.get(act.of)
        if entry.uid != who.uid and not roles.covers(who.role, entry.role or roles.ADMIN):
            raise Refusal("denied", roles.guard(who, entry.role or roles.ADMIN).says)
        if task is None or not entry.open:
            raise Refusal("gone", f"{act.of} has ended: {entry.facts.state.value}")
        if act.of not in self._halted and entry.facts.state is not ActState.UNKNOWN:
            self._halted[act.of] = who.by or who.user
            self._record.line(entry.facts, f"{who.by or who.user} asks to stop waiting for it")
            task.cancel()
        return Acted(act.id, entry.facts)

    # Inside.

    def _take_up(self, act: Act, who: Who, about: str, group: asyncio.TaskGroup) -> _Taking:
        taking = self._taking[act.key, who.uid] = _Taking(about, asyncio.get_running_loop().create_future())
        taking.answer.add_done_callback(lambda answer: answer.cancelled() or answer.exception())
        group.create_task(self._accept(act, who, taking), name=f"take:{act.key}")
        return taking

    async def _accept(self, act: Act, who: Who, taking: _Taking) -> None:
        since = self._clock.real()
        facts = ActionFacts(act.key, act.action, act.subject)
        try:
            meant, undoes = self._meant(act)
            executor = self._executor(meant)
            facts = self._entry(meant, who, Preflight(()), undoes).facts
            gate.in_time(meant, self._clock.wall())
            looked = await self._look(meant, who, executor, LOOK_S)
            if (known := self._ledger.get(act.key)) is not None:  # another user's wish was taken meanwhile
                _same(wish.about(act), known.about)
                self._taking.pop((act.key, who.uid), None)
                taking.answer.set_result(Acted(act.id, known.facts))
                return
            gate.check(meant, looked)
            job = self._enter(meant, who, executor, looked, undoes, wish.about(act))
        except Refusal as no:
            taking.answer.set_exception(no)
            self._taking.pop((act.key, who.uid), None)
            self._refused(replace(facts, state=ActState.FAILED, says=f"refused: {no}"), who, no.code)
            return
        except BaseException as error:
            self._taking.pop((act.key, who.uid), None)
            if not taking.answer.done():
                taking.answer.set_exception(Refusal("denied", f"nothing was done: {type(error).__name__} in the agent"))
            if not isinstance(error, Exception):
                raise
            self._refused(replace(facts, state=ActState.FAILED, says=f"refused: {type(error).__name__}"), who, "")
            return
        await self._begin(job, taking, since)

    def _enter(self, act: Act, who: Who, executor: Executor, looked: gate.Looked, undoes: str, about: str) -> Job:
        """Into the ledger, and the target is taken: in one turn of the loop, after the last look at who has it."""
        wanted = touches(act.action, act.subject, self._world.facts)
        other = held(wanted, self.at_work.items())
        if other is not None:
            raise Refusal("busy", gate.busy(other)[0].says)
        entry = self._entry(act, who, looked.found, undoes)
        entry = replace(entry, about=about, role=looked.found.role)
        if act.lease_s and executor.spec.undo:
            entry = granted(entry, act.lease_s, self._boot_id, self._clock.now())
        self._at_work[act.key] = wanted
        self._record.write(entry)
        return Job(entry, act, who, executor, looked.found)

    async def _begin(self, job: Job, taking: _Taking, since: float) -> None:
        """Answer once the journal has it, then do it."""
        key = job.entry.key
        try:
            durable = await self._record.durable()
            if not durable or self._clock.real() - since > ANSWER_S:
                says = "the agent was too slow to answer: nothing was done" if durable else JOURNAL
                job.entry = job.entry.now(state=ActState.FAILED, ended=self._clock.wall(), says=says)
                self._record.write(job.entry)
                taking.answer.set_exception(Refusal("journal", says))
                self._over(job.entry)
                return
            taking.answer.set_result(Acted(job.act.id, job.entry.facts))
            self._taking.pop((key, job.who.uid), None)
            self._step("accepted", key)
            await self._work(job, self._clock.real())
        finally:
            self._taking.pop((key, job.who.uid), None)
            self._at_work.pop(key, None)
            self._tasks.pop(key, None)
            self._halted.pop(key, None)
            self._record.publish()

    async def _work(self, job: Job, looked_at: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks[job.entry.key] = task
        try:
            if not await self._still(job, looked_at):
                return
            await self._worker.do(job)
        except asyncio.CancelledError:
            if job.entry.key not in self._halted:
                raise
            task.uncancel()
            entry = self._ledger.get(job.entry.key) or job.entry
            if entry.open:
                by = self._halted[job.entry.key]
                await self._worker.resolve(entry, job.executor, f"{by} stopped waiting for it")

    async def _still(self, job: Job, looked_at: float) -> bool:
        """Whether it is still so at the last moment; if not, that is its end, and nothing was touched."""
        try:
            gate.in_time(job.act, self._clock.wall())
            if self._clock.real() - looked_at > FRESH_S:
                looked = await self._look(job.act, job.who, job.executor, LOOK_S, own=job.entry.key)
                gate.check(job.act, looked)
                job.found = looked.found
        except Refusal as no:
            job.entry = job.entry.now(state=ActState.FAILED, ended=self._clock.wall(), says=f"nothing was done: {no}")
            self._record.write(job.entry)
            self._over(job.entry)
            return False
        return True

    async def _look(self, act: Act, who: Who, executor: Executor, within_s: float, own: str = "") -> gate.Looked:
        try:
            async with asyncio.timeout(within_s):
                found = await executor.preflight(act, who, self._world)
        except TimeoutError:
            says = f"looking at {act.subject} took longer than {within_s:g} s: how it is now is not known"
            found = Preflight((), (Guard("look", False, says),))
        except (RootAbsent, RootLost) as error:
            found = Preflight((), (Guard("policy", False, str(error)),))
        others = [(key, on) for key, on in self.at_work.items() if key != own]
        other = held(touches(act.action, act.subject, self._world.facts), others)
        expect = dict(found.expect)
        more = gate.busy(other) if "boot" in expect else (*gate.busy(other), *gate.boot(act, self._boot_id))
        expect.setdefault("boot", self._boot_id)
        return gate.Looked(found, gate.judged(found, who, more), expect)

    def _over(self, entry: Entry) -> None:
        """It has ended: whoever reads that may want its target at once."""
        self._at_work.pop(entry.key, None)
        self._tell_over(entry)

    def _meant(self, act: Act) -> tuple[Act, str]:
        """The action that is wanted, and the key of what it takes back: a wish to undo is one for the inverse."""
        if not act.of:
            return act, ""
        entry = self._known(act.of)
        if entry.open:
            raise Refusal("busy", f"{act.of} has not ended yet: it is {entry.facts.state.value}")
        if entry.facts.undone:
            raise Refusal("gone", f"{act.of} was taken back already, by {entry.facts.undone}")
        executor = self._executors.get(entry.facts.action)
        inverse = executor.inverse(entry.facts) if executor else None
        if inverse is None:
            raise Refusal("invalid", f"{entry.facts.action} cannot be undone")
        action, params = inverse
        meant = replace(act, action=action, subject=entry.facts.subject, params=params, lease_s=0.0)
        return replace(meant, incident=act.incident or entry.facts.incident), act.of

    def _executor(self, act: Act) -> Executor:
        executor = self._executors.get(act.action)
        if executor is None:
            raise Refusal("unknown", f"this host knows no action {act.action[:64]!r}")
        return executor

    def _known(self, key: str) -> Entry:
        entry = self._ledger.get(key)
        if entry is None:
            raise Refusal("unknown", f"the ledger of this host has no action {key[:64]!r}")
        return entry

    def _entry(self, act: Act, who: Who, found: Preflight, undoes: str) -> Entry:
        return Entry(
            ActionFacts(
                key=act.key, action=act.action, subject=act.subject, params=dict(act.params), by=act.author,
                user=who.user[:64], reason=act.reason, run=act.run, step=act.step, runbook=act.runbook, plan=act.plan,
                incident=act.incident, at=self._clock.wall(), command=found.commands, before=dict(found.before),
                undo=found.undo, undoes=undoes, on_orphan=act.on_orphan, overrides=act.overrides,
            ),
            uid=who.uid,
        )  # fmt: skip

    def _recover(self, group: asyncio.TaskGroup) -> None:
        for entry in self._ledger.open():
            if entry.facts.state is ActState.ACCEPTED:
                says = "the agent ended before it began: nothing was touched"
                ended = entry.now(state=ActState.INTERRUPTED, ended=self._clock.wall(), says=says)
                self._record.write(ended)
                self._over(ended)
            else:
                facts = entry.facts
                self._at_work[entry.key] = touches(facts.action, facts.subject, self._world.facts)
                group.create_task(self._resume(entry), name=f"settle:{entry.key}")

    async def _resume(self, entry: Entry) -> None:
        try:
            executor = self._executors.get(entry.facts.action)
            await self._worker.resolve(entry, executor, "the agent ended while it was at work")
        finally:
            self._at_work.pop(entry.key, None)
            self._record.publish()


def _same(about: str, known: str) -> None:
    if about != known:
        raise Refusal("invalid", "this key was used for another action already; take a new one")
