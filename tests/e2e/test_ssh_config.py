"""An operator's own ssh_config is enough: real sshds, reached as `ssh` would, and a sentence where it says no.

Ways behind several bastions are in `test_hops`, thousands of known hosts in `test_sixty_hosts`.
"""

import json
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.network import PORT, Network, Sshd

pytestmark = pytest.mark.lab

CONFIG = """
Include part.d/*.conf
Host node-old*
  HostName 10.77.2.99
Host node-*
  ProxyJump bast
Match originalhost node-match exec "test %n = node-match"
  HostName {n1}
Host node-1 node-revoked node-krl node-command node-dead node-circle node-locked node-odd
  HostName {n1}
Host node-2
  HostName {n2}
Host node-1
  StrictHostKeyChecking accept-new
Host node-revoked
  RevokedHostKeys {folder}/revoked-list
Host node-krl
  RevokedHostKeys {folder}/revoked-krl
Host node-odd
  KnownHostsCommand /bin/true
Host node-locked
  IdentityFile {folder}/locked
Host circle-a
  ProxyJump circle-b
Host circle-b
  ProxyJump circle-a
Host bast
  HostName {bast}
Host * !node-locked
  IdentityFile ~/%u-on-call-%r
Host *
  User root
  Port {port}
  IdentitiesOnly yes
  IdentityAgent none
  HostKeyAlgorithms ssh-ed25519
"""
PART = """
Host node-command
  ProxyCommand ssh -F {folder}/bast.conf -W %h:%p bast
Host node-dead
  ProxyCommand sh -c 'echo out of order >&2; exit 7'
Host node-circle
  ProxyJump circle-a
Host node-wrong
  Port none-of-them
"""
BAST = """
Host node-2
  HostName {n2}
  ProxyJump bast
Host bast
  HostName {bast}
Host node-2 bast
  User root
  Port {port}
  IdentityFile {folder}/root-on-call-root
  UserKnownHostsFile {folder}/.ssh/known_hosts
  BatchMode yes
"""
NODES = ("1", "2", "match", "revoked", "krl", "odd", "locked", "command", "dead", "circle", "wrong")


@pytest.fixture(scope="module")
def sshds(network: Network) -> Iterator[dict[str, Sshd]]:
    """The bastion, and both targets behind it."""
    running = {place: network.sshd(place).start() for place in ("bast", *network.targets)}
    yield running
    for sshd in running.values():
        sshd.stop()


@pytest.fixture(scope="module")
def found(network: Network, sshds: dict[str, Sshd], fleet: Path) -> dict[str, dict[str, Any]]:
    """What one look at all hosts of the operator's configuration says."""
    home = network.folder
    (home / ".ssh" / "part.d").mkdir(parents=True)
    places = {place: network.address(place) for place in ("bast", *network.targets)}
    (home / ".ssh" / "config").write_text(CONFIG.format(folder=home, port=PORT, **places))
    (home / ".ssh" / "part.d" / "own.conf").write_text(PART.format(folder=home))
    (home / "bast.conf").write_text(BAST.format(folder=home, port=PORT, **places))  # ssh does not look at HOME
    (home / ".ssh" / "config").chmod(0o600)
    (home / "root-on-call-root").write_bytes((home / "oncall").read_bytes())
    (home / "root-on-call-root").chmod(0o600)
    (home / ".ssh" / "known_hosts").write_text("".join(map(network.known, places)))
    subprocess.run(
        ["ssh-keygen", "-q", "-H", "-f", str(home / ".ssh" / "known_hosts")], check=True, capture_output=True
    )
    (home / "revoked-list").write_text((home / "n1.pub").read_text())
    subprocess.run(["ssh-keygen", "-q", "-k", "-f", str(home / "revoked-krl"), str(home / "n1.pub")], check=True)
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-a", "1", "-f", str(home / "locked")]
    subprocess.run(words, check=True)
    (home / "oncall.pub").write_text((home / "oncall.pub").read_text() + (home / "locked.pub").read_text())
    sockets = [host["address"] for host in tomllib.loads((fleet / "fleet.toml").read_text())["host"]]
    lines = [f"[clock]\n{(fleet / 'fleet.toml').read_text().partition('[clock]')[2].partition('[')[0]}"]
    for number, nodes in (("1", [f"node-{name}" for name in NODES if name != "2"]), ("2", ["node-2", "!node-old*"])):
        socket = sockets[int(number) - 1].removeprefix("unix://")
        lines.append(f'[[ssh]]\nhosts = {["node-?", *nodes][number == "1" :]}\nsocket = "{socket}"\npool = "own"')
    (home / "own.toml").write_text("\n".join(lines))
    done = network.operator("gpu-cockpit", "hosts", "--json", "--batch", "--fleet", "own.toml", "--timeout", "6")
    assert done.stdout, done.stderr
    return {item["host"]: item for item in json.loads(done.stdout)["items"]}


def test_includes_patterns_jumps_tokens_and_hashed_names_lead_there(
    found: dict[str, dict[str, Any]], sshds: dict[str, Sshd]
) -> None:
    assert {name: found[name]["link"] for name in ("node-1", "node-2", "node-match", "node-command")} == dict.fromkeys(
        ("node-1", "node-2", "node-match", "node-command"), "live"
    )
    assert found["node-2"]["labels"]["pool"] == "own"
    assert set(found) == {f"node-{name}" for name in NODES}


def test_hosts_behind_one_jump_share_its_login(found: dict[str, dict[str, Any]], sshds: dict[str, Sshd]) -> None:
    assert found["node-1"]["link"] == "live"
    assert sshds["bast"].logins == 2, "one for all, and one of the ssh that ProxyCommand runs"


@pytest.mark.parametrize(
    ("node", "link", "says"),
    [
        ("revoked", "key_changed", "its host key is revoked in FOLDER/revoked-"),
        ("krl", "key_changed", "its host key is revoked in FOLDER/revoked-"),
        (
            "odd",
            "denied",
            "KnownHostsCommand: host keys, and which of them are revoked, are known to that command alone",
        ),
        ("locked", "denied", "locked has a passphrase, and nobody can be asked for it"),
        ("dead", "unreachable", "its ProxyCommand ended with status 7: out of order"),
        ("circle", "denied", "the way goes in a circle: node-circle -> circle-a -> circle-b -> circle-a"),
        ("wrong", "denied", "own.conf:9: Port: 'none-of-them' is no value for it"),
    ],
)
def test_what_cannot_be_followed_says_so(
    found: dict[str, dict[str, Any]], network: Network, node: str, link: str, says: str
) -> None:
    item = found[f"node-{node}"]
    assert item["link"] == link
    assert says.replace("FOLDER", str(network.folder)) in json.dumps(item), item


def test_with_ssh_binary_the_name_is_ssh_to_look_up(network: Network, found: dict[str, dict[str, Any]]) -> None:
    text = (network.folder / "own.toml").read_text()
    (network.folder / "second.toml").write_text(text[: text.index("[[ssh]]")] + text[text.rindex("[[ssh]]") :])
    words = ("--ssh-binary", "--ssh-config", "bast.conf", "--batch", "--fleet", "second.toml", "--timeout", "10")
    done = network.operator("gpu-cockpit", "hosts", "--json", *words)
    assert done.stdout, done.stderr
    (item,) = json.loads(done.stdout)["items"]
    assert (item["host"], item["link"]) == ("node-2", "live"), item
