"""PURE. What a filter, a sort or a table column may name: one line per name, so that every place knows the same words.

Numbers are kept in SI units and named as operators say them (`temp`, `util`, `mem`, `power`); a bare number in a filter
is in the unit of `Number.unit`. Full signal names work everywhere, in SI units.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agent.wire.replicas import State
from agent.wire.specs import Severity
from cockpit.fleet.facts import Process
from cockpit.fleet.link_state import LinkState
from cockpit.fleet.records import GpuState, HostRecord
from cockpit.fleet.state import Fleet
from cockpit.fleet.words import Column

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Number:
    """One numeric column. `level` is the table it belongs to, `read` gives one SI value per row of it, NaN where
    unknown; `scale` times a value in `unit` is SI."""

    level: str
    unit: str
    scale: float
    read: Callable[[Fleet], Floats]


@dataclass(frozen=True, slots=True)
class Word:
    """One column of words. `of` gives all words of a subject; one that matches is enough."""

    level: str
    help: str


def _gpu(signal: str, unit: str, scale: float = 1.0) -> Number:
    return Number("gpu", unit, scale, lambda fleet: fleet.gpus.value(signal))


def _host(signal: str, unit: str, scale: float = 1.0) -> Number:
    return Number("host", unit, scale, lambda fleet: fleet.host_table.value(signal))


def _replica(signal: str, unit: str, scale: float = 1.0) -> Number:
    return Number("replica", unit, scale, lambda fleet: fleet.replicas.value(signal))


def _share(used: Floats, total: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        share: Floats = used / np.where(total > 0, total, np.nan)
    return share


def _record(read: Callable[[HostRecord], float]) -> Callable[[Fleet], Floats]:
    return lambda fleet: np.array([read(record) for record in fleet.hosts], dtype=np.float64)


_GIB = 1024.0**3
NUMBERS: dict[str, Number] = {
    "temp": _gpu("gpu.temperature", "C"),
    "util": _gpu("gpu.utilization", "%", 0.01),
    "mem": Number(
        "gpu",
        "%",
        0.01,
        lambda fleet: _share(fleet.gpus.value("gpu.memory.used"), fleet.gpus.value("gpu.memory.total")),
    ),
    "memory": _gpu("gpu.memory.used", "GiB", _GIB),
    "power": _gpu("gpu.power", "W"),
    "clock": _gpu("gpu.clock.sm", "MHz", 1e6),
    "fan": _gpu("gpu.fan", "%", 0.01),
    "memtemp": _gpu("gpu.temperature.memory", "C"),
    "ecc": _gpu("gpu.ecc.uncorrected.volatile", "count"),
    "latency": _gpu("gpu.nvml.latency", "ms", 1e-3),
    "index": Number("gpu", "", 1.0, lambda fleet: fleet.gpus.index.astype(np.float64)),
    "age": Number("gpu", "s", 1.0, lambda fleet: fleet.gpus.age("gpu.utilization")),
    "running": _replica("replica.running", ""),
    "waiting": _replica("replica.waiting", ""),
    "capacity": _replica("replica.capacity", ""),
    "kv": _replica("replica.kv.usage", "%", 0.01),
    "ttft": _replica("replica.ttft.p99", "s"),
    "ttft50": _replica("replica.ttft.p50", "s"),
    "itl": _replica("replica.itl.p99", "s"),
    "e2e": _replica("replica.e2e.p99", "s"),
    "tokens": _replica("replica.tokens.rate", "/s"),
    "requests": _replica("replica.requests.rate", "/s"),
    "errors": _replica("replica.errors.rate", "/s"),
    "cpu": _host("host.cpu.utilization", "%", 0.01),
    "load": _host("host.load.1m", ""),
    "ram": Number(
        "host",
        "%",
        0.01,
        lambda fleet: _share(fleet.host_table.value("host.memory.used"), fleet.host_table.value("host.memory.total")),
    ),
    "uptime": _host("host.uptime", "s"),
    "expected": Number("host", "", 1.0, _record(lambda record: record.gpus_expected)),
    "present": Number("host", "", 1.0, _record(lambda record: record.gpus_present)),
    "findings": Number("host", "", 1.0, _record(lambda record: len(record.findings))),
    "skew": Number("host", "s", 1.0, _record(lambda record: abs(record.skew_s))),
}

WORDS: dict[str, Word] = {
    "host": Word("host", "name of the host"),
    "link": Word("host", "state of its link"),
    "pool": Word("host", "label; of a replica its own"),
    "rack": Word("host", "label"),
    "role": Word("host", "label; of a replica its own"),
    "target": Word("host", "its address; of an action what it was done to"),
    "agent": Word("host", "version of its agent"),
    "gpu": Word("gpu", "index of the GPU"),
    "uuid": Word("gpu", "identity of the GPU"),
    "name": Word("gpu", "model of the GPU"),
    "serial": Word("gpu", "serial number of the GPU"),
    "bus": Word("gpu", "PCI address of the GPU"),
    "state": Word("gpu", "ok, degraded, lost, missing or unknown; of a replica ready, stuck ...; of actions done ..."),
    "replica": Word("replica", "how its host calls a replica"),
    "engine": Word("replica", "what serves: vllm, triton ..."),
    "carrier": Word("replica", "what the engine runs in"),
    "version": Word("replica", "version of the engine"),
    "model": Word("replica", "model that is served"),
    "phase": Word("replica", "why a replica is in its state: loading, paused ..."),
    "url": Word("replica", "where a replica answers"),
    "port": Word("replica", "port of a replica"),
    "gpu_map": Word("replica", "how its GPUs are known: driver, inferred, hidden, none"),
    "user": Word("process", "who runs it"),
    "pid": Word("process", "process id"),
    "command": Word("process", "command line"),
    "unit": Word("process", "systemd unit"),
    "container": Word("process", "container"),
    "job": Word("process", "Slurm job"),
    "pod": Word("process", "Kubernetes pod"),
    "kind": Word("item", "kind of event"),
    "rule": Word("item", "rule of a finding"),
    "xid": Word("item", "number of an XID event"),
    "subject": Word("item", "what an event or finding is about"),
    "text": Word("item", "what it says"),
    "id": Word("item", "id of a finding or an action"),
    "action": Word("item", "action, or runbook of a run"),
    "by": Word("item", "who acted"),
    "run": Word("item", "run that an action belongs to"),
}

FLAGS: dict[str, tuple[str, str]] = {
    "fault": ("severity", ">=warning"),
    **{word.word: ("severity", f"={word.word}") for word in Severity if word not in (Severity.OK, Severity.UNKNOWN)},
    **{state.word: ("state", f"={state.word}") for state in GpuState},
    **{state.value: ("link", f"={state.value}") for state in LinkState},
    **{state.word: ("state", f"={state.word}") for state in State if state is not State.UNKNOWN},
}

# What a number in a filter may end in: how many SI units one of it is.
UNITS = {
    "%": 0.01, "C": 1.0, "°C": 1.0, "W": 1.0, "kW": 1e3, "Hz": 1.0, "MHz": 1e6, "GHz": 1e9,
    "KiB": 1024.0, "MiB": 1024.0**2, "GiB": _GIB, "TiB": 1024.0**4, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
    "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0,
}  # fmt: skip


def host_words(record: HostRecord, key: str) -> tuple[str, ...]:
    """What a host answers to `key`."""
    if key == "host":
        return (record.name, record.hostname) if record.hostname else (record.name,)
    if key == "link":
        return (record.link.state.value,)
    if key == "target":
        return (record.target,)
    if key == "agent":
        return (record.agent_version,)
    return (record.labels.get(key, ""),)


def gpu_column(fleet: Fleet, key: str) -> Column:
    """What every GPU answers to `key`, folded; `state` is told as a number."""
    if key == "gpu":
        return Column.of(map(str, fleet.gpus.index.tolist()))
    return fleet.gpu_words.column(key)


def process_words(process: Process, key: str) -> tuple[str, ...]:
    """What a process answers to `key`."""
    if key == "pid":
        return (str(process.pid),)
    if key == "command":
        return (process.command, process.program)
    return (str(getattr(process, key)),)
