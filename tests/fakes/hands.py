"""Hands without hosts: drafts plans over a small library, leads runs as far as a test says, and can end them badly.

They behave: what a guard forbids is not started, a plan older than its data is refused, what was done is not done
again by a resume, a roll-back takes back only what was done, newest first. `advance` is one change of state of a run;
with `auto` each look at `runs` is one, too. `said` has everything that was asked, in order.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from agent.wire.actions import ActionFacts, ActState, Guard, ParamSpec, Risk
from cockpit.errors import RequestError, UsageError
from cockpit.fleet.acting.names import target_name
from cockpit.fleet.state import Fleet
from cockpit.fleet.targets import About
from cockpit.inventory import did_you_mean
from cockpit.runbook.records import Blast, Plan, RunState, RunView, Step, StepKind, StepState, StepView, Target
from cockpit.runtime.hands import Fit, Hands, Progress, Sink

OVER = (RunState.DONE, RunState.FAILED, RunState.UNKNOWN, RunState.ABORTED, RunState.ROLLED_BACK)


@dataclass(frozen=True, slots=True)
class Recipe:
    """One runbook of the fake library: `steps` are (kind, title, action, command, undo)."""

    title: str
    says: str
    risk: Risk
    kinds: tuple[str, ...]
    steps: tuple[tuple[StepKind, str, str, str, str], ...]
    params: tuple[ParamSpec, ...] = ()


ACTION, WAIT, ASK = StepKind.ACTION, StepKind.WAIT, StepKind.ASK
DEADLINE = ParamSpec("deadline_s", "seconds", "how long requests may take to end", "120", low=1, high=3600)
_DRAIN = (
    ACTION,
    "take it out of the balancer",
    "haproxy.drain",
    "set server llm/s0 state drain",
    "set server llm/s0 state ready",
)
_READY = (ACTION, "put it back", "haproxy.ready", "set server llm/s0 state ready", "set server llm/s0 state drain")
_RESTART = (ACTION, "restart it", "systemd.restart", "systemctl restart -- vllm@8000.service", "")
LIBRARY: Mapping[str, Recipe] = {
    "restart-replica": Recipe(
        "restart a replica", "Drains a replica, restarts it and puts it back.", Risk.MEDIUM, ("replica",),
        (_DRAIN, (WAIT, "no request is in flight", "", "in_flight == 0", ""), _RESTART,
         (WAIT, "it is ready", "", "state == ready", ""), _READY),
        (DEADLINE,),
    ),
    "drain-replica": Recipe(
        "drain a replica", "Takes a replica out of the balancer.", Risk.MEDIUM, ("replica",),
        (_DRAIN, (WAIT, "no request is in flight", "", "in_flight == 0", "")), (DEADLINE,),
    ),
    "quarantine-host": Recipe(
        "quarantine a host", "Drains all its replicas.", Risk.HIGH, ("host",),
        ((ASK, "the host is left to you: go on?", "", "", ""), _DRAIN),
    ),
    "action:systemd.restart": Recipe(
        "restart its unit", "Restarts a unit.", Risk.MEDIUM, ("replica", "unit"), (_RESTART,)
    ),
    "action:process.stop": Recipe(
        "stop a process", "TERM, then KILL.", Risk.HIGH, ("process",),
        ((ACTION, "stop it", "process.stop", "pidfd_send_signal(4711, SIGTERM)", ""),),
    ),
}  # fmt: skip


@dataclass(slots=True)
class _Run:
    view: RunView
    undoing: bool = False
    aborting: str = ""
    overrides: tuple[str, ...] = ()


@dataclass
class FakeHands(Hands):
    """`guards` stand in every plan; `why_not` by recipe; `ends` by step number: (state, sentence) in place of done;
    `refuses` raises in place of a start; `now` is our wall clock; `bundle` what can be fetched."""

    fleet: Fleet
    now: Callable[[], float]
    auto: bool = False
    guards: tuple[Guard, ...] = (
        Guard("policy", True, "allowed by rule 1"),
        Guard("floor", True, "2 of 3 stay, floor 1"),
    )
    why_not: dict[str, str] = field(default_factory=dict)
    ends: dict[str, tuple[StepState, str]] = field(default_factory=dict)
    refuses: Exception | None = None
    bundle: bytes = b"bundle " * 1000
    cut_at: int | None = None
    waits: bool = False  # a run whose step failed waits for a word in place of ending
    said: list[tuple[Any, ...]] = field(default_factory=list)
    plans: list[Plan] = field(default_factory=list)
    version: int = 0
    _runs: dict[str, _Run] = field(default_factory=dict)

    def fits(self, about: About) -> tuple[Fit, ...]:
        """Every recipe for this kind of subject."""
        kind = about.subject.partition(":")[0]
        named = {finding.runbook for finding in about.findings}
        found = (
            Fit(id, recipe.title, recipe.says, recipe.risk, recipe.params, self.why_not.get(id, ""), id in named)
            for id, recipe in LIBRARY.items()
            if kind in recipe.kinds
        )
        return tuple(sorted(found, key=lambda fit: (bool(fit.why_not), not fit.named)))

    async def draft(
        self,
        runbook: str,
        host: int,
        subject: str,
        params: Mapping[str, str] | None = None,
        *,
        incident: str = "",
        finding: str = "",
    ) -> Plan:
        """The plan, or a sentence."""
        self.said.append(("draft", runbook, host, subject, dict(params or {})))
        recipe = LIBRARY.get(runbook)
        if recipe is None:
            raise UsageError(f"there is no runbook {runbook!r}{did_you_mean(runbook, list(LIBRARY))}")
        known = [spec.name for spec in recipe.params]
        for name in params or {}:
            if name not in known:
                raise UsageError(f"{runbook} has no parameter {name!r}{did_you_mean(name, known)}")
        if subject.partition(":")[0] not in recipe.kinds:
            raise UsageError(f"{runbook} is for a {recipe.kinds[0]}, not for {subject}")
        if why := self.why_not.get(runbook):
            raise UsageError(why)
        plan = self._plan(runbook, recipe, host, subject, dict(params or {}), incident, finding)
        self.plans.append(plan)
        return plan

    def start(self, plan: Plan, *, author: str, reason: str = "", overrides: tuple[str, ...] = ()) -> str:
        """Lead it from now on."""
        self.said.append(("start", plan.id, author, reason, tuple(overrides)))
        if self.refuses is not None:
            raise self.refuses
        if self.now() > plan.good_until:
            raise RequestError("stale", f"the plan for {plan.target.name} is older than its data: draft it anew")
        blocked = [guard for guard in plan.refused if guard.id not in overrides]
        if blocked:
            raise RequestError("denied", f"{plan.target.name}: {blocked[0].says}")
        self._begin(plan, author, reason, tuple(overrides))
        return plan.id

    def orphan(self, plan: Plan, *, author: str = "ann", steps_done: int = 1) -> str:
        """A run of another console, which was killed after so many steps."""
        self._begin(plan, author, "night shift", ())
        for _ in range(2 * steps_done):
            self.advance(plan.id)
        self._put(
            plan.id, state=RunState.ORPHANED, says="nobody leads it", ours=False, may=("continue", "undo", "abort")
        )
        return plan.id

    def abort(self, run: str, author: str) -> None:
        """Stop after the step under way; once more: at once."""
        self.said.append(("abort", run, author))
        known = self._known(run)
        busy = any(step.state is StepState.RUNNING for step in known.view.steps)
        if busy and not known.aborting and known.view.state is RunState.RUNNING:
            known.aborting = author
            self._put(run, says=f"{author} stops it after the step under way")
        else:
            self._aborted(run, author)

    def _aborted(self, run: str, author: str) -> None:
        self._put(run, state=RunState.ABORTED, says=f"aborted by {author}", ended=self.now(), may=("undo",))

    def resume(self, run: str, author: str) -> None:
        """Lead it from where it stands."""
        self.said.append(("resume", run, author))
        for step in self._known(run).view.steps:
            if step.state is StepState.FAILED:
                self._step(run, step.step.n, StepState.PENDING, "")
        self._put(run, state=RunState.RUNNING, says=f"continued by {author}", ended=None, ours=True, may=("abort",))

    def roll_back(self, run: str, author: str) -> None:
        """Take back what was done."""
        self.said.append(("roll_back", run, author))
        self._known(run).undoing = True
        self._put(run, state=RunState.RUNNING, says=f"rolled back by {author}", ended=None, ours=True, may=("abort",))

    def answer(self, run: str, step: str, yes: bool, author: str) -> None:
        """To an ask."""
        self.said.append(("answer", run, step, yes, author))
        view = self._known(run).view
        if yes:
            self._step(run, step, StepState.DONE, f"{author} said yes")
            self._put(run, state=RunState.RUNNING, says="", may=("abort",))
        elif view.state is RunState.WAITING:
            self._step(run, step, StepState.FAILED, f"{author} said no")
            self._put(run, state=RunState.ABORTED, says=f"{author} said no", ended=self.now(), may=("undo",))

    def leave(self, run: str) -> None:
        """Nobody leads it any more; its leases run out."""
        self.said.append(("leave", run))
        self._known(run)
        self._put(run, state=RunState.ORPHANED, says="left", ours=False, may=("continue", "undo", "abort"))

    def runs(self) -> tuple[RunView, ...]:
        """Newest first."""
        if self.auto:
            for run in list(self._runs):
                self.advance(run)
        return tuple(run.view for run in reversed(self._runs.values()))

    def run(self, run: str) -> RunView | None:
        """By its id or the beginning of it."""
        if self.auto and run in self._runs:
            self.advance(run)
        found = [known.view for id, known in self._runs.items() if run and id.startswith(run)]
        return found[0] if len(found) == 1 else None

    async def fetch(
        self, host: int, key: str, part: str, sink: Sink, progress: Progress | None = None, begun: bytes = b""
    ) -> int:
        """In pieces of a KiB."""
        self.said.append(("fetch", host, key, part, len(begun)))
        if not self.bundle.startswith(begun):
            raise RequestError("damaged", f"{part} arrived damaged: its hash is not the one that its agent gave")
        for at in range(len(begun), len(self.bundle), 1024):
            if self.cut_at is not None and at >= self.cut_at:
                raise RequestError("lost", "n01: the link was lost")
            sink(self.bundle[at : at + 1024])
            if progress is not None:
                progress(min(at + 1024, len(self.bundle)), len(self.bundle))
        return len(self.bundle)

    def trouble(self, run: str) -> str:
        """None is met here."""
        return ""

    def stirred(self, host: int) -> None:
        """Nothing waits for a host."""

    async def work(self) -> None:
        """Tests lead the runs."""
        await asyncio.Event().wait()

    def advance(self, run: str) -> None:
        """One change of state of a run: a step begins or ends, the run ends. Nothing where nothing can happen."""
        known = self._runs[run]
        view = known.view
        if view.state is not RunState.RUNNING:
            return
        if known.undoing:
            self._undo(run, view)
            return
        under_way = next((step for step in view.steps if step.state is StepState.RUNNING), None)
        if under_way is not None:
            self._end(run, under_way)
            return
        waiting = next((step for step in view.steps if step.state is StepState.PENDING), None)
        if waiting is None:
            self._put(run, state=RunState.DONE, says=view.plan.expected, ended=self.now(), may=("undo",))
        elif waiting.step.kind is StepKind.ASK:
            self._step(run, waiting.step.n, StepState.RUNNING, waiting.step.title)
            self._put(run, state=RunState.WAITING, says=waiting.step.title, may=("answer", "abort"))
        else:
            self._step(run, waiting.step.n, StepState.RUNNING, "", lines=(f"begun: {waiting.step.title}",))

    def _end(self, run: str, step: StepView) -> None:
        state, says = self.ends.get(step.step.n, (StepState.DONE, "seen in the world"))
        self._step(run, step.step.n, state, says, lines=(*step.lines, f"{state.value}: {says}"))
        if state is StepState.DONE and self._runs[run].aborting:
            self._aborted(run, self._runs[run].aborting)
        elif state is StepState.FAILED and self.waits:
            may = ("continue", "undo", "abort")
            self._put(run, state=RunState.WAITING, says=f"step {step.step.n} failed: {says}", may=may)
        elif state is StepState.FAILED:
            self._put(
                run,
                state=RunState.FAILED,
                says=f"step {step.step.n} failed: {says}",
                ended=self.now(),
                may=("undo", "continue"),
            )
        elif state is StepState.UNKNOWN:
            self._put(
                run, state=RunState.UNKNOWN, says=f"step {step.step.n}: {says}", ended=self.now(), may=("continue",)
            )

    def _undo(self, run: str, view: RunView) -> None:
        busy = next((step for step in view.steps if step.state is StepState.UNDOING), None)
        if busy is not None:
            self._step(run, busy.step.n, StepState.UNDONE, busy.step.undo)
            return
        left = [step for step in view.steps if step.state in (StepState.DONE, StepState.RUNNING) and step.step.undo]
        if left:
            self._step(run, left[-1].step.n, StepState.UNDOING, left[-1].step.undo)
        else:
            self._put(
                run, state=RunState.ROLLED_BACK, says="all that could be undone is undone", ended=self.now(), may=()
            )

    def _begin(self, plan: Plan, author: str, reason: str, overrides: tuple[str, ...]) -> None:
        if plan.id in self._runs:
            return
        steps = tuple(StepView(step, StepState.PENDING) for step in plan.steps)
        view = RunView(plan.id, plan, RunState.RUNNING, "", steps, author, reason, self.now(), None, True, ("abort",))
        self._runs[plan.id] = _Run(view, overrides=overrides)
        self.version += 1

    def _known(self, run: str) -> _Run:
        if run not in self._runs:
            raise UsageError(f"there is no run {run!r}{did_you_mean(run, list(self._runs))}")
        return self._runs[run]

    def _put(self, run: str, **changes: Any) -> None:
        known = self._runs[run]
        if changes.get("state") in OVER:
            changes["ours"] = False
        known.view = replace(known.view, **changes)
        self.version += 1

    def _step(self, run: str, n: str, state: StepState, says: str, lines: tuple[str, ...] | None = None) -> None:
        view = self._runs[run].view
        steps = tuple(
            self._told(view, step, state, says, step.lines if lines is None else lines) if step.step.n == n else step
            for step in view.steps
        )
        self._put(run, steps=steps)

    def _told(self, view: RunView, step: StepView, state: StepState, says: str, lines: tuple[str, ...]) -> StepView:
        over = state not in (StepState.PENDING, StepState.RUNNING, StepState.UNDOING)
        at = step.at if step.at is not None else self.now()
        entry = None
        if step.step.kind is StepKind.ACTION:
            word = {StepState.FAILED: ActState.FAILED, StepState.UNKNOWN: ActState.UNKNOWN}.get(state, ActState.DONE)
            entry = ActionFacts(
                f"{view.id}/{step.step.n}", step.step.action, step.step.target.subject,
                state=word if over else ActState.RUNNING, says=says, by=view.by, user="alice", reason=view.reason,
                run=view.id, step=step.step.n, runbook=view.plan.runbook, at=at, began=at,
                ended=self.now() if over else None, command=step.step.command, undo=step.step.undo,
            )  # fmt: skip
        return replace(
            step, state=state, says=says, at=at, ended=self.now() if over else None, entry=entry, lines=lines
        )

    def plan(self, runbook: str, host: int, subject: str) -> Plan:
        """A plan without a draft."""
        return self._plan(runbook, LIBRARY[runbook], host, subject, {}, "", "")

    def _plan(
        self, runbook: str, recipe: Recipe, host: int, subject: str, params: dict[str, str], incident: str, finding: str
    ) -> Plan:
        record = self.fleet.hosts[host]
        target = Target(record.host_id, record.name, subject, target_name(self.fleet, host, subject))
        steps = tuple(
            Step(
                str(n), kind, title, target, action, dict(params) if action else {}, (command,) if command else (),
                undo, condition=command if kind is WAIT else "", risk=recipe.risk if action else Risk.LOW,
            )
            for n, (kind, title, action, command, undo) in enumerate(recipe.steps, 1)
        )  # fmt: skip
        run = f"{len(self.plans) + 0x1A2B3C01:08x}"
        blast = Blast((subject,), ("llm",), 3, 3, 2, 3, 1, True, 420.0)
        confirm = target.name if recipe.risk is Risk.HIGH else "yes" if recipe.risk is Risk.MEDIUM else ""
        digest = hashlib.sha256(repr((runbook, subject, steps)).encode()).hexdigest()[:16]
        return Plan(
            run, runbook, recipe.title, target, params, steps, self.guards, "the replica is ready again", blast,
            recipe.risk, confirm, digest, self.now(), self.now() + 60.0, incident, finding,
        )  # fmt: skip
