"""What the build commands share: where results go, and how they fail."""

import argparse
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

from kit.errors import BuildError

_VERSION = re.compile(r"[0-9][0-9A-Za-z.+~]{0,60}")


def add_common(parser: argparse.ArgumentParser, version: str) -> None:
    """OUTDIR and --version."""
    parser.add_argument("outdir", nargs="?", type=Path, default=Path("dist"), metavar="OUTDIR", help="default: dist")
    parser.add_argument("--version", type=_version, default=version, help=f"the version it says it is ({version})")


def guarded(name: str, command: Callable[[], int]) -> int:
    """Run; what goes wrong is one sentence and status 1."""
    try:
        return command()
    except BuildError as error:
        says = str(error)
    except OSError as error:
        says = f"{error.filename or 'output'}: {error.strerror or error}"
    sys.stderr.write(f"{name}: {says}\n")
    return 1


def written(path: Path, content: bytes, mode: int) -> None:
    """The file, replaced as a whole; its name and size are printed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_bytes(content)
        fresh.chmod(mode)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    print(f"{path}  {len(content) / 1_000_000:.1f} MB")


def _version(text: str) -> str:
    if not _VERSION.fullmatch(text):
        raise argparse.ArgumentTypeError("must look like 1.2.3, 1.2.3~rc1 or 1.2.3+git")
    return text
