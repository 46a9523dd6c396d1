"""The agent's socket among hostile clients: no crash, no growth, and the good client's stream is not disturbed.

Seconds in `make test`, ten minutes in `make soak` (SOAK_S seconds); a run prints its seed, SOAK_SEED repeats it.
"""

import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.nvml import FakeNvml, build_fake_nvml
from tests.fakes.process import AgentProcess
from tests.lab import has_command, require
from tests.soak import report
from tests.soak.capture import capture
from tests.soak.hostile import BEHAVIOURS, Crowd
from tests.soak.seed import SEED
from tests.soak.watch import Good, Size, percentile

MIB = 1 << 20
GROWTH_BYTES = 20 * MIB


@pytest.fixture
def agent() -> Iterator[AgentProcess]:
    """Real, over the C fake of NVML, on a socket that everybody may open."""
    require("gcc (C fake of NVML)", has_command("gcc"))
    folder = Path(tempfile.mkdtemp(prefix="gpu-cockpit-soak-"))
    folder.chmod(0o755)
    try:
        fake = FakeNvml(folder, build_fake_nvml(folder))
        process = AgentProcess(folder, fake.env)
        process.config.write_text(process.config.read_text() + 'socket_mode = "0666"\n')
        with process:
            yield process
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def stand(agent: AgentProcess, seconds: float, crowd_size: int) -> dict[str, object]:
    """Hostile clients for so long; what is measured, checked."""
    assert agent.process is not None
    pid = agent.process.pid
    good, crowd = Good(agent.socket), Crowd(agent.socket, SEED, crowd_size)
    sizes: list[Size] = []
    print(f"seed {SEED}")
    async with asyncio.TaskGroup() as group:
        stream = group.create_task(good.run())
        await asyncio.sleep(min(2.0, seconds / 4))
        calm_ages, calm_fds = len(good.ages), Size.of(pid).fds
        hostile = group.create_task(crowd.run())
        warm = seconds / 5  # caches and rings fill
        await asyncio.sleep(warm)
        sizes.append(Size.of(pid))
        while len(sizes) <= 40 and agent.process.poll() is None:
            await asyncio.sleep((seconds - warm) / 40)
            sizes.append(Size.of(pid))
        hostile.cancel()
        await asyncio.sleep(1.2)  # the last of them are swept away
        after = Size.of(pid)
        stream.cancel()
    ages = good.ages[calm_ages:]
    return {
        "visits": dict(crowd.visits),
        "refused": crowd.refused,
        "samples": len(ages),
        "age_p50_ms": round(percentile(ages, 0.5) * 1e3, 1),
        "age_p99_ms": round(percentile(ages, 0.99) * 1e3, 1),
        "interval_max_s": round(max(good.gaps), 2),
        "ping_p99_ms": round(percentile(good.rtts, 0.99) * 1e3, 1),
        "disorder": good.disorder,
        "ended": good.ended,
        "growth_mib": round((max(size.rss for size in sizes) - sizes[0].rss) / MIB, 2),
        "rss_mib": round(sizes[-1].rss / MIB, 1),
        "fds_before": calm_fds,
        "fds_after": after.fds,
        "most_fds": max(size.fds for size in sizes),
    }


def judge(agent: AgentProcess, seen: dict[str, object], expected: float) -> None:
    """What must hold, however long it took."""
    assert agent.process is not None
    assert agent.process.poll() is None, agent.log()
    assert "Traceback" not in agent.log()
    assert not [line for line in agent.log().splitlines() if line.startswith(("ERROR", "CRITICAL"))], agent.log()
    assert (seen["ended"], seen["disorder"]) == ("", 0)
    assert int(str(seen["samples"])) >= expected * 0.8
    assert float(str(seen["age_p99_ms"])) < 1000
    assert float(str(seen["growth_mib"])) * MIB <= GROWTH_BYTES
    assert int(str(seen["fds_after"])) <= int(str(seen["fds_before"])) + 1
    assert agent.look().synced is not None


async def test_hostile_clients_disturb_nobody_for_a_moment(agent: AgentProcess) -> None:
    seen = await stand(agent, 2.0, 24)
    judge(agent, seen, 2.0 / 0.5)
    assert sum(seen["visits"].values()) > 30  # type: ignore[attr-defined]


@pytest.mark.soak
async def test_ten_minutes_among_hostile_clients_and_hostile_agents(agent: AgentProcess) -> None:
    seconds = report.seconds()
    heard = agent.folder / "capture"
    heard.write_bytes(await asyncio.to_thread(capture, agent.folder, 8.0))
    words = ["-W", "error", "-m", "tests.soak.console", str(heard), str(seconds), str(SEED)]
    console = await asyncio.create_subprocess_exec(*("nice", sys.executable, *words), stdout=asyncio.subprocess.PIPE)
    seen = await stand(agent, seconds, 48)
    said, _ = await console.communicate()
    other = json.loads(said)
    report.write(SEED, seconds, {"agent's socket": seen, "console": other})
    judge(agent, seen, seconds / 0.5)
    assert set(seen["visits"]) == {behave.__name__ for behave in BEHAVIOURS}  # type: ignore[call-overload]
    assert other["first_crash"] == ""
    assert other["good_host_untouched"]
    assert other["growth_mib"] * MIB <= GROWTH_BYTES
