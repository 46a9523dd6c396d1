"""The console's side among hostile agents: decoder, session, fleet, and every list and page drawn from what is left.

A round is one session of a hostile host whose real frames were bent or twisted. Only LinkError may come out of the
session and WireError out of the fleet; the good host beside it stays as it was. `python -m tests.soak.console CAPTURE
SECONDS SEED` prints one JSON object.
"""

import json
import os
import random
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from agent.wire.actions import Mark, RunFacts
from agent.wire.codec import encode
from agent.wire.errors import WireError
from agent.wire.frames import Facts, Frame, Subscribe
from agent.wire.shape import pack
from agent.wire.specs import Level
from cockpit.cli.acting import action_items
from cockpit.cli.items import ITEM
from cockpit.clock import Instant, SystemClock
from cockpit.errors import LinkError
from cockpit.fleet import rollup
from cockpit.fleet.acting import rows as acting
from cockpit.fleet.link_state import LinkState, LinkStatus
from cockpit.fleet.problems import problems
from cockpit.fleet.state import Fleet
from cockpit.fleet.unseen import unseen
from cockpit.inventory import HostEntry, UnixTarget
from cockpit.link.session import Schemas, Session
from cockpit.link.timing import Timing
from cockpit.runtime.hands import Hands
from cockpit.tui import gpu_detail, host_detail, host_rows, story
from cockpit.tui.acting import run_lines, standing
from cockpit.tui.timeline import Timeline
from cockpit.tui.view import View
from tests.soak import mutants
from tests.wire.golden_actions import ENTRY

GOOD, HOSTILE = 0, 1
DEEDS = Facts("actions", [pack(ENTRY)])
LED = Facts(
    "runs", [pack(RunFacts("1a2b3c4d", "restart-replica", "9a18", by="eva", marks=(Mark("3", "done", "idle", "eva"),)))]
)
PAGE = os.sysconf("SC_PAGE_SIZE")
MIB = 1 << 20
LOOK_EVERY = 25
WIDTH = 80


def _body(frame: Frame) -> bytes:
    """A frame without its length."""
    return encode(frame)[4:]


class Console:
    """Two hosts: one whose frames are as they were captured, one whose are not."""

    def __init__(self, capture: bytes, seed: int) -> None:
        self.bodies = [*mutants.split(capture), *map(_body, (DEEDS, LED))]
        self.seed = seed
        self.ends: Counter[str] = Counter()
        self.crashes: list[str] = []
        self.slowest_s, self.slowest_round = 0.0, 0
        self.rounds = 0
        self.clock = SystemClock()
        self.schemas = Schemas()
        self.fleet = Fleet([HostEntry(name, UnixTarget(f"/{name}"), {}, None) for name in ("good", "hostile")])
        self.hands = Hands(self)  # type: ignore[arg-type]
        self.view = View(self)  # type: ignore[arg-type]
        self.timeline = Timeline(self.view)
        self.hear(GOOD, capture)
        self.fleet.link_changed(GOOD, LinkStatus(LinkState.LIVE), self.now())
        self.before = self.known(GOOD)

    def now(self) -> Instant:
        return self.clock.now()

    def remarks(self, host: int) -> tuple[str, ...]:
        """See `Feed.remarks`."""
        return (f"host {host}: ssh_config line 1: \x1b[31mnot honoured",)

    def known(self, host: int) -> str:
        """All that is known of a host, without its age."""
        record = self.fleet.hosts[host]
        rows = [self.fleet.gpus.ids[row] for row in record.gpu_rows]
        return repr((rows, record.facts, sorted(record.findings), record.gpus_expected, record.hostname))

    def hear(self, host: int, stream: bytes, piece: int = 1 << 30) -> None:
        """A whole session. Raises LinkError or WireError where it ends."""
        session = Session("host", self.schemas, Subscribe(Level.DETAIL, 1.0), Timing())
        session.start(self.now(), self.clock.real())
        for at in range(0, len(stream), piece):
            frames = session.feed(stream[at : at + piece], self.now(), self.clock.real())
            self.take(host, frames)
            session.tick(self.now(), self.clock.real())
            session.take()
            if session.ended is not None:
                raise session.ended

    def take(self, host: int, frames: list[Frame]) -> None:
        for frame in frames:
            self.fleet.apply(host, frame, self.now())

    def attack(self) -> None:
        """One round."""
        chance = random.Random(f"{self.seed} {self.rounds}")
        self.rounds += 1
        stream, piece = self.hostile(chance), chance.choice((1 << 30, 1 << 30, 4096, 777))
        began = time.process_time()
        try:
            try:
                self.hear(HOSTILE, stream, piece)
                self.ends["heard to the end"] += 1
            except LinkError as error:
                self.ends[f"link error, {error.state}"] += 1
            except WireError:
                self.ends["wire error"] += 1
            state = chance.choice((LinkState.LIVE, LinkState.STALE, LinkState.UNREACHABLE, LinkState.INCOMPATIBLE))
            self.fleet.link_changed(HOSTILE, LinkStatus(state, "said so"), self.now())
            if self.rounds % LOOK_EVERY == 0:
                self.look()
        except Exception:
            self.crashes.append(f"seed {self.seed} round {self.rounds - 1}: {traceback.format_exc()[-1500:]}")
        self.note(time.process_time() - began)

    def note(self, seconds: float) -> None:
        """The round that cost the most processor time."""
        if seconds > self.slowest_s:
            self.slowest_s, self.slowest_round = seconds, self.rounds - 1

    def hostile(self, chance: random.Random) -> bytes:
        """The good host's session, bent."""
        bodies = self.bodies[: chance.randint(3, len(self.bodies))]
        match chance.randrange(4):
            case 0:
                return mutants.bend(mutants.PREAMBLE + b"".join(map(mutants.framed, bodies)), chance)
            case 1:
                hit = chance.randrange(len(bodies))
                frames = [mutants.framed(body) for body in bodies]
                frames[hit] = mutants.twisted(bodies[hit], chance)
                return mutants.PREAMBLE + b"".join(frames)
            case 2:
                head, rest = bodies[:1], bodies[1:]
                chance.shuffle(rest)
                twisted = [mutants.twisted(body, chance) for body in rest]
                return mutants.PREAMBLE + b"".join([*map(mutants.framed, head), *twisted])
            case _:
                head = [mutants.framed(body) for body in bodies[:3]]
                own = [mutants.twisted(chance.choice(self.bodies), chance) for _ in range(20)]
                return mutants.PREAMBLE + b"".join(head + own)

    def look(self) -> None:
        """Everything that lists and pages say."""
        now = self.now()
        self.fleet.age(now)
        json.dumps(rollup.status(self.fleet, now), allow_nan=False)
        json.dumps(rollup.pools(self.fleet), default=str)
        problems(self.fleet, now)
        json.dumps(self.items(now), allow_nan=False)
        for record in self.fleet.hosts:
            host_rows.host_words(self.view, record)
            host_detail.head_lines(self.view, record, WIDTH)
            story.host_story(record)
            for row in record.gpu_rows[:4]:
                gpu_detail.gpu_lines(self.view, row, WIDTH, self.timeline)
                story.gpu_story(self.fleet, row, now.wall)
        for problem in problems(self.fleet, now):
            story.facts_of(self.fleet, problem, now.wall)
        standing.status(self.view)
        for run in self.hands.runs():
            run_lines.run_lines(run, now.wall, WIDTH, unfolded=True)
        acted = [action_items.action(self.fleet, one, now) for one in acting.actions(self.fleet)]
        json.dumps([*acted, *(action_items.run(self.fleet, one, now) for one in acting.runs(self.fleet))])

    def items(self, now: Instant) -> list[Any]:
        fleet = self.fleet
        processes = [(record.number, process) for record in fleet.hosts for process in record.processes]
        entries: dict[str, list[Any]] = {
            "hosts": list(fleet.hosts),
            "gpus": [*(row for record in fleet.hosts for row in record.gpu_rows), *unseen(fleet)],
            "processes": processes,
            "findings": fleet.findings(),
            "events": list(fleet.events)[-50:],
        }
        return [ITEM[name](fleet, entry, now) for name, found in entries.items() for entry in found]


def run(capture: bytes, seconds: float, seed: int) -> dict[str, Any]:
    """As many rounds as fit; what came of them."""
    console = Console(capture, seed)
    end, warm = time.monotonic() + seconds, time.monotonic() + seconds / 5
    sizes: list[int] = []
    while time.monotonic() < end and len(console.crashes) < 5:
        console.attack()
        if console.rounds % 200 == 0 and time.monotonic() > warm:
            sizes.append(_resident())
    return {
        "rounds": console.rounds,
        "crashes": len(console.crashes),
        "first_crash": (console.crashes or [""])[0],
        "ends": dict(console.ends),
        "good_host_untouched": console.known(GOOD) == console.before,
        "slowest_round": console.slowest_round,
        "slowest_round_ms": round(console.slowest_s * 1e3, 1),
        "growth_mib": round((max(sizes) - sizes[0]) / MIB, 2) if sizes else 0.0,
        "rss_mib": round(_resident() / MIB, 1),
    }


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]).read_bytes(), float(sys.argv[2]), int(sys.argv[3]))))
