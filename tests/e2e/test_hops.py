"""What can go wrong on the hops in front of a host, with real sshds: the sentence names the hop that is in the way, and
what can pass two bastions or a nearly closed one does.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.network import Network, Sshd, eventually, require_network
from tests.e2e.settling import settle
from tests.lab import has_command, require

pytestmark = pytest.mark.lab

CONNECT_S = 2.0
HOLD_S = 3.5  # a full sshd has room again by then, and a host was missed twice
SILENT, RESET, CUT, DROPPED, CLOSED = 2251, 2252, 2253, 2254, 2299
NO_FORWARD = "AllowTcpForwarding, DisableForwarding and PermitOpen in its sshd_config, and at restrict or permitopen"

# Listeners that are no sshd: one says nothing, one hangs up at once.
LISTENER = """
import socket, struct, sys
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
kept = []
print("listens", flush=True)
while True:
    peer, _ = server.accept()
    if sys.argv[3] == "silent":
        kept.append(peer)
    else:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
"""
HOLDER = """
import socket, sys, time
peer = socket.create_connection((sys.argv[1], int(sys.argv[2])))
print("listens", flush=True)
time.sleep(60)
"""
FIREWALL = """table inet gcp {{ chain in {{ type filter hook input priority 0;
tcp dport {reset} reject with tcp reset; tcp dport {dropped} drop; }}; }}"""


SSH_CONFIG = "what ssh_config says"
CONFIG = """
Host inner
  HostName 10.77.3.11
  HostKeyAlias gpu-inner
  ProxyJump first,second
Host first
  HostName 10.77.1.1
Host second
  HostName 10.77.2.9
Host inner first second
  User root
  Port 2222
  IdentityFile {folder}/oncall
  UserKnownHostsFile {folder}/known_hosts
"""


@dataclass(frozen=True)
class Way:
    """One host behind hops: the sshd settings of its own bastion, or the names of known ones, and what must come of it.

    `at`: its address and port; `hop`: which hop the sentence must name, its own name where empty."""

    name: str
    bastion: tuple[str, ...] = ()
    at: str = "10.77.2.11:2222"
    jump: tuple[str, ...] = ()
    state: str = "live"
    says: str = ""
    hint: str = ""
    hop: str = ""
    key: str = ""


WAYS = (
    Way("ForceCommand and AllowTcpForwarding local", ("AllowTcpForwarding local", "ForceCommand /bin/false")),
    Way("bastion with MaxSessions 0", ("MaxSessions 0",)),
    Way("PermitOpen of this host", ("PermitOpen 10.77.2.11:2222",)),
    Way("two hops", jump=("bast", "mid"), at="10.77.3.11:2222"),
    Way("two hops of ssh_config", jump=(SSH_CONFIG,), at="inner"),
    Way(
        "AllowTcpForwarding no",
        ("AllowTcpForwarding no",),
        state="denied",
        says=r"^{own} \(root@10.77.1.1:\d+\) does not let root through to 10.77.2.11:2222",
        hint=NO_FORWARD,
        hop="{own}",
    ),
    Way(
        "PermitOpen other",
        ("PermitOpen 10.77.2.12:2222",),
        state="denied",
        says="^{own} ",
        hint=NO_FORWARD,
        hop="{own}",
    ),
    Way("restrict", key="restrict ", state="denied", says="^{own} ", hint=NO_FORWARD, hop="{own}"),
    Way(
        "the second of two hops forbids",
        jump=("bast", "mid-barred"),
        at="10.77.3.11:2222",
        state="denied",
        says=r"^mid-barred \(root@10.77.2.9:2223\) does not let root through to 10.77.3.11:2222",
        hint=NO_FORWARD,
        hop="mid-barred",
    ),
    Way(
        "the second of two hops is down",
        jump=("bast", "mid-down"),
        at="10.77.3.11:2222",
        state="bastion_lost",
        says=r"^bastion mid-down \(root@10.77.2.9:2299\): cannot be reached from bast: Connection refused",
        hop="mid-down",
    ),
    Way(
        "the host is silent",
        jump=("bast",),
        at=f"10.77.2.12:{SILENT}",
        state="unreachable",
        says="takes the connection, but says nothing within 2 s",
    ),
    Way(
        "the host hangs up",
        jump=("bast",),
        at=f"10.77.2.12:{CUT}",
        state="unreachable",
        says="hung up during the login|Connection reset by peer",
    ),
    Way(
        "the host resets",
        jump=("bast",),
        at=f"10.77.2.12:{RESET}",
        state="unreachable",
        says="from bast: Connection refused",
    ),
    Way(
        "packets are dropped",
        jump=("bast",),
        at=f"10.77.2.12:{DROPPED}",
        state="host_down",
        says="no answer within 2 s while logging in; bast is fine",
    ),
    Way("nobody listens", jump=("bast",), at=f"10.77.2.12:{CLOSED}", state="unreachable", says="Connection refused"),
    Way(
        "the bastion is silent",
        jump=("bast-silent",),
        state="bastion_lost",
        says="^bastion bast-silent .*takes the connection, but says nothing within 2 s",
        hop="bast-silent",
    ),
    Way("the bastion is full", jump=("bast-full",)),
    Way("the host is full", jump=("bast",), at="10.77.2.12:2230"),
)
FULL = ("the bastion is full", "the host is full")


@pytest.fixture(scope="module")
def network(folder: Path) -> Iterator[Network]:
    require_network()
    require("nftables", has_command("nft"))
    with Network(folder, inner=("m1",)) as network:
        yield network


@pytest.fixture(scope="module")
def sshds(network: Network) -> dict[str, Sshd]:
    """Everything that listens, by name."""
    full = ("MaxStartups 1", "LoginGraceTime 2")
    made = {
        "n1": network.sshd("n1"),
        "m1": network.sshd("m1"),
        "bast": network.sshd("bast"),
        "mid": network.sshd("mid"),
        "mid-barred": network.sshd("mid", "AllowTcpForwarding no", port=2223),
        "bast-full": network.sshd("bast", *full, port=2231),
        "n2-full": network.sshd("n2", *full, port=2230),
    }
    for number, way in enumerate(WAYS):
        if not way.jump:
            keys = network.folder / f"keys-{number}"
            keys.write_text(way.key + (network.folder / "oncall.pub").read_text())
            made[f"b{number}"] = network.sshd("bast", f"AuthorizedKeysFile {keys}", *way.bastion, port=2300 + number)
    for sshd in made.values():
        sshd.begin()
    for sshd in made.values():
        for _ in eventually(f"{sshd.place}:{sshd.port} listens"):
            if sshd.listens:
                break
    return made


@pytest.fixture(scope="module")
def found(network: Network, sshds: dict[str, Sshd], fleet: Path) -> Iterator[dict[str, Any]]:
    """What one console finds out about all of them."""
    rules = FIREWALL.format(reset=RESET, dropped=DROPPED)
    subprocess.run(network.inside("n2", "nft", "-f", "-"), check=True, input=rules, text=True, timeout=10)
    agent = tomllib.loads((fleet / "fleet.toml").read_text())["host"]
    agents = [host["address"].removeprefix("unix://") for host in agent]
    with ExitStack() as stack:
        for place, port, kind in (("n2", SILENT, "silent"), ("n2", CUT, "cut"), ("bast", SILENT, "silent")):
            _python(stack, network, place, LISTENER, network.address(place), str(port), kind)
        for place, address, port in (("ops", "10.77.1.1", 2231), ("bast", "10.77.2.12", 2230)):
            _python(stack, network, place, HOLDER, address, str(port))
        yield settle(network, _fleet(network, sshds, agents), HOLD_S, CONNECT_S)


def _python(stack: ExitStack, network: Network, place: str, code: str, *words: str) -> None:
    process = subprocess.Popen(
        network.inside(place, sys.executable, "-c", code, *words), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    stack.callback(process.stdout.close)
    stack.callback(process.wait, 5)
    stack.callback(process.kill)
    assert process.stdout.readline() == "listens\n"


def _fleet(network: Network, sshds: dict[str, Sshd], agents: list[str]) -> str:
    known = "".join(network.known(sshd.place, sshd.port) for sshd in sshds.values())
    alias = network.known("m1").replace("[10.77.3.11]:2222", "gpu-inner")
    (network.folder / "known_hosts").write_text(known + alias)
    (network.folder / ".ssh").mkdir()
    (network.folder / ".ssh" / "config").write_text(CONFIG.format(folder=network.folder))
    jumps = {name: f"{sshd.address}:{sshd.port}" for name, sshd in sshds.items() if sshd.place in ("bast", "mid")}
    jumps |= {"mid-down": f"10.77.2.9:{CLOSED}", "bast-silent": f"10.77.1.1:{SILENT}"}
    ours = 'identity = "oncall"\nknown_hosts = "known_hosts"'
    lines = [f'[[jump]]\nname = "{name}"\nhost = "{address}"\nuser = "root"\n{ours}' for name, address in jumps.items()]
    for number, way in enumerate(WAYS):
        if way.jump == (SSH_CONFIG,):
            told = f'address = "{way.at}"'
        else:
            told = f'address = "root@{way.at}"\njump = {list(way.jump) or [f"b{number}"]}\n{ours}'
        lines.append(f'[[host]]\nname = "h{number}"\nsocket = "{agents[number % len(agents)]}"\n{told}')
    return "\n\n".join(lines) + "\n"


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_hops_are_passed_or_the_one_in_the_way_is_named(way: Way, found: dict[str, Any]) -> None:
    number = WAYS.index(way)
    outcome, own = found[f"h{number}"], f"b{number}"
    assert outcome["states"][-1] == way.state, outcome
    assert re.search(way.says.format(own=own), outcome["says"]), outcome
    assert way.hint in outcome["hint"], outcome
    assert outcome["hop"] == (way.hop.format(own=own) or f"h{number}"), outcome
    assert outcome["took"] < CONNECT_S + 3
    if way.name in FULL:
        assert set(outcome["states"]) <= {"connecting", "unreachable", "bastion_lost", "host_down", "live"}, outcome
        assert len(outcome["states"]) > 2, "it was full at first"


def test_each_hop_of_a_chain_was_logged_in_to_once(sshds: dict[str, Sshd], found: dict[str, Any]) -> None:
    assert found
    assert [sshds[name].logins for name in ("bast", "mid", "m1")] == [2, 2, 2], "by fleet file, and by ssh_config"


def test_a_bastion_that_forbids_is_asked_once(sshds: dict[str, Sshd], found: dict[str, Any]) -> None:
    assert found
    barred = [f"b{number}" for number, way in enumerate(WAYS) if way.state == "denied" and not way.jump]
    assert {sshds[name].log.read_text().count("Connection from") for name in barred} == {1}
