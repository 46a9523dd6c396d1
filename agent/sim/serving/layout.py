"""Which replicas a simulated host has: both formats on every host that has two GPUs or more.

The first half of the GPUs serves chat, a tensor-parallel vLLM of up to four; each GPU of the rest has a Triton of its
own; of an odd number the last one idles. A host with a single GPU serves the pool that it is named after, and nothing
else: a GPU is not shared.
"""

from agent.sim.noise import mix
from agent.sim.workload import PoolSpec, Replica, pool_named, pool_of

_WIDEST = 4  # GPUs of one tensor-parallel group
_BESIDE_CHAT = ("embed", "rerank")  # on hosts named after the chat pool


def replicas(seed: int, host: int, gpus: int, started: float, shift: int = 0) -> list[Replica]:
    """The replicas of one host, ready since they were started; `shift` is added to their usual ports."""
    found: list[Replica] = []
    for pool, number, held in _places(host, gpus):
        replica = Replica(pool, number, held, mix(seed, "replica", host, len(found)), started, shift)
        replica.start(started, started, 0)
        found.append(replica)
    return found


def _places(host: int, gpus: int) -> list[tuple[PoolSpec, int, tuple[int, ...]]]:
    """(pool, number among those of its engine, GPUs) of every replica."""
    own = pool_of(host)
    if gpus == 1:
        return [(own, 0, (0,))]
    half = gpus // 2
    width = min(_WIDEST, 1 << (half.bit_length() - 1))
    chats = half // width
    chat, single = pool_named("chat-70b"), own if own.engine == "triton" else pool_named(_BESIDE_CHAT[host % 2])
    rest = range(chats * width, gpus - gpus % 2)
    return [
        *((chat, number, tuple(range(number * width, (number + 1) * width))) for number in range(chats)),
        *((single, number, (gpu,)) for number, gpu in enumerate(rest)),
    ]
