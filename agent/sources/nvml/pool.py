"""Which worker reads which GPU, and when one is given up. Never waits: it is told the time and says when to come back.

At most two workers are alive, and a killed one counts until the kernel gives it back. The main worker reads the healthy
GPUs. The side worker reads suspects: GPUs on which a read stalled. So one sick GPU costs the others one second:

    stalled 1 s    the main worker becomes the side worker, a new main worker reads the others
    silent 2 s     the read failed: the suspect times out, its worker is killed, probes follow with back-off
    10 good reads  the suspect returns to the main worker, the side worker ends
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum

from agent.sources.nvml import channel, codes
from agent.sources.nvml.channel import ChannelError, Message
from agent.sources.nvml.departures import Departures
from agent.sources.nvml.ports import Answer, Sink, WorkerHandle
from agent.sources.nvml.suspects import BACK_OFF_S, STALL_S, Suspects

DEADLINE_S = 2.0
INIT_DEADLINE_S = 30.0  # without persistence mode the driver initialises each GPU first: seconds on a healthy host
MAX_WORKERS = 2


class Phase(Enum):
    """What a worker is doing."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"


@dataclass(slots=True, eq=False)
class Lane:
    """A live worker and the request it is on."""

    worker: WorkerHandle
    since: float
    phase: Phase = Phase.STARTING
    progress: float = 0.0
    pending: deque[int] = field(default_factory=deque)
    cadences: frozenset[int] = frozenset()
    reported: bool = False  # that it does not start


class Pool:
    """The two lanes. Drive it with `request` and `step`; watch `bells`; come back at `wake_at`."""

    def __init__(self, spawn: Callable[[], WorkerHandle], sink: Sink) -> None:
        self._spawn = spawn
        self._sink = sink
        self._main: Lane | None = None
        self._side: Lane | None = None
        self._leaving = Departures()
        self._suspects = Suspects()
        self._owed: frozenset[int] = frozenset()
        self._side_owed: frozenset[int] = frozenset()
        self._count = 0
        self._seq = 0
        self._failures = 0
        self._spawn_at = 0.0
        self._open = True

    # -- what the driver of this pool needs

    def request(self, cadences: Iterable[int], now: float) -> None:
        """These classes are due. What a busy worker cannot take now is owed and read later."""
        due = frozenset(cadences)
        self._owed |= due
        self._side_owed |= due
        self.step(now)

    def bells(self) -> list[int]:
        """Descriptors that become readable when `step` has something to do."""
        return [lane.worker.bell for lane in (self._main, self._side) if lane is not None]

    @property
    def workers(self) -> int:
        """Processes alive, the killed ones that linger in the driver included."""
        return len(self._leaving) + (self._main is not None) + (self._side is not None)

    @property
    def stuck(self) -> list[int]:
        """Process ids of killed workers that the kernel has not given back."""
        return self._leaving.stuck

    @property
    def suspects(self) -> frozenset[int]:
        """GPUs that the main worker leaves out."""
        return self._suspects.indexes

    @property
    def settled(self) -> bool:
        """Nothing more will come of the last request, unless a suspect answers."""
        if not self._open:
            return True
        if self._main is None:
            return self._failures > 0 or len(self.stuck) >= MAX_WORKERS
        return self._main.phase is Phase.IDLE and not self._owed

    @property
    def probing(self) -> bool:
        """A suspect may still answer."""
        return self._side is not None and self._side.phase is not Phase.IDLE

    def step(self, now: float) -> None:
        """Take in what was said, give up what is overdue, start and ask what is free."""
        self._listen(now)
        self._leaving.reap(now)
        self._check_main(now)
        self._check_side(now)
        self._start(now)
        self._ask_main(now)
        self._ask_side(now)

    def wake_at(self, now: float) -> float | None:
        """When `step` has to be called next although no bell rings; None: not before the next request."""
        times: list[float] = []
        for lane in (self._main, self._side):
            if lane is not None:
                times += self._lane_wakes(lane)
        times += self._leaving.wakes(now)
        if self._open and self._main is None and self._room():
            times.append(self._spawn_at)
        return min(times, default=None)

    def close(self, now: float) -> None:
        """Ask all workers to end; go on calling `step` until `workers` is 0 or patience ends."""
        self._open = False
        for lane in (self._main, self._side):
            if lane is not None:
                self._leave(lane, now, kill=lane.phase is Phase.BUSY)
        self._main = self._side = None
        self._suspects.clear()
        self._owed = self._side_owed = frozenset()

    def abandon(self) -> None:
        """Kill whatever is left and wait for nothing."""
        self._leaving.kill()

    def reopen(self, now: float) -> None:
        """Start again after `close`."""
        self._open = True
        self._failures = 0
        self._spawn_at = now

    # -- listening

    def _listen(self, now: float) -> None:
        for lane in (self._main, self._side):
            if lane is not None:
                self._drain(lane, now)

    def _drain(self, lane: Lane, now: float) -> None:
        """Take in everything a worker has said; end it if it ended or talks nonsense."""
        try:
            rings, ended = lane.worker.rings()
            for message in lane.worker.replies():
                self._take_reply(lane, message)
            for message in rings:
                self._take_ring(lane, message, now)
        except (ChannelError, ValueError, TypeError, IndexError) as error:
            self._broken(lane, now, f"its worker talks nonsense ({error})")
            return
        if ended and lane in (self._main, self._side):
            self._broken(lane, now, "its worker ended unexpectedly")

    def _take_reply(self, lane: Lane, message: Message) -> None:
        """A reply to the request at hand. Raises ValueError for what no worker says."""
        kind, index, at, *rest = message
        lane.progress = max(lane.progress, at)
        if kind == channel.VALUES:
            latency, cadence, values, bad, pids, needs_reset, last = rest
            self._sink.values(index, Answer(at, latency, cadence, values, bad, pids, needs_reset))
            if last:
                self._read_whole(lane, index)
                self._suspects.answered(index, latency)
        elif kind == channel.LOST:
            code, text = rest
            self._read_whole(lane, index)
            self._suspects.drop(index)
            self._sink.lost(index, code, text)
        elif kind == channel.OPENED:
            self._sink.opened(index, rest[0])
        else:
            raise ValueError(f"reply of kind {kind}")

    @staticmethod
    def _read_whole(lane: Lane, index: int) -> None:
        """Nothing more is to come of this GPU, nor of those before it."""
        if index in lane.pending:
            while lane.pending.popleft() != index:
                pass

    def _take_ring(self, lane: Lane, message: Message, now: float) -> None:
        """A word on the bell. Raises ValueError for what no worker says."""
        kind = message[0]
        if kind == channel.HELLO:
            _, driver, library, count = message
            lane.phase = Phase.IDLE
            if lane is self._main:
                self._count = int(count)
                self._sink.hello(str(driver), str(library), self._count)
        elif kind == channel.DONE:
            self._done(lane, message[2])
        elif kind == channel.EVENT:
            index = int(message[1])
            if lane is self._main or index in self._suspects:
                self._sink.event(index, int(message[2]), int(message[3]), (int(message[4]), int(message[5])))
        elif kind == channel.FAILED:
            self._driver_failed(lane, int(message[1]), str(message[2]), now)
        else:
            raise ValueError(f"ring of kind {kind}")

    def _done(self, lane: Lane, count: int | None) -> None:
        """A request is answered."""
        lane.phase = Phase.IDLE
        lane.pending.clear()
        if lane is not self._main:
            return
        self._failures = 0
        if count is not None:
            self._count = int(count)
        self._sink.swept(self._count, self.suspects)

    # -- giving up

    def _driver_failed(self, lane: Lane, code: int, text: str, now: float) -> None:
        """The session is over, in good order."""
        self._leave(lane, now, kill=False)
        if lane is self._side:
            self._side = None
            return
        self._lose_main(lane)
        self._suspects.clear()
        self._back_off(now)
        self._sink.failed(code, text)

    def _broken(self, lane: Lane, now: float, says: str) -> None:
        """A worker died or lies. The GPU that it was on is suspected of it, so that it does not take the next one."""
        culprit = lane.pending[0] if lane.phase is Phase.BUSY and lane.pending else None
        if lane is self._side:
            if culprit is not None:
                self._fail_read(lane, now)
                return
            self._side = None
        else:
            self._lose_main(lane)
            self._back_off(now)
            if culprit is None:
                self._sink.failed(codes.WORKER_DIED, says)
            else:
                self._suspects.add(culprit)
        self._leave(lane, now, kill=True)

    def _lose_main(self, lane: Lane) -> None:
        """There is no main worker now; what it was asked for is owed again."""
        self._main = None
        if lane.phase is Phase.BUSY:
            self._owed |= lane.cadences

    def _back_off(self, now: float) -> None:
        self._spawn_at = now + BACK_OFF_S[min(self._failures, len(BACK_OFF_S) - 1)]
        self._failures += 1

    def _leave(self, lane: Lane, now: float, *, kill: bool) -> None:
        """Let a worker go; it counts until it is gone."""
        self._leaving.add(lane.worker, now, kill=kill)

    def _fail_read(self, lane: Lane, now: float) -> None:
        """The read that a worker is on has failed by deadline: its GPU times out, the worker is given up."""
        index = lane.pending[0]
        self._suspects.failed(index, now)
        self._sink.timed_out(index)
        self._leave(lane, now, kill=True)
        if lane is self._side:
            self._side = None
        else:
            self._lose_main(lane)
            self._spawn_at = now

    # -- deadlines

    def _check_main(self, now: float) -> None:
        lane = self._main
        if lane is None:
            return
        if lane.phase is Phase.STARTING:
            self._check_start(lane, now)
        elif lane.phase is Phase.BUSY:
            silent = now - lane.progress
            if silent >= DEADLINE_S:
                self._overdue(lane, now)
            elif silent >= STALL_S and lane.pending and self._side is None and self._room():
                self._set_aside(lane)

    def _overdue(self, lane: Lane, now: float) -> None:
        """A request has failed by deadline: on a GPU, or on the driver as a whole."""
        if lane.pending:
            self._fail_read(lane, now)
            return
        self._leave(lane, now, kill=True)
        if lane is self._side:
            self._side = None
        else:
            self._lose_main(lane)
            self._back_off(now)
            self._sink.silent()

    def _check_start(self, lane: Lane, now: float) -> None:
        """A worker that is still initialising NVML."""
        waited = now - lane.since
        if waited >= DEADLINE_S and not lane.reported:
            lane.reported = True
            self._sink.silent()
        if waited >= INIT_DEADLINE_S:
            self._leave(lane, now, kill=True)
            self._main = None
            self._back_off(now)

    def _set_aside(self, lane: Lane) -> None:
        """The main worker stalls on one GPU: a new one shall read the others, this one stays with the suspect."""
        index = lane.pending[0]
        self._suspects.add(index)
        lane.pending = deque([index])
        lane.worker.send([channel.DROP])
        self._lose_main(lane)
        self._side = lane

    def _check_side(self, now: float) -> None:
        lane = self._side
        if lane is None:
            return
        if lane.phase is Phase.BUSY and now - lane.progress >= DEADLINE_S:
            self._overdue(lane, now)
        elif lane.phase is Phase.STARTING and now - lane.since >= INIT_DEADLINE_S:
            self._leave(lane, now, kill=True)
            self._side = None
            self._suspects.put_off(now)
        elif lane.phase is Phase.IDLE and not self._suspects:
            self._leave(lane, now, kill=False)
            self._side = None

    # -- starting and asking

    def _room(self) -> bool:
        return self.workers < MAX_WORKERS

    def _start(self, now: float) -> None:
        if not self._open:
            return
        if self._main is None:
            if self._room() and now >= self._spawn_at:
                self._main = self._spawned(now)
        elif self._side is None and self._main.phase is not Phase.STARTING and self._room() and self._suspects.due(now):
            self._side = self._spawned(now)

    def _spawned(self, now: float) -> Lane | None:
        try:
            return Lane(self._spawn(), now, progress=now)
        except OSError as error:
            self._back_off(now)
            self._sink.failed(codes.WORKER_DIED, f"its worker cannot be started ({error.strerror})")
            return None

    def _ask_main(self, now: float) -> None:
        lane = self._main
        if lane is None or lane.phase is not Phase.IDLE or not self._owed:
            return
        cadences, self._owed = self._owed, frozenset()
        self._sink.asked(cadences)
        self._ask(lane, cadences, [index for index in range(self._count) if index not in self._suspects], now)

    def _ask_side(self, now: float) -> None:
        lane = self._side
        if lane is None or lane.phase is not Phase.IDLE or not self._side_owed:
            return
        if indexes := self._suspects.due(now):
            cadences, self._side_owed = self._side_owed, frozenset()
            self._ask(lane, cadences, indexes, now)

    def _ask(self, lane: Lane, cadences: frozenset[int], indexes: list[int], now: float) -> None:
        self._seq += 1
        lane.cadences = cadences
        lane.pending = deque(indexes)
        lane.phase = Phase.BUSY
        lane.progress = now
        lane.worker.send([channel.READ, self._seq, sorted(cadences), indexes])

    def _lane_wakes(self, lane: Lane) -> list[float]:
        """When a worker has to be looked at."""
        if lane.phase is Phase.STARTING:
            return [lane.since + (INIT_DEADLINE_S if lane.reported or lane is self._side else DEADLINE_S)]
        if lane.phase is Phase.BUSY:
            stall = lane is self._main and self._side is None and self._room()
            return [lane.progress + (STALL_S if stall else DEADLINE_S)]
        return []
