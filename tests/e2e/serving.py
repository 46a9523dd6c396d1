"""A host that serves: real engines, a real load balancer and a real agent in a network namespace of their own.

Everything is started through `Private`, listens on loopback inside it and is ended by its process id. Nothing outside
can be reached from there, and nothing inside from anywhere else.
"""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.network import BIN, eventually
from tests.fakes.process import AGENT, AgentProcess, environment
from tests.lab import ENGINES_PYTHON, has_command, has_engines, has_root, require

SCRIPTS = Path(__file__).parent / "engines"
MODEL = "tiny-random"
READY_S = 60.0  # seconds here; a machine that is busy with other tests takes its time
DISCOVERY = ("--discovery-backend", "file", "--request-plane", "tcp", "--event-plane", "zmq")


def require_engines() -> None:
    """Leave the test out, loudly, where the engines of the lab are not."""
    there = has_root() and has_command("unshare", "nsenter", "ip") and has_engines()
    require("root and the serving engines that `make lab` installs", there)


@dataclass
class Private:
    """One namespace; `folder` holds logs and what the engines write."""

    folder: Path
    name: str = field(default_factory=lambda: f"gcp-serving-{secrets.token_hex(3)}")
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __enter__(self) -> "Private":
        # The holder's own name tells whose it is; `cat` ends with our end of its pipe, even if we are killed.
        script = "ip link set lo up && echo up && exec cat"
        self.holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", script, self.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.holder.stdout is not None
        assert self.holder.stdout.readline() == b"up\n"
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self.started):
            self.end(process)
        assert self.holder.stdin is not None
        self.holder.stdin.close()
        self.holder.wait(5)
        assert self.holder.stdout is not None
        self.holder.stdout.close()

    @property
    def enter(self) -> tuple[str, ...]:
        """What stands in front of a command that is to run inside."""
        return ("nsenter", f"--net=/proc/{self.holder.pid}/ns/net", "--")

    def start(self, log: str, *words: str | Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """A process inside; the pid is its own."""
        with (self.folder / log).open("ab") as file:
            process = subprocess.Popen(
                [*self.enter, *map(str, words)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**os.environ, **(env or {})},
            )
        self.started.append(process)
        return process

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Gone when this returns, stopped or not."""
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.wait(10)

    def get(self, port: int, path: str) -> tuple[int, str]:
        """A page of a server inside: status (0: nobody answered) and text."""
        done = subprocess.run(
            [*self.enter, sys.executable, "-c", FETCH, str(port), path], capture_output=True, text=True, timeout=20
        )
        status, _, text = done.stdout.partition("\n")
        return int(status or 0), text

    def load(self, port: int, model: str, requests: int, tokens: int, workers: int = 4) -> "Load":
        """Load that begins now."""
        words = [SCRIPTS / "load.py", f"http://127.0.0.1:{port}", model, requests, tokens, workers]
        log = self.folder / f"load-{port}-{secrets.token_hex(2)}.json"
        return Load(self.start(log.name, sys.executable, *map(str, words)), log)


FETCH = """
import sys, urllib.request, urllib.error
try:
    answer = urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}{sys.argv[2]}", timeout=5)
    print(answer.status); print(answer.read().decode())
except urllib.error.HTTPError as error:
    print(error.code); print(error.read().decode())
except OSError:
    print(0)
"""


@dataclass
class Load:
    """Requests on their way."""

    process: subprocess.Popen[bytes]
    log: Path

    def done(self, timeout_s: float = 60) -> dict[str, Any]:
        """What came of them."""
        self.process.wait(timeout_s)
        found: dict[str, Any] = json.loads(self.log.read_text())
        return found


def llama_model(folder: Path, *size: str) -> Path:
    """A random model: half a megabyte, or of hidden size, layers and heads."""
    path = folder / f"tiny{'-'.join(size)}.gguf"
    if not path.exists():
        subprocess.run([ENGINES_PYTHON, SCRIPTS / "make_gguf.py", path, *size], check=True, timeout=60)
    return path


def start_llama(private: Private, model: Path, port: int, *, slow_disk_s: float = 0.0) -> subprocess.Popen[bytes]:
    """llama.cpp's server; it listens at once and answers 503 until it has loaded."""
    words = ("-m", model, "--port", str(port), "--alias", MODEL, "--slow-disk", str(slow_disk_s))
    return private.start(f"llama-{port}.log", ENGINES_PYTHON, SCRIPTS / "llama-server", *words)


@dataclass
class Dynamo:
    """A frontend and its workers, which find each other through files."""

    private: Private
    port: int = 18002

    def __post_init__(self) -> None:
        folder = self.private.folder
        self.tokenizer = folder / "tokenizer"
        subprocess.run([ENGINES_PYTHON, SCRIPTS / "make_tokenizer.py", self.tokenizer], check=True, timeout=30)
        self.env = {
            "DYN_DISCOVERY_BACKEND": "file",
            "DYN_FILE_KV": str(folder / "discovery"),
            "DYN_TCP_RPC_HOST": "127.0.0.1",
            "DYN_SYSTEM_HOST": "127.0.0.1",
            "DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS": '["generate"]',
            "HF_HUB_OFFLINE": "1",
        }

    def frontend(self) -> subprocess.Popen[bytes]:
        """Where requests come in."""
        words = ("-m", "dynamo.frontend", "--http-host", "127.0.0.1", "--http-port", str(self.port), *DISCOVERY)
        return self.private.start("frontend.log", ENGINES_PYTHON, *words, env=self.env)

    def worker(self, port: int, speedup: float = 10.0) -> subprocess.Popen[bytes]:
        """A mock engine with a real runtime; `port` is its status port. With `speedup` 1 a token takes some 10 ms."""
        words = ("-m", "dynamo.mocker", "--model-path", self.tokenizer, "--model-name", MODEL)
        small = ("--num-gpu-blocks-override", "256", "--block-size", "16", "--max-num-seqs", "4")
        env = {**self.env, "DYN_SYSTEM_PORT": str(port)}
        speed = ("--speedup-ratio", str(speedup))
        return self.private.start(f"worker-{port}.log", ENGINES_PYTHON, *words, *small, *speed, *DISCOVERY, env=env)

    def serves(self) -> bool:
        """Whether a request would be taken."""
        return MODEL in self.private.get(self.port, "/v1/models")[1]


class ServingAgent(AgentProcess):
    """`gpu-cockpit-agent run` inside; it looks at the real /proc."""

    def __init__(self, private: Private, folder: Path, more: str = "") -> None:
        folder.mkdir(exist_ok=True)
        super().__init__(folder)
        self.command = (*private.enter, *AGENT)
        if more:
            self.config.write_text(f"{self.config.read_text()}\n{more}\n")

    def replicas(self) -> list[dict[str, Any]]:
        """`replicas --json` of the real command line."""
        return list(self.ask("replicas")["items"])

    def ask(self, *words: str) -> dict[str, Any]:
        """A list of the real command line."""
        command = [BIN / "gpu-cockpit", "--host", f"unix://{self.socket}", *words, "--json"]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def ready(self, *names: str) -> None:
        """Wait until these replicas are. There may be others: processes of other tests are in the real /proc too."""
        last: dict[str, str] = {}
        try:
            for _ in eventually(f"{', '.join(names)} are ready", READY_S):
                last = {one["id"]: f"{one['state']}, {one['says']}" for one in self.look().facts.get("replicas") or ()}
                if all(last.get(name, "").startswith("ready") for name in names):
                    return
                time.sleep(0.2)
        except AssertionError as error:
            raise AssertionError(f"{error}: {last}; {self.log()[-1500:]}") from None


@dataclass
class Haproxy:
    """A real HAProxy in front of `servers` (name: port), one socket to be read and one for its operator."""

    private: Private
    servers: Mapping[str, int]
    port: int = 18000

    def start(self) -> subprocess.Popen[bytes]:
        """Checks its servers each 200 ms; `stats` and `admin` are its sockets."""
        folder = self.private.folder
        self.stats, self.admin = folder / "stats.sock", folder / "admin.sock"
        behind = "\n".join(f"  server {name} 127.0.0.1:{port}" for name, port in self.servers.items())
        config = folder / "haproxy.cfg"
        config.write_text(HAPROXY.format(stats=self.stats, admin=self.admin, port=self.port, behind=behind))
        return self.private.start("haproxy.log", "haproxy", "-db", "-f", config)

    def tell(self, command: str) -> str:
        """A command of its operator; empty if it was taken."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self.admin))
            connection.sendall(command.encode() + b"\n")
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
        return b"".join(parts).decode().strip()


HAPROXY = """
global
  stats socket {stats} mode 660 level user
  stats socket {admin} mode 600 level admin
defaults
  mode http
  timeout connect 2s
  timeout client 120s
  timeout server 120s
frontend door
  bind 127.0.0.1:{port}
  default_backend chat
backend chat
  balance leastconn
  option httpchk GET /health
  http-check expect status 200
  default-server check inter 200ms fall 2 rise 2
{behind}
"""
