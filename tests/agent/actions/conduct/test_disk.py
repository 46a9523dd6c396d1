"""A journal that cannot be written, full or slow: nothing is done that would not be on the record."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.actions.conduct import record
from agent.errors import Refusal
from agent.recorder.journal.batch import Batch
from agent.recorder.journal.store import Store
from agent.wire.actions import ActState
from tests.agent.actions.conduct.bench import KEY, Bench, Town, wish
from tests.agent.test_journal_disk import small_disk
from tests.fakes.clock import FakeClock


@pytest.fixture
def town() -> Town:
    return Town(FakeClock())


async def until(claim: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not claim():
            await asyncio.sleep(0.01)


async def test_a_full_disk_stops_the_hands_and_room_lets_them_go_on(town: Town, tmp_path: Path) -> None:
    with small_disk(tmp_path) as disk:
        async with Bench(town, disk / "state").running() as bench:
            filler = disk / "filler"
            with filler.open("wb", buffering=0) as file:
                try:
                    while file.write(b"x" * 4096):
                        pass
                except OSError:
                    pass
            refused = 0
            while not full(bench) and refused < 400:
                bench.clock.move(61)
                await one(bench, f"filling-{refused}")
                refused += 1
            done = len(town.taken)
            with pytest.raises(Refusal) as no:
                await bench.act(wish())
            assert no.value.code == "journal"
            assert (len(town.taken), KEY in town.taken) == (done, False)
            filler.unlink()
            await until(lambda: not full(bench))
            await bench.act(wish(key="later"))
            assert (await bench.until(key="later")).state is ActState.DONE
    assert all(bench.entry(key).state is ActState.DONE for key in town.taken if key in known(bench))


def full(bench: Bench) -> bool:
    return any(reason.code == "journal_full" for reason in bench.recorder.reasons)


async def one(bench: Bench, key: str) -> None:
    """One more action for the disk to remember, if it can."""
    (end,) = await asyncio.gather(bench.act(wish(key=key, reason="x" * 500)), return_exceptions=True)
    if isinstance(end, Refusal):
        assert end.code == "journal", end
    else:
        await bench.until(key=key)


def known(bench: Bench) -> set[str]:
    return {entry.key for entry in bench.entries()}


async def test_a_disk_that_takes_too_long_is_not_waited_for_and_nothing_is_done(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "DURABLE_S", 0.1)
    hangs, write = threading.Event(), Store.write

    def slow(store: Store, batch: Batch) -> None:
        if any(row.room == "action" for row in batch.rows):
            hangs.wait(5)
        write(store, batch)

    async with Bench(town, tmp_path).running() as bench:
        monkeypatch.setattr(Store, "write", slow)
        with pytest.raises(Refusal, match="cannot be written now: nothing was done"):
            await bench.act(wish())
        assert (town.taken, bench.entry().state) == ([], ActState.FAILED)
        hangs.set()
        assert await bench.recorder.settled(5)
    async with Bench(town, tmp_path).running() as bench:
        assert (bench.entry().state, town.taken) == (ActState.FAILED, []), "what came late to the disk says so too"
