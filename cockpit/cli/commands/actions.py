"""Acting: what could be done, what is done, what was done, and the record of it."""

import argparse

from cockpit.cli.commands.command import Command

_AT = "cockpit.cli.acting"


def _run(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "runbook",
        nargs="?",
        default="",
        metavar="RUNBOOK",
        help="as `runbooks` lists them, or action:ID for one action",
    )
    add(
        "target", nargs="?", default="", metavar="TARGET",
        help="HOST, HOST/gpuN, HOST/REPLICA, HOST/process:PID, HOST/unit:NAME, a pool, a finding or an incident",
    )  # fmt: skip
    add("--dry-run", action="store_true", help="print the whole plan; nothing is done, and viewers may ask")
    add("--param", action="append", default=[], metavar="NAME=VALUE", help="a parameter; may be repeated")
    add("--reason", default="", metavar="TEXT", help="why; kept with every step")
    add("--incident", default="", metavar="ID", help="the incident that this answers: it lands in its timeline")
    add("--yes", action="store_true", help="do not ask; stands for no typed name and passes no guard")
    add(
        "--confirm",
        default="",
        metavar="NAME",
        help="the target's name, for what cannot be undone; may stand for --yes",
    )
    add("--override", action="append", default=[], metavar="GUARD", help="pass this guard; needs a typed name")
    verbs = parser.add_mutually_exclusive_group()
    verbs.add_argument("--resume", nargs="?", const="", default=None, metavar="RUN", help="go on with a run")
    verbs.add_argument("--roll-back", default=None, metavar="RUN", help="take back what a run did, last first")
    verbs.add_argument("--abort", default=None, metavar="RUN", help="stop a run after the step under way")
    add(
        "--as", dest="author", default="", metavar="NAME", help="who does it (default: `operator` of the settings, you)"
    )
    add("--json", action="store_true", help="one object at the end, for scripts; schema 1")
    add("--watch", action="store_true", help="with --json: one object a line for every change, the last is the end")


def _actions(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("verb", nargs="?", default="", choices=("", "show"), metavar="show", help="one run or action, whole")
    add("what", nargs="?", default="", metavar="RUN|KEY", help="id of a run or key of an action, or its beginning")


def _audit(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "words",
        nargs="*",
        metavar="verify|HOST",
        help="verify: whether each audit is what it was; hosts: only these",
    )
    add("--last", type=int, default=50, metavar="N", help="of the list: the newest lines of each host (default 50)")
    add("--forget", action="store_true", help="with verify HOST: forget what was seen before, where it began anew")
    add("--json", action="store_true", help="for scripts; schema 1")


def _fetch(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("what", metavar="RUN|KEY", help="id of a run or key of an action that collected something")
    add("-o", "--output", default="", metavar="FILE", help="where to; nothing is replaced (default: here, by its name)")
    add("--part", default="", metavar="NAME", help="which, where several were collected")
    add("--json", action="store_true", help="what was fetched, for scripts; schema 1")


def _runbooks(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("verb", nargs="?", default="", choices=("", "show"), metavar="show", help="one of them with its steps")
    add("name", nargs="?", default="", metavar="NAME", help="as the list names it")
    add("--json", action="store_true", help="for scripts; schema 1")


COMMANDS = (
    Command(
        "run", "do what a runbook says, step by step: plan, confirm, verify", f"{_AT}.run:run", _run,
        "The plan is printed before anything is done. Exit status: 0 done (or a dry run), 1 failed or\n"
        "refused, 2 wrong usage, 3 nobody can know how it ended. Ctrl-c asks: stop, leave, or go on.",
    ),
    Command(
        "runbooks", "what can be done by name, what each does and needs", f"{_AT}.runbooks:runbooks", _runbooks,
        "Own ones lie in ~/.config/gpu-cockpit/runbooks/*.toml; none replaces one of the library.",
    ),
    Command(
        "actions", "what was done and is under way: who, what, to whom, how it ended", f"{_AT}.actions:actions",
        _actions, "Of each host what is under way and the newest 100 of the last 7 days.", is_list=True,
    ),
    Command(
        "runs", "runbooks that were begun: who, on what, how they stand", "cockpit.cli.lists:listing",
        more="`actions show RUN` has the steps; `run --resume RUN` goes on with one that nobody leads.", is_list=True,
    ),
    Command(
        "fetch", "bring what an action collected, such as a bundle of diagnostics", f"{_AT}.fetch:fetch", _fetch,
        "The file is readable by you alone, and compared with the hash that its host gave. A fetch that was\n"
        "cut off is gone on with where it stopped.",
    ),
    Command(
        "audit", "the record that each host keeps of what was done; verify: whether it is intact", f"{_AT}.audit:audit",
        _audit,
        "Exit status of verify: 0 intact, 1 broken (the place is named), 3 cannot know. Heads that this\n"
        "operator's consoles saw are kept in ~/.local/state/gpu-cockpit/audit-heads.json.",
    ),
)  # fmt: skip
