"""A line on standard error that says how far a command has come, once it takes longer than a second; on a terminal
only, gone when the answer comes, and silent while the operator is asked something."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TextIO

from cockpit.clock import Clock

FIRST_S = 1.0
EVERY_S = 0.5
_ERASE = "\r\x1b[K"


class Progress:
    """`said` is how far it is, `asked_s` grows while somebody is asked."""

    def __init__(
        self, clock: Clock, out: TextIO, said: Callable[[], str], asked_s: Callable[[], float] | None = None
    ) -> None:
        self._clock = clock
        self._out = out
        self._said = said
        self._asked_s = asked_s or (lambda: 0.0)
        self._shown = False

    async def run(self) -> None:
        """Draw until cancelled."""
        if not self._out.isatty():
            return
        began = self._clock.real()
        asked = self._asked_s()
        await self._clock.sleep(FIRST_S)
        while True:
            if self._asked_s() == asked:
                self._draw(f"{self._said()}, {self._clock.real() - began:.0f} s ...")
            asked = self._asked_s()
            await self._clock.sleep(EVERY_S)

    def clear(self) -> None:
        """Wipe it away."""
        if self._shown:
            self._shown = False
            self._out.write(_ERASE)
            self._out.flush()

    def _draw(self, text: str) -> None:
        self._shown = True
        self._out.write(f"{_ERASE}gpu-cockpit: {text}")
        self._out.flush()


@asynccontextmanager
async def beside(
    clock: Clock, out: TextIO, said: Callable[[], str], asked_s: Callable[[], float] | None = None
) -> AsyncIterator[Progress]:
    """A line that is drawn while the block runs, and gone behind it."""
    progress = Progress(clock, out, said, asked_s)
    async with asyncio.TaskGroup() as group:
        drawing = group.create_task(progress.run())
        try:
            yield progress
        finally:
            drawing.cancel()
            progress.clear()
