"""The root helper of the installed package in a real systemd: what it does for the agent, and for nobody else.

The agent's user asks through the client that the agent itself has, from the installed library.
"""

import base64
import json
import os
import shlex
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.wire.audit import verify
from tests.lab import has_command, require
from tests.packaging.builds import THIS, shared
from tests.packaging.node import CLEAN, Node, eventually, require_node
from tests.packaging.station import Station

SERVICE, SOCKET = "gpu-cockpit-actuator.service", "gpu-cockpit-actuator.socket"
AGENT = "/run/gpu-cockpit/agent.sock"
COCKPIT = Path(sys.executable).with_name("gpu-cockpit")
PATH = "/run/gpu-cockpit-actuator.sock"
AUDIT = "var/log/gpu-cockpit/audit.jsonl"
POLICY = "etc/gpu-cockpit/policy.toml"
REPLICA, OTHER, LINGERER = "lab-replica@0.service", "lab-other.service", "lab-lingers@0.service"
ALLOWED = """
[[allow]]
actions = ["systemd.restart", "systemd.stop"]
units = ["lab-replica@*.service"]

[[allow]]
actions = ["process.stop"]
users = ["nobody"]

[[allow]]
actions = ["engine.drain"]
replicas = ["*"]
units = ["lab-lingers@*.service"]

[[allow]]
actions = ["haproxy.*"]
socket = "/run/lab-haproxy/admin.sock"
backends = ["llm"]
servers = ["*"]

[[allow]]
actions = ["diagnostics.collect"]
"""
BALANCER = """
global
  stats socket /run/lab-haproxy/admin.sock mode 600 user daemon group daemon level admin
defaults
  mode http
  timeout connect 1s
  timeout client 1s
  timeout server 1s
frontend door
  bind 127.0.0.1:18080
  default_backend llm
backend llm
  server r1 127.0.0.1:18081
  server r2 127.0.0.1:18082
"""
CANARY = "plant7f3a9c51d2e8Qz"
CARELESS = f"""[Service]
Environment="HF_TOKEN={CANARY}" MODEL=m
Environment=HUB=https://user:{CANARY}@hub.example/x?token={CANARY}
ExecStart=
ExecStart=/bin/sh -c 'echo "Authorization: Bearer {CANARY}"; echo "GET https://hub.example/y?token={CANARY}&rev=1"; \
 echo "it serves as $HF_TOKEN now"; while :; do sleep 100; done' serve --api-key {CANARY}
"""
ASK = """
import asyncio, json, sys
sys.path.insert(0, "/usr/lib/gpu-cockpit-agent")
from agent.actions.base import RootAbsent, RootLost
from agent.actions.real.root import ActuatorRoot
for line in sys.stdin:
    said = []
    try:
        reply = asyncio.run(ActuatorRoot().ask(json.loads(line), said.append, 30.0))
        found = {"end": reply.end, "says": reply.says, "code": reply.code, "data": dict(reply.data), "said": said}
    except (RootAbsent, RootLost) as error:
        found = {"end": type(error).__name__, "says": str(error), "said": said}
    print(json.dumps(found), flush=True)
"""
WHO = {"uid": 1000, "user": "alice", "by": "Alice", "role": "operator"}
LINGERS = "trap 'echo asked' TERM; while :; do sleep 0.1; done"


class Helped:
    """A node with the package, a policy and units to act on."""

    def __init__(self, station: Station) -> None:
        self.station, self.node = station, station.node
        (self.node.lab / "ask.py").write_text(ASK)
        units = self.node.root / "etc/systemd/system"
        body = "[Service]\nExecStart=/bin/sleep infinity\n"
        for name in ("lab-replica@.service", OTHER):
            (units / name).write_text(body)
        linger = f'[Service]\nTimeoutStopSec=60\nExecStart=/bin/sh -c "{LINGERS}"\nRestart=always\n'
        (units / "lab-lingers@.service").write_text(linger)
        self.node.run("systemctl", "daemon-reload")
        self.node.run("systemctl", "start", REPLICA, OTHER, LINGERER)
        self.policy = self.node.root / POLICY
        self.policy.write_text(ALLOWED)
        self.keys = 0
        self.agent = self.asker("gpu-cockpit")

    def asker(self, user: str) -> "subprocess.Popen[str]":
        """A program of this user that asks what its lines of input say."""
        enter = ["nsenter", "-t", str(self.node.leader), "-a"]
        become = ["runuser", "-u", user, "--"] if user != "root" else []
        words = [*enter, *become, "/usr/bin/python3", "-IS", "/lab/ask.py"]
        return subprocess.Popen(words, env=CLEAN, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **request: Any) -> dict[str, Any]:
        """What the helper answers to a request of the agent's user."""
        assert self.agent.stdin is not None
        assert self.agent.stdout is not None
        self.agent.stdin.write(json.dumps(request) + "\n")
        self.agent.stdin.flush()
        return dict(json.loads(self.agent.stdout.readline()))

    def ask_as(self, user: str, **request: Any) -> dict[str, Any]:
        """What it answers to somebody else."""
        with self.asker(user) as process:
            said, _ = process.communicate(json.dumps(request) + "\n", timeout=20)
        return dict(json.loads(said))

    def act(self, action: str, args: dict[str, Any], **more: Any) -> dict[str, Any]:
        """An action under a key of its own."""
        self.keys += 1
        request = {"verb": "act", "action": action, "args": args, "key": f"1a2b3c4d/{self.keys}", "who": WHO}
        return self.ask(**{**request, **more})

    def records(self) -> list[dict[str, Any]]:
        """The audit."""
        return [json.loads(line) for line in (self.node.root / AUDIT).read_bytes().splitlines()]

    def invocation(self, unit: str) -> str:
        """Which start of a unit this is."""
        return self.node.show(unit, "InvocationID")["InvocationID"]


@pytest.fixture(scope="module")
def helped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Helped]:
    require_node()
    require("gcc, which builds the fake NVML", has_command("gcc"))
    (package,) = shared(tmp_path_factory, "build-deb", "--version", THIS).iterdir()
    with Node(tmp_path_factory.mktemp("lab")) as node:
        station = Station(node)
        station.fake_driver()
        station.install(package)
        helped = Helped(station)
        with helped.agent:
            yield helped
            helped.agent.stdin.close()  # type: ignore[union-attr]


def test_its_socket_is_there_for_the_agent_alone_and_it_runs_only_when_asked(helped: Helped) -> None:
    node = helped.node
    assert node.show(SOCKET, "ActiveState", "UnitFileState") == {"ActiveState": "active", "UnitFileState": "enabled"}
    found = (node.inside / PATH[1:]).stat()
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_uid == int(node.run("id", "-u", "gpu-cockpit").stdout)
    folder = (node.inside / PATH[1:]).parent.stat()
    assert (folder.st_uid, folder.st_mode & 0o022) == (0, 0), "the agent could lay a link where systemd changes owners"
    assert helped.ask(verb="head")["data"]["count"] >= 1
    assert node.show(SERVICE, "ActiveState", "User") == {"ActiveState": "active", "User": "root"}


def test_the_agents_user_restarts_a_unit_that_the_policy_names_and_it_is_on_the_record(helped: Helped) -> None:
    before = helped.invocation(REPLICA)
    args = {"unit": REPLICA, "expect": {"invocation": before}}
    plan = helped.ask(verb="plan", action="systemd.restart", args=args, who=WHO)["data"]
    assert plan["allowed"]
    assert plan["role"] == "operator"
    assert plan["argv"] == [["/usr/bin/systemctl", "--no-ask-password", "restart", "--", REPLICA]]
    assert helped.invocation(REPLICA) == before, "a plan changes nothing"
    done = helped.act("systemd.restart", args, reason="it hangs", run="1a2b3c4d", step="1")
    assert done["end"] == "done", done
    assert helped.invocation(REPLICA) != before
    began, ended = helped.records()[-2:]
    assert (began["what"], ended["what"], ended["outcome"]) == ("began", "ended", "done")
    assert began["who"] == {"uid": 1000, "user": "alice", "claimed": "Alice", "role": "operator"}
    assert began["argv"] == plan["argv"]
    assert (began["reason"], began["run"], began["step"]) == ("it hangs", "1a2b3c4d", "1")
    again = helped.act("systemd.restart", args)
    assert (again["end"], again["code"]) == ("refused", 409), "the unit is another one than the plan was made for"


def cockpit(helped: Helped, folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """The console on this machine, against the node's agent."""
    target = f"unix://{helped.node.inside / AGENT[1:]}"
    command = [COCKPIT, words[0], "--host", target, "--timeout", "20", *words[1:]]
    env = {**os.environ, "HOME": str(folder)}
    return subprocess.run(command, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)


def test_the_agent_restarts_a_unit_for_an_operator_and_shows_him_the_audit(helped: Helped, tmp_path: Path) -> None:
    helped.station.until("the agent answers", lambda picture: picture.synced is not None)
    before = helped.invocation(REPLICA)
    target = f"gpu-cockpit/unit:{REPLICA}"  # a host that is named by its socket is called after its folder
    dry = cockpit(helped, tmp_path, "run", "action:systemd.restart", target, "--dry-run", "--json")
    assert dry.returncode == 0, dry.stdout + dry.stderr
    (step,) = json.loads(dry.stdout)["plan"]["steps"]
    assert step["command"] == [f"/usr/bin/systemctl --no-ask-password restart -- {REPLICA}"]
    assert helped.invocation(REPLICA) == before
    done = cockpit(helped, tmp_path, "run", "action:systemd.restart", target, "--yes", "--reason", "it hangs")
    assert done.returncode == 0, done.stdout + done.stderr
    assert helped.invocation(REPLICA) != before
    began, ended = [record for record in helped.records() if record["what"] in ("began", "ended")][-2:]
    assert (began["action"], began["reason"], ended["outcome"]) == ("systemd.restart", "it hangs", "done")
    assert began["who"]["user"] == "root", "the console of this test is root's"
    refused = cockpit(helped, tmp_path, "run", "action:systemd.restart", f"gpu-cockpit/unit:{OTHER}", "--yes")
    assert refused.returncode != 0
    assert f"allows units lab-replica@*.service, and not {OTHER}" in refused.stdout + refused.stderr
    verified = cockpit(helped, tmp_path, "audit", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.mark.parametrize(
    ("action", "args"),
    [
        ("systemd.restart", {"unit": OTHER}),
        ("systemd.restart", {"unit": "gpu-cockpit-agent.service"}),
        ("systemd.start", {"unit": REPLICA}),
        ("systemd.kill", {"unit": REPLICA}),
        ("systemd.restart", {"unit": REPLICA, "force": "yes"}),
        ("systemd.restart", {"unit": "--no-block"}),
        ("systemd.restart", {"unit": "../../lab-replica@0.service"}),
        ("systemd.restart", {"unit": "lab-replica@*.service"}),
        ("systemd.restart", {"unit": f"{REPLICA} {OTHER}"}),
        ("systemd.restart", {"unit": f"{REPLICA};reboot"}),
        ("systemd.restart", {"unit": "lab-replica@0.socket"}),
        ("container.restart", {"runtime": "docker", "container": "vllm-0"}),
    ],
)
def test_what_the_policy_does_not_name_is_refused_and_audited(
    helped: Helped, action: str, args: dict[str, Any]
) -> None:
    before = [helped.invocation(unit) for unit in (REPLICA, OTHER, "gpu-cockpit-agent.service")]
    refused = helped.act(action, args)
    assert refused["end"] == "refused"
    assert refused["code"] in (400, 403)
    last = helped.records()[-1]
    assert (last["what"], last["action"], last["outcome"], last["says"]) == (
        "refused", action, "refused", refused["says"],
    )  # fmt: skip
    assert last["args"] == args
    assert [helped.invocation(unit) for unit in (REPLICA, OTHER, "gpu-cockpit-agent.service")] == before


def test_a_viewer_is_refused_whatever_the_agent_says_about_him(helped: Helped) -> None:
    refused = helped.act("systemd.restart", {"unit": REPLICA}, who={**WHO, "role": "viewer"})
    assert (refused["end"], refused["code"]) == ("refused", 403)
    assert "needs the role operator" in refused["says"]


def test_root_is_refused_and_audited_and_others_do_not_even_reach_it(helped: Helped) -> None:
    before = helped.invocation(REPLICA)
    wanted = {"verb": "act", "action": "systemd.restart", "args": {"unit": REPLICA}, "key": "1/1", "who": WHO}
    refused = helped.ask_as("root", **wanted)
    assert (refused["end"], refused["code"]) == ("refused", 403)
    assert "user 0 is not the agent" in refused["says"]
    assert helped.records()[-1]["who"] == {"uid": 0}
    away = helped.ask_as("daemon", **wanted)
    assert away["end"] == "RootAbsent"
    assert "Permission denied" in away["says"]
    assert helped.invocation(REPLICA) == before


def test_the_audit_is_roots_and_the_agent_may_read_it(helped: Helped) -> None:
    helped.ask(verb="head")
    found = (helped.node.root / AUDIT).stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o640, 0)
    assert found.st_gid == int(helped.node.run("id", "-g", "gpu-cockpit").stdout)
    lines = (helped.node.root / AUDIT).read_bytes().splitlines()
    head = helped.ask(verb="head")["data"]
    assert verify(lines, {head["count"]: head["head"]}).ok
    fetched = helped.ask(verb="audit", first=1, limit=200)["data"]
    assert [line.encode() for line in fetched["lines"]] == lines
    assert head["head"] in helped.node.journal(SERVICE), "its head is told to the journal"
    for command in (f"echo x >> /{AUDIT}", f"mv /{AUDIT} /{AUDIT}.old", "rm -rf /var/log/gpu-cockpit"):
        done = helped.node.run("runuser", "-u", "gpu-cockpit", "--", "sh", "-c", command, check=False)
        assert done.returncode, command


def test_killed_in_the_middle_systemd_goes_on_and_the_key_is_never_begun_again(helped: Helped) -> None:
    node = helped.node
    units = node.root / "etc/systemd/system"
    (units / "lab-replica@.service.d").mkdir(exist_ok=True)
    slow = units / "lab-replica@.service.d/slow.conf"
    slow.write_text("[Service]\nExecStartPre=/bin/sleep 1\n")
    node.run("systemctl", "daemon-reload")
    before = helped.invocation(REPLICA)
    request = {"verb": "act", "action": "systemd.restart", "args": {"unit": REPLICA}, "key": "dead/1", "who": WHO}
    asking = helped.asker("gpu-cockpit")
    assert asking.stdin is not None
    asking.stdin.write(json.dumps(request) + "\n")
    asking.stdin.flush()
    for _ in eventually("systemd has begun"):
        if node.show(REPLICA, "ActiveState")["ActiveState"] == "activating":
            break
    node.run("systemctl", "kill", "--signal=KILL", "--kill-whom=all", SERVICE)
    said, _ = asking.communicate(timeout=15)
    assert json.loads(said)["end"] == "RootLost"
    for _ in eventually("systemd has finished what was begun"):
        if node.show(REPLICA, "ActiveState")["ActiveState"] == "active":
            break
    after = helped.invocation(REPLICA)
    assert after != before
    again = helped.ask(**request)
    assert (again["end"], again["data"]["repeat"]) == ("unknown", True)
    assert helped.invocation(REPLICA) == after
    closing = [record for record in helped.records() if record.get("key") == "dead/1"]
    assert [(record["what"], record.get("outcome")) for record in closing] == [("began", None), ("ended", "unknown")]
    assert verify((node.root / AUDIT).read_bytes().splitlines()).ok
    slow.unlink()
    node.run("systemctl", "daemon-reload")


def holder(helped: Helped, user: str) -> int:
    """A process of this user that has a GPU's device open; its number in the node."""
    script = "exec 3</dev/nvidia0; echo $$; exec sleep 300"
    unit = f"lab-holder-{user}"
    words = ["systemd-run", "--quiet", f"--unit={unit}", f"--uid={user}", "sh", "-c", script]
    helped.node.run(*words)
    for _ in eventually("it holds the device"):
        pid = int(helped.node.show(unit, "MainPID")["MainPID"])
        if pid and helped.node.run("sh", "-c", f"ls -l /proc/{pid}/fd | grep -c nvidia0", check=False).stdout == "1\n":
            return pid
    raise AssertionError


def test_a_process_that_holds_a_gpu_is_seen_and_ended_and_only_by_number_and_start(helped: Helped) -> None:
    pid, other = holder(helped, "nobody"), holder(helped, "daemon")
    held = {one["pid"]: one for one in helped.ask(verb="look", what="holders")["data"]["holders"]}
    assert {pid, other} <= set(held)
    assert held[pid]["gpus"] == ["/dev/nvidia0"]
    assert (held[pid]["user"], held[pid]["unit"]) == ("nobody", "lab-holder-nobody.service")
    wrong = helped.act("process.stop", {"pid": pid, "expect": {"started": "1"}})
    assert (wrong["end"], wrong["code"]) == ("refused", 409)
    alien = helped.act("process.stop", {"pid": other, "expect": {"started": held[other]["started"]}})
    assert (alien["end"], alien["code"]) == ("refused", 403)
    sleeper = int(helped.node.show(OTHER, "MainPID")["MainPID"])
    started = helped.ask(verb="look", what="process", pid=sleeper)["data"]["started"]
    innocent = helped.act("process.stop", {"pid": sleeper, "expect": {"started": started}})
    assert (innocent["end"], innocent["code"]) == ("refused", 403)
    done = helped.act("process.stop", {"pid": pid, "grace_s": 5, "expect": {"started": held[pid]["started"]}})
    assert done["end"] == "done", done
    assert done["data"]["killed"] is False
    for _ in eventually("systemd has buried it"):
        if helped.ask(verb="look", what="process", pid=pid)["code"] == 404:
            break
    assert helped.ask(verb="look", what="process", pid=other)["end"] == "done"


def test_an_engine_whose_stop_lingers_meets_its_deadline_and_is_not_revived(helped: Helped) -> None:
    pid = int(helped.node.show(LINGERER, "MainPID")["MainPID"])
    started = helped.ask(verb="look", what="process", pid=pid)["data"]["started"]
    args = {"replica": "vllm:8000", "pid": pid, "unit": LINGERER, "deadline_s": 1, "expect": {"started": started}}
    done = helped.act("engine.drain", args)
    assert done["end"] == "done", done
    assert done["data"]["killed"] is True
    assert 1.0 <= done["data"]["took_s"] < 10
    assert helped.node.show(LINGERER, "ActiveState")["ActiveState"] in ("inactive", "failed")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (f"chown daemon /{POLICY}", "belongs to user"),
        (f"chmod 666 /{POLICY}", "can be written by others"),
        ("chmod 777 /etc/gpu-cockpit", "the folder /etc/gpu-cockpit can be written by others"),
        (f"printf '[[allow]]\\nactions = 3' > /{POLICY}", "[[allow]] 1: actions must be a list"),
        (f"printf '[[allow' > /{POLICY}", "is not valid TOML"),
        (f"rm /{POLICY}", f"there is no /{POLICY}, so nobody may act"),
        (f"mv /{POLICY} /{POLICY}.x; ln -s policy.toml.x /{POLICY}", "cannot be read"),
    ],
)
def test_a_policy_that_cannot_be_trusted_allows_nothing_and_says_why(helped: Helped, spoil: str, says: str) -> None:
    node = helped.node
    try:
        node.run("sh", "-c", spoil)
        refused = helped.act("systemd.restart", {"unit": REPLICA})
        assert (refused["end"], refused["code"]) == ("refused", 403)
        assert says in refused["says"]
        assert says in helped.ask(verb="look", what="policy")["says"]
    finally:
        node.run("sh", "-c", f"rm -f /{POLICY} /{POLICY}.x; chmod 755 /etc/gpu-cockpit")
        helped.policy.write_text(ALLOWED)
        node.run("chmod", "644", f"/{POLICY}")
    assert helped.ask(verb="look", what="policy")["end"] == "done"


def test_another_users_admin_socket_is_within_its_reach_and_the_floor_holds(helped: Helped) -> None:
    require("haproxy", has_command("haproxy"))
    node = helped.node
    (node.lab / "haproxy.cfg").write_text(BALANCER)
    words = ["--unit=lab-haproxy", "--property=RuntimeDirectory=lab-haproxy", "/usr/sbin/haproxy", "-db", "-f"]
    node.run("systemd-run", "--quiet", *words, "/lab/haproxy.cfg")
    for _ in eventually("it has its socket"):
        if (node.inside / "run/lab-haproxy/admin.sock").exists():
            break
    place = {"lb": "haproxy", "backend": "llm", "server": "r1"}
    seen = helped.ask(verb="look", what="haproxy", **place)
    assert (seen["end"], seen["data"]["state"]) == ("done", "ready"), seen
    drained = helped.act("haproxy.drain", {**place, "floor": 1})
    assert (drained["end"], drained["data"]["state"]) == ("done", "drain"), drained
    below = helped.act("haproxy.drain", {**place, "server": "r2", "floor": 1})
    assert below["end"] == "refused"
    node.run("systemctl", "stop", "lab-haproxy")


def test_a_bundle_is_collected_in_its_sandbox_and_carried_away(helped: Helped) -> None:
    request = {"verb": "act", "action": "diagnostics.collect", "key": "feed/1", "who": WHO}
    done = helped.ask(**request, args={"minutes": 15, "units": ["gpu-cockpit-agent.service"]})
    assert done["end"] == "done", done
    parts = done["data"]["parts"]
    whole = {name: part for name, part in parts.items() if not part.get("missing")}
    assert any("gpu-cockpit-agent.service" in name for name in whole), parts
    assert any("kernel" in name for name in whole), parts
    for name, part in whole.items():
        read = helped.ask(verb="read", bundle="feed/1", part=name, offset=0)
        content = base64.b64decode(read["data"]["base64"])
        assert len(content) == min(part["bytes"], 256 * 1024)
    assert helped.ask(verb="read", bundle="feed/1", part="passwd", offset=0)["code"] == 404


def test_what_a_unit_was_written_carelessly_with_is_in_no_bundle_and_on_no_record(helped: Helped) -> None:
    """A secret in its file, its command line, its environment and its journal, as the real systemd tells them."""
    node, unit = helped.node, "lab-replica@canary.service"
    dropin = node.root / f"etc/systemd/system/{unit}.d"
    dropin.mkdir()
    (dropin / "secret.conf").write_text(CARELESS)
    node.run("systemctl", "daemon-reload")
    node.run("systemctl", "start", unit)
    eventually("it said what it says", lambda: "serves" in node.run("journalctl", "-u", unit, "-o", "cat").stdout)
    assert node.run("journalctl", "-u", unit, "-o", "cat").stdout.count(CANARY) == 3
    try:
        done = helped.act("diagnostics.collect", {"units": [unit]}, key="feed/2", reason="it is slow")
        assert done["end"] == "done", done
        texts = {}
        for name in done["data"]["parts"]:
            read = helped.ask(verb="read", bundle="feed/2", part=name, offset=0)
            texts[name] = base64.b64decode(read["data"].get("base64", "")).decode()
    finally:
        node.run("systemctl", "stop", unit)
    assert "it serves as *** now" in texts[f"units/{unit}.log"], "known from its environment: nothing else tells"
    assert "ExecStart=" in texts[f"units/{unit}.txt"]
    assert "--api-key ***" in texts["processes.txt"]
    kept = [path for path in (node.root / "var/lib/gpu-cockpit-actuator").rglob("*") if path.is_file()]
    assert any(path.name == f"{unit}.log" for path in kept)
    found = {str(path): path.read_bytes() for path in (*kept, node.root / AUDIT)}
    found |= {name: text.encode() for name, text in texts.items()}
    found["its journal"] = node.run("journalctl", "-u", SERVICE, "-o", "cat").stdout.encode()
    assert [name for name, data in found.items() if CANARY.encode() in data] == []


def test_docker_runs_in_its_sandbox_and_says_that_nobody_answers(helped: Helped) -> None:
    require("docker", has_command("docker"))
    said = helped.ask(verb="plan", action="container.stop", args={"runtime": "docker", "container": "a"}, who=WHO)
    assert "no [[allow]] names container.stop" in said["data"]["says"]
    seen = helped.ask(verb="look", what="container", container="vllm-0", runtime="docker")
    assert seen["end"] == "failed"
    assert "Operation not permitted" not in seen["says"]


def test_its_sandbox_is_right_and_tight_and_what_it_needs_works_in_it(helped: Helped) -> None:
    node = helped.node
    for unit in (SERVICE, SOCKET):
        checked = node.run("systemd-analyze", "verify", "--man=no", f"/usr/lib/systemd/system/{unit}")
        assert checked.stderr.strip() == ""
    words = ["systemd-analyze", "security", "--offline=true", "--threshold=30", "--no-pager", SERVICE]
    judged = node.run(*words, check=False)
    assert judged.returncode == 0, judged.stdout[-200:]
    helped.ask(verb="head")
    main = node.host_pid(int(node.show(SERVICE, "MainPID")["MainPID"]))
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{main}/status").read_text().splitlines() if ":\t" in line
    )
    kill, ptrace, override, syslog = 1 << 5, 1 << 19, 1 << 1, 1 << 34
    assert int(status["CapBnd"], 16) == kill | ptrace | override | syslog
    assert status["NoNewPrivs"] == "1"
    script = textwrap.dedent("""
        import os, socket
        for path in ("/etc/x", "/usr/x", "/var/x", "/run/x", "/root/x", "/var/lib/gpu-cockpit/x"):
            try: open(path, "w"); print("wrote", path)
            except OSError: pass
        try: socket.socket(socket.AF_INET); print("network")
        except OSError: pass
        print([line.split(":")[0].strip() for line in open("/proc/net/dev") if ":" in line])
    """)
    (node.lab / "sandbox.py").write_text(script)
    sandbox = [line for line in (node.inside / f"usr/lib/systemd/system/{SERVICE}").read_text().splitlines()
               if "=" in line and not line.startswith(("#", "ExecStart", "Type", "KillMode", "Description", "Doc",
                                                       "Requires", "After", "StartLimit"))]  # fmt: skip
    words = [f"--property={line}" for line in sandbox]
    ran = node.run("systemd-run", "--quiet", "--wait", "--pipe", *words, "/usr/bin/python3", "-IS", "/lab/sandbox.py")
    assert ran.stdout.splitlines() == ["['lo']"], shlex.join(words)
