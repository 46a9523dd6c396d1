"""A simulated engine in the format of Triton: one model with dynamic batching, its numbers on a port of their own.

The fuller it is, the larger its batches. What it cannot take up at once is pending; beyond the longest queue requests
are turned away, which, as in Triton itself, no counter shows. Its health pages know nothing of whether it computes.
"""

import json
from typing import Any

from agent.engines.answer import Answer
from agent.sim.serving.engine import NOT_THERE, Engine, Life, Mood
from agent.sim.serving.page import Family, Page

VERSION = "2.51.0"
_AT_FULL = 400.0  # inferences a second asked of it at demand 1; it can do a third more
_MOST = 530.0
_BATCH = 8.0
_QUEUE = 2000.0  # requests
_INFER_S, _QUEUED_S = 0.0046, 0.0008
_UNLOADED = {
    Mood.LEAVING: {"state": "UNLOADING"},
    Mood.PAUSED: {"state": "UNAVAILABLE", "reason": "unloaded"},
    Mood.ASLEEP: {"state": "UNAVAILABLE", "reason": "unloaded"},
}
_COUNTERS = ("good", "failed", "items", "runs", "whole_us", "queue_us", "input_us", "infer_us", "output_us")
_EXTENSIONS = ("classification", "sequence", "model_repository", "model_repository(unload_dependents)",
               "schedule_policy", "model_configuration", "system_shared_memory", "cuda_shared_memory",
               "binary_tensor_data", "parameters", "statistics", "trace", "logging")  # fmt: skip

_L = 'model="{model}",version="1"'
_WHY = 'model="{model}",reason='

FAMILIES: tuple[Family, ...] = (
    Family("nv_inference_request_success", "counter", "Number of successful inference requests, all batch sizes",
           ((_L, "good"),)),
    Family("nv_inference_request_failure", "counter", "Number of failed inference requests, all batch sizes",
           ((_WHY + '"OTHER",version="1"', "0"), (_WHY + '"BACKEND",version="1"', "failed"),
            (_WHY + '"CANCELED",version="1"', "0"), (_WHY + '"REJECTED",version="1"', "0"))),
    Family("nv_inference_count", "counter", "Number of inferences performed (does not include cached requests)",
           ((_L, "items"),)),
    Family("nv_inference_exec_count", "counter",
           "Number of model executions performed (does not include cached requests)", ((_L, "runs"),)),
    Family("nv_inference_request_duration_us", "counter",
           "Cumulative inference request duration in microseconds (includes cached requests)", ((_L, "whole_us"),)),
    Family("nv_inference_queue_duration_us", "counter",
           "Cumulative inference queuing duration in microseconds (includes cached requests)", ((_L, "queue_us"),)),
    Family("nv_inference_compute_input_duration_us", "counter",
           "Cumulative compute input duration in microseconds (does not include cached requests)",
           ((_L, "input_us"),)),
    Family("nv_inference_compute_infer_duration_us", "counter",
           "Cumulative compute inference duration in microseconds (does not include cached requests)",
           ((_L, "infer_us"),)),
    Family("nv_inference_compute_output_duration_us", "counter",
           "Cumulative inference compute output duration in microseconds (does not include cached requests)",
           ((_L, "output_us"),)),
    Family("nv_inference_pending_request_count", "gauge",
           "Instantaneous number of pending requests awaiting execution per-model.", ((_L, "pending"),)),
    Family("nv_pinned_memory_pool_total_bytes", "gauge", "Pinned memory pool total memory size, in bytes",
           (("", "268435456"),)),
    Family("nv_pinned_memory_pool_used_bytes", "gauge", "Pinned memory pool used memory size, in bytes",
           (("", "0"),)),
    Family("nv_cpu_utilization", "gauge", "CPU utilization rate [0.0 - 1.0]", (("", "cpu"),)),
    Family("nv_cpu_memory_total_bytes", "gauge", "CPU total memory (RAM), in bytes", (("", "2199023255552"),)),
    Family("nv_cpu_memory_used_bytes", "gauge", "CPU used memory (RAM), in bytes", (("", "214748364800"),)),
)  # fmt: skip


class Triton(Engine):
    """See the module. Values by slot of the table."""

    parting_s = 1.5

    def _clear(self) -> None:
        self.pending = self.backlog = self.busy = 0.0
        self.counted = dict.fromkeys(_COUNTERS, 0.0)
        self._page = Page(FAMILIES, {}, model=self.replica.pool.model)

    @property
    def doors(self) -> tuple[int, ...]:
        """HTTP, metrics."""
        return (self.replica.port, self.replica.port + 2)

    def open(self, port: int) -> bool:
        """The serving port closes as soon as it is told to end, that of the metrics with the process."""
        return super().open(port) and (self.life is not Life.ENDING or port != self.replica.port)

    def _work(self, dt: float, asked: float, speed: float) -> None:
        most = _MOST * speed
        offered = asked * _AT_FULL if asked >= 0.0 else -asked * _MOST
        served = min(most, offered + self.backlog / dt)
        self.backlog = min(_QUEUE, max(0.0, self.backlog + (offered - served) * dt))
        self.busy = busy = served / most
        queued = _QUEUED_S / speed + 0.004 * busy * busy / (1.02 - busy) + (self.backlog / served if served else 0.0)
        self.pending = served * queued
        if served <= 0.0:
            return
        requests = served * dt
        failed = requests * self.errors
        infer = _INFER_S * (1.0 + busy) / speed
        counted = self.counted
        counted["failed"] += failed
        counted["good"] += requests - failed
        counted["items"] += requests - failed
        counted["runs"] += requests / (1.0 + (_BATCH - 1.0) * busy)
        counted["queue_us"] += requests * queued * 1e6
        counted["infer_us"] += requests * infer * 1e6
        counted["input_us"] += requests * 62.0
        counted["output_us"] += requests * 88.0
        counted["whole_us"] += requests * ((queued + infer) * 1e6 + 150.0)

    def _hold(self, dt: float, asked: float) -> None:
        offered = max(0.0, asked) * _AT_FULL
        self.busy = 0.0
        if self.mood is Mood.BROKEN:  # each request is taken up, and fails at once
            self.counted["failed"] += offered * dt
            self.pending = self.backlog = 0.0
        elif self.mood is Mood.FROZEN or self.mood is Mood.WELL:
            left = self.backlog if self.replica.share else self._fewer(self.backlog, dt)
            self.backlog = min(_QUEUE, left + offered * dt)
            self.pending = self.backlog
        else:
            self.pending = self.backlog = 0.0  # the model is unloaded: nothing is taken in

    def _per_s(self) -> float:
        return _AT_FULL

    def _under_way(self) -> float:
        return self.pending + self.busy * _BATCH if self.busy else self.pending

    def _kept_waiting(self) -> float:
        return self.backlog

    def _answer(self, port: int, method: str, path: str, now: float) -> Answer:
        if port != self.replica.port:
            return Answer(200, self.page(), "text/plain") if (method, path) == ("GET", "/metrics") else NOT_THERE
        model, loaded = self.replica.pool.model, self.mood not in _UNLOADED
        if method == "POST" and path == "/v2/repository/index":
            state = {"state": "READY"} if loaded else _UNLOADED[self.mood]
            return _json([{"name": model, "version": "1", **state}])
        if method != "GET":
            return Answer(405, b"", "text/plain")
        if path == "/v2":
            return _json({"name": "triton", "version": VERSION, "extensions": list(_EXTENSIONS)})
        if path in ("/v2/health/live", "/v2/health/ready"):
            return Answer(400 if self.sick and path.endswith("ready") else 200, b"", "text/plain")
        if path == f"/v2/models/{model}/ready":
            return Answer(200 if loaded and not self.sick else 400, b"", "text/plain")
        return NOT_THERE

    def page(self) -> bytes:
        """Its metrics as they stand."""
        counted = {name: float(int(value)) for name, value in self.counted.items()}
        return self._page.bare({**counted, "pending": float(int(self.pending)), "cpu": 0.02 + 0.2 * self.busy})

    def saved(self) -> dict[str, Any]:
        """Its queue and counters."""
        return {
            "queues": [self.pending, self.backlog, self.busy],
            "sent": [self.sent, self.lost],
            "counted": list(self.counted.values()),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from there."""
        self.pending, self.backlog, self.busy = saved["queues"]
        self.sent, self.lost = saved.get("sent", (self.sent, self.lost))
        self.counted = dict(zip(_COUNTERS, saved["counted"], strict=True))


def _json(content: object) -> Answer:
    return Answer(200, json.dumps(content, separators=(",", ":")).encode(), "application/json")
