"""What `once` prints for people: every GPU on one line, then who uses them, then what is missing and why.

Names and commands come from elsewhere: control characters are taken out before they reach a terminal.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agent.wire.shape import clean
from agent.wire.signals import Quality

if TYPE_CHECKING:
    from agent.cli.once import Cell, Picture

_GIB = 1024**3
_GPU_HEAD = ("GPU", "NAME", "STATE", "UTIL", "MEMORY", "TEMP", "POWER", "SM CLOCK")
_PROCESS_HEAD = ("PID", "USER", "GPU", "MEMORY", "OWNER", "COMMAND")
_RIGHT = frozenset({"GPU", "UTIL", "MEMORY", "TEMP", "POWER", "SM CLOCK", "PID"})
_COMMAND = 60


def lines(picture: "Picture") -> Iterator[str]:
    """The whole report."""
    from agent.cli.once import in_order

    gpus = in_order(picture.facts.get("gpus", {}))
    yield _host(picture, len(gpus))
    if gpus:
        yield ""
        yield from _table(_GPU_HEAD, [_gpu(uuid, facts, picture.gpus.get(uuid, {})) for uuid, facts in gpus])
    processes = picture.facts.get("processes", [])
    if processes:
        index = {uuid: str(facts.get("index", "?")) for uuid, facts in gpus}
        yield ""
        yield from _table(_PROCESS_HEAD, [_process(row, index) for row in processes])
    for reason in picture.reasons:
        yield ""
        yield clean(f"{reason.what}: {reason.says}" + (f"; {reason.hint}" if reason.hint else ""))


def _host(picture: "Picture", gpus: int) -> str:
    cpu = _cell(picture.host, "host.cpu.utilization", lambda value: f"{value:.0%}")
    used = _cell(picture.host, "host.memory.used", _gib)
    total = _cell(picture.host, "host.memory.total", _gib)
    driver = picture.facts.get("host", {}).get("driver")
    parts = [clean(picture.identity.name), f"{gpus} GPUs", f"cpu {cpu}", f"memory {used} of {total}"]
    if driver:
        parts.append(f"driver {clean(str(driver))}")
    return "  ".join(parts)


def _gpu(uuid: str, facts: Mapping[str, Any], cells: Mapping[str, "Cell"]) -> tuple[str, ...]:
    memory = _cell(cells, "gpu.memory.used", _gib)
    total = _cell(cells, "gpu.memory.total", _gib)
    return (
        str(facts.get("index", "?")),
        clean(str(facts.get("name") or uuid)),
        clean(str(facts.get("state", "unknown"))),
        _cell(cells, "gpu.utilization", lambda value: f"{value:.0%}"),
        f"{memory} / {total}",
        _cell(cells, "gpu.temperature", lambda value: f"{value:.0f} °C"),
        _cell(cells, "gpu.power", lambda value: f"{value:.0f} W"),
        _cell(cells, "gpu.clock.sm", lambda value: f"{value / 1e6:.0f} MHz"),
    )


def _process(row: Mapping[str, Any], index: Mapping[str, str]) -> tuple[str, ...]:
    memory = row.get("gpu_memory")
    owner = row.get("job") or row.get("pod") or row.get("container") or row.get("unit") or "-"
    command = clean(str(row.get("command") or "?"))
    return (
        str(row.get("pid", "?")),
        clean(str(row.get("user") or "?")),
        ",".join(index.get(uuid, "?") for uuid in row.get("gpus", ())) or "-",
        _gib(memory) if isinstance(memory, (int, float)) else "?",
        clean(str(owner))[:24],
        command if len(command) <= _COMMAND else f"{command[: _COMMAND - 1]}…",
    )


def _cell(cells: Mapping[str, "Cell"], signal: str, shown: Any) -> str:
    value, quality = cells.get(signal, (None, Quality.PENDING))
    if quality is not Quality.OK:
        return quality.word
    return str(shown(value))


def _gib(value: float) -> str:
    return f"{value / _GIB:.1f} GiB"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        cells = [
            cell.rjust(width) if title in _RIGHT else cell.ljust(width)
            for cell, width, title in zip(row, widths, head, strict=True)
        ]
        yield "  ".join(cells).rstrip()
