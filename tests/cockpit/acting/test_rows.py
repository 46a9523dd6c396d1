"""Runs and actions as rows: one row for one run, whose it is, and whether anybody leads it."""

from dataclasses import replace

import pytest

from agent.wire.actions import ActionFacts, RunFacts
from agent.wire.frames import Facts
from agent.wire.shape import pack
from cockpit.clock import Instant
from cockpit.errors import UsageError
from cockpit.fleet.acting import heads
from cockpit.fleet.acting.names import target_name
from cockpit.fleet.acting.rows import SILENT_S, runs, who
from cockpit.fleet.acting.words import acting_target, entry_named, run_named
from cockpit.fleet.state import Fleet
from cockpit.inventory import HostEntry, UnixTarget
from tests.cockpit.fleets import feed
from tests.fakes.hosts import EPOCH, FakeHost

REPLICA = "replica:vllm:8000"
RUN = RunFacts("1a2b3c4d", "restart-replica", "h", REPLICA, "eva", "eva", "eva#a1", at=EPOCH, heard=EPOCH, host="id-b")


def fleet() -> Fleet:
    """Two hosts, a and b, each with a replica of the same name."""
    hosts = [FakeHost(name, gpus=1) for name in ("a", "b")]
    found = Fleet([HostEntry(host.name, UnixTarget("/run/x"), {}) for host in hosts])
    replica = {"id": "vllm:8000", "engine": "vllm", "port": 8000, "pids": [7], "pool": "llm"}
    for number, host in enumerate(hosts):
        backend = {"lb": "/run/h.sock", "kind": "haproxy", "backend": "llm", "server": "s0"}
        feed(found, number, host, replicas=[replica], backends=[backend])
    return found


def tell(found: Fleet, *told: RunFacts, later: float = 1.0) -> None:
    for host, run in enumerate(told):
        found.apply(host, Facts("runs", [pack(run)]), Instant(EPOCH + later, 101.0))
    found.age(Instant(EPOCH + later, 101.0))


def test_a_run_that_two_hosts_tell_of_is_one_row_of_the_host_that_it_is_about() -> None:
    found = fleet()
    tell(found, RUN, RUN)
    (item,) = runs(found)
    assert (item.target, item.hosts) == ("b vllm:8000", (1, 0))


def test_who_knows_the_end_of_a_run_is_believed() -> None:
    found = fleet()
    tell(found, replace(RUN, heard=EPOCH + 50), replace(RUN, state="done", ended=EPOCH + 40))
    (item,) = runs(found)
    assert (item.state, item.ended) == ("done", EPOCH + 40)


@pytest.mark.parametrize(("later", "state"), [(SILENT_S - 1, "running"), (SILENT_S + 1, "orphaned")])
def test_a_run_whose_leader_is_silent_is_orphaned_and_says_what_to_try(later: float, state: str) -> None:
    found = fleet()
    tell(found, RUN, RUN, later=later)
    (item,) = runs(found)
    assert item.state == state
    assert ("run --resume 1a2b3c4d" in item.says) is (state == "orphaned")


def test_an_older_agent_that_does_not_say_whose_is_asked_what_it_has() -> None:
    found = fleet()
    tell(found, replace(RUN, host=""), replace(RUN, host=""))
    (item,) = runs(found)
    assert item.target == "a vllm:8000"


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        ("host", "b"), (REPLICA, "b vllm:8000"), ("process:7", "b process 7"),
        ("unit:v@0.service", "b unit v@0.service"),
        ("container:vllm-0", "b container vllm-0"), ("backend:/run/h.sock/llm/s0", "b llm/s0 at /run/h.sock"),
        ("backend:odd", "b odd"), ("pool:llm", "pool llm"), ("gpu:GPU-b-0", "b GPU 0"),
    ],
)  # fmt: skip
def test_everything_that_can_be_acted_on_has_a_name(subject: str, name: str) -> None:
    assert target_name(fleet(), 1, subject) == name


@pytest.mark.parametrize(
    ("word", "host", "subject"),
    [
        ("b/vllm:8000", 1, REPLICA), ("b", 1, "host"), ("pool:llm", 0, "pool:llm"),
        ("b/unit:x.service", 1, "unit:x.service"),
        ("a/backend:/run/h.sock/llm/s0", 0, "backend:/run/h.sock/llm/s0"), ("b/gpu0", 1, "gpu:GPU-b-0"),
    ],
)  # fmt: skip
def test_a_target_may_be_named_in_every_way(word: str, host: int, subject: str) -> None:
    about = acting_target(fleet(), word)
    assert (about.host, about.subject) == (host, subject)


@pytest.mark.parametrize("word", ["pool:lm", "b/process:9", "b/backend:x", "b/container:", "c/unit:x", "b/vllm:9"])
def test_a_target_that_is_none_is_refused(word: str) -> None:
    with pytest.raises(UsageError):
        acting_target(fleet(), word)


def test_ids_may_be_shortened_until_they_could_be_several() -> None:
    found = fleet()
    tell(found, RUN, replace(RUN, id="1a2b9999"))
    for number, key in enumerate(("1a2b3c4d/1", "1a2b3c4d/2")):
        found.apply(number, Facts("actions", [pack(ActionFacts(key, "haproxy.drain", REPLICA))]), Instant(EPOCH, 1.0))
    assert run_named(found, "1a2b3").facts.id == "1a2b3c4d"
    with pytest.raises(UsageError, match="may be 2 runs"):
        run_named(found, "1a2b")
    with pytest.raises(UsageError, match="may be 2 actions"):
        entry_named(found, "1a2b3c4d/")
    assert entry_named(found, "1a2b3c4d/2").facts.key == "1a2b3c4d/2"


@pytest.mark.parametrize(("by", "user", "says"), [("eva", "eva", "eva"), ("eva", "al", "eva (al)"), ("", "al", "al")])
def test_a_claimed_name_never_hides_the_verified_user(by: str, user: str, says: str) -> None:
    assert who(by, user) == says


def digest(number: int) -> str:
    return f"{number:064x}"


def test_of_many_heads_the_oldest_the_newest_and_some_between_stay() -> None:
    seen = heads.Seen()
    for count in range(1, 1001):
        heads.meet(seen, count, digest(count))
    counts = sorted(seen.heads)
    assert len(counts) == heads.KEPT
    assert counts[0] == 1
    assert counts[-heads.NEWEST :] == list(range(1001 - heads.NEWEST, 1001))
    assert any(1 < count < 500 for count in counts)


def test_what_was_seen_first_is_not_replaced() -> None:
    seen = heads.Seen()
    assert heads.meet(seen, 5, digest(1))
    assert not heads.meet(seen, 5, digest(2))
    assert not heads.meet(seen, 6, "short")
    assert not heads.meet(seen, 0, digest(3))
    assert seen.heads == {5: digest(1)}
    other = heads.Seen("n", 9.0, {5: digest(2), 7: digest(7)})
    assert heads.joined({"h": seen}, {"h": other})["h"].heads == {5: digest(1), 7: digest(7)}


def test_what_is_written_down_is_read_again_and_nonsense_is_left_out() -> None:
    seen = {"h": heads.Seen("n01", 9.0, {5: digest(1)})}
    assert heads.read(heads.document(seen)) == seen
    odd = {"hosts": {"h": {"heads": {"5": digest(1), "x": digest(2), "6": 7}, "at": "x"}, "i": 3}}
    assert heads.read(odd) == {"h": heads.Seen("", 0.0, {5: digest(1)})}
    with pytest.raises(ValueError, match="no table"):
        heads.read([])
