"""Run in a namespace: keeps the links of a fleet file and prints one JSON line per change.

A line is `{"at", "host", "state", "says"}`; `at` is CLOCK_MONOTONIC, which the test reads too.
"""

import asyncio
import json
import sys
import time

from agent.wire.frames import Frame
from cockpit import inventory
from cockpit.clock import SystemClock
from cockpit.fleet.link_state import LinkStatus, Offset
from cockpit.link import links_for


class _Printer:
    def frames(self, host: int, frames: list[Frame]) -> None:
        """Frames are not judged here."""

    def changed(self, host: int, status: LinkStatus) -> None:
        """One line."""
        line = {"at": time.monotonic(), "host": host, "state": str(status.state), "says": status.says}
        print(json.dumps(line), flush=True)

    def measured(self, host: int, offset: Offset) -> None:
        """Nor are clocks."""


async def _main(path: str) -> None:
    links = links_for(inventory.load(path), _Printer(), SystemClock())
    async with asyncio.TaskGroup() as group:
        for link in links:
            group.create_task(link.run())


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
