"""PURE. Widths and shapes of names that come from users: long host names keep their head and their tail."""

from rich.cells import cell_len

from cockpit.tui.format import fit
from cockpit.tui.view import View

LONGEST = 32  # columns that a host name may take, however long it is


def host_width(view: View) -> int:
    """Columns that the longest host name of this fleet would like to have."""
    return min(LONGEST, max([len(host.name) for host in view.fleet.hosts], default=8))


def shortened(name: str, width: int) -> str:
    """A name in at most `width` columns; the middle gives way, since numbers stand at the end."""
    if cell_len(name) <= width or width < 6 or not name.isascii():
        return fit(name, width).rstrip() if cell_len(name) > width else name
    tail = (width - 1) // 2
    return f"{name[: width - 1 - tail]}…{name[-tail:]}"
