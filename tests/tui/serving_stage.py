"""The staged fleet with replicas on it: 5 hosts of vLLM behind a load balancer, 2 of Triton, 1 of an engine that says
little. Every number a formula."""

import math
from dataclasses import replace
from typing import Any

from agent.sources.serving.signals import SIGNALS as REPLICA_SIGNALS
from agent.wire.block import columns, pack_columns, pack_exceptions
from agent.wire.frames import Block, Facts, Sample
from agent.wire.histogram import Histogram
from agent.wire.replicas import BackendFacts, Phase, ReplicaFacts, State, replica_subject
from agent.wire.shape import pack
from agent.wire.specs import Cadence, Finding, Kind, Level, Quality, Schema, Scope, Severity
from tests.tui.stage import POOLS, SCHEMA, SECONDS, START, Stage, StagedHost, uuid

PERIOD = 5
STUCK = ("gpu-b02", "vllm:8000")
WEDGED = 277  # second at which it makes no more progress: 40 s before the picture
BALANCER = "gpu-a04"
_ENGINES = {"chat-70b": ("vllm", 4, 8000), "embed": ("triton", 2, 8010), "rerank": ("tgi", 4, 8080)}
_MODELS = {"chat-70b": "meta-llama/Llama-3.3-70B-Instruct", "embed": "bge-m3", "rerank": "BAAI/bge-reranker-v2-m3"}
_VERSIONS = {"vllm": "0.32.0", "triton": "2.51.0", "tgi": "3.4.1"}
_PHASES = {"ready": "serving", "stuck": "stuck", "draining": "draining", "starting": "loading", "down": "down"}
_TRITON_LACKS = ("kv.usage", "ttft.p50", "ttft.p99", "tokens.in", "tokens.out", "tokens.rate", "itl.p50", "itl.p99",
                 "preemptions", "prefix.hits", "prefix.queries")  # fmt: skip


def pool_of(host: StagedHost) -> str:
    return POOLS[host.number % 8]


class ServingStage(Stage):
    """Agents that look for replicas."""

    schema = Schema((*SCHEMA.signals, *REPLICA_SIGNALS))

    def __init__(self) -> None:
        self.replicas: dict[int, dict[str, ReplicaFacts]] = {}
        super().__init__()
        for host in self.hosts:
            self.replicas[host.number] = {facts.id: facts for facts in self._first(host)}

    def _first(self, host: StagedHost) -> list[ReplicaFacts]:
        engine, gpus, port = _ENGINES[pool_of(host)]
        return [
            ReplicaFacts(
                id=f"{engine}:{port + at * (10 if engine == 'triton' else 1)}",
                engine=engine,
                version=_VERSIONS[engine],
                models=(_MODELS[pool_of(host)],),
                address="0.0.0.0",
                port=port + at * (10 if engine == "triton" else 1),
                url=f"http://127.0.0.1:{port + at * (10 if engine == 'triton' else 1)}",
                pids=tuple(20_000 + host.number * 100 + at * gpus + row for row in range(gpus)),
                gpus=tuple(uuid(host.number, at * gpus + row) for row in range(gpus)),
                gpu_map="driver" if engine != "tgi" else "inferred",
                user="serve",
                unit=f"{engine}-{at}.service" if engine != "tgi" else "",
                container="tgi-3f9c" if engine == "tgi" else "",
                pool=pool_of(host),
                state="ready",
                phase="serving",
                since=START - 86_400 * 3,
                says="it serves",
                started=START - 86_400 * 3 - 90,
                starts=1,
                seen=START,
                tested="documents" if engine == "tgi" else "run",
                objectives={"ttft.p99": 2.0} if engine == "vllm" else {},
            )
            for at in range(8 // gpus)
        ]

    def tables(self, host: StagedHost) -> dict[str, tuple[str, ...]]:
        return {**super().tables(host), "replica": tuple(self.replicas[host.number])}

    def facts(self, host: StagedHost) -> dict[str, object]:
        found = super().facts(host)
        own = {**found["host"], "addresses": ["127.0.0.1", self.address(host)]}  # type: ignore[dict-item]
        return {
            **found,
            "host": own,
            "replicas": self.packed(host),
            "backends": self.backends(host),
            "latencies": self.latencies(host),
        }

    def latencies(self, host: StagedHost) -> dict[str, Any]:
        """What users of vLLM waited for in the last whole minute: 240 requests, 3 of 100 longer than a second."""
        known = Histogram((0.1, 0.25, 0.5, 1.0, 2.5), (20.0, 130.0, 210.0, 233.0, 240.0), 240.0, 80.0)
        return {
            facts.id: {"ttft": pack(known)} for facts in self.replicas[host.number].values() if facts.engine == "vllm"
        }

    def packed(self, host: StagedHost) -> list[Any]:
        return [pack(facts) for facts in self.replicas[host.number].values()]

    def address(self, host: StagedHost) -> str:
        return f"10.0.0.{host.number + 1}"

    def backends(self, host: StagedHost) -> list[Any]:
        """The balancer has every vLLM in one backend."""
        if host.name != BALANCER:
            return []
        servers = []
        for other in self.hosts:
            for facts in self.replicas[other.number].values():
                if facts.engine == "vllm":
                    up = facts.state in ("ready", "stuck")
                    state, says = ("up", "UP") if up else ("down", "DOWN L4CON")
                    name, address = f"{other.name}-{facts.port}", self.address(other)
                    fields = ("haproxy.service", "haproxy", "chat", name, address, facts.port, state, says)
                    servers.append(BackendFacts(*fields, in_flight=12 if up else 0, queued=0))
        return [pack(server) for server in servers]

    def turn(self, host: StagedHost, identity: str, state: str, says: str, **facts: Any) -> None:
        """A replica gets into another state, as its agent tells it."""
        known = self.replicas[host.number][identity]
        phase = facts.pop("phase", _PHASES.get(state, "unknown"))
        self.replicas[host.number][identity] = replace(
            known, state=state, phase=phase, says=says, since=self.clock.wall(), **facts
        )
        self.send(host, Facts("replicas", self.packed(host)))
        level = Severity.WARNING if state in ("stuck", "down", "unready") else Severity.INFO
        text, change = (
            f"{identity} is {state}: {says}",
            {"from": known.state, "to": state, "phase": phase, "says": says},
        )
        self.event(host, "replica", replica_subject(identity), level, text, replica=identity, **change)

    def second(self, second: int) -> None:
        super().second(second)
        if second % 60 == 0:
            for host in self.hosts:
                if self.fleet.hosts[host.number].live and (told := self.latencies(host)):
                    self.send(host, Facts("latencies", told))
        if second % PERIOD == 0:
            for host in self.hosts:
                if self.fleet.hosts[host.number].live:
                    self.numbers(host, second)

    def numbers(self, host: StagedHost, second: int) -> None:
        """One reading of all replicas of a host, every signal."""
        specs = columns(REPLICA_SIGNALS, Scope.REPLICA, Cadence.MEDIUM, Level.DETAIL)
        names, own = [spec.name for spec in specs], list(self.replicas[host.number].values())
        known = [self.replica_values(host, at, facts, second) for at, facts in enumerate(own)]
        grid = [
            [
                int(values.get(spec.name.removeprefix("replica."), 0.0))
                if spec.kind in (Kind.STATE, Kind.MASK)
                else values.get(spec.name.removeprefix("replica."), 0.0)
                for values in known
            ]
            for spec in specs
        ]
        odd = []
        for row, facts in enumerate(own):
            for column, name in enumerate(names):
                if (quality := self.worth(facts, name.removeprefix("replica."))) is not Quality.OK:
                    odd.append((column, row, quality))
        block = Block(Scope.REPLICA, Cadence.MEDIUM, Level.DETAIL, int(self.clock.monotonic() * 1000),
                      pack_columns(specs, grid), pack_exceptions(odd))  # fmt: skip
        host.samples += 1
        self.send(host, Sample(host.samples, 1, (block,)))

    def worth(self, facts: ReplicaFacts, signal: str) -> Quality:
        """What a signal of a replica is worth."""
        if signal in ("state", "phase"):
            return Quality.OK
        if facts.state in ("down", "starting"):
            return Quality.LOST
        if facts.phase == "scrape-lost":
            return Quality.TIMEOUT
        if facts.engine == "triton" and signal in _TRITON_LACKS:
            return Quality.UNSUPPORTED
        if facts.engine == "tgi" and signal in ("kv.usage", "prefix.hits", "prefix.queries", "preemptions"):
            return Quality.UNSUPPORTED
        return Quality.PENDING if facts.engine == "tgi" and signal.endswith("p99") else Quality.OK

    def replica_values(self, host: StagedHost, at: int, facts: ReplicaFacts, second: int) -> dict[str, float]:
        wave = math.sin(second / 31 + host.number + at * 2) * 0.5
        stuck = facts.state == "stuck"
        moved = WEDGED if stuck else second
        return {
            "state": State[facts.state.upper()],
            "phase": Phase[facts.phase.upper().replace("-", "_")],
            "running": 12.0 if stuck else round(9 + wave * 6),
            "waiting": round((second - WEDGED) * 0.8) if stuck else round(max(0.0, wave * 5)),
            "kv.usage": 0.97 if stuck else 0.55 + wave * 0.2,
            "ttft.p50": 0.21 + wave * 0.1,
            "ttft.p99": 2.1 if stuck else 1.1 + wave * 0.4,
            "quantiles.bound": 0b10_01 if facts.engine == "tgi" else 0,
            "requests": moved * 4.0,
            "errors": (second - WEDGED) * 0.1 if stuck else 0.0,
            "tokens.in": moved * 2100.0,
            "tokens.out": moved * (812.0 + host.number),
            "requests.rate": 0.0 if stuck else 4.0,
            "errors.rate": 0.1 if stuck else 0.0,
            "tokens.rate": 0.0 if stuck else 812.0 + host.number,
            "capacity": 256.0,
            "itl.p50": 0.021,
            "itl.p99": 0.048 + wave * 0.01,
            "e2e.p50": 4.1,
            "e2e.p99": 11.8,
            "queue.p50": 0.3,
            "queue.p95": 0.3,
            "e2e.mean": 4.6,
            "shed": 0.0,
            "preemptions": second * 0.01 if stuck else 0.0,
            "prefix.hits": moved * 900.0,
            "prefix.queries": moved * 2100.0,
            "progress": moved * 41.0,
            "read.latency": 0.0041,
            "uptime": 86_400 * 3 + 90.0 + second,
        }

    def wedge(self) -> None:
        """The engine stops computing; nobody but its counter says so."""
        host, says = self._named(STUCK[0]), "no step for 40 s while 12 requests run and 8 wait"
        evidence = ("vllm:iteration_tokens_total_count stands at 11357 for 40 s", "12 requests run, 8 wait",
                    "GET /health says 200")  # fmt: skip
        self.turn(host, STUCK[1], "stuck", says, evidence=evidence, counter="vllm:iteration_tokens_total_count")
        now = self.clock.wall()
        self.finding(host, Finding(
            id="5ec0ffee", rule="replica.stuck", severity=Severity.CRITICAL, subject=replica_subject(STUCK[1]),
            text=f"{STUCK[1]} is stuck: {says}", since=now, updated=now, runbook="restart-replica",
            evidence=({"what": "vllm:iteration_tokens_total_count", "value": 11357, "window_s": 40.0, "at": now},
                      {"what": "requests that it works on", "value": 12, "unit": "count"}),
        ))  # fmt: skip

    def _named(self, name: str) -> StagedHost:
        return next(host for host in self.hosts if host.name == name)


def serving_night() -> ServingStage:
    """20 replicas of three pools, all of them ready."""
    stage = ServingStage()
    stage.live(SECONDS)
    return stage


def wedged_night() -> ServingStage:
    """The same night; an engine gets stuck, one drains, one loads, one does not answer its endpoint in time."""
    stage = ServingStage()
    stage.connect()
    for second in range(1, SECONDS + 1):
        stage.clock.at = START + second
        if second == 200:
            stage.turn(stage._named("gpu-a02"), "triton:8020", "draining", "asked to stop, 3 requests left")
        if second == 230:
            stage.turn(stage._named("gpu-b01"), "vllm:8001", "starting", "its process lives and its port refuses",
                       starts=2, started=START + 228)  # fmt: skip
        if second == WEDGED:
            stage.wedge()
        if second == 300:
            stage.turn(stage._named("gpu-b03"), "triton:8010", "unready", "two reads of /metrics took longer than 5 s",
                       phase="scrape-lost")  # fmt: skip
        stage.second(second)
    stage.clock.at += 0.4
    return stage
