"""What is said of a replica: how it is named, what is meant, and what cannot be said."""

import re

import pytest

from agent.wire.requests import Mark
from cockpit.errors import UsageError
from cockpit.fleet import saying
from cockpit.fleet.saying import of_event, of_replica, target
from cockpit.fleet.state import Fleet
from tests.cockpit.test_replicas import fleet_of, instant, row_of
from tests.fakes.hosts import EPOCH
from tests.fakes.serving import ServingHost


@pytest.fixture
def fleet() -> Fleet:
    """gpu-a01: vllm:8000 down with a finding; both hosts have the same Tritons, one has a replica of its own."""
    first, second = ServingHost(), ServingHost("gpu-a02")
    second.add("llamacpp", 8080)
    fleet = fleet_of(first, second)
    first.turn("vllm:8000", "down", "no process, and port 8000 refuses")
    fleet.apply(0, first.told(), instant(1))
    fleet.apply(0, first.transition(first.ill("vllm:8000", "replica.down")), instant(1))
    fleet.apply(0, first.event(EPOCH + 1, "replica", "replica:triton:8010", "triton:8010 is draining"), instant(1))
    fleet.age(instant(2))
    return fleet


@pytest.mark.parametrize(
    ("word", "host", "subject"),
    [
        ("gpu-a01/vllm:8000", 0, "replica:vllm:8000"),
        ("gpu-a01/vllm", 0, "replica:vllm:8000"),
        ("gpu-a01/replica:vllm:8000", 0, "replica:vllm:8000"),
        ("gpu-a02:llamacpp:8080", 1, "replica:llamacpp:8080"),
        ("replica:llamacpp:8080", 1, "replica:llamacpp:8080"),
        ("gpu-a01/gpu3", 0, "gpu:GPU-gpu-a01-3"),
        ("gpu-a01:3", 0, "gpu:GPU-gpu-a01-3"),
        ("gpu-a01", 0, "host"),
        ("replica.down-vllm", 0, "replica:vllm:8000"),
    ],
)
def test_a_replica_is_meant_by_its_host_and_id(fleet: Fleet, word: str, host: int, subject: str) -> None:
    about = target(fleet, word)
    assert (about.host, about.subject) == (host, subject)


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("gpu-a01/triton", "gpu-a01/triton may be triton:8010, triton:8020, triton:8030, triton:8040; give more of it"),
        ("replica:vllm:8000", "replica 'vllm:8000' may be gpu-a01/vllm:8000, gpu-a02/vllm:8000; name its host"),
        ("replica:vlm:8000", "no replica 'vlm:8000'; did you mean 'vllm:8000'"),
        ("gpu-a01/vlm:8000", "has no GPU 'vlm:8000' and no such replica; it has 0 to 7; did you mean 'vllm:8000'"),
        ("gpu-a03/vllm:8000", "no host 'gpu-a03'"),
    ],
)
def test_what_could_be_several_or_is_none_is_refused_with_what_it_could_be(fleet: Fleet, word: str, says: str) -> None:
    with pytest.raises(UsageError, match=re.escape(says)):
        target(fleet, word)


def test_what_is_said_of_a_replica_names_it_and_hits_its_findings(fleet: Fleet) -> None:
    about = of_replica(fleet, row_of(fleet, "vllm:8000"))
    assert about.name(fleet) == "gpu-a01 vllm:8000"
    assert [finding.rule for finding in about.findings] == ["replica.down"]
    (ack,) = saying.acks(about, "eva", "moving it")
    assert (ack.request.kind, ack.request.subject) == (Mark.ACK, "replica:vllm:8000")
    (quiet,) = saying.silence(fleet, target(fleet, "gpu-a01/vllm:8000"), "", EPOCH + 60, "eva", "moving it")
    assert [finding.rule for finding in saying.hit(fleet, quiet)] == ["replica.down"]
    (note,) = saying.note(target(fleet, "gpu-a01/triton:8010"), "eva", "old weights")
    assert note.request.subject == "replica:triton:8010"


def test_an_event_of_a_replica_is_about_it(fleet: Fleet) -> None:
    entry = next(entry for entry in fleet.events if entry.event.kind == "replica")
    assert of_event(fleet, entry).name(fleet) == "gpu-a01 triton:8010"


def test_only_what_is_down_can_be_retired(fleet: Fleet) -> None:
    (gone,) = saying.retire(fleet, target(fleet, "gpu-a01/vllm:8000"), "eva", "the model moved")
    assert (gone.request.kind, gone.request.subject) == (Mark.RETIRE, "replica:vllm:8000")
    with pytest.raises(UsageError, match="gpu-a01 triton:8010 is ready, not down"):
        saying.retire(fleet, target(fleet, "gpu-a01/triton:8010"), "eva", "")
    with pytest.raises(UsageError, match="neither a GPU nor a replica"):
        saying.retire(fleet, target(fleet, "gpu-a01"), "eva", "")
