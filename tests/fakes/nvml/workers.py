"""Workers that a test speaks for: the pool is told what they say and never waits for anything."""

from typing import Any

from agent.sources.nvml import channel
from agent.sources.nvml.ports import Answer


class FakeWorker:
    """A worker without a process. `says` queues replies, `rings` queues bells; `stuck` survives SIGKILL."""

    def __init__(self, pid: int) -> None:
        self.pid = self.bell = pid
        self.sent: list[Any] = []
        self.alive = True
        self.killed = False
        self.finished = False
        self.stuck = False
        self._replies: list[Any] = []
        self._rings: list[Any] = []

    # -- the test's side

    def hello(self, count: int = 8) -> None:
        self._rings.append([channel.HELLO, "580.65.06", "13.580", count])

    def opens(self, index: int, at: float) -> None:
        self._replies.append([channel.OPENED, index, at, {"uuid": f"GPU-{index}"}])

    def reads(self, *indexes: int, at: float, latency: float = 0.01) -> None:
        for index in indexes:
            self._replies.append([channel.VALUES, index, at, latency, 0, [1.0], {}, None, False, True])

    def loses(self, index: int, at: float, code: int = 15) -> None:
        self._replies.append([channel.LOST, index, at, code, "GPU is lost"])

    def done(self, count: int | None = None) -> None:
        self._rings.append([channel.DONE, 1, count])

    def rings_with(self, *message: Any) -> None:
        self._rings.append(list(message))

    def replies_with(self, *message: Any) -> None:
        self._replies.append(list(message))

    def dies(self) -> None:
        self.alive = False

    @property
    def asked(self) -> list[int]:
        """The GPUs of its last request."""
        requests = [message for message in self.sent if message[0] == channel.READ]
        return list(requests[-1][3])

    @property
    def reading(self) -> int:
        """How many requests it got."""
        return sum(message[0] == channel.READ for message in self.sent)

    # -- the pool's side

    def send(self, message: Any) -> None:
        self.sent.append(message)

    def replies(self) -> list[Any]:
        said, self._replies = self._replies, []
        return said

    def rings(self) -> tuple[list[Any], bool]:
        rung, self._rings = self._rings, []
        return rung, not self.alive

    def finish(self) -> None:
        self.finished = True

    def kill(self) -> None:
        self.killed = True
        if not self.stuck:
            self.alive = False

    def gone(self) -> bool:
        return not self.alive


class Ledger:
    """A sink that writes down what it is told."""

    def __init__(self) -> None:
        self.notes: list[tuple[Any, ...]] = []

    def named(self, name: str) -> list[tuple[Any, ...]]:
        """Everything of one kind."""
        return [note[1:] for note in self.notes if note[0] == name]

    def asked(self, cadences: frozenset[int]) -> None:
        self.notes.append(("asked", cadences))

    def hello(self, driver: str, library: str, count: int) -> None:
        self.notes.append(("hello", count))

    def failed(self, code: int, text: str) -> None:
        self.notes.append(("failed", code))

    def silent(self) -> None:
        self.notes.append(("silent",))

    def opened(self, index: int, identity: dict[str, Any]) -> None:
        self.notes.append(("opened", index))

    def values(self, index: int, answer: Answer) -> None:
        self.notes.append(("values", index))

    def lost(self, index: int, code: int, text: str) -> None:
        self.notes.append(("lost", index))

    def timed_out(self, index: int) -> None:
        self.notes.append(("timed_out", index))

    def swept(self, count: int, suspects: frozenset[int]) -> None:
        self.notes.append(("swept", count, suspects))

    def event(self, index: int, kind: int, data: int, instance: tuple[int, int]) -> None:
        self.notes.append(("event", index, data))
