"""The packages under test, built by the commands that everybody uses. Slow enough to be built once for a module."""

import fcntl
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.lab import has_command, require

ROOT = Path(__file__).resolve().parents[2]
PACKAGING = ROOT / "packaging"
THIS = "9.9.9"  # what the build under test calls itself
MADE_AT = {"SOURCE_DATE_EPOCH": "1790000000"}  # when it says it was made


def build(command: str, out: Path, *words: str, env: dict[str, str] | None = None) -> list[Path]:
    """What `packaging/COMMAND OUT WORDS...` made."""
    _require_wheels()
    if command == "build-deb":
        require("dpkg (to build a .deb)", has_command("dpkg-deb"))
    before = set(out.glob("*")) if out.exists() else set()
    done = subprocess.run(
        [sys.executable, PACKAGING / command, out, *words], cwd=ROOT, env={**os.environ, **(env or {})},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return sorted(set(out.glob("*")) - before)


def shared(factory: pytest.TempPathFactory, command: str, *words: str) -> Path:
    """The folder of such a build, made once for all tests of a run, whichever process needs it first."""
    top = factory.getbasetemp()
    top = top.parent if "PYTEST_XDIST_WORKER" in os.environ else top
    folder = top / "-".join(("built", command, *(re.sub(r"\W", "", word) for word in words)))
    with (top / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            fresh = folder.with_suffix(".fresh")
            build(command, fresh, *words, env=MADE_AT)
            fresh.rename(folder)
    return folder


@cache
def _require_wheels() -> None:
    """Wheels come from PyPI once, and from build/wheels afterwards."""
    sys.path.insert(0, str(PACKAGING))
    from kit.errors import BuildError
    from kit.targets import targets
    from kit.wheels import fetch, pins

    try:
        for target in targets("x86_64"):
            fetch(pins("console"), target)
        for target in targets("aarch64"):
            fetch(pins("agent"), target)
    except BuildError as error:
        require(f"PyPI, for the wheels that packages are made of ({error})", ok=False)


def interpreter(version: str) -> Path | None:
    """A Python of this version on this machine."""
    places = [Path("/usr/bin") / f"python{version}", Path("/usr/local/bin") / f"python{version}"]
    places += sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))
    return next((path for path in places if path.exists()), None)
