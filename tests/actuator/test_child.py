"""Programs that the helper runs: clean hands, bounded output, and nothing of them is left at the deadline."""

import os
import sys
import time
from pathlib import Path

import pytest

from agent.actuator import child
from agent.actuator.child import ENVIRONMENT, LEFT_OUT, LINE, LINES, RAW, found, run, tool
from agent.actuator.family import Refused
from tests.lab import has_root, require


def python(code: str, *words: str) -> tuple[str, ...]:
    return (sys.executable, "-ISc", code, *words)


def test_its_lines_come_one_by_one_cleaned_and_its_status_is_kept() -> None:
    said: list[str] = []
    code = r"import sys; print('one\x1b[31m\x07'); sys.stderr.write('two\n'); sys.stdout.flush(); sys.exit(7)"
    ran = run(python(code), 20, said.append)
    assert sorted(said) == ["one [31m", "two"]
    assert (ran.code, ran.last in ("one [31m", "two"), ran.raw) == (7, True, b"")


def test_it_has_a_clean_environment_no_input_and_the_root_as_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    monkeypatch.setenv("LD_PRELOAD_OF_A_TEST", "x")
    code = "import os, sys; print(sorted(os.environ.items())); print(os.getcwd(), sys.stdin.read() == '')"
    code += "; print(sorted(os.listdir('/proc/self/fd'))[:-1], os.getsid(0) == os.getpid() == os.getpgid(0))"
    read, write = os.pipe()
    os.set_inheritable(write, True)
    try:
        ran = run(python(code), 20)
    finally:
        os.close(read)
        os.close(write)
    environment, place, descriptors = ran.lines[:3]
    assert environment == str(sorted(ENVIRONMENT.items()))
    assert place == "/ True"
    assert descriptors == "['0', '1', '2'] True"


def test_words_are_words_and_no_shell_looks_at_them() -> None:
    nasty = "$(touch /tmp/x); `id` | cat > /tmp/y & * ~"
    ran = run(python("import sys; print(sys.argv[1])", nasty), 20)
    assert ran.lines == (nasty,)


def test_at_its_deadline_all_that_it_started_is_ended() -> None:
    code = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "if os.fork() == 0: time.sleep(60)\n"
        "print(os.getpid(), flush=True); time.sleep(60)"
    )
    began = time.monotonic()
    ran = run(python(code), 0.5)
    assert ran.code is None
    assert time.monotonic() - began < 15
    group = int(ran.lines[0])
    for _ in range(200):
        left = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit() and _group(entry) == group]
        if not left:
            return
        time.sleep(0.01)
    raise AssertionError(left)


def _group(entry: Path) -> int:
    try:
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] == "Z" else int(fields[2])


def test_what_it_leaves_behind_with_its_output_open_holds_nobody_up() -> None:
    began = time.monotonic()
    ran = run(("/bin/sh", "-c", "sleep 5 & echo done"), 20)
    assert (ran.code, ran.lines) == (0, ("done",))
    assert time.monotonic() - began < 4


def test_endless_output_is_cut() -> None:
    code = "import sys\nfor n in range(5000): print(n)\nprint('x' * 5000)"
    ran = run(python(code), 30)
    assert len(ran.lines) == LINES + 1
    assert ran.lines[-1] == LEFT_OUT
    wide = run(python("print('x' * 50_000_000)"), 30)
    assert max(map(len, wide.lines)) <= LINE
    assert len(wide.raw) == RAW


def test_bytes_that_are_no_text_are_no_trouble() -> None:
    ran = run(python(r"import sys; sys.stdout.buffer.write(b'\xff\xfe\0a\n\n\r\nlast')"), 20)
    assert ran.last == "last"
    assert all(line.isprintable() for line in ran.lines)


def test_a_program_that_is_not_there_is_refused_with_its_name() -> None:
    with pytest.raises(Refused, match="no-such-program is not installed on this host") as refused:
        tool("no-such-program")
    assert refused.value.code == 424
    with pytest.raises(Refused, match="/no/such cannot be started"):
        run(("/no/such",), 1)


def test_a_program_that_somebody_else_could_have_put_there_is_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("root", has_root())
    monkeypatch.setattr(child, "FOLDERS", (str(tmp_path),))
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert found("docker") == str(program)
    program.chmod(0o757)
    assert found("docker") is None
    program.chmod(0o775)
    assert found("docker") is None
    program.chmod(0o755)
    tmp_path.chmod(0o777)
    assert found("docker") is None
    tmp_path.chmod(0o755)
    os.chown(program, 1, -1)
    assert found("docker") is None
    os.chown(program, 0, -1)
    program.chmod(0o644)
    assert found("docker") is None
