"""All actions, by family: a new one is a file and a line."""

from agent.actions import systemd
from agent.actions.base import Executor

ACTIONS: tuple[Executor, ...] = (*systemd.EXECUTORS,)
BY_ID: dict[str, Executor] = {action.spec.id: action for action in ACTIONS}
