"""Faults of engines and of what is asked of them. Each names a GPU and means the replica that belongs on it.

What an engine does wrong shows in its pages, its ports and its processes, never in a finding.
"""

from collections.abc import Callable

from agent.sim.faults.spec import FaultSpec
from agent.sim.machine import Machine
from agent.sim.params import Param, Params, gpu_param
from agent.sim.serving.engine import Engine, Life, Mood

_TEARDOWN_S = 12.0  # from the last token to the end of the process
_DRAIN_S = 30.0  # for what it has
_LOAD_S = 45.0
_MOST_SLOW = 16.0
_FOREVER_S = 86_400.0

Act = Callable[[Machine, Engine, Params, float], None]


def on_engine(act: Act) -> Callable[[Machine, Params, float], None]:
    """What happens at its moment to the engine of the chosen GPU, if there is one."""

    def plan(machine: Machine, params: Params, at: float) -> None:
        engine = machine.engine(int(params["gpu"]))
        if engine is not None:
            machine.at(at, lambda machine, moment: act(machine, engine, params, moment))

    return plan


def _stays(engine: Engine, act: Callable[[], None]) -> Callable[[Machine, float], None]:
    """`act`, unless its processes are others by then."""
    generation = engine.replica.generation

    def effect(_machine: Machine, _at: float) -> None:
        if engine.replica.generation == generation:
            act()

    return effect


def _mood(mood: Mood) -> Act:
    """From now on, until `seconds` are over (0: for good)."""

    def act(machine: Machine, engine: Engine, params: Params, at: float) -> None:
        if engine.life is not Life.UP:
            return
        engine.turn(mood)
        seconds = float(params["seconds"])
        if seconds:
            machine.at(at + seconds, _stays(engine, lambda: engine.turn(Mood.WELL)))

    return act


def _wedge(machine: Machine, params: Params, at: float) -> None:
    engine = machine.engine(int(params["gpu"]))
    if engine is not None:
        engine.dev = params["dev"] == "yes"  # a matter of how it was started, before anything happens
    on_engine(_mood(Mood.FROZEN))(machine, params, at)


def _crash(machine: Machine, engine: Engine, params: Params, at: float) -> None:
    """What computes is gone. A Triton goes on without its model's process, a vLLM until it has noticed."""
    if engine.replica.pool.engine == "triton":
        engine.turn(Mood.BROKEN)
        return
    engine.lingers_s, back = float(params["front"]), float(params["back"])
    _stop(machine, engine, at, back and engine.lingers_s + back)


def _stop(machine: Machine, engine: Engine, at: float, back_s: float) -> None:
    """All its processes end; its service starts it again after `back_s`, or never for 0."""
    machine.stop_replica(engine.replica.gpus[0], at, back_s or None)


def _kill(machine: Machine, engine: Engine, params: Params, at: float) -> None:
    _stop(machine, engine, at, float(params["back"]))
    engine.gone()  # its root too


def _loop(machine: Machine, engine: Engine, params: Params, at: float) -> None:
    """It dies, is started again, and dies before it is ready, so many times; then it stays."""
    pause, life, times = float(params["pause"]), float(params["life"]), int(params["times"])

    def fall(machine: Machine, at: float) -> None:
        machine.stop_replica(engine.replica.gpus[0], at, None)
        engine.gone()

    for number in range(times):
        moment = at + number * (pause + life)
        machine.at(moment, fall)
        last = number == times - 1
        machine.at(moment + pause, _begin(engine, _LOAD_S if last else life + _LOAD_S))


def _begin(engine: Engine, load_s: float) -> Callable[[Machine, float], None]:
    return lambda machine, at: machine.start_replica(engine.replica, at, load_s)


def _slow_load(machine: Machine, engine: Engine, params: Params, at: float) -> None:
    machine.stop_replica(engine.replica.gpus[0], at, None)
    engine.gone()
    machine.at(at + 5.0, _begin(engine, float(params["seconds"])))


def _drain(machine: Machine, engine: Engine, params: Params, at: float) -> None:
    """What it has is finished, then it ends; it is started again after `back` seconds, or never for 0. A Triton unloads
    its model first and says so, a vLLM gets SIGTERM and says nothing."""
    if engine.life is not Life.UP:
        return
    if engine.replica.pool.engine == "triton":
        engine.turn(Mood.LEAVING)
        teardown_s = 0.0  # it has nothing left to do by then, and ends at once
    else:
        teardown_s = _TEARDOWN_S
        engine.end()
    back = float(params["back"])

    def gone(machine: Machine, at: float) -> None:
        machine.stop_replica(engine.replica.gpus[0], at, back or None)
        engine.gone()

    machine.at(at + _DRAIN_S + teardown_s, gone)


def _flap(machine: Machine, engine: Engine, params: Params, at: float) -> None:
    """It loses its tongue again and again."""
    every, seconds = float(params["every"]), float(params["seconds"])
    for number in range(int(params["times"])):
        start = at + number * every
        machine.at(start, _stays(engine, lambda: engine.turn(Mood.MUTE)))
        machine.at(start + seconds, _stays(engine, lambda: engine.turn(Mood.WELL)))


def _pressure(_machine: Machine, engine: Engine, params: Params, _at: float) -> None:
    """Long prompts: the cache is full. Whether it overflows is a matter of how much is asked."""
    if params["overflow"] == "yes":
        engine.context = 5.0
        engine.press(0.9)
    else:  # a full batch and a full cache are the same then, and there is not more to do than that
        engine.context = 1.43
        engine.press(0.985)


def _growth(machine: Machine, engine: Engine, params: Params, at: float) -> None:
    """More is asked of it, or it does less from minute to minute."""
    engine.press(float(params["load"]))
    factor, until = float(params["slowing"]), at + float(params["seconds"])

    def slower(machine: Machine, at: float) -> None:
        engine.slow = min(_MOST_SLOW, engine.slow * factor)
        if at < until:
            machine.at(at + 60.0, slower)

    if factor > 1.0:
        slower(machine, at)
    machine.at(until, _stays(engine, engine.ease))


def _errors(_machine: Machine, engine: Engine, params: Params, _at: float) -> None:
    engine.errors = float(params["share"])


def _clings(_machine: Machine, engine: Engine, _params: Params, _at: float) -> None:
    """Its front waits for its clients to hang up, and no SIGTERM changes that."""
    engine.clings, engine.lingers_s = True, _FOREVER_S


def _bad_start(_machine: Machine, engine: Engine, params: Params, _at: float) -> None:
    engine.sick_starts = int(params["times"])


def _slow(_machine: Machine, engine: Engine, params: Params, _at: float) -> None:
    engine.slow = float(params["times"])


_ONE = gpu_param()
_YES_NO = ("yes", "no")
_FOR = Param("seconds", "for how long; 0: for good", 0.0, low=0, high=86_400)
_BACK = Param("back", "after how many seconds its service starts it again; 0: never", 30.0, low=0, high=86_400)

FAULTS: tuple[FaultSpec, ...] = (
    FaultSpec(
        "engine-wedge",
        "the engine stops computing: its pages answer, its counters stand still, its users wait",
        (_ONE, _FOR, Param("dev", "whether it can be asked if it was paused", "yes", choices=_YES_NO)),
        _wedge,
        needs_gpu=False,
    ),
    FaultSpec("engine-pause", "an operator pauses the engine", (_ONE, _FOR), on_engine(_mood(Mood.PAUSED)),
              needs_gpu=False),
    FaultSpec("engine-sleep", "an operator puts the engine to sleep: its memory is free", (_ONE, _FOR),
              on_engine(_mood(Mood.ASLEEP)), needs_gpu=False),
    FaultSpec(
        "engine-crash",
        "what computes dies under a front that goes on answering: 503 from a vLLM, errors from a Triton",
        (_ONE, Param("front", "seconds until a vLLM's front has noticed and ends too", 2.0, low=0, high=86_400), _BACK),
        on_engine(_crash),
        needs_gpu=False,
    ),
    FaultSpec("engine-stop", "all processes of the replica are killed at once",
              (_ONE, Param("back", _BACK.help, 0.0, low=0, high=86_400)), on_engine(_kill), needs_gpu=False),
    FaultSpec(
        "crash-loop",
        "the replica dies and is started again, so many times; each start but the last dies before it is ready",
        (
            _ONE,
            Param("times", "how often it dies", 5, low=1, high=100),
            Param("life", "seconds that a start lives", 40.0, low=1, high=3600),
            Param("pause", "seconds until it is started again", 10.0, low=1, high=3600),
        ),
        on_engine(_loop),
        needs_gpu=False,
    ),
    FaultSpec("slow-load", "the replica is started again, and loading takes long",
              (_ONE, Param("seconds", "for how long it loads", 1500.0, low=1, high=86_400)), on_engine(_slow_load),
              needs_gpu=False),
    FaultSpec(
        "drain",
        "the replica is told to end and finishes what it has: a Triton unloads its model, a vLLM gets SIGTERM",
        (_ONE, Param("back", _BACK.help, 0.0, low=0, high=86_400)),
        on_engine(_drain),
        needs_gpu=False,
    ),
    FaultSpec("stop-lingers", "told to end, the engine ends and its front stays until it is killed", (_ONE,),
              on_engine(_clings), needs_gpu=False),
    FaultSpec(
        "bad-start",
        "the next starts of the replica end with a health page that fails; nothing happens until then",
        (_ONE, Param("times", "how many starts", 1, low=1, high=100)),
        on_engine(_bad_start),
        needs_gpu=False,
    ),
    FaultSpec("scrape-hang", "the engine accepts connections and says nothing; it goes on computing", (_ONE, _FOR),
              on_engine(_mood(Mood.MUTE)), needs_gpu=False),
    FaultSpec(
        "engine-flap",
        "the engine says nothing for a while, again and again",
        (
            _ONE,
            Param("times", "how often", 6, low=1, high=1000),
            Param("seconds", "for how long", 30.0, low=1, high=3600),
            Param("every", "seconds from one time to the next", 120.0, low=2, high=86_400),
        ),
        on_engine(_flap),
        needs_gpu=False,
    ),
    FaultSpec(
        "kv-pressure",
        "prompts become so long that the KV cache is full",
        (_ONE, Param("overflow", "whether requests are pushed out of it", "yes", choices=_YES_NO)),
        on_engine(_pressure),
        needs_gpu=False,
    ),
    FaultSpec(
        "queue-growth",
        "more is asked of the engine than it can do",
        (
            _ONE,
            Param("load", "what is asked of it, 1 being all that it can do", 1.3, low=0.01, high=10),
            Param("slowing", "how much slower it gets from minute to minute", 1.0, low=1, high=10),
            Param("seconds", "for how long", 900.0, low=1, high=86_400),
        ),
        on_engine(_growth),
        needs_gpu=False,
    ),
    FaultSpec("engine-errors", "a share of the requests fails",
              (_ONE, Param("share", "which share", 0.2, low=0, high=1)), on_engine(_errors), needs_gpu=False),
    FaultSpec("slow-tokens", "everything takes longer in the engine, at full clocks",
              (_ONE, Param("times", "how much longer", 12.0, low=1, high=100)), on_engine(_slow), needs_gpu=False),
)  # fmt: skip
