"""PURE. What has to hold in the whole fleet before a plan may begin: no agent sees these from where it is.

Thresholds are those of published practice: at most a tenth of a pool's hosts in any action, one change of a pool at a
time, and no new action while a fifth of the fleet turns critical. Giving back is never held up by any of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agent.wire.actions import Guard
from agent.wire.specs import Severity
from cockpit.fleet import replicas as known
from cockpit.fleet.annotations import HOST
from cockpit.fleet.records import HostRecord
from cockpit.fleet.state import Fleet
from cockpit.runbook.cost import BLINDING, EASING, PASSING, TAKING, Outage, floor_for
from cockpit.runbook.records import Step, StepKind
from cockpit.runbook.scene import POOL, Scene, host_number, is_ready, names, pool_rows, ready_rows, replicas_of

SHARE = 0.1  # of a pool's hosts in an action
STORM_SHARE = 0.2  # of all hosts newly critical
STORM_S = 600.0
STORM_LEAST = 3  # hosts: of five, one is a fifth and no storm
# What an operator may pass by typed confirmation; all others are facts, or not the operator's to pass.
PASSABLE = frozenset({"quorum", "concurrency", "breaker", "fresh", "redundancy", "killmode", "drained"})
SOFT = True


@dataclass(frozen=True, slots=True)
class Case:
    """What is judged: the steps, the replicas they are about, who is out when. `run` is the run's own id, which does
    not stand in its own way."""

    fleet: Fleet
    steps: Sequence[Step]
    scenes: Sequence[Scene]
    out: Outage
    run: str = ""
    easing: bool = False

    @property
    def pools(self) -> list[str]:
        """The pools of which something is taken out."""
        return list(dict.fromkeys(known.pool(self.fleet, row) for row in sorted(self.out.rows)))


def guards(case: Case) -> tuple[Guard, ...]:
    """All of them, those that hold too."""
    actions = {step.action for step in case.steps if step.kind is StepKind.ACTION}
    found = [_fresh(case)]
    if case.out.rows:
        found += [*_floors(case), *_redundancy(case), *_quorum(case)]
    if not case.easing and not actions <= EASING:
        found += [_concurrency(case), _breaker(case, actions)]
    return tuple(found)


def _floors(case: Case) -> Iterator[Guard]:
    for pool in case.pools:
        ready = set(ready_rows(case.fleet, pool))
        after = min(len(ready - moment) for moment in case.out.moments)
        floor, name = floor_for(case.fleet, pool), pool or "its pool"
        if floor is None:
            yield Guard("floor", True, f"{name}: {len(ready)} ready, {after} meanwhile; no floor is named for it")
            continue
        # What is not ready is not missed: a pool that is below its floor already may have its sick replica restarted.
        fine = after >= floor or after == len(ready)
        yield Guard("floor", fine, f"{name}: {len(ready)} ready, {after} meanwhile, the floor is {floor}")


def _redundancy(case: Case) -> Iterator[Guard]:
    for pool in case.pools:
        ready = set(ready_rows(case.fleet, pool))
        after = min(len(ready - moment) for moment in case.out.moments)
        least = max(floor_for(case.fleet, pool) or 0, 1)
        name = pool or "its pool"
        if after - 1 >= least:
            yield Guard("redundancy", True, f"{name}: one more of the {after} that stay ready could fail", SOFT)
        else:
            yield Guard("redundancy", False, f"{name}: with {after} ready, none of them may fail meanwhile", SOFT)


def _quorum(case: Case) -> Iterator[Guard]:
    fleet = case.fleet
    seen: set[str] = set()
    for scene in case.scenes:
        if scene.servers or scene.row not in case.out.rows or scene.pool in seen:
            continue
        seen.add(scene.pool)
        if scene.kept is None or not scene.kept.keepers:
            says = f"{scene.pool or 'its pool'} has no balancer that we see and no keepers: nobody but us counts"
            yield Guard("quorum", False, says, SOFT)
            continue
        there = [keeper for keeper in scene.kept.keepers if (one := keeper_host(fleet, keeper)) and one.live]
        of, need = len(scene.kept.keepers), len(scene.kept.keepers) // 2 + 1
        says = f"{len(there)} of the {of} keepers of {scene.pool} answer, {need} are needed"
        yield Guard("quorum", len(there) >= need, says)


def keeper_host(fleet: Fleet, keeper: str) -> HostRecord | None:
    """The host that a keeper's name or id in the agents' configuration means."""
    for record in fleet.hosts:
        if keeper in (record.host_id, record.hostname, record.name):
            return record
    return None


def _fresh(case: Case) -> Guard:
    """Everything that it rests on is as of now."""
    fleet = case.fleet
    hosts = {step.target.host for step in case.steps} | {fleet.hosts[scene.host].name for scene in case.scenes}
    silent = sorted(name for name in hosts if name in fleet.numbers and not fleet.hosts[fleet.numbers[name]].live)
    if silent:
        return Guard("fresh", False, f"{', '.join(silent[:4])} is not live: how things are there is not known")
    old = [scene.row for scene in case.scenes if scene.row is not None and not _is_read(fleet, scene.row)]
    if old:
        return Guard("fresh", False, f"{names(fleet, old)} was not read within two periods")
    others = [row for pool in case.pools for row in pool_rows(fleet, pool) if not known.host_of(fleet, row).live]
    if others:
        return Guard("fresh", True, f"{names(fleet, others)} cannot be seen now and counts as not ready")
    return Guard("fresh", True, "all that it rests on was read within its period")


def _is_read(fleet: Fleet, row: int) -> bool:
    if "replica.state" not in fleet.replicas.fields:
        return False
    return is_ready(fleet, row) or fleet.replicas.cell("replica.state", row).quality.name == "OK"


def _concurrency(case: Case) -> Guard:
    """No second change of a pool, and of a host."""
    pools, hosts = set(case.pools), {step.target.host_id for step in case.steps if step.kind is StepKind.ACTION}
    for name, says, other_pools, other_hosts, _ in under_way(case.fleet, case.run):
        shared = (pools & other_pools) - {""}
        if shared:
            return Guard("concurrency", False, f"{says} ({name}) changes {', '.join(sorted(shared))} already")
        if not pools and hosts & other_hosts:
            return Guard("concurrency", False, f"{says} ({name}) is under way on the same host")
    return Guard("concurrency", True, "nobody else changes what it changes")


def under_way(fleet: Fleet, but: str = "") -> Iterator[tuple[str, str, set[str], set[str], set[int]]]:
    """What is under way anywhere: its id, in words, the pools, host ids and host numbers that it touches. Runs that
    only give back are not told apart: they are short."""
    seen: set[str] = {but} - {""}
    for record in fleet.hosts:
        for run in record.hands.runs.values():
            if run.state == "running" and run.id not in seen:
                seen.add(run.id)
                pools, numbers = _touched(fleet, record, run.id, run.subject)
                ids = {fleet.hosts[number].host_id for number in numbers}
                yield run.id, f"{run.runbook} of {run.by or run.user or 'somebody'}", pools, ids, numbers
    for record in fleet.hosts:
        for entry in record.hands.actions.values():
            if not entry.state.over and entry.run not in seen and entry.action in TAKING | PASSING | BLINDING:
                rows = replicas_of(fleet, record.number, entry.subject)
                pools = {known.pool(fleet, row) for row in rows}
                by = f"{entry.action} of {entry.by or entry.user or 'somebody'}"
                yield entry.key, by, pools, {record.host_id}, {record.number}


def _touched(fleet: Fleet, record: HostRecord, run: str, subject: str) -> tuple[set[str], set[int]]:
    """(pools, host numbers) of a run, by its subject and by what its entries are about."""
    if subject.startswith(POOL):
        return {subject.removeprefix(POOL)}, {record.number}
    told = [(one.number, entry) for one in fleet.hosts for entry in one.hands.actions.values() if entry.run == run]
    rows = {row for number, entry in told for row in replicas_of(fleet, number, entry.subject)}
    for one in fleet.hosts:
        if run in one.hands.runs and subject != HOST:
            rows |= set(replicas_of(fleet, one.number, subject)) if _has(fleet, one, subject) else set()
    if subject == HOST:
        rows |= set(record.replica_rows)
    numbers = {int(fleet.replicas.host[row]) for row in rows} or {record.number}
    return {known.pool(fleet, row) for row in rows}, numbers


def _has(fleet: Fleet, record: HostRecord, subject: str) -> bool:
    return not subject.startswith("replica:") or fleet.replica_row(record.number, subject) in record.replica_rows


def _breaker(case: Case, actions: set[str]) -> Guard:
    fleet = case.fleet
    fresh = [record for record in fleet.hosts if _newly_critical(fleet, record)]
    most = max(STORM_LEAST, -(-len(fleet.hosts) * STORM_SHARE // 1))
    if len(fresh) >= most:
        says = f"{len(fresh)} of {len(fleet.hosts)} hosts turned critical within 10 min: find the cause first"
        return Guard("breaker", False, says)
    if not case.out.rows and not actions & BLINDING:
        return Guard("breaker", True, f"{len(fresh)} of {len(fleet.hosts)} hosts turned critical within 10 min")
    return _tenth(case)


def _tenth(case: Case) -> Guard:
    """Not more than a tenth of a pool's hosts are in any action at once."""
    fleet = case.fleet
    busy = {number for *_, numbers in under_way(fleet, case.run) for number in numbers}
    for pool in case.pools:
        members = {int(fleet.replicas.host[row]) for row in pool_rows(fleet, pool)}
        mine = {int(fleet.replicas.host[row]) for row in case.out.peak if known.pool(fleet, row) == pool}
        acting, most = len(mine | (busy & members)), max(1, int(len(members) * SHARE))
        if acting > most:
            says = f"{acting} of the {len(members)} hosts of {pool or 'its pool'} would be in an action, {most} may be"
            return Guard("breaker", False, says)
    return Guard("breaker", True, "no more hosts are in an action than may be at once")


def _newly_critical(fleet: Fleet, record: HostRecord) -> bool:
    if record.severity < Severity.CRITICAL:
        return False
    now = fleet.now.wall
    since = [record.here(one.since, now) for one in record.findings.values() if one.severity >= Severity.CRITICAL]
    since += [record.lost_at] if record.lost_at else []
    return bool(since) and min(since) >= now - STORM_S


def live_host(fleet: Fleet, host_id: str) -> HostRecord | None:
    """The host of an id, if it can be asked now."""
    number = host_number(fleet, host_id)
    return fleet.hosts[number] if number is not None and fleet.hosts[number].live else None
