"""Which replicas a simulated host has, and what their processes look like."""

import pytest

from agent.sim.machine import Machine

EPOCH = 1_764_547_200.0


@pytest.mark.parametrize(
    ("gpus", "chat", "single", "idle"),
    [
        (2, [(8000, 1)], [8010], 0),
        (3, [(8000, 1)], [8010], 1),
        (4, [(8000, 2)], [8010, 8020], 0),
        (8, [(8000, 4)], [8010, 8020, 8030, 8040], 0),
        (16, [(8000, 4), (8001, 4)], [8010 + 10 * number for number in range(8)], 0),
    ],
)
def test_a_host_of_two_gpus_or_more_serves_both_formats(
    gpus: int, chat: list[tuple[int, int]], single: list[int], idle: int
) -> None:
    for number in range(8):
        replicas = Machine(1, number, gpus, EPOCH).replicas
        wide = [replica for replica in replicas if replica.pool.engine == "vllm"]
        narrow = [replica for replica in replicas if replica.pool.engine == "triton"]
        assert [(replica.port, len(replica.gpus)) for replica in wide] == chat
        assert [replica.port for replica in narrow] == single
        held = [gpu for replica in replicas for gpu in replica.gpus]
        assert held == list(range(gpus - idle)), "each GPU once, in their order"
        assert len({worker.pid for replica in replicas for worker in replica.workers}) == len(held)


def test_a_host_of_one_gpu_serves_the_pool_it_is_named_after() -> None:
    pools = [[replica.pool.name for replica in Machine(1, number, 1, EPOCH).replicas] for number in range(4)]
    assert pools == [["chat-70b"], ["embed"], ["chat-70b"], ["rerank"]]


def test_the_pools_beside_chat_are_spread_over_the_fleet() -> None:
    beside = {Machine(1, number, 2, EPOCH).replicas[1].pool.name for number in range(8)}
    assert beside == {"embed", "rerank"}
