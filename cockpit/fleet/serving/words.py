"""PURE. The words of the rows of `Fleet.replicas`, folded for searching once when they change and not at every key."""

from collections.abc import Iterable

import numpy as np

from agent.wire.replicas import ReplicaFacts
from cockpit.fleet.words import Column, Mask

KEYS = (
    "replica", "engine", "carrier", "version", "model", "pool", "role", "phase", "url", "port", "unit", "container",
    "job", "pod", "user", "pid", "gpu_map",
)  # fmt: skip
_TEXT = ("replica", "engine", "version", "model", "pool", "role", "url", "unit", "container", "job", "pod", "user")
BETWEEN = "\n"  # two words of one row


def words_of(identity: str, facts: ReplicaFacts | None, key: str) -> tuple[str, ...]:
    """What a replica answers to `key`, as it came."""
    if key == "replica":
        return (identity,)
    if facts is None:
        return ("",)
    if key == "model":
        return facts.models or ("",)
    if key == "pool":
        return (pool_of(facts),)
    if key == "pid":
        return tuple(map(str, facts.pids)) or ("",)
    return (str(getattr(facts, key)),)


def pool_of(facts: ReplicaFacts) -> str:
    """The pool that a replica belongs to: as it is labelled, else all that serve the same model are one."""
    return facts.pool or (facts.models[0] if facts.models else "")


class ReplicaWords:
    """Row by row as they are told; a cell holds all words of a row, apart by `BETWEEN`."""

    def __init__(self) -> None:
        self._rows: dict[str, list[str]] = {key: [] for key in KEYS}
        self._texts: list[str] = []
        self._pools: list[str] = []
        self._columns: dict[str, Column] = {}

    def tell(self, row: int, identity: str, facts: ReplicaFacts | None) -> None:
        """What the replica of a row is called; rows are told of in the order in which they are made."""
        if row == len(self._texts):
            for words in (*self._rows.values(), self._texts, self._pools):
                words.append("")
        folded = {key: BETWEEN.join(words_of(identity, facts, key)).casefold() for key in KEYS}
        self._texts[row] = BETWEEN.join(folded[key] for key in _TEXT)
        pool = pool_of(facts) if facts is not None else ""
        if self._pools[row] != pool:
            self._pools[row] = pool
            self._columns.pop("", None)
        for key, word in folded.items():
            if self._rows[key][row] != word:
                self._rows[key][row] = word
                self._columns.pop(key, None)

    def column(self, key: str) -> Column:
        """One of `KEYS` of all rows."""
        column = self._columns.get(key)
        if column is None or len(column.codes) != len(self._texts):
            column = self._columns[key] = Column.of(self._rows[key] if key else self._pools)
        return column

    @property
    def pools(self) -> Column:
        """The pool of each row, as it is written."""
        return self.column("")

    def containing(self, words: Iterable[str]) -> Mask:
        """The rows with one of these folded words anywhere in what they are called."""
        mask = np.zeros(len(self._texts), dtype=np.bool_)
        for word in words:
            mask |= np.array([word in text for text in self._texts], dtype=np.bool_)
        return mask

    def copy(self) -> "ReplicaWords":
        """Words that no longer change with these."""
        twin = ReplicaWords()
        twin._rows = {key: list(words) for key, words in self._rows.items()}
        twin._texts, twin._pools = list(self._texts), list(self._pools)
        twin._columns = dict(self._columns)
        return twin
