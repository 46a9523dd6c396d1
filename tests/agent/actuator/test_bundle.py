"""Bundles of the root helper: bounded, named, with a reason for each hole, and nobody's way into another folder."""

import base64
import gzip
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.actuator import bundle, child, gather
from agent.actuator.family import Argv, Entry, Job, Outcome, Ran, Refused
from agent.actuator.values import checked

(COLLECT,) = bundle.FAMILY.actions
READ = bundle.FAMILY.looks["bundle"]
ENTRY = Entry(1, ("diagnostics.collect",), "operator")
UNITS = Entry(2, ("systemd.restart",), "admin", {"units": ("vllm@*.service",)})
LINE = b"line %06d of a unit that says much\n"
Parts = dict[str, Callable[[gather.Take], None]]


@dataclass
class Hands:
    state: Path
    entries: tuple[Entry, ...] = (ENTRY, UNITS)
    lines: list[str] = field(default_factory=list)

    def say(self, line: str) -> None:
        self.lines.append(line)

    def run(self, argv: Argv, deadline_s: float, quiet: bool = False) -> Ran:
        raise AssertionError((argv, deadline_s, quiet))


@pytest.fixture
def hands(tmp_path: Path) -> Hands:
    return Hands(tmp_path)


def job(hands: Hands, key: str = "run/1", **args: Any) -> Job:
    return Job("diagnostics.collect", ENTRY, checked(COLLECT.args, args), {}, hands, key, "run")


def collect(hands: Hands, parts: Parts, monkeypatch: pytest.MonkeyPatch, key: str = "run/1", **args: Any) -> Outcome:
    monkeypatch.setattr(gather, "parts", lambda wish: parts)
    assert COLLECT.perform is not None
    return COLLECT.perform(job(hands, key, **args))


def read(hands: Hands, part: str, key: str = "run/1", offset: int = 0) -> Outcome:
    return READ.see(hands, checked(READ.args, {"bundle": key, "part": part, "offset": offset}))


def test_what_is_missing_says_why_and_costs_nothing_else(hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(take: gather.Take) -> None:
        take(b"it said this much\n")
        raise gather.Missing("nvidia-smi did not end within 60 s; what it said until then is here")

    def denied(take: gather.Take) -> None:
        raise PermissionError(13, "Permission denied")

    parts: Parts = {"a.txt": broken, "b.txt": denied, "c/d.log": lambda take: take(b"fine\n"), "e.log": lambda _: None}
    done = collect(hands, parts, monkeypatch)
    said = done.data["parts"]
    assert (done.end, done.says) == ("done", "2 of 4 parts, 23 bytes")
    assert said["a.txt"]["missing"].startswith("nvidia-smi did not end")
    assert said["b.txt"] == {"missing": "it cannot be read (Permission denied)", "left_out": 0, "bytes": 0}
    assert said["e.log"]["missing"] == "nothing was said in that time"
    assert base64.b64decode(read(hands, "c/d.log").data["base64"]) == b"fine\n"
    assert hands.lines[0] == "collecting a.txt (1 of 4)"


def test_no_part_takes_more_than_its_share_and_says_what_is_left_out(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flood(take: gather.Take) -> None:
        for number in range(12_000):
            take(LINE % number)

    parts: Parts = {f"{name}.log": flood for name in "abcdef"}
    done = collect(hands, parts, monkeypatch, max_mib=1)
    said = done.data["parts"]
    whole = sum(one["bytes"] for one in said.values())
    assert 1024 * 1024 <= whole < 1024 * 1024 + 500
    assert said["a.log"]["left_out"] == 12_000 * len(LINE % 0) - 256 * 1024
    kept = (bundle.place(hands.state, "run/1") / "a.log").read_bytes()
    assert kept.startswith(b"line 000000 of")
    assert kept.endswith(LINE % 11_999)
    assert b"[... %d bytes are left out here: there is no room for more ...]" % said["a.log"]["left_out"] in kept
    assert said["f.log"]["missing"] == "there was no room left for it"


def test_a_disk_without_room_is_a_refusal_with_the_numbers(hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "SPARE", 2**60)
    with pytest.raises(Refused, match=r"has \d+ MiB free, and a bundle of 64 MiB needs \d+: nothing was collected"):
        collect(hands, {}, monkeypatch)


def test_only_the_newest_are_kept_and_only_root_may_look(hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        collect(hands, {"a.txt": lambda take: take(b"x")}, monkeypatch, f"run/{number}")
        os.utime(bundle.place(hands.state, f"run/{number}"), (number, number))
    folders = sorted((hands.state / "bundles").iterdir())
    assert [one.name.partition("-")[0] for one in folders] == ["run_2", "run_3"]
    assert {one.stat().st_mode & 0o777 for one in (*folders, hands.state / "bundles")} == {0o700}


def test_journals_are_those_of_units_that_somebody_may_act_on(hands: Hands) -> None:
    wanted = ["vllm@0.service", "sshd.service", "nvidia-persistenced.service", "gpu-cockpit-agent.service"]
    assert COLLECT.more is not None
    told = COLLECT.more(job(hands, units=wanted))
    assert told["without"] == ["sshd.service"]
    assert "units/vllm@0.service.log" in told["parts"]
    assert not any("sshd" in part for part in told["parts"])
    commands = COLLECT.commands(job(hands, units=wanted, bug_report="yes"))
    assert ("journalctl", "--unit=vllm@0.service", "--since=-15min") in commands
    assert commands[-1] == ("nvidia-bug-report.sh", "--safe-mode")
    assert not any("sshd" in word for command in commands for word in command)


@given(part=st.text(max_size=30), key=st.text(max_size=30))
def test_no_name_leads_out_of_the_bundle(part: str, key: str) -> None:
    state = Path("/srv/state")
    try:
        values = checked(READ.args, {"bundle": key, "part": part})
    except Refused:
        return
    path = bundle.place(state, values["bundle"]) / values["part"]
    assert Path(os.path.normpath(path)) == path
    assert path.is_relative_to(state / "bundles")
    assert len(path.relative_to(state).parts) in (3, 4)


@given(unit=st.text(max_size=30))
def test_no_unit_becomes_an_option_or_a_pattern(unit: str) -> None:
    try:
        values = checked(COLLECT.args, {"units": [unit]})
    except Refused:
        return
    assert not set(values["units"][0]) & set("*?[]/ \n;")
    assert not unit.startswith("-")


def stats() -> list[list[str]]:
    """Of every process: state, parent, group and so on, as proc(5) orders them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            found.append(path.read_text().rpartition(")")[2].split())
        except OSError:
            continue
    return found


def test_a_program_that_is_deaf_is_ended_with_all_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_GRACE_S", 0.2)
    script = f"trap '' TERM; (trap '' TERM; echo $$ > {tmp_path}/pid; sleep 100; true) & echo begun; wait; sleep 100"
    said: list[bytes] = []
    began = time.monotonic()
    assert child.stream(("/bin/sh", "-c", script), 0.3, said.append) is None
    assert time.monotonic() - began < 10
    assert b"".join(said) == b"begun\n"
    group = (tmp_path / "pid").read_text().strip()
    alive = [row for row in stats() if row[2] == group and row[0] != "Z"]
    assert alive == []


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (b"3,12,47943051234,-;NVRM: Xid (PCI:0000:1b:00): 79\n SUBSYSTEM=pci\n",
         b"<3>[47943.051234] NVRM: Xid (PCI:0000:1b:00): 79\n"),
        (b"30,1,7,-;a user's line", b"<6>[    0.000007] a user's line\n"),
        (b"what a later kernel says", b"\n"),
    ],
)  # fmt: skip
def test_the_kernels_ring_reads_as_dmesg_does(record: bytes, line: bytes) -> None:
    assert gather._line_of(record) == line


def test_a_tool_that_is_not_installed_is_a_hole_with_its_name() -> None:
    with pytest.raises(gather.Missing, match="no-such-tool is not installed"):
        gather._run(("no-such-tool",), 1.0, lambda data: None)
    with pytest.raises(gather.Missing, match="false ended with 1; what it said is here"):
        gather._run(("false",), 5.0, lambda data: None)


def test_the_processes_of_a_host_are_a_table_without_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "plant7f3a9c51d2e8Qz")
    rows: list[bytes] = []
    gather.parts(gather.Wish())["processes.txt"](rows.append)
    mine = next(row for row in rows if row.startswith(b"%d\t" % os.getpid()))
    assert mine.count(b"\t") == rows[0].count(b"\t") == 7
    assert b"python" in mine
    assert not any(b"plant7f3a" in row for row in rows)


def test_what_the_driver_reports_is_nobodys_before_it_is_washed(hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, seen = bundle.place(hands.state, "run/1"), []

    def run(words: tuple[str, ...], *_: object) -> None:
        with gzip.open(words[-1], "wb") as file:
            file.write(b"HF_TOKEN=hf_abcdefghijklmnopqrstuvwxyz012345\n")
        for path in folder.rglob("*.gz"):
            try:
                seen.append(read(hands, str(path.relative_to(folder))).end)
            except Refused:
                seen.append("refused")

    monkeypatch.setattr(gather, "_run", run)
    done = collect(hands, {"report.txt": partial(gather._report, folder)}, monkeypatch)
    assert done.end == "done"
    assert seen == ["refused"]
    assert b"hf_abc" not in base64.b64decode(read(hands, "report.txt").data["base64"])
