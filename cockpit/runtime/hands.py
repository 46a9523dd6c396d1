"""What screens and commands use to act: what fits, a plan of it, and the runs, wherever they are led.

Rule: nothing is done that no plan has shown. How a run stands is read from the journals of its targets, so every
console sees the same and any of them can go on with it.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path

from agent.wire.errors import WireError
from cockpit.errors import RequestError, UsageError
from cockpit.fleet.targets import About
from cockpit.inventory import did_you_mean
from cockpit.runbook.fitting import Fit, fits
from cockpit.runbook.machine import Mind
from cockpit.runbook.records import Plan, RunState, RunView
from cockpit.runbook.shelf import Shelf
from cockpit.runtime import drafting, own
from cockpit.runtime.base import Owner
from cockpit.runtime.claims import Keepers
from cockpit.runtime.fetching import Progress, Sink, fetch, fetch_plan
from cockpit.runtime.leading import Leader, Order
from cockpit.runtime.story import Story

__all__ = ["Fit", "Hands", "Progress", "Sink"]

log = logging.getLogger(__name__)

PLANS_S = 1.0  # how often it is looked whether a plan of somebody else's run is still to be fetched
_TRIES = 3
_GOING = (RunState.RUNNING, RunState.WAITING, RunState.ORPHANED)


class Hands:
    """See the module. Everything happens in the loop that runs the runtime; `runbooks` is the operator's folder of
    own ones, None for the usual place."""

    def __init__(self, owner: Owner, runbooks: Path | None = None) -> None:
        self.version = 0
        self._owner = owner
        self._folder = runbooks
        self._shelf: Shelf | None = None
        self._token = secrets.token_hex(2)
        self._keepers = Keepers(owner)
        self._story = Story()
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._tried: dict[tuple[str, int], int] = {}

    @property
    def shelf(self) -> Shelf:
        """The runbooks of the library and the operator's own; read once."""
        if self._shelf is None:
            self._shelf = own.load(self._folder)
        return self._shelf

    def fits(self, about: About) -> tuple[Fit, ...]:
        """Every runbook and action that takes such a subject, those that can be done and are asked for first."""
        return fits(self._owner.fleet, self.shelf, about)

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
        """The plan of a runbook, or of a single action (`action:ID`): all agents are asked what would be done, and
        nothing is changed. What forbids it is a guard that does not hold (`Plan.refused`), not an error.

        Raises:
            UsageError: no such runbook, parameter or target.
            RequestError: what has to be known cannot be known.
        """
        wanted = drafting.wanted(self._owner, self.shelf, runbook, host, subject, params or {})
        return await drafting.draft(self._owner, replace(wanted, incident=incident, finding=finding))

    def start(self, plan: Plan, *, author: str, reason: str = "", overrides: tuple[str, ...] = ()) -> str:
        """Lead it from now on; the run's id. `overrides` are ids of guards that the operator passes by typed
        confirmation; soft ones need none.

        Raises:
            RequestError: the plan is refused, older than its data, or no longer what would be done.
        """
        if plan.id in self._story.leaders:
            raise RequestError("busy", f"{plan.title}: this plan has begun already, as run {plan.id}")
        drafting.may_start(self._owner, plan, overrides)
        self._story.plans[plan.id] = plan
        leader = self._leader(plan, author, reason, overrides)
        self._lead(leader, leader.begin)
        return plan.id

    def abort(self, run: str, author: str) -> None:
        """Stop after the step under way; what is done stays done. Once more: no longer wait for that step either."""
        self._want(run, Mind.STOP, author)

    def resume(self, run: str, author: str) -> None:
        """Go on with a run that nobody leads, or with one that stopped at a failed step: that is tried again."""
        self._want(run, Mind.ON, author)

    def roll_back(self, run: str, author: str) -> None:
        """Take back what was done, last first, as far as it can be."""
        self._want(run, Mind.BACK, author)

    def answer(self, run: str, step: str, yes: bool, author: str) -> None:
        """The operator's word on a step that asks."""
        leader = self._story.leaders.get(self._one(run).id)
        if leader is None or leader.over:
            raise UsageError(f"run {run} is not led from here: go on with it first")
        if not leader.answer(step, yes, author):
            raise UsageError(f"step {step} of run {run} does not wait for an answer")

    def leave(self, run: str) -> None:
        """Lead it no longer: others may go on with it; its leases run out by themselves."""
        task = self._tasks.pop(run, None)
        if task is not None:
            task.cancel()

    def runs(self) -> tuple[RunView, ...]:
        """All runs that any host tells of, ours and those of others, newest first."""
        return self._story.views(self._owner.fleet, self.version)

    def run(self, run: str) -> RunView | None:
        """One of them by its id or the beginning of it; None if nobody knows it or several begin so."""
        runs = self.runs()
        exact = next((one for one in runs if one.id == run), None)
        begun = [one for one in runs if run and one.id.startswith(run)]
        return exact or (begun[0] if len(begun) == 1 else None)

    def trouble(self, run: str) -> str:
        """Why a run that we led is not ours any more, or what its hosts did not hear; empty for nothing."""
        leader = self._story.leaders.get(run)
        return leader.trouble if leader is not None else ""

    async def fetch(
        self, host: int, key: str, part: str, sink: Sink, progress: Progress | None = None, begun: bytes = b""
    ) -> int:
        """The bytes of a part that the action `key` collected on a host, in order, those after `begun`; how many in
        all.

        Raises:
            RequestError: it is not there, cannot be had, or arrived damaged.
        """
        return await fetch(self._owner, host, key, part, sink, progress, begun=begun)

    # What the runtime calls.

    def stirred(self, host: int) -> None:
        """Something was heard of a host: the runs on it that we lead look again."""
        for run in self._tasks:
            leader = self._story.leaders[run]
            if self._owner.fleet.hosts[host].host_id in leader.plan.hosts:
                leader.stir()

    async def work(self) -> None:
        """Lead runs and fetch the plans of others until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                while True:
                    await self._owner.clock.sleep(PLANS_S)
                    await self._fetch_plans()
        finally:
            self._group = None

    # Inside.

    def _want(self, run: str, mind: Mind, author: str) -> None:
        seen = self._one(run)
        leader = self._story.leaders.get(seen.id)
        if leader is not None and not leader.over and not leader.ending:
            leader.want(mind, author)
            return
        word = {Mind.STOP: "abort", Mind.ON: "continue", Mind.BACK: "undo"}[mind]
        if word not in seen.may:
            raise UsageError(f"run {seen.id} cannot be {_PAST[mind]} now: it is {seen.state.value}")
        plan = self._story.plans.get(seen.id)
        if plan is None:
            raise RequestError("offline", f"the plan of run {seen.id} was not had from its hosts yet: try again soon")
        passed = dict.fromkeys(name for step in seen.steps if step.entry for name in step.entry.overrides)
        again, before = self._leader(plan, author, seen.reason, tuple(passed)), self._tasks.get(seen.id)

        async def take_over() -> None:
            if before is not None:
                await asyncio.wait([before])  # its last word is still on its way
            await again.take_over(onward=mind is Mind.ON)

        self._lead(again, take_over, lambda: again.want(mind, author))

    def _one(self, run: str) -> RunView:
        found = self.run(run)
        if found is None:
            known = [one.id for one in self.runs()]
            raise UsageError(f"no run {run!r}{did_you_mean(run, known)}; `gpu-cockpit actions` lists them")
        return found

    def _leader(self, plan: Plan, author: str, reason: str, overrides: tuple[str, ...]) -> Leader:
        order = Order(plan, author, self._token, reason, overrides)
        return Leader(self._owner, self._keepers, order, self._changed)

    def _lead(
        self, leader: Leader, first: Callable[[], Awaitable[None]], then: Callable[[], None] | None = None
    ) -> None:
        if self._group is None:
            raise RequestError("offline", f"{leader.plan.title}: nothing can be done before links run")
        run = leader.plan.id
        self._story.leaders[run] = leader
        self._tasks[run] = self._group.create_task(self._leading(leader, first, then), name=f"run:{run}")
        self._changed()

    async def _leading(
        self, leader: Leader, first: Callable[[], Awaitable[None]], then: Callable[[], None] | None
    ) -> None:
        try:
            await first()
            if then is not None:
                then()
            await leader.lead()
        except RequestError as error:
            leader.trouble = str(error)
        except Exception as error:
            log.exception("run %s", leader.plan.id)
            leader.trouble = f"this console cannot lead it any further ({type(error).__name__}): go on with it anew"
        finally:
            leader.over = True
            if self._tasks.get(leader.plan.id) is asyncio.current_task():
                del self._tasks[leader.plan.id]
            self._changed()

    async def _fetch_plans(self) -> None:
        fleet = self._owner.fleet
        told = self._story.told(fleet)
        self._tried = {key: tries for key, tries in self._tried.items() if key[0] in told}
        for run, number, wanted in self._story.missing(fleet):
            if run in self._story.plans or self._tried.get((run, number), 0) >= _TRIES:
                continue
            self._tried[run, number] = self._tried.get((run, number), 0) + 1
            try:
                self._story.plans[run] = await fetch_plan(self._owner, number, run, wanted)
            except (RequestError, WireError):
                continue  # another host may have it; without it the run is shown by its ledger
            self._changed()

    def _changed(self) -> None:
        self.version += 1


_PAST = {Mind.STOP: "aborted", Mind.ON: "continued", Mind.BACK: "rolled back"}
