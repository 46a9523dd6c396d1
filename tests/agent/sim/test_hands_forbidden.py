"""A simulated host never holds real hands: it cannot import them, is refused them, and nothing it does leaves it."""

import ast
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agent.actions.real.world import hands
from agent.config import HostIdentity
from tests.agent.sim.theatre import CHAT, Theatre

SIM = Path(__file__).parents[3] / "agent" / "sim"
REAL = ("agent.actions.real", "agent.actuator")
OUTSIDE = frozenset({"subprocess", "ctypes", "pty", "signal"})  # what changes the machine that this runs on


class NoDoors:
    """Nobody is to knock."""

    async def post(self, replica: str, path: str, body: bytes, deadline_s: float) -> Any:
        raise AssertionError("a door was opened")


def imported(text: str) -> set[str]:
    """The modules that a source imports, at whatever depth."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return found


def real_of(modules: set[str]) -> set[str]:
    return {module for module in modules if module.startswith(REAL)}


def test_real_hands_refuse_a_simulated_host_and_take_a_real_one() -> None:
    simulated = HostIdentity("1", "gpu-a01", "boot", simulated=True)
    with pytest.raises(ValueError, match="simulated"):
        hands(simulated, NoDoors())
    assert callable(hands(HostIdentity("1", "gpu-a01", "boot"), NoDoors()))


def test_every_simulated_agent_says_that_it_is_one() -> None:
    theatre = Theatre(hosts=1)
    assert theatre.rehearsed().agent._feed.identity.simulated is True
    made = [
        node
        for path in SIM.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "HostIdentity"
    ]
    assert len(made) >= 2
    for call in made:
        assert [word.value.value for word in call.keywords if word.arg == "simulated"] == [True]  # type: ignore[attr-defined]


def test_no_part_of_the_simulation_names_the_real_ones() -> None:
    for path in SIM.rglob("*.py"):
        assert real_of(imported(path.read_text())) == set(), path
    assert real_of(imported("def f():\n    from agent.actions.real.world import hands\n")), "it would be seen"


def test_a_running_simulation_has_not_even_loaded_them() -> None:
    code = (
        "import sys, agent.sim.fleet, agent.sim.rehearsal, agent.actions.registry\n"
        "print([name for name in sys.modules if name.startswith(('agent.actions.real', 'agent.actuator'))])\n"
        "import agent.actions.real.world\n"
        "print(any(name.startswith('agent.actions.real') for name in sys.modules))\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True).stdout
    assert said.split("\n")[:2] == ["[]", "True"]


def test_hands_of_the_simulation_have_nothing_that_reaches_out_of_it() -> None:
    for path in (SIM / "hands").glob("*.py"):
        assert not imported(path.read_text()) & OUTSIDE, path
    assert imported("import subprocess") & OUTSIDE, "it would be seen"


async def test_what_is_done_to_a_simulated_host_runs_no_program_and_opens_no_socket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[str] = []
    for place, name in ((subprocess, "Popen"), (os, "kill"), (os, "posix_spawn"), (socket, "socket")):
        monkeypatch.setattr(place, name, lambda *args, told=name, **more: seen.append(told))
    theatre = Theatre(hosts=2)
    await theatre.drain("gpu-a02", "r/1")
    await theatre.act("systemd.restart", "r/2", unit=CHAT)
    await theatre.act("container.restart", "r/3", container="embed-0")
    worker = theatre.service(0, 2).replica.workers[0]
    await theatre.act("process.stop", "r/4", pid=str(worker.pid))
    theatre.pass_time(80.0)
    assert (await theatre.world().post("vllm:8000", "/pause"))[0] == 200
    assert len(theatre.kept) == 5, "and it was done"
    assert seen == []
    os.kill(os.getpid(), 0)
    assert seen == ["kill"], "it would have been seen"
