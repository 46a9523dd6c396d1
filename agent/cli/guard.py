"""The last boundary of every command: whatever goes wrong becomes one sentence on stderr and an exit status.

Imports nothing heavy: `once` passes through here.
"""

import os
import sys
from collections.abc import Callable

from agent.errors import AgentError

PROG = "gpu-cockpit-agent"


def guarded(command: Callable[[], int], *, debug: bool = False) -> int:
    """Run `command`; returns its exit status, or that of what went wrong. With `debug` errors stay tracebacks."""
    try:
        status = command()
        sys.stdout.flush()
    except AgentError as error:
        if debug:
            raise
        return complain(str(error), error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the interpreter complains at exit
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # a user never sees a traceback
        if debug:
            raise
        return complain(f"unexpected {type(error).__name__}: {error}; run it again with --debug and report it", 1)
    return status


def complain(sentence: str, status: int) -> int:
    """One line on stderr; returns `status`."""
    sys.stderr.write(f"{PROG}: {sentence}\n")
    return status
