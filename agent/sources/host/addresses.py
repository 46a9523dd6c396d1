"""Which addresses belong to a network namespace, from the text of its own files."""

import re

MOST = 64
_BYTES = 1 << 20
_LOCAL = re.compile(rb"\|-- ([0-9.]{7,15})\s+/32 host LOCAL")


def addresses(net: str, *, most: int = MOST) -> tuple[str, ...]:
    """Of the namespace whose files lie in `net` ("/proc/net", "/proc/PID/net"): IPv4 first, of IPv6 those of global
    scope; loopback is left out."""
    import socket  # here: `once` reads no facts, and starts in milliseconds

    found = [match.decode() for match in dict.fromkeys(_LOCAL.findall(content(f"{net}/fib_trie")))]
    for line in content(f"{net}/if_inet6").splitlines():
        fields = line.split()
        if len(fields) >= 6 and fields[3] == b"00" and len(fields[0]) == 32:
            found.append(socket.inet_ntop(socket.AF_INET6, bytes.fromhex(fields[0].decode("ascii"))))
    return tuple(one for one in found if not one.startswith("127.") and one != "::1")[:most]


def content(path: str) -> bytes:
    """The file, as far as a megabyte goes; empty where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(_BYTES)
    except OSError:
        return b""
