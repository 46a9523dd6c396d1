"""One TOML file becomes one frozen `AgentConfig`; an absent default file means all defaults.

Nothing is guessed: an unknown key, a wrong type or a value out of range is a `ConfigError` that names file and key.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from agent.config.checks import (
    Check,
    Wrong,
    WrongPart,
    count,
    labels,
    mode,
    path,
    paths,
    seconds,
    shown,
    socket_path,
    table,
    text,
    texts,
    yes_or_no,
)
from agent.errors import ConfigError

if TYPE_CHECKING:
    from agent.config.balancing import Balancer
    from agent.config.pools import PoolConfig
    from agent.config.serving import Serving

DEFAULT_FILE = Path("/etc/gpu-cockpit/agent.toml")
SOCKET = Path("/run/gpu-cockpit/agent.sock")
STATE_DIR = Path("/var/lib/gpu-cockpit")
POLICY = Path("/etc/gpu-cockpit/policy.toml")
ACTUATOR = Path("/run/gpu-cockpit-actuator.sock")
MAX_BYTES = 1024 * 1024
MOST_THRESHOLDS = 1024


@dataclass(frozen=True, slots=True)
class Threshold:
    """One `[[thresholds]]` table as it was written, and where: what it means is for those who know the rules."""

    place: str
    table: Mapping[str, Any]


def _thresholds(value: object) -> tuple[Threshold, ...]:
    if not isinstance(value, list) or len(value) > MOST_THRESHOLDS or not all(isinstance(one, dict) for one in value):
        raise Wrong(f"at most {MOST_THRESHOLDS} tables: [[thresholds]] with rule, where and set")
    return tuple(Threshold(f"thresholds {number}", MappingProxyType(one)) for number, one in enumerate(value, 1))


@dataclass(frozen=True, slots=True)
class Discovery:
    """Whether this host is announced on the local network, on which interfaces (names or addresses; none: all that
    lead outside), and the port its sshd listens on."""

    announce: bool = False
    interfaces: tuple[str, ...] = ()
    port: int = 22


@dataclass(frozen=True, slots=True)
class Network:
    """Which network ports belong to the compute fabric, as shell patterns of their names (`mlx5_0`, `mlx5_0/1`,
    interface or PCI address); none: those beside a GPU. `exclude` wins. `ports`: how many this host must have."""

    compute: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    ports: int | None = None


def _discovery(value: object) -> Discovery:
    return Discovery(**table(value, {"announce": yes_or_no, "interfaces": texts, "port": count(1, 65535)}))


def _network(value: object) -> Network:
    return Network(**table(value, {"compute": texts, "exclude": texts, "ports": count(0, 48)}))


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """All an operator may set. `host_id` and `host_name` empty: the machine's own; `gpus_expected` None: as many as
    were ever seen; `labels` are those of the cockpit's columns: pool, rack, role and what a site adds;
    `history_mib` and `journal_mib` are what recorded samples and events may take of the disk; `policy` says who may do
    what, `actuator` is the socket of the root helper, which does it; `thresholds` are limits of rules that a site wants
    otherwise, `thresholds_file` a file with more of them; `serving` is what it knows of its replicas, `balancer`
    its load balancers that are not where they usually are, `pools` the floors of pools that have none."""

    socket: Path = SOCKET
    state_dir: Path = STATE_DIR
    interval_s: float = 1.0
    host_id: str = ""
    host_name: str = ""
    gpus_expected: int | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    socket_mode: int = 0o660
    socket_group: str = ""
    kernel_log: Path = Path("/dev/kmsg")
    sysfs: Path = Path("/sys")
    proc: Path = Path("/proc")
    discovery: Discovery = Discovery()
    network: Network = Network()
    disks: tuple[str, ...] = ()
    kernel_modules: tuple[str, ...] = ()
    history_mib: int = 256
    journal_mib: int = 64
    policy: Path = POLICY
    actuator: Path = ACTUATOR
    thresholds: tuple[Threshold, ...] = ()
    thresholds_file: Path | None = None
    serving: tuple["Serving", ...] = ()
    balancer: tuple["Balancer", ...] = ()
    pools: tuple["PoolConfig", ...] = ()


def _serving(value: object) -> tuple["Serving", ...]:
    from agent.config.serving import serving  # here: `once` starts in milliseconds, and most hosts say nothing

    return serving(value)


def _balancers(value: object) -> tuple["Balancer", ...]:
    from agent.config.balancing import balancers

    return balancers(value)


def _pools(value: object) -> tuple["PoolConfig", ...]:
    from agent.config.pools import pools

    return pools(value)


_CHECKS: dict[str, Check] = {
    "socket": socket_path,
    "state_dir": path,
    "interval_s": seconds(0.5, 60),
    "host_id": text(64),
    "host_name": text(128),
    "gpus_expected": count(0, 1024),
    "labels": labels,
    "socket_mode": mode,
    "socket_group": text(64),
    "kernel_log": path,
    "sysfs": path,
    "proc": path,
    "discovery": _discovery,
    "network": _network,
    "disks": paths,
    "kernel_modules": texts,
    "history_mib": count(16, 65536),
    "journal_mib": count(4, 4096),
    "policy": path,
    "actuator": socket_path,
    "thresholds": _thresholds,
    "thresholds_file": path,
    "serving": _serving,
    "balancer": _balancers,
    "pools": _pools,
}
KEYS = tuple(_CHECKS)


def load(file: Path | None = None) -> AgentConfig:
    """The configuration in `file`; without one, that of the default file, which may be absent.

    Raises:
        ConfigError: it cannot be read, is no TOML, or says something the agent does not know.
    """
    given, file = file, file or DEFAULT_FILE
    content = _content(file, optional=given is None)
    if content is None:
        return AgentConfig()
    config = parse(content, str(file))
    if config.thresholds_file is None:
        return config
    more = str(config.thresholds_file)
    tables = _tables(_content(config.thresholds_file) or b"", more)
    for key in tables:
        if key != "thresholds":
            raise ConfigError(f"{more}: unknown key {key[:64]!r}; this file has [[thresholds]] alone")
    found: tuple[Threshold, ...] = _checked(more, "thresholds", tables.get("thresholds", []))
    return replace(config, thresholds=config.thresholds + _placed(more, found))


def _content(file: Path, *, optional: bool = False) -> bytes | None:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        if optional:
            return None
        raise ConfigError(
            f"{file}: there is no such file; name an existing one, or none to run with defaults"
        ) from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror or error}; check its owner and mode") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{file}: larger than {MAX_BYTES} bytes; this is no agent configuration")
    return content


def parse(content: bytes, file: str) -> AgentConfig:
    """The configuration that `content` describes; `file` is its name in errors.

    Raises:
        ConfigError: as `load`.
    """
    config = AgentConfig(**{key: _checked(file, key, value) for key, value in _tables(content, file).items()})
    return replace(config, thresholds=_placed(file, config.thresholds)) if config.thresholds else config


def _placed(file: str, thresholds: tuple[Threshold, ...]) -> tuple[Threshold, ...]:
    return tuple(replace(one, place=f"{file}: {one.place}") for one in thresholds)


def _tables(content: bytes, file: str) -> dict[str, Any]:
    import tomllib  # here: `once` starts in milliseconds and mostly meets no file

    try:
        return tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{file}: not valid TOML: nested too deep") from None


def _checked(file: str, key: str, value: object) -> Any:
    check = _CHECKS.get(key)
    if check is None:
        import difflib  # here: only for those who mistyped

        near = difflib.get_close_matches(key, KEYS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(KEYS)}"
        raise ConfigError(f"{file}: unknown key {key[:64]!r}; {hint}")
    try:
        return check(value)
    except WrongPart as wrong:
        raise ConfigError(f"{file}: {wrong}") from None
    except Wrong as wrong:
        raise ConfigError(f"{file}: {key} must be {wrong}, not {shown(value)}") from None


@dataclass(frozen=True, slots=True)
class HostIdentity:
    """Who this host is: `host_id` for ever, `boot_id` until the next boot, `name` for people. `simulated`: it is none,
    and gets no real hands."""

    host_id: str
    name: str
    boot_id: str
    simulated: bool = False


def identify(config: AgentConfig) -> HostIdentity:
    """The identity of the machine this runs on; what the configuration names wins.

    The host id is a hash: /etc/machine-id itself is not to be shown to others (machine-id(5)). Hosts without one, or
    cloned with one, need `host_id` in their configuration.
    """
    import hashlib  # here: `once` reaches this while its worker is busy anyway

    name = config.host_name or os.uname().nodename
    machine = _word(Path("/etc/machine-id")) or _word(Path("/var/lib/dbus/machine-id")) or f"name:{name}"
    host_id = config.host_id or hashlib.sha256(f"gpu-cockpit:{machine}".encode()).hexdigest()[:16]
    boot_id = _word(config.proc / "sys/kernel/random/boot_id") or "unknown-boot"
    return HostIdentity(host_id, name, boot_id)


def _word(file: Path) -> str:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as stream:
            return stream.read(256).decode("ascii", "replace").strip()[:64]
    except OSError:
        return ""
