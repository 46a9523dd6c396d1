"""Must hold on every machine: what `test_hands_kills` says of the root helper, of the console; and what nobody speaks
for any more follows `on_orphan`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.doomed.doom import R1, Doom, doomed
from tests.packaging.node import eventually

CONSOLE = [(n, state) for n in range(1, 10) for state in ("running", "done")]
ORPHAN = """
title = "drained until somebody goes on"
says = "Takes it out of its balancers, and waits for what never comes."
subjects = ["replica"]
[[steps]]
title = "take {{server}} out of rotation"
action = "haproxy.drain"
for = "servers"
lease = 3
on_orphan = "{orphan}"
[[steps]]
title = "wait until {{server}} takes requests"
wait = "server.serves"
for = "servers"
deadline = 600
"""

pytestmark = [pytest.mark.lab, pytest.mark.more, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def doom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doom]:
    yield from doomed(tmp_path_factory)


@pytest.fixture(autouse=True)
def calm(doom: Doom) -> None:
    doom.ready()


def test_a_restart_whose_consoles_die_one_after_the_other_at_each_boundary(doom: Doom) -> None:
    words, run = ("restart-replica", R1), ""
    for n, state in CONSOLE:
        run = doom.killed_at(words, n, state)
        words = ("--resume", run)
    told = doom.ended(doom.told(run))
    assert told["state"] == "done"
    doom.agree(run, restarts=1)


@pytest.mark.parametrize(("n", "state"), CONSOLE[:6])
def test_a_drain_whose_console_died_is_ended_and_taken_back_by_another(doom: Doom, n: int, state: str) -> None:
    run = doom.killed_at(("drain-replica", R1), n, state)
    told = doom.ended(doom.told(run))
    assert told["state"] == "done"
    doom.agree(run, restarts=0, drained=True)
    doom.ended(doom.run("--roll-back", run))
    doom.agree(run, restarts=0)


@pytest.mark.parametrize(("n", "state"), [(2, "running"), (2, "done"), (4, "running"), (4, "done"), (6, "running")])
def test_a_restart_whose_console_died_is_taken_back_by_another(doom: Doom, n: int, state: str) -> None:
    run = doom.killed_at(("restart-replica", R1), n, state)
    told = doom.ended(doom.run("--roll-back", run))
    assert told["state"] == "rolled-back"
    doom.agree(run, restarts=int(n >= 4))


@pytest.mark.parametrize("orphan", ["undo", "keep"])
@pytest.mark.parametrize("with_agent", [False, True], ids=["console", "console-and-agent"])
def test_a_drain_that_nobody_speaks_for_follows_on_orphan(
    doom: Doom, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, orphan: str, with_agent: bool
) -> None:
    folder = tmp_path / "gpu-cockpit/runbooks"
    folder.mkdir(parents=True)
    (folder / "left-alone.toml").write_text(ORPHAN.format(orphan=orphan))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    run = doom.killed_at(("left-alone", R1), 1, "done")
    if with_agent:
        doom.pool.node.run("systemctl", "kill", "-s", "KILL", "--kill-whom=main", "gpu-cockpit-agent.service")
        doom.ready()
    if orphan == "undo":
        for _ in eventually("it is taken back", 60):
            if doom.pool.server("r1")["status"] == "UP":
                break
        entries = doom.agree(run, restarts=0)
        assert [one["state"] for one in entries] == ["undone", "done"]
    else:
        for _ in eventually("it is told", 60):
            if "drain.orphaned" in {one["rule"] for one in doom.pool.ask("findings")}:
                break
        doom.agree(run, restarts=0, drained=True)
    doom.ended(doom.run("--roll-back", run)) if orphan == "keep" else doom.run("--abort", run)
    doom.agree(run, restarts=0)
