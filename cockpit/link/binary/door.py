"""Who may log in at one sshd now: as many as it bears, or one after the other where that spares questions.

Behind a connection that the user's ssh shares, whoever waits for the first login needs none of their own.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cockpit.link.gate import PER_SSHD


class Door:
    """One sshd. `careful`: one login at a time."""

    def __init__(self, *, careful: bool) -> None:
        self.careful = careful
        self._alone = asyncio.Lock()
        self._places = asyncio.Semaphore(PER_SSHD)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place for one login."""
        async with self._alone:
            if self.careful:
                yield
                return
        async with self._places:
            yield
