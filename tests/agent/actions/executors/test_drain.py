"""engine.drain: SIGTERM to the root process alone, a deadline after it, and nothing that brings it back."""

import re
from typing import Any

import pytest

from agent.actions.base import Reply
from agent.actions.registry import BY_ID
from agent.errors import Refusal
from agent.wire.actions import ActState
from tests.agent.actions.executors.house import BOOT, WHO, House, act, entry, guards

DRAIN = BY_ID["engine.drain"]
UNIT = "vllm@0.service"
SUBJECT = "replica:vllm:8000"


def _house(**facts: Any) -> House:
    house = House()
    house.unit(UNIT, workers=2, KillMode="control-group", Restart="always")
    house.serve("vllm:8000", **{"engine": "vllm", "unit": UNIT, "pids": tuple(house.processes), **facts})
    house.jobs["engine.drain"] = lambda args, say: _ends(house)
    return house


def _ends(house: House, **data: Any) -> Reply:
    house.down(UNIT)
    return Reply("done", data={"killed": False, "took_s": 3.2, **data})


async def _run(house: House, **params: str) -> Any:
    wish = act("engine.drain", SUBJECT, params=params)
    found = await DRAIN.preflight(wish, WHO, house)
    return await DRAIN.run(wish, WHO, found, house, lambda line: None)


async def test_a_plan_says_who_gets_the_signal_what_it_makes_of_it_and_what_follows() -> None:
    house = _house()
    found = await DRAIN.preflight(act("engine.drain", SUBJECT, params={"deadline_s": "30"}), WHO, house)
    assert "SIGTERM to process 5001 (python3) of vllm:8000 alone" in found.effect
    assert "its 3 processes 30 s later is killed" in found.effect
    assert "so that Restart=always does not bring it back" in found.effect
    assert found.undo == ""
    assert found.expect == {"boot": BOOT, "pid": "5001", "started": str(5001 * 7), "invocation": f"{5001:032x}"}
    assert "--shutdown-timeout" in guards(found)["sigterm"].says
    assert not guards(found)["sigterm"].ok
    assert guards(found)["killmode"].ok
    planned = next(asked for asked in house.asked if asked["verb"] == "plan")
    assert planned["args"]["pid"] == "5001"
    assert planned["args"]["unit"] == UNIT


async def test_an_engine_that_finishes_what_it_has_is_no_warning_unless_it_is_paused() -> None:
    house = _house(engine="sglang")
    found = await DRAIN.preflight(act("engine.drain", SUBJECT), WHO, house)
    assert all(guard.ok for guard in found.guards)
    house.serve("vllm:8000", engine="sglang", unit=UNIT, pids=(5001,), phase="paused")
    found = await DRAIN.preflight(act("engine.drain", SUBJECT), WHO, house)
    assert "resume it first" in guards(found)["paused"].says


async def test_done_says_whether_it_ended_by_itself_or_met_its_deadline() -> None:
    result = await _run(_house())
    assert result.state is ActState.DONE
    assert "ended by itself 3.2 s after SIGTERM" in result.says
    house = _house()
    house.jobs["engine.drain"] = lambda args, say: _ends(house, killed=True)
    result = await _run(house, deadline_s="5")
    assert result.state is ActState.DONE
    assert "had not ended 5 s after SIGTERM and was killed" in result.says


async def test_what_is_left_of_it_is_failed_and_named() -> None:
    house = _house()

    def leaves(args: Any, say: Any) -> Reply:
        house.down(UNIT, leave=1)
        return Reply("done")

    house.jobs["engine.drain"] = leaves
    result = await _run(house)
    assert result.state is ActState.FAILED
    assert "pid 5003 still run" in result.says


async def test_what_is_brought_back_is_failed() -> None:
    house = _house()

    def revived(args: Any, say: Any) -> Reply:
        house.later(1.0, lambda: house.up(UNIT))
        return _ends(house)

    house.jobs["engine.drain"] = revived
    result = await _run(house)
    assert result.state is ActState.FAILED
    assert "Restart=always brought it back" in result.says


async def test_a_container_is_ended_through_its_runtime() -> None:
    house = House()
    box = house.contain("vllm-0")
    house.serve("vllm:8000", engine="vllm", container=box["id"], pids=(box["pid"],))

    def stop(args: Any, say: Any) -> Reply:
        assert args["container"] == box["id"]
        assert args["runtime"] == "docker"
        return house._container_stop({"container": "vllm-0"}, say)

    house.jobs["engine.drain"] = stop
    assert (await _run(house)).state is ActState.DONE


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"pod": "p"}, "use kubectl"),
        ({"pids": (), "state": "down", "says": "its process is gone"}, "no process that can be seen"),
        ({"pids": (77,)}, "process 77 of vllm:8000 has just ended"),
        ({"container": "c" * 64}, "neither docker nor podman"),
    ],
)
async def test_what_is_not_ours_to_end_is_refused(facts: dict[str, Any], says: str) -> None:
    with pytest.raises(Refusal, match=re.escape(says)):
        await DRAIN.preflight(act("engine.drain", SUBJECT), WHO, _house(**facts))


async def test_another_process_than_planned_is_refused() -> None:
    house = _house()
    found = await DRAIN.preflight(act("engine.drain", SUBJECT, expect={"started": "1"}), WHO, house)
    assert not guards(found)["identity"].ok


async def test_after_a_crash_looking_alone_tells() -> None:
    house = _house()
    wish = act("engine.drain", SUBJECT)
    before = (await DRAIN.preflight(wish, WHO, house)).before
    assert (await DRAIN.settle(entry(wish, before), house)).state is ActState.FAILED
    house.keys[wish.key] = {"state": "begun", "running": False}
    assert (await DRAIN.settle(entry(wish, before), house)).state is ActState.UNKNOWN
    house.down(UNIT)
    assert (await DRAIN.settle(entry(wish, before), house)).state is ActState.DONE
    assert DRAIN.inverse(entry(wish, before)) is None
