"""How long a replica needs to end well follows from what its requests took, and is said where less is given."""

from typing import Any

import pytest

from agent.actions.patience import needs_s
from agent.actions.registry import BY_ID
from agent.wire.histogram import Histogram
from agent.wire.replicas import ReplicaFacts
from agent.wire.shape import pack
from tests.agent.actions.executors.house import WHO, House, act, guards

UNIT = "vllm@0.service"
SLOW = pack(Histogram((1.0, 60.0, 120.0, 240.0), (10.0, 50.0, 99.0, 100.0), 100.0))
QUICK = pack(Histogram((1.0, 2.0), (99.0, 100.0), 100.0))


def _house(e2e: Any, **props: str) -> House:
    house = House()
    house.unit(UNIT, **props)
    house.serve("r", engine="sglang", unit=UNIT, pids=tuple(house.processes))
    house.told["latencies"] = {"r": {"e2e": e2e, "at": 0.0}}
    return house


@pytest.mark.parametrize(
    ("e2e", "seconds"),
    [(SLOW, 135.0), (QUICK, 25.0), ("garbage", 25.0), (pack(Histogram((), (), 3.0)), 25.0)],
)
def test_what_is_needed_is_the_longest_request_and_the_teardown(e2e: Any, seconds: float) -> None:
    found, why = needs_s(ReplicaFacts("r"), _house(e2e))
    assert found == seconds
    assert why


def test_what_serves_nobody_needs_nothing_and_what_says_nothing_the_least() -> None:
    assert needs_s(None, House()) == (0.0, "")
    assert needs_s(ReplicaFacts("r"), House())[0] == 25.0


async def test_a_unit_that_is_killed_before_its_longest_requests_end_is_warned_of() -> None:
    wish = act("systemd.stop", "replica:r")
    found = await BY_ID["systemd.stop"].preflight(wish, WHO, _house(SLOW))
    assert "kills it 90 s after SIGTERM" in guards(found)["stop-timeout"].says
    assert "took 120 s in the last minute" in guards(found)["stop-timeout"].says
    found = await BY_ID["systemd.stop"].preflight(wish, WHO, _house(QUICK))
    assert "stop-timeout" not in guards(found)


async def test_a_deadline_before_its_longest_requests_end_is_warned_of() -> None:
    found = await BY_ID["engine.drain"].preflight(act("engine.drain", "replica:r"), WHO, _house(SLOW))
    assert "it is killed 60 s after SIGTERM: its longest requests" in guards(found)["deadline"].says
    wish = act("engine.drain", "replica:r", params={"deadline_s": "3m"})
    found = await BY_ID["engine.drain"].preflight(wish, WHO, _house(SLOW))
    assert "deadline" not in guards(found)


async def test_other_replicas_of_its_unit_and_a_deaf_shell_are_warned_of() -> None:
    house = _house(QUICK)
    house.serve("r2", unit=UNIT, pids=(99,))
    found = await BY_ID["engine.drain"].preflight(act("engine.drain", "replica:r"), WHO, house)
    assert "also runs r2" in guards(found)["shared"].says
    box = house.contain("v-0", shell_form=True)
    house.processes[box["pid"]]["comm"] = "sh"
    house.serve("r", engine="sglang", container=box["id"], pids=(box["pid"],))
    found = await BY_ID["engine.drain"].preflight(act("engine.drain", "replica:r"), WHO, house)
    assert not guards(found)["signal"].ok
