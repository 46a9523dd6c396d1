"""What is in a package: our own rooms and the unpacked wheels, as {path: bytes}, one tree for all Pythons of a machine.

Compiled modules carry their Python in their file names, so the trees of several Pythons fold into one. Where two
targets differ in a file of the same name, `fold` keeps them apart; nothing is ever chosen silently.
"""

import re
import subprocess
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from kit.errors import BuildError
from kit.targets import Target
from kit.wheels import CACHE, ROOT, Pin, fetch

Tree = dict[str, bytes]

ROOMS = {"agent": ("agent",), "console": ("agent", "cockpit")}  # the console brings the agent: `demo`, `--temporary`
_VERSION = re.compile(rb'(?m)^__version__ = ".*"$')
# Never imported by a program that runs: tests, headers, stubs, build tools; and RECORD, which would name them. Of
# zeroconf, which is its own Python beside compiled copies of it, the Python: rarely used, and a tenth of the size.
_LEFT_OUT = re.compile(
    r"(^|/)(tests|_pyinstaller)/|\.(pyi|pxd|pyx|h|c|a|lib)$|^numpy/(f2py|distutils|_core/lib|_core/include)/"
    r"|^zeroconf/.*\.so$|^psutil/_ps(aix|bsd|osx|sunos|windows)\.py$|/pkgconfig/|\.dist-info/(RECORD|WHEEL|entry_points\.txt|top_level\.txt|direct_url\.json)$|^\w+\.data/|^example\.py$"
)


def own(part: str, version: str = "") -> Tree:
    """Our rooms of a part; with `version`, they say that they are this version."""
    tree: Tree = {}
    for room in ROOMS[part]:
        for path in sorted((ROOT / room).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and not path.name.endswith((".pyc", ".swp")):
                tree[str(path.relative_to(ROOT))] = path.read_bytes()
        if version:
            start = f"{room}/__init__.py"
            tree[start] = _VERSION.sub(f'__version__ = "{version}"'.encode(), tree[start])
    tree["LICENSE"] = (ROOT / "LICENSE").read_bytes()
    return tree


def vendored(pins: Iterable[Pin], target: Target, cache: Path = CACHE) -> Tree:
    """The unpacked wheels of one target, licences included, what never runs left out."""
    tree: Tree = {}
    for wheel in fetch(pins, target, cache):
        with zipfile.ZipFile(wheel) as archive:
            for item in archive.infolist():
                if item.is_dir() or _LEFT_OUT.search(item.filename):
                    continue
                if item.filename in tree:
                    raise BuildError(f"{wheel.name} brings {item.filename}, which is there already")
                tree[item.filename] = archive.read(item)
    return tree


def fold(trees: Mapping[Target, Tree]) -> dict[str, Tree]:
    """The same trees as parts to be laid over each other: `any`, then one for each machine, then one for each target.

    What is the same for all goes into `any`; what is the same for all Pythons of a machine, or whose name says which
    of them loads it, into the machine's; the rest into its target's, named like `cp311-x86_64`.
    """
    parts: dict[str, Tree] = {}
    for path in sorted({path for tree in trees.values() for path in tree}):
        holders = {target: tree[path] for target, tree in trees.items() if path in tree}
        everywhere = len(holders) == len(trees) and len(set(holders.values())) == 1
        for target, content in holders.items():
            mates = [other for other in trees if other.arch == target.arch]
            alike = all(holders.get(mate) == content for mate in mates)
            name = "any" if everywhere else target.arch if alike else f"{target.tag}-{target.arch}"
            parts.setdefault(name, {})[path] = content
    return parts


def one_tree(trees: Mapping[Target, Tree]) -> Tree:
    """All targets in one tree.

    Raises:
        BuildError: two of them differ in a file that both would load.
    """
    whole: Tree = {}
    for target, tree in trees.items():
        for path, content in tree.items():
            if whole.setdefault(path, content) != content:
                raise BuildError(f"{path} differs between Pythons ({target.tag}); it cannot be one file")
    return whole


def version_of() -> str:
    """The version that the sources say they are."""
    found = _VERSION.search((ROOT / "agent" / "__init__.py").read_bytes())
    assert found is not None
    return found[0].decode().split('"')[1]


def epoch(environment: Mapping[str, str]) -> int:
    """The time that all files of a package bear, seconds: SOURCE_DATE_EPOCH, else that of the last commit.

    Raises:
        BuildError: SOURCE_DATE_EPOCH is no number.
    """
    said = environment.get("SOURCE_DATE_EPOCH", "")
    if said:
        if not said.isdecimal():
            raise BuildError(f"SOURCE_DATE_EPOCH is {said!r}; it must be seconds since 1970")
        return int(said)
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return int(done.stdout)
    except (OSError, subprocess.CalledProcessError, ValueError):
        return 1_767_225_600  # an unpacked archive has no commit: 2026-01-01
