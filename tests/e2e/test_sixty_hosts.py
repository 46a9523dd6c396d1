"""Sixty hosts behind one bastion, every sshd as Debian ships it: one login at the bastion, one at each host, and nobody
is refused anywhere."""

import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.network import BIN, PORT, Network, Sshd, eventually, require_network
from tests.e2e.test_bastion import ask

pytestmark = pytest.mark.lab

HOSTS = 60
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
    (network.folder / "known_hosts").write_text("".join(known))
    file = network.folder / "sixty.toml"
    file.write_text("\n\n".join(lines) + "\n")
    return file


def test_sixty_hosts_cost_a_default_bastion_one_login_and_nobody_is_refused(network: Network, simulated: Path) -> None:
    bastion = network.sshd("bast").start()
    targets: list[Sshd] = [network.sshd("n1", address=address) for address in addresses()]
    for sshd in targets:
        sshd.begin()
    for _ in eventually("all sixty listen", 30):
        if all(sshd.listens for sshd in targets):
            break
    status, answer = ask(network, fleet_file(network, simulated), "status")
    assert (answer["hosts"]["live"], answer["gpus"]["present"]) == (HOSTS, HOSTS), answer["problems"]
    assert status == 0
    assert bastion.logins == 1
    assert {sshd.logins for sshd in targets} == {1}
    for sshd in (bastion, *targets):
        said = sshd.log.read_text()
        assert not [word for word in REFUSALS if word in said], said
