"""`[pools.NAME]`: the floor of a pool without a load balancer, and the hosts whose agents keep it."""

from collections.abc import Mapping
from dataclasses import dataclass

from agent.config.checks import Wrong, WrongPart, count, part, texts

MOST = 64
KEEPERS = 5


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """One table: `keepers` are names or ids of hosts, `floor` is the least number of ready replicas."""

    name: str
    keepers: tuple[str, ...]
    floor: int


def pools(value: object) -> tuple[PoolConfig, ...]:
    """The check of the key `pools`."""
    if not isinstance(value, dict) or len(value) > MOST or not all(isinstance(one, dict) for one in value.values()):
        raise Wrong(f"at most {MOST} tables: [pools.NAME] with keepers and floor")
    return tuple(_one(str(name), table) for name, table in value.items())


def _one(name: str, table: Mapping[str, object]) -> PoolConfig:
    place = f"pools.{name[:64]}"
    if not 0 < len(name) <= 64 or not name.isprintable():
        raise WrongPart(f"{place}: the name of a pool has 1 to 64 printable characters")
    said = part(place, table, {"keepers": texts, "floor": count(0, 10_000)})
    keepers = tuple(said.get("keepers", ()))
    if "floor" not in said or not 1 <= len(keepers) <= KEEPERS or len(set(keepers)) < len(keepers):
        example = 'keepers = ["gpu-a01", "gpu-a02", "gpu-a03"] and floor = 2'
        raise WrongPart(f"{place}: it needs a floor and 1 to {KEEPERS} different keepers, such as {example}")
    return PoolConfig(name, keepers, said["floor"])
