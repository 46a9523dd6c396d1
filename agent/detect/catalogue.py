"""What each XID means, read from data: `xid-catalog.tsv`, corrected by `xid-overrides.tsv` where sources disagree.

Knowledge stays in the tables. A code that is in neither is an unknown fault, never an error and never healthy.
"""

import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum

from agent.wire.specs import Severity


class Action(IntEnum):
    """What cures a fault when nothing else is known; the larger supersedes the smaller."""

    NONE = 0
    INVESTIGATE = 1
    RESTART_APP = 2
    RESET_GPU = 3
    REBOOT_NODE = 4
    DRAIN_REPLACE = 5

    @property
    def runbook(self) -> str:
        """The runbook that carries it out."""
        return _RUNBOOKS[self]


_RUNBOOKS = {
    Action.NONE: "observe",
    Action.INVESTIGATE: "diag",
    Action.RESTART_APP: "restart-replica",
    Action.RESET_GPU: "drain-reset",
    Action.REBOOT_NODE: "drain-reboot",
    Action.DRAIN_REPLACE: "drain-replace",
}


class Rank(IntEnum):
    """Which of several faults of one moment is the cause: the smaller."""

    BUS = 0
    MEMORY = 1
    FIRMWARE = 2
    LINK = 3
    TIMEOUT = 4
    OTHER = 5
    APP = 6
    COMPANION = 7


CAUSES = frozenset({"app", "driver", "hardware", "thermal", "bus"})
COMPANIONS = frozenset({45, 137, 154, 155})  # never a root cause
FOLLOWS_ECC = frozenset({171, 172})  # name the place of an error that 48 reports
_RANKS = {
    Rank.BUS: {79, 167},
    Rank.MEMORY: {48, 64, 95, 140, 171, 172, 175},
    Rank.FIRMWARE: {62, 110, 119, 120, 143, 169},
    Rank.LINK: {74, 136, *range(144, 151), 173},
    Rank.TIMEOUT: {46, 109, 158},
    Rank.COMPANION: COMPANIONS,
}
_RANK_OF = {code: rank for rank, codes in _RANKS.items() for code in codes}


@dataclass(frozen=True, slots=True)
class XidEntry:
    """One code. `known` is False for a code that no table has."""

    code: int
    mnemonic: str
    what: str
    severity: Severity
    causes: tuple[str, ...]
    action: Action
    notes: str = ""
    known: bool = True

    @property
    def of_application(self) -> bool:
        """Whether restarting the application is the cure: such a code never marks a GPU as bad."""
        return self.known and self.severity is Severity.WARNING and self.action is Action.RESTART_APP

    @property
    def rank(self) -> Rank:
        """How likely it is the cause among several."""
        return _RANK_OF.get(self.code, Rank.APP if self.of_application else Rank.OTHER)


def lookup(code: int) -> XidEntry:
    """The entry of `code`; one that says so for a code of a newer driver."""
    entry = CATALOGUE.get(code)
    if entry is not None:
        return entry
    what = "a code that this catalogue does not know, probably of a newer driver"
    return XidEntry(code, "UNKNOWN", what, Severity.WARNING, (), Action.INVESTIGATE, known=False)


def severity(code: int) -> Severity:
    """How bad the code is by itself."""
    return lookup(code).severity


def load(catalogue: str, overrides: str) -> dict[int, XidEntry]:
    """The tables as entries.

    Raises:
        ValueError: a line does not make sense; says which.
    """
    entries: dict[int, XidEntry] = {}
    for line, row in _rows(catalogue, "catalogue"):
        entry = _entry(row, line)
        if entry.code in entries:
            raise ValueError(f"XID catalogue, line {line}: code {entry.code} is there twice")
        entries[entry.code] = entry
    for line, row in _rows(overrides, "overrides"):
        code = int(row["code"])
        if code not in entries:
            raise ValueError(f"XID overrides, line {line}: code {code} is not in the catalogue")
        known = entries[code]
        entries[code] = replace(
            known,
            severity=_severity(row["severity"], line) if row["severity"] else known.severity,
            action=_action(row["action"], line) if row["action"] else known.action,
            notes=f"{row['why'][:1].upper()}{row['why'][1:]}. {known.notes}".strip(),
        )
    return entries


def _rows(table: str, name: str) -> Iterator[tuple[int, dict[str, str]]]:
    heading, *lines = table.splitlines()
    columns = heading.split("\t")
    for number, line in enumerate(lines, 2):
        cells = line.split("\t")
        if len(cells) != len(columns):
            raise ValueError(f"XID {name}, line {number}: not as many columns as the heading")
        yield number, dict(zip(columns, cells, strict=True))


def _entry(row: Mapping[str, str], line: int) -> XidEntry:
    causes = tuple(row["cause"].split("/"))
    if not CAUSES.issuperset(causes):
        raise ValueError(f"XID catalogue, line {line}: unknown cause {row['cause']!r}")
    return XidEntry(
        code=int(row["code"]),
        mnemonic=row["mnemonic"],
        what=row["what_happened"],
        severity=_severity(row["severity"], line),
        causes=causes,
        action=_action(row["action"], line),
        notes=row["notes"],
    )


def _severity(word: str, line: int) -> Severity:
    if word not in ("info", "warning", "critical"):
        raise ValueError(f"XID table, line {line}: unknown severity {word!r}")
    return Severity[word.upper()]


def _action(word: str, line: int) -> Action:
    try:
        return Action[word.upper()]
    except KeyError:
        raise ValueError(f"XID table, line {line}: unknown action {word!r}") from None


def _read(name: str) -> str:
    # Not importlib.resources: it costs more to import than everything else here together.
    content = pkgutil.get_data("agent.detect", name)
    if content is None:
        raise ValueError(f"agent/detect/{name} cannot be read: this installation is not whole")
    return content.decode()


CATALOGUE: Mapping[int, XidEntry] = load(_read("xid-catalog.tsv"), _read("xid-overrides.tsv"))
