"""Must hold on every machine: whoever of those that act is ended by SIGKILL, wherever in a runbook, afterwards HAProxy,
systemd, the ledger and the audit say the same, nothing was done twice, and nobody who uses the pool notices.

Real processes all the way: the installed agent and root helper in their sandboxes, the command line, units, HAProxy. A
run whose helper, agent or console died is ended as an operator would: by going on with it, or by taking it back.
"""

from collections.abc import Iterator

import pytest

from tests.e2e.doomed.doom import ACTIONS, HELPER, R1, STEPS, Doom, doomed

pytestmark = [pytest.mark.lab, pytest.mark.more, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def doom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doom]:
    yield from doomed(tmp_path_factory)


@pytest.fixture(autouse=True)
def calm(doom: Doom) -> None:
    doom.ready()


@pytest.mark.parametrize("runbook", ACTIONS)
def test_the_boundaries_below_are_all_there_are(doom: Doom, runbook: str) -> None:
    told = doom.run(runbook, R1)
    assert told["state"] == "done"
    found = {step["n"]: step["action"] for step in told["steps"] if step["action"]}
    assert (found, len(told["steps"])) == (ACTIONS[runbook], STEPS[runbook])
    doom.agree(told["id"], restarts=int(runbook == "restart-replica"), drained=runbook == "drain-replica")
    if runbook == "drain-replica":
        doom.run("--roll-back", told["id"])
        doom.agree(told["id"], restarts=0)


@pytest.mark.parametrize("boundary", HELPER)
def test_a_root_helper_that_dies_in_each_action_of_a_restart(doom: Doom, boundary: str) -> None:
    with doom.dies("helper", [f"{action} {boundary}" for action in ACTIONS["restart-replica"].values()]):
        told = doom.ended(doom.run("restart-replica", R1))
    assert told["state"] == "done"
    doom.agree(told["id"], restarts=1)


@pytest.mark.parametrize("boundary", HELPER)
def test_a_root_helper_that_dies_in_a_drain_and_when_it_is_taken_back(doom: Doom, boundary: str) -> None:
    with doom.dies("helper", [f"haproxy.drain {boundary}"]):
        told = doom.ended(doom.run("drain-replica", R1))
    doom.agree(told["id"], restarts=0, drained=True)
    with doom.dies("helper", [f"haproxy.ready {boundary}"]):
        told = doom.run("--roll-back", told["id"])
    assert (told["state"] == "failed") == (boundary in HELPER[:3]), "nothing was sent so far"
    if told["state"] == "failed":
        again = doom.pool.cockpit("run", "--roll-back", told["id"], "--yes")
        assert "--resume goes on with it" in again.stderr
    told = doom.ended(told)
    doom.agree(told["id"], restarts=0)
