"""The simulated root helper keeps the promises of the real one: policy, roles, keys, one at a time, the record."""

import asyncio
import hashlib
import json
from pathlib import Path

import pytest

from agent.actions.base import RootAbsent, RootLost
from agent.clock import ScaledClock
from agent.sim import faults
from agent.sim.hands.acts import Site
from agent.sim.hands.audit import ZERO, SimAudit
from agent.sim.hands.crew import Crew
from agent.sim.hands.policy import of_site
from agent.sim.hands.root import SimRoot
from agent.sim.machine import Machine
from agent.sim.rehearsal import EPOCH, HandClock
from agent.wire.audit import verify
from tests.agent.sim.theatre import CHAT, WHO, Theatre


@pytest.fixture
def theatre() -> Theatre:
    return Theatre(hosts=2)


async def plan(theatre: Theatre, action: str, **args: object) -> dict[str, object]:
    reply = await theatre.root().ask({"v": 1, "verb": "plan", "action": action, "args": args, "who": WHO})
    assert reply.end == "done"
    return dict(reply.data)


async def test_a_plan_says_what_would_be_run_and_who_may_and_changes_nothing(theatre: Theatre) -> None:
    root = theatre.root()
    lines = root.audit.count
    said = await plan(theatre, "systemd.restart", unit=CHAT)
    assert said["allowed"] is True
    assert (said["role"], said["argv"]) == ("operator", [["systemctl", "restart", "--", CHAT]])
    drained = await plan(theatre, "haproxy.drain", lb="edge", backend="chat-70b", server="gpu-a01")
    assert (drained["floor"], drained["ready"], drained["refused"]) == (1, 1, "")
    assert drained["argv"] == [["haproxy", "/run/haproxy/admin.sock", "set server chat-70b/gpu-a01 state drain"]]
    assert theatre.kept == []
    assert root.audit.count == lines


@pytest.mark.parametrize(
    ("action", "args"),
    [
        ("systemd.restart", {"unit": "nvidia-fabricmanager.service"}),
        ("systemd.reload", {"unit": CHAT}),
        ("gpu.let_go", {}),
        ("container.restart", {"container": "billing-db"}),
    ],
)
async def test_what_the_policy_does_not_name_is_refused_and_on_the_record(
    theatre: Theatre, action: str, args: dict[str, str]
) -> None:
    said = await plan(theatre, action, **args)
    assert said["allowed"] is False
    assert "does not allow" in str(said["says"])
    reply = await theatre.act(action, "r/1", **args)
    assert (reply.end, reply.code) == ("refused", 403)
    assert theatre.kept == []
    last = json.loads(theatre.root().audit.lines(theatre.root().audit.count, 1)[0])
    assert (last["what"], last["action"], last["who"]["user"]) == ("refused", action, "ada")


async def test_a_viewer_may_plan_and_not_act(theatre: Theatre) -> None:
    request = {"v": 1, "verb": "act", "action": "systemd.restart", "args": {"unit": CHAT}, "key": "r/1"}
    reply = await theatre.root().ask({**request, "who": {**WHO, "role": "viewer"}})
    assert (reply.end, reply.code) == ("refused", 403)
    assert "needs the role operator" in reply.says


async def test_a_key_is_done_once_however_often_it_is_asked_for(theatre: Theatre) -> None:
    first = await theatre.act("systemd.restart", "r/1", unit=CHAT)
    generation = theatre.service().replica.generation
    again = await theatre.act("systemd.restart", "r/1", unit=CHAT)
    assert (first.end, again.end, again.data["repeat"]) == ("done", "done", True)
    assert theatre.service().replica.generation == generation
    assert len(theatre.kept) == 1


@pytest.mark.parametrize("expect", [{"boot": "another"}, {"invocation": "0" * 32}], ids=lambda item: next(iter(item)))
async def test_what_is_not_what_was_planned_is_left_alone(theatre: Theatre, expect: dict[str, str]) -> None:
    reply = await theatre.act("systemd.restart", "r/1", unit=CHAT, expect=expect)
    assert (reply.end, reply.code) == ("refused", 409)
    assert theatre.kept == []


async def test_an_answer_that_comes_too_late_is_lost_and_what_was_begun_ends_on_the_record() -> None:
    clock = ScaledClock(EPOCH, 1.0)
    machine = Machine(1, 0, 2, clock.wall())
    root = SimRoot(Site(Crew(machine, clock)), of_site(0), SimAudit(None, clock, machine.boot_id))
    request = {"v": 1, "verb": "act", "action": "systemd.stop", "args": {"unit": CHAT}, "key": "r/1", "who": WHO}
    with pytest.raises(RootLost):
        await root.ask(request, None, 0.02)
    seen = await root.ask({"v": 1, "verb": "look", "what": "key", "key": "r/1"})
    assert (seen.data["state"], seen.data["running"]) == ("begun", True)
    busy = await root.ask({**request, "key": "r/2", "action": "systemd.restart"})
    assert (busy.end, busy.code) == ("refused", 423)
    repeat = await root.ask(request)
    assert (repeat.end, repeat.data["running"]) == ("unknown", True)


async def test_a_key_that_was_given_up_is_never_begun(theatre: Theatre) -> None:
    root = theatre.root()
    seen = await root.ask({"v": 1, "verb": "void", "key": "r/1"})
    assert seen.data["state"] == "none"
    reply = await theatre.act("systemd.restart", "r/1", unit=CHAT)
    assert reply.end == "refused"
    assert theatre.kept == []


async def test_a_helper_that_does_not_run_is_absent_and_comes_back(theatre: Theatre) -> None:
    spec = faults.find("helper-down")
    spec.plan(theatre.machines[0], faults.check(spec, {"seconds": "60"}, 8), theatre.clock.wall())
    theatre.pass_time(1.0)
    with pytest.raises(RootAbsent, match="gpu-cockpit-actuator"):
        await theatre.look("tools")
    theatre.pass_time(61.0)
    assert (await theatre.look("tools"))["systemctl"] is True


async def test_the_record_is_a_chain_that_the_console_can_verify(theatre: Theatre) -> None:
    await theatre.act("systemd.restart", "r/1", unit=CHAT)
    await theatre.act("systemd.restart", "r/2", unit="sshd.service")
    await theatre.root().ask({"v": 1, "verb": "note", "record": {"what": "run begun"}, "who": WHO, "key": "r"})
    head = await theatre.root().ask({"v": 1, "verb": "head"})
    told = await theatre.root().ask({"v": 1, "verb": "audit", "first": 1, "limit": 200})
    lines = [line.encode() for line in told.data["lines"]]
    assert len(lines) == head.data["count"]
    found = verify(lines, {head.data["count"]: head.data["head"]})
    assert found.ok
    assert [json.loads(line)["what"] for line in lines] == ["opened", "began", "ended", "refused", "note"]
    assert verify([*lines[:2], lines[2].replace(b"done", b"DONE"), *lines[3:]], {}).ok is False
    assert hashlib.sha256(lines[0].partition(b',"hash":')[0]).hexdigest() == json.loads(lines[1])["prev"]


async def test_the_record_goes_on_where_it_was_and_what_had_begun_is_unknown(tmp_path: Path) -> None:
    clock = HandClock(EPOCH)
    first = SimAudit(tmp_path / "audit.jsonl", clock, "boot")
    first.began("r/1", {"action": "systemd.restart"})
    second = SimAudit(tmp_path / "audit.jsonl", clock, "boot")
    assert second.count == first.count + 1
    assert (second.keys["r/1"].end, second.head != ZERO) == ("unknown", True)
    assert verify(second.lines(1, 200), {first.count: first.head}).ok


def test_a_record_that_somebody_edits_is_told_as_it_is_now(tmp_path: Path) -> None:
    audit = SimAudit(tmp_path / "audit.jsonl", HandClock(EPOCH), "boot")
    audit.began("r/1", {"action": "systemd.restart"})
    audit.ended("r/1", {"action": "systemd.restart", "outcome": "done"})
    heads = {audit.count: audit.head}
    assert verify(audit.lines(1, 200), heads).ok
    file = tmp_path / "audit.jsonl"
    file.write_bytes(file.read_bytes().replace(b"systemd.restart", b"systemd.stopped", 1))
    assert not verify(audit.lines(1, 200), heads).ok


async def test_engines_are_paused_and_resumed_by_their_own_calls(theatre: Theatre) -> None:
    world, engine = theatre.world(), theatre.service().engine
    theatre.pass_time(10.0)
    assert engine.in_flight > 3
    assert (await world.post("vllm:8000", "/pause?mode=wait"))[0] == 200
    paused = engine.answer(8000, "GET", "/is_paused", theatre.clock.wall())
    assert paused is not None
    assert json.loads(paused.body) == {"is_paused": True}
    assert engine.in_flight < 3, "it waited for what it had"
    assert (await world.post("vllm:8000", "/resume"))[0] == 200
    theatre.pass_time(10.0)
    assert engine.in_flight > 3
    engine.dev = False
    assert (await world.post("vllm:8000", "/pause"))[0] == 404
    with pytest.raises(ConnectionRefusedError):
        await world.post("vllm:9999", "/pause")


async def test_a_triton_unloads_and_loads_its_model(theatre: Theatre) -> None:
    service = theatre.service(0, 1)
    world, port, model = theatre.world(), service.replica.port, service.replica.pool.model

    def state() -> str:
        found = service.engine.answer(port, "POST", "/v2/repository/index", theatre.clock.wall())
        assert found is not None
        return str(json.loads(found.body)[0]["state"])

    assert (await world.post(f"triton:{port}", f"/v2/repository/models/{model}/unload"))[0] == 200
    assert state() == "UNLOADING"
    theatre.pass_time(2.0)
    assert state() == "UNAVAILABLE"
    assert (await world.post(f"triton:{port}", f"/v2/repository/models/{model}/load"))[0] == 200
    assert state() == "READY"


async def test_a_resumed_host_has_everything_that_was_done_to_it(theatre: Theatre) -> None:
    await theatre.drain("gpu-a02", "r/1")
    await theatre.act("systemd.stop", "r/2", 1, unit=CHAT)
    theatre.pass_time(30.0)
    again = Theatre(hosts=2, deeds=tuple(theatre.kept))
    again.pass_time(theatre.clock.wall() - again.clock.wall())
    assert (await again.look("unit", 1, unit=CHAT))["ActiveState"] == "inactive"
    assert (await again.look("haproxy", lb="edge", backend="chat-70b", server="gpu-a02"))["state"] == "drain"
    assert again.service(0).replica.share == theatre.service(0).replica.share == 2.0
    saved = [machine.saved() for machine in theatre.machines]
    third = Theatre(hosts=2, deeds=tuple(theatre.kept))
    for machine, known in zip(third.machines, saved, strict=True):
        machine.restore(known)
    third.clock.turn_to(theatre.clock.wall())
    assert third.service(1).engine.life is theatre.service(1).engine.life
    assert [one.replica.share for one in third.stage.balancer.servers] == [2.0, 0.0]  # type: ignore[union-attr]
    assert third.service(0).engine.sent == theatre.service(0).engine.sent


async def test_two_at_once_on_different_targets_do_not_wait_for_each_other(theatre: Theatre) -> None:
    both = await asyncio.gather(
        theatre.act("container.restart", "r/1", container="embed-0", grace_s="10"),
        theatre.act("systemd.restart", "r/2", unit=CHAT),
    )
    assert [reply.end for reply in both] == ["done", "done"]


async def test_what_cannot_be_written_down_is_not_done(theatre: Theatre, tmp_path: Path) -> None:
    site = theatre.root().site
    audit = SimAudit(tmp_path / "audit.jsonl", theatre.clock, "boot")
    (tmp_path / "audit.jsonl").unlink()
    (tmp_path / "audit.jsonl").mkdir()
    root = SimRoot(site, of_site(0), audit)
    request = {"v": 1, "verb": "act", "action": "systemd.restart", "args": {"unit": CHAT}, "key": "r/1", "who": WHO}
    reply = await root.ask(request)
    assert (reply.end, reply.code) == ("refused", 507)
    assert "cannot be audited" in reply.says
    assert theatre.kept == []
