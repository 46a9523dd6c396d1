"""systemd.*: the plan says what will be lost, and only what the world shows afterwards counts as done."""

import re
from typing import Any

import pytest

from agent.actions.base import Reply
from agent.actions.registry import BY_ID
from agent.errors import Refusal
from agent.wire.actions import ActState
from tests.agent.actions.executors.house import BOOT, WHO, House, act, entry, guards

UNIT = "vllm@0.service"


def _house(**props: str) -> House:
    house = House()
    house.unit(UNIT, workers=2, **props)
    house.serve("vllm:8000", engine="vllm", unit=UNIT, pids=tuple(house.processes), state="ready")
    return house


async def _run(house: House, verb: str, subject: str = "replica:vllm:8000", **more: Any) -> Any:
    wish = act(f"systemd.{verb}", subject, **more)
    executor = BY_ID[wish.action]
    found = await executor.preflight(wish, WHO, house)
    return await executor.run(wish, WHO, found, house, lambda line: None)


async def test_a_plan_has_commands_guards_and_what_it_costs_and_changes_nothing() -> None:
    house = _house(KillMode="control-group")
    found = await BY_ID["systemd.restart"].preflight(act("systemd.restart", "replica:vllm:8000"), WHO, house)
    assert found.commands == ("systemd-restart -- vllm@0.service",)
    assert "3 processes of vllm@0.service" in found.effect
    assert found.undo == ""
    assert found.expect == {"boot": BOOT, "invocation": f"{5001:032x}", "pid": "5001"}
    assert not guards(found)["killmode"].ok
    assert guards(found)["killmode"].soft
    assert "KillMode=mixed" in guards(found)["killmode"].says
    assert guards(found)["policy"].ok
    assert found.role == "operator"
    assert not [asked for asked in house.asked if asked["verb"] == "act"]


@pytest.mark.parametrize(
    ("props", "guard", "says"),
    [
        ({"KillMode": "process"}, "killmode", "leaves its workers behind"),
        ({"KillMode": "none"}, "killmode", "stops none of its processes"),
        ({"TimeoutStopUSec": "10s"}, "stop-timeout", "kills it 10 s after SIGTERM"),
        ({"TimeoutStopUSec": "infinity"}, "stop-timeout", "waits for ever"),
        ({"TimeoutStopUSec": "5min"}, "stop-timeout", "may take 300 s"),
        ({"NeedDaemonReload": "yes"}, "daemon-reload", "systemctl daemon-reload"),
    ],
)
async def test_each_trap_of_a_unit_is_a_warning(props: dict[str, str], guard: str, says: str) -> None:
    found = await BY_ID["systemd.restart"].preflight(act("systemd.restart", f"unit:{UNIT}"), WHO, _house(**props))
    if guard == "stop-timeout" and props["TimeoutStopUSec"] == "10s":  # only what serves needs more
        found = await BY_ID["systemd.restart"].preflight(
            act("systemd.restart", "replica:vllm:8000"), WHO, _house(**props)
        )
    assert not guards(found)[guard].ok
    assert guards(found)[guard].soft
    assert says in guards(found)[guard].says


async def test_a_sound_unit_has_no_warning() -> None:
    found = await BY_ID["systemd.restart"].preflight(act("systemd.restart", "replica:vllm:8000"), WHO, _house())
    assert all(guard.ok for guard in found.guards)


async def test_what_policy_role_tool_and_helper_forbid_are_guards() -> None:
    house = _house()
    house.denied, house.missing = "no rule names vllm@0.service; ask who keeps policy.toml", "systemctl"
    wish = act("systemd.restart", "replica:vllm:8000")
    found = await BY_ID["systemd.restart"].preflight(wish, WHO, house)
    assert not guards(found)["policy"].ok
    assert not guards(found)["policy"].soft
    assert not guards(found)["tool"].ok
    assert found.role == ""
    house.denied, house.needs = "", "admin"
    assert (await BY_ID["systemd.restart"].preflight(wish, WHO, house)).role == "admin"
    house.absent = "no root helper listens"
    with pytest.raises(Refusal, match="it cannot be looked at: no root helper listens"):
        await BY_ID["systemd.restart"].preflight(wish, WHO, house)


@pytest.mark.parametrize(
    ("subject", "says"),
    [
        ("replica:none", "there is no replica 'none' on this host now; it has vllm:8000"),
        ("gpu:GPU-1", "systemd.restart is for replica, unit"),
        ("unit:nosuch.service", "systemd knows no unit nosuch.service"),
        ("unit:vllm@.service", "is a template"),
        ("unit:-f.service", "is not the name of a service"),
        ("unit:a b.service", "is not the name of a service"),
        ("unit:ssh.socket", "is not the name of a service"),
        ("unit:gpu-cockpit-agent.service", "this tool itself"),
    ],
)
async def test_what_cannot_be_meant_is_refused(subject: str, says: str) -> None:
    with pytest.raises(Refusal, match=re.escape(says)):
        await BY_ID["systemd.restart"].preflight(act("systemd.restart", subject), WHO, _house())


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"container": "c" * 64}, "try container.*"),
        ({"job": "77"}, "job 77 runs it"),
        ({"user": "bob", "pids": (42,)}, "started by hand by bob (pid 42)"),
        ({"unit": "session-3.scope", "pids": (42,)}, "in the session session-3.scope"),
    ],
)
async def test_who_owns_a_replica_without_a_unit_is_said(facts: dict[str, Any], says: str) -> None:
    house = _house()
    house.serve("llama:8080", **facts)
    with pytest.raises(Refusal, match=re.escape(says)):
        await BY_ID["systemd.restart"].preflight(act("systemd.restart", "replica:llama:8080"), WHO, house)


async def test_the_agents_own_unit_is_known_by_its_pid_whatever_its_name() -> None:
    house = _house()
    house.told["agent"] = {"pid": int(house.units[UNIT]["MainPID"])}
    with pytest.raises(Refusal, match="runs this agent"):
        await BY_ID["systemd.stop"].preflight(act("systemd.stop", f"unit:{UNIT}"), WHO, house)


async def test_masked_and_unreloadable_units_are_refused() -> None:
    with pytest.raises(Refusal, match="systemctl unmask"):
        await _run(_house(LoadState="masked"), "restart", f"unit:{UNIT}")
    with pytest.raises(Refusal, match="no ExecReload="):
        await _run(_house(), "reload", f"unit:{UNIT}")


async def test_a_unit_that_runs_several_replicas_says_so() -> None:
    house = _house()
    house.serve("vllm:8001", unit=UNIT, pids=(77,))
    found = await BY_ID["systemd.stop"].preflight(act("systemd.stop", "replica:vllm:8000"), WHO, house)
    assert "also runs vllm:8001" in guards(found)["shared"].says


async def test_a_restart_is_done_when_another_invocation_stays_up() -> None:
    result = await _run(_house(), "restart")
    assert result.state is ActState.DONE
    assert "runs anew as pid 5004" in result.says


async def test_a_unit_that_goes_active_and_falls_two_seconds_later_is_failed() -> None:
    house = _house()

    def restart(args: Any, say: Any) -> Reply:
        house.down(UNIT)
        house.up(UNIT)
        house.later(2.0, lambda: house.down(UNIT, "failed"))
        return Reply("done")

    house.jobs["systemd.restart"] = restart
    result = await _run(house, "restart")
    assert result.state is ActState.FAILED
    assert "is failed" in result.says


async def test_a_unit_that_restarts_itself_in_between_is_failed() -> None:
    house = _house()

    def restart(args: Any, say: Any) -> Reply:
        house.down(UNIT)
        house.up(UNIT)
        house.later(1.0, lambda: (house.down(UNIT), house.up(UNIT), house.units[UNIT].update(NRestarts="1")))
        return Reply("done")

    house.jobs["systemd.restart"] = restart
    result = await _run(house, "restart")
    assert result.state is ActState.FAILED
    assert "does not stay up" in result.says


async def test_success_that_changed_nothing_is_failed() -> None:
    house = _house()
    house.jobs["systemd.restart"] = lambda args, say: Reply("done")
    result = await _run(house, "restart")
    assert result.state is ActState.FAILED
    assert "still the same invocation" in result.says


async def test_workers_that_stay_behind_are_failed_and_named() -> None:
    house = _house(KillMode="process")

    def stop(args: Any, say: Any) -> Reply:
        house.down(UNIT, leave=2)
        return Reply("done")

    house.jobs["systemd.stop"] = stop
    result = await _run(house, "stop")
    assert result.state is ActState.FAILED
    assert "pid 5002, 5003" in result.says
    assert "process.stop" in result.says


async def test_a_stop_that_is_revived_is_failed() -> None:
    house = _house()

    def stop(args: Any, say: Any) -> Reply:
        house.down(UNIT)
        house.later(1.0, lambda: house.up(UNIT))
        return Reply("done")

    house.jobs["systemd.stop"] = stop
    assert (await _run(house, "stop")).state is ActState.FAILED


async def test_a_stop_and_a_start_take_each_other_back() -> None:
    house = _house()
    stop, start = act("systemd.stop", f"unit:{UNIT}"), act("systemd.start", f"unit:{UNIT}")
    before = (await BY_ID["systemd.stop"].preflight(stop, WHO, house)).before
    assert BY_ID["systemd.stop"].inverse(entry(stop, before)) == ("systemd.start", {})
    noop = await BY_ID["systemd.start"].preflight(start, WHO, house)
    assert BY_ID["systemd.start"].inverse(entry(start, noop.before)) is None
    assert "nothing changes" in noop.effect
    assert (await _run(house, "stop")).state is ActState.DONE
    before = (await BY_ID["systemd.start"].preflight(start, WHO, house)).before
    assert BY_ID["systemd.start"].inverse(entry(start, before)) == ("systemd.stop", {})
    assert (await _run(house, "start")).state is ActState.DONE
    assert BY_ID["systemd.restart"].inverse(entry(start, before)) is None


async def test_a_reload_must_leave_the_same_invocation() -> None:
    house = _house(CanReload="yes")
    assert (await _run(house, "reload")).state is ActState.DONE

    def restarts(args: Any, say: Any) -> Reply:
        house.down(UNIT)
        house.up(UNIT)
        return Reply("done")

    house.jobs["systemd.reload"] = restarts
    assert (await _run(house, "reload")).state is ActState.FAILED


async def test_what_was_restarted_since_the_plan_is_refused_by_guard_and_by_the_helper() -> None:
    house = _house()
    wish = act("systemd.restart", f"unit:{UNIT}", expect={"invocation": "f" * 32})
    found = await BY_ID["systemd.restart"].preflight(wish, WHO, house)
    assert not guards(found)["identity"].ok
    assert "invocation" in guards(found)["identity"].says
    with pytest.raises(Refusal, match="was started anew since") as caught:
        await BY_ID["systemd.restart"].run(wish, WHO, found, house, lambda line: None)
    assert caught.value.code == "gone"


async def test_a_lost_answer_is_resolved_by_looking() -> None:
    house = _house()
    house.lost = True
    assert (await _run(house, "restart")).state is ActState.DONE  # it happened, and the world shows it
    house = _house()
    house.jobs["systemd.restart"] = lambda args, say: None
    result = await _run(house, "restart")
    assert result.state is ActState.UNKNOWN
    assert "as it was so far" in result.says


async def test_a_helper_that_is_not_there_refuses_and_nothing_was_done() -> None:
    house = _house()
    wish = act("systemd.restart", f"unit:{UNIT}")
    found = await BY_ID["systemd.restart"].preflight(wish, WHO, house)
    house.absent = "no root helper listens on /run/gpu-cockpit-actuator.sock; install gpu-cockpit-actuator"
    with pytest.raises(Refusal, match="nothing was done"):
        await BY_ID["systemd.restart"].run(wish, WHO, found, house, lambda line: None)


async def test_after_a_crash_looking_alone_tells() -> None:
    house = _house()
    wish = act("systemd.restart", f"unit:{UNIT}")
    executor = BY_ID["systemd.restart"]
    before = (await executor.preflight(wish, WHO, house)).before
    assert (await executor.settle(entry(wish, before), house)).state is ActState.FAILED  # never begun
    house.keys[wish.key] = {"state": "begun", "running": True}
    assert (await executor.settle(entry(wish, before), house)).state is ActState.UNKNOWN
    house.keys[wish.key] = {"state": "begun", "running": False}
    assert (await executor.settle(entry(wish, before), house)).state is ActState.UNKNOWN
    house.down(UNIT)
    house.up(UNIT)
    assert (await executor.settle(entry(wish, before), house)).state is ActState.DONE
    assert not [asked for asked in house.asked if asked["verb"] == "act"]


async def test_what_takes_long_says_how_it_stands_meanwhile() -> None:
    house = _house()
    house.takes_s = 12.0
    lines: list[str] = []
    wish = act("systemd.stop", f"unit:{UNIT}")
    found = await BY_ID["systemd.stop"].preflight(wish, WHO, house)
    result = await BY_ID["systemd.stop"].run(wish, WHO, found, house, lines.append)
    assert result.state is ActState.DONE
    told = [line for line in lines if line.startswith("after ")]
    assert told
    assert told[0].endswith("s: vllm@0.service is active (running)")


async def test_a_lost_answer_to_what_takes_long_is_still_one_error() -> None:
    house = _house()
    house.takes_s, house.lost = 6.0, True
    assert (await _run(house, "restart")).state is ActState.DONE
    house.lost, house.denied = False, "no rule"
    with pytest.raises(Refusal, match="no rule"):
        await _run(house, "restart")


async def test_a_replica_whose_port_somebody_else_took_is_failed() -> None:
    house = _house()
    thief = house.spawn(unit="other.service")

    def restart(args: Any, say: Any) -> Reply:
        house.down(UNIT)
        house.up(UNIT)
        house.later(1.0, lambda: house.serve("vllm:8000", engine="vllm", unit="other.service", pids=(thief,)))
        return Reply("done")

    house.jobs["systemd.restart"] = restart
    result = await _run(house, "restart")
    assert result.state is ActState.FAILED
    assert f"is process {thief} of other.service now: it has taken the port" in result.says


@pytest.mark.parametrize(("ends_s", "state"), [(12.0, ActState.DONE), (600.0, ActState.UNKNOWN)])
async def test_a_lost_stop_that_systemd_is_still_at_is_waited_for_and_never_called_failed(
    ends_s: float, state: ActState
) -> None:
    house = _house()

    def hangs(args: Any, say: Any) -> None:
        house.units[UNIT] |= {"ActiveState": "deactivating", "SubState": "stop-sigterm", "Job": "77"}
        house.later(ends_s, lambda: (house.down(UNIT), house.units[UNIT].update(Job="")))

    house.jobs["systemd.stop"] = hangs
    result = await _run(house, "stop")
    assert result.state is state, result


async def test_a_restart_whose_helper_and_agent_died_has_not_failed_while_systemd_is_at_it() -> None:
    house = _house()
    wish = act("systemd.restart", f"unit:{UNIT}")
    before = (await BY_ID["systemd.restart"].preflight(wish, WHO, house)).before
    house.keys[wish.key] = {"state": "ended", "end": "unknown", "says": "the helper ended while it was at work"}
    house.units[UNIT] |= {"ActiveState": "deactivating", "SubState": "stop-sigterm", "Job": "77"}
    meanwhile = await BY_ID["systemd.restart"].settle(entry(wish, before), house)
    assert (meanwhile.state, "is still deactivating" in meanwhile.says) == (ActState.UNKNOWN, True)
    house.down(UNIT)
    house.up(UNIT)
    house.units[UNIT]["Job"] = ""
    assert (await BY_ID["systemd.restart"].settle(entry(wish, before), house)).state is ActState.DONE
