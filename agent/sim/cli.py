"""`sim up | inject | scenarios | faults`: arguments in, sentences out; everything else is done elsewhere."""

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from agent.clock import SystemClock
from agent.errors import UsageError
from agent.sim import control, faults, scenario
from agent.sim.params import nearest

_STDIN = 0


class _Parser(argparse.ArgumentParser):
    """Mistakes become UsageError."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


def main(words: Sequence[str]) -> int:
    """Run what `words` (those behind `sim`) name; returns the exit status.

    Raises:
        UsageError: they are wrong, or the running simulation refuses.
        AgentError: it cannot be done.
    """
    part = next((word for word in words if not word.startswith("-")), "")
    if part and part not in _PARTS:
        raise UsageError(f"there is no `sim {part[:40]}`{nearest(part, _PARTS)}")
    args = _parser().parse_args(words)
    status: int = args.handler(args)
    return status


def vocabulary() -> dict[str, argparse.ArgumentParser]:
    """The parser of every part: man pages and shell completion are made from it."""
    found: dict[str, argparse.ArgumentParser] = {}
    for name, (says, fill) in _PARTS.items():
        found[name] = _Parser(prog=f"gpu-cockpit sim {name}", description=says)
        fill(found[name])
    return found


def _parser() -> argparse.ArgumentParser:
    sim = _Parser(prog="gpu-cockpit sim", description="Simulated hosts: real agents over invented hardware.")
    parts = sim.add_subparsers(dest="part", required=True, metavar="|".join(_PARTS))
    for name, (says, fill) in _PARTS.items():
        fill(parts.add_parser(name, help=says, description=says))
    return sim


def _add_up(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dir", type=Path, required=True, help="the fleet's directory; fleet.toml is written there")
    parser.add_argument("--hosts", type=int, metavar="N", help="how many hosts (default: what the scenario says)")
    parser.add_argument("--gpus", type=int, metavar="N", help="GPUs per host (default: what the scenario says)")
    parser.add_argument("--scenario", metavar="NAME", help="see `sim scenarios` (default: healthy-night)")
    parser.add_argument("--seed", type=int, metavar="N", help="another number, other hosts (default: 1)")
    parser.add_argument("--speed", type=float, metavar="X", help="data seconds per second (default: 1)")
    parser.add_argument("--while-stdin", action="store_true", help="end when standard input, a pipe, ends")
    parser.add_argument("--forget", type=Path, metavar="DIR", help="remove this directory at the end, whatever ends it")
    parser.set_defaults(handler=_up)


def _add_inject(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dir", type=Path, required=True, help="the directory of a running `sim up`")
    parser.add_argument("--host", required=True, metavar="NAME", help="which host, such as gpu-a01")
    parser.add_argument("fault", metavar="FAULT", help="see `sim faults`")
    parser.add_argument("params", nargs="*", default=[], metavar="K=V", help="its parameters, such as gpu=3")
    parser.set_defaults(handler=_inject)


def _add_list(handler: Callable[[argparse.Namespace], int]) -> Callable[[argparse.ArgumentParser], None]:
    def fill(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="as JSON")
        parser.set_defaults(handler=handler)

    return fill


def _up(args: argparse.Namespace) -> int:
    try:
        asyncio.run(_serve(args))
    finally:
        if args.forget is not None:
            shutil.rmtree(args.forget, ignore_errors=True)
    return 0


async def _serve(args: argparse.Namespace) -> None:
    from agent.sim.fleet import SimFleet  # here: it brings the whole agent, and `inject` is to be quick

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    if args.while_stdin:
        _tie_to_stdin(loop, stop)
    fleet = SimFleet(
        args.dir, hosts=args.hosts, gpus=args.gpus, scenario=args.scenario, seed=args.seed, speed=args.speed
    )
    async with fleet:
        plan = fleet.plan
        verb = "go on" if fleet.resumed else "are up"
        print(
            f"{plan.hosts} hosts with {plan.gpus} GPUs each {verb} ({plan.scenario}, seed {plan.seed}, speed "
            f"{plan.speed:g}); look at them with: gpu-cockpit --fleet {fleet.file}",
            file=sys.stderr,
            flush=True,
        )
        print("READY", flush=True)
        await stop.wait()


def _tie_to_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Stop when standard input ends: so does a pipe whose writer dies, however hard."""

    def heard() -> None:
        if not os.read(_STDIN, 4096):
            loop.remove_reader(_STDIN)
            stop.set()

    try:
        loop.add_reader(_STDIN, heard)
    except OSError:
        raise UsageError(
            "--while-stdin: standard input must be a pipe; leave it away, or start with `sleep 60 |`"
        ) from None


def _inject(args: argparse.Namespace) -> int:
    spec = faults.find(args.fault)
    given: dict[str, str] = {}
    for item in args.params:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise UsageError(f"{item[:60]!r} is no parameter; write name=value, such as gpu=3")
        if name in given:
            raise UsageError(f"{name} is given twice; give it once")
        given[name] = value
    print(control.request_inject(args.dir, args.host, spec.name, given))
    return 0


def _scenarios(args: argparse.Namespace) -> int:
    stories = [scenario.load(name) for name in scenario.SCENARIOS]
    if args.json:
        _print_json(
            [
                {
                    "id": story.name,
                    "title": story.title,
                    "hosts": story.hosts,
                    "gpus": story.gpus,
                    "faults": [
                        {"at_s": item.at, "host": item.host, "fault": item.fault, "params": dict(item.params)}
                        for item in story.faults
                    ],
                }
                for story in stories
            ]
        )
        return 0
    width = max(len(story.name) for story in stories)
    for story in stories:
        print(f"{story.name:<{width}}  {story.title}")
    return 0


def _faults(args: argparse.Namespace) -> int:
    if args.json:
        _print_json(
            [
                {
                    "id": spec.name,
                    "help": spec.help,
                    "params": [
                        {"name": param.name, "help": param.help, "takes": param.says, "default": param.default}
                        for param in spec.params
                    ],
                }
                for spec in faults.FAULTS
            ]
        )
        return 0
    for spec in faults.FAULTS:
        print(f"{spec.name}: {spec.help}")
        for param in spec.params:
            default = f"default {param.default_text}" if param.default is not None else "must be given"
            print(f"    {param.name}=  {param.help}: {param.says} ({default})")
    return 0


def _print_json(items: list[dict[str, object]]) -> None:
    as_of = datetime.fromtimestamp(SystemClock().wall(), UTC).isoformat(timespec="milliseconds")
    print(json.dumps({"schema": 1, "as_of": as_of, "items": items}, indent=2))


_PARTS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "up": ("start a simulated fleet, or go on with the one in DIR", _add_up),
    "inject": ("make a fault happen now", _add_inject),
    "scenarios": ("what `sim up --scenario` can play", _add_list(_scenarios)),
    "faults": ("what `sim inject` can do, with its parameters", _add_list(_faults)),
}
