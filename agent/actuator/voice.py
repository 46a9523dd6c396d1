"""What the root helper says to the journal: one line, and never waiting for whoever should hear it. A host on which the
journal hangs is one on which something has to be done."""

import os

_STDERR = 2
ERROR, WARNING, NOTICE = 3, 4, 5


def hurry() -> None:
    """From now on a line that nobody takes is lost. For the descriptor that systemd gave to us alone."""
    os.set_blocking(_STDERR, False)


def tell(level: int, text: str) -> None:
    """One line, with its syslog level in front as journald understands it."""
    try:
        os.write(_STDERR, f"<{level}>{text}\n".encode("utf-8", "replace"))
    except OSError:
        pass
