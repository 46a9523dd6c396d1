"""A host as the engine sees it: batches every second, events, a restart, a reboot; time is only ever a number."""

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import agent.sources
from agent.clock import Instant
from agent.detect import RULES, Change, Engine, Transition
from agent.detect.baselines import Baselines
from agent.detect.limit import Setting
from agent.detect.memory import FOR_LIFE
from agent.detect.rule import Rule
from agent.sampler import self_metrics
from agent.sources.base import ALL_SIGNALS, Batch, Reason, Value
from agent.wire.shape import pack
from agent.wire.signals import Kind, SignalSpec
from agent.wire.specs import Cadence, Event, Finding, Quality, Scope, Severity

EPOCH = 1_750_000_000.0
HOST = -1  # in place of a GPU's number in `qualities`: the host itself
DAY = 86_400.0
FAST = ("gpu.temperature", "gpu.clock.reasons", "gpu.nvml.latency")
MEDIUM = (
    "gpu.energy",
    "gpu.slowdown.sw_power",
    "gpu.slowdown.hw_thermal",
    "gpu.slowdown.power_brake",
    "gpu.ecc.uncorrected.volatile",
    "gpu.ecc.uncorrected.aggregate",
    "gpu.remap.pending",
    "gpu.recovery_action",
)


@cache
def signals() -> dict[str, SignalSpec]:
    """Every signal that some source of this agent has, by name."""
    found: dict[str, SignalSpec] = {spec.name: spec for spec in self_metrics.SIGNALS}
    for info in pkgutil.walk_packages(agent.sources.__path__, "agent.sources."):
        for value in vars(importlib.import_module(info.name)).values():
            if isinstance(value, tuple) and value and all(isinstance(item, SignalSpec) for item in value):
                found.update((spec.name, spec) for spec in value)
    return found


class Watched:
    """`values[signal, gpu]` stands still unless `slopes` (per second) moves it; `qualities[signal or *, gpu]` spoils
    it. Any signal that a source has may be among `values` (for all GPUs: `every`) or `host`: it is read in its class.
    `settings` are thresholds of this host, by rule and limit."""

    def __init__(
        self,
        gpus: int = 2,
        *,
        boot: str = "boot-1",
        uptime: float = 30 * DAY,
        rules: tuple[Rule, ...] = RULES,
        period: int = 1,
        settings: dict[str, dict[str, float]] | None = None,
    ) -> None:
        self.settings = {
            rule: {name: Setting(value, "a test") for name, value in named.items()}
            for rule, named in (settings or {}).items()
        }
        self.baselines = Baselines()
        self.count = gpus
        self.boot = boot
        self.rules = rules
        self.period = period
        self.time = 0.0
        self.booted = -uptime
        self.values: dict[tuple[str, int], Value | None] = {}
        self.slopes: dict[tuple[str, int], float] = {}
        self.qualities: dict[tuple[str, int], Quality] = {}
        self.host: dict[str, Value | None] = {
            name: gpus for name in ("host.gpus.nvml", "host.gpus.pci", "host.gpus.expected")
        }
        self.silent: set[Cadence] = set()
        self.seen: list[Transition] = []
        self.events = 0
        self.journal: list[Event] = []
        self.facts: dict[str, dict[str, Any]] = {
            uuid_of(gpu): {"index": gpu, "bus_id": f"0000:{gpu:02x}:00", "state": "present"} for gpu in range(gpus)
        }
        for gpu in range(gpus):
            for signal in FAST + MEDIUM:
                self.values[signal, gpu] = 0
            self.values["gpu.energy", gpu] = 5e9
            self.slopes["gpu.energy", gpu] = 300.0
            self.values["gpu.temperature", gpu] = 60.0
            self.values["gpu.nvml.latency", gpu] = 0.001
        self.engine = self._started()

    @property
    def now(self) -> Instant:
        return Instant(EPOCH + self.time, self.time - self.booted)

    def run(self, seconds: float) -> list[Transition]:
        """Let time pass; what changed meanwhile."""
        before = len(self.seen)
        end = self.time + seconds
        while self.time < end:
            self.tick()
            self.time += self.period
            for key, slope in self.slopes.items():
                value = self.host[key[0]] if key[1] == HOST else self.values[key]
                assert value is not None
                moved = value + slope * self.period
                if key[1] == HOST:
                    self.host[key[0]] = moved
                else:
                    self.values[key] = moved
        return self.seen[before:]

    def tick(self) -> None:
        """One read of what is due."""
        for cadence in Cadence:
            if cadence is Cadence.FAST or self.time % cadence.period_s < self.period:
                self._observe(cadence)
                self._observe_host(cadence)
        self.judge()

    def every(self, signal: str, value: Value | None) -> None:
        """All GPUs say this from now on."""
        for gpu in range(self.count):
            self.values[signal, gpu] = value

    def judge(self) -> list[Transition]:
        """Ask the engine now, as at a tick."""
        return self._noted(self.engine.evaluate(self.now))

    def xid(self, code: int, gpu: int | None = 0, *, ago: float = 0.0, replayed: bool = False, **data: Any) -> None:
        """A line of the kernel log, judged at once."""
        self.say("xid", gpu, {"xid": code, "line": f"NVRM: Xid (PCI): {code}, words", **data}, ago, replayed)

    def say(
        self, kind: str, gpu: int | None, data: dict[str, Any], ago: float = 0.0, replayed: bool = False
    ) -> list[Transition]:
        """Any event, judged at once."""
        self.events += 1
        subject = "host" if gpu is None else f"gpu:{uuid_of(gpu)}"
        at = Instant(self.now.wall - ago, self.now.mono - ago)
        text = f"{kind} event"
        event = Event(self.events, at.wall, at.mono, kind, subject, Severity.WARNING, text, data, replayed)
        self.journal.append(event)
        self.engine.event(event)
        return self._noted(self.engine.react(self.now))

    def open(self) -> dict[tuple[str, int | str], Finding]:
        """What is open or unknown, by rule and GPU index."""
        return {(finding.rule, _where(finding.subject)): finding for finding in self.engine.open()}

    def rules_open(self) -> list[str]:
        """The names alone, sorted."""
        return sorted(finding.rule for finding in self.engine.open())

    def state(self, gpu: int, word: str) -> None:
        """The roster's word for a GPU."""
        self.know(gpu, state=word)

    def reasons(self, *codes: str) -> None:
        """What cannot be seen from now on, by code of its reason."""
        self.engine.reasons([Reason(code.split("_")[0], code, f"it is {code}", f"mend {code}") for code in codes])

    def know(self, gpu: int, **facts: Any) -> None:
        """What the roster now says of a GPU besides what it said before."""
        self.facts[uuid_of(gpu)] = {**self.facts[uuid_of(gpu)], **facts}
        self.engine.roster(self.facts, self.now)

    def retire(self, gpu: int) -> None:
        """The roster no longer names a GPU, and what was known of it is forgotten."""
        del self.facts[uuid_of(gpu)]
        self.engine.roster(self.facts, self.now)

    def restart(self, *, reboot: bool = False, down: float = 5.0) -> None:
        """The agent is gone for `down` seconds; after a reboot everything counts from nothing."""
        self.time += down
        findings = self.engine.open()
        if reboot:
            self.boot += "+"
            self.booted = self.time - 60.0
            self.reset_counters(*range(self.count))
        self.engine = self._started()
        self.engine.recall(self.journal, self.now)
        self.engine.restore(findings)

    def reset_counters(self, *gpus: int) -> None:
        """What a GPU reset or a driver reload does."""
        for signal, gpu in self.values:
            restarts = signal in MEDIUM or signals()[signal].kind is Kind.COUNTER
            if gpu in gpus and restarts and not signal.endswith("aggregate") and not signal.startswith(FOR_LIFE):
                self.values[signal, gpu] = 0

    def _noted(self, found: list[Transition]) -> list[Transition]:
        self.seen += found
        for one in found:
            data = {"finding": pack(one.finding), "change": one.change.value}
            at, subject = self.now, one.finding.subject
            self.journal.append(Event(0, at.wall, at.mono, "finding", subject, one.finding.severity, "", data))
        return found

    def _started(self) -> Engine:
        engine = Engine(
            "host-1",
            self.boot,
            self.rules,
            float(self.period),
            signals=signals().values(),
            settings=self.settings,
        )
        engine.baselines(self.baselines)
        engine.roster(self.facts, self.now)
        return engine

    def _observe(self, cadence: Cadence) -> None:
        if cadence in self.silent:
            return
        names = of_class((signal for signal, _ in self.values), cadence)
        gpus = range(self.count)
        columns = {signal: [self.values.get((signal, gpu)) for gpu in gpus] for signal in names}
        exceptions = {
            (signal, uuid_of(gpu)): quality
            for (signal, gpu), quality in self.qualities.items()
            if gpu >= 0 and (signal == ALL_SIGNALS or signal in names)
        }
        rows = tuple(uuid_of(gpu) for gpu in gpus)
        if columns or cadence is Cadence.FAST:
            self.engine.observe(Batch(Scope.GPU, cadence, self.now, rows, columns, exceptions))

    def _observe_host(self, cadence: Cadence) -> None:
        columns: dict[str, list[Value | None]] = {name: [self.host[name]] for name in of_class(self.host, cadence)}
        if cadence is Cadence.MEDIUM:
            columns["host.uptime"] = [self.time - self.booted]
        bad = {(name, "host-1"): self.qualities[name, HOST] for name in columns if (name, HOST) in self.qualities}
        if columns:
            self.engine.observe(Batch(Scope.HOST, cadence, self.now, ("host-1",), columns, bad))


def of_class(names: Iterable[str], cadence: Cadence) -> list[str]:
    """Those signals that are read in this class, each once."""
    return [name for name in dict.fromkeys(names) if name in signals() and signals()[name].cadence is cadence]


def uuid_of(gpu: int) -> str:
    """The UUID of the GPU with that index."""
    return f"GPU-{gpu}aaaaaaa-0000"


def changes(transitions: list[Transition]) -> list[tuple[str, Change]]:
    """What happened, without the details."""
    return [(transition.finding.rule, transition.change) for transition in transitions]


def until(host: Watched, condition: Callable[[], bool], limit: float = 3600.0) -> float:
    """Run until `condition`; the seconds it took."""
    start = host.time
    while not condition():
        assert host.time - start < limit, "it never happened"
        host.run(host.period)
    return host.time - start


def _where(subject: str) -> int | str:
    return int(subject[len("gpu:GPU-")]) if subject.startswith("gpu:GPU-") else subject
