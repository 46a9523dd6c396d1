"""A recording holds what links delivered and plays it again: the same fleet, the same words, up to wherever it ends."""

import asyncio
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.wire.requests import Journal
from agent.wire.specs import FindingState, Severity
from cockpit.cli.incident_items import incident
from cockpit.cli.items import event, finding, gpu, host
from cockpit.cli.main import run
from cockpit.cli.replica_items import pool, replica
from cockpit.clock import Clock, Instant
from cockpit.errors import RecordingError, RequestError
from cockpit.fleet.link_state import LinkState, Offset
from cockpit.fleet.pools import pools
from cockpit.fleet.state import Fleet
from cockpit.incidents import Book
from cockpit.incidents.status import status
from cockpit.inventory import HostEntry, Inventory, PoolEntry, UnixTarget
from cockpit.link.recording import Player, Tape, form, taped
from cockpit.runtime import Runtime
from tests.fakes.hosts import EPOCH, FakeHost
from tests.fakes.link import FakeLink, FakeLinks
from tests.fakes.serving import ServingHost

HOSTS = 4


class StoryClock:
    """Data time as the story tells it; sleepers wake when `at` passes their time."""

    speed = 1.0

    def __init__(self) -> None:
        self.seconds = 0.0
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def wall(self) -> float:
        return EPOCH + self.seconds

    def monotonic(self) -> float:
        return 100.0 + self.seconds

    def real(self) -> float:
        return self.monotonic()

    def now(self) -> Instant:
        return Instant(self.wall(), self.monotonic())

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        self._sleepers.append((self.seconds + seconds, woken))
        await woken.wait()

    async def until(self, seconds: float) -> None:
        while due := [item for item in self._sleepers if item[0] <= seconds]:
            first = min(due, key=lambda item: item[0])
            self._sleepers.remove(first)
            self.seconds = first[0]
            first[1].set()
            await settle()
        self.seconds = seconds


async def settle() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


def everything(fleet: Fleet, now: Instant) -> dict[str, Any]:
    """All that lists and status say of a fleet."""
    return {
        "status": status(fleet, Book(), now)[0],
        "incidents": [incident(fleet, found, now) for found in Book().look(fleet, now)],
        "hosts": [host(fleet, record, now) for record in fleet.hosts],
        "gpus": [gpu(fleet, row, now) for row in range(fleet.gpus.n)],
        "replicas": [replica(fleet, row, now) for row in range(fleet.replicas.n)],
        "pools": [pool(fleet, found, now) for found in pools(fleet)],
        "findings": [finding(fleet, entry, now) for entry in fleet.findings()],
        "events": [event(fleet, entry, now) for entry in fleet.events],
    }


async def story(clock: StoryClock, links: Sequence[FakeLink], hosts: Sequence[FakeHost]) -> None:
    """Four hosts: one loses a GPU, one heals, one is lost and comes back on another clock, one never answers."""
    for link, fake in list(zip(links, hosts, strict=True))[:3]:
        link.live(fake.opening(EPOCH + clock.seconds))
    links[3].changed(LinkState.DENIED, "gpu-3: your key is not accepted")
    links[0].sink.measured(0, Offset(0.2, 0.001, 100.0 - hosts[0].mono0))
    await clock.until(1.5)
    lost = hosts[0].finding(5, "gpu.lost", text="GPU 5 has fallen off the bus", since=EPOCH + 1, updated=EPOCH + 1)
    links[0].live([hosts[0].event(EPOCH + 1, "xid", lost.subject, xid=79), hosts[0].transition(lost)])
    hot = hosts[1].finding(1, "thermal.hw", severity=Severity.WARNING, updated=EPOCH + 1)
    links[1].live([hosts[1].transition(hot), hosts[1].sample(EPOCH + 1.4, gpu_temperature=[93.0] * 8)])
    await clock.until(3.25)
    cleared = hosts[1].finding(1, "thermal.hw", state=FindingState.CLEARED, updated=EPOCH + 3)
    links[1].live([hosts[1].transition(cleared)])
    links[2].changed(LinkState.UNREACHABLE, "gpu-2: no answer")
    await clock.until(6.0)
    links[2].live(hosts[2].opening(EPOCH + 6))
    links[0].live([hosts[0].sample(EPOCH + 6)])
    await clock.until(9.75)


async def recorded(path: Path) -> dict[str, Any]:
    """Tell the story to a runtime whose links are taped; what it knows at the end."""
    clock, links = StoryClock(), FakeLinks(None, None, None, None)
    hosts: list[FakeHost] = [ServingHost("gpu-0"), *(FakeHost(f"gpu-{number}") for number in range(1, HOSTS))]
    promised = {"chat-70b": PoolEntry(2, 1)}
    entries = tuple(HostEntry(fake.name, UnixTarget("/x"), {"pool": "prod"}, 8) for fake in hosts)
    with Tape(path) as tape:
        runtime = Runtime(Inventory(entries, pools=promised), clock, taped(links, tape))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(runtime.run())
            await settle()
            await story(clock, links.made, hosts)
            await settle()
            runtime.fleet.age(clock.now())
            known = everything(runtime.fleet, clock.now())
            task.cancel()
    assert tape.failed is None
    return known


async def played(player: Player) -> dict[str, Any]:
    runtime = Runtime(player.inventory, player.clock, player.links)
    async with asyncio.TaskGroup() as group, asyncio.timeout(10.0):
        task = group.create_task(runtime.run())
        await player.over.wait()
        runtime.fleet.age(player.clock.now())
        known = everything(runtime.fleet, player.clock.now())
        task.cancel()
    return known


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "night.gpr"


async def test_what_is_played_is_what_was_recorded_to_the_last_word(path: Path) -> None:
    live = await recorded(path)
    player = Player(path)
    assert await played(player) == live
    assert player.cut is None
    assert [item["state"] for item in live["findings"]] == ["open"]
    assert [(item["id"], item["ready"], item["expected"], item["floor"]) for item in live["pools"]] == [
        ("chat-70b", 1, 2, 1), ("embed", 4, 4, None),
    ]  # fmt: skip
    assert live["status"]["hosts"] | {"total": 4, "live": 3, "denied": 1} == live["status"]["hosts"]


async def test_the_recording_says_whose_hosts_they_were(path: Path) -> None:
    await recorded(path)
    found = Player(path).inventory.hosts
    assert [(entry.name, str(entry.target), dict(entry.labels), entry.gpus_expected) for entry in found] == [
        (f"gpu-{number}", "unix:///x", {"pool": "prod"}, 8) for number in range(4)
    ]


async def test_a_schema_that_hosts_share_is_in_the_file_once(path: Path) -> None:
    await recorded(path)
    assert path.read_bytes().count(b"gpu.pcie.replay") == 2, "that of the host that serves, and that of all others"


async def test_a_file_that_was_cut_plays_up_to_the_cut(path: Path, tmp_path: Path) -> None:
    await recorded(path)
    whole = path.read_bytes()
    cut = tmp_path / "cut.gpr"
    cut.write_bytes(whole[:-30])
    player = Player(cut)
    known = await played(player)
    assert player.cut is not None
    assert player.cut.exit_code == 3
    assert str(player.cut) == f"{cut} was cut short: what it holds until there is shown"
    assert [item["rule"] for item in known["findings"]] == ["gpu.lost"]


async def test_wherever_a_file_is_cut_what_stands_before_is_good(path: Path, tmp_path: Path) -> None:
    await recorded(path)
    whole = path.read_bytes()
    head = len(form.PREAMBLE) + 4 + int.from_bytes(whole[9:13], "big")
    cut = tmp_path / "cut.gpr"
    for length in range(head, len(whole), 97):
        cut.write_bytes(whole[:length])
        player = Player(cut)
        known = await played(player)
        assert player.cut is not None
        assert len(known["hosts"]) == HOSTS


async def test_a_file_that_is_broken_in_its_middle_plays_up_to_there(path: Path, tmp_path: Path) -> None:
    await recorded(path)
    whole = bytearray(path.read_bytes())
    end = len(form.pack(form.END, 0.0, 0.0))
    whole[-end : 4 - end] = b"\xff\xff\xff\xff"
    broken = tmp_path / "broken.gpr"
    broken.write_bytes(bytes(whole))
    player = Player(broken)
    known = await played(player)
    assert "is broken: a record of 4294967295 bytes" in str(player.cut)
    assert [item["rule"] for item in known["findings"]] == ["gpu.lost"]


@pytest.mark.parametrize(
    ("data", "sentence", "status"),
    [
        (b"hello, world\n", "is no recording of gpu-cockpit", 2),
        (b"", "ends before it has begun", 3),
        (form.MAGIC[:5], "ends before it has begun", 3),
        (form.MAGIC + bytes((9,)), "by a newer gpu-cockpit (format 9, this one reads 1)", 2),
        (form.PREAMBLE + b"\x7f\xff\xff\xff", "is broken: a record of 2147483647 bytes", 3),
        (form.PREAMBLE + form.pack(0, 0, {"hosts": []}), "a head without hosts", 3),
        (form.PREAMBLE + form.pack(1, 0, 0.0, 0.0, b""), "no head", 3),
        (form.PREAMBLE + form.pack(0, 0, {"hosts": [{}], "speed": -1}), "a speed of -1", 3),
    ],
)
def test_what_is_no_recording_is_refused_in_one_sentence(path: Path, data: bytes, sentence: str, status: int) -> None:
    path.write_bytes(data)
    with pytest.raises(RecordingError) as caught:
        Player(path)
    assert sentence in str(caught.value)
    assert caught.value.exit_code == status


@pytest.mark.parametrize(
    "record",
    [
        form.pack(1, 7, 0.0, 0.0, b""),
        form.pack(1, 0, "now", 0.0, b""),
        form.pack(1, 0, 0.0),
        form.pack(1, 0, 0.0, 0.0, "no bytes"),
        form.pack(2, 0, 0.0, 0.0, {"state": "elsewhere"}),
        form.pack(3, 0, 0.0, 0.0, ["fast"]),
        form.pack(2, 0, 5.0, math.inf, {"state": "live"}),
        form.pack(2, 0, math.nan, 5.0, {"state": "live"}),
        form.pack(2, 0, 5.0, 1e12, {"state": "live"}),
        form.pack(4, 5.0, 1e12),
        form.pack("frame"),
        b"\x00\x00\x00\x01\xc1",
    ],
)
async def test_a_record_that_makes_no_sense_ends_the_recording_there(path: Path, record: bytes) -> None:
    one = {"name": "a", "target": "unix:///x"}
    good = form.pack(2, 0, 5.0, 5.0, {"state": "denied", "says": "no\x1b[2J"})
    path.write_bytes(form.pack_head(form.Head("0", 1.0, "", (one,))) + good + record)
    player = Player(path)
    known = await played(player)
    assert player.cut is not None
    assert known["hosts"][0]["link"] == "denied"
    assert "\x1b" not in known["hosts"][0]["link_says"]


async def test_kinds_and_keys_of_a_newer_minor_are_passed_over(path: Path) -> None:
    live = await recorded(path)
    whole = path.read_bytes()
    end = len(form.pack(form.END, 0.0, 0.0))
    path.write_bytes(whole[:-end] + form.pack(77, "later") + whole[-end:])
    player = Player(path)
    assert await played(player) == live
    assert player.cut is None


def test_a_recording_that_never_began_leaves_no_file(path: Path) -> None:
    with pytest.raises(KeyError), Tape(path):
        raise KeyError
    assert not path.exists()


def test_a_recording_replaces_nothing(path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(RecordingError, match="exists already; recordings replace nothing"), Tape(path):
        pass
    assert path.read_text() == "mine"


async def test_a_disk_that_takes_no_more_ends_the_recording_and_no_link(path: Path) -> None:
    clock, links = StoryClock(), FakeLinks(None)
    with Tape(path) as tape:
        assert tape._file is not None
        tape._file.close()
        tape._file = open("/dev/full", "wb")  # noqa: SIM115 - the tape closes it
        runtime = Runtime(Inventory((HostEntry("gpu-0", UnixTarget("/x")),)), clock, taped(links, tape))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(runtime.run())
            await settle()
            links.made[0].live(FakeHost("gpu-0").opening())
            tape.flush()
            assert (
                str(tape.failed)
                == f"{path} takes no more: No space left on device; what was written before can be replayed"
            )
            assert runtime.fleet.hosts[0].live
            task.cancel()


async def test_nobody_is_asked_anything_in_a_recording(path: Path) -> None:
    await recorded(path)
    player = Player(path)
    runtime = Runtime(player.inventory, player.clock, player.links)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(runtime.run())
        await player.over.wait()
        with pytest.raises(RequestError, match="this is a recording"):
            await runtime.request(0, Journal(0))
        task.cancel()


class Hand:
    """Real time that a test turns."""

    speed = 1.0

    def __init__(self) -> None:
        self.at = 0.0

    def real(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds
        await asyncio.sleep(0)

    def wall(self) -> float:
        return self.at

    monotonic = wall

    def now(self) -> Instant:
        return Instant(self.at, self.at)


@pytest.mark.parametrize(("rate", "took"), [(1.0, 9.75), (10.0, 0.975)])
async def test_screens_see_it_as_fast_as_it_was_or_faster(path: Path, rate: float, took: float) -> None:
    live = await recorded(path)
    hand: Clock = Hand()
    assert await played(Player(path, rate=rate, real=hand)) == live
    assert hand.real() == pytest.approx(took, abs=0.4)


async def test_the_beginning_can_be_skipped(path: Path) -> None:
    live = await recorded(path)
    hand: Clock = Hand()
    assert await played(Player(path, rate=1.0, real=hand, until_s=6.0)) == live
    assert hand.real() == pytest.approx(3.75, abs=0.4)


async def test_a_recording_that_stands_goes_on_when_it_is_told_to(path: Path) -> None:
    await recorded(path)
    hand = Hand()
    player = Player(path, rate=0.0, real=hand)
    runtime = Runtime(player.inventory, player.clock, player.links)
    async with asyncio.TaskGroup() as group, asyncio.timeout(10.0):
        task = group.create_task(runtime.run())
        while hand.at < 60.0:
            await asyncio.sleep(0)
        assert player.position_s < 1.5
        player.rate = 60.0
        await player.over.wait()
        assert player.position_s == pytest.approx(9.75)
        task.cancel()


# The command line.


def words(capsys: pytest.CaptureFixture[str], *line: str, code: int = 0) -> tuple[str, str]:
    found = run(list(line))
    out, err = capsys.readouterr()
    assert found == code, (out, err)
    return out, err


def test_lists_and_status_of_a_recording_are_those_of_its_end(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    live = asyncio.run(recorded(path))
    for command in ("findings", "incidents", "events", "hosts", "gpus"):
        out, _ = words(capsys, "replay", str(path), command, "--json")
        document = json.loads(out)
        found = {item["id"]: item for item in document["items"]}
        assert {item["id"]: item for item in live[command]}.items() <= found.items()
        assert document["as_of"] == live["status"]["as_of"]
    out, _ = words(capsys, "replay", str(path), "status", "--json")
    found = json.loads(out)
    assert {name: found[name] for name in live["status"]} == live["status"]
    assert [item["host"] for item in found["silent"]] == ["gpu-3"]
    out, err = words(capsys, "replay", str(path), "findings", "--filter", "rule:gpu.lost")
    assert "has fallen off the bus" in out
    assert "gpu-3 did not answer (denied)" in err


def test_a_cut_recording_is_shown_and_its_status_says_so(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(recorded(path))
    path.write_bytes(path.read_bytes()[:-30])
    out, err = words(capsys, "replay", str(path), "findings", code=3)
    assert "gpu.lost" in out
    assert err.splitlines()[-1] == f"gpu-cockpit: {path} was cut short: what it holds until there is shown"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (("doctor",), "'doctor' does not look at a fleet once"),
        (("findings", "--host", "x"), "a recording brings its own hosts"),
        (("findings", "--watch"), "--watch follows what is live"),
        (("--speed", "0"), "--speed 0: must be a number above 0"),
        (("nonsense",), "there is no command 'nonsense'"),
    ],
)
def test_what_a_recording_cannot_do_is_wrong_usage(
    path: Path, capsys: pytest.CaptureFixture[str], line: tuple[str, ...], sentence: str
) -> None:
    asyncio.run(recorded(path))
    before = ("replay", *line, str(path)) if line[0].startswith("--") else ("replay", str(path), *line)
    _, err = words(capsys, *before, code=2)
    assert sentence in err
    assert err.count("\n") == 1


def test_a_file_that_is_not_there_is_one_sentence(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, err = words(capsys, "replay", str(path), "findings", code=2)
    assert err == f"gpu-cockpit: {path} cannot be read: No such file or directory; give a recording\n"
