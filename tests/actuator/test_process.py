"""Which processes the policy lets end, and which never: judged on processes of the test's own and on made-up ones."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest

from agent.actuator import proc
from agent.actuator.families import FAMILIES
from agent.actuator.family import Entry, Refused
from agent.actuator.policy import Policy
from agent.actuator.process import Handle, is_same, judge, protected

ENGINE = proc.Process(4711, 42, "S", "python3", 4000, 1000, 0, "/system.slice/vllm@0.service", nested=False)
PLAIN = Entry(1, ("process.stop",), "operator")


@pytest.fixture(autouse=True)
def holders(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The numbers of the processes that hold a GPU."""
    held = {ENGINE.pid}
    monkeypatch.setattr(proc, "gpus", lambda pid: ("/dev/nvidia0",) if pid in held else ())
    return held


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def entry(**keys: object) -> Entry:
    return Entry(1, ("process.stop",), "operator", keys)


@pytest.mark.parametrize(
    ("keys", "changes", "why"),
    [
        ({}, {}, ""),
        ({}, {"pid": 4712}, "holds no GPU"),
        ({}, {"uid": 0}, 'is root\'s; an [[allow]] with users = ["root"] would allow it'),
        ({}, {"uid": 0, "nested": True}, ""),
        ({"users": ("root",)}, {"uid": 0}, ""),
        ({"users": ("root",)}, {}, "and [[allow]] 1 allows users"),
        ({"units": ("vllm@*.service",)}, {"pid": 4712}, ""),
        ({"units": ("vllm@*.service",)}, {"cgroup": "/system.slice/ssh.service"}, "is of another unit"),
        (
            {"units": ("*",)},
            {"cgroup": "/system.slice/gpu-cockpit-agent.service"},
            "belongs to gpu-cockpit-agent.service",
        ),
        ({"units": ("*",)}, {"cgroup": "/system.slice/systemd-journald.service"}, "belongs to systemd-journald"),
        ({"units": ("*",)}, {"cgroup": "/system.slice/dbus.service"}, "belongs to dbus"),
        ({}, {"cgroup": "/system.slice/nvidia-persistenced.service"}, "belongs to nvidia-persistenced"),
        (
            {"users": ("root",)},
            {"uid": 0, "cgroup": "/system.slice/nvidia-fabricmanager.service"},
            "belongs to nvidia-fabricmanager",
        ),
        ({"units": ("*",)}, {"pid": 1}, "is the host's own"),
        ({"units": ("*",)}, {"flags": 0x00200000}, "is the host's own"),
        ({"units": ("*",)}, {"pid": os.getpid()}, "is the host's own"),
    ],
)
def test_who_may_be_ended(keys: dict[str, object], changes: dict[str, object], why: str) -> None:
    one = replace(ENGINE, **changes)  # type: ignore[arg-type]
    found = judge(entry(**keys), one, (one,))
    assert (found == "") is (why == "")
    assert why in found


def test_of_several_entries_the_one_that_fits_this_process_counts(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    (action,) = [action for family in FAMILIES for action in family.actions if action.id == "process.stop"]
    monkeypatch.setattr(proc, "look", lambda pid: replace(ENGINE, pid=pid))
    entries = (entry(units=("other.service",)), replace(PLAIN, number=2))
    monkeypatch.setattr(Policy, "read", lambda self: entries)
    policy = Policy(tmp_path, FAMILIES)  # type: ignore[arg-type]
    assert policy.decide(action, {"pid": str(ENGINE.pid)}).entry == entries[1]
    assert (
        "[[allow]] 1 does not: process 4712 (python3) is of another unit" in policy.decide(action, {"pid": "4712"}).says
    )


def test_a_control_group_tells_unit_and_container() -> None:
    assert ENGINE.unit == "vllm@0.service"
    docker = replace(ENGINE, cgroup=f"/system.slice/docker-{'0a' * 32}.scope")
    assert (docker.container, docker.unit) == ("0a" * 32, f"docker-{'0a' * 32}.scope")
    assert replace(ENGINE, cgroup="/").unit == ""
    assert replace(ENGINE, cgroup="/user.slice/user-1000.slice/session-3.scope").unit == "session-3.scope"


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/sshd.service", "user@1000.service"),
        ("/user.slice/user-1000.slice/user@1000.service/vllm@0.service", "user@1000.service"),
        (f"/docker/{'0a' * 32}/system.slice/sshd.service", ""),
        (f"/system.slice/docker-{'0a' * 32}.scope/system.slice/sshd.service", f"docker-{'0a' * 32}.scope"),
        (f"/system.slice/podman-vllm.service/libpod-payload-{'0a' * 32}", "podman-vllm.service"),
        ("/system.slice/system-vllm.slice/vllm@0.service", "vllm@0.service"),
    ],
)
def test_what_a_user_or_a_container_calls_a_group_of_its_own_is_no_unit_of_the_system(cgroup: str, unit: str) -> None:
    assert replace(ENGINE, cgroup=cgroup).unit == unit


def test_a_handle_is_of_one_process_or_of_none(child: "subprocess.Popen[bytes]") -> None:
    one = proc.look(child.pid)
    assert one is not None
    assert (one.comm, one.ppid, one.uid) == ("sleep", os.getpid(), os.getuid())
    assert is_same(child.pid, str(one.started)).started == one.started
    with pytest.raises(Refused, match="another one now"):
        is_same(child.pid, "1")
    with pytest.raises(Refused, match="another one now"):
        Handle(replace(one, started=1))
    handle = Handle(one)
    assert not handle.ended(0)
    child.kill()
    assert handle.ended(5)
    child.wait()
    handle.close()
    with pytest.raises(Refused, match="is gone"):
        is_same(child.pid, str(one.started))
    with pytest.raises(Refused, match="is gone"):
        Handle(one)


def test_descendants_are_found_and_their_devices_are_seen(child: "subprocess.Popen[bytes]") -> None:
    me = proc.look(os.getpid())
    assert me is not None
    assert child.pid in {one.pid for one in proc.below(me)}
    assert proc.devices(os.getpid()) == ((), True)
    assert proc.look(2**22 + 1) is None
    assert protected(me) != "", "the helper itself, that is"
