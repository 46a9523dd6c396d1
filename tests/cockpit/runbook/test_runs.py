"""Runs, led over links that lose things, against the agents' own ledgers: nothing runs twice, nothing is forgotten, and
any console goes on with what another began."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agent.wire.actions import Act, ActMode, RunSays, Said
from agent.wire.requests import Request
from cockpit.errors import RequestError, UsageError
from cockpit.runbook.packing import packed
from cockpit.runbook.records import Plan, RunState, RunView, StepKind, StepState
from tests.fakes.town import Console, Town, TownHost, town

REPLICA = "replica:vllm:8000"
OVER = (RunState.DONE, RunState.FAILED, RunState.UNKNOWN, RunState.ABORTED, RunState.ROLLED_BACK)


async def until(console: Console, run: str, holds: Callable[[RunView], bool], within_s: float = 20.0) -> RunView:
    """The run as soon as it stands so."""
    seen = None
    try:
        async with asyncio.timeout(within_s):
            while True:
                seen = console.hands.run(run)
                if seen is not None and holds(seen):
                    return seen
                await asyncio.sleep(0.005)
    except TimeoutError:
        steps = seen and [(step.step.n, step.state.value, step.says) for step in seen.steps]
        pytest.fail(f"{seen and (seen.state, seen.says, seen.may)} {steps} {console.hands.trouble(run)}")


def view(console: Console, run: str) -> RunView:
    seen = console.hands.run(run)
    assert seen is not None
    return seen


async def over(console: Console, run: str) -> RunView:
    return await until(console, run, lambda seen: seen.state in OVER)


async def stuck(console: Console, run: str) -> RunView:
    return await until(console, run, lambda seen: seen.state is RunState.WAITING)


async def drafted(console: Console, runbook: str, host: str = "gpu-a02", **params: str) -> Plan:
    return await console.hands.draft(runbook, console.host(host), REPLICA, params)


async def test_a_replica_is_restarted_behind_its_balancer(tmp_path: Path) -> None:
    async with town(tmp_path) as (made, console):
        one = await console().start()
        plan = await drafted(one, "restart-replica")
        assert not plan.refused, plan.refused
        assert (plan.blast.ready_before, plan.blast.ready_after, plan.blast.floor) == (3, 2, 1)
        assert made.done == []
        run = one.hands.start(plan, author="eva", reason="it is sick")
        seen = await over(one, run)
        assert (seen.state, seen.says) == (RunState.DONE, "all steps are done")
        assert [action for _, action, _ in made.done] == ["haproxy.drain", "systemd.restart", "haproxy.ready"]
        assert {step.state for step in seen.steps} == {StepState.DONE}
        assert (seen.by, seen.reason, seen.may) == ("eva", "it is sick", ())
        assert seen.steps[1].lines == ("haproxy.drain is at work",)
        assert made.servers["gpu-a02"].state == "ready"


async def test_another_console_sees_the_run_and_its_plan(tmp_path: Path) -> None:
    async with town(tmp_path) as (made, console):
        one, two = await console().start(), await console().start()
        plan = await drafted(one, "drain-replica")
        run = one.hands.start(plan, author="eva")
        await over(one, run)
        seen = await until(two, run, lambda seen: seen.plan == plan and seen.state is RunState.DONE)
        assert not seen.ours
        assert seen.may == ("undo",)
        two.hands.roll_back(run, "otto")
        await until(two, run, lambda seen: seen.state is RunState.ROLLED_BACK)
        assert [action for _, action, _ in made.done] == ["haproxy.drain", "haproxy.ready"]
        assert made.servers["gpu-a02"].state == "ready"


async def test_a_refused_plan_and_an_old_one_are_not_begun(tmp_path: Path) -> None:
    async with town(tmp_path, replicas=2, floor=2) as (made, console):
        one = await console().start()
        plan = await drafted(one, "drain-replica")
        assert {guard.id for guard in plan.refused} == {"floor"}
        with pytest.raises(RequestError, match="the floor is 2"):
            one.hands.start(plan, author="eva")
        with pytest.raises(RequestError, match="the floor is 2"):
            one.hands.start(plan, author="eva", overrides=("floor",))
        easing = replace(await drafted(one, "undrain-replica"), good_until=made.clock.wall() - 1.0)
        with pytest.raises(RequestError, match="older than its data"):
            one.hands.start(easing, author="eva")
        assert made.done == []
        assert one.hands.runs() == ()


async def test_a_host_that_does_not_take_the_plan_ends_the_run_before_it_began(tmp_path: Path) -> None:
    async with town(tmp_path) as (made, console):
        one = await console().start()
        plan = await drafted(one, "restart-replica")
        one.link("gpu-a02").cut(stay=True)
        await asyncio.sleep(0.02)
        with pytest.raises(RequestError, match="not live"):
            one.hands.start(plan, author="eva")
        one.link("gpu-a02").retry()
        await asyncio.sleep(0.05)
        made.fault = lambda host, request: "before" if isinstance(request, RunSays) and host.name == "gpu-a02" else ""
        run = one.hands.start(plan, author="eva")
        seen = await over(one, run)
        assert seen.state is RunState.FAILED
        assert "nothing was done" in seen.says
        assert made.done == []


class Loses:
    """Loses the first answer to each request that `wanted` names, as `how`."""

    def __init__(self, how: str, wanted: Callable[[Request], bool]) -> None:
        self.how, self.wanted, self.seen = how, wanted, set[str]()

    def __call__(self, host: TownHost, request: Request) -> str:
        key = str(getattr(request, "key", ""))
        if not self.wanted(request) or key in self.seen:
            return ""
        self.seen.add(key)
        return self.how


@pytest.mark.parametrize("how", ["before", "after"])
async def test_a_lost_reply_is_looked_for_and_nothing_is_done_twice(how: str, tmp_path: Path) -> None:
    def runs(request: Request) -> bool:
        return isinstance(request, Act) and request.mode is ActMode.RUN

    async with town(tmp_path) as (made, console):
        one = await console().start()
        plan = await drafted(one, "restart-replica")
        made.fault = Loses(how, runs)
        seen = await over(one, one.hands.start(plan, author="eva"))
        assert seen.state is RunState.DONE
        assert len(made.took()) == len(set(made.took())) == 3


async def test_lost_words_are_said_again(tmp_path: Path) -> None:
    async with town(tmp_path) as (made, console):
        one, two = await console().start(), await console().start()
        plan = await drafted(one, "drain-replica")
        made.fault = Loses("after", lambda request: isinstance(request, RunSays))
        run = one.hands.start(plan, author="eva")
        assert (await over(one, run)).state is RunState.DONE
        made.fault = lambda host, request: ""
        seen = await until(two, run, lambda seen: seen.state is RunState.DONE and seen.plan == plan)
        assert {step.state for step in seen.steps} == {StepState.DONE}


async def test_a_failed_step_stops_the_run_until_it_is_tried_again(tmp_path: Path) -> None:
    async with town(tmp_path) as (made, console):
        one = await console().start()
        made.breaks.add(("systemd.restart", REPLICA))
        plan = await drafted(one, "restart-replica")
        run = one.hands.start(plan, author="eva")
        seen = await stuck(one, run)
        assert "it broke" in seen.says
        assert seen.may == ("continue", "abort", "undo")
        assert made.servers["gpu-a02"].state == "drain"
        made.breaks.clear()
        one.hands.resume(run, "eva")
        assert (await over(one, run)).state is RunState.DONE
        assert [key.partition("/")[2] for key in made.took()] == ["2", "4", "4~2", "7"]


async def test_a_failed_step_is_rolled_back(tmp_path: Path) -> None:
    async with town(tmp_path) as (made, console):
        one = await console().start()
        made.breaks.add(("systemd.restart", REPLICA))
        run = one.hands.start(await drafted(one, "restart-replica"), author="eva")
        await stuck(one, run)
        one.hands.roll_back(run, "eva")
        seen = await over(one, run)
        assert seen.state is RunState.ROLLED_BACK
        assert seen.steps[1].state is StepState.UNDONE
        assert made.servers["gpu-a02"].state == "ready"
        assert [key.partition("/")[2] for key in made.took()] == ["2", "4", "2/undo"]


async def test_a_failed_step_that_is_given_up_ends_the_run_as_failed(tmp_path: Path) -> None:
    async with town(tmp_path) as (made, console):
        one, two = await console().start(), await console().start()
        made.breaks.add(("systemd.restart", REPLICA))
        plan = await drafted(one, "restart-replica")
        run = one.hands.start(plan, author="eva")
        await stuck(one, run)
        one.hands.abort(run, "eva")
        assert (await over(one, run)).state is RunState.FAILED
        made.breaks.clear()
        seen = await until(two, run, lambda seen: seen.state is RunState.FAILED and seen.plan == plan)
        assert "undo" in seen.may
        two.hands.resume(run, "otto")
        assert (await until(two, run, lambda seen: seen.state is RunState.DONE)).id == run


async def test_a_wait_past_its_deadline_fails_with_what_was_seen_last(tmp_path: Path) -> None:
    async with town(tmp_path) as (made, console):
        one = await console().start()
        made.sticky = True
        run = one.hands.start(await drafted(one, "drain-replica", drain_s="5"), author="eva")
        seen = await stuck(one, run)
        assert "not within 5 s: 2 in flight, 0 queued" in seen.says


async def test_an_abort_stops_at_the_step_under_way_and_says_what_it_leaves(tmp_path: Path) -> None:
    async with town(tmp_path) as (made, console):
        one = await console().start()
        made.slow.add("haproxy.drain")
        run = one.hands.start(await drafted(one, "restart-replica"), author="eva")
        await until(one, run, lambda seen: seen.steps[1].state is StepState.RUNNING and bool(made.done))
        one.hands.abort(run, "eva")
        await asyncio.sleep(0.05)
        assert view(one, run).state is RunState.RUNNING
        made.release.set()
        seen = await over(one, run)
        assert seen.state is RunState.ABORTED
        assert seen.says.startswith("stopped; it leaves: take ")
        assert [action for _, action, _ in made.done] == ["haproxy.drain"]
        assert seen.may == ("continue", "undo")


async def test_a_second_abort_no_longer_waits(tmp_path: Path) -> None:
    async with town(tmp_path) as (made, console):
        one = await console().start()
        made.slow.add("systemd.restart")
        run = one.hands.start(await drafted(one, "restart-replica"), author="eva")
        await until(one, run, lambda seen: seen.steps[3].state is StepState.RUNNING and len(made.done) == 2)
        one.hands.abort(run, "eva")
        one.hands.abort(run, "eva")
        seen = await over(one, run)
        assert seen.state in (RunState.ABORTED, RunState.UNKNOWN)
        assert seen.steps[4].state is StepState.PENDING


async def test_whoever_takes_a_run_over_leads_it_alone(tmp_path: Path) -> None:
    async with town(tmp_path) as (made, console):
        one, two = await console().start(), await console().start()
        made.breaks.add(("systemd.restart", REPLICA))
        run = one.hands.start(await drafted(one, "restart-replica"), author="eva")
        await stuck(one, run)
        await until(two, run, lambda seen: seen.state is RunState.WAITING and "undo" in seen.may and bool(
            seen.plan.steps[1].command))  # fmt: skip
        two.hands.roll_back(run, "otto")
        await until(two, run, lambda seen: seen.state is RunState.ROLLED_BACK)
        await until(one, run, lambda seen: seen.state is RunState.ROLLED_BACK and not seen.ours)
        assert made.took().count(f"{run}/2/undo") == 1
        with pytest.raises(UsageError, match="cannot be continued"):
            one.hands.resume(run, "eva")


REST = """
title = "rest"
says = "Drains it until somebody says yes."
subjects = ["replica"]
[[steps]]
title = "drain"
action = "haproxy.drain"
for = "servers"
[[steps]]
ask = "does {replica} go on?"
[[steps]]
note = "{replica} has rested"
[[steps]]
title = "back"
action = "haproxy.ready"
for = "servers"
undo = "none"
"""


@pytest.mark.parametrize("yes", [True, False])
async def test_a_step_that_asks_waits_for_the_operators_word(yes: bool, tmp_path: Path) -> None:
    (tmp_path / "runbooks").mkdir()
    (tmp_path / "runbooks" / "rest.toml").write_text(REST)
    async with town(tmp_path) as (made, console):
        one, two = await console().start(), await console().start()
        run = one.hands.start(await drafted(one, "rest"), author="eva")
        seen = await until(one, run, lambda seen: "answer" in seen.may)
        assert (seen.state, seen.steps[1].says) == (RunState.WAITING, "waits for the operator")
        with pytest.raises(UsageError, match="step 4 of run"):
            one.hands.answer(run, "4", yes=True, author="eva")
        await until(two, run, lambda seen: seen.steps[0].state is StepState.DONE)
        with pytest.raises(UsageError, match="is not led from here"):
            two.hands.answer(run, "2", yes=True, author="otto")
        one.hands.answer(run, "2", yes=yes, author="eva")
        if yes:
            assert (await over(one, run)).state is RunState.DONE
            assert made.hosts["gpu-a02"].notes == ["gpu-a02 vllm:8000 has rested"]
            assert made.servers["gpu-a02"].state == "ready"
            return
        await until(one, run, lambda seen: "eva said no" in seen.says)
        one.hands.roll_back(run, "eva")
        assert (await over(one, run)).state is RunState.ROLLED_BACK
        assert made.servers["gpu-a02"].state == "ready"


async def test_a_run_that_is_left_goes_on_from_elsewhere(tmp_path: Path) -> None:
    async with town(tmp_path) as (made, console):
        one, two = await console().start(), await console().start()
        made.sticky = True
        plan = await drafted(one, "drain-replica")
        run = one.hands.start(plan, author="eva")
        await until(one, run, lambda seen: seen.steps[2].state is StepState.RUNNING)
        one.hands.leave(run)
        seen = await until(two, run, lambda seen: seen.plan == plan)
        assert (seen.ours, "continue" in seen.may) == (False, True)
        made.sticky = False
        two.hands.resume(run, "otto")
        assert (await over(two, run)).state is RunState.DONE
        assert len(made.took()) == 1


async def test_a_defect_in_one_run_ends_neither_the_console_nor_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with town(tmp_path) as (_, console):
        one = await console().start()
        plan = await drafted(one, "drain-replica")

        def broken(*_: object) -> None:
            raise KeyError("a defect")

        with monkeypatch.context() as patch:
            patch.setattr("cockpit.runtime.leading.decide", broken)
            run = one.hands.start(plan, author="eva")
            async with asyncio.timeout(10):
                while not one.hands.trouble(run):
                    await asyncio.sleep(0.005)
        assert "cannot lead it any further" in one.hands.trouble(run)
        seen = await until(one, run, lambda seen: "continue" in seen.may)
        assert not seen.ours
        one.hands.resume(run, "eva")
        assert (await over(one, run)).state is RunState.DONE


async def test_words_that_mean_no_run_are_refused(tmp_path: Path) -> None:
    async with town(tmp_path) as (_, console):
        one = await console().start()
        for ask in (one.hands.abort, one.hands.resume, one.hands.roll_back):
            with pytest.raises(UsageError, match="no run '1234'"):
                ask("1234", "eva")
        assert one.hands.run("") is None


# Killed at every boundary of every step: another console goes on, and nothing runs twice.


def _counts(request: Request) -> bool:
    """What changes something or writes it down: looks and signs of life pass uncounted."""
    if isinstance(request, RunSays):
        return request.what is not Said.RENEW
    return isinstance(request, Act) and request.mode is not ActMode.DRY


class Killed:
    """Lets so many requests through; at the next the console is dead, before or after the agent has it."""

    def __init__(self, after: int, how: str) -> None:
        self.left, self.how = after, how
        self.dead = asyncio.Event()
        self.count = 0

    def __call__(self, host: TownHost, request: Request) -> str:
        if not _counts(request):
            return "before" if self.dead.is_set() else ""
        self.count += 1
        if self.dead.is_set():
            return "before"
        if self.left == 0:
            self.dead.set()
            return self.how
        self.left -= 1
        return ""


async def _killed(tmp_path: Path, runbook: str, after: int, how: str) -> None:
    async with town(tmp_path) as (made, console):
        one = await console().start()
        plan = await drafted(one, runbook)
        death = Killed(after, how)
        made.fault = death
        run = one.hands.start(plan, author="eva")
        async with asyncio.timeout(20):
            while not death.dead.is_set() and view(one, run).state not in OVER:
                await asyncio.sleep(0.002)
        await one.kill()
        made.fault = lambda host, request: ""
        await _continued(made, await console().start(), run, plan)


async def _continued(made: Town, two: Console, run: str, plan: Plan) -> None:
    """The second console sees what the first left, goes on with it, and world and ledgers agree."""
    known = [name for name, host in made.hosts.items() if host.hands._runs.get(run)]
    if not known:
        assert made.done == [], "what nobody wrote down was not begun"
        return
    seen = await until(two, run, lambda seen: seen.plan == plan or seen.state in OVER)
    if len(known) < len(plan.hosts):
        assert made.done == [], "what not all of its hosts wrote down was not begun"
        two.hands.resume(run, "otto")
        await until(two, run, lambda _: "was not told of this run" in two.hands.trouble(run))
        two.hands.abort(run, "otto")
        seen = await over(two, run)
        assert (seen.state, made.done) == (RunState.ABORTED, [])
        return
    if seen.state not in OVER:
        two.hands.resume(run, "otto")
        seen = await over(two, run)
    assert seen.state is RunState.DONE, seen.says
    assert len(made.took()) == len(set(made.took())), made.took()
    wanted = [step.action for step in plan.steps if step.kind is StepKind.ACTION]
    assert [action for _, action, _ in made.done] == wanted
    assert made.servers["gpu-a02"].state == ("drain" if plan.runbook == "drain-replica" else "ready")
    assert made.least == 2


@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.parametrize(("runbook", "after"), [("restart-replica", 6), ("restart-replica", 11), ("drain-replica", 3)])
async def test_a_console_killed_at_a_boundary_leaves_a_run_that_another_goes_on_with(
    runbook: str, after: int, how: str, tmp_path: Path
) -> None:
    await _killed(tmp_path, runbook, after, how)


@pytest.mark.more
@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.parametrize("runbook", ["drain-replica", "restart-replica"])
async def test_a_console_killed_at_any_boundary_leaves_a_run_that_another_goes_on_with(
    runbook: str, how: str, tmp_path: Path
) -> None:
    (tmp_path / "whole").mkdir()
    async with town(tmp_path / "whole") as (made, console):
        one = await console().start()
        whole = Killed(1_000, how)
        made.fault = whole
        assert (await over(one, one.hands.start(await drafted(one, runbook), author="eva"))).state is RunState.DONE
    assert whole.count >= 9
    for after in range(whole.count):
        folder = tmp_path / str(after)
        folder.mkdir()
        await _killed(folder, runbook, after, how)


@pytest.mark.more
async def test_a_run_that_is_left_alone_is_an_orphan_and_its_drain_is_taken_back(tmp_path: Path) -> None:
    async with town(tmp_path) as (made, console):
        one, two = await console().start(), await console().start()
        made.sticky = True
        run = one.hands.start(await drafted(one, "restart-replica"), author="eva")
        await until(one, run, lambda seen: seen.steps[2].state is StepState.RUNNING)
        await one.kill()
        seen = await until(two, run, lambda seen: seen.state is RunState.ORPHANED)
        assert seen.says.startswith("nobody leads it: eva was last heard ")
        seen = await until(two, run, lambda seen: seen.steps[1].state is StepState.UNDONE)
        assert made.servers["gpu-a02"].state == "ready"
        assert "step 2 does not hold any more (taken back by" in seen.says
        assert seen.may == ("abort",)
        two.hands.abort(run, "otto")
        assert (await over(two, run)).state is RunState.ABORTED
        assert [action for _, action, _ in made.done] == ["haproxy.drain", "haproxy.ready"]


@pytest.mark.parametrize("knows", ["nothing of it", "another plan"])
async def test_a_run_that_one_host_made_up_does_nothing_at_another(knows: str, tmp_path: Path) -> None:
    """A host that was taken over may tell of any run: an operator who goes on with it acts on no host that was not told
    of this very plan."""
    async with town(tmp_path) as (made, console):
        one = await console().start()
        plan = await drafted(one, "restart-replica")
        balancer = one.hands._owner.fleet.hosts[one.host("lb-01")].host_id
        assert {step.target.host_id for step in plan.steps} > {balancer}
        other = await drafted(one, "drain-replica")
        told = {"gpu-a02": plan} | ({"lb-01": other} if knows == "another plan" else {})
        for name, said in told.items():
            word = RunSays(0, f"{plan.id}/begun", plan.id, Said.BEGUN, "mallory#0000", runbook=said.runbook,
                           subject=REPLICA, plan=packed(replace(said, id=plan.id)), plan_hash=said.hash)  # fmt: skip
            await made.hosts[name].hands.answer(word, made.hosts[name].who)
            seen = await until(one, plan.id, lambda seen: seen.plan == plan)
        one.hands.resume(seen.id, "eva")
        await until(one, plan.id, lambda _: bool(one.hands.trouble(plan.id)) or bool(made.done))
        assert made.done == []
        assert "lb-01" in one.hands.trouble(plan.id)
