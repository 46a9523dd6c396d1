"""`once`: read everything a single time, print it, end. No event loop, no state, no database.

The NVML worker starts first and answers while the rest is imported and read. Exit status: 0 also without a driver,
1 when a GPU is lost or does not answer.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.cli.moment import iso
from agent.clock import Instant, SystemClock
from agent.config import AgentConfig, HostIdentity, identify, load
from agent.errors import SourceError
from agent.sources.base import ALL_SIGNALS, Batch, Reading, Reason
from agent.sources.nvml import once as nvml
from agent.sources.nvml.process import WorkerProcess
from agent.sources.nvml.signals import SIGNALS as GPU_SIGNALS
from agent.wire.signals import Cadence, Quality, Scope

if TYPE_CHECKING:
    from argparse import Namespace

    from agent.cli.sources import QuickSource

DEADLINE_S = 2.3
_EVERY = frozenset(Cadence)
_STATES = {"present": "ok", "lost": "lost", "missing": "missing"}

Cell = tuple[Any, Quality]


@dataclass(frozen=True, slots=True)
class Picture:
    """All that one look at the host brought: cells by row id and signal, facts by section."""

    identity: HostIdentity
    at: Instant
    host: dict[str, Cell]
    gpus: dict[str, dict[str, Cell]]
    facts: dict[str, Any]
    reasons: tuple[Reason, ...]
    answered: bool
    units: dict[str, str] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """The exit status."""
        states = [facts.get("state") for facts in self.facts.get("gpus", {}).values()]
        return 0 if self.answered and all(state == "present" for state in states) else 1


def main(arguments: "Namespace") -> int:
    """Look once and print."""
    return run(as_json=arguments.json, config=arguments.config)


def run(*, as_json: bool, config: Path | None, early: WorkerProcess | None = None) -> int:
    """The same; `early` is an NVML worker that is under way already."""
    picture = look(load(config), early)
    if as_json:
        print(json.dumps(to_json(picture)))
    else:
        from agent.cli.once_table import lines

        print("\n".join(lines(picture)))
    return picture.status


def look(config: AgentConfig, early: WorkerProcess | None = None) -> Picture:
    """Read every source once."""
    identity = identify(config)
    pci = config.sysfs / "bus/pci/devices"
    begun = nvml.begin(identity.host_id, expected=config.gpus_expected, pci_devices=pci, early=early)
    # Imported while the worker works: this is the time it needs.
    from agent.cli.sources import QUICK, Site, build

    clock = SystemClock()
    quick = build(Site(config, identity, clock, None, {"nvml": begun}, once=True), QUICK)
    readings = (begun.finish(DEADLINE_S), *map(_read, quick))
    signals = (*GPU_SIGNALS, *(spec for source in quick for spec in source.signals))
    return _picture(identity, clock.now(), readings, begun.answered, signals)


def _read(source: "QuickSource") -> Reading:
    try:
        return source.read_now(_EVERY)
    except SourceError as error:
        return Reading(reasons=(Reason(source.name, "read_failed", str(error)),))


def _picture(
    identity: HostIdentity, at: Instant, readings: Sequence[Reading], answered: bool, signals: Iterable[Any]
) -> Picture:
    cells: dict[Scope, dict[str, dict[str, Cell]]] = {Scope.HOST: {}, Scope.GPU: {}}
    facts: dict[str, Any] = {}
    reasons: list[Reason] = []
    for reading in readings:
        for batch in reading.batches:
            _spread(batch, cells[batch.scope])
        facts.update(reading.facts)
        reasons += reading.reasons or ()
    units = {spec.name: spec.unit for spec in signals}
    host = cells[Scope.HOST].get(identity.host_id, {})
    return Picture(identity, at, host, cells[Scope.GPU], facts, tuple(reasons), answered, units)


def _spread(batch: Batch, rows: dict[str, dict[str, Cell]]) -> None:
    for index, row in enumerate(batch.rows):
        known = rows.setdefault(row, {})
        everywhere = batch.exceptions.get((ALL_SIGNALS, row), Quality.OK)
        for signal, values in batch.columns.items():
            quality = batch.exceptions.get((signal, row), everywhere)
            value = values[index]
            if value is None and quality is Quality.OK:
                quality = Quality.ERROR
            known[signal] = (value, quality)


def to_json(picture: Picture) -> dict[str, Any]:
    """The object of `once --json`."""
    return {
        "schema": 1,
        "as_of": iso(picture.at.wall),
        "host": {
            "id": picture.identity.host_id,
            "name": picture.identity.name,
            "signals": _signals(picture.host, picture.units),
        },
        "gpus": [_gpu(picture, uuid, facts) for uuid, facts in in_order(picture.facts.get("gpus", {}))],
        "processes": picture.facts.get("processes", []),
        "reasons": [
            {"what": reason.what, "code": reason.code, "says": reason.says, "try": reason.hint}
            for reason in picture.reasons
        ],
    }


def _gpu(picture: Picture, uuid: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    known = {key: value for key, value in facts.items() if key not in ("index", "uuid", "name", "state")}
    return {
        "index": facts.get("index"),
        "uuid": uuid,
        "name": facts.get("name"),
        "state": _STATES.get(str(facts.get("state")), "unknown"),
        **known,
        "signals": _signals(picture.gpus.get(uuid, {}), picture.units),
    }


def _signals(cells: Mapping[str, Cell], units: Mapping[str, str]) -> dict[str, Any]:
    return {
        name: {"value": value, "unit": units.get(name, ""), "quality": quality.word}
        for name, (value, quality) in cells.items()
    }


def in_order(gpus: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """GPUs by index; those without one last."""
    return sorted(gpus.items(), key=lambda item: (item[1].get("index") is None, item[1].get("index") or 0, item[0]))
