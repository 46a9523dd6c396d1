"""Answers what cockpits ask for beside the stream: the past, the journal, annotations, a replica's log. One answer for
each request.

A session hands a request over and is called back with encoded frames; what goes wrong becomes a `Refused`, never the
end of a session. Everything has a deadline: a disk that does not answer costs the question, not the asker.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from agent.errors import Refusal
from agent.recorder import Recorder
from agent.server.roles import Caller
from agent.wire import limits
from agent.wire.actions import ActAnswer, ActRequest
from agent.wire.codec import encode
from agent.wire.errors import WireError
from agent.wire.frames import Gap
from agent.wire.requests import Annotate, Answer, Done, History, Journal, Lines, Log, Refused, Request, Series
from agent.wire.specs import Event

log = logging.getLogger(__name__)

IN_FLIGHT = 4  # requests of one session
ALL_IN_FLIGHT = 64  # of all sessions
DEADLINE_S = 4.5  # a cockpit waits 5 s
BEHIND = 500  # events at a time for a session that is behind what memory holds

Answered = Callable[[list[bytes]], None]
Behind = tuple[tuple[Event, ...], tuple[Gap, ...]]


@dataclass(slots=True)
class Desk:
    """`history`, `annotate`, `log` and `act` do the work; None where there is nothing to ask."""

    recorder: Recorder
    history: Callable[[History], Awaitable[tuple[Series, ...]]] | None = None
    annotate: Callable[[Annotate, Caller], Awaitable[Done]] | None = None
    log: Callable[[Log], Awaitable[Lines]] | None = None
    act: Callable[[ActRequest, Caller], Awaitable[ActAnswer | Done]] | None = None
    _group: asyncio.TaskGroup | None = None
    _open: int = 0

    async def run(self) -> None:
        """Answer until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                await asyncio.Event().wait()
        finally:
            self._group = None

    def take(self, request: Request, caller: Caller, answered: Answered) -> None:
        """Answer this; `answered` is called once, later, in the loop."""
        if self._group is None or self._open >= ALL_IN_FLIGHT:
            answered([refusal(request.id, "too_many", "the agent is busy with other questions; ask again in a moment")])
            return
        self._open += 1
        self._group.create_task(self._answer(request, caller, answered), name=f"request:{request.KIND.name.lower()}")

    def behind(self, seq: int, answered: Callable[[Behind | None], None]) -> None:
        """Some events behind number `seq` from the journal; None if it cannot be read."""
        if self._group is None:
            answered(None)
        else:
            self._group.create_task(self._behind(seq, answered), name="behind")

    async def _behind(self, seq: int, answered: Callable[[Behind | None], None]) -> None:
        found = None
        try:
            async with asyncio.timeout(DEADLINE_S):
                found = await self.recorder.after(seq, BEHIND)
        except TimeoutError:
            log.warning("the journal did not answer within %g s", DEADLINE_S)
        except Exception:  # as for a question: to this session it is a gap
            log.exception("the journal could not be read")
        answered(found)

    async def _answer(self, request: Request, caller: Caller, answered: Answered) -> None:
        try:
            async with asyncio.timeout(DEADLINE_S):
                frames = [encode(frame) for frame in await self._frames(request, caller)]
        except Refusal as no:
            frames = [refusal(request.id, no.code, str(no))]
        except TimeoutError:
            frames = [
                refusal(request.id, "not_recorded", f"the disk did not answer within {DEADLINE_S:g} s; ask again")
            ]
        except WireError as error:
            frames = [refusal(request.id, "too_large", f"the answer is too large ({error}); ask for less")]
        except Exception as error:  # a question must not end what everybody else lives on
            log.exception("a request failed")
            says = f"the agent failed to answer ({type(error).__name__}); its log has the details"
            frames = [refusal(request.id, "not_recorded", says)]
        finally:
            self._open -= 1
        answered(frames)

    async def _frames(self, request: Request, caller: Caller) -> tuple[Answer, ...]:
        if isinstance(request, Journal):
            return (await self.recorder.page(request),)
        if isinstance(request, Annotate):
            if self.annotate is None:
                raise Refusal("not_recorded", "this agent keeps no annotations")
            return (await self.annotate(request, caller),)
        if isinstance(request, Log):
            if self.log is None:
                raise Refusal("not_recorded", "this agent knows no logs of replicas")
            return (await self.log(request),)
        if not isinstance(request, History):
            if self.act is None:
                raise Refusal("denied", "this agent has no hands: it was started without actions")
            return (await self.act(request, caller),)
        if self.history is None:
            raise Refusal("not_recorded", "this agent records no history")
        return await self.history(request)


def refusal(request: int, code: str, says: str) -> bytes:
    """An encoded `Refused`."""
    return encode(Refused(request, code[:32], says[: limits.TEXT]))
