"""/dev/kmsg as a file: one record a read, never blocking, honest about what was overwritten and what is old.

A second descriptor, put at the log's end when the first is opened, gives the number of the first record that is newer
than this reader: no clock has to decide what happened before it. Where the file cannot be positioned (a pipe), all
that is there before the first empty read counts as old.
"""

import contextlib
import errno
import os
import select
from dataclasses import dataclass, field

from agent.sources.base import Reason
from agent.sources.kernel_log.record import Record, parse_record, split_records

BUFFER = 16 * 1024  # the kernel refuses to cut a record; 8 KiB is the least that always fits one
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_MISSED = "XIDs, bus errors and out-of-memory kills will not be seen"


@dataclass(slots=True)
class Slice:
    """What one turn read: records, whether nothing more is waiting, whether older records were overwritten."""

    records: list[Record] = field(default_factory=list)
    drained: bool = False
    overwritten: bool = False


class Device:
    """An open kernel log.

    Raises:
        OSError: it cannot be opened; later, that it can no longer be read.
    """

    def __init__(self, path: str) -> None:
        self._mark: int | None = None
        self._first_new: int | None = None  # number of the first record written after the opening
        self._at_end = False
        self._before_end = True  # for the slice read last
        self.fd = os.open(path, _FLAGS)
        try:
            self._mark = os.open(path, _FLAGS)
            os.lseek(self._mark, 0, os.SEEK_END)
        except OSError:
            self._drop_mark()
            self._at_end = not _readable(self.fd)

    def read(self, records: int) -> Slice:
        """At most about `records` records, without waiting. A refused read counts too: a flood may refuse them all."""
        found = Slice()
        for _ in range(records):
            try:
                raw = os.read(self.fd, BUFFER)
            except BlockingIOError:
                found.drained = True
                break
            except BrokenPipeError:
                found.overwritten = True
                continue
            if not raw:
                raise OSError(errno.EPIPE, "the kernel log ended")
            found.records += [record for one in split_records(raw) if (record := parse_record(one)) is not None]
        self._look_at_mark()
        self._before_end = not self._at_end
        self._at_end = self._at_end or (found.drained and self._mark is None)
        return found

    def is_old(self, record: Record) -> bool:
        """Whether `record`, of the slice read last, was written before this device was opened."""
        if self._first_new is not None:
            return record.seq < self._first_new
        return self._before_end

    def close(self) -> None:
        """Let go of both descriptors."""
        self._drop_mark()
        with contextlib.suppress(OSError):
            os.close(self.fd)

    def _look_at_mark(self) -> None:
        if self._mark is None:
            return
        try:
            raw = os.read(self._mark, BUFFER)
        except (BlockingIOError, BrokenPipeError):
            return
        except OSError:
            raw = b""
        record = parse_record(raw)
        self._first_new = record.seq if record else None
        self._drop_mark()

    def _drop_mark(self) -> None:
        if self._mark is not None:
            with contextlib.suppress(OSError):
                os.close(self._mark)
        self._mark = None


def _readable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


def probe(path: str = "/dev/kmsg") -> Reason | None:
    """Why the kernel log cannot be read here, or None when it can."""
    try:
        os.close(os.open(path, _FLAGS))
    except OSError as error:
        return refusal(path, error)
    return None


def refusal(path: str, error: OSError) -> Reason:
    """The sentence for an operator, by what the system answered."""
    if error.errno in (errno.EACCES, errno.EPERM):
        return Reason(
            "kernel log",
            "kernel_log_denied",
            f"{path} may not be read by this user: {_MISSED}",
            "give the agent CAP_SYSLOG (its unit has it), or set the sysctl kernel.dmesg_restrict to 0",
        )
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return Reason(
            "kernel log",
            "kernel_log_missing",
            f"{path} does not exist here: {_MISSED}",
            "in a container, mount the host's /dev/kmsg; otherwise run the agent on the host itself",
        )
    return Reason(
        "kernel log",
        "kernel_log_failed",
        f"{path} cannot be read ({os.strerror(error.errno or 0)}): {_MISSED}",
        "the agent tries again every minute",
    )
