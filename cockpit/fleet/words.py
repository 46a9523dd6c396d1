"""PURE. The words of a table's rows, folded for searching once when they change and not at every key.

A filter looks at each different word once and a sort ranks the different words: thousands of GPUs have few models.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cockpit.fleet.facts import GpuFacts, Process
from cockpit.fleet.table import Table

Mask = npt.NDArray[np.bool_]
KEYS = ("uuid", "name", "serial", "bus")


@dataclass(frozen=True, slots=True)
class Column:
    """One word per row: `words` are the different ones, folded; `codes[row]` is the place of a row's word there."""

    words: tuple[str, ...]
    codes: npt.NDArray[np.intp]
    ranks: npt.NDArray[np.intp]

    @classmethod
    def of(cls, words: Iterable[str]) -> "Column":
        """From one folded word per row."""
        known: dict[str, int] = {}
        codes = np.array([known.setdefault(word, len(known)) for word in words], dtype=np.intp)
        ranks = np.empty(len(known), dtype=np.intp)
        ranks[[known[word] for word in sorted(known)]] = np.arange(len(known))
        return cls(tuple(known), codes, ranks)

    def matching(self, holds: Callable[[str], bool]) -> Mask:
        """The rows whose word passes."""
        passes: Mask = np.array([holds(word) for word in self.words], dtype=np.bool_)[self.codes]
        return passes

    @property
    def order(self) -> npt.NDArray[np.intp]:
        """The rank of each row's word among all, in alphabetical order."""
        return self.ranks[self.codes]

    @property
    def blank(self) -> Mask:
        """The rows whose word is empty."""
        return self.matching(lambda word: not word)


class GpuWords:
    """Identity words of the rows of `Fleet.gpus`, row by row as they are told."""

    def __init__(self) -> None:
        self._rows: dict[str, list[str]] = {key: [] for key in KEYS}
        self._texts: list[str] = []
        self._columns: dict[str, Column] = {}

    def tell(self, row: int, uuid: str, facts: GpuFacts | None) -> None:
        """What the GPU of a row is called; rows are told of in the order in which they are made."""
        identity = (uuid, facts.name, facts.serial, facts.bus_id) if facts else (uuid, "", "", "")
        folded = [word.casefold() for word in identity]
        if row == len(self._texts):
            for words in (*self._rows.values(), self._texts):
                words.append("")
        self._texts[row] = " ".join(folded)
        for key, word in zip(KEYS, folded, strict=True):
            if self._rows[key][row] != word:
                self._rows[key][row] = word
                self._columns.pop(key, None)

    def column(self, key: str) -> Column:
        """One of `KEYS` of all rows."""
        column = self._columns.get(key)
        if column is None or len(column.codes) != len(self._texts):
            column = self._columns[key] = Column.of(self._rows[key])
        return column

    def containing(self, words: Iterable[str]) -> Mask:
        """The rows with one of these folded words anywhere in their identity."""
        mask = np.zeros(len(self._texts), dtype=np.bool_)
        for word in words:
            mask |= np.array([word in text for text in self._texts], dtype=np.bool_)
        return mask

    def copy(self) -> "GpuWords":
        """Words that no longer change with these."""
        twin = GpuWords()
        twin._rows = {key: list(words) for key, words in self._rows.items()}
        twin._texts = list(self._texts)
        twin._columns = dict(self._columns)
        return twin


@dataclass(frozen=True, slots=True)
class Holding:
    """The processes of one host and, for each, the rows of its GPUs and its folded text: user and command line."""

    processes: tuple[Process, ...]
    known: int
    rows: tuple[tuple[int, ...], ...]
    texts: tuple[str, ...]
    everything: str


class ProcessWords:
    """What is searched of processes, by host; made when it is first asked for and kept until the host tells anew."""

    def __init__(self) -> None:
        self._by_host: dict[int, Holding] = {}

    def of(self, host: int, processes: tuple[Process, ...], gpus: Table) -> Holding:
        """The processes of one host."""
        held = self._by_host.get(host)
        if held is None or held.processes is not processes or held.known != gpus.n:
            held = self._by_host[host] = _holding(host, processes, gpus)
        return held


def _holding(host: int, processes: tuple[Process, ...], gpus: Table) -> Holding:
    rows = tuple(
        tuple(row for uuid in process.gpus if (row := gpus.row(host, uuid)) is not None) for process in processes
    )
    texts = tuple(f"{process.user}\n{process.command}".casefold() for process in processes)
    return Holding(processes, gpus.n, rows, texts, "\n".join(texts))
