"""The engines that can be simulated, by the format they speak. One file and one line each."""

from collections.abc import Callable, Iterable

from agent.sim.serving.engine import Engine
from agent.sim.serving.layout import replicas as laid_out
from agent.sim.serving.triton import Triton
from agent.sim.serving.vllm import Vllm
from agent.sim.workload import Replica

KINDS: dict[str, type[Engine]] = {"vllm": Vllm, "triton": Triton}


def engines(replicas: Iterable[Replica], told: Callable[[], None]) -> dict[Replica, Engine]:
    """The engine of each, up; `told` is called when a port opens or closes."""
    return {replica: KINDS[replica.pool.engine](replica, told) for replica in replicas}


def usual_ports(gpus: int) -> tuple[int, ...]:
    """Every port that a host of so many GPUs opens."""
    found = engines(laid_out(0, 1, gpus, 0.0), lambda: None)
    return tuple(port for engine in found.values() for port in engine.doors)
