"""A link that falls silent and comes back, in real time: what the states say, how soon, and who notices."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.network import Network, Sshd, eventually
from tests.e2e.test_bastion import fleet_file, know

pytestmark = [pytest.mark.lab, pytest.mark.more]

REPOSITORY = Path(__file__).parents[2]


class Watch:
    """The links of a fleet file, watched from where the operator sits."""

    def __init__(self, network: Network, file: Path) -> None:
        self.lines: list[dict[str, Any]] = []
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
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def now(self, host: int) -> str:
        """The state of one host."""
        return next((str(line["state"]) for line in reversed(self.lines) if line["host"] == host), "")

    def reaches(self, host: int, *states: str, after: float, within: float) -> float:
        """Seconds after `after` at which a host got into one of these states; fails if that took too long."""
        for _ in eventually(f"host {host} is {states}: {self.lines[-3:]}", within + 20):
            for line in self.lines:
                if line["host"] == host and line["state"] in states and line["at"] >= after:
                    took = float(line["at"]) - after
                    assert took <= within, f"{states} after {took:.1f} s"
                    return took
        raise AssertionError

    def close(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(5)
        self._reader.join(5)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="module")
def bastion(network: Network) -> Iterator[Sshd]:
    sshd = network.sshd("bast", "AllowTcpForwarding local").start()
    yield sshd
    sshd.stop()


@pytest.fixture
def watch(network: Network, fleet: Path, bastion: Sshd) -> Iterator[Watch]:
    targets = [network.sshd(place).start() for place in network.targets]
    know(network)
    begun = time.monotonic()
    watch = Watch(network, fleet_file(network, fleet))
    try:
        for host in range(2):
            watch.reaches(host, "live", after=begun, within=10)
        yield watch
    finally:
        watch.close()
        for sshd in targets:
            sshd.stop()


@pytest.mark.parametrize("outage_s", [8, 20])
def test_a_host_behind_a_cut_cable_is_stale_then_down_and_live_when_it_is_mended(
    network: Network, watch: Watch, outage_s: float
) -> None:
    cut = time.monotonic()
    network.cut("n1")
    stale = watch.reaches(0, "stale", after=cut, within=3.6)
    down = watch.reaches(0, "unreachable", "host_down", after=cut, within=7)
    time.sleep(max(0.0, outage_s - (time.monotonic() - cut)))
    mended = time.monotonic()
    network.mend("n1")
    live = watch.reaches(0, "live", after=mended, within=5)
    print(f"outage {outage_s} s: stale {stale:.1f} s, down {down:.1f} s, live {live:.2f} s after the mend")
    assert [line["state"] for line in watch.lines if line["host"] == 1] == ["connecting", "live"]


def test_a_bastion_behind_a_cut_cable_is_not_taken_for_its_hosts(network: Network, watch: Watch) -> None:
    cut = time.monotonic()
    network.cut("bast")
    for host in range(2):
        lost = watch.reaches(host, "bastion_lost", after=cut, within=8)
        states = [line["state"] for line in watch.lines if line["host"] == host and line["at"] > cut]
        assert states[:2] == ["stale", "bastion_lost"]
    mended = time.monotonic()
    network.mend("bast")
    live = max(watch.reaches(host, "live", after=mended, within=15) for host in range(2))
    print(f"silent bastion: lost {lost:.1f} s, all live {live:.2f} s after the mend")


@pytest.mark.usefixtures("fleet")
def test_a_bastion_that_dies_and_returns_is_one_alarm_and_one_login(watch: Watch, bastion: Sshd) -> None:
    died = time.monotonic()
    bastion.stop()
    for host in range(2):
        watch.reaches(host, "bastion_lost", after=died, within=5)
    time.sleep(3)
    logins, back = bastion.logins, time.monotonic()
    bastion.start()
    took = [watch.reaches(host, "live", after=back, within=5) for host in range(2)]
    print(f"bastion back: all live after {max(took):.2f} s")
    assert bastion.logins - logins == 1
