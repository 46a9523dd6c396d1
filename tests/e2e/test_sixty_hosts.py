"""Sixty hosts behind one bastion, every sshd as Debian ships it: one login at the bastion, one at each host, and nobody
is refused anywhere. Their keys stand among 5,000 hashed ones in a known_hosts file that is read once."""

import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.network import BIN, PORT, Network, Sshd, eventually, require_network
from tests.e2e.opened import openings
from tests.e2e.test_bastion import ask

pytestmark = pytest.mark.lab

HOSTS = 60
KNOWN = 5000  # entries of known_hosts
REFUSALS = ("drop connection", "MaxStartups", "Failed", "refused", "maximum", "no more sessions", "Timeout before")


@pytest.fixture(scope="module")
def simulated(folder: Path) -> Iterator[Path]:
    home, log = folder / "sim", folder / "sim.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [BIN / "gpu-cockpit-agent", "sim", "up", "--dir", home, "--hosts", str(HOSTS), "--gpus", "1"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    try:
        for _ in eventually("the simulated fleet is up", 30):
            assert process.poll() is None, log.read_text()
            if "READY" in log.read_text():
                break
        yield home
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def network(folder: Path) -> Iterator[Network]:
    require_network()
    with Network(folder, targets=("n1",), many=HOSTS) as network:
        yield network


def addresses() -> list[str]:
    return [f"10.77.4.{number}" for number in range(1, HOSTS + 1)]


def fleet_file(network: Network, simulated: Path) -> Path:
    """Each simulated host behind an sshd of its own; known_hosts beside it."""
    hosts = tomllib.loads((simulated / "fleet.toml").read_text())["host"]
    lines = [
        f'[defaults]\nuser = "root"\nport = {PORT}\njump = "bast"\nidentity = "oncall"\nknown_hosts = "known_hosts"',
        f'[[jump]]\nname = "bast"\nhost = "{network.address("bast")}"\nport = {PORT}',
    ]
    for address, host in zip(addresses(), hosts, strict=True):
        socket = host["address"].removeprefix("unix://")
        lines.append(f'[[host]]\nname = "{host["name"]}"\naddress = "{address}"\nsocket = "{socket}"')
    known = [network.known("bast"), *(network.known("n1", address=address) for address in addresses())]
    _hash(network, known)
    file = network.folder / "sixty.toml"
    file.write_text("\n\n".join(lines) + "\n")
    return file


def _hash(network: Network, known: list[str]) -> None:
    """These lines among those of many other hosts, all of them hashed, as HashKnownHosts leaves them."""
    key = " ".join((network.folder / "stranger.pub").read_text().split()[:2])
    others = [f"gpu-{number:05}.example.com {key}\n" for number in range(KNOWN - len(known))]
    path = network.folder / "known_hosts"
    path.write_text("".join(others[::2] + known + others[1::2]))
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(path)], check=True, capture_output=True, timeout=30)
    lines = path.read_text().splitlines()
    assert len(lines) == KNOWN
    assert all(line.startswith("|1|") for line in lines)


def test_openings_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    with openings(file) as opened:
        assert opened.count() == 0
        for _ in range(3):
            file.read_text()
        assert opened.count() == 3


def test_sixty_hosts_cost_a_default_bastion_one_login_and_nobody_is_refused(network: Network, simulated: Path) -> None:
    bastion = network.sshd("bast").start()
    targets: list[Sshd] = [network.sshd("n1", address=address) for address in addresses()]
    for sshd in targets:
        sshd.begin()
    for _ in eventually("all sixty listen", 30):
        if all(sshd.listens for sshd in targets):
            break
    file = fleet_file(network, simulated)
    with openings(network.folder / "known_hosts") as opened:
        status, answer = ask(network, file, "status")
        assert opened.count() == 1
    assert (answer["hosts"]["live"], answer["gpus"]["present"]) == (HOSTS, HOSTS), answer["problems"]
    assert status == 0
    assert bastion.logins == 1
    assert {sshd.logins for sshd in targets} == {1}
    for sshd in (bastion, *targets):
        said = sshd.log.read_text()
        assert not [word for word in REFUSALS if word in said], said
