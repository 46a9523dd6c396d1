"""Which addresses belong to a network namespace, and whether one of a container can be asked without leaving the host.

Anybody may open a network namespace and give it any address: one counts as a container's only if it is not the host's
own, and this host reaches it without a gateway, through an interface that is not the way out and has neither hardware
nor a tunnel below it.
"""

import os
import socket
import struct
from collections.abc import Iterable

from agent.sources.host.addresses import content as _text

_DEPTH = 4
_ETHERNET = b"1"
_STAYS_HERE = (b"", b"bridge", b"veth")  # kinds of interfaces; most name none, those that leave the host do


def has_loopback6(net: str) -> bool:
    """Whether the namespace can be asked at ::1."""
    return b"0" * 31 + b"1 " in _text(f"{net}/if_inet6")


def reachable(candidates: Iterable[str], own: frozenset[str], proc: str, sys: str) -> str:
    """The first of a container's IPv4 addresses that is on this host for sure; "" if none is. `own` are the host's."""
    routes = _routes(_text(f"{proc}/net/route"))
    ways_out = {interface for interface, network, mask, _ in routes if not network and not mask}
    for candidate in candidates:
        if ":" in candidate or candidate in own:
            continue
        number = struct.unpack("!I", socket.inet_aton(candidate))[0]
        fitting = [route for route in routes if number & route[2] == route[1]]
        if not fitting:
            continue
        interface, _, _, gateway = max(fitting, key=lambda route: route[2])
        if not gateway and interface not in ways_out and not leaves(interface, sys):
            return candidate
    return ""


def leaves(interface: str, sys: str, depth: int = _DEPTH) -> bool:
    """Whether what is sent there may leave the host: a device, a tunnel, or one that lies on such (a bond, a VLAN, a
    bridge with a port outside)."""
    folder = f"{sys}/class/net/{interface}"
    if not depth or os.path.exists(f"{folder}/device") or _is_tunnel(folder):
        return True
    try:
        names = os.listdir(folder)
    except OSError:
        return True
    return any(leaves(name[6:], sys, depth - 1) for name in names if name.startswith("lower_"))


def _is_tunnel(folder: str) -> bool:
    """WireGuard and IP in IP are no Ethernet, programs' taps have flags, VXLAN and Geneve name their kind."""
    kinds = [line[8:] for line in _text(f"{folder}/uevent").splitlines() if line.startswith(b"DEVTYPE=")]
    is_ethernet = _text(f"{folder}/type").strip() == _ETHERNET
    return not is_ethernet or os.path.exists(f"{folder}/tun_flags") or any(kind not in _STAYS_HERE for kind in kinds)


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
