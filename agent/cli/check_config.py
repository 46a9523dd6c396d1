"""`check-config`: read a configuration file as `run` would, and say what came of it."""

import argparse

from agent.config import DEFAULT_FILE, KEYS, load
from agent.sources.processes.redact import redact_value


def main(arguments: argparse.Namespace) -> int:
    """Print the settings in force; a wrong file is a ConfigError."""
    file = arguments.file or DEFAULT_FILE
    config = load(arguments.file)
    absent = arguments.file is None and not DEFAULT_FILE.exists()
    print(f"{file}: {'absent, defaults are in force' if absent else 'ok'}")
    for key in KEYS:
        value = getattr(config, key)
        if key == "socket_mode":
            shown = f"{value:04o}"
        elif key == "labels":
            shown = ", ".join(f"{name}={redact_value(name, text)}" for name, text in value.items()) or "none"
        else:
            shown = "from the host" if value in ("", None) else str(value)
        print(f"  {key:14} {shown}")
    return 0
