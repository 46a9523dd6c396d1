"""NVSwitch errors. A switch belongs to all GPUs of the host: one finding, on the host, whatever number of them reports.

A code counts once per switch and link: its further lines say the same thing again.
"""

from collections.abc import Iterable, Mapping

from agent.detect import proof
from agent.detect.limit import Limit
from agent.detect.past import lines_of
from agent.detect.rows import HOST
from agent.detect.rule import CLEAR, HOLD, Evidence, Verdict, Word, host_rule
from agent.detect.sxid import lookup
from agent.detect.view import HostView
from agent.wire.specs import Cadence, Event, Finding, RuleSpec, Scope, Severity

LOOK_BACK_S = 7 * 86_400.0
HOUR_S = 3600.0
Place = tuple[str, int, object]  # switch, code, link


@host_rule(
    RuleSpec(
        "sxid.fatal",
        Severity.CRITICAL,
        Scope.HOST,
        "an SXID line says Fatal, or its code is fatal by the catalogue",
        "a new boot, or a reset of every GPU of the host after it: a switch is reset together with its GPUs",
        "the driver's own word; catalogue of SXIDs",
        "it takes every GPU that uses the port: the XIDs 74 and 45 of many GPUs within seconds are its echo; NVML "
        "never shows it; Severity and Data lines repeat the code",
        "fabric",
        ("sxid-fatal",),
        ("sxid-nonfatal-single", "driver-reload"),
    ),
    Cadence.MEDIUM,
    kinds=frozenset({"sxid"}),
    windows=proof.RESTARTING,
    clear_s=120.0,
    after_boot_s=0.0,
)
def sxid_fatal(host: HostView, found: Mapping[str, Finding]) -> Iterable[tuple[str, Verdict]]:
    """A switch between the GPUs has failed."""
    open_now = found.get(HOST)
    seen = _places(event for event in _of_this_boot(host, LOOK_BACK_S) if _fatal(event))
    if open_now is not None and _over(host, open_now):
        return [(HOST, CLEAR)]
    seen = {place: lines for place, lines in seen.items() if not _reset_since(host, lines[-1].at)}
    if not seen:
        return [(HOST, HOLD)]
    place, first = min(((place, lines[0]) for place, lines in seen.items()), key=lambda item: item[1].at)
    more = f"; {len(seen) - 1} more on this host" if len(seen) > 1 else ""
    evidence = [_line(host, place, lines) for place, lines in seen.items()]
    evidence += proof.kept(open_now, evidence)
    return [(HOST, Verdict(
        Word.FIRE,
        f"SXID {place[1]} on {_named(place)}: {lookup(place[1]).what}{more}",
        Severity.CRITICAL,
        tuple(evidence),
        since=first.at,
        count=sum(lines_of(line) for lines in seen.values() for line in lines),
    ))]  # fmt: skip


@host_rule(
    RuleSpec(
        "sxid.nonfatal_rate",
        Severity.WARNING,
        Scope.HOST,
        "more than 10 SXIDs that are not fatal within an hour on one link of one switch",
        "fewer than 1 an hour for 6 h",
        "starting value without a public precedent",
        "single ones are common and must not page; lines within 2 s of each other count once",
        "link-check",
        ("sxid-nonfatal-rate",),
        ("sxid-nonfatal-single", "sxid-fatal"),
    ),
    Cadence.MEDIUM,
    kinds=frozenset({"sxid"}),
    limits=(
        Limit("per_hour", 10, "count", "starting value without a public precedent", 1, 10_000, "lines of one link"),
        Limit(
            "quiet",
            6 * HOUR_S,
            "second",
            "starting value without a public precedent",
            HOUR_S,
            7 * 86_400.0,
            "so long without it is over",
        ),
    ),
)
def sxid_nonfatal_rate(host: HostView, found: Mapping[str, Finding]) -> Iterable[tuple[str, Verdict]]:
    """A link of a switch keeps failing and recovering."""
    seen: dict[tuple[str, object], list[Event]] = {}
    for event in _of_this_boot(host, host.limit("quiet")):
        if not _fatal(event):
            seen.setdefault((_switch(event), event.data.get("link")), []).append(event)
    hour = host.now.wall - HOUR_S
    counts = {place: sum(lines_of(one) for one in lines if one.at >= hour) for place, lines in seen.items()}
    bad = {place: count for place, count in counts.items() if count > host.limit("per_hour")}
    if not bad:
        return [(HOST, HOLD if seen else CLEAR)] if HOST in found else [(HOST, HOLD)]
    (switch, link), count = max(bad.items(), key=lambda item: item[1])
    evidence: Evidence = {
        "what": f"SXIDs of {switch}" + ("" if link is None else f" link {link}"),
        "value": count,
        "unit": "count",
        "threshold": host.limit("per_hour"),
        "window_s": HOUR_S,
        "at": seen[switch, link][-1].at,
        "line": str(seen[switch, link][-1].data.get("line", ""))[: proof.LINE_CHARS],
        "boot": host.boot_id,
    }
    text = f"{switch}{'' if link is None else f' link {link}'} reports errors again and again: check cables and seating"
    return [(HOST, Verdict(Word.FIRE, text, Severity.WARNING, (evidence,), since=seen[switch, link][0].at))]


def _of_this_boot(host: HostView, window_s: float) -> list[Event]:
    booted = host.now.wall - host.uptime
    return [event for event in host.events("sxid", window_s) if event.at >= booted]


def _fatal(event: Event) -> bool:
    """The word in the line is the driver's; only a line without one is judged by the table."""
    if event.data.get("fatal"):
        return True
    code = event.data.get("sxid")
    said = str(event.data.get("line", "")).casefold()
    return isinstance(code, int) and "non-fatal" not in said and lookup(code).kind == "fatal"


def _switch(event: Event) -> str:
    return str(event.data.get("switch") or "an NVSwitch")[:32]


def _places(events: Iterable[Event]) -> dict[Place, list[Event]]:
    found: dict[Place, list[Event]] = {}
    for event in events:
        code = event.data.get("sxid")
        place = (_switch(event), code if isinstance(code, int) else 0, event.data.get("link"))
        found.setdefault(place, []).append(event)
    return found


def _named(place: Place) -> str:
    return place[0] if place[2] is None else f"{place[0]} link {place[2]}"


def _line(host: HostView, place: Place, lines: list[Event]) -> Evidence:
    return {
        "what": f"SXID {place[1]} {_named(place)}",
        "value": sum(map(lines_of, lines)),
        "unit": "count",
        "at": lines[-1].at,
        "line": str(lines[-1].data.get("line", lines[-1].text))[: proof.LINE_CHARS],
        "boot": host.boot_id,
    }


def _over(host: HostView, found: Finding) -> bool:
    seen_in = proof.boot(found)
    return (bool(seen_in) and seen_in != host.boot_id) or _reset_since(host, proof.newest(found))


def _reset_since(host: HostView, wall: float) -> bool:
    gpus = host.gpus
    return bool(gpus) and all(gpu.restarted_after(wall) for gpu in gpus)
