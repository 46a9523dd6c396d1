"""The summary of the last soak: packaging/docs/soak.md, written by the run itself."""

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[2] / "packaging/docs/soak.md"
HEAD = """# The soak

Written by `make soak`, not to be edited. For {seconds:g} s hostile clients were at the socket of a real agent (8 GPUs
of the C fake of NVML), and hostile agents at the console's decoder, session, fleet, lists and pages. A good client and
a good host stood among them. `SOAK_SEED={seed} SOAK_S={seconds:g} make soak` repeats what is sent, not when.

{date}, {machine}.
"""


def seconds() -> float:
    """How long it lasts."""
    return float(os.environ.get("SOAK_S", "600"))


def write(seed: int, seconds: float, parts: dict[str, dict[str, Any]]) -> None:
    """The summary, to its file and printed."""
    text = HEAD.format(
        seconds=seconds,
        seed=seed,
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=f"{os.cpu_count()} processors, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}",
    )
    for title, numbers in parts.items():
        text += f"\n## The {title}\n\n| what | measured |\n|---|---|\n"
        text += "".join(f"| {key.replace('_', ' ')} | {_shown(value)} |\n" for key, value in numbers.items())
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(text)
    print(json.dumps(parts, indent=1))


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {number}" for name, number in sorted(value.items()))
    return str(value) if value != "" else "none"
