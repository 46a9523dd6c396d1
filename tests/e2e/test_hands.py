"""Must hold on every machine: a replica behind a real load balancer is drained, restarted and put back, and none of its
users notices; done carelessly, they do."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.doomed.doom import Doom
from tests.e2e.hands import RATE, Pool, furnish, unit_of
from tests.e2e.keys import Desk
from tests.e2e.network import BIN
from tests.e2e.serving import require_engines
from tests.lab import has_command, require
from tests.packaging.builds import THIS, shared
from tests.packaging.node import Node, require_node

R1 = "llamacpp:18081"
STEPS = ("haproxy.drain", "systemd.restart", "haproxy.ready")

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    require_node()
    require_engines()
    require("haproxy", has_command("haproxy"))
    lab = tmp_path_factory.mktemp("hands")
    (package,) = shared(tmp_path_factory, "build-deb", "--version", THIS).iterdir()
    with Node(lab) as node:
        yield furnish(node, package)


def test_drained_restarted_and_put_back_by_the_command_line_nobody_notices(pool: Pool) -> None:
    """All of it: the plan, the leases, the root helper, systemd, HAProxy, the record."""
    incident = pool.incident()
    before = pool.invocation("r1")
    words = (
        "run",
        "restart-replica",
        f"gpu-node/{R1}",
        "--incident",
        incident,
        "--reason",
        "a new driver",
        "--as",
        "eva",
    )
    with pool.load() as told:
        done = pool.cockpit(*words, "--yes", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (told["failed"], told["why"]) == (0, []), told
    assert told["per_s"] > RATE * 0.9
    assert told["streams"] > 5
    assert pool.invocation("r1") != before
    assert pool.server("r1")["status"] == "UP"
    ours = {one["action"]: one for one in pool.ask("actions") if one["action"]}
    assert {name: ours[name]["state"] for name in STEPS} == dict.fromkeys(STEPS, "done")
    assert {one["by"] for one in ours.values()} == {"eva (root)"}
    assert pool.cockpit("audit", "verify").returncode == 0
    record = [(one.get("action"), one["what"]) for one in pool.audit() if one.get("action") in STEPS]
    assert record == [(name, event) for name in STEPS for event in ("began", "ended")]
    story = [line for line in pool.cockpit("incident", "show", incident).stdout.splitlines() if line.startswith("*")]
    told_of = [name for line in story for name in STEPS if f"eva (root): {name} of " in line]
    assert tuple(dict.fromkeys(told_of)) == STEPS, story


def test_the_same_by_keys_on_a_small_screen(pool: Pool, tmp_path: Path) -> None:
    """Place 4, the replica, `x`, its plan, why, yes; nothing of it can be done by one key."""
    before = pool.invocation("r2")
    with Desk(tmp_path, (str(BIN / "gpu-cockpit"), "--fleet", str(pool.fleet))) as desk, pool.load() as told:
        desk.sees("Situation", "chat")
        desk.press("4")
        desk.sees("REPLICA", "18081", "18082")
        desk.press("/")
        desk.sees("enter keep")
        desk.type("18082")
        desk.press("Enter")
        desk.sees("gpu-node llamacpp:18082", "enter open")
        desk.press("x")
        desk.sees("ACT ON  gpu-node llamacpp:18082", "▌ restart-replica")
        desk.press("Enter")
        desk.sees("PLAN", "drain", "confirm")
        assert pool.invocation("r2") == before
        desk.type("a new driver")
        desk.press("Tab")
        desk.type("yes")
        desk.press("Enter")
        desk.sees("RUNNING", "a new driver")
        desk.sees("✓ done  restart-replica", seconds=120)
        desk.press("6")
        desk.sees("restart-replica", "done")
    assert (told["failed"], told["why"]) == (0, []), told
    assert pool.invocation("r2") != before
    assert pool.server("r2")["status"] == "UP"


def test_a_drain_on_whose_way_all_are_killed_is_done_once_and_taken_back(pool: Pool) -> None:
    """The console as it begins, the root helper when HAProxy has been told, the agent before it writes that down. All
    other boundaries, those of a restart too: `test_hands_kills`."""
    doom = Doom(pool)
    doom.settle()
    with doom.dies("helper", ["haproxy.drain sent"]), doom.dies("agent", ["2 before-end"]):
        run = doom.killed_at(("drain-replica", f"gpu-node/{R1}"), 2, "running")
        ended = doom.ended(doom.run("--resume", run))
    assert ended["state"] == "done"
    doom.agree(run, restarts=0, drained=True)
    assert doom.run("--roll-back", run)["state"] == "rolled-back"
    doom.agree(run, restarts=0)


def test_without_a_drain_users_notice_a_restart(pool: Pool) -> None:
    """What the tests above rest on: the load sees a request that is cut."""
    with pool.load(stream_every=10) as told:
        for _ in range(6):  # one of them meets a stream
            pool.node.run("systemctl", "kill", "--signal=KILL", unit_of("r1"))
            pool.node.run("systemctl", "restart", unit_of("r1"))
            time.sleep(1.0)
    assert told["failed"] > 0
