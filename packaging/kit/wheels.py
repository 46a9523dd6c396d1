"""The wheels that go into a package: those that `pins.toml` names, byte for byte, or none.

`pins.toml` has a table for every distribution: its version, who needs it, and the sha256 of each wheel by file name.
Wheels are kept in `build/wheels`; when all that is needed lies there, nothing is asked of the network.
"""

import hashlib
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kit.errors import BuildError
from kit.targets import Target

ROOT = Path(__file__).resolve().parents[2]
PINS = ROOT / "packaging" / "pins.toml"
CACHE = ROOT / "build" / "wheels"


@dataclass(frozen=True, slots=True)
class Pin:
    """One distribution. `parts`: who needs it, of agent and console. `wheels`: sha256 by file name."""

    name: str
    version: str
    parts: tuple[str, ...]
    wheels: dict[str, str]

    def wheel(self, target: Target) -> str:
        """The file name of its wheel for a target.

        Raises:
            BuildError: it has none.
        """
        found = sorted(name for name in self.wheels if target.accepts(name))
        if not found:
            raise BuildError(f"pins.toml has no wheel of {self.name} for {target.tag} on {target.arch}")
        return found[0]


def pins(part: str, path: Path = PINS) -> tuple[Pin, ...]:
    """What a part needs, by name."""
    table = tomllib.loads(path.read_text("utf-8"))
    found = (Pin(name, item["version"], tuple(item["parts"]), item["wheels"]) for name, item in table.items())
    return tuple(sorted((pin for pin in found if part in pin.parts), key=lambda pin: pin.name))


def fetch(wanted: Iterable[Pin], target: Target, cache: Path = CACHE) -> tuple[Path, ...]:
    """The wheels of these pins for a target, downloaded if need be, each with the sha256 that is pinned.

    Raises:
        BuildError: one cannot be had, or is not what was pinned.
    """
    chosen = [(pin, cache / pin.wheel(target)) for pin in wanted]
    missing = [pin for pin, path in chosen if not path.exists()]
    if missing:
        download([f"{pin.name}=={pin.version}" for pin in missing], target, cache)
    for pin, path in chosen:
        if not path.exists():
            raise BuildError(f"the index gave no {path.name}; run packaging/pin to pin what it has now")
        if sha256(path) != pin.wheels[path.name]:
            path.unlink()
            raise BuildError(f"{path.name} is not the file that was pinned; it was removed, nothing was built")
    return tuple(path for _, path in chosen)


def download(requirements: list[str], target: Target, folder: Path) -> None:
    """Put the wheels of exact requirements into a folder.

    Raises:
        BuildError: pip cannot; says its last line.
    """
    words = ["--no-deps", "--only-binary", ":all:", "--python-version", target.python, "--implementation", "cp"]
    for abi in (target.tag, "abi3", "none"):
        words += ["--abi", abi]
    for platform in target.platforms:
        words += ["--platform", platform]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", *words]
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as fresh:
        done = subprocess.run([*command, "--dest", fresh, *requirements], capture_output=True, text=True, check=False)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if not line.startswith("WARNING")]
            said = lines[-1] if lines else "it said nothing"
            raise BuildError(f"pip cannot download {', '.join(requirements)}: {said}; see that PyPI can be reached")
        for path in Path(fresh).iterdir():
            path.replace(folder / path.name)  # whole or not at all: others may build at the same time


def sha256(path: Path) -> str:
    """A file's digest in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def plain(name: str) -> str:
    """A distribution's name as pins.toml spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()
