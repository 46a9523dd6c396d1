"""Run in a namespace: keeps the links of a fleet file and prints one JSON line per change.

A line is `{"at", "host", "state", "says"}`, for the first host also `{"at", "host", "age"}` with each sample: how long
before its arrival it was captured. `at` is CLOCK_MONOTONIC, which the test reads too.
"""

import asyncio
import json
import sys
import time

from agent.wire.frames import Frame, Hello, Sample
from cockpit import inventory
from cockpit.clock import SystemClock
from cockpit.fleet.link_state import LinkStatus, Offset
from cockpit.link import links_for


class _Printer:
    def __init__(self) -> None:
        self._ahead = 0.0  # our clock against the agent's, which sits on this machine and counts at our rate

    def frames(self, host: int, frames: list[Frame]) -> None:
        """How old the first host's samples are."""
        if host:
            return
        at = time.monotonic()
        for frame in frames:
            if isinstance(frame, Hello):
                self._ahead = min(self._ahead, at - frame.mono) if self._ahead else at - frame.mono
            elif isinstance(frame, Sample):
                age = at - self._ahead - max(block.at_ms for block in frame.blocks) / 1000
                print(json.dumps({"at": at, "host": host, "age": age}), flush=True)

    def changed(self, host: int, status: LinkStatus) -> None:
        """One line."""
        line = {"at": time.monotonic(), "host": host, "state": str(status.state), "says": status.says}
        print(json.dumps(line), flush=True)

    def measured(self, host: int, offset: Offset) -> None:
        """Clocks are not judged here."""


async def _main(path: str) -> None:
    links = links_for(inventory.load(path), _Printer(), SystemClock())
    async with asyncio.TaskGroup() as group:
        for link in links:
            group.create_task(link.run())


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
