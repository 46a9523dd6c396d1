"""The last boundary of every command: whatever goes wrong becomes one sentence on stderr and an exit status.

Imports nothing heavy: `once` passes through here.
"""

import errno
import os
import sys
from collections.abc import Callable

from agent.errors import AgentError

PROG = "gpu-cockpit-agent"
_UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def guarded(command: Callable[[], int], *, debug: bool = False) -> int:
    """Run `command`; returns its exit status, or that of what went wrong. With `debug` errors stay tracebacks."""
    _open_closed_streams()
    try:
        status = command()
        sys.stdout.flush()
    except AgentError as error:
        if debug:
            raise
        return complain(str(error), error.exit_code)
    except BrokenPipeError:
        _abandon_output()
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # a user never sees a traceback
        if isinstance(error, OSError) and error.errno in _UNWRITABLE and error.filename is None:
            _abandon_output()
            return complain(f"standard output cannot be written: {error.strerror}; make room there", 1)
        if debug:
            raise
        if starved := _starved(error):
            return complain(starved, 1)
        return complain(f"unexpected {type(error).__name__}: {error}; run it again with --debug and report it", 1)
    return status


def _starved(error: BaseException) -> str:
    """What this user has too little of, and how to see how much; "" where it is something else."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(_starved, error.exceptions)), "")
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.EMFILE, errno.ENFILE):
        return "too few open files are allowed to this user; see `ulimit -n`"
    if number == errno.EAGAIN or (isinstance(error, RuntimeError) and "start new thread" in str(error)):
        return "too few processes and threads are allowed to this user; see `ulimit -u` and TasksMax="
    if number == errno.ENOMEM or isinstance(error, MemoryError):
        return "too little memory is allowed to this process; see `ulimit -v`, MemoryMax= and free memory"
    return ""


def _open_closed_streams() -> None:
    """A standard stream that was closed before us (`>&-`) is one that nobody reads: the status still counts."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - open until the end


def _abandon_output() -> None:
    """The interpreter flushes at its end: give it a place to flush to."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def complain(sentence: str, status: int) -> int:
    """One line on stderr; returns `status`."""
    sys.stderr.write(f"{PROG}: {sentence}\n")
    return status
