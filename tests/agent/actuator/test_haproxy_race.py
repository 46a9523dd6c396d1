"""Must hold whatever the timing: two who drain different servers of a backend at floor + 1 at the same instant are
never both heard, whether they ask one root helper or two."""

import threading
from contextlib import ExitStack

import pytest

from tests.agent.actuator.balancing import Watch, balancer
from tests.fakes.actuator import ActuatorProcess, actuator

TIMES = 100
FLOOR = 2
POLICY = """
[[allow]]
actions = ["haproxy.*"]
socket = "{socket}"
backends = ["llm"]
floor = {floor}
"""


def race(helpers: tuple[ActuatorProcess, ActuatorProcess], number: int) -> list[dict[str, object]]:
    """Both at once; how each ended."""
    ends: dict[int, dict[str, object]] = {}
    start = threading.Barrier(2)

    def drain(caller: int) -> None:
        args = {"lb": "edge", "backend": "llm", "server": f"r{caller + 1}", "floor": FLOOR}
        start.wait()
        ends[caller] = helpers[caller].act("haproxy.drain", args, f"{number:04x}{caller}/1")

    threads = [threading.Thread(target=drain, args=(caller,)) for caller in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [ends[0], ends[1]]


@pytest.mark.parametrize("helpers", [1, 2], ids=["one helper", "two helpers"])
def test_two_drains_at_floor_plus_one_at_the_same_instant_never_go_below_it(helpers: int) -> None:
    with ExitStack() as stack:
        running = stack.enter_context(balancer("r1", "r2", "r3"))
        policy = POLICY.format(socket=running.admin, floor=FLOOR)
        started = [stack.enter_context(actuator(policy)) for _ in range(helpers)]
        pair = (started[0], started[-1])
        winners: list[int] = []
        watch = stack.enter_context(Watch(running))
        for number in range(TIMES):
            for server in ("r1", "r2"):
                running.tell(f"set server llm/{server} state ready")
            ends = race(pair, number)
            assert sorted(str(one["end"]) for one in ends) == ["done", "refused"], (number, ends)
            loser = next(one for one in ends if one["end"] == "refused")
            assert "has 1 ready servers besides" in str(loser["says"]), loser
            assert running.ready() == FLOOR
            winners.append(0 if ends[0]["end"] == "done" else 1)
    assert watch.lowest == FLOOR, f"somebody saw {watch.lowest} ready"
    assert watch.looks > TIMES
    assert len(winners) == TIMES
