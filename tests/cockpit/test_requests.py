"""What an agent is asked for: every request ends, with its answer, a refusal, its deadline or its link."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.wire.requests import Annotate, Answer, Done, Journal, Lines, Log, Mark, Page, Refused, Request, Series
from cockpit.clock import SystemClock
from cockpit.errors import RequestError
from cockpit.fleet.link_state import LinkState
from cockpit.inventory import HostEntry, Inventory, UnixTarget
from cockpit.link.requests import FRAMES, IN_FLIGHT, WAITING, Requests
from cockpit.runtime import Runtime
from tests.fakes.agent import FakeAgent, event

NOTE = Annotate(0, "key-1", Mark.NOTE, "eva", text="looked at it")
ASK = Journal(0)


@asynccontextmanager
async def asked(path: Path, agent: FakeAgent) -> AsyncIterator[Runtime]:
    """A runtime on one host that has told all it knows."""
    runtime = Runtime(Inventory((HostEntry("n01", UnixTarget(str(path))),)), SystemClock())
    async with agent, asyncio.TaskGroup() as group:
        task = group.create_task(runtime.run())
        await runtime.synced(5.0)
        try:
            yield runtime
        finally:
            task.cancel()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agent.sock"


def series(number: int, signal: str, *, last: bool) -> Series:
    return Series(number, signal, "watt", 0.0, 1.0, 1.0, 0, b"", b"", b"", b"", last=last)


async def test_an_answer_comes_back_to_who_asked(path: Path) -> None:
    agent = FakeAgent(path)
    agent.answers = lambda request: (Page(request.id, (event(int(request.id)),)),)
    async with asked(path, agent) as runtime:
        answers = await asyncio.gather(*(runtime.request(0, ASK) for _ in range(20)))
    numbers = [page.events[0].seq for (page,) in answers if isinstance(page, Page)]
    assert numbers == list(range(1, 21))
    assert len(agent.asked(Journal)) == 20


async def test_an_answer_of_several_frames_is_handed_over_whole_and_in_order(path: Path) -> None:
    def both(request: Request) -> Sequence[Answer]:
        return (series(request.id, "gpu.power", last=False), series(request.id, "gpu.clock", last=True))

    agent = FakeAgent(path)
    agent.answers = both
    async with asked(path, agent) as runtime:
        answer = await runtime.request(0, ASK)
    assert [frame.signal for frame in answer if isinstance(frame, Series)] == ["gpu.power", "gpu.clock"]


@pytest.mark.parametrize(("code", "status"), [("denied", 3), ("not_recorded", 3), ("unknown", 2), ("invalid", 2)])
async def test_a_refusal_is_one_sentence_and_says_whose_fault_it_is(path: Path, code: str, status: int) -> None:
    agent = FakeAgent(path)
    agent.answers = lambda request: (Refused(request.id, code, "that is not for you"),)
    async with asked(path, agent) as runtime:
        with pytest.raises(RequestError, match=r"^n01: that is not for you$") as caught:
            await runtime.request(0, NOTE)
        assert runtime.fleet.hosts[0].live
    assert (caught.value.code, caught.value.exit_code) == (code, status)


async def test_nobody_waits_longer_than_the_deadline(path: Path) -> None:
    async with asked(path, FakeAgent(path)) as runtime:
        with pytest.raises(RequestError, match=r"^n01: no answer within 0\.03 s$"):
            await runtime.request(0, ASK, 0.03)
        with pytest.raises(RequestError, match="whether it was done is unknown"):
            await runtime.request(0, NOTE, 0.03)


async def test_a_late_answer_hurts_nobody(path: Path) -> None:
    agent = FakeAgent(path)
    async with asked(path, agent) as runtime:
        with pytest.raises(RequestError):
            await runtime.request(0, ASK, 0.02)
        agent.send(Page(1, (event(1),)))
        agent.answers = lambda request: (Done(request.id, "a-1", 7),)
        assert await runtime.request(0, NOTE) == (Done(2, "a-1", 7),)


async def test_a_link_that_is_lost_fails_what_is_under_way_at_once(path: Path) -> None:
    agent = FakeAgent(path)
    async with asked(path, agent) as runtime, asyncio.timeout(5.0):
        under_way = asyncio.ensure_future(runtime.request(0, ASK, 60.0))
        while not agent.asked(Journal):
            await asyncio.sleep(0.001)
        for writer in list(agent.writers):
            writer.close()
        with pytest.raises(RequestError, match=r"^n01: the link was lost before the answer came$") as caught:
            await under_way
    assert caught.value.code == "lost"


async def test_an_annotation_is_repeated_with_its_key_when_the_host_is_back(path: Path) -> None:
    agent = FakeAgent(path)
    async with asked(path, agent) as runtime, asyncio.timeout(10.0):
        under_way = asyncio.ensure_future(runtime.request(0, NOTE, 8.0))
        while not agent.asked(Annotate):
            await asyncio.sleep(0.001)
        agent.answers = lambda request: (Done(request.id, "a-1", 7),)
        for writer in list(agent.writers):
            writer.close()
        (done,) = await under_way
    assert isinstance(done, Done)
    assert [frame.key for frame in agent.asked(Annotate)] == ["key-1", "key-1"]


async def test_of_an_annotation_that_got_no_answer_it_is_said_that_it_may_have_been_done(path: Path) -> None:
    agent = FakeAgent(path)
    async with asked(path, agent) as runtime, asyncio.timeout(5.0):
        under_way = asyncio.ensure_future(runtime.request(0, NOTE, 0.5))
        while not agent.asked(Annotate):
            await asyncio.sleep(0.001)
        await agent.stop()
        with pytest.raises(RequestError, match="lost before the answer came; whether it was done is unknown"):
            await under_way


async def test_who_is_not_connected_cannot_be_asked_and_the_reason_is_named(path: Path) -> None:
    runtime = Runtime(Inventory((HostEntry("n01", UnixTarget(str(path))),)), SystemClock())
    with pytest.raises(RequestError, match="before links run"):
        await runtime.request(0, ASK)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(runtime.run())
        await runtime.synced(5.0)
        assert runtime.fleet.hosts[0].link.state is LinkState.AGENT_DOWN
        with pytest.raises(RequestError, match=r"^n01: cannot be asked while its link is not live: .*agent\.sock"):
            await runtime.request(0, ASK)
        task.cancel()


async def test_an_older_agent_is_not_asked_at_all(path: Path) -> None:
    agent = FakeAgent(path)
    agent.minor = 0
    async with asked(path, agent) as runtime:
        with pytest.raises(RequestError, match=r"too old.*update gpu-cockpit-agent"):
            await runtime.request(0, ASK)
    assert not agent.asked(Journal)


async def test_an_agent_before_logs_is_asked_for_everything_else(path: Path) -> None:
    agent = FakeAgent(path)
    agent.minor = 1
    agent.answers = lambda request: (Page(request.id, ()),)
    async with asked(path, agent) as runtime:
        with pytest.raises(RequestError, match=r"too old.*update gpu-cockpit-agent"):
            await runtime.request(0, Log(0, "replica:vllm:8000"))
        assert await runtime.request(0, ASK)
    assert not agent.asked(Log)


async def test_the_lines_of_a_log_end_their_question(path: Path) -> None:
    agent = FakeAgent(path)
    agent.answers = lambda request: (Lines(request.id, ("one", "two"), "the journal of vllm.service"),)
    async with asked(path, agent) as runtime:
        (lines,) = await runtime.request(0, Log(0, "replica:vllm:8000", 50))
    assert isinstance(lines, Lines)
    assert lines.lines == ("one", "two")
    assert [(log.subject, log.lines) for log in agent.asked(Log)] == [("replica:vllm:8000", 50)]


async def test_few_are_under_way_and_the_others_wait_for_their_turn() -> None:
    sent: list[Request] = []
    requests = Requests("n01", sent.append)
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(requests.ask(ASK, 5.0, 1)) for _ in range(WAITING)]
        await asyncio.sleep(0)
        assert len(sent) == IN_FLIGHT
        with pytest.raises(RequestError, match="64 requests wait already"):
            await requests.ask(ASK, 5.0, 1)
        for answered in range(WAITING):
            requests.answered(Page(sent[answered].id, ()))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert len(sent) <= answered + 1 + IN_FLIGHT
    assert len({request.id for request in sent}) == WAITING
    assert all(task.done() for task in waiting)


async def test_who_waits_for_a_turn_when_the_link_is_lost_is_told_that_nothing_was_done() -> None:
    sent: list[Request] = []
    requests = Requests("n01", sent.append)
    waiting = [asyncio.ensure_future(requests.ask(NOTE, 5.0, 1)) for _ in range(IN_FLIGHT + 1)]
    await asyncio.sleep(0)
    requests.end("the link was lost before the answer came")
    *under_way, last = await asyncio.gather(*waiting, return_exceptions=True)
    assert all("unknown" in str(error) for error in under_way)
    assert str(last) == "n01: the link was lost before the answer came"
    assert len(sent) == IN_FLIGHT
    with pytest.raises(RequestError, match="lost"):
        await requests.ask(ASK, 5.0, 1)


async def test_an_answer_without_an_end_is_cut_off() -> None:
    requests = Requests("n01", lambda request: None)
    waiting = asyncio.ensure_future(requests.ask(ASK, 5.0, 1))
    await asyncio.sleep(0)
    for _ in range(FRAMES + 5):
        requests.answered(series(1, "gpu.power", last=False))
    with pytest.raises(RequestError, match="more than 64 frames"):
        await waiting
