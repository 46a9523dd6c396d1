"""Announcing: only what may be read by every guest, only where it makes sense, and never at the agent's cost."""

import asyncio
import sys

import pytest

from agent.config import Discovery, parse
from agent.errors import ConfigError
from agent.server.announce import NAME_BYTES, Announcer, here, label, properties
from agent.sources.base import Reason
from agent.wire.announcement import Interface, choose
from tests.fakes.clock import FakeClock

UP = frozenset(("up", "broadcast", "running", "multicast"))
ETH = Interface("eth0", ("10.77.0.5",), UP)


class Told:
    """What the announcer tells the agent."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Reason | None]] = []

    def __call__(self, what: str, reason: Reason | None) -> None:
        self.heard.append((what, reason))


def test_nothing_but_version_and_protocol_is_said() -> None:
    assert set(properties()) == {"v", "proto"}


def test_the_ways_that_lead_outside_are_chosen() -> None:
    inner = [
        Interface("lo", ("127.0.0.1",), UP | {"loopback"}),
        Interface("docker0", ("172.17.0.1",), UP),
        Interface("veth12ab", ("169.254.1.1",), UP),
        Interface("tun0", ("10.8.0.2",), UP | {"pointopoint"}),
        Interface("eth1", ("10.77.1.5",), UP - {"running"}),
        Interface("eth2", ("10.77.2.5",), UP - {"multicast"}),
    ]
    assert choose([*inner, ETH], ()) == ("10.77.0.5",)


def test_the_loopback_of_this_machine_is_found_and_not_chosen() -> None:
    found = {interface.name: interface for interface in here()}
    assert "127.0.0.1" in found["lo"].addresses
    assert found["lo"].flags >= {"up", "loopback"}
    assert choose([found["lo"]], ()) == ()


@pytest.mark.parametrize("wanted", [("docker0",), ("172.17.0.1",)])
def test_what_is_named_is_taken_whatever_it_is(wanted: tuple[str, ...]) -> None:
    assert choose([Interface("docker0", ("172.17.0.1",), UP), ETH], wanted) == ("172.17.0.1",)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("gpu-a01.example.org", "gpu-a01"),
        ("GPU_07", "GPU-07"),
        ("\x1b[2J", "2J"),
        ("", "gpu-host"),
        ("é" * 80, "gpu-host"),
    ],
)
def test_a_hosts_name_becomes_one_label(host: str, name: str) -> None:
    assert label(host) == name
    assert len(label("x" * 200)) == NAME_BYTES


def test_it_is_off_unless_the_configuration_says_otherwise() -> None:
    assert not parse(b"", "f").discovery.announce
    found = parse(b'[discovery]\nannounce = true\ninterfaces = ["eth0"]\nport = 2222\n', "f").discovery
    assert found == Discovery(True, ("eth0",), 2222)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("discovery = true", "must be a table of announce, interfaces, port"),
        ("[discovery]\nanounce = true", "must be a table of announce, interfaces, port"),
        ("[discovery]\nannounce = 1", "must be a table whose announce is true or false"),
        ("[discovery]\nport = 0", "must be a table whose port is a whole number from 1 to 65535"),
        ('[discovery]\ninterfaces = "eth0"', "must be a table whose interfaces is a list of at most 32 texts"),
    ],
)
def test_a_wrong_table_is_refused_by_name(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse(text.encode(), "f")


async def test_without_the_package_there_is_one_reason_and_no_more_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zeroconf.asyncio", None)
    told = Told()
    async with asyncio.timeout(5):
        await Announcer(Discovery(True), "gpu-a01", FakeClock(), told).run()
    ((what, reason),) = told.heard
    assert what == "discovery"
    assert reason is not None
    assert (reason.code, "pip install 'gpu-cockpit[discovery]'" in reason.hint) == ("zeroconf_missing", True)


async def test_what_fails_is_a_reason_and_is_tried_again_a_minute_later(monkeypatch: pytest.MonkeyPatch) -> None:
    told, clock = Told(), FakeClock()
    announcer = Announcer(Discovery(True, ("nope0",)), "gpu-a01", clock, told)
    monkeypatch.setattr(announcer, "_interfaces", lambda: (ETH,))
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        task = group.create_task(announcer.run())
        while not told.heard:
            await asyncio.sleep(0.005)
        while len(told.heard) < 2:
            await clock.advance(61)
            await asyncio.sleep(0.005)
        task.cancel()
    for _, reason in told.heard:
        assert reason is not None
        assert "nope0 of discovery.interfaces is not there" in reason.says
