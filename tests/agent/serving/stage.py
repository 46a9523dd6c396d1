"""A host on which a test says who serves and what is answered, on a clock that it turns."""

import re
from dataclasses import dataclass, field, replace
from typing import Any

from agent.clock import Instant
from agent.config.serving import Serving
from agent.engines.answer import Answer, Ask, Failure
from agent.sources.base import Reading
from agent.sources.serving.client import Endpoint
from agent.sources.serving.landscape import Group, Listener, Process, Sight
from agent.sources.serving.source import ServingSource
from agent.wire.signals import Cadence, Quality
from tests.agent.engines.fixtures import page

EPOCH = 1_764_547_200.0
REFUSED = Answer(failure=Failure.REFUSED, says="nobody listens")
LATE = Answer(failure=Failure.TIMEOUT, says="did not answer within 5 s", took_s=5.0)
ABSENT = Answer(404, b'{"detail":"Not Found"}', "application/json")
ALL = frozenset(Cadence)


def vllm(metrics: bytes | str = "vllm/02-load-t0.prom", model: str = "m") -> dict[str, Answer]:
    """What a vLLM server answers."""
    body = page(metrics) if isinstance(metrics, str) else metrics
    models = f'{{"object":"list","data":[{{"id":"{model}","owned_by":"vllm"}}]}}'.encode()
    return {
        "/version": Answer(200, b'{"version":"0.32.0"}', "application/json"),
        "/v1/models": Answer(200, models, "application/json"),
        "/health": Answer(200),
        "/metrics": Answer(200, body, "text/plain"),
    }


def grown(body: bytes, steps: int) -> bytes:
    """A capture whose counters and histograms have grown by so many."""
    line = re.compile(rb"^(vllm:\w+(?:_total|_count|_bucket|_sum)(?:\{[^}]*\})?) ([0-9.e+]+)$", re.MULTILINE)
    return line.sub(lambda found: b"%s %f" % (found[1], float(found[2]) + steps), body)


@dataclass
class Clock:
    mono: float = 1000.0
    speed: float = 1.0

    def wall(self) -> float:
        return EPOCH + self.mono

    def monotonic(self) -> float:
        return self.mono

    def now(self) -> Instant:
        return Instant(self.wall(), self.mono)

    def real(self) -> float:
        return self.mono

    async def sleep(self, seconds: float) -> None:
        self.mono += seconds


@dataclass
class Host:
    """`pages` by port, then by path; a port that is not there refuses."""

    known: tuple[Serving, ...] = ()
    pages: dict[int, dict[str, Answer]] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    listening: dict[int, tuple[Listener, ...]] = field(default_factory=dict)
    asked: list[tuple[int, str, str]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    allowed: frozenset[str] = frozenset()
    looked: bool = True
    taken: set[int] = field(default_factory=set)  # ports that somebody else took since the last look

    def __post_init__(self) -> None:
        self.clock = Clock()
        self._sight = Sight()
        self.start_agent()

    def start_agent(self, memory: dict[str, Any] | None = None) -> None:
        self.source = ServingSource(self.clock, self, self, self.known)
        if memory is not None:
            self.source.recall(memory)
        self.rows: dict[str, dict[str, Any]] = {}
        self.bad: dict[tuple[str, str], Quality] = {}
        self.replicas: dict[str, dict[str, Any]] = {}
        self.latencies: list[dict[str, Any]] = []
        self.events: list[Any] = []
        self.readings: list[Reading] = []
        self.reasons: list[str] = []

    # What is there.

    def runs(self, pid: int, argv: str, *ports: int, age_s: float = 600.0, **more: Any) -> Group:
        began = self.clock.wall() - age_s
        local = tuple(Listener("127.0.0.1", port, more.get("uid", 1000), f"{pid}:{port}") for port in ports)
        group = Group(
            f"{pid}@{began:.0f}",
            (Process(pid, tuple(argv.split()), began),),
            listeners=more.pop("listeners", local),
            **{"uid": 1000, "user": "ml", **more},
        )
        self.groups[group.key] = group
        return group

    def ends(self, group: Group) -> None:
        del self.groups[group.key]

    def opens(self, group: Group, *ports: int) -> None:
        listeners = tuple(Listener("127.0.0.1", port, group.uid, f"{group.key}:{port}") for port in ports)
        self.groups[group.key] = replace(group, listeners=listeners)

    # The seams.

    def look(self, now: Instant) -> Sight:
        seen = tuple(self.groups.values()) if self.looked else ()
        sight = Sight(seen, self.listening, frozenset({"192.0.2.7"}), whole=self.looked)
        if sight != self._sight:
            self._sight = sight
        return self._sight

    def still(self, port: int, key: str) -> bool:
        return port not in self.taken

    async def fetch(self, endpoint: Endpoint, ask: Ask) -> Answer:
        return self.fetch_now(endpoint, ask)

    def fetch_now(self, endpoint: Endpoint, ask: Ask) -> Answer:
        self.asked.append((endpoint.port, ask.method, ask.path))
        self.tokens.append(endpoint.token)
        return self.pages.get(endpoint.port, {}).get(ask.path, ABSENT) if endpoint.port in self.pages else REFUSED

    def allow(self, addresses: frozenset[str]) -> None:
        self.allowed = addresses

    def forget(self, endpoint: Endpoint) -> None: ...

    def close(self) -> None: ...

    # Time.

    def run(self, seconds: float) -> None:
        """Tick by tick."""
        for _ in range(int(seconds)):
            self.take(self.source.read_now(ALL))
            self.clock.mono += 1.0

    def take(self, reading: Reading) -> None:
        self.readings.append(reading)
        for batch in reading.batches:
            for name, values in batch.columns.items():
                for row, value in zip(batch.rows, values, strict=True):
                    self.rows.setdefault(row, {})[name.removeprefix("replica.")] = value
            self.bad = {(row, name.removeprefix("replica.")): q for (name, row), q in batch.exceptions.items()}
        if "replicas" in reading.facts:
            self.replicas = {one["id"]: one for one in reading.facts["replicas"]}
        if "latencies" in reading.facts:
            self.latencies.append(reading.facts["latencies"])
        if reading.reasons is not None:
            self.reasons = [f"{reason.code}: {reason.says}" for reason in reading.reasons]
        self.events += reading.events

    def state(self, identity: str) -> tuple[str, str]:
        found = self.replicas[identity]
        return found["state"], found["phase"]
