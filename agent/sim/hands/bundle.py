"""What the root helper of a simulated host collects for a bundle: the same parts as on a real one, as the machine has
them now. Each says in its first line that it is simulated: it may end up in somebody's ticket."""

import base64
import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from agent.actions.base import Reply, Say
from agent.sim.hands import looks
from agent.sim.hands.acts import MISSING, Asked, Job, Over, Site
from agent.sim.hands.crew import Crew
from agent.sim.machine import DRIVER, Machine
from agent.sim.nvml import settled
from agent.sim.serving.log import lines
from agent.sim.serving.notes import KEPT as NOTES

KEPT = 2  # bundles: the agent carries each away at once
CHUNK = 256 * 1024
MIB = 1024 * 1024
_EACH_S = 0.5
_ABSENT = "nvidia-bug-report.sh is not installed on this host"
_READABLE = ("vllm-", "nvidia-", "haproxy.service", "gpu-cockpit-")

Part = Callable[[], str]


class Bundles:
    """Those of one host, in memory: a simulation that ends takes along what nobody had carried away."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._held: dict[str, dict[str, bytes]] = {}

    def job(self, asked: Asked) -> Job:
        """Collecting, as an action."""
        parts, without = self._parts(asked)
        units = [name.partition("/")[2].removesuffix(".log") for name in parts if name.endswith("service.log")]
        since = f"--since=-{asked.text('minutes', '15')}min"
        argv = (("nvidia-smi", "-q"), *(("journalctl", f"--unit={unit}", since) for unit in units[:4]))
        whole = int(asked.seconds("max_mib", 64.0)) * MIB
        more = {"parts": list(parts), "without": without, "free": 400 * 1024 * MIB, "needed": whole}
        return Job("bundle", {}, argv, None, lambda say: self._collect(asked, say), more)

    def read(self, request: Mapping[str, Any]) -> Reply:
        """Bytes of a part."""
        part = self._held.get(str(request.get("bundle", "")), {}).get(str(request.get("part", "")))
        if part is None:
            return Reply("failed", f"there is no part {str(request.get('part', ''))[:64]} of that bundle", MISSING)
        start = int(str(request.get("offset", 0)))
        data = base64.b64encode(part[start : start + CHUNK]).decode("ascii")
        return Reply("done", data={"base64": data, "total": len(part)})

    def _collect(self, asked: Asked, say: Say) -> Over:
        crew = self._site.crew
        parts, _ = self._parts(asked)
        names, done = list(parts), 0
        began, held = crew.now(), {}
        said: dict[str, Any] = {}

        def over() -> Reply | None:
            nonlocal done
            while done < len(names) and crew.now() >= began + _EACH_S * (done + 1):
                name = names[done]
                done += 1
                say(f"collecting {name} ({done} of {len(names)})")
                text = parts[name]()
                if not text:
                    said[name] = {"bytes": 0, "missing": _ABSENT, "left_out": 0}
                    continue
                data = held[name] = f"simulated by gpu-cockpit sim\n{text}".encode()
                said[name] = {"bytes": len(data), "missing": "", "left_out": 0,
                              "sha256": hashlib.sha256(data).hexdigest()}  # fmt: skip
            if done < len(names):
                return None
            self._held[asked.key] = held
            for old in list(self._held)[:-KEPT]:
                del self._held[old]
            size = sum(map(len, held.values()))
            return Reply("done", f"{len(held)} of {len(said)} parts, {size} bytes", 0, {"parts": said})

        return over

    def _parts(self, asked: Asked) -> tuple[dict[str, Part], list[str]]:
        """All parts by name, and the units whose journals are nobody's business."""
        crew, machine = self._site.crew, self._site.crew.machine
        since = crew.now() - 60.0 * asked.seconds("minutes", 15.0)
        wanted = asked.args.get("units") or ()
        named = [str(unit) for unit in wanted] if isinstance(wanted, list | tuple) else []
        units = [unit for unit in named if unit.startswith(_READABLE)]
        found: dict[str, Part] = {
            "host.txt": lambda: _host(machine),
            "processes.txt": lambda: _processes(crew),
            "kernel.log": lambda: _kernel(machine),
            "nvidia-driver.txt": lambda: f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {DRIVER}\n",
            "nvidia-smi.txt": lambda: _smi(machine),
        }
        for unit in units:
            found[f"units/{unit}.txt"] = _of_unit(crew, unit)
            found[f"units/{unit}.log"] = _journal(crew, unit, since)
        if asked.text("bug_report") == "yes":
            found["nvidia-bug-report.txt"] = lambda: ""
        return found, [unit for unit in named if unit not in units]


def _of_unit(crew: Crew, unit: str) -> Part:
    return lambda: "".join(f"{name}={value}\n" for name, value in looks.unit(crew, unit).items())


def _journal(crew: Crew, unit: str, since: float) -> Part:
    def part() -> str:
        found = crew.by_unit(unit)
        notes = [note for note in found.engine.notes if note.at >= since] if found else []
        return "".join(f"{line}\n" for line in lines(notes, NOTES)) or "-- No entries --\n"

    return part


def _host(machine: Machine) -> str:
    up = machine.now - machine.booted_at
    at = datetime.fromtimestamp(machine.now, UTC).isoformat(timespec="seconds")
    return (
        f'==> /etc/os-release <==\nPRETTY_NAME="Ubuntu 24.04.3 LTS"\n\n==> /proc/version <==\nLinux version '
        f"6.8.0-79-generic\n\n==> /proc/uptime <==\n{up:.2f}\n\n==> /proc/sys/kernel/hostname <==\n{machine.name}\n\n"
        f"==> boot <==\n{machine.boot_id}\n\n==> now <==\n{at}\n"
    )


def _processes(crew: Crew) -> str:
    rows = looks.holders(crew, -1)
    head = "PID\tPPID\tUSER\tSTATE\tUNIT\tCONTAINER\tGPUS\tCOMMAND\n"
    return head + "".join(
        f"{row['pid']}\t{row['ppid']}\t{row['user']}\t{row['state']}\t{row['unit']}\t{row['container'][:12]}\t"
        f"{','.join(row['gpus'])}\t{row['comm']}\n"
        for row in rows
    )


def _kernel(machine: Machine) -> str:
    return "".join(
        f"<{record.priority}>[{record.since_boot_s:12.6f}] {record.text}\n" for record in machine.kernel.after(-1)
    )


def _smi(machine: Machine) -> str:
    """Every number that NVML has, GPU by GPU."""
    told = [f"Driver Version                            : {DRIVER}", f"Attached GPUs : {len(machine.gpus)}"]
    for gpu in machine.gpus:
        told += ["", f"GPU {gpu.bus_id}", f"    Product Name : {machine.model}", f"    GPU UUID : {gpu.uuid}"]
        told.append(f"    Serial Number : {gpu.serial}")
        if not gpu.answers:
            told.append(f"    Unable to determine the device handle for GPU{gpu.index}: {gpu.presence.value}")
            continue
        known = settled(machine, gpu, machine.now)
        told += [f"    {name} : {value:g}" for name, value in sorted(known.items())]
    return "\n".join(told) + "\n"
