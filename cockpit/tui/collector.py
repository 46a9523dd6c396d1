"""The garbage collector of a program that draws: it must never stop a key."""

import gc


def calm_collector() -> None:
    """What lives until the end is never looked at again: a full collection over it is a pause of 10 to 60 ms."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    gc.enable()
