"""Rules of replicas: each at its threshold, just below it, and where it must say nothing."""

from typing import Any

import pytest

from agent.detect import Change
from agent.detect.rule import Rule
from agent.detect.rules.replica import exposed, gone, load, service, wedged
from agent.wire.replicas import Phase, replica_subject
from agent.wire.specs import Cadence, Finding, Quality, Severity
from tests.agent.detecting import uuid_of
from tests.agent.served import EMBED, LLM, Served, started

MINE: tuple[Rule, ...] = (
    gone.replica_restart_loop, gone.replica_down, gone.replica_dead_gpu_ok, gone.replica_flapping,
    wedged.replica_stuck, wedged.replica_dead_engine, wedged.replica_silent, wedged.replica_slow_load,
    load.replica_queue_growing, load.replica_kv_saturated, service.replica_errors, service.replica_latency,
    exposed.replica_on_sick_gpu,
)  # fmt: skip
STUCK = {"says": "no progress for 60 s with 2 requests to do: steps stood still", "counter": "steps", "window_s": 60.0}


def host(**more: Any) -> Served:
    """A healthy host, watched for six minutes."""
    served = Served(rules=MINE, **more)
    served.run(360)
    assert served.rules_open() == []
    return served


def one(served: Served, rule: str) -> Finding:
    """What that rule has open, once."""
    (finding,) = served.found(rule)
    return finding


# replica.down and replica.dead_gpu_ok


def test_a_replica_that_stays_down_is_told_after_twenty_seconds_and_from_when_it_went() -> None:
    served = host()
    at = served.time
    served.tell(LLM, Phase.DOWN, says="its process is gone, and its port refuses connections")
    served.run(20)
    assert served.rules_open() == []
    served.run(10)
    finding = one(served, "replica.down")
    assert (finding.severity, finding.subject) == (Severity.CRITICAL, replica_subject(LLM))
    assert finding.text == "its process is gone, and its port refuses connections"
    assert finding.since == started(at)
    assert finding.evidence == (
        {"what": "state", "value": "down", "at": started(at)},
        {"what": "process", "value": "pid 100"},
        {"what": "GPUs", "value": "GPU 0, GPU 1"},
    )
    assert served.found("replica.dead_gpu_ok") == []
    served.run(30)
    told = one(served, "replica.dead_gpu_ok")
    assert (told.severity, told.runbook, told.incident) == (Severity.WARNING, "restart-replica", finding.id)
    assert told.evidence[-1]["value"] == "GPU 0, GPU 1"


def test_it_is_not_over_while_it_loads_again_only_once_it_is_ready() -> None:
    served = host()
    served.tell(LLM, Phase.DOWN)
    served.run(60)
    served.tell(LLM, Phase.LOADING)
    served.run(120)
    assert served.rules_open() == ["replica.dead_gpu_ok", "replica.down"]
    served.tell(LLM, Phase.IDLE)
    assert served.rules_open() == []


def test_a_restart_by_its_service_manager_is_no_loss() -> None:
    served = host()
    served.tell(LLM, Phase.DOWN)
    served.run(15)
    served.tell(LLM, Phase.LOADING)
    served.run(300)
    served.tell(LLM, Phase.IDLE)
    assert served.rules_open() == []


@pytest.mark.parametrize("way", [[Phase.DRAINING], [Phase.DRAINING, Phase.DRAINED], [Phase.DRAINED]])
def test_what_was_drained_first_went_on_purpose(way: list[Phase]) -> None:
    served = host()
    for phase in (*way, Phase.DOWN):
        served.tell(LLM, phase)
        served.run(10)
    served.run(300)
    assert served.rules_open() == []
    served.restart()
    served.run(300)
    assert served.rules_open() == [], "a restarted agent remembers that it was"


def test_a_port_that_fell_shut_before_the_process_went_is_no_drain() -> None:
    served = host()
    served.tell(LLM, Phase.DRAINING, why=[{"what": "port closed"}])
    served.run(5)
    served.tell(LLM, Phase.DOWN)
    served.run(30)
    assert served.rules_open() == ["replica.down"]


def test_a_drain_that_ends_with_a_closed_port_is_one_all_the_same() -> None:
    served = host()
    served.tell(LLM, Phase.DRAINING)
    served.tell(LLM, Phase.DRAINED)
    served.tell(LLM, Phase.DRAINING, why=[{"what": "port closed"}])
    served.tell(LLM, Phase.DOWN)
    served.run(120)
    assert served.rules_open() == []


def test_after_it_served_again_an_old_drain_excuses_nothing() -> None:
    served = host()
    for phase in (Phase.DRAINING, Phase.DOWN, Phase.LOADING, Phase.IDLE, Phase.DOWN):
        served.tell(LLM, phase)
        served.run(10)
    served.run(30)
    assert served.found("replica.down")


def test_gpus_with_a_finding_or_without_answers_are_not_called_well() -> None:
    served = host()
    sicken(served, 1)
    served.tell(LLM, Phase.DOWN)
    served.tell(EMBED, Phase.DOWN)
    served.silent.add(Cadence.FAST)
    served.run(120)
    assert served.found("replica.dead_gpu_ok") == []
    served.silent.clear()
    served.run(60)
    assert [finding.subject for finding in served.found("replica.dead_gpu_ok")] == [replica_subject(EMBED)]
    sicken(served, 2)
    served.judge()
    assert served.found("replica.dead_gpu_ok") == [], "something is found after all"


def test_of_a_replica_whose_gpus_nobody_knows_no_gpu_is_praised() -> None:
    served = host()
    served.told[LLM] = served.told[LLM].__class__(LLM, "vllm", gpu_map="hidden")
    served.engine._memory.replicas[LLM].gpus = ()
    served.tell(LLM, Phase.DOWN)
    served.run(300)
    assert served.rules_open() == ["replica.down"]


def test_after_a_boot_replicas_have_ten_minutes_to_come_back() -> None:
    served = Served(rules=MINE, uptime=30.0)
    served.tell(LLM, Phase.DOWN)
    served.run(500)
    assert served.rules_open() == []
    served.run(180)
    assert served.rules_open() == ["replica.dead_gpu_ok", "replica.down"]


# replica.restart_loop, replica.flapping


def test_a_crash_loop_is_told_at_once_and_instead_of_each_loss() -> None:
    served = host()
    served.tell(LLM, Phase.CRASHLOOP, starts=3, says="its process began 3 times within 10 min")
    assert served.rules_open() == ["replica.restart_loop"]
    finding = one(served, "replica.restart_loop")
    assert (finding.severity, finding.evidence[0]["value"], finding.runbook) == (Severity.CRITICAL, 3, "config")
    served.run(60)
    served.tell(LLM, Phase.DOWN, starts=3)
    served.run(60)
    assert served.rules_open() == ["replica.restart_loop"]
    served.tell(LLM, Phase.IDLE, starts=3)
    served.run(60)
    assert served.rules_open() == ["replica.restart_loop"], "it has been ready before"
    served.tell(LLM, Phase.IDLE, starts=2)
    assert served.rules_open() == []


@pytest.mark.parametrize(("losses", "told"), [(2, False), (3, True)])
def test_three_losses_within_half_an_hour_are_flapping(losses: int, told: bool) -> None:
    served = host()
    for _ in range(losses):
        served.tell(LLM, Phase.SCRAPE_LOST)
        served.run(20)
        served.tell(LLM, Phase.SERVING)
        served.run(120)
    assert bool(served.found("replica.flapping")) is told
    if told:
        finding = one(served, "replica.flapping")
        assert (finding.count, finding.severity) == (3, Severity.WARNING)
        assert [item["what"] for item in finding.evidence[1:]] == ["ready to unready"] * 3
        served.run(1900)
    assert served.rules_open() == []


@pytest.mark.parametrize("phase", [Phase.ASLEEP, Phase.PAUSED, Phase.DRAINING, Phase.DRAINED])
def test_what_rests_on_purpose_does_not_flap(phase: Phase) -> None:
    served = host()
    for _ in range(6):
        served.tell(LLM, phase)
        served.run(60)
        served.tell(LLM, Phase.SERVING)
        served.run(60)
    assert served.rules_open() == []


# replica.stuck


def test_a_stuck_replica_warns_at_once_and_pages_at_twice_its_window() -> None:
    served = host()
    served.grows[LLM].clear()
    at = served.time
    served.tell(LLM, Phase.STUCK, **STUCK)
    finding = one(served, "replica.stuck")
    assert (finding.severity, finding.text) == (Severity.WARNING, STUCK["says"])
    assert finding.since == started(at - 60.0), "it has stood still since before it was found"
    assert finding.evidence[0]["what"] == "steps"
    assert finding.evidence[0]["window_s"] == 60.0
    assert finding.evidence[1] == {"what": "demand", "value": 2, "unit": "count", "threshold": 0}
    served.run(55)
    assert one(served, "replica.stuck").severity is Severity.WARNING
    served.run(10)
    paged = one(served, "replica.stuck")
    assert (paged.severity, paged.id) == (Severity.CRITICAL, finding.id)
    assert served.rules_open() == ["replica.stuck"], "nothing else is told of it, and of its GPUs least of all"
    served.grows[LLM]["progress"] = 50.0
    served.run(10)
    served.tell(LLM, Phase.SERVING, window_s=0.0)
    assert served.rules_open() == []


def test_stuck_or_paused_is_a_warning_and_never_more() -> None:
    served = host()
    served.tell(LLM, Phase.STUCK, **STUCK, sure=False)
    served.run(1200)
    assert one(served, "replica.stuck").severity is Severity.WARNING


def test_an_agent_that_was_restarted_does_not_end_it_before_it_has_seen_a_step() -> None:
    served = host()
    served.grows[LLM].clear()
    served.tell(LLM, Phase.STUCK, **STUCK)
    served.run(30)
    before = one(served, "replica.stuck")
    served.restart()
    served.tell(LLM, Phase.SERVING, window_s=0.0)
    served.run(40)
    assert one(served, "replica.stuck").id == before.id
    served.grows[LLM]["progress"] = 50.0
    served.run(15)
    assert served.rules_open() == []


@pytest.mark.parametrize("phase", [Phase.IDLE, Phase.PAUSED, Phase.ASLEEP, Phase.LOADING, Phase.DRAINED])
def test_what_is_not_stuck_is_not_told(phase: Phase) -> None:
    served = host()
    served.grows[LLM].clear()
    served.tell(LLM, phase)
    served.run(600)
    assert served.rules_open() == []


# replica.dead_engine, replica.silent, replica.slow_load


def test_a_dead_engine_behind_its_front_is_told_after_fifteen_seconds() -> None:
    served = host()
    served.tell(EMBED, Phase.DEAD_ENGINE, says="triton_python_backend_stub is gone")
    served.run(15)
    assert served.rules_open() == []
    served.run(10)
    finding = one(served, "replica.dead_engine")
    assert (finding.severity, finding.text) == (Severity.CRITICAL, "triton_python_backend_stub is gone")
    served.tell(EMBED, Phase.LOADING)
    served.run(30)
    assert served.rules_open() == ["replica.dead_engine"]
    served.tell(EMBED, Phase.IDLE)
    assert served.rules_open() == []


def test_an_engine_that_dies_with_its_front_is_told_as_down_alone() -> None:
    served = host()
    served.tell(LLM, Phase.DEAD_ENGINE)
    served.run(5)
    served.tell(LLM, Phase.DOWN)
    served.run(30)
    assert served.rules_open() == ["replica.down"]


def test_silence_warns_after_a_minute_and_alarms_after_five() -> None:
    served = host()
    served.tell(LLM, Phase.SCRAPE_LOST, says="it accepts connections and does not answer before the deadline")
    served.run(60)
    assert served.rules_open() == []
    served.run(15)
    assert one(served, "replica.silent").severity is Severity.WARNING
    served.run(240)
    assert one(served, "replica.silent").severity is Severity.CRITICAL
    served.tell(LLM, Phase.SERVING)
    assert served.rules_open() == []


def test_numbers_that_cannot_be_read_are_a_warning_with_the_reason() -> None:
    served = host()
    says = "its numbers cannot be read: HTTP 401"
    served.tell(LLM, Phase.UNKNOWN, says=says, port=8000, seen=served.now.wall)
    served.tell(EMBED, Phase.UNKNOWN, says=says, port=8010, seen=None)
    served.run(700)
    told = {finding.subject: (finding.severity, finding.text) for finding in served.found("replica.silent")}
    assert told == {
        replica_subject(LLM): (Severity.WARNING, says),
        replica_subject(EMBED): (Severity.INFO, says),
    }, "what never could be read is a matter of configuration"


@pytest.mark.parametrize(("budget", "limit"), [(0.0, 900.0), (120.0, 120.0)])
def test_loading_too_long_is_told_by_its_own_budget_or_the_usual_one(budget: float, limit: float) -> None:
    served = host()
    served.tell(LLM, Phase.LOADING, started=served.now.wall, load_budget_s=budget)
    served.run(int(limit))
    assert served.rules_open() == []
    served.run(10)
    finding = one(served, "replica.slow_load")
    assert finding.text == f"it has been loading for more than the {limit / 60:.0f} min it may take"
    served.tell(LLM, Phase.IDLE)
    assert served.rules_open() == []


# replica.queue_growing, replica.kv_saturated


def test_a_queue_that_grows_while_less_gets_done_is_told() -> None:
    served = host()
    served.grows[LLM]["waiting"] = 0.1
    served.grows[LLM]["tokens.out"] = 30.0
    served.run(200)
    finding = one(served, "replica.queue_growing")
    assert finding.severity is Severity.WARNING
    waiting, rate = finding.evidence
    assert waiting["value"] > 1.4 * waiting["baseline"]
    assert rate["value"] < 0.8
    served.grows[LLM]["tokens.out"] = 200.0
    served.run(300)
    assert served.rules_open() == []


@pytest.mark.parametrize(
    ("waiting", "tokens"),
    [(0.1, 100.0), (0.1, 200.0), (0.0, 30.0), (0.01, 30.0)],
    ids=["same throughput", "more throughput", "no queue", "short queue"],
)
def test_a_queue_that_is_load_or_none_at_all_is_not_told(waiting: float, tokens: float) -> None:
    served = host()
    served.grows[LLM].update({"waiting": waiting, "tokens.out": tokens})
    served.run(300)
    assert served.rules_open() == []


def test_the_queue_of_what_is_stuck_is_no_story_of_its_own() -> None:
    served = host()
    served.grows[LLM] = {"waiting": 0.2}
    served.run(40)
    served.tell(LLM, Phase.STUCK, **STUCK)
    served.run(300)
    assert served.rules_open() == ["replica.stuck"]


def test_without_tokens_the_requests_count() -> None:
    served = host()
    served.spoiled["tokens.out", EMBED] = Quality.UNSUPPORTED
    served.grows[EMBED].update({"waiting": 0.1, "requests": 0.5})
    served.run(200)
    assert one(served, "replica.queue_growing").evidence[1]["what"] == "replica.requests"


def test_a_full_cache_that_pushes_requests_out_is_told_and_a_merely_full_one_is_not() -> None:
    served = host()
    served.numbers[LLM]["kv.usage"] = 0.98
    served.run(400)
    assert served.rules_open() == []
    served.grows[LLM]["preemptions"] = 0.1
    served.run(100)
    finding = one(served, "replica.kv_saturated")
    assert finding.evidence[0]["value"] == 0.98
    assert finding.evidence[1]["value"] >= 1
    served.numbers[LLM]["kv.usage"] = 0.92
    served.run(300)
    assert served.rules_open() == ["replica.kv_saturated"]
    served.numbers[LLM]["kv.usage"] = 0.5
    served.run(240)
    assert served.rules_open() == []


@pytest.mark.parametrize("usage", [0.93, 0.6])
def test_preemptions_without_a_full_cache_are_not_told(usage: float) -> None:
    served = host()
    served.numbers[LLM]["kv.usage"] = usage
    served.grows[LLM]["preemptions"] = 0.1
    served.run(600)
    assert served.rules_open() == []


# replica.errors, replica.latency


@pytest.mark.parametrize(
    ("errors", "requests", "severity"),
    [
        (0.2, 2.0, Severity.WARNING),
        (2.0, 2.0, Severity.CRITICAL),
        (2.0, 0.0, Severity.CRITICAL),
        (0.05, 2.0, None),
        (0.04, 0.02, None),
        (0.0, 2.0, None),
    ],
    ids=["a tenth", "half", "all", "one of forty", "too few", "none"],
)
def test_failed_requests_are_told_by_their_share_of_enough(
    errors: float, requests: float, severity: Severity | None
) -> None:
    served = host()
    served.grows[LLM]["requests"] = 0.0
    served.run(330)
    served.grows[LLM].update({"errors": errors, "requests": requests})
    served.run(330)
    assert [finding.severity for finding in served.found("replica.errors")] == ([] if severity is None else [severity])


def test_errors_ease_and_end() -> None:
    served = host()
    served.grows[LLM]["errors"] = 4.0
    served.run(330)
    assert one(served, "replica.errors").severity is Severity.CRITICAL
    served.grows[LLM]["errors"] = 0.3
    served.run(330)
    assert one(served, "replica.errors").severity is Severity.WARNING
    served.grows[LLM]["errors"] = 0.0
    served.run(600)
    assert served.rules_open() == []


def test_an_engine_that_does_not_count_errors_has_none_and_is_not_well_for_it() -> None:
    served = host()
    served.spoiled["errors", LLM] = Quality.UNSUPPORTED
    served.run(300)
    assert served.rules_open() == []


def test_latency_is_judged_by_the_objective_and_never_without_one() -> None:
    served = host()
    served.numbers[LLM]["ttft.p99"] = 30.0
    served.run(600)
    assert served.rules_open() == []
    served.tell(LLM, Phase.SERVING, objectives={"ttft.p99": 2.0, "itl.p99": 1.0})
    served.run(110)
    assert served.rules_open() == []
    served.run(30)
    finding = one(served, "replica.latency")
    assert finding.text == "time to first token (p99) is over its objective of 2 s"
    assert (finding.evidence[0]["value"], finding.evidence[0]["threshold"]) == (30.0, 2.0)
    served.numbers[LLM]["ttft.p99"] = 1.9
    served.run(140)
    assert served.rules_open() == []


@pytest.mark.parametrize("how", ["hidden", "at most", "other"])
def test_a_quantile_that_is_hidden_or_only_a_bound_says_nothing(how: str) -> None:
    served = host()
    served.tell(LLM, Phase.SERVING, objectives={"queue.p95": 0.2, "nonsense": 1.0})
    served.numbers[LLM]["queue.p95"] = 0.3
    if how == "hidden":
        served.spoiled["queue.p95", LLM] = Quality.PENDING
    else:
        served.numbers[LLM]["quantiles.bound"] = 1 << 14 if how == "at most" else 1 << 15
    served.run(300)
    assert bool(served.found("replica.latency")) is (how == "other"), "more than the value is over it"


# replica.on_sick_gpu


@pytest.mark.parametrize(
    ("severity", "told"), [(Severity.WARNING, Severity.INFO), (Severity.CRITICAL, Severity.WARNING)]
)
def test_a_replica_on_a_gpu_with_a_finding_is_named(severity: Severity, told: Severity) -> None:
    served = host()
    sicken(served, 1, severity)
    finding = one(served, "replica.on_sick_gpu")
    assert (finding.severity, finding.subject) == (told, replica_subject(LLM))
    assert finding.text == "it runs on GPU 1, where something was found"
    assert finding.evidence[0]["what"] == "remap.pending"
    for phase in (Phase.DOWN, Phase.LOADING, Phase.SERVING):
        served.tell(LLM, phase)
        assert one(served, "replica.on_sick_gpu").id == finding.id, "a restart on the same GPUs is no news of them"
    served.engine._memory.gpus[uuid_of(1)].open.clear()
    served.tell(LLM, Phase.IDLE)
    assert served.found("replica.on_sick_gpu") == []


def test_a_replica_that_is_down_is_not_said_to_run_on_anything() -> None:
    served = host()
    served.tell(LLM, Phase.DOWN)
    sicken(served, 1)
    assert served.found("replica.on_sick_gpu") == []


@pytest.mark.parametrize("rule", ["xid.app", "gpu.ghost_memory", "gpu.config_drift"])
def test_what_its_user_did_or_somebody_set_makes_no_gpu_sick(rule: str) -> None:
    served = host()
    sicken(served, 1, Severity.WARNING, rule)
    assert served.rules_open() == []
    served.tell(LLM, Phase.DOWN)
    served.run(60)
    assert served.rules_open() == ["replica.dead_gpu_ok", "replica.down"], "its GPUs are well all the same"


def test_mere_information_about_a_gpu_and_gpus_of_others_do_not_count() -> None:
    served = host()
    sicken(served, 1, Severity.INFO)
    sicken(served, 3, Severity.CRITICAL)
    assert served.rules_open() == []


def sicken(served: Served, gpu: int, severity: Severity = Severity.WARNING, rule: str = "remap.pending") -> None:
    """Another rule has something open there."""
    row, now = served.engine._memory.gpus[uuid_of(gpu)], served.now.wall
    finding = Finding("f00", rule, severity, row.subject, "sick", now, now)
    row.open[rule] = finding
    for above in served.engine._memory.over(row.subject):
        served.engine._wanted(above, served.engine._asks.over_gpus)
    served.judge()


def test_what_changes_is_told_once() -> None:
    served = host()
    served.tell(LLM, Phase.STUCK, **STUCK)
    seen = served.run(600)
    assert [(one.finding.rule, one.change) for one in seen] == [("replica.stuck", Change.UPDATED)], "when it pages"
