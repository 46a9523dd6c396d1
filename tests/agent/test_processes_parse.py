"""Cgroups to owners, command lines without secrets, /proc text to fields."""

import json
import re
import time
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sources.processes import procfs
from agent.sources.processes.known import Known
from agent.sources.processes.owner import Owner, parse_cgroup
from agent.sources.processes.redact import CHARS, is_secret, redact
from agent.sources.processes.secret_table import PLACE_HEADS, PLACES, SHAPE_HEADS, SHAPES, Place, Shape
from agent.sources.processes.table import ROWS, TABLE_BYTES, moved, table

CGROUPS = Path(__file__).parent.parent / "data/cgroup"
OWNERS: dict[str, dict[str, str]] = json.loads((CGROUPS / "owners.json").read_text())


def test_every_layout_has_its_answer() -> None:
    assert {path.stem for path in CGROUPS.glob("*.txt")} == set(OWNERS)


@pytest.mark.parametrize("layout", sorted(OWNERS))
def test_the_owner_of_a_layout(layout: str) -> None:
    assert parse_cgroup((CGROUPS / f"{layout}.txt").read_text()) == Owner(**OWNERS[layout])


@given(st.text(max_size=400))
@settings(max_examples=200, deadline=None)
def test_no_cgroup_text_breaks_the_parser(text: str) -> None:
    assert isinstance(parse_cgroup(text), Owner)
    assert isinstance(parse_cgroup(f"0::/kubepods/{text}"), Owner)


SECRET = "s3cr3tVALUE"


@pytest.mark.parametrize(
    "args",
    [
        ["vllm", "serve", "--api-key", SECRET],
        ["vllm", "serve", f"--api-key={SECRET}"],
        ["vllm", "serve", "--api_key", SECRET],
        ["x", "--hf-token", SECRET],
        ["x", "--wandb.apiKey", SECRET],
        ["x", "--password", f"-{SECRET}"],
        ["x", "--db-password", f"{SECRET} with blanks {SECRET}"],
        ["env", f"HF_TOKEN={SECRET}", "python3"],
        ["env", f"AWS_SECRET_ACCESS_KEY={SECRET} {SECRET}", "python3"],
        ["bash", "-c", f"export HF_TOKEN={SECRET}; exec vllm serve"],
        ["bash", "-c", f"export HF_TOKEN='{SECRET}'; exec vllm serve --api-key '{SECRET}'"],
        ["bash", "-c", f'curl -H "Authorization: Bearer {SECRET}" http://x/'],
        ["curl", "-H", f"Authorization: Basic {SECRET}", "http://x/"],
        ["curl", "-H", f"X-Api-Key: {SECRET}", "http://x/"],
        ["curl", "-u", f"me:{SECRET}", "http://x/"],
        ["python3", "serve.py", f"postgresql://app:{SECRET}@db:5432/x"],
        ["python3", "serve.py", f"redis://:{SECRET}@cache/0"],
        ["python3", "serve.py", f"https://hub/x?rev=1&token={SECRET}&y=2"],
        ["python3", "serve.py", f'{{"api_key": "{SECRET}", "n": 1}}'],
        ["python3", "serve.py", f"{{'secret': '{SECRET}'}}"],
        ["python3", "serve.py", f"--opts=a=1,auth_token={SECRET}"],
        ["mysql", f"-p{SECRET}", "-uroot"],
        ["sshpass", "-p", SECRET, "ssh", "x"],
        [f"VLLM::Worker_TP0 --api-key {SECRET} --seed 3"],
        ["x", f"hf_{SECRET}{SECRET}"],
        ["x", f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----"],
        ["x", "AKIA" + "ABCDEFGHIJ234567"],
        ["x", f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx{SECRET}.{SECRET}"],
        ["x", "--secret", f"line one\n{SECRET}"],
        ["vllm", "--api-key", "first-1234", SECRET],
        ["x", "--secret-id", SECRET],
        ["x", f"secret_id={SECRET}"],
        ["x", f"TOKEN := {SECRET}"],
        ["x", f'{{"token": ["{SECRET}"]}}'],
        ["x", f"postgres://user:p@ss{SECRET}@db/x"],
        ["x", f"amqp://user:a/{SECRET}@mq"],
        ["x", "--otp", SECRET],
        ["curl", f"--user=me:{SECRET}", "http://x"],
        ["curl", "-b", f"session={SECRET}", "http://x"],
        ["sudo", "-u", "x", "mysql", f"-p{SECRET}"],
        ["env", "A=1", "curl", "-u", f"me:{SECRET}", "http://x"],
        ["/bin/sh", "-c", f"cd /; mysql -h db -p{SECRET} < x; true"],
        ["/bin/sh", "-c", f"curl -s --user 'me:{SECRET}' http://x | jq ."],
        ["curl", "-sSu", f"me:{SECRET}", "http://x"],
        ["curl", "-H", f"Authorization: Bearer {SECRET}", "http://x"],
        ["x", "--pin", SECRET],
        ["x", "--tokens", SECRET],
        ["x", "--api-tokens", "first-1234", SECRET],
        ["x", "--password", f"--{SECRET}"],
        ["x", "--password", "--correct-horse-battery" + SECRET],
        ["x", "--password", "--api-key", SECRET],
        ["x", "--token", f"--{SECRET}"],
        ["sh", "-c", f"x --password --{SECRET}"],
        ["mariadb-dump", f"-p{SECRET}"],
        ["docker", "--debug", "login", "-u", "me", "-p", SECRET, "registry"],
        ["wandb", "login", "--relogin", SECRET],
        ["vault", "login", SECRET],
        ["ngrok", "config", "add-authtoken", SECRET],
        ["htpasswd", "-bB", "file", "me", SECRET],
        ["rabbitmqctl", "add_user", "me", SECRET],
        ["aws", "configure", "set", "aws_secret_access_key", SECRET],
        ["nmcli", "dev", "wifi", "connect", "x", "password", SECRET],
        ["kubectl", "create", "secret", "generic", "x", f"--from-literal=a={SECRET}"],
        ["ipmitool", "-H", "bmc", "-P", SECRET, "chassis", "status"],
        ["unzip", "-P", SECRET, "x.zip"],
        ["redis-server", "--requirepass", SECRET],
        ["python3", "-c", f'import os; os.environ["HF_TOKEN"]="{SECRET}"'],
        ["x", f"https://hooks.slack.com/services/T00/B00/{SECRET}{SECRET}"],
        ["x", f"https://x/?q=a%3Dghp_{SECRET}{SECRET}"],
    ],
    ids=lambda args: args[-1][:40].replace("\n", " "),
)
def test_no_secret_survives(args: list[str]) -> None:
    shown = redact(args)
    assert SECRET not in shown
    assert "AKIAABCDEFGHIJ" not in shown
    assert "***" in shown
    assert "\n" not in shown


@pytest.mark.parametrize(
    "args",
    [
        ["vllm", "serve", "--tokenizer", "meta/llama", "--max-num-batched-tokens", "8192", "--seed", "1"],
        ["python3", "-m", "sglang", "--kv-cache-dtype", "fp8", "--tokenizer-mode", "auto", "--port", "30000"],
        ["x", "--ssl-keyfile", "/etc/ssl/key.pem", "--key-file", "/etc/k", "--token-path", "/run/t"],
        ["x", "--use-auth-token", "--model", "m"],
        ["x", "--monkeypatch", "1", "keyboard=us", "https://host:8080/path"],
        ["-p", "8000", "python3", "-p", "x"],
        ["sh", "-c", "docker run -p 8000:80 img; mysqlcheck -p x"],
        ["vllm", "serve", "--model", "X", "--max-tokens", "100", "--tokenizer", "Y"],
        ["vllm", "serve", "m", "--revision", "0123456789abcdef0123456789abcdef01234567", "--tokens", "100"],
        ["torchrun", "--nproc-per-node", "8", "train.py", "--num_tokens", "5", "--pin-memory", "true"],
        ["x", "--token", "--model", "m", "--stop-tokens", "a", "--special-tokens=b", "max_tokens=100", "tokens: 7"],
        ["docker", "run", "-p", "8000:80", "-u", "me", "img", "login"],
        ["openssl", "s_client", "-connect", "h:443"],
        ["7z", "a", "x.7z", "file"],
        ["curl", "--url", "http://x", "--output", "menu", "-fsS"],
        ["ssh", "-p", "2222", "host", "zip", "-r", "x.zip", "dir"],
        ["python3", "train.py", "--hf_transfer", "/data/fw_attention_kernel_dispatch/r8_model_with_long_name_x"],
        ["x", "http://host:8080/@scope/pkg", "https://host/@scope", "me@host:/path"],
    ],
    ids=lambda args: args[0],
)
def test_what_is_no_secret_stays_readable(args: list[str]) -> None:
    assert redact(args) == " ".join(args)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.example[:12])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_has_a_secrets_shape_holds_one_of_the_heads(shape: Shape, data: st.DataObject) -> None:
    secret = data.draw(st.from_regex(re.compile(shape.pattern, re.ASCII), fullmatch=True))
    assert any(head in secret for head in SHAPE_HEADS), secret


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.program[:16])
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_whatever_program_takes_secrets_holds_one_of_the_heads(place: Place, data: st.DataObject) -> None:
    command = data.draw(st.from_regex(re.compile(place.program, re.ASCII), fullmatch=True))
    assert any(head in command for head in PLACE_HEADS), command


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.example[:12])
@pytest.mark.parametrize("around", ["{}", "x='{}'", "https://h/a?b={}&c", 'title "{}", more', "-v:{}"])
def test_what_looks_like_a_known_secret_goes_wherever_it_is(shape: Shape, around: str) -> None:
    shown = redact(["prog", around.format(shape.example), "--port", "8000"])
    assert shape.example[-8:] not in shown
    assert shown.startswith("prog ")
    assert shown.endswith("--port 8000")


def test_the_harmless_rest_of_a_line_with_a_secret_stays() -> None:
    assert redact(["curl", "https://hub/x?rev=1&token=abc&y=2"]) == "curl https://hub/x?rev=1&token=***&y=2"


def test_a_long_command_is_cut_after_redaction() -> None:
    shown = redact(["x", "a" * 200, "--api-key", SECRET * 100, "b" * 500])
    assert len(shown) == CHARS
    assert shown.endswith("…")
    assert SECRET not in shown


@pytest.mark.parametrize(
    "text",
    ["a://", "mysql -", "x=", "http://" + ":" * 9000, "curl -u '", "docker -/", "eyJ-", "$6$", "--tokens ", "a_key ",
     "-----BEGIN PRIVATE KEY", "aws_secret_", "%3Dsk-", "--pin --a1-"],
)  # fmt: skip
def test_no_command_line_holds_the_agent_up(text: str) -> None:
    endless = text * (66_000 // len(text))
    for args in ([endless], endless.split(" ")):
        began = time.process_time()
        redact(args)
        assert time.process_time() - began < 1.0


@pytest.mark.parametrize(
    "name", ["HF_TOKEN", "apiKey", "--hf-token", "DB_PASS", "AWS_ACCESS_KEY_ID", "wandb.api_key", "--pin"]
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name", ["tokenizer", "max_tokens", "key_file", "author", "monkeypatch", "pin_memory", "", "--"]
)
def test_names_of_harmless_things(name: str) -> None:
    assert not is_secret(name)


@given(st.lists(st.text(max_size=60), max_size=12))
@settings(max_examples=200, deadline=None)
def test_any_command_line_becomes_one_printable_line(args: list[str]) -> None:
    shown = redact(args)
    assert len(shown) <= CHARS
    assert shown.isprintable()


@given(st.from_regex(r"[A-Za-z0-9]{12,30}", fullmatch=True), st.sampled_from(["--api-key", "--token", "--db.password"]))
@settings(max_examples=100, deadline=None)
def test_whatever_a_secret_looks_like_it_goes(secret: str, flag: str) -> None:
    for args in (["prog", flag, secret], ["prog", f"{flag}={secret}"], [f"title {flag} {secret}"]):
        assert secret not in redact(args)


def test_stat_is_read_whatever_the_name_is() -> None:
    text = b"7 (a) b (c) D 1 7 7 0 -1 4194304 1 0 0 0 10 20 0 0 20 0 1 0 12345 1000 10 184467"
    stat = procfs.parse_stat(text)
    assert (stat.comm, stat.state, stat.started_s) == ("a) b (c", "blocked", 123.45)
    assert procfs.state_of(text) == "blocked"
    for garbage in (b"", b"7 (x", b") (", b"7 (x) S 1"):
        with pytest.raises(ValueError, match="stat"):
            procfs.parse_stat(garbage)


def test_arguments_and_job_of_a_process() -> None:
    assert procfs.parse_arguments(b"python3\0-m\0vllm\0\0\0") == ["python3", "-m", "vllm"]
    assert procfs.parse_arguments(b"") == []
    assert procfs.parse_slurm_job(b"A=1\0SLURM_JOB_ID=4711\0TOKEN=x\0") == "4711"
    assert procfs.parse_slurm_job(b"XSLURM_JOB_ID=1\0SLURM_JOB_ID=no\0") == ""
    assert procfs.parse_uid("Name:\tx\nUid:\t1000\t0\t0\t0\n") == 1000


def known(pid: int, **more: Any) -> Known:
    return Known(pid, uid=0, comm="x", command="x" * 250, state="running", **more)


def test_the_table_keeps_the_largest_and_counts_the_rest() -> None:
    count = ROWS + 500
    gpus = {pid: {"GPU-1": pid} for pid in range(1, count + 1)}
    rows, left_out = table([known(pid) for pid in gpus], gpus, str)
    assert len(rows) + left_out == count
    assert len(rows) <= ROWS
    assert {row["pid"] for row in rows} == set(range(left_out + 1, count + 1))
    assert [row["pid"] for row in rows] == sorted(row["pid"] for row in rows)


def test_the_table_stays_below_a_frame_of_the_wire() -> None:
    owner = Owner("u" * 128, "c" * 64, "", "p" * 36)
    gpus: dict[int, dict[str, int | None]] = {
        pid: {f"GPU-{number:036d}": 1 << 40 for number in range(16)} for pid in range(1, 2049)
    }
    rows, left_out = table([known(pid, owner=owner, started=1.7e9) for pid in gpus], gpus, str)
    assert left_out == 2048 - len(rows) > 0

    assert len(msgpack.packb(rows)) < TABLE_BYTES * 1.1


def test_memory_is_summed_as_far_as_it_is_known() -> None:
    gpus: dict[int, dict[str, int | None]] = {1: {"a": 5, "b": None}, 2: {"a": None}, 3: {"a": 2, "b": 3}}
    rows, _ = table([known(pid) for pid in gpus], gpus, str)
    assert [row["gpu_memory"] for row in rows] == [5, None, 5]
    assert rows[0]["gpus"] == ["a", "b"]


def test_only_a_noticeable_move_of_memory_is_news() -> None:
    mib = 1024 * 1024
    assert not moved({1: {"a": 100 * mib}}, {1: {"a": 110 * mib}})
    assert moved({1: {"a": 100 * mib}}, {1: {"a": 117 * mib}})
    assert moved({1: {"a": None}}, {1: {"a": 0}})
    assert moved({1: {"a": 1}}, {1: {"a": 1, "b": 1}})
