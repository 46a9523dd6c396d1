"""Which addresses belong to a network namespace, and whether one of a container can be asked without leaving the host.

Anybody may open a network namespace and give it any address: one counts as a container's only if this host reaches it
without a gateway, through an interface that has no hardware below it and is not the way out.
"""

import os
import socket
import struct
from collections.abc import Iterable

from agent.sources.host.addresses import content as _text

_DEPTH = 4


def has_loopback6(net: str) -> bool:
    """Whether the namespace can be asked at ::1."""
    return b"0" * 31 + b"1 " in _text(f"{net}/if_inet6")


def reachable(candidates: Iterable[str], proc: str, sys: str) -> str:
    """The first of a container's IPv4 addresses that is on this host for sure; "" if none is."""
    routes = _routes(_text(f"{proc}/net/route"))
    ways_out = {interface for interface, network, mask, _ in routes if not network and not mask}
    for candidate in candidates:
        if ":" in candidate:
            continue
        number = struct.unpack("!I", socket.inet_aton(candidate))[0]
        fitting = [route for route in routes if number & route[2] == route[1]]
        if not fitting:
            continue
        interface, _, _, gateway = max(fitting, key=lambda route: route[2])
        if not gateway and interface not in ways_out and not has_hardware(interface, sys):
            return candidate
    return ""


def has_hardware(interface: str, sys: str, depth: int = _DEPTH) -> bool:
    """Whether an interface is a device, or lies on one (a bond, a VLAN, a bridge with a port outside)."""
    folder = f"{sys}/class/net/{interface}"
    if os.path.exists(f"{folder}/device") or not depth:
        return True
    try:
        names = os.listdir(folder)
    except OSError:
        return True
    return any(has_hardware(name[6:], sys, depth - 1) for name in names if name.startswith("lower_"))


def _routes(text: bytes) -> list[tuple[str, int, int, int]]:
    """(interface, network, mask, gateway) of each route that is up."""
    found = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8:
            continue
        try:
            network, gateway, mask = (_number(fields[at]) for at in (1, 2, 7))
            if int(fields[3], 16) & 1:
                found.append((fields[0].decode("ascii", "replace"), network, mask, gateway))
        except (ValueError, struct.error):
            continue
    return found


def _number(text: bytes) -> int:
    """A 32-bit word as the kernel prints it, in network order."""
    return int(struct.unpack("!I", struct.pack("<I", int(text, 16)))[0])
