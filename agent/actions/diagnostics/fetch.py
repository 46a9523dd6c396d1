"""Bytes of a bundle, for whoever carries it away: from any offset, with the hash of the whole to check it by."""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from agent.errors import Refusal
from agent.wire.actions import CHUNK_BYTES, Chunk, Fetch

BUNDLE = "bundle.tar.gz"
HASHES = ".sha256"


@dataclass(frozen=True, slots=True)
class Piece:
    """At most `CHUNK_BYTES` of a file; `total` bytes and `sha256` are of the whole."""

    data: bytes
    total: int
    sha256: str


def place(directory: Path, key: str) -> Path:
    """The folder of the bundle that an action of this key collected: one folder a key, whatever it is made of."""
    return directory / f"{re.sub(r'[^A-Za-z0-9~-]', '_', key)[:64]}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def carrier(directory: Path | None) -> Callable[[Fetch], Awaitable[Chunk]]:
    """What answers a console; raises Refusal as `chunk` does."""

    async def carry(wish: Fetch) -> Chunk:
        piece = await asyncio.to_thread(chunk, directory, wish.key, wish.part, wish.offset)
        return Chunk(wish.id, piece.data, piece.total, piece.sha256)

    return carry


def chunk(directory: Path | None, key: str, part: str, offset: int) -> Piece:
    """What follows `offset`; nothing at its end. For a thread: it reads a disk.

    Raises:
        Refusal: there is no such file, or no more.
    """
    if part != BUNDLE or directory is None:
        raise Refusal("unknown", f"{key} collected nothing that is called {part[:64]!r}; a bundle is {BUNDLE}")
    path = place(directory, key) / BUNDLE
    try:
        total = path.stat().st_size
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(CHUNK_BYTES)
        digest = _digest(path)
    except OSError as error:
        why = "it was removed for newer ones" if isinstance(error, FileNotFoundError) else error.strerror
        raise Refusal("gone", f"the bundle of {key} is not there ({why}): collect it again") from None
    if offset > total:
        raise Refusal("invalid", f"the bundle of {key} has {total} bytes, and none at {offset}")
    return Piece(data, total, digest)


def digest(path: Path) -> str:
    """The SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(path: Path) -> str:
    """As it was written down when the bundle was: a chunk does not read the whole again."""
    beside = path.with_name(path.name + HASHES)
    return beside.read_text("ascii").strip() if beside.exists() else digest(path)
