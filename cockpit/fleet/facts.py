"""PURE. Facts of an agent, read into typed records: the one place that looks into `Facts.data`.

Facts are remote and grow with every minor, so unknown keys stay and missing ones are empty; a value of a wrong type
is a `WireError`, never a surprise on a screen.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from agent.wire import limits
from agent.wire.errors import WireError
from agent.wire.requests import Annotation
from agent.wire.shape import Shape, clean, real, record, sequence, unpack, whole, wired
from cockpit.fleet import hands
from cockpit.fleet.serving import facts as serving

T = TypeVar("T")
_ANNOTATIONS = sequence(record(Annotation))


def _text(value: object) -> str:
    """A short word or name; nil is empty, a number its digits."""
    if value is None:
        return ""
    if isinstance(value, (str, int, float)):
        return clean(str(value))[: limits.TEXT]
    raise WireError(f"expected text, got {type(value).__name__}")


def _or(shape: Shape[T], missing: T) -> Shape[T]:
    return lambda value: missing if value is None else shape(value)


def _texts(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)):
        raise WireError("expected a list of text")
    return tuple(_text(item) for item in value)


@dataclass(frozen=True, slots=True)
class Process:
    """One process that holds GPUs. `gpus` are UUIDs, `gpu_memory` bytes or None where nobody may know, `started` wall
    seconds, `unit`, `container`, `job`, `pod` who owns it as far as its cgroup tells."""

    pid: int = wired(whole())
    user: str = wired(_text, default="")
    command: str = wired(_text, default="")
    gpus: tuple[str, ...] = wired(_texts, default=())
    gpu_memory: float | None = wired(_or(real(), None), default=None)
    unit: str = wired(_text, default="")
    container: str = wired(_text, default="")
    job: str = wired(_text, default="")
    pod: str = wired(_text, default="")
    started: float | None = wired(_or(real(), None), default=None)
    state: str = wired(_text, default="")

    @property
    def program(self) -> str:
        """The command's program without its path and arguments."""
        words = self.command.split()
        return words[0].rsplit("/", 1)[-1] if words else "?"


def _processes(value: object) -> tuple[Process, ...]:
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)):
        raise WireError("expected a list of processes")
    return tuple(unpack(Process, item) for item in value)


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """Identity of one GPU. `state`: present, lost, missing, unresponsive; `last_seen` wall seconds on the host's
    clock, None if never; `last_processes` who held it when it was last seen."""

    index: int = wired(_or(whole(-1, 1 << 16), -1), default=-1)
    name: str = wired(_text, default="")
    serial: str = wired(_text, default="")
    bus_id: str = wired(_text, default="")
    vbios: str = wired(_text, default="")
    driver: str = wired(_text, default="")
    module_id: int = wired(_or(whole(-1, 1 << 16), -1), default=-1)
    state: str = wired(_text, default="present")
    last_seen: float | None = wired(_or(real(), None), default=None)
    last_processes: tuple[Process, ...] = wired(_processes, default=())


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something that a user would expect is not there."""

    what: str = wired(_text, default="")
    code: str = wired(_text, default="")
    says: str = wired(_text, default="")
    hint: str = wired(_text, default="")


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """What the agent says of itself; `gpus_expected` is the most of its configuration, the PCI bus and what it has ever
    seen."""

    version: str = wired(_text, default="")
    pid: int = wired(_or(whole(), 0), default=0)
    started: float | None = wired(_or(real(), None), default=None)
    interval_s: float = wired(_or(real(0, 1e9), 1.0), default=1.0)
    gpus_expected: int | None = wired(_or(whole(0, limits.ROWS), None), default=None)


def gpus(data: object) -> dict[str, GpuFacts]:
    """Section `gpus`: {uuid: map}."""
    if not isinstance(data, dict):
        raise WireError("facts gpus: expected a map")
    return {_text(uuid): unpack(GpuFacts, item) for uuid, item in data.items()}


def processes(data: object) -> tuple[Process, ...]:
    """Section `processes`: a list of maps."""
    if not isinstance(data, (list, tuple)):
        raise WireError("facts processes: expected a list")
    return _processes(data)


def left_out(data: object) -> int:
    """Section `processes_left_out`: how many processes the list does not name."""
    return whole()(data)


def labels(data: object) -> dict[str, str]:
    """Section `labels`: {name: text}."""
    if not isinstance(data, dict):
        raise WireError("facts labels: expected a map")
    return {_text(name): _text(value) for name, value in data.items()}


def reasons(data: object) -> tuple[Reason, ...]:
    """Section `reasons`: a list of maps."""
    if not isinstance(data, (list, tuple)):
        raise WireError("facts reasons: expected a list")
    return tuple(unpack(Reason, item) for item in data)


def agent(data: object) -> AgentFacts:
    """Section `agent`."""
    return unpack(AgentFacts, data)


def host(data: object) -> dict[str, Any]:
    """Section `host`: a map, as it is."""
    if not isinstance(data, dict):
        raise WireError("facts host: expected a map")
    return data


def annotations(data: object) -> tuple[Annotation, ...]:
    """Section `annotations`: a list of maps, those that are in force."""
    return _ANNOTATIONS(data)


READERS: dict[str, Callable[[object], Any]] = {
    "gpus": gpus,
    "processes": processes,
    "processes_left_out": left_out,
    "labels": labels,
    "reasons": reasons,
    "agent": agent,
    "host": host,
    "annotations": annotations,
    "replicas": serving.replicas,
    "backends": serving.backends,
    "latencies": serving.latencies,
    "actions": hands.actions,
    "runs": hands.runs,
}


def read(section: str, data: object) -> Any:
    """What a section of facts says, typed; None for one that nobody here reads."""
    reader = READERS.get(section)
    return reader(data) if reader else None
