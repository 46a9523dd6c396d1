"""What an action is about: its subject, joined with what the facts of this host say of it. Facts tell where
to look, never whether it is still so: that is asked of the root helper afterwards.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.actions.base import World
from agent.errors import Refusal
from agent.wire.actions import Act
from agent.wire.errors import WireError
from agent.wire.params import WrongParam, settled
from agent.wire.replicas import ReplicaFacts
from agent.wire.shape import unpack
from agent.wire.specs import ActionSpec

KINDS = ("host", "gpu", "replica", "process", "unit", "container", "backend")


@dataclass(frozen=True, slots=True)
class Target:
    """`kind` is one of `KINDS`, `name` what follows it (a replica's id, a pid, a unit's name); `replica` are the facts
    of a replica, None for all else."""

    kind: str
    name: str
    replica: ReplicaFacts | None = None

    @property
    def words(self) -> str:
        """As a person names it."""
        return self.name if self.kind in ("replica", "unit") else f"{self.kind} {self.name}".strip()


def parse(subject: str) -> tuple[str, str]:
    """(kind, name) of a subject; kind is empty for what is none."""
    kind, _, name = subject.partition(":")
    if kind == "host":
        return kind, ""
    return (kind, name) if kind in KINDS and name else ("", subject)


def target(spec: ActionSpec, act: Act, world: World) -> Target:
    """What `act` is about.

    Raises:
        Refusal: the action does not take such a subject, or this host has none of that name.
    """
    kind, name = parse(act.subject)
    if kind not in spec.subjects:
        takes = ", ".join(spec.subjects)
        raise Refusal("invalid", f"{spec.id} is for {takes}, and {act.subject[:64]!r} is none of these")
    if kind != "replica":
        return Target(kind, name)
    return Target(kind, name, replica(name, world))


def replica(identity: str, world: World) -> ReplicaFacts:
    """The facts of a replica of this host.

    Raises:
        Refusal: there is none of that id.
    """
    items = world.facts("replicas") or []
    known: list[str] = []
    for item in items:
        found = item.get("id") if isinstance(item, Mapping) else None
        if isinstance(found, str):
            known.append(found)
        if found == identity:
            try:
                return unpack(ReplicaFacts, item)
            except WireError as error:
                raise Refusal("unknown", f"what is known of {identity[:64]} cannot be read: {error}") from None
    has = f"it has {', '.join(sorted(known)[:8])}" if known else "it has none"
    raise Refusal("unknown", f"there is no replica {identity[:64]!r} on this host now; {has}")


def params(spec: ActionSpec, act: Act) -> dict[str, str]:
    """The parameters of `act`, all that are declared, in one spelling.

    Raises:
        Refusal: one is unknown, missing or out of its bounds.
    """
    try:
        return settled(spec.params, act.params)
    except WrongParam as wrong:
        raise Refusal("invalid", f"{spec.id}: {wrong}") from None


def boot(world: World) -> str:
    """The id of the running boot as the facts have it, empty before they are read."""
    host = world.facts("boot")
    return str(host.get("id", "")) if isinstance(host, Mapping) else ""


def processes(world: World) -> list[Mapping[str, Any]]:
    """The rows of GPU processes."""
    return [row for row in world.facts("processes") or [] if isinstance(row, Mapping)]
