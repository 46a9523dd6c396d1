"""A pool whose agent and root helper can be doomed, and what must agree after they died."""

import json
import os
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.hands import DOOR, Pool, furnish, unit_of
from tests.e2e.network import BIN
from tests.e2e.serving import MODEL, require_engines
from tests.fakes.process import environment
from tests.lab import has_command, require
from tests.packaging.builds import THIS, shared
from tests.packaging.node import Node, eventually, require_node

HELPER = ("arrived", "unwritten", "written", "sent", "done", "ended", "told")
AGENT = ("accepted", "before-run", "after-run", "before-end", "ended")
R1 = "gpu-node/llamacpp:18081"
STEPS = {"restart-replica": 9, "drain-replica": 3}
ACTIONS = {
    "restart-replica": {"2": "haproxy.drain", "4": "systemd.restart", "7": "haproxy.ready"},
    "drain-replica": {"2": "haproxy.drain"},
}
STANDS = ("done", "orphaned")
OVER = ("done", "rolled-back", "aborted")
UNITS = {
    "gpu-cockpit-actuator": "ReadWritePaths=/lab/fate\nExecStart=\n"
    "ExecStart=/usr/bin/python3 -IS /lab/helper.py --user gpu-cockpit",
    "gpu-cockpit-agent": "ReadWritePaths=/lab/fate\nRestartSec=100ms\nExecStart=\n"
    "ExecStart=/usr/bin/python3 -IS /lab/agent.py run",
}


def doomed(factory: pytest.TempPathFactory) -> Iterator["Doom"]:
    """A node of its own with it, and a few users that must not notice anything."""
    require_node()
    require_engines()
    require("haproxy", has_command("haproxy"))
    lab = factory.mktemp("kills")
    (package,) = shared(factory, "build-deb", "--version", THIS).iterdir()
    with Node(lab) as node:
        found = Doom(furnish(node, package))
        found.settle()
        with found.users():
            yield found


@dataclass
class Doom:
    """`seen` are the invocations of r1's unit that are accounted for."""

    pool: Pool
    seen: set[str] = field(default_factory=set)

    def settle(self) -> None:
        """Both programs are the doomed ones from now on; nothing is wanted of them yet."""
        node = self.pool.node
        for path in Path(__file__).parent.glob("*.py"):
            shutil.copy(path, node.lab)
        (node.lab / "fate").mkdir(exist_ok=True)
        (node.lab / "fate").chmod(0o777)
        for unit, text in UNITS.items():
            folder = node.root / f"etc/systemd/system/{unit}.service.d"
            folder.mkdir()
            (folder / "doomed.conf").write_text(f"[Service]\n{text}\n")
        node.run("systemctl", "daemon-reload")
        node.run("systemctl", "stop", "gpu-cockpit-actuator.service")
        node.run("systemctl", "restart", "gpu-cockpit-agent.service")
        self.ready()
        self.seen = self.invocations()

    def ready(self) -> None:
        """The agent answers, and knows both replicas as ready."""
        for _ in eventually("the agent knows both replicas", 40):
            try:
                states = [one["state"] for one in self.pool.replicas().values()]
            except (OSError, AssertionError):
                continue
            if states == ["ready", "ready"]:
                return

    @contextmanager
    def dies(self, who: str, where: Iterable[str]) -> Iterator[None]:
        """It dies within the body at each of these."""
        fate = self.pool.node.lab / "fate" / who
        fate.write_text("\n".join(where))
        fate.chmod(0o666)
        yield
        left = fate.read_text()
        fate.unlink()
        assert not left, f"{who} never came to {left!r}"

    @contextmanager
    def lingering(self) -> Iterator[None]:
        """r1's unit takes its time to stop within the body."""
        folder = self.pool.node.root / f"etc/systemd/system/{unit_of('r1')}.d"
        folder.mkdir()
        (folder / "lingers.conf").write_text("[Service]\nExecStop=/usr/bin/sleep 2\n")
        self.pool.node.run("systemctl", "daemon-reload")
        yield
        shutil.rmtree(folder)
        self.pool.node.run("systemctl", "daemon-reload")

    def run(self, *words: str) -> dict[str, Any]:
        """A run led by the real command line until nothing goes on by itself; its last word."""
        for _ in eventually(f"the node answers to {words}", 40):
            done = self.pool.cockpit("run", *words, "--yes", "--json", "--as", "eva", timeout_s=60)
            if done.stdout or "did not answer" not in done.stderr:  # systemd may still be starting a killed agent
                break
        assert done.stdout, f"{words}: {done.stderr}"
        told = json.loads(done.stdout).get("run")
        assert told, done.stdout + done.stderr
        return dict(told)

    def told(self, run: str) -> dict[str, Any]:
        """A run as it stands."""
        return next(one for one in self.pool.ask("runs") if one["id"] == run)

    def ended(self, told: dict[str, Any], verb: str = "--resume") -> dict[str, Any]:
        """The same brought to its end as an operator would: by saying again and again what is wanted."""
        for _ in range(6):
            if told["state"] in OVER:
                return told
            told = self.run(verb, told["id"])
        raise AssertionError(told)

    def killed_at(self, words: Sequence[str], n: int, state: str) -> str:
        """A console that leads a run until this step is so far, and is killed at once; the run's id."""
        command = [BIN / "gpu-cockpit", "--fleet", self.pool.fleet, "run", *words, "--yes", "--json", "--watch"]
        with subprocess.Popen(
            command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as console:
            assert console.stdout is not None
            told: dict[str, Any] = {}
            for line in console.stdout:
                told = json.loads(line).get("run") or told
                if told and _so_far(told, n, state):
                    break
            os.kill(console.pid, signal.SIGKILL)
            _, said = console.communicate(timeout=10)
        assert told, said
        return str(told["id"])

    def invocations(self) -> set[str]:
        """Every run of r1's unit so far, by systemd's own journal."""
        said = self.pool.node.run("journalctl", "-u", unit_of("r1"), "-o", "json", "--no-pager").stdout.splitlines()
        return {str(line["INVOCATION_ID"]) for line in map(json.loads, said) if "INVOCATION_ID" in line}

    def agree(self, run: str, *, restarts: int, drained: bool = False) -> list[dict[str, Any]]:
        """What HAProxy, systemd, the ledger and the audit say of a run that is over is the same, and nothing was done
        twice; the ledger's entries of it, oldest first."""
        verified = self.pool.cockpit("audit", "verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        entries = [one for one in self.pool.ask("actions") if one["run"] == run]
        entries.sort(key=lambda one: one["started"])
        assert {one["state"] for one in entries} <= {*STANDS, "undone", "failed", "interrupted"}, entries
        self._audited(run, {one["id"]: one for one in entries})
        new = self.invocations() - self.seen
        self.seen |= new
        done = [one for one in entries if one["action"] == "systemd.restart" and one["state"] == "done"]
        assert (len(new), len(done)) == (restarts, restarts), (new, entries)
        assert self._stands(entries) == drained, entries
        wanted = "DRAIN" if drained else "UP"
        for _ in eventually(f"HAProxy has r1 {wanted}", 15, lambda: self.pool.server("r1")["status"]):
            if self.pool.server("r1")["status"].startswith(wanted):
                break
        assert self.pool.server("r2")["status"] == "UP"
        return entries

    def _audited(self, run: str, entries: dict[str, dict[str, Any]]) -> None:
        ours = [one for one in self.pool.audit() if str(one.get("key", "")).startswith(f"{run}/")]
        for what in ("began", "ended"):
            counts = Counter(one["key"] for one in ours if one["what"] == what)
            assert set(counts.values()) <= {1}, ours
        began = {one["key"] for one in ours if one["what"] == "began"}
        assert began == {one["key"] for one in ours if one["what"] == "ended"}
        assert began <= set(entries), "what the helper began stands in the ledger"
        done = {key for key, one in entries.items() if one["state"] in (*STANDS, "undone")}
        assert done <= began, "what the ledger has as done was begun"

    def _stands(self, entries: list[dict[str, Any]]) -> bool:
        """Whether the ledger says that r1 is drained."""
        moves = [one for one in entries if one["action"].startswith("haproxy.") and one["state"] in (*STANDS, "undone")]
        return bool(moves) and moves[-1]["action"] == "haproxy.drain" and moves[-1]["state"] in STANDS

    @contextmanager
    def users(self) -> Iterator[None]:
        """A few, all the time, some of them streaming; none of them may notice anything."""
        words = [DOOR, MODEL, 10, 20, 300]
        process = subprocess.Popen(
            ["nsenter", "-t", str(self.pool.node.leader), "-a", "python3", "/lab/rate.py", *map(str, words)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            yield
        finally:
            said, _ = process.communicate(timeout=90)
        told = json.loads(said)
        assert (told["failed"], told["why"]) == (0, []), told


def _so_far(told: dict[str, Any], n: int, state: str) -> bool:
    step = told["steps"][n - 1]
    return step["state"] == state or step["state"] not in ("pending", "running")
