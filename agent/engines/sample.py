"""PURE. What one look at a replica says, in the same words for every engine. None: the engine does not say."""

from dataclasses import dataclass, field

from agent.wire.histogram import Histogram


@dataclass(frozen=True, slots=True)
class ReplicaSample:
    """Counters count since the engine's start; the reader of two samples makes rates of them.

    `running`, `waiting`, `capacity` are requests; `kv_usage` 0..1, the fullest rank's. `requests` counts finished ones
    that the engine calls good, `errors` bad ones by `errors_source` (the best there is), `shed` those turned away
    because it was full. `tokens_at_end` says that tokens move only when a request ends. `progress` grows while the
    engine works, `progress_name` is the counter that tells; `demand` is what waits for it to do so. `asleep`, `paused`,
    `draining`, `loading` are None where nobody can tell. `dead` is why what computes is gone although its front still
    answers; `trouble` one sentence about a payload that could be read in part only.
    """

    models: tuple[str, ...] = ()
    version: str = ""
    running: float | None = None
    waiting: float | None = None
    capacity: float | None = None
    kv_usage: float | None = None
    prefix_hits: float | None = None
    prefix_queries: float | None = None
    preemptions: float | None = None
    requests: float | None = None
    errors: float | None = None
    errors_source: str = ""
    shed: float | None = None
    tokens_in: float | None = None
    tokens_out: float | None = None
    tokens_at_end: bool = False
    ttft: Histogram | None = None
    itl: Histogram | None = None
    e2e: Histogram | None = None
    queue: Histogram | None = None
    progress: float | None = None
    progress_name: str = ""
    demand: float | None = None
    asleep: bool | None = None
    paused: bool | None = None
    draining: bool | None = None
    loading: bool | None = None
    dead: str = ""
    ready: bool | None = None
    start_time: float | None = None
    trouble: str = ""
    pids: tuple[int, ...] = ()
    workers: int | None = None  # of a front: how many stand behind it
    details: dict[str, str] = field(default_factory=dict)
