"""The table of GPU processes over real processes: identity, secrets, state, ghosts, what is hidden, what hangs."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.clock import SystemClock
from agent.sources.base import Reading
from agent.sources.processes import ProcessSource, known, source
from agent.sources.processes.lane import THREADS, Lane
from agent.wire.specs import Cadence
from tests.fakes.clock import FakeClock
from tests.lab import has_root, require

ALL = frozenset(Cadence)
FAST = frozenset({Cadence.FAST})
NOBODY_PID = 2**22 + 12345  # above what the kernel hands out
Gpus = dict[int, dict[str, int | None]]


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    children: list[subprocess.Popen[bytes]] = []

    def run(*args: str, **more: Any) -> subprocess.Popen[bytes]:
        script = "import sys; print(flush=True); sys.stdin.read()"
        child = subprocess.Popen(
            [sys.executable, "-c", script, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, **more
        )
        children.append(child)
        assert child.stdout is not None
        child.stdout.readline()  # it runs, under its own name
        return child

    yield run
    for child in children:
        child.send_signal(signal.SIGCONT)
        child.kill()
        child.communicate()


def rows(reading: Reading) -> dict[int, dict[str, Any]]:
    return {row["pid"]: row for row in reading.facts["processes"]}


async def test_this_process_is_described() -> None:
    me = os.getpid()
    reading = await ProcessSource(SystemClock(), lambda: {me: {"GPU-1": 7, "GPU-0": None}}).read(ALL)
    row = rows(reading)[me]
    assert row["gpus"] == ["GPU-0", "GPU-1"]
    assert row["gpu_memory"] == 7
    assert row["state"] == "running"
    assert "pytest" in row["command"] or "python" in row["command"]
    assert row["started"] < time.time() < row["started"] + 600
    assert reading.facts["processes_left_out"] == 0
    assert reading.reasons == ()
    if has_root():
        assert row["user"] == "root"


def test_a_secret_on_a_real_command_line_is_redacted(start: Callable[..., subprocess.Popen[bytes]]) -> None:
    child = start("serve", "--api-key", "hunter2-secret", "HF_TOKEN=abcdef-secret", "--port", "8000")
    row = rows(ProcessSource(SystemClock(), lambda: {child.pid: {"GPU-1": 1}}).read_now(ALL))[child.pid]
    assert "secret" not in row["command"]
    assert row["command"].endswith("serve --api-key *** HF_TOKEN=*** --port 8000")


def test_nothing_is_sent_again_until_something_changes(start: Callable[..., subprocess.Popen[bytes]]) -> None:
    child = start()
    gpus: Gpus = {child.pid: {"GPU-1": 1 << 30}}
    reader = ProcessSource(SystemClock(), lambda: gpus)
    assert reader.read_now(ALL).facts
    assert reader.read_now(ALL) == Reading()
    gpus = {child.pid: {"GPU-1": (1 << 30) + 1000}}
    assert reader.read_now(ALL).facts == {}
    gpus = {child.pid: {"GPU-1": 2 << 30}}
    assert reader.read_now(FAST).facts == {}  # memory alone waits for the slower cadence
    assert rows(reader.read_now(ALL))[child.pid]["gpu_memory"] == 2 << 30
    gpus = {child.pid: {"GPU-1": 2 << 30}, os.getpid(): {"GPU-1": 1}}
    assert len(rows(reader.read_now(FAST))) == 2
    gpus = {}
    assert reader.read_now(FAST).facts["processes"] == []


def test_a_stopped_process_is_news(start: Callable[..., subprocess.Popen[bytes]]) -> None:
    child = start()
    reader = ProcessSource(SystemClock(), lambda: {child.pid: {"GPU-1": 1}})
    reader.read_now(ALL)
    child.send_signal(signal.SIGSTOP)
    os.waitpid(child.pid, os.WUNTRACED)
    assert rows(reader.read_now(FAST))[child.pid]["state"] == "stopped"


def test_a_process_that_ends_is_exited_and_then_a_ghost(start: Callable[..., subprocess.Popen[bytes]]) -> None:
    child = start("worker")
    clock = FakeClock()
    reader = ProcessSource(clock, lambda: {child.pid: {"GPU-1": 5}})
    assert rows(reader.read_now(ALL))[child.pid]["state"] == "running"
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert rows(reader.read_now(FAST))[child.pid]["state"] == "zombie"
    child.wait()
    row = rows(reader.read_now(FAST))[child.pid]
    assert (row["state"], row["gpu_memory"]) == ("exited", 5)
    assert row["command"].endswith("worker")
    clock.move(10)
    assert reader.read_now(FAST) == Reading()
    clock.move(10)
    reading = reader.read_now(FAST)
    assert rows(reading)[child.pid]["state"] == "ghost"
    assert [reason.code for reason in reading.reasons or ()] == ["process_ghost"]
    assert str(child.pid) in (reading.reasons or ())[0].says


def test_a_pid_never_seen_is_a_ghost_only_after_its_time() -> None:
    clock = FakeClock()
    reader = ProcessSource(clock, lambda: {NOBODY_PID: {"GPU-1": 5}})
    first = reader.read_now(ALL)
    assert (first.facts["processes"], first.reasons) == ([], ())
    clock.move(20)
    row = rows(reader.read_now(FAST))[NOBODY_PID]
    assert (row["state"], row["user"], row["command"], row["gpu_memory"]) == ("ghost", "", "", 5)
    at_once = ProcessSource(clock, lambda: {NOBODY_PID: {"GPU-1": 5}}, ghost_after_s=0).read_now(ALL)
    assert rows(at_once)[NOBODY_PID]["state"] == "ghost"


def test_a_process_that_ended_on_a_gpu_that_is_silent_is_no_ghost(
    start: Callable[..., subprocess.Popen[bytes]],
) -> None:
    child = start("worker")
    clock = FakeClock()
    reader = ProcessSource(clock, lambda: {child.pid: {"GPU-1": 5}}, silent=lambda: {"GPU-1"})
    reader.read_now(ALL)
    child.kill()
    child.wait()
    assert rows(reader.read_now(FAST))[child.pid]["state"] == "exited"
    clock.move(20)
    last = reader.read_now(FAST)
    assert (last.facts["processes"], last.reasons) == ([], None)
    assert reader.row(child.pid) is not None


def test_a_row_is_remembered_after_its_process_left(start: Callable[..., subprocess.Popen[bytes]]) -> None:
    child = start("trainer")
    gpus: Gpus = {child.pid: {"GPU-1": 5}}
    reader = ProcessSource(SystemClock(), lambda: gpus)
    assert reader.row(child.pid) is None
    reader.read_now(ALL)
    gpus = {}
    reader.read_now(FAST)
    row = reader.row(child.pid)
    assert row is not None
    assert row["command"].endswith("trainer")


async def test_descriptors_are_given_back(start: Callable[..., subprocess.Popen[bytes]]) -> None:
    def held() -> int:
        return sum("/proc/" in os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _open(fd))

    before = held()
    gpus: Gpus = {start().pid: {"GPU-1": 1} for _ in range(5)}
    reader = ProcessSource(SystemClock(), lambda: gpus)
    await reader.read(ALL)
    assert held() == before + 5
    gpus = dict(list(gpus.items())[:2])
    await reader.read(FAST)
    assert held() == before + 2
    await reader.close()
    assert held() == before


def _open(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


def test_processes_beyond_the_kept_descriptors_are_looked_at_anew(
    start: Callable[..., subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "KEPT", 1)
    first, second = start(), start()
    reader = ProcessSource(SystemClock(), lambda: {first.pid: {"GPU-1": 1}, second.pid: {"GPU-1": 1}})
    assert len(rows(reader.read_now(ALL))) == 2
    assert reader.read_now(ALL).facts == {}
    second.kill()
    second.wait()
    assert reader.read_now(FAST).facts == {}
    assert rows(reader.read_now(ALL))[second.pid]["state"] == "exited"


async def test_a_command_line_that_hangs_costs_half_a_second_once(
    start: Callable[..., subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, free = start("stuck"), start("free")
    let_go = threading.Event()
    read = known._read

    def hanging(folder: int, name: str) -> bytes:
        if name == "cmdline" and f"/proc/{stuck.pid}" == os.readlink(f"/proc/self/fd/{folder}"):
            let_go.wait(10)
        return read(folder, name)

    monkeypatch.setattr(known, "_read", hanging)
    monkeypatch.setattr(source, "SLOW_S", 0.04)
    reader = ProcessSource(SystemClock(), lambda: {stuck.pid: {"GPU-1": 1}, free.pid: {"GPU-1": 1}})
    first = await reader.read(ALL)
    assert rows(first)[stuck.pid]["command"].startswith("[python")
    assert [reason.code for reason in first.reasons or ()] == ["process_hangs"]
    second = await reader.read(FAST)
    assert rows(second)[free.pid]["command"].endswith("free")
    started = time.monotonic()
    assert (await reader.read(FAST)).facts == {}
    assert time.monotonic() - started < 0.03
    let_go.set()
    async with asyncio.timeout(5):
        while not (late := await reader.read(FAST)).facts:
            await asyncio.sleep(0.001)
    assert rows(late)[stuck.pid]["command"].endswith("stuck")
    assert late.reasons == ()
    await reader.close()


def test_a_defect_in_one_question_ends_neither_the_thread_nor_the_wait(caplog: pytest.LogCaptureFixture) -> None:
    lane = Lane()
    broken = lane.ask(lambda: {}["no such key"])
    whole = lane.ask(lambda: 42)
    assert broken is not None
    assert whole is not None
    assert broken.wait(5.0)
    assert broken.failed
    assert whole.wait(5.0)
    assert whole.value == 42
    assert "a question failed unexpectedly" in caplog.text
    lane.close()


def test_a_lane_never_has_more_than_two_threads() -> None:
    lane, let_go = Lane(), threading.Event()
    for _ in range(THREADS):
        answer = lane.ask(lambda: let_go.wait(10))
        assert answer is not None
        while answer.cancel.__self__._state == 0:
            time.sleep(0.001)
        assert not answer.wait(0.01)
        assert lane.give_up(answer)
    assert lane.ask(lambda: 1) is None
    let_go.set()
    assert answer.wait(5)
    late = lane.ask(lambda: 42)
    assert late is not None
    assert late.wait(5)
    assert late.value == 42
    lane.close()


@pytest.mark.lab
def test_another_users_environment_is_denied_and_never_guessed(start: Callable[..., subprocess.Popen[bytes]]) -> None:
    require("root", has_root())
    mine = subprocess.Popen(["/bin/sleep", "60"], user=65534, group=65534, env={"SLURM_JOB_ID": "4711"})
    others = start(env={"SLURM_JOB_ID": "4712"})
    script = (
        "import json, os, sys\n"
        "from agent.clock import SystemClock\n"
        "from agent.sources.processes import ProcessSource\n"
        "from agent.wire.specs import Cadence\n"
        "from agent.sources.processes import known\n"
        "known._may_be_job = lambda owner: True  # wherever this test itself runs\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "pids = {int(pid): {'GPU-1': 1} for pid in sys.argv[1:]}\n"
        "rows = ProcessSource(SystemClock(), lambda: pids).read_now(frozenset(Cadence)).facts['processes']\n"
        "print(json.dumps({row['pid']: [row['job'], row.get('denied', []), row['user']] for row in rows}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(mine.pid), str(others.pid)],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    mine.kill()
    mine.wait()
    seen = json.loads(done.stdout)
    assert seen[str(others.pid)] == ["", ["job"], "root"]
    assert seen[str(mine.pid)] == ["4711", [], "nobody"]


def test_a_tick_costs_little_and_does_not_grow_with_the_host(start: Callable[..., subprocess.Popen[bytes]]) -> None:
    gpus: Gpus = {start().pid: {"GPU-1": 1} for _ in range(8)}
    reader = ProcessSource(SystemClock(), lambda: gpus)
    reader.read_now(ALL)
    costs = []
    for _ in range(5):
        started = time.process_time()
        for _ in range(100):
            reader.read_now(FAST)
        costs.append((time.process_time() - started) / 100 / len(gpus))
    assert min(costs) < 25e-6  # measured 5 us; the rest is room for a busy machine


def test_a_proc_elsewhere_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "77"
    folder.mkdir()
    (tmp_path / "uptime").write_text("1000.00 1.0\n")
    (folder / "stat").write_text("77 (x) S 1 7 7 0 -1 4194304 1 0 0 0 10 20 0 0 20 0 1 0 50000 1000 10 18")
    (folder / "status").write_text("Name:\tx\nUid:\t54321\t0\t0\t0\n")
    (folder / "cgroup").write_text("0::/system.slice/vllm.service\n")
    (folder / "cmdline").write_bytes(b"vllm\0serve\0--api-key\0abc\0")
    clock = FakeClock(wall=10_000.0)
    reading = ProcessSource(clock, lambda: {77: {"GPU-1": None}}, proc=str(tmp_path)).read_now(ALL)
    row = rows(reading)[77]
    assert row["command"] == "vllm serve --api-key ***"
    assert (row["unit"], row["user"], row["gpu_memory"]) == ("vllm.service", "54321", None)
    assert row["started"] == 10_000.0 - 500.0
