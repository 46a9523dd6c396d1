"""What a step waits for: only what was read after it began counts, and what is not known is never a yes."""

import pytest

from agent.wire.specs import Quality
from cockpit.fleet.link_state import LinkState, LinkStatus
from cockpit.runbook.conditions import ALL, CONDITIONS, Look, Question, Sounding, Word
from cockpit.runbook.records import Target
from tests.cockpit.runbook.scenes import Place, instant
from tests.fakes.hosts import EPOCH


def asked(
    place: Place, condition: str, since: float, *, subject: str = "replica:vllm:8000",
    sounding: Sounding | None = None, **params: str,
) -> Look:  # fmt: skip
    """What a condition says of gpu-a01 for a step that began `since` seconds after the first reading."""
    about = Target("id-gpu-a01", "gpu-a01", subject, "gpu-a01 vllm:8000")
    now = place.fleet.now
    return CONDITIONS[condition].judge(Question(place.fleet, 0, about, params, 100.0 + since, now, sounding))


def test_every_condition_is_registered_once_and_finishes_its_sentence() -> None:
    assert len(CONDITIONS) == len(ALL)
    assert all(one.words and one.readings >= 1 for one in ALL)


def seen(at: float, **before: str) -> Sounding:
    return Sounding(100.0 + at, before)


@pytest.mark.parametrize(
    ("condition", "sounding", "word"),
    [
        ("server.idle", None, Word.UNKNOWN),
        ("server.idle", seen(1.0, state="drain", in_flight="0", queued="0"), Word.UNKNOWN),  # asked before it began
        ("server.idle", Sounding(103.0, {}, "lb-01 cannot be reached"), Word.UNKNOWN),
        ("server.idle", seen(3.0), Word.UNKNOWN),
        ("server.idle", seen(3.0, state="drain"), Word.UNKNOWN),
        ("server.idle", seen(3.0, state="drain", in_flight="x", queued="0"), Word.UNKNOWN),
        ("server.idle", seen(3.0, state="drain", in_flight="1", queued="0"), Word.NOT_YET),
        ("server.idle", seen(3.0, state="drain", in_flight="0", queued="2"), Word.NOT_YET),
        ("server.idle", seen(3.0, state="ready", in_flight="0", queued="0"), Word.BROKEN),
        ("server.idle", seen(3.0, state="drain", in_flight="0", queued="0"), Word.HOLDS),
        ("server.idle", seen(3.0, state="maint", in_flight="0", queued="0"), Word.HOLDS),
        ("server.serves", seen(3.0, state="drain", status="DRAIN"), Word.NOT_YET),
        ("server.serves", seen(3.0, state="ready", status="DOWN 1/2"), Word.NOT_YET),
        ("server.serves", seen(3.0, state="ready", status="UP"), Word.HOLDS),
        ("server.serves", seen(3.0, state="ready", status="no check"), Word.HOLDS),
        ("server.checked", seen(3.0, state="drain", status="DOWN (DRAIN)"), Word.NOT_YET),
        ("server.checked", seen(3.0, state="drain", status="DRAIN"), Word.HOLDS),
    ],
)
def test_a_server_is_what_its_balancer_says_after_the_step_began(
    condition: str, sounding: Sounding | None, word: Word
) -> None:
    look = asked(Place(), condition, 2.0, sounding=sounding)
    assert look.word is word, look.says
    assert look.says


def test_a_replica_is_ready_only_by_a_reading_that_is_newer_than_the_step() -> None:
    place = Place()
    place.numbers(1.0)
    assert asked(place, "replica.ready", 1.0).word is Word.UNKNOWN
    assert asked(place, "replica.ready", 0.5).word is Word.HOLDS
    place.at(60.0)
    assert asked(place, "replica.ready", 0.5).word is Word.UNKNOWN, "old news"
    place.numbers(61.0)
    place.fleet.link_changed(0, LinkStatus(LinkState.UNREACHABLE), instant(61))
    look = asked(place, "replica.ready", 0.5)
    assert (look.word, "is not live" in look.says) == (Word.UNKNOWN, True)


@pytest.mark.parametrize(
    ("state", "ready", "well", "away"),
    [
        ("ready", Word.HOLDS, Word.HOLDS, Word.NOT_YET),
        ("starting", Word.NOT_YET, Word.NOT_YET, Word.NOT_YET),
        ("draining", Word.NOT_YET, Word.HOLDS, Word.HOLDS),
        ("drained", Word.NOT_YET, Word.HOLDS, Word.HOLDS),
        ("unready", Word.NOT_YET, Word.NOT_YET, Word.HOLDS),
        ("down", Word.NOT_YET, Word.NOT_YET, Word.HOLDS),
        ("stuck", Word.NOT_YET, Word.NOT_YET, Word.NOT_YET),
    ],
)
def test_a_replica_is_what_its_agent_says(state: str, ready: Word, well: Word, away: Word) -> None:
    place = Place()
    place.turn("gpu-a01", "vllm:8000", state, 3.0)
    assert asked(place, "replica.ready", 2.0).word is ready
    assert asked(place, "replica.well", 2.0).word is well
    assert asked(place, "replica.away", 2.0).word is away


def test_an_engine_that_does_not_count_its_requests_is_never_idle() -> None:
    place = Place()
    place.numbers(3.0)
    assert asked(place, "replica.idle", 2.0).word is Word.HOLDS
    place.numbers(4.0, running={"vllm:8000": 2.0}, waiting={"vllm:8000": 1.0})
    look = asked(place, "replica.idle", 2.0)
    assert (look.word, look.says) == (Word.NOT_YET, "3 requests at the engine of gpu-a01 vllm:8000")
    place.numbers(5.0, exceptions=[("replica.waiting", "vllm:8000", Quality.TIMEOUT)])
    assert asked(place, "replica.idle", 4.5).word is Word.UNKNOWN


def test_an_engine_that_prints_no_such_number_has_to_say_that_it_takes_none() -> None:
    place = Place()
    unsaid = [("replica.running", "triton:8010", Quality.UNSUPPORTED)]
    place.numbers(3.0, exceptions=unsaid)
    look = asked(place, "replica.idle", 2.0, subject="replica:triton:8010")
    assert look.word is Word.NOT_YET
    place.hosts[0].turn("triton:8010", "unready", phase="paused")
    place.fleet.apply(0, place.hosts[0].told(), instant(4))
    place.numbers(4.0, exceptions=unsaid)
    look = asked(place, "replica.idle", 2.0, subject="replica:triton:8010")
    assert (look.word, look.says.endswith("running requests are not counted by its engine")) == (Word.HOLDS, True)
    place.at(60.0)
    assert asked(place, "replica.idle", 2.0, subject="replica:triton:8010").word is Word.UNKNOWN


def test_requests_return_or_there_are_none_to_return() -> None:
    place = Place()
    place.numbers(3.0)
    look = asked(place, "replica.served", 2.0)
    assert (look.word, "nobody sends its pool requests" in look.says) == (Word.HOLDS, True)
    place.fleet.apply(1, place.hosts[1].numbers(EPOCH + 4, running={"vllm:8000": 4.0}), instant(4))
    place.at(4.0)
    assert asked(place, "replica.served", 2.0).word is Word.NOT_YET
    place.numbers(5.0, running={"vllm:8000": 1.0})
    assert asked(place, "replica.served", 2.0).word is Word.HOLDS


def test_the_floor_of_a_pool_counts_others_that_were_read_since() -> None:
    place = Place()
    assert asked(place, "pool.floor", 2.0, floor="3").word is Word.UNKNOWN
    place.numbers(3.0)
    assert asked(place, "pool.floor", 2.0, floor="3").word is Word.HOLDS
    place.turn("gpu-a02", "vllm:8000", "down", 4.0)
    look = asked(place, "pool.floor", 2.0, floor="3")
    assert (look.word, look.says) == (Word.NOT_YET, "only 2 others of chat are ready, the floor is 3")


def test_a_host_is_live_by_a_frame_since() -> None:
    place = Place()
    assert asked(place, "host.live", 2.0, subject="host").word is Word.NOT_YET
    place.numbers(3.0)
    assert asked(place, "host.live", 2.0, subject="host").word is Word.HOLDS


def test_what_is_critical_about_it_or_its_gpus_is_seen() -> None:
    place = Place()
    place.hosts[0].turn("vllm:8000", "ready", gpus=("GPU-1",))
    place.fleet.apply(0, place.hosts[0].told(), instant(3))
    place.numbers(3.0)
    assert asked(place, "replica.healthy", 2.0).word is Word.HOLDS
    found = place.hosts[0].finding(subject="gpu:GPU-1")
    place.fleet.apply(0, place.hosts[0].transition(found), instant(4))
    assert asked(place, "replica.healthy", 2.0).word is Word.NOT_YET
    assert asked(place, "replica.healthy", 9.0).word is Word.UNKNOWN
