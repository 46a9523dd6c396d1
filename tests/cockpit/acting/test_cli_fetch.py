"""`fetch`: whole or not by that name, readable by its owner alone, and nothing is replaced."""

import json
from pathlib import Path
from typing import Any

import pytest

from agent.wire.actions import RunFacts
from agent.wire.frames import Snapshot
from agent.wire.shape import pack
from tests.cockpit.acting.conftest import FACTS, NOW, STUCK, Line
from tests.cockpit.acting.test_cli_actions import entry
from tests.fakes.hands import FakeHands

BUNDLE = b"bundle " * 1000


def collected(line: Line, *entries: dict[str, Any]) -> None:
    run = RunFacts("5e6f7a8b", "collect-diagnostics", "h", "host", "bob", "bob", at=NOW, state="done", ended=NOW)
    line.agent.snapshot = Snapshot({**FACTS, "actions": list(entries), "runs": [pack(run)]}, (STUCK,))


@pytest.fixture
def bundle(line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Line:
    collected(line, entry("5e6f7a8b/1", "diagnostics.collect", -5, parts={"bundle.tar.gz": len(BUNDLE)}))
    monkeypatch.chdir(tmp_path)
    return line


def test_a_bundle_is_brought_here_for_its_owner_alone(bundle: Line, tmp_path: Path) -> None:
    out, err = bundle.run("fetch", "5e6f7a8b")
    file = tmp_path / "5e6f7a8b-1-bundle.tar.gz"
    assert (file.read_bytes(), file.stat().st_mode & 0o777, err) == (BUNDLE, 0o600, "")
    assert out.startswith("5e6f7a8b-1-bundle.tar.gz: 7,000 bytes of bundle.tar.gz, collected by 5e6f7a8b/1")
    assert not list(tmp_path.glob("*.part"))
    document = json.loads(bundle.run("fetch", "5e6f7a8b/1", "-o", "x.tgz", "--json")[0])
    assert (document["file"], document["bytes"]) == ("x.tgz", 7000)


def test_nothing_is_replaced(bundle: Line, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("mine")
    _, err = bundle.run("fetch", "5e6f7a8b", "-o", "x", status=2)
    assert "x is there already, and nothing is replaced" in err
    assert (tmp_path / "x").read_text() == "mine"
    (tmp_path / "link").symlink_to("nowhere")
    bundle.run("fetch", "5e6f7a8b", "-o", "link", status=2)


def test_a_fetch_that_was_cut_off_is_gone_on_with(bundle: Line, tmp_path: Path) -> None:
    bundle.change = lambda hands: setattr(hands, "cut_at", 3000)
    _, err = bundle.run("fetch", "5e6f7a8b", "-o", "x", status=3)
    assert "the link was lost" in err
    assert not (tmp_path / "x").exists()
    bundle.change = lambda _: None
    bundle.run("fetch", "5e6f7a8b", "-o", "x")
    assert bundle.hands.said[-1] == ("fetch", 0, "5e6f7a8b/1", "bundle.tar.gz", 3072)
    assert (tmp_path / "x").read_bytes() == BUNDLE


def test_what_was_begun_of_another_file_is_begun_anew(bundle: Line, tmp_path: Path) -> None:
    (tmp_path / "x.part").write_bytes(b"something else")
    bundle.run("fetch", "5e6f7a8b", "-o", "x")
    assert [said[4] for said in bundle.hands.said] == [14, 0]
    assert (tmp_path / "x").read_bytes() == BUNDLE
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o600


def test_what_a_host_calls_its_file_does_not_decide_where_it_lands(bundle: Line, tmp_path: Path) -> None:
    collected(bundle, entry("5e6f7a8b/1", "diagnostics.collect", -5, parts={"../../../etc/x": 7000}))
    bundle.run("fetch", "5e6f7a8b")
    assert (tmp_path / "5e6f7a8b-1-part").read_bytes() == BUNDLE


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("fetch", "ffff"), "no action 'ffff'"),
        (("fetch", "5e6f7a8b", "--part", "bundle.tgz"), "no part 'bundle.tgz'; did you mean 'bundle.tar.gz'?"),
        (("fetch", "5e6f7a8b", "-o", "no/such/folder"), "cannot be written (No such file or directory)"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(bundle: Line, words: tuple[str, ...], sentence: str) -> None:
    _, err = bundle.run(*words, status=2)
    assert sentence in err
    assert err.count("\n") == 1


def test_what_collected_nothing_and_what_collected_several_is_said(bundle: Line) -> None:
    collected(bundle, entry("5e6f7a8b/1", "haproxy.drain", -5))
    assert "collected nothing" in bundle.run("fetch", "5e6f7a8b", status=2)[1]
    collected(bundle, *(entry(f"5e6f7a8b/{n}", "diagnostics.collect", -5, parts={"b": 1}) for n in (1, 2)))
    assert "collected several: name one by its key" in bundle.run("fetch", "5e6f7a8b", status=2)[1]


def test_a_run_that_collected_something_says_how_to_have_it(line: Line) -> None:
    def change(hands: FakeHands) -> None:
        put = hands._put
        hands._put = lambda run, **more: put(run, **{**more, "may": (*more.get("may", ()), "fetch")})  # type: ignore[method-assign]

    line.change = change
    out, _ = line.run("run", "restart-replica", "n01/vllm:8000", "--yes")
    assert "`gpu-cockpit fetch 1a2b3c01` brings what was collected" in out
