"""mDNS announcements as a hostile neighbour sends them: any bytes in any record, from a socket of its own.

`python -m tests.fakes.announcer ADDRESS PLAN` (a JSON list of records) sends them every 200 ms until it is killed.
"""

import json
import socket
import struct
import sys
import time
from dataclasses import dataclass

GROUP = ("224.0.0.251", 5353)
TYPE = b"\x0c_gpu-cockpit\x04_tcp\x05local\x00"
_PTR, _A, _TXT, _SRV, _IN = 12, 1, 16, 33, 1


@dataclass(frozen=True)
class Record:
    """One announcement: the first label of its name, and what it says; without `address` only the name is said."""

    name: str
    address: str = ""
    port: int = 22
    texts: tuple[str, ...] = ()


def packet(records: list[Record]) -> bytes:
    """One response with everything that these records say."""
    answers: list[bytes] = []
    for number, record in enumerate(records):
        name = _label(record.name.encode("utf-8", "surrogateescape")) + TYPE
        answers.append(_answer(TYPE, _PTR, name))
        if not record.address:
            continue
        host = _label(f"h{number}".encode()) + b"\x05local\x00"
        texts = b"".join(_label(text.encode("utf-8", "surrogateescape")) for text in record.texts) or b"\x00"
        answers.append(_answer(name, _SRV, struct.pack("!HHH", 0, 0, record.port) + host))
        answers.append(_answer(name, _TXT, texts))
        answers.append(_answer(host, _A, socket.inet_aton(record.address)))
    return struct.pack("!HHHHHH", 0, 0x8400, 0, len(answers), 0, 0) + b"".join(answers)


def _label(data: bytes) -> bytes:
    return bytes([len(data)]) + data


def _answer(name: bytes, kind: int, data: bytes) -> bytes:
    return name + struct.pack("!HHIH", kind, _IN, 120, len(data)) + data


def main(address: str, plan: str) -> None:
    records = [Record(item[0], item[1], item[2], tuple(item[3])) for item in json.loads(plan)]
    packets = [packet(records[at : at + 20]) for at in range(0, len(records), 20)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
        out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
        out.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        out.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        out.bind(("", GROUP[1]))
        print("sending", flush=True)
        while True:
            for data in packets:
                out.sendto(data, GROUP)
            time.sleep(0.2)


if __name__ == "__main__":
    main(*sys.argv[1:])
