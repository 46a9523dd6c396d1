"""Workers on their way out: told to end, killed if they do not go, counted until the kernel gives them back."""

from dataclasses import dataclass

from agent.sources.nvml.ports import WorkerHandle

LEAVE_S = 1.0  # from a polite end to SIGKILL
_REAP_EVERY_S = 0.01
_REAP_RARELY_S = 1.0


@dataclass(slots=True, eq=False)
class _Leaving:
    worker: WorkerHandle
    since: float
    killed: bool


class Departures:
    """Drive it with `reap`; come back at each of `wakes`."""

    def __init__(self) -> None:
        self._leaving: list[_Leaving] = []

    def __len__(self) -> int:
        """Processes that are not gone yet, killed ones that linger in the driver included."""
        return len(self._leaving)

    @property
    def stuck(self) -> list[int]:
        """Process ids of killed workers that the kernel has not given back."""
        return [item.worker.pid for item in self._leaving if item.killed]

    def add(self, worker: WorkerHandle, now: float, *, kill: bool) -> None:
        """Let a worker go, politely or not."""
        worker.finish()
        if kill:
            worker.kill()
        self._leaving.append(_Leaving(worker, now, kill))

    def reap(self, now: float) -> None:
        """Forget the workers that are gone, kill those that do not go."""
        for item in self._leaving:
            if not item.killed and now - item.since >= LEAVE_S:
                item.worker.kill()
                item.killed = True
        self._leaving = [item for item in self._leaving if not item.worker.gone()]

    def kill(self) -> None:
        """Kill whatever is left and wait for nothing."""
        for item in self._leaving:
            item.worker.kill()

    def wakes(self, now: float) -> list[float]:
        """When each has to be looked at again."""
        times = []
        for item in self._leaving:
            polite_end = item.since + LEAVE_S
            every = _REAP_EVERY_S if now - item.since < 2 * LEAVE_S else _REAP_RARELY_S
            times.append(min(now + every, polite_end) if not item.killed and now < polite_end else now + every)
        return times
