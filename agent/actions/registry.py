"""All actions, by family: a new one is a file and a line."""

from agent.actions import container, diagnostics, engine, gpu, haproxy, process, systemd
from agent.actions.base import Executor

ACTIONS: tuple[Executor, ...] = (
    *systemd.EXECUTORS,
    *container.EXECUTORS,
    *haproxy.EXECUTORS,
    *engine.EXECUTORS,
    *process.EXECUTORS,
    *gpu.EXECUTORS,
    *diagnostics.EXECUTORS,
)
BY_ID: dict[str, Executor] = {action.spec.id: action for action in ACTIONS}
