"""What may stand on the command line. What says which hosts, how they are reached and how long is waited for them may
stand before or after the command; whatever is not known is refused with the nearest word that is."""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from cockpit import __version__
from cockpit.cli.commands import ADDED, BY_NAME
from cockpit.errors import UsageError
from cockpit.inventory.hosts import did_you_mean

if TYPE_CHECKING:
    from cockpit.link.recording import Player

TIMEOUT_S = 10.0
LISTS = (
    "hosts", "gpus", "processes", "findings",
    *(command.name for command in ADDED if command.is_list),
)  # fmt: skip
COMMANDS = (
    "status", *LISTS, *(command.name for command in ADDED if not command.is_list), "doctor", "discover", "open", "demo",
    "sim",
)  # fmt: skip
_LATER = (
    "replicas", "pools", "incidents", "actions", "slos", "run", "audit", "history", "incident", "record", "replay",
    "handoff",
)  # fmt: skip
LATER = tuple(word for word in _LATER if word not in BY_NAME)
_WITH_VALUE = frozenset(
    {"--fleet", "--host", "--timeout", "--theme", "--config", "--filter", "--sort", "--ssh-config", "--interface"}
)
_BINARY = "--ssh-binary"
_REACHING = ("--host", "--batch", _BINARY, "--ssh-config", "--temporary")
_NOT_FOR = {"demo": ("--fleet", "--timeout", *_REACHING), "discover": _REACHING}  # taken anywhere, of use elsewhere
_HELP = {
    "status": "the fleet in one screen: what is wrong, worst first",
    "hosts": "all hosts with their link and roll call",
    "gpus": "all GPUs, those that are gone included, with every signal",
    "processes": "who holds which GPU",
    "findings": "what the agents' rules judge to be wrong now",
    "doctor": "every step to a host's agent, and the command that mends what is broken",
    "discover": "agents that announce themselves on the local network, as hints",
    "open": "the screens, right at an incident, a host, a GPU (HOST:INDEX), a replica (HOST/ID) or a place",
    "demo": "a simulated fleet on this machine, and the screens on it",
    "sim": "simulated hosts without the screens: up, inject, scenarios, faults",
    **{command.name: command.help for command in ADDED},
}

_MORE = {
    "status": "In --json, `replicas` is null where no agent looks for replicas: null is not none.",
    "doctor": "Exit status: 0 all well, 1 something is broken, 3 cannot know. Of more than 3 hosts\n"
    "only what is not well is shown; --json has every step of every host.",
    "discover": "Nothing that is found is contacted or trusted. Agents announce themselves only where\n"
    "their configuration says so; exit status 0 also when nobody does.",
    "gpus": "A GPU that is expected and was never identified has the id HOST/missing-N and no signals.",
    **{command.name: command.more for command in ADDED},
}


@dataclass(slots=True)
class Arguments:
    """One parsed command line. `own` is what the command's own file has asked for, by name; `player` the recording
    that stands for the hosts."""

    command: str = ""
    own: Mapping[str, Any] = field(default_factory=dict)
    fleet: str = ""
    hosts: tuple[str, ...] = ()
    timeout_s: float = TIMEOUT_S
    config: str = ""
    theme: str = ""
    no_bell: bool = False
    batch: bool = False
    ssh_binary: str = ""
    ssh_config: str = ""
    temporary: bool = False
    json: bool = False
    watch: bool = False
    check: bool = False
    filter: str = ""
    sort: str = ""
    open_at: str = ""
    interfaces: tuple[str, ...] = ()
    simulated: tuple[str, ...] = ()
    player: "Player | None" = None


class _Parser(argparse.ArgumentParser):
    """argparse, with our sentence instead of its usage text."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


def command_of(words: Sequence[str]) -> str:
    """The command that is called, empty for the screens.

    Raises:
        UsageError: there is no such command, or not in this version.
    """
    skip = False
    for word in _with_binary(words):
        if skip:
            skip = False
        elif word.startswith("-"):
            skip = word in _WITH_VALUE
        elif word in COMMANDS:
            return word
        elif word in LATER:
            raise UsageError(f"{word!r} is not part of this version ({__version__}); it has {', '.join(COMMANDS)}")
        else:
            raise UsageError(f"there is no command {word!r}{did_you_mean(word, COMMANDS)}")
    return ""


def vocabulary() -> dict[str, argparse.ArgumentParser]:
    """The parser of every command, that of the screens under "": man pages and shell completion are made from it."""
    return {name: _parser(name) for name in ("", *COMMANDS)}


def parse(words: Sequence[str], command: str) -> Arguments:
    """Read a command line whose command is known.

    Raises:
        UsageError: an option is unknown or its value makes no sense.
    """
    parser = _parser(command)
    rest = _with_binary(words)
    if command:
        rest.remove(command)
    found, unknown = parser.parse_known_args(rest)
    if unknown:
        known = [option for action in parser._actions for option in action.option_strings]  # noqa: SLF001
        what = "option" if unknown[0].startswith("-") else "argument"
        hint = did_you_mean(unknown[0].partition("=")[0], known) if what == "option" else ""
        raise UsageError(f"unknown {what} {unknown[0]!r}{hint or f'; see {parser.prog} --help'}")
    if not 0 < found.timeout < math.inf:
        raise UsageError(f"--timeout {found.timeout:g}: must be a number of seconds above 0")
    if found.temporary and not found.host:
        raise UsageError("--temporary is for hosts that are named: add --host TARGET")
    if found.temporary and found.ssh_binary:
        raise UsageError("--temporary brings its agent over our own SSH; leave --ssh-binary away")
    values = vars(found)
    return Arguments(
        command=command,
        own=values if command in BY_NAME else {},
        fleet=found.fleet,
        hosts=(*found.host, *values.get("targets", ())),
        timeout_s=found.timeout,
        config=found.config,
        batch=found.batch,
        ssh_binary=found.ssh_binary,
        ssh_config=found.ssh_config,
        temporary=found.temporary,
        theme=values.get("theme", ""),
        no_bell=values.get("no_bell", False),
        json=values.get("json", False),
        watch=values.get("watch", False),
        check=values.get("check", False),
        filter=values.get("filter", ""),
        sort=values.get("sort", ""),
        open_at=values.get("where", ""),
        interfaces=tuple(values.get("interface", ())),
        simulated=_simulated(values) if command == "demo" else (),
    )


def _with_binary(words: Sequence[str]) -> list[str]:
    """The words, `--ssh-binary` joined with its value: only a path, so that no command is taken for the program."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] == _BINARY and "/" in word and not word.startswith("-"):
            joined[-1] = f"{_BINARY}={word}"
        else:
            joined.append(word)
    return [f"{_BINARY}=ssh" if word == _BINARY else word for word in joined]


def _parser(command: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=f"gpu-cockpit {command}".strip(),
        description=_HELP.get(command) or "The terminal cockpit for GPU fleets. Without a command: the screens.",
        epilog=_MORE.get(command) if command else _commands(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_common(parser)
    _add_own(parser, command)
    for action in parser._actions:  # noqa: SLF001
        if set(action.option_strings) & set(_NOT_FOR.get(command, ())):
            action.help = argparse.SUPPRESS
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    """Which hosts, how they are reached, how long they are waited for."""
    add = parser.add_argument
    add("--fleet", default="", metavar="FILE", help="fleet file (default ~/.config or /etc/gpu-cockpit/fleet.toml)")
    add(
        "--host", action="append", default=[], metavar="TARGET",
        help="a host of the fleet file, [ssh://][user@]host[:port] or unix:///path/agent.sock; may be repeated",
    )  # fmt: skip
    add("--timeout", type=float, default=TIMEOUT_S, metavar="S", help="how long to wait for answers (default 10)")
    add("--config", default="", metavar="FILE", help="settings (default ~/.config/gpu-cockpit/config.toml)")
    add("--batch", action="store_true", help="never ask for a passphrase, a code or a touch")
    add(
        _BINARY, nargs="?", const="ssh", default="", metavar="PATH",
        help="reach hosts by this program (default the ssh of PATH) instead of our own SSH",
    )  # fmt: skip
    add("--ssh-config", default="", metavar="FILE", help="in place of ~/.ssh/config; `none` for no file at all")
    add("--temporary", action="store_true", help="with --host: bring an agent along, leave nothing behind")
    add("--debug", action="store_true", help="show where an error comes from")
    add("--version", action="version", version=f"gpu-cockpit {__version__}")


def _add_own(parser: argparse.ArgumentParser, command: str) -> None:
    """What this command alone understands."""
    add = parser.add_argument
    if command in BY_NAME:
        BY_NAME[command].options(parser)
    if command == "open":
        add(
            "where",
            metavar="WHERE",
            help="an incident, a host, HOST:INDEX for one of its GPUs, or a place such as events",
        )
    if command == "discover":
        add(
            "--interface", action="append", default=[], metavar="NAME",
            help="listen there (name or address; may be repeated) instead of wherever the outside is",
        )  # fmt: skip
    if command == "doctor":
        add("targets", nargs="*", metavar="TARGET", help="as --host; without any, all hosts of the fleet file")
    if command in ("", "open", "demo"):
        add("--theme", default="", metavar="NAME", help="colours of the screens")
        add("--no-bell", action="store_true", help="a new critical incident makes no sound")
    if command == "demo":
        add("--hosts", type=int, default=8, metavar="N", help="simulated hosts (default 8)")
        add("--gpus", type=int, default=8, metavar="N", help="GPUs of each (default 8)")
        add("--scenario", default="", metavar="NAME", help="what happens; `gpu-cockpit sim scenarios` lists them")
        add("--seed", type=int, default=None, metavar="N", help="same seed, same story")
        add("--speed", type=float, default=None, metavar="X", help="how fast the story's time runs (default 1)")
    if command in ("status", "doctor", "discover", *LISTS):
        add("--json", action="store_true", help="for scripts; schema 1")
    if command == "status":
        add("--check", action="store_true", help="exit 0 healthy, 1 warning, 2 critical, 3 unknown")
    if command in LISTS:
        add("--watch", action="store_true", help="go on until interrupted; with --json one document per line")
        add("--filter", default="", metavar="TERMS", help="as / in the screens: 'pool:prod temp>80 fault'")
        add("--sort", default="", metavar="COLUMN", help="`--sort temp`, `--sort=-temp` for largest first")


def _commands() -> str:
    return "commands:\n" + "\n".join(f"  {name:<13} {_HELP[name]}" for name in COMMANDS)


def _simulated(values: dict[str, object]) -> tuple[str, ...]:
    words = []
    for name in ("hosts", "gpus", "scenario", "seed", "speed"):
        value = values[name]
        if value not in (None, ""):
            words += [f"--{name}", str(value)]
    return tuple(words)
