"""Pools of replicas: who is ready of whom there should be, what they do together, what users wait, in one sentence."""

import math

import pytest

from agent.wire.frames import Facts
from agent.wire.specs import Quality, Severity
from cockpit.fleet import pools, rollup
from cockpit.fleet.link_state import LinkState, LinkStatus
from cockpit.fleet.pools import PoolRoll, calls
from cockpit.fleet.problems import problems
from cockpit.fleet.query import parse_filter
from cockpit.fleet.state import Fleet
from cockpit.inventory import HostEntry, PoolEntry, UnixTarget
from tests.cockpit.test_replicas import LIVE, fleet_of, instant
from tests.fakes.hosts import EPOCH, FakeHost
from tests.fakes.serving import ServingHost, latency


def pool(fleet: Fleet, name: str) -> PoolRoll:
    return next(found for found in pools.pools(fleet) if found.name == name)


def three() -> tuple[Fleet, list[ServingHost]]:
    hosts = [ServingHost(f"gpu-a0{at}", address=f"10.0.0.{at}") for at in (1, 2, 3)]
    return fleet_of(*hosts, pools={"chat-70b": PoolEntry(4, 3)}), hosts


def test_the_sentence_says_who_is_ready_who_is_not_for_how_long_and_what_users_wait() -> None:
    fleet, hosts = three()
    hosts[0].turn("vllm:8000", "stuck", "no step for 60 s", since=EPOCH)
    fleet.apply(0, hosts[0].told(), instant(1))
    for number in (0, 1, 2):
        told = {"vllm:8000": {"ttft": latency([50, 30, 10, 10])}}
        fleet.apply(number, Facts("latencies", told), instant(2))
    fleet.age(instant(40))
    chat = pool(fleet, "chat-70b")
    assert (chat.ready, chat.expected, chat.floor, chat.missing, chat.below) == (2, 4, 3, 1, True)
    assert chat.says == ("chat-70b: 2/4 ready, below its floor of 3, one stuck 40 s, one never seen, p99 TTFT 2.4 s")
    assert chat.worst == fleet.replicas.row(0, "vllm:8000")
    embed = pool(fleet, "embed")
    assert (embed.ready, embed.expected, embed.floor) == (12, 12, None)
    assert embed.says == "embed: 12/12 ready"


def test_severity_is_that_of_the_worst_replica_and_of_empty_places_and_of_nothing_else() -> None:
    fleet, hosts = three()
    assert pool(fleet, "chat-70b").severity is Severity.WARNING
    assert pool(fleet, "embed").severity is Severity.OK
    assert rollup.severity(fleet) is Severity.WARNING
    told = [problem.title for problem in problems(fleet, fleet.now)]
    assert told == ["pool chat-70b: 1 of 4 expected replicas were never seen"]
    hosts[0].turn("triton:8010", "drained")
    fleet.apply(0, hosts[0].told(), instant(1))
    assert pool(fleet, "embed").severity is Severity.OK, "drained on purpose needs nobody"
    fleet.apply(1, hosts[1].transition(hosts[1].ill("triton:8010")), instant(1))
    assert [found.name for found in pools.pools(fleet)] == ["embed", "chat-70b"]
    assert pool(fleet, "embed").severity is Severity.CRITICAL


def test_a_pool_in_which_all_are_ready_says_what_is_wrong_all_the_same() -> None:
    fleet, hosts = three()
    for host, severity, text in (
        (0, Severity.WARNING, "its queue grows"),
        (1, Severity.CRITICAL, "requests to it fail"),
    ):
        found = hosts[host].ill("vllm:8000", "replica.errors", severity=severity, text=text)
        fleet.apply(host, hosts[host].transition(found), instant(1))
    fleet.age(instant(1))
    assert "ready, below its floor" not in pool(fleet, "chat-70b").says
    assert ", 2 ready in trouble: requests to it fail" in pool(fleet, "chat-70b").says
    assert "trouble" not in pool(fleet, "embed").says


def test_places_that_silent_hosts_or_old_agents_may_fill_are_unknown() -> None:
    fleet, _ = three()
    fleet.link_changed(2, LinkStatus(LinkState.UNREACHABLE, "no answer"), instant(5))
    chat = pool(fleet, "chat-70b")
    assert "one unknown" in chat.says
    titles = [problem.title for problem in problems(fleet, fleet.now) if problem.title.startswith("pool")]
    dark = "1 of 3 hosts tell nothing of replicas and may have them"
    assert titles == [f"pool chat-70b: 1 of 4 expected replicas were never seen; {dark}"]
    old = fleet_of(FakeHost(), pools={"chat": PoolEntry(2)})
    assert pool(old, "chat").severity is Severity.UNKNOWN
    assert rollup.status(old, old.now)["replicas"] is None


def test_nobody_is_missed_before_each_host_was_heard_or_given_up() -> None:
    fleet = Fleet([HostEntry("gpu-a01", UnixTarget("/gpu-a01"))], pools={"chat": PoolEntry(2)})
    fleet.age(instant(1))
    assert not [problem for problem in problems(fleet, fleet.now) if problem.title.startswith("pool")]
    fleet.link_changed(0, LinkStatus(LinkState.UNREACHABLE, "no answer"), instant(5))
    (missed,) = [problem for problem in problems(fleet, fleet.now) if problem.title.startswith("pool")]
    assert missed.since > 0


def test_a_pool_that_nobody_labelled_is_its_model() -> None:
    host = ServingHost(gpus=2)
    host.add("vllm", 8000, models=("qwen3-8b",))
    host.add("vllm", 8001, models=("qwen3-8b",))
    host.add("generic", 9000)
    fleet = fleet_of(host)
    assert [(found.name, found.ready) for found in pools.pools(fleet)] == [("qwen3-8b", 2), ("", 1)]
    assert pools.pools(fleet)[1].says == "no pool: 1/1 ready"


def test_sums_leave_out_what_does_not_run_or_does_not_say() -> None:
    fleet, hosts = three()
    for number, host in enumerate(hosts):
        said = {"vllm:8000": 4.0}
        sample = host.numbers(EPOCH + 10, running=said, waiting=said, tokens_rate={"vllm:8000": 100.0})
        fleet.apply(number, sample, instant(10))
    fleet.age(instant(10))
    chat = pool(fleet, "chat-70b")
    assert (chat.sums["running"].value, chat.sums["running"].said, chat.sums["running"].of) == (12.0, 3, 3)
    assert chat.sums["tokens"].value == pytest.approx(300.0)
    assert chat.sums["tokens"].unit == "1/second"
    hosts[0].turn("vllm:8000", "down")
    fleet.apply(0, hosts[0].told(), instant(11))
    odd = [("replica.running", "vllm:8000", Quality.TIMEOUT)]
    fleet.apply(1, hosts[1].numbers(EPOCH + 11, exceptions=odd), instant(11))
    chat = pool(fleet, "chat-70b")
    assert (chat.sums["running"].value, chat.sums["running"].said, chat.sums["running"].of) == (4.0, 1, 2)
    host = ServingHost()
    silent = [("replica.tokens.rate", f"triton:{port}", Quality.UNSUPPORTED) for port in (8010, 8020, 8030, 8040)]
    fleet = fleet_of(host)
    fleet.apply(0, host.numbers(EPOCH + 1, exceptions=silent), instant(1))
    tokens = pool(fleet, "embed").sums["tokens"]
    assert (math.isnan(tokens.value), tokens.said, tokens.of) == (True, 0, 4)


def test_a_front_speaks_for_the_workers_behind_it() -> None:
    host = ServingHost(gpus=2)
    host.add("dynamo", 8000, pool="chat", role="frontend")
    host.add("vllm", 8001, pool="chat", role="worker")
    host.add("vllm", 8002, pool="chat", role="worker")
    fleet = fleet_of(host)
    running = {"dynamo:8000": 6.0, "vllm:8001": 3.0, "vllm:8002": 3.0}
    fleet.apply(0, host.numbers(EPOCH + 1, running=running), instant(1))
    told = {"dynamo:8000": {"ttft": latency([100])}, "vllm:8001": {"ttft": latency([0, 100])}}
    told["dynamo:8000"]["ttft"]["edges"] = [0.1]
    told["vllm:8001"]["ttft"]["edges"] = [0.1, 0.5]
    fleet.apply(0, Facts("latencies", told), instant(1))
    chat = pool(fleet, "chat")
    assert (chat.ready, chat.expected, chat.sums["running"].of) == (3, 3, 1)
    assert chat.sums["running"].value == 6.0
    assert chat.p99 is not None
    assert (chat.p99.bound, chat.p99.value, chat.latencies["ttft"].of) == ("<=", 0.1, 1)
    assert chat.says == "chat: 3/3 ready, p99 TTFT <= 100 ms"


def test_who_has_no_front_in_the_pool_speaks_for_itself() -> None:
    host = ServingHost(gpus=2)
    host.add("dynamo-worker", 8001, pool="behind", carrier="dynamo-worker")
    host.add("dynamo", 8000, pool="mixed")
    host.add("vllm", 8002, pool="mixed")
    host.add("dynamo-worker", 8003, pool="mixed", carrier="dynamo-worker")
    fleet = fleet_of(host)
    running = {name: 1.0 for name in host.replicas}
    fleet.apply(0, host.numbers(EPOCH + 1, running=running), instant(1))
    assert pool(fleet, "behind").sums["running"].value == 1.0, "its front is elsewhere"
    assert pool(fleet, "mixed").sums["running"].value == 2.0


def test_quantiles_are_merged_counts_hidden_where_few_and_say_whom_they_lack() -> None:
    fleet, _ = three()
    fleet.apply(0, Facts("latencies", {"vllm:8000": {"ttft": latency([10, 10, 0, 0])}}), instant(1))
    found = pool(fleet, "chat-70b").latencies["ttft"]
    assert (found.n, found.p99, found.p50 is not None) == (20, None, True)
    assert (found.said, found.of) == (1, 3)
    fleet.apply(1, Facts("latencies", {"vllm:8000": {"ttft": latency([0, 0, 0, 0], beyond=400)}}), instant(31))
    fleet.age(instant(31))
    found = pool(fleet, "chat-70b").latencies["ttft"]
    assert found.p99 is not None
    assert (found.p99.bound, found.p99.value, found.n, found.age_s) == (">", 2.5, 420, 30.0)
    assert "p99 TTFT > 2.5 s (of 2 of 3 replicas)" in pool(fleet, "chat-70b").says
    fleet.link_changed(1, LinkStatus(LinkState.STALE, ""), instant(40))
    found = pool(fleet, "chat-70b").latencies["ttft"]
    assert (found.said, found.of, found.n) == (1, 2, 20), "what a silent host said last is not how it is"


def test_quantiles_are_as_old_as_the_agent_says_and_not_as_its_words_are() -> None:
    fleet, _ = three()
    told = {"vllm:8000": {"ttft": latency([0, 400, 0, 0]), "at": EPOCH - 45.0}}
    fleet.apply(0, Facts("latencies", told), instant(1))
    fleet.age(instant(1))
    assert pool(fleet, "chat-70b").latencies["ttft"].age_s == 46.0


def test_the_roll_call_counts_everybody_who_is_owed_an_answer() -> None:
    fleet, _ = three()
    call = calls(fleet)
    assert (call.ready, call.expected, call.accounted, call.age_s) == (15, 16, 15, 0.0)
    fleet.link_changed(2, LinkStatus(LinkState.UNREACHABLE, ""), instant(3))
    fleet.age(instant(4))
    call = calls(fleet)
    assert (call.ready, call.expected, call.accounted, call.age_s) == (10, 16, 10, 4.0)
    fleet.link_changed(2, LIVE, instant(5))
    assert calls(fleet).accounted == 15


def test_status_counts_replicas_by_state_and_what_was_never_seen_as_unknown() -> None:
    fleet, hosts = three()
    hosts[0].turn("vllm:8000", "stuck")
    fleet.apply(0, hosts[0].told(), instant(1))
    status = rollup.status(fleet, fleet.now)
    assert status["replicas"] == {
        "expected": 16, "ready": 14, "unknown": 1, "starting": 0, "draining": 0, "drained": 0, "unready": 0, "stuck": 1,
        "down": 0, "hosts_not_looking": 0, "hosts_silent": 0,
    }  # fmt: skip
    assert [(item["id"], item["ready"], item["expected"], item["floor"]) for item in status["pools"]] == [
        ("chat-70b", 2, 4, 3), ("embed", 12, 12, None),
    ]  # fmt: skip


def test_a_fleet_without_replicas_has_no_pools() -> None:
    fleet = fleet_of(FakeHost())
    assert pools.pools(fleet) == []
    assert calls(fleet).expected == 0
    assert math.isnan(calls(fleet).age_s)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ["chat-70b", "embed"]),
        ("fault", ["chat-70b"]),
        ("pool=emb*", ["embed"]),
        ("engine=vllm", ["chat-70b"]),
        ("!engine=vllm", ["embed"]),
        ("chat", ["chat-70b"]),
        ("host=gpu-a09", []),
    ],
)
def test_pools_are_filtered_by_themselves_and_by_their_replicas(text: str, names: list[str]) -> None:
    fleet, _ = three()
    assert [found.name for found in parse_filter(text).pools(fleet, pools.pools(fleet))] == names
