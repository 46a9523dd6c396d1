"""PURE. Servers of load balancers joined to replicas, by address and port over the whole fleet.

A loopback or wildcard address means the balancer's own host and no other, unless it is one of the loopback range that
a host tells as its own, as simulated hosts on one machine do. An address that several hosts call their own
(a container bridge) joins nothing beyond the balancer's host: a wrong join would put users on the wrong replica.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from agent.wire.replicas import BackendFacts, ReplicaFacts
from cockpit.fleet.records import HostRecord

Address = IPv4Address | IPv6Address | None
Key = tuple[int, str]
_EVERYBODYS = frozenset({ip_address("127.0.0.1"), ip_address("::1")})


@dataclass(frozen=True, slots=True)
class Joined:
    """A server of a balancer: `host` is the number of the host on which the balancer runs."""

    host: int
    facts: BackendFacts


class Backends:
    """The join of one fleet; worked out when it is asked for after something has changed, else kept. `version` grows
    whenever something did."""

    def __init__(self) -> None:
        self.version = 0
        self._fresh = False
        self._of: dict[Key, tuple[Joined, ...]] = {}
        self._strangers: tuple[Joined, ...] = ()

    def changed(self) -> None:
        """Replicas, backends or addresses of some host were told anew."""
        self.version += 1
        self._fresh = False

    def of(self, hosts: Sequence[HostRecord], host: int, identity: str) -> tuple[Joined, ...]:
        """The servers that stand for a replica."""
        self._look(hosts)
        return self._of.get((host, identity), ())

    def strangers(self, hosts: Sequence[HostRecord]) -> tuple[Joined, ...]:
        """Servers behind which no replica is known."""
        self._look(hosts)
        return self._strangers

    def copy(self) -> "Backends":
        """A join that no longer changes with this one."""
        twin = Backends()
        vars(twin).update(vars(self))
        return twin

    def _look(self, hosts: Sequence[HostRecord]) -> None:
        if not self._fresh:
            self._of, self._strangers = join(hosts)
            self._fresh = True


def join(hosts: Sequence[HostRecord]) -> tuple[dict[Key, tuple[Joined, ...]], tuple[Joined, ...]]:
    """By (host number, replica id) its servers, and the servers that are nobody's."""
    servers = [Joined(record.number, facts) for record in hosts for facts in record.backends]
    if not servers:
        return {}, ()
    ports: dict[int, list[tuple[HostRecord, ReplicaFacts]]] = defaultdict(list)
    for record in hosts:
        for facts in record.replica_facts.values():
            ports[facts.port].append((record, facts))
    owned = {record.number: frozenset(map(parsed, record.addresses)) - {None} for record in hosts}
    found: dict[Key, list[Joined]] = defaultdict(list)
    strangers = []
    for server in servers:
        keys = list(_behind(server, ports.get(server.facts.port, []), owned)) if server.facts.port else []
        for key in keys:
            found[key].append(server)
        if not keys:
            strangers.append(server)
    return {key: tuple(joined) for key, joined in found.items()}, tuple(strangers)


def parsed(text: str) -> Address:
    """An address as it is compared: without brackets and zone, IPv4 also where it is written as IPv6."""
    try:
        address = ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def _behind(
    server: Joined, listening: list[tuple[HostRecord, ReplicaFacts]], owned: dict[int, frozenset[Address]]
) -> Iterator[Key]:
    """The replicas that a server means, of those on its port."""
    target, name = parsed(server.facts.address), server.facts.address.casefold()
    here = target is None and name in ("", "localhost", "*")
    here = here or (target is not None and (target.is_unspecified or _is_everybodys(target, owned)))
    fitting = []
    for record, facts in listening:
        if here and record.number != server.host:
            continue
        if here or target is not None:
            fits = _answers(target, parsed(facts.address), facts.address, owned[record.number], here=here)
        else:
            fits = name in (record.name.casefold(), record.hostname.casefold(), facts.address.casefold())
        if fits:
            fitting.append((record.number, facts.id))
    at_home = [key for key in fitting if key[0] == server.host]
    if at_home or len({key[0] for key in fitting}) <= 1:
        yield from at_home or fitting


def _is_everybodys(target: IPv4Address | IPv6Address, owned: dict[int, frozenset[Address]]) -> bool:
    """Whether a loopback address means whoever says it."""
    if not target.is_loopback or target in _EVERYBODYS:
        return target.is_loopback
    return not any(target in own for own in owned.values())


def _answers(target: Address, bound: Address, text: str, own: frozenset[Address], *, here: bool) -> bool:
    """Whether a replica bound to `bound` gets what is sent to `target`."""
    anywhere = bound.is_unspecified if bound is not None else text in ("", "*")
    if here:
        return anywhere or target is None or target.is_unspecified or target == bound
    return target == bound or (anywhere and target in own)
