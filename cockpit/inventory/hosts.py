"""The hosts of a fleet in the operator's order, each with its labels and what is owed."""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cockpit.errors import InventoryError
from cockpit.inventory.target import AGENT_SOCKET, SshTarget, Target, parse_target


@dataclass(frozen=True, slots=True)
class HostEntry:
    """One host as the operator named it. `gpus_expected`: what the fleet file promises, None if it says nothing."""

    name: str
    target: Target
    labels: Mapping[str, str] = field(default_factory=dict)
    gpus_expected: int | None = None


@dataclass(frozen=True, slots=True)
class Inventory:
    """All hosts, in the order of the file. `clock`: (epoch, speed) of a fleet whose time is scaled."""

    hosts: tuple[HostEntry, ...]
    clock: tuple[float, float] | None = None
    path: str = ""

    def pick(self, wanted: Iterable[str]) -> "Inventory":
        """Only these: names of this inventory, or whole targets (with `://`, `@` or a port) beside it.

        Raises:
            InventoryError: a bare name that is not here.
        """
        known = {entry.name: entry for entry in self.hosts}
        chosen: dict[str, HostEntry] = {}
        for text in wanted:
            entry = known.get(text)
            if entry is None and not re.search(r"://|@|:", text):
                where = f" in {self.path}" if self.path else ""
                raise InventoryError(f"no host {text!r}{where}{did_you_mean(text, known)}")
            entry = entry or _entry_of(text, chosen)
            chosen[entry.name] = entry
        return Inventory(tuple(chosen.values()), self.clock, self.path)


def from_hosts(targets: Iterable[str]) -> Inventory:
    """The inventory of `--host TARGET...`; a host is called by its own short name where that is not taken.

    Raises:
        InventoryError: a target cannot be read.
    """
    chosen: dict[str, HostEntry] = {}
    for text in targets:
        entry = _entry_of(text, chosen)
        chosen[entry.name] = entry
    return Inventory(tuple(chosen.values()))


def did_you_mean(word: str, known: Collection[str]) -> str:
    """`; did you mean 'x'?` for the nearest known word, else `; known: ...` as long as that list can be read."""
    match = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if match:
        return f"; did you mean {match[0]!r}?"
    shown = sorted(known)[:12]
    return f"; known: {', '.join(shown)}{', ...' if len(known) > len(shown) else ''}" if shown else ""


def _entry_of(text: str, taken: Mapping[str, HostEntry]) -> HostEntry:
    target = parse_target(text)
    name = _short_name(target)
    if name in taken and taken[name].target != target:
        name = str(target)
    return HostEntry(name, target)


def _short_name(target: Target) -> str:
    if isinstance(target, SshTarget):
        return target.host
    path = Path(target.path)
    if path.stem != "agent":
        return path.stem
    return "localhost" if target.path == AGENT_SOCKET else path.parent.name or "localhost"
