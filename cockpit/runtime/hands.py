"""What screens and commands use to act: what fits, a plan of it, and the runs, wherever they are led.

Rule: nothing is done that no plan has shown. How a run stands is read from the journals of its targets, so every
console sees the same and any of them can go on with it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agent.wire.actions import ParamSpec, Risk
from cockpit.errors import RequestError, UsageError
from cockpit.fleet.targets import About
from cockpit.runbook.records import Plan, RunView

Sink = Callable[[bytes], None]
Progress = Callable[[int, int], None]  # bytes had, bytes in all


@dataclass(frozen=True, slots=True)
class Fit:
    """One thing that can be done to what is meant, or `why_not` in a sentence. `id` is its name, or `action:ID` for a
    single action, `says` what it does; `named`: a finding that was named with it asks for this one."""

    id: str
    title: str
    says: str
    risk: Risk
    params: tuple[ParamSpec, ...] = ()
    why_not: str = ""
    named: bool = False

    @property
    def fits(self) -> bool:
        """Whether it can be drafted."""
        return not self.why_not


class Hands:
    """See the module. Everything happens in the loop that runs the runtime."""

    def fits(self, about: About) -> tuple[Fit, ...]:
        """Every runbook and action that takes such a subject, those that can be done and are asked for first."""
        return ()

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
        raise RequestError("offline", f"{runbook}: nothing can be drafted before links run")

    def start(self, plan: Plan, *, author: str, reason: str = "", overrides: tuple[str, ...] = ()) -> str:
        """Lead it from now on; the run's id. `overrides` are ids of guards that the operator passes by typed
        confirmation; soft ones need none.

        Raises:
            RequestError: the plan is refused, older than its data, or no longer what would be done.
        """
        raise RequestError("denied", f"{plan.title}: nothing can be started before links run")

    def abort(self, run: str, author: str) -> None:
        """Stop after the step under way; what is done stays done. Once more: no longer wait for that step either."""
        raise UsageError(f"no run {run!r}")

    def resume(self, run: str, author: str) -> None:
        """Go on with a run that nobody leads, or with one that stopped at a failed step: that is tried again."""
        raise UsageError(f"no run {run!r}")

    def roll_back(self, run: str, author: str) -> None:
        """Take back what was done, last first, as far as it can be."""
        raise UsageError(f"no run {run!r}")

    def answer(self, run: str, step: str, yes: bool, author: str) -> None:
        """The operator's word on a step that asks."""
        raise UsageError(f"no run {run!r}")

    def leave(self, run: str) -> None:
        """Lead it no longer: others may go on with it; its leases run out by themselves."""

    def runs(self) -> tuple[RunView, ...]:
        """All runs that any host tells of, ours and those of others, newest first."""
        return ()

    def run(self, run: str) -> RunView | None:
        """One of them by its id or the beginning of it; None if nobody knows it or several begin so."""
        return None

    async def fetch(self, host: int, key: str, part: str, sink: Sink, progress: Progress | None = None) -> int:
        """The bytes of a part that the action `key` collected on a host, in order; how many.

        Raises:
            RequestError: it is not there, cannot be had, or arrived damaged.
        """
        raise RequestError("offline", f"{part}: cannot be fetched before links run")

    @property
    def version(self) -> int:
        """Grows whenever a run changed."""
        return 0
