"""Executors `container.*`: restart, stop and start of the container that runs a replica, or of a named one.

Done is what the runtime shows afterwards: the same container with another start that stays up, and healthy where it
has a health check. Unhealthy, or not healthy in time, is failed however well the command ended.
"""

from collections.abc import Mapping

from agent.actions import asking, containers, owners, patience, watching
from agent.actions.asking import Lost
from agent.actions.base import Preflight, Result, Say, Who, World
from agent.actions.containers import Container
from agent.actions.specs import CONTAINER
from agent.actions.targets import Target, boot, params, target
from agent.errors import Refusal
from agent.wire.actions import Act, ActionFacts, ActState, Guard
from agent.wire.specs import ActionSpec

HOLD_S = 3.0  # what cannot run was seen to end within two seconds
STOP_HOLD_S = 2.0
LOST_S = 20.0  # how long a runtime is waited for whose end nobody told
RUNTIME_S = 60.0  # what a runtime may take beyond the grace: it was seen to need 30 s to unmount
INVERSE = {"start": "container.stop", "stop": "container.start"}


class ContainerAction:
    """One verb of docker or podman on one container."""

    def __init__(self, spec: ActionSpec) -> None:
        self.spec = spec
        self.verb = spec.id.partition(".")[2]

    async def preflight(self, act: Act, who: Who, world: World) -> Preflight:
        """What the container is now, what would be run and what would go wrong."""
        about = target(self.spec, act, world)
        given = params(self.spec, act)
        now = await _container(about, world)
        plan = await asking.planned(act, who, world, self._args(now, given, {}))
        expect = self._expect(now, world)
        grace_s = float(given.get("grace_s", "0"))
        main = await asking.look(world, "process", pid=now.pid) if now.shell and now.pid else None
        comm = str(main.get("comm") or "") if main is not None else ""
        traps = containers.traps(now, self.verb, grace_s, patience.needs_s(about.replica, world), comm)
        guards = (asking.identity(act, expect), *plan.guards, *traps, *_owner(about, now))
        before = {
            "runtime": now.runtime,
            "id": now.id,
            "name": now.name,
            "started_at": now.started_at,
            "running": "yes" if now.running else "no",
            "health": now.health,
            "pid": str(now.pid),
            "restarts": str(now.restarts),
            "health_s": given.get("health_s", "0"),
        }
        undo = self._undo(before["running"])
        return Preflight(plan.commands, guards, self._effect(about, now, grace_s), undo, expect, before, plan.role)

    async def run(self, act: Act, who: Who, found: Preflight, world: World, say: Say) -> Result:
        """Have the runtime do it, then look at the container."""
        given = params(self.spec, act)
        now = containers.read({**found.before, "running": found.before["running"] == "yes"})
        grace_s = float(given.get("grace_s", "0"))
        args = self._args(now, given, {**found.expect, **act.expect})
        began = world.clock.real()

        async def stands() -> str:
            seen = await asking.look(world, "container", container=now.id, runtime=now.runtime)
            return f"{now.words} is {containers.read(seen).status if seen is not None else 'gone'}"

        try:
            reply = await asking.acted(act, who, world, args, say, grace_s + RUNTIME_S, meanwhile=stands)
        except Lost as error:
            say(f"no word on how it ended ({error}); looking at {now.words}")
            await asking.back(world)
            return await self._judge(found.before, world, say, lost=str(error))
        took = world.clock.real() - began
        if grace_s and took >= grace_s and self.verb == "restart":
            say(f"it took {took:.1f} s: its main process outlived the grace of {grace_s:g} s and was killed")
        result = await self._judge(found.before, world, say)
        if result.state is not ActState.DONE and reply.end == "failed" and reply.says:
            return Result(result.state, f"{result.says}; {now.runtime}: {reply.says}"[:1000])
        return result

    async def settle(self, entry: ActionFacts, world: World) -> Result:
        """By the container as it is now, against the container as it was."""
        state, says = await asking.fate(entry.key, world)
        if state == "none":
            return Result(ActState.FAILED, f"nothing was done: {says}")
        if state == "running":
            return Result(ActState.UNKNOWN, f"the {self.verb} of container {entry.before.get('name')}: {says}")
        return await self._judge(entry.before, world, lambda line: None, lost=says if state == "lost" else "")

    def inverse(self, entry: ActionFacts) -> tuple[str, dict[str, str]] | None:
        """Stop takes back a start of what did not run, and the other way round."""
        return (INVERSE[self.verb], {}) if self._undo(entry.before.get("running", "")) else None

    # Before.

    def _args(self, now: Container, given: Mapping[str, str], expect: Mapping[str, str]) -> dict[str, object]:
        counts = {name: value for name, value in expect.items() if name in ("boot", "id", "started_at")}
        args: dict[str, object] = {"runtime": now.runtime, "container": now.name or now.id, "expect": counts}
        return {**args, "grace_s": given["grace_s"]} if "grace_s" in given else args

    def _expect(self, now: Container, world: World) -> dict[str, str]:
        """A start asks nothing of what ran before: steps of one plan may well have stopped it."""
        known = {"boot": boot(world), "id": now.id}
        return known if self.verb == "start" else {**known, "started_at": now.started_at}

    def _effect(self, about: Target, now: Container, grace_s: float) -> str:
        serves = f"; {about.name} is gone meanwhile" if about.replica is not None else ""
        if self.verb == "start":
            return f"{now.words} runs already: nothing changes" if now.running else f"{now.words} ({now.status}) starts"
        if not now.running:
            same = self.verb == "stop"
            return f"{now.words} is {now.status} already: nothing changes" if same else f"{now.words} starts"
        ends = f"the main process of {now.words} (pid {now.pid}) ends within {grace_s:g} s or is killed"
        if self.verb == "stop":
            return f"{ends}, and it stays stopped until somebody starts it{serves}"
        return f"{ends}, then the same container starts again{serves}"

    def _undo(self, running: str) -> str:
        if self.verb == "start" and running == "no":
            return "stop the container again"
        return "start the container again" if self.verb == "stop" and running == "yes" else ""

    # After.

    async def _judge(self, before: Mapping[str, str], world: World, say: Say, *, lost: str = "") -> Result:
        words = f"container {before.get('name') or before.get('id', '')[:12]}"
        try:
            if lost:
                await self._come_to_rest(before, world)
            now, why = await self._held(before, words, world)
            if not why and self.verb != "stop":
                return await self._healthy(now, float(before.get("health_s") or 0), world, say)
        except Refusal as error:
            return Result(ActState.UNKNOWN, f"whether {words} did {self.verb} is not known: {error}")
        if why and lost and _same(now, before):
            return Result(ActState.UNKNOWN, f"{words} is as it was so far, and it may yet {self.verb}: {lost}")
        if why:
            return Result(ActState.FAILED, why)
        how = "; it did not end by itself and was killed" if now.exit_code == containers.KILLED else ""
        return Result(ActState.DONE, f"{words} is {now.status} (exit code {now.exit_code}){how}")

    async def _come_to_rest(self, before: Mapping[str, str], world: World) -> None:
        """Give a runtime that goes on by itself the time to finish."""

        async def rests() -> bool:
            seen = await asking.look(world, "container", container=before["id"], runtime=before["runtime"])
            now = containers.read(seen or {})
            return not now.running if self.verb == "stop" else now.running and not _same(now, before)

        await watching.until(world, LOST_S, rests, 0.5)

    async def _held(self, before: Mapping[str, str], words: str, world: World) -> tuple[Container, str]:
        """The container at the end of a while in which it was as it should be, or at the first look that it was not."""
        end = world.clock.real() + (STOP_HOLD_S if self.verb == "stop" else HOLD_S)
        first: Container | None = None
        while True:
            seen = await asking.look(world, "container", container=before["id"], runtime=before["runtime"])
            if seen is None:
                gone = "" if self.verb == "stop" else f"{words} is gone: {before['runtime']} knows it no more"
                return Container(before["id"], before.get("name", ""), status="removed"), gone
            now = containers.read(seen)
            first = first or now
            why = self._wrong(now, first, before)
            if why or world.clock.real() >= end:
                return now, why
            await world.clock.sleep(0.5)

    def _wrong(self, now: Container, first: Container, before: Mapping[str, str]) -> str:
        if self.verb == "stop":
            return f"{now.words} is {now.status} again: something started it" if now.running else ""
        if not now.running:
            how = ", for want of memory" if now.oom else ""
            return f"{now.words} ended again: {now.status}, exit code {now.exit_code}{how}; see its log"
        if now.restarts > first.restarts or now.started_at != first.started_at:
            return f"{now.words} does not stay up: it was started again within {HOLD_S:g} s"
        if self.verb == "restart" and now.started_at == before.get("started_at"):
            return f"{now.words} was not restarted: it still runs since {now.started_at}"
        return ""

    async def _healthy(self, now: Container, within_s: float, world: World, say: Say) -> Result:
        """Whether its health check says so in time."""
        up = f"{now.words} runs as pid {now.pid}"
        if not now.checked:
            says = f"{up}; it has no health check, so {now.runtime or 'the runtime'} cannot say whether it is healthy"
            return Result(ActState.DONE, says)
        say(f"{up}; waiting {within_s:g} s at most until its health check says healthy")
        latest = now

        async def settled() -> bool:
            nonlocal latest
            seen = await asking.look(world, "container", container=now.id, runtime=now.runtime)
            latest = containers.read(seen or {"id": now.id, "name": now.name, "status": "removed"})
            return latest.health != containers.STARTING or not latest.running

        await watching.until(world, within_s, settled, 0.5)
        if not latest.running:
            return Result(ActState.FAILED, f"{now.words} ended again: {latest.status}, exit code {latest.exit_code}")
        if latest.restarts > now.restarts or latest.started_at != now.started_at:
            return Result(
                ActState.FAILED, f"{now.words} does not stay up: it was started again while it was waited for"
            )
        if latest.health == containers.HEALTHY:
            return Result(ActState.DONE, f"{up} and is healthy")
        if latest.health == containers.UNHEALTHY:
            return Result(ActState.FAILED, f"{up}, and its health check says unhealthy; see its log")
        timers = "; podman's health checks need their systemd timers" if now.runtime == "podman" else ""
        return Result(ActState.FAILED, f"{up}, and was not healthy after {within_s:g} s{timers}")


def _same(now: Container, before: Mapping[str, str]) -> bool:
    return now.running == (before.get("running") == "yes") and now.started_at == before.get("started_at")


def _owner(about: Target, now: Container) -> tuple[Guard, ...]:
    """Who else looks after this container."""
    facts = about.replica
    if facts is None or not facts.unit.endswith(".service"):
        return ()
    says = f"{facts.unit} runs {now.words} and may start or remove it by itself; systemd.* acts on the unit"
    return (Guard("owner", False, says, soft=True),)


async def _container(about: Target, world: World) -> Container:
    """The container that is meant.

    Raises:
        Refusal: there is none; what runs it instead, and what to try.
    """
    name = about.name if about.kind == "container" else owners.container_of(about)
    if not containers.NAME.fullmatch(name):
        raise Refusal("invalid", f"{name[:64]!r} is not the name of a container")
    seen = await asking.look(world, "container", container=name, runtime="")
    if seen is None:
        where = "neither docker nor podman of this host"
        raise Refusal(
            "unknown", f"{where} knows container {name[:64]}; if another runtime or a user's podman runs it, act there"
        )
    return containers.read(seen)


EXECUTORS = tuple(ContainerAction(spec) for spec in CONTAINER)
