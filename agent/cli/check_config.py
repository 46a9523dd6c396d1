"""`check-config`: read a configuration file as `run` would, and say what came of it."""

import argparse
from collections.abc import Mapping

from agent.config import DEFAULT_FILE, KEYS, Discovery, load
from agent.sources.processes.redact import redact_value


def main(arguments: argparse.Namespace) -> int:
    """Print the settings in force; a wrong file is a ConfigError."""
    file = arguments.file or DEFAULT_FILE
    config = load(arguments.file)
    absent = arguments.file is None and not DEFAULT_FILE.exists()
    print(f"{file}: {'absent, defaults are in force' if absent else 'ok'}")
    for key in KEYS:
        value = getattr(config, key)
        print(f"  {key:14} {_shown(key, value)}")
    return 0


def _shown(key: str, value: object) -> str:
    if isinstance(value, Discovery):
        where = f"on {', '.join(value.interfaces) or 'all interfaces'}, sshd's port {value.port}"
        return f"announced {where}" if value.announce else "not announced"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={redact_value(name, text)}" for name, text in value.items()) or "none"
    if key == "socket_mode":
        return f"{value:04o}"
    return "from the host" if value in ("", None) else str(value)
