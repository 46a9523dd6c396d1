"""container.*: what the runtime shows afterwards counts, and unhealthy is never done."""

import re
from typing import Any

import pytest

from agent.actions.base import Reply
from agent.actions.registry import BY_ID
from agent.errors import Refusal
from agent.wire.actions import ActState
from tests.agent.actions.executors.house import BOOT, WHO, House, act, entry, guards


def _house(comm: str = "python3", **more: Any) -> House:
    house = House()
    box = house.contain("vllm-0", **more)
    house.serve("vllm:8000", engine="vllm", container=box["id"], pids=(box["pid"],))
    if box["pid"]:
        house.processes[box["pid"]]["comm"] = comm
    return house


async def _run(house: House, verb: str, subject: str = "replica:vllm:8000", **params: str) -> Any:
    wish = act(f"container.{verb}", subject, params=params)
    executor = BY_ID[wish.action]
    found = await executor.preflight(wish, WHO, house)
    return await executor.run(wish, WHO, found, house, lambda line: None)


async def test_a_plan_names_the_container_by_name_and_holds_it_by_id_and_start() -> None:
    house = _house()
    wish = act("container.restart", "replica:vllm:8000")
    found = await BY_ID["container.restart"].preflight(wish, WHO, house)
    box = house.containers["vllm-0"]
    assert found.commands == ("container-restart -- vllm-0",)
    assert found.expect == {"boot": BOOT, "id": box["id"], "started_at": box["started_at"]}
    assert found.role == "operator"
    planned = next(asked for asked in house.asked if asked["verb"] == "plan")
    assert planned["args"]["grace_s"] == "10"
    assert not [asked for asked in house.asked if asked["verb"] == "act"]


@pytest.mark.parametrize(
    ("more", "verb", "guard", "says"),
    [
        ({"shell_form": True, "pid": 0}, "restart", "signal", "does not pass SIGTERM on"),
        ({"shell_form": True, "comm": "bash"}, "stop", "signal", "bash -c"),
        ({"stop_signal": "SIGKILL"}, "stop", "signal", "ends at once"),
        ({"restart": "always"}, "stop", "restart-policy", "until docker restarts"),
        ({}, "restart", "health", "no health check"),
        ({}, "restart", "grace", "killed 10 s after SIGTERM"),
    ],
)
async def test_each_trap_of_a_container_is_a_warning(more: dict[str, Any], verb: str, guard: str, says: str) -> None:
    wish = act(f"container.{verb}", "replica:vllm:8000")
    found = await BY_ID[wish.action].preflight(wish, WHO, _house(**more))
    assert not guards(found)[guard].ok
    assert guards(found)[guard].soft
    assert says in guards(found)[guard].says


@pytest.mark.parametrize("more", [{"shell_form": True}, {"shell_form": True, "init": True, "comm": "sh"}, {}])
async def test_what_gets_its_signal_has_no_warning(more: dict[str, Any]) -> None:
    wish = act("container.restart", "replica:vllm:8000", params={"grace_s": "90"})
    found = await BY_ID[wish.action].preflight(wish, WHO, _house(healthcheck=True, **more))
    assert all(guard.ok for guard in found.guards)


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"unit": "vllm@0.service"}, "vllm@0.service runs it: try systemd.*"),
        ({"pod": "p-1", "container": "c" * 64}, "use kubectl"),
        ({"container": "c" * 64}, "neither docker nor podman of this host knows container cccc"),
        ({}, "engine.drain ends it"),
    ],
)
async def test_who_runs_a_replica_without_such_a_container_is_said(facts: dict[str, Any], says: str) -> None:
    house = _house()
    house.serve("llama:8080", **facts)
    with pytest.raises(Refusal, match=re.escape(says)):
        await BY_ID["container.restart"].preflight(act("container.restart", "replica:llama:8080"), WHO, house)


@pytest.mark.parametrize("name", ["-rf", "a b", "a/b", "a;b", "$(x)", "é"])
async def test_a_name_that_could_be_anything_else_is_refused(name: str) -> None:
    with pytest.raises(Refusal, match="is not the name of a container"):
        await BY_ID["container.stop"].preflight(act("container.stop", f"container:{name}"), WHO, _house())


async def test_a_restart_without_health_check_is_done_and_says_what_nobody_knows() -> None:
    result = await _run(_house(), "restart")
    assert result.state is ActState.DONE
    assert "cannot say whether it is healthy" in result.says


async def test_a_restart_waits_until_its_health_check_is_content() -> None:
    house = _house(healthcheck=True, health="healthy")
    house.later(20.0, lambda: house.containers["vllm-0"].update(health="healthy"))
    result = await _run(house, "restart")
    assert result.state is ActState.DONE
    assert "is healthy" in result.says
    assert house.clock.real() >= 70.0


async def test_unhealthy_after_a_restart_is_failed() -> None:
    house = _house(healthcheck=True, health="healthy")
    house.later(20.0, lambda: house.containers["vllm-0"].update(health="unhealthy"))
    result = await _run(house, "restart")
    assert result.state is ActState.FAILED
    assert "unhealthy" in result.says


async def test_health_that_never_comes_is_failed_at_its_deadline() -> None:
    result = await _run(_house(healthcheck=True, health="healthy"), "restart", health_s="30")
    assert result.state is ActState.FAILED
    assert "was not healthy after 30 s" in result.says


async def test_a_container_that_ends_again_is_failed() -> None:
    house = _house()

    def restart(args: Any, say: Any) -> Reply:
        house.clock.move(1.0)
        house._container_start(args, say)
        house.later(2.0, lambda: house.containers["vllm-0"].update(running=False, status="exited", exit_code=1))
        return Reply("done")

    house.jobs["container.restart"] = restart
    result = await _run(house, "restart")
    assert result.state is ActState.FAILED
    assert "exit code 1" in result.says


async def test_success_that_changed_nothing_is_failed() -> None:
    house = _house()
    house.jobs["container.restart"] = lambda args, say: Reply("done")
    assert (await _run(house, "restart")).state is ActState.FAILED


async def test_a_stop_says_whether_it_had_to_be_killed() -> None:
    house = _house()
    assert (await _run(house, "stop")).state is ActState.DONE
    house = _house(exit_code=137)
    result = await _run(house, "stop")
    assert result.state is ActState.DONE
    assert "was killed" in result.says


async def test_a_stop_that_somebody_undoes_is_failed() -> None:
    house = _house()

    def stop(args: Any, say: Any) -> Reply:
        house._container_stop(args, say)
        house.later(1.0, lambda: house._container_start(args, say))
        return Reply("done")

    house.jobs["container.stop"] = stop
    assert (await _run(house, "stop")).state is ActState.FAILED


async def test_stop_and_start_take_each_other_back() -> None:
    house = _house()
    stop, start = act("container.stop", "container:vllm-0"), act("container.start", "container:vllm-0")
    before = (await BY_ID["container.stop"].preflight(stop, WHO, house)).before
    assert BY_ID["container.stop"].inverse(entry(stop, before)) == ("container.start", {})
    assert (await _run(house, "stop", "container:vllm-0")).state is ActState.DONE
    before = (await BY_ID["container.start"].preflight(start, WHO, house)).before
    assert BY_ID["container.start"].inverse(entry(start, before)) == ("container.stop", {})
    assert (await _run(house, "start", "container:vllm-0")).state is ActState.DONE


async def test_what_was_started_anew_since_the_plan_is_refused() -> None:
    house = _house()
    wish = act("container.restart", "container:vllm-0", expect={"started_at": "t1.0"})
    found = await BY_ID["container.restart"].preflight(wish, WHO, house)
    assert not guards(found)["identity"].ok
    with pytest.raises(Refusal, match="started anew"):
        await BY_ID["container.restart"].run(wish, WHO, found, house, lambda line: None)


async def test_a_lost_answer_is_resolved_by_looking() -> None:
    house = _house()
    house.lost = True
    assert (await _run(house, "restart")).state is ActState.DONE
    house = _house()
    house.jobs["container.restart"] = lambda args, say: None
    assert (await _run(house, "restart")).state is ActState.UNKNOWN


async def test_after_a_crash_looking_alone_tells() -> None:
    house = _house()
    wish = act("container.restart", "container:vllm-0")
    executor = BY_ID["container.restart"]
    before = (await executor.preflight(wish, WHO, house)).before
    assert (await executor.settle(entry(wish, before), house)).state is ActState.FAILED
    house.keys[wish.key] = {"state": "begun", "running": False}
    assert (await executor.settle(entry(wish, before), house)).state is ActState.UNKNOWN
    house._container_restart({"container": "vllm-0", "expect": {}}, lambda line: None)
    assert (await executor.settle(entry(wish, before), house)).state is ActState.DONE
    del house.containers["vllm-0"]
    assert (await executor.settle(entry(wish, before), house)).state is ActState.FAILED


async def test_a_lost_restart_that_the_runtime_is_still_at_is_waited_for() -> None:
    house = _house()

    def halfway(args: Any, say: Any) -> None:
        house._container_stop(args, say)
        house.later(8.0, lambda: house._container_start(args, say))

    house.jobs["container.restart"] = halfway
    assert (await _run(house, "restart")).state is ActState.DONE
