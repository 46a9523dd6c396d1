"""The real world: engines are asked through the source that reads them, and a simulated host never gets it."""

from typing import Any

import pytest

from agent.actions.base import Inside
from agent.actions.real.world import RealWorld, hands
from agent.clock import SystemClock
from agent.config import HostIdentity
from agent.engines.answer import Answer, Failure
from tests.agent.actions.executors.house import House


class Doors:
    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str, bytes, float]] = []

    async def post(self, identity: str, path: str, body: bytes, deadline_s: float) -> Answer:
        self.asked.append((identity, path, body, deadline_s))
        return self.answer


def _world(answer: Answer) -> tuple[RealWorld, Doors]:
    async def let_go(released: bool, deadline_s: float) -> bool:
        return released

    doors = Doors(answer)
    facts: dict[str, Any] = {"boot": {"id": "b"}}
    return RealWorld(Inside(SystemClock(), facts.get, let_go), House(), doors), doors


async def test_an_answer_is_its_status_and_text() -> None:
    world, doors = _world(Answer(200, b'{"status":"paused"}'))
    assert await world.post("vllm:8000", "/pause?mode=wait", b"{}", 9.0) == (200, '{"status":"paused"}')
    assert doors.asked == [("vllm:8000", "/pause?mode=wait", b"{}", 9.0)]
    assert world.facts("boot") == {"id": "b"}
    assert await world.let_go(True, 1.0)


@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        (Failure.TIMEOUT, TimeoutError),
        (Failure.REFUSED, ConnectionRefusedError),
        (Failure.DENIED, ConnectionError),
        (Failure.TLS, ConnectionError),
    ],
)
async def test_what_is_no_answer_is_raised(failure: Failure, raised: type[Exception]) -> None:
    world, _ = _world(Answer(failure=failure, says="why"))
    with pytest.raises(raised):
        await world.post("vllm:8000", "/pause")


def test_a_simulated_host_gets_no_real_hands() -> None:
    doors = Doors(Answer())
    with pytest.raises(ValueError, match="node-01 is a simulated host"):
        hands(HostIdentity("h", "node-01", "b", simulated=True), doors)
    assert hands(HostIdentity("h", "node-01", "b"), doors)
