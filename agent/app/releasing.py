"""Closing NVML for a while, so that a GPU can be reset, and taking it up again: asked for by a signal or by an action.
The newest word counts."""

import asyncio
import logging
from typing import Any

from agent.errors import SourceError
from agent.sources.base import Source

log = logging.getLogger(__name__)

DEADLINE_S = 5.0


class Releasing:
    """Tells `sources` to let go of the devices, or to take them up again."""

    def __init__(self, sources: tuple[Source, ...]) -> None:
        self._sources: tuple[Any, ...] = sources
        self._released = False
        self._changed = asyncio.Event()
        self._waiting: list[tuple[bool, asyncio.Future[bool]]] = []

    def ask(self, released: bool) -> None:
        """Let go, or take up again; soon."""
        self._released = released
        self._changed.set()

    async def done(self, released: bool, deadline_s: float) -> bool:
        """The same, and whether all of them have."""
        heard: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((released, heard))
        self.ask(released)
        try:
            async with asyncio.timeout(deadline_s):
                return await heard
        except TimeoutError:
            return False

    async def run(self) -> None:
        """Obey, for ever."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            wanted, waiting = self._released, self._waiting
            self._waiting = []
            done = await self._tell(wanted)
            for asked, heard in waiting:
                if not heard.done():
                    heard.set_result(done and asked is wanted)

    async def _tell(self, released: bool) -> bool:
        done = True
        for source in self._sources:
            act = getattr(source, "let_go" if released else "resume", None)
            if act is None:
                continue
            try:
                async with asyncio.timeout(DEADLINE_S):
                    await act()
            except (SourceError, TimeoutError) as error:
                done = False
                log.warning("source %s did not %s: %s", source.name, "let go" if released else "resume", error)
        return done
