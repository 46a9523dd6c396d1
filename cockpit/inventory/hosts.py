"""The hosts of a fleet in the operator's order, each with its labels and what is owed."""

import difflib
import fnmatch
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cockpit.errors import InventoryError
from cockpit.inventory.patterns import SshNames, expand, is_pattern
from cockpit.inventory.target import AGENT_SOCKET, SshTarget, Target, parse_target

_ADDRESS = re.compile(r"://|@|:")  # a target that is written out, not a name


@dataclass(frozen=True, slots=True)
class HostEntry:
    """One host as the operator named it. `gpus_expected`: what the fleet file promises, None if it says nothing."""

    name: str
    target: Target
    labels: Mapping[str, str] = field(default_factory=dict)
    gpus_expected: int | None = None


@dataclass(frozen=True, slots=True)
class PoolEntry:
    """What the operator promises of a pool of replicas: how many there should be, and how many must stay ready; None
    if nothing is said."""

    expected: int | None = None
    floor: int | None = None


@dataclass(frozen=True, slots=True)
class Inventory:
    """All hosts, in the order of the file. `clock`: (epoch, speed) of a fleet whose time is scaled. `ssh_config`: the
    file that the fleet file chose, as `--ssh-config` would. `pools` by name: those that the file speaks of."""

    hosts: tuple[HostEntry, ...]
    clock: tuple[float, float] | None = None
    path: str = ""
    ssh_config: str = ""
    pools: Mapping[str, PoolEntry] = field(default_factory=dict)

    def pick(self, wanted: Iterable[str], ssh_config: str = "") -> "Inventory":
        """Only these: names of this inventory or patterns over them, names and patterns of ssh_config that are not
        here, or whole targets (with `://`, `@` or a port).

        Raises:
            InventoryError: a bare name that is nowhere, a pattern that means nobody.
        """
        known = {entry.name: entry for entry in self.hosts}
        ssh = SshNames(ssh_config or self.ssh_config)
        chosen: dict[str, HostEntry] = {}
        for text in self._meant(list(wanted), known, ssh):
            entry = known.get(text)
            if entry is None and not _ADDRESS.search(text) and text not in ssh.names():
                where = f" in {self.path}" if self.path else ""
                raise InventoryError(f"no host {text!r}{where}{did_you_mean(text, [*known, *ssh.names()])}")
            entry = entry or _entry_of(text, chosen)
            chosen[entry.name] = entry
        return Inventory(tuple(chosen.values()), self.clock, self.path, self.ssh_config, self._whole(chosen))

    def _whole(self, chosen: Collection[str]) -> Mapping[str, PoolEntry]:
        """What is promised of pools holds for all hosts together: of a part of them nothing is."""
        return self.pools if {entry.name for entry in self.hosts} <= set(chosen) else {}

    def _meant(self, words: list[str], known: Collection[str], ssh: SshNames) -> list[str]:
        """The words with patterns replaced: by names of this inventory, else by names of ssh_config."""
        without = [word for word in words if word.startswith("!")]
        patterns = [word for word in words if is_pattern(word) and word not in without]
        if without and not patterns:
            return expand(words, (), "")
        found: list[str] = []
        for word in words:
            if word in patterns:
                here = any(fnmatch.fnmatchcase(name, word) for name in known)
                names = tuple(known) if here else (*known, *ssh.names())
                found += expand([word, *without], names, self.path or "the fleet" if here else self._and(ssh))
            elif word not in without:
                found.append(word)
        return list(dict.fromkeys(found))

    def _and(self, ssh: SshNames) -> str:
        return f"{self.path or 'the fleet'} or of {ssh.where}"


def from_hosts(targets: Iterable[str], ssh_config: str = "") -> Inventory:
    """The inventory of `--host TARGET...`, patterns over the names of ssh_config included; a host is called by its own
    short name where that is not taken.

    Raises:
        InventoryError: a target cannot be read, a pattern means nobody.
    """
    words = list(targets)
    if any(map(is_pattern, words)):
        ssh = SshNames(ssh_config)
        words = expand(words, ssh.names(), ssh.where)
    chosen: dict[str, HostEntry] = {}
    for text in words:
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
