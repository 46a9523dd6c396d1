"""systemd.*, engine.drain, process.stop and gpu.holders on a whole node: systemd as PID 1, the real root helper in it,
engines of several processes that stream. Each story has a unit of its own and all of them are lived at the same time,
once; the tests read how they ended.
"""

import asyncio
import os
import shutil
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.actions import drain, systemd
from agent.actions.registry import BY_ID
from agent.errors import Refusal
from agent.wire.actions import ActState
from agent.wire.replicas import ReplicaFacts
from agent.wire.shape import pack
from tests.agent.actions.acting import ALICE, Hand
from tests.agent.actions.executors.house import guards
from tests.fakes.streaming import TOKENS, stream
from tests.packaging.node import Node, eventually, require_node

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[4]
PYTHON = "/usr/bin/python3"  # the node's own
SOCKET = "/run/gca/s"
GPU = "GPU-11111111-2222-3333-4444-555555555555"
POLICY = """
[[allow]]
actions = ["systemd.*"]
units = ["vllm@*.service"]
[[allow]]
actions = ["engine.*"]
replicas = ["*"]
units = ["vllm@*.service"]
[[allow]]
actions = ["process.stop"]
users = ["root"]
"""
ENGINE = f"{PYTHON} /lab/streaming.py /lab/%i.sock"
UNIT = "[Service]\nType=simple\nExecStart={start}\nKillMode={kill}\nTimeoutStopSec={stop}\nRestart={restart}\n{more}\n"
UNITS: dict[str, dict[str, str]] = {
    "orderly": {"start": f"{ENGINE} finish", "kill": "control-group", "restart": "always"},
    "lingers": {"start": f"{ENGINE} linger", "kill": "control-group", "restart": "always"},
    "trap": {"start": f"{ENGINE} finish", "kill": "control-group"},
    "mixed": {"start": f"{ENGINE} finish", "kill": "mixed"},
    "anew": {"start": "/bin/sleep 1000", "kill": "mixed", "more": "ExecReload=/bin/true"},
    "falls": {"start": "/bin/sh -c 'sleep 0.7; exit 1'", "kill": "mixed"},
    "leaves": {"start": "/bin/sh -c 'sleep 1000 & exec sleep 1001'", "kill": "process"},
    "stubborn": {"start": "/bin/sh -c 'trap \"\" TERM; while :; do sleep 0.1; done'", "kill": "mixed", "stop": "1"},
    "lost": {"start": "/bin/sh -c 'trap \"\" TERM; while :; do sleep 0.1; done'", "kill": "mixed", "stop": "2"},
    "changed": {"start": "/bin/sleep 1000", "kill": "mixed"},
}
HOLDER = """
import os, signal, time
device = open("/dev/nvidia0")
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.getpid(), flush=True)
time.sleep(1000)
"""
HOLDS: dict[Any, dict[str, float]] = {systemd: {"HOLD_S": 1.5, "GONE_S": 2.0}, drain: {"HOLD_S": 1.0}}


@dataclass
class Helper:
    """Where the root helper of the node listens."""

    socket: Path


@dataclass
class Scene:
    node: Node
    told: dict[str, Any]
    ends: dict[str, Any] = field(default_factory=dict)

    def hand(self, name: str, helper: str = "gca") -> Hand:
        socket = self.node.inside / f"run/{helper}/s"
        return Hand(Helper(socket), self.told, run_id=f"{abs(hash(name)) % 16**8:08x}")  # type: ignore[arg-type]

    def show(self, name: str, *names: str) -> dict[str, str]:
        return self.node.show(unit(name), *names)

    def serve(self, name: str) -> None:
        """The replica of a unit, as facts have it."""
        pid = int(self.show(name, "MainPID")["MainPID"])
        facts = ReplicaFacts(name, engine="vllm", unit=unit(name), pids=(pid,), state="ready", phase="serving")
        self.told["replicas"].append(pack(facts))

    async def request(self, name: str) -> "asyncio.Task[list[str]]":
        """A stream that is under way; its task in the background of the story."""
        path = str(self.node.lab / f"{name}.sock")
        begun = asyncio.get_running_loop().run_in_executor(None, stream, path)
        await asyncio.sleep(0.5)
        return begun  # type: ignore[return-value]


def unit(name: str) -> str:
    return f"vllm@{name}.service"


async def _drained(scene: Scene, name: str, deadline_s: str) -> None:
    hand = scene.hand(name)
    lines = await scene.request(name)
    scene.ends[f"{name} plan"] = await hand.plan(BY_ID["engine.drain"], f"replica:{name}")
    ended = await hand.do(BY_ID["engine.drain"], f"replica:{name}", params={"deadline_s": deadline_s})
    scene.ends[name], _ = ended
    scene.ends[f"{name} stream"] = await lines
    scene.ends[f"{name} unit"] = scene.show(name, "ActiveState", "ControlGroup", "NRestarts")


async def _orderly(scene: Scene) -> None:
    await _drained(scene, "orderly", "30")


async def _lingers(scene: Scene) -> None:
    await _drained(scene, "lingers", "1.5")


async def _stopped(scene: Scene, name: str) -> None:
    hand = scene.hand(name)
    lines = await scene.request(name)
    scene.ends[f"{name} plan"] = await hand.plan(BY_ID["systemd.stop"], f"replica:{name}")
    scene.ends[name], _ = await hand.do(BY_ID["systemd.stop"], f"replica:{name}")
    scene.ends[f"{name} stream"] = await lines


async def _trap(scene: Scene) -> None:
    await _stopped(scene, "trap")


async def _mixed(scene: Scene) -> None:
    await _stopped(scene, "mixed")


async def _anew(scene: Scene) -> None:
    hand = scene.hand("anew")
    before = scene.show("anew", "InvocationID", "MainPID")
    scene.ends["reload"], _ = await hand.do(BY_ID["systemd.reload"], f"unit:{unit('anew')}")
    scene.ends["anew"], _ = await hand.do(BY_ID["systemd.restart"], f"unit:{unit('anew')}")
    scene.ends["anew changed"] = before, scene.show("anew", "InvocationID", "MainPID")


async def _falls(scene: Scene) -> None:
    scene.ends["falls"], _ = await scene.hand("falls").do(BY_ID["systemd.restart"], f"unit:{unit('falls')}")


async def _leaves(scene: Scene) -> None:
    kin = scene.node.run("pgrep", "-f", "^sleep 1000$").stdout.split()
    main = scene.show("leaves", "MainPID")["MainPID"]
    pids = tuple(int(pid) for pid in (main, *kin) if _unit_has(scene, "leaves", pid))
    scene.told["replicas"].append(pack(ReplicaFacts("leaves", engine="vllm", unit=unit("leaves"), pids=pids)))
    scene.ends["leaves plan"] = await scene.hand("leaves").plan(BY_ID["systemd.stop"], "replica:leaves")
    scene.ends["leaves"], _ = await scene.hand("leaves").do(BY_ID["systemd.stop"], "replica:leaves")


def _unit_has(scene: Scene, name: str, pid: str) -> bool:
    return unit(name) in (scene.node.inside / f"proc/{pid}/cgroup").read_text()


async def _stubborn(scene: Scene) -> None:
    hand = scene.hand("stubborn")
    scene.ends["stubborn"], entry = await hand.do(BY_ID["systemd.stop"], f"unit:{unit('stubborn')}")
    inverse = BY_ID["systemd.stop"].inverse(entry)
    assert inverse is not None
    scene.ends["stubborn back"], _ = await hand.do(BY_ID[inverse[0]], f"unit:{unit('stubborn')}")


async def _lost(scene: Scene) -> None:
    """The helper is killed while systemd is at work."""
    hand = scene.hand("lost", "gcb")
    under_way = asyncio.ensure_future(hand.do(BY_ID["systemd.stop"], f"unit:{unit('lost')}"))
    for _ in range(200):
        if scene.show("lost", "ActiveState")["ActiveState"] == "deactivating":
            break
        await asyncio.sleep(0.05)
    await asyncio.to_thread(scene.node.run, "systemctl", "kill", "--kill-whom=main", "--signal=KILL", "gcb")
    scene.ends["lost"], entry = await under_way
    scene.ends["lost lines"] = hand.lines
    scene.ends["lost settled"] = await BY_ID["systemd.stop"].settle(entry, scene.hand("settled"))


async def _changed(scene: Scene) -> None:
    hand = scene.hand("changed")
    before = await hand.plan(BY_ID["systemd.restart"], f"unit:{unit('changed')}")
    await asyncio.to_thread(scene.node.run, "systemctl", "restart", unit("changed"))
    now = scene.show("changed", "InvocationID")
    wish = hand.wish("systemd.restart", f"unit:{unit('changed')}", expect=dict(before.expect))
    found = await BY_ID["systemd.restart"].preflight(wish, ALICE, hand)
    scene.ends["changed"] = found
    with pytest.raises(Refusal) as refused:
        await BY_ID["systemd.restart"].run(wish, ALICE, found, hand, hand.lines.append)
    scene.ends["refused"] = refused.value
    assert scene.show("changed", "InvocationID") == now


async def _others(scene: Scene) -> None:
    hand = scene.hand("others")
    scene.ends["others"] = await hand.plan(BY_ID["systemd.stop"], "unit:dbus.service")
    with pytest.raises(Refusal) as denied:
        await hand.do(BY_ID["systemd.stop"], "unit:dbus.service")
    scene.ends["denied"] = denied.value
    with pytest.raises(Refusal) as unknown:
        await hand.plan(BY_ID["systemd.stop"], "unit:nosuch.service")
    scene.ends["nosuch"] = unknown.value


async def _holder(scene: Scene) -> None:
    process = scene.node.start(PYTHON, "-c", HOLDER)
    assert process.stdout is not None
    pid = int(await asyncio.to_thread(process.stdout.readline))
    hand = scene.hand("holder")
    scene.ends["holders"], _ = await hand.do(BY_ID["gpu.holders"], f"gpu:{GPU}")
    scene.ends["holders lines"] = list(hand.lines)
    scene.ends["holder"], _ = await hand.do(BY_ID["process.stop"], f"process:{pid}", params={"grace_s": "0.3"})
    scene.ends["free"], _ = await hand.do(BY_ID["gpu.holders"], f"gpu:{GPU}")
    process.wait(5)
    process.stdout.close()


STORIES: tuple[Callable[[Scene], Coroutine[Any, Any, None]], ...] = (
    _orderly, _lingers, _trap, _mixed, _anew, _falls, _leaves, _stubborn, _lost, _changed, _others, _holder,
)  # fmt: skip


def _furnish(lab: Path) -> None:
    shutil.copytree(ROOT / "agent/actuator", lab / "agent/actuator", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "agent/__init__.py", lab / "agent/__init__.py")
    shutil.copy(ROOT / "tests/fakes/streaming.py", lab / "streaming.py")
    (lab / "policy.toml").write_text(POLICY)
    (lab / "policy.toml").chmod(0o644)


def _start(node: Node) -> None:
    device = node.inside / "dev/nvidia0"
    os.mknod(device, 0o20666, os.makedev(1, 3))
    units = node.inside / "etc/systemd/system"
    for name, said in UNITS.items():
        text = UNIT.format(**{"stop": "20", "restart": "no", "more": "", **said})
        (units / unit(name)).write_text(text.replace("%i", name))
    node.run("systemctl", "daemon-reload")
    node.run("systemctl", "start", *(unit(name) for name in UNITS))
    for helper in ("gca", "gcb"):
        place = f"/run/{helper}"
        node.run("mkdir", "-p", place)
        words = ["--user", "0", "--idle", "0", "--policy", "/lab/policy.toml", "--socket", f"{place}/s"]
        words += ["--audit", f"{place}/audit.jsonl", "--state", f"{place}/state"]
        start = ["systemd-run", f"--unit={helper}", "--property=KillMode=process", "--property=Restart=always"]
        node.run(*start, PYTHON, "-I", "/lab/agent/actuator/__main__.py", *words)
    sockets = [node.lab / f"{name}.sock" for name, said in UNITS.items() if ENGINE in said["start"]]
    sockets += [node.inside / f"run/{helper}/s" for helper in ("gca", "gcb")]
    for _ in eventually("helper and engines listen", 20):
        if all(path.exists() for path in sockets):
            return


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    require_node()
    lab = tmp_path_factory.mktemp("lab")
    _furnish(lab)

    async def live(scene: Scene) -> None:
        async with asyncio.TaskGroup() as group:
            for story in STORIES:
                group.create_task(story(scene))

    with pytest.MonkeyPatch.context() as patch, Node(lab) as node:
        for module, names in HOLDS.items():
            for name, seconds in names.items():
                patch.setattr(module, name, seconds)
        _start(node)
        scene = Scene(node, {"replicas": [], "gpus": {GPU: {"index": 0, "minor": 0}}, "agent": {"pid": 1}})
        for name in ("orderly", "lingers", "trap", "mixed"):
            scene.serve(name)
        asyncio.run(live(scene))
    return scene.ends


WHOLE = [*(f"token {number}" for number in range(TOKENS)), "[DONE]"]


def test_an_engine_that_drains_finishes_its_stream_whatever_its_kill_mode_and_is_not_revived(ends: Any) -> None:
    assert ends["orderly"].state is ActState.DONE, ends["orderly"]
    assert "ended by itself" in ends["orderly"].says
    assert ends["orderly stream"] == WHOLE
    assert ends["orderly unit"]["ActiveState"] == "inactive"
    assert guards(ends["orderly plan"])["killmode"].ok


def test_an_engine_that_lingers_meets_its_deadline(ends: Any) -> None:
    assert ends["lingers"].state is ActState.DONE, ends["lingers"]
    assert "had not ended 1.5 s after SIGTERM and was killed" in ends["lingers"].says
    assert ends["lingers stream"][-1:] != ["[DONE]"]
    assert ends["lingers unit"]["ActiveState"] in ("inactive", "failed")


def test_kill_mode_control_group_is_warned_of_and_cuts_streams_and_mixed_does_neither(ends: Any) -> None:
    assert not guards(ends["trap plan"])["killmode"].ok
    assert "KillMode=mixed" in guards(ends["trap plan"])["killmode"].says
    assert ends["trap"].state is ActState.DONE, ends["trap"]
    assert "[DONE]" not in ends["trap stream"]
    assert guards(ends["mixed plan"])["killmode"].ok
    assert ends["mixed"].state is ActState.DONE, ends["mixed"]
    assert ends["mixed stream"] == WHOLE


def test_a_restart_is_another_invocation_and_a_reload_is_not(ends: Any) -> None:
    assert ends["reload"].state is ActState.DONE, ends["reload"]
    assert ends["anew"].state is ActState.DONE, ends["anew"]
    before, after = ends["anew changed"]
    assert before["InvocationID"] != after["InvocationID"]
    assert f"pid {after['MainPID']}" in ends["anew"].says


def test_a_unit_that_falls_soon_after_its_start_is_failed(ends: Any) -> None:
    assert ends["falls"].state is ActState.FAILED, ends["falls"]
    assert "is failed (failed, exit-code)" in ends["falls"].says


def test_what_kill_mode_process_leaves_behind_is_failed_and_named(ends: Any) -> None:
    assert not guards(ends["leaves plan"])["killmode"].ok
    assert ends["leaves"].state is ActState.FAILED, ends["leaves"]
    assert "1 of its processes from before still run (KillMode=process)" in ends["leaves"].says


def test_a_stop_that_systemd_had_to_finish_says_so_and_is_taken_back(ends: Any) -> None:
    assert ends["stubborn"].state is ActState.DONE, ends["stubborn"]
    assert "systemd had to kill it" in ends["stubborn"].says
    assert ends["stubborn back"].state is ActState.DONE


def test_what_was_restarted_since_the_plan_is_left_alone(ends: Any) -> None:
    assert not guards(ends["changed"])["identity"].ok
    assert ends["refused"].code == "gone"


def test_what_policy_does_not_name_is_a_guard_and_a_refusal(ends: Any) -> None:
    assert not guards(ends["others"])["policy"].ok
    assert ends["denied"].code == "denied"
    assert "systemd knows no unit nosuch.service" in str(ends["nosuch"])


def test_a_holder_of_a_gpu_is_found_ended_and_gone(ends: Any) -> None:
    assert "1 process holds GPU 0" in ends["holders"].says
    assert "process.stop" in ends["holders lines"][0]
    assert ends["holder"].state is ActState.DONE, ends["holder"]
    assert "was killed" in ends["holder"].says
    assert "nobody holds GPU 0" in ends["free"].says


def test_a_stop_whose_helper_was_killed_is_resolved_by_looking_until_systemd_is_done(ends: Any) -> None:
    assert any("no word on how it ended" in line for line in ends["lost lines"]), ends["lost lines"]
    assert ends["lost"].state is ActState.DONE, ends["lost"]
    assert "systemd had to kill it" in ends["lost"].says
    assert ends["lost settled"].state is ActState.FAILED, "the other helper never heard of it"
