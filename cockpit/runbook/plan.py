"""PURE. A plan from a recipe, what it is about, and what the agents answered to the dry run of each action.

Rule: what forbids a step is a guard that does not hold, with the agent's own sentence; nothing is left out because it
looks bad. Later steps of one plan find the world as earlier ones leave it, so what those change is not held against
them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agent.wire.actions import GUARDS, Act, Acted, ActMode, Guard, Risk
from cockpit.fleet.state import Fleet
from cockpit.runbook import cost
from cockpit.runbook.expand import Expanded
from cockpit.runbook.guards import Case, guards
from cockpit.runbook.packing import hashed
from cockpit.runbook.recipe import Recipe
from cockpit.runbook.records import Blast, Plan, Step, StepKind, Target
from cockpit.runbook.scene import Scene, target

GOOD_S = 60.0  # real seconds for which a plan may be confirmed
_STABLE = frozenset({"boot", "address", "id", "gpu", "name", "runtime", "engine"})
_BY_THEN = frozenset({"drained", "busy"})  # of a step after another one on the same thing: judged when it runs
WORST = (Risk.LOW, Risk.MEDIUM, Risk.HIGH, Risk.UNKNOWN)
_EACH = 3  # sentences of one guard that are told


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a dry run: the agent's answer, or the `code` and sentence of why there is none."""

    acted: Acted | None = None
    code: str = ""
    says: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """What is known before the agents are asked."""

    id: str
    recipe: Recipe
    about: Scene
    expanded: Expanded
    incident: str = ""
    finding: str = ""
    author: str = ""
    asked_at: float = 0.0
    answers: Mapping[str, Answer] = field(default_factory=dict)


def questions(draft: Draft) -> list[tuple[Step, Act]]:
    """The dry runs that the agents of its steps are to be asked; ids are the link's."""
    return [
        (step, Act(0, f"{draft.id}/{step.n}", ActMode.DRY, step.action, step.target.subject, step.params,
                   run=draft.id, step=step.n, runbook=draft.recipe.id, author=draft.author))
        for step in draft.expanded.steps
        if step.kind is StepKind.ACTION
    ]  # fmt: skip


def assembled(draft: Draft, fleet: Fleet, now: float, speed: float = 1.0) -> Plan:
    """The plan, good for `GOOD_S` real seconds after the oldest data that it rests on."""
    steps = _answered(draft)
    out = cost.outage(fleet, steps)
    case = Case(fleet, steps, draft.expanded.scenes, out, draft.id, draft.recipe.easing)
    said = {
        step.target.subject: answer.acted.action.before
        for step in steps
        if (answer := draft.answers.get(step.n)) and answer.acted is not None and step.action.startswith("haproxy.")
    }
    blast = cost.blast(fleet, out, said)
    told = [Guard(code, False, says) for code, says in draft.expanded.cannot]
    merged = merge([*told, *guards(case), *_of_agents(draft)])
    about = target(fleet, draft.about.host, draft.about.subject)
    risk = max((step.risk for step in steps if step.kind is StepKind.ACTION), key=WORST.index, default=Risk.LOW)
    as_of = min([draft.asked_at or now, *_captured(fleet, draft.expanded.scenes)])
    plan = Plan(
        draft.id, draft.recipe.id, f"{draft.recipe.title}: {about.name}", about, dict(draft.expanded.params), steps,
        merged, _expected(draft, about), blast, risk, _confirm(risk, about, blast), "", as_of, as_of + GOOD_S * speed,
        draft.incident, draft.finding,
    )  # fmt: skip
    return replace(plan, hash=hashed(plan))


def _answered(draft: Draft) -> tuple[Step, ...]:
    """The steps with what their agents said."""
    found, touched = [], dict[tuple[str, str], str]()
    for step in draft.expanded.steps:
        answer = draft.answers.get(step.n)
        if step.kind is StepKind.ACTION and answer is not None and answer.acted is not None:
            acted, key = answer.acted, (step.target.host_id, step.target.subject)
            later = touched.get(key)
            expect = {name: text for name, text in acted.expect.items() if later is None or name in _STABLE}
            # The agent was asked before anything was done: what it says of the end of the run is of its beginning.
            effect = acted.effect if later is None or not acted.effect else f"before step {later}: {acted.effect}"
            step = replace(  # noqa: PLW2901 - the same step, told more of
                step, command=acted.action.command, undo="" if step.keep else acted.action.undo, effect=effect,
                expect=expect,
            )  # fmt: skip
            touched.setdefault(key, step.n)
        found.append(step)
    return tuple(found)


def _of_agents(draft: Draft) -> Iterable[Guard]:
    """The guards of all dry runs, with the number of their step where they do not hold."""
    touched: set[str] = set()
    for step in draft.expanded.steps:
        if step.kind is not StepKind.ACTION:
            continue
        answer, replica = draft.answers.get(step.n), step.target.subject
        if answer is None or answer.acted is None:
            says = answer.says if answer is not None else f"{step.target.host} was not asked"
            yield Guard(_REACH.get(answer.code, "reach") if answer else "reach", False, f"step {step.n}: {says}")
            continue
        for guard in answer.acted.guards:
            if not guard.ok and guard.id in _BY_THEN and (touched or step.action in cost.GIVING):
                continue
            yield guard if guard.ok else replace(guard, says=f"step {step.n}: {guard.says}")
        touched.add(replica)


_REACH = {"denied": "role", "invalid": "tool", "unknown": "identity", "gone": "identity", "busy": "busy",
          "too_old": "tool", "missing": "tool"}  # fmt: skip


def merge(found: Iterable[Guard]) -> tuple[Guard, ...]:
    """One guard for each id that holds, and those that do not with a few of their sentences; bad ones first."""
    bad: dict[tuple[str, bool], list[str]] = {}
    good: dict[str, list[Guard]] = {}
    for guard in found:
        if guard.ok:
            good.setdefault(guard.id, []).append(guard)
        elif guard.says not in bad.setdefault((guard.id, guard.soft), []):
            bad[guard.id, guard.soft].append(guard.says)
    told = [
        Guard(name, False, "; ".join(says[:_EACH]) + (f"; and {len(says) - _EACH} more" if says[_EACH:] else ""), soft)
        for (name, soft), says in bad.items()
    ]
    told.sort(key=lambda guard: guard.soft)
    for name, same in good.items():
        if any(guard.id == name for guard in told):
            continue
        says = list(dict.fromkeys(guard.says for guard in same if guard.says))
        told.append(replace(same[0], says="; ".join(says[:2]) + (f"; and {len(says) - 2} more" if says[2:] else "")))
    return tuple(told[:GUARDS])


def _captured(fleet: Fleet, scenes: Sequence[Scene]) -> list[float]:
    """Our wall seconds at which the replicas were last read."""
    if "replica.state" not in fleet.replicas.fields:
        return []
    ages = [fleet.replicas.cell("replica.state", one.row).age_s for one in scenes if one.row is not None]
    return [fleet.replicas.now.wall - age for age in ages if age is not None]


def _expected(draft: Draft, about: Target) -> str:
    if not draft.recipe.expected:
        effects = [answer.acted.effect for answer in draft.answers.values() if answer.acted is not None]
        return next((effect for effect in effects if effect), "")
    words = {**draft.expanded.params, "target": about.name, "replica": about.name, "host": about.host,
             "pool": draft.about.pool, "floor": str(draft.about.floor), "server": about.name,
             "gpu": about.name}  # fmt: skip
    return draft.recipe.expected.format_map(words)


def _confirm(risk: Risk, about: Target, blast: Blast) -> str:
    """What it takes: nothing more than a key where it can be undone and nobody notices."""
    if risk in (Risk.HIGH, Risk.UNKNOWN):
        return about.name
    return "yes" if risk is Risk.MEDIUM or len(blast.replicas) > 1 else ""
