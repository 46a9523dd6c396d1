"""PURE. What the fleet knows, as records; columns live in `cockpit.fleet.table`.

Wire frames end in `cockpit.fleet.state`; everything that draws or prints reads these records. A record never invents a
value: what is not known is empty, None or NaN, and says so by its quality, its age or its state.
"""

import math
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

from agent.wire.histogram import Histogram
from agent.wire.replicas import BackendFacts, ReplicaFacts
from agent.wire.requests import Annotation
from agent.wire.specs import Event, Finding, RuleSpec, Severity
from cockpit.fleet.annotations import NONE, Marks, Quiet, all_marks, next_end
from cockpit.fleet.facts import GpuFacts, Process, Reason
from cockpit.fleet.fault_log import FaultLog
from cockpit.fleet.hands import Hands
from cockpit.fleet.link_state import LinkState, LinkStatus
from cockpit.fleet.serving.facts import addresses

_KEPT_TYPED = {
    "gpus": "gpu_facts",
    "processes": "processes",
    "processes_left_out": "processes_left_out",
    "reasons": "reasons",
    "annotations": "annotations",
    "replicas": "replica_facts",
    "backends": "backends",
    "latencies": "latencies",
}
_OF_HANDS = frozenset({"actions", "runs"})


class GpuState(IntEnum):
    """What the roll call says about one GPU. Lost and missing ones keep their row as a tombstone."""

    OK = 0
    DEGRADED = 1  # it answers, and a finding wants a human
    UNKNOWN = 2  # nobody can say now: the link is down, or the GPU does not answer
    MISSING = 3  # expected, and not there
    LOST = 4  # it was there and is gone: fell off the bus

    @property
    def word(self) -> str:
        """The word of the JSON and of the screens."""
        return self.name.lower()


SKEW_WARNING_S = 10.0  # whoever runs an NTP client is never so far off; Kerberos gives up at 300 s
LINK_SEVERITY = {
    LinkState.LIVE: Severity.OK,
    LinkState.CONNECTING: Severity.UNKNOWN,
    LinkState.STALE: Severity.WARNING,
    LinkState.UNREACHABLE: Severity.WARNING,
    LinkState.AGENT_DOWN: Severity.WARNING,
    LinkState.HOST_DOWN: Severity.CRITICAL,
    LinkState.DENIED: Severity.WARNING,
    LinkState.KEY_CHANGED: Severity.CRITICAL,
    LinkState.BASTION_LOST: Severity.WARNING,
    LinkState.INCOMPATIBLE: Severity.WARNING,
}


@dataclass(frozen=True, slots=True)
class FleetEvent:
    """One event of one host; `at` is its wall time on the cockpit's clock, so that hosts can be interleaved.

    Its position is (host, `boot_id`, `event.seq`); what the cockpit itself has witnessed has none, and `seq` 0.
    """

    host: int
    event: Event
    at: float
    boot_id: str = ""


@dataclass(frozen=True, slots=True)
class FleetFinding:
    """One finding of one host, and what people said about it."""

    host: int
    finding: Finding
    marks: Marks = NONE

    @property
    def quiet(self) -> Quiet:
        """Why it needs nobody now, if so."""
        return self.marks.quiet


@dataclass(frozen=True, slots=True)
class Problem:
    """What a human should read: one fault of one subject, or one cause that hides several hosts.

    `since` is wall seconds, `gpu_row` the row in `Fleet.gpus`, `replica_row` that in `Fleet.replicas`, `hosts` all host
    numbers it is about, `count` how many subjects (hosts, GPUs or replicas) it stands for, `findings` the ids of what
    was judged.
    """

    severity: Severity
    title: str
    detail: str
    since: float
    host: int | None = None
    gpu_row: int | None = None
    findings: tuple[str, ...] = ()
    hosts: tuple[int, ...] = ()
    count: int = 1
    replica_row: int | None = None


@dataclass(slots=True)
class HostRecord:
    """One host of the fleet. Only `Fleet` writes it.

    `name` is the inventory's, `host_id` the agent's. `labels`: the fleet file wins over what the agent says.
    `gpu_rows` are rows of `Fleet.gpus`, by GPU index; `gpus_missing` how many expected GPUs no row stands for.
    `replica_rows` are rows of `Fleet.replicas`, by port; `replicas_expected` of them are owed an answer,
    `replicas_present` of them run; before our wall second `grace_until` nobody need know how each is. `latencies`
    were read at our wall second `latencies_at`, the oldest of them.
    `facts[section]` is as sent; what `cockpit.fleet.facts` knows of it stands typed beside it.
    `skew_s` = the host's wall clock minus ours, `skews` what it ever was, newest first.
    `link_since` is wall seconds of the last change of the link's state, `lost_at` those at which it was lost (0 while
    it is not), `lost_hop` the shared hop that took it along.
    `annotations` are those in force; `marks` by finding id what they say about it, good until `marks_until` (our wall
    seconds).
    """

    number: int
    name: str
    target: str
    labels: dict[str, str]
    labels_by_file: dict[str, str]
    expected_by_file: int | None = None
    expected_by_agent: int = 0
    link: LinkStatus = field(default_factory=lambda: LinkStatus(LinkState.CONNECTING))
    link_since: float = 0.0
    lost_at: float = 0.0
    lost_hop: str = ""
    host_id: str = ""
    hostname: str = ""
    boot_id: str = ""
    boots: int = 0
    epoch: int = 0
    agent_version: str = ""
    role: str = ""
    skew_s: float = 0.0
    skews: tuple[float, ...] = ()
    synced: bool = False
    ever_synced: bool = False
    last_frame: float = float("nan")
    last_seq: int = 0
    facts: dict[str, Any] = field(default_factory=dict)
    gpu_facts: dict[str, GpuFacts] = field(default_factory=dict)
    processes: tuple[Process, ...] = ()
    processes_left_out: int = 0
    reasons: tuple[Reason, ...] = ()
    rules: tuple[RuleSpec, ...] = ()
    findings: dict[str, Finding] = field(default_factory=dict)
    annotations: tuple[Annotation, ...] = ()
    marks: dict[str, Marks] = field(default_factory=dict)
    marks_until: float = math.inf
    past: FaultLog = field(default_factory=FaultLog)
    told: int = 0
    gpu_rows: list[int] = field(default_factory=list)
    gpus_expected: int = 0
    gpus_present: int = 0
    gpus_missing: int = 0
    addresses: tuple[str, ...] = ()
    replica_facts: dict[str, ReplicaFacts] = field(default_factory=dict)
    backends: tuple[BackendFacts, ...] = ()
    latencies: dict[str, dict[str, Histogram]] = field(default_factory=dict)
    latencies_at: float = math.nan
    replica_rows: list[int] = field(default_factory=list)
    replicas_expected: int = 0
    replicas_present: int = 0
    grace_until: float = math.inf
    severity: Severity = Severity.UNKNOWN
    hands: Hands = field(default_factory=Hands)

    @property
    def live(self) -> bool:
        """Whether what we know of it is fresh: its link is live and its snapshot complete."""
        return self.synced and self.link.state is LinkState.LIVE

    @property
    def replicas_known(self) -> bool:
        """Whether its agent looks for replicas at all; without that, none is not known to be none."""
        return "replicas" in self.facts

    def keep(self, section: str, data: Any, read: Any) -> None:
        """A section of facts, as it came and as `cockpit.fleet.facts` reads it."""
        self.facts[section] = data
        if section in _OF_HANDS:
            setattr(self.hands, section, read)
        elif section in _KEPT_TYPED:
            setattr(self, _KEPT_TYPED[section], read)
        elif section == "labels":
            self.labels = {**read, **self.labels_by_file}
        elif section == "host":
            self.addresses = addresses(data)
        elif section == "agent":
            self.agent_version = read.version or self.agent_version
            self.expected_by_agent = read.gpus_expected or 0

    def mark(self, finding: Finding) -> Marks:
        """What people have said about a finding of this host."""
        return self.marks.get(finding.id, NONE)

    def judge_marks(self, now: float) -> None:
        """Work out `marks` as of our wall time `now`."""
        there = now + self.skew_s
        said = self.annotations
        self.marks = all_marks(said, self.findings.values(), there) if said else {}
        self.marks_until = next_end(said, there) - self.skew_s if said else math.inf

    def here(self, wall: float, now: float) -> float:
        """A time that the host told, on our wall clock, which stands at `now`. After its clock was stepped, times from
        before are still told: what lies nearest, and not in the future, is meant."""
        if len(self.skews) < 2:
            return wall - self.skew_s
        return max((at for skew in self.skews if (at := wall - skew) <= now + 1.0), default=wall - self.skew_s)

    def frozen(self) -> "HostRecord":
        """A record that no longer changes with this one."""
        return replace(
            self,
            findings=dict(self.findings),
            marks=dict(self.marks),
            past=self.past.copy(),
            gpu_rows=list(self.gpu_rows),
            replica_rows=list(self.replica_rows),
            facts=dict(self.facts),
            gpu_facts=dict(self.gpu_facts),
            hands=self.hands.copy(),
        )
