"""What every action is called, takes, costs and is taken back by: data alone, one entry an action, by family.

Ids are for ever. Titles are verbs. Risk says what it takes to confirm: an action that ends requests in flight, blinds
or cannot be undone is high. Defaults of times: an engine needs about 10 s after its last token to be gone and a large
one minutes to load, so what waits for an end waits 60 s and more, and what waits for health two minutes.
"""

from agent.wire.actions import ParamSpec, Risk
from agent.wire.params import CHOICE, FLAG, SECONDS, TEXT, WHOLE
from agent.wire.signals import Scope
from agent.wire.specs import ActionSpec

HOUR = 3600.0
JOB = ParamSpec(
    "deadline_s", SECONDS, "how long systemd may take for it until it counts as failed", "180", False, 1, HOUR
)
GRACE = ParamSpec("grace_s", SECONDS, "how long after SIGTERM its main process is killed", "10", False, 0, HOUR)
HEALTH = ParamSpec("health_s", SECONDS, "how long its health check may take to say healthy", "120", False, 0, HOUR)
FLOOR = ParamSpec("floor", WHOLE, "refuse if fewer ready servers would be left in the backend", "0", False, 0, 10_000)


def _replica(
    identity: str, title: str, says: str, risk: Risk, undo: str, *params: ParamSpec, also: tuple[str, ...] = ()
) -> ActionSpec:
    return ActionSpec(identity, Scope.REPLICA, says, title, ("replica", *also), params, risk, undo)


def _server(identity: str, title: str, says: str, risk: Risk, *params: ParamSpec) -> ActionSpec:
    undo = "back to the state and weight that the balancer had before"
    return ActionSpec(identity, Scope.HOST, says, title, ("backend",), params, risk, undo)


SYSTEMD = (
    _replica(
        "systemd.restart",
        "restart the unit",
        "Stops the unit by its own rules (KillMode, TimeoutStopSec), then starts it; what is in flight then is lost.",
        Risk.MEDIUM,
        "",
        JOB,
        also=("unit",),
    ),
    _replica(
        "systemd.start",
        "start the unit",
        "Starts the unit; it does nothing to one that runs.",
        Risk.LOW,
        "stop the unit again",
        JOB,
        also=("unit",),
    ),
    _replica(
        "systemd.stop",
        "stop the unit",
        "Stops the unit and leaves it stopped: Restart= does not revive it.",
        Risk.HIGH,
        "start the unit again",
        JOB,
        also=("unit",),
    ),
    _replica(
        "systemd.reload",
        "reload the unit",
        "Has the running service read its configuration again, where its unit has ExecReload=.",
        Risk.LOW,
        "",
        JOB,
        also=("unit",),
    ),
)
CONTAINER = (
    _replica(
        "container.restart",
        "restart the container",
        "Stops the container's main process (SIGKILL after the grace) and starts the same container again.",
        Risk.MEDIUM,
        "",
        GRACE,
        HEALTH,
        also=("container",),
    ),
    _replica(
        "container.stop",
        "stop the container",
        "Stops the container's main process (SIGKILL after the grace); it stays stopped until somebody starts it.",
        Risk.HIGH,
        "start the container again",
        GRACE,
        also=("container",),
    ),
    _replica(
        "container.start",
        "start the container",
        "Starts the same container again, with the settings that it was made with.",
        Risk.LOW,
        "stop the container again",
        HEALTH,
        also=("container",),
    ),
)
HAPROXY = (
    _server(
        "haproxy.drain",
        "drain the server",
        "No new sessions reach the server; those that run go on. Refused if fewer than the floor would be left ready.",
        Risk.LOW,
        FLOOR,
    ),
    _server(
        "haproxy.maint",
        "put the server into maintenance",
        "No new sessions and no health checks; those that run go on. Refused below the floor.",
        Risk.LOW,
        FLOOR,
    ),
    _server(
        "haproxy.ready",
        "put the server back",
        "New sessions reach the server again, as its checks allow. A run that found it out leaves it as it found it.",
        Risk.LOW,
        ParamSpec("lift", FLAG, "put it back even if this run found it out", "no"),
    ),
    _server(
        "haproxy.weight",
        "weigh the server",
        "Gives the server a share of its configured weight, or a weight; 0 is refused below the floor.",
        Risk.LOW,
        ParamSpec("percent", WHOLE, "per cent of its configured weight", "", False, 1, 200),
        ParamSpec("weight", WHOLE, "the weight itself, instead of per cent", "", False, 0, 256),
        FLOOR,
    ),
)
ENGINE = (
    _replica(
        "engine.pause",
        "pause the engine",
        "The engine takes no new work, by its own call: vLLM in development mode, SGLang, Triton by unloading a model.",
        Risk.MEDIUM,
        "resume the engine",
        ParamSpec(
            "mode",
            CHOICE,
            "what becomes of requests in flight: wait for them, keep them frozen, abort them",
            "wait",
            choices=("wait", "keep", "abort"),
        ),
        ParamSpec("model", "text", "which model, where the engine pauses models one by one", ""),
        ParamSpec("deadline_s", SECONDS, "how long the requests in flight may take", "120", False, 1, HOUR),
    ),
    _replica(
        "engine.resume",
        "resume the engine",
        "Takes a pause back by the engine's own call.",
        Risk.LOW,
        "pause the engine again",
        ParamSpec("model", "text", "which model, where the engine pauses models one by one", ""),
        ParamSpec("deadline_s", SECONDS, "how long it may take; loading a model takes minutes", "300", False, 1, HOUR),
    ),
    _replica(
        "engine.drain",
        "end the engine, its requests first",
        "SIGTERM to the engine's root process alone, so that it finishes what it has; SIGKILL after the deadline.",
        Risk.HIGH,
        "",
        ParamSpec("deadline_s", SECONDS, "when what is left of it is killed", "60", False, 1, HOUR),
    ),
)
PROCESS = (
    ActionSpec(
        "process.stop",
        Scope.HOST,
        "SIGTERM to one process that holds a GPU, SIGKILL after the grace; then its memory is looked for.",
        "end the process",
        ("process",),
        (ParamSpec("grace_s", SECONDS, "how long after SIGTERM it is killed", "10", False, 0, 600),),
        Risk.HIGH,
    ),
)
GPU = (
    ActionSpec(
        "gpu.holders",
        Scope.GPU,
        "Looks who holds the GPU open, and what would let it go; changes nothing.",
        "look who holds the GPU",
        ("gpu",),
        (),
        Risk.LOW,
    ),
    ActionSpec(
        "gpu.let_go",
        Scope.HOST,
        "The agent closes the driver so that a GPU can be reset: until it resumes, nobody sees the GPUs of this host.",
        "let go of the driver",
        ("host", "gpu"),
        (),
        Risk.HIGH,
        "take the driver up again",
    ),
    ActionSpec(
        "gpu.resume",
        Scope.HOST,
        "The agent takes the driver up again and reads the GPUs.",
        "take the driver up again",
        ("host", "gpu"),
        (),
        Risk.LOW,
        "let go of the driver again",
    ),
)
DIAGNOSTICS = (
    ActionSpec(
        "diagnostics.collect",
        Scope.HOST,
        "Collects what a vendor asks for: driver, kernel log, unit journals, what was recorded; secrets are left out.",
        "collect diagnostics",
        ("host", "gpu", "replica"),
        (
            ParamSpec("minutes", WHOLE, "how far back logs and records go", "15", False, 1, 1440),
            ParamSpec("max_mib", WHOLE, "the most that all of it may take", "64", False, 1, 1024),
            ParamSpec("units", TEXT, "further units whose journals belong to it, with blanks between them", ""),
            ParamSpec("bug_report", FLAG, "also run nvidia-bug-report.sh where it is installed (minutes)", "no"),
        ),
        Risk.LOW,
    ),
)
SPECS: tuple[ActionSpec, ...] = (*SYSTEMD, *CONTAINER, *HAPROXY, *ENGINE, *PROCESS, *GPU, *DIAGNOSTICS)
SPEC_OF: dict[str, ActionSpec] = {spec.id: spec for spec in SPECS}
