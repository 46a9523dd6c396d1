"""A pool without a balancer at floor + 1: however two consoles meet, its keepers let only one replica go."""

import asyncio
import random
from pathlib import Path

import pytest

from agent.actions.pool.keeper import Pool
from agent.wire.actions import Act, ActMode, Claim
from agent.wire.requests import Request
from cockpit.errors import RequestError
from cockpit.runbook.records import RunState
from tests.cockpit.runbook.test_runs import REPLICA, over, stuck, until
from tests.fakes.town import POOL, Console, Town, TownHost, town

KEEPERS = ("gpu-a01", "gpu-a02", "gpu-a03")
DECIDED = (RunState.DONE, RunState.WAITING, RunState.FAILED)


async def raced(made: Town, one: Console, two: Console, times: int) -> None:
    """Two consoles drain different replicas at the same instant; afterwards what was drained is put back. Where disks
    stall for longer than a lock is held, both may be told to try again: that is no breach, and not the rule."""
    won = 0
    for number in range(times):
        first, second = random.sample(KEEPERS, 2)
        plans = await asyncio.gather(
            one.hands.draft("drain-replica", one.host(first), REPLICA),
            two.hands.draft("drain-replica", two.host(second), REPLICA),
        )
        runs = [one.hands.start(plans[0], author="eva"), two.hands.start(plans[1], author="otto")]
        ends = await asyncio.gather(
            until(one, runs[0], lambda seen: seen.state in DECIDED),
            until(two, runs[1], lambda seen: seen.state in DECIDED),
        )
        drained = sum(end.state is RunState.DONE for end in ends)
        assert drained <= 1
        assert made.ready() == 3 - drained, (number, [end.says for end in ends])
        assert made.least >= 2
        won += drained
        await asyncio.gather(
            *(_back(console, run, end.state) for console, run, end in zip((one, two), runs, ends, strict=True))
        )
        assert made.ready() == 3
    assert won >= times / 2
    assert made.least == 2


async def _back(console: Console, run: str, state: RunState) -> None:
    if state is RunState.WAITING:
        console.hands.abort(run, "eva")
    elif state is RunState.DONE:
        console.hands.roll_back(run, "eva")
    await until(console, run, lambda seen: seen.state in (RunState.ROLLED_BACK, RunState.FAILED, RunState.ABORTED))
    await asyncio.sleep(0.12)  # two readings of the replica that is back


async def test_of_two_consoles_that_drain_different_replicas_at_floor_plus_one_one_gets_its_way(
    tmp_path: Path,
) -> None:
    async with town(tmp_path, balancer=False, floor=2, keepers=KEEPERS) as (made, console):
        one, two = await console().start(), await console().start()
        await raced(made, one, two, 5)


@pytest.mark.more
@pytest.mark.timeout(300)
async def test_a_hundred_races_for_the_last_spare_replica(tmp_path: Path) -> None:
    async with town(tmp_path, balancer=False, floor=2, keepers=KEEPERS) as (made, console):
        one, two = await console().start(), await console().start()
        await raced(made, one, two, 100)


async def test_who_reaches_half_of_the_keepers_does_nothing(tmp_path: Path) -> None:
    four = ("keeper-1", "keeper-2", "keeper-3", "keeper-4")
    async with town(tmp_path, balancer=False, floor=1, keepers=four) as (made, console):
        one, two = await console().start(), await console().start()
        halves = {id(one): four[:2], id(two): four[2:]}
        plans = []
        for each in (one, two):
            away = halves[id(each)]
            mine = "gpu-a01" if each is one else "gpu-a03"
            plans.append(await each.hands.draft("drain-replica", each.host(mine), REPLICA))
            assert not plans[-1].refused
            for name in away:
                each.link(name).cut(stay=True)
        await asyncio.sleep(0.02)
        for each, plan in zip((one, two), plans, strict=True):
            with pytest.raises(RequestError, match="2 of the 4 keepers of chat answer, 3 are needed"):
                each.hands.start(plan, author="eva")
        assert (made.done, made.least) == ([], 3)


async def test_keepers_that_are_lost_between_plan_and_claim_are_no_quorum(tmp_path: Path) -> None:
    async with town(tmp_path, balancer=False, floor=1, keepers=KEEPERS) as (made, console):
        one = await console().start()
        plan = await one.hands.draft("drain-replica", one.host("gpu-a01"), REPLICA)

        def lost(host: TownHost, request: Request) -> str:
            return "before" if isinstance(request, Claim) and host.name != "gpu-a01" else ""

        made.fault = lost
        run = one.hands.start(plan, author="eva")
        seen = await stuck(one, run)
        assert "keepers of chat agree" in seen.says
        assert made.done == []
        made.fault = lambda host, request: ""
        await asyncio.sleep(0.05)
        one.hands.resume(run, "eva")
        assert (await over(one, run)).state is RunState.DONE


async def test_without_a_quorum_the_operator_may_pass_it_by_name(tmp_path: Path) -> None:
    async with town(tmp_path, balancer=False, floor=1, keepers=("gpu-a01", "keeper-1", "keeper-2")) as (_made, console):
        one = await console().start()
        for name in ("keeper-1", "keeper-2"):
            one.link(name).cut(stay=True)
        await asyncio.sleep(0.02)
        plan = await one.hands.draft("drain-replica", one.host("gpu-a01"), REPLICA)
        assert [guard.id for guard in plan.refused] == ["quorum"]
        run = one.hands.start(plan, author="eva", overrides=("quorum",))
        seen = await over(one, run)
        assert seen.state is RunState.DONE
        assert "passed by the operator" in seen.steps[1].says
        entry = next(step.entry for step in seen.steps if step.entry)
        assert entry is not None
        assert entry.overrides == ("quorum",)


async def test_a_drain_does_not_begin_after_its_claim_has_run_out(tmp_path: Path) -> None:
    async with town(tmp_path, balancer=False, floor=1, keepers=KEEPERS) as (made, console):
        one = await console().start()
        seen: list[Act] = []

        def look(host: TownHost, request: Request) -> str:
            if isinstance(request, Act) and request.mode is ActMode.RUN:
                seen.append(request)
            return ""

        made.fault = look
        plan = await one.hands.draft("drain-replica", one.host("gpu-a01"), REPLICA)
        assert (await over(one, one.hands.start(plan, author="eva"))).state is RunState.DONE
        assert 0 < seen[0].not_after < made.clock.wall() + 31.0


async def test_another_console_that_goes_on_with_a_drain_asks_the_keepers_again(tmp_path: Path) -> None:
    """Its claim was given to a console that is gone, and may have run out."""
    async with town(tmp_path, balancer=False, floor=1, keepers=KEEPERS) as (made, console):
        one, two = await console().start(), await console().start()
        plan = await one.hands.draft("drain-replica", one.host("gpu-a01"), REPLICA)
        taking = next(step.action for step in plan.steps if step.action)
        made.breaks.add((taking, REPLICA))
        run = one.hands.start(plan, author="eva")
        await stuck(one, run)
        await one.kill()
        made.breaks.clear()
        asked: list[str] = []

        def look(host: TownHost, request: Request) -> str:
            if isinstance(request, Claim):
                asked.append(request.what.value)
            elif isinstance(request, Act) and request.mode is ActMode.RUN:
                asked.append(request.action)
            return ""

        made.fault = look
        await until(two, run, lambda seen: seen.plan == plan and "continue" in seen.may)
        two.hands.resume(run, "otto")
        assert (await over(two, run)).state is RunState.DONE
        assert "out" in asked[: asked.index(taking)]


async def test_keepers_that_are_configured_unalike_are_no_quorum(tmp_path: Path) -> None:
    """Majorities of two lists need not share a keeper."""
    async with town(tmp_path, balancer=False, floor=2, keepers=KEEPERS) as (made, console):
        one = await console().start()
        plan = await one.hands.draft("drain-replica", one.host("gpu-a01"), REPLICA)
        made.hosts["gpu-a02"].hands._voting._pools = {POOL: Pool(POOL, ("gpu-a02", "keeper-8", "keeper-9"), 2)}
        run = one.hands.start(plan, author="eva")
        seen = await stuck(one, run)
        assert "gpu-a02 has other keepers of" in seen.says
        assert made.done == []
