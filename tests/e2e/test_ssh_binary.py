"""The operator's own ssh as the transport, through a real bastion: the same answers, the same states, nothing left."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.network import BIN, PORT, Network, Sshd, eventually
from tests.e2e.test_bastion import LOCKED, fleet_file, know, unchanging

pytestmark = pytest.mark.lab

BINARY = ("--ssh-binary", "--ssh-config", "none")


@pytest.fixture(scope="module")
def bastion(network: Network) -> Iterator[Sshd]:
    sshd = network.sshd("bast", "AllowTcpForwarding local", "ForceCommand /bin/false").start()
    yield sshd
    sshd.stop()


@pytest.fixture(scope="module")
def targets(network: Network) -> list[Sshd]:
    open_ones = [network.sshd(place, "AllowStreamLocalForwarding local").start() for place in network.targets]
    for place in network.targets:
        network.sshd(place, "AllowStreamLocalForwarding no", port=LOCKED).start()
    return open_ones


@pytest.fixture(autouse=True)
def _nothing_left(network: Network) -> Iterator[None]:
    yield
    assert ours(network) == []
    assert folders(network) == []


def folders(network: Network) -> list[str]:
    """Private folders of this network's operator that are still there."""
    return [path.name for path in network.folder.glob("gpu-cockpit-ssh-*")]


def ours(network: Network) -> list[str]:
    """ssh clients of this network's operator that still run."""
    found = []
    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] == "ssh" and str(network.folder) in " ".join(process.info["cmdline"] or ()):
            found.append(f"{process.pid}: {process.info['cmdline']}")
    return found


def ask(network: Network, file: Path, *words: str) -> tuple[int, Any]:
    answer = network.operator("gpu-cockpit", "--fleet", str(file), *BINARY, *words, "--json")
    assert "Traceback" not in answer.stderr, answer.stderr
    assert answer.stdout, answer.stderr
    return answer.returncode, json.loads(answer.stdout)


def test_the_answers_are_those_of_our_own_ssh(
    network: Network, fleet: Path, bastion: Sshd, targets: list[Sshd]
) -> None:
    know(network)
    file = fleet_file(network, fleet)
    for _ in eventually("every replica is found and ready"):
        status, document = ask(network, file, "status")
        assert status == 0, document
        if document["replicas"]["ready"] == document["replicas"]["expected"] == 6:
            break
    own = network.operator("gpu-cockpit", "--fleet", str(file), "status", "--json")
    assert unchanging(document) == unchanging(json.loads(own.stdout))
    assert document["hosts"]["live"] == 2


@pytest.mark.more
def test_where_sockets_are_not_forwarded_the_bridge_is_used(
    network: Network, fleet: Path, bastion: Sshd, targets: list[Sshd]
) -> None:
    know(network)
    status, document = ask(network, fleet_file(network, fleet, port=LOCKED, name="locked.toml"), "hosts")
    assert (status, [item["link"] for item in document["items"]]) == (0, ["live", "live"]), document


@pytest.mark.parametrize(
    ("keys", "identity", "link", "says"),
    [
        ({"n1": "stranger"}, "oncall", "key_changed", "the host key has CHANGED"),
        ({"n1": ""}, "oncall", "denied", "does not know its host key"),
        ({"bast": "stranger"}, "oncall", "key_changed", "bast (root@10.77.1.1:2222): SECURITY"),
        ({}, "stranger", "denied", "bast (root@10.77.1.1:2222): root@10.77.1.1: Permission denied (publickey)."),
    ],
)
def test_what_ssh_says_becomes_the_state_of_the_link(
    network: Network,
    fleet: Path,
    bastion: Sshd,
    targets: list[Sshd],
    keys: dict[str, str],
    identity: str,
    link: str,
    says: str,
) -> None:
    know(network, **keys)
    file = fleet_file(network, fleet, name="says.toml")
    file.write_text(file.read_text().replace('identity = "oncall"', f'identity = "{identity}"'))
    _, document = ask(network, file, "hosts")
    silent = document["silent"][0]
    assert (silent["link"], says in silent["says"]) == (link, True), silent


@pytest.mark.more
def test_who_is_not_there_is_told_from_who_says_no(
    network: Network, fleet: Path, bastion: Sshd, targets: list[Sshd]
) -> None:
    know(network)
    text = fleet_file(network, fleet, name="gone.toml").read_text()
    for old, new, link, says in (
        (f'host = "{network.address("bast")}"', 'host = "10.77.1.1"\n#', "bastion_lost", "no sshd listens there"),
        ('socket = "', 'socket = "/nowhere', "agent_down", "no agent is running"),
    ):
        file = network.folder / "gone.toml"
        file.write_text(text.replace(old, new))
        if link == "bastion_lost":
            file.write_text(text.replace(f"{PORT}\n\n[[host]]", "2299\n\n[[host]]", 1))
        _, document = ask(network, file, "hosts", "--timeout", "5")
        assert (document["silent"][0]["link"], says in document["silent"][0]["says"]) == (link, True), document


def test_an_ssh_that_dies_is_started_again_and_none_outlives_its_cockpit(
    network: Network, fleet: Path, bastion: Sshd, targets: list[Sshd]
) -> None:
    know(network)
    file = fleet_file(network, fleet)
    words = [str(BIN / "gpu-cockpit"), "--fleet", str(file), *BINARY, "hosts", "--watch", "--json"]
    out = network.folder / "watch.json"
    with out.open("wb") as sink:
        process = subprocess.Popen(
            network.inside("ops", *words), stdout=sink, env=network.environment(), start_new_session=True
        )

    def links() -> list[str]:
        lines = out.read_text().splitlines()
        return [item["link"] for item in json.loads(lines[-1])["items"]] if lines else []

    try:
        for _ in eventually("both hosts are live"):
            if links() == ["live", "live"]:
                break
        victims = [int(line.split(":")[0]) for line in ours(network) if "ProxyCommand" in line]
        seen = len(out.read_text().splitlines())
        os.kill(victims[0], signal.SIGKILL)
        for _ in eventually("the loss is seen and mended"):
            gone = victims[0] not in [int(line.split(":")[0]) for line in ours(network)]
            if gone and links() == ["live", "live"] and len(out.read_text().splitlines()) > seen:
                break
        assert folders(network)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for _ in eventually("every ssh has noticed", 5):
            if not ours(network):
                break
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    status, _ = ask(network, file, "hosts")
    assert status == 0, "and the next cockpit takes the directory away"
