"""Requests of one session that wait for their answers. Every one of them ends: with its last frame, refused by the
agent, at its deadline, or with its session.

At most `IN_FLIGHT` are under way, others wait for their turn within their own deadline. Who asked for something to be
written and got no answer is told that it may have been done.
"""

import asyncio
import dataclasses
from collections.abc import Callable

from agent.wire.requests import WRITES, Answer, Refused, Request, Series, since
from cockpit.errors import RequestError

IN_FLIGHT = 4  # what an agent takes of one session at a time
WAITING = 64  # those in flight included: beyond it somebody asks faster than an agent can ever answer
FRAMES = 64  # of one answer: one series per signal and room for a newer minor
_UNKNOWN = "; whether it was done is unknown: look before you say it again"


@dataclasses.dataclass(slots=True)
class _Pending:
    """One request under way and what came of its answer."""

    request: Request
    done: asyncio.Future[tuple[Answer, ...]]
    came: list[Answer] = dataclasses.field(default_factory=list)
    sent: bool = False


class Requests:
    """`host` is named in every sentence; `send` puts a frame on its way and does nothing once the stream is over."""

    def __init__(self, host: str, send: Callable[[Request], None]) -> None:
        self._host = host
        self._send = send
        self._number = 0
        self._waiting = 0
        self._places = asyncio.Semaphore(IN_FLIGHT)
        self._pending: dict[int, _Pending] = {}
        self._over = ""

    async def ask(self, request: Request, timeout_s: float, minor: int) -> tuple[Answer, ...]:
        """All frames of the answer, in order; the id is chosen here. `minor` is the agent's, `timeout_s` real seconds.

        Raises:
            RequestError: refused, not answered in time, or nobody is left who could answer; says which.
        """
        if minor < since(request):
            raise RequestError(
                "too_old", f"{self._host}: its agent is too old for this; update gpu-cockpit-agent there"
            )
        if self._waiting >= WAITING:
            raise RequestError("too_many", f"{self._host}: {WAITING} requests wait already; try again in a moment")
        self._number += 1
        pending = _Pending(dataclasses.replace(request, id=self._number), asyncio.get_running_loop().create_future())
        self._waiting += 1
        try:
            async with asyncio.timeout(timeout_s), self._places:
                return await self._under_way(pending)
        except TimeoutError:
            raise self._unanswered(pending, f"no answer within {timeout_s:.2g} s", "timeout") from None
        finally:
            self._waiting -= 1

    def answered(self, frame: Answer) -> None:
        """A frame of an answer came. One that nobody waits for any more is late, and no news."""
        pending = self._pending.get(frame.id)
        if pending is None or pending.done.done():
            return
        if isinstance(frame, Refused):
            pending.done.set_exception(RequestError(frame.code, f"{self._host}: {frame.says}"))
            return
        pending.came.append(frame)
        if not isinstance(frame, Series) or frame.last:
            pending.done.set_result(tuple(pending.came))
        elif len(pending.came) >= FRAMES:
            says = f"{self._host}: an answer of more than {FRAMES} frames; update gpu-cockpit"
            pending.done.set_exception(RequestError("too_large", says))

    def end(self, why: str) -> None:
        """The session is over: whoever waits is told at once, and so is whoever asks later."""
        self._over = self._over or why
        for pending in self._pending.values():
            if not pending.done.done():
                pending.done.set_exception(self._unanswered(pending, self._over, "lost"))

    async def _under_way(self, pending: _Pending) -> tuple[Answer, ...]:
        if self._over:
            raise self._unanswered(pending, self._over, "lost")
        self._pending[pending.request.id] = pending
        try:
            pending.sent = True
            self._send(pending.request)
            return await pending.done
        finally:
            del self._pending[pending.request.id]

    def _unanswered(self, pending: _Pending, why: str, code: str) -> RequestError:
        doubt = _UNKNOWN if pending.sent and isinstance(pending.request, WRITES) else ""
        return RequestError(code, f"{self._host}: {why}{doubt}")
