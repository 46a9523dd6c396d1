"""Streams through a bastion that nobody leaks: an open that is given up is closed when the bastion gets to it at last.

asyncssh forgets a channel whose open was cancelled; confirmed later, it would hold a login slot of the host's sshd
until that loses patience (120 s), and a few of those refuse everybody. SSH cannot take an open back, so every one that
was given up occupies a socket of the bastion until its kernel gives up; their number is bounded. That kernel goes on
knocking for each of them: the first that gets through tells that the host is back.
"""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import asyncssh

GIVEN_UP = 200  # at a time and bastion: its sshd has 1,024 descriptors for all hosts behind it
answered: ContextVar[Callable[[], None] | None] = ContextVar("answered", default=None)  # told when one gets through
_COUNT = "gpu_cockpit_given_up"


async def opened(bastion: asyncssh.SSHClientConnection, factory: Callable[[], Any], host: str, port: int) -> Any:
    """Channel and protocol of a stream to `host`, as `create_connection` makes them; may be cancelled at any time.

    Raises:
        asyncssh.ChannelOpenError: refused, or too many that were given up are still under way.
        OSError: the bastion is gone.
    """
    if _given_up(bastion) >= GIVEN_UP:
        raise asyncssh.ChannelOpenError(
            asyncssh.OPEN_RESOURCE_SHORTAGE, f"{GIVEN_UP} opens to silent hosts are still under way there"
        )
    opening = _Opening(bastion, factory)
    bastion.create_task(opening.run(host, port))
    try:
        return await opening.made
    except asyncio.CancelledError:
        if opening.made.cancelled():
            _count(bastion, +1)
        raise


class _Opening:
    """One open; `made` is cancelled if nobody waits for it any more."""

    def __init__(self, bastion: asyncssh.SSHClientConnection, factory: Callable[[], Any]) -> None:
        self.made: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._bastion = bastion
        self._factory = factory
        self._answered = answered.get()

    async def run(self, host: str, port: int) -> None:
        try:
            channel, session = await self._bastion.create_connection(self._protocol, host, port)
        except (OSError, asyncssh.Error) as error:
            if not self.made.done():
                self.made.set_exception(error)
        else:
            if self.made.done():
                channel.abort()
                if self._answered is not None:
                    self._answered()
            else:
                self.made.set_result((channel, session))
        finally:
            if self.made.cancelled():
                _count(self._bastion, -1)

    def _protocol(self) -> Any:
        return asyncssh.SSHTCPSession() if self.made.cancelled() else self._factory()


def _given_up(bastion: asyncssh.SSHClientConnection) -> int:
    return int(bastion.get_extra_info(_COUNT, 0))


def _count(bastion: asyncssh.SSHClientConnection, change: int) -> None:
    bastion.set_extra_info(**{_COUNT: _given_up(bastion) + change})
