"""What an agent tells of itself in a bundle: all that viewers may see, with a reason for what is not there."""

import json
import math
import struct
from pathlib import Path

import pytest

from agent.app.evidence import Memory
from agent.app.historian import Historian
from agent.errors import Refusal
from agent.recorder import Recorder
from agent.wire.requests import SIGNALS, History, Journal, Page, Series
from agent.wire.signals import Quality, Scope
from tests.agent.station import Station
from tests.fakes.clock import FakeClock

SECRET = "hf_plant7f3a9c51d2e8Qz"


class Past(Historian):
    """Recorded: for one signal a hole, two values and a hole; of all others nothing."""

    def __init__(self) -> None:
        self.asked: list[History] = []

    async def ask(self, request: History) -> tuple[Series, ...]:
        self.asked.append(request)
        return tuple(self._one(request, name) for name in request.signals)

    def _one(self, request: History, name: str) -> Series:
        is_known = (name, request.row) == ("gpu.power", "GPU-0")
        values = (math.nan, 400.123456789, 401.0, math.nan) if is_known else (math.nan,) * 4
        packed = struct.pack("<4d", *values)
        why = bytes((0, 0, 0, int(Quality.TIMEOUT)))
        return Series(request.id, name, "watt", request.start, 10.0, 10.0, 4, packed, packed, packed, why)


@pytest.fixture
def station() -> Station:
    return Station(FakeClock())


def memory(station: Station, past: Historian | None = None, recorder: Recorder | None = None) -> Memory:
    board = station.board
    past = past or Historian(None, station.clock, "h1", board.signals, 1.0, 0)
    return Memory(station.clock, recorder or station.recorder, station.facts, board, past)


async def parts(one: Memory, station: Station) -> dict[str, dict[str, object]]:
    now = station.clock.wall()
    return {name: json.loads(data) for name, data in (await one.parts(now - 900, now)).items()}


async def test_every_value_has_its_unit_its_quality_and_its_age(station: Station) -> None:
    station.tick(0.25)
    station.clock.move(3)
    found = await parts(memory(station), station)
    gpu = found["samples.json"]["gpu"]["GPU-7"]  # type: ignore[index]
    assert gpu["gpu.utilization"] == {"value": 0.25, "unit": "1", "quality": "ok", "age_s": 3.0}
    assert gpu["gpu.energy"] == {"value": None, "unit": "joule", "quality": "pending", "age_s": None}


async def test_recorded_signals_begin_with_their_first_value_and_stand_in_a_line_each(station: Station) -> None:
    past = Past()
    one = memory(station, past)
    now = station.clock.wall()
    text = (await one.parts(now - 900, now))["history.json"]
    history = json.loads(text)
    (series,) = history["series"]
    assert series["mean"] == [400.123, 401.0, None]
    assert series["start"] == now - 900 + 10
    assert series["why"] == {"2": "timeout"}
    assert len(text.splitlines()) == 3
    assert all(len(asked.signals) <= SIGNALS for asked in past.asked)
    assert {(asked.scope, asked.row) for asked in past.asked} >= {(Scope.GPU, "GPU-7")}


async def test_what_cannot_be_read_says_so_in_its_file(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    async def page(wish: Journal) -> Page:
        raise Refusal("not_recorded", "the journal of this host cannot be read: it is torn")

    monkeypatch.setattr(station.recorder, "page", page)
    found = await parts(memory(station), station)
    assert "records no history" in str(found["history.json"]["missing"])
    assert found["events.json"] == {"events": [], "missing": "the journal of this host cannot be read: it is torn"}


async def test_events_come_in_pages_until_the_first_of_that_time(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.app.evidence._PAGE", 3)
    every = [station.event(f"event {number}") for number in range(8)]

    async def page(wish: Journal) -> Page:
        left = [event for event in every if not wish.before or event.seq < wish.before]
        return Page(wish.id, tuple(left[-wish.limit :]), more=len(left) > wish.limit)

    monkeypatch.setattr(station.recorder, "page", page)
    told = (await parts(memory(station), station))["events.json"]
    assert [event["text"] for event in told["events"]] == [f"event {number}" for number in range(8)]  # type: ignore[attr-defined]
    assert "missing" not in told
    monkeypatch.setattr("agent.app.evidence.EVENTS", 6)
    told = (await parts(memory(station), station))["events.json"]
    assert len(told["events"]) == 6  # type: ignore[arg-type]
    assert "only the newest are here" in str(told["missing"])


async def test_what_looks_like_a_secret_goes_even_if_somebody_told_it(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = (station.event(f"logged in with {SECRET}"),)

    async def page(wish: Journal) -> Page:
        return Page(wish.id, events)

    monkeypatch.setattr(station.recorder, "page", page)
    station.facts.set("units", [{"env": [f"HF_TOKEN={SECRET}"]}])
    now = station.clock.wall()
    found = await memory(station).parts(now - 1, now)
    for name in ("events.json", "facts.json"):
        assert b"***" in found[name], name
    assert not any(SECRET.encode() in data for data in found.values())


def test_an_agent_without_a_state_keeps_no_bundles(station: Station, tmp_path: Path) -> None:
    assert memory(station).directory is None
    recorder = Recorder(tmp_path, station.clock, "boot-1")
    assert memory(station, recorder=recorder).directory == tmp_path / "bundles"
