"""Scenario -> incidents, as a cockpit hears them from a real agent's events: when each begins, grows and ends, and its
chain in the end. `UPDATE_GOLDENS=1` rewrites the goldens; the diff is the review."""

import os
from pathlib import Path

import pytest

from agent.sim import scenario
from agent.sim.rehearsal import Rehearsal, rehearse
from agent.wire.frames import EventFrame, Hello, Layout, Snapshot, Synced
from agent.wire.specs import gpu_subject
from cockpit.clock import Instant
from cockpit.fleet.link_state import LinkState, LinkStatus
from cockpit.fleet.state import Fleet
from cockpit.incidents import Book, Incident
from cockpit.incidents.words import offset, step_text
from cockpit.inventory import HostEntry, UnixTarget
from tests.fakes.hosts import FakeHost

GOLDENS = Path(__file__).parents[1] / "goldens" / "incidents"
NAMES = (
    "xid79-falls-off-bus",
    "uncorrectable-ecc",
    "thermal-runaway",
    "nvml-hang",
    "sxid-fatal",
    "xid-storm",
    "xid31-application",
    "gpu-lost-under-replica",
    "replica-stuck",
    "oom-kills-replica",
    "healthy-night",
)


def heard(rehearsal: Rehearsal) -> Fleet:
    """A cockpit that listens from the epoch on and has heard nothing yet."""
    machine = rehearsal.machine
    fleet = Fleet([HostEntry(machine.name, UnixTarget("/run/a"), {}, len(machine.gpus))])
    now = Instant(machine.epoch, 100.0)
    fleet.link_changed(0, LinkStatus(LinkState.LIVE), now)
    hello = FakeHost(machine.name).hello(machine.epoch, host_id=machine.host_id, boot_id=machine.boot_id, mono=100.0)
    assert isinstance(hello, Hello)
    facts = {gpu.uuid: {"index": gpu.index, "name": "GPU", "state": "present"} for gpu in machine.gpus}
    layout = Layout(1, {"gpu": tuple(facts), "host": (machine.host_id,)})
    for frame in (hello, layout, Snapshot({"gpus": facts}, ()), Synced(0)):
        fleet.apply(0, frame, now)
    return fleet


def timeline(rehearsal: Rehearsal) -> list[str]:
    """What an operator would have seen of it, and the chains as they stand at the end."""
    fleet, book, epoch = heard(rehearsal), Book(), rehearsal.machine.epoch
    lines: list[str] = []
    told: dict[str, tuple[object, ...]] = {}
    for event in rehearsal.events():
        if event.at < epoch:
            continue
        now = Instant(event.at, 100.0 + event.at - epoch)
        fleet.apply(0, EventFrame(event), now)
        for incident in book.look(fleet, now):
            seen = (incident.state, incident.severity, incident.root.id, len(incident.findings))
            if told.get(incident.id) != seen:
                what = "GROWS" if incident.id in told else "BEGINS"
                told[incident.id] = seen
                lines.append(f"{clock(event.at - epoch)} {what} {brief(incident)}")
    for incident in book.look(fleet, Instant(epoch, 100.0)):
        lines += ["", f"{incident.id} {incident.title}"]
        lines += [
            f"  {offset(step.first - incident.since):>10} {step.role.value:<6} {step_text(fleet, incident, step)}"
            for step in incident.chain
        ]
    names = {gpu_subject(gpu.uuid): f"GPU{gpu.index}" for gpu in rehearsal.machine.gpus}
    return [_named(line, names) for line in lines]


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"


def brief(incident: Incident) -> str:
    return (
        f"{incident.id} {incident.state.value} {incident.severity.word} root {incident.root.rule} "
        f"of {incident.root.subject}, {len(incident.findings)} findings"
    )


def _named(line: str, names: dict[str, str]) -> str:
    for subject, name in names.items():
        line = line.replace(subject, name)
    return line


@pytest.mark.parametrize("name", NAMES)
def test_a_scenario_becomes_these_incidents(name: str) -> None:
    story = scenario.load(name)
    host = story.faults[0].host if story.faults else 0
    seconds = min(story.lasts, 300.0)
    found = "".join(f"{line}\n" for line in timeline(rehearse(name, host, seconds, tick_s=story.step)))
    golden = GOLDENS / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDENS"):
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(found, "utf-8")
    assert found == golden.read_text("utf-8"), f"other incidents than {golden.name}; UPDATE_GOLDENS=1 rewrites it"


def incidents(name: str) -> list[Incident]:
    """All that an operator would have before them at the end of the scenario."""
    story = scenario.load(name)
    rehearsal = rehearse(name, story.faults[0].host, 150.0, tick_s=story.step)
    fleet, book, epoch = heard(rehearsal), Book(), rehearsal.machine.epoch
    for event in rehearsal.events():
        if event.at >= epoch:
            fleet.apply(0, EventFrame(event), Instant(event.at, 100.0 + event.at - epoch))
    return list(book.look(fleet, Instant(epoch + 150.0, 250.0)))


def test_a_gpu_lost_under_a_tensor_parallel_replica_is_one_incident_with_the_gpu_as_its_root() -> None:
    (only,) = incidents("gpu-lost-under-replica")
    assert only.root.rule == "gpu.lost"
    assert {"xid.fatal", "replica.down"} <= {finding.rule for finding in only.findings}


def test_an_engine_wedged_on_healthy_gpus_is_one_incident_that_blames_no_gpu() -> None:
    (only,) = incidents("replica-stuck")
    assert only.root.rule == "replica.stuck"
    assert only.root.subject == "replica:vllm:8000"
    assert not [finding for finding in only.findings if finding.subject.startswith("gpu:")]
