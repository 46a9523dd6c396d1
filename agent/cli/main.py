"""The full command line: parses, calls one command, turns whatever goes wrong into one sentence.

Exit status: 0 done, 1 it could not be done, 2 the command line or the configuration is wrong, 3 no agent answers.
"""

import argparse
import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import agent
from agent.cli.guard import PROG, guarded
from agent.config.checks import SOCKET_PATH_BYTES
from agent.errors import UsageError

COMMANDS = {
    "run": "watch this host and answer cockpits until told to stop",
    "once": "read everything once, print it and end",
    "attach": "bridge stdin and stdout to the agent's socket",
    "stdio": "be an agent for one cockpit on stdin and stdout, and keep nothing",
    "rules": "list the detection rules, or explain one",
    "check-config": "say whether a configuration file is right",
    "let-go": "make the running agent release the driver, so that a GPU can be reset",
    "sim": "simulated hosts: up, inject, scenarios, faults",
}


_OPTIONS = ("-h", "--help", "--version")


class _Parser(argparse.ArgumentParser):
    """Mistakes become UsageError."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


def main(words: Sequence[str]) -> int:
    """Run the command that `words` name; returns the exit status."""
    debug = "--debug" in words
    rest = [word for word in words if word != "--debug"]
    return guarded(lambda: _run(rest), debug=debug)


def _run(words: list[str]) -> int:
    command = next((word for word in words if not word.startswith("-")), "")
    if command == "sim" and words[0] == "sim":
        return int(importlib.import_module("agent.sim.cli").main(words[1:]))
    if command and command not in COMMANDS:
        raise UsageError(f"there is no command {command[:64]!r}; {_nearest(command)}")
    if words and words[0].startswith("-") and words[0] not in _OPTIONS:
        raise UsageError(f"there is no option {words[0][:64]!r}; see {PROG} --help")
    arguments = _parser().parse_args(words)
    module = importlib.import_module(f"agent.cli.{arguments.command.replace('-', '_')}")
    return int(module.main(arguments))


def _nearest(word: str) -> str:
    import difflib  # here: only for those who mistyped

    near = difflib.get_close_matches(word, COMMANDS, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(COMMANDS)}"


def vocabulary() -> dict[str, argparse.ArgumentParser]:
    """The parser of every command, the options before one under "": man pages and shell completion are made from it."""
    found: dict[str, argparse.ArgumentParser] = {"": _parser()}
    for name, text in COMMANDS.items():
        found[name] = _Parser(prog=f"{PROG} {name}", description=_sentence(text), allow_abbrev=False)
        _ADD[name](found[name])
    return found


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROG, description="The agent of gpu-cockpit: watches the GPUs of this host.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"{PROG} {agent.__version__}")
    parser.add_argument("--debug", action="store_true", help="show tracebacks and debug messages")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    for name, text in COMMANDS.items():
        _ADD[name](commands.add_parser(name, help=text, description=_sentence(text), allow_abbrev=False))
    return parser


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _path(text: str) -> Path:
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError("expected a path")
    return Path(text).absolute()


def _socket(text: str) -> Path:
    path = _path(text)
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
        raise argparse.ArgumentTypeError(f"a socket's path has at most {SOCKET_PATH_BYTES} bytes; choose a shorter one")
    return path


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=_path, metavar="FILE", help="configuration (default /etc/gpu-cockpit/agent.toml)"
    )
    parser.add_argument(
        "--socket", type=_socket, metavar="PATH", help="where cockpits connect; wins over the configuration"
    )
    parser.add_argument(
        "--state", type=_path, metavar="DIR", help="what outlives a restart; wins over the configuration"
    )


def _add_once(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    parser.add_argument(
        "--config", type=_path, metavar="FILE", help="configuration (default /etc/gpu-cockpit/agent.toml)"
    )


def _add_attach(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--socket", type=str, metavar="PATH", default=None, help="the agent's socket")


def _add_nothing(_parser: argparse.ArgumentParser) -> None:
    """It has no options."""


def _add_rules(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="JSON instead of text")
    parser.add_argument("--explain", metavar="ID", help="one rule in full: limits in force, where they come from")
    parser.add_argument(
        "--config", type=_path, metavar="FILE", help="whose thresholds (default /etc/gpu-cockpit/agent.toml)"
    )


def _add_check_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", type=_path, metavar="FILE", help="default /etc/gpu-cockpit/agent.toml")


def _add_let_go(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--socket", type=_socket, metavar="PATH", help="the agent's socket")
    parser.add_argument("--resume", action="store_true", help="take the driver up again")


def _add_sim(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs=argparse.REMAINDER)


_ADD = {
    "run": _add_run,
    "once": _add_once,
    "attach": _add_attach,
    "stdio": _add_nothing,
    "rules": _add_rules,
    "check-config": _add_check_config,
    "let-go": _add_let_go,
    "sim": _add_sim,
}
