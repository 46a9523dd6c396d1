"""PURE. Words that sentences about all kinds of problems share."""

from collections.abc import Iterable
from datetime import UTC, datetime

from agent.wire.specs import Finding
from cockpit.fleet.records import HostRecord


def clock_text(wall: float) -> str:
    """Time of day, UTC."""
    try:
        return datetime.fromtimestamp(wall, UTC).strftime("%H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "--:--:--"


def ranges(numbers: list[int]) -> str:
    """`0-3,6` for 0, 1, 2, 3, 6."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ",".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def lead_of(findings: list[Finding], *, gone: bool = False) -> Finding:
    """The finding that names the fault: of a GPU that is gone the one that says so, else the worst; among equals what
    was witnessed comes before what followed from it."""
    first = ("gpu.lost", "gpu.missing") if gone else ("xid.",)
    return min(findings, key=lambda finding: (-finding.severity, not finding.rule.startswith(first), finding.since))


def to_try(finding: Finding) -> Iterable[str]:
    """What the agent's evidence advises, each once."""
    said = [str(item["try"]) for item in finding.evidence if item.get("try")]
    return dict.fromkeys(said)


def as_of(record: HostRecord) -> str:
    """What is told of a host that is silent is of then."""
    return "" if record.live else f"; as it was when the link was lost at {clock_text(record.link_since)}"
