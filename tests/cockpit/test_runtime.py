"""The owner of the state: supervises links, ages, focuses, waits; one host never disturbs another."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.wire.errors import WireError
from agent.wire.frames import Hello
from agent.wire.specs import Level, Severity
from cockpit.clock import Instant, SystemClock
from cockpit.errors import LinkError
from cockpit.fleet.link_state import LinkState
from cockpit.inventory import HostEntry, Inventory, UnixTarget
from cockpit.runtime import Runtime, claiming
from tests.fakes.agent import FakeAgent
from tests.fakes.hosts import EPOCH, FakeHost
from tests.fakes.link import FakeLink, FakeLinks


class HandClock:
    """Data time stands at `EPOCH` + `seconds`; sleepers wake when `tick` is called."""

    speed = 1.0

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []
        self._wake = asyncio.Event()

    def wall(self) -> float:
        return EPOCH + self.seconds

    def monotonic(self) -> float:
        return 100.0 + self.seconds

    def real(self) -> float:
        return self.monotonic()

    def now(self) -> Instant:
        return Instant(self.wall(), self.monotonic())

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        wake = self._wake
        await wake.wait()

    async def tick(self, seconds: float = 1.0) -> None:
        """Time passes and everybody who sleeps wakes."""
        self.seconds += seconds
        wake, self._wake = self._wake, asyncio.Event()
        wake.set()
        await settle()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def inventory(count: int) -> Inventory:
    return Inventory(tuple(HostEntry(f"gpu-{number}", UnixTarget("/x")) for number in range(count)))


@asynccontextmanager
async def running(*scripts: Callable[[FakeLink], object] | None) -> AsyncIterator[tuple[Runtime, FakeLinks, HandClock]]:
    clock, links = HandClock(), FakeLinks(*scripts)
    runtime = Runtime(inventory(len(scripts)), clock, links)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(runtime.run())
        await settle()
        yield runtime, links, clock
        task.cancel()


def opens(link: FakeLink) -> None:
    link.live(FakeHost(f"gpu-{link.host}").opening())


async def test_frames_become_state_and_count_the_version_up() -> None:
    async with running(opens) as (runtime, _, _):
        assert runtime.fleet.hosts[0].live
        assert runtime.version == runtime.fleet.version > 5


async def test_state_ages_once_a_second() -> None:
    async with running(opens) as (runtime, _, clock):
        version = runtime.version
        await clock.tick()
        await clock.tick()
        assert runtime.version == version + 2
        assert runtime.fleet.gpus.age("gpu.power")[0] == pytest.approx(2.0)


async def test_focus_asks_for_detail_and_summary_again() -> None:
    async with running(opens, opens, opens) as (runtime, links, _):
        assert [link.wanted for link in links.made] == [[(Level.SUMMARY, 1.0)]] * 3
        runtime.focus([1])
        runtime.focus([1])
        runtime.focus([2])
        assert [[level for level, _ in link.wanted] for link in links.made] == [
            [Level.SUMMARY],
            [Level.SUMMARY, Level.DETAIL, Level.SUMMARY],
            [Level.SUMMARY, Level.DETAIL],
        ]


async def test_focus_before_the_start_is_what_links_start_with() -> None:
    links = FakeLinks()
    runtime = Runtime(inventory(2), HandClock(), links)
    runtime.focus([0])
    async with asyncio.TaskGroup() as group:
        task = group.create_task(runtime.run())
        await settle()
        assert [link.wanted[0][0] for link in links.made] == [Level.DETAIL, Level.SUMMARY]
        task.cancel()


async def test_a_frame_that_does_not_fit_is_its_links_error_and_nobody_elses() -> None:
    refused: list[WireError] = []

    def breaks(link: FakeLink) -> None:
        try:
            link.live(FakeHost().opening()[1:])
        except WireError as error:
            refused.append(error)

    async with running(breaks, opens) as (runtime, _, _):
        assert len(refused) == 1
        assert runtime.fleet.hosts[1].live
        assert not runtime.fleet.hosts[0].live


@pytest.mark.parametrize(
    ("error", "state", "severity"),
    [
        (LinkError("key_changed", "the key is another", "verify it"), LinkState.KEY_CHANGED, Severity.CRITICAL),
        (OSError("no route"), LinkState.UNREACHABLE, Severity.WARNING),
        (TimeoutError(), LinkState.UNREACHABLE, Severity.WARNING),
    ],
)
async def test_a_link_that_ends_is_run_again_after_a_growing_pause(
    error: Exception, state: LinkState, severity: Severity
) -> None:
    def fails(link: FakeLink) -> None:
        if link.runs < 4:
            raise error
        opens(link)

    async with running(fails, opens) as (runtime, links, clock):
        record = runtime.fleet.hosts[0]
        assert (record.link.state, record.severity) == (state, severity)
        assert record.link.says
        for _ in range(3):
            assert runtime.fleet.hosts[1].live
            await clock.tick()
        assert links.made[0].runs == 4
        assert record.live
        pauses = [pause for pause in clock.slept if pause != 1.0]
        assert all(0.5 <= pause / longest <= 1.0 for pause, longest in zip(pauses, (1.0, 2.0, 4.0), strict=True))


async def test_a_defect_of_ours_ends_the_runtime_loudly() -> None:
    def defect(link: FakeLink) -> None:
        raise ZeroDivisionError

    with pytest.raises(ExceptionGroup):
        async with running(defect):
            await settle()


async def test_synced_returns_as_soon_as_all_have_told() -> None:
    async def late(link: FakeLink) -> None:
        await asyncio.sleep(0.02)
        opens(link)

    async with running(opens, late) as (runtime, _, _):
        assert not runtime.fleet.hosts[1].live
        assert await runtime.synced(5.0) == []


async def test_synced_does_not_wait_for_links_that_have_failed() -> None:
    def denied(link: FakeLink) -> None:
        link.changed(LinkState.DENIED, "no")

    async with running(opens, denied) as (runtime, _, _):
        assert await runtime.synced(5.0) == [1]


async def test_synced_gives_up_after_its_time_and_names_the_silent() -> None:
    async with running(opens, None) as (runtime, _, _):
        assert await runtime.synced(0.02) == [1]


async def test_retry_reaches_the_links_that_were_named() -> None:
    async with running(opens, opens) as (runtime, links, _):
        runtime.retry([1])
        assert [link.retried for link in links.made] == [0, 1]


async def test_without_links_nothing_is_asked_of_them() -> None:
    runtime = Runtime(inventory(1), HandClock(), FakeLinks())
    runtime.retry([0])
    runtime.focus([0])
    assert runtime.version == runtime.fleet.version


async def test_the_real_link_feeds_the_runtime_over_a_socket(tmp_path: Path) -> None:
    socket = tmp_path / "a.sock"
    entries = (HostEntry("here", UnixTarget(str(socket))), HostEntry("gone", UnixTarget(str(tmp_path / "no.sock"))))
    runtime = Runtime(Inventory(entries), SystemClock(), claiming("eva"))
    async with FakeAgent(socket) as agent, asyncio.TaskGroup() as group:
        task = group.create_task(runtime.run())
        assert await runtime.synced(5.0) == [1]
        assert runtime.fleet.hosts[0].live
        assert runtime.fleet.hosts[1].link.state is LinkState.AGENT_DOWN
        assert runtime.fleet.gpus.value("gpu.utilization").tolist() == [0.5, 0.5]
        assert [hello.operator for hello in agent.asked(Hello)] == ["eva"]
        task.cancel()
