"""Which replicas there are, and which process groups may yet be some. Sans-I/O.

A replica stays on the roster when its processes are gone: it is down until it comes back or is retired. One that an
earlier start of the agent knew is waited for until every group has been asked once.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from agent.clock import Instant
from agent.config.serving import Serving
from agent.sources.base import Reason
from agent.sources.serving import match, who
from agent.sources.serving.applicant import Applicant
from agent.sources.serving.errand import Errand
from agent.sources.serving.landscape import Group, Listener, Sight
from agent.sources.serving.replica import Replica
from agent.wire.errors import WireError
from agent.wire.replicas import ReplicaFacts
from agent.wire.shape import unpack

MOST = 256  # replicas of a host, gone ones among them; the oldest that is gone makes room
MOST_APPLICANTS = 128
SHARE = 2  # one user has at most one in so many of either: whoever starts hundreds of engines hides his own alone
PATIENCE_S = 30.0  # data seconds after the start in which a replica that was known may still be looked for
FLEETING_S = 120.0
MUTE_S = 60.0  # so old is one of which no port is known before it is shown without
NEW_S = 10.0  # so old is a process that has no socket yet before it is called a replica, unless it was one before


class Roster:
    """`tables` are those of the configuration."""

    def __init__(self, tables: tuple[Serving, ...]) -> None:
        self.replicas: dict[str, Replica] = {}
        self.applicants: dict[str, Applicant] = {}
        self._tables = tables
        self._sight = Sight()
        self._since: float | None = None
        self._waits = False
        self._retired: set[str] = set()
        self._left: dict[str, float] = {}

    def errands(self) -> Iterator[Errand]:
        """All that is to be asked in rounds."""
        yield from self.replicas.values()
        yield from [one for one in self.applicants.values() if not one.settled]

    def see(self, sight: Sight, now: Instant) -> None:
        """What there is now."""
        if self._since is None and sight.whole:
            self._since = now.mono
        self._sight = sight
        groups = {group.key: group for group in self._with_configured(sight)}
        for replica in list(self.replicas.values()):
            if replica.group is None:
                continue
            if replica.group.key in groups:
                replica.join(groups[replica.group.key])
            elif replica.apart and replica.seen is None:
                self._drop(replica.who.id)  # nothing was ever known of it but that it ran
            else:
                replica.leave()
        for key in [key for key in self.applicants if key not in groups]:
            del self.applicants[key]
        taken = {replica.group.key for replica in self.replicas.values() if replica.group is not None}
        for key, group in groups.items():
            if key in self.applicants:
                self.applicants[key].meet(group)
            elif key not in taken or self._is_provisional(key):
                self._meet(group)

    def decide(self, now: Instant) -> None:
        """Make replicas of the applicants that are known by now."""
        for applicant in list(self.applicants.values()):
            if applicant.pace.busy or not (applicant.asked_once or not applicant.group.listeners):
                continue
            if not applicant.left_out:
                self._admit(applicant, now)
        self._waits = self._still_waits(now)
        self._forget_fleeting(now)
        if not self._waits:
            self._expect()

    def waits_for(self, replica: Replica) -> bool:
        """Whether it may yet be found: nothing is said of it until then."""
        return self._waits and replica.group is None

    def listens(self, replica: Replica) -> bool:
        """Whether a socket waits for connections where it serves, as far as that can be seen."""
        if replica.group is not None and replica.listener is not None:
            return True
        return replica.group is None and bool(self._sight.listening.get(replica.who.port))

    def holder(self, replica: Replica) -> str:
        """Which other replica has the port of one that is gone; "" if none has."""
        for other in self.replicas.values():
            same = other.who.port == replica.who.port and other.who.address == replica.who.address
            if other is not replica and same and other.group is not None and other.listener is not None:
                return other.who.id
        return ""

    def addresses(self) -> frozenset[str]:
        """What may be asked: the host's own addresses, and those of the groups' own sockets."""
        own = {listener.address for group in self._sight.groups for listener in group.listeners}
        return self._sight.addresses | own

    def retire(self, identity: str) -> None:
        """No longer owed: dropped if it is gone. One that comes back is owed again."""
        self._retired.add(identity)
        replica = self.replicas.get(identity)
        if replica is not None and replica.group is None:
            self._drop(identity)

    def unretire(self, identity: str) -> None:
        """Take that back."""
        self._retired.discard(identity)

    def memory(self) -> list[dict[str, Any]]:
        """The replicas that are known, for the next start."""
        return [replica.memory() for replica in self.replicas.values() if replica.who.name != who.NOBODY]

    def recall(self, memory: Any) -> None:
        """Take over what an earlier start knew; what cannot be read is left out."""
        for item in memory if isinstance(memory, (list, tuple)) else ():
            if not isinstance(item, Mapping):
                continue
            try:
                facts = unpack(ReplicaFacts, item.get("facts"))
            except WireError:
                continue
            if facts.id in self._retired or len(self.replicas) >= MOST:
                continue
            then = Group("", unit=facts.unit, user=facts.user)
            at = Listener(facts.address, facts.port, local=facts.address.startswith(("127.", "::1")))
            table = match.table_for(self._tables, then, at, facts.engine)
            known = who.remembered(facts, item, table)
            replica = Replica(known, None, table)
            seen = item.get("seen")
            replica.recall(facts, float(seen) if isinstance(seen, (int, float)) else None)
            self.replicas[facts.id] = replica

    def reasons(self) -> tuple[Reason, ...]:
        """What an operator would wonder about."""
        found = list(self._sight.reasons)
        for replica in self.replicas.values():
            for code, says in (("replica_page", replica.page_trouble), ("replica_token", replica.token_trouble)):
                if says and replica.group is not None:
                    found.append(Reason("serving", code, f"{replica.who.id}: {says}", ""))
        return tuple(found)

    # Inside.

    def _with_configured(self, sight: Sight) -> list[Group]:
        """The groups of the sight, and one for each port of the configuration whose process cannot be seen."""
        groups = list(sight.groups)
        served = {listener.port for group in groups for listener in group.listeners}
        for table in self._tables:
            if not table.port or table.ignore or table.port in served:
                continue
            listener = next((one for one in sight.listening.get(table.port, ()) if _fits(table, one)), None)
            if listener is not None:
                groups.append(Group(f"port:{listener.key}", listeners=(listener,), uid=listener.uid, gpu_map="hidden"))
        return groups

    def _meet(self, group: Group) -> None:
        table = self._table(group)
        if table is not None and table.ignore:
            return
        known = next((one for one in self.replicas.values() if one.group is None and one.is_of(group)), None)
        if known is not None:
            known.join(group)
            return
        theirs = sum(one.group.uid == group.uid for one in self.applicants.values())
        if len(self.applicants) < MOST_APPLICANTS and theirs < MOST_APPLICANTS // SHARE:
            applicant = Applicant(group, table)
            applicant.settled = applicant.asked_once = table is not None and bool(table.engine and table.port)
            self.applicants[group.key] = applicant

    def _table(self, group: Group, engine: str = "") -> Serving | None:
        """Of the first of its sockets that a table speaks of; else the table that names no port."""
        for listener in (*group.listeners, None):
            table = match.table_for(self._tables, group, listener, engine)
            if table is not None and (listener is not None or not table.port):
                return table
        return None

    def _admit(self, applicant: Applicant, now: Instant) -> None:
        applicant.guess()
        found, group = applicant.identity, applicant.group
        table = applicant.table or self._table(group, found.name if found else "")
        if table is not None and table.ignore:
            applicant.settled = True
            return
        if found is None and (table is None or not table.port):
            return
        port = applicant.port
        listener = applicant.listener or next((one for one in group.listeners if one.port == port), None)
        known = who.identified(found, listener, port, table, apart="" if port and not group.apart else _place_of(group))
        root = group.root
        age_s = now.wall - root.started if root is not None and root.started is not None else PATIENCE_S
        is_new = age_s < (NEW_S if port else MUTE_S)
        if listener is None and is_new and known.id not in self.replicas and table is None:
            return
        self._place(known, group, table)
        if applicant.settled:
            del self.applicants[group.key]
            if known.id in self.replicas:
                self.replicas[known.id].pace.hurry()  # its own pages have not been asked for yet

    def _place(self, known: who.Who, group: Group, table: Serving | None) -> None:
        """Put a group on the roster; a guess that was there for it makes room."""
        self._retired.discard(known.id)
        for identity, other in list(self.replicas.items()):
            is_guess = other.group is not None and other.group.key == group.key
            is_promise = other.who.name == who.NOBODY and other.group is None and other.who.port == known.port
            if (is_guess or is_promise) and identity != known.id:
                self._drop(identity)
        before = self.replicas.get(known.id)
        if before is not None and before.who.engine is known.engine and before.who.port == known.port:
            if before.group is None or before.group.key == group.key:
                before.who = known
                before.join(group)
            return
        if before is None and len(self.replicas) >= MOST:
            self._make_room()
        theirs = sum(one.group is not None and one.group.uid == group.uid for one in self.replicas.values())
        if (len(self.replicas) < MOST and theirs < MOST // SHARE) or before is not None:
            replica = Replica(known, None, table)
            if before is not None:
                replica.recall(before.facts, before.seen)
            replica.join(group)  # after that: when its process began is what this one says
            self.replicas[known.id] = replica

    def _is_provisional(self, key: str) -> bool:
        """Whether the replica of this group is still a guess."""
        return key in self.applicants

    def _still_waits(self, now: Instant) -> bool:
        if not self._sight.whole:
            return True
        if self._since is None or now.mono - self._since > PATIENCE_S:
            return False
        return self._since == now.mono or any(not one.asked_once for one in self.applicants.values())

    def _expect(self) -> None:
        """A place for each replica that the configuration promises and nobody has seen."""
        there = {replica.who.port for replica in self.replicas.values()}
        there |= {applicant.port for applicant in self.applicants.values()}
        for table in self._tables:
            if table.expected and not table.ignore and table.port not in there and len(self.replicas) < MOST:
                known = who.identified(None, None, table.port, table)
                if known.id not in self._retired:
                    self.replicas[known.id] = Replica(known, None, table)

    def _forget_fleeting(self, now: Instant) -> None:
        """One that is gone and never answered anybody was a mistyped command, unless it is expected or comes back."""
        gone = {
            identity
            for identity, replica in self.replicas.items()
            if replica.group is None and replica.seen is None and replica.table is None
        }
        self._left = {identity: self._left.get(identity, now.mono) for identity in gone}
        for identity, since in self._left.items():
            if now.mono - since > FLEETING_S:
                self._drop(identity)

    def _make_room(self) -> None:
        gone = [identity for identity, replica in self.replicas.items() if replica.group is None]
        if gone:
            self._drop(min(gone, key=lambda identity: self.replicas[identity].facts.since))

    def _drop(self, identity: str) -> None:
        self.replicas.pop(identity, None)


def _place_of(group: Group) -> str:
    """What tells groups apart whose address nobody knows."""
    return group.container[:12] or f"pid-{group.processes[0].pid if group.processes else 0}"


def _fits(table: Serving, listener: Listener) -> bool:
    return not table.address or table.address == listener.address or listener.local
