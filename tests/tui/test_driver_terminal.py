"""The screens on a real pseudo terminal: one that stops reading, that answers nothing, that somebody else uses for a
while. Nothing behind the screens may notice."""

import asyncio
import fcntl
import json
import os
import signal
import struct
import sys
import termios
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agent.wire.frames import EventFrame
from agent.wire.shape import pack
from agent.wire.specs import Event, Finding, Severity
from benchmarks.terminal import QUERY_2026, QUERY_CURSOR, Terminal
from tests.fakes.agent import FakeAgent
from tests.tui.emulator import Emulator

SIZE = (120, 40)
HOLE_S = 0.6  # real seconds without a beat that a machine twice as slow as ours may have


class Watched:
    """The screens in a pty, two fake agents, and what their loop noted."""

    def __init__(self, terminal: Terminal, log: Path, agents: list[FakeAgent]) -> None:
        self.terminal, self.log, self.agents = terminal, log, agents

    def beats(self, since: float = 0.0) -> list[dict[str, Any]]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line for line in map(json.loads, lines) if line["at"] >= since]

    async def read(self, seconds: float) -> None:
        await asyncio.to_thread(self.terminal.drain, seconds)

    async def until(self, what: str, deadline: float = 15.0) -> None:
        """Read until the last beat holds it."""
        async with asyncio.timeout(deadline):
            while not (self.beats() and eval(what, {}, self.beats()[-1])):
                await self.read(0.05)

    def hole(self, since: float) -> float:
        """The longest time without a beat from `since` to now."""
        at = [since, *(beat["at"] for beat in self.beats(since)), time.monotonic()]
        return max(after - before for before, after in pairwise(at))

    def screen(self) -> str:
        """What stands on the terminal, from all bytes so far."""
        emulator = Emulator(*SIZE)
        text = self.terminal.text.decode("utf-8", "replace")
        for odd in ("\x1b[?2026$p", "\x1b[?2048$p", "\x1b[>25u", "\x1b[<u"):
            text = text.replace(odd, "")
        emulator.feed(text)
        return emulator.text()


@asynccontextmanager
async def watched(folder: Path, **options: Any) -> AsyncIterator[Watched]:
    async with FakeAgent(folder / "0.sock") as one, FakeAgent(folder / "1.sock", interval_s=0.5) as two:
        lines = [f'[[host]]\nname = "n{at}"\naddress = "unix://{folder}/{at}.sock"\ngpus = 2' for at in (0, 1)]
        (folder / "fleet.toml").write_text("\n".join(lines))
        command = [sys.executable, "-m", "tests.tui.watched", str(folder / "fleet.toml"), str(folder / "log")]
        with Terminal(command, *SIZE, **options) as terminal:
            held = Watched(terminal, folder / "log", [one, two])
            await held.until("live == 2")
            await held.read(0.3)
            yield held


def finding(seq: int) -> EventFrame:
    found = Finding(
        id=f"f{seq}",
        rule="host.test",
        severity=Severity.WARNING,
        subject="host",
        text=f"trouble number {seq}",
        since=time.time(),
        updated=time.time(),
    )
    return EventFrame(
        Event(seq, time.time(), 1.0, "finding", "host", Severity.WARNING, found.text, {"finding": pack(found)})
    )


async def stalled(held: Watched, seconds: float) -> None:
    """Nobody reads the terminal for so long; findings keep coming, and keys too."""
    started, seq = time.monotonic(), 2
    for key in b"2323":
        os.write(held.terminal.fd, bytes([key]))
        await asyncio.sleep(0.1)
    while time.monotonic() - started < seconds:
        seq += 1
        sent = time.monotonic()
        held.agents[0].send(finding(seq))
        os.write(held.terminal.fd, b"231"[seq % 3 :][:1])
        await asyncio.sleep(0.5)
        known = [beat["at"] - sent for beat in held.beats(sent) if beat["findings"] >= seq - 2]
        assert known, f"finding {seq} is not known after 0.5 s"
    assert held.hole(started) < HOLE_S
    assert all(beat["live"] == 2 for beat in held.beats(started))


async def test_a_terminal_that_stops_reading_delays_no_finding_and_no_link_and_then_shows_it_all(
    tmp_path: Path,
) -> None:
    async with watched(tmp_path) as held:
        await stalled(held, 3.0)
        os.write(held.terminal.fd, b"1")
        await held.read(1.5)
        assert "trouble number" in held.screen()
        assert held.screen().splitlines()[0].startswith("  1 Situation")


@pytest.mark.more
async def test_a_terminal_that_stops_reading_for_a_minute_delays_no_finding_and_no_link(tmp_path: Path) -> None:
    async with watched(tmp_path) as held:
        await stalled(held, 60.0)
        os.write(held.terminal.fd, b"1")
        await held.read(2)
        assert "trouble number" in held.screen()


async def test_leaving_a_terminal_that_does_not_read_is_quick_and_restores_it(tmp_path: Path) -> None:
    async with watched(tmp_path) as held:
        for key in b"2323232312":
            os.write(held.terminal.fd, bytes([key]))
            await asyncio.sleep(0.1)
        os.write(held.terminal.fd, b"\x03")
        started = time.monotonic()
        while held.terminal.process.poll() is None and time.monotonic() - started < 5:
            await asyncio.sleep(0.05)
        assert held.terminal.process.returncode == 0
        await held.read(0.2)
        last = held.terminal.text[-300:]
        for sequence in (b"\x1b[0m", b"\x1b[?1003l", b"\x1b[?2004l", b"\x1b[?1049l", b"\x1b[?25h"):
            assert sequence in last
        assert last.rindex(b"\x1b[0m") < last.index(b"\x1b[?1049l")


async def test_a_signal_to_end_restores_the_terminal_and_leaves_no_reply_for_the_shell(tmp_path: Path) -> None:
    async with watched(tmp_path) as held:
        for key in b"2312":
            os.write(held.terminal.fd, bytes([key]))
            await held.read(0.1)
        os.kill(held.terminal.process.pid, signal.SIGTERM)
        await held.read(1.5)
        assert held.terminal.process.poll() == 128 + signal.SIGTERM
        text = held.terminal.text
        assert b"\x1b[?1049l" in text
        assert text.count(QUERY_2026) + text.count(QUERY_CURSOR) > 4
        assert b"2026;2$y" not in text  # echoed: replies that nobody took


@pytest.mark.more
async def test_a_terminal_that_answers_nothing_gets_a_picture_a_second_and_its_keys_at_once(tmp_path: Path) -> None:
    async with watched(tmp_path, answers={}) as held:
        await held.read(2.5)
        packets = []
        end = time.monotonic() + 4
        while time.monotonic() < end:
            if await asyncio.to_thread(held.terminal.read, 0.05):
                packets.append(time.monotonic())
        starts = [at for before, at in pairwise([0.0, *packets]) if at - before > 0.2]
        assert 3 <= len(starts) <= 6
        assert await asyncio.to_thread(held.terminal.key, b"2") < HOLE_S
        await held.read(0.5)
        assert " LINK" in held.screen()


@pytest.mark.more
async def test_a_terminal_that_knows_only_the_cursor_report_is_paced_by_it(tmp_path: Path) -> None:
    async with watched(tmp_path, answers={QUERY_CURSOR: b"\x1b[1;1R"}) as held:
        held.terminal.text = b""
        await held.read(1.5)
        assert held.terminal.text.count(QUERY_CURSOR) >= 2
        assert QUERY_2026 not in held.terminal.text


async def test_suspended_and_continued_it_gives_the_terminal_back_and_draws_everything_again(tmp_path: Path) -> None:
    async with watched(tmp_path) as held:
        pid = held.terminal.process.pid
        for number in (signal.SIGTSTP, signal.SIGSTOP):
            held.terminal.text = b""
            os.kill(pid, number)
            await held.read(0.6)
            assert Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
            assert (b"\x1b[?1049l" in held.terminal.text) == (number == signal.SIGTSTP)
            held.terminal.text = b""
            os.kill(pid, signal.SIGCONT)
            await held.read(1.2)
            assert b"\x1b[?1049h" in held.terminal.text
            assert held.screen().splitlines()[0].startswith("  1 Situation 2 Hosts")
        started = time.monotonic()
        assert await asyncio.to_thread(held.terminal.key, b"2") < HOLE_S
        await held.read(0.5)
        assert " LINK" in held.screen()
        assert held.hole(started) < HOLE_S


@pytest.mark.more
async def test_the_terminal_may_change_its_size(tmp_path: Path) -> None:
    async with watched(tmp_path) as held:
        held.terminal.text = b""
        fcntl.ioctl(held.terminal.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 90, 0, 0))
        os.kill(held.terminal.process.pid, signal.SIGWINCH)
        await held.read(1.0)
        for _ in range(8):  # beside the other long proofs the machine is slow
            lines = held.screen().splitlines()
            if "? help" in lines[29]:
                break
            await held.read(0.5)
        assert lines[0].startswith("  1 Situation")
        assert "? help" in lines[29]
        assert all(len(line) <= 90 for line in lines)
