"""The tail of a replica's log: of known replicas alone, bounded, without secrets, and a sentence where there is none.

`journalctl` is a script here that prints and behaves; the real one is asked in `tests/packaging/test_node_service.py`.
"""

import pwd
import time
from pathlib import Path
from typing import Any

import pytest

from agent.app.logs import Logs
from agent.errors import Refusal
from agent.sources.units import journal
from agent.sources.units.log import UnitLog
from agent.wire.codec import encode
from agent.wire.requests import LINE, Lines, Log

WHEN = "2026-11-22T23:01:58+0000 n1 vllm[4242]: "


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where programs are found; nothing is there yet."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setitem(journal._ENVIRONMENT, "PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(
        journal.shutil, "which", lambda name, path: str(folder / name) if (folder / name).exists() else None
    )
    return folder


def says(place: Path, script: str) -> None:
    """`journalctl` notes its arguments and does this."""
    program = place / "journalctl"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {place}/argv\n{script}\n')
    program.chmod(0o755)


def facts(**more: Any) -> dict[str, Any]:
    return {
        "id": "vllm:8000",
        "unit": "vllm@0.service",
        "container": "",
        "job": "",
        "pod": "",
        "pids": [],
        "user": "1000",
        **more,
    }


async def read(proc: Path, count: int = 200, **more: Any) -> Lines:
    return await UnitLog(proc).read(Log(7, "replica:vllm:8000", count), facts(**more))


async def test_the_lines_of_the_unit_come_with_their_time_and_their_source(place: Path, tmp_path: Path) -> None:
    says(place, f"echo '{WHEN}loading'; echo '{WHEN}ready'")
    found = await read(tmp_path, 50)
    assert found == Lines(7, (f"{WHEN}loading", f"{WHEN}ready"), "the journal of vllm@0.service", "")
    assert (place / "argv").read_text().split() == [
        "--lines=50", "--output=short-iso", "--no-pager", "_SYSTEMD_UNIT=vllm@0.service", "_UID=1000", "+",
        "_PID=1", "UNIT=vllm@0.service", "+", "_SYSTEMD_USER_UNIT=vllm@0.service", "_UID=1000",
    ]  # fmt: skip


async def test_secrets_and_control_characters_stay_behind(place: Path, tmp_path: Path) -> None:
    key = "-----BEGIN PRIVATE KEY-----\\nMIIEvQIBADANBg\\n-----END PRIVATE KEY-----"
    words = f"{WHEN}--api-key=sk-12345678901234567890 Authorization: Bearer abc.def"
    says(place, f"printf '{words}\\n{key}\\n\\033[31mred\\033[0m\\n'")
    found = await read(tmp_path)
    text = "\n".join(found.lines)
    assert all(secret not in text for secret in ("sk-1234", "abc.def", "MIIE"))
    assert "***" in text
    assert all(line.isprintable() for line in found.lines)


async def test_a_flood_is_cut_to_its_end_and_fits_into_a_frame(place: Path, tmp_path: Path) -> None:
    says(place, f"yes '{WHEN}{'é' * 3000}' | head -n 400; echo '{WHEN}last'")
    found = await read(tmp_path)
    assert found.lines[-1] == f"{WHEN}last"
    assert max(map(len, found.lines)) == LINE
    assert found.lines[0].startswith("2026"), "half a line is none"
    assert found.says == "older lines did not fit"
    assert len(encode(found)) < 1 << 20


async def test_an_endless_flood_ends_at_its_bound(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "READ_BYTES", 400_000)
    says(place, f"exec yes '{WHEN}again'")
    found = await read(tmp_path, 20)
    assert found.lines == (f"{WHEN}again",) * 20


async def test_no_more_lines_than_were_asked_for(place: Path, tmp_path: Path) -> None:
    says(place, "seq 100")
    assert (await read(tmp_path, 3)).lines == ("98", "99", "100")


async def refused(proc: Path, **more: Any) -> tuple[str, str]:
    with pytest.raises(Refusal) as no:
        await read(proc, **more)
    return no.value.code, str(no.value)


@pytest.mark.parametrize(
    "complaint",
    [
        "Hint: You are currently not seeing messages from other users and the system.",
        "No journal files were opened due to insufficient permissions.",
    ],
)
async def test_what_may_not_be_read_is_said_with_what_to_try(place: Path, tmp_path: Path, complaint: str) -> None:
    says(place, f"echo '{complaint}' >&2; exit 1")
    code, text = await refused(tmp_path)
    assert code == "denied"
    assert "usermod -aG systemd-journal gpu-cockpit" in text


async def test_a_journal_that_hangs_is_given_up(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "DEADLINE_S", 0.2)
    says(place, f"echo $$ > {place}/pid; exec sleep 60")
    began = time.monotonic()
    code, text = await refused(tmp_path)
    assert (code, "did not answer within 0.2 s" in text) == ("not_recorded", True)
    assert time.monotonic() - began < 5
    assert not Path(f"/proc/{(place / 'pid').read_text().strip()}").exists()


async def test_a_host_without_journalctl_says_so(place: Path, tmp_path: Path) -> None:
    assert not (place / "journalctl").exists()
    assert "not installed" in (await refused(tmp_path))[1]


async def test_a_journalctl_that_fails_says_why(place: Path, tmp_path: Path) -> None:
    says(place, "echo 'Failed to open files: Input/output error' >&2; exit 5")
    assert "Input/output error" in (await refused(tmp_path))[1]


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"container": "0f3a" * 16}, "docker logs --tail 200 0f3a0f3a0f3a"),
        ({"pod": "6ba7b810-9dad", "container": "0f3a" * 16}, "kubectl logs"),
        ({"job": "4711"}, "scontrol show job 4711"),
        ({"unit": ""}, "runs in no unit"),
    ],
)
async def test_who_else_keeps_the_log_is_said(place: Path, tmp_path: Path, more: dict[str, Any], text: str) -> None:
    says(place, "echo never asked")
    found = await read(tmp_path, **more)
    assert found.lines == ()
    assert text in found.says
    assert not (place / "argv").exists()


@pytest.mark.parametrize(("unit", "text"), [("vllm.service", "files of its own"), ("session-3.scope", "by hand")])
async def test_a_unit_that_wrote_nothing_says_why_there_is_nothing(
    place: Path, tmp_path: Path, unit: str, text: str
) -> None:
    says(place, "echo '-- No entries --'")
    found = await read(tmp_path, unit=unit)
    assert (found.lines, text in found.says) == ((), True)


@pytest.mark.parametrize(
    "unit",
    ["-f.service", "--root=/.service", "a b.service", "a\n.service", "a/b.service", "*.service", "ssh", "+", "a.mount"],
)
async def test_what_is_no_name_of_a_unit_is_given_to_no_program(place: Path, tmp_path: Path, unit: str) -> None:
    says(place, "echo never asked")
    assert (await refused(tmp_path, unit=unit))[0] == "not_recorded"
    assert not (place / "argv").exists()
    with pytest.raises(ValueError, match="is no unit"):
        journal.words(unit, 10, 0)


async def test_an_escaped_name_is_asked_for_as_systemd_writes_it_and_as_its_own_user(
    place: Path, tmp_path: Path
) -> None:
    says(place, "echo one")
    process = tmp_path / "4242"
    process.mkdir()
    (process / "cgroup").write_text("0::/user.slice/user-1000.slice/user@1000.service/app.slice/chat\\x2d70b.service\n")
    (process / "status").write_text("Name:\tvllm\nUid:\t1001\t0\t0\t0\n")
    await read(tmp_path, unit="chat-70b.service", pids=[4242], user="root")
    argv = (place / "argv").read_text().split("\n")
    assert "_SYSTEMD_UNIT=chat\\x2d70b.service" in argv
    assert argv[-4:-1] == ["+", "_SYSTEMD_USER_UNIT=chat\\x2d70b.service", "_UID=1001"], "its real user's alone"


async def test_a_unit_of_root_is_never_mixed_with_a_users_unit_of_that_name() -> None:
    assert not any("USER_UNIT" in word for word in journal.words("vllm.service", 10, 0))


async def test_a_unit_that_borrows_the_name_of_another_shows_what_its_own_user_wrote_and_nothing_else(
    place: Path, tmp_path: Path
) -> None:
    says(place, "echo one")
    await read(tmp_path, unit="ssh.service", user="1000")
    argv = (place / "argv").read_text().split()
    groups = " ".join(argv[3:]).split(" + ")
    assert len(groups) == 3
    assert all("_UID=1000" in group.split() or group == "_PID=1 UNIT=ssh.service" for group in groups)


async def test_of_a_user_whom_nobody_knows_nothing_is_read(place: Path, tmp_path: Path) -> None:
    says(place, "echo never asked")
    for user in ("", "no-such-user-here"):
        assert "not known whose processes" in (await refused(tmp_path, user=user))[1]
    assert not (place / "argv").exists()


async def test_the_log_of_one_that_is_gone_is_read_by_the_name_of_its_user(place: Path, tmp_path: Path) -> None:
    says(place, "echo last words")
    assert (await read(tmp_path, user="daemon", pids=[4242])).lines == ("last words",)
    assert f"_UID={pwd.getpwnam('daemon').pw_uid}" in (place / "argv").read_text().split()


async def test_only_replicas_that_this_host_knows_have_a_log() -> None:
    asked: list[str] = []

    async def read(wish: Log, facts: Any) -> Lines:
        asked.append(facts["unit"])
        return Lines(wish.id, ("one",))

    logs = Logs(lambda: [facts(), facts(id="triton:8010", unit="triton.service")], read)
    assert (await logs.ask(Log(1, "replica:triton:8010"))).lines == ("one",)
    assert asked == ["triton.service"]
    for subject in ("replica:ssh", "ssh.service", "vllm:8000", "", "replica:", "gpu:GPU-1"):
        with pytest.raises(Refusal, match="knows no"):
            await logs.ask(Log(2, subject))
    with pytest.raises(Refusal, match="knows no"):
        await Logs(lambda: None, read).ask(Log(3, "replica:vllm:8000"))
    assert asked == ["triton.service"]
