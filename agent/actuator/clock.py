"""The wall clock of the root helper. It is never scaled: what it writes down happened on this machine."""

import time


def wall() -> float:
    """Seconds since 1970."""
    return time.time_ns() / 1e9
