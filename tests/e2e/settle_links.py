"""Run where the operator sits: keeps the links of a fleet file until each is live or says why not, and then a while.

`settle_links FLEET HOLD_S CONNECT_S` prints one JSON object: host -> {"state", "says", "hint", "hop", "states", "took",
"calm"}; `took` is in seconds until it settled, `calm` whether it stayed as it was. CONNECT_S is what a login may take.
"""

import asyncio
import json
import sys
import time
from typing import Any

from agent.wire.frames import Frame, Sample
from cockpit import inventory
from cockpit.clock import SystemClock
from cockpit.fleet.link_state import LinkState, LinkStatus
from cockpit.link import Timing, links_for

_LIMIT_S = 20.0


class _Ledger:
    """What became of each link. A live one has settled when a sample has come."""

    def __init__(self, hosts: int) -> None:
        self.statuses: list[list[LinkStatus]] = [[] for _ in range(hosts)]
        self.took: dict[int, float] = {}
        self.settled = asyncio.Event()
        self._began = time.monotonic()

    def frames(self, host: int, frames: list[Frame]) -> None:
        if host not in self.took and any(isinstance(frame, Sample) for frame in frames):
            self._settle(host)

    def changed(self, host: int, status: LinkStatus) -> None:
        self.statuses[host].append(status)
        if host not in self.took and status.state not in (LinkState.CONNECTING, LinkState.LIVE):
            self._settle(host)

    def measured(self, host: int, offset: object) -> None:
        """Clocks are not judged here."""

    def of(self, host: int, calm: bool) -> dict[str, Any]:
        last = self.statuses[host][-1]
        return {
            "state": last.state,
            "says": last.says,
            "hint": last.hint,
            "hop": last.hop,
            "states": [status.state for status in self.statuses[host]],
            "took": self.took.get(host),
            "calm": calm,
        }

    def _settle(self, host: int) -> None:
        self.took[host] = time.monotonic() - self._began
        if len(self.took) == len(self.statuses):
            self.settled.set()


async def _main(path: str, hold_s: float, connect_s: float) -> None:
    fleet = inventory.load(path)
    ledger = _Ledger(len(fleet.hosts))
    links = links_for(fleet, ledger, SystemClock(), Timing(connect_s=connect_s))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(link.run()) for link in links]
        try:
            async with asyncio.timeout(_LIMIT_S):
                await ledger.settled.wait()
        except TimeoutError:
            pass
        settled = [statuses[-1].state for statuses in ledger.statuses]
        await asyncio.sleep(hold_s)
        calm = [state is link.status.state for state, link in zip(settled, links, strict=True)]
        found = {entry.name: ledger.of(host, calm[host]) for host, entry in enumerate(fleet.hosts)}
        for task in tasks:
            task.cancel()
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])))
