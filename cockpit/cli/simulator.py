"""`demo` and `sim`: simulated hosts are real agents in a process of their own; the console only starts and ends it."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from cockpit.cli.arguments import Arguments
from cockpit.cli.screens import show_inventory
from cockpit.clock import SystemClock
from cockpit.errors import CockpitError, UsageError
from cockpit.inventory import load
from cockpit.tui import check_terminal

READY_S = 30.0
_END_S = 5.0
_PROGRESS_S = 1.0
_POLL_S = 0.05


def agent_command() -> list[str]:
    """How this installation's agent is called."""
    own = Path(__file__).parents[2] / "bin" / "gpu-cockpit-agent"  # an unpacked single file brings its agent along
    if own.is_file():
        return [sys.executable, "-I", str(own)]
    beside = Path(sys.executable).with_name("gpu-cockpit-agent")
    return [str(beside)] if os.access(beside, os.X_OK) else [sys.executable, "-m", "agent"]


def exec_sim(words: list[str]) -> NoReturn:
    """Become `gpu-cockpit-agent sim ...`."""
    command = [*agent_command(), "sim", *words]
    os.execv(command[0], command)  # noqa: S606 - our own program, the operator's own words


def demo(arguments: Arguments) -> int:
    """A simulated fleet, the screens on it, and its end."""
    if arguments.fleet or arguments.hosts:
        raise UsageError("demo brings its own hosts; leave --fleet and --host away")
    check_terminal()  # before anything is started
    # Under /tmp, whatever TMPDIR says: a unix socket's path holds 107 characters.
    directory = Path(tempfile.mkdtemp(prefix="gpu-cockpit-demo-", dir="/tmp"))
    try:
        with _simulated(directory, arguments.simulated):
            return show_inventory(arguments, load(directory / "fleet" / "fleet.toml"), title="demo")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _simulated(directory: Path, words: tuple[str, ...]) -> Iterator[None]:
    """The simulator as a child process from its READY until the block ends, however it ends."""
    log = directory / "sim.log"
    # Who is killed cannot tidy up: the simulator does, that ends with us.
    ending = ["--while-stdin", "--forget", str(directory)]
    command = [*agent_command(), "sim", "up", *ending, "--dir", str(directory / "fleet"), *words]
    with _orderly_signals(), log.open("wb") as out:
        # A session of its own: ctrl-c at the screens is the screens' business. The pipe ends with us, whatever ends us.
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=out, start_new_session=True)  # noqa: S603
        try:
            _await_ready(child, log)
            yield
        finally:
            _end(child)


@contextmanager
def _orderly_signals() -> Iterator[None]:
    """A closed terminal or a SIGTERM ends us through our `finally` blocks, so that no simulator is left behind."""

    def leave(number: int, _frame: object) -> NoReturn:
        sys.exit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _await_ready(child: "subprocess.Popen[bytes]", log: Path) -> None:
    clock = SystemClock()
    start = told = clock.real()
    while True:
        lines = log.read_text("utf-8", "replace").splitlines()
        if "READY" in lines:
            return
        waited = clock.real() - start
        if child.poll() is not None:
            last = lines[-1].removeprefix("gpu-cockpit-agent: ") if lines else "it said nothing"
            if child.returncode == UsageError.exit_code:
                raise UsageError(last)
            raise CockpitError(f"the simulator ended with status {child.returncode}: {last}")
        if waited > READY_S:
            raise CockpitError(f"the simulator is not ready after {READY_S:.0f} s; try fewer hosts with --hosts")
        if clock.real() - told >= _PROGRESS_S:
            told = clock.real()
            print(f"gpu-cockpit: starting the simulated hosts, {waited:.0f} s ...", file=sys.stderr)
        try:
            child.wait(_POLL_S)
        except subprocess.TimeoutExpired:
            pass


def _end(child: "subprocess.Popen[bytes]") -> None:
    child.terminate()
    try:
        child.wait(_END_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    if child.stdin is not None:
        child.stdin.close()
