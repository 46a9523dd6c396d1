"""What is collected holds no secret: neither what looks like one nor what is known to be one, however it is cut."""

import base64
import random
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.actuator import redact as ours
from agent.actuator import secret_table as our_table
from agent.actuator.wash import CHUNK, Room, Washer, known
from agent.sources.processes import redact as theirs
from agent.sources.processes import secret_table as their_table

SECRET = "Zx9-plant7f3a/9c51+d2e8"
LINES = (
    "Authorization: Bearer {}",
    "HF_TOKEN={}",
    "vllm serve m --api-key {} --port 8000",
    "GET https://user:{}@hub.example/x?rev=1",
    "GET https://hub.example/x?token={}&rev=1",
    'Environment="VLLM_API_KEY={}"',
    '{{"api_key": "{}", "model": "m"}}',
    "password:\n  {}",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE{}\n-----END RSA PRIVATE KEY-----",
)


def washed(data: bytes, *secrets: str, step: int = 4096) -> bytes:
    washer = Washer(secrets)
    out = b"".join(washer.feed(data[at : at + step]) for at in range(0, len(data), step))
    return out + washer.close()


def test_both_redactors_are_one_text() -> None:
    """The root helper imports nothing of ours, so it has a copy: what one hides, the other hides."""
    for mine, original in ((ours, theirs), (our_table, their_table)):
        text = Path(original.__file__).read_text().replace("agent.sources.processes.", "agent.actuator.")
        assert Path(mine.__file__).read_text() == text, f"copy {original.__file__} to {mine.__file__}"


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
@pytest.mark.parametrize("where", [0, CHUNK - 40, CHUNK - 12, CHUNK - 1, 3 * CHUNK - 20])
def test_a_secret_goes_wherever_the_stream_is_cut(line: str, where: int) -> None:
    filler = ("it serves requests\n" * (where // 19 + 1))[:where]
    filler = filler[: filler.rfind("\n") + 1]
    text = f"{filler}{line.format(SECRET)}\n" + "and goes on\n" * 3000
    out = washed(text.encode())
    assert SECRET.encode() not in out
    assert b"7f3a" not in out
    assert out.count(b"and goes on") == 3000


def test_a_known_secret_goes_where_nothing_says_that_it_is_one() -> None:
    for spelled in (
        SECRET,
        quote(SECRET, safe=""),
        *(base64.b64encode(b"x" * before + SECRET.encode() + b"yy").decode() for before in range(6)),
        *(base64.urlsafe_b64encode(b"x" * before + SECRET.encode() + b"yy").decode() for before in range(6)),
    ):
        out = washed(f"loaded it: {spelled} and went on\n".encode(), SECRET).decode()
        assert "***" in out, spelled
        assert spelled not in out
        assert out.endswith("and went on\n")


def test_what_processes_hold_under_a_secrets_name_is_known(tmp_path: Path) -> None:
    code = "import sys; print(flush=True); sys.stdin.read()"
    words = [sys.executable, "-c", code, "--api-key", SECRET, f"--token={SECRET}2", "--port", "8000123456"]
    env = {"HF_TOKEN": f"{SECRET}3", "MODEL": "llama-3-70b-x", "PASSWORD": "short", "TOKEN_FILE": "/run/secrets/token",
           "SSH_AUTH_SOCK": "/tmp/ssh-x/agent", "API_KEY": "password"}  # fmt: skip
    process = subprocess.Popen(words, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        found = known([Path(f"/proc/{process.pid}")], ["WANDB_API_KEY=" + SECRET + "4", "MODE=fast-and-furious"])
    finally:
        process.kill()
        process.communicate(timeout=5)
    assert found == {SECRET, f"{SECRET}2", f"{SECRET}3", f"{SECRET}4"}


def test_control_characters_of_a_log_do_not_reach_the_terminal_of_who_reads_it() -> None:
    assert washed(b"a\x1b[31mb\x07\rc\x9b\n") == "a [31mb  c\ufffd\n".encode()


@settings(max_examples=60)
@given(data=st.binary(max_size=3000), step=st.integers(1, 900))
def test_washing_takes_whatever_comes(data: bytes, step: int) -> None:
    assert washed(data, SECRET, step=step).count(b"\x1b") == 0


@settings(max_examples=100)
@given(most=st.integers(4, 300), sizes=st.lists(st.integers(0, 90), max_size=30))
def test_a_room_keeps_the_beginning_and_the_newest_and_says_what_it_left_out(most: int, sizes: list[int]) -> None:
    picked = random.Random(str(sizes))
    pieces = [bytes(picked.randrange(256) for _ in range(size)) for size in sizes]
    whole = b"".join(pieces)
    room = Room(most)
    for piece in pieces:
        room.add(piece)
    kept = b"".join(room.parts())
    if len(whole) <= most:
        assert kept == whole
        return
    note = f"\n[... {room.left_out} bytes are left out here: there is no room for more ...]\n".encode()
    head, _, tail = kept.partition(note)
    assert room.left_out == len(whole) - most
    assert whole.startswith(head)
    assert whole.endswith(tail)
    assert len(head) + len(tail) == most
