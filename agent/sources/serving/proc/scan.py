"""One look at the whole host, on a thread that may take its time: processes, trees, sockets, owners, GPUs.

What is the same as at the last look is not read again. The scan alone owns what it remembers.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from agent.engines import ports
from agent.engines.detect import recognise
from agent.engines.evidence import Evidence
from agent.sources.base import Reason
from agent.sources.host.addresses import addresses
from agent.sources.processes.owner import Owner, parse_cgroup
from agent.sources.serving.landscape import Group, Listener, Process, Sight
from agent.sources.serving.proc import diag, network, sockets, tree
from agent.sources.serving.proc.devices import Devices
from agent.sources.serving.proc.sockets import Waiting
from agent.sources.serving.proc.table import Proc, Table

MOST_ADDRESSES = 4096  # a node of Kubernetes may have one for each service
SETTLED_S = 300.0  # age of a container's root from which its listeners are looked at more rarely
AGAIN_S = 60.0
SOON_S = 9.0  # at every other look: the kernel walks all connections of the host to tell a container's listeners
LOOPBACK, LOOPBACK6 = "127.0.0.1", "::1"
HINT = "publish its port on this host; or say in [[serving]] of the agent's configuration where it is asked"


@dataclass(frozen=True, slots=True)
class Held:
    """What the driver says now: {pid: UUIDs it holds}, and the UUIDs in the order of PCI addresses."""

    gpus: Mapping[int, tuple[str, ...]]
    order: tuple[str, ...] = ()


class Scan:
    """`proc` and `sys` are where they are mounted; `name` gives a user's name."""

    def __init__(self, proc: str, sys: str, name: Callable[[int], str]) -> None:
        self.sys = sys
        self._proc = proc
        self._name = name
        self._table = Table(proc)
        self._devices = Devices(proc)
        self._vital: dict[str, frozenset[str]] = {}
        self._vital_pids: frozenset[int] = frozenset()
        self._places: dict[int, tuple[float, _Place]] = {}  # other network namespaces, and when they were read
        self._ours = 0
        self._own = _Place(0, "", (), is_own=True)  # the host's own network namespace, as of this look
        self._addresses: frozenset[str] = frozenset()
        self._foreign: frozenset[int] = frozenset()  # sockets at addresses that are not the host's: anybody may bind so
        self._uptime_s = 0.0
        self._asks_kernel = proc == "/proc"
        self._open: dict[str, tuple[object, frozenset[int] | None]] = {}  # by process: what it was read for, sockets
        self._owners: dict[str, Owner] = {}
        self._wall: dict[str, float] = {}
        self._set_apart: dict[str, list[int]] = {}  # pids of roots, by why they cannot be asked
        self._has_loopback6 = False

    def look(self, held: Held, wall: float) -> Sight:
        """All there is. `wall` is now, in seconds.

        Raises:
            OSError, ValueError: /proc cannot be read.
        """
        with open(f"{self._proc}/uptime", "rb") as file:
            uptime_s = float(file.read(64).split()[0])
        self._set_apart = {}
        self._has_loopback6 = network.has_loopback6(f"{self._proc}/net")
        known = self._table.processes
        self._table.refresh(uptime_s, self._vital_pids)
        self._uptime_s = uptime_s
        self._ours = os.stat(f"{self._proc}/net/tcp").st_ino
        self._addresses = frozenset(addresses(f"{self._proc}/net", most=MOST_ADDRESSES))
        waiting = self._waiting()
        here = [one for one in waiting if one.is_everywhere or one.is_loopback or one.address in self._addresses]
        self._foreign = frozenset(one.inode for one in waiting) - {one.inode for one in here}
        self._own = _Place(self._ours, "", tuple(here), is_own=True, others=self._foreign)
        trees = tree.roots(known, frozenset(held.gpus), lambda pid: self._listens(known[pid]))
        places = {root: self._place(trees[root][0]) for root in trees}
        shares = _share(trees, places, self._sockets)
        self._vital_pids = frozenset(one.pid for members in trees.values() for one in members if tree.vital(one))
        groups = []
        for root, members in trees.items():
            started = [(one, self._started(one, wall - uptime_s)) for one in members]
            groups.append(self._group(started, places[root], shares[root], held))
        self._forget(known)
        everywhere: dict[int, list[Listener]] = {}
        for one in here:
            everywhere.setdefault(one.port, []).append(self._listener(one, ""))
        return Sight(tuple(groups), everywhere, self._addresses, tuple(map(_reason, self._set_apart.items())))

    def _listens(self, one: Proc) -> bool:
        place = self._place(one)
        found = self._sockets(one, place)
        return bool(found and (place.is_own or place.address) and not found.isdisjoint(place.inodes))

    def _waiting(self) -> tuple[Waiting, ...]:
        """The host's own listeners."""
        if self._asks_kernel:
            try:
                return diag.waiting()
            except OSError:
                self._asks_kernel = False  # not in this sandbox: the files say the same at a higher price
        return sockets.waiting(f"{self._proc}/net")

    def _place(self, one: Proc) -> "_Place":
        """The network namespace of a process: the host's own, or a container's with its address and listeners."""
        net = f"{self._proc}/{one.pid}/net"
        try:
            number = os.stat(f"{net}/tcp").st_ino
        except OSError:
            return _Place(0, "", (), is_own=False)
        if number == self._ours:
            return self._own
        at, known = self._places.get(number, (float("-inf"), None))
        settled = known is not None and known.waiting and self._uptime_s - one.began_s > SETTLED_S
        if known is not None and self._uptime_s - at <= (AGAIN_S if settled else SOON_S):
            return known
        try:
            address = network.reachable(addresses(net), self._addresses, self._proc, self.sys)
            found = _Place(number, address, sockets.waiting(net), is_own=False)
        except OSError:
            found = _Place(number, "", (), is_own=False)
        self._places[number] = (self._uptime_s, found)
        return found

    def _sockets(self, one: Proc, place: "_Place") -> frozenset[int] | None:
        """Inodes of the sockets that a process has open; None where they are hidden. Read again when the listeners of
        its namespace are others."""
        asked = (place.number, place.inodes)
        known = self._open.get(one.key)
        if known is not None and known[0] == asked:
            return known[1]
        found: frozenset[int] | None
        try:
            found = frozenset(sockets.inodes(self._proc, one.pid))
        except PermissionError:
            found = None
        except OSError:
            found = frozenset()
        self._open[one.key] = (asked, found)
        return found

    def _group(
        self, members: list[tuple[Proc, float]], place: "_Place", share: list[Waiting] | None, held: Held
    ) -> Group:
        root = members[0][0]
        tree_ = [one for one, _ in members]
        lost, self._vital[root.key] = tree.missing(tree_, self._vital.get(root.key, frozenset()))
        owner = self._owner(root)
        gpus, how = self._devices.of(tree_, held.gpus, held.order, in_container=bool(owner.container))
        found = share or []
        listeners = tuple(
            self._listener(one, place.address)
            for one in found
            if place.is_own or (place.address and not one.is_loopback)
        )
        apart = "" if listeners else self._apart(tree_, place, hidden=share is None)
        if apart:
            self._set_apart.setdefault(apart, []).append(root.pid)
        return Group(
            root.key,
            tuple(Process(one.pid, one.argv, started) for one, started in members if not one.zombie or one is root),
            listeners,
            gpus,
            how,
            root.uid,
            self._name(root.uid),
            owner.unit,
            owner.container,
            owner.job,
            owner.pod,
            lost,
            apart,
        )

    def _apart(self, members: list[Proc], place: "_Place", *, hidden: bool) -> str:
        """Why nothing of it can be asked, whatever it does; "" where it merely does not listen yet."""
        if not place.is_own:
            loopback = place.address and any(one.is_loopback for one in place.waiting)
            if loopback:
                return "listens on loopback of a network namespace of its own, where only it can be asked"
            return "" if place.address else "runs in a network namespace that cannot be reached from this host's"
        if not self._foreign.isdisjoint(inode for one in members for inode in self._sockets(one, place) or ()):
            return "listens on an address that is not this host's"
        if hidden and not _expected(members[0]):
            return "has sockets that are hidden from the agent, and nothing says its port"
        return ""

    def _listener(self, one: Waiting, address: str) -> Listener:
        where = address or one.address
        if not address and one.is_everywhere:
            # A socket on all IPv6 addresses takes IPv4 too unless it was told otherwise: its own family is certain.
            where = LOOPBACK6 if one.address == "::" and self._has_loopback6 else LOOPBACK
        return Listener(where, one.port, one.uid, f"{one.inode}", local=not address)

    def _owner(self, root: Proc) -> Owner:
        known = self._owners.get(root.key)
        if known is None:
            try:
                with open(f"{self._proc}/{root.pid}/cgroup", "rb") as file:
                    known = parse_cgroup(file.read(65536).decode("utf-8", "replace"))
            except OSError:
                known = Owner()
            self._owners[root.key] = known
        return known

    def _started(self, one: Proc, booted: float) -> float:
        """Wall seconds, the same at every look."""
        return self._wall.setdefault(one.key, round(booted + one.began_s, 2))

    def _forget(self, processes: Mapping[int, Proc]) -> None:
        keys = {one.key for one in processes.values()}
        for known in (self._open, self._owners, self._wall, self._vital):
            for key in known.keys() - keys:
                del known[key]
        self._devices.forget(keys)
        self._places = {
            number: known for number, known in self._places.items() if self._uptime_s - known[0] <= 2 * AGAIN_S
        }


class _Place:
    """A network namespace: `address` is a container's own, as this host reaches it; `waiting` what it listens on
    that may be asked, `inodes` all its sockets that listen."""

    def __init__(
        self,
        number: int,
        address: str,
        waiting: tuple[Waiting, ...],
        *,
        is_own: bool,
        others: frozenset[int] = frozenset(),
    ) -> None:
        self.number = number
        self.address = address
        self.waiting = waiting
        self.is_own = is_own
        self.inodes = others.union(one.inode for one in waiting)


def _reason(apart: tuple[str, list[int]]) -> Reason:
    """One for all that are out of reach for the same reason."""
    says, pids = apart
    shown = ", ".join(map(str, sorted(pids)[:4]))
    more = f" and {len(pids) - 4} more" if len(pids) > 4 else ""
    which = f"the engine of pid {shown}" if len(pids) == 1 else f"each engine of pids {shown}{more}"
    return Reason("serving", "replica_apart", f"{which} {says}", HINT)


def _share(
    trees: Mapping[int, list[Proc]],
    places: Mapping[int, _Place],
    opened: Callable[[Proc, _Place], frozenset[int] | None],
) -> dict[int, list[Waiting] | None]:
    """Which tree each listener belongs to: by open descriptors; where these are hidden by its user and the port that
    its command line says or its engine usually has. None: its sockets are hidden and none is known to be its."""
    found: dict[int, list[Waiting] | None] = {}
    claimed: set[int] = set()
    hidden = []
    for root, members in trees.items():
        place = places[root]
        seen = [opened(one, place) for one in members]
        if any(one is not None for one in seen):
            open_ = frozenset().union(*(one for one in seen if one is not None))
            found[root] = [one for one in place.waiting if one.inode in open_]
            claimed |= {one.inode for one in found[root] or ()}
        else:
            hidden.append(root)
    for root in hidden:
        free = [one for one in places[root].waiting if one.inode not in claimed and one.uid == trees[root][0].uid]
        alone = not places[root].is_own and sum(places[other].number == places[root].number for other in trees) == 1
        mine = free if alone else _by_port(trees[root], free)
        claimed |= {one.inode for one in mine}
        found[root] = mine or None
    return found


def _expected(root: Proc) -> int:
    """The port on which this will listen, as far as that is known."""
    identity = recognise(Evidence((root.argv,)))
    return ports.stated((root.argv,)) or (ports.usual(identity.engine.name) if identity else 0)


def _by_port(members: list[Proc], free: Iterable[Waiting]) -> list[Waiting]:
    argvs = tuple(one.argv for one in members)
    identity = recognise(Evidence(argvs))
    port = ports.stated(argvs) or (ports.usual(identity.engine.name) if identity else 0)
    doors = identity.engine.doors if identity else ()
    wanted = {port, *(number for door in doors for number in door.ports(argvs, port)[:1])} - {0}
    return [one for one in free if one.port in wanted]
