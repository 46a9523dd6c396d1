"""A pool without a load balancer, seen from two namespaces that each reach only half of its keepers: nobody drains."""

import asyncio
import json
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.sim.fleet import SimFleet
from tests.lab import has_command, has_root, require

pytestmark = pytest.mark.more
HIDE = 'dead=$1; for socket in $2; do mount --bind "$dead" "$socket" || exit 9; done; shift 2; exec "$@"'
NAMES = ("gpu-a01", "gpu-a02", "gpu-a03", "gpu-a04")
TIMES = 3
DEAD = "dead.sock"  # nobody listens there


@dataclass(frozen=True)
class Side:
    """A console in a mount namespace of its own; `away` are hosts whose sockets lead nowhere there."""

    directory: Path
    away: tuple[str, ...] = ()

    async def run(self, *words: str) -> tuple[int, dict[str, Any], str]:
        """One command: its status, its JSON, its sentences."""
        sockets = " ".join(str(self.directory / f"{name}.sock") for name in self.away)
        wrap = (
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            HIDE,
            "halves",
            str(self.directory / DEAD),
            sockets,
        )
        cockpit = (sys.executable, "-m", "cockpit", "--fleet", str(self.directory / "fleet.toml"), "run", *words)
        asked = await asyncio.create_subprocess_exec(
            *wrap, *cockpit, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(60):
            out, err = await asked.communicate()
        return asked.returncode or 0, json.loads(out) if out.strip() else {}, err.decode()


@pytest.fixture(autouse=True)
def _needs() -> None:
    require("root and unshare", has_root() and has_command("unshare"))


@pytest.mark.timeout(180)
async def test_two_namespaces_that_reach_half_of_the_keepers_each_drain_nobody(tmp_path: Path) -> None:
    async with SimFleet(tmp_path, hosts=4, gpus=2, seed=1, speed=10) as fleet:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(tmp_path / DEAD))
        served = [
            (host.name, replica.pool.engine, replica.port)
            for host in fleet.machines
            for replica in host.replicas
            if replica.pool.name == "embed"
        ]
        left, right = Side(tmp_path, NAMES[2:]), Side(tmp_path, NAMES[:2])
        mine = {
            side: next(f"{name}/{kind}:{port}" for name, kind, port in served if name not in side.away)
            for side in (left, right)
        }
        for side, target in mine.items():
            status, plan, says = await side.run("drain-replica", target, "--dry-run", "--json")
            assert status == 0, says
            quorum = next(guard for guard in plan["plan"]["guards"] if guard["id"] == "quorum")
            assert not quorum["ok"]
            assert quorum["says"].startswith("2 of the 4 keepers of embed answer, 3 are needed")
        for _ in range(TIMES):
            ends = await asyncio.gather(
                *(
                    side.run("drain-replica", target, "--yes", "--json", "--reason", "a race")
                    for side, target in mine.items()
                )
            )
            for status, _, says in ends:
                assert status != 0, says
                assert "drain-replica is refused by" in says, says
        whole = Side(tmp_path)
        status, plan, says = await whole.run("drain-replica", mine[left], "--dry-run", "--json")
        assert status == 0, says
        guards = {guard["id"]: guard for guard in plan["plan"]["guards"]}
        assert guards["quorum"]["ok"], "from where all keepers are seen it is not refused for want of them"
        for host in fleet.machines:
            assert not (tmp_path / host.name / "audit.jsonl").exists() or "engine.pause" not in (
                tmp_path / host.name / "audit.jsonl"
            ).read_text("utf-8")
