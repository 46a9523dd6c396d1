"""The agent's side of acting, wired: who asks, what the ledger says, what is told of it."""

from collections.abc import Awaitable, Callable

from agent.actions.base import Hands, Inside
from agent.clock import Clock
from agent.errors import Refusal
from agent.recorder import Recorder
from agent.sampler import FactBook
from agent.server.roles import Caller
from agent.wire.actions import ActAnswer, ActRequest
from agent.wire.requests import Done

NO_HANDS = "this agent has no hands: it was started without actions"


class Acting:
    """`hands` builds what executors act through; None refuses every act."""

    def __init__(
        self,
        clock: Clock,
        recorder: Recorder,
        facts: FactBook,
        *,
        hands: Hands | None,
        let_go: Callable[[bool, float], Awaitable[bool]],
    ) -> None:
        self._recorder = recorder
        self._world = hands(Inside(clock, facts.get, let_go)) if hands else None

    async def act(self, request: ActRequest, caller: Caller) -> ActAnswer | Done:
        """Answer what a console asks of the hands.

        Raises:
            Refusal: it is not done.
        """
        raise Refusal("denied", NO_HANDS)
