"""Wrong usage is one sentence with what, where and what to try, exit 2; nothing known is exit 3; never a traceback."""

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import cockpit
from cockpit.cli import collect
from cockpit.cli.arguments import COMMANDS, LATER, command_of, parse, vocabulary
from cockpit.cli.main import run


@pytest.fixture(autouse=True)
def _empty_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr("cockpit.cli.inputs.SYSTEM_FLEET", tmp_path / "none.toml")
    monkeypatch.setattr("cockpit.cli.inputs.AGENT_SOCKET", str(tmp_path / "none.sock"))


ONE_HOST = '[[host]]\nname = "gpu-a01"\naddress = "unix:///nowhere.sock"\npool = "p"\n'


def fleet_file(folder: Path, text: str = ONE_HOST) -> str:
    file = folder / "fleet.toml"
    file.write_text(text)
    return str(file)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["stauts"], "there is no command 'stauts'; did you mean 'status'?"),
        (["slos"], "'slos' is not part of this version"),
        (["incident", "tell", "7f3a"], "invalid choice: 'tell'"),
        (["incident", "show"], "the following arguments are required: ID"),
        (["incident", "show", "7f3a", "--format", "md"], "--format is for `incident export`"),
        (["incident", "export", "7f3a", "--format", "pdf"], "invalid choice: 'pdf'"),
        (["status", "--jsno"], "unknown option '--jsno'; did you mean '--json'?"),
        (["gpus", "--check"], "unknown option '--check'"),
        (["status", "more"], "unknown argument 'more'"),
        (["status", "--timeout", "soon"], "argument --timeout: invalid float value: 'soon'"),
        (["status", "--timeout", "0"], "--timeout 0: must be a number of seconds above 0"),
        (["status", "--timeout", "nan"], "--timeout nan: must be a number of seconds above 0"),
        (["--host"], "argument --host: expected one argument"),
        (["hosts"], "no host was named, there is no fleet file and no agent runs here; try"),
        (["hosts", "--fleet", "/nope.toml"], "/nope.toml: there is no such fleet file"),
        (["hosts", "--host", "ftp://x"], "ftp://x"),
        (["open"], "the following arguments are required: WHERE"),
        (["demo", "--hosts", "many"], "argument --hosts: invalid int value: 'many'"),
        (["hosts", "--temporary"], "--temporary is for hosts that are named: add --host TARGET"),
        (["hosts", "--host", "a@b", "--ssh-binary", "--temporary"], "leave --ssh-binary away"),
        (["hosts", "--host", "unix:///run/x.sock", "--temporary"], "--temporary goes over SSH, and x is a socket"),
        (["hosts", "--host", "a@b", "--ssh-binary", "/no/ssh"], "--ssh-binary /no/ssh: there is no such program that"),
        (["hosts", "--host", "a@b", "--ssh-binary", "/etc/passwd"], "/etc/passwd: there is no such program that you"),
        (["hosts", "--host", "a@b", "--ssh-config", "/no/file"], "--ssh-config /no/file: there is no such file that"),
        (["hosts", "--ssh-binary", "ssh-9"], "unknown argument 'ssh-9'"),
        (["hosts", "--ssh-config"], "argument --ssh-config: expected one argument"),
        (["hosts", "--bach"], "unknown option '--bach'; did you mean '--batch'?"),
        (["demo", "--fleet", "x"], "demo brings its own hosts; leave --fleet and --host away"),
    ],
)
def test_wrong_usage(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("gpu-cockpit: ")
    assert says in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--host", "gpu-a02"], "no host 'gpu-a02'"),
        (["--filter", "tmp>80"], "no column 'tmp'; did you mean 'temp'?"),
        (["--filter", "poool:x"], "no column 'poool'; did you mean 'pool'?"),
        (["--sort", "lnik"], "hosts --sort lnik: there is no such column; did you mean 'link'?"),
    ],
)
def test_wrong_names_are_told_before_anybody_is_waited_for(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect, "_look", None)
    assert run(["--fleet", fleet_file(tmp_path), "hosts", *words]) == 2
    assert says in capsys.readouterr().err


def test_files_nested_without_end_are_no_defect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deep = fleet_file(tmp_path, f"a = {'[' * 5000}{']' * 5000}")
    for words in (["--fleet", deep], ["--host", "unix:///nowhere.sock", "--config", deep]):
        assert run(["status", *words]) == 2
        assert f"{deep}: not valid TOML: nested too deep" in capsys.readouterr().err


def test_a_wrong_fleet_file_is_told_with_the_nearest_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = fleet_file(tmp_path, '[[host]]\nname = "a"\nadress = "b"\n')
    assert run(["status", "--fleet", file]) == 2
    assert "did you mean 'address'?" in capsys.readouterr().err


def test_when_nobody_answers_the_status_is_3_and_json_is_still_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("status", "hosts", "gpus", "events"):
        assert run([command, "--json", "--fleet", fleet_file(tmp_path)]) == 3
        out, err = capsys.readouterr()
        document = json.loads(out)
        assert document["schema"] == 1
        (silent,) = document["silent"]
        assert (silent["host"], silent["link"]) == ("gpu-a01", "agent_down")
        assert err.startswith("gpu-cockpit: gpu-a01 did not answer (agent_down): ")


def test_status_says_that_nothing_is_known_and_checks_as_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "--check", "--fleet", fleet_file(tmp_path)]) == 3
    out = capsys.readouterr().out
    assert "gpu-a01 agent down since" in out
    assert "GPUs   none known" in out


def test_options_may_stand_before_or_after_the_command() -> None:
    before = parse(["--fleet", "f", "--host", "a", "status", "--json"], "status")
    after = parse(["status", "--json", "--host", "a", "--fleet", "f"], "status")
    assert before == after
    both = parse(["--host", "a", "gpus", "--host", "b"], "gpus")
    assert both.hosts == ("a", "b")
    before = parse(["--batch", "--ssh-config", "none", "--temporary", "--host", "a", "gpus"], "gpus")
    assert before == parse(["gpus", "--host", "a", "--temporary", "--ssh-config", "none", "--batch"], "gpus")
    assert (before.batch, before.ssh_config, before.temporary) == (True, "none", True)


@pytest.mark.parametrize(
    ("words", "command", "binary"),
    [
        (["--ssh-binary", "hosts"], "hosts", "ssh"),
        (["hosts", "--ssh-binary"], "hosts", "ssh"),
        (["--ssh-binary", "/opt/bin/ssh", "hosts"], "hosts", "/opt/bin/ssh"),
        (["hosts", "--ssh-binary", "./ssh", "--json"], "hosts", "./ssh"),
        (["hosts", "--ssh-binary=ssh-9"], "hosts", "ssh-9"),
        (["open", "--ssh-binary", "gpu-a01"], "open", "ssh"),
        (["--host", "a", "--ssh-binary"], "", "ssh"),
        (["hosts"], "hosts", ""),
    ],
)
def test_the_ssh_binary_is_a_path_or_the_one_of_path(words: list[str], command: str, binary: str) -> None:
    assert command_of(words) == command
    assert parse(words, command).ssh_binary == binary


def test_help_lists_nothing_that_a_command_refuses_or_has_no_use_for() -> None:
    for command, hidden in (("demo", ("--fleet", "--host", "--temporary")), ("discover", ("--host", "--ssh-binary"))):
        assert not set(hidden) & set(vocabulary()[command].format_help().split())
    assert "--fleet" in vocabulary()["discover"].format_help()
    assert "--host" in vocabulary()["status"].format_help()


def test_a_value_that_is_called_like_a_command_is_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--fleet", "status", "hosts"]) == 2
    assert "status: there is no such fleet file" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "where"), [([], ""), (["open", "gpu-a01:3"], "gpu-a01:3"), (["open", "sim"], "sim")])
def test_open_starts_the_screens_where_it_was_asked_to(
    words: list[str], where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []

    def screens(_: object, **options: object) -> int:
        started.append(options["open_at"])
        return 0

    monkeypatch.setattr("cockpit.tui.run_tui", screens)
    assert run(["--fleet", fleet_file(tmp_path), *words]) == 0
    assert started == [where]


def test_an_error_with_control_characters_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--fleet", "\x1b[2Jx\ny", "hosts"]) == 2
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert err.count("\n") == 1


def test_a_defect_is_one_sentence_and_a_traceback_only_with_debug(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(*_: object) -> None:
        raise ExceptionGroup("tasks", [ZeroDivisionError("by us")])

    monkeypatch.setattr("cockpit.cli.status.look", defect)
    words = ["status", "--fleet", fleet_file(tmp_path)]
    assert run(words) == 3
    assert "internal error: ZeroDivisionError: by us; run it again with --debug" in capsys.readouterr().err
    with pytest.raises(ExceptionGroup):
        run([*words, "--debug"])


def test_version_is_the_installed_one_and_imports_nothing(tmp_path: Path) -> None:
    assert cockpit.__version__ == importlib.metadata.version("gpu-cockpit")
    probe = (
        "import sys; sys.argv=['x', '--version']; from cockpit.__main__ import main; main(); print(len(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    version, modules = done.stdout.splitlines()
    assert version == f"gpu-cockpit {cockpit.__version__}"
    bare = subprocess.run(
        [sys.executable, "-c", "import sys; print(len(sys.modules))"], capture_output=True, check=True
    )
    assert int(modules) - int(bare.stdout) <= 4


def test_lists_load_neither_screens_nor_ssh_for_unix_hosts(tmp_path: Path) -> None:
    probe = (
        "import sys; from cockpit.cli.main import run; "
        f"status = run(['status', '--fleet', {fleet_file(tmp_path)!r}]); "
        "print(status, [name for name in ('textual', 'rich', 'asyncssh') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "3 []"


def test_a_reader_that_has_gone_is_no_error(tmp_path: Path) -> None:
    call = f"{sys.executable} -m cockpit hosts --json --fleet {fleet_file(tmp_path)}"
    script = f"{call} | (exec 0<&-; sleep 0.01); echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
    assert done.stdout == "0\n"


def test_following_a_quiet_fleet_ends_when_nobody_reads_any_more(tmp_path: Path) -> None:
    call = f"{sys.executable} -m cockpit events --watch --fleet {fleet_file(tmp_path)}"
    script = f"{call} | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=20)
    assert done.stdout == "no events\n0\n"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "redirect", "status", "says"),
    [
        ("hosts", ">&-", 3, "gpu-a01 did not answer"),
        ("", "<&-", 2, "the screens need a terminal"),
        ("hosts", ">/dev/full", 3, "standard output cannot be written: No space left on device; make room there"),
        ("--version", ">/dev/full", 3, "standard output cannot be written"),
        ("--version", ">&-", 0, ""),
        ("stauts", "2>&-", 2, ""),
    ],
)
def test_standard_streams_that_are_closed_or_full_are_no_defect(
    words: str, redirect: str, status: int, says: str, tmp_path: Path
) -> None:
    call = f"{sys.executable} -m cockpit {words} {'' if words.startswith('--') else f'--fleet {fleet_file(tmp_path)}'}"
    done = subprocess.run(["bash", "-c", f"{call} {redirect}"], capture_output=True, text=True, timeout=20)
    assert done.returncode == status, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_an_interrupt_while_importing_is_quiet() -> None:
    probe = (
        "import sys; sys.argv=['x', 'hosts']\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'cockpit.cli.main': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "from cockpit.__main__ import main; sys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for name in COMMANDS:
        if name != "sim":
            assert run([name, "--help"]) == 0
            assert capsys.readouterr().out.startswith(f"usage: gpu-cockpit {name}")
    assert not set(LATER) & set(COMMANDS)


def test_help_says_what_null_and_nameless_items_mean(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "--help"]) == 0
    assert "`replicas` is null where no agent looks" in capsys.readouterr().out
    assert run(["gpus", "--help"]) == 0
    assert "HOST/missing-N" in capsys.readouterr().out


def test_sim_is_the_agents_own(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cockpit", "sim", "scenarois"], capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.returncode == 2
    assert "did you mean" in done.stderr
