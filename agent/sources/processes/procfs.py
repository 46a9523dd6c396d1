"""Text of /proc/PID/* to fields. PURE; raises ValueError on text that is not theirs."""

from dataclasses import dataclass

TICKS = 100  # USER_HZ, part of the kernel's interface on every architecture that has GPUs
_STATES = {"R": "running", "S": "running", "I": "running", "D": "blocked", "T": "stopped", "t": "stopped"}
_STATES |= {"Z": "zombie", "X": "zombie", "x": "zombie"}


@dataclass(frozen=True, slots=True)
class Stat:
    """`comm` is cut to 15 bytes by the kernel; `state` a word; `started_s` seconds after boot."""

    comm: str
    state: str
    started_s: float


def parse_stat(text: bytes) -> Stat:
    """Fields of /proc/PID/stat. The name may hold blanks and brackets: the last bracket ends it."""
    start, end = text.find(b"("), text.rfind(b")")
    fields = text[end + 2 :].split()
    if start < 0 or end < start or len(fields) < 20:
        raise ValueError("not a process's stat")
    return Stat(
        comm=text[start + 1 : end].decode("utf-8", "replace"),
        state=_STATES.get(fields[0].decode("ascii", "replace"), "running"),
        started_s=int(fields[19]) / TICKS,
    )


def state_of(text: bytes) -> str:
    """Only the state's word: what a tick needs."""
    at = text.rfind(b")") + 2
    return _STATES.get(chr(text[at]) if 1 < at < len(text) else "", "running")


def parse_uid(status: str) -> int:
    """The real user id from /proc/PID/status; the owner of the file itself is root for many a daemon."""
    for line in status.splitlines():
        if line.startswith("Uid:"):
            return int(line.split()[1])
    raise ValueError("no Uid line")


def parse_arguments(cmdline: bytes) -> list[str]:
    """Arguments of /proc/PID/cmdline; one element where the process rewrote its title."""
    return [part.decode("utf-8", "replace") for part in cmdline.rstrip(b"\0").split(b"\0")] if cmdline else []


def parse_slurm_job(environ: bytes) -> str:
    """SLURM_JOB_ID out of /proc/PID/environ; nothing else is looked at."""
    for entry in environ.split(b"\0"):
        if entry.startswith(b"SLURM_JOB_ID="):
            value = entry.partition(b"=")[2].decode("ascii", "replace")
            return value if value.isdigit() and len(value) < 19 else ""
    return ""
