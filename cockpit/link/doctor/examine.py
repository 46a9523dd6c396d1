"""One look at every host through its own link, and what it met as a report.

What a failed attempt met is written down when it fails: the next attempt leaves a trail of its own. The last failure
counts, unless the host has become live.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from agent.wire.frames import Frame
from cockpit.clock import Clock, Instant
from cockpit.errors import LinkError
from cockpit.fleet.link_state import LinkStatus
from cockpit.fleet.records import HostRecord
from cockpit.inventory import Inventory, SshTarget, UnixTarget
from cockpit.link.clocks import Offset
from cockpit.link.doctor import agent_side
from cockpit.link.doctor.agent_side import CLOCK_WARNS_S, Machine
from cockpit.link.doctor.hops import Sshd, onward, steps
from cockpit.link.doctor.names import Name, is_address, look_up
from cockpit.link.doctor.report import AGENT_STEPS, HOP_STEPS, Report, State, Step, label, skipped
from cockpit.link.link import Link, LinkSink
from cockpit.link.ssh.trail import Trail, Trails
from cockpit.link.ssh_config.remarks import remarks

_MANY = 3  # hosts whose clocks agree with each other and not with ours: then ours is wrong
_LOOK_S = 0.02
_NAME_SHARE = 0.5  # of the time that there is, for looking up names


Factory = Callable[[Inventory, Any, Clock], Sequence[Any]]  # of links, as the runtime wants them


@dataclass(frozen=True, slots=True)
class _Met:
    """What a host's link met: the way it went, the trail of every hop on it, and why it failed, if it did."""

    target: SshTarget
    trails: tuple[Trail, ...]
    error: LinkError | None
    path: str


class Examination:
    """Listens to links while they work; `reports` says what they met. `trails` are for whoever makes the links;
    `program` logs in for us, bastions included, and leaves none."""

    def __init__(self, inventory: Inventory, clock: Clock, program: str = "") -> None:
        self._inventory = inventory
        self._program = program
        self._clock = clock
        self.trails = Trails(clock)
        self._links: Sequence[Link] = ()
        self._failed: dict[int, tuple[LinkError, _Met | None]] = {}
        self._offsets: dict[int, Offset] = {}
        self._names: dict[str, Name] = {}

    def watching(self, factory: Factory) -> Factory:
        """The links that this factory makes, listened to."""

        def links(inventory: Inventory, sink: LinkSink, clock: Clock) -> Sequence[Any]:
            self._links = factory(inventory, _Listening(self, sink), clock)
            return self._links

        return links

    async def look_up_names(self, deadline_s: float) -> None:
        """Find out where this machine knows its first hops from."""
        targets = [entry.target for entry in self._inventory.hosts if isinstance(entry.target, SshTarget)]
        first = [(*target.jumps, target.hop)[0].host for target in targets]
        names = [name for name in first if not is_address(name)]
        self._names = await look_up(names, self._clock, deadline_s * _NAME_SHARE)

    async def clocks_measured(self, records: Sequence[HostRecord], deadline_s: float) -> None:
        """Wait until every live host has answered its first ping, `deadline_s` real seconds at most."""
        until = self._clock.real() + deadline_s
        while self._clock.real() < until:
            if all(record.number in self._offsets for record in records if record.live):
                return
            await self._clock.sleep(_LOOK_S)

    def failed(self, host: int) -> None:
        """A link has changed: if it failed, what it met now is what it failed of."""
        link = self._links[host] if host < len(self._links) else None
        if link is not None and link.failure is not None:
            self._failed[host] = (link.failure, self._met(link, link.failure))

    def measured(self, host: int, offset: Offset) -> None:
        """A host's clock was compared with ours."""
        self._offsets[host] = offset

    def reports(self, records: Sequence[HostRecord], now: Instant, waited_s: float) -> list[Report]:
        """One report per host, in their order, as of `now`."""
        for link in self._links:
            if link.offset is not None:
                self._offsets[link.host] = link.offset
        return [self._report(link, records[link.host], now, waited_s) for link in self._links]

    def _report(self, link: Link, record: HostRecord, now: Instant, waited_s: float) -> Report:
        entry = link.entry
        error, met = self._failed.get(link.host, (None, None))
        waiting = f"not known after {waited_s:.2g} s: give it more time with --timeout"
        if record.live:
            error, met = None, self._met(link, None)
        met = met or self._met(link, error)
        if isinstance(entry.target, UnixTarget):
            machine = Machine(entry.name, "this machine", entry.target.path, "")
            before = skipped(HOP_STEPS, entry.name, agent_side.HERE)
        else:
            assert met is not None
            machine = Machine(entry.name, entry.name, met.target.socket, met.target.user, met.path or "unproved")
            before = self._hops(met, error, waiting, live=record.live)
        behind = self._behind(machine, record, error, before, waiting)
        return Report(
            entry.name,
            str(entry.target),
            (*before, *behind),
            tuple(jump.title for jump in met.target.jumps) if met else (),
            remarks=remarks(met.target) if met else (),
            id=record.host_id,
            age_s=now.mono - record.last_frame if math.isfinite(record.last_frame) else None,
            undecided=not record.live and error is None,
        )

    def _hops(self, met: _Met, error: LinkError | None, waiting: str, *, live: bool) -> tuple[Step, ...]:
        sshds = self._sshds(met, error, live=live)
        found: list[Step] = []
        stopped = ""
        for number, sshd in enumerate(sshds):
            last = number == len(sshds) - 1
            if stopped:
                found += skipped(HOP_STEPS if last else (*HOP_STEPS, "forward"), sshd.title, stopped)
                continue
            found += steps(sshd, error, waiting)
            if not last:
                found.append(onward(sshd, sshds[number + 1], error))
            if found[-1].state is not State.OK or not sshd.inside:
                wrong = next((step for step in found if step.state is State.BROKEN), None)
                stopped = f"{label(wrong.step)} at {wrong.hop} is broken" if wrong else waiting
        return tuple(found)

    def _sshds(self, met: _Met, error: LinkError | None, *, live: bool) -> list[Sshd]:
        chain = (*met.target.jumps, met.target.hop)
        through = live or (error is not None and error.step in AGENT_STEPS)
        found = []
        for number, (hop, trail) in enumerate(zip(chain, met.trails, strict=True)):
            inside = bool(trail.admitted) or (bool(self._program) and through)
            known = self._names.get(hop.host) if number == 0 else None
            found.append(Sshd(hop, chain[:number], trail, inside, known, self._program))
        return found

    def _behind(
        self, machine: Machine, record: HostRecord, error: LinkError | None, before: Sequence[Step], waiting: str
    ) -> tuple[Step, ...]:
        if record.live:
            offset = self._offsets.get(record.number)
            return agent_side.live(machine, record, offset, self._ours_is_off())
        wrong = next((step for step in before if step.state is State.BROKEN), None)
        if wrong is not None:
            at = label(wrong.step) + ("" if wrong.hop == machine.name else f" at {wrong.hop}")
            return skipped(AGENT_STEPS, machine.name, f"{at} is broken")
        if error is None:
            return skipped(AGENT_STEPS, machine.name, waiting)
        return agent_side.failed(machine, error)

    def _ours_is_off(self) -> bool:
        """Whether several hosts agree with each other about the time, and not with us."""
        seconds = [offset.seconds for offset in self._offsets.values()]
        if len(seconds) < _MANY:
            return False
        middle = median(seconds)
        return abs(middle) > CLOCK_WARNS_S and all(
            abs(each - middle) <= max(CLOCK_WARNS_S, abs(middle) / 10) for each in seconds
        )

    def _met(self, link: Link, error: LinkError | None) -> _Met | None:
        target = link.entry.target
        if not isinstance(target, SshTarget):
            return None
        target = self.trails.went(link.host, target)
        if self._program:
            target = SshTarget(target.hop, (), target.socket)
        chain = (*target.jumps, target.hop)
        trails = tuple(self.trails.of(chain[: end + 1]) for end in range(len(chain)))
        return _Met(target, trails, error, link.path)


class _Listening:
    """A sink that hands everything on and lets the examination look first."""

    def __init__(self, examination: Examination, sink: LinkSink) -> None:
        self._examination = examination
        self._sink = sink

    def frames(self, host: int, frames: list[Frame]) -> None:
        self._sink.frames(host, frames)

    def changed(self, host: int, status: LinkStatus) -> None:
        self._examination.failed(host)
        self._sink.changed(host, status)

    def measured(self, host: int, offset: Offset) -> None:
        self._examination.measured(host, offset)
        self._sink.measured(host, offset)


def exit_status(reports: Iterable[Report]) -> int:
    """0 all well (warnings included), 1 something is broken, 3 nothing broken was seen but not everything is known."""
    found = list(reports)
    if any(report.state is State.BROKEN for report in found):
        return 1
    return 3 if any(report.undecided for report in found) else 0
