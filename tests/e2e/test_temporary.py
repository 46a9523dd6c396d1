"""`--temporary` on a host with python3 and sshd alone, through a bastion: it shows the GPUs of the C fake, and whatever
ends it, no process and no file stays behind. It proves how we treat a host, not what NVIDIA's driver does.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.bare_host import BareHost, bare_host, fleet
from tests.e2e.network import BIN, Network, Sshd, eventually
from tests.lab import has_command, require

pytestmark = pytest.mark.lab

GONE_S = 20.0  # the agent's lease of 15 s, its end of 3 s, and a margin
SOON_S = 8.0


@pytest.fixture(scope="module")
def bastion(network: Network) -> Iterator[Sshd]:
    sshd = network.sshd("bast", "AllowTcpForwarding local", "ForceCommand /bin/false").start()
    yield sshd
    sshd.stop()


@pytest.fixture(scope="module")
def hosts(network: Network, bastion: Sshd) -> Iterator[dict[str, BareHost]]:
    """`bare` forwards nothing at all, `plain` is as Debian ships it."""
    require("gcc and python3 3.11 (C fake of NVML, the host's own Python)", has_command("gcc") and _python_is_new())
    both = {
        "bare": bare_host(network, "n1", "DisableForwarding yes", gpus=("lost 3",)),
        "plain": bare_host(network, "n2"),
    }
    yield both
    for host in both.values():
        host.sshd.stop()


@pytest.fixture
def bare(hosts: dict[str, BareHost]) -> Iterator[BareHost]:
    """Untouched before, and after."""
    host = hosts["bare"]
    assert host.left() == ([], [])
    yield host
    nothing_is_left(host, GONE_S)


def _python_is_new() -> bool:
    code = "import sys; sys.exit(sys.version_info < (3, 11))"
    return Path("/usr/bin/python3").exists() and subprocess.run(["/usr/bin/python3", "-c", code]).returncode == 0


def nothing_is_left(host: BareHost, seconds: float) -> float:
    """Wait until the host is as it was; how long that took."""
    began = time.monotonic()
    for _ in eventually("the host is as it was", seconds):
        left = host.left()
        if left == ([], []):
            break
    assert left == ([], [])
    return time.monotonic() - began


def words(network: Network, hosts: dict[str, BareHost], *more: str, host: str = "bare") -> list[str]:
    return ["gpu-cockpit", "--fleet", str(fleet(network, hosts)), "--host", host, "--temporary", *more]


def ask(network: Network, hosts: dict[str, BareHost], *more: str, host: str = "bare") -> tuple[int, Any]:
    answer = network.operator(*words(network, hosts, *more, "--json", host=host))
    assert "Traceback" not in answer.stderr, answer.stderr
    assert answer.stdout, answer.stderr
    return answer.returncode, json.loads(answer.stdout)


@contextmanager
def watching(network: Network, hosts: dict[str, BareHost], name: str = "watch") -> Iterator[subprocess.Popen[bytes]]:
    """A cockpit that stays, and has shown the host's GPUs."""
    log = network.folder / name
    with log.open("wb") as output:
        process = subprocess.Popen(
            network.inside("ops", str(BIN / "gpu-cockpit"), *words(network, hosts, "gpus", "--watch", "--json")[1:]),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=network.environment(),
            cwd=network.folder,
        )
    try:
        for _ in eventually(f"the GPUs are shown: {log.read_text()[-2000:]}"):
            assert process.poll() is None, log.read_text()[-2000:]
            if shown(log) == 8:
                break
        yield process
    finally:
        process.kill()
        process.wait(5)


def shown(log: Path) -> int:
    """How many GPUs the newest whole document has."""
    lines = log.read_text().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n") and line.startswith("{")]
    return len(json.loads(whole[-1])["items"]) if whole else 0


def test_a_bare_host_shows_its_gpus_and_what_an_ordinary_user_may_not_see(
    network: Network, hosts: dict[str, BareHost], bare: BareHost
) -> None:
    status, answer = ask(network, hosts, "gpus")
    assert status == 0
    states = {gpu["index"]: gpu["state"] for gpu in answer["items"]}
    assert states == {index: "lost" if index == 3 else "ok" for index in range(8)}
    assert answer["items"][0]["signals"]["gpu.power"]["quality"] == "ok"
    nothing_is_left(bare, SOON_S)
    status, answer = ask(network, hosts, "hosts")
    assert status == 0
    (host,) = answer["items"]
    assert (host["link"], host["gpus_present"]) == ("live", 7)
    assert host["temporary"] is True
    assert {reason["code"] for reason in host["reasons"]} == {"kernel_log_denied", "temporary"}


@pytest.mark.usefixtures("bare")
def test_status_says_what_is_wrong_there(network: Network, hosts: dict[str, BareHost]) -> None:
    _, answer = ask(network, hosts, "status")
    assert answer["hosts"]["live"] == 1
    assert answer["gpus"]["present"] == 7
    assert any("GPU 3" in json.dumps(problem) for problem in answer["problems"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_however_the_cockpit_ends(
    network: Network, hosts: dict[str, BareHost], bare: BareHost, number: signal.Signals
) -> None:
    with watching(network, hosts) as cockpit:
        assert len(bare.agents()) == 1
        assert len(bare.processes()) > len(bare.agents())  # the login shell, the child that talks to the driver
        assert bare.files() == bare.before
        cockpit.send_signal(number)
        cockpit.wait(5)
        assert nothing_is_left(bare, GONE_S) < SOON_S


def test_an_agent_that_is_ended_on_the_host_leaves_nothing_and_is_brought_again(
    network: Network, hosts: dict[str, BareHost], bare: BareHost
) -> None:
    with watching(network, hosts):
        for number in (signal.SIGTERM, signal.SIGKILL):
            before = bare.processes()
            (agent,) = bare.agents()
            os.kill(agent, number)
            for _ in eventually("another agent is there"):
                if bare.agents() not in ([], [agent]):
                    break
            for _ in eventually("nothing is left of the first"):
                if not set(before) & set(bare.processes()):
                    break
            assert bare.files() == bare.before


def test_several_cockpits_have_an_agent_each(network: Network, hosts: dict[str, BareHost], bare: BareHost) -> None:
    with watching(network, hosts, "one"):
        with watching(network, hosts, "two"):
            assert len(bare.agents()) == 2
        for _ in eventually("the second agent is gone"):
            if len(bare.agents()) == 1:
                break
        assert shown(network.folder / "one") == 8


@pytest.mark.more
def test_nothing_is_left_after_the_line_was_cut(network: Network, hosts: dict[str, BareHost], bare: BareHost) -> None:
    with watching(network, hosts) as cockpit:
        network.cut("n1")
        try:
            cockpit.kill()
            assert nothing_is_left(bare, GONE_S) > 1.0  # nobody told the agent: it is its lease
        finally:
            network.mend("n1")


@contextmanager
def python_that(host: BareHost, does: str) -> Iterator[None]:
    """The host's python3 is a script meanwhile."""
    assert host.sshd.process is not None
    python = Path(f"/proc/{host.sshd.process.pid}/root/mnt/bin/python3")
    there = python.readlink()
    python.unlink()
    if does:
        python.write_text(f"#!/bin/sh\n{does}\n")
        python.chmod(0o755)
    try:
        yield
    finally:
        python.unlink(missing_ok=True)
        python.symlink_to(there)


@pytest.mark.parametrize(
    ("does", "state", "says"),
    [
        ("", "incompatible", "has no python3 to run a temporary agent with"),
        ("kill -9 $$", "agent_down", "was killed at its start"),
        (r"printf '\211GPUCK\r\n\001'; exec /usr/bin/head -c 3000000 /dev/urandom", "incompatible", "plain: "),
        ("exec /usr/bin/yes garbage", "incompatible", "prints without end where a temporary agent should speak"),
        pytest.param("exec /usr/bin/yes garbage >&2", "incompatible", "prints without end", marks=pytest.mark.more),
    ],
    ids=["none", "killed", "garbage", "flood", "flood of errors"],
)
def test_a_host_whose_python_is_none_says_so(
    network: Network, hosts: dict[str, BareHost], does: str, state: str, says: str
) -> None:
    host = hosts["plain"]
    with python_that(host, does):
        status, answer = ask(network, hosts, "status", host="plain")
    assert status == 3
    assert answer["hosts"][state] == 1, answer
    assert says in json.dumps(answer)
    nothing_is_left(host, SOON_S)
