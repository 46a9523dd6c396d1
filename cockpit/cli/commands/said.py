"""What an operator says about a fault: ack, silence, maintenance, note, retire."""

import argparse

from cockpit.cli.commands.command import Command

_AT = "cockpit.cli.annotate"
_TARGET = "a finding, HOST, HOST/gpuN, HOST/GPU-UUID or HOST/REPLICA"


def _author(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--as", dest="author", default="", metavar="NAME", help="who says it (default: `operator` of the settings, you)"
    )
    add("--json", action="store_true", help="what was done, for scripts; schema 1")
    add("--dry-run", action="store_true", help="show what would be said and what it hits; nothing is sent")


def _faults(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="+", metavar="FINDING|INCIDENT", help="ids or their beginnings")


def _ack(parser: argparse.ArgumentParser) -> None:
    _faults(parser)
    parser.add_argument("--reason", default="", metavar="TEXT", help="why nobody else needs to look; required")
    _author(parser)


def _unack(parser: argparse.ArgumentParser) -> None:
    _faults(parser)
    _author(parser)


def _until(parser: argparse.ArgumentParser, *, reason: str) -> None:
    add = parser.add_argument
    end = parser.add_mutually_exclusive_group()
    end.add_argument("--for", dest="lasts", default="", metavar="TIME", help="how long: 30m, 2h, 1d")
    end.add_argument("--until", default="", metavar="TIME", help="18:30 (UTC, the next one) or 2026-07-24T18:30Z")
    add("--reason", default="", metavar="TEXT", help=reason)
    add("--yes", action="store_true", help="do not ask after the preview")
    _author(parser)


def _silence(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("target", metavar="TARGET", help=_TARGET)
    add("--rule", default="", metavar="GLOB", help="only findings of these rules, such as 'link.*'")
    _until(parser, reason="why; required")


def _maintenance(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="HOST[/WHAT]", help="a host, a GPU (gpuN) or a replica of it")
    _until(parser, reason="what is done there; required")


def _end(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="+", metavar="ID", help="ids as `gpu-cockpit annotations` lists them")
    _author(parser)


def _note(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="TARGET", help=_TARGET)
    parser.add_argument("text", nargs="+", metavar="TEXT", help="what whoever comes next should know")
    _author(parser)


def _retire(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="HOST/WHAT", help="gpuN, GPU-UUID or REPLICA of one that is gone")
    parser.add_argument("--reason", default="", metavar="TEXT", help="what became of it")
    _author(parser)


COMMANDS = (
    Command(
        "ack", "somebody has this fault: it needs nobody else until it ends or worsens", f"{_AT}:ack", _ack,
        "An ack ends with its fault and no longer counts once that worsens. `annotations` lists all\n"
        "acks, first those older than a shift (8 h).",
    ),
    Command("unack", "take an ack back", f"{_AT}:unack", _unack),
    Command(
        "silence", "what matches needs nobody until a time; shows what it hits first", f"{_AT}:silence", _silence,
        "A silence hides nothing: what it hits is folded and counted, and loud again at its end.",
    ),
    Command("unsilence", "end a silence now", f"{_AT}:unsilence", _end),
    Command("maintenance", "somebody works on a host, GPU or replica until a time", f"{_AT}:maintenance", _maintenance),
    Command("unmaintenance", "end a maintenance now", f"{_AT}:unmaintenance", _end),
    Command("note", "leave word at a finding, a host, a GPU or a replica, for every cockpit", f"{_AT}:note", _note),
    Command(
        "retire", "a GPU or replica that is gone for good is owed no answer any more", f"{_AT}:retire", _retire,
        "Only a GPU that is lost or missing and a replica that is down can be retired.",
    ),
    Command(
        "annotations", "all that was said and still holds, forgotten acks first", "cockpit.cli.lists:listing",
        more="Then silences that are over, then what ends next.", is_list=True,
    ),
)  # fmt: skip
