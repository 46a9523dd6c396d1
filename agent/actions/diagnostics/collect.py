"""Executor `diagnostics.collect`: what root alone can read, washed by the root helper, and what the agent remembers,
packed into one archive. It changes nothing but a folder of the agent's; done means that the archive is there whole.
"""

import asyncio
import base64
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from agent.actions import asking
from agent.actions.asking import Lost
from agent.actions.base import Preflight, Result, RootAbsent, RootLost, Say, Who, World
from agent.actions.diagnostics import pack
from agent.actions.diagnostics.fetch import BUNDLE, digest, place
from agent.actions.evidence import Evidence
from agent.actions.specs import DIAGNOSTICS
from agent.actions.targets import Target, boot, params, target
from agent.actions.units import SERVICE, name_trouble
from agent.errors import Refusal
from agent.wire.actions import Act, ActionFacts, ActState, Guard
from agent.wire.specs import ActionSpec

MIB = 1024 * 1024
SPARE = 256 * MIB  # that must stay free where the bundle is packed
UNIT_S = 180.0  # journal, status and file of one unit, at the very most
SURE_S = 180.0  # all the rest of what is read
REPORT_S = 660.0  # the driver's own report has ten minutes
READ_S = 10.0
UNITS = 32
NO_ROOM = "this agent keeps nothing on disk: it was brought along and ends with this console; install gpu-cockpit-agent"


class Collect:
    """The one action of its family."""

    def __init__(self, spec: ActionSpec) -> None:
        self.spec = spec

    async def preflight(self, act: Act, who: Who, world: World) -> Preflight:
        """What would be collected, and whether there is room for it."""
        about = target(self.spec, act, world)
        given = params(self.spec, act)
        directory = _directory(world)
        units = _units(about, given["units"], world)
        plan = await asking.planned(act, who, world, {**given, "units": units})
        whole = int(given["max_mib"]) * MIB
        names = [str(name) for name in plan.data.get("parts") or ()]
        without = [str(name) for name in plan.data.get("without") or ()]
        left_out = f"; the policy names no right to see {', '.join(without[:4])}" if without else ""
        return Preflight(
            plan.commands,
            (*plan.guards, *await _room(directory, whole, plan.data)),
            f"reads {len(names) + len(OWN)} parts of the last {given['minutes']} min, at most {given['max_mib']} MiB, "
            f"and changes nothing; secrets are left out{left_out}",
            "",
            {"boot": boot(world)},
            {"units": " ".join(units), "directory": str(directory)},
            plan.role,
        )

    async def run(self, act: Act, who: Who, found: Preflight, world: World, say: Say) -> Result:
        """Root's parts, ours, the archive."""
        given = params(self.spec, act)
        units = found.before["units"].split()
        folder = place(_directory(world), act.key)
        within = SURE_S + UNIT_S * len(units) + (REPORT_S if given["bug_report"] == "yes" else 0.0)
        parts = await asyncio.to_thread(pack.stage, folder)
        try:
            reply = await asking.acted(act, who, world, {**given, "units": units}, say, within)
            if reply.end != "done":
                return Result(ActState.FAILED, reply.says)
            said = await self._carry(act.key, parts, reply.data.get("parts") or {}, world, say)
            said |= await self._own(parts, given, world, say)
            return await self._pack(act, who, folder, said, world, say)
        except Lost as error:
            return Result(ActState.FAILED, f"nothing was packed: {error}; collect again")
        except OSError as error:
            return Result(ActState.FAILED, f"the bundle cannot be written ({error.strerror or error}): it was removed")
        finally:
            await asyncio.shield(asyncio.to_thread(pack.drop, folder))

    async def settle(self, entry: ActionFacts, world: World) -> Result:
        """There is an archive, or there is none."""
        path = place(_directory(world), entry.key) / BUNDLE
        if path.exists():
            return Result(ActState.DONE, "the bundle is there whole", {BUNDLE: path.stat().st_size})
        await asyncio.to_thread(pack.drop, path.parent)
        return Result(ActState.FAILED, "it was interrupted before the bundle was packed: collect again")

    def inverse(self, entry: ActionFacts) -> tuple[str, dict[str, str]] | None:
        """Nothing was changed."""
        return None

    async def _carry(
        self, key: str, parts: Path, told: Mapping[str, Any], world: World, say: Say
    ) -> dict[str, dict[str, Any]]:
        """Fetch what the root helper put by."""
        said: dict[str, dict[str, Any]] = {}
        for name, one in told.items():
            if not pack.fits(name) or not isinstance(one, Mapping):
                continue
            known = {word: one.get(word, "") for word in ("bytes", "sha256", "missing", "left_out")}
            said[name] = {**known, "from": "the root helper"}
            if not one.get("bytes"):
                continue
            why = await self._part(key, parts, name, one, world)
            if why:
                said[name] |= {"missing": why}
                (parts / name).unlink(missing_ok=True)
        return said

    async def _part(self, key: str, parts: Path, name: str, told: Mapping[str, Any], world: World) -> str:
        """Why a part could not be carried over, "" if it is here whole."""
        offset, total = 0, int(told.get("bytes") or 0)
        while offset < total:
            request = {"v": 1, "verb": "read", "bundle": key, "part": name, "offset": offset}
            try:
                reply = await world.root.ask(request, deadline_s=READ_S)
                data = base64.b64decode(str(reply.data.get("base64") or ""), validate=True)
            except (RootAbsent, RootLost, ValueError) as error:
                return f"it could not be carried over: {error}"
            if reply.end != "done" or not data:
                return f"it could not be carried over: {reply.says or 'it ended too early'}"
            await asyncio.to_thread(pack.append, parts, name, data)
            offset += len(data)
        found = await asyncio.to_thread(digest, parts / name)
        return "" if found == told.get("sha256") else "it is not what the root helper wrote: its hash is another"

    async def _own(self, parts: Path, given: Mapping[str, str], world: World, say: Say) -> dict[str, dict[str, Any]]:
        """What the agent itself knows and has recorded."""
        say(f"collecting {', '.join(OWN)}")
        until = world.clock.wall()
        evidence = world.evidence
        assert evidence is not None
        own = await evidence.parts(until - 60.0 * int(given["minutes"]), until)
        share = int(given["max_mib"]) * MIB // 4
        said: dict[str, dict[str, Any]] = {}
        for name, data in own.items():
            if len(data) > share:
                says = f"it has {len(data)} bytes, and no part may have more than {share}"
                said[name] = {"bytes": 0, "missing": says}
            else:
                said[name] = await asyncio.to_thread(pack.write, parts, name, data)
            said[name] |= {"from": "the agent"}
        return said

    async def _pack(self, act: Act, who: Who, folder: Path, said: Mapping[str, Any], world: World, say: Say) -> Result:
        size = sum(int(one.get("bytes") or 0) for one in said.values())
        have = sum(not one.get("missing") for one in said.values())
        say(f"packing {have} of {len(said)} parts, {size} bytes")
        host = world.facts("host")
        name = str(host.get("name") or "") if isinstance(host, Mapping) else ""
        manifest = {
            "schema": 1,
            "key": act.key,
            "subject": act.subject,
            "host": name,
            "at": world.clock.wall(),
            "user": who.user,
            "parts": said,
            "redacted": "secrets are replaced by ***: what looks like one, and what processes of this host hold as one",
        }
        packed = await asyncio.to_thread(pack.pack, folder, f"gpu-cockpit-{pack.plain(name)}-{folder.name}", manifest)
        gaps = f"; missing: {', '.join(gone[:6])}" if (gone := [n for n, one in said.items() if one["missing"]]) else ""
        says = f"{have} of {len(said)} parts, {size} bytes, packed into {packed}{gaps}"
        return Result(ActState.DONE, says, {BUNDLE: packed})


OWN = ("samples.json", "facts.json", "events.json", "history.json", "agent.json")


def _directory(world: World) -> Path:
    """Where bundles are kept.

    Raises:
        Refusal: nowhere.
    """
    evidence: Evidence | None = world.evidence
    if evidence is None or evidence.directory is None:
        raise Refusal("missing", NO_ROOM)
    return evidence.directory


async def _room(directory: Path, whole: int, data: Mapping[str, Any]) -> tuple[Guard, ...]:
    """Whether the disks have room: the agent packs as much as the root helper collects, at worst."""
    here = next(one for one in (directory, *directory.parents) if one.exists())
    free = (await asyncio.to_thread(shutil.disk_usage, here)).free
    places = [(str(directory), free, 2 * whole + SPARE)]
    if isinstance(data.get("free"), int):
        places.append(("the root helper's folder", data["free"], int(data.get("needed") or 0)))
    for where, has, needs in places:
        if has < needs:
            return (Guard("room", False, f"{where} has {has // MIB} MiB free, and {needs // MIB} are needed"),)
    return (Guard("room", True, f"{min(has for _, has, _ in places) // MIB} MiB are free"),)


def _units(about: Target, more: str, world: World) -> list[str]:
    """The services that belong to a bundle about this: those of its replicas, of what holds its GPUs, and `more`.

    Raises:
        Refusal: what is named is no service.
    """
    for name in more.split():
        if trouble := name_trouble(name):
            raise Refusal("invalid", trouble)
    replicas = _rows(world.facts("replicas"))
    holders = _rows(world.facts("processes"))
    if about.kind == "replica":
        replicas = [row for row in replicas if row.get("id") == about.name]
        holders = [row for row in holders if row.get("unit") in {one.get("unit") for one in replicas}]
    elif about.kind == "gpu":
        replicas = [row for row in replicas if about.name in (row.get("gpus") or ())]
        holders = [row for row in holders if about.name in (row.get("gpus") or ())]
    named = [str(row.get("unit") or "") for row in (*replicas, *holders)]
    driver = [str(row.get("file") or "") for row in _rows(world.facts("units"))]
    driver += ["haproxy.service"] if world.facts("backends") else []
    every = (*more.split(), *named, *driver, "gpu-cockpit-agent.service")
    services = (name for name in every if name.endswith(SERVICE))
    return list(dict.fromkeys(services))[:UNITS]


def _rows(facts: Any) -> list[Mapping[str, Any]]:
    rows: Iterable[Any] = facts if isinstance(facts, list) else ()
    return [row for row in rows if isinstance(row, Mapping)]


EXECUTORS = tuple(Collect(spec) for spec in DIAGNOSTICS)
