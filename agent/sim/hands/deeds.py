"""What hands have done to a machine, so that a resumed fleet repeats it: each deed is data, and a function of it.

A deed says what was decided when it was done (how long a stop takes, say): nothing here asks the physics.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agent.sim.faults.host import exorcise
from agent.sim.hands import service
from agent.sim.hands.service import Service
from agent.sim.machine import Machine
from agent.sim.serving.engine import Life, Mood

RELOAD_S = 6.0  # of a Triton model
Args = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Deed:
    """`what` was done on `host` at a moment of data time, as `args` say."""

    at: float
    host: str
    what: str
    args: Mapping[str, str]


Effect = Callable[[Machine, Service, Args, float], None]


def plan(machine: Machine, services: tuple[Service, ...], deed: Deed) -> None:
    """It happens at its moment."""
    effect = DEEDS[deed.what]
    found = services[int(deed.args["replica"])]
    machine.at(deed.at, lambda machine, moment: effect(machine, found, deed.args, moment))


def plan_ghost(machine: Machine, deed: Deed) -> None:
    """The process of that number, which no driver lists, ends at its moment."""

    def end(machine: Machine, _moment: float) -> None:
        for ghost in [ghost for ghost in machine.ghosts if ghost.pid == int(deed.args["pid"])]:
            exorcise(machine, ghost)

    machine.at(deed.at, end)


def _stop(machine: Machine, found: Service, args: Args, at: float) -> None:
    whole = args.get("whole", "yes") == "yes"
    service.stop(machine, found, at, float(args["took_s"]), killed=args["killed"] == "yes", whole=whole)


def _start(machine: Machine, found: Service, _args: Args, at: float) -> None:
    service.start(machine, found, at)


def _restart(machine: Machine, found: Service, args: Args, at: float) -> None:
    service.restart(machine, found, at, float(args["took_s"]), killed=args["killed"] == "yes")


def _kill(machine: Machine, found: Service, args: Args, at: float) -> None:
    back_s = float(args["back_s"])
    service.kill(machine, found, at, back_s or None)


def _pause(machine: Machine, found: Service, args: Args, at: float) -> None:
    """As an operator asks: what it has is finished, which takes so long, or kept, or aborted; then it rests."""
    engine = found.engine
    if engine.life is not Life.UP:
        return
    if args["mode"] == "abort":
        engine.abandon()
    took_s = float(args["took_s"])
    if not took_s:
        engine.turn(Mood.PAUSED)
        return
    engine.turn(Mood.LEAVING)
    service.later(machine, found, at + took_s, lambda _machine, _moment: engine.turn(Mood.PAUSED))


def _resume(machine: Machine, found: Service, _args: Args, at: float) -> None:
    """A vLLM goes on at once, a Triton loads its model."""
    engine = found.engine
    if engine.life is not Life.UP or engine.mood not in (Mood.PAUSED, Mood.LEAVING):
        return
    if found.replica.pool.engine == "vllm":
        engine.turn(Mood.WELL)
    else:
        service.later(machine, found, at + RELOAD_S, lambda _machine, _moment: engine.turn(Mood.WELL))


DEEDS: dict[str, Effect] = {
    "service.stop": _stop,
    "service.start": _start,
    "service.restart": _restart,
    "service.kill": _kill,
    "engine.pause": _pause,
    "engine.resume": _resume,
}
GHOST = "ghost.end"
