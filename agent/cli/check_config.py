"""`check-config`: read a configuration file as `run` would, and say what came of it."""

import argparse
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import agent
from agent.config import DEFAULT_FILE, KEYS, Discovery, load
from agent.detect import RULES
from agent.detect.thresholds import resolve
from agent.errors import ConfigError
from agent.sources.processes.redact import redact_value
from agent.sources.serving.tables import check

HELPER = Path(agent.__file__).parent / "actuator/__main__.py"
_ABSENT = {"thresholds_file": "none"}


def main(arguments: argparse.Namespace) -> int:
    """Print the settings in force; a wrong file is a ConfigError."""
    file = arguments.file or DEFAULT_FILE
    config = load(arguments.file)
    check(config.serving)
    settings = resolve(config.thresholds, config.labels, RULES)
    policy = policy_of(config.policy)
    absent = arguments.file is None and not DEFAULT_FILE.exists()
    print(f"{file}: {'absent, defaults are in force' if absent else 'ok'}")
    for key in KEYS:
        value = getattr(config, key)
        print(f"  {key:15} {_shown(key, value)}")
    for rule, limits in settings.items():
        for name, setting in limits.items():
            print(f"  in force here: {rule} {name} = {setting.value:g} ({setting.origin})")
    print(policy)
    return 0


def policy_of(path: Path) -> str:
    """What the root helper says of the policy that it would go by. It is asked as the program that it is: the agent
    does not read what it must not decide. A wrong policy is a ConfigError."""
    words = [sys.executable, "-I", str(HELPER), "--check-policy", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)  # noqa: S603 - our own program
    if done.returncode:
        raise ConfigError(done.stderr.strip().partition(": ")[2] or f"{path} could not be checked")
    return done.stdout.strip()


def _shown(key: str, value: object) -> str:
    if isinstance(value, Discovery):
        where = f"on {', '.join(value.interfaces) or 'all interfaces'}, sshd's port {value.port}"
        return f"announced {where}" if value.announce else "not announced"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={redact_value(name, text)}" for name, text in value.items()) or "none"
    if isinstance(value, tuple):
        return f"{len(value)} of this site's own" if value else "the defaults"
    if isinstance(value, tuple) and all(isinstance(one, str) for one in value):
        return ", ".join(value) or "none"
    if key == "socket_mode":
        return f"{value:04o}"
    return _ABSENT.get(key, "from the host") if value in ("", None) else str(value)
