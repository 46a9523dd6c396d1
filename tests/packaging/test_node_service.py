"""The installed package in a real systemd: who the service is, what it can see, and what it cannot do.

GPUs are the C fake of NVML, installed in the node as if it were the driver's library; /dev/nvidia* are stand-ins.
"""

import asyncio
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.wire.requests import Answer, Lines, Log, Refused
from agent.wire.specs import Quality
from tests.e2e.serving import SCRIPTS, llama_model
from tests.fakes.client import Client, Picture
from tests.lab import ENGINES_PYTHON, has_command, has_engines, require
from tests.packaging.builds import THIS, shared
from tests.packaging.node import Node, eventually, require_node
from tests.packaging.station import SOCKET, UNIT, Station

CAP_SYSLOG = 1 << 34
WRITABLE = ("/run/gpu-cockpit", "/var/lib/gpu-cockpit", "/tmp", "/var/tmp")  # the last two are its own, seen by nobody
FORBIDDEN = (
    "/", "/etc", "/etc/gpu-cockpit", "/usr/lib/gpu-cockpit-agent", "/var/lib", "/var/log", "/run", "/run/lock", "/home",
    "/root", "/dev", "/dev/shm", "/lab", "/opt", "/srv", "/proc/self/map_files",
)  # fmt: skip


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    require_node()
    require("gcc, which builds the fake NVML", has_command("gcc"))
    lab = tmp_path_factory.mktemp("lab")
    (package,) = shared(tmp_path_factory, "build-deb", "--version", THIS).iterdir()
    with Node(lab) as node:
        station = Station(node)
        station.fake_driver()
        station.install(package)
        yield station


def processes(station: Station) -> list[dict[str, str]]:
    """/proc/PID/status of the agent and of its children."""
    main = int(station.node.show(UNIT, "MainPID")["MainPID"])
    outside = station.node.host_pid(main)
    children = Path(f"/proc/{outside}/task/{outside}/children").read_text().split()
    found = []
    for pid in (outside, *map(int, children)):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        found.append(
            {"pid": str(pid)} | {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
        )
    return found


def test_it_installs_without_a_network_and_shows_the_gpus_of_the_fake(station: Station) -> None:
    links = json.loads(station.node.run("ip", "-json", "link").stdout)
    assert [link["ifname"] for link in links] == ["lo"]
    shown = station.node.show(UNIT, "ActiveState", "Type", "User", "UnitFileState", "NRestarts")
    assert shown == {
        "ActiveState": "active", "Type": "notify", "User": "gpu-cockpit", "UnitFileState": "enabled", "NRestarts": "0",
    }  # fmt: skip
    for _ in eventually("all GPUs are seen"):
        if len(station.look().facts["gpus"]) == 8:
            break


def test_its_messages_are_in_the_journal(station: Station) -> None:
    assert "answering on /run/gpu-cockpit/agent.sock" in station.node.journal(UNIT)


def test_agent_and_worker_run_as_their_own_user_with_cap_syslog_and_nothing_else(station: Station) -> None:
    own = station.node.run("id", "-u", "gpu-cockpit").stdout.strip()
    found = processes(station)
    assert len(found) >= 2, "the agent and its NVML worker"
    for status in found:
        assert status["Uid"].split() == [own] * 4
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[name], 16) == CAP_SYSLOG, (name, status[name])
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        assert re.search(r"Max core file size +0 +0 ", Path(f"/proc/{status['pid']}/limits").read_text())


def test_socket_and_state_have_the_modes_that_say_who_may_look(station: Station) -> None:
    def of(path: str) -> str:
        return station.node.run("stat", "-c", "%A %U:%G", path).stdout.strip()

    assert of(SOCKET) == "srw-rw---- gpu-cockpit:gpu-cockpit-view"
    assert of("/run/gpu-cockpit") == "drwxr-xr-x gpu-cockpit:gpu-cockpit"
    assert of("/var/lib/gpu-cockpit") == "drwx------ gpu-cockpit:gpu-cockpit"
    assert of("/var/lib/gpu-cockpit/state.json") == "-rw------- gpu-cockpit:gpu-cockpit"


def test_members_of_the_viewer_group_may_look_and_nobody_else(station: Station) -> None:
    node = station.node
    node.run("useradd", "--no-create-home", "--groups", "gpu-cockpit-view", "oncall")
    node.run("useradd", "--no-create-home", "stranger")
    for user, status in (("oncall", 0), ("stranger", 4)):
        done = node.run("runuser", "-u", user, "--", "gpu-cockpit-agent", "attach", check=False)
        assert done.returncode == status, done.stderr
    assert "ask to be added to group gpu-cockpit-view" in done.stderr
    assert node.run("runuser", "-u", "oncall", "--", "cat", "/var/lib/gpu-cockpit/state.json", check=False).returncode


def test_the_sandbox_lets_it_see_how_the_host_is(station: Station) -> None:
    """The clock by adjtimex, /dev/shm itself and not what hides it, file systems, pressure, every process."""

    def quality(picture: Picture, name: str) -> Quality:
        return next(cell[1] for (signal, _), cell in picture.cells.items() if signal == name)

    picture = station.until("the host's health is read", lambda seen: "disks" in seen.facts)
    read = (
        "host.clock.unsynchronized",
        "host.shm.total",
        "host.disks.free",
        "host.zombies",
        "host.tasks",
        "host.fds.max",
    )
    assert {name: quality(picture, name) for name in read} == dict.fromkeys(read, Quality.OK)
    shm = next(cell[0] for (signal, _), cell in picture.cells.items() if signal == "host.shm.total")
    assert shm == int(station.node.run("stat", "-f", "-c", "%b", "/dev/shm").stdout) * int(
        station.node.run("stat", "-f", "-c", "%S", "/dev/shm").stdout
    )
    assert [row["why"] for row in picture.facts["disks"] if row["path"] == "/"] == [""]


LOG = """
import asyncio, sys
sys.path.insert(0, "/usr/lib/gpu-cockpit-agent")
from pathlib import Path
from agent.errors import Refusal
from agent.sources.units.log import UnitLog
from agent.wire.requests import Log
facts = {"id": "vllm:8000", "unit": "chat-70b.service", "pids": [], "user": "root"}
try:
    print(*asyncio.run(UnitLog(Path("/proc")).read(Log(1, "replica:vllm:8000", 20), facts)).lines, sep="\\n")
except Refusal as no:
    print(no.code)
"""


def test_the_journal_of_a_replicas_unit_is_read_by_the_group_that_may(station: Station) -> None:
    node = station.node
    said = "echo loading; echo --api-key sk-1234567890abcdefghij; echo ready"
    node.run("systemd-run", "--wait", "--unit=chat-70b", "sh", "-c", said)
    node.run("journalctl", "--sync")
    words = ["--reuid=gpu-cockpit", "--regid=gpu-cockpit", "--", "/usr/bin/python3", "-c", LOG]
    lines = node.run("setpriv", "--groups=systemd-journal", *words).stdout.splitlines()
    assert [line.rpartition("]: ")[2] for line in lines if " sh[" in line] == ["loading", "--api-key ***", "ready"]
    assert any("Started chat-70b.service" in line or "Deactivated successfully" in line for line in lines)
    assert node.run("setpriv", "--clear-groups", *words).stdout.split() == ["denied"]


SERVES = """[Service]
User=daemon
ExecStart={python} /lab/llama-server -m /lab/{model} --port 18080
"""


def test_a_replica_that_another_user_runs_is_found_with_its_unit_and_its_log(station: Station) -> None:
    """The whole way: the kernel hides from the agent what that user's process has open."""
    require("the serving engines that `make lab` installs", has_engines())
    node, unit = station.node, "chat@0.service"
    model = llama_model(node.lab)
    shutil.copy(SCRIPTS / "llama-server", node.lab)
    text = SERVES.format(python=ENGINES_PYTHON, model=model.name)
    (node.root / "etc/systemd/system" / unit).write_text(text)
    node.run("systemctl", "daemon-reload")
    node.run("systemctl", "start", unit)
    picture = station.until("it is found and ready", lambda seen: "ready" in _states(seen), 30)
    (facts,) = picture.facts["replicas"]
    pid = int(node.show(unit, "MainPID")["MainPID"])
    shown = {name: facts[name] for name in ("engine", "port", "user", "unit", "pids")}
    assert shown == {"engine": "llamacpp", "port": 18080, "user": "daemon", "unit": unit, "pids": [pid]}
    (lines,) = asyncio.run(_answers(node, Log(1, f"replica:{facts['id']}", 50)))
    assert isinstance(lines, Lines)
    assert lines.source == f"the journal of {unit}"
    assert any("model loaded" in line for line in lines.lines)
    (refused,) = asyncio.run(_answers(node, Log(2, "replica:gpu-cockpit-agent", 50)))
    assert isinstance(refused, Refused), "a unit that is no replica's is nobody's to read"
    node.run("systemctl", "stop", unit)


def _states(picture: Picture) -> list[str]:
    return [one["state"] for one in picture.facts.get("replicas") or ()]


async def _answers(node: Node, wish: Log) -> list[Answer]:
    client = await Client.open(node.inside / SOCKET[1:])
    client.send(wish)
    picture = await client.until(lambda seen: seen.answers, 8)
    await client.close()
    return picture.answers


def test_it_hears_the_real_kernel_log(station: Station) -> None:
    """Where kernel.dmesg_restrict=1 only CAP_SYSLOG makes that possible: another user is refused."""
    restricted = Path("/proc/sys/kernel/dmesg_restrict").read_text().strip() == "1"
    plain = station.node.run("runuser", "-u", "daemon", "--", "head", "-c1", "/dev/kmsg", check=False)
    assert (plain.returncode != 0) is restricted
    main = processes(station)[0]["pid"]
    assert "/dev/kmsg" in {os.readlink(entry) for entry in Path(f"/proc/{main}/fd").iterdir()}
    station.xid(79, f"{station.node.run_id} heard")
    station.until("the XID is an event", lambda picture: "heard" in station.marks(picture))


@pytest.fixture(scope="module")
def report(station: Station) -> dict[str, str]:
    """What the probe could do in the sandbox of the running service."""
    node = station.node
    words = " ".join((*WRITABLE, *FORBIDDEN))
    probe = Path(__file__).with_name("probe.py")
    (node.lab / "probe.py").write_bytes(probe.read_bytes())
    folder = node.root / f"etc/systemd/system/{UNIT}.d"
    folder.mkdir()
    (folder / "probe.conf").write_text(f"[Service]\nExecStartPost=/usr/bin/python3 -IS /lab/probe.py {words}\n")
    node.run("sh", "-c", "cp /usr/bin/id /usr/local/bin/suid-id && chmod 4755 /usr/local/bin/suid-id")
    node.run("systemctl", "daemon-reload")
    node.run("systemctl", "restart", UNIT)
    found: dict[str, str] = json.loads((node.inside / "run/gpu-cockpit/probe.json").read_text())
    (folder / "probe.conf").unlink()
    return found


def test_the_sandbox_lets_it_read_what_it_is_there_for(report: dict[str, str]) -> None:
    allowed = (
        "kmsg.read",
        "nvidia0",
        "nvidiactl",
        "cmdline",
        "journal",
        "netlink socket",
        *(f"write {path}" for path in WRITABLE),
    )
    assert {name: report[name] for name in allowed} == dict.fromkeys(allowed, "ok")


def test_the_sandbox_lets_it_write_nowhere_else(report: dict[str, str], station: Station) -> None:
    assert [path for path in FORBIDDEN if report[f"write {path}"] == "ok"] == []
    assert station.node.run("sh", "-c", "ls /tmp /var/tmp | grep -c probe-", check=False).stdout.strip() == "0"


def test_the_sandbox_hides_what_others_keep_to_themselves(report: dict[str, str]) -> None:
    hidden = ("environ", "fds", "shadow", "home", "kmsg.write", "mem")
    assert [name for name in hidden if report[name] == "ok"] == []


def test_the_sandbox_lets_it_gain_nothing(report: dict[str, str]) -> None:
    gains = (
        "setuid", "chown", "mknod", "unshare user", "unshare mount", "mount", "ptrace", "kill", "syslog", "memory w+x",
        "setuid bit", "packet socket", "sysctl", "cgroup",
    )  # fmt: skip
    assert [name for name in gains if report[name] == "ok"] == []
    assert report["uid"] != "0"
    assert report["suid program"] in ("", report["uid"])


def test_systemd_finds_the_unit_right_and_little_exposed(station: Station) -> None:
    node = station.node
    checked = node.run("systemd-analyze", "verify", "--man=no", f"/usr/lib/systemd/system/{UNIT}")
    assert checked.stderr.strip() == ""
    judged = node.run(
        "systemd-analyze", "security", "--offline=true", "--threshold=25", "--no-pager", UNIT, check=False
    )
    assert judged.returncode == 0, judged.stdout[-200:]


def test_a_second_agent_is_turned_away_and_the_first_goes_on(station: Station) -> None:
    before = station.node.show(UNIT, "MainPID", "NRestarts")
    second = station.node.run("runuser", "-u", "gpu-cockpit", "--", "gpu-cockpit-agent", "run", check=False)
    assert second.returncode == 1
    assert SOCKET in second.stderr
    assert "Traceback" not in second.stderr
    as_root = station.node.run("gpu-cockpit-agent", "run", check=False)
    assert as_root.returncode == 2
    assert "belongs to user gpu-cockpit" in as_root.stderr, "what root would leave there stops the service"
    assert station.node.show(UNIT, "MainPID", "NRestarts") == before
    assert station.look().synced


def test_after_kill_9_it_is_back_on_the_same_socket_and_its_numbers_go_on(station: Station) -> None:
    node = station.node
    station.xid(63, f"{node.run_id} before")
    before = station.until("the event is numbered", lambda picture: "before" in station.marks(picture))
    last = max(event.seq for event in before.events)
    node.run("systemctl", "kill", "--signal=KILL", "--kill-whom=main", UNIT)
    assert stat.S_ISSOCK((node.inside / SOCKET[1:]).lstat().st_mode), "the socket that a crash leaves behind"
    station.until("it answers again", lambda picture: picture.hello.epoch != before.hello.epoch)
    assert int(node.show(UNIT, "NRestarts")["NRestarts"]) >= 1
    station.xid(64, f"{node.run_id} after")
    after = station.until("a new event", lambda picture: "after" in station.marks(picture))
    kept = {event.seq: event for event in after.events}
    assert [kept[event.seq] for event in before.events] == list(before.events)
    assert station.marks(after) == [*station.marks(before), "after"]
    assert max(kept) > last


def test_a_full_disk_stops_no_stream_and_is_told(station: Station) -> None:
    node = station.node
    node.run("systemctl", "stop", UNIT)
    state, unsaved = "/var/lib/gpu-cockpit", {"state_unsaved", "journal_full"}
    node.run("mount", "-t", "tmpfs", "-o", "size=4m,mode=0700,uid=gpu-cockpit,gid=gpu-cockpit", "none", state)
    try:
        node.run("sh", "-c", f"head -c 8M /dev/zero > {state}/state.json.filler", check=False)
        node.run("systemctl", "start", UNIT)
        station.until("that nothing is saved is a reason", lambda picture: unsaved <= _codes(picture))
        first = max(station.look().captured.values())
        station.until("samples go on", lambda picture: max(picture.captured.values()) > first)
        (node.inside / state[1:] / "state.json.filler").unlink()
        station.until("it is saved again", lambda picture: not unsaved & _codes(picture), 12)
    finally:
        node.run("systemctl", "stop", UNIT)
        node.run("umount", state)
        node.run("systemctl", "start", UNIT)


def _codes(picture: Picture) -> set[str]:
    return {reason["code"] for reason in picture.facts["reasons"]}


def test_a_wrong_configuration_is_said_once_and_not_tried_for_ever(station: Station) -> None:
    node = station.node
    config = node.inside / "etc/gpu-cockpit/agent.toml"
    before = config.read_text()
    try:
        config.write_text(before + "\nintervall_s = 2\n")
        assert node.run("systemctl", "restart", UNIT, check=False).returncode
        assert node.show(UNIT, "ActiveState", "ExecMainStatus") == {"ActiveState": "failed", "ExecMainStatus": "2"}
        assert "did you mean 'interval_s'?" in node.journal(UNIT)
    finally:
        config.write_text(before)
        node.run("systemctl", "start", UNIT)


def test_the_unit_says_nothing_that_this_systemd_does_not_know(station: Station) -> None:
    said = station.node.journal(UNIT)
    assert "Unknown" not in said
    assert "ignoring" not in said
