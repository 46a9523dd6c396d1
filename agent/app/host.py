"""The wiring of one host's agent.

Data flows one way: sources -> sampler -> board, facts, witness -> detect -> journal -> sessions. Several agents may
live in one process; nothing here is global.
"""

import asyncio
import logging
import os
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import asdict

import agent
from agent.actions.base import Hands
from agent.actions.conduct.work import Step, nothing
from agent.app.acting import Acting, Lent
from agent.app.annotating import Annotating
from agent.app.evidence import Memory
from agent.app.historian import Historian
from agent.app.judging import Judging
from agent.app.keeping import Keeping
from agent.app.logs import Logs, Reader
from agent.app.names import Names
from agent.app.releasing import Releasing
from agent.app.roll import AGENT, Roll
from agent.clock import Clock
from agent.config import AgentConfig, HostIdentity
from agent.detect import BROKEN, RULES, Engine, thresholds
from agent.detect.baselines import Baselines
from agent.detect.catalogue import severity
from agent.errors import ServeError, StateError
from agent.recorder import EventLog, Recorder
from agent.sampler import Board, FactBook, Sampler, SelfMetrics, self_metrics
from agent.sampler.cadence import Plan
from agent.server import Door, Feed, Server
from agent.server.desk import Desk
from agent.server.roles import Roles
from agent.sources.base import RawEvent, Reading, Reason, Source, Value
from agent.sources.processes.redact import redact_value
from agent.wire.actions import ActionFacts
from agent.wire.requests import Annotate
from agent.wire.specs import Cadence, Schema
from agent.witness import Witness

log = logging.getLogger(__name__)

FIRST_TICK_S = 2.5
CLOSE_DEADLINE_S = 2.5
STRANGER_S = 5.0  # for so long after the start a word waits for the name of its GPU: a driver may still initialise
TEMPORARY = Reason(
    "agent",
    "temporary",
    "this agent was brought along: it sees what its user may see, remembers nothing and ends with this console",
    "for the whole picture install the package gpu-cockpit-agent",
)


class HostAgent:
    """One host's agent. `companions` agents share this process; `signals` says that SIGUSR1 and SIGUSR2 to it mean
    let go and resume. `door`: where cockpits come in, if not by the socket of `config`; such an agent is temporary.
    `normal`: baselines of a host whose past is taken for granted. `logs` reads what a replica wrote.
    `hands` builds what actions act through, None for an agent that shall not act; `step`
    hears of every boundary that an action passes."""

    def __init__(  # noqa: PLR0913 - the composition root is given everything
        self,
        config: AgentConfig,
        identity: HostIdentity,
        clock: Clock,
        sources: tuple[Source, ...],
        recorder: Recorder,
        *,
        companions: int = 1,
        signals: bool = False,
        door: Callable[[Feed], Door] | None = None,
        normal: Baselines | None = None,
        logs: Reader | None = None,
        hands: Hands | None = None,
        step: Step = nothing,
    ) -> None:
        tick_s = config.interval_s * clock.speed
        host_id = identity.host_id
        self.facts = FactBook()
        self._clock = clock
        self._sources = sources
        self._recorder = recorder
        self._board = Board(
            {**{source.name: source.signals for source in sources}, AGENT: self_metrics.SIGNALS}, host_id, tick_s
        )
        self._witness = Witness(severity, stranger_s=STRANGER_S * clock.speed)
        settings = thresholds.resolve(config.thresholds, config.labels, RULES)
        self._engine = Engine(
            host_id, identity.boot_id, rules=RULES, tick_s=tick_s, signals=self._board.signals, settings=settings
        )
        self._judging = Judging(clock, self._witness, self._engine, recorder, sources, self._wake)
        self._keeping = Keeping(recorder, self.facts, clock)
        self._historian = self._remembering(host_id, tick_s, config.history_mib << 20, normal)
        self._roles = Roles(config.policy, clock)
        self._roll = Roll(
            self.facts, clock, self._board, self._engine, self._witness, self._keeping, expected=config.gpus_expected
        )
        self._roll.recall(recorder)
        self._judging.recall()
        self._annotating = self._annotator(config, host_id)
        self._releasing = Releasing(sources)
        self._acting = self._handed(config, identity, hands, step)
        self._desk = self._desk_with(logs)
        rules = tuple(thresholds.told(rule, settings) for rule in (*RULES, BROKEN))
        schema = Schema(self._board.signals, rules, self._acting.specs)
        self._feed = self._fed(identity, schema)
        self._door: Door = door(self._feed) if door else _socket(self._feed, config, clock)
        self._sampler = Sampler(sources, self, clock, host_id, config.interval_s)
        self._metrics = SelfMetrics(host_id, clock, self._gauges, companions)
        self._metrics_plan = Plan(host_id, AGENT, tick_s)
        self._reasons: dict[str, tuple[Reason, ...]] = {}
        self._failures: dict[str, Reason] = {}
        self._stop = asyncio.Event()
        self._ready = asyncio.Event()
        self._ticked = asyncio.Event()
        self._temporary = door is not None
        self._introduce(config, signals=signals)

    def _remembering(self, host_id: str, tick_s: float, cap: int, normal: Baselines | None) -> Historian:
        """Who keeps samples and says what is usual."""
        directory = self._recorder.state.directory
        historian = Historian(directory, self._clock, host_id, self._board.signals, tick_s, cap)
        declared = {baseline for rule in RULES for baseline in rule.baselines}
        historian.baselines(declared, self._engine.baselines, normal)
        return historian

    def _desk_with(self, logs: Reader | None) -> Desk:
        """Who answers questions."""
        told = Logs(lambda: self.facts.get("replicas"), logs).ask if logs else None
        return Desk(self._recorder, self._historian.ask, self._annotating.annotate, told, self._acting.act)

    def _handed(self, config: AgentConfig, identity: HostIdentity, hands: Hands | None, step: Step) -> Acting:
        """Who has done what operators want done."""
        memory = Memory(self._clock, self._recorder, self.facts, self._board, self._historian)
        return Acting(
            config,
            identity,
            self._clock,
            self._recorder,
            engine=self._engine,
            facts=self.facts,
            roles=self._roles,
            names=Names(),
            sources=self._sources,
            hands=hands,
            lent=Lent(self._releasing.done, memory, self._wake, step=step),
        )

    def _annotator(self, config: AgentConfig, host_id: str) -> Annotating:
        """Who takes what operators say of findings."""
        return Annotating(
            host_id,
            self._clock,
            self._recorder,
            self._engine,
            self.facts,
            roles=self._roles,
            sources=self._sources,
            expected=config.gpus_expected,
            changed=self._wake,
        )

    def _fed(self, identity: HostIdentity, schema: Schema) -> Feed:
        """What sessions are told from."""
        return Feed(
            identity,
            self._clock,
            self._board,
            self.facts,
            self._recorder.log,
            self._recorder.open,
            schema,
            secrets.randbits(48),
            self._desk,
            self._roles,
            self._acting.greeting,
        )

    async def run(self) -> None:
        """Serve until `close` or cancellation.

        Raises:
            ServeError: the socket cannot be had.
        """
        try:
            self._door.bind()
            self._recorder.state.claim()
        except (ServeError, StateError) as error:
            # And no word to the state: it may be that of the agent who has the socket.
            await self._close_sources(self._door.close("the agent cannot start"))
            raise ServeError(str(error)) from None
        self._recorder.start()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._sampler.run(), name="sampler"),
                    group.create_task(self._keeping.run(), name="keep"),
                    group.create_task(self._historian.run(), name="history"),
                    group.create_task(self._desk.run(), name="desk"),
                    group.create_task(self._roles.run(), name="roles"),
                    group.create_task(self._releasing.run(), name="let-go"),
                    group.create_task(self._acting.run(), name="act"),
                    group.create_task(self._listen(), name="listen"),
                ]
                await self._stop.wait()
                for task in tasks:
                    task.cancel()
        finally:
            await self._shut_down()

    @property
    def events(self) -> EventLog:
        """The numbered events, to be read."""
        return self._recorder.log

    async def ready(self) -> None:
        """Wait until the socket answers and the first tick is in."""
        await self._ready.wait()

    def close(self) -> None:
        """End soon: `run` returns within 3 s."""
        self._stop.set()

    def annotate(self, wish: Annotate) -> None:
        """An operator's word from within this process; raises Refusal."""
        self._annotating.take(wish)

    def left_behind(self, facts: ActionFacts) -> None:
        """An action of a run of before, as the ledger would have it: for simulated hosts."""
        self._acting.left_behind(facts)

    def let_go(self, released: bool) -> None:
        """Release what sources hold of the devices, or take it up again; the facts' reasons say when it is done."""
        self._releasing.ask(released)

    # What the sampler tells us (see `Sink`).

    def reading(self, source: str, reading: Reading) -> None:
        """A source answered."""
        for batch in map(self._annotating.owed, reading.batches):
            self._board.apply(batch)
            self._engine.observe(batch)
            self._historian.observe(batch)
            self._roll.count(batch)
        for section, data in reading.facts.items():
            self._roll.fact(section, data)
        if reading.reasons is not None:
            self._reasons[source] = reading.reasons
        if reading.events:
            self._judging.hear(reading.events)

    def pushed(self, source: str, event: RawEvent) -> None:
        """A source pushed something."""
        del source
        self._judging.hear((event,))

    def failed(self, source: str, reason: Reason | None) -> None:
        """A source could not be read, or can be again."""
        if reason is None:
            self._failures.pop(source, None)
        else:
            self._failures[source] = reason

    def ticked(self) -> None:
        """A tick has ended."""
        now = self._clock.now()
        if Cadence.MEDIUM in self._metrics_plan.due(now.mono):
            metrics = self._metrics.read()
            self._board.apply(metrics)
            self._engine.observe(metrics)
            self._historian.observe(metrics)
        self._set_reasons()
        self._judging.tick()
        self._annotating.tick()
        self._acting.tick()
        self._board.publish(now.mono)
        self._door.tick()
        self._ticked.set()

    def _wake(self) -> None:
        """Sessions have something to read."""
        self._keeping.tick()
        self._door.wake()

    def _introduce(self, config: AgentConfig, *, signals: bool) -> None:
        self.facts.set("labels", {name: redact_value(name, value) for name, value in config.labels.items()})
        self.facts.set(
            AGENT,
            {
                "version": agent.__version__,
                "pid": os.getpid(),
                "started": self._clock.wall(),
                "interval_s": config.interval_s,
                "gpus_expected": config.gpus_expected,
                "signals": signals,
                "temporary": self._temporary,
            },
        )
        self._set_reasons()

    def _set_reasons(self) -> None:
        reasons = [reason for said in self._reasons.values() for reason in said]
        reasons += self._failures.values()
        reasons += self._recorder.reasons
        reasons += self._roles.reasons
        reasons += self._acting.reasons
        reasons += self._historian.reasons
        reasons += [TEMPORARY] if self._temporary else []
        reasons += [Reason("rule", "rule_broken", note, "the other rules go on; please report it") for note in
                    self._engine.notes()]  # fmt: skip
        self._engine.reasons(reasons)
        self.facts.set("reasons", [asdict(reason) for reason in reasons])

    def _gauges(self) -> dict[str, Value]:
        return {
            "agent.sessions": self._door.sessions,
            "agent.events.dropped": self._door.events_dropped
            + sum(int(getattr(source, "dropped_events", 0)) for source in self._sources),
            "agent.samples.dropped": self._door.samples_dropped,
            "agent.nvml.workers": sum(int(getattr(source, "workers", 0)) for source in self._sources),
            "agent.read.latency": self._sampler.latency_s,
            "agent.ticks.late": self._sampler.ticks_late,
        }

    # Tasks.

    async def _listen(self) -> None:
        """Answer cockpits once there is something to say, or when waiting for it has taken too long."""
        try:
            async with asyncio.timeout(FIRST_TICK_S):
                await self._ticked.wait()
        except TimeoutError:
            pass
        await self._door.listen()
        self._ready.set()

    async def _shut_down(self) -> None:
        self._judging.close()
        await self._close_sources(self._door.close("the agent is stopping"))
        self._keeping.note_seen()
        await self._recorder.close()

    async def _close_sources(self, *others: Awaitable[None]) -> None:
        closing = [*others, *(source.close() for source in self._sources)]
        try:
            async with asyncio.timeout(CLOSE_DEADLINE_S):
                for result in await asyncio.gather(*closing, return_exceptions=True):
                    if isinstance(result, Exception):
                        log.warning("something did not close in order: %s", result)
        except TimeoutError:
            log.warning("not everything let go within %g s", CLOSE_DEADLINE_S)


def _socket(feed: Feed, config: AgentConfig, clock: Clock) -> Door:
    return Server(feed, config.socket, clock, mode=config.socket_mode, group=config.socket_group)
