"""Files of the operator's that are read whole: regular ones of sensible size, so that no pipe is waited for."""

import os
import stat
from pathlib import Path


def read_regular(path: Path, limit: int) -> bytes:
    """All bytes of a file, at most `limit`; /dev/null is empty.

    Raises:
        OSError: it cannot be read, is no regular file, or is larger.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as opened:
        mode = os.fstat(descriptor).st_mode
        if str(path) == os.devnull:
            return b""
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(0, "Is a directory")
        if not stat.S_ISREG(mode):
            raise OSError(0, "it is no regular file")
        raw = opened.read(limit + 1)
    if len(raw) > limit:
        raise OSError(0, f"it is larger than {limit >> 20} MiB")
    return raw
