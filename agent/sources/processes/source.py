"""The table of GPU processes, sent only when a viewer would see a difference.

Membership, identity and state are news at once; memory only every few seconds and only when it moved noticeably, for it
travels as a signal of the GPU anyway.
"""

import os
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from agent.clock import Clock, Instant
from agent.sources.base import RawEvent, Reading, Reason
from agent.sources.processes.known import Known, meet
from agent.sources.processes.lane import Lane
from agent.sources.processes.person import Users
from agent.sources.processes.table import GpuPids, Row, moved, table
from agent.wire.signals import Cadence, SignalSpec

KEPT = 512  # descriptors; processes beyond them are looked at anew, every few seconds
SLOW_S = 0.5  # how long one reading waits for command lines and names
DEPARTED = 256  # rows remembered after their process left the list, to tell what ran on a GPU that died
GHOST_AFTER_S = 15.0  # the driver's list is read every 10 s: so long it may name a process that has ended


class ProcessSource:
    """Source `processes`: facts alone. `gpu_pids` tells {pid: {GPU UUID: bytes or None}} as the driver last listed it.

    A listed pid without a process is `exited` for `ghost_after_s` and a `ghost` from then on; on a GPU of `silent`,
    which no longer answers and whose list is old, it is then simply gone. `read_now` is `read` for those who have no
    event loop.
    """

    name = "processes"
    signals: tuple[SignalSpec, ...] = ()

    def __init__(
        self,
        clock: Clock,
        gpu_pids: Callable[[], GpuPids],
        *,
        silent: Callable[[], Collection[str]] = frozenset,
        proc: str = "/proc",
        etc: str = "/etc",
        ghost_after_s: float = GHOST_AFTER_S,
    ) -> None:
        self._clock = clock
        self._gpu_pids = gpu_pids
        self._silent = silent
        self._proc = proc
        self._ghost_after_s = ghost_after_s
        self._lane = Lane()
        self._users = Users(self._lane, Path(etc, "passwd"))
        self._known: dict[int, Known] = {}
        self._gpus: GpuPids = {}
        self._kept = 0
        self._published: GpuPids | None = None
        self._rows: dict[int, Row] = {}
        self._departed: dict[int, Row] = {}
        self._told: tuple[Reason, ...] | None = None

    async def read(self, due: frozenset[Cadence]) -> Reading:
        """The table if it changed. Waits at most `SLOW_S` for what may hang, and goes on without it."""
        changed = self._look(due)
        if self._ask():
            changed |= self._collect(give_up=not await self._answered())
        return self._reading(due, changed=changed)

    def read_now(self, due: frozenset[Cadence]) -> Reading:
        """The same without an event loop."""
        changed = self._look(due)
        if self._ask():
            barrier = self._lane.ask(_nothing)
            changed |= self._collect(give_up=barrier is None or not barrier.wait(SLOW_S))
        return self._reading(due, changed=changed)

    def row(self, pid: int) -> Row | None:
        """What is known of a process, also a while after it has left the list."""
        return self._rows.get(pid) or self._departed.get(pid)

    async def watch(self) -> AsyncIterator[RawEvent]:
        """Processes push nothing."""
        none: tuple[RawEvent, ...] = ()
        for event in none:
            yield event

    async def close(self) -> None:
        """Let go of every descriptor; a thread that is stuck is left behind."""
        for known in self._known.values():
            self._forget(known)
        self._known.clear()
        self._lane.close()

    async def _answered(self) -> bool:
        import asyncio

        answered = asyncio.Event()
        loop = asyncio.get_running_loop()

        def tell() -> None:
            loop.call_soon_threadsafe(answered.set)

        if self._lane.ask(_nothing, tell) is None:
            return False
        try:
            async with asyncio.timeout(SLOW_S):
                await answered.wait()
        except TimeoutError:
            return False
        return True

    def _look(self, due: frozenset[Cadence]) -> bool:
        """One look at every listed process; whether there is news."""
        gpus = self._gpu_pids()
        listed_anew = gpus is not self._gpus and gpus != self._gpus
        self._gpus = gpus
        now = self._clock.now()
        changed = False
        if listed_anew:
            for pid in [pid for pid in self._known if pid not in gpus]:
                self._forget(self._known.pop(pid))
                changed = True
        for pid in gpus:
            known = self._known.get(pid)
            if known is None or (known.missing_since is not None and listed_anew and self._exists(pid)):
                changed |= self._meet(pid, now, known)
            elif known.fd >= 0:
                changed |= self._check(known, now)
            elif known.missing_since is not None:
                changed |= self._is_ghost_now(known, now)
            elif Cadence.MEDIUM in due and known.state != "hidden":
                changed |= self._meet(pid, now, known)
        return changed

    def _meet(self, pid: int, now: Instant, before: Known | None) -> bool:
        try:
            known = meet(self._proc, pid, now.wall, self._uptime())
        except PermissionError:
            known = Known(pid, state="hidden", denied=("user", "command"))
        except (OSError, ValueError):
            return self._is_missing(before or Known(pid), now)
        if before is not None and before.is_same(known):
            known.release()
            news, before.state = before.state != known.state, known.state
            return news
        if before is not None:
            self._forget(before)
        if self._kept >= KEPT:
            known.unkeep()
        elif known.fd >= 0:
            self._kept += 1
        self._known[pid] = known
        return True

    def _check(self, known: Known, now: Instant) -> bool:
        try:
            return known.check()
        except OSError:
            known.release()
            self._kept -= 1
            return self._is_missing(known, now)

    def _is_missing(self, known: Known, now: Instant) -> bool:
        """The driver lists it and the system does not know it, or hides it."""
        self._known[known.pid] = known
        if self._hides(known.pid):
            known.state, known.denied = "hidden", ("user", "command")
            return True
        if known.missing_since is None:
            known.missing_since = now.mono
            known.state = "exited"
            self._is_ghost_now(known, now)
            return True
        return self._is_ghost_now(known, now)

    def _is_ghost_now(self, known: Known, now: Instant) -> bool:
        since = known.missing_since if known.missing_since is not None else now.mono
        if known.state in ("ghost", "gone") or now.mono - since < self._ghost_after_s:
            return False
        silent = self._silent()
        known.state = "gone" if all(uuid in silent for uuid in self._gpus.get(known.pid, ())) else "ghost"
        return True

    def _hides(self, pid: int) -> bool:
        """Whether the pid exists although /proc does not show it (hidepid)."""
        if self._proc != "/proc":
            return False
        try:
            os.kill(pid, 0)
        except PermissionError:
            return True
        except (OSError, OverflowError):
            return False
        return False

    def _exists(self, pid: int) -> bool:
        return Path(self._proc, str(pid)).exists()

    def _uptime(self) -> float:
        return float(Path(self._proc, "uptime").read_bytes().split(b" ", 1)[0])

    def _forget(self, known: Known) -> None:
        if known.fd >= 0:
            self._kept -= 1
        known.release()

    def _ask(self) -> bool:
        """Put the open questions; whether there were any."""
        asked = False
        for known in self._known.values():
            if known.question is not None and known.answer is None:
                known.answer = self._lane.ask(known.question)
                asked = True
            asked |= known.hangs and known.answer is not None and known.answer.done
            if known.uid is not None:
                asked |= self._users.look_up(known.uid)
        return asked

    def _collect(self, *, give_up: bool) -> bool:
        news = self._users.collect(give_up=give_up)
        for known in self._known.values():
            answer = known.answer
            if answer is None:
                continue
            if answer.done:
                known.hangs = False
                known.learn(*(([], "") if answer.failed else answer.value))
                news = True
            elif not give_up or known.hangs:
                continue
            elif self._lane.give_up(answer):
                known.hangs = news = True
            else:
                known.answer = None  # its turn had not come: asked again at the next reading
        return news

    def _reading(self, due: frozenset[Cadence], *, changed: bool) -> Reading:
        published = self._published
        if published is not None and Cadence.MEDIUM in due:
            changed = changed or moved(published, self._gpus)
        facts: Mapping[str, Any] = {}
        if changed or published is None:
            self._published = {pid: dict(gpus) for pid, gpus in self._gpus.items()}
            rows, left_out = table(self._known.values(), self._gpus, self._users.name)
            facts = {"processes": rows, "processes_left_out": left_out}
            self._remember(rows)
        reasons = self._reasons()
        told, self._told = self._told, reasons
        return Reading(facts=facts, reasons=None if told == reasons else reasons)

    def _remember(self, rows: list[Row]) -> None:
        now = {int(row["pid"]): row for row in rows}
        for pid, row in self._rows.items():
            if pid not in now:
                self._departed.pop(pid, None)
                self._departed[pid] = row
        while len(self._departed) > DEPARTED:
            del self._departed[next(iter(self._departed))]
        self._rows = now

    def _reasons(self) -> tuple[Reason, ...]:
        by_state: dict[str, list[int]] = {}
        for known in self._known.values():
            by_state.setdefault("hangs" if known.hangs else known.state, []).append(known.pid)
        return tuple(
            Reason("processes", code, f"{_pids(by_state[state])} {says}", hint)
            for state, code, says, hint in _REASONS
            if state in by_state
        )


_REASONS = (
    (
        "ghost",
        "process_ghost",
        "on the driver's list of GPU processes, but not among this host's processes",
        "its GPU memory may be held by nobody; or it runs in another pid namespace: run the agent in the host's own",
    ),
    (
        "hidden",
        "process_hidden",
        "hidden from this user by /proc's hidepid option",
        "mount /proc with gid= of a group that the agent is in, or with hidepid=0",
    ),
    (
        "hangs",
        "process_hangs",
        "did not let its command line be read: its memory is locked, as beside a hung driver",
        "look for processes in state D",
    ),
)


def _pids(pids: list[int]) -> str:
    """`pid 7 is`, `pids 7, 8 and 12 more are`."""
    shown = ", ".join(str(pid) for pid in sorted(pids)[:4])
    more = f" and {len(pids) - 4} more" if len(pids) > 4 else ""
    return f"pid {shown} is" if len(pids) == 1 else f"pids {shown}{more} are"


def _nothing() -> None:
    """Asked last, it is answered when all before it are."""
