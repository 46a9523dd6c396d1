"""container.* over the real root helper and a real dockerd: what docker shows is what the result says.

Each story has a container of its own and all of them are lived at the same time, once; the tests read how they ended.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.actions import container
from agent.actions.registry import BY_ID
from agent.errors import Refusal
from agent.wire.actions import ActState
from tests.agent.actions.acting import ALICE, Hand
from tests.agent.actions.executors.house import guards
from tests.fakes.actuator import actuator
from tests.fakes.dockerd import Dockerd, require_dockerd

pytestmark = pytest.mark.lab

POLICY = """
[[allow]]
actions = ["container.*"]
runtime = "docker"
socket = "{socket}"
containers = ["v-*"]
"""
CHECKED = ("--health-cmd", "test ! -f /state/sick", "--health-interval", "0.2s", "--health-retries", "1")
RESTART, STOP = BY_ID["container.restart"], BY_ID["container.stop"]
HOLDS = {"HOLD_S": 1.5, "STOP_HOLD_S": 0.5}  # shorter than in life: a story is to be short


@dataclass
class Told:
    """What came of each story."""

    ends: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)


@dataclass
class Scene:
    docker: Dockerd
    told: Told
    helper: Any

    def hand(self, name: str) -> Hand:
        hand = Hand(self.helper, {}, run_id=f"{abs(hash(name)) % 16**8:08x}")
        self.told.lines[name] = hand.lines
        return hand

    async def make(self, name: str, *words: str, options: tuple[str, ...] = ()) -> None:
        await asyncio.to_thread(self.docker.container, name, *words, options=options)

    async def until_up(self, name: str) -> None:
        """Its script has begun: what a signal does to it is its own doing from here on."""
        async with asyncio.timeout(10):
            while "up" not in await asyncio.to_thread(self.docker.cli, "logs", name):
                await asyncio.sleep(0.05)


async def _graceful(scene: Scene) -> None:
    await scene.make("v-graceful")
    await scene.until_up("v-graceful")
    scene.told.ends["graceful"] = await scene.hand("graceful").do(RESTART, "container:v-graceful")


async def _hasty(scene: Scene) -> None:
    await scene.make("v-hasty")
    await scene.until_up("v-hasty")
    scene.told.ends["hasty"] = await scene.hand("hasty").do(RESTART, "container:v-hasty", params={"grace_s": "0"})


async def _stubborn(scene: Scene) -> None:
    await scene.make("v-stubborn", "/stubborn.sh")
    await scene.until_up("v-stubborn")
    hand = scene.hand("stubborn")
    scene.told.ends["stubborn"] = await hand.do(STOP, "container:v-stubborn", params={"grace_s": "1"})
    scene.told.ends["stopped"] = scene.docker.inspect("v-stubborn")["State"]
    inverse = STOP.inverse(scene.told.ends["stubborn"][1])
    assert inverse is not None
    scene.told.ends["back"] = await hand.do(BY_ID[inverse[0]], "container:v-stubborn", params=inverse[1])


async def _checked(scene: Scene, name: str) -> Path:
    """A container with a health check that is content; where its state lies."""
    state = scene.docker.folder / f"{name}-state"
    state.mkdir()
    await scene.make(name, options=(*CHECKED, "-v", f"{state}:/state"))
    await asyncio.to_thread(scene.docker.until, "it is healthy", name, _is_healthy)
    return state


def _is_healthy(found: dict[str, Any]) -> bool:
    return bool(found["State"]["Health"]["Status"] == "healthy")


async def _healthy(scene: Scene) -> None:
    await _checked(scene, "v-healthy")
    scene.told.ends["healthy"] = await scene.hand("healthy").do(RESTART, "container:v-healthy", params={"grace_s": "2"})


async def _sick(scene: Scene) -> None:
    state = await _checked(scene, "v-sick")
    (state / "sick").touch()
    scene.told.ends["sick"] = await scene.hand("sick").do(RESTART, "container:v-sick", params={"grace_s": "2"})


async def _brief(scene: Scene) -> None:
    await scene.make("v-brief", "/brief.sh")
    scene.told.ends["brief"] = await scene.hand("brief").do(RESTART, "container:v-brief")


async def _shell(scene: Scene) -> None:
    await scene.make("v-shell", "/bin/sh", "-c", "echo up; sleep 100; echo never")
    await scene.until_up("v-shell")
    hand = scene.hand("shell")
    scene.told.ends["shell"] = await hand.plan(STOP, "container:v-shell", params={"grace_s": "1"})
    await scene.make("v-exec", "/bin/sh", "-c", "exec sleep 100")
    scene.told.ends["exec"] = await hand.plan(STOP, "container:v-exec", params={"grace_s": "1"})


async def _changed(scene: Scene) -> None:
    await scene.make("v-changed")
    hand = scene.hand("changed")
    before = await hand.plan(RESTART, "container:v-changed")
    await asyncio.to_thread(scene.docker.cli, "restart", "-t", "0", "v-changed")
    wish = hand.wish("container.restart", "container:v-changed", expect=dict(before.expect))
    found = await RESTART.preflight(wish, ALICE, hand)
    scene.told.ends["changed"] = found
    since = scene.docker.inspect("v-changed")["State"]["StartedAt"]
    try:
        await RESTART.run(wish, ALICE, found, hand, hand.lines.append)
    except Refusal as error:
        scene.told.ends["refused"] = error
    assert scene.docker.inspect("v-changed")["State"]["StartedAt"] == since


async def _others(scene: Scene) -> None:
    await scene.make("other")
    hand = scene.hand("others")
    scene.told.ends["others"] = await hand.plan(STOP, "container:other")
    try:
        await hand.do(STOP, "container:other")
    except Refusal as error:
        scene.told.ends["denied"] = error
    try:
        await hand.plan(STOP, "container:nosuch")
    except Refusal as error:
        scene.told.ends["none"] = error


STORIES: tuple[Callable[[Scene], Coroutine[Any, Any, None]], ...] = (
    _graceful, _hasty, _stubborn, _healthy, _sick, _brief, _shell, _changed, _others,
)  # fmt: skip


@pytest.fixture(scope="module")
def told() -> Told:
    require_dockerd()
    told = Told()

    async def live(scene: Scene) -> None:
        async with asyncio.TaskGroup() as group:
            for story in STORIES:
                group.create_task(story(scene))

    with (
        pytest.MonkeyPatch.context() as patch,
        Dockerd() as docker,
        actuator(POLICY.format(socket=docker.socket)) as helper,
    ):
        for name, seconds in HOLDS.items():
            patch.setattr(container, name, seconds)
        asyncio.run(live(Scene(docker, told, helper)))
        for name in ("v-graceful", "v-hasty"):
            told.logs[name] = docker.cli("logs", name)
    return told


def test_a_restart_with_grace_lets_it_drain_and_is_another_start_of_the_same_container(told: Told) -> None:
    result, entry = told.ends["graceful"]
    assert result.state is ActState.DONE, result
    assert "no health check" in result.says
    assert told.logs["v-graceful"].split() == ["up", "draining", "bye", "up"]
    assert entry.before["running"] == "yes"


def test_a_restart_without_grace_kills_it_at_once(told: Told) -> None:
    assert told.ends["hasty"][0].state is ActState.DONE
    words = told.logs["v-hasty"].split()
    assert words.count("up") == 2
    assert "bye" not in words, "it was given time to end"


def test_a_stop_of_what_ignores_its_signal_is_killed_after_the_grace_and_says_so(told: Told) -> None:
    result, _ = told.ends["stubborn"]
    assert result.state is ActState.DONE
    assert "did not end by itself and was killed" in result.says
    assert told.ends["stopped"]["ExitCode"] == 137
    assert not told.ends["stopped"]["Running"]
    assert told.ends["back"][0].state is ActState.DONE


def test_healthy_after_a_restart_is_done_and_unhealthy_is_failed(told: Told) -> None:
    assert told.ends["healthy"][0].state is ActState.DONE, told.ends["healthy"]
    assert "is healthy" in told.ends["healthy"][0].says
    assert told.ends["sick"][0].state is ActState.FAILED
    assert "unhealthy" in told.ends["sick"][0].says
    assert any("waiting" in line for line in told.lines["sick"])


def test_what_ends_again_soon_after_is_failed(told: Told) -> None:
    result, _ = told.ends["brief"]
    assert result.state is ActState.FAILED, result
    assert "exit code 3" in result.says


def test_a_shell_that_swallows_the_signal_is_warned_of_and_one_that_is_replaced_is_not(told: Told) -> None:
    assert not guards(told.ends["shell"])["signal"].ok
    assert guards(told.ends["exec"])["signal"].ok


def test_a_container_that_was_started_anew_since_the_plan_is_left_alone(told: Told) -> None:
    assert not guards(told.ends["changed"])["identity"].ok
    assert told.ends["refused"].code == "gone"


def test_what_policy_does_not_name_is_a_guard_and_a_refusal(told: Told) -> None:
    assert not guards(told.ends["others"])["policy"].ok
    assert told.ends["others"].role == ""
    assert told.ends["denied"].code == "denied"
    says = str(told.ends["none"])  # a podman without a systemd, as on this machine, cannot be asked: that is said
    assert "neither docker nor podman" in says or "podman does not answer" in says
