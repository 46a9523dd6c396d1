"""What it takes before anything is done: a key, a yes, or the name of the target typed, by the plan's risk.

Rule: no option stands for more than it says. `--yes` is a yes, `--confirm NAME` the typed name, `--override GUARD` the
one guard; where nobody can be asked, what is missing is refused before anything is sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cockpit.cli.printing import plain
from cockpit.cli.terminal import Terminal, at_terminal
from cockpit.errors import UsageError
from cockpit.inventory import did_you_mean
from cockpit.runbook.records import Plan, StepKind

YES = "yes"


@dataclass(frozen=True, slots=True)
class Consent:
    """What the command line already says: `yes`, the name given by `--confirm`, the guards to be passed. `asks`:
    whether there is somebody to ask."""

    yes: bool
    name: str
    overrides: tuple[str, ...]
    asks: bool


def consent_of(*, yes: bool, name: str, overrides: Sequence[str], json: bool) -> Consent:
    """What was said; a script that wants JSON is never asked."""
    return Consent(yes, name, tuple(overrides), not json and at_terminal())


def check(plan: Plan, consent: Consent) -> None:
    """That what the command line says suits the plan, before anybody is asked.

    Raises:
        UsageError: a name that is not the plan's, a guard that does not stand in the way, or something is missing
            where nobody can be asked.
    """
    name = plan.confirm if plan.confirm not in ("", YES) else plan.target.name
    if consent.name and consent.name != name:
        raise UsageError(f"--confirm {consent.name!r} is not what the plan is about: that is {name!r}")
    refused = [guard.id for guard in plan.refused]
    for guard in consent.overrides:
        if guard not in refused:
            there = did_you_mean(guard, refused) if refused else "; no guard stands in the way"
            raise UsageError(f"--override {guard!r}: that guard does not forbid this plan{there}")
    if consent.asks:
        return
    typed = plan.confirm not in ("", YES) or bool(consent.overrides)
    if typed and not consent.name:
        why = "passes a guard" if consent.overrides else "cannot be undone, or takes requests along"
        raise UsageError(
            f"nobody can be asked here and this {why}: look first with --dry-run, then add --confirm '{name}'"
        )
    if not typed and not consent.yes and not consent.name:
        raise UsageError("nobody can be asked here: look first with --dry-run, then say it with --yes")


async def agreed(plan: Plan, consent: Consent, terminal: Terminal) -> bool:
    """Whether the operator wants this plan; each guard to be passed is typed, too."""
    for guard in plan.refused:
        if guard.id not in consent.overrides or consent.name:
            continue
        said = await terminal.answer(f"{plain(guard.says)}; type {guard.id} to do it all the same: ")
        if said != guard.id:
            return False
    if consent.name:
        return True
    if plan.confirm not in ("", YES):
        return await terminal.answer(f"type {plain(plan.confirm)} to do it: ") == plan.confirm
    if consent.yes:
        return True
    if plan.confirm == YES or any(guard.soft and not guard.ok for guard in plan.guards):
        return await terminal.answer("type yes to do it: ") == YES
    return await terminal.confirm("do it?")


def asks_inside(plan: Plan) -> bool:
    """Whether the run itself will ask."""
    return any(step.kind is StepKind.ASK for step in plan.steps)
