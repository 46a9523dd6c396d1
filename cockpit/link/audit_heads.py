"""Every hello tells how long the audit of its host is and the hash of its last line; this console keeps that in a file
of its own, so that an audit that was cut off or computed anew is found later by whoever asks.

Rule: a console that cannot write it down works on, and says so where audits are verified. Several consoles share the
file: each joins its news to what is there, under a lock, and replaces it whole.
"""

import atexit
import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from agent.wire.frames import Frame, Hello
from cockpit.clock import Clock
from cockpit.fleet.acting.heads import Seen, document, joined, meet, read
from cockpit.fleet.link_state import LinkStatus, Offset
from cockpit.inventory import Inventory
from cockpit.link.link import LinkSink

EVERY_S = 2.0  # at most so often it is written, and once more at the end
L = TypeVar("L")
Factory = Callable[[Inventory, LinkSink, Clock], Sequence[L]]


class AuditHeads:
    """The file `path`. `trouble` says why it cannot be read or written, empty for nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trouble = ""
        self._news: dict[str, Seen] = {}
        self._known: dict[str, Seen] | None = None
        self._written_at = float("-inf")

    def remembered(self, host_id: str) -> dict[int, str]:
        """By count of lines, the hashes that were seen of a host."""
        return dict(self._all().get(host_id, Seen()).heads)

    def met(self, host_id: str, name: str, count: int, head: str, clock: Clock) -> None:
        """A host has told; written at once if the last time is long ago, else with what comes after."""
        if not host_id or count < 1:
            return
        known = self._all().setdefault(host_id, Seen())
        if not meet(known, count, head):
            return
        known.name, known.at = name, clock.wall()
        if not self._news:
            atexit.register(self.flush)
        self._news[host_id] = known
        if clock.real() - self._written_at >= EVERY_S:
            self._written_at = clock.real()
            self.flush()

    def flush(self) -> None:
        """Write down what is new."""
        atexit.unregister(self.flush)
        if not self._news:
            return
        try:
            with self._locked():
                self._known = joined(self._read(), self._all())
                self._write(self._known)
            self._news.clear()
        except OSError as error:
            self.trouble = f"{self.path} cannot be written ({error.strerror or error})"

    def forget(self, host_id: str) -> bool:
        """Remember nothing of a host any more, on the operator's word; whether there was something."""
        with self._locked():
            self._known = self._read()
            had = self._known.pop(host_id, None) is not None
            if had:
                self._write(self._known)
        self._news.pop(host_id, None)
        return had

    def _all(self) -> dict[str, Seen]:
        if self._known is None:
            self._known = self._read()
        return self._known

    def _read(self) -> dict[str, Seen]:
        try:
            return read(json.loads(self.path.read_bytes()))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            self.trouble = f"{self.path} cannot be read ({error}); what it remembered is lost to this console"
            self._set_aside()
            return {}

    def _set_aside(self) -> None:
        """A damaged file is kept: whoever looks into it may still find a head."""
        with contextlib.suppress(OSError):
            os.replace(self.path, self.path.with_suffix(".damaged"))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _write(self, seen: dict[str, Seen]) -> None:
        descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(document(seen), file, separators=(",", ":"))
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise


def noting(links: Factory[L], heads: AuditHeads) -> Factory[L]:
    """The same links; what their hosts say of their audits is kept."""

    def factory(inventory: Inventory, sink: LinkSink, clock: Clock) -> Sequence[L]:
        names = [entry.name for entry in inventory.hosts]
        return links(inventory, _Ear(sink, heads, clock, names), clock)

    return factory


class _Ear:
    """A sink before the sink."""

    def __init__(self, sink: LinkSink, heads: AuditHeads, clock: Clock, names: Sequence[str]) -> None:
        self._sink, self._heads, self._clock, self._names = sink, heads, clock, names

    def frames(self, host: int, frames: list[Frame]) -> None:
        """See `LinkSink`."""
        self._sink.frames(host, frames)
        for frame in frames:
            if isinstance(frame, Hello) and frame.audit_count:
                self._heads.met(frame.host_id, self._names[host], frame.audit_count, frame.audit_head, self._clock)

    def changed(self, host: int, status: LinkStatus) -> None:
        """See `LinkSink`."""
        self._sink.changed(host, status)

    def measured(self, host: int, offset: Offset) -> None:
        """See `LinkSink`."""
        self._sink.measured(host, offset)
