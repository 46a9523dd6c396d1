"""After a crash, a hang-up, a lost lease: ledger and world agree, and nothing runs twice."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agent.actions.conduct import work
from agent.actions.conduct.leases import GRACE_S
from agent.errors import Refusal
from agent.wire.actions import ActMode, ActState, Orphan
from tests.agent.actions.conduct.bench import BOB, BOOT, KEY, Bench, Town, wish
from tests.fakes.clock import FakeClock

SERVER = "backend:lb/llm/s1"


@pytest.fixture
def town() -> Town:
    return Town(FakeClock())


async def tick(bench: Bench, seconds: float) -> None:
    """Time passes, and the agent looks at the clock."""
    bench.clock.move(seconds)
    bench.hands.orphans.tick()
    await asyncio.sleep(0)


class Killed(BaseException):
    """Stands for a SIGKILL at a boundary."""


async def killed_at(bench: Bench, boundary: str, **more: Any) -> None:
    """The agent dies there: what it has not written by then is lost."""
    reached = asyncio.Event()

    def step(name: str, key: str) -> None:
        if name == boundary:
            reached.set()
            raise asyncio.CancelledError

    bench.hands.conductor._step = bench.hands.conductor._worker._step = step
    async with bench.running():
        await bench.act(wish(**more))
        async with asyncio.timeout(5):
            await reached.wait()


@pytest.mark.parametrize(
    ("boundary", "state", "taken"),
    [
        ("accepted", ActState.INTERRUPTED, []),
        ("before-run", ActState.INTERRUPTED, []),
        ("after-run", ActState.DONE, [KEY]),
        ("before-end", ActState.DONE, [KEY]),
        ("ended", ActState.DONE, [KEY]),
    ],
)
async def test_killed_at_a_boundary_the_next_start_learns_by_looking(
    town: Town, tmp_path: Path, boundary: str, state: ActState, taken: list[str]
) -> None:
    await killed_at(Bench(town, tmp_path), boundary)
    async with Bench(town, tmp_path).running() as bench:
        entry = await bench.until()
        assert (entry.state, town.taken) == (state, taken)
        if not taken:
            assert entry.says == "the agent ended before it began: nothing was touched"
        again = await bench.act(wish())
        assert (again.action.state, town.taken) == (state, taken), "the same key never begins again"
        town.keys.clear()
        town.void.discard(KEY)
    async with Bench(town, tmp_path).running() as bench:
        assert (bench.entry().state, town.taken) == (state, taken)


async def test_what_still_waits_at_the_helpers_door_is_never_begun_after_it_was_called_interrupted(
    town: Town, tmp_path: Path
) -> None:
    await killed_at(Bench(town, tmp_path), "before-run")
    async with Bench(town, tmp_path).running() as bench:
        assert (await bench.until()).state is ActState.INTERRUPTED
        late = await town.ask({"verb": "act", "key": KEY, "args": {"subject": SERVER, "to": "drain"}})
        assert (late.end, town.taken, town.state) == ("refused", [], {})


async def test_killed_right_after_it_was_given_up_it_is_interrupted_all_the_same(town: Town, tmp_path: Path) -> None:
    await killed_at(Bench(town, tmp_path), "before-run")
    town.void.add(KEY)
    town.state[SERVER] = "drain"  # by somebody else, meanwhile
    async with Bench(town, tmp_path).running() as bench:
        entry = await bench.until()
        assert (entry.state, entry.says) == (ActState.INTERRUPTED, "it was given up before it began")


async def test_a_lost_answer_is_looked_for_and_told_when_known(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        town.loses = True
        await bench.act(wish())
        entry = await bench.until()
        assert (entry.state, entry.says, town.taken) == (ActState.DONE, "it is drain", [KEY])


async def test_while_nobody_can_look_it_is_unknown_its_target_is_taken_and_then_it_is_corrected(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "RETRIES_S", (5.0, 5.0))
    async with Bench(town, tmp_path).running() as bench:
        town.loses = town.vanishes = True
        await bench.act(wish())
        entry = await bench.until(ActState.UNKNOWN)
        assert entry.ended is None
        town.absent = False
        with pytest.raises(Refusal, match="at work"):
            await bench.act(wish(key="other"))
        await bench.clock.advance(6)
        entry = await bench.until()
        assert (entry.state, town.taken) == (ActState.DONE, [KEY])
        states = [event.data["action"]["state"] for event in bench.events() if event.data["action"]["key"] == KEY]
        assert states == ["accepted", "running", "unknown", "done"]


async def test_what_nobody_can_ever_tell_stays_unknown_and_frees_its_target(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "RETRIES_S", (5.0,))
    async with Bench(town, tmp_path).running() as bench:
        town.loses = town.vanishes = True
        await bench.act(wish())
        await bench.until(ActState.UNKNOWN)
        await bench.clock.advance(6)
        entry = await bench.until()
        assert entry.state is ActState.UNKNOWN
        assert bench.hands.conductor.at_work == {}


async def test_an_agent_killed_while_it_looks_goes_on_looking(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "RETRIES_S", (5.0,))
    async with Bench(town, tmp_path).running() as bench:
        town.loses = town.vanishes = True
        await bench.act(wish())
        await bench.until(ActState.UNKNOWN)
    town.absent = False
    async with Bench(town, tmp_path).running() as bench:
        assert (await bench.until()).state is ActState.DONE
        assert town.taken == [KEY]


async def test_an_executor_that_breaks_is_looked_after(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        bench.drain.breaks = True
        await bench.act(wish())
        entry = await bench.until()
        assert (entry.state, town.taken) == (ActState.DONE, [KEY])
        await bench.act(wish("haproxy.ready", key="next"))


async def drained(bench: Bench, **more: Any) -> None:
    await bench.act(wish(**{"lease_s": 60.0, **more}))
    assert (await bench.until()).state is ActState.DONE


async def test_a_lease_that_runs_out_is_undone_where_nothing_is_wrong(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        await drained(bench)
        await tick(bench, 59)
        assert len(bench.entries()) == 1
        await tick(bench, 2)
        undo = await bench.until(key=f"{KEY}/orphan")
        assert (undo.by, undo.user, undo.reason) == ("agent", "agent", "the lease of run 1a2b3c4d ran out")
        assert town.state == {SERVER: "ready"}
        first = bench.entry()
        assert (first.undone, first.orphaned, first.lease) == (f"{KEY}/orphan", False, 0.0)
        await tick(bench, 600)
        assert len(bench.entries()) == 2


@pytest.mark.parametrize(
    ("orphan", "trouble", "kept"),
    [
        (Orphan.AUTO, {SERVER}, True),
        (Orphan.AUTO, {"gpu:GPU-9"}, False),
        (Orphan.KEEP, set(), True),
        (Orphan.UNDO, {SERVER}, False),
    ],
)
async def test_an_orphan_follows_on_orphan(
    town: Town, tmp_path: Path, orphan: Orphan, trouble: set[str], kept: bool
) -> None:
    async with Bench(town, tmp_path).running() as bench:
        bench.troubled = trouble
        await drained(bench, on_orphan=orphan)
        await tick(bench, 61)
        if not kept:
            await bench.until(key=f"{KEY}/orphan")
        assert bench.entry().orphaned is kept
        assert town.state == {SERVER: "drain" if kept else "ready"}


async def test_a_gpu_of_the_replica_that_is_in_trouble_keeps_it_out(town: Town, tmp_path: Path) -> None:
    town.sections["replicas"] = [{"id": "vllm:8000", "port": 8000, "gpus": ["GPU-1"]}]
    town.sections["backends"] = [
        {"lb": "lb", "backend": "llm", "server": "s1", "address": "127.0.0.1", "port": 8000, "state": "draining"}
    ]
    async with Bench(town, tmp_path).running() as bench:
        bench.troubled = {"gpu:GPU-1"}
        await drained(bench)
        await tick(bench, 61)
        assert bench.entry().orphaned


async def test_an_orphan_is_none_any_more_when_its_run_speaks_or_its_target_is_back(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        await drained(bench, on_orphan=Orphan.KEEP)
        await tick(bench, 61)
        assert bench.entry().orphaned
        bench.hands.orphans.heard("1a2b3c4d")
        assert (bench.entry().orphaned, bench.entry().lease) == (False, bench.clock.wall() + 60)
        await tick(bench, 61)
        assert bench.entry().orphaned
        place = {"lb": "lb", "backend": "llm", "server": "s1"}
        town.sections["backends"] = [{**place, "state": "draining"}]
        await tick(bench, 2)
        assert bench.entry().orphaned
        town.sections["backends"] = [{**place, "state": "up"}]
        await tick(bench, 2)
        assert (bench.entry().orphaned, bench.entry().lease) == (False, 0.0)


async def test_somebody_else_who_puts_it_back_ends_the_lease(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        await drained(bench)
        await bench.act(wish("haproxy.ready", key="by-hand", run=""))
        await bench.until(key="by-hand")
        assert bench.entry().lease == 0.0
        await tick(bench, 600)
        assert len(bench.entries()) == 2


async def test_a_run_that_ends_leaves_what_it_did(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        await drained(bench)
        bench.hands.orphans.ended("1a2b3c4d")
        await tick(bench, 600)
        assert (bench.entry().orphaned, len(bench.entries())) == (False, 1)


async def test_a_clock_that_is_set_neither_ends_a_lease_nor_stretches_it(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        await drained(bench)
        bench.clock._wall += 86400.0
        await tick(bench, 50)
        assert len(bench.entries()) == 1
        bench.clock._wall -= 2 * 86400.0
        await tick(bench, 11)
        await bench.until(key=f"{KEY}/orphan")


async def test_a_lease_survives_a_restart_and_its_run_gets_a_moment_to_be_heard(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        await drained(bench)
    town.clock.move(3600)
    async with Bench(town, tmp_path).running() as bench:
        await tick(bench, GRACE_S - 5)
        assert len(bench.entries()) == 1
        bench.hands.orphans.heard("1a2b3c4d")
        await tick(bench, 55)
        assert len(bench.entries()) == 1
        await tick(bench, 10)
        await bench.until(key=f"{KEY}/orphan")
        assert town.state == {SERVER: "ready"}


async def test_a_lease_survives_a_reboot_by_the_wall_clock(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        await drained(bench)
    town.clock.move(5)
    town.clock._mono = 3.0
    async with Bench(town, tmp_path, boot=f"{BOOT}-next").running() as bench:
        await tick(bench, 45)
        assert len(bench.entries()) == 1
        await tick(bench, 15)
        await bench.until(key=f"{KEY}/orphan")


async def test_an_undo_that_fails_is_tried_again_and_in_the_end_the_orphan_is_kept(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        await drained(bench)
        bench.ready.role = ""
        await tick(bench, 61)
        async with asyncio.timeout(5):
            while not bench.entry().orphaned:
                await asyncio.sleep(0.005)
        assert town.state == {SERVER: "drain"}
        assert "could not be taken back" in bench.events()[-1].text


async def test_an_orphan_is_let_be_while_somebody_is_at_work_there(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        await drained(bench)
        town.gate = asyncio.Event()
        await bench.act(wish("systemd.restart", key="by-hand", run=""))
        await bench.until(ActState.RUNNING, key="by-hand")
        events = len(bench.events())
        for _ in range(40):
            await tick(bench, 6)
        assert (bench.entry().orphaned, len(bench.entries()), len(bench.events())) == (False, 2, events)
        town.gate.set()
        await bench.until(key="by-hand")
        await tick(bench, 6)
        assert (await bench.until(key=f"{KEY}/orphan")).state is ActState.DONE


async def test_what_another_run_wants_as_it_is_too_is_not_taken_back_under_its_hands(
    town: Town, tmp_path: Path
) -> None:
    async with Bench(town, tmp_path).running() as bench:
        await drained(bench)
        await bench.act(wish(key="other/1", run="other", lease_s=600.0))
        await bench.until(key="other/1")
        await tick(bench, 61)
        assert (town.state[SERVER], bench.entry().orphaned) == ("drain", True)
        assert "the run other of alice wants the same" in bench.events()[-1].text


async def test_who_is_always_busy_is_told_in_the_end(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        await drained(bench)
        town.gate = asyncio.Event()
        await bench.act(wish("systemd.restart", key="by-hand", run=""))
        await bench.until(ActState.RUNNING, key="by-hand")
        for _ in range(5):
            await tick(bench, 300)
        assert bench.entry().orphaned


async def test_an_agent_killed_while_it_takes_an_orphan_back_takes_it_back_once(town: Town, tmp_path: Path) -> None:
    first = Bench(town, tmp_path)
    async with first.running() as bench:
        await drained(bench)

        def step(name: str, key: str) -> None:
            if name == "accepted":
                raise asyncio.CancelledError

        bench.hands.conductor._step = step
        await tick(bench, 61)
        await bench.until(ActState.ACCEPTED, key=f"{KEY}/orphan")
    async with Bench(town, tmp_path).running() as bench:
        assert (await bench.until(key=f"{KEY}/orphan")).state is ActState.INTERRUPTED
        await tick(bench, GRACE_S + 1)
        assert (await bench.until(key=f"{KEY}/orphan~2")).state is ActState.DONE
        assert town.taken == [KEY, f"{KEY}/orphan~2"]
        assert bench.entry().undone == f"{KEY}/orphan~2"


async def test_open_entries_hold_their_target_until_it_is_known_what_became_of_them(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "RETRIES_S", (5.0,))
    await killed_at(Bench(town, tmp_path), "after-run")
    town.absent = True
    async with Bench(town, tmp_path).running() as bench:
        await bench.until(ActState.UNKNOWN)
        town.absent = False
        with pytest.raises(Refusal, match="at work"):
            await bench.act(wish("haproxy.ready", key="k", mode=ActMode.RUN))
        await bench.clock.advance(6)
        await bench.until()
        await bench.act(wish("haproxy.ready", key="k"))


async def test_nobody_keeps_a_drain_by_asking_for_its_undo_under_the_agents_key(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        await drained(bench)
        bench.ready.slow = asyncio.Event()
        key = f"{KEY}/orphan"
        theirs = asyncio.ensure_future(bench.act(wish(key=key, action="", mode=ActMode.UNDO, of=KEY), BOB))
        await asyncio.sleep(0.01)
        await tick(bench, 61)
        bench.ready.slow.set()
        with pytest.raises(Refusal, match="viewer"):
            await theirs
        assert (await bench.until(key=key)).state is ActState.DONE
        assert town.state == {SERVER: "ready"}
        assert not bench.entry().orphaned
