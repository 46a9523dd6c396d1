"""Executors `engine.*`: an engine's own calls to pause and resume it, and its orderly end (see `drain`).

The agent posts to the engine itself, after the root helper's policy said that it may; the helper is told for the
audit. Done is what the engine's own pages show afterwards, never its 200: health pages lie.
"""

from collections.abc import Mapping

from agent.actions import asking, natives, watching
from agent.actions.base import Executor, Preflight, Result, Say, Who, World
from agent.actions.drain import Drain
from agent.actions.natives import Call, NoCall
from agent.actions.specs import ENGINE
from agent.actions.targets import boot, params, replica, target
from agent.errors import Refusal
from agent.wire.actions import Act, ActionFacts, ActState
from agent.wire.replicas import Phase, ReplicaFacts, State
from agent.wire.specs import ActionSpec

SHOWS_S = 30.0  # pages that tell a pause are read every 10 s
RESTS = tuple(phase.word for phase in (Phase.PAUSED, Phase.ASLEEP, Phase.DRAINING, Phase.DRAINED))
SECTION = "replicas"
ABSENT = (404, 405, 501)
_MODEL = "model"


class Native:
    """Pause or resume by the engine's own call."""

    def __init__(self, spec: ActionSpec) -> None:
        self.spec = spec
        self.pauses = spec.id == "engine.pause"

    async def preflight(self, act: Act, who: Who, world: World) -> Preflight:
        """Which call it would be, and what becomes of requests."""
        about = target(self.spec, act, world)
        given = params(self.spec, act)
        facts = about.replica
        assert facts is not None
        if not facts.pids and not facts.url:
            raise Refusal("gone", f"{facts.id} is {facts.state}: there is nobody to ask")
        model, call = self._call(facts, given)
        expect = {"boot": boot(world), "pid": str(facts.pids[0]) if facts.pids else ""}
        plan = await asking.planned(act, who, world, {"replica": facts.id, "engine": facts.engine})
        rests = _rests(facts, model)
        undo = ("resume the engine" if self.pauses else "pause the engine again") if rests != self.pauses else ""
        done = "is paused already: nothing changes" if self.pauses else "is not paused: nothing changes"
        effect = f"{facts.id} {done}" if rests == self.pauses else f"{facts.id}: {call.effect}"
        before = {"replica": facts.id, "phase": facts.phase, "rests": "yes" if rests else "no", _MODEL: model}
        guards = (asking.identity(act, expect), *plan.guards)
        return Preflight((call.words(facts.url),), guards, effect, undo, expect, before, plan.role)

    async def run(self, act: Act, who: Who, found: Preflight, world: World, say: Say) -> Result:
        """Ask the engine, then read what its pages say."""
        given = params(self.spec, act)
        facts = replica(found.before["replica"], world)
        model, call = self._call(facts, {**given, _MODEL: found.before[_MODEL]})
        deadline_s = float(given["deadline_s"])
        await asking.noted(act, who, world, asking.BEGINS, call.words(facts.url))
        say(f"{call.words(facts.url)} (at most {deadline_s:g} s)")
        try:
            result = await self._ask(facts, call, model, deadline_s, world)
        except Refusal as error:
            result = Result(ActState.UNKNOWN, str(error))
        await asking.noted(act, who, world, result.state.value, result.says)
        return result

    async def settle(self, entry: ActionFacts, world: World) -> Result:
        """By what its pages say now."""
        try:
            return await self._shown(entry.before.get("replica", ""), entry.before.get(_MODEL, ""), world, sure=False)
        except Refusal as error:
            return Result(ActState.UNKNOWN, str(error))

    def inverse(self, entry: ActionFacts) -> tuple[str, dict[str, str]] | None:
        """The other one, if this one changed anything."""
        if (entry.before.get("rests") == "yes") == self.pauses:
            return None
        model = entry.before.get(_MODEL, "")
        return ("engine.resume" if self.pauses else "engine.pause", {_MODEL: model} if model else {})

    def _call(self, facts: ReplicaFacts, given: Mapping[str, str]) -> tuple[str, Call]:
        """(the model if it is about one, the call)."""
        try:
            native = natives.native(facts.engine, facts.carrier)
            model = _model(facts, given[_MODEL]) if native.by_model else ""
            return model, native.pause(given["mode"], model) if self.pauses else native.resume(model)
        except NoCall as none:
            raise Refusal("invalid", f"{facts.id}: {none}") from None

    async def _ask(self, facts: ReplicaFacts, call: Call, model: str, deadline_s: float, world: World) -> Result:
        name = facts.id
        try:
            status, text = await world.post(name, call.path, call.body, deadline_s)
        except TimeoutError:
            shown = await self._shown(name, model, world, sure=False)
            if shown.state is ActState.DONE:
                return shown
            says = f"{name} did not answer within {deadline_s:g} s: it may yet {self._verb}"
            return Result(ActState.UNKNOWN, f"{says}; engine.resume takes a pause back" if self.pauses else says)
        except ConnectionRefusedError as error:
            return Result(ActState.FAILED, f"{name} was not asked: {error}")
        except OSError as error:
            shown = await self._shown(name, model, world, sure=False)
            return shown if shown.state is ActState.DONE else Result(ActState.UNKNOWN, f"{name} hung up: {error}")
        if status in ABSENT or (status == 400 and "control mode" in text.lower()):
            return Result(ActState.FAILED, f"{name} has no such call ({status}): {call.absent}; {natives.INSTEAD}")
        if not 200 <= status < 300:
            return Result(ActState.FAILED, f"{name} answered {status}: {text.strip()[:200] or 'nothing'}")
        return await self._shown(name, model, world, sure=True)

    @property
    def _verb(self) -> str:
        return "pause" if self.pauses else "go on"

    async def _shown(self, name: str, model: str, world: World, *, sure: bool) -> Result:
        """What its pages say after a while. `sure`: it said itself that it did."""
        world.refresh(SECTION)

        async def is_so() -> bool:
            return _rests(replica(name, world), model) == self.pauses

        what = "is paused" if self.pauses else "is no longer paused"
        if await watching.until(world, SHOWS_S, is_so, 0.5):
            phase = replica(name, world).phase
            return Result(ActState.DONE, f"{name} {what} ({phase})" + (f": {model}" if model else ""))
        phase = replica(name, world).phase
        if sure:
            says = f"{name} said that it {what}, and {SHOWS_S:g} s later its pages still show {phase}"
            return Result(ActState.FAILED, says)
        return Result(ActState.UNKNOWN, f"{name} shows {phase}: whether it will {self._verb} is not known")


def _rests(facts: ReplicaFacts, model: str) -> bool:
    """Whether it takes no new work, as its pages show. A server without its only model is not ready, and its facts go
    on naming that model."""
    if model:
        return model not in facts.models or facts.state != State.READY.word
    return facts.phase in RESTS


def _model(facts: ReplicaFacts, wanted: str) -> str:
    if wanted:
        return wanted
    if len(facts.models) == 1:
        return facts.models[0]
    has = ", ".join(facts.models[:8])
    raise NoCall(
        f"it has {has}; say which with model=NAME" if has else "it holds no model now; say which with model=NAME"
    )


EXECUTORS: tuple[Executor, ...] = (Native(ENGINE[0]), Native(ENGINE[1]), Drain(ENGINE[2]))
