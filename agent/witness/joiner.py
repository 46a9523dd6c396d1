"""The joining itself. The kernel log is the first witness, for it alone has the text, the process and the registers;
NVML's bare number waits a moment for it where the log is known to be readable, and is the word itself where not.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.clock import Instant
from agent.sources.base import RawEvent
from agent.wire.replicas import PREFIX
from agent.wire.specs import Severity
from agent.witness.draft import EventDraft, SeverityOf, draft, repeats, replica_of
from agent.witness.storm import OTHERS, Key, Storm
from agent.witness.words import plain, raw_event

KERNEL_LOG = "kernel_log"
JOIN_S = 2.0
HOLD_S = 0.25  # how long NVML's number waits for the kernel log's line
COMPANION_S = 60.0  # companions of a fault follow or precede it within this
PER_MINUTE = 100  # events of one host within a minute before a storm is counted instead
WORDS = 1024  # remembered (GPU, code) pairs; also how many words wait for a name

# Codes that are never the root of a fault, and which roots on the same GPU they follow (empty: any).
COMPANIONS: Mapping[int, frozenset[int]] = {
    45: frozenset(),
    137: frozenset(),
    154: frozenset(),
    171: frozenset({48, 94, 95}),
    172: frozenset({48, 94, 95, 140}),
    43: frozenset({13, 31}),
}
# Kinds whose lines come in twos and threes: switch and link errors, a PCIe error and its details, a failed start.
ECHOING = frozenset({"sxid", "aer", "driver", "off_bus"})
ACROSS_GPUS = frozenset({45, 137})  # these also follow a fault of another GPU of the host


def warning_for_all(code: int) -> Severity:
    """Where no catalogue is at hand, every code is a warning."""
    del code
    return Severity.WARNING


@dataclass(slots=True)
class _Word:
    """The last word about one (GPU, code), by witness."""

    kernel: float = float("-inf")
    other: float = float("-inf")  # a word that became an event by itself and waits for its kernel line


@dataclass(frozen=True, slots=True)
class _Seen:
    mono: float
    code: int
    gpu: str
    subject: str


@dataclass(slots=True)
class Witness:
    """Raw words in, events out; keeps the map from bus id to UUID, also of GPUs that are gone.

    `stranger_s`: in the first seconds nobody may have said yet which GPU is behind which address, while the log already
    replays what happened before. For so long a word about an unknown address waits for its GPU's name.
    """

    severity: SeverityOf = warning_for_all
    join_s: float = JOIN_S
    hold_s: float = HOLD_S
    per_minute: int = PER_MINUTE
    stranger_s: float = 0.0
    _uuids: dict[str, str] = field(default_factory=dict)
    _words: dict[tuple[str, int], _Word] = field(default_factory=dict)
    _echo: dict[tuple[str, int, str, str], float] = field(default_factory=dict)
    _held: list[tuple[float, RawEvent]] = field(default_factory=list)
    _roots: deque[_Seen] = field(default_factory=lambda: deque(maxlen=64))
    _orphans: deque[_Seen] = field(default_factory=lambda: deque(maxlen=64))
    _storm: Storm = field(init=False)
    _past: Storm = field(init=False)  # for what happened before this agent: it must not silence what happens now
    _log_speaks: bool = False
    _strangers: list[RawEvent] = field(default_factory=list)
    _began: float | None = None

    def __post_init__(self) -> None:
        self._storm, self._past = Storm(self.per_minute), Storm(self.per_minute)

    def gpus(self, bus_ids: Mapping[str, str]) -> None:
        """Learn {bus id `dddd:bb:dd`: UUID}. What was known of other bus ids stays: a lost GPU keeps its address."""
        self._uuids.update(bus_ids)

    def observe(self, raw: RawEvent, now: Instant) -> list[EventDraft]:
        """The events that `raw` makes now: none when it only confirms, more when it lets held words go."""
        if raw.bus_id and raw.uuid:
            self._uuids[raw.bus_id] = raw.uuid
        self._log_speaks = self._log_speaks or raw.witness == KERNEL_LOG
        drafts = self._introduced(now)
        if self._is_stranger(raw, now):
            self._strangers.append(raw)
        elif not raw.data.get("identity"):
            drafts += self._word(raw, now)
        return drafts + self._release(now)

    def tick(self, now: Instant) -> list[EventDraft]:
        """Words that waited long enough, and one line for each storm whose minute is over."""
        drafts = self._introduced(now) + self._release(now)
        for storm, replayed in ((self._past, True), (self._storm, False)):
            drafts += [self._summary(key, count, now, replayed) for key, count in storm.closed(now.mono).items()]
        return drafts

    def memory(self) -> dict[str, Any]:
        """Plain data for `recall`: what was counted and not yet told, and the words that wait for a name."""
        waiting = [plain(raw) for raw in self._strangers]
        return {"storm": self._storm.memory(), "past": self._past.memory(), "strangers": waiting}

    def recall(self, known: Mapping[str, Any]) -> None:
        """Take over what an earlier agent knew; before the first word."""
        self._storm.recall(known.get("storm", ()))
        self._past.recall(known.get("past", ()))
        self._strangers = [raw_event(words) for words in known.get("strangers", ())]

    def _is_stranger(self, raw: RawEvent, now: Instant) -> bool:
        if not raw.bus_id or raw.uuid or raw.bus_id in self._uuids or len(self._strangers) >= WORDS:
            return False
        return self._began is not None and now.mono - self._began < self.stranger_s

    def _introduced(self, now: Instant) -> list[EventDraft]:
        """Words whose GPU has a name by now, and all that still wait when nobody is to be expected any more."""
        if self._began is None:
            self._began = now.mono
        if not self._strangers:
            return []
        over = now.mono - self._began >= self.stranger_s
        known = [raw for raw in self._strangers if over or raw.bus_id in self._uuids]
        self._strangers = [raw for raw in self._strangers if not over and raw.bus_id not in self._uuids]
        return [found for raw in known for found in self._word(raw, now)]

    def _word(self, raw: RawEvent, now: Instant) -> list[EventDraft]:
        uuid = raw.uuid or self._uuids.get(raw.bus_id, "")
        gpu = uuid or raw.bus_id
        if raw.kind == "off_bus" and not raw.data.get("boot"):
            # The driver says XID 79 a second time in other words.
            fallen = self._words.get((gpu, 79))
            if fallen and abs(raw.at.mono - fallen.kernel) <= self.join_s:
                return []
        if raw.kind != "xid" or raw.data.get("repeated"):
            return [] if self._echoes(raw, gpu) else self._admit(raw, uuid, {}, now)
        return self._xid(raw, uuid, gpu, now)

    def _echoes(self, raw: RawEvent, gpu: str) -> bool:
        """Whether the log only says again, in this or in other words, what it said within the last moments."""
        if raw.kind not in ECHOING or raw.data.get("repeated"):
            return False
        part = raw.data.get("link", raw.data.get("what", ""))
        key = (raw.kind, raw.code, gpu, str(part))
        last = self._echo.get(key)
        if last is not None and abs(raw.at.mono - last) <= self.join_s:
            return True
        if len(self._echo) >= WORDS:
            del self._echo[next(iter(self._echo))]
        self._echo[key] = raw.at.mono
        return False

    def _xid(self, raw: RawEvent, uuid: str, gpu: str, now: Instant) -> list[EventDraft]:
        word = self._remember(gpu, raw.code)
        at = raw.at.mono
        if raw.witness != KERNEL_LOG:
            if abs(at - word.kernel) <= self.join_s:
                return []
            if self._log_speaks and self.hold_s > 0:
                self._held.append((now.mono + self.hold_s, raw))
                return []
            word.other = at
            return self._admit(raw, uuid, {"witnesses": [raw.witness]}, now)
        word.kernel = at
        if abs(at - word.other) <= self.join_s:
            word.other = float("-inf")
            return []
        joined = self._unhold(raw, gpu)
        return self._admit(raw, uuid, {"witnesses": [KERNEL_LOG, *joined]}, now)

    def _remember(self, gpu: str, code: int) -> _Word:
        word = self._words.get((gpu, code))
        if word is None:
            if len(self._words) >= WORDS:
                del self._words[next(iter(self._words))]
            word = self._words[(gpu, code)] = _Word()
        return word

    def _unhold(self, raw: RawEvent, gpu: str) -> list[str]:
        """Take back the held words that `raw` now says better; who said them."""
        same = [held for held in self._held if held[1].code == raw.code and self._gpu(held[1]) == gpu]
        same = [held for held in same if abs(held[1].at.mono - raw.at.mono) <= self.join_s]
        self._held = [held for held in self._held if held not in same]
        return sorted({held[1].witness for held in same})

    def _release(self, now: Instant) -> list[EventDraft]:
        if not self._held:
            return []
        due = [raw for at, raw in self._held if at <= now.mono]
        self._held = [held for held in self._held if held[0] > now.mono]
        drafts: list[EventDraft] = []
        for raw in due:
            word = self._remember(self._gpu(raw), raw.code)
            word.other = raw.at.mono
            uuid = raw.uuid or self._uuids.get(raw.bus_id, "")
            drafts += self._admit(raw, uuid, {"witnesses": [raw.witness]}, now)
        return drafts

    def _gpu(self, raw: RawEvent) -> str:
        return raw.uuid or self._uuids.get(raw.bus_id, "") or raw.bus_id

    def _admit(self, raw: RawEvent, uuid: str, extra: dict[str, Any], now: Instant) -> list[EventDraft]:
        replica = replica_of(raw)
        subject = f"gpu:{uuid}" if uuid else replica or "host"
        key: Key = (raw.kind, raw.code, replica or uuid or raw.bus_id)
        free = raw.kind == "gap" or raw.data.get("repeated")
        storm, mono = (self._past, raw.at.mono) if raw.replayed else (self._storm, now.mono)
        if not free and not storm.admits(key, mono):
            return []
        if raw.kind == "xid" and not raw.data.get("repeated"):
            extra = {**extra, **self._company(raw, uuid or raw.bus_id, subject)}
        return [draft(raw, uuid, self.severity, extra)]

    def _company(self, raw: RawEvent, gpu: str, subject: str) -> dict[str, Any]:
        """Which fault this code accompanies, or, for a root, the companions that came before it."""
        seen = _Seen(raw.at.mono, raw.code, gpu, subject)
        if raw.code not in COMPANIONS:
            early = sorted({orphan.code for orphan in self._orphans if self._follows(orphan, seen)})
            self._roots.append(seen)
            return {"companions": early} if early else {}
        followed = [root for root in reversed(self._roots) if self._follows(seen, root)]
        root = next((root for root in followed if root.gpu == gpu), followed[0] if followed else None)
        if root is None:
            self._orphans.append(seen)
            return {}
        return {"companion_of": root.code, "companion_gpu": root.subject}

    def _follows(self, companion: _Seen, root: _Seen) -> bool:
        if abs(companion.mono - root.mono) > COMPANION_S:
            return False
        if companion.gpu != root.gpu and companion.code not in ACROSS_GPUS:
            return False
        roots = COMPANIONS[companion.code]
        return not roots or root.code in roots

    def _summary(self, key: Key, count: int, now: Instant, replayed: bool) -> EventDraft:
        kind, code, gpu = key
        uuid = self._uuids.get(gpu, gpu if gpu and ":" not in gpu and key != OTHERS else "")
        data: dict[str, Any] = {"suppressed": count, "window_s": self._storm.window_s}
        if kind in ("xid", "sxid"):
            data[kind] = code
        return EventDraft(
            at=now.wall,
            mono=now.mono,
            kind="kernel" if key == OTHERS else kind,
            subject=f"gpu:{uuid}" if uuid else gpu if gpu.startswith(PREFIX) else "host",
            severity=Severity.INFO,
            text=repeats(kind, code, count, self._storm.window_s),
            data=data,
            replayed=replayed,
        )
