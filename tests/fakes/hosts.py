"""An agent's side of a session as frames, without an agent: what tests of the fleet and of screens are fed with."""

from collections.abc import Mapping, Sequence
from typing import Any

from agent.wire import block
from agent.wire.frames import Block, EventFrame, Frame, Hello, Layout, Sample, Snapshot, Synced
from agent.wire.shape import pack
from agent.wire.specs import Cadence, Event, Finding, Kind, Level, Quality, Schema, Scope, Severity, SignalSpec

EPOCH = 1_700_000_000.0
FAST, MEDIUM, SLOW = Cadence.FAST, Cadence.MEDIUM, Cadence.SLOW
SIGNALS = (
    SignalSpec("gpu.utilization", Scope.GPU, Kind.GAUGE, "1", FAST, "busy", summary=0),
    SignalSpec("gpu.memory.used", Scope.GPU, Kind.GAUGE, "byte", FAST, "used", summary=1),
    SignalSpec("gpu.temperature", Scope.GPU, Kind.GAUGE, "celsius", FAST, "heat", summary=0),
    SignalSpec("gpu.power", Scope.GPU, Kind.GAUGE, "watt", FAST, "draw", summary=0),
    SignalSpec("gpu.clock.reasons", Scope.GPU, Kind.MASK, "1", FAST, "why slow"),
    SignalSpec("gpu.energy", Scope.GPU, Kind.COUNTER, "joule", MEDIUM, "energy"),
    SignalSpec("gpu.pcie.replay", Scope.GPU, Kind.COUNTER, "count", MEDIUM, "replays"),
    SignalSpec("gpu.memory.total", Scope.GPU, Kind.GAUGE, "byte", SLOW, "total", summary=2),
    SignalSpec("host.cpu.utilization", Scope.HOST, Kind.GAUGE, "1", FAST, "busy", summary=1),
    SignalSpec("host.memory.used", Scope.HOST, Kind.GAUGE, "byte", FAST, "used", summary=1),
    SignalSpec("host.gpus.pci", Scope.HOST, Kind.STATE, "count", MEDIUM, "on the bus"),
)
SCHEMA = Schema(SIGNALS)


class FakeHost:
    """One host: frames about it, with plausible defaults. `mono0` is its monotonic clock at `EPOCH`."""

    def __init__(self, name: str = "gpu-a01", gpus: int = 8, mono0: float = 5_000.0) -> None:
        self.name = name
        self.host_id = f"id-{name}"
        self.boot_id = f"boot-{name}"
        self.mono0 = mono0
        self.uuids = tuple(f"GPU-{name}-{index}" for index in range(gpus))
        self.layout_version = 1
        self.seq = 0
        self.samples = 0

    def mono(self, at: float) -> float:
        """Its monotonic clock at a wall time."""
        return self.mono0 + at - EPOCH

    def hello(self, at: float = EPOCH, schema: Schema = SCHEMA, **kwargs: Any) -> Hello:
        """The agent's hello."""
        fields: dict[str, Any] = {
            "software": "0.1.0", "wall": at, "mono": self.mono(at), "host_id": self.host_id, "host": self.name,
            "boot_id": self.boot_id, "epoch": 1, "schema_id": "fake", "schema": block.pack_schema(schema),
        }  # fmt: skip
        return Hello(**{**fields, **kwargs})

    def layout(self, uuids: Sequence[str] | None = None) -> Layout:
        """All GPUs and the host's row."""
        return Layout(
            self.layout_version, {"gpu": tuple(self.uuids if uuids is None else uuids), "host": (self.host_id,)}
        )

    def gpu_facts(self, **changes: Mapping[str, Any]) -> dict[str, Any]:
        """Section `gpus`; `changes` by UUID with `-` written as `_`."""
        facts: dict[str, Any] = {}
        for index, uuid in enumerate(self.uuids):
            facts[uuid] = {
                "index": index, "name": "NVIDIA H100 80GB HBM3",
                "serial": f"16500{index}", "bus_id": f"0000:{index:02x}:00",
                "state": "present", "last_seen": EPOCH,
            } | dict(changes.get(uuid.replace("-", "_"), {}))  # fmt: skip
        return facts

    def snapshot(self, findings: Sequence[Finding] = (), **facts: Any) -> Snapshot:
        """Facts and open findings."""
        sections = {"gpus": self.gpu_facts(), "processes": [], "labels": {}, "agent": {"version": "0.1.0"}}
        return Snapshot({**sections, **facts}, tuple(findings))

    def opening(self, at: float = EPOCH, findings: Sequence[Finding] = (), **facts: Any) -> list[Frame]:
        """A whole session up to `synced`, with one summary sample."""
        return [self.hello(at), self.layout(), self.snapshot(findings, **facts), self.sample(at), Synced(self.seq)]

    def block(
        self,
        at: float,
        values: Mapping[str, Sequence[float | int | None]] | None = None,
        *,
        scope: Scope = Scope.GPU,
        cadence: Cadence = Cadence.FAST,
        level: Level = Level.SUMMARY,
        exceptions: Sequence[tuple[str, int, Quality]] = (),
    ) -> Block:
        """One block; a signal without values gets 10, 11, 12 ... by row."""
        specs = block.columns(SIGNALS, scope, cadence, level)
        names = [spec.name for spec in specs]
        rows = len(self.uuids) if scope is Scope.GPU else 1
        default = [10.0 + row for row in range(rows)]
        columns = [list((values or {}).get(spec.name, default)) for spec in specs]
        columns = [
            [int(value) if value is not None and spec.kind in (Kind.STATE, Kind.MASK) else value for value in column]
            for spec, column in zip(specs, columns, strict=True)
        ]
        entries = [(names.index(signal), row, quality) for signal, row, quality in exceptions]
        packed = block.pack_exceptions(entries)
        return Block(scope, cadence, level, int(self.mono(at) * 1000), block.pack_columns(specs, columns), packed)

    def sample(self, at: float, *blocks: Block, **values: Sequence[float]) -> Sample:
        """These blocks, or one FAST summary block of all GPUs with `values` by signal, `.` written as `_`."""
        self.samples += 1
        named = {signal.name: values[key] for signal in SIGNALS if (key := signal.name.replace(".", "_")) in values}
        return Sample(self.samples, self.layout_version, blocks or (self.block(at, named),))

    def event(self, at: float, kind: str = "xid", subject: str = "host", text: str = "", **data: Any) -> EventFrame:
        """The next event."""
        self.seq += 1
        severity = Severity(data.pop("severity", Severity.CRITICAL))
        return EventFrame(
            Event(self.seq, at, self.mono(at), kind, subject, severity, text or f"{kind} {self.seq}", data)
        )

    def transition(self, finding: Finding, at: float | None = None) -> EventFrame:
        """The event that carries a finding."""
        return self.event(
            finding.updated if at is None else at, "finding", finding.subject, finding.text, finding=pack(finding)
        )

    def finding(self, gpu: int | None = None, rule: str = "xid.fatal", **kwargs: Any) -> Finding:
        """A finding about one GPU or the host."""
        fields: dict[str, Any] = {
            "id": f"{rule}-{gpu}", "rule": rule, "severity": Severity.CRITICAL, "text": "XID 79: fell off the bus",
            "subject": "host" if gpu is None else f"gpu:{self.uuids[gpu]}", "since": EPOCH, "updated": EPOCH,
        }  # fmt: skip
        return Finding(**{**fields, **kwargs})
