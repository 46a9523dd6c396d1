"""What a test may need from the machine: root, Debian packages, a compiler.

Where it is not there the test is left out loudly; with `REQUIRE_LAB=1` that is a failure. `tests/conftest.py` prints
what was left out at the end of the run.
"""

import os
import shutil

import pytest

LEFT_OUT = "left out: "
HOW = "`make lab` as root installs what is missing; `REQUIRE_LAB=1 make test` makes it a failure"


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
