"""One supervised link to one host: keeps a session alive, says what can be proved about the way, and never gives up.

The link owns no fleet state. Frames go to the sink in the order they came; the status changes only when what can be
proved changes. Nothing a peer does escapes from `run`; a programming error does.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from agent.wire.errors import WireError
from agent.wire.frames import Frame, Hello, Position, Subscribe, Synced
from agent.wire.limits import MIN_INTERVAL_S
from agent.wire.specs import Level
from cockpit.errors import LinkError
from cockpit.fleet.link_state import LinkState, LinkStatus
from cockpit.inventory import HostEntry
from cockpit.link.session import Offset, Session
from cockpit.link.shared import Shared
from cockpit.link.timing import Schedule
from cockpit.link.way import Channel, OtherPath, Way

_HEALTHY_S = 10.0  # a session shorter than this was no recovery: whoever flaps is tried less and less often
_LONG_S = 2.0  # an interval above which silence alone notices a broken way too late
HELD = (LinkState.DENIED, LinkState.KEY_CHANGED)  # only the operator starts another attempt


class LinkSink(Protocol):
    """Where a link delivers. Both methods are called in the loop and must not block."""

    def frames(self, host: int, frames: list[Frame]) -> None:
        """Frames in order; a `Hello` (its schema filled in) begins a new session. May raise WireError on a misfit."""

    def changed(self, host: int, status: LinkStatus) -> None:
        """The link's state, its sentence, or the time of the next attempt changed."""


class Link:
    """The link to one host of the inventory; `host` is its number there."""

    def __init__(
        self,
        host: int,
        entry: HostEntry,
        sink: LinkSink,
        way: Callable[["Link"], Awaitable[Way]],
        shared: Shared,
    ) -> None:
        self.host = host
        self.entry = entry
        self.status = LinkStatus(LinkState.CONNECTING)
        self.offset: Offset | None = None
        self.failure: LinkError | None = None  # why the latest attempt ended
        self.due = 0.0  # when the metronome calls `beat`
        self._sink = sink
        self._clock = shared.clock
        self._make_way = way
        self._timing = shared.timing
        self._schemas = shared.schemas
        self._operator = shared.operator
        self._gate = shared.snapshots
        self._metronome = shared.metronome
        self._schedule = Schedule(self._timing, shared.rng)
        self._level = Level.SUMMARY
        self._interval_s = 1.0
        self._position: Position | None = None
        self._session: Session | None = None
        self._channel: Channel | None = None
        self._failure: BaseException | None = None
        self._heard = 0.0
        self._greeted = 0.0  # when this session's hello came
        self._stirred = asyncio.Event()
        self._wake = asyncio.Event()
        self._way: Way | None = None

    @property
    def path(self) -> str:
        """How the agent's socket was reached last, where there is more than one way: forward, bridge, subsystem."""
        return str(getattr(self._way, "path", ""))

    async def run(self) -> None:
        """Keep the link until cancelled."""
        self._way = await self._make_way(self)
        self._set(LinkStatus(LinkState.CONNECTING, f"{self.entry.name}: connecting", hop=self.entry.name))
        try:
            while True:
                await self._rest(await self._attempt(self._way))
        finally:
            await self._way.close()

    def subscribe(self, level: Level, interval_s: float = 1.0) -> None:
        """What is wanted from now on, this session and all later ones. `interval_s` real seconds, 0.5 at least."""
        wanted = (level, max(MIN_INTERVAL_S, interval_s))
        if wanted == (self._level, self._interval_s):
            return
        self._level, self._interval_s = wanted
        if self._session is not None and self._session.hello is not None:
            self._session.subscribe(*wanted)
            self._watch(closely=self.status.state is not LinkState.LIVE)
            self._join()

    def retry(self) -> None:
        """Try again now; the only way on from `denied` and `key_changed`."""
        if self._way is not None:
            self._way.retry()
        self._wake.set()

    def hop_back(self, hop: str) -> None:
        """A shared hop works again: if it was what kept this link down, do not wait any longer."""
        if self.status.hop == hop and self.status.state is not LinkState.LIVE:
            self._wake.set()

    def data(self, data: bytes) -> None:
        """See `Receiver.data`."""
        session = self._session
        if session is None or self._failure is not None:
            return
        real = self._clock.real()
        try:
            frames = session.feed(data, self._clock.now(), real)
            if frames:
                self._hand_on(frames, real)
        except WireError as error:
            self._end(session.broken(error))
        except LinkError as error:
            self._end(error)
        except Exception as error:  # noqa: BLE001 - must not unwind into a transport; run() raises it
            self._end(error)
        self._flush()
        if session.ended is not None:
            self._end(session.ended)

    def lost(self, error: LinkError) -> None:
        """See `Receiver.lost`."""
        self._channel = None
        self._end(error)

    async def _attempt(self, way: Way) -> LinkError:
        """One session from opening to its end; returns why it ended."""
        self._failure = None
        self._greeted = 0.0
        self._stirred.clear()
        started = self._clock.real()
        deadline_s = self._schedule.deadline_s(started)
        try:
            await way.reach(deadline_s)
            self._session = Session(
                self.entry.name, self._schemas, self._wanted(), self._timing, operator=self._operator
            )
            async with self._gate.place():
                self._channel = await way.open(self, deadline_s)
                self._session.start(self._clock.now(), self._clock.real())
                self._flush()
                await self._greeting(self._session)
                self._greeted = self._clock.real()
                self._schedule.took_s = self._greeted - started
                self._join()
                while not self._session.synced:
                    await self._stir()
            while True:
                await self._stir()
        except LinkError as error:
            return error
        finally:
            self._let_go()

    async def _greeting(self, session: Session) -> None:
        try:
            async with asyncio.timeout(self._timing.hello_s):
                while session.hello is None:
                    await self._stir()
        except TimeoutError:
            raise session.silent() from None

    async def _stir(self) -> None:
        """Wait until something happened; raises what ended the session."""
        await self._stirred.wait()
        self._stirred.clear()
        if self._failure is not None:
            raise self._failure

    def _let_go(self) -> None:
        self._metronome.leave(self)
        if self._session is not None and self._session.hello is not None:
            self._position, self.offset = self._session.position, self._session.offset or self.offset
        self._session = None
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def beat(self, real: float) -> None:
        """Keep the lease and watch the silence; see `Metronome`."""
        if self._session is None or self._failure is not None:
            self._metronome.leave(self)
            return
        try:
            lease = self._session.tick(self._clock.now(), real)
            self._flush()
            self.due = real + min(lease, self._judge(real))
        except Exception as error:  # noqa: BLE001 - must not stop the metronome for all others; run() raises it
            self._end(error)

    def _join(self) -> None:
        """Do what is due, then leave it to the metronome."""
        self.beat(self._clock.real())
        if self._session is not None and self._failure is None:
            self._metronome.join(self)

    def _judge(self, real: float) -> float:
        """Stale or not; returns seconds until that may change."""
        limit = self._timing.stale_intervals * self._interval_s
        silent = real - self._heard
        if silent < limit:
            return limit - silent
        if self.status.state is LinkState.LIVE:
            name = self.entry.name
            self._watch(closely=True)
            self._set(
                LinkStatus(
                    LinkState.STALE,
                    f"{name}: the way is open, but nothing arrives",
                    "the agent may hang or starve; look at the host's load and at journalctl -u gpu-cockpit-agent",
                    name,
                )
            )
        if silent >= max(self._timing.silence_s, limit):
            self._end(LinkError(self.status.state, self.status.says, self.status.hint, self.status.hop))
        return max(self._timing.silence_s, limit) - silent

    def _watch(self, *, closely: bool) -> None:
        if self._way is not None:
            self._way.watch(closely or self._interval_s > _LONG_S)

    def _hand_on(self, frames: list[Frame], real: float) -> None:
        self._heard = real
        if self.status.state is not LinkState.LIVE:
            self._watch(closely=False)
            self._set(LinkStatus(LinkState.LIVE, hop=self.entry.name))
        if type(frames[0]) is Hello or type(frames[-1]) is Synced:
            self._stirred.set()
        self._sink.frames(self.host, frames)

    async def _rest(self, error: LinkError) -> None:
        """Publish why it ended and wait for the next attempt."""
        if isinstance(error, OtherPath):
            return
        self._wake.clear()
        self.failure = error
        state = LinkState(error.state)
        real = self._clock.real()
        if self._live_for(real) >= _HEALTHY_S:
            self._schedule.live()
        hopeless = state is LinkState.INCOMPATIBLE and self._greeted == 0.0
        pause = self._schedule.pause_s(real, rarely=hopeless)
        held = state in HELD
        shown = 0.0 if held or pause <= self._timing.fast_max_s else real + pause
        self._set(LinkStatus(state, str(error), error.hint, error.hop or self.entry.name, retry_at=shown))
        try:
            async with asyncio.timeout(None if held else pause):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _live_for(self, real: float) -> float:
        return real - self._greeted if self._greeted else 0.0

    def _wanted(self) -> Subscribe:
        return Subscribe(self._level, self._interval_s, since=self._position)

    def _flush(self) -> None:
        if self._session is not None and self._channel is not None and (data := self._session.take()):
            self._channel.write(data)

    def _end(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
        self._stirred.set()

    def _set(self, status: LinkStatus) -> None:
        """Publish a status; `since` is kept while the state stays the same."""
        old = self.status
        since = old.since if old.state is status.state and old.since else self._clock.real()
        new = LinkStatus(status.state, status.says, status.hint, status.hop, since, status.retry_at)
        if new != old:
            self.status = new
            self._sink.changed(self.host, new)
