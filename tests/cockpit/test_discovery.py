"""Hints are stripped, cut, capped and never more than hints; what is pasted into a fleet file can be read there."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from agent.wire.announcement import TYPE, Interface, choose
from cockpit.cli.discover import fleet_lines
from cockpit.clock import SystemClock
from cockpit.config import load as load_config
from cockpit.errors import CockpitError, ConfigError
from cockpit.inventory import load
from cockpit.link.discovery import NAMES, Discovery, Hint, here, plain, spoken

UP = frozenset(("up", "broadcast", "running", "multicast"))
ETH = Interface("eth0", ("10.77.0.5",), UP)
ADDED, REMOVED = SimpleNamespace(name="Added"), SimpleNamespace(name="Removed")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (f"gpu-a01.{TYPE}", "gpu-a01"),
        (f"\x1b[2J.{TYPE}", "--2J"),
        (f'a "b]/../c.{TYPE}', "a--b--..-c"),
        (f".{TYPE}", "-"),
        ("x" * 500, "x" * 64),
    ],
)
def test_a_name_is_one_that_a_fleet_file_takes(said: str, shown: str, tmp_path: Path) -> None:
    assert spoken(said) == shown
    file = tmp_path / "fleet.toml"
    file.write_text(fleet_lines(Hint(spoken(said), ("10.77.0.9",), 22)))
    assert [entry.name for entry in load(file).hosts] == [shown]


@pytest.mark.parametrize(
    ("said", "shown"),
    [(None, ""), (b"0.1.0", "0.1.0"), (b"\x1b[31m1\n2", "[31m12"), (b"\xff\xfe9", "9"), (b"A" * 500, "A" * 64)],
)
def test_a_text_is_printable_and_short(said: bytes | None, shown: str) -> None:
    assert plain(said) == shown


@pytest.mark.parametrize(
    ("hint", "address"),
    [
        (Hint("a", ("10.0.0.1",), 22), "10.0.0.1"),
        (Hint("a", ("10.0.0.1",), 2222), "10.0.0.1:2222"),
        (Hint("a", ("fe80::1", "10.0.0.1"), 2222), "[fe80::1]:2222"),
    ],
)
def test_the_lines_can_be_pasted(hint: Hint, address: str, tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text(fleet_lines(hint))
    (entry,) = load(file).hosts
    assert entry.name == "a"
    assert f'address = "{address}"' in file.read_text()


def test_without_an_address_there_is_no_line() -> None:
    assert fleet_lines(Hint("a")) == ""


def test_a_flood_is_capped_and_counted_and_who_leaves_is_forgotten() -> None:
    discovery = Discovery(SystemClock())
    for number in range(NAMES + 7):
        discovery._changed(None, TYPE, f"f{number}.{TYPE}", ADDED)
        discovery._changed(None, TYPE, f"f0.{TYPE}", ADDED)
    assert (discovery.count, discovery._heard.left_out) == (NAMES, 7)
    discovery._changed(None, TYPE, f"f0.{TYPE}", REMOVED)
    assert discovery.count == NAMES - 1


def test_names_that_go_and_come_again_fill_no_queue() -> None:
    discovery = Discovery(SystemClock())
    for _ in range(2):
        for number in range(NAMES):
            discovery._changed(None, TYPE, f"f{number}.{TYPE}", ADDED)
        for number in range(NAMES):
            discovery._changed(None, TYPE, f"f{number}.{TYPE}", REMOVED)
    assert discovery.count == 0
    assert discovery._heard.left_out == NAMES


def test_the_loopback_of_this_machine_is_found_and_not_listened_on() -> None:
    found = {interface.name: interface for interface in here()}
    assert "127.0.0.1" in found["lo"].addresses
    assert choose([found["lo"]], ()) == ()


async def test_nothing_to_listen_on_is_one_sentence() -> None:
    down = Interface("eth0", ("10.77.0.5",), frozenset())
    with pytest.raises(CockpitError, match="no interface that leads outside has an IPv4 address; name one with"):
        await Discovery(SystemClock(), (), lambda: [down]).look(0.1)


def test_interfaces_can_be_set_once_and_for_all(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('interfaces = ["eth1"]\n')
    assert load_config(file).interfaces == ("eth1",)
    for wrong in ('interfaces = "eth1"', "interfaces = [1]"):
        file.write_text(wrong)
        with pytest.raises(ConfigError, match="interfaces must be a list"):
            load_config(file)
