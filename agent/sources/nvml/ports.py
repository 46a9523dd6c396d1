"""What the pool talks to on either side: workers below, whoever keeps the GPUs' state above."""

from dataclasses import dataclass
from typing import Any, Protocol

from agent.sources.nvml.channel import Message


@dataclass(frozen=True, slots=True)
class Answer:
    """One GPU's values of one cadence class; `at` in real time, `bad` the quality of each position that is not ok.
    `needs_reset`: some call was refused because the GPU has to be reset first."""

    at: float
    latency: float
    cadence: int
    values: list[float | int | None]
    bad: dict[int, int]
    pids: list[tuple[int, int | None]] | None = None
    needs_reset: bool = False


class WorkerHandle(Protocol):
    """What the pool needs of a worker."""

    pid: int
    bell: int

    def send(self, message: Message) -> None:
        """Ask; a worker that is gone is noticed when it is read."""

    def replies(self) -> list[Message]:
        """What it has replied since the last time. Raises ChannelError."""

    def rings(self) -> tuple[list[Message], bool]:
        """What it has rung since the last time, and whether it has ended. Raises ChannelError."""

    def finish(self) -> None:
        """Ask it to end: no more requests."""

    def kill(self) -> None:
        """End it by force."""

    def gone(self) -> bool:
        """Whether the kernel has given it back; frees what it held."""


class Sink(Protocol):
    """Who learns what the workers say. Called between waits, must not block."""

    def asked(self, cadences: frozenset[int]) -> None:
        """The healthy GPUs are being asked for these classes now."""

    def hello(self, driver: str, library: str, count: int) -> None:
        """NVML answers."""

    def failed(self, code: int, text: str) -> None:
        """NVML cannot be used; the next attempt follows by itself."""

    def silent(self) -> None:
        """NVML does not answer at all."""

    def opened(self, index: int, identity: dict[str, Any]) -> None:
        """A GPU was identified."""

    def values(self, index: int, answer: Answer) -> None:
        """A GPU answered for one cadence class. Raises ValueError if it cannot be an answer."""

    def lost(self, index: int, code: int, text: str) -> None:
        """The driver says that a GPU is gone."""

    def timed_out(self, index: int) -> None:
        """A GPU did not answer before the deadline."""

    def swept(self, count: int, suspects: frozenset[int]) -> None:
        """Every GPU that the driver reports was asked, but for these suspects."""

    def event(self, index: int, kind: int, data: int, instance: tuple[int, int]) -> None:
        """NVML pushed an event."""
