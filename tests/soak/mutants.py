"""What hostile peers send: bytes bent at random, and messages that are well formed and absurd.

Everything comes from a `random.Random`, so that a seed repeats a run.
"""

import random
import struct
from collections.abc import Callable, Iterator
from typing import Any

import msgpack

from agent.wire import limits, version
from agent.wire.codec import encode
from agent.wire.frames import Ack, Hello, Ping, Subscribe
from agent.wire.specs import Level

HEAD = struct.Struct(">I")
BYTES = (0, 1, 0x7F, 0x80, 0x90, 0xC0, 0xC1, 0xC4, 0xC6, 0xC7, 0xCB, 0xCF, 0xD4, 0xD9, 0xDB, 0xDD, 0xDF, 0xFF)
NUMBERS = (
    *(0, 1, -1, 127, 255, 4096, 2**31 - 1, -(2**31), 2**32 - 1, 2**53, 2**63 - 1, -(2**63), 2**64 - 1),
    *(0.0, -0.0, 1e-320, 1e30, -1e308, float("inf"), float("-inf"), float("nan")),
)
TEXTS = (
    *("", "x", "gpu", "host", "gpu:", "gpu:GPU-0", "\x1b]0;owned\x07", "[red]\\[/]", "\u202e\u0000\ud7ff", "💥" * 40),
    *("../../etc/passwd", "a" * limits.NAME, "b" * limits.TEXT, "c" * (limits.TEXT + 1), "%s%n{}", "\n\r\t" * 9),
)
PREAMBLE = version.PREAMBLE


def framed(body: bytes) -> bytes:
    """With its length before it."""
    return HEAD.pack(len(body)) + body


def split(stream: bytes) -> list[bytes]:
    """The bodies of the frames behind a preamble."""
    bodies, at = [], len(PREAMBLE)
    while at + HEAD.size <= len(stream):
        (size,) = HEAD.unpack_from(stream, at)
        if at + HEAD.size + size > len(stream):
            break
        bodies.append(stream[at + HEAD.size : at + HEAD.size + size])
        at += HEAD.size + size
    return bodies


def bend(data: bytes, chance: random.Random) -> bytes:
    """A few bytes flipped, cut off, put in, taken out or repeated."""
    bent = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        if not bent:
            break
        at = chance.randrange(len(bent))
        match chance.randrange(6):
            case 0 | 1:
                bent[at] = chance.choice(BYTES) if chance.random() < 0.5 else chance.randrange(256)
            case 2:
                del bent[at:]
            case 3:
                bent[at:at] = chance.randbytes(chance.randint(1, 9))
            case 4:
                del bent[at : at + chance.randint(1, 9)]
            case 5:
                bent[at:at] = bent[at : at + chance.randint(1, 30)] * chance.randint(1, 5)
    return bytes(bent)


def absurd(chance: random.Random, depth: int = 0) -> Any:
    """A value that msgpack can carry and nobody expects."""
    kind = chance.randrange(9 if depth < limits.DEPTH + 2 else 6)
    match kind:
        case 0:
            return chance.choice(NUMBERS)
        case 1:
            return chance.choice(TEXTS)
        case 2:
            return chance.choice((None, True, False))
        case 3:
            return chance.randbytes(chance.choice((0, 1, 8, 64, 4096)))
        case 4:
            return msgpack.ExtType(chance.randrange(128), chance.randbytes(chance.randrange(20)))
        case 5:
            return chance.randrange(-1000, 1000)
        case 6 | 7:
            return [absurd(chance, depth + 1) for _ in range(chance.choice((0, 1, 3, 12)))]
        case _:
            return {chance.choice(TEXTS): absurd(chance, depth + 1) for _ in range(chance.choice((0, 1, 3, 12)))}


def twist(tree: Any, chance: random.Random, rate: float) -> Any:
    """`tree` with some of its nodes replaced, dropped, doubled or swapped: still a message, no longer an honest one."""
    if chance.random() < rate:
        return absurd(chance)
    if isinstance(tree, dict):
        items = [(key, twist(value, chance, rate)) for key, value in tree.items() if chance.random() >= rate / 2]
        return {(chance.choice(TEXTS) if chance.random() < rate / 2 else key): value for key, value in items}
    if isinstance(tree, list):
        twisted = [twist(value, chance, rate) for value in tree if chance.random() >= rate / 2]
        if twisted and chance.random() < rate:
            twisted.insert(chance.randrange(len(twisted)), chance.choice(twisted))
        if chance.random() < rate / 2:
            chance.shuffle(twisted)
        return twisted
    if isinstance(tree, bytes) and tree and chance.random() < rate:
        return bend(tree, chance)
    if isinstance(tree, (int, float)) and not isinstance(tree, bool) and chance.random() < rate:
        return chance.choice(NUMBERS)
    return tree


def twisted(body: bytes, chance: random.Random) -> bytes:
    """A frame whose body was twisted; as it was, where it is no message or cannot be one any more."""
    try:
        tree = msgpack.unpackb(body, strict_map_key=False)
        return framed(msgpack.packb(twist(tree, chance, chance.choice((0.005, 0.03, 0.15)))))
    except (ValueError, TypeError, OverflowError, UnicodeError, msgpack.UnpackException):
        return framed(body)


def opening(level: Level = Level.DETAIL, interval_s: float = 0.5) -> bytes:
    """What an honest cockpit says first."""
    return PREAMBLE + encode(Hello(software="soak")) + encode(Subscribe(level, interval_s))


def questions(chance: random.Random) -> Iterator[bytes]:
    """Frames that a cockpit may send, honest ones and twisted ones, for ever."""
    makers: tuple[Callable[[], bytes], ...] = (
        lambda: encode(Ack(chance.randrange(2**32))),
        lambda: encode(Ping(chance.randrange(2**32))),
        lambda: encode(Subscribe(chance.choice(tuple(Level)), chance.choice((0.5, 1.0, 60.0)))),
        lambda: encode(Subscribe(chance.choice(tuple(Level)), 0.5, snapshot=False)),
        lambda: encode(Hello(software=chance.choice(TEXTS)[: limits.NAME])),
    )
    while True:
        frame = chance.choice(makers)()
        match chance.randrange(4):
            case 0:
                yield frame
            case 1:
                yield twisted(frame[HEAD.size :], chance)
            case 2:
                yield bend(frame, chance)
            case _:
                yield framed(msgpack.packb([chance.randrange(40), _packable(absurd(chance))]))


def _packable(value: Any) -> Any:
    try:
        msgpack.packb(value)
    except (ValueError, TypeError, OverflowError, UnicodeError):
        return None
    return value
