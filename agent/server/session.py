"""One cockpit's session, without I/O: bytes and the real time come in, bytes go out through an `Outlet`.

A session keeps what its peer should know next, never a queue: samples by stamp (latest wins, at most one unread),
facts by stamp, events by position in the shared ring (lossless until the ring has moved on, then an explicit gap). So
a peer that stops reading costs one buffer and its slot, and loses its lease.
"""

from collections.abc import Sequence
from typing import Protocol

from agent.server.desk import IN_FLIGHT, Behind, refusal
from agent.server.feed import Feed
from agent.server.roles import Caller
from agent.wire import limits, version
from agent.wire.actions import Act, Audit, Claim, Fetch, RunSays
from agent.wire.codec import Decoder, encode, encode_sample
from agent.wire.errors import VersionError, WireError
from agent.wire.frames import (
    Ack,
    Bye,
    Error,
    Frame,
    Gap,
    Hello,
    Ping,
    Pong,
    Position,
    Subscribe,
    Synced,
)
from agent.wire.requests import Annotate, History, Journal, Log, Request
from agent.wire.specs import Event, Level

FRAMES_PER_S = 100  # a cockpit sends one ack in 5 s and one ping in 30; this leaves room for probes
FRAMES_BURST = 200
ANSWERS = 256  # that wait for a peer which asks and does not read
WAITING_BYTES = 256 * 1024  # of answers, above which nothing more is looked up for it
_EARLY = 0.25  # of the interval: a tick may come a little before a sample is due

_REQUESTS = (History, Journal, Annotate, Log, Act, RunSays, Claim, Audit, Fetch)

Now = float


class Outlet(Protocol):
    """Where a session's bytes go."""

    def write(self, data: bytes) -> None:
        """Send; never waits. May set `Session.paused` before it returns."""

    def unread(self) -> int:
        """Bytes written that the peer has not taken yet."""

    def close(self) -> None:
        """Send what is written, then hang up; who does not read it in time is cut off."""


class Session:
    """Protocol state of one client, connected at real time `now`."""

    def __init__(self, feed: Feed, outlet: Outlet, caller: Caller, now: Now) -> None:
        self.uid = caller.uid
        self._caller = caller
        self.paused = False
        self.closed = False
        self.greeted = False
        self.samples_dropped = 0
        self.events_dropped = 0
        self.level = Level.SUMMARY
        self.interval_s = 1.0
        self._feed = feed
        self._outlet = outlet
        self._decoder = Decoder(limits.FROM_COCKPIT_BYTES, noise=0)
        self._preamble_sent = False
        self._heard_at = now
        self._budget, self._budget_at, self._counted = float(FRAMES_BURST), now, 0
        self._ping: Ping | None = None
        self._wants: Subscribe | None = None  # a snapshot that is still owed
        self._streaming = False
        self._seq = 0
        self._layout = 0
        self._block_stamp = 0
        self._fact_stamp = 0
        self._next_sample = now
        self._cursor = 0
        self._asked = 0  # requests that are not answered yet
        self._answers: list[bytes] = []
        self._catching_up = False  # the journal is asked for what memory no longer has
        self._sync_at: int | None = None  # `Synced` follows once events up to here are written

    def announce(self) -> None:
        """Say what we are before the peer has said anything."""
        self._preamble_sent = True
        self._outlet.write(version.PREAMBLE)

    def received(self, data: bytes, now: Now) -> None:
        """Take what arrived."""
        if self.closed:
            return
        try:
            frames = self._decoder.feed(data)
            self._spend(now)
            for frame in frames:
                self._handle(frame, now)
                if self.closed:
                    return
        except VersionError as error:
            self.refuse("version", str(error))
        except WireError as error:
            self.refuse("bad_frame", str(error))
        else:
            self.flush()

    def sweep(self, now: Now) -> None:
        """Let go of a peer that is silent for too long: no hello, or a lease that ran out."""
        if self.closed:
            return
        silent = now - self._heard_at
        if not self.greeted and silent > limits.HELLO_DEADLINE_S:
            self.refuse("hello_late", f"no hello within {limits.HELLO_DEADLINE_S:g} s")
        elif silent > limits.LEASE_S:
            self.refuse("lease", f"nothing acknowledged for {limits.LEASE_S:g} s")

    def tick(self, now: Now) -> None:
        """A tick of the host has ended: send what is due by now."""
        # The sample goes first: what is written beside it in this tick must not look like an unread sample.
        due = self._streaming and self._sync_at is None and now >= self._next_sample - _EARLY * self.interval_s
        if due and not self.closed:
            if self.paused or self._outlet.unread():
                self.samples_dropped += 1
            else:
                self._next_sample = max(self._next_sample + self.interval_s, now + self.interval_s / 2)
                self._write_sample()
        self.flush()

    def flush(self) -> None:
        """Write what is owed besides samples, as far as the peer takes it: call when events or facts are new, and when
        the outlet has room again."""
        if self.closed or self.paused or not self.greeted:
            return
        if self._ping is not None:
            ping, self._ping = self._ping, None
            now = self._feed.clock.now()
            self._write(Pong(ping.id, now.wall, now.mono))
        while self._answers and not self.paused:
            self._outlet.write(self._answers.pop(0))
        if self._wants is not None:
            self._write_snapshot()
        if self._streaming:
            self._write_events()
            self._write_facts()

    def bye(self, why: str) -> None:
        """End in good order."""
        if not self.closed:
            if self.greeted and not self.paused:
                self._write(Bye(why))
            self._close()

    def refuse(self, code: str, says: str) -> None:
        """End because of what the peer did or did not do; it is told if it still listens."""
        if self.closed:
            return
        if not self.paused:
            self._write(Error(code, says[: limits.TEXT]))
        self._close()

    def _spend(self, now: Now) -> None:
        frames = self._decoder.frames - self._counted
        self._counted = self._decoder.frames
        self._budget = min(FRAMES_BURST, self._budget + (now - self._budget_at) * FRAMES_PER_S) - frames
        self._budget_at = now
        if self._budget < 0:
            self.refuse("limit", f"more than {FRAMES_PER_S} frames a second")

    def _handle(self, frame: Frame, now: Now) -> None:
        if not self.greeted:
            if not isinstance(frame, Hello):
                raise WireError(f"expected hello first, got {frame.KIND.name.lower()}")
            self.greeted = True
            self._heard_at = now
            self._write(self._feed.hello(frame.have, self._caller))
        elif isinstance(frame, Ack):
            self._heard_at = now
        elif isinstance(frame, Subscribe):
            self._heard_at = now
            self._subscribe(frame, now)
        elif isinstance(frame, Ping):
            self._ping = frame
        elif isinstance(frame, _REQUESTS):
            self._heard_at = now
            self._ask(frame)
        elif isinstance(frame, (Bye, Error)):
            self._close()
        elif not isinstance(frame, Pong):
            raise WireError(f"a cockpit sends no {frame.KIND.name.lower()} frame here")

    def _ask(self, request: Request) -> None:
        """An answer comes later; a peer that asks faster than it reads is told so, and let go in the end."""
        if self._asked < IN_FLIGHT and sum(map(len, self._answers)) < WAITING_BYTES:
            self._asked += 1
            self._feed.desk.take(request, self._caller, self._answered)
        elif len(self._answers) > ANSWERS:
            self.refuse("limit", f"more than {ANSWERS} answers that nobody takes")
        else:
            says = f"{IN_FLIGHT} questions are open, or their answers not taken yet; wait for an answer"
            self._answers.append(refusal(request.id, "too_many", says))

    def _answered(self, frames: list[bytes]) -> None:
        self._asked -= 1
        self._answers += frames
        self.flush()

    def _subscribe(self, wish: Subscribe, now: Now) -> None:
        changed = wish.level is not self.level
        self.level, self.interval_s = wish.level, wish.interval_s
        self._next_sample = now
        if wish.snapshot or not self._streaming:
            self._wants = wish
        elif changed:
            self._block_stamp = 0  # the first sample of a level is whole, and comes at once: somebody wants to see it
            if not self.paused and self._sync_at is None:
                self._write_sample()

    def _write_snapshot(self) -> None:
        wish, self._wants = self._wants, None
        assert wish is not None
        self._streaming = True
        self._write_layout()
        self._write_state()
        self._block_stamp = 0
        self._write_sample()
        self._begin_events(wish.since)
        self._sync_at = self._feed.events.last_seq

    def _write_state(self) -> None:
        """Every fact and every open finding, as they are now."""
        for frame in self._feed.snapshot():
            self._outlet.write(frame)
        self._fact_stamp = self._feed.facts.stamp

    def _begin_events(self, since: Position | None) -> None:
        log = self._feed.events
        if since is None:
            newest = log.newest(limits.SNAPSHOT_EVENTS)
            self._cursor = newest[0].seq - 1 if newest else log.last_seq
            return
        self._cursor = min(since.seq, log.last_seq)
        if since.seq > log.last_seq:
            _, gap = log.since(since.boot_id, since.seq)
            if gap is not None:
                self._write(gap)
                self._cursor = gap.last

    def _write_events(self) -> None:
        log = self._feed.events
        while self._cursor < log.last_seq and not self.paused and not self.closed and not self._catching_up:
            if self._cursor < log.floor:
                self._catching_up = True
                self._feed.desk.behind(self._cursor, self._caught_up)
                continue
            events, _ = log.since(self._feed.identity.boot_id, self._cursor)
            self._write_each(events)
            if not events:
                self._cursor = log.last_seq  # numbers that nobody used
        if self._sync_at is not None and self._cursor >= self._sync_at and not self.paused:
            self._sync_at = None
            self._write(Synced(log.last_seq))

    def _write_each(self, events: Sequence[Event]) -> None:
        for event in events:
            if self.paused:
                return
            self._outlet.write(self._feed.event_frame(event))
            self._cursor = event.seq

    def _caught_up(self, found: Behind | None) -> None:
        """The journal has told some of what memory no longer has; without it, that is a gap."""
        self._catching_up = False
        if self.closed or self.paused:
            return  # asked again when the peer takes more
        log = self._feed.events
        events, gaps = found if found is not None else ((), ())
        if found is None:
            _, gap = log.since(self._feed.identity.boot_id, self._cursor)
            gaps = (gap,) if gap is not None else ()
        for gap in gaps:
            self._write_each([event for event in events if self._cursor < event.seq < gap.first])
            if self.paused:
                return
            if gap.last > self._cursor:
                self._lose(Gap(max(gap.first, self._cursor + 1), gap.last, gap.why))
        self._write_each([event for event in events if event.seq > self._cursor])
        if not events:
            if (gap := log.untold(self._cursor)) is not None:
                self._lose(gap)
            self._cursor = max(self._cursor, min(log.floor, log.last_seq))
        self.flush()

    def _lose(self, gap: Gap) -> None:
        if self._sync_at is not None:  # it knows the state as it is now
            self._write(gap)
            self._cursor = gap.last
            return
        self.events_dropped += gap.last - gap.first + 1
        self._cursor = gap.last
        self._write(gap)
        # What became of the findings may be in the hole: they are said anew, whole.
        self._write_state()

    def _write_facts(self) -> None:
        facts = self._feed.facts
        if self.paused or self._fact_stamp == facts.stamp:
            return
        for frame in facts.after(self._fact_stamp):
            self._outlet.write(frame)
        self._fact_stamp = facts.stamp

    def _write_sample(self) -> None:
        board = self._feed.board
        stamp, blocks = board.blocks(self.level, self._block_stamp)
        if not blocks:
            return
        if self._layout != board.layout_version:
            self._write_layout()
        self._seq += 1
        self._block_stamp = stamp
        self._outlet.write(encode_sample(self._seq, self._layout, blocks))

    def _write_layout(self) -> None:
        self._layout = self._feed.board.layout_version
        self._outlet.write(self._feed.board.layout())

    def _write(self, frame: Frame) -> None:
        if not self._preamble_sent:
            self._preamble_sent = True
            self._outlet.write(version.PREAMBLE)
        self._outlet.write(encode(frame))

    def _close(self) -> None:
        self.closed = True
        self._outlet.close()
