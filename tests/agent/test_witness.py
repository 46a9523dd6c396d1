"""One fault, one event: joined witnesses, capped storms, companions beside their root, words for people."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.clock import Instant
from agent.sources.base import RawEvent
from agent.sources.kernel_log.parse import parse_line
from agent.wire.shape import pack, unpack
from agent.wire.specs import Event, Severity
from agent.witness import EventDraft, Witness
from agent.witness.joiner import HOLD_S, JOIN_S, PER_MINUTE
from agent.witness.storm import KEYS

UUID, OTHER = "GPU-aaaa", "GPU-bbbb"
BUS, OTHER_BUS = "0000:0f:00", "0000:10:00"


def at(mono: float) -> Instant:
    return Instant(1_700_000_000.0 + mono, mono)


def line(text: str, mono: float = 100.0) -> RawEvent:
    event = parse_line(text, at(mono))
    assert event is not None
    return event


def xid(code: int, mono: float = 100.0, bus: str = BUS, text: str = "GPU has fallen off the bus.") -> RawEvent:
    return line(f"NVRM: Xid (PCI:{bus}): {code}, pid=123, name=python3, {text}", mono)


def nvml(code: int, mono: float = 100.0, uuid: str = UUID) -> RawEvent:
    return RawEvent("nvml", "xid", at(mono), "", uuid=uuid, code=code)


def witness(**more: Any) -> Witness:
    made = Witness(lambda code: Severity.CRITICAL if code in (48, 79) else Severity.INFO, **more)
    made.gpus({BUS: UUID, OTHER_BUS: OTHER})
    return made


def saw(made: Witness, raw: RawEvent) -> list[EventDraft]:
    return made.observe(raw, raw.at)


def test_a_kernel_line_is_an_event_of_its_gpu_with_its_evidence() -> None:
    (event,) = saw(witness(), xid(79))
    assert (event.kind, event.subject, event.severity) == ("xid", f"gpu:{UUID}", Severity.CRITICAL)
    assert event.text == "XID 79 GPU has fallen off the bus. (pid 123 python3)"
    assert (event.at, event.mono) == (1_700_000_100.0, 100.0)
    assert event.data["xid"] == 79
    assert (event.data["pid"], event.data["name"]) == (123, "python3")
    assert (event.data["bus_id"], event.data["uuid"]) == (BUS, UUID)
    assert event.data["witnesses"] == ["kernel_log"]
    assert event.data["line"].startswith("NVRM: Xid (PCI:0000:0f:00): 79")


def test_an_event_of_an_unknown_address_is_the_hosts() -> None:
    (event,) = saw(witness(), xid(79, bus="0000:99:00"))
    assert event.subject == "host"
    assert event.data["bus_id"] == "0000:99:00"
    assert "uuid" not in event.data


def test_an_address_learnt_from_the_log_itself_names_a_gpu_that_is_gone() -> None:
    made = Witness()
    assert saw(made, line("NVRM: GPU at PCI:0000:91:00: GPU-b850f46d-d5ea-c752-ddf3-c9cb36d5c5d2")) == []
    (event,) = saw(made, xid(79, bus="0000:91:00"))
    assert event.subject == "gpu:GPU-b850f46d-d5ea-c752-ddf3-c9cb36d5c5d2"


def test_the_second_witness_adds_nothing_in_either_order() -> None:
    made = witness()
    assert len(saw(made, xid(79, 100.0))) == 1
    assert saw(made, nvml(79, 100.0 + JOIN_S)) == []
    assert made.tick(at(110)) == []

    made = witness()
    saw(made, xid(13, 50.0))  # the log is known to speak
    assert saw(made, nvml(79, 100.0)) == []
    (event,) = saw(made, xid(79, 100.1))
    assert event.data["witnesses"] == ["kernel_log", "nvml"]
    assert event.data["pid"] == 123
    assert made.tick(at(110)) == []


def test_words_too_far_apart_or_of_other_gpus_or_codes_are_other_faults() -> None:
    made = witness(hold_s=0)
    assert len(saw(made, xid(79, 100.0))) == 1
    assert len(saw(made, nvml(79, 100.1, OTHER))) == 1
    assert len(saw(made, nvml(48, 100.2))) == 1
    assert len(saw(made, nvml(79, 100.0 + JOIN_S + 0.1))) == 1


def test_nvml_alone_is_an_event_after_a_moment_where_the_log_speaks() -> None:
    made = witness()
    saw(made, xid(13, 50.0))
    assert saw(made, nvml(79, 100.0)) == []
    assert made.tick(at(100.0 + HOLD_S / 2)) == []
    (event,) = made.tick(at(100.0 + HOLD_S))
    assert (event.data["xid"], event.data["witnesses"], event.subject) == (79, ["nvml"], f"gpu:{UUID}")
    assert event.text == "XID 79 reported by the driver"
    assert saw(made, xid(79, 101.0)) == []  # the line came late


def test_nvml_alone_is_an_event_at_once_where_the_log_cannot_be_read() -> None:
    made = witness()
    (event,) = saw(made, nvml(79))
    assert event.data["witnesses"] == ["nvml"]
    assert saw(made, xid(79, 100.5)) == []
    assert len(saw(made, xid(79, 101.0))) == 1  # a second line is a second fault


def test_repeated_kernel_lines_are_not_joined_with_each_other() -> None:
    made = witness()
    assert sum(len(saw(made, xid(45, 100 + i * 0.1))) for i in range(5)) == 5


def test_falling_off_the_bus_said_twice_is_one_event() -> None:
    made = witness()
    assert len(saw(made, xid(79, 100.0))) == 1
    assert saw(made, line("NVRM: GPU 0000:0f:00.0: GPU has fallen off the bus.", 100.2)) == []
    (alone,) = saw(made, line("NVRM: GPU 0000:10:00.0: GPU has fallen off the bus.", 100.3))
    assert (alone.kind, alone.subject, alone.severity) == ("off_bus", f"gpu:{OTHER}", Severity.CRITICAL)


def test_switch_errors_are_the_hosts_and_their_repeats_are_one() -> None:
    made = witness()
    text = "nvidia-nvswitch0: SXid (PCI:0000:05:00.0): 20034, Fatal, Link 63 LTSSM Fault Up"
    (event,) = saw(made, line(text))
    assert (event.kind, event.subject, event.severity) == ("sxid", "host", Severity.CRITICAL)
    assert (event.data["sxid"], event.data["link"], event.data["bus_id"]) == (20034, 63, "0000:05:00")
    assert saw(made, line(text, 101)) == []
    assert len(saw(made, line(text.replace("Link 63", "Link 62"), 101))) == 1
    assert len(saw(made, line(text, 103))) == 1


def test_a_bus_error_and_its_details_are_one() -> None:
    made = witness()
    received = line("pcieport 0000:0e:00.0: AER: Corrected error received: 0000:0f:00.0")
    details = line(
        "nvidia 0000:0f:00.0: PCIe Bus Error: severity=Corrected, type=Physical Layer, (Receiver ID)", 100.01
    )
    (event,) = saw(made, received)
    assert (event.subject, event.severity) == (f"gpu:{UUID}", Severity.INFO)
    assert saw(made, details) == []


@pytest.mark.parametrize(
    ("raw", "severity"),
    [
        (xid(144, text="SAW Fatal XC0 i0 Link 00"), Severity.CRITICAL),
        (xid(144, text="SAW Nonfatal XC0 i0 Link 00"), Severity.WARNING),
        (xid(154, text="GPU recovery action changed from 0x0 (None) to 0x1 (Reset)"), Severity.CRITICAL),
        (xid(154, text="GPU recovery action changed from 0x1 (Reset) to 0x0 (None)"), Severity.INFO),
        (line("Out of memory: Killed process 7 (x) total-vm:1kB"), Severity.WARNING),
        (line("NVRM: loading NVIDIA UNIX x86_64 Kernel Module  535.161.07"), Severity.INFO),
        (RawEvent("nvml", "gpu", at(1), "GPU 3 is lost", uuid=UUID, data={"state": "lost"}), Severity.CRITICAL),
        (RawEvent("nvml", "gpu", at(1), "GPU 3 is back", uuid=UUID, data={"state": "present"}), Severity.INFO),
    ],
)
def test_a_line_that_says_more_than_the_catalogue_is_believed(raw: RawEvent, severity: Severity) -> None:
    (event,) = saw(witness(), raw)
    assert event.severity == severity


def test_companions_name_their_root_on_the_same_gpu_first() -> None:
    made = witness()
    saw(made, xid(48, 100))
    saw(made, xid(79, 101, OTHER_BUS))
    (own,) = saw(made, xid(154, 102, text="GPU recovery action changed from 0x0 (None) to 0x1 (Reset)"))
    assert (own.data["companion_of"], own.data["companion_gpu"]) == (48, f"gpu:{UUID}")
    (across,) = saw(made, xid(45, 103, "0000:77:00", "Ch 00000008"))
    assert across.data["companion_of"] == 79
    (late,) = saw(made, xid(45, 200, text="Ch 00000008"))
    assert "companion_of" not in late.data


def test_a_companion_that_came_first_is_named_by_its_root() -> None:
    made = witness()
    (early,) = saw(made, xid(154, 100, text="GPU recovery action changed from 0x0 (None) to 0x2 (Reboot)"))
    assert "companion_of" not in early.data
    (root,) = saw(made, xid(79, 100.2))
    assert root.data["companions"] == [154]


def test_a_storm_is_cut_counted_and_never_hides_another_fault() -> None:
    made = witness()
    passed = sum(len(saw(made, xid(45, 100 + i * 0.001))) for i in range(1000))
    assert passed == PER_MINUTE
    (other,) = saw(made, xid(79, 102))
    assert other.data["xid"] == 79
    assert made.tick(at(130)) == []
    (summary,) = made.tick(at(161))
    assert summary.data == {"suppressed": 900, "window_s": 60.0, "xid": 45}
    assert (summary.kind, summary.subject) == ("xid", f"gpu:{UUID}")
    assert summary.text == "XID 45 repeated 900 more times within 60 s"
    assert len(saw(made, xid(45, 170))) == 1
    assert made.tick(at(400)) == []


def test_an_old_storm_in_the_ring_does_not_silence_what_happens_now() -> None:
    made = witness()
    for i in range(500):
        made.observe(replace(xid(45, 100 + i * 0.001), replayed=True), at(1000))
    (event,) = made.observe(xid(45, 1000), at(1000))
    assert not event.replayed
    (summary,) = made.tick(at(1001))
    assert (summary.data["suppressed"], summary.replayed) == (400, True)


def test_old_events_spread_over_hours_are_no_storm() -> None:
    made = witness()
    old = [replace(xid(45, 100.0 + i), replayed=True) for i in range(1000)]
    assert sum(len(made.observe(raw, at(2000))) for raw in old) == 1000


def test_a_storm_of_many_different_faults_is_bounded_too() -> None:
    made = witness()
    passed = sum(len(saw(made, xid(code, 100))) for code in range(200, 9000))
    assert passed <= KEYS
    counted = sum(event.data["suppressed"] for event in made.tick(at(161)))
    assert passed + counted == 8800


def test_a_summary_of_the_source_passes_during_a_storm() -> None:
    made = witness()
    for i in range(300):
        saw(made, xid(45, 100 + i * 0.001))
    summary = replace(xid(45, 110), data={"repeated": 9_970, "window_s": 60.0})
    (event,) = saw(made, summary)
    assert event.text == "XID 45 repeated 9,970 more times within 60 s"
    assert event.data["repeated"] == 9_970


def test_gaps_and_old_events_pass_as_what_they_are() -> None:
    (gap,) = saw(witness(), RawEvent("kernel_log", "gap", at(1), "12 lines were lost", data={"missing": 12}))
    assert (gap.kind, gap.subject, gap.data["missing"]) == ("gap", "host", 12)
    (old,) = saw(witness(), replace(xid(79), replayed=True))
    assert old.replayed


KINDS = st.sampled_from(["xid", "sxid", "off_bus", "aer", "oom", "driver", "kernel", "gap", "gpu", "new"])
RAWS = st.builds(
    RawEvent,
    witness=st.sampled_from(["kernel_log", "nvml", "other"]),
    kind=KINDS,
    at=st.floats(0, 1e6).map(at),
    text=st.text(max_size=400),
    bus_id=st.sampled_from(["", BUS, OTHER_BUS, "0000:99:00"]),
    uuid=st.sampled_from(["", UUID, OTHER]),
    code=st.integers(0, 99_999),
    data=st.dictionaries(st.sampled_from(["pid", "name", "line", "what", "state"]), st.text(max_size=2000), max_size=3),
)


@given(st.lists(RAWS, max_size=30))
@settings(max_examples=100, deadline=None)
def test_any_words_make_events_that_fit_the_wire(raws: list[RawEvent]) -> None:
    made = witness()
    drafts = [draft for raw in raws for draft in made.observe(raw, raw.at)] + made.tick(at(2e6))
    for number, one in enumerate(drafts, 1):
        fields = {name: getattr(one, name) for name in EventDraft.__dataclass_fields__}
        event = Event(seq=number, **fields)
        assert unpack(Event, pack(event)).seq == number


def test_at_the_start_a_word_about_an_unnamed_address_waits_for_its_name() -> None:
    made = Witness(stranger_s=5.0)
    assert saw(made, xid(79, 100.0)) == []
    assert made.tick(at(101.0)) == []
    made.gpus({BUS: UUID})
    (event,) = made.tick(at(102.0))
    assert (event.subject, event.at) == (f"gpu:{UUID}", 1_700_000_100.0)
    (event,) = saw(made, xid(48, 103.0))
    assert event.subject == f"gpu:{UUID}"


def test_a_word_whose_address_nobody_names_is_the_hosts_in_the_end() -> None:
    made = Witness(stranger_s=5.0)
    assert saw(made, xid(79, 100.0)) == []
    (event,) = made.tick(at(105.0))
    assert event.subject == "host"
    (event,) = saw(made, xid(48, 106.0))
    assert event.subject == "host"


def test_a_waiting_word_comes_before_the_one_that_names_it_and_joins_the_second_witness() -> None:
    made = Witness(stranger_s=5.0)
    assert saw(made, xid(79, 100.0)) == []
    told = RawEvent("nvml", "xid", at(100.5), "", bus_id=BUS, uuid=UUID, code=79)
    (event,) = saw(made, told)
    assert (event.subject, event.data["witnesses"]) == (f"gpu:{UUID}", ["kernel_log"])


def test_words_without_an_address_never_wait() -> None:
    made = Witness(stranger_s=5.0)
    oom = line("Out of memory: Killed process 123 (python3) total-vm:1kB, anon-rss:1kB, file-rss:0kB", 100.0)
    assert len(saw(made, oom)) == 1


def test_a_flood_before_anybody_is_named_waits_in_bounded_memory() -> None:
    made = Witness(stranger_s=5.0)
    passed = [event for number in range(3000) for event in saw(made, xid(79, 100.0 + number / 1000, text=f"{number}"))]
    assert passed
    assert len(made._strangers) <= 1024


def stands(
    to: str, before: str = "ready", phase: str = "", replica: str = "vllm:8000", mono: float = 100.0
) -> RawEvent:
    data = {"replica": replica, "from": before, "to": to, "phase": phase or to, "says": "as it is"}
    return RawEvent("serving", "replica", at(mono), f"{replica} is {to}: as it is", data=data)


@pytest.mark.parametrize(
    ("raw", "severity"),
    [
        (stands("down"), Severity.CRITICAL),
        (stands("stuck"), Severity.WARNING),
        (stands("unready", phase="scrape-lost"), Severity.WARNING),
        (stands("unready", phase="asleep"), Severity.INFO),
        (stands("unready", phase="paused"), Severity.INFO),
        (stands("unknown"), Severity.WARNING),
        (stands("down", "drained"), Severity.INFO),
        (stands("starting", "down"), Severity.INFO),
        (stands("ready", "stuck"), Severity.INFO),
        (stands("what", "ever"), Severity.INFO),
    ],
)
def test_a_change_of_a_replica_is_an_event_about_it(raw: RawEvent, severity: Severity) -> None:
    (event,) = saw(witness(), raw)
    assert (event.kind, event.subject, event.severity) == ("replica", "replica:vllm:8000", severity)
    assert event.text == raw.text
    assert event.data["says"] == "as it is"


def test_changes_of_one_replica_do_not_echo_and_a_flood_of_them_is_counted_under_its_name() -> None:
    made = witness()
    assert [len(saw(made, stands("down", mono=100.0 + tenth / 10))) for tenth in range(3)] == [1, 1, 1]
    for number in range(PER_MINUTE + 20):
        saw(made, stands("ready", mono=101.0 + number / 10))
    assert len(saw(made, stands("down", replica="triton:8010", mono=120.0))) == 1, "another one is still heard"
    (told,) = made.tick(at(200.0))
    assert (told.subject, told.data["suppressed"]) == ("replica:vllm:8000", 23)
    assert told.text == "replica repeated 23 more times within 60 s"


def test_a_replica_with_a_hostile_name_is_told_harmlessly() -> None:
    (event,) = saw(witness(), stands("down", replica="x\x1b[2J" + "y" * 4000))
    assert len(event.subject) <= 256
    assert "\x1b" not in event.subject
