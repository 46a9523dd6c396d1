"""Incidents that users feel: the cause comes first, its cost names replicas, and no GPU is blamed for an engine."""

from typing import Any

import pytest

from agent.wire.specs import Finding, Severity
from cockpit.cli import incident_items
from cockpit.clock import Instant
from cockpit.fleet.problems import problems
from cockpit.fleet.query import parse_filter
from cockpit.incidents import Book, Incident, Role, export
from cockpit.incidents.impact import impact, says
from cockpit.incidents.needs import needs
from cockpit.incidents.sought import sought
from tests.cockpit.test_replicas import fleet_of, instant
from tests.fakes.hosts import EPOCH, FakeHost
from tests.fakes.serving import ServingHost

NOW = Instant(EPOCH + 300, 400.0)


class Story:
    """One host that serves, what it tells, and the incidents of it."""

    def __init__(self) -> None:
        self.host = ServingHost()
        self.fleet = fleet_of(self.host)
        said = {"vllm:8000": 9.0}
        self.fleet.apply(0, self.host.numbers(EPOCH + 1, running=said, waiting={"vllm:8000": 3.0}), instant(1))
        self.book = Book()

    def turn(self, identity: str, state: str, says: str, when: float, **facts: Any) -> None:
        before = self.host.replicas[identity].state
        self.host.turn(identity, state, says, EPOCH + when, **facts)
        self.fleet.apply(0, self.host.told(), instant(when))
        text = f"{identity} is {state}: {says}"
        event = self.host.event(
            EPOCH + when, "replica", f"replica:{identity}", text, severity=Severity.WARNING,
            replica=identity, **{"from": before, "to": state},
        )  # fmt: skip
        self.fleet.apply(0, event, instant(when))

    def judge(self, found: Finding) -> Finding:
        self.fleet.apply(0, self.host.transition(found), instant(found.updated - EPOCH))
        return found

    def ill(self, identity: str, rule: str, when: float, **more: Any) -> Finding:
        return self.judge(self.host.ill(identity, rule, since=EPOCH + when, updated=EPOCH + when, **more))

    def lost(self, gpu: int, when: float, **more: Any) -> Finding:
        text = f"GPU {gpu} has fallen off the bus (XID 79)"
        found = self.host.finding(gpu, "gpu.lost", text=text, since=EPOCH + when, updated=EPOCH + when, **more)
        return self.judge(found)

    def look(self) -> list[Incident]:
        self.fleet.age(NOW)
        return self.book.look(self.fleet, NOW)


def fallen() -> Story:
    """GPU 2 falls off the bus under a tensor-parallel replica; its agent is quicker to see the replica than the GPU."""
    story = Story()
    story.turn("vllm:8000", "unready", "its EngineCore is gone", 9.0, phase="dead-engine")
    first = story.ill("vllm:8000", "replica.dead_engine", 9.0, text="vllm:8000: its engine is gone behind a 200")
    story.lost(2, 10.0, incident=first.id)
    story.ill("vllm:8000", "replica.on_sick_gpu", 11.0, incident=first.id, severity=Severity.INFO)
    story.turn("vllm:8000", "down", "no process, and port 8000 refuses", 20.0)
    story.ill("vllm:8000", "replica.down", 20.0, incident=first.id, text="vllm:8000 is down: no process")
    return story


def test_a_gpu_that_takes_its_replica_down_is_one_incident_with_the_gpu_as_the_cause() -> None:
    story = fallen()
    (incident,) = story.look()
    assert (incident.root.rule, incident.root.subject) == ("gpu.lost", f"gpu:{story.host.uuids[2]}")
    told = [(step.role, step.what) for step in incident.chain]
    assert told == [
        (Role.CAUSE, "gpu.lost"),
        (Role.EFFECT, "replica.dead_engine"),
        (Role.EFFECT, "replica.down"),
        (Role.ECHO, "replica.on_sick_gpu"),
    ] or told == [
        (Role.CAUSE, "gpu.lost"),
        (Role.EFFECT, "replica.dead_engine"),
        (Role.ECHO, "replica.on_sick_gpu"),
        (Role.EFFECT, "replica.down"),
    ]
    assert incident.replicas == ("replica:vllm:8000",)
    assert incident.gpus == (f"gpu:{story.host.uuids[2]}",)


def test_what_it_costs_names_the_replicas_and_their_requests() -> None:
    story = fallen()
    (incident,) = story.look()
    found = impact(story.fleet, incident)
    assert [story.fleet.replicas.ids[row] for row in found.replicas or ()] == ["vllm:8000"]
    assert says(story.fleet, found) == "GPU 2 of 8, 1 gone; replica vllm:8000 (chat-70b) down"
    item = incident_items.incident(story.fleet, incident, NOW)
    assert item["impact"]["replicas"] == [
        {
            "id": "vllm:8000", "pool": "chat-70b", "model": "llama-3.3-70b", "state": "down", "phase": "down",
            "requests": 12,
        }
    ]  # fmt: skip


def test_an_engine_that_is_wedged_on_healthy_gpus_is_the_cause_and_no_gpu_is_blamed() -> None:
    story = Story()
    story.turn("vllm:8000", "stuck", "no step for 60 s while 12 requests wait", 60.0)
    first = story.ill("vllm:8000", "replica.stuck", 60.0)
    story.ill("vllm:8000", "replica.queue_growing", 90.0, incident=first.id, text="vllm:8000: its queue grows")
    (incident,) = story.look()
    assert (incident.root.rule, incident.root.subject, incident.gpus) == ("replica.stuck", "replica:vllm:8000", ())
    assert [step.what for step in incident.chain] == ["replica.stuck", "replica.queue_growing"]
    found = impact(story.fleet, incident)
    assert (found.count, found.rows) == (0, ())
    assert says(story.fleet, found) == "replica vllm:8000 (chat-70b) stuck; no GPU is affected"
    (need,) = needs(story.fleet, story.book, NOW)
    row = story.fleet.replicas.row(0, "vllm:8000")
    assert (need.replica_row, need.gpu_row, need.count) == (row, None, 1)
    assert need.title.startswith("gpu-a01 vllm:8000 is stuck: no step for 60 s while 4 requests wait (since ")


@pytest.mark.parametrize(
    ("rules", "root"),
    [
        (("replica.queue_growing", "replica.stuck"), "replica.stuck"),
        (("replica.latency", "replica.kv_saturated", "replica.restart_loop"), "replica.restart_loop"),
        (("replica.down", "proc.dstate"), "proc.dstate"),
        (("replica.down", "host.oom"), "host.oom"),
        (("replica.dead_gpu_ok", "replica.errors"), "replica.dead_gpu_ok"),
        (("replica.errors", "replica.latency"), "replica.errors"),
        (("replica.latency", "replica.queue_growing"), "replica.queue_growing"),
        (("replica.latency", "replica.kv_saturated"), "replica.kv_saturated"),
        (("replica.latency", "replica.silent"), "replica.silent"),
    ],
)
def test_causes_rank_process_before_replica_before_queue_before_what_is_felt(rules: tuple[str, ...], root: str) -> None:
    story = Story()
    first = ""
    for at, rule in enumerate(rules):
        more: dict[str, Any] = {"incident": first} if first else {}
        if not rule.startswith("replica."):
            more["subject"] = "host"
        first = first or story.ill("vllm:8000", rule, float(at), **more).id
        if at:
            story.ill("vllm:8000", rule, float(at), **more)
    (incident,) = story.look()
    assert incident.root.rule == root


def test_an_incident_of_a_gpu_names_the_replicas_on_it_that_still_serve() -> None:
    story = Story()
    story.judge(story.host.finding(5, "thermal.hw", severity=Severity.WARNING, text="GPU 5 slows down: 93 C"))
    (incident,) = story.look()
    found = impact(story.fleet, incident)
    assert [story.fleet.replicas.ids[row] for row in found.replicas or ()] == ["triton:8020"]
    assert "replica triton:8020 (embed) ready" in says(story.fleet, found)


def test_an_agent_that_does_not_look_leaves_replicas_unknown_and_not_none() -> None:
    host = FakeHost()
    fleet = fleet_of(host)
    fleet.apply(0, host.transition(host.finding(1)), instant(1))
    (incident,) = Book().look(fleet, NOW)
    assert impact(fleet, incident).replicas is None
    assert incident_items.incident(fleet, incident, NOW)["impact"]["replicas"] is None


def test_the_timeline_and_the_export_tell_what_became_of_the_replica() -> None:
    story = fallen()
    (incident,) = story.look()
    lines = export.text(story.fleet, incident, NOW.wall)
    timeline = lines[lines.index(next(line for line in lines if line.startswith("TIMELINE"))) :]
    told = [line for line in timeline if "vllm:8000 is down: no process, and port 8000 refuses" in line]
    assert len(told) == 1
    assert " vllm:8000 " in told[0].replace("vllm:8000 is", "")
    assert any("replica vllm:8000 (chat-70b) down" in line for line in lines)
    assert "vllm:8000" in export.markdown(story.fleet, incident, NOW.wall)


def test_incidents_are_found_by_the_replica_that_they_are_about() -> None:
    story = fallen()
    found = story.look()
    for text, count in (
        ("engine=vllm", 1),
        ("engine=triton", 0),
        ("pool=chat-70b", 1),
        ("pool=embed", 0),
        ("state=down", 1),
    ):
        assert len(parse_filter(text).items(story.fleet, found, sought)) == count, text


def test_alike_replicas_are_counted_in_the_title() -> None:
    story = Story()
    first = story.ill("triton:8010", "replica.stuck", 1.0)
    story.ill("triton:8020", "replica.stuck", 2.0, incident=first.id)
    (incident,) = story.look()
    assert incident.title.endswith("(and 1 more replica)")


def test_a_problem_of_a_replica_says_what_it_is_and_where() -> None:
    story = Story()
    story.turn("vllm:8000", "stuck", "no step for 60 s", 60.0)
    tried = ({"what": "progress", "try": "restart it: `run restart-replica`"},)
    story.ill("vllm:8000", "replica.stuck", 60.0, evidence=tried)
    story.ill("vllm:8000", "replica.latency", 70.0, severity=Severity.WARNING, text="vllm:8000: p99 TTFT 9 s")
    story.fleet.age(NOW)
    (problem,) = problems(story.fleet, NOW)
    assert problem.title == "gpu-a01 vllm:8000 is stuck: no step for 60 s while 4 requests wait (since 22:14:20)"
    assert problem.detail == (
        "pool chat-70b, model llama-3.3-70b, GPUs 0-3, stuck; restart it: `run restart-replica`; also: p99 TTFT 9 s"
    )
    assert len(problem.findings) == 2


def test_what_fails_alike_on_one_host_is_told_together() -> None:
    story = Story()
    for port in (8010, 8020, 8030, 8040):
        story.ill(f"triton:{port}", "replica.down", 5.0, text=f"triton:{port} is down: no process")
    story.fleet.age(NOW)
    (problem,) = problems(story.fleet, NOW)
    assert problem.title == (
        "gpu-a01: each of 4 replicas (triton:8010, triton:8020, triton:8030 and 1 more) is down: no process "
        "(since 22:13:25)"
    )
    assert (problem.count, len(problem.findings)) == (4, 4)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("it is down, and its GPUs are well", "vllm:8000 is down, and its GPUs are well"),
        ("its queue grows", "vllm:8000: its queue grows"),
        ("vllm:8000 is stuck: no step for 60 s", "vllm:8000 is stuck: no step for 60 s"),
        ("vllm:8000: its queue grows", "vllm:8000: its queue grows"),
        ("requests to it fail", "vllm:8000: requests to it fail"),
        ("no progress for 30 s with 24 requests to do", "vllm:8000: no progress for 30 s with 24 requests to do"),
    ],
)
def test_a_sentence_about_a_replica_names_it_once_wherever_it_stands_alone(text: str, title: str) -> None:
    story = Story()
    story.ill("vllm:8000", "replica.down", 5.0, text=text)
    (incident,) = story.look()
    assert (incident.title, incident.chain[0].text) == (title, title)
    assert [problem.title for problem in problems(story.fleet, NOW)] == [f"gpu-a01 {title} (since 22:13:25)"]
    (need,) = needs(story.fleet, story.book, NOW)
    assert need.title == f"gpu-a01 {title} (since 22:13:25)"


def test_a_replica_of_which_nobody_can_say_how_it_is_is_a_problem_of_its_own() -> None:
    story = Story()
    story.host.turn("triton:8010", "unknown", "its metrics are HTML: http://127.0.0.1:8012/metrics", EPOCH + 5)
    story.fleet.apply(0, story.host.told(), instant(6))
    story.fleet.age(NOW)
    (problem,) = problems(story.fleet, NOW)
    assert problem.severity is Severity.UNKNOWN
    assert problem.title == (
        "gpu-a01 triton:8010: nobody can say how it is since 22:13:25: its metrics are HTML: "
        "http://127.0.0.1:8012/metrics"
    )
