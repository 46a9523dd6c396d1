"""Executors over a real root helper and a real HAProxy: planned, done, judged, taken back."""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from agent.actions.base import Executor, Reply
from agent.actions.haproxy import EXECUTORS, split
from agent.actions.registry import BY_ID
from agent.errors import Refusal
from agent.wire.actions import ActionFacts, ActState
from tests.agent.actions.acting import Hand
from tests.agent.actuator.balancing import Balancer, balancer
from tests.fakes.actuator import ActuatorProcess, actuator

DRAIN, MAINT, READY, WEIGHT = EXECUTORS
R1 = "backend:edge/llm/r1"
POLICY = """
[[allow]]
actions = ["haproxy.*"]
socket = "{socket}"
backends = ["llm"]
servers = ["r1"]

[[allow]]
actions = ["haproxy.*"]
socket = "{socket}"
backends = ["llm"]
floor = 2
"""  # the floor holds, although the first of them, which names none, is the one that allows r1


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Balancer, ActuatorProcess]]:
    with (
        balancer("r1 weight 10", "r2 weight 10", "r3 weight 10") as lb,
        actuator(POLICY.format(socket=lb.admin)) as helper,
    ):
        yield lb, helper


@dataclass
class Place:
    lb: Balancer
    hand: Hand


@pytest.fixture
def place(running: tuple[Balancer, ActuatorProcess]) -> Place:
    lb, helper = running
    row = {"lb": "edge", "backend": "llm", "state": "up", "says": "no check", "address": "", "port": 0}
    rows = [{**row, "server": name} for name in ("r1", "r2", "r3", "gone")]
    for name in ("r1", "r2", "r3"):
        lb.tell(f"set server llm/{name} state ready")
        lb.tell(f"set weight llm/{name} 10")
    return Place(lb, Hand(helper, {"backends": rows}, run_id=secrets.token_hex(4)))


def guards(found: Any) -> dict[str, Any]:
    return {guard.id: guard for guard in found.guards}


async def test_a_plan_has_the_exact_command_the_numbers_and_what_takes_it_back(place: Place) -> None:
    found = await place.hand.plan(DRAIN, R1)
    assert found.commands == (f"haproxy {place.lb.admin}: set server llm/r1 state drain",)
    assert found.undo == "set server llm/r1 state ready"
    assert all(guard.ok for guard in found.guards), found.guards
    assert guards(found)["floor"].says == "2 of 3 servers of llm are ready besides r1, floor 2"
    assert found.effect == (
        "llm/r1 (no check, 0 in flight, 0 queued) is drained; what runs there goes on; "
        "2 others of llm are ready (floor 2); HAProxy forgets it at a reload or restart"
    )
    assert found.role == "operator"
    assert place.lb.ready() == 3, "planning changes nothing"


async def test_a_drain_is_done_refreshes_the_facts_and_goes_back_by_its_inverse(place: Place) -> None:
    result, entry = await place.hand.do(DRAIN, R1)
    assert (result.state, place.lb.states()["r1"][0]) == (ActState.DONE, 8)
    assert "2 others ready" in result.says
    assert place.hand.refreshed == ["backends"]
    assert DRAIN.inverse(entry) == ("haproxy.ready", {})
    back, entry = await place.hand.do(READY, R1)
    assert (back.state, place.lb.states()["r1"][0]) == (ActState.DONE, 0)
    assert READY.inverse(entry) == ("haproxy.drain", {})


async def test_below_the_floor_the_plan_says_so_and_running_it_is_refused(place: Place) -> None:
    await place.hand.do(DRAIN, "backend:edge/llm/r2")
    found = await place.hand.plan(DRAIN, R1)
    assert guards(found)["floor"].ok is False
    assert "backend llm has 1 ready servers besides r1, and its floor is 2" in guards(found)["floor"].says
    with pytest.raises(Refusal, match="its floor is 2"):
        await place.hand.do(DRAIN, R1)
    assert place.lb.ready() == 2


async def test_undoing_what_found_a_foreign_drain_leaves_the_foreign_drain(place: Place) -> None:
    place.lb.tell("set server llm/r1 state drain")
    result, entry = await place.hand.do(DRAIN, R1)
    assert result.state is ActState.DONE
    assert "somebody who did not go through gpu-cockpit" in result.says
    assert DRAIN.inverse(entry) == ("haproxy.drain", {})
    back, _ = await place.hand.do(READY, R1)
    assert (back.state, place.lb.states()["r1"][0]) == (ActState.DONE, 8)


async def test_putting_back_what_somebody_else_took_out_is_warned_of_and_can_be_passed(place: Place) -> None:
    place.lb.tell("set server llm/r1 state maint")
    found = await place.hand.plan(READY, R1)
    assert (guards(found)["foreign"].ok, guards(found)["foreign"].soft) == (False, True)
    await place.hand.do(DRAIN, R1)
    result, _ = await place.hand.do(READY, R1, overrides=("foreign",))
    assert (result.state, place.lb.ready()) == (ActState.DONE, 3)


async def test_a_weight_goes_back_exactly(place: Place) -> None:
    place.lb.tell("set weight llm/r1 7")
    result, entry = await place.hand.do(WEIGHT, R1, params={"percent": "50"})
    assert (result.state, place.lb.states()["r1"][1]) == (ActState.DONE, 5)
    assert WEIGHT.inverse(entry) == ("haproxy.weight", {"weight": "7"})
    result, _ = await place.hand.do(WEIGHT, R1, params={"weight": "7"})
    assert place.lb.states()["r1"][1] == 7
    with pytest.raises(Refusal, match="one of the two"):
        await place.hand.do(WEIGHT, R1)


async def test_a_weight_that_rounds_to_nothing_is_a_guard_that_fails(place: Place) -> None:
    found = await place.hand.plan(WEIGHT, R1, params={"percent": "9"})
    assert "rounds to 0" in guards(found)["floor"].says
    assert guards(found)["floor"].ok is False


@pytest.mark.parametrize(
    ("subject", "says"),
    [
        ("backend:edge/llm/r9", "there is no server edge/llm/r9 on this host now; it has edge/llm/gone"),
        ("backend:llm/r1", "names no server"),
        ("replica:x", "is for backend"),
    ],
)
async def test_what_is_no_server_of_this_host_is_a_sentence(place: Place, subject: str, says: str) -> None:
    with pytest.raises(Refusal, match=says):
        await place.hand.plan(DRAIN, subject)


async def test_a_server_that_the_balancer_does_not_have_any_more_is_a_guard(place: Place) -> None:
    found = await place.hand.plan(DRAIN, "backend:edge/llm/gone")
    assert "no server gone in its backend llm" in guards(found)["floor"].says
    assert guards(found)["floor"].ok is False


async def test_a_backend_that_policy_does_not_name_is_refused_with_the_rule(place: Place) -> None:
    place.hand.told["backends"].append({"lb": "edge", "backend": "other", "server": "o1", "state": "up"})
    found = await place.hand.plan(DRAIN, "backend:edge/other/o1")
    assert guards(found)["policy"].ok is False
    assert "[[allow]] 1 allows backends llm, and not other" in guards(found)["policy"].says
    assert found.role == ""
    assert found.effect.startswith("other/o1 is up")


async def test_after_a_crash_the_helpers_record_tells_how_it_ended(place: Place) -> None:
    _, entry = await place.hand.do(DRAIN, R1)
    settled = await DRAIN.settle(entry, place.hand)
    assert (settled.state, "is no check" in settled.says or "DRAIN" in settled.says) == (ActState.DONE, True)
    never = await DRAIN.settle(replace(entry, key="ffffffff/1"), place.hand)
    assert (never.state, "never began it" in never.says) == (ActState.FAILED, True)


async def test_after_a_crash_what_was_refused_has_failed_and_changed_nothing(place: Place) -> None:
    await place.hand.do(DRAIN, "backend:edge/llm/r2")
    with pytest.raises(Refusal, match="its floor is 2"):
        await place.hand.do(DRAIN, R1, key=f"{place.hand.run_id}/9")
    settled = await DRAIN.settle(ActionFacts(f"{place.hand.run_id}/9", "haproxy.drain", R1), place.hand)
    assert (settled.state, "its floor is 2" in settled.says) == (ActState.FAILED, True)


@pytest.mark.parametrize(("state", "so"), [("drain", ActState.DONE), ("ready", ActState.FAILED)])
async def test_after_the_helper_died_at_it_the_balancer_tells_how_it_ended(
    place: Place, monkeypatch: pytest.MonkeyPatch, state: str, so: ActState
) -> None:
    asked = place.hand.root.ask

    async def ask(request: Mapping[str, Any], *more: Any, **named: Any) -> Reply:
        if request.get("what") == "key":
            return Reply("done", data={"state": "ended", "end": "unknown", "says": "the root helper ended", "data": {}})
        return await asked(request, *more, **named)

    monkeypatch.setattr(place.hand.root, "ask", ask)
    place.lb.tell(f"set server llm/r1 state {state}")
    settled = await DRAIN.settle(ActionFacts("aaaaaaaa/1", "haproxy.drain", R1), place.hand)
    assert (settled.state, "llm/r1 is " in settled.says) == (so, True)


async def test_without_a_helper_the_world_is_not_guessed(place: Place) -> None:
    _, entry = await place.hand.do(DRAIN, R1)
    place.hand.root._path = place.lb.folder / "nobody"
    assert (await DRAIN.settle(entry, place.hand)).state is ActState.UNKNOWN
    found = await place.hand.plan(DRAIN, R1)
    assert guards(found)["policy"].ok is False
    with pytest.raises(Refusal, match="nothing was done"):
        await place.hand.do(DRAIN, R1)


@pytest.mark.parametrize("state", ["ready", "drain", "maint", ""])
@pytest.mark.parametrize("executor", EXECUTORS[:3], ids=lambda one: one.spec.id)
def test_an_inverse_is_an_action_that_there_is(executor: Executor, state: str) -> None:
    inverse = executor.inverse(ActionFacts("k", executor.spec.id, R1, before={"state": state}))
    assert (inverse is None) == (state == "")
    assert inverse is None or inverse[0] in BY_ID


def test_a_balancers_name_may_hold_slashes() -> None:
    assert split("backend:/run/haproxy/admin.sock/llm/r1") == ("/run/haproxy/admin.sock", "llm", "r1")
