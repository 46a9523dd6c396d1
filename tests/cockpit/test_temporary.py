"""The command that starts a temporary agent, and what its early ends mean. Shells and the start are real."""

import hashlib
import os
import pkgutil
import shlex
import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from agent.wire.version import PREAMBLE
from cockpit.errors import LinkError
from cockpit.fleet.link_state import LinkState, LinkStatus
from cockpit.fleet.records import HostRecord
from cockpit.link.temporary import bootstrap, words
from cockpit.tui import host_rows
from tests.lab import has_command, require

SHELLS = ["sh", "bash", "zsh", "fish", "tcsh"]


def start(shell: str, payload: bytes, path: str, *, prelude: str = "") -> subprocess.CompletedProcess[bytes]:
    """What sshd does: the login shell runs the command; stdin ends after the payload."""
    command = words.command()
    if prelude:
        command = command.replace("-c '", f"-c '{prelude};", 1)
    return subprocess.run(
        [str(shutil.which(shell)), "-c", command],
        input=payload,
        capture_output=True,
        timeout=30,
        env={"PATH": path},
        check=False,
    )


@pytest.fixture
def python3(tmp_path: Path) -> str:
    """A PATH with this Python as python3 and nothing else."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python3").symlink_to(os.path.realpath(sys.executable))
    return str(tmp_path / "bin")


@pytest.mark.parametrize("shell", SHELLS)
def test_every_login_shell_starts_it(shell: str, python3: str) -> None:
    require(shell, has_command(shell))
    done = start(shell, words.payload(), python3)
    assert done.stdout.startswith(PREAMBLE), done.stderr
    assert (done.returncode, done.stderr) == (0, b"")  # stdin ended: so did the agent


def test_the_command_has_nothing_that_a_shell_may_read_in_its_own_way() -> None:
    command = words.command()
    quoted = command.split("'")[1]
    assert not set(quoted) & set("'\\!$`\n")
    assert shlex.split(command)[:6] == ["python3", "-I", "-S", "-B", "-c", quoted]
    assert len(command) < 400


def test_it_starts_where_anonymous_memory_files_are_unknown(python3: str) -> None:
    done = start("sh", words.payload(), python3, prelude="import os as o;del o.memfd_create")
    assert done.stdout.startswith(PREAMBLE), done.stderr


@pytest.mark.parametrize("size", [0, 100, 4000, 100_000])
def test_a_start_that_is_cut_off_ends_without_a_word(size: int, python3: str) -> None:
    done = start("sh", words.payload()[:size], python3)
    assert (done.returncode, done.stdout, done.stderr) == (words.CUT, b"", b"")


@pytest.mark.parametrize("size", [100, 100_000])
def test_a_start_that_hears_nothing_more_is_ended_by_the_kernel(size: int, python3: str) -> None:
    """The line was cut without an end of it being told: nobody is left who could end the process."""
    command = words.command().replace("signal.alarm(60)", "signal.setitimer(0,0.4)")
    with subprocess.Popen(
        ["/bin/sh", "-c", f"exec {command}"], stdin=subprocess.PIPE, env={"PATH": python3}
    ) as process:
        assert process.stdin is not None
        process.stdin.write(words.payload()[:size])
        process.stdin.flush()
        assert process.wait(10) == -signal.SIGALRM


def test_a_damaged_agent_is_not_run(python3: str) -> None:
    payload = bytearray(words.payload())
    payload[-1000] ^= 1
    done = start("sh", bytes(payload), python3)
    assert (done.returncode, done.stdout) == (words.BROKEN, b"")
    error = words.failed("n1", done.returncode, done.stderr.decode(), "")
    assert str(error) == "n1: the temporary agent arrived damaged"


def test_a_python_that_is_too_old_is_named(python3: str) -> None:
    done = start("sh", words.payload(), python3, prelude="import sys;sys.version_info=(3,9,2)")
    error = words.failed("n1", done.returncode, done.stderr.decode(), "")
    assert error.state == LinkState.INCOMPATIBLE
    assert str(error) == "n1: python3 is 3.9.2, a temporary agent needs 3.11 or newer"
    assert "install the package gpu-cockpit-agent" in error.hint


def test_a_newer_python_beside_an_old_one_takes_over(python3: str) -> None:
    shim = Path(python3) / "python3.13"
    shim.write_text("#!/bin/sh\nexit 127\n")  # of a version manager that has no such version
    shim.chmod(0o755)
    (Path(python3) / "python3.12").symlink_to(os.path.realpath(sys.executable))
    done = start("sh", words.payload(), python3, prelude="import sys;sys.version_info=(3,9,2)")
    assert done.stdout.startswith(PREAMBLE), done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("shell", SHELLS)
def test_a_host_without_python_is_named(tmp_path: Path, shell: str) -> None:
    require(shell, has_command(shell))
    done = start(shell, words.payload(), str(tmp_path))
    error = words.failed("n1", done.returncode, done.stderr.decode(), "")
    assert error.state == LinkState.INCOMPATIBLE
    assert str(error).startswith("n1: has no python3 to run a temporary agent with (")


@pytest.mark.parametrize(
    ("status", "said", "shown", "state", "says"),
    [
        (1, "", "This account is currently not available.\n", "incompatible", "does not run commands: it said 'This"),
        (None, "", "", "agent_down", "was killed at its start"),
        (137, "Killed\n", "", "agent_down", "was killed at its start"),
        (1, "Traceback\nOSError: [Errno 28]\n", "", "agent_down", "ended at its start with status 1: OSError"),
        (1, "a\x1b[31mb\n", "", "agent_down", "status 1: a[31mb"),
    ],
)
def test_other_ends_are_told_apart(status: int | None, said: str, shown: str, state: str, says: str) -> None:
    error = words.failed("n1", status, said, shown)
    assert error.state == state
    assert says in str(error)
    assert "\x1b" not in str(error)


@pytest.mark.parametrize(
    ("status", "said", "says"),
    [
        (1, "x\ngpu-cockpit-agent: too few processes\n", "n1: the temporary agent has ended: too few processes"),
        (0, "INFO bye\n", "n1: the temporary agent has ended"),
        (None, "", "n1: the temporary agent has ended"),
    ],
)
def test_an_agent_that_ends_later_says_why(status: int | None, said: str, says: str) -> None:
    error = words.ended("n1", status, said)
    assert (error.state, str(error)) == (LinkState.AGENT_DOWN, says)


def test_both_ends_mean_the_same_by_their_numbers() -> None:
    assert (words.TOO_OLD, words.BROKEN, words.CUT) == (bootstrap.TOO_OLD, bootstrap.BROKEN, bootstrap.CUT)
    assert ".".join(map(str, bootstrap.FLOOR)) == words.FLOOR
    size, digest = struct.unpack(">Q32s", words.payload()[len(words._bootstrap()) :][:40])
    archive = words.payload()[len(words._bootstrap()) + 40 :]
    assert (size, digest) == (len(archive), hashlib.sha256(archive).digest())


def test_the_bootstrap_is_small_enough_to_be_reviewed_and_imports_the_standard_library_alone() -> None:
    text = (pkgutil.get_data("cockpit.link.temporary", "bootstrap.py") or b"").decode()
    assert len(text) < 4000
    imported = {line.split()[1] for line in text.splitlines() if line.strip().startswith("import ")}
    assert imported <= sys.stdlib_module_names


def test_refusals_are_link_errors() -> None:
    assert isinstance(words.forbidden("n1"), LinkError)


def test_the_table_of_hosts_says_that_an_agent_is_temporary() -> None:
    record = HostRecord(0, "n1", "ssh://n1", {}, {}, None, link=LinkStatus(LinkState.LIVE), synced=True)
    assert host_rows._link_of(record)[0] == "✓ live"
    record.facts["agent"] = {"temporary": True}
    assert host_rows._link_of(record)[0] == "✓ temporary"
    record.link = LinkStatus(LinkState.STALE)
    assert host_rows._link_of(record)[0] == "▲ stale"
