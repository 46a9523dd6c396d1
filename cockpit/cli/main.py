"""From words to a command: parsing, dispatch, and the one place where an error becomes a sentence and a status."""

import os
import sys
from collections.abc import Callable, Sequence

from cockpit.cli.arguments import Arguments, command_of, parse
from cockpit.errors import CockpitError

_INTERRUPTED = 130
_CANNOT_KNOW = 3


def run(words: Sequence[str]) -> int:
    """Run one command line; returns its exit status. A traceback is printed with `--debug` alone."""
    try:
        status = _dispatch(words)
        sys.stdout.flush()  # here, where a reader that has gone is no error yet
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception as error:
        cause: BaseException = error
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if isinstance(cause, BrokenPipeError):
            # Who reads us has gone (`| head`); the interpreter needs a place to flush to.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        if "--debug" in words:
            raise
        return _explain(cause)
    return status


def _explain(cause: BaseException) -> int:
    if isinstance(cause, CockpitError):
        _say(str(cause))
        return cause.exit_code
    _say(f"internal error: {type(cause).__name__}: {cause}; run it again with --debug and report what it prints")
    return _CANNOT_KNOW


def _dispatch(words: Sequence[str]) -> int:
    name = command_of(words)
    if name == "sim":
        from cockpit.cli.simulator import exec_sim

        return exec_sim(list(words[list(words).index("sim") + 1 :]))
    return _handler(name)(parse(words, name))


def _handler(name: str) -> Callable[[Arguments], int]:
    if name == "":
        from cockpit.cli.screens import show

        return show
    if name == "demo":
        from cockpit.cli.simulator import demo

        return demo
    if name == "status":
        from cockpit.cli.status import status

        return status
    if name == "rules":
        from cockpit.cli.rules import rules

        return rules
    from cockpit.cli.lists import listing

    return listing


def _say(sentence: str) -> None:
    text = "".join(char if char.isprintable() else " " for char in sentence)
    print(f"gpu-cockpit: {text}", file=sys.stderr)
