"""What agent and console call the states of a replica, and the facts that travel about it: sections `replicas`,
`latencies` and `backends`.

A number that an engine does not say is `unsupported` in the table of signals; here a text is empty and a time None.
"""

from dataclasses import dataclass
from enum import IntEnum

from agent.wire import limits
from agent.wire.shape import flag, mapping, optional, real, sequence, string, whole, wired

PREFIX = "replica:"  # of a subject
STUCK_PAGE = 2.0  # times its window until a stuck replica is worth a page


class State(IntEnum):
    """What the console shows of a replica; the value of the signal `replica.state`."""

    UNKNOWN = 0
    READY = 1
    STARTING = 2
    DRAINING = 3
    DRAINED = 4
    UNREADY = 5
    STUCK = 6
    DOWN = 7

    @property
    def word(self) -> str:
        """The word of the JSON and of the screens."""
        return self.name.lower()


class Phase(IntEnum):
    """Why it is so, in the order in which evidence is weighed; the value of the signal `replica.phase`."""

    UNKNOWN = 0
    DOWN = 1  # no process, and its port refuses
    CRASHLOOP = 2
    LOADING = 3
    SCRAPE_LOST = 4  # it runs, and did not answer before the deadline, twice in a row
    DEAD_ENGINE = 5  # its front answers, what computes is gone
    DRAINING = 6
    DRAINED = 7
    ASLEEP = 8
    PAUSED = 9
    STUCK = 10
    OVERLOADED = 11
    DEGRADED = 12
    SERVING = 13
    IDLE = 14

    @property
    def word(self) -> str:
        """The word of the JSON and of the screens: scrape-lost, dead-engine."""
        return self.name.lower().replace("_", "-")


STATE_OF: dict[Phase, State] = {
    Phase.UNKNOWN: State.UNKNOWN,
    Phase.DOWN: State.DOWN,
    Phase.CRASHLOOP: State.DOWN,
    Phase.LOADING: State.STARTING,
    Phase.SCRAPE_LOST: State.UNREADY,
    Phase.DEAD_ENGINE: State.UNREADY,
    Phase.DRAINING: State.DRAINING,
    Phase.DRAINED: State.DRAINED,
    Phase.ASLEEP: State.UNREADY,
    Phase.PAUSED: State.UNREADY,
    Phase.STUCK: State.STUCK,
    Phase.OVERLOADED: State.READY,
    Phase.DEGRADED: State.READY,
    Phase.SERVING: State.READY,
    Phase.IDLE: State.READY,
}


@dataclass(frozen=True, slots=True)
class ReplicaFacts:
    """One item of the section `replicas`: one serving process group, also after it is gone.

    `id` is its row in the table of replicas: the name given in the configuration, else `ENGINE:PORT` (with the address
    in front of the port where it is not the host's own). `carrier` is what prints the engine's numbers if that is
    something else (dynamo-worker, ray, triton). `pids` begin with the root; `gpus` are UUIDs; `gpu_map` is `driver`
    (NVML names its processes), `inferred` (its GPUs follow from its environment or unit alone), `hidden` or `none`.
    `state` and `phase` are words, `since` (wall seconds of the agent) when the state began, `says` one sentence why.
    `started` is when its root process began, `starts` how often that was within 10 min. `tested` says how its engine's
    reader is proven: run | fixtures | documents. `counter` names what tells its progress, `window_s` is how long that
    had to stand still for `stuck` (0 otherwise), `sure` is False where it may as well have been paused by somebody;
    `load_budget_s` is how long it may load, `objectives` what its owner wants of it: signals without `replica.` and
    the most they may be ("ttft.p99": 2.0); nobody else invents one.
    """

    id: str = wired(string())
    engine: str = wired(string(64), default="")
    carrier: str = wired(string(64), default="")
    version: str = wired(string(64), default="")
    models: tuple[str, ...] = wired(sequence(string(), 16), default=())
    address: str = wired(string(64), default="")
    port: int = wired(whole(0, 65535), default=0)
    url: str = wired(string(), default="")
    pids: tuple[int, ...] = wired(sequence(whole(), 256), default=())
    gpus: tuple[str, ...] = wired(sequence(string(), 64), default=())
    gpu_map: str = wired(string(32), default="none")
    user: str = wired(string(64), default="")
    unit: str = wired(string(), default="")
    container: str = wired(string(), default="")
    job: str = wired(string(), default="")
    pod: str = wired(string(), default="")
    pool: str = wired(string(), default="")
    role: str = wired(string(), default="")
    state: str = wired(string(32), default="unknown")
    phase: str = wired(string(32), default="unknown")
    since: float = wired(real(), default=0.0)
    says: str = wired(string(limits.TEXT), default="")
    started: float | None = wired(optional(real()), default=None)
    starts: int = wired(whole(), default=0)
    seen: float | None = wired(optional(real()), default=None)  # when it last answered, wall seconds
    tested: str = wired(string(32), default="run")
    evidence: tuple[str, ...] = wired(sequence(string(limits.TEXT), 16), default=())
    counter: str = wired(string(), default="")
    window_s: float = wired(real(0.0), default=0.0)
    sure: bool = wired(flag, default=True)
    load_budget_s: float = wired(real(0.0), default=0.0)
    objectives: dict[str, float] = wired(mapping(real(0.0), 16), default_factory=dict)


@dataclass(frozen=True, slots=True)
class BackendFacts:
    """One item of the section `backends`: a server behind a load balancer that runs on this host.

    `lb` names the balancer (its unit or socket), `state` is up, draining, maintenance, down or unknown; `says` is the
    balancer's own word. `in_flight` and `queued` are requests or sessions now, None where it does not say. `requests`
    and `errors` count since the balancer's start.
    """

    lb: str = wired(string())
    kind: str = wired(string(32))
    backend: str = wired(string())
    server: str = wired(string())
    address: str = wired(string(64), default="")
    port: int = wired(whole(0, 65535), default=0)
    state: str = wired(string(32), default="unknown")
    says: str = wired(string(limits.TEXT), default="")
    in_flight: int | None = wired(optional(whole()), default=None)
    queued: int | None = wired(optional(whole()), default=None)
    weight: int | None = wired(optional(whole()), default=None)
    requests: int | None = wired(optional(whole()), default=None)
    errors: int | None = wired(optional(whole()), default=None)
    since: float | None = wired(optional(real()), default=None)


def replica_subject(identity: str) -> str:
    """The subject of a replica's findings and events."""
    return f"{PREFIX}{identity}"
