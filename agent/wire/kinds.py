"""The numbers of the kinds of frames: for ever, only added to."""

from enum import IntEnum


class FrameKind(IntEnum):
    """First element of every frame."""

    HELLO = 1
    SUBSCRIBE = 2
    LAYOUT = 3
    SNAPSHOT = 4
    SYNCED = 5
    SAMPLE = 6
    FACTS = 7
    EVENT = 8
    GAP = 9
    ACK = 10
    PING = 11
    PONG = 12
    ERROR = 13
    BYE = 14
    HISTORY = 15
    JOURNAL = 16
    ACT = 17
    ANNOTATE = 18
    SERIES = 19
    PAGE = 20
    DONE = 21
    REFUSED = 22
    LOG = 23
    LINES = 24
    ACTED = 25
    RUN = 26
    CLAIM = 27
    CLAIMED = 28
    AUDIT = 29
    AUDITED = 30
    FETCH = 31
    CHUNK = 32
