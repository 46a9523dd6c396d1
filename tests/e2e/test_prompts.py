"""Logins at a real OpenSSH that need a human: a passphrase, a code by PAM, and what --batch says instead."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.network import Network, Sshd, sh
from tests.e2e.test_bastion import fleet_file, know
from tests.fakes.terminal import OnTerminal
from tests.lab import has_command, require

pytestmark = pytest.mark.lab

CODE = "246810"
CHECK = f"""#!/bin/sh
[ "$(/usr/bin/tr -d '\\000')" = {CODE} ]
"""


@pytest.fixture(scope="module")
def targets(network: Network) -> list[Sshd]:
    return [network.sshd(place, "AllowStreamLocalForwarding local").start() for place in network.targets]


@pytest.fixture
def bastion(network: Network, targets: list[Sshd]) -> Iterator[Sshd]:
    """Wants a key."""
    sshd = network.sshd("bast", "AllowTcpForwarding local").start()
    yield sshd
    sshd.stop()


@pytest.fixture
def two_factor(network: Network, targets: list[Sshd]) -> Iterator[Sshd]:
    """Wants a key and a code. Its PAM is one of its own: /etc/pam.d is another directory in its mount namespace."""
    require("PAM's pam_exec and unshare", any(Path("/lib").glob("*/security/pam_exec.so")) and has_command("unshare"))
    service = network.folder / "pam.d"
    service.mkdir(exist_ok=True)
    check = network.folder / "check"
    check.write_text(CHECK)
    check.chmod(0o755)
    (service / "sshd").write_text(
        f"auth required pam_exec.so expose_authtok quiet {check}\n"
        "auth required pam_permit.so\naccount required pam_permit.so\nsession required pam_permit.so\n"
    )
    private = 'mount --bind "$0" /etc/pam.d && exec "$@"'
    sshd = network.sshd(
        "bast",
        "UsePAM yes",
        "PermitRootLogin yes",  # else it gives PAM junk in place of what root typed
        "KbdInteractiveAuthentication yes",
        "AuthenticationMethods publickey,keyboard-interactive",
        "AllowTcpForwarding local",
        wrap=("unshare", "--mount", "sh", "-c", private, str(service)),
    ).start()
    yield sshd
    sshd.stop()


@pytest.fixture(scope="module")
def locked(network: Network) -> str:
    """An identity with a passphrase, accepted like the usual one."""
    path = network.folder / "locked"
    path.write_bytes((network.folder / "oncall").read_bytes())
    path.chmod(0o600)
    sh("ssh-keygen", "-q", "-p", "-a", "4", "-P", "", "-N", "open sesame", "-f", str(path))
    return path.name


@contextmanager
def cockpit(network: Network, *words: str) -> Iterator[OnTerminal]:
    """The program at the operator's terminal, its standard output in the file `out`."""
    (network.folder / "out").unlink(missing_ok=True)
    running = OnTerminal(
        *words, environment=network.environment(), output=network.folder / "out", within=network.inside("ops")
    )
    try:
        yield running
    finally:
        running.close()


def live(network: Network) -> list[str]:
    return [item["link"] for item in json.loads((network.folder / "out").read_text())["items"]]


def with_identity(network: Network, fleet: Path, identity: str) -> str:
    file = fleet_file(network, fleet, name=f"{identity}.toml")
    file.write_text(file.read_text().replace('identity = "oncall"', f'identity = "{identity}"'))
    return str(file)


async def test_a_code_by_pam_is_one_question_for_all_hosts(network: Network, fleet: Path, two_factor: Sshd) -> None:
    know(network)
    with cockpit(network, "hosts", "--json", "--fleet", str(fleet_file(network, fleet))) as running:
        await running.shows("(ctrl-d declines): ")
        running.type("1\n")
        await running.shows("that was not it (2 of 3)")
        running.type(f"{CODE}\n")
        assert await running.ends() == 0, running.text
    assert live(network) == ["live", "live"]
    assert "gpu-cockpit: bast (root@10.77.1.1:2222) asks for a password; 2 hosts wait behind it" in running.text
    assert running.text.count("asks for") == 2
    assert two_factor.log.read_text().count("Accepted keyboard-interactive/pam") == 1


@pytest.mark.more
async def test_nobody_is_asked_for_a_code_with_batch(network: Network, fleet: Path, two_factor: Sshd) -> None:
    know(network)
    with cockpit(network, "--batch", "status", "--fleet", str(fleet_file(network, fleet))) as running:
        assert await running.ends() == 3
    assert "bast (root@10.77.1.1:2222): needs a one-time code" in running.text


async def test_a_key_with_a_passphrase_is_opened_once_for_all(
    network: Network, fleet: Path, bastion: Sshd, locked: str
) -> None:
    know(network)
    with cockpit(network, "hosts", "--json", "--fleet", with_identity(network, fleet, locked)) as running:
        await running.shows("passphrase (ctrl-d declines): ")
        running.type("open says me\n")
        await running.shows("that was not it (2 of 3)")
        running.type("open sesame\n")
        assert await running.ends() == 0, running.text
    assert live(network) == ["live", "live"]
    assert running.text.count("asks for the passphrase of a key") == 2
    assert "open sesame" not in running.text


async def test_a_key_with_a_passphrase_stays_closed_with_batch(
    network: Network, fleet: Path, bastion: Sshd, locked: str
) -> None:
    know(network)
    for binary in ((), ("--ssh-binary", "--ssh-config", "none")):
        words = ("--batch", "status", "--fleet", with_identity(network, fleet, locked), *binary)
        with cockpit(network, *words) as running:
            assert await running.ends() == 3
        assert "did not answer (denied): bast" in running.text
        assert "asks for" not in running.text


async def test_the_operators_own_ssh_asks_through_us(
    network: Network, fleet: Path, two_factor: Sshd, locked: str
) -> None:
    know(network)
    file = Path(with_identity(network, fleet, locked))
    text = file.read_text()
    file.write_text(text[: text.index("[[host]]", text.index("[[host]]") + 1)])
    words = ("hosts", "--json", "--fleet", str(file), "--ssh-binary", "--ssh-config", "none")
    answers = {"passphrase": "open sesame\n", "password": f"{CODE}\n", "code": f"{CODE}\n"}
    with cockpit(network, *words) as running:
        for asked in (1, 2, 3):  # the bastion's key, its code, the target's key
            await running.until(lambda asked=asked: running.text.count("(ctrl-d declines): ") == asked)
            running.type(answers[running.text.split("(ctrl-d declines): ")[asked - 1].split()[-1]])
        assert await running.ends() == 0, running.text
    assert live(network) == ["live"]
    assert "gpu-cockpit: gpu-a01" in running.text
    assert "| Enter passphrase for key" in running.text
    assert "that was not it" not in running.text
    assert not [path for path in Path("/tmp").glob("gpu-cockpit-ssh-*") if os.access(path, os.R_OK)]


@pytest.mark.more
async def test_a_connection_that_the_users_ssh_shares_is_one_question(
    network: Network, fleet: Path, two_factor: Sshd
) -> None:
    know(network)
    config = network.folder / "mux.conf"
    config.write_text(f"Host 10.77.1.1\nControlMaster auto\nControlPath {network.folder}/cm-%C\n")
    words = ("--fleet", str(fleet_file(network, fleet)), "--ssh-binary", "--ssh-config", str(config))
    with cockpit(network, "hosts", "--json", *words) as running:
        await running.shows("(ctrl-d declines): ")
        running.type(f"{CODE}\n")
        assert await running.ends() == 0, running.text
    assert live(network) == ["live", "live"]
    assert running.text.count("asks for") == 1


@pytest.mark.more
async def test_a_question_of_ssh_that_is_declined_ends_that_ssh(
    network: Network, fleet: Path, bastion: Sshd, locked: str
) -> None:
    know(network)
    words = ("status", "--fleet", with_identity(network, fleet, locked), "--ssh-binary", "--ssh-config", "none")
    with cockpit(network, *words) as running:
        for count in (1, 2):
            await running.until(lambda count=count: running.text.count("(ctrl-d declines): ") == count)
            running.type("\x04")
        assert await running.ends() == 3
    assert "you declined to give the passphrase of a key to ssh" in running.text
