"""PURE. Where everything of the heat map stands. Rule: the roomiest form that fits; where not even the densest shows
every GPU, a cell is a host: nobody scrolls through pages to see whether something is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from cockpit.fleet.records import HostRecord
from cockpit.fleet.state import Fleet

NO_POOL = "no pool"
CHUNK = 16  # GPUs of one host on one line
CROWD = 64  # hosts from which a cell may stand for one of them
NUMBERS = 27  # columns of the numbers beside a host
_WAYS = ((3, True, True), (2, True, True), (2, True, False), (1, True, False), (1, False, False))
_Group = tuple[str, list[HostRecord], list["Tile"]]


@dataclass(frozen=True, slots=True)
class Tile:
    """Up to CHUNK GPUs of one host: `rows` in `Fleet.gpus`; `first` on the first line of its host; `unseen` GPUs that
    are owed an answer and never gave one."""

    host: int
    rows: tuple[int, ...]
    first: bool
    unseen: int = 0


@dataclass(frozen=True, slots=True)
class Form:
    """How tiles are drawn: cells of `pitch` columns, a label of `label` columns (0 none), numbers beside or not; in
    the roomiest form, `alone`, a host has a line of its own with what is wrong in words; in the densest, `by_host`, a
    tile is a single cell."""

    pitch: int
    label: int
    cells: int
    numbers: bool
    per_line: int
    alone: bool = False
    by_host: bool = False

    @property
    def tile(self) -> int:
        """Columns of one tile, the gap behind it included."""
        if self.by_host:
            return 1
        return self.label + (1 if self.label else 0) + self.cells * self.pitch + (NUMBERS if self.numbers else 0) + 2


EMPTY = Form(1, 0, 8, False, 1)  # before the size of the screen is known


@dataclass(frozen=True, slots=True)
class Heading:
    """The line above the hosts of one pool."""

    pool: str
    hosts: tuple[int, ...]


@dataclass(slots=True)
class Plan:
    """The lines of the map: each a pool's heading or tiles side by side. `margin` columns name a line's first host
    where tiles have no label of their own."""

    form: Form
    margin: int = 0
    lines: list[Heading | tuple[Tile, ...]] = field(default_factory=list)

    def stops(self, line: Heading | tuple[Tile, ...]) -> list[tuple[int, ...]]:
        """Where a cursor may stand on a line: the GPUs of each such cell."""
        if isinstance(line, Heading):
            return []
        if self.form.by_host:
            return [tile.rows for tile in line if tile.rows]
        return [(row,) for tile in line for row in tile.rows]


def pools(fleet: Fleet) -> dict[str, list[HostRecord]]:
    """Hosts by pool; pools and hosts in the order of the inventory."""
    groups: dict[str, list[HostRecord]] = {}
    for host in fleet.hosts:
        groups.setdefault(host.labels.get("pool", "") or NO_POOL, []).append(host)
    return groups


def tiles_of(host: HostRecord) -> list[Tile]:
    """The tiles of one host; a host without any GPU yet has one empty tile, so that it is still seen."""
    rows = host.gpu_rows
    chunks = [tuple(rows[at : at + CHUNK]) for at in range(0, len(rows), CHUNK)] or [()]
    unseen = min(CHUNK, host.gpus_missing if host.ever_synced else 0)
    return [
        Tile(host.number, chunk, at == 0, unseen if at == len(chunks) - 1 else 0) for at, chunk in enumerate(chunks)
    ]


def _whole(host: HostRecord) -> Tile:
    """All of one host in one tile."""
    return Tile(host.number, tuple(host.gpu_rows), True)


def label_width(fleet: Fleet) -> int:
    """Columns that hosts' names may take."""
    return max(4, min(18, max([len(host.name) for host in fleet.hosts], default=8)))


def forms(cells: int, label: int, width: int) -> list[Form]:
    """The ways to draw a map of tiles with so many cells and names of `label` columns, the roomiest first."""
    found = []
    for pitch, named, numbers in _WAYS:
        form = Form(pitch, label if named else 0, cells, numbers, 1)
        room = width - 1 - (0 if named else label + 1)
        if form.tile <= room + 2 or not named:
            found.append(replace(form, per_line=max(1, (room + 2) // form.tile)))
            if pitch == 3:
                found.insert(0, replace(form, per_line=1, alone=True))
    return found


def planned(fleet: Fleet, width: int, height: int) -> Plan:
    """The roomiest plan that fits into `height` lines; else the densest, to be scrolled."""
    groups = [
        (pool, hosts, [tile for host in hosts for tile in tiles_of(host)]) for pool, hosts in pools(fleet).items()
    ]
    cells = max([len(tile.rows) + tile.unseen for _, _, tiles in groups for tile in tiles], default=0) or 8
    label = label_width(fleet)
    headed = len(groups) > 1 or any(pool != NO_POOL for pool, _, _ in groups)
    ways = forms(cells, label, width)
    form = next((way for way in ways if _lines_of(way, groups, headed) <= height), ways[-1])
    if _lines_of(form, groups, headed) > height and len(fleet.hosts) >= CROWD:
        form = Form(1, 0, 1, False, max(10, (width - label - 3) // 10 * 10), by_host=True)
        groups = [(pool, hosts, [_whole(host) for host in hosts]) for pool, hosts, _ in groups]
    plan = Plan(form, 0 if form.label else label)
    for pool, hosts, tiles in groups:
        if headed:
            if form.alone and plan.lines:
                plan.lines.append(())
            plan.lines.append(Heading(pool, tuple(host.number for host in hosts)))
        plan.lines += [tuple(tiles[at : at + form.per_line]) for at in range(0, len(tiles), form.per_line)]
    return plan


def _lines_of(form: Form, groups: Sequence[_Group], headed: bool) -> int:
    """Lines that a form would take."""
    tiles = sum(-(-len(tiles) // form.per_line) for _, _, tiles in groups)
    return tiles + (len(groups) + (len(groups) - 1) * form.alone if headed else 0)
