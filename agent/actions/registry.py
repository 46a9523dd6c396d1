"""All actions, by family: a new one is a file and a line."""

from agent.actions import container, gpu, haproxy, process, systemd
from agent.actions.base import Executor

ACTIONS: tuple[Executor, ...] = (
    *systemd.EXECUTORS,
    *container.EXECUTORS,
    *haproxy.EXECUTORS,
    *process.EXECUTORS,
    *gpu.EXECUTORS,
)
BY_ID: dict[str, Executor] = {action.spec.id: action for action in ACTIONS}
