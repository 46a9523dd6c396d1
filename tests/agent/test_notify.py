"""What systemd hears of the daemon; the socket is a real one, systemd is not there."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.cli.notify import Notifier
from tests.fakes.process import AgentProcess


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(10)
        yield listening


def heard(systemd: socket.socket, word: str) -> dict[str, str]:
    """The next message with this key."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        lines = dict(line.split("=", 1) for line in systemd.recv(4096).decode().splitlines())
        if word in lines:
            return lines
    raise AssertionError(f"never heard {word}")


def drain(systemd: socket.socket) -> None:
    """Hear what is there."""
    systemd.setblocking(False)
    try:
        while True:
            systemd.recv(4096)
    except BlockingIOError:
        pass


def test_a_daemon_says_that_it_is_ready_and_alive_and_stops(
    tmp_path: Path, systemd: socket.socket, no_nvml: None
) -> None:
    settings = {"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "200000"}
    with AgentProcess(tmp_path, {**settings}) as agent:
        ready = heard(systemd, "READY")
        assert ready["READY"] == "1"
        assert ready["STATUS"].startswith(f"answering on {agent.socket}; no GPU known; cannot see all of ")
        for _ in range(3):
            assert heard(systemd, "WATCHDOG") == {"WATCHDOG": "1"}
        assert agent.process is not None
        os.kill(agent.process.pid, signal.SIGSTOP)
        time.sleep(0.05)
        drain(systemd)
        systemd.settimeout(0.5)
        with pytest.raises(TimeoutError):  # who does not turn does not claim to live
            systemd.recv(4096)
        os.kill(agent.process.pid, signal.SIGCONT)
        systemd.settimeout(10)
        agent.process.terminate()
        assert heard(systemd, "STOPPING")["STATUS"] == "stopping"
        assert agent.process.wait(5) == 0


def test_nobody_is_told_without_a_socket_and_no_child_inherits_it() -> None:
    environ = {"NOTIFY_SOCKET": "relative", "WATCHDOG_USEC": "x", "HOME": "/"}
    notifier = Notifier(environ)
    assert environ == {"HOME": "/"}
    assert (notifier.listens, notifier.every_s) == (False, 0.0)
    notifier.ready("ready")
    notifier.stopping()
    notifier.close()


def test_a_watchdog_of_another_process_is_not_ours() -> None:
    assert Notifier({"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "1"}).every_s == 0.0
    assert Notifier({"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid())}).every_s == 2.0


def test_a_socket_that_is_gone_or_full_costs_a_message(tmp_path: Path) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    notifier.ready("one\ntwo")
    notifier.close()


def test_an_abstract_socket_is_reached_and_a_status_stays_one_line() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        name = f"gpu-cockpit-{os.getpid()}"
        listening.bind(f"\0{name}")
        listening.settimeout(5)
        notifier = Notifier({"NOTIFY_SOCKET": f"@{name}"})
        notifier.status("one\nREADY=1")
        assert listening.recv(100) == b"STATUS=one READY=1"
        notifier.close()
