"""Known processes to the rows of the facts section `processes`. PURE.

Bounded in rows and in bytes: the largest holders of GPU memory stay, the rest is counted.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from agent.sources.processes.known import Known

GpuPids = Mapping[int, Mapping[str, int | None]]
Row = dict[str, Any]
ROWS = 2048
TABLE_BYTES = 600_000  # well below one frame of the wire
ROW_BYTES = 160  # keys and numbers of a row as they are packed
MEMORY_STEP = 16 * 1024 * 1024  # what a viewer would notice


def table(known: Iterable[Known], gpus: GpuPids, name: Callable[[int], str]) -> tuple[list[Row], int]:
    """(rows by pid, how many were left out). A process never seen is no row before it is taken for a ghost."""
    shown = [one for one in known if one.pid in gpus and one.state != "gone" and (one.comm or one.state != "exited")]
    shown.sort(key=lambda one: (-(_memory(gpus[one.pid]) or 0), one.pid))
    rows: list[Row] = []
    room = TABLE_BYTES
    for one in shown[:ROWS]:
        row = _row(one, gpus[one.pid], name)
        room -= ROW_BYTES + sum(len(text) for text in row.values() if isinstance(text, str)) + 42 * len(row["gpus"])
        if room < 0:
            break
        rows.append(row)
    rows.sort(key=lambda row: int(row["pid"]))
    return rows, len(shown) - len(rows)


def moved(before: GpuPids, now: GpuPids) -> bool:
    """Whether some process's GPU memory or its set of GPUs differs noticeably."""
    for pid, gpus in now.items():
        old = before.get(pid, {})
        if old.keys() != gpus.keys():
            return True
        was, is_now = _memory(old), _memory(gpus)
        if (was is None) != (is_now is None) or abs((was or 0) - (is_now or 0)) >= MEMORY_STEP:
            return True
    return False


def _memory(gpus: Mapping[str, int | None]) -> int | None:
    """Bytes on all its GPUs, as far as the driver tells; None where it tells nothing (MIG, other containers)."""
    known = [size for size in gpus.values() if size is not None]
    return sum(known) if known else None


def _row(one: Known, gpus: Mapping[str, int | None], name: Callable[[int], str]) -> Row:
    row: Row = {
        "pid": one.pid,
        "user": name(one.uid) if one.uid is not None else "",
        "command": one.command,
        "gpus": sorted(gpus),
        "gpu_memory": _memory(gpus),
        "unit": one.owner.unit,
        "container": one.owner.container,
        "job": one.job,
        "pod": one.owner.pod,
        "started": one.started,
        "state": one.state,
    }
    if one.denied:
        row["denied"] = list(one.denied)
    return row
