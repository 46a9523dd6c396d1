"""What a human is told: faults that GPUs share, proof in words, hosts without GPUs, settings that cannot be meant."""

from pathlib import Path

import pytest
from textual.command import CommandPalette

from agent.wire.specs import Finding, Severity, gpu_subject
from cockpit.cli import screens
from cockpit.cli.arguments import Arguments
from cockpit.config import Config
from cockpit.errors import ConfigError
from cockpit.fleet.problems import problems
from cockpit.fleet.records import FleetFinding
from cockpit.inventory import HostEntry, Inventory, UnixTarget
from cockpit.tui import evidence, story
from cockpit.tui.lines import text_of
from tests.tui.screen import press, running, screen_text
from tests.tui.stage import Stage


def shared_fault(hot: int = 5) -> Stage:
    """So many GPUs of one host are too hot."""
    stage = Stage(hosts=2)
    stage.live(seconds=3)
    host = stage.hosts[0]
    for row in range(hot):
        found = Finding(
            id=f"hot{row}",
            rule="gpu.too_hot",
            severity=Severity.WARNING,
            subject=gpu_subject(host.uuids[row]),
            text=f"GPU {row} is too hot",
            since=stage.clock.wall(),
            updated=stage.clock.wall(),
            evidence=({"what": "gpu.energy", "value": 1.9e12, "unit": "joule"}, {"what": "kernel log", "line": "hot"}),
        )
        stage.finding(host, found)
    return stage


async def test_a_fault_that_gpus_share_tells_its_story() -> None:
    stage = shared_fault()
    (problem,) = problems(stage.fleet, stage.clock.now())
    assert problem.gpu_row is None
    facts = dict(story.facts_of(stage.fleet, problem, stage.clock.wall()))
    assert facts["GPUs"] == "GPU 0, GPU 1, GPU 2, GPU 3, GPU 4"
    assert "and 4 more" in facts["running"]
    assert facts["now"].startswith("GPU 0: ")
    assert facts["neighbours"] == "3 of the 3 others are fine"
    assert facts["identity"] == "NVIDIA H100 80GB HBM3"
    async with running(stage.feed, (120, 40)) as (app, _):
        assert "GPU 0, GPU 1, GPU 2, GPU 3, GPU 4" in screen_text(app)


def test_gpus_that_are_gone_together_tell_what_ran_there() -> None:
    stage = Stage(hosts=1)
    stage.live(seconds=3)
    for row in range(8):
        stage.drop(stage.hosts[0], row)
    (problem,) = [found for found in problems(stage.fleet, stage.clock.now()) if found.count == 7]
    facts = dict(story.facts_of(stage.fleet, problem, stage.clock.wall()))
    assert "was running" in facts
    assert facts["neighbours"] == "0 of the 1 others are fine"


def test_a_signal_that_proves_something_is_said_in_words() -> None:
    stage = shared_fault(1)
    (found,) = stage.fleet.hosts[0].findings.values()
    lines = evidence.finding_lines(stage.fleet, FleetFinding(0, found), stage.clock.wall(), 120)
    told = [text_of(line) for line in lines if "gpu.energy" in text_of(line)]
    spec = stage.fleet.gpus.specs[stage.fleet.gpus.fields["gpu.energy"]]
    assert len(told) == 1
    assert f"{spec.help} (gpu.energy)" in told[0]
    assert any("kernel log" in text_of(line) for line in lines)


async def test_nobody_waits_for_gpus_where_there_are_none() -> None:
    stage = Stage(hosts=1, gpus=0)
    stage.fleet.hosts[0].expected_by_file = 0
    async with running(stage.feed, (120, 40)) as (app, pilot):
        await press(pilot, "3")
        assert "no GPUs yet" in screen_text(app)
        stage.live(seconds=3)
        await press(pilot, "2", "enter")
        assert "this host has no GPUs" in screen_text(app)
        await press(pilot, "3")
        assert "no host of this fleet has a GPU" in screen_text(app)


async def test_the_palette_shows_no_picture_that_terminals_measure_differently() -> None:
    stage = Stage(hosts=1)
    stage.live(seconds=2)
    async with running(stage.feed, (80, 24)) as (app, pilot):
        await press(pilot, "colon")
        assert isinstance(app.screen, CommandPalette)
        assert all(ord(char) < 0x1F000 for char in screen_text(app))


def test_a_keymap_that_cannot_be_meant_names_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("cockpit.tui.check_terminal", lambda: None)
    monkeypatch.setattr("gc.disable", lambda: None)
    config = Config(keymap={"problem.nxt": "m"}, path=str(tmp_path / "config.toml"))
    monkeypatch.setattr(screens, "config_of", lambda arguments: config)
    inventory = Inventory((HostEntry("n01", UnixTarget("/run/none.sock")),))
    with pytest.raises(ConfigError, match=r"config\.toml: \[keymap\] 'problem\.nxt' is no binding; did you mean"):
        screens.show_inventory(Arguments(command="open"), inventory, title="")
