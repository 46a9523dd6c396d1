"""Which network interfaces are listened on for announcements: those that hosts may be behind, or those named.

A bridge of containers, a tunnel or the loopback leads to no fleet; whoever wants one names it. Agents choose by the
same rule (`agent.server.interfaces`), which the console may not import.
"""

import fcntl
import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_SIOCGIFFLAGS = 0x8913
_UP, _LOOPBACK, _POINT_TO_POINT, _RUNNING, _MULTICAST = 0x1, 0x8, 0x10, 0x40, 0x1000
_INNER = ("docker", "br-", "veth", "cni", "cali", "flannel", "cilium", "lxc", "lxd", "virbr", "vnet", "podman", "kube")


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface with its IPv4 and IPv6 addresses and the kernel's flags."""

    name: str
    addresses: tuple[str, ...]
    flags: int


def here() -> tuple[Interface, ...]:
    """The interfaces of this machine. Needs the package ifaddr, which zeroconf brings.

    Raises:
        ImportError: it is not installed.
    """
    import ifaddr  # with zeroconf alone

    found: dict[str, list[str]] = {}
    for adapter in ifaddr.get_adapters():
        found.setdefault(adapter.name, []).extend(str(ip.ip) for ip in adapter.ips if ip.is_IPv4)
    return tuple(Interface(name, tuple(addresses), _flags(name)) for name, addresses in found.items())


def choose(interfaces: Iterable[Interface], wanted: Sequence[str]) -> tuple[str, ...]:
    """The addresses to listen on: of the wanted interfaces (by name or address), else of all that lead outside."""
    chosen: list[str] = []
    for interface in interfaces:
        if wanted:
            mine = interface.name in wanted
            chosen += [address for address in interface.addresses if mine or address in wanted]
        elif _leads_outside(interface):
            chosen += interface.addresses
    return tuple(dict.fromkeys(chosen))


def _leads_outside(interface: Interface) -> bool:
    needed = _UP | _RUNNING | _MULTICAST
    barred = _LOOPBACK | _POINT_TO_POINT
    return interface.flags & needed == needed and not interface.flags & barred and not interface.name.startswith(_INNER)


def _flags(name: str) -> int:
    request = struct.pack("16sh14x", name.encode()[:15], 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            return int(struct.unpack("16xH", fcntl.ioctl(probe, _SIOCGIFFLAGS, request)[:18])[0])
        except OSError:
            return 0
