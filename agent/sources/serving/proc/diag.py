"""Sockets of this process's own network namespace that wait for TCP connections, asked of the kernel over netlink.

/proc/net/tcp tells the same and walks the table of all connections for it: milliseconds where this takes microseconds.
"""

import os
import socket
import struct

from agent.sources.serving.proc.sockets import Waiting, bounded

_NETLINK_SOCK_DIAG = 4
_BY_FAMILY, _ERROR, _DONE = 20, 2, 3
_REQUEST_DUMP = 0x301
_TCP, _LISTEN = 6, 10
_HEAD = struct.Struct("=IHHII")
_ASK = struct.Struct("=BBBxI48x")
_SAID = struct.Struct("=BBBB2s2s16s16s12x12xII")  # family, ..., port, its peer's, address, peer's, uid, inode
_DEADLINE_S = 1.0
_BUFFER = 64 * 1024


def waiting() -> tuple[Waiting, ...]:
    """The listeners.

    Raises:
        OSError: the kernel does not tell them this way.
    """
    found: list[Waiting] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as asked:
        asked.settimeout(_DEADLINE_S)
        for family in (socket.AF_INET, socket.AF_INET6):
            body = _ASK.pack(family, _TCP, 0, 1 << _LISTEN)
            asked.sendto(_HEAD.pack(_HEAD.size + len(body), _BY_FAMILY, _REQUEST_DUMP, family, 0) + body, (0, 0))
            while _take(asked.recv(_BUFFER), found):
                pass
    return bounded(found)


def _take(data: bytes, found: list[Waiting]) -> bool:
    """Read one message; whether more are to come."""
    at = 0
    while at + _HEAD.size <= len(data):
        size, kind, _, _, _ = _HEAD.unpack_from(data, at)
        if kind == _DONE:
            return False
        if kind == _ERROR or size < _HEAD.size:
            number = -struct.unpack_from("=i", data, at + _HEAD.size)[0] if len(data) >= at + _HEAD.size + 4 else 0
            raise OSError(number, os.strerror(number))
        if kind == _BY_FAMILY and size >= _HEAD.size + _SAID.size and at + size <= len(data):
            found.append(_waiting(_SAID.unpack_from(data, at + _HEAD.size)))
        at += (size + 3) & ~3
    return True


def _waiting(fields: tuple[int | bytes, ...]) -> Waiting:
    family, port, raw, uid, inode = fields[0], fields[4], fields[6], fields[8], fields[9]
    assert isinstance(port, bytes)
    assert isinstance(raw, bytes)
    if family == socket.AF_INET:
        address = socket.inet_ntop(socket.AF_INET, raw[:4])
    elif raw[:12] == b"\0" * 10 + b"\xff\xff":
        address = socket.inet_ntop(socket.AF_INET, raw[12:])
    else:
        address = socket.inet_ntop(socket.AF_INET6, raw)
    return Waiting(address, int.from_bytes(port, "big"), int(uid), int(inode))
