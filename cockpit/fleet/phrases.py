"""PURE. Words that sentences about all kinds of problems share."""

from collections.abc import Iterable
from datetime import UTC, datetime

from agent.wire.replicas import PREFIX as REPLICA
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


def named(name: str, text: str, called: str = "") -> str:
    """An agent's sentence about a replica with its name (or what it is `called` here) in front, once: `vllm:8000 is
    down`, `vllm:8000: its queue grows`. Agents say `it`, for they name the subject beside the sentence."""
    called = called or name
    if text.startswith((f"{name} ", f"{name}: ")):
        return called + text[len(name) :]
    return f"{called} {text.removeprefix('it ')}" if text.startswith("it ") else f"{called}: {text}"


def unnamed(name: str, text: str) -> str:
    """The sentence without the name that stands before it."""
    return text.removeprefix(f"{name} ").removeprefix(f"{name}: ")


def about(finding: Finding) -> str:
    """What a finding says, understood without its subject beside it."""
    subject = finding.subject
    return named(subject.removeprefix(REPLICA), finding.text) if subject.startswith(REPLICA) else finding.text
