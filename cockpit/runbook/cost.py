"""PURE. What a plan costs the users: which replicas are out at which moment, and what is left of their pools.

Rule: counted by going through the steps. Whatever is not ready now cannot be lost; what nobody told is None.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agent.wire.specs import Quality
from cockpit.fleet import replicas as known
from cockpit.fleet.state import Fleet
from cockpit.runbook.records import Blast, Step, StepKind
from cockpit.runbook.scene import floor_of, host_number, pool_rows, pools_kept, ready_rows, replicas_of

# By action, whether it takes its replica out of service, gives it back, or both in one step.
TAKING = frozenset({
    "haproxy.drain", "haproxy.maint", "systemd.stop", "container.stop", "engine.pause", "engine.drain", "process.stop",
})  # fmt: skip
GIVING = frozenset({"haproxy.ready", "systemd.start", "container.start", "engine.resume"})
PASSING = frozenset({"systemd.restart", "container.restart"})
BLINDING = frozenset({"gpu.let_go"})
EASING = GIVING | {"gpu.resume", "gpu.holders", "diagnostics.collect", "systemd.reload"}


@dataclass(slots=True)
class Outage:
    """`rows` are all replicas that are ever out, `peak` those that are out at once, at worst; `left` those that are
    out when the plan is done."""

    rows: frozenset[int] = frozenset()
    peak: frozenset[int] = frozenset()
    left: frozenset[int] = frozenset()
    moments: list[frozenset[int]] = field(default_factory=list)


def outage(fleet: Fleet, steps: Sequence[Step]) -> Outage:
    """Who is out when."""
    found, out = Outage(), set[int]()
    for stage in stages(steps):
        passing: set[int] = set()
        for step in stage:
            rows = _rows(fleet, step)
            if step.action in TAKING:
                out |= rows
            elif step.action in PASSING:
                passing |= rows
            elif step.action in GIVING:
                out -= rows
        moment = frozenset(out | passing)
        found.moments.append(moment)
        found.rows |= moment
        found.peak = moment if len(moment) > len(found.peak) else found.peak
    found.left = frozenset(out)
    return found


def stages(steps: Sequence[Step]) -> list[list[Step]]:
    """Steps that go side by side, stage by stage."""
    found: list[list[Step]] = []
    for step in steps:
        if found and step.group and found[-1][0].group == step.group:
            found[-1].append(step)
        else:
            found.append([step])
    return found


def _rows(fleet: Fleet, step: Step) -> set[int]:
    if step.kind is not StepKind.ACTION or step.action not in TAKING | GIVING | PASSING:
        return set()
    host = host_number(fleet, step.target.host_id)
    return set() if host is None else set(replicas_of(fleet, host, step.target.subject))


def blast(fleet: Fleet, out: Outage, asked: Mapping[str, Mapping[str, str]]) -> Blast:
    """What it costs. `asked`: by server, what its balancer said just now."""
    pools = tuple(dict.fromkeys(known.pool(fleet, row) for row in sorted(out.rows)))
    if not out.rows:
        return Blast(pools=())
    counts = {pool: _pool(fleet, out, pool) for pool in pools}
    pools = tuple(sorted(pools, key=lambda pool: (not pool, counts[pool][2])))
    before, after, _, floor, expected = counts[pools[0]]
    return Blast(
        tuple(known.name(fleet, row) for row in sorted(out.rows)), tuple(pool for pool in pools if pool),
        in_flight(fleet, out.rows, asked), before, after, expected, floor,
        after - 1 >= max(floor or 0, 1), _tokens(fleet, out.rows),
    )  # fmt: skip


def floor_for(fleet: Fleet, pool: str) -> int | None:
    """How many of a pool must stay ready: the fleet file's word, or the keepers' where that is higher."""
    kept = [
        one.floor
        for row in pool_rows(fleet, pool)
        for one in pools_kept(fleet, int(fleet.replicas.host[row]))
        if one.name == pool
    ]
    return max([floor_of(fleet, pool), *kept]) or None


def _pool(fleet: Fleet, out: Outage, pool: str) -> tuple[int, int, int, int | None, int]:
    """(ready now, ready at the worst moment, what is left above the floor, floor, expected)."""
    ready = set(ready_rows(fleet, pool))
    after = min((len(ready - moment) for moment in out.moments), default=len(ready))
    floor, entry = floor_for(fleet, pool), fleet.pool_entries.get(pool)
    members = len(pool_rows(fleet, pool))
    expected = members if entry is None or entry.expected is None else entry.expected
    return len(ready), after, after - (floor or 0), floor, expected


def in_flight(fleet: Fleet, rows: frozenset[int], asked: Mapping[str, Mapping[str, str]]) -> int | None:
    """Requests that would meet it: as the balancers said just now, else as the engines say."""
    said = [item["in_flight"] for item in asked.values() if item.get("in_flight", "").isdecimal()]
    if said:
        return sum(map(int, said))
    running = _known(fleet, rows, "replica.running")
    return int(sum(running)) if len(running) == len(rows) else None


def _tokens(fleet: Fleet, rows: frozenset[int]) -> float | None:
    rates = _known(fleet, rows, "replica.tokens.rate")
    return sum(rates) if rates else None


def _known(fleet: Fleet, rows: frozenset[int], signal: str) -> list[float]:
    """The values that are as of now; what a dead engine did last is no cost."""
    if signal not in fleet.replicas.fields:
        return []
    cells = (fleet.replicas.cell(signal, row) for row in sorted(rows))
    return [cell.value for cell in cells if cell.quality is Quality.OK and cell.value is not None]
