"""Nights in which somebody has to act, played by the real executors: what is found, what is done, whether it helps."""

from itertools import pairwise
from typing import Any

from agent.sim import scenario
from agent.sim.rehearsal import Rehearsal
from agent.wire.actions import ActState
from agent.wire.specs import FindingState
from tests.agent.sim.theatre import Theatre

DONE, FAILED = ActState.DONE, ActState.FAILED


def night(name: str, host: int) -> tuple[Theatre, Rehearsal]:
    """A drill, and the agent of the host that it is about."""
    theatre = Theatre(hosts=4, night=name)
    return theatre, theatre.rehearsed(host)


def open_findings(rehearsal: Rehearsal) -> set[str]:
    """`rule subject` of what is open now."""
    found: dict[str, bool] = {}
    for event in rehearsal.events():
        if event.kind == "finding":
            item = event.data["finding"]
            found[f"{item['rule']} {event.subject}"] = item.get("state", "open") == FindingState.OPEN
    return {name for name, is_open in found.items() if is_open}


def replica(rehearsal: Rehearsal, name: str) -> dict[str, Any]:
    return next(dict(row) for row in rehearsal.agent.facts.get("replicas") if row["id"] == name)


async def until_ready(theatre: Theatre, rehearsal: Rehearsal, name: str, within_s: float) -> float:
    """How long it took; fails if it did not."""
    began = theatre.clock.wall()
    while replica(rehearsal, name)["state"] != "ready":
        assert theatre.clock.wall() - began < within_s, replica(rehearsal, name)
        theatre.pass_time(5.0)
    return theatre.clock.wall() - began


async def test_a_stuck_replica_is_cured_by_a_restart_behind_a_drain() -> None:
    theatre, agent = night("drill-stuck-replica", 1)
    theatre.pass_time(120.0)
    assert "replica.stuck replica:vllm:8000" in open_findings(agent)
    assert replica(agent, "vllm:8000")["state"] == "stuck"
    drained = await theatre.play("haproxy.drain", "backend:edge/chat-70b/gpu-a02", "r/1")
    assert drained.state is DONE
    assert theatre.service(1).engine.in_flight > 10, "nobody has given up yet"
    theatre.pass_time(150.0)
    assert (await theatre.look("haproxy", lb="edge", backend="chat-70b", server="gpu-a02"))["drained"] is True
    result = await theatre.play("systemd.restart", "replica:vllm:8000", "r/2", 1)
    assert result.state is DONE, result.says
    assert await until_ready(theatre, agent, "vllm:8000", 150.0) > 30.0
    assert (await theatre.play("haproxy.ready", "backend:edge/chat-70b/gpu-a02", "r/3")).state is DONE
    theatre.pass_time(60.0)
    assert open_findings(agent) == set()
    assert theatre.service(1).engine.in_flight > 3, "it serves again"


async def test_a_restart_does_not_bring_back_a_gpu() -> None:
    theatre, agent = night("drill-lost-gpu", 2)
    theatre.pass_time(90.0)
    assert replica(agent, "vllm:8000")["state"] == "down"
    first = await theatre.play("systemd.start", "unit:vllm-chat-70b@0.service", "r/1", 2)
    assert first.state is DONE, "systemd is content: it runs now"
    theatre.pass_time(60.0)
    assert replica(agent, "vllm:8000")["state"] == "down", "and the world is not"
    assert (await theatre.look("unit", 2, unit="vllm-chat-70b@0.service"))["Result"] == "exit-code"
    assert any(name.startswith("gpu.lost") for name in open_findings(agent))


async def test_a_ghost_is_found_ended_and_what_belongs_there_starts() -> None:
    theatre, agent = night("drill-ghost", 0)
    theatre.pass_time(100.0)
    gpu = theatre.machines[0].gpus[5]
    assert f"gpu.ghost_memory gpu:{gpu.uuid}" in open_findings(agent)
    early = await theatre.play("container.start", "container:embed-1", "r/0", health_s="5")
    assert early.state is FAILED, "there is no room for its model"
    looked = await theatre.play("gpu.holders", f"gpu:{gpu.uuid}", "r/1")
    assert "python3" in looked.says
    (ghost,) = theatre.machines[0].ghosts
    ended = await theatre.play("process.stop", f"process:{ghost.pid}", "r/2")
    assert ended.state is DONE, ended.says
    started = await theatre.play("container.start", "container:embed-1", "r/3")
    assert started.state is DONE, started.says
    await until_ready(theatre, agent, "triton:8020", 60.0)
    theatre.pass_time(60.0)
    assert open_findings(agent) == set()


async def test_a_container_that_comes_back_unhealthy_has_failed_and_the_next_one_has_not() -> None:
    theatre, agent = night("drill-bad-start", 1)
    theatre.pass_time(150.0)
    assert "replica.silent replica:triton:8010" in open_findings(agent)
    bad = await theatre.play("container.restart", "replica:triton:8010", "r/1", 1, grace_s="30")
    assert (bad.state, "unhealthy" in bad.says) == (FAILED, True)
    good = await theatre.play("container.restart", "replica:triton:8010", "r/2", 1, grace_s="30")
    assert good.state is DONE, good.says
    await until_ready(theatre, agent, "triton:8010", 60.0)
    theatre.pass_time(60.0)
    assert open_findings(agent) == set()


async def test_a_stop_that_lingers_meets_its_deadline() -> None:
    theatre, agent = night("drill-lingering-stop", 1)
    theatre.pass_time(90.0)
    assert replica(agent, "vllm:8000")["state"] == "stuck"
    began = theatre.clock.wall()
    result = await theatre.play("engine.drain", "replica:vllm:8000", "r/1", 1, deadline_s="45")
    assert result.state is DONE, result.says
    assert "was killed" in result.says
    assert 45.0 <= theatre.clock.wall() - began < 65.0
    started = await theatre.play("systemd.start", "unit:vllm-chat-70b@0.service", "r/2", 1)
    assert started.state is DONE
    await until_ready(theatre, agent, "vllm:8000", 150.0)
    theatre.pass_time(60.0)
    assert open_findings(agent) == set()


def test_a_night_of_work_has_something_for_four_hosts_and_time_between() -> None:
    faults = scenario.load("drill-night").faults
    hosts = [fault.host for fault in faults if fault.fault != "bad-start"]
    assert (len(hosts), len(set(hosts))) == (4, 4)
    moments = sorted({fault.at for fault in faults})
    assert all(later - sooner >= 840.0 for sooner, later in pairwise(moments)), "a breaker counts ten minutes"
