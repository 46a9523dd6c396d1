"""PURE. Which GPUs replicas hold: the one place that joins their facts to rows, worked out once and kept until some
host tells its replicas anew or a GPU is added."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:  # the fleet keeps what is worked out here
    from cockpit.fleet.state import Fleet

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Holdings:
    """Pair i says that the replica of row `replicas[i]` holds the GPU of row `gpus[i]`, or held it last."""

    key: tuple[int, int]
    replicas: Rows
    gpus: Rows
    by_replica: Mapping[int, list[int]]
    by_gpu: Mapping[int, list[int]]


def holdings(fleet: "Fleet") -> Holdings:
    """Of the whole fleet. A GPU that is no row is left out, a replica that is not counted too."""
    key = (fleet.backends.version, fleet.gpus.n)
    if fleet.held is None or fleet.held.key != key:
        fleet.held = _worked_out(fleet, key)
    return fleet.held


def gpus_of(fleet: "Fleet", row: int) -> list[int]:
    """The rows of `Fleet.gpus` that the replica of a row holds, or held last."""
    return holdings(fleet).by_replica.get(row, [])


def replicas_on(fleet: "Fleet", gpu: int) -> list[int]:
    """The rows of `Fleet.replicas` that hold a GPU, or held it last, by port."""
    return holdings(fleet).by_gpu.get(gpu, [])


def _worked_out(fleet: "Fleet", key: tuple[int, int]) -> Holdings:
    by_replica: dict[int, list[int]] = {}
    by_gpu: dict[int, list[int]] = defaultdict(list)
    ids = fleet.replicas.ids
    for record in fleet.hosts:
        for row in record.replica_rows:
            facts = record.replica_facts.get(ids[row])
            found = [fleet.gpus.row(record.number, uuid) for uuid in (facts.gpus if facts is not None else ())]
            by_replica[row] = [gpu for gpu in found if gpu is not None]
            for gpu in by_replica[row]:
                by_gpu[gpu].append(row)
    pairs = [(row, gpu) for row, held in by_replica.items() for gpu in held]
    replicas, gpus = (np.array([pair[side] for pair in pairs], dtype=np.intp) for side in (0, 1))
    return Holdings(key, replicas, gpus, by_replica, by_gpu)
