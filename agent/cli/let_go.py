"""`let-go`: ask the running agent to release the driver, so that a GPU can be reset, and wait until it says it has.

The request is a signal to the process that listens on the socket (SIGUSR1 lets go, SIGUSR2 resumes): the kernel
allows it to root and to the agent's own user, and to nobody else. The answer is the reason `let_go` in its facts.
"""

import argparse
import os
import signal
from collections.abc import Iterator
from typing import Any

from agent.cli.conversation import Conversation
from agent.clock import SystemClock
from agent.config import load
from agent.errors import ServeError
from agent.wire.frames import Facts, Snapshot

DEADLINE_S = 12.0
CODE = "let_go"


def main(arguments: argparse.Namespace) -> int:
    """Let go or resume; returns once it is so."""
    path = arguments.socket or load().socket
    talk = Conversation(path, SystemClock(), DEADLINE_S)
    try:
        facts = _facts(talk)
        known = next(facts)
        if not known["agent"].get("signals"):
            raise ServeError(f"{path}: this agent cannot let go of a driver: it is a simulated one")
        if _has_let_go(known) is arguments.resume:
            _signal(talk.pid, signal.SIGUSR2 if arguments.resume else signal.SIGUSR1)
            next(known for known in facts if _has_let_go(known) is not arguments.resume)
    finally:
        talk.close()
    if arguments.resume:
        print(f"{path}: the agent holds the driver again")
    else:
        print(f"{path}: the agent has let go of the driver; take it up again with: gpu-cockpit-agent let-go --resume")
    return 0


def _facts(talk: Conversation) -> Iterator[dict[str, Any]]:
    """All facts known so far: first at the snapshot, then after each change. Ends only by ServeError."""
    known: dict[str, Any] = {}
    for frame in talk.frames():
        if isinstance(frame, Snapshot):
            known = {**known, **frame.facts}
        elif isinstance(frame, Facts):
            known = {**known, frame.section: frame.data}
        else:
            continue
        if "agent" in known:
            yield known


def _has_let_go(facts: dict[str, Any]) -> bool:
    return any(reason.get("code") == CODE for reason in facts.get("reasons", []))


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except PermissionError:
        raise ServeError("only root and the agent's own user may do this; try it with sudo") from None
    except ProcessLookupError:
        raise ServeError("the agent has just ended; start gpu-cockpit-agent.service") from None
