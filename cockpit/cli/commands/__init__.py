"""Commands in groups, one file a group and one line here: name, help, options, and where the work is done."""

from cockpit.cli.commands import actions, happened, history, incidents, recordings, rules, said, serving
from cockpit.cli.commands.command import Command

ADDED: tuple[Command, ...] = (
    *serving.COMMANDS,
    *incidents.COMMANDS,
    *history.COMMANDS,
    *happened.COMMANDS,
    *said.COMMANDS,
    *recordings.COMMANDS,
    *rules.COMMANDS,
    *actions.COMMANDS,
)  # fmt: skip
BY_NAME = {command.name: command for command in ADDED}
