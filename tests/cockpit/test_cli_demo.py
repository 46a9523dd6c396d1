"""`demo`: a simulated fleet as a child, the screens on it, and nothing left behind however it ends."""

import os
import pty
import select
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

import psutil
import pyte
import pytest

from cockpit.cli import simulator
from cockpit.cli.main import run
from cockpit.errors import CockpitError, UsageError

LINES, COLUMNS = 30, 100


class Demo:
    """`gpu-cockpit demo` on a terminal of its own."""

    def __init__(self, *words: str) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm-256color"
            os.execv(sys.executable, [sys.executable, "-m", "cockpit", "demo", *words])
        ioctl(self._fd, TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self._screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self._screen)
        self.status: int | None = None

    @property
    def text(self) -> str:
        return "\n".join(self._screen.display)

    def until(self, claim: Callable[[], bool], seconds: float = 20.0) -> None:
        """Feed the screen until something is true."""
        end = time.monotonic() + seconds
        while not claim():
            assert time.monotonic() < end, self.text
            self._step()

    def ended(self) -> bool:
        """Whether it has; then `status` is its exit status, negative for a signal."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None
        return self.status is not None

    def type(self, keys: bytes) -> None:
        os.write(self._fd, keys)

    def close(self) -> None:
        if not self.ended():
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._fd)

    def _step(self) -> None:
        if select.select([self._fd], [], [], 0.05)[0]:
            try:
                self._stream.feed(os.read(self._fd, 65536))
            except OSError:  # its end of the terminal is closed
                pass


def children_of(pid: int) -> list[int]:
    """Process ids of its children."""
    return [child.pid for child in psutil.Process(pid).children()]


def demo_directories() -> set[str]:
    return {path.name for path in Path("/tmp").glob("gpu-cockpit-demo-*")}


@pytest.fixture
def demo() -> Iterator[Demo]:
    running = Demo("--hosts", "2", "--gpus", "4", "--scenario", "xid79-falls-off-bus", "--speed", "20")
    yield running
    running.close()


def test_demo_shows_its_fault_and_leaves_nothing_behind(demo: Demo) -> None:
    demo.until(lambda: "hosts 2/2" in demo.text)
    (child,) = [pid for pid in children_of(demo.pid) if Path(f"/proc/{pid}/cmdline").read_bytes().find(b"sim\0up") > 0]
    mine = Path(f"/proc/{child}/cmdline").read_bytes().split(b"--dir\0")[1].split(b"\0")[0].decode()
    demo.until(lambda: "LOST" in demo.text)
    demo.until(lambda: "was running" in demo.text)
    demo.type(b"q")
    demo.until(demo.ended)
    assert demo.status == 0
    assert not Path(f"/proc/{child}").exists()
    assert not Path(mine).exists()


def test_a_closed_terminal_ends_the_simulator_too(demo: Demo) -> None:
    demo.until(lambda: "hosts 2/2" in demo.text)
    children = children_of(demo.pid)
    os.kill(demo.pid, signal.SIGHUP)
    demo.until(demo.ended)
    assert children
    assert not any(Path(f"/proc/{child}").exists() for child in children)


def test_a_console_that_is_killed_takes_the_simulator_along(demo: Demo) -> None:
    demo.until(lambda: "hosts 2/2" in demo.text)
    (child,) = (psutil.Process(pid) for pid in children_of(demo.pid))
    words = child.cmdline()
    os.kill(demo.pid, signal.SIGKILL)
    demo.until(demo.ended)
    gone, _ = psutil.wait_procs([child], timeout=10)
    assert gone
    assert not Path(words[words.index("--dir") + 1]).parent.exists()


def test_without_a_terminal_nothing_is_started(capsys: pytest.CaptureFixture[str]) -> None:
    before = demo_directories()
    assert run(["demo"]) == 2
    assert "need a terminal" in capsys.readouterr().err
    assert demo_directories() <= before


@pytest.mark.parametrize(
    ("script", "error", "says"),
    [
        ("echo gpu-cockpit-agent: no scenario; exit 2", UsageError, "^no scenario$"),
        ("echo broken; exit 1", CockpitError, "the simulator ended with status 1: broken"),
        ("exit 4", CockpitError, "it said nothing"),
        ("sleep 60", CockpitError, "not ready after 0 s"),
    ],
)
def test_a_simulator_that_does_not_come_up_is_told(
    script: str, error: type[Exception], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulator, "agent_command", lambda: ["sh", "-c", script])
    monkeypatch.setattr(simulator, "READY_S", 0.3)
    with pytest.raises(error, match=says), simulator._simulated(tmp_path, ()):
        pass
