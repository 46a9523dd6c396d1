"""Every way an administrator may lock sshd down: where any path to the agent is left it is found with one login, where
none is left the sentence says what is in the way.

All rows are asked at once by one console. Each has its own port, told apart by `Match LocalPort`, and an ordinary user.
"""

import os
import re
import socket
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.accounts import VIEW_GID, Accounts, accounts
from tests.e2e.network import BIN, Network, eventually, require_network
from tests.e2e.settling import settle
from tests.lab import has_command, require

pytestmark = pytest.mark.lab

HOLD_S = 0.5  # while the slowest row settles the others are watched for seconds
PORTS = 12  # sshd listens on 16 at most
FORWARD, BRIDGE, SUBSYSTEM = "forward", "bridge", "subsystem"
SESSIONS = {FORWARD: 1, BRIDGE: 2, SUBSYSTEM: 3}  # the one that comes first in every connection is among them
OPEN_IT = "in sshd_config: AllowStreamLocalForwarding local"
RESTRICT = "restrict"


@dataclass(frozen=True)
class Row:
    """One sshd: its settings, its user, and what must come of it: a path, or a state with its sentence and hint.

    `{run}` is the bridge with its socket; `socket` is a simulated agent's, or the name of one that is no agent's.
    """

    name: str
    sshd: tuple[str, ...] = ()
    key: str = ""
    path: str = ""
    state: str = "live"
    says: str = ""
    hint: str = ""
    user: str = "viewer"
    socket: str = ""
    sessions: int = -1


NOT_INSTALLED = "SetEnv PATH=/usr/bin:/bin"
NO_FORWARD = "DisableForwarding yes"
ROWS = (
    Row("default", path=FORWARD),
    Row("AllowStreamLocalForwarding no", ("AllowStreamLocalForwarding no",), path=BRIDGE),
    Row("AllowStreamLocalForwarding remote", ("AllowStreamLocalForwarding remote",), path=BRIDGE),
    Row("AllowTcpForwarding no", ("AllowTcpForwarding no",), path=BRIDGE),
    Row("PermitOpen none", ("PermitOpen none",), path=BRIDGE),
    Row("DisableForwarding yes", (NO_FORWARD,), path=BRIDGE),
    Row("restrict", key=RESTRICT, path=BRIDGE),
    Row("restrict,port-forwarding,command=false", key='restrict,port-forwarding,command="false"', path=FORWARD),
    Row("restrict,command=bridge", key='restrict,command="{run}"', path=BRIDGE),
    Row("ForceCommand bridge", ("ForceCommand {run}",), path=FORWARD),
    Row("ForceCommand bridge, no forwarding", ("ForceCommand {run}", NO_FORWARD), path=BRIDGE),
    Row("ForceCommand internal-sftp", ("ForceCommand internal-sftp",), path=FORWARD),
    Row("MaxSessions 0", ("MaxSessions 0",), path=FORWARD, sessions=0),
    Row("MaxSessions 1", ("MaxSessions 1",), path=FORWARD),
    Row("MaxSessions 1, no forwarding", ("MaxSessions 1", NO_FORWARD), path=BRIDGE),
    Row("nologin", user="locked", path=FORWARD),
    Row("a shell that talks first", (NO_FORWARD,), user="noisy", path=BRIDGE),
    Row("no bridge", (NOT_INSTALLED,), path=FORWARD),
    Row(
        "no agent", state="agent_down", says="none: No such file or directory)", hint="systemctl status", socket="none"
    ),
    Row(
        "an agent that crashed", state="agent_down", says="stale: Connection refused)", hint="systemctl", socket="stale"
    ),
    Row("no agent, restrict", key=RESTRICT, state="agent_down", says="no agent is running", socket="none"),
    Row(
        "no agent, nothing but forwarding",
        key='restrict,port-forwarding,command="false"',
        state="agent_down",
        says="something else ran (status 1)",
        hint="systemctl status gpu-cockpit-agent; if it runs, " + OPEN_IT,
        socket="none",
    ),
    Row("a file", (NO_FORWARD,), state="incompatible", says="is not a socket", hint="check the path", socket="file"),
    Row(
        "no bridge, restrict",
        (NOT_INSTALLED,),
        key=RESTRICT,
        state="agent_down",
        says="is there but sshd does not open it for viewer, and gpu-cockpit-agent is not in the PATH",
        hint="put gpu-cockpit-agent into PATH",
    ),
    Row(
        "no bridge, no agent",
        (NOT_INSTALLED,),
        state="agent_down",
        says="gpu-cockpit-agent is not installed there, and",
        hint="install it on",
        socket="none",
    ),
    Row("no bridge, restrict, subsystem", (NOT_INSTALLED,), key=RESTRICT, path=SUBSYSTEM),
    Row(
        "ForceCommand internal-sftp, no forwarding",
        ("ForceCommand internal-sftp", NO_FORWARD),
        state="agent_down",
        says="is there, but sshd opens no way to it for viewer, and instead of gpu-cockpit-agent attach something "
        "else ran (status 1: This service allows sftp connections only.)",
        hint=OPEN_IT,
    ),
    Row(
        "chroot",
        ("ForceCommand internal-sftp", "ChrootDirectory /usr/share", NO_FORWARD),
        state="agent_down",
        says="may be there, but sshd opens no way to it for viewer",
        hint=OPEN_IT,
    ),
    Row(
        "nologin, no forwarding",
        (NO_FORWARD,),
        user="locked",
        state="agent_down",
        says="something else ran (status 1: This account is currently not available.)",
        hint=OPEN_IT,
    ),
    Row(
        "restrict,command=false",
        key='restrict,command="false"',
        state="agent_down",
        says="instead of gpu-cockpit-agent attach something else ran (status 1)",
        hint="port-forwarding for this key",
    ),
    Row(
        "a command that never ends",
        key='restrict,command="sleep 60"',
        state="agent_down",
        says="something else ran (no end of it)",
        hint=OPEN_IT,
    ),
    Row(
        "MaxSessions 0, no forwarding",
        ("MaxSessions 0", NO_FORWARD),
        state="agent_down",
        says="may be there, but sshd opens no way to it for viewer, and it gives no session for a command",
        hint=OPEN_IT,
    ),
    Row(
        "not in the group",
        user="guest",
        state="denied",
        says="guest may not open ",
        hint="usermod -aG gpu-cockpit-view guest",
    ),
    Row(
        "not in the group, sftp only",
        ("ForceCommand internal-sftp",),
        user="guest",
        state="denied",
        says="guest may not open ",
        hint="usermod -aG gpu-cockpit-view guest",
        socket="hidden",
    ),
)


def require_accounts() -> None:
    """Leave the test out, loudly, where no such users can be made."""
    require_network()
    require("unshare (util-linux) and Debian's python3", has_command("unshare") and Path("/usr/bin/python3").exists())


@pytest.fixture(scope="module")
def users() -> Iterator[Accounts]:
    require_accounts()
    with accounts() as made:
        yield made


@pytest.fixture(scope="module")
def agents(users: Accounts) -> Iterator[list[Path]]:
    """Sockets of simulated agents, open to the group: an agent takes few sessions of one user."""
    home = users.folder / "sim"
    log = users.folder / "sim.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [BIN / "gpu-cockpit-agent", "sim", "up", "--dir", home, "--hosts", "6", "--gpus", "1"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    try:
        for _ in eventually(f"the simulated fleet is up: {log.read_text()}"):
            if "READY" in log.read_text():
                break
        home.chmod(0o755)
        fleet = tomllib.loads((home / "fleet.toml").read_text())
        sockets = [Path(host["address"].removeprefix("unix://")) for host in fleet["host"]]
        for path in sockets:
            path.parent.chmod(0o755)
            users.share(path)
        yield sockets
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def odd_sockets(users: Accounts) -> dict[str, Path]:
    """What may be found in place of an agent's socket."""
    hidden = users.folder / "run"
    hidden.mkdir(mode=0o750)
    hidden.chmod(0o750)
    (users.folder / "file").touch()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as old:
        old.bind(str(users.folder / "stale"))
    for name in ("file", "stale"):
        users.share(users.folder / name)
    os.chown(hidden, 0, VIEW_GID)
    return {name: users.folder / name for name in ("none", "stale", "file")} | {"hidden": hidden / "agent.sock"}


@dataclass(frozen=True)
class Outcome:
    """What the console found out about one row, and what its sshd saw of it."""

    found: dict[str, Any]
    logins: int
    sessions: list[str]


@pytest.fixture(scope="module")
def outcomes(users: Accounts, agents: list[Path], odd_sockets: dict[str, Path]) -> Iterator[dict[str, Outcome]]:
    """All rows at once."""
    with Network(users.folder, targets=()) as network:
        (users.folder / "oncall").chmod(0o600)
        ports = {row.name: 2300 + number for number, row in enumerate(ROWS)}
        sockets = {
            row.name: odd_sockets[row.socket] if row.socket else agents[number % len(agents)]
            for number, row in enumerate(ROWS)
        }
        logs = _serve(network, users, ports, sockets)
        found = _ask(network, ports, sockets)
        text = "".join(log.read_text() for log in logs)
        yield {row.name: _outcome(found[f"h{ports[row.name]}"], text, ports[row.name]) for row in ROWS}


def _serve(network: Network, users: Accounts, ports: dict[str, int], sockets: dict[str, Path]) -> list[Path]:
    plain = [row for row in ROWS if row.path != SUBSYSTEM]
    (offered,) = (row for row in ROWS if row.path == SUBSYSTEM)
    subsystem = f"Subsystem gpu-cockpit {users.bin}/gpu-cockpit-agent attach --socket {sockets[offered.name]}"
    groups = [([offered], [subsystem]), *((plain[at : at + PORTS], []) for at in range(0, len(plain), PORTS))]
    sshds = [
        network.sshd(
            "bast",
            "MaxStartups 200",
            f"SetEnv PATH={users.bin}:/usr/bin:/bin",
            *(f"Port {ports[row.name]}" for row in rows[1:]),
            *more,
            port=ports[rows[0].name],
            matches=[_block(row, users, ports[row.name], sockets[row.name]) for row in rows],
            wrap=users.wrap,
        )
        for rows, more in groups
    ]
    return [sshd.start().log for sshd in sshds]


def _block(row: Row, users: Accounts, port: int, path: Path) -> str:
    run = f"{users.bin}/gpu-cockpit-agent attach --socket {path}"
    keys = users.folder / f"keys-{port}"
    key = row.key.format(run=run)
    keys.write_text(f"{key} {(users.folder / 'oncall.pub').read_text()}".lstrip())
    lines = [line.format(run=run) for line in row.sshd]
    return "\n  ".join([f"Match LocalPort {port}", f"AuthorizedKeysFile {keys}", *lines])


def _ask(network: Network, ports: dict[str, int], sockets: dict[str, Path]) -> dict[str, Any]:
    (network.folder / "known_hosts").write_text("".join(network.known("bast", port) for port in ports.values()))
    lines = ['[defaults]\nidentity = "oncall"\nknown_hosts = "known_hosts"']
    for row in ROWS:
        port = ports[row.name]
        lines.append(
            f'[[host]]\nname = "h{port}"\naddress = "{row.user}@{network.address("bast")}:{port}"\n'
            f'socket = "{sockets[row.name]}"'
        )
    return settle(network, "\n\n".join(lines) + "\n", HOLD_S)


def _outcome(found: dict[str, Any], log: str, port: int) -> Outcome:
    clients = re.findall(rf"Connection from \S+ port (\d+) on \S+ port {port}\b", log)
    sessions = [
        line for line in log.splitlines() if "Starting session" in line and any(f"port {c} id" in line for c in clients)
    ]
    return Outcome(found, len(clients), sessions)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_locked_down_sshd_is_passed_or_diagnosed(row: Row, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[row.name]
    found = outcome.found
    assert found["state"] == row.state, outcome
    assert row.says in found["says"], outcome
    assert row.hint in found["hint"], outcome
    assert found["calm"], outcome
    assert outcome.logins == 1, outcome
    if row.path:
        assert found["states"] == ["connecting", "live"]
        assert len(outcome.sessions) == (SESSIONS[row.path] if row.sessions < 0 else row.sessions), outcome
    else:
        assert found["hop"] in found["says"]
        assert found["states"][:2] == ["connecting", row.state]
