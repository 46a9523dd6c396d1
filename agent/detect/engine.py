"""The first detective: asks the rules that have something new to look at, keeps each finding's life, raises nothing.

A rule that fails is switched off and says so; the others, and the agent, never notice.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agent.clock import Instant
from agent.detect.asks import Asks
from agent.detect.baselines import Baselines
from agent.detect.limit import Settings
from agent.detect.marks import Marks
from agent.detect.memory import Memory
from agent.detect.rows import HOST, NEVER, Row
from agent.detect.rule import HOLD, Rule, Verdict, Word
from agent.detect.rules import RULES
from agent.detect.track import Change, Track
from agent.detect.tracks import Key, Tracks
from agent.detect.view import HostView
from agent.sources.base import UNIDENTIFIED, Batch, Reason
from agent.sources.nvml.signals import SIGNALS
from agent.wire.replicas import replica_subject
from agent.wire.requests import Annotation
from agent.wire.signals import SignalSpec
from agent.wire.specs import Cadence, Event, Finding, FindingState, Quality, RuleSpec, Scope, Severity, gpu_subject

log = logging.getLogger(__name__)

REPLICAS = "replicas"  # the section of facts that is their roster
OLD_BOOT_SLACK_S = 5.0
SAME_BOOT_S = 300.0  # so far wall and monotonic time may drift apart within one boot, steps of the clock included
BACK_IN_SERVICE = frozenset({"xid.fatal", "gpu.lost"})  # their end is proof that the GPU has left all faults behind
ROUNDS = 2  # the second is for rules that look at what the first has opened; what is left waits for the next tick
BROKEN = Rule(
    RuleSpec(
        "agent.rule_failed",
        Severity.WARNING,
        Scope.HOST,
        "a detection rule raised an error and was switched off",
        "the agent is restarted",
        "a defect of the agent",
        "what the rule had open is unknown from then on",
        "agent",
    ),
    Cadence.FAST,
)


@dataclass(frozen=True, slots=True)
class Transition:
    """What happened to a finding; `finding` is as it is afterwards."""

    finding: Finding
    change: Change


class Engine:
    """The rules of one host. `tick_s` is data seconds between two ticks; `signals` are all that this agent has, so that
    counters are known as such; `settings` are the thresholds that this host has instead of the defaults."""

    def __init__(
        self,
        host_id: str,
        boot_id: str = "",
        rules: tuple[Rule, ...] = RULES,
        tick_s: float = 1.0,
        *,
        signals: Iterable[SignalSpec] = SIGNALS,
        settings: Settings | None = None,
    ) -> None:
        self.host_id = host_id
        self.rules = rules
        self._tick_s = tick_s
        self._asks = Asks(rules, signals, settings or {})
        self._memory = Memory(host_id, boot_id, self._asks.interest, tick_s)
        self._view = HostView(self._memory, NEVER)
        self._marks = Marks()
        self._dirty: set[Key] = set()
        self._held: set[Key] = set()  # they fire and may not open yet: asked again at the next tick
        self._tracks = Tracks(host_id, rules, tick_s)
        self._broken: dict[int, str] = {}
        self._failures = Track(host_id, BROKEN, HOST, tick_s)
        self._leftover: list[Finding] = []
        self._on_roster: frozenset[str] = frozenset()

    @property
    def remembers(self) -> frozenset[str]:
        """The kinds of events that `recall` has a use for."""
        return frozenset(self._asks.kinds) | {"finding"}

    def observe(self, batch: Batch) -> None:
        """Take values that were read."""
        try:
            rows = self._memory.take(batch)
        except Exception:  # whatever a source hands in, the agent goes on
            log.exception("values that make no sense were left out")
            return
        host = self._memory.host
        if batch.scope is Scope.HOST:
            if for_gpus := host.want & self._asks.every_gpu:
                host.want &= ~for_gpus
                for row in self._memory.gpus.values():
                    row.want |= for_gpus
        else:
            asked = self._asks.replica if batch.scope is Scope.REPLICA else self._asks.gpu
            due, every_host = asked[batch.cadence], self._asks.every_host
            for row in rows:
                if row.want:
                    self._wanted(row, row.want & due)
                    host.want |= row.want & every_host
                    row.want &= ~(due | every_host)
                answers = row.answers.get(batch.cadence)
                if answers is not None and answers.quality is not Quality.OK:
                    self._dirty.update((number, row.subject) for number in self._asks.quality)
        if wanted := host.want & self._asks.host[batch.cadence]:
            self._wanted(host, wanted)
            host.want &= ~wanted

    def event(self, event: Event) -> None:
        """Take an event. Faults of an earlier boot are history and are not judged."""
        self._memory.count(event)
        numbers = self._asks.kinds.get(event.kind, ())
        row = self._memory.subject(event.subject) if numbers else None
        if row is None or self._of_earlier_boot(event):
            return
        row.note(event, self._memory.job(event))
        for number in numbers:
            rule = self.rules[number]
            if rule.judge_host is not None:
                self._dirty.add((number, HOST))
            elif bool(rule.judge_replica) == bool(row.replica):
                self._dirty.add((number, row.subject))

    def recall(self, events: Iterable[Event], now: Instant) -> None:
        """Take what the journal holds of the last days, oldest first; once, before `restore`. Nothing is judged: what
        was open is restored from itself. Words of this boot that no cleared finding has settled are seen again."""
        known = {rule.id: number for number, rule in enumerate(self.rules)}
        for event in events:
            row = self._memory.subject(event.subject)
            if event.kind == "finding":
                told = event.data.get("finding")
                rule = told.get("rule") if isinstance(told, Mapping) else None
                number = known.get(str(rule))
                if number is None or row is None or not isinstance(told, Mapping):
                    continue
                if event.data.get("change") == Change.OPENED:
                    self._tracks.track(number, event.subject).opened_before(event.at)
                elif event.data.get("change") == Change.CLEARED:
                    row.forget(_settled(str(rule), told, row), event.at)
            elif event.kind in self._asks.kinds and row is not None:
                if abs((now.wall - event.at) - (now.mono - event.mono)) < SAME_BOOT_S:
                    self._memory.count(event)
                    row.note(event, "")
                else:
                    row.past.note(event)

    def roster(self, gpus: Mapping[str, Mapping[str, Any]], now: Instant) -> None:
        """Take the identities of every known GPU, by UUID. One that left the roster was replaced, or stood in for one
        that now has a name: what it had open is cleared."""
        del now
        unnamed = {uuid for uuid in self._memory.gpus if uuid.startswith(UNIDENTIFIED)}
        for uuid in (self._on_roster | unnamed) - gpus.keys():
            self._forget(gpu_subject(uuid))
        self._on_roster = frozenset(gpus)
        for uuid, facts in gpus.items():
            row = self._memory.gpu(uuid)
            if row is not None and row.facts != facts:
                row.facts = facts
                self._dirty.update((number, row.subject) for number in self._asks.facts)
        self._wanted(self._memory.host, self._asks.every_host)

    def facts(self, section: str, data: Any) -> None:
        """Take a section of the host's facts, whole."""
        wanted = self._asks.sections.get(section, 0)
        self._memory.sections[section] = data
        if section == REPLICAS:
            self._replicas(data)
        self._wanted(self._memory.host, wanted & self._asks.every_host)
        for row in self._memory.gpus.values() if wanted & self._asks.every_gpu else ():
            self._wanted(row, wanted & self._asks.every_gpu)
        for row in self._memory.replicas.values() if wanted & self._asks.every_replica else ():
            self._wanted(row, wanted & self._asks.every_replica)

    def _replicas(self, data: Any) -> None:
        """Take the facts of all replicas. One that is no longer among them was retired: what it had open is cleared."""
        told = {
            str(item["id"]): item
            for item in (data if isinstance(data, (list, tuple)) else ())
            if isinstance(item, Mapping) and item.get("id")
        }
        for identity in self._memory.replicas.keys() - told.keys():
            self._forget(replica_subject(identity))
        for row in self._memory.know(told):
            self._wanted(row, self._asks.replica_facts)

    def reasons(self, reasons: Sequence[Reason]) -> None:
        """Take all that cannot be seen on this host now, and why."""
        if self._memory.reasons != tuple(reasons):
            self._memory.reasons = tuple(reasons)
            self._wanted(self._memory.host, self._asks.every_host)

    def baselines(self, values: Baselines) -> None:
        """Take the long statistics of this host, as the recorder computed them last."""
        self._memory.baselines = values

    def marks(self, annotations: Sequence[Annotation]) -> None:
        """Take the annotations that are active now, all of them."""
        self._marks.take(annotations)
        self._memory.acked = self._marks.acked(self.open())

    def busy(self, subjects: Iterable[str]) -> None:
        """What an action is at work on now, all of it; nothing new is opened there."""
        self._marks.busy(subjects)

    def restore(self, findings: Iterable[Finding]) -> None:
        """Take over what was open before a restart; once, before the first evaluate."""
        known = {rule.id: number for number, rule in enumerate(self.rules)}
        for finding in findings:
            number = known.get(finding.rule)
            row = self._memory.subject(finding.subject)
            if finding.state is FindingState.CLEARED:
                continue
            if number is None or row is None:
                self._leftover.append(finding)
                continue
            self._tracks.track(number, finding.subject).resume(finding)
            self._mark(number, finding.subject)

    def evaluate(self, now: Instant) -> list[Transition]:
        """What changes at a tick, be it by time alone. Cheap when nothing did."""
        self._dirty |= self._tracks.active | self._held
        self._held.clear()
        return self.react(now)

    def react(self, now: Instant) -> list[Transition]:
        """What changes because of what came in since anybody asked. What is open elsewhere is not asked again: in a
        storm of events over many GPUs each one would pay for all of them."""
        found = [_gone(finding, now) for finding in self._leftover]
        self._leftover = []
        self._view.moment = now
        for _ in range(ROUNDS):
            if not self._dirty:
                break
            asked = sorted(self._dirty)
            self._dirty = set()
            for number, subject in asked:
                if number in self._broken:
                    continue
                try:
                    found += self._ask(number, subject)
                except Exception as error:  # one bad rule must not hurt the others
                    log.exception("rule %s failed and is off", self.rules[number].id)
                    found += self._switch_off(number, error, now)
        return found

    def open(self) -> tuple[Finding, ...]:
        """Every finding that is open or unknown."""
        tracks = [self._failures, *self._tracks]
        return tuple(track.finding for track in tracks if track.finding is not None)

    def notes(self) -> tuple[str, ...]:
        """One sentence for each rule that is switched off."""
        return tuple(f"rule {self.rules[number].id} failed and is off: {why}" for number, why in self._broken.items())

    def _wanted(self, row: Row, wanted: int) -> None:
        self._dirty.update((number, row.subject) for number in self._asks.bits(wanted))

    def _ask(self, number: int, subject: str) -> list[Transition]:
        rule, tracks, host = self.rules[number], self._tracks.of[number], self._view
        host.asked = self._asks.asked[number]
        if rule.judge_host is None:
            row, track = self._memory.subject(subject), tracks.get(subject)
            found = track.finding if track else None
            if row is not None and rule.judge_gpu is not None and not row.replica:
                return self._hear(number, subject, rule.judge_gpu(host.gpu(row), found))
            if row is not None and rule.judge_replica is not None and row.replica:
                return self._hear(number, subject, rule.judge_replica(host.replica(row), found))
            return []
        open_now = {name: track.finding for name, track in tracks.items() if track.finding is not None}
        said = dict(rule.judge_host(host, open_now))
        # What a host rule no longer speaks of is neither there nor gone.
        said.update((name, HOLD) for name, track in tracks.items() if name not in said and track.active)
        return [change for name, verdict in said.items() for change in self._hear(number, name, verdict)]

    def _hear(self, number: int, subject: str, verdict: Verdict) -> list[Transition]:
        rule, track, now = self.rules[number], self._tracks.of[number].get(subject), self._view.moment
        if verdict.again:
            self._held.add((number, HOST if rule.judge_host else subject))
        if verdict.word is not Word.FIRE and (track is None or not track.active):
            self._settle(subject, verdict, now)
            return []
        track = track or self._tracks.track(number, subject)
        if verdict.word is Word.FIRE and track.finding is None and self._held_back(rule, subject):
            if rule.reads or rule.judges_facts or verdict.severity is Severity.CRITICAL:
                self._held.add((number, HOST if rule.judge_host else subject))
            else:  # a mere word from inside the mark is not told later, nor counted with the next one
                self._settle(subject, verdict, now)
            verdict = HOLD
        change = track.hear(verdict, now)
        finding = track.finding
        if change is Change.OPENED and finding is not None:
            finding = track.finding = self._tracks.joined(finding, now, self._memory.kin)
        elif change is Change.CLEARED and finding is not None:
            track.finding = None
            self._tracks.cleared(finding)
            self._settle(subject, verdict, now)
        self._mark(number, subject)
        if change is None or finding is None:
            return []
        self._changed(number, subject, change)
        return [Transition(finding, change)]

    def _changed(self, number: int, subject: str, change: Change) -> None:
        """Who looks at what others have open is asked again, at once."""
        if change in (Change.OPENED, Change.CLEARED):
            self._wanted(self._memory.host, self._asks.every_host & ~(1 << number))
        elif self._memory.acked:
            self._memory.acked = self._marks.acked(self.open())
        for row in self._memory.over(subject) if self._asks.over_gpus else ():
            self._wanted(row, self._asks.over_gpus)

    def _held_back(self, rule: Rule, subject: str) -> bool:
        """Whether it may open nothing there now. What is done to a GPU is done to the replicas on it."""
        subjects = (subject, *self._memory.kin.under.get(subject, ()))
        marked = any(self._marks.hold_back(one, rule.id, self._view.now.wall) for one in subjects)
        return marked or self._view.uptime < rule.young_s

    def _forget(self, subject: str) -> None:
        self._leftover += self._tracks.forget(subject)
        self._dirty = {key for key in self._dirty if key[1] != subject}
        self._memory.forget(subject)

    def _mark(self, number: int, subject: str) -> None:
        """Remember what must be asked again although nothing new came in, and what a subject has open."""
        row = self._memory.subject(subject)
        if row is not None:
            finding, rule = self._tracks.of[number][subject].finding, self.rules[number].id
            if finding is None:
                row.open.pop(rule, None)
            else:
                row.open[rule] = finding
        self._tracks.mark(number, subject)

    def _settle(self, subject: str, verdict: Verdict, now: Instant) -> None:
        row = self._memory.subject(subject) if verdict.settles else None
        if row is not None:
            row.forget(verdict.settles, now.wall)

    def _of_earlier_boot(self, event: Event) -> bool:
        boot_id = event.data.get("boot_id")
        if boot_id and self._memory.boot_id and boot_id != self._memory.boot_id:
            return True
        uptime = self._memory.host.series.get("host.uptime")
        if not event.replayed or uptime is None or uptime.value is None:
            return False
        return event.at < uptime.at.wall - uptime.value - OLD_BOOT_SLACK_S

    def _switch_off(self, number: int, error: Exception, now: Instant) -> list[Transition]:
        self._broken[number] = f"{type(error).__name__}: {error}"
        found = []
        for track in self._tracks.of[number].values():
            change = track.fail(now)
            if change and track.finding:
                found.append(Transition(track.finding, change))
        self._tracks.off(number)
        verdict = Verdict(Word.FIRE, "; ".join(self.notes()), Severity.WARNING, count=len(self._broken))
        change = self._failures.hear(verdict, now)
        if change and self._failures.finding:
            found.append(Transition(self._failures.finding, change))
        return found


def _settled(rule: str, told: Mapping[str, Any], row: Row) -> frozenset[tuple[str, int]]:
    """The faults that the end of a finding has settled: those that it named; all of a GPU that is back in service."""
    if rule in BACK_IN_SERVICE:
        return frozenset(row.sightings)
    named = {str(item.get("what")) for item in told.get("evidence", ()) if isinstance(item, Mapping)}
    return frozenset(key for key in row.sightings if f"XID {key[1]}" in named)


def _gone(finding: Finding, now: Instant) -> Transition:
    """The end of a finding whose rule or subject this agent no longer has."""
    return Transition(replace(finding, state=FindingState.CLEARED, updated=now.wall), Change.CLEARED)
