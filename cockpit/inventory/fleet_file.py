"""fleet.toml: read, checked, and refused with the file, the place and the nearest valid word."""

import math
import re
import tomllib
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from cockpit.errors import InventoryError
from cockpit.inventory.hosts import HostEntry, Inventory, PoolEntry, did_you_mean
from cockpit.inventory.patterns import SshNames, expand, is_pattern
from cockpit.inventory.target import (
    AGENT_SOCKET,
    SSH_PORT,
    Hop,
    SshTarget,
    Target,
    UnixTarget,
    host_port,
    implied,
    is_user,
    own_name,
    parse_target,
)

_NAME = re.compile(r"[^\s\x00-\x1f\x7f/]{1,128}")

_TOP = ("clock", "defaults", "jump", "host", "ssh", "pools")
_CLOCK = ("epoch", "speed")
_DEFAULTS = ("user", "port", "jump", "identity", "known_hosts", "socket", "labels", "ssh_config")
_JUMP = ("name", "host", "port", "user", "identity", "known_hosts")
_HOST_KEYS = (
    "name", "address", "pool", "rack", "role", "labels", "gpus", "jump", "identity", "known_hosts", "socket",
)  # fmt: skip
_POOL = ("expected", "floor")
_SSH_KEYS = ("hosts", "user", "port", *(key for key in _HOST_KEYS if key not in ("name", "address")))


def load(path: str | Path, ssh_config: str = "") -> Inventory:
    """The inventory of a fleet file. Relative paths in it start at its folder, `~` is the user's home. `ssh_config`:
    the file for its patterns, which wins over what it says itself.

    Raises:
        InventoryError: the file cannot be read, is no TOML, or says something we do not know.
    """
    file = Path(path).expanduser()
    try:
        document = tomllib.loads(file.read_bytes().decode())
    except FileNotFoundError:
        raise InventoryError(f"{path}: there is no such fleet file; --fleet FILE names one, --host one host") from None
    except OSError as error:
        raise InventoryError(f"{path}: cannot be read: {error.strerror or error}; check its owner and mode") from None
    except UnicodeDecodeError as error:
        raise InventoryError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    except RecursionError:
        raise InventoryError(f"{path}: not valid TOML: nested too deep") from None
    except tomllib.TOMLDecodeError as error:
        raise InventoryError(f"{path}: not valid TOML: {error}") from None
    return _Reader(str(path), file.absolute().parent, ssh_config).inventory(document)


class _Reader:
    """One fleet file; every complaint starts with its name and the place in it."""

    def __init__(self, path: str, folder: Path, ssh_config: str = "") -> None:
        self.path = path
        self.folder = folder
        self.ssh_config = ssh_config
        self.jumps: dict[str, Hop] = {}
        self.defaults: dict[str, Any] = {}
        self.ssh = SshNames(ssh_config)

    def inventory(self, document: dict[str, Any]) -> Inventory:
        self._keys(document, _TOP, "")
        self.defaults = self._table(document, "defaults", _DEFAULTS)
        clock = self._clock(self._table(document, "clock", _CLOCK))
        pools = self._pools(document.get("pools", {}))
        for number, raw in enumerate(self._list(document, "jump"), 1):
            self._jump(raw, f"[[jump]] {number}")
        hosts: dict[str, HostEntry] = {}
        for number, raw in enumerate(self._list(document, "host"), 1):
            entry = self._host(raw, f"[[host]] {number}")
            if entry.name in hosts:
                self._fail(f"[[host]] {number}", f"name {entry.name!r} is already taken")
            hosts[entry.name] = entry
        chosen = self._file({}, "ssh_config", "[defaults]", words=("none",))
        self.ssh = SshNames(self.ssh_config or chosen)
        for number, raw in enumerate(self._list(document, "ssh"), 1):
            for entry in self._from_ssh(raw, f"[[ssh]] {number}"):
                hosts.setdefault(entry.name, entry)  # what is written out wins, then what comes first
        if not hosts:
            self._fail("", 'it names no host; add [[host]] with name = "...", or [[ssh]] with hosts = ["gpu-*"]')
        return Inventory(tuple(hosts.values()), clock, self.path, chosen, pools)

    def _clock(self, table: dict[str, Any]) -> tuple[float, float] | None:
        if not table:
            return None
        epoch = self._number(table, "epoch", "[clock]", 0.0)
        speed = self._number(table, "speed", "[clock]", 1.0)
        if speed <= 0:
            self._fail("[clock]", f"speed must be above 0, not {speed:g}")
        return epoch, speed

    def _pools(self, raw: Any) -> dict[str, PoolEntry]:
        """What is promised of pools of replicas, by name."""
        if not isinstance(raw, dict):
            self._fail("[pools]", "must be written [pools.NAME], once for each")
        return {name: self._pool(name, table) for name, table in raw.items()}

    def _pool(self, name: str, raw: Any) -> PoolEntry:
        where = f"[pools.{name}]"
        table = self._keys(raw, _POOL, where)
        for key, value in table.items():
            if type(value) is not int or not 0 <= value <= 100_000:
                self._fail(where, f"{key} must be a whole number from 0 to 100000, not {value!r}")
        entry = PoolEntry(table.get("expected"), table.get("floor"))
        if entry.expected is not None and entry.floor is not None and entry.floor > entry.expected:
            self._fail(where, f"floor {entry.floor} is more than the {entry.expected} that are expected")
        return entry

    def _jump(self, raw: Any, where: str) -> None:
        table = self._keys(raw, _JUMP, where)
        name, host = self._text(table, "name", where), self._text(table, "host", where)
        if not name or not host:
            self._fail(where, "needs a name and a host")
        if name in self.jumps:
            self._fail(where, f"name {name!r} is already taken")
        where = f"{where} {name}"
        host, port = self._address(host, where)
        port = self._port(table, where) or port or self._port(self.defaults, "[defaults]")
        user = self._user(table, where) or self._user(self.defaults, "[defaults]")
        self.jumps[name] = Hop(
            host,
            port or SSH_PORT,
            user or own_name(),
            self._file(table, "identity", where),
            self._file(table, "known_hosts", where),
            name,
            implied(port=port, user=user),
        )

    def _host(self, raw: Any, where: str) -> HostEntry:
        table = self._keys(raw, _HOST_KEYS, where)
        name = self._text(table, "name", where)
        if not (_NAME.fullmatch(name) and name.isprintable()):
            self._fail(where, f"name {name!r}: a name has 1 to 128 printable characters, no blanks and no slash")
        where = f"{where} {name}"
        return HostEntry(
            name, self._target(table, name, where), self._all_labels(table, where), self._gpus(table, where)
        )

    def _from_ssh(self, raw: Any, where: str) -> list[HostEntry]:
        """The hosts of a [[ssh]]: names and patterns over ssh_config, all with the same labels."""
        table = self._keys(raw, _SSH_KEYS, where)
        words = table.get("hosts", [])
        words = [words] if isinstance(words, str) else words
        if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
            self._fail(where, 'needs hosts = ["gpu-*", "!gpu-old*"], names and patterns of ssh_config')
        try:
            names = expand(words, self.ssh.names() if any(map(is_pattern, words)) else (), self.ssh.where)
        except InventoryError as error:
            self._fail(where, str(error))
        user, port = self._user(table, where), self._port(table, where)
        labels, gpus = self._all_labels(table, where), self._gpus(table, where)
        return [HostEntry(name, self._ssh_target(table, name, where, user, port), labels, gpus) for name in names]

    def _ssh_target(self, table: dict[str, Any], name: str, where: str, user: str, port: int | None) -> SshTarget:
        """A name of ssh_config, with what the table says about the way there."""
        if not (_NAME.fullmatch(name) and name.isprintable()) or "@" in name or ":" in name:
            self._fail(where, f"{name!r} is no name of ssh_config; user and port have keys of their own")
        target = self._target({**table, "address": name}, name, where)
        assert isinstance(target, SshTarget)
        hop = replace(
            target.hop,
            user=user or target.hop.user,
            port=port or target.hop.port,
            implied=target.hop.implied - {word for word, value in (("user", user), ("port", port)) if value},
        )
        return replace(target, hop=hop)

    def _all_labels(self, table: dict[str, Any], where: str) -> dict[str, str]:
        labels = {**self._labels(self.defaults, "[defaults]"), **self._labels(table, where)}
        return labels | {key: self._text(table, key, where) for key in ("pool", "rack", "role") if key in table}

    def _gpus(self, table: dict[str, Any], where: str) -> int | None:
        gpus = table.get("gpus")
        if gpus is not None and (type(gpus) is not int or not 0 <= gpus <= 1024):
            self._fail(where, f"gpus must be a whole number from 0 to 1024, not {gpus!r}")
        return gpus

    def _target(self, table: dict[str, Any], name: str, where: str) -> Target:
        address = self._text(table, "address", where) or name
        try:
            target = parse_target(address)
        except InventoryError as error:
            self._fail(where, str(error))
        if isinstance(target, UnixTarget):
            if table.get("jump"):
                self._fail(where, "a unix socket is on this machine: it takes no jump")
            return target
        written = target.hop.implied
        port = self._port(self.defaults, "[defaults]") if "port" in written else target.port
        user = self._user(self.defaults, "[defaults]") if "user" in written else target.user
        hop = Hop(
            target.host,
            port or SSH_PORT,
            user or target.user,
            self._file(table, "identity", where),
            self._file(table, "known_hosts", where),
            name,
            implied(port=port, user=user, jump="jump" in table or "jump" in self.defaults),
        )
        socket = self._text(table, "socket", where) or self._text(self.defaults, "socket", "[defaults]") or AGENT_SOCKET
        return SshTarget(hop, self._chain(table, where), socket)

    def _chain(self, table: dict[str, Any], where: str) -> tuple[Hop, ...]:
        chosen = table.get("jump", self.defaults.get("jump", []))
        names = [chosen] if isinstance(chosen, str) else chosen
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            self._fail(where, "jump must be the name of a [[jump]] or a list of such names, outermost first")
        for name in names:
            if name and name not in self.jumps:
                self._fail(where, f"unknown jump {name!r}{did_you_mean(name, self.jumps) or '; there is no [[jump]]'}")
        return tuple(self.jumps[name] for name in names if name)

    def _address(self, text: str, where: str) -> tuple[str, int | None]:
        try:
            return host_port(text, text)
        except InventoryError as error:
            self._fail(where, str(error))

    def _labels(self, table: dict[str, Any], where: str) -> dict[str, str]:
        labels = table.get("labels", {})
        if not isinstance(labels, dict) or not all(isinstance(value, (str, int)) for value in labels.values()):
            self._fail(where, 'labels must be a table of text, like labels = {team = "vision"}')
        return {str(key): str(value) for key, value in labels.items()}

    def _user(self, table: dict[str, Any], where: str) -> str:
        user = self._text(table, "user", where)
        if user and not is_user(user):
            self._fail(where, f"{user!r} is no user name")
        return user

    def _file(self, table: dict[str, Any], key: str, where: str, words: tuple[str, ...] = ()) -> str:
        """A path, or one of the words that mean something else."""
        text = self._text(table, key, where) or self._text(self.defaults, key, "[defaults]")
        return text if text in ("", *words) else str(self.folder / Path(text).expanduser())

    def _port(self, table: dict[str, Any], where: str) -> int | None:
        port = table.get("port")
        if port is not None and (type(port) is not int or not 0 < port < 65536):
            self._fail(where, f"port must be a whole number from 1 to 65535, not {port!r}")
        return port

    def _text(self, table: dict[str, Any], key: str, where: str) -> str:
        value = table.get(key, "")
        if not isinstance(value, str):
            self._fail(where, f"{key} must be text, not {value!r}")
        return value

    def _number(self, table: dict[str, Any], key: str, where: str, default: float) -> float:
        value = table.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            self._fail(where, f"{key} must be a number, not {value!r}")
        return float(value)

    def _table(self, document: dict[str, Any], key: str, known: Collection[str]) -> dict[str, Any]:
        return self._keys(document.get(key, {}), known, f"[{key}]")

    def _list(self, document: dict[str, Any], key: str) -> list[Any]:
        value = document.get(key, [])
        if not isinstance(value, list):
            self._fail("", f"{key} must be written [[{key}]], once for each")
        return value

    def _keys(self, table: Any, known: Collection[str], where: str) -> dict[str, Any]:
        if not isinstance(table, dict):
            self._fail(where, "must be a table")
        for key in table:
            if key not in known:
                self._fail(where, f"unknown key {key!r}{did_you_mean(key, known)}")
        return table

    def _fail(self, where: str, says: str) -> NoReturn:
        raise InventoryError(f"{self.path}: {where}: {says}" if where else f"{self.path}: {says}")
