"""What a machine lacks is said at the end of a run, and fails it where it was promised to be there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import has_command

REPOSITORY = Path(__file__).parents[1]
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
