"""A node with the agent's package on it, and a driver that is the C fake of NVML."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.fakes.client import Picture, fetch
from tests.fakes.nvml import LIBRARY, build_fake_nvml
from tests.packaging.node import Node, eventually

UNIT = "gpu-cockpit-agent.service"
SOCKET = "/run/gpu-cockpit/agent.sock"
BUS_ID = "0000:3b:00"


class Station:
    """What tests do with an installed node."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def fake_driver(self) -> None:
        """The fake as the driver's library, and stand-ins for the driver's devices."""
        library = build_fake_nvml(self.node.lab / "nvml")
        folder = next(path for path in (Path("/usr/lib/x86_64-linux-gnu"), Path("/usr/lib64")) if path.exists())
        shutil.copy(library, self.node.root / str(folder)[1:] / LIBRARY)
        for name in ("nvidia0", "nvidiactl"):
            path = self.node.inside / "dev" / name
            os.mknod(path, 0o20666, os.makedev(1, 3))
            path.chmod(0o666)

    def install(self, package: Path, *words: str) -> str:
        """dpkg -i; what it said."""
        shutil.copy(package, self.node.lab / package.name)
        done = self.node.run("dpkg", *words, "-i", f"/lab/{package.name}", timeout_s=60)
        return done.stdout + done.stderr

    def look(self) -> Picture:
        """One look at the agent from outside the node, through its socket."""
        return fetch(self.node.inside / SOCKET[1:])

    def until(self, claim: str, holds: Callable[[Picture], bool], seconds: float = 10.0) -> Picture:
        """Look again and again until it holds."""
        for _ in eventually(claim, seconds):
            try:
                picture = self.look()
            except (OSError, AssertionError):
                continue
            if holds(picture):
                return picture
        raise AssertionError(claim)

    def marks(self, picture: Picture) -> list[str]:
        """The marks of our XIDs among the events, in their order."""
        texts = [json.dumps(event.data, default=str) for event in picture.events if event.kind == "xid"]
        found = (re.search(rf"{self.node.run_id} (\w+)", text) for text in texts)
        return [match[1] for match in found if match]

    def xid(self, code: int, mark: str) -> None:
        """A line of the driver in this machine's real kernel log."""
        with open("/dev/kmsg", "w", encoding="ascii") as log:
            log.write(f"<3>NVRM: Xid (PCI:{BUS_ID}): {code}, pid=7, name=python3, {mark}\n")
