"""The console through a real OpenSSH bastion: the same answers, and one sentence where the way is barred."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.network import PORT, Network, Sshd, eventually

pytestmark = pytest.mark.lab

LOCKED = 2223


@pytest.fixture(scope="module")
def bastion(network: Network) -> Iterator[Sshd]:
    """Lets through to the targets' sshds and does nothing else."""
    ways = " ".join(f"{network.address(place)}:{port}" for place in network.targets for port in (PORT, LOCKED))
    sshd = network.sshd(
        "bast",
        "AllowTcpForwarding local",
        f"PermitOpen {ways}",
        "AllowStreamLocalForwarding no",
        "ForceCommand /bin/false",
    ).start()
    yield sshd
    sshd.stop()


@pytest.fixture(scope="module")
def targets(network: Network) -> list[Sshd]:
    return [network.sshd(place, "AllowStreamLocalForwarding local").start() for place in network.targets]


def fleet_file(network: Network, fleet: Path, *, port: int = PORT, name: str = "ssh.toml") -> Path:
    """The simulated fleet, each host behind its own sshd behind the bastion."""
    simulated = tomllib.loads((fleet / "fleet.toml").read_text())
    lines = [
        f"[clock]\nepoch = {simulated['clock']['epoch']!r}\nspeed = {simulated['clock']['speed']!r}",
        f'[defaults]\nuser = "root"\nport = {port}\njump = "bast"\nidentity = "oncall"\nknown_hosts = "known_hosts"',
        f'[[jump]]\nname = "bast"\nhost = "{network.address("bast")}"\nport = {PORT}',
    ]
    for place, host in zip(network.targets, simulated["host"], strict=True):
        socket = host["address"].removeprefix("unix://")
        lines.append(
            f'[[host]]\nname = "{host["name"]}"\naddress = "{network.address(place)}"\nsocket = "{socket}"\n'
            f'pool = "{host["pool"]}"\nrack = "{host["rack"]}"\nrole = "{host["role"]}"\ngpus = {host["gpus"]}'
        )
    for pool, entry in simulated["pools"].items():
        lines.append(f'[pools."{pool}"]\nexpected = {entry["expected"]}\nfloor = {entry["floor"]}')
    file = network.folder / name
    file.write_text("\n\n".join(lines) + "\n")
    return file


def know(network: Network, **keys: str) -> None:
    """Write known_hosts; `n1="stranger"` has n1 known by another key, `n1=""` not at all."""
    lines = [network.known("bast", key=keys.get("bast", ""))]
    for place in network.targets:
        if keys.get(place) != "":
            lines += [network.known(place, port, keys.get(place, "")) for port in (PORT, LOCKED)]
    (network.folder / "known_hosts").write_text("".join(lines))


def ask(network: Network, file: Path, *words: str) -> tuple[int, Any]:
    """One question to the console where the operator sits: exit status and JSON."""
    answer = network.operator("gpu-cockpit", "--fleet", str(file), *words, "--json")
    assert "Traceback" not in answer.stderr, answer.stderr
    assert answer.stdout, answer.stderr
    return answer.returncode, json.loads(answer.stdout)


def unchanging(document: dict[str, Any]) -> dict[str, Any]:
    """Without what differs between two looks at the same moment of a fleet."""
    return {key: value for key, value in document.items() if key != "as_of"}


@pytest.mark.usefixtures("targets")
def test_the_same_answers_come_through_the_bastion_with_one_login_at_it(
    network: Network, fleet: Path, bastion: Sshd
) -> None:
    know(network)
    file = fleet_file(network, fleet)
    for _ in eventually("every replica is found and ready"):
        direct = ask(network, fleet / "fleet.toml", "status")
        if direct[1]["replicas"]["ready"] == direct[1]["replicas"]["expected"] == 6:
            break
    before = bastion.logins
    through = ask(network, file, "status")
    assert bastion.logins - before == 1
    assert through[0] == direct[0] == 0
    assert unchanging(through[1]) == unchanging(direct[1])
    assert through[1]["hosts"]["live"] == 2
    assert through[1]["gpus"]["present"] == 8
    same = [
        [(gpu["id"], gpu["state"], len(gpu["signals"])) for gpu in ask(network, at, "gpus")[1]["items"]]
        for at in (fleet / "fleet.toml", file)
    ]
    assert same[0] == same[1]
    assert len(same[0]) == 8


@pytest.mark.usefixtures("bastion", "targets")
def test_an_injected_fault_is_seen_through_the_bastion(network: Network, fleet: Path) -> None:
    know(network)
    file = fleet_file(network, fleet)
    host = tomllib.loads(file.read_text())["host"][0]["name"]
    done = network.operator("gpu-cockpit-agent", "sim", "inject", "--dir", str(fleet), "--host", host, "xid79", "gpu=3")
    assert done.returncode == 0, done.stderr
    for _ in eventually("the lost GPU is seen", 5.0):
        gpus = ask(network, file, "gpus")[1]["items"]
        lost = [(gpu["host"], gpu["index"], gpu["severity"]) for gpu in gpus if gpu["state"] == "lost"]
        if lost:
            break
    assert lost == [(host, 3, "critical")]
    assert network.operator("gpu-cockpit", "--fleet", str(file), "status", "--check").returncode == 2


@pytest.mark.usefixtures("bastion", "targets")
def test_a_wrong_host_key_is_refused_with_its_sentence_and_costs_nobody_else(network: Network, fleet: Path) -> None:
    know(network, n1="stranger")
    file = fleet_file(network, fleet)
    _, answer = ask(network, file, "status")
    assert (answer["hosts"]["key_changed"], answer["hosts"]["live"]) == (1, 1)
    _, hosts = ask(network, file, "hosts")
    shown = json.dumps(answer) + json.dumps(hosts)
    assert "the host key has CHANGED; it shows ssh-ed25519 SHA256:" in shown
    know(network, n1="")
    _, answer = ask(network, file, "status")
    assert (answer["hosts"]["denied"], answer["hosts"]["live"]) == (1, 1)
    assert "host key is not known: ssh-ed25519 SHA256:" in json.dumps(answer)


@pytest.mark.usefixtures("bastion")
def test_where_forwarding_is_forbidden_the_bridge_takes_over_by_itself(network: Network, fleet: Path) -> None:
    locked = [network.sshd(place, "AllowTcpForwarding no", port=LOCKED).start() for place in network.targets]
    know(network)
    status, answer = ask(network, fleet_file(network, fleet, port=LOCKED, name="locked.toml"), "status")
    assert answer["hosts"]["live"] == 2
    assert answer["gpus"]["expected"] == 8
    assert status == 0
    for sshd in locked:
        assert "Starting session: command for root" in sshd.log.read_text()
        sshd.stop()


@pytest.mark.usefixtures("targets")
def test_a_bastion_that_does_not_let_us_in_is_one_problem(network: Network, fleet: Path, bastion: Sshd) -> None:
    know(network)
    file = fleet_file(network, fleet, name="stranger.toml")
    file.write_text(file.read_text().replace('identity = "oncall"', 'identity = "stranger"'))
    before = bastion.log.read_text().count("Connection from")
    status, answer = ask(network, file, "status")
    assert status == 3
    assert answer["hosts"]["denied"] == 2
    assert "bast (root@10.77.1.1:2222): user 'root' is not let in" in json.dumps(answer)
    assert bastion.log.read_text().count("Connection from") - before == 1


@pytest.mark.usefixtures("bastion", "targets")
def test_no_agent_behind_the_socket_is_told_from_a_forbidden_one(network: Network, fleet: Path) -> None:
    know(network)
    file = fleet_file(network, fleet, name="gone.toml")
    file.write_text(file.read_text().replace(".sock", ".gone"))
    status, answer = ask(network, file, "status")
    assert status == 3
    assert answer["hosts"]["agent_down"] == 2
    assert "no agent is running" in json.dumps(answer)


def test_a_lost_bastion_is_said_and_not_waited_for(network: Network, fleet: Path) -> None:
    know(network)
    file = fleet_file(network, fleet, name="lost.toml")
    file.write_text(file.read_text().replace(f"port = {PORT}\n\n[[host]]", "port = 2299\n\n[[host]]", 1))
    status, answer = ask(network, file, "status")
    assert status == 3
    assert answer["hosts"]["bastion_lost"] == 2
    assert "bastion bast (root@10.77.1.1:2299): refuses the connection" in json.dumps(answer)


def test_a_network_of_namespaces_leaves_nothing_behind(network: Network, tmp_path: Path) -> None:
    assert network.left_behind()
    with Network(tmp_path, targets=("n1",)) as other:
        sshd = other.sshd("n1").start()
        assert any(str(tmp_path) in item for item in other.left_behind())
        assert sshd.process is not None
    assert other.left_behind() == []
    assert sshd.process is None
