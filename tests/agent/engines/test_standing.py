"""How a replica stands after rounds of questions on a fake clock: each phase, its order, and what is never said."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.engines.answer import Answer, Failure
from agent.engines.sample import ReplicaSample
from agent.engines.standing import Judge, Look, Process, Standing
from agent.engines.standing.progress import demand
from agent.wire.replicas import Phase, ReplicaFacts, State

START = 1_750_000_000.0
OK = Answer(200)
SILENT = Answer(failure=Failure.TIMEOUT, took_s=5.0)
REFUSED = Answer(failure=Failure.REFUSED)
BUSY = ReplicaSample(running=2, waiting=0, demand=2, progress=100, progress_name="steps", paused=False, ready=True)
IDLE = replace(BUSY, running=0, demand=0)
HOUR = 3600.0


class Played:
    """A judge that hears a round each five seconds; what a round leaves out is as it was in the one before."""

    def __init__(self, engine: str = "vllm", *, age: float = HOUR, budget: float = 900.0) -> None:
        self.judge = Judge(engine, budget)
        self.time = 0.0
        self.look = Look(0.0, START, Process.ALIVE, metrics=OK, health=OK, sample=IDLE, started=START - age)
        self.heard: list[Standing] = []

    def hear(self, rounds: int = 1, **changed: Any) -> Standing:
        """So many rounds like this."""
        self.look = replace(self.look, **changed)
        for _ in range(rounds):
            self.time += 5.0
            self.heard.append(self.judge.hear(replace(self.look, mono=self.time, wall=START + self.time)))
        return self.heard[-1]

    def works(self, rounds: int) -> Standing:
        """It goes on with what it has."""
        for _ in range(rounds):
            sample = self.look.sample
            assert sample is not None
            assert sample.progress is not None
            self.hear(sample=replace(sample, progress=sample.progress + 40))
        return self.heard[-1]

    def closed(self, rounds: int = 1, process: Process = Process.ALIVE, **changed: Any) -> Standing:
        """Nobody listens."""
        return self.hear(rounds, process=process, refused=True, metrics=REFUSED, health=REFUSED, sample=None, **changed)

    def opened(self, rounds: int = 1, sample: ReplicaSample = IDLE, **changed: Any) -> Standing:
        """It answers, and says this."""
        known = {"process": Process.ALIVE, "refused": False, "metrics": OK, "health": OK, "sample": sample, **changed}
        return self.hear(rounds, **known)

    def phases(self) -> list[Phase]:
        """What it went through, each once."""
        found: list[Phase] = []
        for standing in self.heard:
            if found[-1:] != [standing.phase]:
                found.append(standing.phase)
        return found


def test_an_engine_that_works_serves_and_one_that_rests_a_while_is_idle() -> None:
    played = Played()
    assert played.hear(4).phase is Phase.IDLE
    assert played.hear(sample=BUSY).phase is Phase.SERVING
    assert played.works(20).phase is Phase.SERVING
    assert played.hear(2, sample=replace(IDLE, progress=2000)).phase is Phase.SERVING, "between two requests it serves"
    assert played.hear(3).phase is Phase.IDLE
    assert {standing.state for standing in played.heard} == {State.READY}
    assert played.heard[-1].since == START + 5.0, "idle or not, it has been ready since the first look"


# stuck


def test_work_that_stands_still_for_a_minute_is_stuck_and_says_counter_demand_and_window() -> None:
    played = Played()
    played.hear(sample=BUSY)
    played.works(3)
    assert played.hear(11).state is State.READY, "55 s"
    found = played.hear()
    assert (found.state, found.phase, found.since) == (State.STUCK, Phase.STUCK, START + played.time)
    assert found.says == "no progress for 60 s with 2 requests to do: steps stood still"
    assert found.evidence[:2] == (
        {"what": "steps", "value": 220, "unit": "count", "window_s": 60.0},
        {"what": "demand", "value": 2, "unit": "count", "threshold": 0},
    )
    assert found.evidence[2] == {"what": "running", "value": 2, "unit": "count", "frozen_s": 60.0}
    assert (found.window_s, found.sure) == (60.0, True)
    assert played.hear(40) == found, "nothing in it ticks"


def test_a_front_whose_workers_are_gone_is_stuck_once_its_requests_hang_and_dead_again_without_them() -> None:
    gone = replace(BUSY, workers=0, ready=False)  # a worker that froze: Dynamo forgets it 10 s later, its requests hang
    played = Played("dynamo")
    played.hear(2, sample=replace(BUSY, workers=1))
    assert played.hear(sample=gone).phase is Phase.DEAD_ENGINE, "nobody would take the next request"
    found = played.hear(12)
    assert (found.state, found.says) == (State.STUCK, "no progress for 60 s with 2 requests to do: steps stood still")
    assert [one["what"] for one in found.evidence[:2]] == ["steps", "demand"]
    assert played.hear(sample=replace(gone, running=0, demand=0, progress=140)).phase is Phase.DEAD_ENGINE


@pytest.mark.parametrize(
    ("recovered", "says"),
    [(replace(BUSY, progress=101), Phase.SERVING), (IDLE, Phase.SERVING), (replace(IDLE, progress=1), Phase.SERVING)],
    ids=["a step", "nothing left to do", "a new engine"],
)
def test_recovery_clears_at_once(recovered: ReplicaSample, says: Phase) -> None:
    played = Played()
    assert played.hear(20, sample=BUSY).phase is Phase.STUCK
    assert played.hear(sample=recovered).phase is says


@pytest.mark.parametrize(
    ("engine", "itl", "e2e", "window_s"),
    [
        ("vllm", 0.05, None, 30.0),
        ("vllm", 4.0, None, 80.0),
        ("vllm", None, 100.0, 60.0),
        ("ray-serve", 0.05, 40.0, 120.0),
        ("ray-serve", None, 1.0, 60.0),
        ("ray-serve", None, None, 300.0),
    ],
)
def test_how_long_it_must_stand_still_follows_from_what_is_usual(
    engine: str, itl: float | None, e2e: float | None, window_s: float
) -> None:
    played = Played(engine)
    played.hear(2, itl_p99=itl, e2e_p99=e2e)
    # A stuck engine has no quantiles: the last that were known count.
    found = played.hear(int(window_s / 5), sample=BUSY, itl_p99=None, e2e_p99=None)
    assert found.state is State.READY
    found = played.hear()
    assert (found.state, found.window_s) == (State.STUCK, window_s)


def test_three_samples_at_least_must_have_seen_it() -> None:
    played = Played()
    played.hear(sample=BUSY, itl_p99=0.05)
    played.time += 30.0
    assert played.hear().state is State.READY, "two samples over 35 s"
    assert played.hear().state is State.STUCK


def test_the_first_two_minutes_of_an_engine_are_its_own() -> None:
    played = Played(age=10.0)
    assert played.hear(20, sample=BUSY).state is State.READY, "110 s old"
    assert played.hear(3).state is State.STUCK


def test_demand_that_comes_and_goes_while_nothing_is_counted_is_not_stuck() -> None:
    played = Played()
    for _ in range(30):
        played.hear(6, sample=BUSY)
        played.hear(sample=IDLE)
    assert Phase.STUCK not in played.phases()


@pytest.mark.parametrize(
    "sample",
    [
        IDLE,
        replace(BUSY, progress=None),
        replace(BUSY, demand=None, running=None, waiting=None),
        replace(BUSY, loading=True),
        replace(BUSY, asleep=True),
        replace(BUSY, paused=True),
        replace(BUSY, draining=True),
    ],
    ids=["idle", "no counter", "no demand", "loading", "asleep", "paused", "draining"],
)
def test_what_has_nothing_to_do_or_rests_on_purpose_is_never_stuck(sample: ReplicaSample) -> None:
    played = Played()
    played.hear(200, sample=sample)
    assert Phase.STUCK not in played.phases()


@pytest.mark.parametrize("word", [{"paused": True}, {"asleep": True}, {"loading": True}])
def test_after_a_rest_it_has_its_whole_window_again(word: dict[str, Any]) -> None:
    played = Played()
    played.hear(60, sample=replace(BUSY, **word))
    assert played.hear(12, sample=BUSY).state is State.READY
    assert played.hear().state is State.STUCK


def resumed(phase: Phase, **more: Any) -> Played:
    """The agent was started again; this is how it knew the replica."""
    played = Played()
    known = ReplicaFacts("vllm:8000", phase=phase.word, since=START - 500.0, says="so", started=START - HOUR, **more)
    played.judge.resume(known)
    return played


def test_what_was_stuck_before_the_agent_was_started_again_stays_so_until_it_moves() -> None:
    played = resumed(Phase.STUCK, window_s=60.0, sure=False)
    found = played.hear(5, sample=BUSY)
    assert (found.state, found.since, found.window_s, found.sure) == (State.STUCK, START - 500.0, 60.0, False)
    assert {standing.state for standing in played.heard} == {State.STUCK}
    assert played.works(1).state is State.READY


@pytest.mark.parametrize(
    "word", [{"sample": IDLE}, {"sample": BUSY, "started": START - 5.0}], ids=["nothing to do", "another process"]
)
def test_what_was_stuck_and_plainly_is_not_any_more_is_not(word: dict[str, Any]) -> None:
    assert resumed(Phase.STUCK, window_s=60.0).hear(**word).state is State.READY


def test_a_state_goes_on_from_when_it_began() -> None:
    assert resumed(Phase.SERVING).hear(sample=BUSY).since == START - 500.0
    assert resumed(Phase.DOWN).hear(sample=BUSY).since == START + 5.0
    assert resumed(Phase.DOWN).closed(process=Process.GONE).since == START - 500.0


def test_without_a_word_about_pauses_vllm_is_stuck_or_paused() -> None:
    played = Played()
    found = played.hear(20, sample=replace(BUSY, paused=None))
    assert (found.state, found.sure) == (State.STUCK, False)
    assert found.says.startswith("stuck or paused: no progress for 60 s")
    found = played.hear(sample=BUSY)
    assert (found.sure, found.says[:11]) == (True, "no progress")


def test_sglang_that_calls_itself_ready_is_not_paused_and_one_that_does_not_may_be() -> None:
    assert Played("sglang").hear(20, sample=replace(BUSY, paused=None)).sure
    played = Played("sglang")
    played.hear(2)
    found = played.hear(20, sample=replace(BUSY, paused=None, ready=False))
    assert (found.phase, found.sure) == (Phase.STUCK, False)


def test_progress_told_at_the_end_of_requests_needs_their_time() -> None:
    played = Played("tensorrt-llm")
    assert played.hear(60, sample=BUSY, e2e_p99=150.0).state is State.READY
    assert played.hear(32).state is State.STUCK


# down, scrape-lost, unknown


def test_a_process_that_is_gone_is_down_at_once() -> None:
    played = Played()
    played.hear()
    found = played.closed(process=Process.GONE)
    assert (found.state, found.says) == (State.DOWN, "its process is gone, and its port refuses connections")


def test_a_process_that_nobody_can_see_is_down_when_its_port_refuses_again_and_again() -> None:
    played = Played()
    played.hear(process=Process.HIDDEN, started=None)
    assert played.closed(2, Process.HIDDEN).state is State.READY
    assert played.closed(1, Process.HIDDEN).state is State.DOWN


@pytest.mark.parametrize("process", [Process.ALIVE, Process.HIDDEN])
def test_one_silent_read_is_nothing_two_are_scrape_lost_and_it_is_never_down(process: Process) -> None:
    played = Played()
    played.hear(process=process)
    assert played.hear(metrics=SILENT, health=SILENT, sample=None).state is State.READY
    found = played.hear()
    assert (found.state, found.phase) == (State.UNREADY, Phase.SCRAPE_LOST)
    played.hear(500)
    assert State.DOWN not in {standing.state for standing in played.heard}
    assert played.hear(metrics=OK, health=OK, sample=IDLE).state is State.READY, "back at once"


def test_silent_reads_that_alternate_with_good_ones_are_no_loss() -> None:
    played = Played()
    for _ in range(20):
        played.hear(metrics=SILENT, sample=None)
        played.hear(metrics=OK, sample=IDLE)
    assert played.phases() == [Phase.UNKNOWN, Phase.IDLE]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Answer(500), "HTTP 500"),
        (Answer(200, says="HTML instead of metrics"), "HTML instead of metrics"),
        (Answer(failure=Failure.TLS, says="the certificate is for another name"), "another name"),
        (Answer(failure=Failure.TOO_LARGE), "too-large"),
        (Answer(401, says="it wants a token"), "it wants a token"),
    ],
)
def test_what_answers_and_cannot_be_read_is_unknown_with_the_reason(answer: Answer, why: str) -> None:
    played = Played()
    played.hear()
    assert played.hear(metrics=answer, sample=None).state is State.READY, "once is nothing"
    found = played.hear()
    assert found.state is State.UNKNOWN
    assert why in found.says


def test_before_anything_was_said_nothing_is_known() -> None:
    assert Played().hear(metrics=None, health=None, sample=None).state is State.UNKNOWN


# loading, crash loops


def test_a_new_process_with_a_closed_port_loads_and_one_over_its_budget_says_so() -> None:
    played = Played(age=0.0, budget=300.0)
    found = played.closed(60)
    assert (found.state, found.phase) == (State.STARTING, Phase.LOADING)
    assert found.evidence == ()
    found = played.closed(2)
    assert (found.state, found.since) == (State.STARTING, START + 5.0)
    assert found.says.endswith("it loads, longer than the 5 min it may take")
    assert played.opened().state is State.READY


@pytest.mark.parametrize(
    "word",
    [
        {"sample": replace(IDLE, loading=True, ready=False)},
        {"sample": replace(IDLE, ready=False)},
        {"sample": None, "metrics": Answer(503), "health": Answer(503)},
        {"sample": replace(IDLE, workers=0)},
    ],
    ids=["says so", "not ready", "503 everywhere", "no worker"],
)
def test_what_was_never_ready_loads(word: dict[str, Any]) -> None:
    played = Played("llamacpp", age=0.0)
    assert played.hear(10, **word).phase is Phase.LOADING
    assert played.opened().state is State.READY


def test_three_starts_in_ten_minutes_are_a_crash_loop_until_the_newest_lasts() -> None:
    played = Played(age=5000.0)
    played.hear(2)
    for _ in range(3):
        played.closed(4, Process.GONE, started=None)
        played.closed(4, started=START + played.time)
    assert played.heard[-1].phase is Phase.CRASHLOOP
    assert (played.heard[-1].state, played.heard[-1].starts) == (State.DOWN, 3)
    assert played.heard[-1].evidence[0]["value"] == 3
    assert played.opened().phase is Phase.CRASHLOOP, "it has been up before"
    assert played.opened(30).state is State.READY, "two minutes"


def test_two_starts_are_none_and_old_ones_are_forgotten() -> None:
    played = Played(age=5000.0)
    for _ in range(6):
        played.closed(2, Process.GONE, started=None)
        played.closed(2, started=START + played.time)
        played.opened(60)
    assert Phase.CRASHLOOP not in played.phases()


def test_starts_that_an_action_asked_for_are_none_and_what_follows_is_counted_anew() -> None:
    played = Played(age=5000.0)
    for _ in range(4):
        played.closed(2, Process.GONE, started=None)
        played.closed(2, started=START + played.time, asked_for=True)
        played.opened(5)
    assert Phase.CRASHLOOP not in played.phases()
    assert played.heard[-1].starts == 1
    for _ in range(2):
        played.closed(4, Process.GONE, started=None)
        played.closed(4, started=START + played.time, asked_for=False)
    assert (played.heard[-1].phase, played.heard[-1].starts) == (Phase.CRASHLOOP, 3)


# dead engines, drains, rest


@pytest.mark.parametrize(
    "word",
    [
        {"missing": "VLLM::EngineCore is gone"},
        {"sample": replace(IDLE, dead="the engine core is dead")},
        {"health": Answer(503)},
        {"sample": replace(IDLE, workers=0)},
        {"sample": replace(IDLE, ready=False)},
    ],
    ids=["a child is gone", "its word", "503", "no worker", "not ready"],
)
def test_a_front_that_answers_for_nothing_is_a_dead_engine(word: dict[str, Any]) -> None:
    played = Played()
    played.hear(2)
    found = played.hear(3, **word)
    assert (found.state, found.phase) == (State.UNREADY, Phase.DEAD_ENGINE)
    assert found.says


def test_triton_that_fails_every_request_is_dead_behind_its_200_and_one_that_fails_some_is_not() -> None:
    played = Played("triton")
    good = replace(IDLE, requests=10, errors=0)
    played.hear(3, sample=good)
    for errors in (1, 3, 3, 5):
        played.hear(sample=replace(good, errors=errors, progress=100 + errors))
    found = played.heard[-1]
    assert (found.phase, found.evidence[0]["value"]) == (Phase.DEAD_ENGINE, 3), "as it was when it began"
    assert played.hear(sample=replace(good, errors=6, requests=11)).state is State.READY


def test_a_drain_is_drained_once_nothing_is_in_flight() -> None:
    played = Played("triton")
    played.hear(2)
    assert played.hear(sample=replace(BUSY, draining=True)).state is State.DRAINING
    assert played.hear(sample=replace(IDLE, draining=True)).state is State.DRAINED
    assert played.closed(process=Process.GONE).state is State.DOWN


def test_an_engine_that_does_not_say_what_runs_is_never_called_drained() -> None:
    played = Played("triton")
    played.hear(2)
    silent = replace(IDLE, draining=True, running=None, waiting=0, demand=0)
    assert played.hear(4, sample=silent).state is State.DRAINING


def test_a_port_that_closes_while_the_process_runs_drains_and_one_that_never_ends_is_dead() -> None:
    played = Played()
    played.hear(3)
    found = played.closed(2)
    assert (found.state, found.says) == (State.DRAINING, "its port is closed while its process runs: it ends")
    found = played.closed(20)
    assert (found.phase, found.state) == (Phase.DEAD_ENGINE, State.UNREADY)


def test_a_port_that_closes_while_the_numbers_go_on_is_a_drain_of_its_own() -> None:
    played = Played("triton")
    played.hear(3)
    found = played.hear(2, refused=True, health=REFUSED, sample=BUSY)
    assert (found.state, found.evidence) == (State.DRAINING, ())
    assert played.hear(sample=IDLE).state is State.DRAINED
    assert played.closed(2).evidence == ({"what": "port closed"},), "the last door too"


def test_sglang_that_is_no_longer_ready_and_works_on_drains() -> None:
    played = Played("sglang")
    played.hear(3)
    played.hear(sample=replace(BUSY, ready=False))
    assert played.works(40).state is State.DRAINING
    assert played.hear(sample=replace(IDLE, ready=False)).state is State.DRAINED


def test_what_was_asked_out_of_service_drains_whatever_it_says() -> None:
    played = Played()
    played.hear(3)
    assert played.hear(sample=BUSY, drain_asked=True).state is State.DRAINING
    assert played.hear(sample=IDLE).state is State.DRAINED
    assert played.hear(drain_asked=False).state is State.READY


def test_asleep_and_paused_are_unready_on_purpose() -> None:
    played = Played()
    assert played.hear(sample=replace(IDLE, asleep=True)).phase is Phase.ASLEEP
    found = played.hear(sample=replace(BUSY, paused=True))
    assert (found.phase, found.state, found.since) == (Phase.PAUSED, State.UNREADY, START + 5.0)
    assert found.phase_since == START + 10.0


# strain


@pytest.mark.parametrize(
    ("sample", "phase"),
    [
        (replace(BUSY, waiting=9, capacity=8), Phase.OVERLOADED),
        (replace(BUSY, waiting=8, capacity=8), Phase.SERVING),
        (replace(BUSY, waiting=9, capacity=None), Phase.SERVING),
        (replace(BUSY, kv_usage=0.99, preemptions=4), Phase.SERVING),
    ],
    ids=["more wait than it can do", "as many", "capacity unknown", "full without preemptions"],
)
def test_overload_is_a_queue_longer_than_it_can_work_on(sample: ReplicaSample, phase: Phase) -> None:
    played = Played()
    played.hear(sample=sample)
    assert played.works(4).phase is phase


def test_a_full_cache_is_overload_while_requests_are_pushed_out_of_it() -> None:
    played = Played()
    full = replace(BUSY, kv_usage=0.97, preemptions=4)
    played.hear(2, sample=full)
    found = played.hear(sample=replace(full, preemptions=6, progress=120))
    assert (found.phase, found.state) == (Phase.OVERLOADED, State.READY)
    assert played.works(20).phase is Phase.SERVING


def test_a_missed_objective_is_degraded_and_ready() -> None:
    played = Played()
    found = played.hear(slo_burning=True)
    assert (found.phase, found.state) == (Phase.DEGRADED, State.READY)


def test_a_process_that_is_back_is_not_down_although_it_does_not_answer_yet() -> None:
    played = Played()
    played.hear(2)
    played.closed(process=Process.GONE)
    found = played.hear(process=Process.ALIVE, refused=False, metrics=SILENT, health=SILENT, sample=None)
    assert found.state is State.STARTING
    assert played.hear().phase is Phase.SCRAPE_LOST


MAYBE = st.one_of(st.none(), st.booleans())
NUMBERS = st.one_of(st.none(), st.sampled_from([0.0, 1.0, 2.0, 7.0]))
SAMPLES = st.builds(
    ReplicaSample,
    running=NUMBERS, waiting=NUMBERS, capacity=NUMBERS, kv_usage=NUMBERS, preemptions=NUMBERS, requests=NUMBERS,
    errors=NUMBERS, progress=NUMBERS, demand=NUMBERS, asleep=MAYBE, paused=MAYBE, draining=MAYBE, loading=MAYBE,
    ready=MAYBE, dead=st.sampled_from(["", "the engine core is dead"]), workers=st.sampled_from([None, 0, 1]),
    start_time=st.sampled_from([None, START]),
)  # fmt: skip
ANSWERS = st.sampled_from([None, OK, SILENT, REFUSED, Answer(503), Answer(404), Answer(failure=Failure.TLS, says="no")])
LOOKS = st.builds(
    Look,
    mono=st.just(0.0), wall=st.just(0.0), process=st.sampled_from(Process), refused=st.booleans(), metrics=ANSWERS,
    health=ANSWERS, sample=st.one_of(st.none(), SAMPLES), started=st.sampled_from([None, START, START + 400.0]),
    missing=st.sampled_from(["", "a worker is gone"]), itl_p99=NUMBERS, e2e_p99=NUMBERS, drain_asked=st.booleans(),
    slo_burning=st.booleans(),
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(engine=st.sampled_from(["vllm", "sglang", "triton", "dynamo", "x"]), looks=st.lists(LOOKS, max_size=40))
def test_whatever_comes_a_judge_says_something_that_can_be_true(engine: str, looks: list[Look]) -> None:
    judge = Judge(engine)
    wall = START
    for number, look in enumerate(looks):
        wall += 35.0
        found = judge.hear(replace(look, mono=35.0 * number, wall=wall))
        assert found.says
        assert found.since <= found.phase_since <= wall
        assert not (found.phase is Phase.DOWN and look.process is Process.ALIVE)
        if look.sample is not None and (look.metrics is None or look.metrics.failure is Failure.NONE):
            rests = look.sample.paused or look.sample.asleep or look.sample.loading
            assert not (found.phase is Phase.STUCK and rests)
            assert not (found.phase is Phase.STUCK and not demand(look.sample))
        assert (found.window_s > 0) is (found.phase is Phase.STUCK)
