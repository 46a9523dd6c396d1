"""What a terminal or a pipe is given. Severity is glyph + word + colour; colour only on a terminal without NO_COLOR;
remote text never moves a cursor, and a value is never shown without its age or its reason."""

import json
import math
import os
import select
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from agent.wire.specs import Severity

GLYPH = {"ok": "·", "info": "i", "unknown": "?", "warning": "▲", "critical": "✖"}
_ASCII = {"ok": ".", "info": "i", "unknown": "?", "warning": "^", "critical": "x"}
_COLOUR = {"ok": "", "info": "36", "unknown": "35", "warning": "33", "critical": "1;31"}
_GAP = "  "


def wants_colour() -> bool:
    """Whether standard output is a terminal that may be coloured."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def severity_text(word: str) -> str:
    """Glyph and word of a severity, as this output can show them."""
    unicode = "utf" in (sys.stdout.encoding or "").lower()
    return f"{(GLYPH if unicode else _ASCII).get(word, '?')} {word}"


def paint(text: str, severity: str) -> str:
    """The text in the colour of a severity, where colour is wanted."""
    code = _COLOUR.get(severity, "")
    return f"\x1b[{code}m{text}\x1b[0m" if code and wants_colour() else text


def plain(value: Any) -> str:
    """Any remote value as text that cannot move a cursor."""
    text = "" if value is None else str(value)
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


def age_text(seconds: float | None) -> str:
    """How old something is, in the largest unit that tells."""
    if seconds is None or not math.isfinite(seconds):
        return "never"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"


def reader_gone() -> bool:
    """Whether standard output is a pipe that nobody reads any more: what follows a quiet fleet may write nothing for
    hours, and would not notice."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return False  # no file at all
    asked = select.poll()
    asked.register(descriptor, 0)  # errors and hang-ups are told unasked
    return any(bits & (select.POLLERR | select.POLLHUP) for _, bits in asked.poll(0))


def emit(text: str) -> None:
    """One answer to standard output; what it cannot encode becomes `?`."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding) + "\n")


def say(sentence: str) -> None:
    """One sentence to standard error."""
    print(f"gpu-cockpit: {plain(sentence)}", file=sys.stderr)


def emit_json(document: Mapping[str, Any], *, compact: bool = False) -> None:
    """One JSON document; `compact` for one line."""
    text = json.dumps(
        document, ensure_ascii=False, allow_nan=False, indent=None if compact else 2,
        separators=(",", ":") if compact else None,
    )  # fmt: skip
    emit(text)
    sys.stdout.flush()


def emit_table(headings: Sequence[str], rows: Sequence[Sequence[Any]], severities: Sequence[str]) -> None:
    """A table whose first column is the severity of each row; columns as wide as their widest cell."""
    texts = [[severity_text(word), *map(plain, row)] for word, row in zip(severities, rows, strict=True)]
    head = ["SEVERITY", *headings]
    widths = [max(len(line[at]) for line in [head, *texts]) for at in range(len(head))]
    for line, word in zip([head, *texts], ["", *severities], strict=True):
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        cells[0] = paint(cells[0], word)
        emit(_GAP.join(cells).rstrip())
    sys.stdout.flush()


def exit_status(severity: Severity) -> int:
    """Of `status --check`: 0 healthy, 1 warning, 2 critical, 3 unknown."""
    return {Severity.WARNING: 1, Severity.CRITICAL: 2, Severity.UNKNOWN: 3}.get(severity, 0)
