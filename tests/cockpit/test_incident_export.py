"""An incident in words: for a terminal, and for a postmortem that remote text cannot break."""

from dataclasses import replace

import pytest

from agent.wire.frames import EventFrame
from agent.wire.requests import Mark, Page
from agent.wire.specs import Event, Severity
from cockpit.incidents import export, past
from cockpit.incidents.words import lasted, offset, proof_lines
from tests.cockpit.test_incidents import NOW, Told, fallen, said
from tests.fakes.hosts import EPOCH


def shown(told: Told) -> str:
    (incident,) = told.look()
    return "\n".join(export.text(told.fleet, incident, NOW.wall))


def test_text_tells_chain_evidence_and_timeline_with_offsets() -> None:
    text = shown(fallen())
    assert "gpu-a01: gpu.lost of 5" in text
    assert "  echo   XID 45 on GPUs 4,6-7 3 times within 3.0 s: work of a process was taken off the GPU" in text
    assert "+5.0 s" in text
    assert "TIMELINE  8 events" in text
    assert "gpu.lost-5-0: gpu.lost of 5" in text


@pytest.mark.parametrize(("days", "says"), [(0, "at 22:13:20 UTC"), (30, "at 2023-10-15 22:13:20 UTC")])
def test_evidence_of_another_day_has_its_date(days: int, says: str) -> None:
    told = fallen()
    record = told.fleet.hosts[0]
    finding = replace(next(iter(record.findings.values())), evidence=({"what": "process", "at": EPOCH - days * 86400},))
    assert proof_lines(finding, record, NOW.wall) == [f"process {says}"]


def test_what_people_said_stands_with_author_user_and_reason() -> None:
    told = fallen()
    told.annotate(
        *(said(Mark.ACK, key, when=60, text="reboot planned") for key in told.fleet.hosts[0].findings),
        said(Mark.NOTE, "gpu.lost-5-0", when=70, text="see ticket 7"),
    )
    text = shown(told)
    assert "acknowledged by ann at 22:14:20 UTC: reboot planned" in text
    assert "NOTE  note by ann at 22:14:30 UTC: see ticket 7" in text
    (incident,) = told.look()
    assert "acknowledged after 1 min 00 s" in export.delays(told.fleet, incident, NOW.wall)


@pytest.mark.parametrize(("change", "known"), [("opened", True), ("updated", False)])
def test_when_the_agent_knew_is_told_by_what_it_opened_and_by_nothing_later(change: str, known: bool) -> None:
    told = Told()
    frame = told.host.transition(told.open(1, "thermal.hw", 0.0), EPOCH + 3)
    event = replace(frame.event, data={**frame.event.data, "change": change})
    told.fleet.apply(0, replace(frame, event=event), NOW)
    (incident,) = told.look()
    assert ("found by the agent after 3.0 s" in export.delays(told.fleet, incident, NOW.wall)) is known


def test_one_word_about_many_findings_is_one_line_of_the_timeline() -> None:
    told = fallen()
    for key in told.fleet.hosts[0].findings:
        told.host.seq += 1
        data = {"kind": "ack", "author": "ann", "text": "mine", "finding": key}
        event = Event(
            told.host.seq, EPOCH + 60, 5060.0, "annotation", "host", Severity.INFO, f"acknowledged {key}", data
        )
        told.fleet.apply(0, EventFrame(event), NOW)
    text = shown(told)
    assert "TIMELINE  11 events" in text
    assert text.count("acknowledged") == 1
    assert "acknowledged by ann: mine (3 findings)" in text


def test_markdown_has_every_part_and_the_open_questions() -> None:
    told = fallen()
    (incident,) = told.look()
    page = export.markdown(told.fleet, incident, NOW.wall)
    parts = [line for line in page.split("\n") if line.startswith("## ")]
    assert [part.removeprefix("## ") for part in parts] == [
        "Chain", "Delays", "Who said what", "What was done", "Evidence", "Timeline", "The log's own lines",
        "What went well", "What went badly", "Where we were lucky", "Actions",
    ]  # fmt: skip
    assert "| +5.0 s | echo | XID 45 on GPUs 4,6-7 3 times" in page


def test_remote_text_breaks_no_table_and_no_fence() -> None:
    told = Told()
    line = "NVRM: ``` | <script> [x](http://evil)"
    told.open(1, "thermal.hw", 0.0, text="a | b <b> [x](y) `c`", evidence=({"what": "log", "line": line},))
    (incident,) = told.look()
    page = export.markdown(told.fleet, incident, NOW.wall)
    assert "a \\| b \\<b\\> \\[x\\](y) \\`c\\`" in page
    assert "NVRM: ''' | <script>" in page
    assert page.count("```") % 2 == 0


def test_lines_from_the_journal_deepen_an_incident_and_count_once() -> None:
    told = fallen()
    (incident,) = told.look()
    record = told.fleet.hosts[0]
    journal = [entry.event for entry in record.past.events]
    record.past.events.clear()
    record.told += 1
    (poor,) = told.look()
    assert poor.events == ()
    early = Event(1_000_000, EPOCH - 5, 4995.0, "xid", incident.root.subject, Severity.INFO, "XID 31", {"xid": 31})
    asked = past.question(poor, 7)
    assert (asked.id, asked.start, asked.end) == (7, EPOCH - 120, 0.0)
    page = Page(7, (early, *journal), boots={"1": record.boot_id})
    older = past.events(record, [page, page], NOW.wall)
    rich = past.deeper(record, poor, older, NOW.wall)
    assert (rich.id, len(rich.events)) == (incident.id, len(incident.events) + 1)
    assert [step.what for step in rich.chain if step.role == "echo"] == ["XID 31", "XID 154", "XID 74", "XID 45"]


def test_a_page_of_two_boots_keeps_them_apart() -> None:
    told = Told()
    record = told.fleet.hosts[0]
    events = tuple(
        Event(seq, EPOCH + seq, 1.0, "xid", "host", Severity.INFO, "x", {"xid": 31}) for seq in (4, 5, 9, 10)
    )
    page = Page(1, events, boots={"4": "old", "9": "new"})
    assert [entry.boot_id for entry in past.events(record, [page], NOW.wall)] == ["old", "old", "new", "new"]


def test_an_incident_that_went_meanwhile_stays_as_it_was() -> None:
    told = fallen()
    (incident,) = told.look()
    record = told.fleet.hosts[0]
    record.findings.clear()
    assert past.deeper(record, incident, [], NOW.wall) is incident


def test_what_was_said_of_a_fault_that_is_over_asks_up_to_its_end() -> None:
    told = Told()
    told.clear(told.open(1, "thermal.hw", 0.0), 100.0)
    (incident,) = told.look()
    assert past.question(incident, 1).end == EPOCH + 160
    assert "over since 22:15:00 UTC" in shown(told)


def test_times_read_as_people_say_them() -> None:
    assert [lasted(value) for value in (0.44, 12, 303, 12_000, 100_000, -4)] == [
        "0.4 s", "12 s", "5 min 03 s", "3 h 20 min", "1 d 3 h", "0.0 s",
    ]  # fmt: skip
    assert [offset(value) for value in (-0.3, -0.01, 12)] == ["-0.3 s", "+0.0 s", "+12 s"]
