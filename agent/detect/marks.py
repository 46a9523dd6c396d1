"""When nothing new is opened although a rule fires: a mark of maintenance, or an action that is under way. PURE.

Only what is not yet open is held back, and only while the mark lasts: a fault that is still there afterwards is told.
"""

from collections.abc import Iterable

from agent.detect.rows import HOST
from agent.wire.requests import Annotation, Mark
from agent.wire.specs import Finding

FOR_EVER = float("inf")


class Marks:
    """The annotations that the engine obeys; silences and notes are for people alone."""

    def __init__(self) -> None:
        self._maintenance: tuple[Annotation, ...] = ()
        self._acks: tuple[Annotation, ...] = ()
        self._busy: frozenset[str] = frozenset()

    def take(self, annotations: Iterable[Annotation]) -> None:
        """All annotations that are active now."""
        found = tuple(annotations)
        self._maintenance = tuple(one for one in found if one.kind is Mark.MAINTENANCE)
        self._acks = tuple(one for one in found if one.kind is Mark.ACK)

    def busy(self, subjects: Iterable[str]) -> None:
        """What a drain, a reset or a reboot is at work on now."""
        self._busy = frozenset(subjects)

    def hold_back(self, subject: str, rule: str, wall: float) -> bool:
        """Whether a rule is to open nothing new on a subject. A mark on the host is one on all that is in it."""
        if self._busy and (subject in self._busy or HOST in self._busy):
            return True
        for mark in self._maintenance:
            about = mark.subject in ("", HOST, subject) and mark.rule in ("", rule)
            if about and mark.at <= wall < (mark.until or FOR_EVER):
                return True
        return False

    def acked(self, findings: Iterable[Finding]) -> frozenset[str]:
        """The ids of those findings that an operator knows as bad as they are now."""
        levels = {one.finding: one.level for one in self._acks}
        return frozenset(one.id for one in findings if levels.get(one.id, -1) >= one.level)
