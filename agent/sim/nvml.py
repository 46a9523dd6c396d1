"""The driver's view of a simulated host: the signals, facts and events of the real NVML source, and its silences.

A GPU that is lost, missing or hung keeps its row, its identity and its last values; only their quality changes. Like
the real source it never makes the seven others wait for the eighth.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from agent.clock import Clock, Instant
from agent.sim import physics
from agent.sim.dials import HOST
from agent.sim.gpu import Gpu, Presence
from agent.sim.happen import happenings
from agent.sim.machine import DRIVER, DriverEvent, Machine
from agent.sources.base import ALL_SIGNALS, Batch, RawEvent, Reading, Reason, Value
from agent.sources.nvml import gpu as board
from agent.sources.nvml.reasons import of_failure
from agent.sources.nvml.signals import GPU_SIGNALS, HOST_SIGNALS, SIGNALS
from agent.wire.specs import Cadence, Quality, Scope, SignalSpec

READ_DEADLINE_S = 2.0  # what the real source waits for a GPU that does not answer
_EVENT_DELAY_S = 0.05  # the driver's event set speaks a little after the log line
_WAITING = Presence.PRESENT  # asked, and the deadline is not over yet
_XID = 0x8  # NVML's bit for "XID" among its event types
_NO_INSTANCE = (0xFFFF_FFFF, 0xFFFF_FFFF)  # not of a MIG instance
_QUALITY = {Presence.LOST: Quality.LOST, Presence.MISSING: Quality.LOST, Presence.HUNG: Quality.TIMEOUT}
_STATE = {
    Presence.PRESENT: "present",
    Presence.LOST: "lost",
    Presence.MISSING: "missing",
    Presence.HUNG: "unresponsive",
}
_LATENCY_S = 0.0009
# Bytes per joule: what is moved follows from the work that is done. Only a GPU that works with others uses NVLink.
_PCIE_SENT, _PCIE_RECEIVED = 1.1e6, 2.6e6
_NVLINK_PAYLOAD, _NVLINK_RAW = 1.2e8, 1.5e8
_BANKS = 640  # of the memory, each with its spare rows

Values = list[Value | None]
Known = dict[str, Value]


class SimNvml:
    """A source over one machine."""

    name = "nvml"
    signals = SIGNALS

    def __init__(self, machine: Machine, clock: Clock) -> None:
        self._machine = machine
        self._clock = clock
        self._rows = tuple(gpu.uuid for gpu in machine.gpus)
        self._last: dict[Cadence, list[Values]] = {}
        self._facts: dict[str, dict[str, Any]] = {}
        self._states = ["unknown"] * len(machine.gpus)
        self._events_seen = 0
        self._closed = False
        self._retired: set[str] = set()
        self._failure: tuple[int, str] | None = None

    async def read(self, due: frozenset[Cadence]) -> Reading:
        """What is due now; it never waits, because what does not answer is simply not asked twice."""
        return self.read_now(due)

    def read_now(self, due: frozenset[Cadence]) -> Reading:
        """`read` without a loop."""
        now = self._clock.now()
        machine = self._machine
        machine.advance(now.wall)
        silent = [self._silence(gpu, now.wall) for gpu in machine.gpus]
        if self._retired:
            self._welcome_back(silent)
        batches = [self._gpu_batch(cadence, now, silent) for cadence in _READERS if cadence in due]
        if Cadence.MEDIUM in due:
            batches.append(self._host_batch(now))
        events = self._turns(silent, now)
        facts = self._changed_facts(now) if events or not self._facts else {}
        return Reading(tuple(batches), facts, events, self._changed_reasons())

    def _changed_reasons(self) -> tuple[Reason, ...] | None:
        """Why NVML cannot be used, if that is news: (code, text) of the fault that a driver has as a whole."""
        failure = self._machine.dials.facts.get("nvml_failure")
        if failure == self._failure:
            return None
        self._failure = failure
        return () if failure is None else (of_failure(*failure),)

    async def watch(self) -> AsyncIterator[RawEvent]:
        """XIDs as the driver's event set gives them: a bare number, once, only while somebody listens."""
        self._events_seen = self._machine.driver_events[-1].number if self._machine.driver_events else 0
        async for moment in happenings(self._machine, self._clock, lambda: self._closed, _EVENT_DELAY_S):
            for event in self.events_until(moment):
                yield event

    def events_until(self, moment: float) -> list[RawEvent]:
        """The driver's events since the last call that had been delivered by `moment`."""
        found = []
        for event in self._machine.driver_events:
            if event.number > self._events_seen and event.at + _EVENT_DELAY_S <= moment:
                self._events_seen = event.number
                found.append(self._raw(event))
        return found

    def retire(self, uuid: str, facts: Mapping[str, Any]) -> None:
        """A GPU that is gone has no row any more, until it answers."""
        del facts
        self._retired.add(uuid)
        self._facts = {}

    def unretire(self, uuid: str) -> None:
        """Take that back."""
        self._retired.discard(uuid)
        self._facts = {}

    def _welcome_back(self, silent: list[Presence | None]) -> None:
        for gpu, why in zip(self._machine.gpus, silent, strict=True):
            if why is None and gpu.uuid in self._retired:
                self.unretire(gpu.uuid)

    async def close(self) -> None:
        """End `watch`."""
        self._closed = True
        self._machine.changed()

    def _silence(self, gpu: Gpu, moment: float) -> Presence | None:
        """Why this GPU is not read now; None if it is. A hang is not known as one before the deadline is over."""
        if gpu.answers:
            return None
        waited_s = (moment - gpu.changed_at) / self._clock.speed
        return _WAITING if gpu.presence is Presence.HUNG and waited_s < READ_DEADLINE_S else gpu.presence

    def _turns(self, silent: list[Presence | None], now: Instant) -> tuple[RawEvent, ...]:
        """The GPUs whose state is another than at the last read."""
        events = []
        for gpu, why in zip(self._machine.gpus, silent, strict=True):
            state = _STATE[why or Presence.PRESENT]
            was, self._states[gpu.index] = self._states[gpu.index], state
            if state != was and not (was == "unknown" and state == "present"):
                row = board.Gpu(gpu.uuid, {"index": gpu.index, "bus_id": gpu.bus_id}, state)
                events.append(board.turned(row, was, now))
        return tuple(events)

    def _gpu_batch(self, cadence: Cadence, now: Instant, silent: list[Presence | None]) -> Batch:
        specs, reader = _READERS[cadence]
        last = self._last.setdefault(cadence, [[None] * len(specs) for _ in self._rows])
        exceptions: dict[tuple[str, str], Quality] = {}
        dials = self._machine.dials
        for position, gpu in enumerate(self._machine.gpus):
            why = silent[position]
            if why is None:
                known = reader(self._machine, gpu, now.wall)
                last[position], bad = dials.read(gpu.index, specs, known, now.wall)
                for name, quality in bad.items():
                    exceptions[(name, gpu.uuid)] = quality
            elif why is not _WAITING:
                exceptions[(ALL_SIGNALS, gpu.uuid)] = _QUALITY[why]
            if "nvml_failure" in self._machine.dials.facts:
                exceptions[(ALL_SIGNALS, gpu.uuid)] = Quality.ERROR
        if self._retired:
            last = [values for values, uuid in zip(last, self._rows, strict=True) if uuid not in self._retired]
        rows = tuple(uuid for uuid in self._rows if uuid not in self._retired) if self._retired else self._rows
        columns = {spec.name: [values[column] for values in last] for column, spec in enumerate(specs)}
        return Batch(Scope.GPU, cadence, now, rows, columns, exceptions)

    def _host_batch(self, now: Instant) -> Batch:
        gpus = self._machine.gpus
        counts = (
            sum(gpu.presence is not Presence.MISSING for gpu in gpus),
            sum(gpu.on_bus for gpu in gpus),
            sum(gpu.presence is Presence.LOST for gpu in gpus),
            len(gpus) - len(self._retired),
        )
        known = {spec.name: count for spec, count in zip(HOST_SIGNALS, counts, strict=True)}
        values, bad = self._machine.dials.read(HOST, HOST_SIGNALS, known, now.wall)
        columns = {spec.name: [value] for spec, value in zip(HOST_SIGNALS, values, strict=True)}
        silent = {(name, self._machine.host_id): quality for name, quality in bad.items()}
        if "nvml_failure" in self._machine.dials.facts:
            silent["host.gpus.nvml", self._machine.host_id] = Quality.ERROR
        return Batch(Scope.HOST, Cadence.MEDIUM, now, (self._machine.host_id,), columns, silent)

    def _raw(self, event: DriverEvent) -> RawEvent:
        row = board.Gpu(event.uuid, {"index": event.index, "bus_id": event.bus_id})
        return board.pushed(row, _XID, event.code, _NO_INSTANCE, self._instant(event.at + _EVENT_DELAY_S))

    def _instant(self, at: float) -> Instant:
        now = self._clock.now()
        return Instant(at, now.mono - (now.wall - at))

    def _changed_facts(self, now: Instant) -> dict[str, Any]:
        facts = {}
        for gpu in self._machine.gpus:
            if gpu.uuid in self._retired:
                continue
            state, known = self._states[gpu.index], self._facts.get(gpu.uuid)
            if known and known["state"] == state:
                facts[gpu.uuid] = known
            else:
                facts[gpu.uuid] = self._facts_of(gpu, state, now)
        self._facts = facts
        return {"gpus": facts}

    def _facts_of(self, gpu: Gpu, state: str, now: Instant) -> dict[str, Any]:
        return {
            "index": gpu.index,
            "name": self._machine.model,
            "serial": gpu.serial,
            "bus_id": gpu.bus_id,
            "vbios": "96.00.A5.00.01",
            "driver": DRIVER,
            "module_id": gpu.module_id,
            "minor": gpu.index,
            "state": state,
            "last_seen": now.wall if state == "present" else gpu.changed_at,
            "last_processes": gpu.last_processes,
            **({"off_bus": True} if gpu.presence is Presence.LOST else {}),
        }


# What the physics say, by signal. What they leave out stands at its default, or cannot be said: an H100 SXM has
# neither fans nor retired pages.


def _fast(machine: Machine, gpu: Gpu, moment: float) -> Known:
    board = gpu.board
    replica = machine.holder(gpu.index)
    activity = board.activity
    clock = round(board.ratio * physics.CLOCK_MAX_HZ / 15e6) * 15e6  # clocks move in steps of 15 MHz
    share = 1.0 - (1.0 - activity) ** 3  # a kernel runs more of the time than cores are busy
    return {
        "gpu.utilization": round(share, 2),
        "gpu.memory.utilization": round(activity * (replica.pool.memory_bound if replica else 0.0), 2),
        "gpu.memory.used": round(replica.memory(moment) if replica else 0.0),
        "gpu.temperature": round(board.temperature),
        "gpu.power": round(board.power, 3),
        "gpu.clock.sm": clock,
        "gpu.clock.memory": physics.CLOCK_MEMORY_HZ,
        "gpu.clock.graphics": clock,
        "gpu.clock.video": min(clock, physics.CLOCK_VIDEO_HZ),
        "gpu.pstate": 0,
        "gpu.clock.reasons": board.reasons,
        "gpu.nvml.latency": _LATENCY_S * (1.0 + 0.4 * share),
    }


def _medium(machine: Machine, gpu: Gpu, moment: float) -> Known:
    board = gpu.board
    corrected = gpu.corrected(moment)
    work = board.energy_at(moment)
    replica = machine.assigned(gpu.index)
    peers = len(replica.gpus) - 1 if replica else 0
    return {
        "gpu.temperature.memory": round(board.temperature_memory),
        "gpu.temperature.margin": round(physics.GPU_MAX_C) - round(board.temperature),
        "gpu.power.average": round(board.power_average, 3),
        "gpu.energy": work,
        "gpu.slowdown.sw_power": board.held(board.sw_power_s, physics.REASON_SW_POWER_CAP, moment),
        "gpu.slowdown.sync_boost": 0.0,
        "gpu.slowdown.sw_thermal": board.held(board.sw_thermal_s, physics.REASON_SW_THERMAL, moment),
        "gpu.slowdown.hw_thermal": board.held(board.hw_thermal_s, physics.REASON_HW_THERMAL, moment),
        "gpu.slowdown.power_brake": board.held(board.power_brake_s, physics.REASON_POWER_BRAKE, moment),
        "gpu.ecc.corrected.volatile": corrected,
        "gpu.ecc.uncorrected.volatile": gpu.uncorrected,
        "gpu.ecc.corrected.aggregate": gpu.corrected_before + corrected,
        "gpu.ecc.uncorrected.aggregate": gpu.uncorrected_before + gpu.uncorrected,
        "gpu.remap.corrected": 0,
        "gpu.remap.uncorrected": gpu.remapped,
        "gpu.remap.pending": int(gpu.remap_pending),
        "gpu.remap.failure": int(gpu.remap_failed),
        "gpu.recovery_action": gpu.recovery_action,
        "gpu.pcie.replay": gpu.index % 3,
        "gpu.pcie.sent": _PCIE_SENT * work,
        "gpu.pcie.received": _PCIE_RECEIVED * work,
        "gpu.nvlink.sent": _NVLINK_PAYLOAD * work * min(1, peers),
        "gpu.nvlink.received": _NVLINK_PAYLOAD * work * min(1, peers),
        "gpu.nvlink.raw.sent": _NVLINK_RAW * work * min(1, peers),
        "gpu.nvlink.raw.received": _NVLINK_RAW * work * min(1, peers),
        "gpu.encoder.utilization": 0.0,
        "gpu.decoder.utilization": 0.0,
        "gpu.processes": len(machine.held_by(gpu)),
        "gpu.processes.live": len(machine.held_by(gpu)),
    }


def _slow(machine: Machine, gpu: Gpu, moment: float) -> Known:
    awake = gpu.board.activity > 0.0
    replica = machine.holder(gpu.index)
    corrected = gpu.corrected(moment)
    return {
        "gpu.pcie.gen": 5 if awake else 1,
        "gpu.pcie.width": 16,
        "gpu.pcie.gen.max": 5,
        "gpu.pcie.width.max": 16,
        "gpu.power.limit": gpu.board.limit,
        "gpu.power.limit.default": physics.POWER_LIMIT_W,
        "gpu.clock.sm.max": physics.CLOCK_MAX_HZ,
        "gpu.memory.total": physics.MEMORY_BYTES,
        "gpu.memory.reserved": physics.RESERVED_BYTES,
        "gpu.bar1.used": 2_097_152 * (4 if replica else 1),
        "gpu.persistence": 1,
        "gpu.compute_mode": 0,
        "gpu.ecc.mode": 1,
        "gpu.mig.mode": 0,
        "gpu.ecc.dram.corrected.volatile": corrected,
        "gpu.ecc.dram.uncorrected.volatile": gpu.uncorrected,
        "gpu.ecc.dram.corrected.aggregate": gpu.corrected_before + corrected,
        "gpu.ecc.dram.uncorrected.aggregate": gpu.uncorrected_before + gpu.uncorrected,
        "gpu.remap.spare.max": _BANKS - gpu.remapped,
        "gpu.remap.spare.high": gpu.remapped,
        "gpu.temperature.slowdown": physics.SLOWDOWN_C,
        "gpu.temperature.shutdown": physics.SHUTDOWN_C,
    }


_Reader = Callable[[Machine, Gpu, float], Known]


def _of(cadence: Cadence, reader: _Reader) -> tuple[tuple[SignalSpec, ...], _Reader]:
    """The signals of a class, and what the physics say of them."""
    return tuple(spec for spec in GPU_SIGNALS if spec.cadence is cadence), reader


_READERS = {
    Cadence.FAST: _of(Cadence.FAST, _fast),
    Cadence.MEDIUM: _of(Cadence.MEDIUM, _medium),
    Cadence.SLOW: _of(Cadence.SLOW, _slow),
    Cadence.RARE: _of(Cadence.RARE, lambda machine, gpu, moment: {}),
}

KINDS = {spec.name: spec.kind for spec in GPU_SIGNALS}


def settled(machine: Machine, gpu: Gpu, moment: float) -> Known:
    """All that the physics say of a GPU as it stands, whatever class it is read in."""
    return {name: value for _, reader in _READERS.values() for name, value in reader(machine, gpu, moment).items()}
