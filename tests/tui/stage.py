"""A fleet that stands still: built from wire frames through `Fleet.apply`, every number a formula, every clock frozen.

What a screen shows of it is the same on every machine, so goldens can be compared character by character.
"""

import asyncio
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from agent.sources.nvml.signals import SIGNALS as NVML_SIGNALS
from agent.wire.block import columns, pack_columns, pack_exceptions, pack_schema
from agent.wire.frames import Block, EventFrame, Facts, Frame, Hello, Layout, Sample, Snapshot, Synced
from agent.wire.requests import Answer, Request
from agent.wire.shape import pack
from agent.wire.specs import (
    Cadence,
    Event,
    Finding,
    Kind,
    Level,
    Quality,
    Schema,
    Scope,
    Severity,
    SignalSpec,
    gpu_subject,
)
from cockpit.clock import Instant
from cockpit.fleet.link_state import LinkState, LinkStatus
from cockpit.fleet.state import Fleet
from cockpit.inventory import HostEntry, UnixTarget
from cockpit.runtime import Hands

GIB = 1024.0**3
START = 1_784_858_234.0  # 2026-07-24 01:57:14 UTC, wall seconds
BOOT = 2_592_000.0  # the hosts have been up for 30 days
SECONDS = 317  # of life before the picture
DEATH = 257  # second at which the GPU falls off the bus: 60 s before the picture
DEAD = ("gpu-a03", 5)
POOLS = ("chat-70b", "embed", "chat-70b", "rerank", "chat-70b", "chat-70b", "embed", "chat-70b")

HOST_SIGNALS = (
    SignalSpec("host.cpu.utilization", Scope.HOST, Kind.GAUGE, "1", Cadence.FAST, "busy share", Cadence.MEDIUM),
    SignalSpec("host.load.1m", Scope.HOST, Kind.GAUGE, "1", Cadence.FAST, "load average"),
    SignalSpec("host.memory.used", Scope.HOST, Kind.GAUGE, "byte", Cadence.FAST, "memory used", Cadence.MEDIUM),
    SignalSpec("host.memory.total", Scope.HOST, Kind.GAUGE, "byte", Cadence.SLOW, "memory", Cadence.SLOW),
    SignalSpec("host.uptime", Scope.HOST, Kind.GAUGE, "second", Cadence.MEDIUM, "time since boot"),
)
SCHEMA = Schema((*NVML_SIGNALS, *HOST_SIGNALS))
WHOLE = frozenset(spec.name for spec in SCHEMA.signals if spec.kind in (Kind.STATE, Kind.MASK))


def value_of(name: str, known: dict[str, float | None]) -> float | None:
    value = known.get(name, 0)
    return int(value) if value is not None and name in WHOLE else value


class FrozenClock:
    """A clock that moves only when a test moves it."""

    speed = 1.0

    def __init__(self, wall: float) -> None:
        self.at = wall

    def wall(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at - START + BOOT

    def now(self) -> Instant:
        return Instant(self.wall(), self.monotonic())

    def real(self) -> float:
        return self.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass
class StagedFeed:
    """What screens get instead of a Runtime."""

    fleet: Fleet
    clock: FrozenClock
    focused: tuple[int, ...] = ()
    runs: int = 0
    retried: list[int] = field(default_factory=list)
    said: dict[int, tuple[str, ...]] = field(default_factory=dict)
    fails: Exception | None = None
    hands: Hands | None = None
    asked: list[tuple[int, Request]] = field(default_factory=list)
    answers: Callable[[int, Request], tuple[Answer, ...]] = lambda _host, _request: ()

    @property
    def version(self) -> int:
        return self.fleet.version

    async def run(self) -> None:
        self.runs += 1
        if self.fails:
            raise self.fails
        await asyncio.Event().wait()

    def focus(self, hosts: Collection[int]) -> None:
        self.focused = tuple(sorted(hosts))

    def retry(self, hosts: Iterable[int]) -> None:
        self.retried += hosts

    def remarks(self, host: int) -> Sequence[str]:
        return self.said.get(host, ())

    async def request(self, host: int, request: Request, timeout_s: float = 5.0) -> tuple[Answer, ...]:
        self.asked.append((host, request))
        return self.answers(host, request)


@dataclass
class StagedHost:
    """One host's side of the wire."""

    number: int
    gpus: int
    name: str
    gone: set[int] = field(default_factory=set)
    seq: int = 0
    samples: int = 0
    events: list[Event] = field(default_factory=list)

    @property
    def uuids(self) -> list[str]:
        return [uuid(self.number, index) for index in range(self.gpus)]


def uuid(host: int, gpu: int) -> str:
    return f"GPU-{0x8C4D0000 + host * 256 + gpu:08x}-5b1e-4f7a-9d20-{host * 4096 + gpu:012x}"


def host_name(number: int) -> str:
    return f"gpu-{chr(ord('a') + number // 4 % 26)}{number // 104 * 4 + number % 4 + 1:02d}"


class Stage:
    """Builds a fleet second by second. `fleet` and `feed` are ready when `live` has run."""

    schema = SCHEMA

    def __init__(self, hosts: int = 8, gpus: int = 8, names: Sequence[str] = ()) -> None:
        self.clock = FrozenClock(START)
        self.hosts = [StagedHost(at, gpus, names[at] if at < len(names) else host_name(at)) for at in range(hosts)]
        entries = tuple(
            HostEntry(
                host.name, UnixTarget(f"/run/sim/{at}.sock"), {"pool": POOLS[at % 8], "rack": f"r{at // 4}"}, gpus
            )
            for at, host in enumerate(self.hosts)
        )
        self.fleet = Fleet(entries)
        self.feed = StagedFeed(self.fleet, self.clock)

    def send(self, host: StagedHost, *frames: Frame) -> None:
        for frame in frames:
            self.fleet.apply(host.number, frame, self.clock.now())

    def connect(self) -> None:
        for host in self.hosts:
            self.link(host, LinkState.LIVE)
            hello = Hello(
                software="0.1.0",
                wall=self.clock.wall(),
                mono=self.clock.monotonic(),
                host_id=f"id-{host.number:04d}",
                host=host.name,
                boot_id=f"boot-{host.number:04d}",
                schema_id="stage",
                schema=pack_schema(self.schema),
            )
            self.send(host, hello, Layout(1, self.tables(host)), Snapshot(self.facts(host), ()))
            self.sample(host, 0, frozenset(Cadence))
            self.send(host, Synced(0))

    def tables(self, host: StagedHost) -> dict[str, tuple[str, ...]]:
        """What its layout names."""
        return {"gpu": tuple(host.uuids), "host": (f"id-{host.number:04d}",)}

    def link(self, host: StagedHost, state: LinkState, says: str = "", hint: str = "", retry_in: float = 0.0) -> None:
        real = self.clock.real()
        status = LinkStatus(state, says, hint, since=real, retry_at=real + retry_in if retry_in else 0.0)
        self.fleet.link_changed(host.number, status, self.clock.now())

    def live(self, seconds: int = SECONDS) -> StagedFeed:
        """A night of this length; then the picture is taken, 0.4 s after the last sample."""
        self.connect()
        for second in range(1, seconds + 1):
            self.second(second)
        self.clock.at += 0.4
        return self.feed

    def second(self, second: int) -> None:
        self.clock.at = START + second
        due = {Cadence.FAST} | ({Cadence.MEDIUM} if second % 10 == 0 else set())
        if second % 60 == 0:
            due.add(Cadence.SLOW)
        for host in self.hosts:
            if self.fleet.hosts[host.number].live:
                self.sample(host, second, frozenset(due))
        self.fleet.age(self.clock.now())

    def sample(self, host: StagedHost, second: int, due: frozenset[Cadence]) -> None:
        blocks = []
        for scope, rows in ((Scope.GPU, host.gpus), (Scope.HOST, 1)):
            known = [self.values(host, row, second) for row in range(rows)]
            for cadence in sorted(due):
                specs = columns(SCHEMA.signals, scope, cadence, Level.DETAIL)
                if not specs:
                    continue
                grid = [[value_of(spec.name, known[row]) for row in range(rows)] for spec in specs]
                gone = [(0xFFFF, row, Quality.LOST) for row in sorted(host.gone) if scope is Scope.GPU]
                missing = [
                    (column, row, Quality.UNSUPPORTED)
                    for column, values in enumerate(grid)
                    for row, value in enumerate(values)
                    if value is None
                ]
                at_ms = int(self.clock.monotonic() * 1000)
                blocks.append(
                    Block(
                        scope, cadence, Level.DETAIL, at_ms, pack_columns(specs, grid), pack_exceptions(missing + gone)
                    )
                )
        host.samples += 1
        self.send(host, Sample(host.samples, 1, tuple(blocks)))

    def values(self, host: StagedHost, row: int, second: int) -> dict[str, float | None]:
        key = host.number * 31 + row * 7
        wave = math.sin(second / 47 + key) * 0.5 + math.sin(second / 11 + key * 3) * 0.2
        load = min(1.0, max(0.02, (0.78 if POOLS[host.number % 8] == "chat-70b" else 0.34) + wave * 0.3))
        return {
            "gpu.utilization": load,
            "gpu.memory.utilization": load * 0.7,
            "gpu.memory.used": (71.6 if POOLS[host.number % 8] == "chat-70b" else 9.4) * GIB,
            "gpu.memory.total": 80 * GIB,
            "gpu.temperature": 38 + load * 34 + key % 5,
            "gpu.temperature.memory": 44 + load * 36 + key % 5,
            "gpu.temperature.slowdown": 92.0,
            "gpu.temperature.shutdown": 95.0,
            "gpu.power": 110 + load * 560,
            "gpu.power.average": 110 + load * 560,
            "gpu.power.limit": 700.0,
            "gpu.power.limit.default": 700.0,
            "gpu.clock.sm": 1.98e9 - load * 0.12e9,
            "gpu.clock.graphics": 1.98e9 - load * 0.12e9,
            "gpu.clock.sm.max": 1.98e9,
            "gpu.clock.memory": 2.619e9,
            "gpu.clock.video": 1.545e9,
            "gpu.clock.reasons": 4 if load > 0.95 else 0,
            "gpu.nvml.latency": 0.0021,
            "gpu.energy": 1.9e12 + second * 500.0,
            "gpu.pcie.gen": 5,
            "gpu.pcie.width": 16,
            "gpu.pcie.gen.max": 5,
            "gpu.pcie.width.max": 16,
            "gpu.persistence": 1,
            "gpu.ecc.mode": 1,
            "gpu.processes": 1.0,
            "gpu.fan": None,
            "gpu.encoder.utilization": 0.0,
            "gpu.decoder.utilization": 0.0,
            "host.cpu.utilization": 0.18 + wave * 0.1,
            "host.load.1m": 21.4 + wave * 4,
            "host.memory.used": 412 * GIB,
            "host.memory.total": 2016 * GIB,
            "host.uptime": 30 * 86_400.0 + second,
            "host.gpus.nvml": float(host.gpus - len(host.gone)),
            "host.gpus.pci": float(host.gpus),
            "host.gpus.expected": float(host.gpus),
        }

    def facts(self, host: StagedHost) -> dict[str, object]:
        return {
            "host": {
                "os": "Debian GNU/Linux 12",
                "kernel": "6.1.0-28-amd64",
                "cpu": "Xeon Platinum 8480+",
                "cpus": 224,
            },
            "labels": {"role": "serving"},
            "gpus": self.gpu_facts(host),
            "processes": [self.process(host, row) for row in range(host.gpus) if row not in host.gone],
            "agent": {"version": "0.1.0", "pid": 812, "started": START - 86_400, "interval_s": 1.0},
        }

    def gpu_facts(self, host: StagedHost) -> dict[str, object]:
        return {
            uuid(host.number, row): {
                "index": row,
                "name": "NVIDIA H100 80GB HBM3",
                "serial": f"165{host.number:03d}{row:04d}",
                "bus_id": f"0000:{0x0F + row * 0x10:02x}:00",
                "vbios": "96.00.89.00.01",
                "driver": "570.86.15",
                "state": "lost" if row in host.gone else "present",
                "last_seen": (START + DEATH if row in host.gone else None),
                "last_processes": [self.process(host, row)] if row in host.gone else [],
            }
            for row in range(host.gpus)
        }

    def process(self, host: StagedHost, row: int) -> dict[str, object]:
        pool = POOLS[host.number % 8]
        owner = {"chat-70b": {"unit": f"vllm-{row // 4}.service"}, "embed": {"container": "tei-3f9c"}}.get(
            pool, {"pod": "rerank-7d4f"}
        )
        return {
            "pid": 20_000 + host.number * 100 + row,
            "user": {"chat-70b": "vllm", "embed": "tei"}.get(pool, "infinity"),
            "command": {
                "chat-70b": f"VLLM::Worker_TP{row % 4}",
                "embed": "text-embeddings-router --model-id BAAI/bge-m3 --port 8080",
            }.get(pool, "python3 -m infinity_emb v2 --model-id BAAI/bge-reranker-v2-m3"),
            "gpus": [uuid(host.number, row)],
            "gpu_memory": (71.2 if pool == "chat-70b" else 9.1) * GIB,
            "started": START - 86_400 * 3,
            "state": "running",
            **owner,
        }

    def event(self, host: StagedHost, kind: str, subject: str, severity: Severity, text: str, **data: object) -> Event:
        host.seq += 1
        now = self.clock.now()
        event = Event(host.seq, now.wall, now.mono, kind, subject, severity, text, data)
        self.send(host, EventFrame(event))
        return event

    def finding(self, host: StagedHost, finding: Finding) -> None:
        self.event(host, "finding", finding.subject, finding.severity, f"opened: {finding.text}", finding=pack(finding))

    def drop(self, host: StagedHost, row: int) -> None:
        """GPU `row` falls off the bus now, as the kernel, NVML and the rules tell it."""
        subject = gpu_subject(uuid(host.number, row))
        bus = f"0000:{0x0F + row * 0x10:02x}:00"
        line = f"NVRM: Xid (PCI:{bus}): 79, pid=20{host.number:01d}05, GPU has fallen off the bus."
        self.event(
            host,
            "xid",
            subject,
            Severity.CRITICAL,
            f"XID 79 on GPU {row}: GPU has fallen off the bus",
            xid=79,
            line=line,
            witnesses=["kernel_log", "nvml"],
        )
        host.gone.add(row)
        self.event(host, "xid", subject, Severity.CRITICAL, "XID 154 GPU recovery action changed from 0x0 to 0x2",
                   xid=154, companion_of=79, companion_gpu=subject)  # fmt: skip
        self.finding(
            host,
            Finding(
                id="7f3a91c2",
                rule="gpu.lost",
                severity=Severity.CRITICAL,
                subject=subject,
                text=f"GPU {row} fell off the bus (XID 79)",
                since=self.clock.wall(),
                updated=self.clock.wall(),
                runbook="gpu-off-bus",
                evidence=(
                    {"what": "kernel log", "line": line, "at": self.clock.wall()},
                    {"what": "XID", "value": 79, "at": self.clock.wall()},
                    {"what": "GPUs that the driver reports", "value": 7, "threshold": 8, "unit": "count"},
                ),
            ),
        )
        self.send(host, Facts("gpus", self.gpu_facts(host)))
        self.send(host, Facts("processes", self.facts(host)["processes"]))

    def echo(self, host: StagedHost, row: int) -> None:
        """The processes on the other GPUs of its group are told to go, as the kernel tells it."""
        subject = gpu_subject(uuid(host.number, row))
        for sibling in range(row // 4 * 4, row // 4 * 4 + 4):
            if sibling != row:
                pid = 20_000 + host.number * 100 + sibling
                says = f"XID 45 Ch 00000008 (pid {pid} VLLM::Worker_TP)"
                told = gpu_subject(uuid(host.number, sibling))
                self.event(host, "xid", told, Severity.INFO, says, xid=45, pid=pid, name="VLLM::Worker_TP",
                           companion_of=79, companion_gpu=subject)  # fmt: skip


def healthy_night() -> Stage:
    """8 hosts x 8 GPUs, nothing wrong, a few quiet events."""
    stage = Stage()
    stage.connect()
    for second in range(1, SECONDS + 1):
        stage.second(second)
        _small_talk(stage, second)
    stage.clock.at += 0.4
    return stage


def xid79() -> Stage:
    """The same night; one GPU falls off the bus a minute before the picture."""
    stage = Stage()
    stage.connect()
    dead = next(host for host in stage.hosts if host.name == DEAD[0])
    for second in range(1, SECONDS + 1):
        if second == DEATH:
            stage.clock.at = START + second
            stage.drop(dead, DEAD[1])
        if second == DEATH + 2:
            stage.clock.at = START + second
            stage.echo(dead, DEAD[1])
        stage.second(second)
        _small_talk(stage, second)
    stage.clock.at += 0.4
    return stage


def _small_talk(stage: Stage, second: int) -> None:
    if second % 40 == 7:
        host = stage.hosts[second // 40 % len(stage.hosts)]
        if second < 120:
            stage.event(host, "agent", "host", Severity.INFO, "agent started, 8 GPUs answer")
        else:
            stage.event(
                host,
                "xid",
                gpu_subject(host.uuids[second % 8]),
                Severity.INFO,
                "XID 43: application error, GPU is fine",
                xid=43,
            )


SCENARIOS = {"healthy-night": healthy_night, "xid79-falls-off-bus": xid79}
