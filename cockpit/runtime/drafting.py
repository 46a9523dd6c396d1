"""Plans, made by asking every agent of them what it would do. Rule: nothing is changed by asking, and an agent that
does not answer is a guard that does not hold, not an error."""

import asyncio
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import replace

from agent.wire.actions import Act, Acted
from cockpit.errors import RequestError
from cockpit.fleet.state import Fleet
from cockpit.runbook import cost
from cockpit.runbook.expand import expand, meant
from cockpit.runbook.guards import PASSABLE, Case, guards
from cockpit.runbook.packing import TooLarge, packed
from cockpit.runbook.plan import Answer, Draft, assembled, questions
from cockpit.runbook.records import Plan, Step
from cockpit.runbook.scene import Scene, host_number, replicas_of
from cockpit.runbook.scene import of_row as scene_of
from cockpit.runbook.shelf import Shelf
from cockpit.runtime.base import ASK_S, Owner, ask

AT_ONCE = 8


async def draft(owner: Owner, wanted: Draft) -> Plan:
    """The plan of what is wanted, with the answers of all agents.

    Raises:
        RequestError: it is too long to be written down.
    """
    turns = asyncio.Semaphore(AT_ONCE)
    answers: dict[str, Answer] = {}

    async def one(step: Step, act: Act) -> None:
        async with turns:
            answers[step.n] = await _answer(owner, step, act)

    async with asyncio.TaskGroup() as group:
        for step, act in questions(wanted):
            group.create_task(one(step, act))
    clock = owner.clock
    plan = assembled(replace(wanted, answers=answers), owner.fleet, clock.now().wall, clock.speed)
    try:
        packed(plan)
    except TooLarge:
        raise RequestError(
            "too_large", f"{plan.title}: {len(plan.steps)} steps are more than a journal takes; do part of it"
        ) from None
    return plan


def wanted(owner: Owner, shelf: Shelf, name: str, host: int, subject: str, params: Mapping[str, str]) -> Draft:
    """What is to be planned, before anybody is asked.

    Raises:
        UsageError: there is no such runbook, parameter or target.
    """
    fleet = owner.fleet
    recipe = shelf.find(name, fleet.hosts[host].hands.specs)
    about = meant(fleet, recipe, host, subject)
    made = expand(fleet, shelf, recipe, about, params)
    return Draft(secrets.token_hex(4), recipe, about, made, asked_at=owner.clock.now().wall)


async def _answer(owner: Owner, step: Step, act: Act) -> Answer:
    try:
        answer = await ask(owner, step.target.host_id, act, ASK_S)
    except RequestError as error:
        return Answer(None, error.code, str(error))
    if isinstance(answer, Acted):
        return Answer(answer)
    return Answer(None, "odd", f"{step.target.host} answers something else; update its agent")


def may_start(owner: Owner, plan: Plan, overrides: Iterable[str]) -> None:
    """Whether a plan may begin now: what was seen is looked at again, as far as the fleet knows it.

    Raises:
        RequestError: it may not; says what to try.
    """
    fleet, now = owner.fleet, owner.clock.now().wall
    passed = frozenset(overrides) & PASSABLE
    stop = next((guard for guard in plan.refused if guard.id not in passed), None)
    if stop is not None:
        raise RequestError("refused", f"{plan.title}: {stop.says}")
    if now > plan.good_until:
        raise RequestError("stale", f"{plan.title}: the plan is older than its data; have it made anew")
    for step in plan.steps:
        number = host_number(fleet, step.target.host_id)
        if number is None or fleet.hosts[number].name != step.target.host:
            raise RequestError("gone", f"{step.target.host} is another machine now; have the plan made anew")
    out = cost.outage(fleet, plan.steps)
    for guard in guards(Case(fleet, plan.steps, scenes(fleet, plan), out, plan.id)):
        if not guard.ok and not guard.soft and guard.id not in passed:
            raise RequestError("refused", f"{plan.title}: {guard.says}")


def scenes(fleet: Fleet, plan: Plan) -> tuple[Scene, ...]:
    """The replicas that a plan is about, as they are now."""
    rows: dict[int, None] = {}
    for step in plan.steps:
        number = host_number(fleet, step.target.host_id)
        if number is not None and step.target.subject not in ("host",):
            rows |= dict.fromkeys(replicas_of(fleet, number, step.target.subject))
    return tuple(scene_of(fleet, row) for row in rows)
