"""PURE. The state of the whole fleet: frames of links go in, columns and records come out.

A host's frames can change that host alone. Whatever they hold, a misfit is a `WireError` that ends its session; what
was known before stays, and ages.
"""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from agent.wire import limits
from agent.wire.block import unpack_schema
from agent.wire.errors import WireError
from agent.wire.frames import Bye, Error, EventFrame, Facts, Frame, Gap, Hello, Layout, Pong, Sample, Snapshot, Synced
from agent.wire.replicas import PREFIX as REPLICA
from agent.wire.shape import unpack
from agent.wire.specs import Finding, FindingState, Schema, Scope, Severity
from cockpit.clock import Instant
from cockpit.fleet import facts as fact
from cockpit.fleet import naming, skew
from cockpit.fleet.events import EventLog, told
from cockpit.fleet.link_news import news
from cockpit.fleet.link_state import LinkState, LinkStatus
from cockpit.fleet.records import FleetEvent, FleetFinding, HostRecord
from cockpit.fleet.roster import call_roll
from cockpit.fleet.serving.backends import Backends
from cockpit.fleet.serving.facts import latencies_at
from cockpit.fleet.serving.held import Holdings
from cockpit.fleet.serving.latency import Latencies
from cockpit.fleet.serving.roster import call_replicas
from cockpit.fleet.serving.words import ReplicaWords
from cockpit.fleet.session import MOST, Session, seats
from cockpit.fleet.table import Table
from cockpit.fleet.words import GpuWords, ProcessWords
from cockpit.inventory import HostEntry, PoolEntry

GPUS_PER_HOST = MOST[Scope.GPU]
_NO_POOLS: Mapping[str, PoolEntry] = MappingProxyType({})
_STEP_S = 0.05  # of our wall clock against our monotonic one, within a second


class Fleet:
    """All hosts of an inventory. `version` grows whenever anything changed; readers poll it.

    `gpus` has one row per GPU ever seen, `replicas` one per replica, `host_table` one per host, row = host number.
    `speed` is the data clock's, `interval_s` the real delivery interval that links subscribe with: both decide when a
    value is aged. `pool_entries` is what the fleet file says of pools of replicas.
    """

    def __init__(
        self,
        entries: Sequence[HostEntry],
        *,
        speed: float = 1.0,
        interval_s: float = 1.0,
        pools: Mapping[str, PoolEntry] = _NO_POOLS,
    ) -> None:
        self.version = 0
        self.hosts = [
            HostRecord(
                number, entry.name, str(entry.target), dict(entry.labels), dict(entry.labels), entry.gpus_expected
            )
            for number, entry in enumerate(entries)
        ]
        self.numbers = {record.name: record.number for record in self.hosts}
        self.gpus = Table(Scope.GPU, speed=speed, interval_s=interval_s)
        self.host_table = Table(Scope.HOST, speed=speed, interval_s=interval_s)
        self.replicas = Table(Scope.REPLICA, speed=speed, interval_s=interval_s)
        self.pool_entries = pools
        self.backends = Backends()
        self.latencies = Latencies()
        self.held: Holdings | None = None  # see `cockpit.fleet.serving.held`
        self.gpu_words = GpuWords()
        self.replica_words = ReplicaWords()
        self.process_words = ProcessWords()
        self.schemas: dict[str, Schema] = {}
        self.now = Instant(0.0, 0.0)
        self._tables = {Scope.GPU: self.gpus, Scope.HOST: self.host_table, Scope.REPLICA: self.replicas}
        self._log = EventLog()
        self._sessions: list[Session | None] = [None] * len(self.hosts)
        self._live: npt.NDArray[np.bool_] = np.zeros(len(self.hosts), dtype=np.bool_)
        self._detail: npt.NDArray[np.bool_] = np.zeros(len(self.hosts), dtype=np.bool_)
        self._findings: tuple[int, list[FleetFinding]] = (-1, [])
        self._judged = 0
        for record in self.hosts:
            self.host_table.rows(record.number, (record.name,))
            self._refresh(record)
        self._tell_tables()

    @property
    def events(self) -> Sequence[FleetEvent]:
        """The newest events of all hosts, newest last, at most 10,000. Not to be written to."""
        return self._log.newest()

    @property
    def events_total(self) -> int:
        """How many events were ever taken in."""
        return self._log.total

    def apply(self, host: int, frame: Frame, now: Instant) -> None:
        """Take one frame of one host in.

        Raises:
            WireError: it does not fit what the session said before.
        """
        handler = self._HANDLERS.get(type(frame))
        if handler is None:
            raise WireError(f"an agent never sends {frame.KIND.name.lower()}")
        record = self.hosts[host]
        handler(self, record, frame, now)
        record.last_frame = now.mono
        self.version += 1

    def link_changed(self, host: int, status: LinkStatus, now: Instant) -> None:
        """The link of one host stands elsewhere now."""
        record = self.hosts[host]
        if status.state is not record.link.state or not record.link_since:
            record.link_since = now.wall
        if event := news(self.hosts, record, status, now.wall):
            self._log.add(FleetEvent(host, event, now.wall))
        record.link = status
        self._refresh(record)
        self.version += 1

    def clocks_measured(self, host: int, skew_s: float, shift_s: float, now: Instant) -> None:
        """A host's wall clock is `skew_s` before ours; `shift_s` turns its monotonic seconds into ours."""
        record, session = self.hosts[host], self._sessions[host]
        if session is not None:
            session.shift = shift_s
        if skew.measured(record, skew_s):
            self._refresh(record)
        self.version += 1

    def set_detail(self, hosts: Iterable[int]) -> None:
        """These hosts, and no others, deliver all their signals."""
        self._detail[:] = False
        self._detail[list(hosts)] = True

    def age(self, now: Instant) -> None:
        """Once a second: everything is a second older, and the history gets its next slot."""
        stepped = now.wall - now.mono - (self.now.wall - self.now.mono)
        if abs(stepped) > _STEP_S and self.now.mono:
            for record in self.hosts:
                skew.our_clock_stepped(record, stepped)
        self.now = now
        self._tell_tables()
        for record in self.hosts:
            if record.marks_until <= now.wall or record.grace_until <= now.wall:
                self._refresh(record)
        self.gpus.record()
        self.replicas.record()
        self.version += 1

    def findings(self) -> list[FleetFinding]:
        """All that are open, or unknown since their evidence cannot be read; what is quiet comes last, before it the
        worst first, then the oldest."""
        if self._findings[0] != self._judged:
            found = [
                FleetFinding(record.number, item, record.mark(item))
                for record in self.hosts
                for item in record.findings.values()
            ]
            found.sort(key=lambda item: (bool(item.quiet), -item.finding.severity, item.finding.since, item.host))
            self._findings = (self._judged, found)
        return self._findings[1]

    def gpu_row(self, host: int, subject: str) -> int | None:
        """The row of a subject `gpu:UUID` of this host, if it is one."""
        kind, _, identity = subject.partition(":")
        return self.gpus.row(host, identity) if kind == "gpu" else None

    def replica_row(self, host: int, subject: str) -> int | None:
        """The row of a subject `replica:ID` of this host, if it is one."""
        return self.replicas.row(host, subject.removeprefix(REPLICA)) if subject.startswith(REPLICA) else None

    def frozen(self) -> "Fleet":
        """A fleet that no longer changes with this one: what a paused screen looks at."""
        tables = {scope: table.frozen() for scope, table in self._tables.items()}
        twin = copy.copy(self)
        vars(twin).update(
            gpus=tables[Scope.GPU],
            host_table=tables[Scope.HOST],
            replicas=tables[Scope.REPLICA],
            gpu_words=self.gpu_words.copy(),
            replica_words=self.replica_words.copy(),
            process_words=ProcessWords(),
            backends=self.backends.copy(),
            latencies=Latencies(),
            hosts=[record.frozen() for record in self.hosts],
            _tables=tables,
            _log=self._log.copy(),
            _live=self._live.copy(),
            _detail=self._detail.copy(),
        )
        return twin

    def _tell_tables(self) -> None:
        for table in self._tables.values():
            table.age_out(self.now, self._live, self._detail)

    def _refresh(self, record: HostRecord) -> None:
        """Roll call and severity of one host, after whatever they rest on has changed."""
        session = self._sessions[record.number]
        rows = session.rows if session else {}
        self._live[record.number] = record.live
        record.judge_marks(self.now.wall)
        call_roll(record, self.gpus, frozenset(rows.get(Scope.GPU, ())))
        if record.replica_rows:
            worst = call_replicas(record, self.replicas, frozenset(rows.get(Scope.REPLICA, ())))
            record.severity = max(record.severity, worst)
        self.host_table.severity[record.number] = record.severity
        self.host_table.state[record.number] = _LINK_ORDER[record.link.state]
        self.host_table.index[record.number] = record.number
        record.told += 1
        self._judged += 1

    def _session(self, record: HostRecord) -> Session:
        session = self._sessions[record.number]
        if session is None:
            raise WireError("the first frame of a session is hello")
        return session

    def _hello(self, record: HostRecord, frame: Hello, now: Instant) -> None:
        schema = unpack_schema(frame.schema) if frame.schema else self.schemas.get(frame.schema_id)
        if schema is None:
            raise WireError(f"hello names schema {frame.schema_id!r} and does not bring it")
        if self.schemas.get(frame.schema_id) is not schema:
            self._learn(schema)
            self.schemas.setdefault(frame.schema_id, schema)
        if record.boot_id and (record.boot_id, record.host_id) != (frame.boot_id, frame.host_id):
            self._booted(record, frame, now)
        record.host_id, record.hostname, record.boot_id = frame.host_id, frame.host, frame.boot_id
        record.epoch, record.role, record.agent_version = frame.epoch, frame.role, frame.software
        record.rules = schema.rules
        record.hands.greeted(frame, schema)
        skew.measured(record, frame.wall - now.wall)
        record.synced = False
        self._sessions[record.number] = Session(schema, now.mono - frame.mono)
        self._refresh(record)

    def _learn(self, schema: Schema) -> None:
        if len({(spec.scope, spec.name) for spec in schema.signals}) < len(schema.signals):
            raise WireError("schema: a signal is named twice")
        for table in self._tables.values():
            table.learn(schema.signals)

    def _booted(self, record: HostRecord, frame: Hello, now: Instant) -> None:
        record.boots += 1
        record.last_seq = 0
        self.gpus.forget_rates(record.gpu_rows)
        self.host_table.forget_rates([record.number])
        self.replicas.forget_rates(record.replica_rows)
        text = "the host has booted" if record.host_id == frame.host_id else "another machine answers here now"
        self._log.add(
            FleetEvent(record.number, told("boot", now.wall, text, Severity.WARNING), now.wall, frame.boot_id)
        )

    def _layout(self, record: HostRecord, frame: Layout, now: Instant) -> None:
        session = self._session(record)
        gpu_ids, host_ids, replica_ids = (frame.tables.get(word, ()) for word in ("gpu", "host", "replica"))
        if len(host_ids) > 1:
            raise WireError("layout: a row is named twice")
        gpus = seats(self.gpus, record.number, gpu_ids)
        replicas = seats(self.replicas, record.number, replica_ids)
        rows = {Scope.GPU: gpus, Scope.HOST: [record.number] * len(host_ids), Scope.REPLICA: replicas}
        session.laid_out(frame.version, rows)
        record.gpu_rows = sorted({*record.gpu_rows, *gpus})
        record.replica_rows = sorted({*record.replica_rows, *replicas})
        naming.name_gpus(record, self.gpus, self.gpu_words)
        naming.name_replicas(record, self.replicas, self.replica_words)
        self.backends.changed()
        self._refresh(record)

    def _snapshot(self, record: HostRecord, frame: Snapshot, now: Instant) -> None:
        self._session(record).early.clear()
        read = {section: fact.read(section, data) for section, data in frame.facts.items()}
        for section, data in frame.facts.items():
            self._keep_fact(record, section, data, read[section], now)
        record.findings = {finding.id: finding for finding in frame.findings}
        self._refresh(record)

    def _facts(self, record: HostRecord, frame: Facts, now: Instant) -> None:
        self._session(record)
        if frame.section not in record.facts and len(record.facts) >= limits.BLOCKS:
            raise WireError(f"more than {limits.BLOCKS} sections of facts")
        self._keep_fact(record, frame.section, frame.data, fact.read(frame.section, frame.data), now)
        if frame.section in _ROLL_CALL:
            self._refresh(record)

    def _keep_fact(self, record: HostRecord, section: str, data: Any, read: Any, now: Instant) -> None:
        record.keep(section, data, read)
        if section == "gpus":
            naming.name_gpus(record, self.gpus, self.gpu_words)
            naming.date_lost(record, self.gpus, now)
        elif section == "replicas":
            told = seats(self.replicas, record.number, tuple(record.replica_facts))
            record.replica_rows = sorted({*record.replica_rows, *told})
            naming.name_replicas(record, self.replicas, self.replica_words)
        elif section == "latencies":
            read_at = latencies_at(data)  # what a snapshot brings was told a while ago
            record.latencies_at = now.wall if read_at is None else min(now.wall, record.here(read_at, now.wall))
            self.latencies.told += 1
        if section in _JOINED:
            self.backends.changed()

    def _sample(self, record: HostRecord, frame: Sample, now: Instant) -> None:
        session = self._session(record)
        if frame.layout != session.layout:
            raise WireError(f"sample of layout {frame.layout}, the layout is {session.layout}")
        for block in frame.blocks:
            odd = session.take(self._tables, block, now)
            if odd and block.scope is Scope.GPU and any(naming.is_away(facts) for facts in record.gpu_facts.values()):
                naming.date_lost(record, self.gpus, now)

    def _event(self, record: HostRecord, frame: EventFrame, now: Instant) -> None:
        session = self._session(record)
        event = frame.event
        if event.seq <= record.last_seq:
            return
        finding = unpack(Finding, event.data.get("finding")) if event.kind == "finding" else None
        record.last_seq = event.seq
        entry = FleetEvent(record.number, event, skew.happened(record, event, session.shift, now), record.boot_id)
        self._log.add(entry)
        record.told += record.past.add(entry, finding)
        if finding is not None:
            self._transition(record, finding)

    def _transition(self, record: HostRecord, finding: Finding) -> None:
        if not record.synced:
            # Events before `synced` are history that the snapshot already sums up; only the last word can be newer.
            self._session(record).early[finding.id] = finding
            return
        if finding.state is FindingState.CLEARED:
            record.findings.pop(finding.id, None)
        elif finding.id in record.findings or len(record.findings) < limits.ITEMS:
            record.findings[finding.id] = finding
        else:
            raise WireError(f"more than {limits.ITEMS} open findings on one host")
        self._refresh(record)

    def _gap(self, record: HostRecord, frame: Gap, now: Instant) -> None:
        self._session(record)
        first = max(frame.first, record.last_seq + 1) if frame.first else 0
        if first > frame.last > 0:
            return  # another session has told these events
        text = f"up to {max(1, frame.last - first + 1)} events of this host are not known: {frame.why}"
        data = {"boot_id": record.boot_id, "first": first, "last": frame.last, "why": frame.why}
        self._log.add(FleetEvent(record.number, told("gap", now.wall, text, data=data), now.wall, record.boot_id))
        record.last_seq = frame.last  # may be lower: an agent that lost its state counts anew and says so by a gap

    def _synced(self, record: HostRecord, frame: Synced, now: Instant) -> None:
        session = self._session(record)
        record.synced = record.ever_synced = True
        for finding in session.early.values():
            known = record.findings.get(finding.id)
            if known is None or finding.updated > known.updated:
                self._transition(record, finding)
        session.early.clear()
        self.backends.changed()  # what the new session no longer names is gone now
        self._refresh(record)

    def _ignore(self, record: HostRecord, frame: Frame, now: Instant) -> None:
        """Frames that are the link's business."""

    _HANDLERS: ClassVar[dict[type[Any], Callable[["Fleet", HostRecord, Any, Instant], None]]] = {
        Hello: _hello,
        Layout: _layout,
        Snapshot: _snapshot,
        Synced: _synced,
        Sample: _sample,
        Facts: _facts,
        EventFrame: _event,
        Gap: _gap,
        Pong: _ignore,
        Error: _ignore,
        Bye: _ignore,
    }


_ROLL_CALL = frozenset({"gpus", "agent", "annotations", "replicas"})  # the other sections change none
_JOINED = frozenset({"replicas", "backends", "host"})
_LINK_ORDER = {state: number for number, state in enumerate(LinkState)}
