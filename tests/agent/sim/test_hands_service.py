"""What a service manager does to a simulated replica: it really stops, loads and comes back, or does not."""

import pytest

from agent.sim import faults
from agent.sim.gpu import Presence
from agent.sim.serving.engine import Life, Mood
from tests.agent.sim.theatre import CHAT, Theatre

GIB = 1024**3


@pytest.fixture
def theatre() -> Theatre:
    return Theatre(hosts=4)


def fault(theatre: Theatre, name: str, host: int = 0, **given: str) -> None:
    """It happens now."""
    spec, machine = faults.find(name), theatre.machines[host]
    spec.plan(machine, faults.check(spec, given, len(machine.gpus)), theatre.clock.wall())
    theatre.pass_time(0.5)


async def test_a_restart_ends_the_processes_frees_their_memory_and_loads_anew(theatre: Theatre) -> None:
    service, machine = theatre.service(), theatre.machines[0]
    before = await theatre.look("unit", unit=CHAT)
    assert (before["ActiveState"], before["SubState"]) == ("active", "running")
    assert service.replica.memory(machine.now) > 60 * GIB
    reply = await theatre.act("systemd.restart", "r/1", unit=CHAT)
    assert reply.end == "done"
    after = await theatre.look("unit", unit=CHAT)
    assert (after["ActiveState"], service.engine.life) == ("active", Life.LOADING)
    assert after["MainPID"] != before["MainPID"]
    assert after["InvocationID"] != before["InvocationID"]
    assert service.replica.memory(machine.now) < 10 * GIB, "weights stream in"
    assert not service.engine.open(service.replica.port)
    theatre.pass_time(80.0)
    assert (service.engine.life, service.engine.mood) == (Life.UP, Mood.WELL)
    assert service.replica.memory(machine.now) > 60 * GIB


async def test_a_stop_lasts_until_somebody_starts_it_whatever_a_fault_had_planned(theatre: Theatre) -> None:
    fault(theatre, "engine-stop", gpu="0", back="60")
    assert (await theatre.act("systemd.stop", "r/1", unit=CHAT)).end == "done"
    theatre.pass_time(300.0)
    assert (await theatre.look("unit", unit=CHAT))["ActiveState"] == "inactive"
    assert (await theatre.look("unit", unit=CHAT))["MainPID"] == "0"
    assert (await theatre.act("systemd.start", "r/2", unit=CHAT)).end == "done"
    theatre.pass_time(80.0)
    assert theatre.service().engine.life is Life.UP


@pytest.mark.parametrize(("host", "mode"), [(0, "mixed"), (3, "control-group")])
async def test_mixed_finishes_what_is_in_flight_and_control_group_cuts_it_off(
    theatre: Theatre, host: int, mode: str
) -> None:
    assert (await theatre.look("unit", host, unit=CHAT))["KillMode"] == mode
    theatre.pass_time(10.0)
    service = theatre.service(host)
    service.replica.share = 0.0  # nobody new comes: what is lost is what was in flight
    began, lost, had = theatre.clock.wall(), service.engine.lost, service.engine.in_flight
    assert had > 3
    await theatre.act("systemd.stop", "r/1", host, unit=CHAT)
    took_s, cut_off = theatre.clock.wall() - began, service.engine.lost - lost
    if mode == "mixed":
        assert (took_s > 15.0, cut_off < 1.0) == (True, True)
    else:
        assert (took_s < 5.0, cut_off > had - 2) == (True, True)


async def test_whoever_still_comes_to_a_replica_that_ends_gets_no_answer(theatre: Theatre) -> None:
    lost = theatre.service().engine.lost
    await theatre.act("systemd.restart", "r/1", unit=CHAT)
    assert theatre.service().engine.lost - lost > 50, "it was not drained: its balancer goes on sending"


async def test_a_restart_cures_an_engine_that_stands_still_after_its_requests_had_their_time(theatre: Theatre) -> None:
    fault(theatre, "engine-wedge", gpu="0")
    assert theatre.service().engine.mood is Mood.FROZEN
    began = theatre.clock.wall()
    await theatre.act("systemd.restart", "r/1", unit=CHAT)
    assert 60.0 < theatre.clock.wall() - began < 90.0, "it waits for requests that never end"
    theatre.pass_time(80.0)
    assert (theatre.service().engine.life, theatre.service().engine.mood) == (Life.UP, Mood.WELL)


async def test_a_restart_on_a_lost_gpu_runs_for_a_moment_and_fails(theatre: Theatre) -> None:
    machine = theatre.machines[0]
    machine.turn(machine.gpus[2], Presence.LOST, theatre.clock.wall())
    await theatre.act("systemd.restart", "r/1", unit=CHAT)
    assert (await theatre.look("unit", unit=CHAT))["ActiveState"] == "active", "Type=exec: forked is started"
    theatre.pass_time(10.0)
    after = await theatre.look("unit", unit=CHAT)
    assert (after["ActiveState"], after["Result"], after["MainPID"]) == ("failed", "exit-code", "0")
    theatre.pass_time(200.0)
    assert theatre.service().engine.life is Life.GONE


async def test_a_front_that_clings_is_killed_when_its_time_is_up(theatre: Theatre) -> None:
    fault(theatre, "stop-lingers", gpu="0")
    began = theatre.clock.wall()
    reply = await theatre.act("systemd.stop", "r/1", unit=CHAT)
    assert reply.end == "done"
    assert 89.0 < theatre.clock.wall() - began < 92.0
    after = await theatre.look("unit", unit=CHAT)
    assert (after["ActiveState"], after["Result"]) == ("failed", "timeout")
    assert theatre.service().replica.memory(theatre.clock.wall()) == 0.0


async def test_a_stop_that_nobody_waits_for_any_longer_is_unknown_and_goes_on(theatre: Theatre) -> None:
    fault(theatre, "stop-lingers", gpu="0")
    reply = await theatre.act("systemd.stop", "r/1", unit=CHAT, deadline_s="30")
    assert reply.end == "unknown"
    assert (await theatre.look("unit", unit=CHAT))["ActiveState"] == "deactivating"
    theatre.pass_time(65.0)
    assert (await theatre.look("unit", unit=CHAT))["ActiveState"] == "failed"


async def test_what_was_injected_ends_with_a_visit_whatever_was_done_about_it(theatre: Theatre) -> None:
    fault(theatre, "ghost-memory", gpu="5")
    fault(theatre, "stop-lingers", gpu="0")
    fault(theatre, "bad-start", gpu="0")
    await theatre.act("container.start", "r/1", container="embed-1")
    theatre.pass_time(20.0)
    assert not theatre.service(0, 2).runs
    fault(theatre, "clear", gpu="all")
    theatre.pass_time(60.0)
    assert theatre.machines[0].ghosts == []
    assert theatre.service(0, 2).engine.life is Life.UP
    began = theatre.clock.wall()
    await theatre.act("systemd.restart", "r/2", unit=CHAT)
    assert theatre.clock.wall() - began < 60.0
    theatre.pass_time(90.0)
    assert not theatre.service().engine.sick


async def test_an_engine_that_is_told_to_end_meets_the_deadline_of_who_told_it(theatre: Theatre) -> None:
    fault(theatre, "stop-lingers", gpu="0")
    reply = await theatre.act("engine.drain", "r/1", replica="vllm:8000", deadline_s="20")
    assert (reply.end, reply.data["killed"], reply.data["took_s"]) == ("done", True, pytest.approx(20, abs=1))
    assert (await theatre.look("unit", unit=CHAT))["MainPID"] == "0"


async def test_containers_stop_with_and_without_grace_and_say_when_they_are_not_healthy() -> None:
    theatre = Theatre(hosts=2)
    name = theatre.service(1, 1).container_name
    assert name == "embed-0"
    before = await theatre.look("container", 1, container=name)
    assert (before["running"], before["health"], len(before["id"])) == (True, "healthy", 64)
    assert before["id"].startswith(theatre.service(1, 1).container)
    fault(theatre, "bad-start", 1, gpu="4")
    assert (await theatre.act("container.restart", "r/1", 1, container=name, grace_s="10")).end == "done"
    after = await theatre.look("container", 1, container=before["id"])
    assert (after["running"], after["health"]) == (True, "starting")
    assert after["started_at"] != before["started_at"]
    theatre.pass_time(20.0)
    assert (await theatre.look("container", 1, container=name))["health"] == "unhealthy"
    assert (await theatre.act("container.restart", "r/2", 1, container=name, grace_s="0")).end == "done"
    theatre.pass_time(20.0)
    assert (await theatre.look("container", 1, container=name))["health"] == "healthy", "the next start is well"
    assert (await theatre.act("container.stop", "r/3", 1, container=name, grace_s="0")).end == "done"
    assert (await theatre.look("container", 1, container=name))["exit_code"] == 137


async def test_a_ghost_holds_the_gpu_unseen_by_the_driver_until_it_is_ended(theatre: Theatre) -> None:
    fault(theatre, "ghost-memory", gpu="5")
    holders = (await theatre.look("holders", minor="5"))["holders"]
    assert [row["comm"] for row in holders] == ["python3"]
    name = theatre.service(0, 2).container_name
    port = theatre.service(0, 2).replica.port
    await theatre.act("container.start", "r/1", container=name) if name else None
    theatre.pass_time(30.0)
    assert not theatre.service(0, 2).engine.open(port), "its memory is held: it cannot load"
    pid, started = holders[0]["pid"], holders[0]["started"]
    moved = await theatre.act("process.stop", "r/2", pid=str(pid), expect={"started": "1"})
    assert (moved.end, moved.code) == ("refused", 409)
    reply = await theatre.act("process.stop", "r/3", pid=str(pid), expect={"started": started})
    assert reply.end == "done"
    assert (await theatre.look("holders", minor="5"))["holders"] == []
    assert (await theatre.look("process", pid=str(pid)))["code"] == 404


async def test_a_ghost_that_waits_in_the_driver_outlives_every_signal(theatre: Theatre) -> None:
    fault(theatre, "ghost-memory", gpu="5", stuck="yes")
    holder = (await theatre.look("holders", minor="5"))["holders"][0]
    assert holder["state"] == "D"
    reply = await theatre.act("process.stop", "r/1", pid=str(holder["pid"]), grace_s="5")
    assert reply.end == "failed"
    assert "SIGKILL" in reply.says
    assert (await theatre.look("holders", minor="5"))["holders"]
