"""PURE. All runbooks there are: those of the library, those of the operator, and the single actions.

Rule: one that cannot be read never hides the others, and is said. An own runbook does not replace one of the library:
what `restart-replica` means is the same for everybody.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources

from agent.wire.specs import ActionSpec
from cockpit.errors import ConfigError, UsageError
from cockpit.inventory import did_you_mean
from cockpit.runbook.reading import MOST_BYTES, read
from cockpit.runbook.recipe import Recipe, RecipeStep
from cockpit.runbook.records import StepKind

LIBRARY = (
    "restart-replica",
    "drain-replica",
    "undrain-replica",
    "free-ghost-memory",
    "collect-diagnostics",
    "rolling-restart-pool",
    "quarantine-host",
)
ACTION = "action:"
_LOADED: dict[str, Recipe] = {}


@dataclass(frozen=True, slots=True)
class Shelf:
    """`recipes` by name; `complaints` are one sentence for each file that is none."""

    recipes: Mapping[str, Recipe] = field(default_factory=dict)
    complaints: tuple[str, ...] = ()

    def find(self, name: str, specs: Mapping[str, ActionSpec]) -> Recipe:
        """A runbook, or a single action as one (`action:ID`) where `specs`, the actions of its host, has it.

        Raises:
            UsageError: there is none of that name.
        """
        if name.startswith(ACTION):
            spec = specs.get(name.removeprefix(ACTION))
            if spec is None:
                raise UsageError(f"its host offers no action {name.removeprefix(ACTION)!r}{did_you_mean(name, specs)}")
            return single(spec)
        if name not in self.recipes:
            raise UsageError(f"no runbook {name!r}{did_you_mean(name, sorted(self.recipes))}")
        return self.recipes[name]


def library() -> Mapping[str, Recipe]:
    """The runbooks that come with the program, read once."""
    if not _LOADED:
        folder = resources.files("cockpit.runbook").joinpath("library")
        for name in LIBRARY:
            text = folder.joinpath(f"{name}.toml").read_text("utf-8")
            _LOADED[name] = read(name, text, f"library/{name}.toml", tuple(_LOADED))
    return _LOADED


def shelf(files: Iterable[tuple[str, str, bytes]] = ()) -> Shelf:
    """The library and the operator's own `files`: (name, path, what is in it)."""
    recipes, complaints = dict(library()), []
    for name, path, data in files:
        try:
            recipes[name] = _own(name, path, data, tuple(recipes))
        except UnicodeDecodeError as error:
            complaints.append(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8")
        except ConfigError as error:
            complaints.append(str(error))
    return Shelf(recipes, tuple(complaints))


def _own(name: str, path: str, data: bytes, known: tuple[str, ...]) -> Recipe:
    if len(data) > MOST_BYTES:
        raise ConfigError(f"{path}: {len(data)} bytes are no runbook; the most is {MOST_BYTES}")
    if name in LIBRARY:
        raise ConfigError(f"{path}: {name} is one of the library and means the same everywhere; rename the file")
    return read(name, data.decode(), path, known)


def single(spec: ActionSpec) -> Recipe:
    """One action as a runbook of one step."""
    params = {param.name: f"{{{param.name}}}" for param in spec.params}
    step = RecipeStep(f"{spec.title or spec.id}: {{target}}", StepKind.ACTION, spec.id, params=params, deadline="14400")
    return Recipe(f"{ACTION}{spec.id}", spec.title or spec.id, spec.help, spec.subjects, (step,), "", spec.params)
