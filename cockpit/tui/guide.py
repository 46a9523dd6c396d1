"""PURE. The user guide's Markdown as lines: headings, paragraphs, lists, code. Enough for our own pages, no more."""

from cockpit.tui.format import plain
from cockpit.tui.lines import BLANK, Line, Span, joined, wrapped
from cockpit.tui.theme import Ink

# File in cockpit/help and title, in reading order.
PAGES: tuple[tuple[str, str], ...] = (
    ("reading.md", "reading the screens"),
    ("replicas.md", "replicas and pools"),
    ("incidents.md", "incidents"),
    ("actions.md", "actions and runs"),
    ("filter.md", "filter and sort"),
    ("saying.md", "ack, silence, note"),
    ("hosts.md", "reaching hosts"),
    ("recordings.md", "recordings"),
    ("keys.md", "keys and colours"),
)
_WIDEST = 100  # columns that are comfortable to read


def guide_lines(text: str, width: int) -> list[Line]:
    """A page of the guide in `width` columns."""
    room = min(width - 4, _WIDEST)
    lines: list[Line] = []
    paragraph: list[str] = []
    code = False

    def flush() -> None:
        if paragraph:
            lines.extend(_prose(" ".join(paragraph), room, ""))
            paragraph.clear()

    for raw in text.splitlines():
        if raw.startswith("```"):
            flush()
            code = not code
        elif code:
            lines.append(((f"      {plain(raw)}", Ink.ACCENT),))
        elif raw.startswith("#"):
            flush()
            lines += [BLANK, ((f"  {raw.lstrip('# ')}", Ink.STRONG if raw.startswith("# ") else Ink.HEADING),)]
        elif raw.lstrip().startswith("- "):
            flush()
            lines.extend(_prose(raw.lstrip()[2:], room, "• "))
        elif raw.startswith("|"):
            flush()
            lines += _table_row(raw, room)
        elif raw.strip():
            paragraph.append(raw.strip())
        else:
            flush()
            lines.append(BLANK)
    flush()
    return lines


def _prose(text: str, room: int, bullet: str) -> list[Line]:
    lines = []
    for at, part in enumerate(wrapped(text, room - len(bullet))):
        lead = bullet if at == 0 else " " * len(bullet)
        lines.append(joined([(f"  {lead}", Ink.MUTED), *_spans(part)]))
    return lines


def _spans(text: str) -> list[Span]:
    """`code` and **strong** in their inks."""
    spans: list[Span] = []
    for at, part in enumerate(text.split("`")):
        if at % 2:
            spans.append((part, Ink.ACCENT))
        else:
            spans += [(piece, Ink.STRONG if n % 2 else Ink.TEXT) for n, piece in enumerate(part.split("**"))]
    return [span for span in spans if span[0]]


def _table_row(raw: str, room: int) -> list[Line]:
    cells = [cell.strip() for cell in raw.strip().strip("|").split("|")]
    if all(set(cell) <= set("-: ") for cell in cells):
        return []
    first, rest = cells[0], "  ".join(cells[1:])
    name = first.replace("`", "")
    lines: list[Line] = []
    for at, part in enumerate(wrapped(rest, room - 22) or [""]):
        lines.append(joined([(f"  {name if at == 0 else '':<20}  ", Ink.ACCENT), *_spans(part)]))
    return lines
