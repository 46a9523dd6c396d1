"""Executors `systemd.*`: restart, start, stop and reload of the service that runs a replica, or of a named one.

systemctl's exit code is only its word: a restart is done when another invocation of the unit is active, has a living
main process and still has it `HOLD_S` later, and nothing of the one before is left. What is loaded into it then is
not judged here: a plan waits for the replica to be ready.
"""

from collections.abc import Mapping

from agent.actions import asking, owners, patience, units, watching
from agent.actions.asking import Lost
from agent.actions.base import Preflight, Result, Say, Who, World
from agent.actions.specs import SYSTEMD
from agent.actions.targets import Target, boot, params, target
from agent.actions.units import Unit
from agent.errors import Refusal
from agent.wire.actions import Act, ActionFacts, ActState, Guard
from agent.wire.specs import ActionSpec

HOLD_S = 3.0  # an engine that cannot start was seen to end within two seconds of it
LOST_S = 30.0  # how long a job of systemd is waited for whose end nobody told
GONE_S = 5.0  # a killed process that is not in the kernel's hands is gone at once
OURS = ("gpu-cockpit-agent.service", "gpu-cockpit-actuator.service")
INVERSE = {"start": "systemd.stop", "stop": "systemd.start"}


class Systemd:
    """One verb of systemctl on one service."""

    def __init__(self, spec: ActionSpec) -> None:
        self.spec = spec
        self.verb = spec.id.partition(".")[2]

    async def preflight(self, act: Act, who: Who, world: World) -> Preflight:
        """What the unit is now, what would be run and what would go wrong."""
        about = target(self.spec, act, world)
        given = params(self.spec, act)
        unit = await self._unit(about, world)
        plan = await asking.planned(act, who, world, self._args(unit, given["deadline_s"], {}))
        pids = about.replica.pids if about.replica is not None else (unit.pid,)
        known = await watching.marks(world, pids if unit.runs else ())
        expect = self._expect(unit, world)
        needs = patience.needs_s(about.replica, world)
        traps = units.traps(unit, self.verb, needs, float(given["deadline_s"]))
        return Preflight(
            plan.commands,
            (asking.identity(act, expect), *plan.guards, *traps, *self._shared(about, unit, world)),
            self._effect(about, unit, len(known)),
            self._undo(unit.active),
            expect,
            {
                "unit": unit.name,
                "active": unit.active,
                "invocation": unit.invocation,
                "pid": str(unit.pid),
                "restarts": str(unit.restarts),
                "processes": watching.pack(known),
                "replica": about.replica.id if about.replica is not None else "",
            },
            plan.role,
        )

    async def run(self, act: Act, who: Who, found: Preflight, world: World, say: Say) -> Result:
        """Run systemctl, then look at the unit."""
        given = params(self.spec, act)
        unit = units.read(found.before["unit"], {})
        args = self._args(unit, given["deadline_s"], {**found.expect, **act.expect})
        began = world.clock.real()

        async def stands() -> str:
            now = await _look(unit.name, world)
            return f"{now.name} is {now.active} ({now.sub})"

        try:
            reply = await asking.acted(act, who, world, args, say, float(given["deadline_s"]), meanwhile=stands)
        except Lost as error:
            say(f"no word on how it ended ({error}); looking at {unit.name}")
            await asking.back(world)
            return await self._judge(found.before, world, say, lost=str(error))
        took = world.clock.real() - began
        if reply.end == "failed" and self.verb == "reload":
            return Result(ActState.FAILED, f"{unit.name} was not reloaded: {reply.says}")
        say(f"systemctl took {took:.1f} s; looking whether {unit.name} stays as it should for {HOLD_S:g} s")
        result = await self._judge(found.before, world, say)
        if result.state is not ActState.DONE and reply.end == "failed" and reply.says:
            return Result(result.state, f"{result.says}; systemctl: {reply.says}"[:1000])
        return result

    async def settle(self, entry: ActionFacts, world: World) -> Result:
        """By the unit as it is now, against the unit as it was."""
        state, says = await asking.fate(entry.key, world)
        if state == "none":
            return Result(ActState.FAILED, f"nothing was done: {says}")
        if state == "running":
            return Result(ActState.UNKNOWN, f"the {self.verb} of {entry.before.get('unit')}: {says}")
        if state == "ended" and (busy := await self._under_way(entry.before.get("unit", ""), world)):
            return Result(ActState.UNKNOWN, busy)  # the helper died at it, and systemd goes on by itself
        return await self._judge(entry.before, world, lambda line: None, lost=says if state == "lost" else "")

    def inverse(self, entry: ActionFacts) -> tuple[str, dict[str, str]] | None:
        """Stop takes back a start of what did not run, and the other way round."""
        return (INVERSE[self.verb], {}) if self._undo(entry.before.get("active", "")) else None

    # Before.

    async def _unit(self, about: Target, world: World) -> Unit:
        name = about.name if about.kind == "unit" else owners.unit_of(about)
        if trouble := units.name_trouble(name):
            raise Refusal("invalid", trouble)
        if name in OURS:
            raise Refusal("denied", f"{name} is this tool itself: it would cut the branch it sits on; use a shell")
        unit = await _look(name, world)
        if await owners.is_ours(name, world):
            raise Refusal("denied", f"{name} runs this agent: it would cut the branch it sits on; use a shell")
        if trouble := units.load_trouble(unit, self.verb):
            raise Refusal("unknown" if unit.load == "not-found" else "invalid", trouble)
        return unit

    def _args(self, unit: Unit, deadline_s: str, expect: dict[str, str]) -> dict[str, object]:
        counts = {name: value for name, value in expect.items() if name in ("boot", "invocation")}
        return {"unit": unit.name, "deadline_s": deadline_s, "expect": counts}

    def _expect(self, unit: Unit, world: World) -> dict[str, str]:
        """A start asks nothing of what ran before: steps of one plan may well have stopped it."""
        now = {"boot": boot(world)}
        return now if self.verb == "start" else {**now, "invocation": unit.invocation, "pid": str(unit.pid)}

    def _shared(self, about: Target, unit: Unit, world: World) -> tuple[Guard, ...]:
        """Whether others go with it."""
        return () if self.verb == "reload" else owners.shared(about.name, unit.name, self.verb, world)

    def _effect(self, about: Target, unit: Unit, processes: int) -> str:
        name, count = unit.name, f"{processes} process{'' if processes == 1 else 'es'}"
        serves = f"; {about.name} is gone meanwhile" if about.replica is not None else ""
        if self.verb == "start":
            return f"{name} runs already: nothing changes" if unit.runs else f"{name} starts; it is {unit.active} now"
        if self.verb == "reload":
            return f"{name} (pid {unit.pid}) reads its configuration again and goes on"
        if not unit.runs:
            is_stop = self.verb == "stop"
            return (
                f"{name} is {unit.active} already: nothing changes"
                if is_stop
                else f"{name} is {unit.active}; it starts"
            )
        ends = f"{count} of {name} (pid {unit.pid}) end"
        if self.verb == "stop":
            return f"{ends}, and it stays stopped until somebody starts it{serves}"
        ready = "" if unit.kind in ("notify", "notify-reload", "dbus") else (
            f"; Type={unit.kind or 'simple'}: that it is active says nothing of its being ready")  # fmt: skip
        return f"{ends} and new ones start{serves}{ready}"

    def _undo(self, active: str) -> str:
        runs = active in ("active", "reloading", "refreshing")
        if self.verb == "start" and not runs:
            return "stop the unit again"
        return "start the unit again" if self.verb == "stop" and runs else ""

    # After.

    async def _judge(self, before: Mapping[str, str], world: World, say: Say, *, lost: str = "") -> Result:
        """What the world shows. Whoever lost the answer cannot tell "not yet" from "never"."""
        name = before.get("unit", "")
        try:
            if lost and (busy := await self._still_busy(name, world)):
                return Result(ActState.UNKNOWN, f"{busy}: whether it will {self.verb} is not known yet; {lost}")
            unit, why = await self._held(name, before, world)
            if not why and self.verb in ("stop", "restart"):
                why = await _leftovers(unit, before, world, say)
        except Refusal as error:
            return Result(ActState.UNKNOWN, f"whether {name} did {self.verb} is not known: {error}")
        if why and lost and unit.invocation == before.get("invocation") and unit.runs:
            return Result(ActState.UNKNOWN, f"{name} is as it was so far, and it may yet {self.verb}: {lost}")
        if why:
            return Result(ActState.FAILED, why)
        if self.verb == "stop":
            killed = "; systemd had to kill it" if unit.result == "timeout" else ""
            return Result(ActState.DONE, f"{name} is {unit.active}, and nothing of it is left{killed}")
        if self.verb == "reload":
            return Result(ActState.DONE, f"{name} has read its configuration as pid {unit.pid}")
        what = (
            f"{name} runs{' anew' if self.verb == 'restart' else ''} as pid {unit.pid} and stayed up for {HOLD_S:g} s"
        )
        foreign = await owners.foreign(unit, before, world)
        if foreign:
            return Result(ActState.FAILED, f"{what}, but {foreign}")
        return Result(ActState.DONE, f"{what}; whether it serves is to be waited for")

    async def _under_way(self, name: str, world: World) -> str:
        """What systemd is at with this unit now, "" if nothing or if nobody can say."""
        try:
            unit = await _look(name, world)
        except Refusal:
            return ""
        return f"{name} is still {unit.active} ({unit.sub})" if unit.job else ""

    async def _still_busy(self, name: str, world: World) -> str:
        """What systemd is still at with this unit after a while, "" if nothing: it finishes what nobody waits for."""
        unit = await _look(name, world)

        async def rests() -> bool:
            nonlocal unit
            unit = await _look(name, world)
            return not unit.busy

        if await watching.until(world, LOST_S, rests, 0.5):
            return ""
        return f"{name} is still {unit.active} ({unit.sub})"

    async def _held(self, name: str, before: Mapping[str, str], world: World) -> tuple[Unit, str]:
        """The unit after `HOLD_S` in which it was as it should be at every look, or the first look that it was not."""
        end = world.clock.real() + (0.0 if self.verb == "reload" else HOLD_S)
        first: Unit | None = None
        while True:
            unit = await _look(name, world)
            first = first or unit
            why = self._wrong(unit, first, before)
            if why or world.clock.real() >= end:
                break
            await world.clock.sleep(0.5)
        if not why and self.verb != "stop" and unit.pid and not await watching.marks(world, (unit.pid,)):
            why = f"{name} is active, but its main process {unit.pid} is gone"
        return unit, why

    def _wrong(self, unit: Unit, first: Unit, before: Mapping[str, str]) -> str:
        """Why the unit is not as it should be after this verb, "" if it is."""
        name, is_same = unit.name, bool(unit.invocation) and unit.invocation == before.get("invocation")
        if self.verb == "stop":
            return f"{name} is {unit.active} ({unit.sub}) again: something started it" if _up(unit) else ""
        if not unit.runs:
            ended = f", after {unit.restarts - first.restarts} more starts" if unit.restarts > first.restarts else ""
            return (
                f"{name} is {unit.active} ({unit.sub or 'no state'}, {unit.result or 'no result'}){ended}; see its log"
            )
        if unit.restarts > first.restarts:
            return (
                f"{name} does not stay up: it was started {unit.restarts - first.restarts} times more in {HOLD_S:g} s"
            )
        if unit.invocation != first.invocation:
            return f"{name} did not stay up: it was started again within {HOLD_S:g} s"
        if self.verb == "restart" and is_same:
            return f"{name} was not restarted: it is still the same invocation, pid {unit.pid}"
        if self.verb == "reload" and not is_same:
            return f"{name} was restarted instead of reloaded: it is another invocation now, pid {unit.pid}"
        return ""


async def _look(name: str, world: World) -> Unit:
    seen = await asking.look(world, "unit", unit=name)
    return units.read(name, seen if seen is not None else {"LoadState": "not-found", "ActiveState": "inactive"})


def _up(unit: Unit) -> bool:
    return unit.runs or unit.active == "activating"


async def _leftovers(unit: Unit, before: Mapping[str, str], world: World, say: Say) -> str:
    """Why it is not done although systemd is content: processes of before that did not go."""
    known = watching.unpack(before.get("processes", ""))
    rest: list[int] = []

    async def gone() -> bool:
        nonlocal rest
        rest = await watching.left(world, known)
        return not rest

    if await watching.until(world, GONE_S, gone):
        return ""
    say(f"still there: pid {', '.join(map(str, rest))}")
    mode = f" (KillMode={unit.kill_mode})" if unit.kill_mode else ""
    return (
        f"{unit.name} is {unit.active}, but {len(rest)} of its processes from before still run{mode}: pid "
        f"{', '.join(map(str, rest[:8]))}; they may hold the port and the GPU's memory, end them with process.stop"
    )


EXECUTORS = tuple(Systemd(spec) for spec in SYSTEMD)
