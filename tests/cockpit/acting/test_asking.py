"""What an operator at a terminal is asked before a run and while it goes on, and what ctrl-c does."""

import asyncio
import io
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from agent.wire.actions import Guard
from cockpit.cli.acting import follow
from cockpit.cli.acting.asking import Consent, agreed
from cockpit.cli.acting.follow import Follower
from cockpit.cli.progress import Progress
from cockpit.clock import SystemClock
from cockpit.fleet.state import Fleet
from cockpit.inventory import HostEntry, UnixTarget
from cockpit.runbook.records import RunState, RunView, StepState
from tests.cockpit.fleets import feed
from tests.fakes.hands import FakeHands
from tests.fakes.hosts import FakeHost

NOBODY = Consent(yes=False, name="", overrides=(), asks=True)


@dataclass
class Keys:
    """An operator who types these answers, one a question; `at` is called with each question before."""

    answers: list[str]
    at: Callable[[str], None] = lambda _: None
    asked: list[str] = field(default_factory=list)

    async def answer(self, text: str) -> str:
        self.asked.append(text)
        self.at(text)
        await asyncio.sleep(0)
        return self.answers.pop(0)

    async def confirm(self, text: str) -> bool:
        return (await self.answer(text)) in ("y", "yes")


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> FakeHands:
    monkeypatch.setattr(follow, "TICK_S", 0.001)
    fleet = Fleet([HostEntry("n01", UnixTarget("/run/x"), {})])
    replica = {"id": "vllm:8000", "engine": "vllm", "port": 8000}
    feed(fleet, 0, FakeHost("n01", gpus=1), replicas=[replica])
    return FakeHands(fleet, lambda: 1000.0, auto=True)


async def followed(hands: FakeHands, keys: Keys, runbook: str, subject: str = "replica:vllm:8000") -> RunView:
    plan = hands.plan(runbook, 0, subject)
    hands.start(plan, author="eva")
    clock = SystemClock()
    follower = Follower(hands, clock, keys, "eva", asks=True, yes=False, form="text")  # type: ignore[arg-type]
    hands.interrupt = follower._stop.set  # type: ignore[attr-defined]
    return await follower.follow(plan.id, Progress(clock, io.StringIO(), lambda: ""))


@pytest.mark.parametrize(
    ("runbook", "typed", "wanted"),
    [
        ("restart-replica", "yes", True), ("restart-replica", "y", False), ("restart-replica", "", False),
        ("action:process.stop", "n01 vllm:8000", True), ("action:process.stop", "yes", False),
    ],
)  # fmt: skip
async def test_the_risk_decides_what_is_to_be_typed(hands: FakeHands, runbook: str, typed: str, wanted: bool) -> None:
    plan = hands.plan(runbook, 0, "replica:vllm:8000")
    assert await agreed(plan, NOBODY, Keys([typed])) is wanted  # type: ignore[arg-type]


async def test_a_guard_is_passed_by_typing_its_name_and_the_plan_is_still_confirmed(hands: FakeHands) -> None:
    hands.guards = (Guard("quorum", False, "2 of 5 keepers answered"),)
    plan = hands.plan("restart-replica", 0, "replica:vllm:8000")
    consent = Consent(yes=False, name="", overrides=("quorum",), asks=True)
    keys = Keys(["quorum", "yes"])
    assert await agreed(plan, consent, keys)  # type: ignore[arg-type]
    assert "2 of 5 keepers answered; type quorum to do it all the same" in keys.asked[0]
    assert not await agreed(plan, consent, Keys(["yes", "yes"]))  # type: ignore[arg-type]


@pytest.mark.parametrize(("typed", "state"), [("y", RunState.DONE), ("n", RunState.ABORTED), ("", RunState.ABORTED)])
async def test_what_a_run_asks_is_asked(hands: FakeHands, typed: str, state: RunState) -> None:
    keys = Keys([typed])
    assert (await followed(hands, keys, "quarantine-host", "host")).state is state
    assert keys.asked == ["the host is left to you: go on? [y/N] "]


@pytest.mark.parametrize(
    ("typed", "state", "said"),
    [("s", RunState.ABORTED, "abort"), ("l", RunState.ORPHANED, "leave"), ("g", RunState.DONE, None)],
)
async def test_ctrl_c_asks_what_is_to_become_of_the_run(
    hands: FakeHands, typed: str, state: RunState, said: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = Keys([typed])
    looks = hands.advance
    count = 0

    def advance(run: str) -> None:
        nonlocal count
        count += 1
        if count == 3:
            hands.interrupt()  # type: ignore[attr-defined]
        looks(run)

    hands.advance = advance  # type: ignore[method-assign]
    assert (await followed(hands, keys, "restart-replica")).state is state
    assert keys.asked == ["[s]top after this step, [l]eave it to its leases, or [g]o on? "]
    assert "what is done stays done" in capsys.readouterr().out
    assert (said is None) or said in [word for word, *_ in hands.said]


async def test_ctrl_c_at_the_question_leaves(hands: FakeHands) -> None:
    keys = Keys(["g"])

    async def never(text: str) -> str:
        keys.asked.append(text)
        hands.interrupt()  # type: ignore[attr-defined]
        await asyncio.Event().wait()
        return ""

    keys.answer = never  # type: ignore[method-assign]
    looks, count = hands.advance, 0

    def advance(run: str) -> None:
        nonlocal count
        count += 1
        if count == 3:
            hands.interrupt()  # type: ignore[attr-defined]
        looks(run)

    hands.advance = advance  # type: ignore[method-assign]
    assert (await followed(hands, keys, "restart-replica")).state is RunState.ORPHANED


@pytest.mark.parametrize(
    ("typed", "state"), [("t", RunState.DONE), ("r", RunState.ROLLED_BACK), ("s", RunState.ABORTED)]
)
async def test_a_step_that_failed_is_tried_again_taken_back_or_left(
    hands: FakeHands, typed: str, state: RunState
) -> None:
    hands.ends["3"] = (StepState.FAILED, "Job failed")
    hands.waits = True
    keys = Keys([typed], at=lambda _: hands.ends.clear())
    assert (await followed(hands, keys, "restart-replica")).state is state
    assert keys.asked == ["step 3 failed: Job failed: [t]ry again, [r]oll back, or [s]top here? "]
