"""Faults through the real pipeline on a hand-turned clock: what is found, what stays silent, what heals."""

import pytest

from agent.sim import faults
from agent.sim.machine import Machine
from agent.sim.rehearsal import EPOCH, Rehearsal, rehearse, timeline
from agent.wire.specs import Cadence, FindingState, Severity

HOUR = 3600.0


def test_nothing_is_found_in_eight_healthy_hours_at_sixty_times_the_speed() -> None:
    assert timeline(rehearse("healthy-night", 3, 8 * HOUR, tick_s=60.0, epoch=EPOCH + 11 * HOUR)) == []


@pytest.mark.parametrize("name", ["xid79-falls-off-bus", "uncorrectable-ecc", "thermal-runaway", "nvml-hang"])
def test_the_other_hosts_of_a_faulty_scenario_stay_silent(name: str) -> None:
    assert timeline(rehearse(name, 0, 300)) == []


def play(machine: Machine, *story: tuple[float, str, dict[str, str]], seconds: float) -> Rehearsal:
    rehearsal = Rehearsal(machine)
    for at, name, given in story:
        spec = faults.find(name)
        spec.plan(machine, faults.check(spec, given, len(machine.gpus)), EPOCH + at)
    rehearsal.run(seconds)
    return rehearsal


def rules(rehearsal: Rehearsal, state: FindingState = FindingState.OPEN) -> dict[str, set[str]]:
    """Open findings: rule -> subjects."""
    names = {f"gpu:{gpu.uuid}": f"GPU{gpu.index}" for gpu in rehearsal.machine.gpus}
    found: dict[str, set[str]] = {}
    for event in rehearsal.events():
        if event.kind == "finding":
            rule, subject = event.data["finding"]["rule"], names.get(event.subject, "host")
            subject = event.subject if event.subject.startswith("replica:") else subject
            if event.data["finding"].get("state", "open") == state:
                found.setdefault(rule, set()).add(subject)
            else:
                found.get(rule, set()).discard(subject)
    return {rule: subjects for rule, subjects in found.items() if subjects}


def of_gpus(rehearsal: Rehearsal) -> dict[str, set[str]]:
    """Those that are about the host and its GPUs, not about what runs on them."""
    return {rule: subjects for rule, subjects in rules(rehearsal).items() if not rule.startswith("replica.")}


# In every test below the loop of the test never turns while the host is stepped: no `await` in between.


async def test_only_the_gpu_that_fell_off_is_found_and_it_is_critical() -> None:
    rehearsal = play(Machine(1, 0, 8, EPOCH), (40, "xid79", {"gpu": "3"}), seconds=120)
    found = rules(rehearsal)
    assert "gpu.lost" in found
    assert set().union(*found.values()) - {"replica:vllm:8000"} == {"GPU3"}
    worst = max(event.severity for event in rehearsal.events() if event.kind == "finding")
    assert worst is Severity.CRITICAL


async def test_an_application_fault_never_marks_the_gpu_critical() -> None:
    rehearsal = play(Machine(1, 0, 8, EPOCH), (40, "app-xid", {"gpu": "3", "code": "13"}), seconds=300)
    assert of_gpus(rehearsal) == {"xid.app": {"GPU3"}}
    assert all(event.severity <= Severity.WARNING for event in rehearsal.events() if event.subject.startswith("gpu:"))


@pytest.mark.parametrize(
    ("fault", "given"),
    [("xid79", {"gpu": "3"}), ("ecc-uncorrectable", {"gpu": "3"}), ("nvml-hang", {"gpu": "3"}), ("power-brake", {})],
)
async def test_what_was_injected_heals_after_clear(fault: str, given: dict[str, str]) -> None:
    story = ((40.0, fault, given), (400.0, "clear", {}))
    rehearsal = play(Machine(1, 0, 8, EPOCH), *story, seconds=1500)
    assert any(event.kind == "finding" for event in rehearsal.events())
    assert rules(rehearsal) == {}


async def test_a_storm_of_lines_stays_a_handful_of_events() -> None:
    storm = (40.0, "xid", {"gpu": "3", "code": "119", "count": "10000"})
    rehearsal = play(Machine(1, 0, 8, EPOCH), storm, seconds=180)
    xids = [event for event in rehearsal.events() if event.kind == "xid"]
    assert 1 <= len(xids) <= 120
    assert any("more times" in event.text for event in xids)
    assert of_gpus(rehearsal) == {"xid.gsp": {"GPU3"}, "xid.storm": {"host"}}


async def test_the_boot_messages_of_a_month_ago_are_no_news() -> None:
    rehearsal = play(Machine(1, 0, 8, EPOCH), seconds=30)
    assert [event for event in rehearsal.events() if event.at >= EPOCH] == []


async def test_the_source_speaks_every_signal_of_the_real_one() -> None:
    from agent.sources.nvml.signals import SIGNALS

    rehearsal = Rehearsal(Machine(1, 0, 2, EPOCH))
    reading = rehearsal._nvml.read_now(frozenset(Cadence))
    spoken = {name for batch in reading.batches for name in batch.columns}
    assert spoken == {spec.name for spec in SIGNALS}
    unsupported = {name for batch in reading.batches for name, _ in batch.exceptions}
    for batch in reading.batches:
        for name, values in batch.columns.items():
            assert all((value is None) == (name in unsupported) for value in values), name
