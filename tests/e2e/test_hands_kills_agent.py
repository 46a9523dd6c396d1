"""Must hold on every machine: what `test_hands_kills` says of the root helper, of the agent."""

from collections.abc import Iterator

import pytest

from tests.e2e.doomed.doom import ACTIONS, AGENT, R1, Doom, doomed

pytestmark = [pytest.mark.lab, pytest.mark.more, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def doom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doom]:
    yield from doomed(tmp_path_factory)


@pytest.fixture(autouse=True)
def calm(doom: Doom) -> None:
    doom.ready()


@pytest.mark.parametrize("boundary", AGENT)
def test_an_agent_that_dies_in_each_action_of_a_restart(doom: Doom, boundary: str) -> None:
    with doom.dies("agent", [f"{n} {boundary}" for n in ACTIONS["restart-replica"]]):
        told = doom.ended(doom.run("restart-replica", R1))
    assert told["state"] == "done"
    doom.agree(told["id"], restarts=1)


@pytest.mark.parametrize("boundary", AGENT)
def test_an_agent_that_dies_in_a_drain_and_when_it_is_taken_back(doom: Doom, boundary: str) -> None:
    with doom.dies("agent", [f"2 {boundary}"]):
        told = doom.ended(doom.run("drain-replica", R1))
    doom.agree(told["id"], restarts=0, drained=True)
    with doom.dies("agent", [f"2/undo {boundary}"]):
        told = doom.ended(doom.run("--roll-back", told["id"]))
    doom.agree(told["id"], restarts=0)


def test_an_agent_and_a_root_helper_that_die_together_while_systemd_stops_the_unit(doom: Doom) -> None:
    with doom.lingering(), doom.dies("helper", ["systemd.restart going"]):
        told = doom.ended(doom.run("restart-replica", R1))
    assert told["state"] == "done"
    (restart,) = [one for one in doom.agree(told["id"], restarts=1) if one["action"] == "systemd.restart"]
    assert restart["state"] == "done"
