"""Bundles: what root alone can read, washed and put by until the agent has carried it away.

Nothing is written that was not washed. A part that cannot be had is named with its reason; a bundle with holes is worth
more than none. Which units' journals may be read follows from the policy: those that it lets somebody act on, those of
the driver, and our own.
"""

import base64
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.actuator import clock, gather, proc, systemd
from agent.actuator.family import (
    DONE,
    FAILED,
    MISSING,
    Action,
    Arg,
    Argv,
    Entry,
    Family,
    Hands,
    Job,
    Look,
    Outcome,
    Refused,
    Values,
)
from agent.actuator.policy import matches
from agent.actuator.values import KEY
from agent.actuator.wash import Room, Washer, known

FOLDER = "bundles"
KEPT = 2  # bundles: the agent carries each away at once
CHUNK = 256 * 1024
MIB = 1024 * 1024
SHARE = 4  # no part may take more than this fraction of the whole
MOST = 16 * MIB  # of one part: it is held in memory until it is written
SPARE = 256 * MIB  # that must stay free on the disk
ALWAYS = ("gpu-cockpit-*.service", "nvidia-*.service", "nv-*.service", "dcgm*.service", "haproxy.service")
NO_ROOM = 507
_FULL = "there was no room left for it"
_EMPTY = "nothing was said in that time"
_PART = r"[A-Za-z0-9][A-Za-z0-9_.@:\\-]{0,240}(/[A-Za-z0-9_][A-Za-z0-9_.@:\\-]{0,250})?"
_ARGS = {
    "minutes": Arg(r"\d{1,4}", "15", 1, 1440),
    "max_mib": Arg(r"\d{1,4}", "64", 1, 1024),
    "bug_report": Arg("yes|no", "no"),
    "units": Arg(systemd.UNIT, many=True, default=""),
}
"""Minutes to look back, MiB for the whole, whether nvidia-bug-report.sh runs, and the units that it is about."""


@dataclass(slots=True)
class _Store:
    """The folder of one bundle, and how much more may go into it."""

    folder: Path
    left: int
    share: int
    washer: Callable[[], Washer]

    def put(self, name: str, part: Callable[[gather.Take], None]) -> dict[str, Any]:
        """Collect one part; what the manifest says of it."""
        washer, room = self.washer(), Room(max(0, min(self.share, self.left)))
        why = "" if self.left > 0 else _FULL
        if not why:
            try:
                part(lambda data: room.add(washer.feed(data)))
            except gather.Missing as missing:
                why = str(missing)
            except Refused as refused:
                why = refused.says
            except OSError as error:
                why = f"it cannot be read ({error.strerror or error})"
            room.add(washer.close())
        size, digest = self._write(name, room.parts())
        self.left -= size
        why = washer.wash(why or ("" if size else _EMPTY))[:300]
        said: dict[str, Any] = {"missing": why, "left_out": room.left_out, "bytes": size}
        return {**said, "sha256": digest} if size else said

    def _write(self, name: str, parts: Iterable[bytes]) -> tuple[int, str]:
        path = self.folder / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        with path.open("xb") as file:
            for data in parts:
                file.write(data)
                digest.update(data)
                size += len(data)
        if not size:
            path.unlink()
        return size, digest.hexdigest()


def place(state: Path, key: str) -> Path:
    """The folder of a key's bundle."""
    return state / FOLDER / f"{re.sub(r'[^A-Za-z0-9~-]', '_', key)[:64]}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def _covers(entry: Entry, args: Values) -> str:
    del entry, args
    return ""


def _target(entry: Entry, args: Values) -> str:
    del entry, args
    return "bundle"


def _commands(job: Job) -> tuple[Argv, ...]:
    """What is run; the rest is read."""
    units = _units(job)
    since = f"--since=-{job.args['minutes']}min"
    argvs: list[Argv] = [("nvidia-smi", "-q")]
    argvs += [("journalctl", f"--unit={unit}", since) for unit in units[:4]]
    argvs += [("systemctl", "status", "--", unit) for unit in units[:4]]
    if job.args["bug_report"] == "yes":
        argvs.append((gather.REPORT, "--safe-mode"))
    return tuple(argvs)


def _units(job: Job) -> tuple[str, ...]:
    """Those that the policy lets this host's operators see into, of those that are wanted."""
    globs = [glob for entry in job.hands.entries for glob in entry.globs("units")]
    return tuple(unit for unit in dict.fromkeys(job.args["units"]) if matches(unit, (*globs, *ALWAYS)))


def _more(job: Job) -> Mapping[str, Any]:
    """What a plan tells besides: the parts, and units whose journals are nobody's business here."""
    units = _units(job)
    wish = gather.Wish(units, 0.0, job.args["bug_report"] == "yes", Path())
    return {
        "parts": list(gather.parts(wish)),
        "without": [unit for unit in job.args["units"] if unit not in units],
        "free": _free(job.hands.state),
        "needed": _needed(job),
    }


def _needed(job: Job) -> int:
    return int(job.args["max_mib"]) * MIB + SPARE


def _free(state: Path) -> int:
    found = os.statvfs(state)
    return found.f_bavail * found.f_frsize


def _perform(job: Job) -> Outcome:
    state = job.hands.state
    if (free := _free(state)) < _needed(job):
        raise Refused(
            f"{state} has {free // MIB} MiB free, and a bundle of {job.args['max_mib']} MiB needs "
            f"{_needed(job) // MIB}: nothing was collected",
            NO_ROOM,
        )
    folder = place(state, job.key)
    (state / FOLDER).mkdir(mode=0o700, exist_ok=True)
    _prune(state / FOLDER, KEPT - 1)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        return Outcome(DONE, *_collect(job, folder))
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        return Outcome(FAILED, f"the bundle cannot be written ({error.strerror or error}): what was written is removed")


def _collect(job: Job, folder: Path) -> tuple[str, int, Mapping[str, Any]]:
    secrets = known(proc.PROC / str(one.pid) for one in proc.everybody())
    units = _units(job)
    since = clock.wall() - 60.0 * int(job.args["minutes"])
    whole = int(job.args["max_mib"]) * MIB
    wish = gather.Wish(units, since, job.args["bug_report"] == "yes", folder)
    store = _Store(folder, whole, min(MOST, max(MIB // 4, whole // SHARE)), lambda: Washer(secrets))
    said: dict[str, Any] = {}
    parts = gather.parts(wish)
    for number, (name, part) in enumerate(parts.items(), 1):
        patience = f", which may take {gather.REPORT_S / 60:.0f} min" if name == gather.REPORTED else ""
        job.hands.say(f"collecting {name} ({number} of {len(parts)}){patience}")
        said[name] = store.put(name, part)
    have = [one for one in said.values() if one["bytes"]]
    size = sum(one["bytes"] for one in have)
    return f"{len(have)} of {len(said)} parts, {size} bytes", 0, {"parts": said}


def _prune(folder: Path, keep: int) -> None:
    """Only the newest stay."""
    found = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for path in found[: max(0, len(found) - keep)]:
        shutil.rmtree(path, ignore_errors=True)


def _read(hands: Hands, args: Values) -> Outcome:
    """Bytes of a part, for the agent that packs it."""
    path = place(hands.state, args["bundle"]) / args["part"]
    try:
        with path.open("rb") as file:
            total = os.fstat(file.fileno()).st_size
            file.seek(int(args["offset"]))
            data = file.read(CHUNK)
    except OSError:
        return Outcome(FAILED, f"there is no part {args['part']} of the bundle of {args['bundle']}", MISSING)
    return Outcome(DONE, "", 0, {"base64": base64.b64encode(data).decode("ascii"), "total": total})


FAMILY = Family(
    "diagnostics",
    (Action("diagnostics.collect", _ARGS, _covers, _commands, _target, _perform, lock_s=5.0, more=_more),),
    {},
    {"bundle": Look({"bundle": Arg(KEY), "part": Arg(_PART), "offset": Arg(r"\d{1,12}", "0")}, _read)},
)
