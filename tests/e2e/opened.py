"""How often the kernel saw a file opened: no counter of ours takes part."""

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OPEN, _CLOSE, _NONBLOCK = 0x20, 0x18, 0o4000
_EVENT = struct.Struct("iIII")


class Openings:
    """Counts from `with openings(path)` on."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def count(self) -> int:
        """How often the file was opened since the last look."""
        seen = 0
        while True:
            try:
                data = os.read(self._descriptor, 65536)
            except BlockingIOError:
                return seen
            while data:
                _, mask, _, length = _EVENT.unpack_from(data)
                seen += bool(mask & _OPEN)
                data = data[_EVENT.size + length :]


@contextmanager
def openings(path: Path) -> Iterator[Openings]:
    """Watch one file. The kernel folds equal events that follow each other: closings are watched to keep them apart."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(_NONBLOCK)
    assert descriptor >= 0, os.strerror(ctypes.get_errno())
    try:
        assert libc.inotify_add_watch(descriptor, os.fsencode(path), _OPEN | _CLOSE) >= 0, os.strerror(
            ctypes.get_errno()
        )
        yield Openings(descriptor)
    finally:
        os.close(descriptor)
