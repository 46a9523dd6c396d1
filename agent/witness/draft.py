"""One witness's word as an event for people: subject, severity of the word itself, one short sentence, its facts.

The severity here colours a line of the event list. Whether a human is needed is decided by findings alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.sources.base import RawEvent
from agent.wire import limits
from agent.wire.replicas import PREFIX, replica_subject
from agent.wire.shape import clean
from agent.wire.specs import Severity, gpu_subject

TEXT_CHARS = 200
LINE_CHARS = 1024
SeverityOf = Callable[[int], Severity]

# Recovery actions as XID 154 gives them: none, reset, reboot, drain P2P, drain and reset, (fabric), bus reset, reboot.
_RECOVERY = {0: Severity.INFO, 3: Severity.WARNING, 5: Severity.WARNING}
_AER = {"corrected": Severity.INFO, "fatal": Severity.CRITICAL}
_DRIVER = {
    "api_mismatch": Severity.CRITICAL,
    "rm_init": Severity.CRITICAL,
    "loaded": Severity.INFO,
    "imex": Severity.INFO,
}
_KERNEL = {
    "slot_limited": Severity.INFO,
    "nic_monitor": Severity.INFO,
    "memory_corrected": Severity.INFO,
    "port_up": Severity.INFO,
}
_REPLICA = {"down": Severity.CRITICAL, "stuck": Severity.WARNING, "unready": Severity.WARNING,
            "unknown": Severity.WARNING}  # fmt: skip
_ON_PURPOSE = frozenset({"asleep", "paused"})
_LEAVING = frozenset({"draining", "drained"})


@dataclass(frozen=True, slots=True)
class EventDraft:
    """A wire `Event` before it has a number: `at` wall seconds, `mono` monotonic seconds of the agent's host."""

    at: float
    mono: float
    kind: str
    subject: str
    severity: Severity
    text: str
    data: dict[str, Any] = field(default_factory=dict)
    replayed: bool = False


def draft(raw: RawEvent, uuid: str, severity: SeverityOf, extra: Mapping[str, Any]) -> EventDraft:
    """`raw` as an event about the GPU `uuid`, about the replica it names, or about the host."""
    data = dict(raw.data)
    if "line" in data:
        data["line"] = clean(str(data["line"]))[:LINE_CHARS]
    if raw.kind in ("xid", "sxid"):
        data[raw.kind] = raw.code
    if raw.bus_id:
        data["bus_id"] = raw.bus_id
    if uuid:
        data["uuid"] = uuid
    data.update(extra)
    return EventDraft(
        at=raw.at.wall,
        mono=raw.at.mono,
        kind=raw.kind,
        subject=gpu_subject(uuid) if uuid else replica_of(raw) or "host",
        severity=judged(raw, severity),
        text=clean(sentence(raw))[:TEXT_CHARS],
        data=data,
        replayed=raw.replayed,
    )


def sentence(raw: RawEvent) -> str:
    """What the event list shows: `XID 79 GPU has fallen off the bus. (pid 123 python3)`."""
    repeated = raw.data.get("repeated")
    if repeated:
        what = str(raw.data.get("what") or raw.kind)
        return repeats(raw.kind if raw.code else what, raw.code, int(repeated), float(raw.data.get("window_s", 60.0)))
    if raw.kind == "xid":
        return f"XID {raw.code} {raw.text or 'reported by the driver'}{_who(raw.data)}"
    if raw.kind == "sxid":
        return f"SXID {raw.code} {raw.text}"
    return raw.text


def repeats(kind: str, code: int, count: int, window_s: float) -> str:
    """One line for the lines of a storm that were counted and left out."""
    what = f"{kind.upper()} {code}" if code else kind.replace("_", " ")
    return f"{what} repeated {count:,} more times within {window_s:.0f} s"


def judged(raw: RawEvent, severity: SeverityOf) -> Severity:
    """How the line itself reads: XIDs by the catalogue, unless the line says more than the catalogue can know."""
    if raw.kind == "xid":
        return _xid(raw, severity)
    told = _OF_KIND.get(raw.kind)
    return Severity.WARNING if told is None else told(raw.data)


def replica_of(raw: RawEvent) -> str:
    """The subject of the replica that a word is about; empty where it is about none."""
    identity = raw.data.get("replica") if raw.kind == "replica" else None
    return replica_subject(clean(str(identity))[: limits.NAME - len(PREFIX)]) if identity else ""


def _replica(data: Mapping[str, Any]) -> Severity:
    """How a new state reads: what somebody did on purpose is no alarm."""
    if data.get("phase") in _ON_PURPOSE or (data.get("to") == "down" and data.get("from") in _LEAVING):
        return Severity.INFO
    return _REPLICA.get(str(data.get("to")), Severity.INFO)


def _xid(raw: RawEvent, severity: SeverityOf) -> Severity:
    fatal = raw.data.get("fatal")  # only the NVLink codes 144 to 150 carry the word
    if fatal is not None:
        return Severity.CRITICAL if fatal else Severity.WARNING
    action = raw.data.get("action")
    if raw.code == 154 and isinstance(action, int):
        return _RECOVERY.get(action, Severity.CRITICAL)
    return severity(raw.code)


def _who(data: Mapping[str, Any]) -> str:
    pid, name = data.get("pid"), data.get("name")
    if pid is None:
        return f" ({name})" if name else ""
    return f" (pid {pid} {name})" if name else f" (pid {pid})"


# By kind: how its facts read.
_OF_KIND: dict[str, Callable[[Mapping[str, Any]], Severity]] = {
    "sxid": lambda data: Severity.CRITICAL if data.get("fatal") else Severity.INFO,
    "off_bus": lambda data: Severity.CRITICAL,
    "aer": lambda data: _AER.get(str(data.get("severity")), Severity.WARNING),
    "driver": lambda data: _DRIVER.get(str(data.get("what")), Severity.WARNING),
    "kernel": lambda data: _KERNEL.get(str(data.get("what")), Severity.WARNING),
    "gpu": lambda data: Severity.CRITICAL if data.get("state") in ("lost", "missing") else Severity.INFO,
    "replica": _replica,
}
