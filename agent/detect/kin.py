"""Which subjects of one host have to do with each other: replicas stand on GPUs, and share the load of a pool. PURE."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agent.detect.rows import HOST, Row
from agent.wire.specs import gpu_subject


@dataclass(frozen=True, slots=True)
class Kin:
    """`under` has the subjects of GPUs by the subject of the replica that holds them, or held them last; `pools` what
    the replica is a part of: its pool, else its model."""

    under: Mapping[str, frozenset[str]] = field(default_factory=dict)
    pools: Mapping[str, str] = field(default_factory=dict)

    def stands(self, one: str, other: str) -> bool:
        """Whether one of the two is a replica and the other is under it: one of its GPUs, or the host."""
        for above, below in ((one, other), (other, one)):
            gpus = self.under.get(above)
            if gpus is not None and (below == HOST or below in gpus):
                return True
        return False

    def shares(self, one: str, other: str) -> bool:
        """Whether both are replicas that serve the same."""
        pool = self.pools.get(one)
        return bool(pool) and pool == self.pools.get(other)


def kin_of(replicas: Iterable[Row]) -> Kin:
    """Of all replicas of a host."""
    rows = list(replicas)
    return Kin(
        {row.subject: frozenset(map(gpu_subject, row.gpus)) for row in rows},
        {row.subject: _pool(row) for row in rows},
    )


def _pool(row: Row) -> str:
    models = row.facts.get("models")
    return str(row.facts.get("pool") or (models[0] if isinstance(models, (list, tuple)) and models else ""))
