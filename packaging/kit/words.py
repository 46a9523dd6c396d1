"""The words of a command line, as its own argparse parsers say them: the one source of man pages and completion."""

import argparse
import sys
from dataclasses import dataclass

from kit.wheels import ROOT


@dataclass(frozen=True, slots=True)
class Option:
    """One option or, without `names`, one argument. `value` empty: it is a flag. `choices`: all that may follow."""

    names: tuple[str, ...]
    value: str
    says: str
    choices: tuple[str, ...] = ()
    optional: bool = False  # the value may be left out

    @property
    def takes_value(self) -> bool:
        """Whether a word of its own must follow."""
        return bool(self.names and self.value) and not self.optional

    @property
    def kind(self) -> str:
        """What its value names: `file`, `dir`, `host`, or empty."""
        word = self.value.upper()
        if "--host" in self.names:
            return "host"
        return {"FILE": "file", "PATH": "file", "DIR": "dir"}.get(word, "dir" if "--dir" in self.names else "")


@dataclass(frozen=True, slots=True)
class Command:
    """A command, or a program's own line under the empty name. `parts` are commands behind a command."""

    name: str
    says: str
    options: tuple[Option, ...]
    arguments: tuple[Option, ...]
    more: str = ""
    parts: tuple["Command", ...] = ()


@dataclass(frozen=True, slots=True)
class Program:
    """A whole program. `own` are the options that need no command."""

    name: str
    says: str
    own: Command
    commands: tuple[Command, ...]

    def every(self) -> "list[tuple[tuple[str, ...], Command]]":
        """Each command with its path, parts included."""
        found = []
        for command in self.commands:
            found.append(((command.name,), command))
            found += [((command.name, part.name), part) for part in command.parts]
        return found


def console() -> Program:
    """`gpu-cockpit`."""
    _sources()
    from cockpit.cli import arguments

    return _program("gpu-cockpit", "terminal cockpit for fleets of GPU hosts", arguments.vocabulary())


def agent() -> Program:
    """`gpu-cockpit-agent`."""
    _sources()
    from agent.cli import main

    return _program("gpu-cockpit-agent", "watches the GPUs of this host for gpu-cockpit", main.vocabulary())


def _sources() -> None:
    """The sources of this repository come first: not what may be installed."""
    if sys.path[0] != str(ROOT):
        sys.path.insert(0, str(ROOT))


def _program(name: str, says: str, parsers: dict[str, argparse.ArgumentParser]) -> Program:
    from agent.sim import cli as sim

    sums = _sums(parsers[""]) or {}
    commands = []
    for word, parser in parsers.items():
        if not word or sums.get(word) == argparse.SUPPRESS:
            continue
        parts = tuple(_command(part, found) for part, found in sim.vocabulary().items()) if word == "sim" else ()
        commands.append(_command(word, parser, parts))
    return Program(name, says, _command("", parsers[""]), tuple(commands))


def _sums(parser: argparse.ArgumentParser) -> dict[str, str]:
    """What a parser with sub-parsers says of each."""
    return {
        choice.dest: choice.help or ""
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for choice in action._choices_actions
    }


def _command(name: str, parser: argparse.ArgumentParser, parts: tuple[Command, ...] = ()) -> Command:
    options, arguments = [], []
    for action in parser._actions:
        if action.help == argparse.SUPPRESS or isinstance(action, argparse._SubParsersAction):
            continue
        option = _option(action, parser)
        if option.names:
            options.append(option)
        elif not parts:
            arguments.append(option)
    more = "" if not name else (parser.epilog or "")
    says = (parser.description or "").strip()
    return Command(name, says[:1].upper() + says[1:], tuple(options), tuple(arguments), more, parts)


def _option(action: argparse.Action, parser: argparse.ArgumentParser) -> Option:
    value = ""
    if action.nargs != 0:
        shown = action.metavar or (action.dest.upper() if action.option_strings else action.dest)
        value = shown if isinstance(shown, str) else " ".join(shown)
    says = (action.help or "") % {**vars(action), "prog": parser.prog}
    choices = tuple(map(str, action.choices)) if action.choices else ()
    return Option(tuple(action.option_strings), value, says, choices, action.nargs in ("?", "*"))
