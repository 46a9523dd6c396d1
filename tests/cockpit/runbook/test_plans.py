"""Plans: which steps, in which order, about what; what they cost; what forbids them."""

from dataclasses import replace

import pytest

from agent.wire.actions import ActionFacts, ActState, Guard, Risk, RunFacts
from agent.wire.errors import WireError
from agent.wire.frames import Facts
from agent.wire.shape import pack
from agent.wire.specs import Severity
from cockpit.errors import UsageError
from cockpit.fleet.link_state import LinkState, LinkStatus
from cockpit.fleet.pools import pools
from cockpit.inventory import PoolEntry
from cockpit.runbook.packing import hashed, packed, unpacked
from cockpit.runbook.plan import Answer, assembled, merge
from cockpit.runbook.records import Plan, StepKind
from tests.cockpit.runbook.scenes import KEEPERS, NAMES, Place, instant
from tests.fakes.hosts import EPOCH


def shape(plan: Plan) -> list[tuple[str, str, str]]:
    return [(step.n, step.action or step.condition or step.kind.value, step.target.subject) for step in plan.steps]


def guard(plan: Plan, name: str) -> Guard:
    return next(one for one in plan.guards if one.id == name)


def test_behind_a_balancer_a_restart_drains_waits_and_puts_back() -> None:
    plan = Place().plan("restart-replica")
    server, replica = "backend:edge/llm/gpu-a01", "replica:vllm:8000"
    assert shape(plan) == [
        ("1", "pool.floor", replica), ("2", "haproxy.drain", server), ("3", "server.idle", server),
        ("4", "systemd.restart", replica), ("5", "replica.well", replica), ("6", "server.checked", server),
        ("7", "haproxy.ready", server), ("8", "server.serves", server), ("9", "replica.served", replica),
    ]  # fmt: skip
    assert plan.steps[1].params == {"floor": "2"}
    assert plan.steps[1].lease_s == 120
    assert (plan.risk, plan.confirm) == (Risk.MEDIUM, "yes")
    assert plan.steps[1].command == ("do haproxy.drain",)
    assert plan.hosts == ("id-gpu-a01", "id-lb-01")
    assert plan.expected == "gpu-a01 vllm:8000 runs as a new process and takes requests again."
    assert not plan.refused


def test_a_replica_behind_two_balancers_is_drained_at_both_at_once() -> None:
    place = Place()
    place.balance(place.server("gpu-a01"), place.server("gpu-a01", backend="batch"))
    drains = [step for step in place.plan("drain-replica").steps if step.action == "haproxy.drain"]
    assert [(step.n, step.group) for step in drains] == [("2.1", 2), ("2.2", 2)]


def test_without_a_balancer_the_keepers_are_asked_and_the_cut_is_said() -> None:
    plan = Place().plan("restart-replica", subject="replica:triton:8010")
    assert [name for _, name, _ in shape(plan)] == [
        "pool.floor", "out", "engine.drain", "container.start", "replica.ready", "back",
    ]  # fmt: skip
    claim = plan.steps[1]
    assert claim.kind is StepKind.CLAIM
    assert claim.params == {
        "floor": "2", "pool": "embed", "replica": "id-gpu-a01/triton:8010", "keepers": ",".join(KEEPERS),
    }  # fmt: skip
    assert "is cut off then" in plan.steps[2].title
    assert (plan.risk, plan.confirm) == (Risk.UNKNOWN, "gpu-a01 triton:8010")


def test_an_engine_that_is_gone_is_not_drained_but_restarted() -> None:
    place = Place()
    hands = place.fleet.hosts[0].hands
    hands.specs["container.restart"] = replace(hands.specs["systemd.restart"], id="container.restart")
    place.turn("gpu-a01", "triton:8010", "down")
    plan = place.plan("restart-replica", subject="replica:triton:8010")
    assert [name for _, name, _ in shape(plan)] == ["pool.floor", "out", "container.restart", "replica.ready", "back"]


def test_a_replica_that_nobody_owns_is_not_restarted_and_the_plan_says_so() -> None:
    place = Place()
    place.hosts[0].turn("vllm:8000", "ready", unit="")
    place.fleet.apply(0, place.hosts[0].told(), instant(1))
    plan = place.plan("restart-replica")
    assert "no unit and no container owns gpu-a01 vllm:8000: restart it by hand" in guard(plan, "tool").says
    assert not guard(plan, "tool").ok


def test_a_pool_is_restarted_batch_by_batch_side_by_side() -> None:
    plan = Place().plan("rolling-restart-pool", subject="pool:chat", batch="2")
    stages = [(step.n, step.action, step.target.name.split()[-1]) for step in plan.steps if step.action]
    assert [(name, action) for name, action, _ in stages[:4]] == [
        ("2.1", "haproxy.drain"), ("2.2", "haproxy.drain"), ("4.1", "systemd.restart"), ("4.2", "systemd.restart"),
    ]  # fmt: skip
    assert len([step for step in plan.steps if step.action == "systemd.restart"]) == 4
    assert (plan.blast.ready_before, plan.blast.ready_after) == (4, 2)
    assert [one.id for one in plan.refused] == ["breaker"]
    assert "2 of the 4 hosts of chat would be in an action, 1 may be" in guard(plan, "breaker").says
    single = Place().plan("rolling-restart-pool", subject="pool:chat")
    assert (single.blast.ready_after, single.refused) == (3, ())


def test_part_of_a_pool_may_be_named_by_its_hosts() -> None:
    plan = Place().plan("rolling-restart-pool", subject="pool:chat", hosts="gpu-a03, gpu-a04")
    assert {step.target.host for step in plan.steps if step.action == "systemd.restart"} == {"gpu-a03", "gpu-a04"}
    with pytest.raises(UsageError, match="hosts names 'gpu-a09'"):
        Place().plan("rolling-restart-pool", subject="pool:chat", hosts="gpu-a09")


def test_a_host_in_quarantine_loses_all_its_replicas_and_is_noted() -> None:
    plan = Place().plan("quarantine-host", subject="host")
    assert {step.action for step in plan.steps if step.action} == {"engine.pause", "haproxy.drain"}
    assert plan.steps[-1].kind is StepKind.NOTE
    assert plan.steps[-1].title.startswith("gpu-a01 is in quarantine")
    assert set(plan.blast.pools) == {"chat", "embed"}


@pytest.mark.parametrize(
    ("runbook", "subject", "params", "says"),
    [
        ("restart-replica", "replica:vllm:9", {}, "gpu-a01 has no replica 'vllm:9' now"),
        ("restart-replica", "host", {}, "stands for 2 replicas: name one of gpu-a01 triton:8010, gpu-a01 vllm:8000"),
        ("restart-replica", "replica:vllm:8000", {"drain_s": "never"}, "drain_s is 'never'; it takes 1 to 14400"),
        ("restart-replica", "replica:vllm:8000", {"drain": "5"}, "there is no parameter 'drain'"),
        ("rolling-restart-pool", "pool:chatt", {}, "no replica of pool 'chatt' was ever seen"),
        ("rolling-restart-pool", "host", {}, "rolling-restart-pool is for pool, and gpu-a01 is none"),
        ("free-ghost-memory", "gpu:GPU-9", {"pid": "9"}, "gpu-a01 has no GPU 'GPU-9'"),
        ("free-ghost-memory", "process:77", {"pid": "x"}, "pid is 'x'"),
    ],
)
def test_what_cannot_be_planned_is_one_sentence(runbook: str, subject: str, params: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError) as error:
        Place().draft(runbook, subject=subject, **params)
    assert says in str(error.value).replace("gpu-a01 vllm:8000, gpu-a01 triton:8010", "gpu-a01 triton:8010, gpu-a01 "
                                            "vllm:8000")  # fmt: skip


def test_a_unit_or_a_server_stands_for_its_replica() -> None:
    place = Place()
    for host, subject in (("gpu-a01", "unit:vllm@0.service"), ("lb-01", "backend:edge/llm/gpu-a01")):
        plan = place.plan("drain-replica", host, subject)
        assert plan.target.name == "gpu-a01 vllm:8000"


def test_the_floor_counts_what_is_ready_now_and_not_what_is_sick() -> None:
    place = Place(chat=PoolEntry(4, 3))
    assert guard(place.plan("drain-replica"), "floor").ok
    place.turn("gpu-a02", "vllm:8000", "down")
    plan = place.plan("drain-replica")
    assert guard(plan, "floor") == Guard("floor", False, "chat: 3 ready, 2 meanwhile, the floor is 3")
    sick = place.plan("restart-replica", "gpu-a02")
    assert guard(sick, "floor").ok, "what does not serve is not missed"


def test_what_an_agent_says_of_a_step_that_comes_later_is_as_of_before_the_run() -> None:
    effects = {step.action: step.effect for step in Place().plan("restart-replica").steps if step.action}
    assert effects["haproxy.drain"] == "it is done"
    assert effects["haproxy.ready"] == "before step 2: it is done"


def test_the_numbers_of_a_plan_over_two_pools_are_of_the_one_with_the_least_to_spare() -> None:
    place = Place(chat=PoolEntry(4, 1), embed=PoolEntry(4, 4))
    blast = place.plan("quarantine-host", subject="host").blast
    assert (blast.pools, blast.ready_before, blast.ready_after, blast.floor) == (("embed", "chat"), 4, 3, 4)


def test_a_replica_that_is_drained_at_its_balancer_does_not_count_for_the_floor() -> None:
    place = Place(chat=PoolEntry(4, 3))
    place.balance(*(place.server(name, state="draining" if name == "gpu-a02" else "up") for name in NAMES))
    plan = place.plan("action:systemd.restart")
    assert guard(plan, "floor") == Guard("floor", False, "chat: 3 ready, 2 meanwhile, the floor is 3")
    assert (plan.blast.ready_before, plan.blast.ready_after) == (3, 2)
    assert guard(place.plan("action:systemd.restart", "gpu-a02"), "floor").ok, "nobody misses what is out already"
    chat = next(pool for pool in pools(place.fleet) if pool.name == "chat")
    assert chat.says == "chat: 4/4 ready, one of them drained at the balancer"


def test_a_host_that_cannot_be_seen_is_not_counted_as_ready() -> None:
    place = Place(chat=PoolEntry(4, 3))
    place.fleet.link_changed(2, LinkStatus(LinkState.UNREACHABLE), instant(1))
    plan = place.plan("drain-replica")
    assert not guard(plan, "floor").ok
    assert "gpu-a03 vllm:8000 cannot be seen now" in guard(plan, "fresh").says
    silent = place.plan("drain-replica", "gpu-a03")
    assert guard(silent, "fresh") == Guard("fresh", False, "gpu-a03 is not live: how things are there is not known")


def test_what_an_engine_did_last_is_no_cost_now() -> None:
    place = Place()
    place.numbers(1.0, tokens_rate={"vllm:8000": 300.0})
    assert place.plan("drain-replica").blast.tokens_per_s == 300.0
    place.at(60.0)
    assert place.plan("drain-replica").blast.tokens_per_s is None


def test_old_data_is_no_ground_for_a_plan() -> None:
    place = Place()
    place.at(60.0)
    plan = place.plan("drain-replica")
    assert guard(plan, "fresh") == Guard("fresh", False, "gpu-a01 vllm:8000 was not read within two periods")


def test_a_plan_is_good_for_a_minute_from_its_oldest_data() -> None:
    place = Place()
    plan = place.plan("drain-replica")
    assert plan.as_of == pytest.approx(EPOCH, abs=0.01)
    assert plan.good_until == pytest.approx(EPOCH + 60.0, abs=0.01)


def running(place: Place, host: int, subject: str, runbook: str = "drain-replica") -> None:
    run = RunFacts("99aa88bb", runbook, "h", subject, "otto", "otto", "otto#1", at=EPOCH, heard=EPOCH)
    place.fleet.apply(host, Facts("runs", [pack(run)]), instant(1))


def test_a_second_change_of_a_pool_has_to_wait() -> None:
    place = Place()
    running(place, 1, "replica:vllm:8000")
    plan = place.plan("drain-replica")
    assert guard(plan, "concurrency").says == "drain-replica of otto (99aa88bb) changes chat already"
    assert not guard(plan, "concurrency").ok
    assert guard(place.plan("drain-replica", subject="replica:triton:8010"), "concurrency").ok
    assert all(one.id != "concurrency" for one in place.plan("undrain-replica").guards), "giving back is never held up"


def test_a_running_action_on_the_pool_holds_up_too() -> None:
    place = Place()
    entry = ActionFacts("k", "haproxy.drain", "backend:edge/llm/gpu-a03", state=ActState.RUNNING, by="otto")
    place.fleet.apply(4, Facts("actions", [pack(entry)]), instant(1))
    assert "haproxy.drain of otto (k) changes chat" in guard(place.plan("drain-replica"), "concurrency").says


def test_no_new_action_while_the_fleet_turns_critical() -> None:
    place = Place()
    for number, host in enumerate(place.hosts[1:], 1):
        found = host.finding(severity=Severity.CRITICAL, since=EPOCH, updated=EPOCH)
        place.fleet.apply(number, host.transition(found), instant(1))
    place.numbers(1.0)
    plan = place.plan("drain-replica")
    assert guard(plan, "breaker").says == "3 of 5 hosts turned critical within 10 min: find the cause first"
    assert not [one for one in place.plan("undrain-replica").guards if one.id == "breaker"]
    place.numbers(700.0)
    assert guard(place.plan("drain-replica"), "breaker").ok, "what has been so for long is no storm"


def test_what_agents_refuse_is_told_with_its_step() -> None:
    place = Place()
    plan = place.plan("drain-replica", guards=(Guard("policy", False, "no rule lets you"),))
    assert guard(plan, "policy") == Guard("policy", False, "step 2: no rule lets you")
    draft = place.draft("drain-replica")
    silent = assembled(
        replace(draft, answers={"2": Answer(None, "offline", "lb-01 cannot be reached")}), place.fleet, EPOCH
    )
    assert guard(silent, "reach") == Guard("reach", False, "step 2: lb-01 cannot be reached")
    assert silent.steps[1].command == ()


def test_guards_of_one_kind_become_one() -> None:
    many = [Guard("policy", True, f"rule {number}") for number in range(9)]
    bad = [Guard("floor", False, f"step {number}: no") for number in range(5)]
    assert merge([*many, *bad, Guard("floor", True, "fine")]) == (
        Guard("floor", False, "step 0: no; step 1: no; step 2: no; and 2 more"),
        Guard("policy", True, "rule 0; rule 1; and 7 more"),
    )


def test_later_steps_are_not_held_to_what_earlier_ones_change() -> None:
    plan = Place().plan("restart-replica", subject="replica:triton:8010")
    drain, start = (step for step in plan.steps if step.kind is StepKind.ACTION)
    assert drain.expect == {"boot": "b", "pid": "7"}
    assert start.expect == {"boot": "b"}


def test_a_plan_comes_back_from_a_journal_as_it_was() -> None:
    plan = Place().plan("rolling-restart-pool", subject="pool:chat", batch="2")
    data = packed(plan)
    assert unpacked(data, plan.hash) == plan
    assert len(data) < 8_000


def test_a_plan_that_was_touched_in_a_journal_is_another_one() -> None:
    plan = Place().plan("restart-replica")
    other = replace(plan, steps=(replace(plan.steps[0], target=plan.steps[1].target), *plan.steps[1:]))
    assert hashed(other) != plan.hash
    for data in (packed(other), packed(plan)[:-9], packed(plan)[4:], b"", b"x" * 99):
        with pytest.raises(WireError):
            unpacked(data, plan.hash)
    with pytest.raises(WireError, match="is not the one that was begun"):
        unpacked(packed(plan), "0" * 16)


def test_a_bomb_in_a_journal_stays_small() -> None:
    import zlib

    with pytest.raises(WireError, match="larger than a plan"):
        unpacked(zlib.compress(b" " * (8 << 20), 9)[: 32 * 1024])


def test_guards_and_costs_do_not_change_the_hash() -> None:
    place = Place()
    plan = place.plan("drain-replica")
    place.numbers(2.0, running={"vllm:8000": 7.0})
    running(place, 1, "replica:vllm:8000")
    again = place.plan("drain-replica")
    assert again.guards != plan.guards
    assert again.hash == plan.hash
    assert place.plan("drain-replica", drain_s="7").hash != plan.hash
