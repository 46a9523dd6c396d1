"""Incidents: the list, one of them in words, and one written down for those who were not there."""

import argparse

from cockpit.cli.commands.command import Command

FORMATS = ("md", "json")


def _one(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("verb", choices=("show", "export"), help="show: in words; export: all of it, for a postmortem")
    add("incident", metavar="ID", help="an id as `gpu-cockpit incidents` lists it, or its unique beginning")
    add("--format", dest="form", choices=FORMATS, default=None, help="of an export (default md)")


COMMANDS = (
    Command(
        "incidents", "what is wrong, by cause: one line for each, its echoes counted", "cockpit.cli.lists:listing",
        more="Incidents that are over are listed for an hour, with the state `cleared`. In --json,\n"
        "`impact.replicas` is null where an agent is too old to look for replicas: null is not none.",
        is_list=True,
    ),
    Command(
        "incident", "one incident: its chain, impact, timeline and evidence", "cockpit.cli.incident:incident", _one,
        "The timeline comes from the host's own journal, also where it began before anybody looked.",
    ),
)  # fmt: skip
