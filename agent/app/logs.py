"""Who may be asked for a log: replicas that this host knows, and nothing else.

An agent reads as its own user, so a console names a replica and never a unit: it cannot reach for the log of anything
else through the agent.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from agent.errors import Refusal
from agent.wire.replicas import PREFIX
from agent.wire.requests import Lines, Log

Reader = Callable[[Log, Mapping[str, Any]], Awaitable[Lines]]


class Logs:
    """`replicas` gives the items of the facts section of that name, `read` the lines of one of them."""

    def __init__(self, replicas: Callable[[], Iterable[Mapping[str, Any]] | None], read: Reader) -> None:
        self._replicas = replicas
        self._read = read

    async def ask(self, wish: Log) -> Lines:
        """The newest lines of a replica.

        Raises:
            Refusal: there is no such replica, or nobody keeps its log where it can be read.
        """
        found = {f"{PREFIX}{one.get('id')}": one for one in self._replicas() or ()}
        if wish.subject not in found:
            raise Refusal("unknown", f"this host knows no {wish.subject or 'such replica'}; it may have been retired")
        return await self._read(wish, found[wish.subject])
