"""Where the log of a serving process is: in this host's journal if a unit runs it, else with whoever runs it.

What is asked for is a process group that the agent itself has found; a unit's name is never taken from a console.
"""

import asyncio
import pwd
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.errors import Refusal
from agent.sources.processes import procfs
from agent.sources.units import journal
from agent.wire.requests import Lines, Log

_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")
_BY_HAND = re.compile(r"session-\w+\.scope")
_SHORT = 12  # of a container's id, as its runtime prints it


class UnitLog:
    """`proc` is where processes are looked at."""

    def __init__(self, proc: Path) -> None:
        self._proc = proc

    async def read(self, wish: Log, facts: Mapping[str, Any]) -> Lines:
        """The newest lines of a replica with these `facts` (as `agent.wire.replicas.ReplicaFacts`).

        Raises:
            Refusal: they cannot be read here.
        """
        name = str(facts.get("id"))
        says = elsewhere(name, facts)
        if says:
            return Lines(wish.id, (), "", says)
        unit, uid = self._unit(facts)
        if not journal.is_unit(unit):
            raise Refusal("not_recorded", f"the unit of {name} has a name that is not asked for: {unit[:64]!r}")
        if uid is None:
            uid = await _uid_of(str(facts.get("user") or ""))
        if uid is None:
            raise Refusal("not_recorded", f"it is not known whose processes {name} had; try: journalctl -u {unit}")
        try:
            found = await journal.tail(unit, wish.lines, uid)
        except journal.NoLog as no:
            raise Refusal(no.code, str(no)) from None
        says = "older lines did not fit" if found.cut else ""
        return Lines(wish.id, found.lines, f"the journal of {unit}", says if found.lines else _nothing(unit))

    def _unit(self, facts: Mapping[str, Any]) -> tuple[str, int | None]:
        """The unit as the journal writes it, and whose processes run in it, None once they are gone: facts show `\\x2d`
        as the dash that it is."""
        unit = str(facts.get("unit") or "")
        for pid in facts.get("pids") or ():
            try:
                parts = re.split(r"[/\n]", (self._proc / str(pid) / "cgroup").read_text()[:16384])
                uid = procfs.parse_uid((self._proc / str(pid) / "status").read_text()[:4096])
            except (OSError, ValueError):
                continue
            own = (part for part in parts if _ESCAPE.sub(lambda found: chr(int(found[1], 16)), part)[:128] == unit)
            return next(own, unit), uid
        return unit, None


async def _uid_of(user: str) -> int | None:
    """The number of a user, whose directory may be slow; None for one that nobody knows."""
    if user.isascii() and user.isdecimal():
        return int(user)
    try:
        async with asyncio.timeout(journal.DEADLINE_S):
            return (await asyncio.to_thread(pwd.getpwnam, user)).pw_uid
    except (KeyError, ValueError, TimeoutError):
        return None


def elsewhere(name: str, facts: Mapping[str, Any]) -> str:
    """Who keeps the log instead of this host's journal; a sentence with what to try."""
    container, pod, job = (str(facts.get(key) or "") for key in ("container", "pod", "job"))
    if pod:
        return f"{name} runs in a pod: Kubernetes keeps its log; try: kubectl logs, for the pod with uid {pod}"
    if container:
        return (
            f"{name} runs in a container: its runtime keeps the log; try: docker logs --tail 200 {container[:_SHORT]}"
        )
    if job:
        return f"{name} runs in a job of Slurm, which keeps its output; try: scontrol show job {job} for StdOut"
    if not facts.get("unit"):
        return f"{name} runs in no unit: its output went where it was started from"
    return ""


def _nothing(unit: str) -> str:
    if _BY_HAND.fullmatch(unit):
        return f"the journal has nothing of {unit}: it was started by hand, and its output stays in that terminal"
    return f"the journal has nothing of {unit}: it may write to files of its own"
