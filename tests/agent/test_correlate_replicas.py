"""Whose story a replica's fault is: a GPU's, the host's, another replica's, or its own. Neighbours in time alone join
nothing, and no GPU is drawn into what an engine did by itself."""

from itertools import count

import pytest

from agent.detect.correlate import join
from agent.detect.kin import Kin
from agent.wire.specs import Finding, Severity
from tests.agent.test_scenarios import played

_ids = count(1)
EPOCH = 1_750_000_000.0
LLM, EMBED, TWIN = "replica:vllm:8000", "replica:triton:8010", "replica:vllm:8001"
KIN = Kin(
    {LLM: frozenset({"gpu:0", "gpu:1"}), EMBED: frozenset({"gpu:2"}), TWIN: frozenset({"gpu:3"})},
    {LLM: "chat", TWIN: "chat", EMBED: "embed"},
)
HOST = "host"


def finding(rule: str, subject: str, at: float, code: int | None = None) -> Finding:
    """A finding that began `at` seconds into the story."""
    evidence = ({"what": f"XID {code}", "value": 1},) if code is not None else ()
    since = EPOCH + at
    return Finding(f"{next(_ids):08x}", rule, Severity.CRITICAL, subject, rule, since, since, evidence=evidence)


def grouped(*story: Finding) -> list[list[str]]:
    """The story told in its order: rules by incident, incidents in the order in which they began."""
    known: list[Finding] = []
    groups: dict[str, list[str]] = {}
    for new in story:
        incident = join(known, new, KIN)
        known.append(Finding(**{name: getattr(new, name) for name in new.__slots__} | {"incident": incident}))
        groups.setdefault(incident or new.id, []).append(new.rule)
    return list(groups.values())


ONE_STORY = {
    "a GPU that is lost takes its replica down": (
        finding("gpu.lost", "gpu:1", 0.0, 79),
        finding("replica.on_sick_gpu", LLM, 0.0),
        finding("replica.down", LLM, 12.0),
        finding("replica.dead_gpu_ok", LLM, 12.0),
    ),
    "the ranks that are left hang until their collective times out": (
        finding("gpu.lost", "gpu:1", 0.0, 79),
        finding("replica.stuck", LLM, 20.0),
        finding("replica.down", LLM, 700.0),
    ),
    "the replica is told first and the GPU a little later": (
        finding("replica.down", LLM, 0.0),
        finding("gpu.lost", "gpu:0", 25.0, 79),
        finding("xid.fatal", "gpu:0", 25.0, 79),
    ),
    "an uncontained memory error ends all that runs": (
        finding("ecc.uncorrected", "gpu:2", 0.0),
        finding("xid.fatal", "gpu:2", 1.0, 95),
        finding("replica.dead_engine", EMBED, 5.0),
        finding("replica.down", EMBED, 15.0),
    ),
    "a bad kernel ends its own process": (
        finding("xid.app", "gpu:2", 0.0, 31),
        finding("replica.down", EMBED, 8.0),
        finding("replica.restart_loop", EMBED, 300.0),
    ),
    "the host runs out of memory": (
        finding("host.oom", HOST, 0.0),
        finding("replica.down", LLM, 5.0),
        finding("replica.dead_gpu_ok", LLM, 5.0),
    ),
    "the switches end all replicas of the host": (
        finding("sxid.fatal", HOST, 0.0),
        finding("replica.down", LLM, 15.0),
        finding("replica.down", EMBED, 20.0),
    ),
    "a hot GPU slows its replica": (
        finding("thermal.hw", "gpu:0", 0.0),
        finding("replica.queue_growing", LLM, 180.0),
        finding("replica.latency", LLM, 240.0),
    ),
    "those that are left have too much to do": (
        finding("replica.down", LLM, 0.0),
        finding("replica.queue_growing", TWIN, 120.0),
        finding("replica.latency", TWIN, 200.0),
    ),
    "it is stuck, then silent, then gone": (
        finding("replica.stuck", LLM, 0.0),
        finding("replica.silent", LLM, 300.0),
        finding("replica.errors", LLM, 900.0),
        finding("replica.down", LLM, 4000.0),
    ),
    "a GPU that has been ill for days names who is on it": (
        finding("remap.pending", "gpu:0", -500_000.0),
        finding("replica.on_sick_gpu", LLM, 0.0),
    ),
}


@pytest.mark.parametrize("story", ONE_STORY.values(), ids=ONE_STORY)
def test_one_cause_is_one_incident(story: tuple[Finding, ...]) -> None:
    assert grouped(*story) == [[one.rule for one in story]]


APART = {
    "a fault of another replica's GPU": (finding("gpu.lost", "gpu:3", 0.0, 79), finding("replica.down", LLM, 5.0)),
    "a GPU that has been ill for days is not blamed for an engine that dies now": (
        finding("remap.pending", "gpu:0", -500_000.0),
        finding("replica.down", LLM, 0.0),
    ),
    "what is found on its GPU long after it got stuck": (
        finding("replica.stuck", LLM, 0.0),
        finding("gpu.ghost_util", "gpu:0", 600.0),
    ),
    "two engines that die in the same minute": (finding("replica.down", LLM, 0.0), finding("replica.down", EMBED, 5.0)),
    "a full disk": (finding("host.disk", HOST, 0.0), finding("replica.down", LLM, 5.0)),
    "a queue of another pool": (finding("replica.down", LLM, 0.0), finding("replica.queue_growing", EMBED, 60.0)),
    "a queue of the pool an hour later": (
        finding("replica.down", LLM, 0.0),
        finding("replica.queue_growing", TWIN, 3600.0),
    ),
    "a GPU that nobody holds": (finding("gpu.lost", "gpu:9", 0.0, 79), finding("replica.down", LLM, 5.0)),
}


@pytest.mark.parametrize("story", APART.values(), ids=APART)
def test_what_has_nothing_to_do_with_each_other_stays_apart(story: tuple[Finding, ...]) -> None:
    assert grouped(*story) == [[one.rule] for one in story]


def incidents(name: str) -> list[dict[str, set[str]]]:
    """Each incident of a scenario: rules by subject, GPUs as `gpu`."""
    groups: dict[str, dict[str, set[str]]] = {}
    for event in played(name).events():
        if event.kind == "finding" and event.data["change"] == "opened":
            found = event.data["finding"]
            subject = "gpu" if found["subject"].startswith("gpu:") else found["subject"]
            groups.setdefault(found["incident"] or found["id"], {}).setdefault(subject, set()).add(found["rule"])
    return list(groups.values())


def test_a_gpu_lost_under_a_tensor_parallel_replica_is_one_incident_from_xid_to_users() -> None:
    (incident,) = incidents("gpu-lost-under-replica")
    assert incident["gpu"] >= {"gpu.lost", "xid.fatal"}
    assert "replica.down" in incident["replica:vllm:8000"]
    assert "replica.dead_gpu_ok" not in incident["replica:vllm:8000"]


def test_an_engine_wedged_on_healthy_gpus_is_a_story_of_its_own_and_blames_no_gpu() -> None:
    (incident,) = incidents("replica-stuck")
    assert incident == {"replica:vllm:8000": {"replica.stuck"}}


def test_the_kernel_that_kills_an_engine_for_memory_is_its_cause() -> None:
    (incident,) = incidents("oom-kills-replica")
    assert incident["host"] == {"host.oom"}
    assert incident["replica:vllm:8000"] == {"replica.down", "replica.dead_gpu_ok"}
