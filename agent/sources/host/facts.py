"""What a host is: slow, named things. A fact that cannot be read is left out, never guessed."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from agent.sources.host.addresses import addresses

_MODEL = re.compile(r"^(?:model name|Model|cpu model|Hardware)\s*:\s*(.+)$", re.M)
_HEAD = 1 << 20  # of /proc/cpuinfo: a kilobyte and a half per processor. Reading it disturbs all of them: rarely done.


def host_facts(psutil: ModuleType, proc: Path, sys: Path, etc: Path) -> dict[str, Any]:
    """{name, os, kernel, arch, machine, cpu, cpus, cores, memory, boot_time, addresses}; texts cut to 128 characters.
    `addresses` are the host's own, by which a load balancer elsewhere may know its replicas."""
    system = os.uname()
    model = _MODEL.search(_text(proc / "cpuinfo"))
    facts: dict[str, Any] = {
        "name": system.nodename,
        "os": _os_name(etc),
        "kernel": system.release,
        "arch": system.machine,
        "machine": _machine(sys),
        "cpu": model[1].strip() if model else "",
        "cpus": _number(psutil.cpu_count),
        "cores": _number(lambda: psutil.cpu_count(logical=False)),
        "memory": _number(lambda: psutil.virtual_memory().total),
        "boot_time": _number(psutil.boot_time),
        "addresses": list(addresses(str(proc / "net"))),
    }
    return {
        name: value[:128] if isinstance(value, str) else value
        for name, value in facts.items()
        if value is not None and value not in ("", [])
    }


def _os_name(etc: Path) -> str:
    for line in _text(etc / "os-release").splitlines():
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            return value.strip().strip('"')
    return "Linux"


def _machine(sys: Path) -> str:
    """Maker and product as the firmware names them."""
    folder = sys / "class/dmi/id"
    words = [_text(folder / name).strip() for name in ("sys_vendor", "product_name")]
    return " ".join(word for word in words if word)


def _number(read: Callable[[], float | None]) -> int | None:
    try:
        found = read()
    except (OSError, ValueError, IndexError, KeyError, RuntimeError):
        return None
    return int(found) if found is not None else None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD).decode("utf-8", "replace")
    except OSError:
        return ""
