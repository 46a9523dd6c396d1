import errno
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import agent.__main__
from agent.cli import attach
from agent.cli.guard import guarded
from agent.cli.main import COMMANDS, main
from agent.config import SOCKET
from agent.detect import RULES
from agent.errors import AgentError
from tests.fakes.process import AGENT, agent_command, environment


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith("gpu-cockpit-agent: ")
    assert "Traceback" not in line
    return line


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "COMMAND"),
        (["onse"], "did you mean 'once'?"),
        (["zzz"], "choose one of run, once"),
        (["once", "--jsn"], "--jsn"),
        (["once", "extra"], "extra"),
        (["once", "--js"], "--js"),
        (["run", "--socket"], "--socket"),
        (["run", "--socket", ""], "--socket"),
        (["run", "--socket", "/tmp/" + "x" * 103], "a socket's path has at most 107 bytes; choose a shorter one"),
        (["let-go", "--socket", "/tmp/" + "x" * 103], "at most 107 bytes"),
        (["--frobnicate"], "--frobnicate"),
        (["check-config", "a", "b"], "b"),
        (["attach", "--sock", "x"], "--sock"),
    ],
)
def test_wrong_usage_is_one_sentence_and_two(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert says in complaint(capsys)


@pytest.mark.parametrize("mine", ["state", "run"])
def test_root_does_not_act_for_the_services_user(
    mine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / mine
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, 47211, -1)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert main(["run", "--socket", str(tmp_path / "run/agent.sock"), "--state", str(tmp_path / "state")]) == 2
    said = complaint(capsys)
    assert f"{folder} belongs to user " in said
    assert "--socket and a --state of its own" in said
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("words", [["--help"], *([name, "--help"] for name in COMMANDS if name != "sim")])
def test_every_command_explains_itself(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    assert "usage: gpu-cockpit-agent" in capsys.readouterr().out


def test_explanations_keep_their_capitals(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["let-go", "--help"])
    assert "so that a GPU can be reset." in " ".join(capsys.readouterr().out.split())


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert re.fullmatch(r"gpu-cockpit-agent \d+\.\d+\.\d+\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "too few open files"),
        (RuntimeError("can't start new thread"), "too few processes and threads"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "too few processes and threads"),
        (MemoryError(), "too little memory"),
        (ExceptionGroup("x", [ExceptionGroup("y", [OSError(errno.ENOMEM, "no memory")])]), "too little memory"),
        (ExceptionGroup("x", [ValueError("boom")]), "unexpected ExceptionGroup"),
    ],
)
def test_limits_that_are_too_low_are_named(error: Exception, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    def fails() -> int:
        raise error

    assert guarded(fails) == 1
    assert says in complaint(capsys)


def test_a_defect_is_one_sentence_and_with_debug_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: object) -> int:
        raise RuntimeError("a defect")

    monkeypatch.setattr("agent.cli.rules.main", broken)
    assert main(["rules"]) == 1
    assert "RuntimeError: a defect; run it again with --debug" in complaint(capsys)
    with pytest.raises(RuntimeError):
        main(["--debug", "rules"])


@pytest.mark.parametrize(
    ("call", "status", "says"),
    [
        ("rules >&-", 0, ""),
        ("once >&-", 0, ""),
        ("rules 2>&-", 0, ""),
        ("rules >/dev/full", 1, "standard output cannot be written: No space left on device"),
        ("attach --socket {} >&-", 5, "cannot be bridged (OSError: Bad file descriptor); keep stdin and stdout open"),
    ],
)
def test_standard_streams_that_are_closed_or_full_are_no_defect(
    call: str, status: int, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()
        script = f"{sys.executable} -m agent {call.format(path)}"
        done = subprocess.run(
            ["bash", "-c", script], env=environment(), capture_output=True, text=True, check=False, timeout=20
        )
    assert done.returncode == status, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_an_interrupt_while_importing_is_quiet() -> None:
    probe = (
        "import sys; sys.argv=['x', 'rules']\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'agent.cli.main': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "from agent.__main__ import main; sys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_an_agents_error_keeps_its_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(_: object) -> int:
        error = AgentError("it cannot be known")
        error.exit_code = 3
        raise error

    monkeypatch.setattr("agent.cli.rules.main", refused)
    assert main(["rules"]) == 3
    assert complaint(capsys).endswith("it cannot be known")


def test_sim_is_handed_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr("agent.sim.cli.main", lambda words: seen.append(words) or 7)
    assert main(["sim", "up", "--dir", "/x", "--help"]) == 7
    assert seen == [["up", "--dir", "/x", "--help"]]


# check-config


def test_a_right_configuration_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('interval_s = 2\n[labels]\npool = "prod"\n')
    assert main(["check-config", str(file)]) == 0
    out = capsys.readouterr().out
    assert f"{file}: ok" in out
    assert re.search(r"interval_s +2\.0", out)
    assert "pool=prod" in out
    assert "0660" in out
    assert re.search(r"discovery +not announced", out)
    file.write_text('discovery = { announce = true, interfaces = ["eth0", "eth1"], port = 2222 }')
    assert main(["check-config", str(file)]) == 0
    assert re.search(r"discovery +announced on eth0, eth1, sshd's port 2222", capsys.readouterr().out)


def test_a_wrong_configuration_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "agent.toml"
    file.write_text("interval = 2\n")
    assert main(["check-config", str(file)]) == 2
    assert "did you mean 'interval_s'?" in complaint(capsys)


def test_the_policy_is_checked_by_who_goes_by_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, policy = tmp_path / "agent.toml", tmp_path / "policy.toml"
    file.write_text(f'policy = "{policy}"\n')
    assert main(["check-config", str(file)]) == 0
    assert f"{policy}: absent, so nobody may act on this host" in capsys.readouterr().out
    policy.write_text('[[allow]]\nactions = ["systemd.restart"]\n')
    policy.chmod(0o644)
    assert main(["check-config", str(file)]) == 2
    says = "[[allow]] 1 lacks the key 'units'" if os.geteuid() == 0 else "and not to root"
    assert says in complaint(capsys)


@pytest.mark.parametrize("command", ["run", "once"])
def test_commands_refuse_a_wrong_configuration(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "agent.toml"
    file.write_text("= 1\n")
    assert main([command, "--config", str(file)]) == 2
    assert "line 1" in complaint(capsys)


# rules


def test_rules_are_listed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["schema"] == 1
    assert [item["id"] for item in said["items"]] == [*(rule.id for rule in RULES), "agent.rule_failed"]
    keys = {"id", "severity", "scope", "when", "clears", "source", "traps", "runbook", "scenarios"}
    assert all(keys <= item.keys() for item in said["items"])
    assert {item["severity"] for item in said["items"]} <= {"info", "warning", "critical"}


def test_rules_are_listed_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules"]) == 0
    out = capsys.readouterr().out
    assert all(rule.id in out for rule in RULES)
    assert max(map(len, out.splitlines())) <= 100


# let-go


def test_letting_go_without_an_agent_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["let-go", "--socket", str(tmp_path / "none.sock")]) == 3
    assert "no agent is running here" in complaint(capsys)
    assert main(["let-go", "--socket", str(left_over(tmp_path))]) == 3
    assert "no agent is running here" in complaint(capsys)
    assert main(["let-go", "--socket", str(a_file(tmp_path))]) == 1
    assert "this is no socket" in complaint(capsys)


def test_letting_go_of_something_else_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()
        with subprocess.Popen(
            [*AGENT, "let-go", "--socket", str(path)], env=environment(), stderr=subprocess.PIPE
        ) as process:
            talk, _ = listening.accept()
            talk.recv(1000)
            talk.sendall(b"SSH-2.0-OpenSSH\r\n" * 1000)
            talk.close()
            assert process.stderr is not None
            assert b"broke off" in process.stderr.read()
    assert process.returncode == 1


# attach


def test_the_plain_bridge_needs_no_parser() -> None:
    assert attach.socket_of([]) == attach.DEFAULT == str(SOCKET)
    assert attach.socket_of(["--socket", "/a"]) == "/a"
    assert attach.socket_of(["--socket=/a"]) == "/a"
    assert attach.socket_of(["--help"]) is None
    assert attach.socket_of(["--socket"]) is None


def left_over(folder: Path) -> Path:
    path = folder / "old.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as old:
        old.bind(str(path))
    return path


def a_file(folder: Path) -> Path:
    path = folder / "file"
    path.write_text("no socket")
    return path


@pytest.mark.parametrize(
    ("place", "status", "says"),
    [
        (lambda folder: folder / "none.sock", 3, "FileNotFoundError: No such file or directory"),
        (left_over, 3, "ConnectionRefusedError: Connection refused"),
        (a_file, 5, "is not a socket (ConnectionRefusedError: Connection refused); check the path"),
        (lambda folder: folder / ("x" * 200), 5, "too long"),
    ],
    ids=["nothing there", "crashed", "a file", "too long"],
)
def test_a_bridge_to_nowhere_says_why_in_one_line(tmp_path: Path, place, status: int, says: str) -> None:
    done = agent_command("attach", "--socket", str(place(tmp_path)))
    assert done.returncode == status
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert says in line


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_bridge_that_is_not_let_in_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    code = (
        "import os, sys; from agent.cli import attach; os.setgroups([]); os.setgid(65534); os.setuid(65534);"
        f"sys.exit(attach.bridge({str(path)!r}))"
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        path.chmod(0o600)
        listening.listen()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=10)
    assert done.returncode == 4
    assert "permission denied (PermissionError: Permission denied)" in done.stderr


def test_the_bridge_imports_next_to_nothing() -> None:
    code = (
        "import sys; before = set(sys.modules); sys.argv = ['x', 'attach', '--socket', '/nonexistent']\n"
        "from agent.__main__ import main; main()\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(new & {'argparse', 'asyncio', 'msgpack', 'psutil', 'pynvml', 'dataclasses', 'typing', 'json'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_bridge_passes_bytes_both_ways_and_ends_with_the_agent(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()
        with subprocess.Popen(
            [*AGENT, "attach", "--socket", str(path)], env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as bridge:
            talk, _ = listening.accept()
            assert bridge.stdin is not None
            assert bridge.stdout is not None
            everything = bytes(range(256)) * 4000
            bridge.stdin.write(b"up\x00\xff")
            bridge.stdin.flush()
            assert talk.recv(100) == b"up\x00\xff"
            talk.setblocking(True)
            received = bytearray()
            talk.setblocking(False)
            sent = 0
            while len(received) < len(everything):
                try:
                    sent += talk.send(everything[sent : sent + 65536])
                except BlockingIOError:
                    pass
                if sent > len(received):
                    received += os.read(bridge.stdout.fileno(), 65536)
            assert bytes(received) == everything
            talk.close()
            assert bridge.wait(5) == 0


def test_a_bridge_whose_reader_left_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()
        with subprocess.Popen(
            [*AGENT, "attach", "--socket", str(path)],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as bridge:
            talk, _ = listening.accept()
            assert bridge.stdout is not None
            bridge.stdout.close()
            talk.sendall(b"x" * 10)
            assert bridge.wait(5) == 0
            assert bridge.stderr is not None
            assert bridge.stderr.read() == b""
            talk.close()


def test_the_module_and_the_command_are_the_same() -> None:
    assert callable(agent.__main__.main)
    assert agent_command("--version").stdout.startswith("gpu-cockpit-agent ")
