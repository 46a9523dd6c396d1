"""What is allowed on this host, as root wrote it: read anew for every request, and nothing at all if anything is wrong.

The file, and every folder above it, must be root's and not to be written by others. Names are matched by shell globs,
after they were checked. The agent reads [roles] of the same file; the rest of it is understood here alone.
"""

import difflib
import os
import stat
import tomllib
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from agent.actuator.family import DENIED, Action, Entry, Family, Key, Refused, Values

ROOT = frozenset({0})
BYTES = 256 * 1024
ENTRIES = 256
GLOBS = 256
CHARS = 256
ROLES = ("viewer", "operator", "admin")
_GIVEN = ROLES[1:]


class Wrong(Exception):
    """Why the file is not obeyed."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The entry that allows it, or why none does. `rule` names the entry."""

    entry: Entry | None
    rule: str = ""
    role: str = ""
    says: str = ""


class Policy:
    """The file at `path`, for actions of these families. `owners`: whose it may be, by number."""

    def __init__(self, path: Path, families: Sequence[Family], owners: Set[int] = ROOT) -> None:
        self.path = path
        self._families, self._owners = families, owners

    def read(self) -> tuple[Entry, ...]:
        """Its entries. Raises Wrong with one sentence, FileNotFoundError."""
        try:
            return parse(_content(self.path, self._owners), self._families)
        except Wrong as wrong:
            raise Wrong(f"{self.path}: {wrong}; nobody may act on this host until it is corrected") from None

    def decide(self, action: Action, values: Values) -> Decision:
        """Whether it is allowed, by which entry, and which role that needs."""
        if action.role:
            return Decision(Entry(0, (action.id,), action.role), "looking needs no rule", action.role)
        try:
            entries = self.read()
        except FileNotFoundError:
            return Decision(None, says=f"there is no {self.path}, so nobody may act on this host")
        except Wrong as wrong:
            return Decision(None, says=str(wrong))
        near = [entry for entry in entries if _names(entry, action.id)]
        whys = [action.covers(entry, values) for entry in near]
        fits = [entry for entry, why in zip(near, whys, strict=True) if not why]
        if fits:
            entry = min(fits, key=lambda one: (ROLES.index(one.role), one.number))
            return Decision(entry, f"[[allow]] {entry.number} of {self.path}", entry.role)
        why = f"[[allow]] {near[0].number} {whys[0]}" if near else f"no [[allow]] names {action.id}"
        return Decision(None, says=f"{action.id} is not allowed: in {self.path}, {why}")


def may(role: str, needed: str) -> bool:
    """Whether one role includes the other."""
    return role in ROLES and ROLES.index(role) >= ROLES.index(needed)


def matches(name: str, globs: Sequence[str]) -> bool:
    """Whether one of the patterns fits the whole name."""
    return any(fnmatchcase(name, glob) for glob in globs)


def covered(entry: Entry, key: str, name: str) -> str:
    """ "" if the entry's patterns fit the name, else why not."""
    globs = entry.globs(key)
    return "" if matches(name, globs) else f"allows {key} {', '.join(globs[:8]) or 'none'}, and not {name}"


def not_allowed(says: str) -> Refused:
    """A refusal of the policy."""
    return Refused(says, DENIED)


def parse(content: bytes, families: Sequence[Family]) -> tuple[Entry, ...]:
    """The entries of a policy. Raises Wrong."""
    try:
        table = tomllib.loads(content.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise Wrong(f"it is not valid TOML ({error})") from None
    _known(table, ("roles", "allow"), "it")
    _roles(table.get("roles", {}))
    entries = table.get("allow", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise Wrong("allow must be tables, each under [[allow]]")
    if len(entries) > ENTRIES:
        raise Wrong(f"it has more than {ENTRIES} [[allow]]")
    return tuple(_entry(number, entry, families) for number, entry in enumerate(entries, 1))


def _roles(roles: Any) -> None:
    if not isinstance(roles, dict):
        raise Wrong("roles must be a table")
    _known(roles, _GIVEN, "[roles]")
    for role, names in roles.items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise Wrong(f'roles.{role} must be a list of names, such as ["alice", "%oncall"]')


def _entry(number: int, entry: Mapping[str, Any], families: Sequence[Family]) -> Entry:
    where = f"[[allow]] {number}"
    actions = _globs(entry.get("actions"), f"{where}: actions")
    meant = [family for family in families if any(_names_of(actions, one.id) for one in family.actions)]
    known = {action.id for family in families for action in family.actions}
    for name in actions:
        if not any(_names_of((name,), one) for one in known):
            raise Wrong(f"{where}: there is no action {name!r}{_nearest(name, known)}")
    keys: dict[str, Key] = {}
    for family in meant:
        keys |= family.keys
    _known(entry, ("actions", "role", *keys), where)
    role = entry.get("role", "operator")
    if role not in _GIVEN:
        raise Wrong(f"{where}: role must be operator or admin, not {str(role)[:32]!r}")
    for name, key in keys.items():
        if key.needed and name not in entry:
            raise Wrong(f"{where} lacks the key {name!r}, which {', '.join(actions[:4])} cannot do without")
    found = {name: _value(keys[name], entry[name], f"{where}: {name}") for name in keys if name in entry}
    return Entry(number, actions, str(role), found)


def _value(key: Key, value: Any, where: str) -> Any:
    if key.kind == "globs":
        return _globs(value, where)
    if key.kind == "whole":
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 1_000_000:
            raise Wrong(f"{where} must be a whole number from 0 on, not {str(value)[:32]!r}")
        return value
    if not isinstance(value, str) or not 0 < len(value) <= CHARS or not value.isprintable():
        raise Wrong(f"{where} must be text")
    if key.kind == "path" and (not value.startswith("/") or "/../" in f"{value}/"):
        raise Wrong(f"{where} must be an absolute path, not {value[:64]!r}")
    if key.choices and value not in key.choices:
        raise Wrong(f"{where} must be {' or '.join(key.choices)}, not {value[:32]!r}")
    return value


def _globs(value: Any, where: str) -> tuple[str, ...]:
    fits = isinstance(value, list) and 0 < len(value) <= GLOBS
    if not fits or not all(isinstance(one, str) and 0 < len(one) <= CHARS and one.isprintable() for one in value):
        raise Wrong(f'{where} must be a list of patterns, such as ["vllm@*"]')
    return tuple(value)


def _names(entry: Entry, action: str) -> bool:
    return _names_of(entry.actions, action)


def _names_of(patterns: Sequence[str], action: str) -> bool:
    """An action is named as it is, or with all of its family: `systemd.*`."""
    family = action.partition(".")[0]
    return action in patterns or f"{family}.*" in patterns


def _known(table: Mapping[str, Any], names: Sequence[str], where: str) -> None:
    for name in table:
        if name not in names:
            raise Wrong(f"{where} has the unknown key {name[:64]!r}{_nearest(name, names)}")


def _nearest(name: str, names: Sequence[str] | set[str]) -> str:
    near = difflib.get_close_matches(name, sorted(names), 1)
    return f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(sorted(names))}"


def _content(path: Path, owners: Set[int]) -> bytes:
    """What root wrote. Raises Wrong, FileNotFoundError."""
    for folder in path.absolute().parents:
        try:
            _trusted(folder.stat(), owners, f"the folder {folder}", sticky=True)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise Wrong(f"the folder {folder} cannot be looked at ({error.strerror or error})") from None
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Wrong(f"it cannot be read ({error.strerror or error})") from None
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise Wrong("it is not a regular file")
        _trusted(found, owners, "it", sticky=False)
        content = _bytes(file)
    finally:
        os.close(file)
    if len(content) > BYTES:
        raise Wrong(f"it is larger than {BYTES} bytes")
    return content


def _bytes(file: int) -> bytes:
    with open(file, "rb", closefd=False) as reader:
        return reader.read(BYTES + 1)


def _trusted(found: os.stat_result, owners: Set[int], what: str, sticky: bool) -> None:
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid not in owners:
        raise Wrong(f"{what} belongs to user {found.st_uid} and not to root; chown root")
    if mode & 0o022 and not (sticky and mode & stat.S_ISVTX):
        raise Wrong(f"{what} can be written by others than root; chmod go-w")
