"""Source `balancer`: the servers behind the HAProxys of this host, section `backends`.

A balancer that was heard and is silent now keeps its servers, as `unknown`: what nobody can see is not well. One that
nobody named and that never answered is not missed.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from agent.clock import Clock
from agent.config.balancing import Balancer
from agent.sources.balancer import haproxy
from agent.sources.balancer.stats_socket import BYTES, TooMuch, ask
from agent.sources.base import RawEvent, Reading, Reason
from agent.wire.replicas import BackendFacts
from agent.wire.shape import pack
from agent.wire.signals import Cadence, SignalSpec

SECTION = "backends"
USUAL = (Path("/run/haproxy/stats.sock"), Path("/run/haproxy/admin.sock"))  # the second is Debian's default
CLOSELY_S = 60.0  # after somebody acted on a balancer it is read at every tick: whoever drains waits for its numbers
DEADLINE_S = 2.0  # for all that one balancer is asked in one reading; its answers take milliseconds
SETTLED_S = 2.5  # times of change come in whole seconds: what moves by less is the same moment
UNPRIVILEGED = "stats socket /run/haproxy/stats.sock group gpu-cockpit mode 660 level user"
FIX = f"add to HAProxy's section `global`: {UNPRIVILEGED}"


Ask = Callable[[Path, str], Awaitable[str]]  # as `stats_socket.ask`


@dataclass(slots=True)
class _Known:
    """One balancer: what it last said, and the servers that it has."""

    path: Path
    name: str
    named: bool  # by the configuration: then it is missed also if it never answered
    found: tuple[BackendFacts, ...] = ()
    heard: bool = False
    trouble: Reason | None = None


class BalancerSource:
    """`balancers` are the configured ones. The first of the `usual` places where a socket is is read too, unless the
    configuration names one of them. `ask` asks a socket."""

    name = "balancer"
    signals: tuple[SignalSpec, ...] = ()

    def __init__(
        self, clock: Clock, balancers: tuple[Balancer, ...] = (), usual: tuple[Path, ...] = USUAL, ask: Ask = ask
    ) -> None:
        self._clock = clock
        self._ask_at = ask
        self._known = [_Known(one.socket, one.name or haproxy.KIND, named=True) for one in balancers]
        named = {one.socket for one in balancers}
        # A site that names one of the usual places means that HAProxy: the other place is another door to it.
        self._usual = [] if named & set(usual) else [_Known(path, haproxy.KIND, named=False) for path in usual]
        self._told: list[object] | None = None
        self._reasons: tuple[Reason, ...] | None = None
        self._closely = 0.0  # until when, in real seconds
        self._began = clock.real()

    def poke(self, section: str) -> None:
        """Somebody has just changed what this section says."""
        if section == SECTION:
            self._closely = self._clock.real() + CLOSELY_S

    async def read(self, due: frozenset[Cadence]) -> Reading:
        """What is due; each balancer has a deadline of its own, so that none waits for another."""
        if Cadence.MEDIUM not in due and self._clock.real() >= self._closely and not self._waited_for:
            return Reading()
        usual = self._door()
        known = [*self._known, *([usual] if usual else [])]
        if known:
            await asyncio.gather(*(self._read(one) for one in known))
        if usual and not usual.heard and usual.trouble and usual.trouble.code != "balancer_denied":
            usual.trouble = None
        facts = [pack(one) for known_one in known for one in known_one.found]
        reasons = tuple(one.trouble for one in known if one.trouble is not None)
        is_known = all(one.heard or one.trouble is None for one in known)
        return Reading(facts=self._changed(facts, is_known), reasons=self._changed_reasons(reasons))

    async def watch(self) -> AsyncIterator[RawEvent]:
        """Nothing pushes here."""
        return
        yield

    async def close(self) -> None:
        """Nothing is kept open."""

    def _door(self) -> _Known | None:
        """Which of the usual places to knock at: the one that was heard, else the first that is there."""
        heard = next((one for one in self._usual if one.heard), None)
        return heard or next((one for one in self._usual if _is_there(one.path)), None)

    async def _read(self, known: _Known) -> None:
        try:
            async with asyncio.timeout(DEADLINE_S):
                found = await self._ask(known)
        except (OSError, TooMuch, TimeoutError, haproxy.Odd) as error:
            known.trouble = _trouble(known, error)
            known.found = tuple(_silent(one, known.trouble) for one in known.found)
        else:
            known.found, known.heard, known.trouble = _settled(known.found, found), True, None
            if len(found) >= haproxy.SERVERS:
                says = f"HAProxy at {known.path} has more servers than the first {haproxy.SERVERS} that are shown"
                known.trouble = Reason(self.name, "balancer_large", says)

    async def _ask(self, known: _Known) -> tuple[BackendFacts, ...]:
        if not known.heard:
            info = await self._ask_at(known.path, haproxy.INFO)
            if not haproxy.is_haproxy(info):
                raise haproxy.Odd(f"it said {info[:80]!r}")
        stat = await self._ask_at(known.path, haproxy.STAT)
        state = await self._ask_at(known.path, haproxy.STATE)
        return haproxy.backends(known.name, stat, state, self._clock.wall())

    @property
    def _waited_for(self) -> bool:
        """Whether somebody named a balancer that has not been heard yet, and it is early: it may start just now."""
        early = self._clock.real() - self._began < CLOSELY_S
        return early and any(not one.heard for one in self._known)

    def _changed(self, facts: list[object], is_known: bool) -> dict[str, object]:
        """The section if it is news. There is none until it is known which servers there are, be it none at all."""
        if facts == self._told or (self._told is None and not is_known and not facts):
            return {}
        self._told = facts
        return {SECTION: facts}

    def _changed_reasons(self, reasons: tuple[Reason, ...]) -> tuple[Reason, ...] | None:
        if reasons == self._reasons:
            return None
        self._reasons = reasons
        return reasons


def _is_there(path: Path) -> bool:
    try:
        return path.is_socket()
    except PermissionError:
        return True  # behind a folder that is closed to us: asking says so
    except OSError:
        return False


def _silent(one: BackendFacts, why: Reason) -> BackendFacts:
    """A server of a balancer that does not say any more how it is."""
    return replace(one, state="unknown", says=why.says, in_flight=None, queued=None, since=None)


def _settled(before: tuple[BackendFacts, ...], now: tuple[BackendFacts, ...]) -> tuple[BackendFacts, ...]:
    """`now`, with the times of change that were said before where they are the same."""
    times = {(one.backend, one.server): one.since for one in before}
    settled = []
    for one in now:
        since = times.get((one.backend, one.server))
        same = since is not None and one.since is not None and abs(one.since - since) < SETTLED_S
        settled.append(replace(one, since=since) if same else one)
    return tuple(settled)


def _trouble(known: _Known, error: Exception) -> Reason:
    where = f"HAProxy's socket {known.path}"
    code, says, hint = "balancer_lost", f"{where} cannot be asked: {error}", FIX
    if isinstance(error, PermissionError):
        code, says = "balancer_denied", f"{where} may not be read by this agent: its backends are not known"
    elif isinstance(error, FileNotFoundError):
        code, says = (
            "balancer_absent",
            f"{where} is not there: HAProxy does not run, or its configuration names another",
        )
    elif isinstance(error, ConnectionRefusedError):
        code, says = "balancer_down", f"nobody answers at {where}: HAProxy does not run"
        hint = "systemctl status haproxy"
    elif isinstance(error, TimeoutError):
        code, says = "balancer_silent", f"{where} did not answer within {DEADLINE_S:g} s"
        hint = "see whether HAProxy hangs"
    elif isinstance(error, TooMuch):
        code, says, hint = "balancer_odd", f"{where} sent more than {BYTES >> 20} MiB", "see what listens there"
    elif isinstance(error, haproxy.Odd):
        code, says, hint = "balancer_odd", f"what listens at {known.path} is no HAProxy: {error}", FIX
    return Reason("balancer", code, says, hint)
