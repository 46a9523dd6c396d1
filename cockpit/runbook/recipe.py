"""PURE. A runbook as its file says it, checked: what it takes, its parameters, its steps with their placeholders.

A recipe names no host. Placeholders are `{target}`, `{replica}`, `{server}`, `{gpu}`, `{host}`, `{pool}`, `{floor}`
and the parameters of the runbook; nothing else is replaced, and nothing is ever run that a step does not name.
"""

from dataclasses import dataclass, field

from agent.wire.actions import Orphan, ParamSpec
from cockpit.runbook.records import StepKind

SUBJECTS = ("replica", "host", "gpu", "process", "pool", "unit", "container", "backend")
EACH = ("servers", "replicas", "gpus")
KEYS = {"action": StepKind.ACTION, "wait": StepKind.WAIT, "check": StepKind.CHECK, "ask": StepKind.ASK,
        "note": StepKind.NOTE, "claim": StepKind.CLAIM}  # fmt: skip
OWNER = "owner."  # `owner.restart` is systemd.restart or container.restart, by what owns the replica
PLACES = ("target", "replica", "server", "gpu", "host", "pool", "floor")


@dataclass(frozen=True, slots=True)
class RecipeStep:
    """One step as written. Exactly one of `kind` with its `what` (an action's id, a condition's id, a sentence, out or
    back) and `use` (another runbook) is set. `each`: once for every server, replica or GPU of what the step is about;
    `batch`: how many of them at once (text, a number or a placeholder). `when`: word of `cockpit.runbook.whens`.
    """

    title: str
    kind: StepKind | None = None
    what: str = ""
    use: str = ""
    each: str = ""
    batch: str = ""
    when: str = ""
    params: dict[str, str] = field(default_factory=dict)
    deadline: str = "60"
    lease: str = "0"
    on_orphan: Orphan = Orphan.AUTO
    keep: bool = False
    soft: bool = False


@dataclass(frozen=True, slots=True)
class Recipe:
    """One runbook. `subjects` are the kinds that it takes, `expected` what is so afterwards, `easing` that it only
    gives back: no breaker holds it up. `origin` is the file it is from."""

    id: str
    title: str
    says: str
    subjects: tuple[str, ...]
    steps: tuple[RecipeStep, ...]
    expected: str = ""
    params: tuple[ParamSpec, ...] = ()
    easing: bool = False
    origin: str = ""
