"""Who took servers out of a balancer through us, and what was out before: never a reason to lift what others set.

One small file a balancer, written whole under its lock. What another run of HAProxy was told is forgotten with it, as
HAProxy forgot it.
"""

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOUND = 16  # runs that are remembered of one server
FOLDER = "haproxy"


@dataclass(slots=True)
class Drains:
    """What is known of one balancer. `taken[server]` is who took it out ({"by", "user", "run", "key", "at"});
    `found[server][run]` is the state in which a run found it before it changed anything."""

    path: Path
    started: str
    taken: dict[str, dict[str, str]] = field(default_factory=dict)
    found: dict[str, dict[str, str]] = field(default_factory=dict)

    def take(self, server: str, run: str, before: str, who: dict[str, str] | None) -> None:
        """A run takes a server out that it found in state `before`; `who` unless it was out already."""
        runs = self.found.setdefault(server, {})
        if run and run not in runs:
            runs[run] = before
            for old in list(runs)[:-FOUND]:
                del runs[old]
        if who is not None:
            self.taken[server] = who

    def back(self, server: str) -> None:
        """It is in again."""
        self.taken.pop(server, None)
        self.found.pop(server, None)

    def before(self, server: str, run: str) -> str:
        """In which state this run found the server; ready if it never took it out."""
        return self.found.get(server, {}).get(run, "ready") if run else "ready"

    def save(self) -> None:
        """Write it whole."""
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        aside = self.path.with_suffix(".new")
        with aside.open("w", encoding="utf-8") as file:
            json.dump({"started": self.started, "taken": self.taken, "found": self.found}, file)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self.path)


def known(state: Path, balancer: Path, started: str) -> Drains:
    """What is known of this balancer, as far as it was told to the HAProxy that runs now."""
    path = state / FOLDER / f"{hashlib.sha256(str(balancer).encode()).hexdigest()[:16]}.json"
    drains = Drains(path, started)
    try:
        said: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if said["started"] == started:
            drains.taken, drains.found = dict(said["taken"]), dict(said["found"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # then nobody is known to have set anything, and the ledgers of the agents still have it
    return drains
