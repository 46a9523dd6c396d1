"""The kernel log of a simulated host: records as `/dev/kmsg` would give them, numbered, stamped, bounded."""

from collections import deque
from dataclasses import dataclass

RING_RECORDS = 4096
ERROR, WARNING, NOTICE, INFO = 3, 4, 5, 6


@dataclass(frozen=True, slots=True)
class Record:
    """One record. `at` is wall seconds of data time."""

    seq: int
    at: float
    priority: int
    text: str
    since_boot_s: float

    def line(self) -> str:
        """The record as `/dev/kmsg` prints it: `prio,seq,usec,flag;text`."""
        return f"{self.priority},{self.seq},{int(self.since_boot_s * 1e6)},-;{self.text}"


class KernelRing:
    """The newest records since boot; old ones fall out, numbers never repeat."""

    def __init__(self, booted_at: float) -> None:
        self.booted_at = booted_at
        self.next_seq = 0
        self._records: deque[Record] = deque(maxlen=RING_RECORDS)

    def write(self, at: float, text: str, priority: int = ERROR) -> None:
        """One more record."""
        self._records.append(Record(self.next_seq, at, priority, text, at - self.booted_at))
        self.next_seq += 1

    def after(self, seq: int) -> list[Record]:
        """Every record still held that is newer than number `seq` (-1: all)."""
        if self.next_seq - 1 <= seq:
            return []
        return [record for record in self._records if record.seq > seq]
