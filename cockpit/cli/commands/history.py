"""The past of one signal, as its host's agent has recorded it."""

import argparse

from cockpit.cli.commands.command import Command

MORE = (
    "HOST alone with a signal of GPUs or replicas means all of its own. Samples are kept for an hour by the second,\n"
    "for a day by ten seconds, for 35 days by the minute (mean, least and most; what is kept long).\n"
    "A time in which nothing was recorded is a gap with its reason, never a zero. Exit status 3:\n"
    "nothing was recorded, or the agent cannot say."
)


def _options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("target", metavar="HOST[/WHAT]", help="a host, a GPU (gpuN) or a replica of it")
    add(
        "signal",
        metavar="SIGNAL",
        help="such as gpu.power, replica.waiting: as `gpus --json`, `replicas --json` name them",
    )
    add("--since", default="30m", metavar="TIME", help="where it begins: 30m or 2h ago, 02:58, 2026-07-24T02:58Z")
    add("--until", default="", metavar="TIME", help="where it ends: the same words (default now)")
    add("--step", default="", metavar="TIME", help="seconds a line stands for: 10s, 1m (default: what fits a page)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="every point, for scripts; schema 1")
    form.add_argument("--csv", action="store_true", help="every point, for spreadsheets")


COMMANDS = (
    Command(
        "history", "what a signal was: a chart and a table of the past", "cockpit.cli.history:show", _options, MORE
    ),
)
