"""Fleets that somebody acts on: a staged night with hands that draft and lead without hosts, and plans made by hand."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from textual.pilot import Pilot

from agent.wire.actions import Guard, Orphan, Risk
from cockpit.runbook.records import Blast, Plan, RunState, RunView, Step, StepKind, StepState, StepView, Target
from cockpit.tui.app import CockpitApp
from tests.fakes.hands import FakeHands
from tests.tui.screen import press, running
from tests.tui.stage import START, StagedFeed

NOW = START + 400.0
HOST = Target("id-0003", "gpu-a03", "replica:vllm:8000", "gpu-a03 vllm:8000")
BALANCER = Target("id-0001", "lb-01", "backend:haproxy/llm/gpu-a03-8000", "lb-01 llm/gpu-a03-8000")
HELD = (
    Guard("policy", True, "systemd.restart on vllm@0.service is allowed to operator by rule 1"),
    Guard("floor", True, "3 of 4 stay ready, floor 2"),
    Guard("identity", True, "invocation 3f9c of vllm@0.service is the one that was found"),
)
BROKEN = Guard("floor", False, "2 servers of llm are ready and its floor is 2: draining one more goes below it")
SOFT = Guard("redundancy", False, "one failure more and llm is below its floor of 2", soft=True)
QUORUM = Guard("quorum", False, "1 of 3 keepers of chat-70b answers and 2 are needed")


def step(n: str, kind: StepKind, title: str, target: Target = HOST, **more: Any) -> Step:
    return Step(n, kind, title, target, **more)


STEPS = (
    step("1", StepKind.ACTION, "drain it at the balancer", BALANCER, action="haproxy.drain",
         command=("set server llm/gpu-a03-8000 state drain",), undo="set server llm/gpu-a03-8000 state ready",
         effect="no new requests; those in flight go on", lease_s=120.0, on_orphan=Orphan.AUTO, deadline_s=10.0),
    step("2", StepKind.WAIT, "wait until nothing is in flight", BALANCER, command=("scur = 0, qcur = 0, twice",),
         condition="drained", deadline_s=120.0),
    step("3", StepKind.ACTION, "restart vllm@0.service", action="systemd.restart",
         command=("systemctl restart -- vllm@0.service",), effect="the model is loaded anew, about 90 s",
         risk=Risk.MEDIUM, deadline_s=180.0),
    step("4", StepKind.WAIT, "wait until it is ready", condition="ready", deadline_s=300.0),
    step("5", StepKind.ACTION, "put it back", BALANCER, action="haproxy.ready",
         command=("set server llm/gpu-a03-8000 state ready",), undo="set server llm/gpu-a03-8000 state drain",
         deadline_s=10.0),
)  # fmt: skip
BLAST = Blast(("gpu-a03 vllm:8000",), ("chat-70b",), 12, 4, 3, 4, 2, True, 1240.0)
PLAN = Plan(
    "1a2b3c4d", "restart-replica", "drain, restart, put back", HOST, {"deadline_s": "120"}, STEPS, HELD,
    "vllm:8000 is ready again within 5 minutes and takes requests", BLAST, Risk.MEDIUM, "yes", "9f86d081", NOW - 0.4,
    NOW + 59.6, "7f3a91c2", "7f3a91c2",
)  # fmt: skip
LOW = replace(PLAN, runbook="collect-diagnostics", title="collect what explains it", steps=(STEPS[1],), risk=Risk.LOW,
              confirm="", blast=Blast(), expected="a bundle that can be fetched")  # fmt: skip
VICTIM = Target("id-0003", "gpu-a03", "process:4711", "gpu-a03 process 4711")
KILL = step("1", StepKind.ACTION, "stop process 4711", VICTIM,
            action="process.stop", command=("pidfd_send_signal(4711, SIGTERM)", "after 10 s: SIGKILL"), risk=Risk.HIGH,
            effect="what it computes is lost")  # fmt: skip
DANGER = replace(PLAN, runbook="action:process.stop", title="end a process that holds a GPU", target=KILL.target,
                 params={}, steps=(KILL,), risk=Risk.HIGH, confirm="gpu-a03 process 4711",
                 blast=Blast(("gpu-a03 vllm:8000",), ("chat-70b",), 12, 2, 1, 4, 2, False, None),
                 expected="it no longer holds GPU 3")  # fmt: skip
REFUSED = replace(
    PLAN, guards=(*HELD[::2], BROKEN), blast=replace(BLAST, ready_before=2, ready_after=1, n_plus_one=False)
)


def view_of(plan: Plan = PLAN, state: RunState = RunState.RUNNING, done: int = 1, **more: Any) -> RunView:
    """A run of a plan: `done` steps are over, the next is under way, if the run is."""
    steps = []
    for at, one in enumerate(plan.steps):
        if at < done:
            began = NOW - 30 + at
            steps.append(StepView(one, StepState.DONE, "seen in the world", began, began + 0.4, lines=("said", "done")))
        elif at == done and state is RunState.RUNNING:
            steps.append(
                StepView(one, StepState.RUNNING, "in flight: 3", NOW - 12, lines=("in flight 12", "in flight 3"))
            )
        else:
            steps.append(StepView(one, StepState.PENDING))
    known = {"by": "eva", "reason": "7f3a91c2: stuck", "began": NOW - 30, "ours": True, "may": ("abort",), **more}
    return RunView(plan.id, plan, state, str(known.pop("says", "")), tuple(known.pop("steps", steps)), **known)


def told(view: RunView, n: str, state: StepState, says: str, **more: Any) -> RunView:
    """The same run with one step elsewhere."""
    steps = tuple(replace(one, state=state, says=says, **more) if one.step.n == n else one for one in view.steps)
    return replace(view, steps=steps)


class Acting:
    """A staged night, with hands."""

    def __init__(self, feed: StagedFeed) -> None:
        self.feed = feed
        self.hands = FakeHands(feed.fleet, lambda: feed.clock.now().wall)
        self.feed.hands = self.hands

    @property
    def started(self) -> list[tuple[Any, ...]]:
        """What was asked of the hands that changes anything."""
        return [said for said in self.hands.said if said[0] != "draft"]

    @property
    def run(self) -> str:
        """The id of the first run."""
        return self.hands.runs()[-1].id

    def advance(self, times: int = 1, seconds: float = 0.0) -> None:
        """The newest run goes on."""
        for _ in range(times):
            self.hands.advance(self.hands.runs()[0].id)
        self.feed.clock.at += seconds

    @asynccontextmanager
    async def on(self, *keys: str, size: tuple[int, int] = (80, 24)) -> AsyncIterator[tuple[CockpitApp, Pilot[None]]]:
        async with running(self.feed, size) as (app, pilot):
            app.view.author = "eva"
            for key in keys:
                await press(pilot, key)
            yield app, pilot
