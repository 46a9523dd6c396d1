"""The operator's own settings, from `~/.config/gpu-cockpit/config.toml`. Nothing here is needed; an unknown key is
refused by name, so that a typo never passes for a setting."""

import os
import pwd
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cockpit.errors import ConfigError
from cockpit.inventory import did_you_mean


@dataclass(frozen=True, slots=True)
class Config:
    """`theme`: a theme's name, empty for the default. `keymap`: binding id -> keys, as `?` shows them. `operator`: the
    name that agents are told, shown there as claimed. `mouse`: whether the screens take the mouse. `bell`: whether a
    new critical incident rings. `interfaces`: where `discover` listens (names or addresses), empty for wherever the
    outside is."""

    theme: str = ""
    keymap: Mapping[str, str] = field(default_factory=dict)
    operator: str = ""
    mouse: bool = True
    bell: bool = True
    interfaces: tuple[str, ...] = ()
    path: str = ""


def home() -> Path:
    """The directory of the operator's files."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "gpu-cockpit"


def state_home() -> Path:
    """The directory of what consoles of this operator remember."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "gpu-cockpit"


def author(config: Config) -> str:
    """The name under which this operator speaks: `operator` of the settings, else the local user."""
    if config.operator:
        return config.operator
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def load(path: Path | None = None) -> Config:
    """The settings of a file; the defaults where the operator has none and named none.

    Raises:
        ConfigError: the file cannot be read, is no TOML, or holds an unknown key or a wrong type.
    """
    file = path or home() / "config.toml"
    try:
        data = tomllib.loads(file.read_bytes().decode())
    except FileNotFoundError:
        if path is None:
            return Config()
        raise ConfigError(f"{file}: there is no such file; give an existing one with --config") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{file}: not valid TOML: nested too deep") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror or error}; check its owner and mode") from None
    return _checked(file, data)


def _checked(file: Path, data: dict[str, Any]) -> Config:
    types: dict[str, type] = {
        "theme": str,
        "operator": str,
        "mouse": bool,
        "bell": bool,
        "keymap": dict,
        "interfaces": list,
    }
    for key, value in data.items():
        if key not in types:
            raise ConfigError(f"{file}: unknown key {key!r}{did_you_mean(key, list(types))}")
        if type(value) is not types[key]:
            raise ConfigError(f"{file}: {key} must be {_NAMES[types[key]]}, it is {value!r}")
    if len(data.get("operator", "")) > _OPERATOR:
        raise ConfigError(f"{file}: operator must have at most {_OPERATOR} characters")
    for action, keys in data.get("keymap", {}).items():
        if not isinstance(keys, str):
            raise ConfigError(f'{file}: keymap.{action} must be text such as "ctrl+n,n", it is {keys!r}')
    if not all(isinstance(name, str) for name in data.get("interfaces", ())):
        raise ConfigError(f'{file}: interfaces must be a list of texts such as ["eth0"], it is {data["interfaces"]!r}')
    return Config(**{**data, "interfaces": tuple(data.get("interfaces", ()))}, path=str(file))


_OPERATOR = 64  # what the wire carries
_NAMES = {str: "text", bool: "true or false", dict: "a table", list: "a list"}
