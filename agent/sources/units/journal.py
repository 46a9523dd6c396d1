"""The newest lines that a unit wrote to this host's journal, for people who look at it: read once, when asked.

`journalctl` is run with fixed words around a unit's name that was checked before. It has a deadline and a bound, and
what looks like a secret never leaves this module.
"""

import asyncio
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass

from agent.sources.processes.redact import MARK, redact_text
from agent.sources.processes.secret_table import PEM
from agent.wire.requests import LINE
from agent.wire.shape import clean

DEADLINE_S = 3.0
KEPT_BYTES = 256 * 1024  # the end of what comes
READ_BYTES = 16 * 1024 * 1024  # 200 messages of 48 KiB, the longest that systemd takes from a service, are less
JOIN = "usermod -aG systemd-journal gpu-cockpit, then systemctl restart gpu-cockpit-agent"

_UNIT = re.compile(r"[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]{0,247}\.(?:service|scope)")
_PEM = re.compile(PEM, re.S)
_ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/bin:/bin", "SYSTEMD_COLORS": "0"}
_DENIED = ("insufficient permissions", "not seeing messages from other users", "Permission denied")
_CUT = "…"


class NoLog(Exception):
    """There is no log to be read; `code` is denied or not_recorded, the sentence says what to try."""

    def __init__(self, code: str, says: str) -> None:
        super().__init__(says)
        self.code = code


@dataclass(frozen=True, slots=True)
class Tail:
    """Lines, oldest first, each with its time, and whether there was more than is kept."""

    lines: tuple[str, ...]
    cut: bool = False


def is_unit(name: str) -> bool:
    """Whether this can be a service's or scope's name; what cannot is never handed to a program."""
    return _UNIT.fullmatch(name) is not None


def words(unit: str, lines: int, uid: int) -> tuple[str, ...]:
    """The command line. What this user's processes wrote in a unit of that name, be it the system's or of the user's
    own manager, and what systemd says of it. Anybody may call a unit of his own like one of somebody else: the user is
    what cannot be forged."""
    if not is_unit(unit):
        raise ValueError(f"{unit!r} is no unit")
    theirs = ("+", f"_SYSTEMD_USER_UNIT={unit}", f"_UID={uid}") if uid else ()
    matches = (f"_SYSTEMD_UNIT={unit}", f"_UID={uid}", "+", "_PID=1", f"UNIT={unit}", *theirs)
    return ("journalctl", f"--lines={lines}", "--output=short-iso", "--no-pager", *matches)


async def tail(unit: str, lines: int, uid: int) -> Tail:
    """The newest lines of a user's unit.

    Raises:
        NoLog: they cannot be read here, and why.
    """
    program = shutil.which("journalctl", path=_ENVIRONMENT["PATH"])
    if program is None:
        raise NoLog("not_recorded", "journalctl is not installed on this host; look where its services write to")
    process = await asyncio.create_subprocess_exec(
        program,
        *words(unit, lines, uid)[1:],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=_ENVIRONMENT,
    )
    try:
        async with asyncio.timeout(DEADLINE_S):
            said, complaint = await _outputs(process)
            if len(said) <= KEPT_BYTES:
                await process.wait()
    except TimeoutError:
        raise NoLog(
            "not_recorded", f"the journal did not answer within {DEADLINE_S:g} s; try: journalctl -u {unit}"
        ) from None
    finally:
        if process.returncode is None:  # to kill one that has ended would take its status from who waits for it
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    found = await asyncio.to_thread(_lines, said, lines)
    if not found.lines and any(word in complaint for word in _DENIED):
        raise NoLog("denied", f"this agent may not read the journal of {unit}; try: {JOIN}")
    if not found.lines and process.returncode not in (0, 1, -9):
        raise NoLog("not_recorded", f"journalctl failed: {_last(complaint) or process.returncode}")
    return found


async def _outputs(process: asyncio.subprocess.Process) -> tuple[bytes, str]:
    """The end of what it says, and its complaints. More than `READ_BYTES` is not waited for."""
    assert process.stdout is not None
    assert process.stderr is not None
    kept, size = bytearray(), 0
    while size < READ_BYTES and (part := await process.stdout.read(65536)):
        size += len(part)
        kept += part
        del kept[: max(0, len(kept) - KEPT_BYTES - 1)]
    if size >= READ_BYTES:
        return bytes(kept), ""
    complaint = await process.stderr.read(4096)
    return bytes(kept), complaint.decode("utf-8", "replace")


def _lines(said: bytes, count: int) -> Tail:
    """Text without secrets, in lines that the wire takes. Half a line at the start is not one."""
    text = said[-KEPT_BYTES:].decode("utf-8", "replace")
    over = len(said) > KEPT_BYTES
    if over:
        text = text.partition("\n")[2]
    text = _PEM.sub(MARK, text)
    found = [line for line in text.splitlines() if line.strip() and line != "-- No entries --"]
    shown = tuple(_shown(line) for line in found[-count:])
    return Tail(shown, over)


def _shown(line: str) -> str:
    # Bounded before it is looked through: a line that long is no text, and what is cut off cannot be told.
    line = clean(redact_text(line[: 8 * LINE]))
    return line if len(line) <= LINE else line[: LINE - 1] + _CUT


def _last(complaint: str) -> str:
    said = [line for line in complaint.splitlines() if line.strip()]
    return clean(said[-1])[:200] if said else ""
