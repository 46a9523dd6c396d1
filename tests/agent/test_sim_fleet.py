"""A simulated fleet on real sockets: what it writes, what reaches it, what it remembers."""

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.errors import StateError, UsageError
from agent.sim import control
from agent.sim.fleet import SimFleet
from agent.wire.specs import Quality, Severity
from cockpit.inventory import load
from tests.fakes.client import Client, Picture, fetch, subscribe


@pytest.fixture
def directory() -> Iterator[Path]:
    """Short: the name of a unix socket has 107 bytes, and pytest's own directories use most of them."""
    path = Path(tempfile.mkdtemp(prefix="sim-", dir="/tmp"))
    yield path / "d"
    shutil.rmtree(path, ignore_errors=True)


async def test_the_fleet_file_names_every_host_and_every_agent_answers(directory: Path) -> None:
    async with SimFleet(directory, hosts=3, gpus=4) as fleet:
        inventory = load(fleet.file)
        assert [entry.name for entry in inventory.hosts] == ["gpu-a01", "gpu-a02", "gpu-a03"]
        assert inventory.clock == (fleet.plan.epoch, 1.0)
        first = inventory.hosts[0]
        assert (first.labels["pool"], first.labels["rack"], first.gpus_expected) == ("chat-70b", "rack-a", 4)
        for entry in inventory.hosts:
            picture = await asyncio.to_thread(fetch, fleet.socket(entry.name))
            assert picture.hello is not None
            assert picture.hello.host == entry.name
            assert len(picture.facts["gpus"]) == 4
            assert {gpu["state"] for gpu in picture.facts["gpus"].values()} == {"present"}
            assert picture.facts["labels"]["pool"] == entry.labels["pool"]
            assert picture.facts["processes"]
            assert picture.findings == ()


async def test_an_injected_fault_is_seen_within_two_seconds_on_that_gpu_alone(directory: Path) -> None:
    async with SimFleet(directory, hosts=2, gpus=8) as fleet:
        uuid = fleet.machine("gpu-a02").gpus[3].uuid
        client = await Client.open(fleet.socket("gpu-a02"))
        client.send(subscribe())
        await client.until(lambda picture: picture.synced)
        start = time.monotonic()
        says = await asyncio.to_thread(control.request_inject, directory, "gpu-a02", "xid79", {"gpu": "3"})
        assert says == "xid79: injected into GPU 3 of gpu-a02"
        await client.until(lambda picture: ("gpu.lost", f"gpu:{uuid}") in findings(picture))
        assert time.monotonic() - start < 2.0
        await client.until(lambda picture: picture.facts["gpus"][uuid]["state"] == "lost")
        assert time.monotonic() - start < 2.0
        picture = await client.until(lambda picture: picture.quality("gpu.temperature", uuid) is Quality.LOST)
        await client.close()
        assert next(event.data["xid"] for event in picture.events if event.kind == "xid") == 79
        assert picture.value("gpu.temperature", uuid) > 20, "last values stay"
        assert picture.facts["gpus"][uuid]["last_processes"][0]["command"]
        assert {event.subject for event in picture.events if event.severity is Severity.CRITICAL} == {f"gpu:{uuid}"}
        neighbours = [other for other in picture.facts["gpus"] if other != uuid]
        assert all(picture.quality("gpu.temperature", other) is Quality.OK for other in neighbours)
        other = await asyncio.to_thread(fetch, fleet.socket("gpu-a01"))
        assert other.findings == ()


async def test_replicas_are_read_over_the_sockets_of_their_own_host_and_one_that_is_killed_is_down(
    directory: Path,
) -> None:
    async with SimFleet(directory, hosts=2, gpus=4) as fleet:
        client = await Client.open(fleet.socket("gpu-a02"))
        client.send(subscribe())

        def states(picture: Picture) -> dict[str, str]:
            return {item["id"]: item["state"] for item in picture.facts.get("replicas", ())}

        ready = dict.fromkeys(("vllm:8000", "triton:8010", "triton:8020"), "ready")
        picture = await client.until(lambda picture: states(picture) == ready)
        machine = fleet.machine("gpu-a02")
        vllm = picture.facts["replicas"][0]
        assert (vllm["address"], vllm["pool"], vllm["version"]) == (machine.address, "chat-70b", "0.32.0")
        assert vllm["gpus"] == [gpu.uuid for gpu in machine.gpus[:2]]
        assert vllm["pids"][-2:] == [worker.pid for worker in machine.replicas[0].workers]
        assert fleet.machine("gpu-a01").address != machine.address
        start = time.monotonic()
        fleet.inject("gpu-a02", "engine-stop", {"gpu": "0"})
        await client.until(lambda picture: states(picture) == {**ready, "vllm:8000": "down"})
        assert time.monotonic() - start < 5.0
        await client.close()


def findings(picture: Picture) -> set[tuple[str, str]]:
    """(rule, subject) of every finding that a session was told of."""
    return {(event.data["finding"]["rule"], event.subject) for event in picture.events if event.kind == "finding"}


async def test_a_fleet_goes_on_where_it_was(directory: Path) -> None:
    async with SimFleet(directory, hosts=2, gpus=4, seed=7) as fleet:
        plan, path = fleet.plan, fleet.socket("gpu-a01")
        fleet.inject("gpu-a01", "xid79", {"gpu": "1"})
        client = await Client.open(path)
        client.send(subscribe())
        before = await client.until(lambda picture: any(event.kind == "finding" for event in picture.events))
        energy = before.value("gpu.energy", fleet.machines[0].gpus[0].uuid)
        await client.close()
    async with SimFleet(directory) as fleet:
        assert fleet.resumed
        assert fleet.plan == plan
        client = await Client.open(path)
        client.send(subscribe())
        after = await client.until(lambda picture: picture.synced and picture.samples)
        await client.close()
        assert before.hello is not None
        assert after.hello is not None
        assert (after.hello.host_id, after.hello.boot_id) == (before.hello.host_id, before.hello.boot_id)
        assert list(after.facts["gpus"]) == list(before.facts["gpus"])
        states = {gpu["index"]: gpu["state"] for gpu in after.facts["gpus"].values()}
        assert states == {0: "present", 1: "lost", 2: "present", 3: "present"}
        assert {finding.rule for finding in after.findings} >= {"gpu.lost"}
        (fell,) = (event for event in after.events if event.kind == "xid" and event.data["xid"] == 79)
        assert fell in before.events, "it is told once, under the number it had"
        assert after.synced is not None
        assert after.synced.seq >= max(event.seq for event in before.events)
        assert after.value("gpu.energy", fleet.machines[0].gpus[0].uuid) >= energy


async def test_an_agent_that_is_stopped_comes_back_by_itself(directory: Path) -> None:
    async with SimFleet(directory, hosts=1, gpus=1) as fleet:
        path = fleet.socket("gpu-a01")
        fleet.inject("gpu-a01", "agent-stop", {"seconds": "1"})
        async with asyncio.timeout(3):
            while path.exists():
                await asyncio.sleep(0.02)
        async with asyncio.timeout(5):
            while not (picture := await asyncio.to_thread(_look, path)):
                await asyncio.sleep(0.05)
        assert picture.synced


def _look(path: Path) -> Picture | None:
    try:
        return fetch(path)
    except OSError:
        return None


async def test_a_fast_fleet_runs_its_story_early(directory: Path) -> None:
    async with SimFleet(directory, hosts=3, gpus=8, scenario="xid79-falls-off-bus", speed=60) as fleet:
        client = await Client.open(fleet.socket("gpu-a03"))
        client.send(subscribe())
        picture = await client.until(lambda picture: any(event.kind == "finding" for event in picture.events))
        fault = next(event for event in picture.events if event.kind == "xid")
        assert fault.at - fleet.plan.epoch == pytest.approx(40.0, abs=0.01)
        await client.close()


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"hosts": 0}, "--hosts 0 is not possible; it takes 1 to 2000"),
        ({"gpus": 17}, "--gpus 17 is not possible; it takes 1 to 16"),
        ({"speed": float("nan")}, "--speed nan is not possible"),
        ({"speed": 0.0}, "--speed 0 is not possible; it takes 0.1 to 3600"),
        ({"seed": -1}, "--seed -1 is not possible"),
        ({"scenario": "helthy-night"}, "did you mean 'healthy-night'?"),
    ],
)
async def test_an_impossible_fleet_is_refused_and_leaves_no_plan(
    directory: Path, wanted: dict[str, object], says: str
) -> None:
    with pytest.raises(UsageError) as caught:
        async with SimFleet(directory, **wanted):  # type: ignore[arg-type]
            pass
    assert says in str(caught.value)
    assert not (directory / "sim.json").exists()


async def test_a_directory_belongs_to_one_plan_and_one_process(directory: Path) -> None:
    async with SimFleet(directory, hosts=1, gpus=1):
        with pytest.raises(UsageError, match="a simulation already runs there"):
            async with SimFleet(directory):
                pass
    with pytest.raises(UsageError, match="holds a fleet with --hosts 1, not 2; leave --hosts out"):
        async with SimFleet(directory, hosts=2):
            pass
    (directory / "sim.json").write_text('{"format": 1, "plan": {}}')
    with pytest.raises(StateError, match="no plan of a fleet"):
        async with SimFleet(directory):
            pass


async def test_a_name_too_long_for_sockets_is_one_sentence() -> None:
    with pytest.raises(UsageError, match=r"too long for unix sockets .* use a shorter one, such as /tmp/fleet"):
        async with SimFleet(Path("/tmp") / ("x" * 100), hosts=1):
            pass
    assert not (Path("/tmp") / ("x" * 100)).exists()


async def test_garbage_on_the_control_socket_disturbs_nobody(directory: Path) -> None:
    async with SimFleet(directory, hosts=1, gpus=1) as fleet:
        for garbage in (b"\xff\x00\n", b"[]\n", b'{"do": "dance"}\n', b'{"do": "inject"}\n', b"x" * 100_000):
            await asyncio.to_thread(_send, directory, garbage)
        with pytest.raises(UsageError, match="there is no host 'gpu-a0l'; did you mean 'gpu-a01'"):
            await asyncio.to_thread(control.request_inject, directory, "gpu-a0l", "oom", {"gpu": "0"})
        assert fleet.inject("gpu-a01", "oom", {"gpu": "0"})
        fleet.inject("gpu-a01", "xid79", {"gpu": "0"})
        with pytest.raises(UsageError, match="GPU 0 of gpu-a01 is lost already; inject clear gpu=0 first"):
            fleet.inject("gpu-a01", "xid79", {"gpu": "0"})


def _send(directory: Path, data: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(2)
        stream.connect(str(directory / "sim.sock"))
        try:
            stream.sendall(data)
            stream.shutdown(socket.SHUT_WR)
            stream.recv(4096)
        except OSError:
            pass


def sim(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agent", "sim", *words], capture_output=True, text=True, timeout=20, check=False
    )


@contextmanager
def up(directory: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """`sim up` in a process of its own, once it is ready."""
    command = [sys.executable, "-m", "agent", "sim", "up", "--dir", str(directory), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "READY\n"
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def test_the_command_line_says_ready_injects_and_ends_on_sigterm(directory: Path) -> None:
    with up(directory, "--hosts", "2", "--gpus", "2") as process:
        assert (directory / "fleet.toml").exists()
        done = sim("inject", "--dir", str(directory), "--host", "gpu-a01", "xid79", "gpu=1")
        assert (done.returncode, done.stderr) == (0, "")
        wrong = sim("inject", "--dir", str(directory), "--host", "gpu-a09", "xid79", "gpu=1")
        assert wrong.returncode == 2
        assert wrong.stderr.count("\n") == 1
        start = time.monotonic()
        process.terminate()
        assert process.wait(timeout=3) == 0
        assert time.monotonic() - start < 3.0
    assert sim("inject", "--dir", str(directory), "--host", "gpu-a01", "oom", "gpu=0").returncode == 3


def test_a_fleet_that_was_killed_goes_on_as_well(directory: Path) -> None:
    with up(directory, "--hosts", "1", "--gpus", "2") as process:
        control.request_inject(directory, "gpu-a01", "xid79", {"gpu": "1"})
        process.kill()
        process.wait()
    with up(directory) as process:
        picture = fetch(directory / "gpu-a01.sock")
        states = sorted((gpu["index"], gpu["state"]) for gpu in picture.facts["gpus"].values())
        assert states == [(0, "present"), (1, "lost")]
        process.terminate()
        assert process.wait(timeout=3) == 0


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["fault"], 2, "did you mean 'faults'?"),
        ([], 2, "required"),
        (["up"], 2, "--dir"),
        (["up", "--while-stdin", "--dir", "/tmp/never"], 2, "standard input must be a pipe"),
        (["inject", "--dir", "/tmp/never", "--host", "h"], 2, "the following arguments are required: FAULT;"),
        (["up", "--dir", "/tmp/never", "--hosts", "x"], 2, "invalid int value: 'x'"),
        (["inject", "--dir", "/tmp/never", "--host", "h", "xid97"], 2, "did you mean 'xid79'?"),
        (["inject", "--dir", "/tmp/never", "--host", "h", "xid79", "gpu"], 2, "write name=value"),
        (["inject", "--dir", "/tmp/never", "--host", "h", "xid79", "gpu=1", "gpu=2"], 2, "given twice"),
        (["inject", "--dir", "/tmp/never", "--host", "h", "xid79", "gpu=1"], 3, "no simulation runs in /tmp/never"),
        (["up", "--dir", "/proc/never"], 2, "name a directory you may write"),
    ],
)
def test_a_wrong_command_line_is_one_sentence(
    words: list[str], status: int, says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from agent.cli.main import main

    with open("/dev/null") as nothing:
        monkeypatch.setattr("agent.sim.cli._STDIN", nothing.fileno())
        assert main(["sim", *words]) == status
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_lists_are_json_with_a_schema(capsys: pytest.CaptureFixture[str]) -> None:
    from agent.cli.main import main

    for part, known in (("scenarios", "healthy-night"), ("faults", "xid79")):
        assert main(["sim", part, "--json"]) == 0
        table = json.loads(capsys.readouterr().out)
        assert table["schema"] == 1
        assert known in [item["id"] for item in table["items"]]
        assert main(["sim", part]) == 0
        assert known in capsys.readouterr().out
