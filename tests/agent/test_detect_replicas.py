"""Replicas in the engine of rules: rows, views, what asks a rule, what ends with a replica, and whose story it is."""

from typing import Any

import pytest

from agent.detect import Change
from agent.detect.limit import Limit
from agent.detect.rule import CLEAR, HOLD, UNKNOWN, Rule, Verdict, Word, gpu_rule, replica_rule
from agent.detect.view import GpuView, ReplicaView
from agent.wire.replicas import Phase, replica_subject
from agent.wire.requests import Annotation, Mark
from agent.wire.specs import Cadence, Finding, Quality, RuleSpec, Scope, Severity, gpu_subject
from tests.agent.detecting import uuid_of
from tests.agent.served import EMBED, LLM, Served

WAITING, OUT, STATE = "replica.waiting", "replica.tokens.out", "replica.state"


def spec(name: str, scope: Scope = Scope.REPLICA) -> RuleSpec:
    return RuleSpec(name, Severity.WARNING, scope, "when", "clears", "source", "traps", "observe")


MOST = Limit("most", 5, "count", "a test", 0, 100)


@replica_rule(spec("test.queue"), Cadence.MEDIUM, needs=frozenset({WAITING}), limits=(MOST,))
def queue(replica: ReplicaView, found: Finding | None) -> Verdict:
    del found
    value = replica.number(WAITING)
    if value is None:
        return UNKNOWN
    return Verdict(Word.FIRE, f"{replica.label} waits") if value > replica.limit("most") else CLEAR


@replica_rule(spec("test.rate"), Cadence.MEDIUM, windows={OUT: 60.0})
def rate(replica: ReplicaView, found: Finding | None) -> Verdict:
    del found
    grown = replica.growth(OUT, 60.0)
    return HOLD if grown is None else Verdict(Word.FIRE, f"{grown:.0f}") if grown < 60 else CLEAR


@replica_rule(spec("test.state"), Cadence.MEDIUM, judges_facts=True)
def state(replica: ReplicaView, found: Finding | None) -> Verdict:
    del found
    return Verdict(Word.FIRE, "it is down") if replica.facts.get("state") == "down" else CLEAR


@replica_rule(spec("test.under"), Cadence.MEDIUM, judges_gpus=True)
def under(replica: ReplicaView, found: Finding | None) -> Verdict:
    del found
    bad = [gpu.label for gpu in replica.gpus if any(one.severity >= Severity.WARNING for one in gpu.open)]
    return Verdict(Word.FIRE, " and ".join(bad)) if bad else CLEAR


@replica_rule(spec("test.event"), Cadence.MEDIUM, kinds=frozenset({"replica"}))
def event(replica: ReplicaView, found: Finding | None) -> Verdict:
    del found
    seen = replica.events("replica", 600.0)
    return Verdict(Word.FIRE, str(len(seen)), count=len(seen)) if len(seen) > 3 else CLEAR


PENDING = "gpu.remap.pending"


@gpu_rule(spec("test.gpu", Scope.GPU), Cadence.MEDIUM, needs=frozenset({PENDING}), kinds=frozenset({"replica"}))
def sick(gpu: GpuView, found: Finding | None) -> Verdict:
    del found
    return Verdict(Word.FIRE, "sick") if gpu.number(PENDING) else CLEAR


ALL = (sick, queue, rate, state, under, event)


def host(*rules: Rule) -> Served:
    served = Served(rules=rules or ALL)
    served.run(120)
    assert served.rules_open() == []
    return served


def test_a_rule_is_asked_for_each_replica_and_names_it_as_its_subject() -> None:
    served = host(queue)
    served.numbers[LLM]["waiting"] = 6
    served.run(10)
    (finding,) = served.engine.open()
    assert (finding.subject, finding.text) == (replica_subject(LLM), "vllm:8000 waits")
    served.numbers[LLM]["waiting"] = 1
    served.run(10)
    assert served.rules_open() == []


def test_counters_of_a_replica_have_windows_and_begin_again_with_its_engine() -> None:
    served = host(rate)
    served.numbers[EMBED]["tokens.out"] = 0
    served.run(40)
    assert served.rules_open() == [], "a counter that began again says nothing until its window is full"
    served.grows[EMBED]["tokens.out"] = 0.5
    served.run(75)
    assert [finding.subject for finding in served.engine.open()] == [replica_subject(EMBED)]


def test_numbers_of_a_replica_that_is_down_are_lost_and_its_state_is_known() -> None:
    served = host(queue, state)
    served.numbers[LLM]["waiting"] = 6
    served.run(10)
    served.tell(LLM, Phase.DOWN)
    assert served.rules_open() == ["test.queue", "test.state"], "at once, by its facts"
    served.run(60)
    states = {finding.rule: finding.state for finding in served.engine.open()}
    assert states == {"test.queue": "unknown", "test.state": "open"}
    row = served.engine._memory.replicas[LLM]
    assert row.series[WAITING].quality is Quality.LOST


def test_what_an_engine_cannot_say_is_unsupported_for_its_row_alone() -> None:
    served = host(queue)
    served.spoiled["waiting", EMBED] = Quality.UNSUPPORTED
    served.numbers[LLM]["waiting"] = 6
    served.run(10)
    assert [finding.subject for finding in served.engine.open()] == [replica_subject(LLM)]


def test_a_finding_on_a_gpu_asks_the_rules_of_the_replicas_on_it_at_once() -> None:
    served = host(sick, under)
    served.values[PENDING, 1] = 1
    served.run(10)
    opened = {finding.rule: finding for finding in served.engine.open()}
    assert opened["test.under"].subject == replica_subject(LLM)
    assert opened["test.under"].text == "GPU 1"
    served.values[PENDING, 1] = 0
    served.run(10)
    assert served.rules_open() == []


def test_a_replica_that_is_gone_stands_on_the_gpus_it_held_last() -> None:
    served = host(sick, under)
    served.tell(LLM, Phase.DOWN, gpus=(), pids=())
    served.values[PENDING, 0] = 1
    served.run(10)
    assert [finding.text for finding in served.found("test.under")] == ["GPU 0"]


def test_events_of_a_replica_ask_its_rules_alone_and_are_remembered_across_a_restart() -> None:
    served = host(event, sick)
    for phase in (Phase.DOWN, Phase.SERVING):
        served.tell(LLM, phase)
    assert served.rules_open() == []
    served.restart()
    served.tell(LLM, Phase.DOWN)
    assert [(finding.rule, finding.text) for finding in served.engine.open()] == [("test.event", "4")]


def test_what_a_replica_had_open_ends_when_it_is_retired() -> None:
    served = host(state)
    served.tell(LLM, Phase.DOWN)
    changes = [(one.finding.subject, one.change) for one in served.retire(LLM)]
    assert changes == [(replica_subject(LLM), Change.CLEARED)]
    assert LLM not in served.engine._memory.replicas


def test_what_was_open_stays_open_across_a_restart_of_the_agent() -> None:
    served = host(state)
    served.tell(LLM, Phase.DOWN)
    (before,) = served.engine.open()
    served.restart()
    served.run(30)
    (after,) = served.engine.open()
    assert after.id == before.id


def test_a_replica_that_was_retired_while_the_agent_was_away_has_nothing_open() -> None:
    served = host(state)
    served.tell(LLM, Phase.DOWN)
    del served.told[LLM]
    served.restart()
    assert [(one.finding.rule, one.change) for one in served.judge()] == [("test.state", Change.CLEARED)]


@pytest.mark.parametrize("subject", [replica_subject(LLM), gpu_subject(uuid_of(1)), "host", ""])
def test_maintenance_of_it_of_its_gpu_or_of_the_host_holds_its_findings_back(subject: str) -> None:
    served = host(state)
    now = served.now.wall
    mark = Annotation("m", Mark.MAINTENANCE, now, "ops", "ops", subject=subject, until=now + 60)
    served.engine.marks((mark,))
    served.tell(LLM, Phase.DOWN)
    served.tell(EMBED, Phase.DOWN)
    opened = {finding.subject for finding in served.engine.open()}
    assert opened == (set() if subject in ("host", "") else {replica_subject(EMBED)})


@pytest.mark.parametrize(
    "data", [None, 7, "x", [None], [{"id": 5}], [{"gpus": 3}], [{"id": "a", "gpus": 7, "models": "x", "pool": None}]]
)
def test_facts_that_make_no_sense_hurt_nobody(data: Any) -> None:
    served = host(state, under)
    served.engine.facts("replicas", data)
    served.judge()
    assert served.engine.notes() == ()
