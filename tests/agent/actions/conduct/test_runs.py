"""Runs in the journal of a target: who leads, what is marked, what is remembered."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.actions.conduct.leases import GRACE_S
from agent.actions.conduct.runs import MARKS, MOST
from agent.errors import Refusal
from agent.wire.actions import PLAN, Audit, AuditLines, Chunk, Fetch, RunFacts, RunSays, Said
from agent.wire.codec import encode
from agent.wire.shape import unpack
from tests.agent.actions.conduct.bench import BOB, KEY, Bench, Town, wish
from tests.fakes.clock import FakeClock

RUN = "1a2b3c4d"
numbers = itertools.count()


@pytest.fixture
def town() -> Town:
    return Town(FakeClock())


def word(what: Said, author: str = "alice#aaaa", **more: Any) -> RunSays:
    more = {"key": f"w{next(numbers)}", "run": RUN, **more}
    return RunSays(3, what=what, author=author, **more)


def begun(**more: Any) -> RunSays:
    more = {"key": f"{RUN}/begun", "plan": b"the plan", "plan_hash": "beef", "runbook": "drain-replica", **more}
    return word(Said.BEGUN, **more)


def told(bench: Bench, run: str = RUN) -> RunFacts:
    return next(one for item in bench.told["runs"] if (one := unpack(RunFacts, item)).id == run)


async def says(bench: Bench, said: RunSays, **more: Any) -> Any:
    return await bench.hands.answer(said, more.get("who", replace(BOB, role="operator", user="alice")))


async def test_a_run_is_begun_marked_ended_and_all_of_it_is_told(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        done = await says(bench, begun(subject="replica:vllm:8000", reason="sick", incident="abc"))
        assert (done.id, done.annotation) == (3, RUN)
        await says(bench, word(Said.STEP, step="1", state="done", says="nothing in flight"))
        await says(bench, word(Said.ENDED, state="done", says="it serves"))
        run = told(bench)
        assert (run.by, run.user, run.leader, run.state, run.says) == (
            "alice",
            "alice",
            "alice#aaaa",
            "done",
            "it serves",
        )
        assert [(mark.step, mark.state, mark.by) for mark in run.marks] == [("1", "done", "alice")]
        events = bench.events("run")
        assert [event.subject for event in events] == ["replica:vllm:8000"] * 3
        assert events[1].data["mark"]["says"] == "nothing in flight"
        assert "plan" not in events[0].data["run"]
        chunk = await bench.hands.answer(Fetch(4, RUN, PLAN, 4), BOB)
        assert isinstance(chunk, Chunk)
        assert (chunk.data, chunk.total, len(chunk.sha256)) == (b"plan", 8, 64)
    async with Bench(town, tmp_path).running() as bench:
        assert told(bench) == run
        assert (await bench.hands.answer(Fetch(4, RUN, PLAN), BOB)).data == b"the plan"


async def test_who_does_not_lead_any_more_is_told_who_does(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        await says(bench, begun())
        await says(bench, word(Said.TAKEN, "alice#bbbb"))
        for what in (Said.RENEW, Said.STEP, Said.ENDED):
            with pytest.raises(Refusal, match="led by alice#bbbb now") as no:
                await says(bench, word(what, state="done", step="1"))
            assert no.value.code == "denied"
        await says(bench, word(Said.RENEW, "alice#bbbb"))
        await says(bench, word(Said.TAKEN))
        assert told(bench).leader == "alice#aaaa"


async def test_repeats_are_harmless_and_another_plan_under_the_same_id_is_refused(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        await says(bench, begun())
        await says(bench, begun())
        step = word(Said.STEP, step="1", state="done")
        await says(bench, step)
        await says(bench, step)
        assert (len(told(bench).marks), len(bench.events("run"))) == (1, 2)
        await says(bench, begun())
        assert len(told(bench).marks) == 1, "a late repeat of the beginning begins nothing anew"
        with pytest.raises(Refusal, match="another plan"):
            await says(bench, begun(plan_hash="dead", key="other"))


async def test_a_sign_of_life_is_a_fact_and_no_event_and_renews_leases(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        await says(bench, begun())
        await bench.act(wish(lease_s=60))
        await bench.until()
        for _ in range(4):
            town.clock.move(40)
            await says(bench, word(Said.RENEW))
            bench.hands.orphans.tick()
        assert told(bench).heard == town.clock.wall()
        assert (bench.entry().lease, len(bench.entries())) == (town.clock.wall() + 60, 1)
        assert len(bench.events("run")) == 1
        await says(bench, word(Said.ENDED, state="done"))
        assert (bench.entry(KEY).lease, bench.entry(KEY).orphaned) == (0.0, False)
        town.clock.move(10 * GRACE_S)
        bench.hands.orphans.tick()
        assert len(bench.entries()) == 1


async def test_marks_are_bounded_and_the_newest_of_each_step_stay(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        await says(bench, begun())
        await says(bench, word(Said.STEP, step="first", state="done"))
        for number in range(MARKS + 20):
            await says(bench, word(Said.STEP, step=str(number % 5), state="again"))
        marks = told(bench).marks
        assert len(marks) == MARKS
        assert marks[0].step == "first"


async def test_only_operators_write_runs_and_everybody_reads_them(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        with pytest.raises(Refusal, match="bob has the role viewer"):
            await says(bench, begun(), who=BOB)
        await says(bench, begun())
        assert (await bench.hands.answer(Fetch(4, RUN, PLAN), BOB)).total == 8
        with pytest.raises(Refusal, match="bob has the role viewer"):
            await bench.hands.answer(Fetch(4, RUN, "bundle.tar.gz"), BOB)
        assert (await bench.hands.answer(Audit(5), BOB)).lines == (b"{}",)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (begun(plan=b"", run="other", key="k"), "too_large"),
        (begun(run="../x", key="k"), "invalid"),
        (word(Said.RENEW, run="nope"), "unknown"),
        (word(Said.ENDED, state="perhaps"), "invalid"),
        (word(Said.STEP, step="1", state="maybe"), "invalid"),
        (word(Said.UNKNOWN), "invalid"),
    ],
)
async def test_words_that_make_no_sense_are_refused(town: Town, tmp_path: Path, said: RunSays, code: str) -> None:
    async with Bench(town, tmp_path).running() as bench:
        await says(bench, begun())
        with pytest.raises(Refusal) as no:
            await says(bench, said)
        assert no.value.code == code


async def test_old_runs_leave_and_those_that_go_on_stay(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        await says(bench, begun())
        for number in range(MOST + 5):
            run = f"{number:08x}"
            await says(bench, begun(run=run, key="b"))
            await says(bench, word(Said.ENDED, run=run, state="done"))
        ids = [item["id"] for item in bench.told["runs"]]
        assert len(ids) == MOST + 1
        assert RUN in ids
    async with Bench(town, tmp_path).running() as bench:
        assert {item["id"] for item in bench.told["runs"]} == set(ids)


async def test_an_answer_about_the_audit_is_as_long_as_a_frame(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        town.lines = ["x" * 16_000, "\udcff" * 9] * 100
        answer = await bench.hands.answer(Audit(5), BOB)
        assert isinstance(answer, AuditLines)
        assert 2 < len(answer.lines) < 200
        assert answer.lines[1] == b"\xff" * 9
        assert len(encode(answer)) < 600_000


async def test_no_run_begins_where_the_journal_cannot_be_written(town: Town) -> None:
    async with Bench(town, None).running() as bench:
        with pytest.raises(Refusal, match="cannot be written") as no:
            await says(bench, begun())
        assert no.value.code == "journal"
