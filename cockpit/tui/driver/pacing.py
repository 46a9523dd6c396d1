"""PURE. When to send how much, by the replies of the terminal. Rule: a picture waits for the terminal, a key never
waits for a picture, and who does not answer is asked for little.

Behind the pty lie the buffers of sshd, of the network and of the terminal, and nothing local sees what waits there. So
each packet ends with a query, and its reply says that all before it was taken. The queries are the report of mode 2026,
which newer terminals answer, and of the cursor, which all do (tmux and screen for themselves); what answers first is
asked from then on.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum

SILENT_S = 2.0  # no reply for so long: the terminal does not answer, or not now
REST_S = 1.0  # between two pictures for a terminal that does not answer
KEY_REST_S = 0.125  # and between two answers to keys for it
SLICE_S = 0.08  # a packet takes the line no longer than this: so long may a key have to wait behind it
SHARE = 0.28  # of a slow line for pictures that no key asked for; the rest is for keys
BURST_S = 1.0  # seconds of that share that may leave at once
SLOW_B_S = 400_000.0  # bytes a second from which a line is no matter
FIRST_BYTES = 16_384  # packets while nothing is known of the line
LEAST_BYTES = 1_200
MOST_BYTES = 1 << 20


class Query(Enum):
    """A question that terminals answer and Textual's parser takes the answer of."""

    SYNC = "\x1b[?2026$p"
    CURSOR = "\x1b[6n"


class State(Enum):
    """How output is paced; the value is what people read."""

    ASKING = "waiting for the terminal's first reply"
    PACED = "by the terminal's replies"
    BLIND = "the terminal does not answer: a picture a second"


@dataclass(slots=True)
class _Packet:
    at: float
    size: int
    queries: tuple[Query, ...]


class Pacer:
    """Counts what is on its way. Times are monotonic seconds, sizes bytes; `rate` and `round_trip` are None until they
    were measured."""

    def __init__(self) -> None:
        self._byte_s: float | None = None  # seconds a byte: averaged so, one slow packet weighs more than one quick one
        self.round_trip: float | None = None
        self.reset()

    def reset(self) -> None:
        """A terminal of which nothing is known, or that somebody else used meanwhile."""
        self.state = State.ASKING
        self.query: Query | None = None
        self._flying: deque[_Packet] = deque()
        self._heard = 0.0  # the last reply
        self._sent = float("-inf")
        self._key_sent = float("-inf")
        self._spent = 0.0  # bytes of pictures beyond the share, paid off with time
        self._spent_at = 0.0

    @property
    def rate(self) -> float | None:
        """Bytes a second that the line takes."""
        return 1 / self._byte_s if self._byte_s else None

    @property
    def queries(self) -> tuple[Query, ...]:
        """What to ask behind a packet."""
        if self.query:
            return (self.query,)
        return () if self.state is State.BLIND else tuple(Query)

    @property
    def flying(self) -> int:
        """Bytes of which the terminal has not said that it took them."""
        return sum(packet.size for packet in self._flying)

    @property
    def waiting(self) -> bool:
        """Whether a reply is owed."""
        return bool(self._flying)

    def owed(self, query: Query) -> int:
        """Replies to this query that are still to come."""
        return sum(query in packet.queries for packet in self._flying)

    def room(self, now: float, *, urgent: bool) -> int:
        """Bytes that may be sent now, 0 for none; `urgent` for what a key asked for."""
        if self.state is State.BLIND:
            last, rest = (self._key_sent, KEY_REST_S) if urgent else (self._sent, REST_S)
            return FIRST_BYTES if now - last >= rest else 0
        packet = self._packet()
        left = packet + (packet if urgent else 0) + self._in_the_pipe() - self.flying
        if not urgent and self._overdrawn_s(now) > 0:
            return 0
        return min(packet, left) if left >= packet // 2 else 0

    def again(self, now: float, *, urgent: bool) -> float:
        """Seconds until it is worth to ask for room once more if no reply comes."""
        if self.state is State.BLIND:
            last, rest = (self._key_sent, KEY_REST_S) if urgent else (self._sent, REST_S)
            return max(0.0, last + rest - now)
        waits = [self._flying[0].at + SILENT_S - now] if self._flying else []
        if not urgent and (debt := self._overdrawn_s(now)) > 0:
            waits.append(debt)
        return max(0.001, min(waits, default=0.001))

    def sent(self, now: float, size: int, *, urgent: bool, queries: tuple[Query, ...]) -> None:
        """A packet left, with these queries behind it."""
        if queries:
            self._flying.append(_Packet(now, size, queries))
        if urgent:
            self._key_sent = now
        elif size:
            self._sent = now
            self._spent, self._spent_at = self._debt(now) + size, now

    def replied(self, now: float, query: Query) -> None:
        """The terminal answered a query. Replies come in order: older queries of another kind go unanswered."""
        at = next((at for at, packet in enumerate(self._flying) if query in packet.queries), None)
        if at is not None or self.state is State.BLIND:
            self._answers(query)
        if at is not None:
            gone = [self._flying.popleft() for _ in range(at + 1)]
            took = now - gone[-1].at
            if self.round_trip is None:
                self.round_trip = took
            size = sum(packet.size for packet in gone)
            empty = max(0.0, took - size * (self._byte_s or 0.0))
            self.round_trip = min(took, self.round_trip + 0.02 * (empty - self.round_trip))
            self._learn(size, now - max(gone[0].at + self.round_trip, self._heard))
        self._heard = now

    def _answers(self, query: Query) -> None:
        self.state = State.PACED
        if self.query is None or query is Query.SYNC:
            self.query = query

    def judge(self, now: float) -> None:
        """Notice that no reply comes."""
        if self._flying and now - max(self._flying[0].at, self._heard) > SILENT_S:
            self._learn(self.flying, now - self._flying[0].at)
            self._flying.clear()
            self.state = State.BLIND

    def _packet(self) -> int:
        if self.rate is None:
            return FIRST_BYTES
        return int(min(MOST_BYTES, max(LEAST_BYTES, self.rate * SLICE_S)))

    def _in_the_pipe(self) -> int:
        """Bytes that are under way on a line that is just kept busy."""
        if self.rate is None or self.round_trip is None:
            return FIRST_BYTES
        return int(self.rate * self.round_trip)

    def _debt(self, now: float) -> float:
        """Bytes of pictures that the share of a slow line has not paid for yet."""
        if self.rate is None or self.rate >= SLOW_B_S:
            return 0.0
        return max(0.0, self._spent - (now - self._spent_at) * SHARE * self.rate)

    def _overdrawn_s(self, now: float) -> float:
        """Seconds until a picture may leave again."""
        return self._debt(now) / (SHARE * self.rate) - BURST_S if self.rate else 0.0

    def _learn(self, size: int, busy: float) -> None:
        """A packet kept the line busy for so long; small ones say nothing."""
        if size >= LEAST_BYTES:
            sample = max(busy, 0.001) / size
            self._byte_s = sample if self._byte_s is None else self._byte_s + 0.3 * (sample - self._byte_s)
