"""What stands under the table of replicas: the roll call, and why the one under the cursor is what it is."""

from collections.abc import Callable

from agent.wire.specs import Severity
from cockpit.fleet.replicas import label, model, name, pool
from cockpit.tui.format import plain
from cockpit.tui.lines import BLANK, Line, clipped, wrapped
from cockpit.tui.replicas.folds import Fold, Row
from cockpit.tui.replicas.words import roll_line, why
from cockpit.tui.theme import GLYPH, INK, Ink
from cockpit.tui.view import View
from cockpit.tui.widgets.line_view import LineView

LINES = 4


class Caption(LineView, can_focus=False):
    """The roll call, then up to three lines about one replica."""

    DEFAULT_CSS = f"Caption {{ height: {LINES}; overflow-y: hidden; background: $surface; }}"

    def __init__(self, view: View, row: Callable[[], Row | None]) -> None:
        super().__init__(view, id="caption")
        self._row = row
        self._lines: list[Line] = []

    def total(self) -> int:
        return self.rows

    def prepare(self) -> None:
        row = self._row()
        about = [] if row is None else self._of_fold(row) if isinstance(row, Fold) else self._of(row)
        self._lines = [clipped(line, self.columns) for line in (roll_line(self.view), *about)][: self.rows]

    def build(self, first: int, last: int) -> list[Line]:
        lines = self._lines[first:last]
        return lines + [BLANK] * (last - first - len(lines))

    def _of(self, row: int) -> list[Line]:
        fleet = self.view.fleet
        level = Severity(int(fleet.replicas.severity[row]))
        what = " · ".join(part for part in (plain(pool(fleet, row)), plain(model(fleet, row))) if part)
        head: Line = (
            (f" {GLYPH[level]} ", INK[level]),
            (plain(name(fleet, row)), Ink.STRONG),
            (f"  {what}", Ink.MUTED),
        )
        said = wrapped(why(fleet, row), self.columns - 4, limit=LINES - 2)
        return [head, *(((f"   {part}", Ink.TEXT),) for part in said)]

    def _of_fold(self, fold: Fold) -> list[Line]:
        fleet = self.view.fleet
        names = ", ".join(plain(label(fleet, row)) for row in fold.rows[:3].tolist())
        more = f" and {len(fold.rows) - 3} more" if len(fold.rows) > 3 else ""
        return [
            (
                (f" {GLYPH[Severity.OK]} ", Ink.FAINT),
                (f"{len(fold.rows)} ready  ", Ink.STRONG),
                (plain(fold.pool), Ink.MUTED),
            ),
            ((f"   {names}{more}: enter shows them one by one, f all of them", Ink.MUTED),),
        ]
