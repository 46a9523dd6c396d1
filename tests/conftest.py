"""For every test: what the machine lacked is said at the end, never whispered."""

import os
import signal
import tempfile
from collections import Counter
from collections.abc import Generator

import pytest

from tests.lab import HOW, LEFT_OUT

# A run in the background of a script is started with ctrl-C ignored, and every program under test would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What consoles under test remember of hosts is nothing for the tester's own state directory.
_STATE = tempfile.TemporaryDirectory(prefix="gpu-cockpit-tests-")
os.environ["XDG_STATE_HOME"] = _STATE.name


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None, object, object]:
    """After everything else, list what was left out for want of root or packages, and how to get it."""
    result = yield
    _say_left_out(terminalreporter)
    return result


def _say_left_out(terminalreporter: pytest.TerminalReporter) -> None:
    reasons: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if LEFT_OUT in text:
            reasons[text.split(LEFT_OUT, 1)[1]] += 1
    if not reasons:
        return
    terminalreporter.section("LEFT OUT ON THIS MACHINE", sep="=", yellow=True, bold=True)
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"{count:4d} test{'s' if count > 1 else ' '} need {reason}", yellow=True)
    terminalreporter.write_line(HOW, yellow=True)
