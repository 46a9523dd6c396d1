"""A bundle, from the real root helper to the operator's hands."""

import asyncio
import base64
import hashlib
import io
import json
import secrets
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.actions.base import Reply, RootLost
from agent.actions.diagnostics import EXECUTORS, pack
from agent.actions.diagnostics.fetch import BUNDLE, chunk, place
from agent.errors import Refusal
from agent.wire.actions import CHUNK_BYTES, ActState
from tests.agent.actions.acting import ALICE, Hand, Memory
from tests.fakes.actuator import ActuatorProcess, actuator

(COLLECT,) = EXECUTORS
POLICY = """
[[allow]]
actions = ["diagnostics.collect"]
[[allow]]
actions = ["systemd.restart"]
units = ["vllm@*.service"]
"""


@pytest.fixture(scope="module")
def helper() -> Iterator[ActuatorProcess]:
    with actuator(POLICY) as running:
        yield running


@pytest.fixture
def hand(helper: ActuatorProcess, tmp_path: Path) -> Hand:
    replicas = [{"id": "vllm:8000", "unit": "vllm@0.service", "gpus": ["GPU-1"]}, {"id": "x", "unit": "sshd.service"}]
    told = {"replicas": replicas, "boot": {"id": ""}, "host": {"name": "gpu-a01"}}
    return Hand(helper, told, Memory(tmp_path / "bundles"), run_id=secrets.token_hex(4))


def files(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {
            one.name.partition("/")[2]: reader.read()
            for one in archive.getmembers()
            if (reader := archive.extractfile(one)) is not None
        }


def carried(directory: Path, key: str) -> bytes:
    """As a console carries it away: piece by piece, checked by its hash."""
    data, total = b"", 1
    while len(data) < total:
        piece = chunk(directory, key, BUNDLE, len(data))
        data, total = data + piece.data, piece.total
        assert len(piece.data) <= CHUNK_BYTES
    assert hashlib.sha256(data).hexdigest() == piece.sha256
    return data


async def test_a_bundle_holds_what_root_and_the_agent_know_with_a_manifest_of_all(hand: Hand) -> None:
    result, entry = await hand.do(COLLECT, "host")
    assert result.state is ActState.DONE, result.says
    assert hand.evidence is not None
    assert hand.evidence.directory is not None
    folder = place(hand.evidence.directory, entry.key)
    assert result.parts == {BUNDLE: (folder / BUNDLE).stat().st_size}
    found = files(folder / BUNDLE)
    manifest = json.loads(found.pop("manifest.json"))
    assert {"host.txt", "processes.txt", "facts.json"} <= found.keys()
    for name, said in manifest["parts"].items():
        if name in found:
            assert (said["bytes"], said["sha256"]) == (len(found[name]), hashlib.sha256(found[name]).hexdigest())
        else:
            assert said["missing"], name
    assert manifest["parts"]["nvidia-driver.txt"]["missing"].startswith("the NVIDIA driver is not loaded")
    assert manifest["host"] == "gpu-a01"
    assert b"==> /proc/version <==" in found["host.txt"]
    assert any("collecting processes.txt (2 of " in line for line in hand.lines)
    assert files_of(hand.helper) == set(found) - {"facts.json"}


def files_of(helper: ActuatorProcess) -> set[str]:
    newest = max((helper.state / "bundles").iterdir(), key=lambda one: one.stat().st_mtime)
    return {str(path.relative_to(newest)) for path in newest.rglob("*") if path.is_file()}


async def test_it_is_carried_away_in_pieces_and_can_be_resumed(hand: Hand) -> None:
    _, entry = await hand.do(COLLECT, "host")
    assert hand.evidence is not None
    directory = hand.evidence.directory
    assert directory is not None
    whole = carried(directory, entry.key)
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        assert archive.getnames()
    assert chunk(directory, entry.key, BUNDLE, 100).data == whole[100 : 100 + CHUNK_BYTES]
    assert chunk(directory, entry.key, BUNDLE, len(whole)).data == b""
    for key, part, offset, says in (
        (entry.key, "../state.json", 0, "collected nothing that is called"),
        ("ffffffff/1", BUNDLE, 0, "removed for newer ones"),
        (entry.key, BUNDLE, len(whole) + 1, "and none at"),
    ):
        with pytest.raises(Refusal, match=says):
            chunk(directory, key, part, offset)


async def test_journals_of_units_that_the_policy_does_not_name_stay_closed(hand: Hand) -> None:
    found = await hand.plan(COLLECT, "host")
    assert "the policy names no right to see sshd.service" in found.effect
    assert not any("sshd" in command for command in found.commands)
    assert any("--unit=vllm@0.service" in command for command in found.commands)
    of_gpu = await hand.plan(COLLECT, "gpu:GPU-1")
    assert of_gpu.before["units"] == "vllm@0.service gpu-cockpit-agent.service"


async def test_an_operator_may_name_further_units_that_the_policy_names_too(hand: Hand) -> None:
    found = await hand.plan(COLLECT, "host", params={"units": "vllm@1.service  cron.service"})
    assert found.before["units"].split()[:2] == ["vllm@1.service", "cron.service"]
    assert any("--unit=vllm@1.service" in command for command in found.commands)
    assert not any("cron" in command for command in found.commands)
    with pytest.raises(Refusal, match="'--all' is not the name of a service"):
        await hand.plan(COLLECT, "host", params={"units": "--all"})


async def test_a_plan_collects_nothing_and_needs_no_more_than_to_look(hand: Hand) -> None:
    found = await hand.plan(COLLECT, "replica:vllm:8000")
    assert all(guard.ok for guard in found.guards), found.guards
    assert "at most 64 MiB" in found.effect
    assert hand.evidence is not None
    assert hand.evidence.directory is not None
    assert not hand.evidence.directory.exists()


async def test_too_large_a_bundle_for_the_disk_is_a_guard_and_is_refused(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.actions.diagnostics.collect.SPARE", 2**60)
    found = await hand.plan(COLLECT, "host")
    assert [guard.id for guard in found.guards if not guard.ok] == ["room"]
    assert "MiB free, and" in next(guard.says for guard in found.guards if not guard.ok)


async def test_an_agent_that_keeps_nothing_collects_nothing(hand: Hand) -> None:
    hand.evidence = Memory(None)
    with pytest.raises(Refusal, match="keeps nothing on disk"):
        await hand.plan(COLLECT, "host")


async def test_what_was_interrupted_leaves_nothing_and_says_so(hand: Hand) -> None:
    act = hand.wish(COLLECT.spec.id, "host")
    found = await COLLECT.preflight(act, ALICE, hand)
    going = asyncio.ensure_future(COLLECT.run(act, ALICE, found, hand, hand.lines.append))
    while not hand.lines:
        await asyncio.sleep(0.005)
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    assert hand.evidence is not None
    assert hand.evidence.directory is not None
    assert list(hand.evidence.directory.iterdir()) == []


async def test_after_a_crash_there_is_a_whole_bundle_or_none(hand: Hand) -> None:
    result, entry = await hand.do(COLLECT, "host")
    again = await COLLECT.settle(entry, hand)
    assert (again.state, again.parts) == (ActState.DONE, result.parts)
    assert hand.evidence is not None
    assert hand.evidence.directory is not None
    torn = replace(entry, key="ffffffff/9")
    pack.write(pack.stage(place(hand.evidence.directory, torn.key)), "a.txt", b"half of it")
    settled = await COLLECT.settle(torn, hand)
    assert (settled.state, "collect again" in settled.says) == (ActState.FAILED, True)
    assert not place(hand.evidence.directory, torn.key).exists()
    assert COLLECT.inverse(entry) is None


async def test_a_part_that_is_not_what_root_wrote_is_left_out_with_its_reason(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = hand.root.ask

    async def spoiled(request: Any, *words: Any, **more: Any) -> Reply:
        reply = await ask(request, *words, **more)
        if request["verb"] == "read" and request["part"] == "host.txt":
            return replace(reply, data={**reply.data, "base64": base64.b64encode(b"x" * reply.data["total"]).decode()})
        if request["verb"] == "read" and request["part"] == "processes.txt":
            raise RootLost("the connection broke")
        return reply

    monkeypatch.setattr(hand.root, "ask", spoiled)
    result, entry = await hand.do(COLLECT, "host")
    assert result.state is ActState.DONE
    assert "missing: host.txt, processes.txt" in result.says
    assert hand.evidence is not None
    assert hand.evidence.directory is not None
    found = files(place(hand.evidence.directory, entry.key) / BUNDLE)
    assert not {"host.txt", "processes.txt"} & found.keys()
    parts = json.loads(found["manifest.json"])["parts"]
    assert "its hash is another" in parts["host.txt"]["missing"]
    assert "the connection broke" in parts["processes.txt"]["missing"]


def test_only_the_newest_bundles_are_kept(tmp_path: Path) -> None:
    for number in range(8):
        folder = place(tmp_path, f"run/{number}")
        parts = pack.stage(folder)
        pack.write(parts, "units/a.log", b"x")
        pack.pack(folder, "title", {})
    assert len(list(tmp_path.iterdir())) == pack.KEPT
    assert (place(tmp_path, "run/7") / BUNDLE).exists()
    with tarfile.open(place(tmp_path, "run/7") / BUNDLE) as archive:
        assert [(one.name, one.uid, one.mode) for one in archive] == [
            ("title/manifest.json", 0, 0o644),
            ("title/units/a.log", 0, 0o644),
        ]


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../b", "units/..", ".hidden", "a/b/c", "", "a\nb", "a b"])
def test_a_part_cannot_be_named_out_of_its_folder(name: str) -> None:
    assert not pack.fits(name)
