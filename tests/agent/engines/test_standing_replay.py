"""Captures of real engines replayed on a fake clock, each repeated for as long as it takes: stuck or not."""

import dataclasses
from collections.abc import Iterable, Iterator

import pytest

from agent.engines.answer import Answer
from agent.engines.pages import Pages
from agent.engines.registry import ENGINES
from agent.engines.sample import ReplicaSample
from agent.engines.standing import Judge, Look, Process, Standing
from agent.wire.replicas import Phase, State
from tests.agent.engines.fixtures import page

NAMED = {engine.name: engine for engine in ENGINES}
START = 1_790_000_000.0
ROUND_S = 5.0
LOOKS = 16  # 75 s between the first and the last: T is 60 s where the time between tokens is not known
NOT_PAUSED, PAUSED, NO_SUCH_PAGE = (
    Answer(200, b'{"is_paused": false}'),
    Answer(200, b'{"is_paused": true}'),
    Answer(404, b'{"detail": "Not Found"}'),
)
HEALTHY = Answer(200)


class Replay:
    """An engine that answered so for a while; each capture is what it prints until the next one."""

    def __init__(self, engine: str, *, age: float = 7200.0) -> None:
        self.engine = NAMED[engine]
        self.judge = Judge(engine)
        self.mono = 0.0
        self.started = START - age
        self.samples: dict[tuple[object, ...], ReplicaSample] = {}

    def look(self, capture: str, answers: dict[str, Answer], *, missing: str = "") -> Standing:
        """One round."""
        self.mono += ROUND_S
        metrics = Answer(200, page(capture), "text/plain")
        key = (capture, *((path, answer.status, answer.body) for path, answer in answers.items()))
        if key not in self.samples:
            self.samples[key] = self.engine.parse(Pages({self.engine.metrics: metrics, **answers}))
        look = Look(
            self.mono,
            START + self.mono,
            Process.ALIVE,
            metrics=metrics,
            health=answers.get(self.engine.health),
            sample=self.samples[key],
            started=self.started,
            missing=missing,
        )
        return self.judge.hear(look)

    def looks(self, captures: Iterable[str], answers: dict[str, Answer], rounds: int = LOOKS) -> Iterator[Standing]:
        """So many rounds of each."""
        for capture in captures:
            for _ in range(rounds):
                yield self.look(capture, answers)


def states(found: Iterable[Standing]) -> list[State]:
    """What it was, round by round."""
    return [standing.state for standing in found]


def vllm(*captures: str, paused: Answer, replay: Replay | None = None) -> list[Standing]:
    names = [f"vllm/{capture}.prom" for capture in captures]
    return list((replay or Replay("vllm")).looks(names, {"/health": HEALTHY, "/is_paused": paused}))


def test_vllm_whose_worker_is_frozen_is_stuck_until_it_goes_on() -> None:
    replay = Replay("vllm")
    found = vllm("10-stuck-t0", replay=replay, paused=NOT_PAUSED)
    assert states(found[:13]) == [State.READY] * 12 + [State.STUCK], "60 s after the first look"
    stuck = found[-1]
    assert (stuck.phase, stuck.sure, stuck.window_s) == (Phase.STUCK, True, 60.0)
    counter = "vllm:iteration_tokens_total_count"
    assert stuck.evidence[0] == {"what": counter, "value": 1675.0, "unit": "count", "window_s": 60.0}
    assert stuck.evidence[1] == {"what": "demand", "value": 2.0, "unit": "count", "threshold": 0}
    assert {item["what"] for item in stuck.evidence[2:]} == {"running", "waiting", "kv.usage"}, "they are frozen too"
    later = vllm("11-stuck-t5", "12-stuck-after-probe", replay=replay, paused=NOT_PAUSED)
    assert set(states(later)) == {State.STUCK}
    (first, *_) = vllm("13-unstuck", replay=replay, paused=NOT_PAUSED)
    assert first.state is State.READY, "at once"


@pytest.mark.parametrize("capture", ["10-stuck-t0", "11-stuck-t5", "12-stuck-after-probe"])
def test_each_of_the_frozen_captures_becomes_stuck_by_itself(capture: str) -> None:
    assert vllm(capture, paused=NOT_PAUSED)[-1].state is State.STUCK
    unsure = vllm(capture, paused=NO_SUCH_PAGE)[-1]
    assert (unsure.state, unsure.sure) == (State.STUCK, False)
    assert unsure.says.startswith("stuck or paused: ")


@pytest.mark.parametrize(
    ("capture", "paused", "phases"),
    [
        ("20-paused-keep", PAUSED, {Phase.PAUSED}),
        ("21-paused-keep-newreq", PAUSED, {Phase.PAUSED}),
        ("22-resumed", NOT_PAUSED, {Phase.SERVING, Phase.IDLE}),
        ("23-paused-abort", PAUSED, {Phase.PAUSED}),
        ("24-sleep-level1", NOT_PAUSED, {Phase.ASLEEP}),
        ("25-awake", NOT_PAUSED, {Phase.SERVING, Phase.IDLE}),
        ("00-fresh-boot", NOT_PAUSED, {Phase.SERVING, Phase.IDLE}),
        ("01-idle", NOT_PAUSED, {Phase.SERVING, Phase.IDLE}),
        ("04-after-load", NOT_PAUSED, {Phase.SERVING, Phase.IDLE}),
    ],
)
def test_vllm_that_rests_is_never_stuck_however_long(capture: str, paused: Answer, phases: set[Phase]) -> None:
    found = vllm(capture, capture, capture, paused=paused)
    assert {standing.phase for standing in found} <= phases


STORY: tuple[tuple[str, Answer, Phase], ...] = (
    ("01-idle", NOT_PAUSED, Phase.IDLE),
    ("10-stuck-t0", NOT_PAUSED, Phase.STUCK),
    ("13-unstuck", NOT_PAUSED, Phase.IDLE),
    ("20-paused-keep", PAUSED, Phase.PAUSED),
    ("21-paused-keep-newreq", PAUSED, Phase.PAUSED),
    ("22-resumed", NOT_PAUSED, Phase.IDLE),
    ("23-paused-abort", PAUSED, Phase.PAUSED),
    ("24-sleep-level1", NOT_PAUSED, Phase.ASLEEP),
    ("25-awake", NOT_PAUSED, Phase.IDLE),
)


def test_vllm_in_the_order_of_its_captures_is_what_it_was() -> None:
    replay = Replay("vllm")
    found = [vllm(capture, replay=replay, paused=paused)[-1].phase for capture, paused, _ in STORY]
    assert found == [phase for _, _, phase in STORY]


def test_vllm_that_loads_a_minute_after_its_start_is_not_stuck_yet() -> None:
    replay = Replay("vllm", age=0.0)
    found = vllm("10-stuck-t0", replay=replay, paused=NOT_PAUSED)
    assert State.STUCK not in {standing.state for standing in found}, "80 s old"


def test_sglang_whose_scheduler_is_frozen_is_stuck_until_it_goes_on() -> None:
    replay = Replay("sglang")
    names = ["sglang/10-stuck-t0.prom", "sglang/11-stuck-t21.prom"]
    found = list(replay.looks(names, {"/ready": HEALTHY}))
    assert states(found[:13]) == [State.READY] * 12 + [State.STUCK]
    assert {standing.state for standing in found[13:]} == {State.STUCK}
    assert (found[-1].sure, found[-1].evidence[0]["what"]) == (True, "sglang:realtime_tokens_total")
    assert replay.look("sglang/04-after.prom", {"/ready": HEALTHY}).state is State.READY


def test_sglang_that_no_longer_calls_itself_ready_and_stands_still_does_not_drain() -> None:
    replay = Replay("sglang")
    replay.look("sglang/03-load-t0.prom", {"/ready": HEALTHY})
    found = list(replay.looks(["sglang/11-stuck-t21.prom"], {"/ready": Answer(503)}))
    assert (found[0].state, found[-1].state) == (State.DRAINING, State.STUCK)
    assert found[-1].sure, "nobody told it to pause"


def test_sglang_that_was_told_to_pause_is_paused() -> None:
    replay = Replay("sglang")
    replay.look("sglang/03-load-t0.prom", {"/ready": HEALTHY})
    found = list(replay.looks(["sglang/20-paused.prom"], {"/ready": Answer(503)}))
    assert {standing.phase for standing in found} == {Phase.PAUSED}


def test_sglang_after_sigterm_drains() -> None:
    replay = Replay("sglang")
    replay.look("sglang/30-drain-before.prom", {"/ready": HEALTHY})
    assert replay.look("sglang/30-draining.prom", {"/ready": Answer(503)}).state is State.DRAINING


def test_triton_whose_stub_is_dead_is_no_stuck_engine_but_a_dead_one() -> None:
    replay = Replay("triton")
    ready = {"/v2/health/ready": HEALTHY, "/v2/repository/index": Answer(200, b'[{"name":"delay","state":"READY"}]')}
    found = list(replay.looks(["triton/08-python-stub-dead.prom"], ready))
    assert {standing.phase for standing in found} <= {Phase.SERVING, Phase.IDLE}, "nothing waits for it"
    gone = replay.look("triton/08-python-stub-dead.prom", ready, missing="triton_python_backend_stub is gone")
    assert (gone.state, gone.phase) == (State.UNREADY, Phase.DEAD_ENGINE)


def test_triton_whose_failures_go_on_alone_is_dead_behind_its_200() -> None:
    replay = Replay("triton")
    ready = {"/v2/health/ready": HEALTHY}
    text = page("triton/08-python-stub-dead.prom")
    parse = replay.engine.parse
    found = []
    for failed in (7, 9, 11, 13):
        body = text.replace(b'reason="BACKEND",version="1"} 7', b'reason="BACKEND",version="1"} %d' % failed)
        sample = parse(Pages({"/metrics": Answer(200, body, "text/plain"), **ready}))
        replay.mono += ROUND_S
        look = Look(
            replay.mono, START + replay.mono, Process.ALIVE, metrics=HEALTHY, sample=sample, started=START - 7200
        )
        found.append(replay.judge.hear(look).phase)
    assert found[-1] is Phase.DEAD_ENGINE


@pytest.mark.parametrize(
    ("engine", "captures", "answers"),
    [
        ("vllm", ["vllm/02-load-t0.prom", "vllm/03-load-t3.prom"], {"/is_paused": NOT_PAUSED}),
        ("sglang", ["sglang/06-slow-load-t0.prom", "sglang/06-slow-load-t3.prom"], {"/ready": HEALTHY}),
        ("llamacpp", ["llamacpp/03-load-t0.prom", "llamacpp/03-load-t2.prom"], {"/health": HEALTHY}),
    ],
)
def test_an_engine_that_is_slow_but_works_is_not_stuck(
    engine: str, captures: list[str], answers: dict[str, Answer]
) -> None:
    replay = Replay(engine)
    # Each of the two moments for 50 s: shorter than the window, and progress in between.
    found = list(replay.looks(captures, answers, rounds=10))
    assert {standing.phase for standing in found} <= {Phase.SERVING, Phase.OVERLOADED}


@pytest.mark.parametrize(
    ("engine", "capture", "health"),
    [
        ("llamacpp", "llamacpp/02-idle.prom", "/health"),
        ("llamacpp", "llamacpp/04-after.prom", "/health"),
        ("triton", "triton/02-idle.prom", "/v2/health/ready"),
        ("triton", "triton/04-after.prom", "/v2/health/ready"),
        ("sglang", "sglang/02-idle.prom", "/ready"),
        ("tgi", "tgi/synthetic-load.prom", "/health"),
    ],
)
def test_an_idle_engine_is_never_stuck(engine: str, capture: str, health: str) -> None:
    replay = Replay(engine)
    sample = replay.engine.parse(Pages({replay.engine.metrics: Answer(200, page(capture), "text/plain")}))
    found = list(replay.looks([capture] * 4, {health: HEALTHY}))
    busy = bool(sample.demand or sample.running or sample.waiting)
    assert (State.STUCK in {standing.state for standing in found}) is busy


def test_a_standing_is_plain_data() -> None:
    stuck = vllm("10-stuck-t0", paused=NOT_PAUSED)[-1]
    assert all(isinstance(value, (str, int, float)) for item in stuck.evidence for value in item.values())
    assert dataclasses.is_dataclass(stuck)
