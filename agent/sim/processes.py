"""The process table of a simulated host: what holds which GPU."""

from collections.abc import AsyncIterator
from typing import Any

from agent.clock import Clock
from agent.sim.machine import Machine
from agent.sources.base import RawEvent, Reading
from agent.wire.specs import Cadence, SignalSpec


class SimProcesses:
    """A source over one machine: no signals, only facts, and only when they changed."""

    name = "processes"
    signals: tuple[SignalSpec, ...] = ()

    def __init__(self, machine: Machine, clock: Clock) -> None:
        self._machine = machine
        self._clock = clock
        self._known: list[dict[str, Any]] | None = None

    async def read(self, due: frozenset[Cadence]) -> Reading:
        """The table, if it is due and another than last time."""
        return self.read_now(due)

    def read_now(self, due: frozenset[Cadence]) -> Reading:
        """`read` without a loop."""
        if Cadence.MEDIUM not in due:
            return Reading()
        now = self._clock.wall()
        self._machine.advance(now)
        rows = table(self._machine)
        if rows == self._known:
            return Reading()
        self._known = rows
        return Reading(facts={"processes": rows, "processes_left_out": 0})

    async def watch(self) -> AsyncIterator[RawEvent]:
        """Nothing pushes here."""
        return
        yield

    async def close(self) -> None:
        """Nothing to let go of."""


def table(machine: Machine) -> list[dict[str, Any]]:
    """Every process that holds a GPU. A process on a hung GPU is known to be there, not how much it holds."""
    rows = []
    for replica in machine.replicas:
        memory, owner = int(replica.memory(machine.now)), replica.owner()
        for worker in replica.workers:
            gpu = machine.gpus[worker.gpu]
            rows.append(
                {
                    "pid": worker.pid,
                    "user": replica.pool.user,
                    "command": worker.command,
                    "gpus": [gpu.uuid],
                    "gpu_memory": memory if gpu.answers else None,
                    **owner,
                    "started": replica.started,
                    "state": "running",
                }
            )
    return rows
