"""Must hold on every host: a secret planted in command lines, environments, units, journals and URLs leaves root in no
bundle, frame, database, audit or log: a real agent, a real root helper, and every byte between them and of both.

systemctl, journalctl and the driver's own programs are scripts in a mount namespace of the helper's: they say what the
real ones say of a unit that was written carelessly. The real ones say it in the node (`tests/packaging`).
"""

import asyncio
import base64
import gzip
import io
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import pytest

from agent.wire.actions import Act, Acted, ActMode, Audit, AuditLines, Chunk, Fetch
from agent.wire.frames import Subscribe
from agent.wire.specs import Level
from tests.fakes.actuator import ActuatorProcess, actuator
from tests.fakes.client import Client, Picture
from tests.fakes.nvml import FakeNvml
from tests.fakes.process import AgentProcess
from tests.fakes.relay import Relay
from tests.lab import has_command, has_root, require

pytestmark = pytest.mark.lab

KNOWN = "plant/7f3a9c51d2e8+Qz"  # processes hold it under a secret's name, so it is known wherever it stands
LINKED = "plant/51d2e87f3a9c+Yw"  # in addresses and headers of command lines alone
WRITTEN = "plant/d2e89c517f3a+Xv"  # in units and journals alone: nothing gives it away but what stands around it
UNIT = "vllm@0.service"
POLICY = """
[[allow]]
actions = ["diagnostics.collect"]
[[allow]]
actions = ["systemd.reload"]
units = ["vllm@*.service"]
"""
ARGV = (
    ("vllm", "serve", "m", "--api-key", KNOWN, "--port", "8000"),
    (f"--token={KNOWN}", f"https://user:{LINKED}@hub.example/x?rev=1", f"https://hub.example/y?token={LINKED}&x=1"),
    ("--header", f"Authorization: Bearer {LINKED}", f'{{"api_key": "{LINKED}"}}'),
)
ENVIRONMENT = {"HF_TOKEN": KNOWN, "VLLM_API_KEY": KNOWN, "HTTPS_PROXY": f"http://u:{LINKED}@p:1"}
UNIT_FILE = f"""# /etc/systemd/system/vllm@.service
[Service]
Environment="HF_TOKEN={WRITTEN}" MODEL=m
Environment=VLLM_API_KEY={WRITTEN}
ExecStart=/usr/bin/vllm serve m --api-key {WRITTEN} --port 8000
"""
JOURNAL = f"""2026-11-23T02:13:10.1+0000 h vllm[1]: starting with api_key={WRITTEN} port=8000
2026-11-23T02:13:10.2+0000 h vllm[1]: GET https://user:{WRITTEN}@hub.example/x 200
2026-11-23T02:13:10.3+0000 h vllm[1]: GET https://hub.example/y?token={WRITTEN}&rev=1 200
2026-11-23T02:13:10.4+0000 h vllm[1]: > Authorization: Bearer {WRITTEN}
2026-11-23T02:13:10.5+0000 h vllm[1]: it logged in as {KNOWN}, which nothing says is a secret
2026-11-23T02:13:10.6+0000 h vllm[1]: and serves requests
"""
SHOW = """Id=vllm@0.service
LoadState=loaded
ActiveState=active
SubState=running
Result=success
MainPID=1
InvocationID=00000000000000000000000000000001
KillMode=mixed
Type=simple
NRestarts=0
CanReload=yes
ExecReload=/bin/kill -HUP $MAINPID
"""
SYSTEMCTL = """#!/bin/sh
case "$*" in
*--property=*) cat {here}/show ;;
*reload*) echo 'it said: Authorization: Bearer {canary}'; echo 'failed with --api-key {canary}'; exit 1 ;;
*) cat {here}/show {here}/unit ;;
esac
"""
REPORT = """#!/bin/sh
while [ $# -gt 1 ]; do [ "$1" = --output-file ] && file=$2; shift; done
gzip -c < {here}/journal > "$file"
"""
ENTER = """set -e
mount --bind {here}/systemctl /usr/bin/systemctl
mount --bind {here}/journalctl /usr/bin/journalctl
mount --bind {here}/local /usr/local/sbin
exec "$@"
"""


def spellings() -> list[bytes]:
    """The canaries as they are, as a URL has them, in hex, and in base64 wherever they may begin there."""
    found = []
    for canary in (KNOWN, LINKED, WRITTEN):
        data = canary.encode()
        found += [data, quote(canary, safe="").encode(), data.hex().encode()]
        for before in range(3):
            text = base64.b64encode(b"\0" * before + data + b"\0\0")[4 if before else 0 : -4]
            found += [text, text.replace(b"+", b"-").replace(b"/", b"_")]
    return list(dict.fromkeys(found))


def tells(what: str, data: bytes) -> list[str]:
    """Where a canary is in these bytes, and in what is packed inside them."""
    found = [
        f"{what}: {data[max(0, data.find(one) - 60) : data.find(one) + 60]!r}" for one in spellings() if one in data
    ]
    if data[:2] == b"\x1f\x8b":
        inner = gzip.decompress(data)
        found += tells(f"{what} unpacked", inner)
        if inner[257:262] == b"ustar":
            with tarfile.open(fileobj=io.BytesIO(inner)) as archive:
                for one in archive.getmembers():
                    reader = archive.extractfile(one)
                    found += tells(f"{what}/{one.name}", reader.read() if reader else b"")
    for text in re.findall(rb'"base64":"([A-Za-z0-9+/=]{64,})"', data):
        found += tells(f"{what}, carried", base64.b64decode(text))
    return found


def scripts(folder: Path) -> tuple[str, ...]:
    """The programs that the root helper runs, and the words that put them there for it alone."""
    local = folder / "local"
    local.mkdir(mode=0o755)
    here = {"here": folder, "canary": WRITTEN}
    (folder / "show").write_text(SHOW)
    (folder / "unit").write_text(UNIT_FILE)
    (folder / "journal").write_text(JOURNAL)
    for path, text in {
        folder / "systemctl": SYSTEMCTL.format(**here),
        folder / "journalctl": f"#!/bin/sh\ncat {folder}/journal\n",
        local / "nvidia-smi": f"#!/bin/sh\ncat {folder}/journal\n",
        local / "nvidia-bug-report.sh": REPORT.format(**here),
    }.items():
        path.write_text(text)
        path.chmod(0o755)
    return ("unshare", "--mount", "--propagation", "private", "sh", "-c", ENTER.format(**here), "sh")


@pytest.fixture
def holders() -> Iterator[list[int]]:
    """Processes that hold GPUs, with canaries in their arguments and their environment."""
    with ExitStack() as stack:
        pids = []
        for words in ARGV:
            code = "import sys; print(flush=True); sys.stdin.read()"
            process = subprocess.Popen(
                [sys.executable, "-c", code, *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, **ENVIRONMENT},
            )
            stack.callback(process.communicate, timeout=5)
            stack.callback(process.kill)
            assert process.stdout is not None
            process.stdout.readline()
            pids.append(process.pid)
        yield pids


async def acts(client: Client, action: str, subject: str, key: str, **params: str) -> Picture:
    """Planned, then done to its end."""
    for number, mode in enumerate((ActMode.DRY, ActMode.RUN)):
        client.send(Act(number, key, mode, action, subject, params, author="Alice", reason="it is slow", run=key[:8]))
        await client.until(lambda picture: picture.answers, 20)
        answer = client.picture.answers.pop()
        assert isinstance(answer, Acted), answer
    return await client.until(
        lambda picture: any(state(event, key) in ("done", "failed") for event in picture.events), 40
    )


def state(event: object, key: str) -> str:
    action = getattr(event, "data", {}).get("action", {})
    return str(action.get("state")) if isinstance(action, Mapping) and action.get("key") == key else ""


async def fetched(client: Client, key: str) -> bytes:
    data, total = b"", 1
    while len(data) < total:
        client.send(Fetch(9, key, "bundle.tar.gz", len(data)))
        await client.until(lambda picture: picture.answers, 20)
        chunk = client.picture.answers.pop()
        assert isinstance(chunk, Chunk), chunk
        data, total = data + chunk.data, chunk.total
    return data


async def operate(path: Path) -> tuple[bytes, Picture]:
    """What an operator does: collects, reloads what will not, fetches, reads the record."""
    client = await Client.open(path)
    try:
        client.send(Subscribe(Level.DETAIL, 0.5, None))
        await client.until(lambda picture: picture.synced and picture.facts.get("processes"), 20)
        await acts(client, "diagnostics.collect", "host", "aaaaaaaa/1", bug_report="yes", units=UNIT)
        await acts(client, "systemd.reload", f"unit:{UNIT}", "bbbbbbbb/1")
        bundle = await fetched(client, "aaaaaaaa/1")
        client.send(Audit(10))
        await client.until(lambda picture: picture.answers, 20)
        assert isinstance(client.picture.answers[-1], AuditLines)
        return bundle, client.picture
    finally:
        await client.close()


@pytest.mark.parametrize("where", range(len(spellings())))
def test_the_search_finds_what_it_looks_for(where: int) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        content = b"x" * 999 + spellings()[where] + b"y"
        one = tarfile.TarInfo("a/b.log")
        one.size = len(content)
        tar.addfile(one, io.BytesIO(content))
    assert tells("it", archive.getvalue())
    assert tells("it", b'{"base64":"%s"}' % base64.b64encode(content))
    assert not tells("it", b"nothing of it")


def test_a_planted_secret_is_in_no_bundle_frame_database_audit_or_log(
    tmp_path: Path, fake_nvml: FakeNvml, holders: list[int]
) -> None:
    require("root, and unshare of util-linux", has_root() and has_command("unshare", "gzip"))
    (tmp_path / "programs").mkdir()
    (tmp_path / "agent").mkdir()
    fake_nvml.write([f"process {gpu} {pid} 1000000" for gpu, pid in enumerate(holders)])
    with ExitStack() as stack:
        helper = stack.enter_context(actuator(POLICY, scripts(tmp_path / "programs")))
        root = stack.enter_context(Relay(helper.folder / "r", helper.socket))
        agent = AgentProcess(tmp_path / "agent", {**fake_nvml.env, **ENVIRONMENT})
        agent.socket = helper.folder / "a"
        agent.config.write_text(f'{agent.config.read_text()}actuator = "{root.path}"\npolicy = "{helper.policy}"\n')
        front = stack.enter_context(Relay(helper.folder / "d", agent.socket))
        with agent:
            bundle, picture = asyncio.run(operate(front.path))
            agent.terminate()
        found = tells("the bundle", bundle)
        for name, relay in (("between console and agent", front), ("between agent and root helper", root)):
            for number, part in enumerate(relay.heard):
                found += tells(f"{name}, {number}", part)
        for path in (*files(tmp_path / "agent"), *files(helper.folder)):
            found += tells(str(path), path.read_bytes())
        assert not found, found
        check(bundle, picture, helper)
        journal = (tmp_path / "agent/state/journal.db").read_bytes()
        assert b"failed with --api-key ***" in journal, "what stands in the journal is found by its bytes"


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.name != "sys"]


def check(bundle: bytes, picture: Picture, helper: ActuatorProcess) -> None:
    """What was planted was really read: all around it is there."""
    with tarfile.open(fileobj=io.BytesIO(bundle)) as archive:
        texts = {
            one.name.partition("/")[2]: reader.read().decode()
            for one in archive.getmembers()
            if (reader := archive.extractfile(one)) is not None
        }
    assert "and serves requests" in texts[f"units/{UNIT}.log"]
    assert texts[f"units/{UNIT}.log"].count("***") == 5
    assert "ExecStart=/usr/bin/vllm serve m --api-key *** --port 8000" in texts[f"units/{UNIT}.txt"]
    assert "and serves requests" in texts["nvidia-bug-report.txt"]
    assert "and serves requests" in texts["nvidia-smi.txt"]
    assert "vllm serve m --api-key *** --port 8000" in texts["processes.txt"]
    assert "--api-key ***" in texts["facts.json"]
    assert "diagnostics.collect" in texts["events.json"]
    failed = next(event for event in picture.events if state(event, "bbbbbbbb/1") == "failed")
    assert "failed with --api-key ***" in str(failed.data)
    assert "failed with --api-key ***" in helper.audit.read_text()
