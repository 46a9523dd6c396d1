"""Where links deliver in tests: keeps everything, lets a test wait for what must come."""

import asyncio
from collections.abc import Callable
from typing import Any

from agent.wire.frames import Frame
from cockpit.fleet.link_state import LinkState, LinkStatus, Offset


class FakeSink:
    """Remembers frames and statuses per host."""

    def __init__(self) -> None:
        self.got: dict[int, list[Frame]] = {}
        self.statuses: dict[int, list[LinkStatus]] = {}
        self.offsets: dict[int, list[Offset]] = {}
        self.misfit: Exception | None = None

    def frames(self, host: int, frames: list[Frame]) -> None:
        if self.misfit is not None:
            raise self.misfit
        self.got.setdefault(host, []).extend(frames)

    def changed(self, host: int, status: LinkStatus) -> None:
        self.statuses.setdefault(host, []).append(status)

    def measured(self, host: int, offset: Offset) -> None:
        self.offsets.setdefault(host, []).append(offset)

    def of(self, kind: type[Any], host: int = 0) -> list[Any]:
        """All frames of one kind from one host."""
        return [frame for frame in self.got.get(host, []) if isinstance(frame, kind)]

    def states(self, host: int = 0) -> list[LinkState]:
        """The states a link went through."""
        return [status.state for status in self.statuses.get(host, [])]

    async def state(self, state: LinkState, host: int = 0, timeout_s: float = 10.0) -> LinkStatus:
        """Wait until the link is in this state."""
        await self.until(lambda: bool(self.states(host)) and self.states(host)[-1] is state, timeout_s)
        return self.statuses[host][-1]

    async def until(self, claim: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Wait until something is true."""
        try:
            async with asyncio.timeout(timeout_s):
                while not claim():
                    await asyncio.sleep(0.005)
        except TimeoutError:
            raise AssertionError(f"never came true; statuses: {self.statuses}") from None
