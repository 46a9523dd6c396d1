"""A good client among hostile ones, and the agent's own size: what must not change while others misbehave."""

import asyncio
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from agent.wire import limits
from agent.wire.codec import Decoder, encode
from agent.wire.frames import Ack, Bye, Error, Gap, Ping, Pong, Sample
from tests.soak import mutants

PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Good:
    """An honest cockpit. Ages are seconds from the capture of a frame's newest block to its arrival."""

    path: Path
    interval_s: float = 0.5
    ages: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    rtts: list[float] = field(default_factory=list)
    disorder: int = 0
    ended: str = ""

    async def run(self) -> None:
        """Until cancelled, or the agent ends it: then `ended` says so."""
        reader, writer = await asyncio.open_unix_connection(str(self.path), limit=1 << 20)
        decoder = Decoder(limits.FROM_AGENT_BYTES)
        writer.write(mutants.opening(interval_s=self.interval_s))
        seq, last, acked, asked = 0, 0.0, time.monotonic(), (0, 0.0)
        try:
            while data := await reader.read(65536):
                now = time.monotonic()
                for frame in decoder.feed(data):
                    if isinstance(frame, Sample):
                        self.disorder += frame.seq != seq + 1
                        seq = frame.seq
                        self.ages.append(now - max(block.at_ms for block in frame.blocks) / 1000)
                        if last:
                            self.gaps.append(now - last)
                        last = now
                    elif isinstance(frame, Pong) and frame.id == asked[0]:
                        self.rtts.append(now - asked[1])
                    elif isinstance(frame, (Error, Bye, Gap)):
                        self.ended = repr(frame)
                if now - acked > 1.0:
                    acked, asked = now, (asked[0] + 1, now)
                    writer.write(encode(Ack(0)) + encode(Ping(asked[0])))
            self.ended = self.ended or "the agent hung up"
        finally:
            writer.close()


@dataclass(frozen=True)
class Size:
    """Of a process tree: resident bytes, and descriptors of its root."""

    rss: int
    fds: int

    @classmethod
    def of(cls, pid: int) -> "Size":
        pids = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
        pages = sum(int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in pids)
        return cls(pages * PAGE, len(os.listdir(f"/proc/{pid}/fd")))


def percentile(values: list[float], share: float) -> float:
    """`share` of the values are not above it."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")
