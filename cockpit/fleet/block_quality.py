"""PURE. The sparse exceptions of a block as a grid of qualities."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from agent.wire.block import ALL, exceptions_of
from agent.wire.errors import WireError


@lru_cache(maxsize=512)
def qualities(shape: tuple[int, int], exceptions: bytes) -> npt.NDArray[np.uint8]:
    """`Quality` of each cell of a block; later entries win. Kept, since exceptions seldom change; not to be written to.

    Raises:
        WireError: an entry is outside the block, or there are more of them than cells.
    """
    quality = np.zeros(shape, dtype=np.uint8)
    entries = exceptions_of(exceptions)
    if len(entries) > (shape[0] + 1) * (shape[1] + 1):
        raise WireError(f"{len(entries)} exceptions for {shape[0]} x {shape[1]} values")
    for column, row, word in entries:
        if (column >= shape[0] and column != ALL) or (row >= shape[1] and row != ALL):
            raise WireError(f"exception for column {column}, row {row} of {shape[0]} x {shape[1]} values")
        quality[
            slice(None) if column == ALL else column,
            slice(None) if row == ALL else row,
        ] = word
    return quality
