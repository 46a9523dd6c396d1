"""The screens on a real terminal, watched from within: `python -m tests.tui.watched FLEET LOG` runs them as the command
does and writes a JSON line to LOG every 50 ms, from the loop that draws: the time, hosts that are live, events and
findings known. A loop that stands still leaves a hole between two lines.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from cockpit import inventory
from cockpit.clock import SystemClock
from cockpit.tui import run_tui
from cockpit.tui.late import LateFeed

BEAT_S = 0.05


def main(fleet: str, log: str, *keys: str) -> int:
    """Runs until the operator leaves."""
    hosts, clock = inventory.load(fleet), SystemClock()

    def feed() -> Any:
        from cockpit.runtime import Runtime  # after the first paint, as the command does it

        class Watched(Runtime):
            async def run(self) -> None:
                async with asyncio.TaskGroup() as group:
                    group.create_task(beat(self, out))
                    await super().run()

        return Watched(hosts, clock)

    with Path(log).open("w", buffering=1) as out:
        return run_tui(LateFeed(clock, len(hosts.hosts), feed))


async def beat(runtime: Any, out: TextIO) -> None:
    """One line now and then, until cancelled."""
    while True:
        fleet = runtime.fleet
        line = {
            "at": time.monotonic(),
            "live": sum(host.live for host in fleet.hosts),
            "events": len(fleet.events),
            "findings": len(fleet.findings()),
        }
        out.write(json.dumps(line) + "\n")
        await asyncio.sleep(BEAT_S)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
