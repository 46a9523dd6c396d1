"""PCIe errors and out-of-memory kills. PURE."""

import re
from typing import Any

from agent.clock import Instant
from agent.sources.base import RawEvent
from agent.sources.kernel_log.pattern import BUS, WITNESS, bus_id

_AER_HEAD = re.compile(rf"\b{BUS}: (?:AER: )?(?P<rest>.*)", re.S)
_AER_RECEIVED = re.compile(
    r"(?P<severity>Correct\w+|Uncorrect\w+ \([\w-]+\)) error (?:message )?received(?: from)?:?\s*(?P<source>\S*)"
)
_AER_BUS_ERROR = re.compile(r"PCIe Bus Error: severity=(?P<severity>[^,]+), type=(?P<type>[^,]+)")
_KILLED = re.compile(
    r"Killed process (?P<pid>\d{1,10}) \((?P<name>.{0,64})\)(?:,? .*?anon-rss:(?P<rss>\d{1,15})kB)?", re.S
)
_KILLER = re.compile(
    r"oom-kill:constraint=(?P<constraint>\w+),.*?(?:oom_memcg=(?P<memcg>[^,]*),)?task_memcg=(?P<cgroup>[^,]*),"
    r"task=(?P<name>.*),pid=(?P<pid>\d{1,10}),uid=\d+",
    re.S,
)


def aer(line: str, at: Instant) -> RawEvent | None:
    """A PCIe error, by severity and the device that reported it or, if named, the one it came from."""
    head = _AER_HEAD.search(line)
    if head is None:
        return None
    rest = head["rest"]
    device = bus_id(head["bus"])
    data: dict[str, Any] = {"device": device, "line": line}
    found = _AER_BUS_ERROR.search(rest) or _AER_RECEIVED.search(rest)
    if found is None:
        if "device recovery failed" not in rest:
            return None
        return RawEvent(
            WITNESS, "aer", at, f"PCIe {device}: recovery failed", bus_id=device, data={"severity": "fatal", **data}
        )
    groups = found.groupdict()
    severity = _severity(groups["severity"])
    source = bus_id(groups.get("source") or "") or device
    data |= {"severity": severity, "source": source}
    kind = ""
    if groups.get("type"):
        data["type"] = groups["type"].strip()
        kind = f", {data['type']}"
    return RawEvent(WITNESS, "aer", at, f"PCIe {severity} error at {source}{kind}", bus_id=source, data=data)


def _severity(words: str) -> str:
    words = words.lower()
    if words.startswith("correct"):
        return "corrected"
    return "nonfatal" if "non" in words else "fatal"


def oom_kill(line: str, at: Instant) -> RawEvent | None:
    """A process the kernel killed for want of memory: of the host, or only of its cgroup."""
    found = _KILLED.search(line)
    if found is None:
        return None
    cgroup = "Memory cgroup" in line
    rss = int(found["rss"]) * 1024 if found["rss"] else None
    return _oom(at, line, int(found["pid"]), found["name"], "cgroup" if cgroup else "host", rss=rss)


def oom_killer(line: str, at: Instant) -> RawEvent | None:
    """The kernel's own account of a kill, one line before the kill: constraint and cgroups."""
    found = _KILLER.search(line)
    if found is None:
        return None
    scope = "cgroup" if found["constraint"] == "CONSTRAINT_MEMCG" else "host"
    return _oom(at, line, int(found["pid"]), found["name"], scope, cgroup=found["cgroup"], memcg=found["memcg"] or "")


def _oom(at: Instant, line: str, pid: int, name: str, scope: str, **more: object) -> RawEvent:
    where = "its cgroup's memory limit was reached" if scope == "cgroup" else "the host ran out of memory"
    data = {"pid": pid, "name": name, "scope": scope, **more, "line": line}
    return RawEvent(WITNESS, "oom", at, f"killed {name} (pid {pid}): {where}", data=data)
