"""What a test may need from the machine: root, Debian packages, a compiler.

Where it is not there the test is left out loudly; with `REQUIRE_LAB=1` that is a failure. `tests/conftest.py` prints
what was left out at the end of the run.
"""

import os
import re
import shutil
from functools import cache
from pathlib import Path

import pytest

LEFT_OUT = "left out: "
HOW = "`make lab` as root installs what is missing; `REQUIRE_LAB=1 make test` makes it a failure"


ENGINES = Path(os.environ.get("GPU_COCKPIT_LAB") or "/opt/gpu-cockpit-lab")  # where `make lab` puts serving engines
ENGINES_PYTHON = ENGINES / "bin/python"
PINS = Path(__file__).parents[1] / "packaging/lab/engines.txt"


def require(reason: str, ok: bool) -> None:
    """Go on only if `ok`; `reason` names what is needed ("root and network namespaces")."""
    if ok:
        return
    if os.environ.get("REQUIRE_LAB", "") not in ("", "0"):
        pytest.fail(f"REQUIRE_LAB is set and this machine lacks: {reason}", pytrace=False)
    pytest.skip(f"{LEFT_OUT}{reason}")


def may_lack(what: str, ok: bool) -> None:
    """Go on only if `ok`. For what no package of `make lab` brings: it is left out aloud even with `REQUIRE_LAB=1`."""
    if not ok:
        pytest.skip(f"{LEFT_OUT}{what}, which `make lab` cannot bring")


def has_root() -> bool:
    """Whether this process may do what root does."""
    return os.geteuid() == 0


def has_command(*names: str) -> bool:
    """Whether all these programs can be found, in PATH or where Debian puts daemons."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    return all(shutil.which(name, path=path) for name in names)


@cache
def has_engines() -> bool:
    """Whether the serving engines that `make lab` installs are there, in the versions that are asked for now."""
    lines = (re.sub(r"\s*#.*", "", line) for line in PINS.read_text().splitlines())
    wanted = [line for line in lines if line]
    try:
        return (ENGINES / "installed").read_text().splitlines() == wanted
    except OSError:
        return False
