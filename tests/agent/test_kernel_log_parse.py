"""Every line format of the drivers and kernels in the field, and the promise that no text can break the parser."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.clock import Instant
from agent.sources.base import RawEvent
from agent.sources.kernel_log.assemble import HOLD_S, Assembler
from agent.sources.kernel_log.parse import parse_line
from agent.sources.kernel_log.pattern import bus_id
from agent.sources.kernel_log.record import parse_record, split_records
from agent.sources.kernel_log.repeats import KEYS, WINDOW_S, Repeats

DATA = Path(__file__).parent.parent / "data/kernel_log"
AT = Instant(1_700_000_000.0, 1000.0)


def captured(*names: str) -> Iterator[Any]:
    for name in names:
        expected: Any = None
        for number, line in enumerate((DATA / name).read_text().splitlines(), 1):
            if line.startswith("> "):
                expected = json.loads(line[2:])
            elif line and not line.startswith("# "):
                yield pytest.param(line.replace("\\n", "\n"), expected, id=f"{name}:{number}")


LINES = list(captured("xid.txt", "sxid.txt", "driver.txt", "machine.txt"))


def assert_is(event: RawEvent | None, expected: dict[str, Any] | None) -> None:
    if expected is None:
        assert event is None
        return
    assert event is not None
    assert event.witness == "kernel_log"
    for name in ("kind", "code", "bus_id", "uuid", "text"):
        if name in expected:
            assert getattr(event, name) == expected[name]
    for name, value in expected.get("data", {}).items():
        assert event.data.get(name) == value, name


@pytest.mark.parametrize(("line", "expected"), LINES)
def test_captured_line_becomes_its_event(line: str, expected: dict[str, Any] | None) -> None:
    assert_is(parse_line(line, AT), expected)


@pytest.mark.parametrize(("line", "expected"), LINES)
def test_a_syslog_prefix_changes_nothing(line: str, expected: dict[str, Any] | None) -> None:
    if not line.startswith(("[", "kernel: ")):
        assert_is(parse_line(f"kernel: {line}", AT), expected)


def test_the_raw_line_is_kept_as_evidence() -> None:
    line = "NVRM: Xid (PCI:0000:0f:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."
    event = parse_line(line, AT)
    assert event is not None
    assert event.data["line"] == line
    assert event.at == AT


def test_nothing_on_a_healthy_host_becomes_an_event() -> None:
    lines = (DATA / "noise.txt").read_text().splitlines()
    assert len(lines) > 50
    assert [line for line in lines if parse_line(line, AT)] == []


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        ("0000:91:00", "0000:91:00"),
        ("00000000:91:00.0", "0000:91:00"),
        ("PCI:0000:AB:0C.7", "0000:ab:0c"),
        ("00010000:01:00.0", "10000:01:00"),
        ("no address", ""),
    ],
)
def test_bus_ids_of_every_spelling_are_one(spelling: str, expected: str) -> None:
    assert bus_id(spelling) == expected


def messages() -> Iterator[Any]:
    for block in (DATA / "messages.txt").read_text().split("\n\n"):
        lines = [line for line in block.splitlines() if not line.startswith("# ")]
        yield pytest.param(json.loads(lines[0][2:]), lines[1:], id=lines[1][:40])


@pytest.mark.parametrize(("expected", "lines"), list(messages()))
def test_a_message_of_several_records_is_one_event(expected: list[dict[str, Any]], lines: list[str]) -> None:
    assembler = Assembler()
    events = [event for seq, line in enumerate(lines) for event in assembler.feed(line, AT, cursor=seq)]
    events += assembler.flush(AT.mono + 10)
    assert len(events) == len(expected)
    for event, wanted in zip(events, expected, strict=True):
        assert_is(event, wanted)
        assert event.cursor >= 0


def test_what_never_becomes_whole_is_let_go_in_time() -> None:
    assembler = Assembler()
    line = "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),task_memcg=/x,task=python3,pid=7,uid=0"
    assert assembler.feed(line, AT, cursor=5) == []
    assert assembler.oldest == 5
    assert assembler.flush(AT.mono + HOLD_S / 2) == []
    (event,) = assembler.flush(AT.mono + HOLD_S * 2)
    assert event.data["pid"] == 7
    assert assembler.oldest is None


def test_a_split_message_that_is_something_else_makes_no_event() -> None:
    assembler = Assembler()
    events = assembler.feed("NVRM: The NVIDIA GPU 0000:25:00.0 (PCI ID: 10de:1db5)", AT)
    for _ in range(100):
        events += assembler.feed("NVRM: nothing that ends it", AT)
    assert events + assembler.flush(AT.mono + 10) == []


def test_an_xid_between_the_records_of_a_message_goes_out_at_once() -> None:
    assembler = Assembler()
    assembler.feed("NVRM: The NVIDIA GPU 0000:25:00.0 (PCI ID: 10de:1db5)", AT)
    (event,) = assembler.feed("NVRM: Xid (PCI:0000:0f:00): 79, GPU has fallen off the bus.", AT)
    assert event.code == 79


def test_record_is_read_with_escapes_and_tags() -> None:
    head = b"11,518,2723074810,-,caller=T12;NVRM: caf\\xc3\\xa9 back\\x5cslash a\\x0ab\n"
    raw = head + b" SUBSYSTEM=pci\n DEVICE=+pci:0000:3b:00.0\n"
    record = parse_record(raw)
    assert record is not None
    assert (record.level, record.facility, record.seq, record.usec) == (3, 1, 518, 2723074810)
    assert record.text == "NVRM: café back\\slash a\nb"
    assert record.tags == {"SUBSYSTEM": "pci", "DEVICE": "+pci:0000:3b:00.0"}


@pytest.mark.parametrize("raw", [b"", b"hello", b"1,2,3;no flag", b"a,1,2,-;x", b"1,2,3,-"])
def test_what_is_no_record_is_none(raw: bytes) -> None:
    assert parse_record(raw) is None


def test_several_records_of_one_read_are_told_apart() -> None:
    raw = b"6,1,10,-;one\n KEY=a\n6,2,20,-;two\n"
    assert [record.text for part in split_records(raw) if (record := parse_record(part))] == ["one", "two"]


XID_BITS = ("NVRM: Xid (PCI:0000:0f:00): 79, ", "pid='", "name=", "<unknown>", ", ", "Link 99", "Fatal", "9" * 30)
NVIDIA_BITS = ("SXid (PCI:0000:05:00.0): 1, ", "NVRM: API mismatch", "\n", "NVRM: ", "NVRM: The NVIDIA GPU ", "(", ")")
OTHER_BITS = (
    "AER: ",
    "oom-kill:",
    "Killed process ",
    "task=",
    ":",
    "0000:0f:00",
    "INFO: task ",
    " blocked for more than ",
)
BITS = st.sampled_from([*XID_BITS, *NVIDIA_BITS, *OTHER_BITS])


@given(st.lists(st.one_of(BITS, st.text(max_size=12)), max_size=40).map("".join))
@settings(max_examples=400, deadline=None)
def test_no_text_breaks_the_parser(text: str) -> None:
    assembler = Assembler()
    for event in (*assembler.feed(text, AT), *assembler.feed(text, AT), *assembler.flush(AT.mono + 9)):
        assert 0 <= event.code < 100_000
        assert event.kind in {"xid", "sxid", "off_bus", "aer", "oom", "driver", "kernel", "gpu"}


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_no_bytes_break_the_record_reader(raw: bytes) -> None:
    for part in split_records(raw):
        parse_record(part)
    record = parse_record(b"6,1,2,-;" + raw)
    assert record is not None
    assert record.seq == 1


HOSTILE = (
    "python3[1]" * 400,
    "INFO: task " + "a:1 " * 1000,
    "oom-kill:constraint=A,task_memcg=" * 120,
    "NVRM: The NVIDIA GPU 0000:01:00 installed in this system has " * 60,
    "EXT4-fs (" * 500,
    "mlx5_core " * 400,
)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_lines_cost_little(text: str) -> None:
    started = time.process_time()
    for _ in range(10):
        parse_line(text, AT)
    assert time.process_time() - started < 0.5


def xid(mono: float, code: int = 45, bus: str = "0000:0f:00", cursor: int = 0) -> RawEvent:
    return RawEvent("kernel_log", "xid", Instant(mono, mono), "x", bus_id=bus, code=code, cursor=cursor)


def test_a_flood_of_one_fault_is_counted_and_summed_up() -> None:
    repeats = Repeats(per_minute=30)
    passed = [event for i in range(10_000) for event in repeats.admit(xid(1000 + i * 1e-3, cursor=i))]
    assert len(passed) == 30
    assert repeats.due(Instant(1030, 1030)) == []
    (summary,) = repeats.due(Instant(1061, 1061))
    assert summary.data["repeated"] == 9_970
    assert (summary.kind, summary.code, summary.bus_id, summary.cursor) == ("xid", 45, "0000:0f:00", 9_999)
    assert repeats.due(Instant(2000, 2000)) == []


def test_a_flood_does_not_hide_another_fault() -> None:
    repeats = Repeats(per_minute=30)
    for i in range(1000):
        repeats.admit(xid(1000 + i * 1e-3))
    assert [event.code for event in repeats.admit(xid(1001, code=79))] == [79]
    assert [event.bus_id for event in repeats.admit(xid(1001, bus="0000:10:00"))] == ["0000:10:00"]


def test_a_new_minute_starts_afresh_and_ends_the_old_one() -> None:
    repeats = Repeats(per_minute=2)
    for _ in range(5):
        repeats.admit(xid(1000))
    summary, event = repeats.admit(xid(1000 + WINDOW_S))
    assert summary.data["repeated"] == 3
    assert "repeated" not in event.data


def test_windows_are_bounded_however_many_faults_there_are() -> None:
    repeats = Repeats(per_minute=1)
    summaries = 0
    for code in range(KEYS * 3):
        events = repeats.admit(xid(1000, code=code)) + repeats.admit(xid(1000, code=code))
        summaries += sum("repeated" in event.data for event in events)
    left = repeats.due(Instant(5000, 5000))
    assert summaries + len(left) == KEYS * 3
    assert len(left) == KEYS
