"""Completion and man pages: made from the parsers, understood by the real shells and by the real man."""

import gzip
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import has_command, require
from tests.packaging.builds import PACKAGING

sys.path.insert(0, str(PACKAGING))
from kit import completion
from kit.share import program_of, share
from kit.words import Program

PROGRAMS = ("gpu-cockpit", "gpu-cockpit-agent")


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> Program:
    return program_of(request.param)


def page(name: str, tmp_path: Path) -> Path:
    """The man page of a program."""
    path = tmp_path / f"{name}.1"
    path.write_bytes(gzip.decompress(share(name, "9.9.9", 1_790_000_000)[f"man/man1/{name}.1.gz"]))
    return path


def bash(name: str, line: str, tmp_path: Path) -> list[str]:
    """What bash offers behind `line`, its last word half written."""
    (tmp_path / "completion").write_text(completion.bash(program_of(name)))
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    script = f"""
        source {tmp_path}/completion
        COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}
        function=$(complete -p {name} | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        $function; printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-u", "-c", script], capture_output=True, text=True, timeout=10, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_every_command_and_option_is_in_the_man_page(program: Program, tmp_path: Path) -> None:
    text = page(program.name, tmp_path).read_text().replace("\\-", "-")
    for path, command in program.every():
        assert f".SS {' '.join(path)}\n" in text
        assert [name for option in command.options for name in option.names if name not in text] == []


def test_man_shows_the_page_without_complaint(program: Program, tmp_path: Path) -> None:
    require("man-db", shutil.which("man") is not None and shutil.which("groff") is not None)
    for name, content in share(program.name, "9.9.9", 1_790_000_000).items():
        if not name.startswith("man/"):
            continue
        path = tmp_path / Path(name).stem
        path.write_bytes(gzip.decompress(content))
        env = {"PATH": "/usr/bin:/bin", "MANROFFSEQ": "", "MANWIDTH": "80", "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            ["man", "--warnings=all", "-E", "UTF-8", "-l", path], capture_output=True, text=True, timeout=20, env=env
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "NAME" in done.stdout
        assert "'" not in Path(name).name


def test_bash_offers_commands_first(tmp_path: Path) -> None:
    assert bash("gpu-cockpit", "gpu-cockpit st", tmp_path) == ["status"]
    assert bash("gpu-cockpit-agent", "gpu-cockpit-agent che", tmp_path) == ["check-config"]


def test_bash_offers_the_options_of_the_command_wherever_it_stands(tmp_path: Path) -> None:
    assert bash("gpu-cockpit", "gpu-cockpit --host gpu-a01 status --ch", tmp_path) == ["--check"]
    assert bash("gpu-cockpit", "gpu-cockpit hosts --ch", tmp_path) == []
    assert bash("gpu-cockpit-agent", "gpu-cockpit-agent run --so", tmp_path) == ["--socket"]


def test_bash_knows_the_parts_of_sim(tmp_path: Path) -> None:
    assert bash("gpu-cockpit", "gpu-cockpit sim ", tmp_path)[:2] == ["up", "inject"]
    assert bash("gpu-cockpit", "gpu-cockpit sim up --sc", tmp_path) == ["--scenario"]


def test_bash_offers_files_where_a_file_is_meant(tmp_path: Path) -> None:
    (tmp_path / "fleet.toml").touch()
    (tmp_path / "folder").mkdir()
    assert bash("gpu-cockpit", "gpu-cockpit --fleet fl", tmp_path) == ["fleet.toml"]
    assert bash("gpu-cockpit", "gpu-cockpit --fleet = fl", tmp_path) == ["fleet.toml"]
    assert bash("gpu-cockpit", "gpu-cockpit sim up --dir f", tmp_path) == ["folder"]
    assert bash("gpu-cockpit-agent", "gpu-cockpit-agent check-config fl", tmp_path) == ["fleet.toml"]


def test_bash_offers_nothing_where_only_a_number_makes_sense(tmp_path: Path) -> None:
    (tmp_path / "10").touch()
    assert bash("gpu-cockpit", "gpu-cockpit --timeout 1", tmp_path) == []


@pytest.mark.parametrize(("shell", "words"), [("zsh", ("-n",)), ("fish", ("--no-execute",))])
def test_the_other_shells_can_read_theirs(program: Program, tmp_path: Path, shell: str, words: tuple[str, ...]) -> None:
    require(shell, has_command(shell))
    path = tmp_path / shell
    path.write_text(getattr(completion, shell)(program))
    done = subprocess.run([shell, *words, path], capture_output=True, text=True, timeout=10)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_option_is_offered_by_every_shell(program: Program) -> None:
    texts = [completion.bash(program), completion.zsh(program), completion.fish(program)]
    for _, command in program.every():
        for name in (name for option in command.options for name in option.names if name.startswith("--")):
            assert name in texts[0]
            assert f"-l {name[2:]} " in texts[2]
    for command in program.commands:
        for text in texts:
            assert command.name in text


def test_fish_really_completes(tmp_path: Path) -> None:
    require("fish", has_command("fish"))
    path = tmp_path / "gpu-cockpit.fish"
    path.write_text(completion.fish(program_of("gpu-cockpit")))
    script = f"source {path}; complete -C 'gpu-cockpit status --ch'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        capture_output=True,
        text=True,
        timeout=20,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert done.stdout.split()[0] == "--check"
