"""A recording that is played: its own clock, and links that deliver what was recorded, to the same sink, in the same
order and at the same data times.

All waiting of whoever reads the fleet goes by the clock of the recording: a second of the fleet is told before the
record that came after it, however fast it is played. What is asked of a played host is refused: nobody is there.
"""

import asyncio
import heapq
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agent.wire import limits
from agent.wire.codec import Decoder
from agent.wire.errors import WireError
from agent.wire.requests import Answer, Request
from agent.wire.shape import clean
from agent.wire.specs import Level
from cockpit.clock import Clock, Instant
from cockpit.errors import CockpitError, RecordingError, RequestError
from cockpit.fleet.link_state import LinkState, LinkStatus, Offset
from cockpit.inventory import HostEntry, Inventory, PoolEntry, UnixTarget
from cockpit.inventory.target import parse_target
from cockpit.link.link import LinkSink
from cockpit.link.recording.form import CLOCKS, FRAME, STATUS, Head, Reader, Record

_CHUNK = 256 * 1024
_STEP_S = 0.05  # real seconds between two looks at the tape
_TEXT = 1000
_MOST = 100_000  # replicas of a pool


class PlayClock:
    """The data clock of a recording. `real` and `sleep` go by its time, too: a second is a second of back then."""

    def __init__(self, start: Instant, speed: float) -> None:
        self.speed = speed
        self._now = self._start = start
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._slept = 0

    def wall(self) -> float:
        """See `Clock`."""
        return self._now.wall

    def monotonic(self) -> float:
        """See `Clock`."""
        return self._now.mono

    def now(self) -> Instant:
        """See `Clock`."""
        return self._now

    def real(self) -> float:
        """See `Clock`."""
        return (self._now.mono - self._start.mono) / self.speed

    async def sleep(self, seconds: float) -> None:
        """See `Clock`."""
        self._slept += 1
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.real() + seconds, self._slept, woken))
        await woken

    def due(self) -> float | None:
        """The monotonic data second at which the next sleeper wakes."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._start.mono + self._sleepers[0][0] * self.speed if self._sleepers else None

    def advance(self, to: Instant) -> bool:
        """It is later now; whether anybody woke."""
        self._now = to
        woke = False
        while self._sleepers and self._sleepers[0][0] <= self.real() + 1e-9:
            woken = heapq.heappop(self._sleepers)[2]
            if not woken.done():
                woken.set_result(None)
                woke = True
        return woke


class ScreenClock:
    """What screens look at while a recording is played: its data time, and the real time of those who watch."""

    def __init__(self, data: PlayClock, real: Clock) -> None:
        self.speed = data.speed
        self.wall, self.monotonic, self.now = data.wall, data.monotonic, data.now
        self.real, self.sleep = real.real, real.sleep


class Player:
    """One recording. `rate`: how many times as fast as it was, 0.0 while it stands, None as fast as it can be read.
    `over` is set at its end, `cut` says why that was too early; `until_s`: how much of its beginning is skipped over.
    """

    def __init__(
        self, path: Path, *, rate: float | None = None, real: Clock | None = None, until_s: float = 0.0
    ) -> None:
        self.path = path
        self.rate = rate
        self.over = asyncio.Event()
        self.cut: RecordingError | None = None
        self.played = 0
        self._real = real
        self._until_s = until_s
        self._reader = Reader(str(path))
        self._records = self._read()
        self._ahead = next(self._records, None)  # the first record, so that the head and the beginning are known
        if self._reader.head is None:
            raise RecordingError(f"{path} ends before it has begun; record again", cut=True)
        self.head: Head = self._reader.head
        self._judge_end()
        self.start = self._ahead.at if self._ahead is not None else Instant(0.0, 0.0)
        self.clock = PlayClock(self.start, self.head.speed)
        self.screen_clock: Clock = ScreenClock(self.clock, real or self.clock)
        pools = {clean(str(name))[:_TEXT]: _pool(said) for name, said in self.head.pools.items()}
        self.inventory = Inventory(tuple(map(_entry, self.head.hosts)), path=self.head.path, pools=pools)
        self._decoders = [Decoder(limits.FROM_AGENT_BYTES, preamble=False) for _ in self.head.hosts]

    @property
    def position_s(self) -> float:
        """Data seconds since its beginning."""
        return self.clock.monotonic() - self.start.mono

    def links(self, inventory: Inventory, sink: LinkSink, clock: Clock) -> Sequence["PlayedLink"]:
        """See `cockpit.runtime.LinkFactory`; the first link runs the tape."""
        return [
            PlayedLink(self, entry.name, sink if number == 0 else None) for number, entry in enumerate(inventory.hosts)
        ]

    async def play(self, sink: LinkSink) -> None:
        """Deliver everything at its time; returns at the end."""
        await self._turn()  # whoever wants to be woken once a second lies down first
        began, at = self._now_real(), self.start.mono + self._until_s
        while self._ahead is not None:
            began, at = await self._wait(began, at)
            await self._until(self._ahead.at)
            try:
                self._deliver(sink, self._ahead)
            except RecordingError as error:
                self.cut = error
                break
            self.played += 1
            self._next()
        self.over.set()

    async def _wait(self, began: float, at: float) -> tuple[float, float]:
        """Wait for the moment of the next record in real time, at the rate of each moment; the clock goes along."""
        while self._ahead is not None:
            skipping = self._ahead.at.mono - self.start.mono < self._until_s
            rate = None if skipping else self.rate
            now = self._now_real()
            if rate is None or self._real is None:
                return now, at
            at = min(self._ahead.at.mono, at + (now - began) * rate * self.head.speed)
            began = now
            if at >= self._ahead.at.mono:
                return began, at
            here = self.clock.now()
            await self._until(Instant(here.wall + at - here.mono, at))
            await self._real.sleep(_STEP_S)
        return began, at

    async def _until(self, to: Instant) -> None:
        """Let time pass, in steps: whoever sleeps until then wakes first and does what is due."""
        while (due := self.clock.due()) is not None and self.clock.monotonic() < due <= to.mono:
            here = self.clock.now()
            self.clock.advance(Instant(here.wall + due - here.mono, due))
            await self._turn()
        self.clock.advance(to)
        if self.played % 256 == 0:
            await self._turn()

    async def _turn(self) -> None:
        """Everybody who woke has done what was due."""
        for _ in range(3):
            await asyncio.sleep(0)

    def _now_real(self) -> float:
        return self._real.real() if self._real is not None else 0.0

    def _next(self) -> None:
        try:
            self._ahead = next(self._records, None)
        except RecordingError as error:
            self._ahead, self.cut = None, error
        self._judge_end()

    def _judge_end(self) -> None:
        """What ends without its end was cut."""
        if self._ahead is None and self.cut is None and not self._reader.complete:
            self.cut = RecordingError(f"{self.path} was cut short: what it holds until there is shown", cut=True)

    def _read(self) -> Iterator[Record]:
        try:
            with self.path.open("rb") as file:
                while data := file.read(_CHUNK):
                    yield from self._reader.feed(data)
        except OSError as error:
            raise RecordingError(f"{self.path} cannot be read: {error.strerror}; give a recording") from None

    def _deliver(self, sink: LinkSink, record: Record) -> None:
        if record.kind == FRAME:
            self._frame(sink, record)
        elif record.kind == STATUS:
            sink.changed(record.host, _status(record.body, self.screen_clock.real()))
        elif record.kind == CLOCKS:
            sink.measured(record.host, _offset(record.body))

    def _frame(self, sink: LinkSink, record: Record) -> None:
        """A frame as its link delivered it; one that the sink refused then ended its session, and so it stands."""
        if not isinstance(record.body, bytes):
            raise RecordingError(f"{self.path} is broken: a frame that is no bytes", cut=True)
        try:
            frames = self._decoders[record.host].feed(record.body)
        except WireError as error:
            raise RecordingError(f"{self.path} is broken: {error}", cut=True) from None
        try:
            if frames:
                sink.frames(record.host, frames)
        except WireError:
            pass


class PlayedLink:
    """The link of one recorded host. What is wanted of it changes nothing: what was recorded is what there is."""

    remarks: tuple[str, ...] = ()

    def __init__(self, player: Player, name: str, sink: LinkSink | None) -> None:
        self._player = player
        self._name = name
        self._sink = sink

    async def run(self) -> None:
        """Play, if this is the link that does; then stay."""
        if self._sink is not None:
            await self._player.play(self._sink)
        await asyncio.Event().wait()

    def subscribe(self, level: Level, interval_s: float) -> None:
        """Nothing."""

    def retry(self) -> None:
        """Nothing."""

    async def request(self, request: Request, timeout_s: float) -> tuple[Answer, ...]:
        """Nobody is there to answer."""
        raise RequestError("offline", f"{self._name}: this is a recording; nobody is there to be asked")


def _entry(said: dict[str, Any]) -> HostEntry:
    name, labels, expected = said.get("name"), said.get("labels"), said.get("gpus_expected")
    text = str(said.get("target", ""))
    try:
        where = parse_target(text)
    except CockpitError:
        where = UnixTarget(clean(text)[:_TEXT])
    return HostEntry(
        clean(str(name))[:_TEXT],
        where,
        {clean(str(key)): clean(str(value)) for key, value in labels.items()} if isinstance(labels, dict) else {},
        expected if isinstance(expected, int) and 0 <= expected <= limits.ROWS else None,
    )


def _pool(said: Any) -> PoolEntry:
    numbers = [said.get(key) if isinstance(said, dict) else None for key in ("expected", "floor")]
    expected, floor = (one if isinstance(one, int) and 0 <= one <= _MOST else None for one in numbers)
    return PoolEntry(expected, floor)


def _status(said: Any, real: float) -> LinkStatus:
    if not isinstance(said, dict) or said.get("state") not in list(LinkState):
        raise RecordingError("the recording is broken: a link in no known state", cut=True)
    since, retry = said.get("since"), said.get("retry")
    return LinkStatus(
        LinkState(said["state"]),
        clean(str(said.get("says", "")))[:_TEXT],
        clean(str(said.get("hint", "")))[:_TEXT],
        clean(str(said.get("hop", "")))[:_TEXT],
        real + since if isinstance(since, (int, float)) else 0.0,
        real + retry if isinstance(retry, (int, float)) else 0.0,
    )


def _offset(said: Any) -> Offset:
    if not isinstance(said, list) or len(said) < 3 or not all(isinstance(part, (int, float)) for part in said[:3]):
        raise RecordingError("the recording is broken: clocks that are no numbers", cut=True)
    seconds, rtt_s, shift_s = map(float, said[:3])
    return Offset(seconds, rtt_s, shift_s)
