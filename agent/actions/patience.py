"""How long a replica needs to end without cutting anybody off: what its longest requests took, and its teardown.

An engine was gone about 10 s after its last token; 15 s are what its makers' own manifests leave for it. Without
numbers only the teardown is known, so the floor is `LEAST_S`.
"""

from collections.abc import Mapping

from agent.actions.base import World
from agent.wire.errors import WireError
from agent.wire.histogram import Histogram, quantile
from agent.wire.replicas import ReplicaFacts
from agent.wire.shape import unpack

LEAST_S = 25.0
TEARDOWN_S = 15.0
SHARE = 0.99


def needs_s(facts: ReplicaFacts | None, world: World) -> tuple[float, str]:
    """(seconds, why so many) from its SIGTERM to its end; (0, "") of what serves nobody."""
    if facts is None:
        return 0.0, ""
    longest = _longest_s(facts.id, world)
    if longest + TEARDOWN_S <= LEAST_S:
        return LEAST_S, f"an engine needs what its longest request takes and {TEARDOWN_S:g} s more"
    needed = float(round(longest + TEARDOWN_S))
    return (
        needed,
        f"its longest requests took {longest:.0f} s in the last minute, and its teardown {TEARDOWN_S:g} s more",
    )


def _longest_s(identity: str, world: World) -> float:
    """Of the requests that ended in the last minute, the seconds below which 99 of 100 stayed; 0 where it says
    nothing. Few observations count too: this is a warning, no statistic."""
    latencies = world.facts("latencies")
    told = latencies.get(identity) if isinstance(latencies, Mapping) else None
    if not isinstance(told, Mapping) or "e2e" not in told:
        return 0.0
    try:
        found = quantile(unpack(Histogram, told["e2e"]), SHARE, hide=False)
    except WireError:
        return 0.0
    return 0.0 if found is None else found.value
