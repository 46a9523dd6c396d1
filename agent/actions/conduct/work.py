"""One action at work: durable before it begins, done, looked at, durable again. Every boundary has a name, and whoever
is killed there leaves a ledger from which the next start learns what to look at.

`accepted`: it is written down. `before-run`: that it runs is written down; nothing is touched. `after-run`: it was
done, nobody knows. `before-end`: its end is known and not written down. `ended`: it is.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from agent.actions.base import Executor, Preflight, Result, RootAbsent, RootLost, Who, World
from agent.actions.conduct import lookback
from agent.actions.conduct.ledger import Entry
from agent.actions.conduct.record import Progress, Record
from agent.errors import Refusal
from agent.sources.processes.redact import redact_text
from agent.wire.actions import Act, ActionFacts, ActState

log = logging.getLogger(__name__)

MOST_S = 3 * 3600.0  # an executor has its own deadlines: this is for one that has forgotten them
RETRIES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 60.0, 120.0, 300.0)
PATIENT_S = 45.0  # so long what the helper has begun and not ended may still be going on
JOURNAL = "the journal of this host cannot be written now: nothing was done"
SAYS = 1024

Step = Callable[[str, str], None]


def nothing(name: str, key: str) -> None:
    """The `Step` of an agent that is not watched."""
    del name, key


@dataclass(slots=True)
class Job:
    """One action on its way. `found` is what the last look gave."""

    entry: Entry
    act: Act
    who: Who
    executor: Executor
    found: Preflight


class Worker:
    """Does jobs, and looks after those of which nobody knows how they ended. `step` hears the name of every boundary,
    `over` of every end."""

    def __init__(self, world: World, record: Record, over: Callable[[Entry], None], step: Step = nothing) -> None:
        self._world = world
        self._record = record
        self._over = over
        self._step = step

    async def do(self, job: Job) -> None:
        """From accepted to its end. Cancelled, nothing more is written: the next start looks."""
        key = job.entry.key
        job.entry = job.entry.now(state=ActState.RUNNING, began=self._record.clock.wall(), says="")
        self._record.write(job.entry)
        if not await self._record.durable():
            self._end(job.entry, Result(ActState.FAILED, JOURNAL))
            return
        self._step("before-run", key)
        result = await self._run(job)
        self._step("after-run", key)
        if result.state is ActState.UNKNOWN:
            await self.resolve(job.entry, job.executor, result.says)
            return
        await self.end(job.entry, result)

    async def end(self, entry: Entry, result: Result) -> None:
        """Write down how it ended."""
        self._step("before-end", entry.key)
        self._end(entry, result)
        await self._record.durable()
        self._step("ended", entry.key)

    async def resolve(self, entry: Entry, executor: Executor | None, why: str) -> None:
        """Nobody said how it ended: look until it is known, or for as long as looking makes sense. Its target stays
        taken meanwhile."""
        clock, since = self._record.clock, self._record.clock.real()
        if executor is None:
            await self.end(entry, Result(ActState.UNKNOWN, f"{why}; this agent no longer knows {entry.facts.action}"))
            return
        result = await self._look(entry.facts, executor, patient=True)
        if result.state is ActState.UNKNOWN:
            entry = entry.now(state=ActState.UNKNOWN, says=_cut(f"{why}; it is looked for ({result.says})"))
            self._record.write(entry)
        for pause in RETRIES_S if result.state is ActState.UNKNOWN else ():
            await clock.sleep(pause)
            result = await self._look(entry.facts, executor, patient=clock.real() - since < PATIENT_S)
            if result.state is not ActState.UNKNOWN:
                break
        await self.end(entry, result)

    async def _run(self, job: Job) -> Result:
        progress = Progress(self._record, job.entry.facts)
        try:
            async with asyncio.timeout(MOST_S):
                return await job.executor.run(job.act, job.who, job.found, self._world, progress.said)
        except Refusal as no:
            return Result(ActState.FAILED, str(no))
        except RootAbsent as absent:
            return Result(ActState.FAILED, f"nothing was done: {absent}")
        except (RootLost, OSError, TimeoutError) as lost:
            return Result(ActState.UNKNOWN, str(lost) or "it took too long")
        except Exception as error:  # an executor that breaks has done who knows what: look
            log.exception("%s failed", job.act.action)
            return Result(ActState.UNKNOWN, f"it broke off ({type(error).__name__}); the agent's log has the details")
        finally:
            progress.flush()

    async def _look(self, facts: ActionFacts, executor: Executor, *, patient: bool) -> Result:
        try:
            async with asyncio.timeout(lookback.LOOK_S):
                helper = await lookback.heard(self._world.root, facts.key)
                world = await lookback.seen(facts, executor, self._world)
        except TimeoutError:
            return Result(ActState.UNKNOWN, f"looking took longer than {lookback.LOOK_S:g} s")
        except Exception as error:
            log.exception("%s could not be looked at", facts.action)
            return Result(ActState.UNKNOWN, f"looking broke off ({type(error).__name__})")
        return lookback.verdict(facts, helper, world, patient=patient)

    def _end(self, entry: Entry, result: Result) -> None:
        known = (ActState.DONE, ActState.FAILED, ActState.UNKNOWN, ActState.INTERRUPTED)
        state = result.state if result.state in known else ActState.UNKNOWN
        changes = {"state": state, "ended": self._record.clock.wall(), "says": _cut(result.says)}
        entry = entry.now(**changes, parts=dict(result.parts) or entry.facts.parts)
        self._record.write(entry)
        self._over(entry)


def _cut(text: str) -> str:
    """What an engine or a program said may hold a secret, and goes into the journal."""
    text = redact_text(text)
    return text if len(text) <= SAYS else text[: SAYS - 1] + "…"
