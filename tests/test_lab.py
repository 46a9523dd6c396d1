"""What a machine lacks is said at the end of a run, and fails it where it was promised to be there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import lab
from tests.lab import PINS, has_command, has_root, require

REPOSITORY = Path(__file__).parents[1]
INSTALL = REPOSITORY / "packaging/lab/install"
LACKING = """
from tests.lab import require

def test_one():
    require("a compiler", False)

def test_two():
    require("a compiler", False)

def test_three():
    require("nothing at all", True)
"""


def run(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """pytest on a file of its own, with this repository's conftest."""
    (folder / "test_lacking.py").write_text(LACKING)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", "-c", os.devnull]
    return subprocess.run(
        [*words, str(folder / "test_lacking.py")],
        check=False,
        capture_output=True,
        text=True,
        timeout=50,
        cwd=REPOSITORY,
        env={**os.environ, "REQUIRE_LAB": "", **environment},
    )


def test_what_was_left_out_is_listed_with_the_way_to_get_it(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 0
    assert "LEFT OUT ON THIS MACHINE" in done.stdout
    assert "   2 tests need a compiler" in done.stdout
    assert "`make lab` as root" in done.stdout
    assert "1 passed, 2 skipped" in done.stdout


@pytest.mark.parametrize(("value", "failures"), [("1", 2), ("0", 0)])
def test_where_the_lab_is_promised_a_skip_is_a_failure(tmp_path: Path, value: str, failures: int) -> None:
    done = run(tmp_path, REQUIRE_LAB=value)
    assert done.returncode == (1 if failures else 0)
    assert ("2 failed, 1 passed" in done.stdout) is bool(failures)
    assert ("this machine lacks: a compiler" in done.stdout) is bool(failures)


def test_daemons_are_found_where_debian_puts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert has_command("sh")
    assert not has_command("sh", "no-such-program-anywhere")


def test_every_engine_of_the_lab_is_pinned_and_has_its_reason() -> None:
    lines = [line for line in PINS.read_text().splitlines() if not line.startswith("#")]
    assert len(lines) > 10
    for line in lines:
        assert re.fullmatch(r"[\w.-]+==[\w.]+ +# \w.*", line), line


def test_engines_of_other_pins_are_not_the_ones_that_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab, "ENGINES", tmp_path)
    lab.has_engines.cache_clear()
    assert not lab.has_engines()
    pins = [line.partition("#")[0].strip() for line in PINS.read_text().splitlines()]
    (tmp_path / "installed").write_text("\n".join(pin for pin in pins if pin) + "\n")
    lab.has_engines.cache_clear()
    assert lab.has_engines()
    (tmp_path / "installed").write_text("xllamacpp==1.0\n")
    lab.has_engines.cache_clear()
    assert not lab.has_engines()
    lab.has_engines.cache_clear()


def packages_are_there() -> bool:
    """Whether `make lab` would leave the packages alone: a test must not install any."""
    named = re.search(r'^packages="(.*)"$', INSTALL.read_text(), re.MULTILINE)
    assert named
    asked = ["dpkg-query", "-W", "-f=${Status}\n", *named[1].split()]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return done.returncode == 0 and set(done.stdout.splitlines()) == {"install ok installed"}


def test_where_nothing_can_be_written_make_lab_says_so_in_one_sentence() -> None:
    require("root and what `make lab` installs", has_root() and has_command("dpkg-query") and packages_are_there())
    done = subprocess.run(
        [INSTALL],
        env={**os.environ, "GPU_COCKPIT_LAB": "/proc/nowhere/engines"},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr == (
        "make lab: /proc/nowhere cannot be written; run 'sudo make lab', or name another folder in GPU_COCKPIT_LAB\n"
    )
