"""The single files as a user runs them: on every Python that is here, in homes that are hostile, full or shared."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.fakes.client import fetch
from tests.lab import has_command, has_root, may_lack, require
from tests.packaging.builds import MADE_AT, THIS, build, interpreter, shared

AGENT, CONSOLE = "gpu-cockpit-agent.pyz", "gpu-cockpit.pyz"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where both files are."""
    out = shared(tmp_path_factory, "build-pyz")
    assert sorted(path.name for path in out.iterdir()) == sorted([AGENT, CONSOLE])
    return out


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home directory for all tests that do not care what is unpacked there already: the console is large."""
    return tmp_path_factory.mktemp("home")


def environment(home: Path, **more: str) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "HOME": str(home), "LC_ALL": "C.UTF-8", **more}


def run(
    program: Path, *words: str, home: Path, python: Path | str = sys.executable, user: str = "", **env: str
) -> subprocess.CompletedProcess[str]:
    command = [*(("/usr/sbin/runuser", "-u", user, "--") if user else ()), str(python), str(program), *words]
    return subprocess.run(
        command, env=environment(home, **env), capture_output=True, text=True, timeout=60, check=False, cwd="/"
    )


@pytest.mark.parametrize("version", ["3.11", pytest.param("3.12", marks=pytest.mark.more), "3.13"])
@pytest.mark.parametrize("name", [AGENT, CONSOLE])
def test_it_works_on_this_python(folder: Path, home: Path, name: str, version: str) -> None:
    python = interpreter(version)
    may_lack(f"a Python {version}", python is not None)
    assert python is not None
    words, expected = (("once", "--json"), '"schema": 1') if name == AGENT else (("rules", "--json"), '"schema": 1')
    done = run(folder / name, *words, home=home, python=python)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
    assert done.stderr == ""


def test_it_is_a_program_of_its_own(folder: Path, home: Path) -> None:
    done = subprocess.run([folder / AGENT, "rules"], env=environment(home), capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


def test_its_version_is_said_at_once_and_unpacks_nothing(folder: Path, tmp_path: Path) -> None:
    took = []
    for _ in range(3):
        began = time.monotonic()
        done = run(folder / CONSOLE, "--version", home=tmp_path)
        took.append(time.monotonic() - began)
    assert re.fullmatch(r"gpu-cockpit \d\S+\n", done.stdout)
    assert list(tmp_path.iterdir()) == []
    assert min(took) < 0.16, "twice the budget, for a machine that others use too"


def test_it_unpacks_once_for_its_user_alone(folder: Path, tmp_path: Path) -> None:
    run(folder / AGENT, "rules", home=tmp_path)
    base = tmp_path / ".cache/gpu-cockpit"
    (tree,) = base.iterdir()
    assert [oct(path.stat().st_mode & 0o777) for path in (base, tree, tree / "agent/__init__.py")] == [
        "0o700", "0o700", "0o600",
    ]  # fmt: skip
    before = (tree / "agent/__init__.py").stat().st_ino
    run(folder / AGENT, "rules", home=tmp_path)
    assert (tree / "agent/__init__.py").stat().st_ino == before


def test_nothing_of_the_callers_python_path_is_imported(folder: Path, tmp_path: Path) -> None:
    evil = tmp_path / "evil"
    for name in ("agent", "cockpit", "msgpack", "psutil", "numpy", "unpack"):
        (evil / name).mkdir(parents=True)
        (evil / name / "__init__.py").write_text("raise SystemExit('hijacked')\n")
    done = run(folder / AGENT, "once", "--json", home=tmp_path, PYTHONPATH=str(evil))
    assert done.returncode == 0, done.stderr


def test_many_first_starts_at_once_all_work_and_leave_one_copy(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(folder / AGENT), "rules"]
    started = [
        subprocess.Popen(command, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(6)
    ]
    said = {process.communicate(timeout=60) for process in started}
    assert len(said) == 1
    assert [process.returncode for process in started] == [0] * 6
    assert len(list((tmp_path / ".cache/gpu-cockpit").iterdir())) == 1


def test_a_copy_that_lost_a_file_with_the_power_is_made_again(folder: Path, tmp_path: Path) -> None:
    run(folder / AGENT, "rules", home=tmp_path)
    (tree,) = (tmp_path / ".cache/gpu-cockpit").iterdir()
    (tree / "agent/errors.py").write_text("")
    (tree / ".complete").write_text("another boot")
    assert run(folder / AGENT, "rules", home=tmp_path).returncode == 0
    assert (tree / "agent/errors.py").stat().st_size


def test_what_a_killed_start_left_and_an_older_version_are_removed_but_not_what_runs(
    folder: Path, tmp_path: Path
) -> None:
    (older,) = build("build-pyz", tmp_path / "older", "--part", "agent", "--version", "0.0.1")
    home = tmp_path / "home"
    home.mkdir()
    socket = tmp_path / "a.sock"
    running = subprocess.Popen(
        [sys.executable, older, "run", "--socket", socket, "--state", tmp_path / "state"],
        env=environment(home), stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        base = home / ".cache/gpu-cockpit"
        _wait(socket.exists)
        (base / ".999999999-gpu-cockpit-agent-left").mkdir()
        assert run(folder / AGENT, "rules", home=home).returncode == 0
        assert len(list(base.iterdir())) == 2, "what runs stays; what was left is gone"
        _wait(lambda: fetch(socket).hello is not None)
    finally:
        running.terminate()
        running.wait(10)
    shutil.rmtree(next(path for path in base.iterdir() if "-0.0.1-" not in path.name))
    assert run(folder / AGENT, "rules", home=home).returncode == 0
    assert ["-0.0.1-" in path.name for path in base.iterdir()] == [False]


def test_another_users_directory_is_never_used(folder: Path, tmp_path: Path) -> None:
    require("root (to be two users)", has_root() and has_command("runuser"))
    tmp_path.chmod(0o755)
    base = tmp_path / ".cache/gpu-cockpit"
    base.mkdir(parents=True)
    os.chown(base, 65534, 65534)
    done = run(folder / AGENT, "rules", home=tmp_path, GPU_COCKPIT_CACHE=str(base))
    assert done.returncode == 3
    assert f"{base} belongs to user 65534" in done.stderr
    assert "GPU_COCKPIT_CACHE" in done.stderr
    assert list(base.iterdir()) == []


@pytest.mark.parametrize("kind", ["link", "writable", "below"])
def test_a_directory_that_somebody_could_swap_is_never_used(folder: Path, tmp_path: Path, kind: str) -> None:
    base = tmp_path / "cache"
    if kind == "link":
        (tmp_path / "real").mkdir(mode=0o700)
        base.symlink_to(tmp_path / "real")
    elif kind == "writable":
        base.mkdir()
        base.chmod(0o777)
    else:
        base = tmp_path / "open" / "cache"
        base.parent.mkdir()
        base.parent.chmod(0o777)
    done = run(folder / AGENT, "rules", home=tmp_path, GPU_COCKPIT_CACHE=str(base))
    assert done.returncode == 3
    assert "no private place to unpack to" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_home_that_cannot_be_written_is_no_obstacle(folder: Path, tmp_path: Path) -> None:
    require("root (to be another user)", has_root() and has_command("runuser"))
    public = Path(tempfile.mkdtemp(prefix="gcp-", dir="/tmp"))
    public.chmod(0o755)
    shutil.copy(folder / AGENT, public)
    place = Path(f"/tmp/gpu-cockpit-{65534}")
    try:
        done = run(public / AGENT, "rules", home=Path("/proc"), user="nobody", python="/usr/bin/python3")
        assert done.returncode == 0, done.stderr
        assert oct(place.stat().st_mode & 0o777) == "0o700"
    finally:
        shutil.rmtree(place, ignore_errors=True)
        shutil.rmtree(public)


def test_a_full_disk_is_said_with_what_is_needed_and_nothing_is_left(folder: Path, tmp_path: Path) -> None:
    require("root (to mount a small file system)", has_root())
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "none", small], check=True)
    try:
        done = run(folder / AGENT, "rules", home=tmp_path, GPU_COCKPIT_CACHE=str(small))
        assert done.returncode == 3
        assert re.search(r"cannot unpack into .*: No space left on device; about \d+ MB are needed", done.stderr)
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_file_system_that_nothing_may_run_from_is_not_used(folder: Path, tmp_path: Path) -> None:
    require("root (to mount a file system)", has_root())
    bare = tmp_path / "bare"
    bare.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m,mode=0700,noexec", "none", bare], check=True)
    try:
        done = run(folder / AGENT, "rules", home=tmp_path, GPU_COCKPIT_CACHE=str(bare))
        assert (done.returncode, "noexec" in done.stderr) == (3, True)
    finally:
        subprocess.run(["umount", bare], check=True)


def test_a_python_that_is_too_old_looks_for_a_newer_one_in_path(folder: Path, tmp_path: Path) -> None:
    old = next(iter(sorted(Path.home().glob(".pyenv/versions/3.[6-9]*/bin/python3"))), None)
    may_lack("a Python older than 3.10", old is not None)
    assert old is not None
    newer = interpreter("3.11") or interpreter("3.12") or interpreter("3.13")
    assert newer is not None
    found = run(folder / AGENT, "rules", home=tmp_path, python=old, PATH=str(newer.parent))
    assert found.returncode == 0, found.stderr
    nothing = run(folder / AGENT, "rules", home=tmp_path, python=old, PATH="/nonexistent")
    assert nothing.returncode == 2
    assert "install Python 3.11, 3.12 or 3.13" in nothing.stderr
    assert len(nothing.stderr.splitlines()) == 1


def test_the_console_brings_the_agent_for_its_simulated_fleets(folder: Path, home: Path) -> None:
    done = run(folder / CONSOLE, "sim", "scenarios", home=home)
    assert done.returncode == 0, done.stderr
    assert "healthy-night" in done.stdout


def test_man_pages_and_completion_come_out_where_one_wants_them(folder: Path, tmp_path: Path) -> None:
    done = run(folder / CONSOLE, "--install-share", str(tmp_path / "share"), home=tmp_path)
    assert done.returncode == 0, done.stderr
    made = sorted(
        str(path.relative_to(tmp_path / "share")) for path in (tmp_path / "share").rglob("*") if path.is_file()
    )
    assert made == [
        "bash-completion/completions/gpu-cockpit", "fish/vendor_completions.d/gpu-cockpit.fish",
        "man/man1/gpu-cockpit.1.gz", "man/man5/gpu-cockpit-fleet.toml.5.gz", "zsh/vendor-completions/_gpu-cockpit",
    ]  # fmt: skip


def test_the_agents_file_brings_the_services_and_a_root_helper_that_runs_by_itself(
    folder: Path, tmp_path: Path
) -> None:
    done = run(folder / AGENT, "--install-share", str(tmp_path / "share"), home=tmp_path)
    assert done.returncode == 0, done.stderr
    place = tmp_path / "share/gpu-cockpit-agent"
    started = re.findall(r"(?m)^ExecStart=(.*)", (place / "gpu-cockpit-actuator.service").read_text())
    assert started == ["/usr/bin/python3 -IS /usr/local/bin/gpu-cockpit-actuator --user gpu-cockpit"]
    assert "ListenStream=/run/gpu-cockpit-actuator.sock" in (place / "gpu-cockpit-actuator.socket").read_text()
    words = [sys.executable, "-IS", place / "gpu-cockpit-actuator.pyz", "--check-policy", tmp_path / "policy.toml"]
    asked = subprocess.run(words, capture_output=True, text=True, timeout=20)
    assert (asked.returncode, asked.stderr) == (0, "")
    assert asked.stdout == f"{tmp_path}/policy.toml: absent, so nobody may act on this host\n"
    assert not (tmp_path / ".cache").exists() or not list((tmp_path / ".cache").glob("*actuator*"))


@pytest.mark.parametrize("command", ["build-pyz", pytest.param("build-deb", marks=pytest.mark.more)])
def test_equal_input_makes_equal_bytes(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, command: str) -> None:
    words = ("--part", "agent") if command == "build-pyz" else ("--version", THIS)
    env = {**MADE_AT, "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "2", "LC_ALL": "C"}
    (again,) = build(command, tmp_path, *words, env=env)
    first = shared(tmp_path_factory, command, *(words if command == "build-deb" else ())) / again.name
    assert first.read_bytes() == again.read_bytes()


def _wait(holds: object) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            if callable(holds) and holds():
                return
        except (OSError, AssertionError):
            pass
        time.sleep(0.03)
    raise AssertionError("it never came to that")
