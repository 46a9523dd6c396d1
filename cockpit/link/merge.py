"""Two sessions of one host become one story: what a fresh session says is held back until it has said all, then told in
one piece from where the other stopped. An event is told once; a gap only of what nobody has told.
"""

import dataclasses

from agent.wire.errors import WireError
from agent.wire.frames import EventFrame, Frame, Gap, Position, Synced

_MAX_FRAMES = 12_000  # a snapshot with all events that an agent keeps
_MAX_BYTES = 8 * 1024 * 1024


class Held:
    """The frames of a session that does not deliver yet."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def take(self, frames: list[Frame], received: int) -> bool:
        """Hold them, too; whether the snapshot is complete. `received`: bytes of this session so far.

        Raises:
            WireError: an agent never has so much to say before `synced`.
        """
        self.frames += frames
        if len(self.frames) > _MAX_FRAMES or received > _MAX_BYTES:
            raise WireError(f"a snapshot of more than {_MAX_FRAMES} frames or {_MAX_BYTES >> 20} MiB")
        return any(type(frame) is Synced for frame in frames)


def unheard(story: list[Frame], boot_id: str, told: Position | None) -> list[Frame]:
    """`story` of a session of that boot, without what was told already."""
    if told is None or told.boot_id != boot_id:
        return story
    kept = (_rest(frame, told.seq) for frame in story)
    return [frame for frame in kept if frame is not None]


def _rest(frame: Frame, seq: int) -> Frame | None:
    if type(frame) is EventFrame:
        return frame if frame.event.seq > seq else None
    if type(frame) is Gap:
        return dataclasses.replace(frame, first=max(frame.first, seq + 1)) if frame.last > seq else None
    return frame
