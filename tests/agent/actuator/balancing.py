"""A real HAProxy without a network: its door, its servers and its operator's socket are unix sockets."""

import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab import has_command, require

CONFIG = """
global
  stats socket {folder}/admin.sock mode 600 level admin
  stats timeout 30s
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
frontend door
  bind unix@{folder}/door.sock
  default_backend llm
backend llm
{servers}
backend other
  server o1 unix@{folder}/o1.sock
"""


class Balancer:
    """`servers` are lines of its backend `llm`; none is checked, so all are up."""

    def __init__(self, folder: Path, *servers: str) -> None:
        self.folder, self.admin = folder, folder / "admin.sock"
        named = servers or ("r1", "r2", "r3")
        lines = []
        for one in named:
            name, _, more = one.partition(" ")
            lines.append(f"  server {name} unix@{folder}/{name}.sock {more}")
        (folder / "haproxy.cfg").write_text(CONFIG.format(folder=folder, servers="\n".join(lines)))
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(["haproxy", "-db", "-f", self.folder / "haproxy.cfg"], stderr=subprocess.DEVNULL)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            try:
                if "llm" in self.tell("show servers state"):
                    return process
            except OSError:
                time.sleep(0.02)
        process.kill()
        raise AssertionError("HAProxy never answered")

    def restart(self) -> None:
        """It forgets what it was told."""
        self.stop()
        self.process = self._start()

    def stop(self) -> None:
        """Gone when this returns."""
        self.process.kill()
        self.process.wait(5)

    def tell(self, command: str) -> str:
        """As its operator would; empty if it was taken."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self.admin))
            connection.sendall(command.encode() + b"\n")
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
        return b"".join(parts).decode().strip()

    def states(self) -> dict[str, tuple[int, int]]:
        """By server of `llm`: its admin state and its weight."""
        rows = [line.split() for line in self.tell("show servers state llm").splitlines()[2:]]
        return {row[3]: (int(row[6]), int(row[7])) for row in rows if row}

    def ready(self) -> int:
        """How many take new sessions, as an outsider counts them."""
        return sum(admin == 0 and weight > 0 for admin, weight in self.states().values())


@dataclass
class Watch:
    """A third one who looks at the world all the while, and counts as HAProxy shows it."""

    balancer: Balancer
    lowest: int = 99
    looks: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Watch":
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._over.is_set():
            self.lowest = min(self.lowest, self.balancer.ready())
            self.looks += 1
            time.sleep(0.001)

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@contextmanager
def balancer(*servers: str) -> Iterator[Balancer]:
    """One in a short folder of its own: a unix socket's path has 107 bytes."""
    require("haproxy", has_command("haproxy"))
    folder = Path(tempfile.mkdtemp(prefix="gcb-", dir="/tmp"))
    try:
        running = Balancer(folder, *servers)
        try:
            yield running
        finally:
            running.stop()
    finally:
        shutil.rmtree(folder)
