"""The host's numbers: from written files with known answers, and from the machine the test runs on."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from agent.clock import SystemClock
from agent.sources.base import Batch
from agent.sources.host import SIGNALS, HostSource, procfs
from agent.wire.specs import Cadence, Quality
from tests.fakes.clock import FakeClock

ALL = frozenset(Cadence)
FAST = frozenset({Cadence.FAST})
HOST = "host-1"

STAT = "cpu  {user} 0 100 {idle} 50 0 0 0 0 0\ncpu0 1 1 1 1 1 1 1 1 1 1\nbtime 1700000000\n"
MEMINFO = (
    "MemTotal: 1000 kB\nMemFree: 10 kB\nMemAvailable: 400 kB\nBuffers: 1 kB\nCached: 300 kB\nActive: 1 kB\n"
    "Inactive: 1 kB\nSwapTotal: 100 kB\nSwapFree: 75 kB\nShmem: 0 kB\nSReclaimable: 0 kB\nSlab: 0 kB\n"
)
NET = (
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier\n"
    "    lo: 9999 1 0 0 0 0 0 0 9999 1 0 0 0 0 0 0\n"
    "  eth0: 1000 1 0 0 0 0 0 0 2000 1 0 0 0 0 0 0\n"
    "docker0:77 1 0 0 0 0 0 0 77 1 0 0 0 0 0 0\n"
)
DISKS = "".join(
    f" 8 {minor} {name} 1 0 10 0 1 0 20 0 0 0 0 0 0 0 0\n" for minor, name in enumerate(("sda", "sda1", "dm-0"))
)


class Machine:
    """A /proc and a /sys that a test writes."""

    def __init__(self, root: Path) -> None:
        self.proc, self.sys, self.etc = root / "proc", root / "sys", root / "etc"
        for folder in ("proc/net", "proc/sys/fs", "sys/class/net", "sys/block", "etc", "sys/class/dmi/id"):
            (root / folder).mkdir(parents=True)
        self.write("stat", STAT.format(user=100, idle=1000))
        self.write("meminfo", MEMINFO)
        self.write("vmstat", "pswpin 0\npswpout 0\n")
        self.write("loadavg", "1.50 1.20 1.00 2/300 4242\n")
        self.write("net/dev", NET)
        self.write("diskstats", DISKS)
        self.write("uptime", "12345.67 99.0\n")
        self.write("sys/fs/file-nr", "1234\t0\t9999\n")
        self.write("cpuinfo", "model name\t: Big CPU\nphysical id\t: 0\ncore id\t: 0\nphysical id\t: 0\ncore id\t: 1\n")
        for pid in (1, 22, 333):
            (self.proc / str(pid)).mkdir()
        for device in ("class/net/eth0/device", "block/sda/device"):
            (self.sys / device).mkdir(parents=True)
        for virtual in ("class/net/lo", "class/net/docker0", "block/dm-0"):
            (self.sys / virtual).mkdir()
        (self.etc / "os-release").write_text('ID=x\nPRETTY_NAME="Some Linux 12"\n')
        (self.sys / "class/dmi/id/sys_vendor").write_text("ACME\n")
        (self.sys / "class/dmi/id/product_name").write_text("GPU Box 9000\n")

    def write(self, name: str, text: str) -> None:
        (self.proc / name).write_text(text)

    def source(self, light: bool = False) -> HostSource:
        return HostSource(HOST, FakeClock(), proc=str(self.proc), sys=str(self.sys), etc=str(self.etc), light=light)


@pytest.fixture(params=["psutil", "plain"])
def machine(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with psutil, and one where it cannot be imported: the numbers are the same."""
    if request.param == "plain":
        monkeypatch.setitem(sys.modules, "psutil", None)
    return Machine(tmp_path)


def values(batches: tuple[Batch, ...]) -> dict[str, Any]:
    return {name: column[0] for batch in batches for name, column in batch.columns.items()}


def qualities(batches: tuple[Batch, ...]) -> dict[str, Quality]:
    return {signal: quality for batch in batches for (signal, _), quality in batch.exceptions.items()}


def test_every_signal_comes_at_its_own_cadence_in_one_row(machine: Machine) -> None:
    reading = machine.source().read_now(ALL)
    assert [batch.cadence for batch in reading.batches] == [Cadence.FAST, Cadence.MEDIUM, Cadence.SLOW]
    for batch in reading.batches:
        assert batch.rows == (HOST,)
        assert list(batch.columns) == [spec.name for spec in SIGNALS if spec.cadence is batch.cadence]


def test_known_files_give_known_numbers(machine: Machine) -> None:
    seen = values(machine.source().read_now(ALL).batches)
    assert seen["host.load.1m"] == 1.5
    assert (seen["host.memory.used"], seen["host.memory.available"]) == (600 * 1024, 400 * 1024)
    assert (seen["host.memory.total"], seen["host.swap.used"]) == (1000 * 1024, 25 * 1024)
    assert (seen["host.network.received"], seen["host.network.sent"]) == (1000, 2000)
    assert (seen["host.disk.read"], seen["host.disk.written"]) == (10 * 512, 20 * 512)
    assert (seen["host.processes"], seen["host.uptime"], seen["host.fds.used"]) == (3, 12345.67, 1234)


def test_cpu_is_the_share_since_the_last_reading_and_pending_before_time_has_passed(machine: Machine) -> None:
    source = machine.source()
    first = source.read_now(FAST).batches
    assert values(first)["host.cpu.utilization"] is None
    assert qualities(first)["host.cpu.utilization"] is Quality.PENDING
    machine.write("stat", STAT.format(user=130, idle=1070))
    second = source.read_now(FAST).batches
    assert values(second)["host.cpu.utilization"] == pytest.approx(0.3)
    assert "host.cpu.utilization" not in qualities(second)


@pytest.mark.parametrize(
    ("name", "signal"),
    [
        ("stat", "host.cpu.utilization"),
        ("net/dev", "host.network.received"),
        ("uptime", "host.uptime"),
        ("sys/fs/file-nr", "host.fds.used"),
    ],
)
def test_a_missing_file_spoils_only_its_own_signals(machine: Machine, name: str, signal: str) -> None:
    (machine.proc / name).unlink()
    batches = machine.source().read_now(ALL).batches
    assert qualities(batches)[signal] is Quality.UNSUPPORTED
    assert values(batches)[signal] is None
    assert values(batches)["host.load.1m"] == 1.5
    assert "host.load.1m" not in qualities(batches)


def test_a_missing_meminfo_spoils_all_that_is_memory(machine: Machine) -> None:
    (machine.proc / "meminfo").unlink()
    bad = qualities(machine.source().read_now(ALL).batches)
    assert {name for name, quality in bad.items() if quality is Quality.UNSUPPORTED} == {
        "host.memory.used",
        "host.memory.available",
        "host.memory.total",
        "host.swap.used",
    }


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # psutil's, about fields it does not find
@pytest.mark.parametrize("name", ["stat", "meminfo", "loadavg", "uptime", "sys/fs/file-nr", "net/dev", "diskstats"])
@pytest.mark.parametrize("text", ["", "\n", "nonsense\n", "cpu  x y z\n", "MemTotal: 99999\n", "eth0: 1\n" * 4])
def test_garbage_is_an_error_and_never_an_exception(machine: Machine, name: str, text: str) -> None:
    machine.write(name, text)
    batches = machine.source().read_now(ALL).batches
    assert len(batches) == 3
    if name not in ("net/dev", "diskstats"):  # empty, these two tell of no device
        assert Quality.ERROR in qualities(batches).values()


def test_facts_name_the_host_and_come_again_only_when_they_change(machine: Machine) -> None:
    source = machine.source()
    facts = source.read_now(ALL).facts["host"]
    assert facts["os"] == "Some Linux 12"
    # psutil takes them from the machine's own /sys, wherever /proc is; its stand-in from the written cpuinfo.
    cores = 2 if sys.modules["psutil"] is None else psutil.cpu_count(logical=False)
    assert (facts["cpu"], facts.get("cores")) == ("Big CPU", cores)
    assert facts["machine"] == "ACME GPU Box 9000"
    assert (facts["memory"], facts["boot_time"]) == (1000 * 1024, 1_700_000_000)
    assert facts["kernel"] == os.uname().release
    assert source.read_now(ALL).facts == {}
    machine.write("meminfo", MEMINFO.replace("1000", "2000"))
    assert source.read_now(frozenset({Cadence.SLOW})).facts == {}
    assert source.read_now(ALL).facts["host"]["memory"] == 2000 * 1024
    machine.write("stat", STAT.format(user=1, idle=1).replace("1700000000", "1700000001"))
    assert source.read_now(ALL).facts == {}  # the boot time wavers as the clock is slewed


async def test_this_machine_agrees_with_psutil() -> None:
    source = HostSource(HOST, SystemClock())
    time.sleep(0.03)  # a few ticks of the processor's clock
    reading = await source.read(ALL)
    seen, bad = values(reading.batches), qualities(reading.batches)
    assert 0 <= (seen["host.cpu.utilization"] or 0) <= 1
    memory = psutil.virtual_memory()
    assert seen["host.memory.total"] == memory.total
    assert seen["host.memory.available"] == pytest.approx(memory.available, rel=0.2)
    assert seen["host.memory.used"] == pytest.approx(memory.total - memory.available, rel=0.2)
    assert seen["host.disk.root.total"] == psutil.disk_usage("/").total
    assert seen["host.cpu.count"] == psutil.cpu_count()
    assert seen["host.uptime"] == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=5)
    assert seen["host.processes"] == pytest.approx(len(psutil.pids()), abs=50)
    assert set(bad) <= {"host.cpu.utilization", "host.shm.used", "host.shm.total"}
    await source.close()


async def test_this_machine_is_the_same_without_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    with_psutil = (await HostSource(HOST, SystemClock()).read(ALL)).facts["host"]
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert (await HostSource(HOST, SystemClock()).read(ALL)).facts["host"] == with_psutil


def test_one_look_leaves_devices_pending(machine: Machine) -> None:
    batches = machine.source(light=True).read_now(ALL).batches
    pending = {name for name, quality in qualities(batches).items() if quality is Quality.PENDING}
    assert pending - {"host.cpu.utilization"} == {
        *("host.network.received", "host.network.sent", "host.disk.read", "host.disk.written", "host.processes")
    }
    assert values(batches)["host.memory.total"] == 1000 * 1024


def test_one_look_needs_no_loop_and_no_psutil() -> None:
    script = "import sys, agent.sources.processes\nfrom agent.sources.host import HostSource\n"
    script += "from agent.clock import SystemClock\nfrom agent.wire.specs import Cadence\n"
    script += "HostSource('h', SystemClock(), light=True).read_now(frozenset(Cadence))\n"
    script += "print('asyncio' in sys.modules, 'psutil' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_devices_without_hardware_are_left_out_unless_there_is_nothing_else(tmp_path: Path) -> None:
    for name in ("class/net/lo", "class/net/veth1", "block/loop0", "block/pmem0"):
        (tmp_path / name).mkdir(parents=True)
    assert procfs.physical_interfaces(tmp_path) == {"veth1"}
    assert procfs.physical_disks(tmp_path) == {"pmem0"}
    (tmp_path / "class/net/eth0/device").mkdir(parents=True)
    assert procfs.physical_interfaces(tmp_path) == {"eth0"}
    assert procfs.physical_interfaces(tmp_path / "nowhere") == frozenset()


async def test_the_host_pushes_nothing() -> None:
    assert [event async for event in HostSource(HOST, SystemClock()).watch()] == []
