"""The rest of a simulated host: CPU, memory, disks and network that follow from what its replicas do.

Counters are closed forms of the moment, so they never fall, whatever was read before.
"""

import math
from collections.abc import AsyncIterator

from agent.clock import Clock, Instant
from agent.sim.dials import HOST
from agent.sim.machine import DRIVER, Machine
from agent.sim.noise import Wave, between
from agent.sim.workload import GIB
from agent.sources.base import Batch, RawEvent, Reading, Value
from agent.sources.host import SIGNALS
from agent.wire.specs import Cadence, Scope, SignalSpec

CPUS = 192
MEMORY_BYTES = 2048 * GIB
_BASE_MEMORY = 61 * GIB
_MEMORY_PER_GPU = 38 * GIB
_ROOT_BYTES = 3_520 * GIB
_SHM_BYTES = MEMORY_BYTES // 2
_RECEIVED_PER_S, _SENT_PER_S = 3.1e6, 5.4e6
_READ_PER_S, _WRITTEN_PER_S = 2.2e5, 9.6e5
_SWING = 0.35  # how far traffic swings round its mean over a day
_DAY_S = 86_400.0


class SimHost:
    """A source over one machine."""

    name = "host"
    signals = SIGNALS

    def __init__(self, machine: Machine, clock: Clock) -> None:
        self._machine = machine
        self._clock = clock
        self._wave = Wave(5.0, machine.seed, machine.number, "cpu")
        self._scale = between(0.8, 1.2, machine.seed, machine.number, "traffic")
        self._told = False

    async def read(self, due: frozenset[Cadence]) -> Reading:
        """What is due now."""
        return self.read_now(due)

    def read_now(self, due: frozenset[Cadence]) -> Reading:
        """`read` without a loop."""
        now = self._clock.now()
        self._machine.advance(now.wall)
        known = self._values(now.wall)
        batches = [self._batch(cadence, now, specs, known) for cadence, specs in _SPECS.items() if cadence in due]
        facts = {} if self._told else {"host": self._facts()}
        self._told = True
        return Reading(tuple(batches), facts)

    def _batch(
        self, cadence: Cadence, now: Instant, specs: tuple[SignalSpec, ...], known: dict[str, Value | None]
    ) -> Batch:
        host_id = self._machine.host_id
        values, bad = self._machine.dials.read(HOST, specs, known, now.wall)
        columns = {spec.name: [value] for spec, value in zip(specs, values, strict=True)}
        return Batch(
            Scope.HOST,
            cadence,
            now,
            (host_id,),
            columns,
            {(name, host_id): quality for name, quality in bad.items()},
        )

    async def watch(self) -> AsyncIterator[RawEvent]:
        """Nothing pushes here."""
        return
        yield

    async def close(self) -> None:
        """Nothing to let go of."""

    def _values(self, moment: float) -> dict[str, Value | None]:
        machine = self._machine
        running = [replica for replica in machine.replicas if replica.workers]
        busy = sum(replica.demand(moment) * len(replica.gpus) for replica in running)
        workers = sum(len(replica.workers) for replica in running)
        share = min(1.0, 0.02 + 0.022 * busy + 0.006 * self._wave.at(moment))
        used = _BASE_MEMORY + _MEMORY_PER_GPU * workers + 0.9 * GIB * (1.0 + self._wave.at(moment / 60.0))
        up = moment - machine.booted_at
        return {
            "host.cpu.utilization": share,
            "host.load.1m": round(share * CPUS * 1.15, 2),
            "host.memory.used": int(used),
            "host.memory.available": int(MEMORY_BYTES - used * 1.02),
            "host.network.received": self._flow(_RECEIVED_PER_S, moment),
            "host.network.sent": self._flow(_SENT_PER_S, moment),
            "host.disk.read": self._flow(_READ_PER_S, moment),
            "host.disk.written": self._flow(_WRITTEN_PER_S, moment),
            "host.swap.used": 0,
            "host.processes": 1180 + 9 * workers,
            "host.uptime": up,
            "host.memory.total": MEMORY_BYTES,
            "host.disk.root.used": int(0.31 * _ROOT_BYTES + 410.0 * up),
            "host.disk.root.total": _ROOT_BYTES,
            "host.shm.used": 3 * GIB * len(running),
            "host.shm.total": _SHM_BYTES,
            "host.fds.used": 9_400 + 310 * workers,
            "host.cpu.count": CPUS,
        }

    def _flow(self, mean_per_s: float, moment: float) -> float:
        """Bytes since boot of a flow that swings round its mean every day; its rate is never negative."""
        up = moment - self._machine.booted_at
        turn = 2.0 * math.pi / _DAY_S
        swing = _SWING / turn * (math.cos(turn * self._machine.booted_at) - math.cos(turn * moment))
        return float(int(mean_per_s * self._scale * (up + swing)))

    def _facts(self) -> dict[str, object]:
        machine = self._machine
        return {
            "os": "Ubuntu 24.04.3 LTS",
            "kernel": "6.8.0-79-generic",
            "arch": "x86_64",
            "machine": "HGX H100 8-GPU (simulated)",
            "name": machine.name,
            "cpu": "AMD EPYC 9654 96-Core Processor",
            "cpus": CPUS,
            "cores": CPUS // 2,
            "memory": MEMORY_BYTES,
            "boot_time": machine.booted_at,
            "driver": DRIVER,
            "addresses": [machine.address],
        }


_SPECS: dict[Cadence, tuple[SignalSpec, ...]] = {
    cadence: found for cadence in Cadence if (found := tuple(spec for spec in SIGNALS if spec.cadence is cadence))
}
