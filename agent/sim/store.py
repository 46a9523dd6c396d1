"""What a simulated fleet keeps in its directory, so that it goes on where it was: the plan, what was injected, and
where the physics stood.

A directory belongs to one plan for good: asking for another one there is refused, never half done.
"""

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

from agent.errors import StateError, UsageError
from agent.sim.hands.deeds import Deed
from agent.sim.plan import Injected, Plan

PLAN = "sim.json"
PHYSICS = "physics.json"
DEEDS = "deeds.jsonl"
LOCK = "sim.lock"
FLEET = "fleet.toml"
CONTROL = "sim.sock"
SOCKET_PATH_BYTES = 107  # what a unix socket's name may have on Linux
_LONGEST_NAME = "gpu-aaa01"
_FORMAT = 1


class Store:
    """The directory of one fleet, locked for as long as this object is open.

    Raises:
        UsageError: the directory cannot be used, or a simulation runs in it already.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.socket(_LONGEST_NAME)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UsageError(f"--dir {directory}: {error.strerror or error}; name a directory you may write") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise UsageError(f"--dir {directory}: a simulation already runs there; stop it or name another") from None

    def close(self) -> None:
        """Let another simulation have the directory."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def load(self) -> tuple[Plan, list[Injected]] | None:
        """The plan and what was injected, or None in a new directory.

        Raises:
            StateError: the file is not one of ours.
        """
        table = self._read(PLAN)
        if table is None:
            return None
        if table.get("format") != _FORMAT:
            path = self.directory / PLAN
            raise StateError(f"{path}: of another version; use another --dir or remove it")
        try:
            plan = Plan(**{field.name: table["plan"][field.name] for field in fields(Plan)})
            injected = [Injected(**item) for item in table["injected"]]
        except (KeyError, TypeError) as error:
            path = self.directory / PLAN
            raise StateError(f"{path}: no plan of a fleet ({error}); use another --dir or remove it") from None
        return plan, injected

    def save(self, plan: Plan, injected: list[Injected]) -> None:
        """Keep both."""
        self._write(PLAN, {"format": _FORMAT, "plan": asdict(plan), "injected": [asdict(item) for item in injected]})

    def deeds(self) -> list[Deed]:
        """What hands have done here, oldest first; a last line that was cut while it was written is removed.

        Raises:
            StateError: the file is not one of ours.
        """
        path = self.directory / DEEDS
        try:
            whole, _, cut = path.read_text("utf-8").rpartition("\n")
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise StateError(f"{path}: cannot be read ({error}); use another --dir or remove it") from None
        if cut:
            self._replace(path, f"{whole}\n" if whole else "")
        try:
            return [Deed(**json.loads(line)) for line in whole.splitlines()]
        except (ValueError, TypeError) as error:
            raise StateError(f"{path}: no list of deeds ({error}); use another --dir or remove it") from None

    def keep(self, deed: Deed) -> None:
        """One more, before it happens."""
        path = self.directory / DEEDS
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(deed)) + "\n")
        except OSError as error:
            raise StateError(f"{path}: cannot be written: {error.strerror or error}; free some space") from None

    def load_physics(self) -> dict[str, Any]:
        """`Machine.saved()` by host name; empty when there is none that can be read: it is recomputed then."""
        try:
            return self._read(PHYSICS) or {}
        except StateError:
            return {}

    def save_physics(self, saved: Mapping[str, Any]) -> None:
        """Keep where the physics stands."""
        self._write(PHYSICS, saved)

    def write_fleet(
        self,
        plan: Plan,
        hosts: Sequence[tuple[str, Mapping[str, str]]],
        pools: Mapping[str, tuple[int, int]],
    ) -> Path:
        """fleet.toml for cockpits; returns its path. `hosts`: (name, labels); `pools`: (expected, floor) by name."""
        lines = ["# Written by `gpu-cockpit sim up`: simulated hosts.", "[clock]"]
        lines += [f"epoch = {plan.epoch!r}", f"speed = {plan.speed!r}"]
        for name, (expected, floor) in pools.items():
            lines += ["", f"[pools.{json.dumps(name)}]", f"expected = {expected}", f"floor = {floor}"]
        for name, labels in hosts:
            address = f"unix://{quote(str(self.socket(name)))}"
            lines += ["", "[[host]]", f"name = {json.dumps(name)}", f"address = {json.dumps(address)}"]
            lines += [f"{key} = {json.dumps(value)}" for key, value in labels.items()]
            lines.append(f"gpus = {plan.gpus}")
        path = self.directory / FLEET
        self._replace(path, "\n".join(lines) + "\n")
        return path

    def socket(self, name: str) -> Path:
        """Where the agent of this host listens.

        Raises:
            UsageError: the directory's name is too long for a unix socket.
        """
        path = self.directory / f"{name}.sock"
        length = len(os.fsencode(path))
        if length > SOCKET_PATH_BYTES:
            raise UsageError(
                f"--dir {self.directory}: too long for unix sockets ({length} bytes with {path.name}, at most "
                f"{SOCKET_PATH_BYTES}); use a shorter one, such as /tmp/fleet"
            )
        return path

    def _read(self, name: str) -> dict[str, Any] | None:
        path = self.directory / name
        try:
            table = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise StateError(f"{path}: cannot be read ({error}); use another --dir or remove it") from None
        if not isinstance(table, dict):
            raise StateError(f"{path}: not a table; use another --dir or remove it")
        return table

    def _write(self, name: str, table: Mapping[str, Any]) -> None:
        self._replace(self.directory / name, json.dumps(table))

    def _replace(self, path: Path, text: str) -> None:
        temporary = path.with_name(f"{path.name}.tmp")
        try:
            temporary.write_text(text, "utf-8")
            temporary.replace(path)
        except OSError as error:
            raise StateError(f"{path}: cannot be written: {error.strerror or error}; free some space") from None
