import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.app import HostAgent
from agent.clock import Clock, SystemClock
from agent.config import AgentConfig, HostIdentity
from agent.errors import ServeError
from agent.recorder import Recorder, State
from agent.recorder.state import BLOCK
from agent.sources.base import ALL_SIGNALS, Batch, RawEvent, Reading, Reason
from agent.sources.nvml.signals import GPU_SIGNALS
from agent.wire.frames import Position
from agent.wire.specs import Cadence, Level, Quality, Scope, Severity
from agent.witness import EventDraft
from tests.fakes.client import Client, Picture, fetch, subscribe
from tests.fakes.clock import FakeClock

GPUS = tuple(f"GPU-{number}" for number in range(4))
# A one in each of the others would be a fault.
SIGNALS = ("gpu.utilization", "gpu.temperature", "gpu.power", "gpu.energy", "gpu.memory", "gpu.clock", "gpu.slowdown")
IDENTITY = HostIdentity("h1", "gpu-node-01", "boot-1")


def gpu_facts(**states: str) -> dict[str, Any]:
    def facts(index: int) -> dict[str, Any]:
        state = states.get(f"g{index}", "present")
        return {"index": index, "name": "H100", "bus_id": f"0000:{index:02x}:00", "state": state}

    return {uuid: facts(index) for index, uuid in enumerate(GPUS)}


class Gpus:
    """Four GPUs that answer as told, and a witness that pushes what is put into it."""

    name = "nvml"
    signals = tuple(spec for spec in GPU_SIGNALS if spec.name.startswith(SIGNALS))
    workers = 1

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.facts: dict[str, Any] = gpu_facts()
        self.rows = GPUS
        self.late_s = 0.0
        self.lost: set[str] = set()
        self.reasons: tuple[Reason, ...] | None = None
        self.counted: dict[str, int] = {}
        self.dropped_events = 0
        self.pushes: asyncio.Queue[RawEvent] = asyncio.Queue()
        self.released: list[bool] = []
        self.closed = False
        self.hangs_at_close = False
        self.cursor: tuple[str, int] | None = None

    async def read(self, due: frozenset[Cadence]) -> Reading:
        late_s, self.late_s = self.late_s, 0.0
        await self.clock.sleep(late_s)
        now = self.clock.now()
        said = {(ALL_SIGNALS, uuid): Quality.LOST for uuid in self.lost}
        batches = []
        for cadence in due:
            specs = [spec for spec in self.signals if spec.cadence is cadence]
            if specs:
                columns = {spec.name: [1.0 if spec.kind == "gauge" else 0] * len(self.rows) for spec in specs}
                batches.append(Batch(Scope.GPU, cadence, now, self.rows, columns, said))
        if self.counted and Cadence.MEDIUM in due:
            columns = {name: [value] for name, value in self.counted.items()}
            batches.append(Batch(Scope.HOST, Cadence.MEDIUM, now, ("h1",), columns))
        return Reading(tuple(batches), {"gpus": self.facts}, (), self.reasons)

    async def watch(self) -> AsyncIterator[RawEvent]:
        while True:
            yield await self.pushes.get()

    async def let_go(self) -> None:
        self.released.append(True)

    async def resume(self) -> None:
        self.released.append(False)

    async def close(self) -> None:
        if self.hangs_at_close:
            await asyncio.Event().wait()
        self.closed = True

    def push(self, code: int, gpu: int, text: str = "") -> None:
        now = self.clock.now()
        line = text or f"NVRM: Xid (PCI:0000:{gpu:02x}:00): {code}, GPU has fallen off the bus."
        data = {"xid": code, "line": line}
        event = RawEvent("kernel_log", "xid", now, line, bus_id=f"0000:{gpu:02x}:00", code=code, data=data)
        self.pushes.put_nowait(event)


def make(tmp_path: Path, clock: Clock | None = None, **kwargs) -> tuple[HostAgent, Gpus]:
    clock = clock or SystemClock()
    config = AgentConfig(
        socket=tmp_path / "a.sock", state_dir=tmp_path / "state", labels={"pool": "prod"}, **kwargs.pop("config", {})
    )
    gpus = Gpus(clock)
    recorder = Recorder(config.state_dir, clock, IDENTITY.boot_id)
    return HostAgent(config, IDENTITY, clock, (gpus,), recorder, **kwargs), gpus


@asynccontextmanager
async def running(agent: HostAgent) -> AsyncIterator[None]:
    task = asyncio.get_running_loop().create_task(agent.run())
    ready = asyncio.get_running_loop().create_task(agent.ready())
    await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
    try:
        if task.done():
            task.result()
        yield
    finally:
        agent.close()
        await task


async def look(tmp_path: Path, **kwargs) -> Picture:
    return await asyncio.to_thread(fetch, tmp_path / "a.sock", **kwargs)


async def watch(tmp_path: Path) -> Client:
    client = await Client.open(tmp_path / "a.sock")
    client.send(subscribe())
    await client.until(lambda picture: picture.synced)
    return client


async def test_the_first_look_finds_everything(tmp_path: Path) -> None:
    agent, _ = make(tmp_path)
    async with running(agent):
        picture = await look(tmp_path)
    assert picture.hello is not None
    assert picture.hello.host_id == "h1"
    assert picture.layout is not None
    assert picture.layout.tables == {"host": ("h1",), "gpu": GPUS}
    assert picture.value("gpu.power", "GPU-3") == 1.0
    assert picture.facts["labels"] == {"pool": "prod"}
    assert set(picture.facts["gpus"]) == set(GPUS)
    assert picture.facts["agent"]["pid"] == os.getpid()
    assert picture.facts["reasons"] == []
    assert picture.value("agent.nvml.workers", "h1") == 1
    assert picture.schema is not None
    assert picture.schema.rules


async def test_a_pushed_xid_is_an_event_and_a_finding_before_the_next_tick(tmp_path: Path) -> None:
    agent, gpus = make(tmp_path, config={"interval_s": 30.0})
    async with running(agent):
        client = await watch(tmp_path)
        gpus.push(79, 2)
        picture = await client.until(lambda picture: len(picture.events) >= 2, timeout_s=2)
        xid, finding = picture.events[0], picture.events[1]
        assert (xid.kind, xid.subject, xid.data["xid"]) == ("xid", "gpu:GPU-2", 79)
        assert finding.kind == "finding"
        assert finding.severity is Severity.CRITICAL
        assert finding.data["finding"]["subject"] == "gpu:GPU-2"
        await client.close()
        assert any(item.subject == "gpu:GPU-2" for item in (await look(tmp_path)).findings)


async def test_an_open_finding_survives_a_restart_and_no_number_is_used_twice(tmp_path: Path) -> None:
    agent, gpus = make(tmp_path)
    async with running(agent):
        client = await watch(tmp_path)
        gpus.push(79, 1)
        first = await client.until(lambda picture: len(picture.events) >= 2)
        await client.close()
    seqs = {event.seq for event in first.events}
    agent, gpus = make(tmp_path)
    async with running(agent):
        second = await look(tmp_path, since=Position("boot-1", max(seqs)))
        assert {item.id for item in second.findings} >= {event.data["finding"]["id"] for event in first.events[1:2]}
        client = await watch(tmp_path)
        gpus.push(48, 2)
        later = await client.until(lambda picture: any(event.data.get("xid") == 48 for event in picture.events))
        await client.close()
    kept = {event.seq: event for event in later.events}
    assert [kept[event.seq] for event in first.events] == list(first.events), "what was told before is still there"
    assert not seqs & {event.seq for event in second.events}
    assert not seqs & {event.seq for event in later.events if event.data.get("xid") == 48}


async def test_a_gpu_that_is_lost_keeps_its_row_and_last_values(tmp_path: Path) -> None:
    agent, gpus = make(tmp_path, config={"interval_s": 0.5})
    async with running(agent):
        client = await watch(tmp_path)
        gpus.lost = {"GPU-2"}
        gpus.facts = gpu_facts(g2="lost")
        picture = await client.until(
            lambda picture: (
                picture.quality("gpu.power", "GPU-2") is Quality.LOST
                and picture.facts["gpus"]["GPU-2"]["state"] == "lost"
            )
        )
        assert picture.value("gpu.power", "GPU-2") == 1.0
        assert picture.layout is not None
        assert picture.layout.tables["gpu"] == GPUS
        assert picture.quality("gpu.power", "GPU-1") is Quality.OK
        await client.close()


async def test_a_replica_has_a_row_for_as_long_as_it_is_on_the_roll(tmp_path: Path) -> None:
    def told(*replicas: str) -> Reading:
        return Reading(facts={"replicas": [{"id": replica, "state": "ready"} for replica in replicas]})

    agent, _ = make(tmp_path)
    async with running(agent):
        agent.reading("serving", told("vllm:8000", "triton:8010"))
        picture = await look(tmp_path)
        assert picture.layout is not None
        assert picture.layout.tables["replica"] == ("vllm:8000", "triton:8010")
        assert [one["id"] for one in picture.facts["replicas"]] == ["vllm:8000", "triton:8010"]
        agent.reading("serving", told("triton:8010"))
        picture = await look(tmp_path)
        assert picture.layout is not None
        assert picture.layout.tables["replica"] == ("triton:8010",)


@pytest.mark.parametrize("restarted", [False, True])
async def test_an_xid_that_comes_before_the_gpus_are_known_is_booked_on_its_gpu(
    tmp_path: Path, restarted: bool
) -> None:
    if restarted:
        agent, _ = make(tmp_path)
        async with running(agent):
            pass
    agent, gpus = make(tmp_path)
    gpus.late_s = 0.3
    gpus.push(79, 2)
    async with running(agent):
        picture = await look(tmp_path)
        if not restarted:
            await asyncio.sleep(0.5)
            picture = await look(tmp_path)
    assert {event.subject for event in picture.events} == {"gpu:GPU-2"}
    assert {found.subject for found in picture.findings} == {"gpu:GPU-2"}


async def test_words_about_a_slot_are_those_of_the_gpu_that_is_in_it_now(tmp_path: Path) -> None:
    agent, gpus = make(tmp_path)
    gpus.facts = {"GPU-zz-gone": {"index": 2, "bus_id": "0000:02:00", "state": "missing"}, **gpus.facts}
    gpus.facts["GPU-zzz-gone"] = {"index": 2, "bus_id": "0000:02:00", "state": "lost"}
    async with running(agent):
        client = await watch(tmp_path)
        gpus.push(48, 2)
        picture = await client.until(lambda picture: len(picture.events) >= 2)
        await client.close()
    assert {event.subject for event in picture.events} == {"gpu:GPU-2"}


async def test_a_stand_in_that_got_its_name_leaves_no_row_and_no_finding_behind(tmp_path: Path) -> None:
    agent, gpus = make(tmp_path, config={"interval_s": 0.5})
    named = dict(gpus.facts)
    stand_in = "unidentified-gpu3"
    gpus.facts = {uuid: facts for uuid, facts in named.items() if uuid != "GPU-3"}
    gpus.facts[stand_in] = {"index": 3, "bus_id": "", "state": "lost"}
    gpus.rows = (*GPUS[:3], stand_in)
    gpus.lost = {stand_in}
    async with running(agent):
        client = await watch(tmp_path)
        picture = await client.until(lambda picture: bool(picture.events))
        assert picture.events[0].subject == f"gpu:{stand_in}"
        gpus.facts, gpus.rows, gpus.lost = named, GPUS, set()
        picture = await client.until(lambda picture: picture.layout.tables["gpu"] == GPUS and len(picture.events) == 2)
        opened, cleared = picture.events
        assert cleared.data["change"] == "cleared"
        assert (opened.severity, cleared.severity) == (Severity.CRITICAL, Severity.INFO)
        assert cleared.text == f"cleared: {opened.text}"
        assert cleared.data["finding"]["text"] == opened.text
        assert picture.value("gpu.power", "GPU-3") == 1.0
        await client.close()
        assert (await look(tmp_path)).findings == ()


async def test_two_agents_with_two_sockets_do_not_share_a_state_directory(tmp_path: Path) -> None:
    agent, _ = make(tmp_path)
    async with running(agent):
        config = AgentConfig(socket=tmp_path / "b.sock", state_dir=tmp_path / "state")
        clock = SystemClock()
        other = HostAgent(config, IDENTITY, clock, (Gpus(clock),), Recorder(config.state_dir, clock, "boot-1"))
        with pytest.raises(ServeError, match="another agent keeps its state here"):
            await other.run()
        assert not config.socket.exists()
        assert (await look(tmp_path)).synced
    again, _ = make(tmp_path)
    async with running(again):
        pass


async def test_when_a_gpu_was_last_seen_is_recorded_for_those_that_answer(tmp_path: Path) -> None:
    agent, gpus = make(tmp_path)
    gpus.facts = {uuid: {**facts, "last_seen": 1.0} for uuid, facts in gpu_facts(g1="lost").items()}
    async with running(agent):
        pass
    seen = {uuid: facts["last_seen"] for uuid, facts in State(tmp_path / "state").gpus.items()}
    assert seen["GPU-1"] == 1.0
    assert seen["GPU-0"] > 1.7e9


async def test_identities_are_on_disk_right_after_they_are_known(tmp_path: Path) -> None:
    agent, _ = make(tmp_path)
    async with running(agent):
        await asyncio.sleep(0.5)
        assert set(State(tmp_path / "state").gpus) == set(GPUS)


async def test_identities_and_cursor_are_remembered(tmp_path: Path) -> None:
    agent, gpus = make(tmp_path)
    gpus.cursor = ("boot-1", 4711)
    async with running(agent):
        await look(tmp_path)
    state = Recorder(tmp_path / "state", SystemClock(), "boot-1")
    assert set(state.gpus) == set(GPUS)
    assert state.kernel_log is not None
    assert (state.kernel_log.boot_id, state.kernel_log.seq) == ("boot-1", 4711)


@pytest.mark.parametrize(("configured", "says"), [(None, 2), (1, 2), (4, 4)])
async def test_how_many_gpus_there_should_be_is_told_at_every_level(
    tmp_path: Path, configured: int | None, says: int
) -> None:
    agent, gpus = make(tmp_path, config={"gpus_expected": configured})
    gpus.facts, gpus.rows = {}, ()
    gpus.counted = {"host.gpus.expected": 2, "host.gpus.pci": 2}
    async with running(agent):
        client = await Client.open(tmp_path / "a.sock")
        client.send(subscribe(level=Level.SUMMARY))
        await client.until(lambda picture: picture.synced)
        assert client.picture.facts["agent"]["gpus_expected"] == says
        await client.close()


async def test_events_that_a_source_had_to_drop_are_counted(tmp_path: Path) -> None:
    agent, gpus = make(tmp_path)
    gpus.dropped_events = 7
    async with running(agent):
        assert (await look(tmp_path)).value("agent.events.dropped", "h1") == 7


async def test_a_flood_of_events_never_makes_the_loop_wait_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, gpus = make(tmp_path)
    loop_thread, saved_in = threading.get_ident(), []
    save = State.save

    def saves(state: State) -> bool:
        saved_in.append(threading.get_ident())
        return save(state)

    monkeypatch.setattr(State, "save", saves)
    async with running(agent):
        for turn in range(22):
            async with asyncio.timeout(5):
                while agent.events.runs_low:
                    await asyncio.sleep(0.02)
            for _ in range(150):
                agent.events.append(EventDraft(1.0, 1.0, "kernel", "host", Severity.INFO, "flood", {}, False))
            gpus.push(31, turn % 4)
            await asyncio.sleep(0.02)
        assert agent.events.last_seq > 3 * BLOCK
        assert loop_thread not in saved_in


async def test_what_sources_say_about_themselves_becomes_reasons(tmp_path: Path) -> None:
    agent, gpus = make(tmp_path, config={"interval_s": 0.5})
    gpus.reasons = (Reason("nvml", "driver_missing", "there is no driver", "install one"),)
    async with running(agent):
        client = await watch(tmp_path)
        assert client.picture.facts["reasons"][0]["code"] == "driver_missing"
        gpus.reasons = ()
        await client.until(lambda picture: picture.facts["reasons"] == [])
        await client.close()


async def test_a_state_directory_that_cannot_be_written_is_said_and_streaming_goes_on(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file in the way")
    agent, gpus = make(tmp_path)
    async with running(agent):
        client = await watch(tmp_path)
        assert any(reason["what"] == "state" for reason in client.picture.facts["reasons"])
        gpus.push(79, 0)
        await client.until(lambda picture: picture.events)
        await client.close()


async def test_let_go_and_resume_reach_the_sources(tmp_path: Path) -> None:
    agent, gpus = make(tmp_path)
    async with running(agent):
        agent.let_go(True)
        async with asyncio.timeout(2):
            while gpus.released != [True]:
                await asyncio.sleep(0.01)
        agent.let_go(False)
        async with asyncio.timeout(2):
            while gpus.released != [True, False]:
                await asyncio.sleep(0.01)


async def test_the_end_is_orderly(tmp_path: Path) -> None:
    agent, gpus = make(tmp_path)
    async with running(agent):
        client = await watch(tmp_path)
        agent.close()
        assert (await client.ended()).bye is not None
    assert gpus.closed
    assert not (tmp_path / "a.sock").exists()


async def test_a_source_that_hangs_at_the_end_costs_less_than_three_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.app.host.CLOSE_DEADLINE_S", 0.05)
    agent, gpus = make(tmp_path)
    gpus.hangs_at_close = True
    loop = asyncio.get_running_loop()
    async with running(agent):
        began = loop.time()
    assert loop.time() - began < 1


async def test_a_second_agent_on_the_same_socket_is_refused_and_the_first_unharmed(tmp_path: Path) -> None:
    first, _ = make(tmp_path)
    async with running(first):
        second, gpus = make(tmp_path)
        with pytest.raises(ServeError, match="another agent is running"):
            await second.run()
        assert gpus.closed
        assert (await look(tmp_path)).synced is not None


async def test_several_agents_live_in_one_process(tmp_path: Path) -> None:
    places = [tmp_path / f"h{number}" for number in range(3)]
    for place in places:
        place.mkdir()
    agents = [make(place, companions=3)[0] for place in places]
    async with running(agents[0]), running(agents[1]), running(agents[2]):
        for place in places:
            assert (await look(place)).synced is not None
        agents[1].close()
        async with asyncio.timeout(3):
            while (places[1] / "a.sock").exists():
                await asyncio.sleep(0.01)
        assert (await look(places[2])).synced is not None


async def test_an_agent_can_be_stepped_without_running(tmp_path: Path) -> None:
    clock = FakeClock()
    agent, gpus = make(tmp_path, clock)
    agent.reading("nvml", await gpus.read(frozenset(Cadence)))
    agent.ticked()
    gpus.push(79, 2)
    agent.pushed("nvml", gpus.pushes.get_nowait())
    assert [event.kind for event in agent.events.newest(10)][:2] == ["xid", "finding"]


async def test_evidence_that_no_peer_takes_is_made_fit(tmp_path: Path) -> None:
    agent, gpus = make(tmp_path)
    async with running(agent):
        client = await watch(tmp_path)
        gpus.push(79, 2, text="NVRM: \x1b[31mXid\x07 " + "y" * 9000)
        picture = await client.until(lambda picture: len(picture.events) >= 2)
        assert all("\x1b" not in str(event) for event in picture.events)
        await client.close()


def test_signals_are_installed_by_the_command_line_only(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGUSR1)
    make(tmp_path)
    assert signal.getsignal(signal.SIGUSR1) is before


async def test_levels_differ_per_session(tmp_path: Path) -> None:
    agent, _ = make(tmp_path)
    async with running(agent):
        summary = await look(tmp_path, level=Level.SUMMARY)
        detail = await look(tmp_path)
    assert ("gpu.power", "GPU-0") in summary.cells
    assert ("gpu.clock.sm", "GPU-0") not in summary.cells
    assert len(detail.cells) > 3 * len(summary.cells)


async def test_a_damaged_journal_is_a_finding_and_events_go_on(tmp_path: Path) -> None:
    agent, gpus = make(tmp_path, config={"interval_s": 0.5})
    (tmp_path / "state" / "journal.db").write_bytes(b"no database" * 1000)
    async with running(agent):
        client = await watch(tmp_path)
        gpus.push(79, 1)
        picture = await client.until(
            lambda picture: (
                {event.data.get("finding", {}).get("rule") for event in picture.events}
                >= {"recorder.lost", "xid.fatal"}
            )
        )
        await client.close()
    assert any(event.data.get("xid") == 79 for event in picture.events)
    assert (tmp_path / "state" / "journal.db.unreadable").exists()
