"""Links that fall silent and come back, in real time, one host of sixty or the bastion of all: what the states say, how
soon, and who else notices."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import sixty
from tests.e2e.network import Network, Sshd
from tests.e2e.sixty import HOSTS, Watch

pytestmark = [pytest.mark.lab]

STALE_S, DOWN_S, LIVE_S, BASTION_S = 2.5, 6.0, 1.0, 15.0
LINK_WATCH_S = 1.0  # the kernel at the far end of a cable that is plugged in takes so long at most until it sends


@pytest.fixture(scope="module")
def home(network: Network, folder: Path) -> Iterator[Path]:
    """The simulated fleet; a network comes first, so that nothing starts where none can be made."""
    with sixty.simulated(folder) as home:
        yield home


@pytest.fixture(scope="module")
def bastion(network: Network) -> Iterator[Sshd]:
    sshd = network.sshd("bast", "AllowTcpForwarding local").start()
    yield sshd
    sshd.stop()


@pytest.fixture(scope="module")
def targets(network: Network) -> Iterator[tuple[Sshd, Sshd]]:
    daemons = sixty.sshds(network)
    yield daemons
    for sshd in daemons:
        sshd.stop()


@pytest.fixture(scope="module")
def watch(network: Network, home: Path, bastion: Sshd, targets: tuple[Sshd, Sshd]) -> Iterator[Watch]:
    begun = time.monotonic()
    watch = Watch(network, sixty.fleet_file(network, home))
    try:
        watch.all_live(begun, within=30)
        assert bastion.logins == 1
        assert sixty.refused(bastion, *targets) == []
        yield watch
    finally:
        watch.close()


def outage(network: Network, watch: Watch, seconds: float, slow: float = 1.0) -> str:
    """Cut one host's cable for so long, on a machine that may be `slow`; what happened when."""
    others = {host: len(watch.states(host)) for host in range(1, HOSTS)}
    cut = time.monotonic()
    network.cut("n1")
    told = ""
    if seconds > STALE_S:
        told += f"stale {watch.reaches(0, 'stale', after=cut, within=STALE_S):.2f} s, "
    if seconds >= DOWN_S:
        told += f"down {watch.reaches(0, 'unreachable', 'host_down', after=cut, within=DOWN_S):.2f} s, "
    with sixty.cable(network, "n1") as sent:
        sixty.until(cut + seconds)
        plugged = time.monotonic()
        network.mend("n1")
        live = plugged + watch.hears(plugged, within=slow * LIVE_S + LINK_WATCH_S)
    mended = min(at for at in sent if at > plugged)
    took = live - mended
    assert took <= slow * LIVE_S, f"fresh data {took:.2f} s after the mend"
    assert watch.states(0)[-1] == "live"
    assert {host: len(watch.states(host)) for host in range(1, HOSTS)} == others, "another host noticed"
    return f"outage {seconds:g} s: {told}fresh {took:.2f} s after the mend, {live - plugged:.2f} s after the plug"


def test_a_short_cut_of_one_host_is_soon_over_and_nobody_else_notices(network: Network, watch: Watch) -> None:
    print(outage(network, watch, 2, slow=2.0))


def test_a_bastion_that_dies_and_returns_is_one_alarm_and_one_login(
    watch: Watch, bastion: Sshd, targets: tuple[Sshd, Sshd]
) -> None:
    died = time.monotonic()
    bastion.stop()
    for host in range(HOSTS):
        watch.reaches(host, "bastion_lost", after=died, within=5)
        assert watch.states(host, after=died)[0] in ("stale", "bastion_lost")
    time.sleep(2)
    logins, back = bastion.logins, time.monotonic()
    bastion.start()
    took = watch.all_live(back, within=BASTION_S)
    print(f"bastion back: all {HOSTS} live after {took:.2f} s")
    assert bastion.logins - logins == 1
    assert sixty.refused(bastion, *targets) == []


@pytest.mark.more
@pytest.mark.parametrize("seconds", [2, 5, 15, 30, 60])
def test_a_host_behind_a_cut_cable_is_stale_then_down_and_live_when_it_is_mended(
    network: Network, watch: Watch, bastion: Sshd, targets: tuple[Sshd, Sshd], seconds: float
) -> None:
    time.sleep(1.5)  # whatever the outage before has shaken is at rest
    print(outage(network, watch, seconds))
    assert sixty.refused(bastion, *targets) == []


@pytest.mark.more
def test_a_bastion_behind_a_cut_cable_is_not_taken_for_its_hosts(network: Network, watch: Watch) -> None:
    cut = time.monotonic()
    network.cut("bast")
    lost = max(watch.reaches(host, "bastion_lost", after=cut, within=8) for host in range(HOSTS))
    for host in range(HOSTS):
        assert watch.states(host, after=cut)[:2] == ["stale", "bastion_lost"]
    time.sleep(5)
    mended = time.monotonic()
    network.mend("bast")
    live = watch.all_live(mended, within=BASTION_S)
    print(f"silent bastion: lost {lost:.1f} s, all live {live:.2f} s after the mend")
