"""What is told to a program of the node about its end. Beside the others in /lab."""

import os
import signal
from pathlib import Path

FATES = Path("/lab/fate")


def is_next(who, where):
    """Whether a line of /lab/fate/WHO is `where`."""
    try:
        return where in (FATES / who).read_text().splitlines()
    except FileNotFoundError:
        return False


def meets(who, where):
    """End this process by SIGKILL if that is said; the line is struck out before."""
    if is_next(who, where):
        book = FATES / who
        book.write_text("\n".join(line for line in book.read_text().splitlines() if line != where))
        os.kill(os.getpid(), signal.SIGKILL)


def end(program):
    """SIGKILL for the process that runs this file."""
    for entry in Path("/proc").glob("[0-9]*"):
        if program.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
            os.kill(int(entry.name), signal.SIGKILL)
