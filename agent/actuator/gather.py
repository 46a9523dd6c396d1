"""What root alone can read of a host for a bundle, one function a part: each gives its bytes to `take` as they come,
and says why it could not. Nothing here changes anything, and nothing waits without an end."""

import errno
import gzip
import os
import pwd
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from agent.actuator import child, proc
from agent.actuator.family import Refused
from agent.actuator.redact import redact
from agent.actuator.text import plain

Take = Callable[[bytes], None]
SMI_S = 60.0  # nvidia-smi waits for a driver that may hang
JOURNAL_S = 60.0
REPORT_S = 600.0  # nvidia-bug-report.sh in safe mode takes a minute, and for ever if the driver hangs
READ_S = 120.0  # to wash what it wrote: some ten seconds, unless somebody wrote what is slow to look through
LINES = 50_000  # of one unit's journal
REPORT, REPORTED = "nvidia-bug-report.sh", "nvidia-bug-report.txt"
_KMSG = Path("/dev/kmsg")
_NVIDIA = Path("/proc/driver/nvidia")
_HOST = ("version", "cmdline", "uptime", "loadavg", "meminfo", "modules", "mounts", "pressure/memory", "pressure/io")
_READ = 65536
_FILES = 256  # of the driver's
_ARGUMENTS = 4096  # bytes of a command line: 256 characters of it are shown, and endless ones are somebody's trick


class Missing(Exception):
    """There is no such part on this host now: the sentence says why."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted: units whose journals belong to it, how far back, and whether the driver's own report too."""

    units: tuple[str, ...] = ()
    since: float = 0.0  # wall seconds
    report: bool = False
    scratch: Path = field(default_factory=Path)


def parts(wish: Wish) -> dict[str, Callable[[Take], None]]:
    """All parts by their names, the small and certain ones first."""
    found: dict[str, Callable[[Take], None]] = {
        "host.txt": _host,
        "processes.txt": _processes,
        "kernel.log": partial(_kernel, wish.since),
        "nvidia-driver.txt": _driver,
        "nvidia-smi.txt": partial(_run, ("nvidia-smi", "-q"), SMI_S),
    }
    for unit in wish.units:
        found[f"units/{unit}.txt"] = partial(_unit, unit)
        found[f"units/{unit}.log"] = partial(_journal, unit, wish.since)
    if wish.report:
        found[REPORTED] = partial(_report, wish.scratch)
    return found


def _host(take: Take) -> None:
    for name in _HOST:
        _file(Path("/proc") / name, take)
    _file(Path("/etc/os-release"), take)


def _driver(take: Take) -> None:
    if not _NVIDIA.is_dir():
        raise Missing("the NVIDIA driver is not loaded: there is no /proc/driver/nvidia")
    files = sorted(path for path in _NVIDIA.rglob("*") if path.is_file())[:_FILES]
    for path in files:
        _file(path, take)


def _file(path: Path, take: Take) -> None:
    try:
        with path.open("rb") as file:
            content = file.read(1024 * 1024)
    except OSError as error:
        content = f"({error.strerror})\n".encode()
    take(f"==> {path} <==\n".encode() + content + b"\n")


def _processes(take: Take) -> None:
    """Every process: its command as viewers may see it, never its environment."""
    take(b"PID\tPPID\tUSER\tSTATE\tUNIT\tCONTAINER\tGPUS\tCOMMAND\n")
    for one in proc.everybody():
        try:
            with (proc.PROC / str(one.pid) / "cmdline").open("rb") as file:
                words = file.read(_ARGUMENTS).decode("utf-8", "replace").split("\0")
        except OSError:
            words = []
        command = redact([word for word in words if word]) or f"[{one.comm}]"
        gpus = ",".join(proc.gpus(one.pid))
        row = (one.pid, one.ppid, _user(one.uid), one.state, one.unit, one.container[:12], gpus, command)
        take("\t".join(plain(str(cell), 300) for cell in row).encode() + b"\n")


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OSError):
        return str(uid)


def _kernel(since: float, take: Take) -> None:
    """The whole ring; where it cannot be read, the kernel's lines of the journal."""
    try:
        ring = os.open(_KMSG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        _run(("journalctl", "-k", *_journal_words(since)), JOURNAL_S, take)
        return
    end = time.monotonic() + JOURNAL_S
    try:
        while time.monotonic() < end:
            try:
                record = os.read(ring, 8192)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.EPIPE:  # what was to come next was overwritten meanwhile
                    continue
                raise Missing(f"/dev/kmsg cannot be read ({error.strerror})") from None
            take(_line_of(record))
    finally:
        os.close(ring)


def _line_of(record: bytes) -> bytes:
    """`priority,sequence,microseconds,flags;text` as dmesg prints it, without the keys behind it."""
    head, _, text = record.partition(b";")
    words = head.split(b",")
    line = text.partition(b"\n")[0]
    if len(words) < 3 or not words[0].isdigit() or not words[2].isdigit():
        return line + b"\n"
    return b"<%d>[%5d.%06d] %s\n" % (int(words[0]) & 7, *divmod(int(words[2]), 1_000_000), line)


def _journal_words(since: float) -> tuple[str, ...]:
    return ("--no-pager", "--quiet", "--output=short-iso-precise", f"--since=@{since:.0f}", f"--lines={LINES}")


def _journal(unit: str, since: float, take: Take) -> None:
    _run(("journalctl", f"--unit={unit}", *_journal_words(since)), JOURNAL_S, take)


def _unit(unit: str, take: Take) -> None:
    for words in (("status", "--lines=0"), ("show",), ("cat",)):
        take(f"==> systemctl {words[0]} {unit} <==\n".encode())
        _run(("systemctl", "--no-ask-password", "--no-pager", *words, "--", unit), JOURNAL_S, take, fine=(0, 1, 3, 4))


def _report(scratch: Path, take: Take) -> None:
    """The driver's own report, unpacked: it is packed again with all else, once it is washed."""
    folder = scratch / ".report"  # no name that a part may have: nobody reads it before it is washed
    folder.mkdir(mode=0o700)
    try:
        file = folder / "report.gz"
        words = (REPORT, "--safe-mode", "--output-file", str(file))
        _run(words, REPORT_S, lambda data: None)
        end = time.monotonic() + READ_S
        with gzip.open(file, "rb") as reader:
            while data := reader.read(_READ):
                take(data)
                if time.monotonic() > end:
                    raise Missing(
                        f"what {REPORT} wrote was not read to its end within {READ_S:g} s; its beginning is here"
                    )
    except (OSError, EOFError) as error:
        raise Missing(f"{REPORT} left nothing that can be read ({error})") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(words: tuple[str, ...], deadline_s: float, take: Take, fine: tuple[int, ...] = (0,)) -> None:
    """What a program prints, stderr too, as it comes; it is ended at its deadline with all that it started."""
    try:
        argv = (child.tool(words[0]), *words[1:])
    except Refused as refused:
        raise Missing(refused.says) from None
    ran = child.stream(argv, deadline_s, take)
    if ran is None:
        raise Missing(f"{words[0]} did not end within {deadline_s:g} s; what it said until then is here")
    if ran not in fine:
        raise Missing(f"{words[0]} ended with {ran}; what it said is here")
