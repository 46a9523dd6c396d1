"""What a session learns of an agent's clocks: from pings, through steps, and whatever the way does to them."""

import pytest

from agent.wire import version
from agent.wire.codec import encode
from agent.wire.frames import EventFrame, Hello, Ping, Pong, Position, Snapshot, Subscribe, Synced
from agent.wire.specs import Event, Level, Severity
from cockpit.clock import Instant
from cockpit.link.clocks import Clocks
from cockpit.link.session import Schemas, Session
from cockpit.link.timing import Timing
from tests.fakes.agent import SCHEMA, SCHEMA_ID

YEAR = 365.25 * 86_400


class Pair:
    """Our clock and an agent's; `way_s` is how long anything takes, `real` moves both."""

    def __init__(self, off: float = 0.0, way_s: float = 0.01) -> None:
        self.real = 100.0
        self.off, self.way_s, self.mono0 = off, way_s, 5000.0
        self.clocks = Clocks()
        self.number = 0

    @property
    def now(self) -> Instant:
        return Instant(1e9 + self.real, self.real)

    def hello(self) -> None:
        said = Hello("agent", wall=self.now.wall + self.off, mono=self.real + self.mono0)
        self.real += self.way_s
        self.clocks.greeted(said, self.now)

    def ping(self, back_s: float | None = None) -> None:
        self.number += 1
        self.clocks.asked(self.number, self.now, self.real)
        self.real += self.way_s
        pong = Pong(self.number, self.now.wall + self.off, self.real + self.mono0)
        self.real += self.way_s if back_s is None else back_s
        assert self.clocks.answered(pong, self.now, self.real)

    def age(self, captured: float) -> float:
        return self.clocks.age_s(int((captured + self.mono0) * 1000), self.now)


@pytest.mark.parametrize("off", [0.0, YEAR, -YEAR])
def test_ages_do_not_depend_on_the_wall_clock(off: float) -> None:
    pair = Pair(off)
    pair.hello()
    pair.ping()
    assert pair.age(pair.real - 1.0) == pytest.approx(1.0, abs=0.02)
    assert pair.clocks.offset is not None
    assert pair.clocks.offset.seconds == pytest.approx(off, abs=0.01)


def test_an_age_is_never_negative_and_a_quick_frame_corrects_a_slow_hello() -> None:
    pair = Pair(way_s=3.0)
    pair.hello()
    assert pair.age(pair.real) == 0.0
    assert pair.age(pair.real - 1.0) == pytest.approx(1.0), "the frame before has shown how slow the hello was"


def test_a_step_of_the_wall_clock_is_believed_with_the_next_pong_however_slow_it_is() -> None:
    pair = Pair()
    pair.hello()
    for _ in range(5):
        pair.ping()
    pair.off = YEAR
    pair.ping(back_s=0.5)
    assert pair.clocks.offset is not None
    assert pair.clocks.offset.seconds == pytest.approx(YEAR, abs=0.3)


def test_a_slow_pong_replaces_no_better_one() -> None:
    pair = Pair(off=0.2)
    pair.hello()
    pair.ping()
    pair.ping(back_s=0.8)
    assert pair.clocks.offset is not None
    assert pair.clocks.offset.rtt_s == pytest.approx(0.02)
    assert pair.clocks.offset.seconds == pytest.approx(0.2, abs=0.001)


def test_a_monotonic_clock_that_stood_still_is_followed_with_the_next_pong() -> None:
    pair = Pair()
    pair.hello()
    pair.ping()
    pair.mono0 -= 60.0  # the host was suspended
    assert pair.age(pair.real) == pytest.approx(60.0, abs=0.1)
    pair.ping()
    assert pair.age(pair.real) == pytest.approx(0.0, abs=0.1)


def test_a_clock_that_drifts_does_not_age_a_long_session() -> None:
    pair = Pair()
    pair.hello()
    for _ in range(1000):
        pair.real += 30.0
        pair.mono0 -= 0.003  # 100 ppm
        pair.ping()
    assert pair.age(pair.real) < 0.2


def test_an_event_whose_clocks_disagree_asks_for_a_new_measurement_once_a_second() -> None:
    now = Instant(1e9, 100.0)
    session = Session("n01", Schemas(), Subscribe(Level.SUMMARY, 1.0, Position("b1", 0)), Timing())
    session.start(now, 100.0)
    hello = Hello("a", wall=now.wall, mono=50.0, boot_id="b1", schema_id=SCHEMA_ID, schema=SCHEMA)
    session.feed(b"".join((version.PREAMBLE, encode(hello), encode(Snapshot({}, ())), encode(Synced(0)))), now, 100.0)
    session.take()

    def hear(seq: int, at: float, real: float, *, replayed: bool = False) -> bytes:
        event = Event(seq, at, 51.0, "xid", "host", Severity.INFO, "x", replayed=replayed)
        session.feed(encode(EventFrame(event)), now, real)
        return session.take()

    assert hear(1, now.wall + 1, 101.5) == b"", "both clocks agree"
    assert hear(2, now.wall + YEAR, 102.0, replayed=True) == b"", "an old story proves nothing"
    assert hear(3, now.wall + YEAR, 103.0) == encode(Ping(2))
    assert hear(4, now.wall + YEAR, 103.5) == b""
