"""PURE. What can be done to something, and why the rest cannot: the menu behind `x`.

Rule: judged by what the fleet knows, without asking anybody; the plan asks. What a finding's rule names stands first,
also where it cannot be done here yet: then the sentence says so.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agent.wire.actions import ParamSpec, Risk
from agent.wire.specs import ActionSpec
from cockpit.errors import CockpitError
from cockpit.fleet.annotations import HOST
from cockpit.fleet.state import Fleet
from cockpit.fleet.targets import About
from cockpit.runbook.advice import ADVICE
from cockpit.runbook.expand import expand, meant
from cockpit.runbook.plan import WORST
from cockpit.runbook.recipe import Recipe
from cockpit.runbook.records import StepKind
from cockpit.runbook.scene import scene
from cockpit.runbook.shelf import Shelf, single

_OWNERS = frozenset({"systemd", "container"})


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


def fits(fleet: Fleet, shelf: Shelf, about: About) -> tuple[Fit, ...]:
    """Runbooks first, then actions; of each those that are asked for, then those that can be done."""
    words = tuple(dict.fromkeys(finding.runbook for finding in about.findings if finding.runbook))
    asked = {name for word in words for name in (word, *(ADVICE[word].runbooks if word in ADVICE else ()))}
    books = [_fit(fleet, shelf, recipe, about, named=recipe.id in asked) for recipe in shelf.recipes.values()]
    books += [later for word in words if (later := _later(word, shelf)) is not None]
    kind = HOST if about.subject == HOST else about.subject.partition(":")[0]
    record = fleet.hosts[about.host]
    actions = [
        _fit(fleet, shelf, single(spec), about, named=False)
        for spec in record.hands.specs.values()
        if kind in spec.subjects
    ]
    return (*sorted(books, key=_order), *sorted(actions, key=_order))


def _order(fit: Fit) -> tuple[bool, bool]:
    return not (fit.named and fit.fits), not (fit.fits or fit.named)


def _later(word: str, shelf: Shelf) -> Fit | None:
    """What a rule names and nobody can run here."""
    if word in shelf.recipes:
        return None
    advice = ADVICE.get(word)
    if advice is None:
        return Fit(word, word, "", Risk.UNKNOWN, (), f"there is no runbook {word} in this release", named=True)
    if not advice.says:
        return None
    then = f"; until then: {', '.join(advice.runbooks)}" if advice.runbooks else ""
    return Fit(word, advice.title, "", Risk.UNKNOWN, (), f"{advice.says}{then}", named=True)


def _fit(fleet: Fleet, shelf: Shelf, recipe: Recipe, about: About, *, named: bool) -> Fit:
    risk, why = _judged(fleet, shelf, recipe, about)
    return Fit(recipe.id, recipe.title, recipe.says, risk, recipe.params, why, named)


def _judged(fleet: Fleet, shelf: Shelf, recipe: Recipe, about: About) -> tuple[Risk, str]:
    """(risk, why not)."""
    try:
        found = meant(fleet, recipe, about.host, about.subject)
        made = expand(fleet, shelf, recipe, found, _filled(recipe))
    except CockpitError as error:
        return Risk.UNKNOWN, str(error)
    why = [*(says for _, says in made.cannot), *_not_its_owner(fleet, recipe, about)]
    risk = Risk.LOW
    for step in made.steps:
        if step.kind is not StepKind.ACTION:
            continue
        risk = max(risk, step.risk, key=WORST.index)
        why += _cannot(fleet, step.target.host, step.action)
    return risk, why[0] if why else ""


def _not_its_owner(fleet: Fleet, recipe: Recipe, about: About) -> Iterable[str]:
    """A replica in a container is not restarted by a unit, nor one in a unit by a container."""
    verb, owner = recipe.id.removeprefix("action:").partition(".")[0], scene(fleet, about.host, about.subject).owner
    if owner and verb in _OWNERS - {owner}:
        yield f"{owner} runs it: {owner}.* acts on it"


def _filled(recipe: Recipe) -> Mapping[str, str]:
    """Something for each parameter that has to be given: whether it fits does not depend on it."""
    return {spec.name: f"{spec.low:g}" if spec.high else "x" for spec in recipe.params if spec.needed}


def _cannot(fleet: Fleet, host: str, action: str) -> Iterable[str]:
    """Why an action cannot be done on a host now."""
    record = fleet.hosts[fleet.numbers[host]]
    spec: ActionSpec | None = record.hands.specs.get(action)
    if not record.live:
        yield f"{host} is {record.link.state.value.replace('_', ' ')}: it cannot be asked"
    elif not record.hands.specs:
        yield f"the agent of {host} has no hands: it is too old, or nothing lets it act"
    elif spec is None:
        yield f"the agent of {host} offers no {action}; update it"
    elif spec.missing:
        yield f"{host}: {spec.missing}"
    elif action not in record.hands.may:
        yield f"{host}: no policy lets {f'the role {record.role}' if record.role else 'you'} do {action}"
