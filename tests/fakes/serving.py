"""A host that serves models, as frames, without an agent: the wire contract of replicas."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from agent.sources.serving.signals import SIGNALS as REPLICA_SIGNALS
from agent.wire import block
from agent.wire.frames import Block, Facts, Frame, Hello, Layout, Sample, Snapshot, Synced
from agent.wire.histogram import Histogram
from agent.wire.replicas import BackendFacts, Phase, ReplicaFacts, State
from agent.wire.shape import pack
from agent.wire.specs import Cadence, Finding, Kind, Level, Quality, Schema, Scope, Severity
from tests.fakes.hosts import EPOCH, SIGNALS, FakeHost

SCHEMA = Schema((*SIGNALS, *REPLICA_SIGNALS))
PHASE = {
    "ready": "serving", "stuck": "stuck", "down": "down", "starting": "loading", "draining": "draining",
    "drained": "drained", "unready": "scrape-lost", "unknown": "unknown",
}  # fmt: skip


class ServingHost(FakeHost):
    """By default as a simulated host of 8 GPUs: one vLLM on GPUs 0-3, four Tritons on one GPU each."""

    def __init__(self, name: str = "gpu-a01", gpus: int = 8, address: str = "10.0.0.1") -> None:
        super().__init__(name, gpus)
        self.address = address
        self.replicas: dict[str, ReplicaFacts] = {}
        if gpus == 8:
            self.add("vllm", 8000, self.uuids[:4], pool="chat-70b", models=("llama-3.3-70b",), unit="vllm-chat.service")
            for at, uuid in enumerate(self.uuids[4:]):
                self.add("triton", 8010 + 10 * at, (uuid,), pool="embed", models=("bge-m3",))

    def add(self, engine: str, port: int, gpus: Sequence[str] = (), **facts: Any) -> ReplicaFacts:
        """One more replica."""
        given: dict[str, Any] = {
            "id": f"{engine}:{port}", "engine": engine, "version": "0.32.0", "address": "0.0.0.0", "port": port,
            "url": f"http://127.0.0.1:{port}", "pids": (port, port + 1), "gpus": tuple(gpus), "gpu_map": "driver",
            "user": "serve", "state": "ready", "phase": "serving", "since": EPOCH - 3600, "says": "it serves",
            "started": EPOCH - 4000, "starts": 1, "seen": EPOCH, **facts,
        }  # fmt: skip
        found = ReplicaFacts(**given)
        self.replicas[found.id] = found
        return found

    def turn(self, identity: str, state: str, says: str = "", since: float = EPOCH, **facts: Any) -> None:
        """A replica gets into another state."""
        known = self.replicas[identity]
        phase = facts.pop("phase", PHASE[state])
        self.replicas[identity] = replace(known, state=state, phase=phase, since=since, says=says, **facts)

    def hello(self, at: float = EPOCH, schema: Schema = SCHEMA, **kwargs: Any) -> Hello:
        """The agent's hello, with signals of replicas."""
        return super().hello(at, schema, **{"schema_id": "fake-serving", **kwargs})

    def layout(self, uuids: Sequence[str] | None = None, replicas: Sequence[str] | None = None) -> Layout:
        """All GPUs, the host's row, all replicas."""
        tables = super().layout(uuids).tables
        named = tuple(self.replicas if replicas is None else replicas)
        return Layout(self.layout_version, {**tables, "replica": named})

    def replica_facts(self) -> list[dict[str, Any]]:
        """Section `replicas`."""
        return [pack(facts) for facts in self.replicas.values()]

    def told(self) -> Facts:
        """The section, sent anew."""
        return Facts("replicas", self.replica_facts())

    def snapshot(self, findings: Sequence[Finding] = (), **facts: Any) -> Snapshot:
        """With replicas and addresses."""
        known = {"replicas": self.replica_facts(), "host": {"addresses": ["127.0.0.1", self.address]}}
        return super().snapshot(findings, **{**known, **facts})

    def opening(self, at: float = EPOCH, findings: Sequence[Finding] = (), **facts: Any) -> list[Frame]:
        """A whole session up to `synced`, with a sample of GPUs and one of replicas."""
        return [
            self.hello(at), self.layout(), self.snapshot(findings, **facts), self.sample(at),
            self.numbers(at), Synced(self.seq),
        ]  # fmt: skip

    def numbers(
        self,
        at: float,
        *,
        level: Level = Level.SUMMARY,
        exceptions: Sequence[tuple[str, str, Quality]] = (),
        **values: Mapping[str, float],
    ) -> Sample:
        """A sample of replicas: `values` by signal (`.` written as `_`) by replica; what is not named is 0, a state
        what its facts say."""
        specs = block.columns(SCHEMA.signals, Scope.REPLICA, Cadence.MEDIUM, level)
        names, ids = [spec.name for spec in specs], list(self.replicas)
        columns: list[list[float | int | None]] = []
        for spec in specs:
            given = values.get(spec.name.removeprefix("replica.").replace(".", "_"), {})
            whole = spec.kind in (Kind.STATE, Kind.MASK)
            column: list[float | int | None] = []
            for identity in ids:
                value = given.get(identity, self._default(spec.name, identity))
                column.append(int(value) if whole else float(value))
            columns.append(column)
        entries = [(names.index(signal), ids.index(identity), quality) for signal, identity, quality in exceptions]
        packed = block.pack_columns(specs, columns)
        odd = block.pack_exceptions(entries)
        self.samples += 1
        return Sample(
            self.samples,
            self.layout_version,
            (Block(Scope.REPLICA, Cadence.MEDIUM, level, int(self.mono(at) * 1000), packed, odd),),
        )

    def _default(self, signal: str, identity: str) -> float:
        facts = self.replicas[identity]
        if signal == "replica.state":
            return float(State[facts.state.upper()])
        if signal == "replica.phase":
            return float(Phase[facts.phase.upper().replace("-", "_")])
        return 0.0

    def ill(self, identity: str, rule: str = "replica.stuck", **kwargs: Any) -> Finding:
        """A finding about a replica."""
        fields: dict[str, Any] = {
            "id": f"{rule}-{identity}", "rule": rule, "severity": Severity.CRITICAL, "subject": f"replica:{identity}",
            "text": f"{identity} is stuck: no step for 60 s while 4 requests wait", "since": EPOCH, "updated": EPOCH,
            "runbook": "restart-replica",
        }  # fmt: skip
        return Finding(**{**fields, **kwargs})


def latency(counts: Sequence[float], edges: Sequence[float] = (0.1, 0.5, 1.0, 2.5), beyond: float = 0.0) -> Any:
    """A packed histogram with so many observations in each bucket."""
    rising = [sum(counts[: at + 1]) for at in range(len(counts))]
    total = (rising[-1] if rising else 0.0) + beyond
    return pack(Histogram(tuple(edges), tuple(float(count) for count in rising), float(total), None))


def backend(server: str, address: str, port: int, **kwargs: Any) -> dict[str, Any]:
    """One item of the section `backends`."""
    fields: dict[str, Any] = {
        "lb": "haproxy.service", "kind": "haproxy", "backend": "chat", "server": server, "address": address,
        "port": port, "state": "up", "says": "UP", "in_flight": 3,
    }  # fmt: skip
    packed: dict[str, Any] = pack(BackendFacts(**{**fields, **kwargs}))
    return packed
