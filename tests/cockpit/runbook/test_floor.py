"""The check before a replica goes out: the floor is judged by fresh readings alone; what is not known is waited for."""

from cockpit.fleet.link_state import LinkState, LinkStatus
from cockpit.inventory import PoolEntry
from cockpit.runbook.conditions import CONDITIONS
from cockpit.runbook.conditions.base import Look, Question, Word
from cockpit.runbook.records import Target
from tests.cockpit.runbook.scenes import Place, instant
from tests.cockpit.test_replicas import LIVE


def floor(place: Place, now: float, since: float, least: int = 3) -> Look:
    condition = CONDITIONS["pool.floor"]
    target = Target("gpu-a01", "gpu-a01", "replica:vllm:8000", "gpu-a01 vllm:8000")
    params = {"floor": str(least)}
    return condition.judge(Question(place.fleet, 0, target, params, instant(since).mono, instant(now)))


def test_it_holds_once_all_that_count_were_read_since_the_step_began() -> None:
    place = Place(chat=PoolEntry(4, 3))
    place.at(2.0)
    assert floor(place, 2.0, since=1.0).word is Word.UNKNOWN
    place.numbers(3.0)
    assert floor(place, 3.0, since=1.0) == Look(
        Word.HOLDS, "3 others of chat are ready, the floor is 3", floor(place, 3.0, since=1.0).stamp
    )


def test_a_link_that_is_silent_for_a_moment_is_waited_for_and_is_no_missing_replica() -> None:
    place = Place(chat=PoolEntry(4, 3))
    place.numbers(3.0)
    place.fleet.link_changed(2, LinkStatus(LinkState.STALE), instant(3.5))
    look = floor(place, 3.5, since=1.0)
    assert (look.word, look.says) == (Word.UNKNOWN, "1 of chat have not been read again yet")
    place.fleet.link_changed(2, LIVE, instant(4.0))
    assert floor(place, 4.0, since=1.0).word is Word.HOLDS


def test_one_that_is_down_is_missed_at_once() -> None:
    place = Place(chat=PoolEntry(4, 3))
    place.numbers(3.0)
    place.turn("gpu-a02", "vllm:8000", "down", 3.5)
    look = floor(place, 3.5, since=1.0)
    assert (look.word, look.says) == (Word.NOT_YET, "only 2 others of chat are ready, the floor is 3")


def test_one_that_is_drained_at_the_balancer_serves_nobody_and_may_come_back() -> None:
    place = Place(chat=PoolEntry(4, 3))
    place.balance(
        *(place.server(host.name, state="draining" if host.name == "gpu-a02" else "up") for host in place.hosts)
    )
    place.numbers(3.0)
    look = floor(place, 3.0, since=1.0)
    says = "only 2 others of chat take requests, the floor is 3: gpu-a02 vllm:8000 drained at the balancer"
    assert (look.word, look.says) == (Word.UNKNOWN, says)
    place.balance(*(place.server(host.name, state="up") for host in place.hosts))
    assert floor(place, 3.0, since=1.0).word is Word.HOLDS


def test_without_a_floor_nobody_is_waited_for() -> None:
    assert floor(Place(), 1.0, since=0.9, least=0).word is Word.HOLDS
