"""PURE. The words that a step's `when` may be: whether a step has a place in the plan of this replica.

Rule: judged when the plan is made and never again, so that a run does what its plan shows.
"""

from collections.abc import Callable

from agent.wire.replicas import State
from cockpit.runbook.scene import Scene


def _balanced(scene: Scene) -> bool:
    return bool(scene.servers)


def _unbalanced(scene: Scene) -> bool:
    return not scene.servers


def _running(scene: Scene) -> bool:
    return _unbalanced(scene) and not _dead(scene)


def _dead(scene: Scene) -> bool:
    return _unbalanced(scene) and scene.facts is not None and scene.facts.state == State.DOWN.word


def _kept(scene: Scene) -> bool:
    return not scene.servers and scene.kept is not None and bool(scene.kept.keepers)


def _floored(scene: Scene) -> bool:
    return scene.floor > 0


WHENS: dict[str, Callable[[Scene], bool]] = {
    "balanced": _balanced,  # a load balancer that we see sends it requests
    "unbalanced": _unbalanced,
    "running": _running,  # no balancer, and there may be an engine to end
    "dead": _dead,  # no balancer, and its agent says that it is down
    "floored": _floored,  # somebody says how many of its pool must stay ready
    "kept": _kept,  # no balancer, and its pool has keepers
}
