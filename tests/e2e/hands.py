"""A node that serves and can be acted on: systemd, the installed agent and its root helper, two replicas of a real
engine as units, a real HAProxy in front of them, and load that counts every request to its last byte."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.network import BIN
from tests.e2e.serving import MODEL, READY_S, SCRIPTS, llama_model
from tests.fakes.process import environment
from tests.lab import ENGINES_PYTHON
from tests.packaging.node import Node, eventually
from tests.packaging.station import SOCKET, Station

REPLICAS = {"r1": 18081, "r2": 18082}
DOOR = 18000
RATE, STREAM_EVERY, STREAM_TOKENS = 200, 100, 900
LB, BACKEND = "edge", "chat"

SERVES = """\
[Unit]
StartLimitIntervalSec=0
[Service]
User=daemon
ExecStart={python} /lab/llama-server -m /lab/{model} --port {port} --alias {alias} --parallel 16 --ctx-size 16384
Restart=on-failure
TimeoutStopSec=5
"""
BALANCES = """\
[Service]
RuntimeDirectory=haproxy
RuntimeDirectoryMode=0755
ExecStart=/usr/sbin/haproxy -db -f /lab/haproxy.cfg
"""
HAPROXY = """\
global
  maxconn 4000
  stats socket /run/haproxy/stats.sock mode 666 level user
  stats socket /run/haproxy/admin.sock mode 600 level admin
defaults
  mode http
  timeout connect 2s
  timeout client 120s
  timeout server 120s
  timeout check 3s
frontend door
  bind 127.0.0.1:{door}
  default_backend {backend}
backend {backend}
  balance leastconn
  option httpchk GET /health
  http-check expect status 200
  default-server check inter 300ms fall 3 rise 2
{servers}
"""
AGENT = """\
[labels]
pool = "chat"
[[serving]]
engine = "llamacpp"
pool = "chat"
[[balancer]]
socket = "/run/haproxy/stats.sock"
name = "{lb}"
"""
POLICY = """\
[roles]
operator = ["oncall"]

[[allow]]
actions = ["systemd.restart", "systemd.stop", "systemd.start"]
units = ["chat@*.service"]
role = "operator"

[[allow]]
actions = ["haproxy.*"]
socket = "/run/haproxy/admin.sock"
backends = ["{backend}"]
servers = ["*"]
floor = 1
role = "operator"

[[allow]]
actions = ["engine.*"]
replicas = ["*"]
role = "operator"
"""


@dataclass
class Pool:
    """The node and what serves on it. `fleet` is a console's fleet file with it alone."""

    station: Station
    fleet: Path

    @property
    def node(self) -> Node:
        """The node."""
        return self.station.node

    def cockpit(self, *words: str, timeout_s: float = 120, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """The real command line on this machine, through the agent's socket."""
        return subprocess.run(
            [BIN / "gpu-cockpit", "--fleet", self.fleet, *words],
            env=environment(), input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip

    def ask(self, *words: str) -> list[dict[str, Any]]:
        """A list of the real command line."""
        done = self.cockpit(*words, "--json")
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout)["items"])

    def incident(self) -> str:
        """A fault on this host that is worth acting on: a line of the driver in the kernel log."""
        self.station.xid(13, f"{self.node.run_id} hands")
        for _ in eventually("the fault is an incident", 20):
            if items := self.ask("incidents"):
                return str(items[0]["id"])
        raise AssertionError

    def audit(self) -> list[dict[str, Any]]:
        """What the root helper wrote."""
        text = (self.node.root / "var/log/gpu-cockpit/audit.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def replicas(self) -> dict[int, dict[str, Any]]:
        """What the agent tells of the replicas, by port."""
        picture = self.station.look()
        return {one["port"]: one for one in picture.facts.get("replicas") or ()}

    def haproxy(self, command: str) -> str:
        """A command to HAProxy's operator socket; empty if it was taken."""
        return self.node.run("python3", "-c", TELL, command).stdout.strip()

    def server(self, name: str) -> dict[str, str]:
        """A line of HAProxy's own table."""
        head, *rows = [line.lstrip("# ").split(",") for line in self.haproxy("show stat").splitlines()]
        return next(dict(zip(head, row, strict=False)) for row in rows if row[:2] == [BACKEND, name])

    def invocation(self, name: str) -> str:
        """Which run of its unit a replica is."""
        return self.node.show(unit_of(name), "InvocationID")["InvocationID"]

    @contextmanager
    def load(self, stream_every: int = STREAM_EVERY) -> Iterator[dict[str, Any]]:
        """Requests through HAProxy while the body runs; afterwards what came of them."""
        words = [DOOR, MODEL, RATE, stream_every, STREAM_TOKENS]
        process = subprocess.Popen(
            ["nsenter", "-t", str(self.node.leader), "-a", "python3", "/lab/rate.py", *map(str, words)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        told: dict[str, Any] = {}
        try:
            time.sleep(1.0)
            yield told
            time.sleep(1.0)
        finally:
            said, _ = process.communicate(timeout=90)
        told.update(json.loads(said))


TELL = """
import socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.settimeout(5)
    connection.connect("/run/haproxy/admin.sock")
    connection.sendall(sys.argv[1].encode() + b"\\n")
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
print(b"".join(parts).decode())
"""


def unit_of(name: str) -> str:
    """The unit of a replica."""
    return f"chat@{name}.service"


def furnish(node: Node, package: Path) -> Pool:
    """All of it on a node that has booted; returns when HAProxy sends requests to both and the agent knows both."""
    lab, units = node.lab, node.root / "etc/systemd/system"
    model = llama_model(lab)
    for script in ("llama-server", "rate.py"):
        shutil.copy(SCRIPTS / script, lab)
    for name, port in REPLICAS.items():
        text = SERVES.format(python=ENGINES_PYTHON, model=model.name, port=port, alias=MODEL)
        (units / unit_of(name)).write_text(text)
    servers = "\n".join(f"  server {name} 127.0.0.1:{port}" for name, port in REPLICAS.items())
    (lab / "haproxy.cfg").write_text(HAPROXY.format(door=DOOR, backend=BACKEND, servers=servers))
    (units / "balance.service").write_text(BALANCES)
    node.run("useradd", "--no-create-home", "oncall")
    node.run("systemctl", "daemon-reload")
    node.run("systemctl", "start", "balance.service", *map(unit_of, REPLICAS))
    station = Station(node)
    station.install(package)
    folder = node.root / "etc/gpu-cockpit"
    (folder / "agent.toml").write_text(AGENT.format(lb=LB))
    (folder / "policy.toml").write_text(POLICY.format(backend=BACKEND))
    node.run("systemctl", "restart", "gpu-cockpit-agent.service")
    node.run("usermod", "--append", "--groups", "gpu-cockpit-view", "oncall")
    fleet = lab / "fleet.toml"
    socket = node.inside / SOCKET[1:]
    fleet.write_text(
        f'[pools.chat]\nexpected = 2\nfloor = 1\n\n[[host]]\nname = "gpu-node"\naddress = "unix://{socket}"\n'
    )
    pool = Pool(station, fleet)
    for _ in eventually("both replicas serve", READY_S, lambda: str(pool.replicas())):
        up = [pool.server(name)["status"] for name in REPLICAS]
        ready = [one["state"] for one in pool.replicas().values()]
        if up == ["UP", "UP"] and ready == ["ready", "ready"]:
            return pool
    raise AssertionError
