"""Slow, named things by section, sent whole when they change and never otherwise.

Sections: `host` {os, kernel, cpus, memory, driver, ...}; `gpus` {uuid: {index, name, serial, bus_id, state (present |
lost | missing | unresponsive), last_seen, last_processes, ...}}; `processes` [{pid, user, command, gpus, gpu_memory,
unit, container, job, pod, started, state}]; `labels` {pool, rack, role, ...}; `reasons` [{what, code, says, hint}];
`agent` {version, pid, started, interval_s, gpus_expected, let_go}. What a peer would refuse (too long, too deep, not
finite) is cut here, so that a strange command line can never end a session.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.wire import limits
from agent.wire.codec import encode
from agent.wire.errors import WireError
from agent.wire.frames import Facts
from agent.wire.shape import clean

DEPTH = limits.DEPTH - 2  # a snapshot nests every section one level deeper
PROCESS_ROWS = 2048
LARGE_BYTES = 96 * 1024  # a section above this travels in a frame of its own, never inside a snapshot
_FRAME_BYTES = limits.FROM_AGENT_BYTES - 1024
_WHOLE_LOW, _WHOLE_HIGH = -(2**63), 2**64 - 1


@dataclass(frozen=True, slots=True)
class Section:
    """One section as last set: its data, the encoded `Facts` frame, and the stamp of the change."""

    data: Any
    frame: bytes
    stamp: int


class FactBook:
    """The newest facts of one host; stamps grow, so a session needs one number to know what is news to it."""

    def __init__(self) -> None:
        self.stamp = 0
        self._sections: dict[str, Section] = {}

    def get(self, section: str) -> Any:
        """A section's data, None before it was ever set."""
        found = self._sections.get(section)
        return found.data if found else None

    def set(self, section: str, data: Any) -> bool:
        """Take a section whole; whether it differs from what was known."""
        fitted = fit(data)
        known = self._sections.get(section)
        if known is not None and known.data == fitted:
            return False
        fitted, frame = _frame(section, fitted)
        self.stamp += 1
        self._sections[section] = Section(fitted, frame, self.stamp)
        return True

    def after(self, stamp: int) -> list[bytes]:
        """Encoded `Facts` frames of the sections that changed after `stamp`."""
        return [section.frame for section in self._sections.values() if section.stamp > stamp]

    def small(self) -> dict[str, Any]:
        """The sections that fit into a snapshot together."""
        return {name: section.data for name, section in self._sections.items() if len(section.frame) <= LARGE_BYTES}

    def large(self) -> list[bytes]:
        """Encoded frames of the sections that do not."""
        return [section.frame for section in self._sections.values() if len(section.frame) > LARGE_BYTES]


def fit(value: Any, depth: int = DEPTH) -> Any:
    """`value` as a tree that every peer accepts: text cut and cleaned, numbers finite, sizes and depth bounded."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return clean(value[: limits.TEXT])
    if isinstance(value, int):
        return int(value) if _WHOLE_LOW <= value <= _WHOLE_HIGH else None
    if isinstance(value, float):
        return value if math.isfinite(value) and abs(value) <= 1e18 else None
    if depth <= 0:
        return None
    if isinstance(value, Mapping):
        items = list(value.items())[: limits.ITEMS]
        return {clean(str(key)[: limits.NAME]): fit(item, depth - 1) for key, item in items}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [fit(item, depth - 1) for item in list(value)[: limits.ITEMS]]
    return clean(str(value)[: limits.TEXT])


def _frame(section: str, data: Any) -> tuple[Any, bytes]:
    """(data, encoded frame): halved until a peer accepts it."""
    while True:
        try:
            return data, encode(Facts(section, data), _FRAME_BYTES)
        except WireError:
            data = _half(data)


def _half(data: Any) -> Any:
    if isinstance(data, list):
        return data[: len(data) // 2]
    if isinstance(data, dict):
        return dict(list(data.items())[: len(data) // 2])
    return None
