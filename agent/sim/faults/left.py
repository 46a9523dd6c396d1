"""What the console of somebody who is gone has left behind on a host: an engine that a run has paused."""

from agent.sim.faults.serving import on_engine
from agent.sim.faults.spec import FaultSpec
from agent.sim.machine import Machine
from agent.sim.params import Param, Params, gpu_param
from agent.sim.serving.engine import Engine, Life, Mood
from agent.wire.actions import ActionFacts, ActState, Orphan
from agent.wire.replicas import replica_subject

_RUN = "5eaf00d5"


def _pause(machine: Machine, engine: Engine, params: Params, at: float) -> None:
    """The engine is paused by a run whose console then says nothing more; somebody resumes it by hand in the end."""
    if engine.life is not Life.UP:
        return
    engine.turn(Mood.PAUSED)
    generation, lease = engine.replica.generation, float(params["lease"])

    def resume(_machine: Machine, _at: float) -> None:
        if engine.replica.generation == generation:
            engine.turn(Mood.WELL)

    machine.at(at + float(params["seconds"]), resume)
    machine.left.append(
        ActionFacts(
            f"{_RUN}/1", "engine.pause", replica_subject(f"{engine.replica.pool.engine}:{engine.replica.port}"),
            {"mode": "wait"}, ActState.DONE, "it is paused", "simulated operator", "operator",
            "its requests are to end first", _RUN, "1", "drain-replica", at=at, began=at, ended=at,
            before={"replica": str(engine.replica.port)}, undo="resume the engine",
            lease=at + lease if lease else 0.0, on_orphan=Orphan.KEEP,
        )
    )  # fmt: skip


FAULTS: tuple[FaultSpec, ...] = (
    FaultSpec(
        "drain-left",
        "a run pauses an engine and its console is never heard of again; somebody resumes it in the end",
        (
            gpu_param(),
            Param("lease", "seconds that it may stand without a word; 0: its run has ended", 60.0, low=0, high=86_400),
            Param("seconds", "until somebody resumes it", 240.0, low=1, high=86_400),
        ),
        on_engine(_pause),
        needs_gpu=False,
    ),
)
