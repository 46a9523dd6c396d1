"""What a host is: slow, named things. A fact that cannot be read is left out, never guessed."""

import os
import re
from pathlib import Path
from typing import Any

_MODEL = re.compile(r"^(?:model name|Model|cpu model|Hardware)\s*:\s*(.+)$", re.M)
_PLACE = re.compile(r"^(physical id|core id)\s*:\s*(\d+)$", re.M)
_HEAD = 1 << 20  # of /proc/cpuinfo: a kilobyte and a half per processor. Reading it disturbs all of them: rarely done.


def host_facts(proc: Path, sys: Path, etc: Path, memory: int | None) -> dict[str, Any]:
    """{name, os, kernel, arch, machine, cpu, cpus, cores, memory, boot_time}; texts cut to 128 characters."""
    system = os.uname()
    cpuinfo = _text(proc / "cpuinfo")
    model = _MODEL.search(cpuinfo)
    facts: dict[str, Any] = {
        "name": system.nodename,
        "os": _os_name(etc),
        "kernel": system.release,
        "arch": system.machine,
        "machine": _machine(sys),
        "cpu": model[1].strip() if model else "",
        "cpus": os.cpu_count(),
        "cores": _cores(cpuinfo) or None,
        "memory": memory,
        "boot_time": _boot_time(proc),
    }
    return {
        name: value[:128] if isinstance(value, str) else value
        for name, value in facts.items()
        if value is not None and value != ""
    }


def _os_name(etc: Path) -> str:
    for line in _text(etc / "os-release").splitlines():
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            return value.strip().strip('"')
    return "Linux"


def _cores(cpuinfo: str) -> int:
    """Different (socket, core) pairs; 0 where the kernel does not name them."""
    socket, cores = "0", set()
    for name, number in _PLACE.findall(cpuinfo):
        if name == "physical id":
            socket = number
        else:
            cores.add((socket, number))
    return len(cores)


def _machine(sys: Path) -> str:
    """Maker and product as the firmware names them."""
    folder = sys / "class/dmi/id"
    words = [_text(folder / name).strip() for name in ("sys_vendor", "product_name")]
    return " ".join(word for word in words if word)


def _boot_time(proc: Path) -> int | None:
    for line in _text(proc / "stat").splitlines():
        if line.startswith("btime "):
            return int(line.split()[1])
    return None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD).decode("utf-8", "replace")
    except OSError:
        return ""
