"""Opens through a bastion that nobody waits for any more: what becomes of them, and that they are not too many."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from cockpit.link.ssh import opening
from tests.fakes.sshd import FakeSshd


class Patient(FakeSshd):
    """A bastion that connects when it is told to."""

    def __init__(self, folder: Path, user_key: asyncssh.SSHKey) -> None:
        super().__init__(folder, user_key=user_key)
        self.go = asyncio.Event()
        self.reached: list[Target] = []


class Target(asyncssh.SSHTCPSession[bytes]):
    """What stands behind the bastion."""

    def __init__(self, sshd: Patient) -> None:
        self.sshd = sshd
        self.over = asyncio.Event()

    def connection_made(self, chan: Any) -> None:
        self.sshd.reached.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.over.set()


@asynccontextmanager
async def bastion(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Patient, Any]]:
    key = asyncssh.generate_private_key("ssh-ed25519")
    sshd = Patient(folder, key)

    def requested(self: Any, *_: object) -> Any:
        async def connect() -> Any:
            await sshd.go.wait()
            return Target(sshd)

        return connect()

    monkeypatch.setattr("tests.fakes.sshd._Server.connection_requested", requested)
    async with sshd:
        (folder / "known").write_text(sshd.known_as())
        async with asyncssh.connect(
            "127.0.0.1", sshd.port, username="u", client_keys=[key], known_hosts=str(folder / "known"), config=None
        ) as connection:
            yield sshd, connection


async def given_up(connection: Any) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await opening.opened(connection, asyncssh.SSHTCPSession, "silent", 22)


async def test_an_open_that_was_given_up_is_closed_when_it_comes_about_and_tells_that_the_host_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    async with bastion(tmp_path, monkeypatch) as (sshd, connection):
        opening.answered.set(lambda: heard.append("back"))
        await given_up(connection)
        await given_up(connection)
        assert connection.get_extra_info("gpu_cockpit_given_up") == 2
        assert heard == []
        sshd.go.set()
        async with asyncio.timeout(5):
            while len(sshd.reached) < 2:
                await asyncio.sleep(0.002)
            for target in sshd.reached:
                await target.over.wait()
        assert heard == ["back", "back"]
        assert connection.get_extra_info("gpu_cockpit_given_up") == 0
        _, session = await opening.opened(connection, asyncssh.SSHTCPSession, "host", 22)
        assert isinstance(session, asyncssh.SSHTCPSession)
        assert heard == ["back", "back"], "whoever waits for it knows"


async def test_there_are_not_too_many_of_them_at_one_bastion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "GIVEN_UP", 2)
    async with bastion(tmp_path, monkeypatch) as (_, connection):
        await given_up(connection)
        await given_up(connection)
        with pytest.raises(asyncssh.ChannelOpenError, match="still under way"):
            await opening.opened(connection, asyncssh.SSHTCPSession, "silent", 22)


async def test_a_refusal_and_a_lost_bastion_reach_whoever_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bastion(tmp_path, monkeypatch) as (sshd, connection):
        waiting = asyncio.ensure_future(opening.opened(connection, asyncssh.SSHTCPSession, "silent", 22))
        await asyncio.sleep(0.02)
        await sshd.cut()
        with pytest.raises((OSError, asyncssh.Error)):
            await waiting
