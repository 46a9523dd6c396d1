"""What the host's own Python runs first; it is sent as text and never imported here.

Standard library alone, and readable by every Python 3, so that one that is too old can say so. The agent's files come
on stdin and live in an anonymous file in memory: there is no name for anybody to find, and the kernel takes it back
with the last process that uses it, however that one ends. Then the agent takes over stdin and stdout.
"""

import hashlib
import importlib
import os
import struct
import sys

FLOOR = (3, 11)
NEWER = ("python3.14", "python3.13", "python3.12", "python3.11")
TOO_OLD, BROKEN, CUT = 92, 93, 94
HEAD = struct.Struct(">Q32s")  # length and SHA-256 of the archive
CHUNK = 1 << 20


def give_up(status: int, says: str) -> None:
    """One line on stderr, the end."""
    os.write(2, ("gpu-cockpit: " + says + "\n").encode("ascii", "replace"))
    os._exit(status)


def find_newer(source: str) -> None:
    """Many hosts whose python3 is old have a newer one beside it: that one runs all this again."""
    for name in NEWER:
        for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
            path = os.path.join(folder, name)
            if os.path.isabs(path) and os.access(path, os.X_OK) and is_program(path):
                os.execv(path, [path, "-I", "-S", "-B", "-c", source_of(source), "gpu-cockpit-temporary"])  # noqa: S606 - no shell is meant
    give_up(TOO_OLD, "python3 is " + ".".join(str(part) for part in sys.version_info[:3]))


def is_program(path: str) -> bool:
    """Whether it is an interpreter itself: a version manager's script may know of none."""
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False


def source_of(source: str) -> str:
    """A program that has this text in its own name space, as the first one had."""
    return "BOOTSTRAP=" + repr(source) + ";exec(BOOTSTRAP)"


def read(size: int) -> bytes:
    """Exactly so many bytes: what follows them is the agent's."""
    parts = []
    while size:
        part = os.read(0, min(size, CHUNK))
        if not part:
            os._exit(CUT)
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def hold(content: bytes) -> int:
    """A descriptor of an anonymous file with this content."""
    try:
        descriptor = os.memfd_create("gpu-cockpit")
    except (AttributeError, OSError):  # built for a C library from before 2018
        import tempfile

        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    while content:
        content = content[os.write(descriptor, content) :]
    return descriptor


def main(source: str) -> None:
    """Become the agent."""
    if sys.version_info < FLOOR:
        find_newer(source)
    os.chdir("/")
    os.umask(0o077)
    size, digest = HEAD.unpack(read(HEAD.size))
    content = read(size)
    if hashlib.sha256(content).digest() != digest:
        give_up(BROKEN, "the agent arrived damaged")
    # A path that the child finds too that talks to the driver.
    sys.path.insert(0, "/proc/" + str(os.getpid()) + "/fd/" + str(hold(content)))
    sys.argv[:] = ["gpu-cockpit-agent", "stdio"]
    sys.exit(importlib.import_module("agent.__main__").main())


if "BOOTSTRAP" in globals():  # its own text, see `words`
    main(globals()["BOOTSTRAP"])
