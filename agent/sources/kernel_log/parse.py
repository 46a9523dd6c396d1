"""One line of kernel log to at most one raw event. PURE, total: any text gives an event or None, never an exception.

The first parser that recognises a line wins. A needle is looked for before any expression: most lines are nobody's.
"""

import re
from collections.abc import Callable

from agent.clock import Instant
from agent.sources.base import RawEvent
from agent.sources.kernel_log import machine, nvidia, trouble

LINE_CHARS = 2048
_PREFIX = re.compile(r"(?:\[\s*\d+\.\d+\]\s*(?:\[[^\]]*\]\s*)?)?(?:kernel: )?")
_BREAK = re.compile(r"\s*\n(?:NVRM: ?)?\s*")

Parser = Callable[[str, Instant], RawEvent | None]
PARSERS: tuple[tuple[str, Parser], ...] = (
    ("NVRM: Xid", nvidia.xid),
    ("SXid", nvidia.sxid),
    ("NVRM: API mismatch", nvidia.mismatch),
    *((found.needle, found.find) for found in nvidia.PATTERNS),
    ("PCIe Bus Error", machine.aer),
    (" AER: ", machine.aer),
    ("Killed process", machine.oom_kill),
    ("oom-kill:", machine.oom_killer),
    *((found.needle, found.find) for found in trouble.PATTERNS),
)


def parse_line(text: str, at: Instant) -> RawEvent | None:
    """The event in one line, or None. A driver's message of several lines in one record is read as one."""
    for needle, parser in PARSERS:
        if needle in text:
            event = parser(normal(text), at)
            if event is not None:
                return event
    return None


def normal(text: str) -> str:
    """The line without what a console or a syslog put in front, on one line, of bounded length."""
    text = text[:LINE_CHARS]
    text = text[_PREFIX.match(text).end() :] if text[:1] in "[k" else text  # type: ignore[union-attr]
    return _BREAK.sub(" ", text) if "\n" in text else text
