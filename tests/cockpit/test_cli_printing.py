"""What terminals and pipes are given."""

import json
import math

import pytest

from agent.wire.specs import Severity
from cockpit.cli import items
from cockpit.cli.printing import age_text, emit_json, emit_table, exit_status, paint, plain, severity_text
from cockpit.cli.tables import HEADINGS, ROW
from tests.cockpit.fleets import NOW, mixed


class Terminal:
    """A standard output that claims to be a terminal."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.text = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass


def test_colour_is_for_terminals_without_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert paint("x", "critical") == "x"
    monkeypatch.setattr("sys.stdout", Terminal())
    assert paint("x", "critical") == "\x1b[1;31mx\x1b[0m"
    assert paint("x", "ok") == "x"
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint("x", "critical") == "x"


def test_severity_is_glyph_and_word_in_any_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    assert severity_text("critical") == "✖ critical"
    terminal.encoding = "ascii"
    assert severity_text("critical") == "x critical"
    emit_table(("HOST",), [["gpü"]], ["warning"])
    assert "^ warning" in terminal.text
    assert "gp?" in terminal.text


def test_remote_text_never_moves_a_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    assert plain("a\x1b[2Jb\r\nc\u202e") == "a [2Jb  c "
    emit_table(("TEXT",), [["\x1b]0;evil\x07"]], ["ok"])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x07" not in out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "never"), (math.nan, "never"), (0.44, "0.4s"), (42.0, "42s"), (119, "119s"), (180, "3m"), (2e5, "2d")],
)
def test_ages_are_told_in_the_unit_that_tells(seconds: float | None, text: str) -> None:
    assert age_text(seconds) == text


def test_exit_status_of_a_check() -> None:
    told = {severity: exit_status(severity) for severity in Severity}
    assert told == {
        Severity.OK: 0, Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2, Severity.UNKNOWN: 3,
    }  # fmt: skip


def test_numbers_are_json_or_null() -> None:
    assert items.number(math.inf) is None
    assert items.number(None) is None
    assert items.number(3.0) == 3
    assert isinstance(items.number(3.0), int)
    assert items.number(0.1234567) == 0.123457


def test_every_list_has_items_and_rows_for_whatever_a_fleet_holds(capsys: pytest.CaptureFixture[str]) -> None:
    fleet, _ = mixed()
    entries = {
        "hosts": fleet.hosts,
        "gpus": list(range(fleet.gpus.n)),
        "processes": [(record.number, item) for record in fleet.hosts for item in record.processes],
        "findings": fleet.findings(),
        "events": fleet.events,
    }
    assert set(entries) == set(items.ITEM) == set(ROW) == set(HEADINGS)
    for name, chosen in entries.items():
        made = [items.ITEM[name](fleet, entry, NOW) for entry in chosen]
        assert made
        for entry, item in zip(chosen, made, strict=True):
            assert {"id", "host", "severity", "age_s"} <= set(item)
            assert item["severity"] in ("ok", "info", "warning", "critical", "unknown")
            assert len(ROW[name](fleet, entry, item)) == len(HEADINGS[name])
        emit_json({"items": made})
        assert json.loads(capsys.readouterr().out) == {"items": made}


def test_the_last_value_of_something_gone_stands_in_brackets_with_the_reason() -> None:
    fleet, _ = mixed()
    row = fleet.gpus.row(2, "GPU-gpu-b01-0")
    assert row is not None
    shown = ROW["gpus"](fleet, row, items.gpu(fleet, row, NOW))
    assert "(10C stale)" in shown
    assert items.gpu(fleet, row, NOW)["signals"]["gpu.temperature"]["quality"] == "stale"
