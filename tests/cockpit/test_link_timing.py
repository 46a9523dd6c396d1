"""When a link tries again, how many may log in at once, and what a session says and accepts: all without a socket."""

import asyncio
import dataclasses
import hashlib
import random

import pytest

from agent.wire import version
from agent.wire.codec import Decoder, encode
from agent.wire.frames import Ack, Bye, Frame, Hello, Ping, Pong, Position, Snapshot, Subscribe, Synced
from agent.wire.limits import FROM_COCKPIT_BYTES
from agent.wire.specs import Level
from cockpit.clock import Instant, SystemClock
from cockpit.errors import LinkError
from cockpit.fleet.link_state import LinkState
from cockpit.link.gate import CEILING, LOGINS, NEAR, Gate
from cockpit.link.session import Schemas, Session
from cockpit.link.timing import Schedule, Timing
from tests.fakes.agent import SCHEMA, SCHEMA_ID

NOW = Instant(1000.0, 10.0)


def test_attempts_follow_each_other_closely_for_two_minutes_then_rarely_and_never_in_step() -> None:
    schedule = Schedule(Timing(), random.Random(1))
    schedule.lost(0.0)
    early = [schedule.pause_s(at) for at in range(120)]
    assert all(0.7 <= pause <= 1.0 for pause in early)
    late = [schedule.pause_s(120.0 + at) for at in range(300)]
    assert max(late) <= 30.0
    assert max(late) > 25.0
    assert len({round(pause, 3) for pause in late}) > 100
    schedule.live()
    assert schedule.pause_s(1000.0) <= 1.0


def test_where_only_an_update_helps_attempts_are_rare_from_the_start() -> None:
    schedule = Schedule(Timing(), random.Random(1))
    assert all(5.0 <= schedule.pause_s(at, rarely=True) <= 30.0 for at in range(50))


def test_deadlines_are_short_only_while_a_host_that_was_near_is_expected_back() -> None:
    schedule = Schedule(Timing(), random.Random(1))
    assert schedule.deadline_s(0.0) == 10.0
    schedule.lost(0.0)
    assert schedule.deadline_s(1.0) == 10.0, "never been there: it may be far"
    schedule.took_s = 0.05
    assert schedule.deadline_s(1.0) == 1.0
    schedule.took_s = 0.8
    assert schedule.deadline_s(1.0) == pytest.approx(2.4)
    assert schedule.deadline_s(121.0) == 10.0


async def test_the_gate_lets_so_many_in_and_the_rest_in_order() -> None:
    gate = Gate(SystemClock(), LOGINS)
    gate.adapt = lambda lag_s: None  # type: ignore[method-assign]
    entered: list[int] = []
    leave = asyncio.Event()

    async def login(number: int) -> None:
        async with gate.place():
            entered.append(number)
            await leave.wait()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(login(number)) for number in range(LOGINS + 5)]
        while len(entered) < LOGINS:
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        assert entered == list(range(LOGINS))
        tasks[LOGINS].cancel()
        leave.set()
    assert entered == [number for number in range(LOGINS + 5) if number != LOGINS]
    assert gate.taken == 0


async def test_a_login_that_waits_for_the_network_gives_its_place_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cockpit.link.gate.LEASE_S", 0.01)
    gate = Gate(SystemClock(), LOGINS)
    async with gate.place():
        assert gate.taken == 1
        await asyncio.sleep(0.03)
        assert gate.taken == 0
    assert gate.taken == 0


async def test_a_cancelled_turn_that_was_already_given_is_passed_on() -> None:
    gate = Gate(SystemClock(), LOGINS)
    gate.cap = 1
    order: list[str] = []

    async def login(name: str) -> None:
        async with gate.place():
            order.append(name)

    async with asyncio.TaskGroup() as group:
        async with gate.place():
            gate.cap = 1
            second = group.create_task(login("second"))
            third = group.create_task(login("third"))
            await asyncio.sleep(0.005)
        second.cancel()
    assert order == ["third"]
    assert third.done()
    assert gate.taken == 0


def test_the_cap_grows_while_the_loop_is_quick_and_shrinks_when_it_lags() -> None:
    gate = Gate(SystemClock(), LOGINS)
    for _ in range(1000):
        gate.taken = gate.cap
        gate.adapt(0.001)
    assert gate.cap == NEAR < CEILING
    gate.adapt(0.05)
    assert gate.cap == NEAR // 2
    for _ in range(1000):
        gate.adapt(0.05)
    assert gate.cap == gate.floor == LOGINS // 2
    gate.taken = 1
    gate.adapt(0.001)
    assert gate.cap == gate.floor, "places are free: no more are needed"


def test_the_cap_grows_faster_where_the_way_is_long() -> None:
    caps = []
    for held_s in (0.15, 0.35):
        gate = Gate(SystemClock(), LOGINS)
        for _ in range(20):
            gate.taken = gate.cap
            gate.leave(held_s)
            gate.leave(held_s + 1.0)  # by others, that wait for us
            gate.taken = gate.cap
            gate.adapt(0.001)
        caps.append(gate.cap)
    near, far = caps
    assert near == LOGINS + 20
    assert far > 2 * near


async def test_places_that_the_cap_gains_are_given_to_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cockpit.link.gate.PROBE_S", 0.001)
    gate = Gate(SystemClock(), LOGINS)
    gate.cap = 1
    entered = asyncio.Event()

    async def second() -> None:
        async with gate.place():
            entered.set()

    async with asyncio.TaskGroup() as group, gate.place():
        group.create_task(second())
        async with asyncio.timeout(5):
            await entered.wait()
        assert gate.cap > 1


def session(since: Position | None = None, schemas: Schemas | None = None) -> Session:
    begun = Session("n01", schemas or Schemas(), Subscribe(Level.DETAIL, 2.0, since), Timing())
    begun.start(NOW, 100.0)
    return begun


def said(begun: Session) -> list[Frame]:
    """What a session wants to send, past its preamble if it is the beginning."""
    data = begun.take()
    return Decoder(FROM_COCKPIT_BYTES, preamble=data.startswith(version.MAGIC)).feed(data)


def hello(**changes: object) -> bytes:
    begun = Hello("agent", host_id="h", boot_id="b1", schema_id=SCHEMA_ID, schema=SCHEMA)
    return version.PREAMBLE + encode(dataclasses.replace(begun, **changes))  # type: ignore[arg-type]


def test_a_session_greets_and_subscribes_with_one_write() -> None:
    greeting, subscribe, ping = said(session(Position("b1", 9)))
    assert isinstance(greeting, Hello)
    assert (greeting.wall, greeting.mono, greeting.have) == (1000.0, 10.0, ())
    assert subscribe == Subscribe(Level.DETAIL, 2.0, Position("b1", 9))
    assert ping == Ping(1)


def test_a_session_acknowledges_every_5_s_and_pings_rarely_once_it_knows_the_clock() -> None:
    begun = session()
    begun.take()
    assert begun.tick(NOW, 100.0) > 0, "nothing is due before the agent's hello"
    assert begun.take() == b""
    begun.feed(hello() + encode(Synced(7)), NOW, 100.1)
    kinds: list[str] = []
    at = 100.1
    while at < 160.0:
        wait = begun.tick(NOW, at)
        kinds += [type(frame).__name__ for frame in said(begun)]
        at += max(wait, 0.01)
    assert kinds.count("Ack") == 11
    assert kinds[:6] == ["Ack", "Ping"] * 3, "pings ride with acks"
    assert kinds.count("Ping") == 4
    begun.tick(NOW, 200.0)
    assert Ack(7) in said(begun)


def test_the_clock_offset_is_that_of_the_shortest_way() -> None:
    begun = session()
    begun.feed(hello(), NOW, 100.0)
    for number, (rtt, wall) in enumerate([(0.5, 1050.4), (0.1, 1050.0), (0.3, 1050.3)], 1):
        at = 95.0 + 5 * number
        begun.tick(NOW, at)
        assert Ping(number) in said(begun)
        begun.feed(encode(Pong(number, wall, 1.0)), Instant(1000.0 + rtt, 10.0 + rtt), at + rtt)
    offset = begun.clocks.offset
    assert offset is not None
    assert offset.seconds == pytest.approx(49.95)
    assert offset.rtt_s == pytest.approx(0.1)
    begun.feed(encode(Pong(99, 0.0, 0.0)), NOW, 200.0)
    assert begun.clocks.offset == offset, "a pong nobody asked for says nothing"


def test_an_agents_ping_is_answered_with_our_clock() -> None:
    begun = session()
    begun.feed(hello(), NOW, 100.0)
    begun.take()
    assert begun.feed(encode(Ping(5)), NOW, 100.0) == []
    assert said(begun) == [Pong(5, 1000.0, 10.0)]


def test_a_schema_is_kept_only_under_its_own_hash() -> None:
    schemas = Schemas()
    session(schemas=schemas).feed(hello(), NOW, 100.0)
    assert schemas.ids == (SCHEMA_ID,)
    assert hashlib.sha256(SCHEMA).hexdigest()[:32] == SCHEMA_ID
    (greeted,) = session(schemas=schemas).feed(hello(schema=b""), NOW, 100.0)
    assert isinstance(greeted, Hello)
    assert greeted.schema == SCHEMA
    liar = Schemas()
    session(schemas=liar).feed(hello(schema_id="0" * 32), NOW, 100.0)
    assert liar.ids == ()
    with pytest.raises(LinkError, match="neither sent nor kept"):
        session().feed(hello(schema=b""), NOW, 100.0)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (version.PREAMBLE + encode(Synced(1)), "a synced before hello"),
        (hello() + hello()[len(version.PREAMBLE) :], "a second hello"),
        (hello() + encode(Subscribe(Level.DETAIL)), "an agent does not send subscribe"),
        (hello(schema=b"\xc1"), "schema"),
        (hello(major=3), "the agent is too new: it speaks protocol 3, this cockpit 1"),
    ],
)
def test_an_agent_that_breaks_the_contract_is_incompatible(data: bytes, says: str) -> None:
    with pytest.raises(LinkError, match=says) as caught:
        session().feed(data, NOW, 100.0)
    assert caught.value.state == LinkState.INCOMPATIBLE


def test_nothing_behind_the_goodbye_is_believed() -> None:
    begun = session()
    frames = begun.feed(hello() + encode(Bye("enough")) + encode(Snapshot({}, ())), NOW, 100.0)
    assert [type(frame).__name__ for frame in frames] == ["Hello"]
    assert begun.ended is not None


def test_events_may_be_numbered_anew_by_an_agent_that_lost_its_memory() -> None:
    begun = session(Position("b1", 500))
    begun.feed(hello() + encode(Synced(3)), NOW, 100.0)
    assert begun.position == Position("b1", 3)
