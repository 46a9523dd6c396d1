"""container.* over a real podman on a whole node, through the real root helper, which runs it in units of its own."""

import asyncio
import io
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.actions import container
from agent.actions.registry import BY_ID
from agent.wire.actions import ActState
from tests.agent.actions.acting import Hand
from tests.agent.actions.executors.house import guards
from tests.agent.actions.executors.test_units_real import PYTHON, ROOT, SOCKET, Helper
from tests.fakes.dockerd import BUSYBOX, IMAGE, pack_image
from tests.lab import has_command, require
from tests.packaging.node import Node, eventually, require_node

pytestmark = [pytest.mark.lab, pytest.mark.more, pytest.mark.timeout(180)]

POLICY = '[[allow]]\nactions = ["container.*"]\nruntime = "podman"\ncontainers = ["v-*"]\n'
CONTAINERS = """
[containers]
default_ulimits = ["nofile=256:256", "nproc=256:256"]
keyring = false
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""
STORAGE = '[storage]\ndriver = "vfs"\nrunroot = "/run/pod/run"\ngraphroot = "/run/pod/graph"\n'
CHECKED = ("--health-cmd", "test ! -f /state/sick", "--health-interval", "1s", "--health-retries", "1")
RESTART, STOP, START = (BY_ID[f"container.{verb}"] for verb in ("restart", "stop", "start"))


def _furnish(lab: Path) -> None:
    shutil.copytree(ROOT / "agent/actuator", lab / "agent/actuator", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "agent/__init__.py", lab / "agent/__init__.py")
    (lab / "policy.toml").write_text(POLICY)
    (lab / "policy.toml").chmod(0o644)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        pack_image(tar)
    (lab / "image.tar").write_bytes(packed.getvalue())


def _start(node: Node) -> None:
    settings = node.inside / "etc/containers"
    settings.mkdir(exist_ok=True)
    (settings / "containers.conf").write_text(CONTAINERS)
    (settings / "storage.conf").write_text(STORAGE)
    writable = "for one in /sys/fs/cgroup /sys/fs/cgroup/*; do mount -o remount,rw,bind $one; done"
    node.run("sh", "-c", writable)
    node.run("podman", "import", "--change", 'CMD ["/polite.sh"]', "/lab/image.tar", IMAGE)
    node.run("mkdir", "-p", "/run/gca")
    words = ["--user", "0", "--idle", "0", "--socket", SOCKET, "--policy", "/lab/policy.toml"]
    words += ["--audit", "/run/gca/audit.jsonl", "--state", "/run/gca/state"]
    node.run("systemd-run", "--unit=gca", "--collect", PYTHON, "-I", "/lab/agent/actuator/__main__.py", *words)
    for _ in eventually("the helper listens", 20):
        if (node.inside / SOCKET[1:]).exists():
            return


def _make(node: Node, name: str, *words: str, options: tuple[str, ...] = ()) -> None:
    parent = f"--cgroup-parent=/{node.run_id}"
    node.run("podman", "run", "-d", "--name", name, "--network", "host", parent, *options, IMAGE, *words)
    for _ in eventually(f"{name} is up", 10):
        if "up" in node.run("podman", "logs", name).stdout:
            return


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    require_node()
    require("podman, runc and busybox-static", has_command("podman", "conmon", "runc") and BUSYBOX.exists())
    lab = tmp_path_factory.mktemp("lab")
    _furnish(lab)
    with pytest.MonkeyPatch.context() as patch, Node(lab) as node:
        patch.setattr(container, "HOLD_S", 1.5)
        _start(node)
        try:
            yield node
        finally:
            node.run("podman", "rm", "-f", "-a", "-t", "0", check=False)


@pytest.fixture
def hand(node: Node, request: pytest.FixtureRequest) -> Hand:
    run_id = f"{abs(hash(request.node.name)) % 16**8:08x}"
    return Hand(Helper(node.inside / SOCKET[1:]), {}, run_id=run_id)  # type: ignore[arg-type]


async def test_a_restart_drains_it_and_is_another_start(node: Node, hand: Hand) -> None:
    _make(node, "v-restart")
    plan = await hand.plan(RESTART, "container:v-restart")
    assert "podman restart -t 10" in plan.commands[0]
    result, _ = await hand.do(RESTART, "container:v-restart")
    assert result.state is ActState.DONE, result
    assert node.run("podman", "logs", "v-restart").stdout.split() == ["up", "draining", "bye", "up"]


async def test_a_stop_and_a_start_take_each_other_back(node: Node, hand: Hand) -> None:
    _make(node, "v-stop", "/stubborn.sh")
    result, entry = await hand.do(STOP, "container:v-stop", params={"grace_s": "1"})
    assert result.state is ActState.DONE, result
    assert "was killed" in result.says
    assert STOP.inverse(entry) == ("container.start", {})
    result, _ = await hand.do(START, "container:v-stop")
    assert result.state is ActState.DONE, result


async def test_unhealthy_after_a_restart_is_failed(node: Node, hand: Hand) -> None:
    _make(node, "v-sick", options=CHECKED)
    node.run("podman", "exec", "v-sick", "touch", "/state/sick")
    result, _ = await hand.do(RESTART, "container:v-sick", params={"grace_s": "2", "health_s": "15"})
    assert result.state is ActState.FAILED, result
    assert "unhealthy" in result.says


async def test_what_policy_does_not_name_is_a_guard(node: Node, hand: Hand) -> None:
    await asyncio.to_thread(_make, node, "other")
    found = await hand.plan(STOP, "container:other")
    assert not guards(found)["policy"].ok
