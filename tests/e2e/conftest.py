"""Fixtures of the end-to-end tests: one network with real sshds and one simulated fleet for a whole module."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.network import BIN, Network, eventually, require_network


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("e2e")


@pytest.fixture(scope="module")
def network(folder: Path) -> Iterator[Network]:
    """ops, bast, n1 and n2, wired but without any sshd yet."""
    require_network()
    with Network(folder) as network:
        yield network


@pytest.fixture(scope="module")
def fleet(folder: Path) -> Iterator[Path]:
    """Two simulated hosts with four GPUs each, real agents on real sockets; the folder with fleet.toml."""
    home = folder / "sim"
    with (folder / "sim.log").open("wb") as log:
        process = subprocess.Popen(
            [BIN / "gpu-cockpit-agent", "sim", "up", "--dir", home, "--hosts", "2", "--gpus", "4"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        for _ in eventually("the simulated fleet is up"):
            said = (folder / "sim.log").read_text()
            assert process.poll() is None, said
            if "READY" in said:
                break
        yield home
    finally:
        process.terminate()
        process.wait(10)
