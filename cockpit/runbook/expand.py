"""PURE. A recipe and what it is about become the steps of a plan, in order, before any agent was asked.

Steps of several replicas of one batch go side by side: all are drained, then all are waited for. So a step that fails
stops its whole batch, and no later batch begins.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from agent.wire.actions import Risk
from agent.wire.params import WrongParam, settled
from agent.wire.specs import gpu_subject
from cockpit.errors import UsageError
from cockpit.fleet.annotations import HOST
from cockpit.fleet.records import HostRecord
from cockpit.fleet.state import Fleet
from cockpit.runbook.conditions import CONDITIONS
from cockpit.runbook.recipe import OWNER, Recipe, RecipeStep
from cockpit.runbook.records import STEPS, Step, StepKind, Target
from cockpit.runbook.scene import POOL, Scene, as_replica, of_row, replicas_of, scene, server_target, target
from cockpit.runbook.shelf import Shelf
from cockpit.runbook.whens import WHENS

JUDGED = 120  # steps that the console judges: what a journal keeps of one run


@dataclass(frozen=True, slots=True)
class Expanded:
    """The steps with their params and targets, and the replicas that they are about. `cannot` are sentences why a step
    cannot be planned at all: guards that do not hold. `params` are those of the recipe, settled."""

    steps: tuple[Step, ...]
    scenes: tuple[Scene, ...]
    params: Mapping[str, str]
    cannot: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class _Item:
    """One step of one thing, still with its placeholders."""

    step: RecipeStep
    scene: Scene
    about: Target
    words: Mapping[str, str]


def meant(fleet: Fleet, recipe: Recipe, host: int, subject: str) -> Scene:
    """What a recipe is about where `subject` is named: itself, the replica that it stands for, or its host.

    Raises:
        UsageError: the recipe does not take such a thing.
    """
    kind = HOST if subject == HOST else subject.partition(":")[0]
    if kind in recipe.subjects:
        return as_replica(fleet, host, subject) if kind == "replica" else _there(fleet, host, subject)
    if "replica" in recipe.subjects:
        return as_replica(fleet, host, subject)
    if HOST in recipe.subjects and kind != "pool":
        return scene(fleet, host, HOST)
    name = target(fleet, host, subject).name
    raise UsageError(f"{recipe.id} is for {' or '.join(recipe.subjects)}, and {name} is none")


def _there(fleet: Fleet, host: int, subject: str) -> Scene:
    if subject.startswith("gpu:") and fleet.gpu_row(host, subject) is None:
        raise UsageError(f"{fleet.hosts[host].name} has no GPU {subject[4:]!r}; `gpu-cockpit gpus` lists them")
    if subject.startswith(POOL) and not replicas_of(fleet, host, subject):
        raise UsageError(f"no replica of pool {subject[5:]!r} was ever seen; `gpu-cockpit pools` lists pools")
    return scene(fleet, host, subject)


def expand(fleet: Fleet, shelf: Shelf, recipe: Recipe, about: Scene, given: Mapping[str, str]) -> Expanded:
    """All steps of a recipe about one thing.

    Raises:
        UsageError: a parameter is wrong, there is nothing to do, or it is more than one run can hold.
    """
    params = _settled(recipe, _guessed(recipe, about, given))
    stages = _stages(fleet, shelf, recipe, about, params)
    cannot: list[tuple[str, str]] = []
    steps: list[Step] = []
    for number, stage in enumerate(stages, 1):
        single = len(stage) == 1
        for place, item in enumerate(stage, 1):
            name = f"{number}" if single else f"{number}.{place}"
            steps.append(_step(fleet, item, name, 0 if single else number, cannot))
    _bounded(recipe, steps)
    scenes = {one.scene.subject + str(one.scene.host): one.scene for stage in stages for one in stage}
    return Expanded(tuple(steps), tuple(scenes.values()), params, tuple(dict.fromkeys(cannot)))


def _guessed(recipe: Recipe, about: Scene, given: Mapping[str, str]) -> Mapping[str, str]:
    """A process that is named as the target need not be named again."""
    kind, _, rest = about.subject.partition(":")
    if kind == "process" and "pid" not in given and any(spec.name == "pid" for spec in recipe.params):
        return {**given, "pid": rest}
    return given


def _settled(recipe: Recipe, given: Mapping[str, str]) -> dict[str, str]:
    try:
        return settled(recipe.params, given)
    except WrongParam as wrong:
        raise UsageError(f"{recipe.id}: {wrong}") from None


def _bounded(recipe: Recipe, steps: list[Step]) -> None:
    judged = sum(step.kind is not StepKind.ACTION for step in steps)
    if not steps:
        raise UsageError(f"{recipe.id}: there is nothing to do here")
    if len(steps) > STEPS or judged > JUDGED:
        raise UsageError(
            f"{recipe.id}: {len(steps)} steps are more than one run can hold; do part of it, as with --param hosts=..."
        )


def _stages(fleet: Fleet, shelf: Shelf, recipe: Recipe, about: Scene, params: Mapping[str, str]) -> list[list[_Item]]:
    """Steps that go side by side, stage by stage."""
    stages: list[list[_Item]] = []
    for step in recipe.steps:
        if not step.use:
            stages += _one_stage(fleet, step, [(about, params)])
            continue
        inner = shelf.find(step.use, {})
        rows = _chosen(fleet, about, params) if step.each == "replicas" else [about.row]
        size = int(float(_filled(step.batch, params) or "1")) if step.batch else 1
        for first in range(0, len(rows), size):
            wave = [row for row in rows[first : first + size] if row is not None]
            inside = _settled(inner, {name: _filled(text, params) for name, text in step.params.items()})
            scenes = [(of_row(fleet, row), inside) for row in wave]
            for part in inner.steps:
                stages += _one_stage(fleet, part, scenes)
    return stages


def _chosen(fleet: Fleet, about: Scene, params: Mapping[str, str]) -> list[int]:
    """The replicas of what a recipe is about, as far as its parameter `hosts` names them."""
    rows = replicas_of(fleet, about.host, about.subject)
    wanted = [name.strip() for name in params.get("hosts", "").split(",") if name.strip()]
    for name in wanted:
        if name not in fleet.numbers:
            raise UsageError(f"hosts names {name!r}, and there is no such host")
    numbers = {fleet.numbers[name] for name in wanted}
    return [row for row in rows if not wanted or int(fleet.replicas.host[row]) in numbers]


def _one_stage(fleet: Fleet, step: RecipeStep, scenes: Iterable[tuple[Scene, Mapping[str, str]]]) -> list[list[_Item]]:
    """One step of several things at once; keepers are asked for one after the other."""
    items = [
        item
        for one, params in scenes
        if not step.when or WHENS[step.when](one)
        for item in _items(fleet, step, one, params)
    ]
    if step.kind is StepKind.CLAIM:
        return [[item] for item in items]
    return [items] if items else []


def _items(fleet: Fleet, step: RecipeStep, one: Scene, params: Mapping[str, str]) -> Iterator[_Item]:
    plain = target(fleet, one.host, one.subject)
    words = {
        **params, "target": plain.name, "replica": plain.name, "host": plain.host, "pool": one.pool,
        "floor": str(one.floor), "server": plain.name, "gpu": plain.name,
    }  # fmt: skip
    if step.each == "servers":
        for number, facts in one.servers:
            server = server_target(fleet, number, facts)
            yield _Item(step, one, server, {**words, "server": server.name})
    elif step.each == "gpus":
        for subject in _gpus(fleet, one):
            gpu = target(fleet, one.host, subject)
            yield _Item(step, one, gpu, {**words, "gpu": gpu.name})
    elif step.each == "replicas":
        for row in _chosen(fleet, one, params):
            each = of_row(fleet, row)
            replica = target(fleet, each.host, each.subject)
            yield _Item(step, each, replica, {**words, "replica": replica.name})
    else:
        yield _Item(step, one, plain, words)


def _gpus(fleet: Fleet, one: Scene) -> list[str]:
    if one.subject.startswith("gpu:"):
        return [one.subject]
    if one.facts is not None:
        return [gpu_subject(uuid) for uuid in one.facts.gpus]
    pid = one.subject.removeprefix("process:")
    return [
        gpu_subject(uuid)
        for process in fleet.hosts[one.host].processes
        if str(process.pid) == pid
        for uuid in process.gpus
    ]


def _step(fleet: Fleet, item: _Item, name: str, group: int, cannot: list[tuple[str, str]]) -> Step:
    """One step of the plan, before its agent was asked."""
    step, words = item.step, item.words
    assert step.kind is not None
    params = {key: text for key, written in step.params.items() if (text := _filled(written, words))}
    made = Step(
        name, step.kind, _filled(step.title, words)[:400], item.about, params=params,
        deadline_s=float(_filled(step.deadline, words)), lease_s=float(_filled(step.lease, words)),
        on_orphan=step.on_orphan, group=group, keep=step.keep, soft=step.soft,
    )  # fmt: skip
    if step.kind in (StepKind.WAIT, StepKind.CHECK):
        condition = CONDITIONS[step.what]
        return replace(made, condition=step.what, command=(f"wait until {condition.words}",))
    if step.kind is StepKind.CLAIM:
        return _claimed(fleet, item, made)
    if step.kind is StepKind.ACTION:
        return _acting(fleet, item, made, cannot)
    return replace(made, title=_filled(step.what, words)[:400])


def _claimed(fleet: Fleet, item: _Item, made: Step) -> Step:
    """A word with the keepers of its pool: who they are stands in the plan."""
    kept = item.scene.kept
    assert kept is not None
    name = f"{fleet.hosts[item.scene.host].host_id}/{item.scene.subject.partition(':')[2]}"
    params = {**made.params, "pool": item.scene.pool, "replica": name, "keepers": ",".join(kept.keepers)}
    return replace(made, condition=item.step.what, params=params, command=(f"ask {', '.join(kept.keepers)}",))


def _acting(fleet: Fleet, item: _Item, made: Step, cannot: list[tuple[str, str]]) -> Step:
    """An action with its id, its subject and what it may cost."""
    action, record = item.step.what, fleet.hosts[item.scene.host]
    params = dict(made.params)
    if action.startswith(OWNER):
        verb, owner = action.removeprefix(OWNER), item.scene.owner
        if not owner:
            says = f"no unit and no container owns {item.about.name}: {verb} it by hand, as it was started"
            cannot.append(("tool", says))
        action = f"{owner or 'systemd'}.{verb}"
        known = record.hands.specs.get(action)
        takes = {spec.name for spec in known.params} if known is not None else set()
        params = {key: text for key, text in params.items() if key in takes}
    elif action.startswith("process.") and "pid" in params:
        about = target(fleet, item.scene.host, f"process:{params.pop('pid')}")
        made = replace(made, target=about)
    elif action.startswith("haproxy.") and not made.target.subject.startswith("backend:"):
        cannot.append(("tool", f'{made.target.name} is no server of a load balancer: write for = "servers"'))
    return replace(made, action=action, params=params, risk=_risk(fleet, made.target, action, record))


def _risk(fleet: Fleet, about: Target, action: str, record: HostRecord) -> Risk:
    """What its own host says that it costs."""
    if about.host != record.name:
        record = fleet.hosts[fleet.numbers[about.host]]
    spec = record.hands.specs.get(action)
    return spec.risk if spec is not None else Risk.UNKNOWN


def _filled(text: str, words: Mapping[str, str]) -> str:
    return text.format_map(words) if "{" in text else text
