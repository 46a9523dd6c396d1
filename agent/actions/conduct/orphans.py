"""What becomes of a drain that nobody speaks for: kept and told as `drain.orphaned`, or taken back by the agent.

An orphan ceases to be one when its run speaks again, when somebody takes it back, or when its target is seen ready.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from agent.actions.base import Executor
from agent.actions.conduct import leases
from agent.actions.conduct.ledger import Entry
from agent.actions.conduct.record import Record
from agent.actions.conduct.touch import Facts, concerned
from agent.wire.actions import Act, ActionFacts, ActMode, ActState
from agent.wire.replicas import PREFIX as REPLICA

EVERY_S = 1.0
TRIES = 3
AGAIN_S, BUSY_S = 5.0, 900.0  # so often, and for so long, an undo is tried while somebody else is at work there
AGENT = "agent"
DRAIN = "engine.drain"
STARTS = frozenset({"systemd.restart", "systemd.start", "container.restart", "container.start"})
_READY = frozenset({"ready", "up"})
_GIVES_NOTHING = frozenset({ActState.FAILED, ActState.INTERRUPTED})


@dataclass(slots=True)
class Orphans:
    """`troubled` gives the subjects that have a finding open, `undo` has an action taken back by the agent itself."""

    record: Record
    boot_id: str
    executors: Mapping[str, Executor]
    facts: Facts
    troubled: Callable[[], Iterable[str]]
    undo: Callable[[Act], None]
    _looked: float = float("-inf")
    _undoing: dict[str, str] = field(default_factory=dict)  # key of the undo by the key of the orphan
    _busy: dict[str, list[float]] = field(default_factory=dict)  # since when, and until when it is let be

    def start(self) -> None:
        """An earlier start may have left leases that ran out while nobody was there to hear."""
        for entry in leases.after_absence(self.record.ledger, self.boot_id, self.record.clock.now()):
            self._quietly(entry)
        self.record.publish()

    def take(self, facts: ActionFacts) -> None:
        """Put an entry on record that came from elsewhere, with the lease that it names."""
        now = self.record.clock.now()
        entry = Entry(facts)
        if facts.lease:
            entry = leases.granted(entry, max(0.0, facts.lease - now.wall), self.boot_id, now)
        self.record.write(entry)

    def heard(self, run: str) -> None:
        """The run has spoken."""
        for entry in leases.renewed(self.record.ledger, run, self.boot_id, self.record.clock.now()):
            known = self.record.ledger.get(entry.key)
            if known is not None and known.facts.orphaned:
                self.record.write(entry, f"{entry.facts.action} {entry.facts.subject}: run {run} speaks for it again")
            else:
                self._quietly(entry)
        self.record.publish()

    def ended(self, run: str) -> None:
        """The run is over: what it left stands for good."""
        for entry in leases.of_run(self.record.ledger, run):
            self._quietly(leases.without(entry))
        self.record.publish()

    def over(self, entry: Entry) -> None:
        """An action has come to its end."""
        facts, ledger = entry.facts, self.record.ledger
        if facts.state in _GIVES_NOTHING and entry.lease is not None:
            self._quietly(leases.without(entry))
        if facts.state is ActState.DONE and facts.undoes and (undone := ledger.get(facts.undoes)) is not None:
            self.record.write(leases.without(undone).now(undone=facts.key), f"{undone.key} was taken back")
        if facts.state is ActState.DONE:
            for other in self._taken_back_by(facts):
                says = f"{other.facts.action} {other.facts.subject}: over by {facts.action}"
                self.record.write(leases.without(other), says)
        for key, undo in tuple(self._undoing.items()):
            if undo == facts.key:
                del self._undoing[key]

    def tick(self) -> None:
        """Look for leases that ran out, and for orphans whose target is back."""
        now = self.record.clock
        if now.real() - self._looked < EVERY_S:
            return
        self._looked = now.real()
        for entry in leases.run_out(self.record.ledger, self.boot_id, now.now()):
            if entry.key not in self._undoing and now.real() >= self._busy.get(entry.key, [0.0, 0.0])[1]:
                self._decide(entry)
        for entry in self.record.ledger.live():
            if entry.facts.orphaned and self._is_back(entry.facts.subject):
                says = f"{entry.facts.action} {entry.facts.subject}: its target is ready again"
                self.record.write(leases.without(entry), says)

    def spoken_for(self) -> frozenset[str]:
        """Replicas of this host that a run has its hands on: what befalls them is not news while it leads."""
        found: set[str] = set()
        for entry in self.record.ledger.live():
            if entry.lease is not None and not entry.facts.orphaned:
                found |= {one for one in concerned(entry.facts.subject, self.facts) if one.startswith(REPLICA)}
        return frozenset(found)

    def draining(self) -> frozenset[str]:
        """Replicas of this host whose engine is being told to end: it drains, however its pages look meanwhile."""
        opened = (entry.facts for entry in self.record.ledger.open())
        return frozenset(one.subject for one in opened if one.action == DRAIN and one.subject.startswith(REPLICA))

    def starting(self) -> frozenset[str]:
        """Replicas of this host that an action starts now: that they begin is what was wanted."""
        opened = (entry.facts for entry in self.record.ledger.open())
        wanted = (concerned(one.subject, self.facts) for one in opened if one.action in STARTS)
        return frozenset(one for found in wanted for one in found if one.startswith(REPLICA))

    def _decide(self, entry: Entry) -> None:
        facts = entry.facts
        why = self._held_by_another(facts) or leases.kept(entry, concerned(facts.subject, self.facts), self.troubled())
        key = "" if why else self._free_key(entry)
        executor = self.executors.get(facts.action)
        if not why and (executor is None or executor.inverse(facts) is None):
            why = "nothing takes it back"
        if not why and not key:
            why = f"it could not be taken back in {TRIES} attempts"
        if why:
            says = f"nobody speaks for it since its lease ran out; it is kept: {why}"
            self.record.write(entry.now(orphaned=True), f"{facts.action} {facts.subject}: {says}")
            return
        self._undoing[entry.key] = key
        reason = f"the lease of run {facts.run} ran out" if facts.run else "its lease ran out"
        self.undo(
            Act(0, key, ActMode.UNDO, of=entry.key, author=AGENT, reason=reason, run=facts.run, step=facts.step,
                runbook=facts.runbook, plan=facts.plan, incident=facts.incident)
        )  # fmt: skip

    def refused(self, undo: str, code: str) -> None:
        """What was to be taken back was not even begun: tried again while somebody is at work there, else kept."""
        for key, wanted in tuple(self._undoing.items()):
            if wanted != undo:
                continue
            del self._undoing[key]
            now = self.record.clock.real()
            since = self._busy.setdefault(key, [now, 0.0])
            since[1] = now + AGAIN_S
            entry = self.record.ledger.get(key)
            if entry is not None and (code != "busy" or now - since[0] > BUSY_S):
                del self._busy[key]
                self.record.write(entry.now(orphaned=True), f"{key} could not be taken back: it is kept")

    def _held_by_another(self, facts: ActionFacts) -> str:
        """Who else wants it as it is, and still speaks."""
        for other in self.record.ledger.live():
            same = other.facts.subject == facts.subject and other.facts.action == facts.action
            if same and other.key != facts.key and other.lease is not None and not other.facts.orphaned:
                return f"the run {other.facts.run or other.key} of {other.facts.by} wants the same"
        return ""

    def _free_key(self, entry: Entry) -> str:
        for number in range(1, TRIES + 1):
            tail = "/orphan" if number == 1 else f"/orphan~{number}"
            key = f"{entry.key[: 64 - len(tail)]}{tail}"
            if self.record.ledger.get(key) is None:
                return key
        return ""

    def _taken_back_by(self, facts: ActionFacts) -> list[Entry]:
        found = []
        for entry in self.record.ledger.live():
            executor = self.executors.get(entry.facts.action)
            same = entry.facts.subject == facts.subject and entry.key not in (facts.key, facts.undoes)
            if same and executor is not None and (entry.lease is not None or entry.facts.orphaned):
                inverse = executor.inverse(entry.facts)
                found += [entry] if inverse is not None and inverse[0] == facts.action else []
        return found

    def _is_back(self, subject: str) -> bool:
        kind, _, name = subject.partition(":")
        if kind == "backend":
            for one in self.facts("backends") or ():
                if "/".join(str(one.get(part)) for part in ("lb", "backend", "server")) == name:
                    return one.get("state") in _READY
        if kind == "replica":
            return any(one.get("id") == name and one.get("state") in _READY for one in self.facts("replicas") or ())
        return False

    def _quietly(self, entry: Entry) -> None:
        """Kept and told as a fact, without an event: a lease that goes on is no news."""
        self.record.quietly(entry)
