"""`status`: the fleet in one screen, and its severity as an exit status."""

from typing import Any

from cockpit.cli.arguments import Arguments
from cockpit.cli.collect import Look, look
from cockpit.cli.inputs import inventory_of
from cockpit.cli.printing import emit, emit_json, exit_status, paint, plain, severity_text
from cockpit.cli.reasons import no_gpus
from cockpit.fleet import rollup
from cockpit.fleet.link_state import LinkState
from cockpit.fleet.records import GpuState
from cockpit.fleet.serving.roster import NEED
from cockpit.fleet.standing import quiet_words
from cockpit.incidents import Book
from cockpit.incidents.status import status as status_of

_BARE = 4
_POOLS = 8
_TOLD = 40  # more than anybody reads; the worst come first


def status(arguments: Arguments) -> int:
    """Look once and say what a human should know."""
    seen = look(arguments, inventory_of(arguments))
    seen.report_silent()
    seen.report_remarks()
    if arguments.json:
        emit_json({**status_of(seen.fleet, Book(), seen.now)[0], "silent": seen.silent_items()})
    else:
        _show(seen)
    return seen.status(exit_status(rollup.severity(seen.fleet)) if arguments.check else 0)


def _show(seen: Look) -> None:
    summary, found = status_of(seen.fleet, Book(), seen.now)
    hosts, gpus, word = summary["hosts"], summary["gpus"], summary["severity"]
    links = ", ".join(f"{hosts[state.value]} {state.value}" for state in LinkState if hosts[state.value])
    states = ", ".join(f"{gpus[state.word]} {state.word}" for state in GpuState if gpus[state.word])
    emit(f"{paint(severity_text(word), word)}  as of {summary['as_of']}")
    emit(f"hosts  {hosts['total']}: {links}")
    count = f"{gpus['present']} of {gpus['expected']} accounted for" if gpus["expected"] else "none known"
    emit(f"GPUs   {count}" + (f": {states}" if states else ""))
    bare = list(no_gpus(seen.fleet))
    for sentence in bare[:_BARE]:
        emit(f"       {plain(sentence)}")
    if len(bare) > _BARE:
        emit(f"       and {len(bare) - _BARE} more hosts without GPUs; `hosts --json` tells why")
    _show_replicas(summary)
    if quiet := quiet_words(seen.fleet):
        emit(f"quiet  {quiet}")
    if not found:
        emit("nothing needs a human" if seen.answered else "nobody answered: nothing is known")
    for problem in found[:_TOLD]:
        word = problem.severity.word
        emit(f"{paint(severity_text(word), word)}  {plain(problem.title)}")
        if problem.detail:
            emit(f"    {plain(problem.detail)}")
    if seen.silent:
        them = "it" if len(seen.silent) == 1 else "them"
        count = f"{len(seen.silent)} of {len(seen.fleet.hosts)} hosts did not answer"
        emit(f"{count}: `gpu-cockpit doctor` goes the way to {them} step by step")
    if len(found) > _TOLD:
        emit(f"and {len(found) - _TOLD} more problems; --json tells them all, `findings --filter` some of them")


def _show_replicas(summary: dict[str, Any]) -> None:
    """How many are ready, and the pools: those that need a human first."""
    counts = summary["replicas"]
    if counts is None or not counts["expected"]:
        return
    states = ", ".join(f"{counts[state.word]} {state.word}" for state in NEED[:-1] if counts[state.word])
    old = counts["hosts_not_looking"]
    blind = f"; {old} agent{'s are' if old > 1 else ' is'} too old to look" if old else ""
    dark = summary["replicas"]["hosts_silent"]
    blind += (
        f"; {dark} host{'s are' if dark > 1 else ' is'} silent: what may serve there is not counted" if dark else ""
    )
    emit(f"serves {counts['ready']} of {counts['expected']} replicas ready{f': {states}' if states else ''}{blind}")
    for pool in summary["pools"][:_POOLS]:
        word = pool["severity"]
        emit(f"       {paint(severity_text(word), word)}  {plain(pool['says'])}")
    if len(summary["pools"]) > _POOLS:
        emit(f"       and {len(summary['pools']) - _POOLS} more pools; `pools` lists them")
