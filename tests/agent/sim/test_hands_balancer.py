"""The simulated balancer: who is in rotation gets the load, and its socket says so in HAProxy's own words."""

import pytest

from agent.sim import faults
from agent.sim.hands import stats
from agent.sim.hands.balancer import Balancer, Server
from agent.sources.balancer import haproxy
from agent.wire.replicas import BackendFacts
from tests.agent.sim.theatre import CHAT, Theatre


@pytest.fixture
def theatre() -> Theatre:
    found = Theatre(hosts=4)
    found.pass_time(10.0)
    return found


def told(theatre: Theatre) -> dict[str, BackendFacts]:
    """The servers as the agent's own parser reads them."""
    found = balancer(theatre)
    texts = (stats.answer(found, haproxy.STAT), stats.answer(found, haproxy.STATE))
    return {one.server: one for one in haproxy.backends("edge", *texts, theatre.clock.wall())}


def balancer(theatre: Theatre) -> Balancer:
    found = theatre.stage.balancer
    assert found is not None
    return found


def server(theatre: Theatre, number: int) -> Server:
    return balancer(theatre).servers[number]


async def test_its_socket_speaks_as_haproxy_does_and_names_every_replica_of_the_pool(theatre: Theatre) -> None:
    assert haproxy.is_haproxy(stats.answer(balancer(theatre), haproxy.INFO))
    found = told(theatre)
    assert list(found) == ["gpu-a01", "gpu-a02", "gpu-a03", "gpu-a04"]
    assert {(one.backend, one.state, one.weight, one.says) for one in found.values()} == {("chat-70b", "up", 100, "UP")}
    assert {(one.address, one.port) for one in found.values()} == {(f"127.9.0.{n}", 8000) for n in (1, 2, 3, 4)}
    assert all(one.requests and one.requests > 1e6 and one.in_flight for one in found.values())
    assert "Unknown command" in stats.answer(balancer(theatre), "show sess")


async def test_a_drained_server_empties_as_its_requests_end_and_the_others_take_its_load(theatre: Theatre) -> None:
    twin = Theatre(hosts=4)  # the same night, in which nobody drains
    twin.pass_time(10.0)
    before = {name: one.requests or 0 for name, one in told(theatre).items()}
    assert (await theatre.drain("gpu-a02", "r/1")).end == "done"
    at_once = told(theatre)["gpu-a02"]
    assert (at_once.state, at_once.says) == ("draining", "DRAIN: Layer7 check passed")
    assert at_once.in_flight, "what runs goes on"
    emptied = []
    for _ in range(15):
        theatre.pass_time(2.0)
        emptied.append(told(theatre)["gpu-a02"].in_flight or 0)
    assert emptied == sorted(emptied, reverse=True)
    assert (emptied[0] > 3, emptied[-1]) == (True, 0)
    twin.pass_time(theatre.clock.wall() - twin.clock.wall())
    after, otherwise = told(theatre), told(twin)
    for name, had in before.items():
        took = ((after[name].requests or 0) - had) / ((otherwise[name].requests or 0) - had)
        assert took == pytest.approx(0.0 if name == "gpu-a02" else 4 / 3, abs=0.05)
    assert (await theatre.look("haproxy", lb="edge", backend="chat-70b", server="gpu-a02"))["drained"] is True


async def test_what_was_drained_comes_back_with_its_load(theatre: Theatre) -> None:
    await theatre.drain("gpu-a02", "r/1")
    theatre.pass_time(40.0)
    assert (await theatre.drain("gpu-a02", "r/2", "ready")).end == "done"
    theatre.pass_time(20.0)
    found = told(theatre)
    assert found["gpu-a02"].state == "up"
    assert found["gpu-a02"].in_flight
    assert {one.replica.share for one in balancer(theatre).servers} == {1.0}


async def test_the_floor_is_counted_over_what_is_ready_right_then(theatre: Theatre) -> None:
    assert (await theatre.drain("gpu-a01", "r/1")).end == "done"
    refused = await theatre.drain("gpu-a02", "s/1", run="s")
    assert (refused.end, refused.code) == ("refused", 412)
    assert "2 ready servers besides gpu-a02, and its floor is 3" in refused.says
    assert told(theatre)["gpu-a02"].state == "up"
    higher = await theatre.drain("gpu-a01", "t/1", "ready", run="t", lift="yes")
    assert higher.end == "done"
    asked = await theatre.drain("gpu-a03", "u/1", run="u", floor="4")
    assert (asked.end, asked.code) == ("refused", 412), "the higher of both floors counts"


async def test_a_server_that_is_down_is_no_ready_one(theatre: Theatre) -> None:
    await theatre.act("systemd.stop", "r/1", 2, unit=CHAT)
    theatre.pass_time(10.0)
    assert told(theatre)["gpu-a03"].state == "down"
    assert server(theatre, 2).replica.share == 0.0
    assert server(theatre, 0).replica.share == pytest.approx(4 / 3)
    assert (await theatre.drain("gpu-a01", "s/1")).code == 412
    assert (await theatre.drain("gpu-a03", "s/2")).end == "done", "who is down already takes nothing away"


async def test_checks_take_a_while_and_what_was_sent_until_then_is_lost(theatre: Theatre) -> None:
    before = told(theatre)["gpu-a03"].errors or 0
    await theatre.act("systemd.stop", "r/1", 2, unit=CHAT)
    theatre.pass_time(3.0)
    assert told(theatre)["gpu-a03"].state == "up", "three checks have to fail"
    theatre.pass_time(7.0)
    lost = (told(theatre)["gpu-a03"].errors or 0) - before
    assert lost > 10
    theatre.pass_time(60.0)
    assert (told(theatre)["gpu-a03"].errors or 0) - before == lost
    await theatre.act("systemd.start", "r/2", 2, unit=CHAT)
    theatre.pass_time(90.0)
    assert told(theatre)["gpu-a03"].state == "up"


async def test_nothing_is_lost_by_a_restart_behind_a_drain(theatre: Theatre) -> None:
    before = sum(one.errors or 0 for one in told(theatre).values())
    await theatre.drain("gpu-a02", "r/1")
    theatre.pass_time(40.0)
    await theatre.act("systemd.restart", "r/2", 1, unit=CHAT)
    theatre.pass_time(100.0)
    await theatre.drain("gpu-a02", "r/3", "ready")
    theatre.pass_time(30.0)
    assert sum(one.errors or 0 for one in told(theatre).values()) == before
    assert told(theatre)["gpu-a02"].in_flight


async def test_clients_of_an_engine_that_stands_still_give_up_in_time(theatre: Theatre) -> None:
    spec = faults.find("engine-wedge")
    spec.plan(theatre.machines[1], faults.check(spec, {"gpu": "0"}, 8), theatre.clock.wall())
    theatre.pass_time(20.0)
    standing = told(theatre)["gpu-a02"].in_flight or 0
    assert standing > 30, "the balancer cannot see it, and goes on sending"
    await theatre.drain("gpu-a02", "r/1")
    theatre.pass_time(30.0)
    assert 0 < (told(theatre)["gpu-a02"].in_flight or 0) < standing
    theatre.pass_time(120.0)
    assert told(theatre)["gpu-a02"].in_flight == 0


async def test_a_weight_moves_load_and_is_put_back_exactly(theatre: Theatre) -> None:
    reply = await theatre.drain("gpu-a01", "r/1", "weight", percent="50")
    assert reply.data["before"]["weight"] == "100"
    assert told(theatre)["gpu-a01"].weight == 50
    theatre.pass_time(1.0)
    assert server(theatre, 0).replica.share == pytest.approx(4 * 50 / 350)
    assert server(theatre, 1).replica.share == pytest.approx(4 * 100 / 350)
    await theatre.drain("gpu-a01", "r/2", "weight", weight="100")
    theatre.pass_time(1.0)
    assert {one.replica.share for one in balancer(theatre).servers} == {1.0}


async def test_a_run_leaves_what_it_found_out_as_it_found_it(theatre: Theatre) -> None:
    await theatre.drain("gpu-a02", "a/1", "maint", run="a")
    assert (await theatre.drain("gpu-a02", "b/1", run="b")).data["changed"] is False
    back = await theatre.drain("gpu-a02", "b/2", "ready", run="b")
    assert (back.end, told(theatre)["gpu-a02"].state) == ("done", "maintenance")
    assert back.data["by"]["run"] == "a"
    assert (await theatre.drain("gpu-a02", "c/1", "ready", run="c", lift="yes")).end == "done"
    assert told(theatre)["gpu-a02"].state == "up"


async def test_a_host_without_a_balancer_has_no_server_to_drain(theatre: Theatre) -> None:
    reply = await theatre.act("haproxy.drain", "r/1", 1, lb="edge", backend="chat-70b", server="gpu-a01")
    assert (reply.end, reply.code) == ("refused", 403)
    unknown = await theatre.drain("gpu-z99", "r/2")
    assert (unknown.end, unknown.code) == ("refused", 404)
