"""A simulated engine in the format of vLLM: continuous batching as a fluid.

A step of a batch of n requests takes `_STEP_S + _PER_REQUEST_S * n` seconds on a group of four GPUs at full clocks and
brings each of them one token. What is asked beyond the largest batch waits; what does not fit into the KV cache is
pushed out of it and computed again. A frozen engine freezes its gauges: what its clients still send shows nowhere.
"""

import json
import math
from dataclasses import dataclass
from typing import Any

from agent.engines.answer import Answer
from agent.sim.serving.engine import PATIENCE_S, Engine, Life, Mood
from agent.sim.serving.histogram import Spread
from agent.sim.serving.notes import EVERY_S, Note
from agent.sim.serving.page import Page
from agent.sim.serving.vllm_page import FAMILIES, SPREADS

VERSION = "0.32.0"
MAX_MODEL_LEN = 131_072
_STEP_S, _PER_REQUEST_S = 0.018, 0.00016
_PER_GPU = 625.0  # tokens a second asked of each GPU at demand 1; a full batch does a third more
_SLOTS = 32  # requests in a batch, for each GPU
_ROOM = 115_000.0  # tokens of KV cache, for each GPU
_PROMPT, _OUTPUT = 2400.0, 220.0  # tokens of a request, in the mean
_HIT = 0.42  # share of prompt tokens found in the prefix cache
_PREFILL_S = 0.11
_STATISTICS = (
    "[loggers.py:248] Engine 000: Avg prompt throughput: {:.1f} tokens/s, Avg generation throughput: {:.1f} tokens/s, "
    "Running: {:.0f} reqs, Waiting: {:.0f} reqs, GPU KV cache usage: {:.1f}%, Prefix cache hit rate: {:.1f}%"
)
_SAID = {
    Life.LOADING: (
        ("INFO", "[api_server.py:1839] vLLM API server version {0}"),
        ("INFO", "[gpu_model_runner.py:2602] Starting to load model /models/{1}..."),
    ),
    Life.UP: (
        ("INFO", "[core.py:218] init engine (profile, create kv cache, warmup model) took {3:.2f} seconds"),
        ("INFO", "[api_server.py:1912] Starting vLLM API server 0 on http://0.0.0.0:{2}"),
        ("INFO", "Application startup complete."),
    ),
    Life.FALLING: (
        ("ERROR", "[multiproc_executor.py:230] Worker proc died unexpectedly, shutting down executor."),
        ("ERROR", "[async_llm.py:480] AsyncLLM output_handler failed."),
        ("ERROR", "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace."),
    ),
    Life.ENDING: (("INFO", "[launcher.py:110] Shutting down: waiting for requests to finish."),),
}
_COUNTERS = ("tokens", "prompt_tokens", "hits", "stopped", "cut", "good", "refused", "failed", "preemptions")


@dataclass(frozen=True, slots=True)
class _Pace:
    """How it worked for a while: seconds between two tokens and before its turn, how fast, whether the cache was full,
    which share of requests failed, how much longer prompts were."""

    itl: float = 0.02
    queue: float = 0.0
    speed: float = 1.0
    thrashing: bool = False
    errors: float = 0.0
    context: float = 1.0


class Vllm(Engine):
    """See the module. Values by slot of the page's table."""

    lingers_s = 2.0  # in which its health is 503
    parting_s = 10.0
    patience_s = 60.0  # its --shutdown-timeout

    def _clear(self) -> None:
        self.running = self.waiting = self.kv = self.held = 0.0
        self.counted = dict.fromkeys(_COUNTERS, 0.0)
        self.spreads = {name: Spread(edges, spread) for name, (edges, spread) in SPREADS.items()}
        self._regime: tuple[float | bool, ...] = ()
        self._pace = _Pace()
        self._tokens = self._seconds = 0.0
        self._noted = -math.inf
        self._queued = math.inf  # since when there is a queue
        self._page: Page | None = None

    def _lived(self) -> None:
        for level, text in _SAID.get(self.life, ()):
            self._note(level, text.format(VERSION, self.replica.pool.model, self.replica.port, self.at - self.started))

    def _note(self, level: str, text: str) -> None:
        self.notes.append(Note(self.at, self.replica.pid(-9), level, text))

    def _work(self, dt: float, asked: float, speed: float) -> None:
        width = len(self.replica.gpus)
        per, context = 4.0 * _PER_REQUEST_S / width, (_PROMPT + _OUTPUT / 2.0) * self.context
        slots, room = _SLOTS * width, _ROOM * width / context
        batch = min(float(slots), room)
        most = batch * speed / (_STEP_S + per * batch)
        offered = asked * _PER_GPU * width if asked >= 0.0 else -asked * slots / (_STEP_S + per * slots)
        arrived = offered * dt / _OUTPUT + self.held
        self.held = 0.0
        backlog = self.waiting + arrived
        fades = self.life is Life.ENDING or self.mood is Mood.LEAVING or not self.replica.share
        if fades:
            backlog += self.running * min(1.0, dt / 8.0)
        thrashing = room < slots and backlog * _OUTPUT > most * dt
        served = min(most * (0.85 if thrashing else 1.0), backlog * _OUTPUT / dt)
        self.waiting = max(0.0, backlog - served * dt / _OUTPUT)
        self.running = self._fading(dt) if fades else self._batch(served, speed, per, batch)
        self.kv = min(0.999, self.running * context / (_ROOM * width))
        self._queued = min(self._queued, self.at) if self.waiting > 0.5 else math.inf
        if served > 0.0:
            itl = (_STEP_S + per * self.running) / speed
            queue = self._queue_s(served)
            regime = (round(itl, 3), round(queue, 1), round(speed, 2), thrashing, self.errors, self.context)
            if regime != self._regime:
                self._settle()
                self._regime, self._pace = regime, _Pace(itl, queue, speed, thrashing, self.errors, self.context)
            self._tokens += served * dt
            self._seconds += dt
        if self.at >= self._noted + EVERY_S:
            self._noted = self.at
            self._note("INFO", _STATISTICS.format(served * _PROMPT * self.context / _OUTPUT, served, self.running,
                                                  self.waiting, self.kv * 100.0, _HIT * 100.0))  # fmt: skip

    def _queue_s(self, served: float) -> float:
        """How long those whose turn it is have waited in the mean: a third of the time that there has been a queue at
        most, for in a hundred one waits three times as long."""
        if self.waiting <= 0.5:
            return 0.0006
        return min(self.waiting / (served / _OUTPUT), max(0.5, (self.at - self._queued) / 3.0))

    def _batch(self, served: float, speed: float, per: float, batch: float) -> float:
        """How many requests are worked on at that many tokens a second."""
        return batch if self.waiting > 0.01 else min(batch, served * _STEP_S / (speed - per * served))

    def finishes_s(self) -> float:
        """How long it takes for what it has, if nothing new comes."""
        return 4.0 * math.log(self.running / 0.4) + 1.0 if self.running > 0.4 else 0.5

    def _fading(self, dt: float) -> float:
        left = self.running * math.exp(-dt / 4.0)
        return left if left > 0.4 else 0.0

    def _settle(self) -> None:
        """Count what was done since the regime began: it is spread over counters and histograms at once."""
        tokens, seconds, pace = self._tokens, self._seconds, self._pace
        if not tokens:
            return
        self._tokens = self._seconds = 0.0
        self._count(tokens, tokens / _OUTPUT, pace)
        spreads, requests = self.spreads, tokens / _OUTPUT
        prefill = _PREFILL_S * (1.0 + self.running / (_SLOTS * len(self.replica.gpus))) * pace.context / pace.speed
        worked = prefill + _OUTPUT * pace.itl
        means = {"ttft": pace.queue + prefill, "tpot": pace.itl, "queue": pace.queue, "prefill": prefill,
                 "inference": worked, "e2e": pace.queue + worked, "http": pace.queue + worked,
                 "prompt": _PROMPT * pace.context, "output": _OUTPUT, "max_tokens": 4.0 * _OUTPUT, "n": 0.98,
                 "preempted": 1.4 if pace.thrashing else 0.1}  # fmt: skip
        for name, mean in means.items():
            spreads[name].observe(requests, mean)
        spreads["itl"].observe(tokens - requests, pace.itl)
        batch = tokens * pace.itl / seconds
        spreads["steps"].observe(seconds / pace.itl * min(1.0, batch), max(0.9, batch))

    def _count(self, tokens: float, requests: float, pace: _Pace) -> None:
        counted = self.counted
        failed = requests * pace.errors
        prompt = requests * _PROMPT * pace.context
        counted["tokens"] += tokens
        counted["prompt_tokens"] += prompt
        counted["hits"] += prompt * _HIT
        counted["failed"] += failed
        counted["good"] += requests - failed
        counted["refused"] += requests * 0.002
        counted["stopped"] += (requests - failed) * 0.88
        counted["cut"] += (requests - failed) * 0.12
        counted["preemptions"] += requests * 0.6 if pace.thrashing else 0.0

    def _hold(self, dt: float, asked: float) -> None:
        self._queued = min(self._queued, self.at)
        if self.mood is Mood.ASLEEP:
            self.running = self.waiting = self.kv = 0.0
        elif self.running < 1.0:
            self.running = 1.0  # what it was on when it stopped
        arriving = max(0.0, asked) * self._per_s()
        if not self.replica.share:
            self.held = self._fewer(self.held, dt)
        else:
            self.held = min(self.held + arriving * dt, arriving * PATIENCE_S)

    def _per_s(self) -> float:
        return _PER_GPU * len(self.replica.gpus) / _OUTPUT

    def _under_way(self) -> float:
        return self.running + self.waiting + self.held

    def _kept_waiting(self) -> float:
        return self.held

    def _answer(self, port: int, method: str, path: str, now: float) -> Answer:
        if method != "GET":
            return _json(405, {"detail": "Method Not Allowed"})
        if path == "/metrics":
            return Answer(200, self.page(now), "text/plain", "uvicorn")
        if path in ("/health", "/ping"):
            return Answer(503 if self.life is Life.FALLING or self.sick else 200, b"", "", "uvicorn")
        found = self._document(path)
        return _json(404, {"detail": "Not Found"}) if found is None else _json(200, found)

    def _document(self, path: str) -> dict[str, Any] | None:
        model = self.replica.pool.model
        if path == "/version":
            return {"version": VERSION}
        if path == "/load":
            return {"server_load": 0}  # it is not told to track it
        if path == "/v1/models":
            item = {"id": model, "object": "model", "created": int(self.started), "owned_by": "vllm",
                    "root": f"/models/{model}", "parent": None, "max_model_len": MAX_MODEL_LEN}  # fmt: skip
            return {"object": "list", "data": [item]}
        if path == "/is_paused" and self.dev:
            return {"is_paused": self.mood is Mood.PAUSED}
        if path == "/is_sleeping" and self.dev:
            return {"is_sleeping": self.mood is Mood.ASLEEP}
        return None

    def page(self, now: float) -> bytes:
        """Its metrics as they stand."""
        self._settle()
        if self._page is None:
            self._page = Page(FAMILIES, self.spreads, model=self.replica.pool.model)
        asleep = self.mood is Mood.ASLEEP
        counted = {name: float(int(value)) for name, value in self.counted.items()}
        values = {
            **counted,
            "computed": counted["prompt_tokens"] - counted["hits"],
            "running": round(self.running),
            "waiting": round(self.waiting),
            "kv": round(self.kv, 6),
            "awake": 0.0 if asleep else 1.0,
            "offloaded": 1.0 if asleep else 0.0,
            "start": round(self.started + 0.37, 2),
            "cpu": round((now - self.started) * 0.11, 2),
        }
        return self._page.filled(values, self.spreads)

    def saved(self) -> dict[str, Any]:
        """Its queues, counters and histograms."""
        self._settle()
        return {
            "queues": [self.running, self.waiting, self.kv, self.held],
            "sent": [self.sent, self.lost],
            "queued": self._queued if math.isfinite(self._queued) else None,
            "counted": list(self.counted.values()),
            "spreads": [spread.saved() for spread in self.spreads.values()],
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from there."""
        self._tokens = self._seconds = 0.0
        self.running, self.waiting, self.kv, self.held = saved["queues"]
        self.sent, self.lost = saved.get("sent", (self.sent, self.lost))
        since = saved.get("queued")
        self._queued = math.inf if since is None else float(since)
        self.counted = dict(zip(_COUNTERS, saved["counted"], strict=True))
        for spread, values in zip(self.spreads.values(), saved["spreads"], strict=True):
            spread.restore(values)


def _json(status: int, content: dict[str, Any]) -> Answer:
    return Answer(status, json.dumps(content, separators=(",", ":")).encode(), "application/json", "uvicorn")
