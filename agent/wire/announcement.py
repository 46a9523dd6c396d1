"""PURE. What agent and console agree on beside the socket: the DNS-SD type, and where announcing makes sense.

A bridge of containers, a tunnel or the loopback leads to no fleet; whoever wants one names it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TYPE = "_gpu-cockpit._tcp.local."
_NEEDED = frozenset(("up", "running", "multicast"))
_BARRED = frozenset(("loopback", "pointopoint"))
_INNER = ("docker", "br-", "veth", "cni", "cali", "flannel", "cilium", "lxc", "lxd", "virbr", "vnet", "podman", "kube")


@dataclass(frozen=True, slots=True)
class Interface:
    """One network interface with its IPv4 addresses and its flags as ifconfig(8) spells them."""

    name: str
    addresses: tuple[str, ...]
    flags: frozenset[str]


def interfaces(stats: Mapping[str, Any], addresses: Mapping[str, Sequence[Any]]) -> tuple[Interface, ...]:
    """From what psutil's `net_if_stats()` and `net_if_addrs()` say."""
    return tuple(
        Interface(
            name,
            tuple(each.address for each in its if each.family.name == "AF_INET"),
            frozenset(stats[name].flags.split(",")) if name in stats else frozenset(),
        )
        for name, its in addresses.items()
    )


def choose(interfaces: Iterable[Interface], wanted: Sequence[str]) -> tuple[str, ...]:
    """The addresses to use: of the wanted interfaces (by name or address), else of all that lead outside."""
    chosen: list[str] = []
    for interface in interfaces:
        if wanted:
            mine = interface.name in wanted
            chosen += [address for address in interface.addresses if mine or address in wanted]
        elif _leads_outside(interface):
            chosen += interface.addresses
    return tuple(dict.fromkeys(chosen))


def _leads_outside(interface: Interface) -> bool:
    flags = interface.flags
    return flags >= _NEEDED and not flags & _BARRED and not interface.name.startswith(_INNER)
