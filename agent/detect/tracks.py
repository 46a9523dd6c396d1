"""Every finding's life, by rule and subject, and what must be asked again although nothing new came in. PURE."""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from agent.clock import Instant
from agent.detect import correlate
from agent.detect.kin import Kin
from agent.detect.rows import HOST
from agent.detect.rule import Rule
from agent.detect.track import Track
from agent.wire.specs import Finding

Key = tuple[int, str]  # number of a rule, subject it is asked about
RECENT = 32  # findings that were cleared lately and still gather their echoes


class Tracks:
    """`of` has, for each rule by its number, the tracks of its subjects; `active` what time alone may change."""

    def __init__(self, host_id: str, rules: tuple[Rule, ...], tick_s: float) -> None:
        self.of: tuple[dict[str, Track], ...] = tuple({} for _ in rules)
        self.active: set[Key] = set()
        self._host_id = host_id
        self._rules = rules
        self._tick_s = tick_s
        self._cleared: deque[Finding] = deque(maxlen=RECENT)

    def track(self, number: int, subject: str) -> Track:
        """That of a rule on a subject, made at first sight."""
        track = self.of[number].get(subject)
        if track is None:
            track = self.of[number][subject] = Track(self._host_id, self._rules[number], subject, self._tick_s)
        return track

    def __iter__(self) -> Iterator[Track]:
        return (track for tracks in self.of for track in tracks.values())

    def cleared(self, finding: Finding) -> None:
        """It is over, and still gathers its echoes for a while."""
        self._cleared.append(finding)

    def joined(self, finding: Finding, now: Instant, kin: Kin) -> Finding:
        """A finding that has just been opened, with the incident it belongs to."""
        since = now.wall - correlate.RECENT
        known = [track.finding for track in self if track.finding is not None]
        incident = correlate.join([*known, *(old for old in self._cleared if old.updated >= since)], finding, kin)
        return replace(finding, incident=incident) if incident else finding

    def mark(self, number: int, subject: str) -> None:
        """Remember whether it must be asked again although nothing new came in."""
        tracks = self.of[number]
        if self._rules[number].judge_host is not None:
            subject, active = HOST, any(track.active for track in tracks.values())
        else:
            active = tracks[subject].active
        (self.active.add if active else self.active.discard)((number, subject))

    def off(self, number: int) -> None:
        """This rule is no longer asked."""
        for subject in (*self.of[number], HOST):
            self.active.discard((number, subject))

    def forget(self, subject: str) -> list[Finding]:
        """This subject is no more; what it had open."""
        found = []
        for number, tracks in enumerate(self.of):
            track = tracks.pop(subject, None)
            if track is not None and track.finding is not None:
                found.append(track.finding)
            self.active.discard((number, subject))
            if not any(other.active for other in tracks.values()):
                self.active.discard((number, HOST))
        return found
