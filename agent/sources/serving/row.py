"""One replica's row of signals: each a number, or why there is none. PURE.

What an engine cannot say is `unsupported`, never zero; a value that could not be read keeps the last one beside it.
"""

from dataclasses import dataclass, field

from agent.engines.answer import Answer, Failure
from agent.engines.sample import ReplicaSample
from agent.engines.standing import Standing
from agent.sources.base import Value
from agent.sources.serving.signals import PERIOD_S, QUANTILES, RATES, SIGNALS
from agent.sources.serving.window import Latencies
from agent.wire.replicas import State
from agent.wire.signals import Quality

PREFIX = "replica."
STALE_S = 2 * PERIOD_S + 1.0
_FIELDS = {
    "running": "running",
    "waiting": "waiting",
    "kv.usage": "kv_usage",
    "capacity": "capacity",
    "requests": "requests",
    "errors": "errors",
    "tokens.in": "tokens_in",
    "tokens.out": "tokens_out",
    "shed": "shed",
    "preemptions": "preemptions",
    "prefix.hits": "prefix_hits",
    "prefix.queries": "prefix_queries",
    "progress": "progress",
}
NAMES = tuple(spec.name.removeprefix(PREFIX) for spec in SIGNALS)
_SAID = tuple(name for name in NAMES if name not in ("state", "phase", "uptime", "read.latency"))
_Q = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


@dataclass(slots=True)
class Row:
    """`values` by signal without `replica.`; None: never known. `bad` says why a value is not good. `read_at`:
    monotonic second of the reading they are from."""

    values: dict[str, Value | None] = field(default_factory=lambda: dict.fromkeys(NAMES))
    bad: dict[str, Quality] = field(default_factory=lambda: dict.fromkeys(NAMES, Quality.PENDING))
    read_at: float = 0.0

    def take(self, sample: ReplicaSample, latencies: Latencies, mono: float) -> None:
        """What was read at `mono`."""
        self.read_at = mono
        for name, attribute in _FIELDS.items():
            self._set(name, getattr(sample, attribute), Quality.UNSUPPORTED)
        for name, rate in latencies.rates.items():
            says = getattr(sample, RATES[name]) is not None
            self._set(name, rate.value, Quality.PENDING if says else Quality.UNSUPPORTED)
        bound = 0
        for place, name in enumerate(QUANTILES):
            kind, _, share = name.partition(".")
            window = latencies.by_kind[kind]
            if window.recent is None or not window.recent.edges:
                # Many print a histogram from its first observation on: until then it is not known to have buckets.
                said = getattr(sample, kind)
                is_empty = said is not None and not said.total
                self._set(name, None, Quality.PENDING if is_empty else Quality.UNSUPPORTED)
                continue
            found = window.quantile(_Q[share])
            self._set(name, None if found is None else found.value, Quality.PENDING)
            if found is not None and found.bound:
                bound |= 1 << (2 * place + (found.bound == ">"))
        self._set("quantiles.bound", bound, Quality.PENDING)
        whole = latencies.by_kind["e2e"]
        nothing = Quality.UNSUPPORTED if whole.recent is None or whole.recent.sum is None else Quality.PENDING
        self._set("e2e.mean", whole.mean, nothing)

    def miss(self, quality: Quality) -> None:
        """Nothing could be read, for this reason; what an engine cannot say stays unsupported."""
        for name in _SAID:
            if self.bad.get(name) is not Quality.UNSUPPORTED:
                self.bad[name] = quality

    def doubts(self, mono: float, period_s: float) -> dict[str, Quality]:
        """Why values are not good now. Who prints long pages is read every `period_s` only, more rarely than others:
        what is older than two periods of the others is stale."""
        if period_s <= STALE_S or mono - self.read_at <= STALE_S:
            return self.bad
        return {**dict.fromkeys(_SAID, Quality.STALE), **self.bad}

    def stand(self, standing: Standing, took_s: float | None, up_s: float | None) -> None:
        """How it stands, how long its slowest page took and how long it has been running."""
        self._set("state", int(standing.state), Quality.PENDING)
        self._set("phase", int(standing.phase), Quality.PENDING)
        self._set("read.latency", took_s, Quality.PENDING)
        self._set("uptime", up_s, Quality.LOST if standing.state is State.DOWN else Quality.UNSUPPORTED)

    def _set(self, name: str, value: Value | None, otherwise: Quality) -> None:
        if value is None:
            self.bad[name] = otherwise
            return
        self.values[name] = value
        self.bad.pop(name, None)


def quality_of(answer: Answer | None, standing: Standing) -> Quality:
    """Why a round brought no numbers."""
    if standing.state is State.DOWN:
        return Quality.LOST
    if answer is None or standing.state is State.STARTING:
        return Quality.PENDING
    if answer.failure is Failure.TIMEOUT:
        return Quality.TIMEOUT
    if answer.failure is Failure.DENIED or answer.status in (401, 403):
        return Quality.DENIED
    return Quality.ERROR
