"""One answer for each wish, one execution for each key, nothing before the journal has it."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from agent.actions.conduct import conductor
from agent.actions.conduct.record import LINES, REFUSALS, fitting
from agent.errors import Refusal
from agent.wire.actions import ActionFacts, ActMode, ActState, Guard
from agent.wire.codec import encode
from agent.wire.frames import Facts
from agent.wire.limits import FROM_AGENT_BYTES
from agent.wire.shape import pack
from agent.wire.specs import Severity
from tests.agent.actions.conduct.bench import ALICE, BOB, KEY, ROOT, Bench, Town, wish
from tests.fakes.clock import FakeClock


@pytest.fixture
def town() -> Town:
    return Town(FakeClock())


async def refused(bench: Bench, code: str, *args: object, **more: object) -> str:
    with pytest.raises(Refusal) as no:
        await bench.act(*args, **more)  # type: ignore[arg-type]
    assert no.value.code == code, no.value
    return str(no.value)


async def test_an_action_is_written_down_done_and_told(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        answer = await bench.act(wish(reason="it is sick", incident="abc"))
        assert (answer.id, answer.action.state, answer.action.user) == (7, ActState.ACCEPTED, "alice")
        entry = await bench.until()
        assert (entry.state, entry.says, entry.before) == (ActState.DONE, "it is drain", {"state": "ready"})
        assert entry.command == ("set backend:lb/llm/s1 drain",)
        assert town.state == {"backend:lb/llm/s1": "drain"}
        assert bench.steps == ["accepted", "before-run", "after-run", "before-end", "ended"]
        told = [event.data["action"]["state"] for event in bench.events() if "action" in event.data]
        assert told == ["accepted", "running", "done"]
        assert {event.subject for event in bench.events()} == {"backend:lb/llm/s1"}


async def test_fifty_of_one_key_are_one_execution_and_fifty_equal_answers(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        answers = await asyncio.gather(*(bench.act(wish()) for _ in range(50)))
        assert len({str(answer) for answer in answers}) == 1
        await bench.until()
        assert town.taken == [KEY]
        again = [await bench.act(wish()) for _ in range(3)]
        assert {answer.action.state for answer in again} == {ActState.DONE}
        assert town.taken == [KEY]


async def test_a_key_that_was_used_for_something_else_is_refused(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        town.gate = asyncio.Event()
        await bench.act(wish())
        assert "take a new one" in await refused(bench, "invalid", wish(subject="backend:lb/llm/s2"))
        assert "take a new one" in await refused(bench, "invalid", wish("haproxy.ready"))
        assert (await bench.act(wish(author="bob", reason="taken over"))).action.by == "alice"
        town.gate.set()


async def test_what_the_journal_does_not_take_is_not_done(town: Town) -> None:
    async with Bench(town, None).running() as bench:
        says = await refused(bench, "journal", wish())
        assert says == "the journal of this host cannot be written now: nothing was done"
        assert (town.taken, town.state) == ([], {})
        assert bench.entry().state is ActState.FAILED
        assert bench.steps == []


async def test_a_dry_run_writes_nothing_and_viewers_may_ask(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        given = bench.recorder.log.given
        answer = await bench.act(wish(mode=ActMode.DRY, key="dry"), BOB)
        assert answer.action.command == ("set backend:lb/llm/s1 drain",)
        assert (answer.effect, answer.expect) == ("it is out", {"state": "ready", "boot": "boot-1"})
        held = {guard.id: guard.ok for guard in answer.guards}
        assert held == {"role": False, "identity": True, "busy": True}
        assert not answer.guards[0].ok, "what does not hold comes first"
        assert (town.taken, bench.told["actions"], bench.recorder.log.given) == ([], [], given)
        assert town.notes == []


async def test_who_may_not_is_refused_on_the_record_and_the_key_stays_free(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        says = await refused(bench, "denied", wish(), BOB)
        assert says.startswith("bob has the role viewer and this wants operator")
        assert (town.taken, bench.entries()) == ([], [])
        event = bench.events()[-1]
        assert (event.severity, event.data["action"]["state"]) == (Severity.WARNING, "failed")
        assert event.data["action"]["says"].startswith("refused: bob")
        async with asyncio.timeout(5):
            while not town.notes:
                await asyncio.sleep(0.005)
        assert town.notes[0]["what"] == "refused"
        await bench.act(wish())
        assert (await bench.until()).state is ActState.DONE


async def test_a_rule_that_wants_nobody_or_a_role_that_nobody_knows_lets_nobody_through(
    town: Town, tmp_path: Path
) -> None:
    async with Bench(town, tmp_path).running() as bench:
        bench.drain.role = ""
        await refused(bench, "denied", wish(), ROOT)
        bench.drain.role = "emperor"
        await refused(bench, "denied", wish(), ALICE)
        await bench.act(wish(), ROOT)


async def test_attempts_that_are_refused_do_not_flood_the_journal(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        for number in range(REFUSALS + 20):
            await refused(bench, "denied", wish(key=f"k{number}"), BOB)
        assert len(bench.events()) == REFUSALS
        town.clock.move(61)
        await refused(bench, "denied", wish(key="last"), BOB)
        assert "20 more attempts" in bench.events()[-1].text


@pytest.mark.parametrize(
    ("expect", "says"),
    [({"state": "drain"}, "it was drain, it is ready now"), ({"boot": "boot-0"}, "rebooted since the plan")],
)
async def test_another_world_than_the_plan_saw_is_refused(
    town: Town, tmp_path: Path, expect: dict[str, str], says: str
) -> None:
    async with Bench(town, tmp_path).running() as bench:
        assert says in await refused(bench, "gone", wish(expect=expect))
        assert says in await refused(bench, "gone", wish(expect=expect, overrides=("identity", "boot")))
        assert town.taken == []


async def test_what_should_have_begun_before_does_not(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        now = town.clock.wall()
        assert "it was to begin 5 s ago" in await refused(bench, "expired", wish(not_after=now - 5))
        await bench.act(wish(not_after=now + 5))


async def test_a_guard_about_capacity_may_be_passed_by_name_and_a_soft_one_anyhow(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        bench.drain.guards = (Guard("quorum", False, "no majority"), Guard("killmode", False, "careful", soft=True))
        assert "no majority" in await refused(bench, "invalid", wish())
        await bench.act(wish(overrides=("quorum",)))
        assert (await bench.until()).overrides == ("quorum",)
        bench.ready.guards = (Guard("floor", False, "below the floor"),)
        assert "floor" in await refused(bench, "invalid", wish("haproxy.ready", key="k", overrides=("floor",)))


async def test_one_action_at_a_time_on_what_shares_its_fate(town: Town, tmp_path: Path) -> None:
    replica = {"id": "vllm:8000", "unit": "vllm@0.service", "gpus": ["GPU-1"], "pids": [42]}
    town.sections["replicas"] = [replica, {"id": "vllm:8001", "unit": "vllm@1.service", "gpus": ["GPU-2"]}]
    async with Bench(town, tmp_path).running() as bench:
        town.gate = asyncio.Event()
        await bench.act(wish("systemd.restart", "replica:vllm:8000"))
        for subject in ("unit:vllm@0.service", "process:42", "replica:vllm:8000"):
            says = await refused(bench, "busy", wish("systemd.restart", subject, key="other"))
            assert f"the action {KEY} is at work" in says
        town.gate.set()
        await bench.act(wish("systemd.restart", "replica:vllm:8001", key="other"))
        await bench.until()
        await bench.until(key="other")
        await bench.act(wish("systemd.restart", "unit:vllm@0.service", key="later"))
        assert (await bench.until(key="later")).state is ActState.DONE


async def test_of_two_at_the_same_moment_on_one_target_one_is_done(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        bench.drain.slow = asyncio.Event()
        both = [asyncio.ensure_future(bench.act(wish(key=f"k{number}"))) for number in range(2)]
        await asyncio.sleep(0.01)
        bench.drain.slow.set()
        ends = await asyncio.gather(*both, return_exceptions=True)
        assert sorted(type(end).__name__ for end in ends) == ["Acted", "Refusal"]


async def test_a_look_that_hangs_is_a_guard_and_never_an_execution(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conductor, "LOOK_S", 0.02)
    monkeypatch.setattr(conductor, "ANSWER_S", 0.42)
    async with Bench(town, tmp_path).running() as bench:
        bench.drain.slow = asyncio.Event()
        answer = await bench.act(wish(mode=ActMode.DRY))
        assert [guard.id for guard in answer.guards if not guard.ok] == ["look"]
        assert "took longer" in await refused(bench, "invalid", wish())
        assert "took longer" in await refused(bench, "invalid", wish(overrides=("look", "fresh")))
        bench.drain.slow.set()
        assert town.taken == []


async def test_progress_is_told_and_bounded(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        bench.drain.lines = 10 * LINES
        await bench.act(wish())
        await bench.until()
        lines = [str(event.data["line"]) for event in bench.events() if "line" in event.data]
        assert lines[0] == "line 0"
        assert len(lines) == 2
        assert lines[-1].startswith(f"line {10 * LINES - 1} (1998 lines before")


async def test_halt_stops_the_waiting_and_looks_what_became_of_it(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        town.gate = asyncio.Event()
        await bench.act(wish())
        await bench.until(ActState.RUNNING)
        while not town.taken:
            await asyncio.sleep(0.005)
        halt = wish(key="h", mode=ActMode.HALT, of=KEY)
        await refused(bench, "denied", halt, BOB)
        assert (await bench.act(halt)).action.state is ActState.RUNNING
        entry = await bench.until()
        assert (entry.state, entry.says, town.taken) == (ActState.DONE, "it is drain", [KEY])
        await refused(bench, "gone", halt)
        await bench.act(wish("haproxy.ready", key="next"))


async def test_an_undo_takes_back_and_both_say_so(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        await bench.act(wish(lease_s=60))
        await bench.until()
        undo = wish("", "", key=f"{KEY}/undo", mode=ActMode.UNDO, of=KEY)
        planned = await bench.act(replace(undo, mode=ActMode.DRY, key="dry"))
        assert planned.action.command == ("set backend:lb/llm/s1 ready",)
        await bench.act(undo)
        undone = await bench.until(key=f"{KEY}/undo")
        assert (undone.action, undone.undoes, undone.state) == ("haproxy.ready", KEY, ActState.DONE)
        first = bench.entry()
        assert (first.undone, first.lease, first.orphaned) == (f"{KEY}/undo", 0.0, False)
        assert "taken back already" in await refused(bench, "gone", replace(undo, key="again"))
        assert (await bench.act(undo)).action.state is ActState.DONE, "a repeat is no second undo"
        assert town.state == {"backend:lb/llm/s1": "ready"}


async def test_what_cannot_be_undone_says_so(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        await bench.act(wish("systemd.restart", "unit:a.service"))
        await bench.until()
        undo = wish("", "", key="u", mode=ActMode.UNDO, of=KEY)
        assert "cannot be undone" in await refused(bench, "invalid", undo)
        assert "no action 'nope'" in await refused(bench, "unknown", replace(undo, of="nope"))


@pytest.mark.parametrize("key", ["", "-x", "a b", "x" * 65, "a\nb", "a;b"])
async def test_keys_that_are_none_are_refused(town: Town, tmp_path: Path, key: str) -> None:
    async with Bench(town, tmp_path).running() as bench:
        await refused(bench, "invalid", wish(key=key))
        await refused(bench, "unknown", wish("no.such"))
        await refused(bench, "too_large", wish(params={"a": "x" * 9000}))


async def test_hello_says_what_the_role_may(town: Town, tmp_path: Path) -> None:
    async with Bench(town, tmp_path).running() as bench:
        async with asyncio.timeout(5):
            while not bench.hands.notes.count and bench.hands.notes.head == "":
                await asyncio.sleep(0.005)
        assert bench.hands.may("viewer") == ()
        assert bench.hands.may("operator") == ("haproxy.drain", "haproxy.ready")


def test_a_section_that_is_too_large_keeps_what_is_open_and_the_newest() -> None:
    before = {str(number): "x" * 4000 for number in range(5)}
    entries = [ActionFacts(f"k{number}", "haproxy.drain", "host", before=before, ended=1.0) for number in range(100)]
    entries[0] = replace(entries[0], ended=None)
    entries[3] = replace(entries[3], orphaned=True)
    items = [(pack(one), one.ended is None or one.orphaned) for one in entries]
    keys = [item["key"] for item in fitting(items)]
    assert keys[:2] == ["k0", "k3"]
    assert keys[2:] == [f"k{number}" for number in range(100 - len(keys) + 2, 100)]
    assert 20 < len(keys) < 100
    assert len(encode(Facts("actions", fitting(items)))) < FROM_AGENT_BYTES


async def test_whoever_may_not_is_in_nobodys_way_under_the_same_key(town: Town, tmp_path: Path) -> None:
    """The next key of a run is known to whoever can look."""
    async with Bench(town, tmp_path).running() as bench:
        bench.drain.slow = bench.ready.slow = asyncio.Event()
        theirs = [asyncio.ensure_future(bench.act(wish(), BOB)),
                  asyncio.ensure_future(bench.act(wish(action="haproxy.ready"), BOB))]  # fmt: skip
        await asyncio.sleep(0.01)
        ours = [asyncio.ensure_future(bench.act(wish())), asyncio.ensure_future(bench.act(wish(), ROOT))]
        await asyncio.sleep(0.01)
        bench.drain.slow.set()
        assert [type(one).__name__ for one in await asyncio.gather(*theirs, return_exceptions=True)] == ["Refusal"] * 2
        first, second = await asyncio.gather(*ours)
        assert first.action.key == second.action.key == KEY
        assert (await bench.until()).state is ActState.DONE
        assert town.taken == [KEY]
