"""Sixty simulated hosts behind one bastion, watched from where the operator sits: one has a cable of its own, which
can be cut, the others share a namespace and an sshd that listens on all their addresses."""

import json
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.network import BIN, PORT, Network, Sshd, eventually, sh

REPOSITORY = Path(__file__).parents[2]
HOSTS = 60


class Watch:
    """The links of a fleet file."""

    def __init__(self, network: Network, file: Path) -> None:
        self.lines: list[dict[str, Any]] = []
        self.samples: list[tuple[float, float]] = []  # of the first host: arrival, age
        self.process = subprocess.Popen(
            network.inside("ops", sys.executable, "-m", "tests.e2e.watch_links", str(file)),
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env=network.environment(),
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for text in self.process.stdout:
            line = json.loads(text)
            if "age" in line:
                self.samples.append((line["at"], line["age"]))
            else:
                self.lines.append(line)

    def states(self, host: int, after: float = 0.0) -> list[str]:
        """The states that a host went through."""
        return [line["state"] for line in list(self.lines) if line["host"] == host and line["at"] >= after]

    def count(self, state: str) -> int:
        """How many hosts are in this state."""
        last = {line["host"]: line["state"] for line in list(self.lines)}
        return list(last.values()).count(state)

    def reaches(self, host: int, *states: str, after: float, within: float) -> float:
        """Seconds after `after` at which a host got into one of these states; fails if that took too long."""
        for _ in eventually(f"host {host} is {states}: {self.lines[-3:]}", within + 20):
            for line in list(self.lines):
                if line["host"] == host and line["state"] in states and line["at"] >= after:
                    took = float(line["at"]) - after
                    assert took <= within, f"{states} after {took:.2f} s"
                    return took
        raise AssertionError

    def hears(self, after: float, within: float, young: float = 1.0) -> float:
        """Seconds after `after` at which the first host's data was fresh again: a sample no older than `young`."""
        for _ in eventually(f"fresh data: {self.samples[-3:]}", within + 20):
            took = next((at - after for at, age in list(self.samples) if at >= after and age <= young), None)
            if took is not None:
                assert took <= within, f"fresh data after {took:.2f} s"
                return took
        raise AssertionError

    def all_live(self, after: float, within: float) -> float:
        """Seconds until every host is live."""
        for _ in eventually(f"all live: {self.lines[-3:]}", within + 20):
            if self.count("live") == HOSTS:
                took = max(line["at"] for line in list(self.lines)) - after
                assert took <= within, f"all live after {took:.1f} s"
                return float(took)
        raise AssertionError

    def close(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(5)
        self._reader.join(5)
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def cable(network: Network, place: str) -> Iterator[list[float]]:
    """When frames left this place by its own cable."""
    process = subprocess.Popen(
        network.inside(place, sys.executable, "-m", "tests.e2e.watch_cable", "e0"),
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    assert process.stdout is not None
    seen = [float(process.stdout.readline())]
    reader = threading.Thread(target=lambda: seen.extend(float(line) for line in process.stdout or ()))
    reader.start()
    try:
        yield seen
    finally:
        process.kill()
        process.wait(5)
        reader.join(5)
        process.stdout.close()


@contextmanager
def simulated(folder: Path, gpus: int = 2) -> Iterator[Path]:
    """`sim up` with sixty hosts; its folder."""
    home = folder / "sixty"
    with (folder / "sixty.log").open("wb") as log:
        process = subprocess.Popen(
            [BIN / "gpu-cockpit", "sim", "up", "--dir", home, "--hosts", str(HOSTS), "--gpus", str(gpus)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        for _ in eventually("the simulated fleet is up", 60):
            assert process.poll() is None, (folder / "sixty.log").read_text()
            if "READY" in (folder / "sixty.log").read_text():
                break
        yield home
    finally:
        process.terminate()
        process.wait(10)


def fleet_file(network: Network, home: Path) -> Path:
    """The fleet file for the operator, and known_hosts beside it."""
    hosts = tomllib.loads((home / "fleet.toml").read_text())["host"]
    key = network.known("n2").split(" ", 1)[1]
    known = [network.known("bast"), network.known("n1")]
    parts = [
        f'[defaults]\nuser = "root"\nport = {PORT}\njump = "bast"\nidentity = "oncall"\nknown_hosts = "known_hosts"',
        f'[[jump]]\nname = "bast"\nhost = "{network.address("bast")}"\nport = {PORT}',
    ]
    for number, host in enumerate(hosts):
        address = network.address("n1") if number == 0 else _address(number)
        known.append(f"[{address}]:{PORT} {key}" if number else "")
        socket = host["address"].removeprefix("unix://")
        parts.append(f'[[host]]\nname = "{host["name"]}"\naddress = "{address}"\nsocket = "{socket}"')
    (network.folder / "known_hosts").write_text("".join(known))
    file = network.folder / "sixty.toml"
    file.write_text("\n\n".join(parts) + "\n")
    return file


def sshds(network: Network) -> tuple[Sshd, Sshd]:
    """That of the host with a cable of its own, and that of all others: it plays many, and is as patient as they."""
    for number in range(1, HOSTS):
        sh("ip", "-n", network.ns("n2"), "addr", "add", f"{_address(number)}/24", "dev", "e0")
    one, many = network.sshd("n1"), network.sshd("n2", "MaxStartups 500")
    many.config.write_text(many.config.read_text().replace(f"ListenAddress {network.address('n2')}\n", ""))
    return one.start(), many.start()


def refused(*daemons: Sshd) -> list[str]:
    """What these sshds say about logins that they did not take."""
    words = ("drop connection", "MaxStartups", "Failed", "Timeout before authentication")
    return [line for sshd in daemons for line in sshd.log.read_text().splitlines() if any(w in line for w in words)]


def until(moment: float) -> None:
    """Wait until then."""
    time.sleep(max(0.0, moment - time.monotonic()))


def _address(number: int) -> str:
    return f"10.77.2.{100 + number}"
