"""PURE. What an action can be about, from what is under the cursor: the thing itself, the replicas on it, its host.
Rule: a target is a host and a subject, never a row of a screen."""

from collections.abc import Iterable
from dataclasses import replace

from agent.wire.replicas import replica_subject
from agent.wire.signals import Severity
from agent.wire.specs import Finding
from cockpit.fleet import replicas
from cockpit.fleet.acting.names import POOL, target_name
from cockpit.fleet.problems import holders
from cockpit.fleet.state import Fleet
from cockpit.fleet.targets import About, of_gpu, of_host, of_replica
from cockpit.incidents import Incident
from cockpit.incidents.impact import impact
from cockpit.tui.format import plain

PROCESS = "process:"
_MOST = 8  # targets of one menu


def of_process(fleet: Fleet, host: int, pid: int, gpu: int | None) -> About:
    """A process that holds a GPU, with what is open about that GPU."""
    found = of_gpu(fleet, gpu).findings if gpu is not None else ()
    return About(host, f"{PROCESS}{pid}", found)


def title(fleet: Fleet, about: About) -> str:
    """How people call it: `gpu-a03 GPU 5`, `gpu-a03 vllm:8000`, `gpu-a03 process 4711`, `gpu-a03`."""
    return plain(target_name(fleet, about.host, about.subject))


def around(fleet: Fleet, about: About, incident: Incident | None = None) -> tuple[About, ...]:
    """The thing itself first, then the replicas that use it or that the incident hits, then its host; each once. What
    an incident is about keeps its id, so that it lands in its timeline."""
    found = [about]
    if incident is not None:
        rows = list(impact(fleet, incident).replicas or ())
        found += [of_replica(fleet, row) for row in rows]
        found += [
            of_gpu(fleet, row)
            for subject in incident.gpus
            if (row := fleet.gpu_row(incident.host, subject)) is not None
        ]
    gpu = fleet.gpu_row(about.host, about.subject)
    if gpu is not None:
        found += [of_replica(fleet, row) for row in replicas.on_gpu(fleet, gpu)]
    if about.subject.startswith(PROCESS):
        found += _served_by(fleet, about)
    found += _pools(fleet, found)
    found.append(of_host(fleet, about.host))
    return tuple(_first_of_each(_kept(one, about) for one in found))[:_MOST]


def _pools(fleet: Fleet, found: Iterable[About]) -> list[About]:
    """The pools of the replicas among them; a pool stands at the first host that serves it."""
    rows = [row for one in found if (row := fleet.replica_row(one.host, one.subject)) is not None]
    names = dict.fromkeys(name for row in rows if (name := replicas.pool(fleet, row)))
    return [of_pool(fleet, name) for name in names]


def of_pool(fleet: Fleet, pool: str) -> About:
    """A pool: it stands at the first host that serves it."""
    return About(min(_serving(fleet, pool), default=0), f"{POOL}{pool}")


def _serving(fleet: Fleet, pool: str) -> set[int]:
    """The hosts that serve a pool."""
    rows = range(fleet.replicas.n)
    return {
        int(fleet.replicas.host[row])
        for row in rows
        if fleet.replicas.counted[row] and replicas.pool(fleet, row) == pool
    }


def _kept(one: About, about: About) -> About:
    return replace(one, fault=about.fault) if about.fault and not one.fault else one


def _first_of_each(found: Iterable[About]) -> list[About]:
    seen: dict[tuple[int, str], About] = {}
    for one in found:
        seen.setdefault((one.host, one.subject), one)
    return list(seen.values())


def _served_by(fleet: Fleet, about: About) -> list[About]:
    """The replica that a process is part of."""
    pid = about.subject.removeprefix(PROCESS)
    for name, facts in fleet.hosts[about.host].replica_facts.items():
        if pid in map(str, facts.pids):
            row = fleet.replica_row(about.host, replica_subject(name))
            return [] if row is None else [of_replica(fleet, row)]
    return []


def given(fleet: Fleet, about: About) -> dict[str, str]:
    """Parameters that what is meant already says: the process itself, or the only one that holds the GPU."""
    if about.subject.startswith(PROCESS):
        return {"pid": about.subject.removeprefix(PROCESS)}
    gpu = fleet.gpu_row(about.host, about.subject)
    held = [] if gpu is None else holders(fleet, gpu)
    return {"pid": str(held[0].pid)} if len(held) == 1 else {}


def fault(about: About) -> Finding | None:
    """The open finding that an action on it would answer: the worst; what is only good to know asks for nothing."""
    loud = [finding for finding in about.findings if finding.severity > Severity.INFO]
    return max(loud, key=lambda finding: (finding.severity, -finding.since), default=None)


def fault_of(about: About) -> str:
    """What it answers, in words; empty where it answers nothing."""
    found = fault(about)
    return plain(found.text) if found is not None else ""
