"""Golden vectors: NAME.bin is what travelled, NAME.json what it means.

Append-only: `python -m tests.wire.golden` writes those that do not exist yet and never touches one that does.
"""

import base64
import dataclasses
import json
import math
import struct
import sys
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import Any

from agent.wire import limits, version
from agent.wire.block import pack_columns, pack_exceptions, pack_schema
from agent.wire.codec import FRAMES, Decoder, encode
from agent.wire.frames import (
    Ack,
    Block,
    Bye,
    Error,
    EventFrame,
    Facts,
    Frame,
    Gap,
    Hello,
    Layout,
    Ping,
    Pong,
    Position,
    Sample,
    Snapshot,
    Subscribe,
    Synced,
)
from agent.wire.requests import Annotate, Done, History, Journal, Lines, Log, Mark, Page, Refused, Series
from agent.wire.specs import (
    ActionSpec,
    Cadence,
    Event,
    Finding,
    FindingState,
    Kind,
    Level,
    Quality,
    RuleSpec,
    Schema,
    Scope,
    Severity,
    SignalSpec,
)

FOLDER = Path(__file__).parent / "vectors"
_BY_NAME = {frame.__name__: frame for frame in FRAMES}

SIGNALS = (
    SignalSpec("gpu.utilization", Scope.GPU, Kind.GAUGE, "1", Cadence.FAST, "share of time with work", summary=0),
    SignalSpec("gpu.clock.reasons", Scope.GPU, Kind.MASK, "1", Cadence.FAST, "why clocks are low"),
    SignalSpec("gpu.energy", Scope.GPU, Kind.COUNTER, "joule", Cadence.MEDIUM, "energy since driver load", keep="long"),
    SignalSpec("host.gpus.nvml", Scope.HOST, Kind.STATE, "count", Cadence.MEDIUM, "GPUs the driver reports"),
)
SCHEMA = Schema(
    SIGNALS,
    (RuleSpec("gpu.lost", Severity.CRITICAL, Scope.GPU, "lost", "found", "NVIDIA", "none", "drain-reset", ("xid79",)),),
    (ActionSpec("gpu.reset", Scope.GPU, "reset the GPU"),),
)
XID = Event(
    1001, 1_700_000_000.25, 5000.25, "xid", "gpu:GPU-b", Severity.CRITICAL, "XID 79: GPU has fallen off the bus",
    {"xid": 79, "pid": None, "line": "NVRM: Xid (PCI:0000:0f:00): 79", "ratio": 0.5, "list": [1, True, "x"]},
)  # fmt: skip
FINDING = Finding(
    "23965168", "gpu.lost", Severity.CRITICAL, "gpu:GPU-b", "GPU 1 has fallen off the bus", 1_700_000_000.25,
    1_700_000_001.5, FindingState.OPEN, "drain-reset", 2, ({"what": "XID 79", "value": 1, "unit": "count"},),
)  # fmt: skip
BLOCKS = (
    Block(
        Scope.GPU, Cadence.FAST, Level.DETAIL, 5_000_250,
        pack_columns(SIGNALS[:2], [[0.5, None], [4, (1 << 64) - 1]]), pack_exceptions([(0xFFFF, 1, Quality.LOST)]),
    ),
    Block(Scope.HOST, Cadence.MEDIUM, Level.DETAIL, 4_999_000, pack_columns(SIGNALS[3:], [[8]])),
)  # fmt: skip

HELLO_AGENT = Hello(
    "gpu-cockpit-agent 0.1.0", wall=1_700_000_000.5, mono=5000.5, host_id="a3035ccb35056a28", host="gpu-node-01",
    boot_id="a921f3f8-2f5a-400a-9d13-0ac897c36475", epoch=281474976710655, schema_id="0123456789abcdef",
    schema=pack_schema(SCHEMA),
)  # fmt: skip
HELLO_COCKPIT = Hello("gpu-cockpit 0.1.0", have=("0123456789abcdef",), operator="kim")

SINGLE: dict[str, tuple[Frame, ...]] = {
    "hello-agent": (HELLO_AGENT,),
    "hello-cockpit": (HELLO_COCKPIT,),
    "subscribe-plain": (Subscribe(Level.SUMMARY),),
    "subscribe-resume": (Subscribe(Level.DETAIL, 0.5, Position("boot-1", 1000), snapshot=False),),
    "layout": (Layout(3, {"host": ("h1",), "gpu": ("GPU-a", "GPU-b")}),),
    "snapshot": (
        Snapshot({"labels": {"pool": "prod"}, "gpus": {"GPU-a": {"index": 0, "state": "present"}}}, (FINDING,)),
    ),
    "synced": (Synced(1001),),
    "sample": (Sample(7, 3, BLOCKS),),
    "sample-empty": (Sample(8, 3, ()),),
    "facts": (Facts("processes", [{"pid": 4242, "user": "kim", "command": "train", "gpu_memory": None}]),),
    "event": (EventFrame(XID),),
    "event-replayed": (EventFrame(dataclasses.replace(XID, seq=1002, replayed=True, data={})),),
    "gap": (Gap(5, 900, "only the newest 10000 events are kept"),),
    "ack": (Ack(1001),),
    "ping": (Ping(7),),
    "pong": (Pong(7, 1_700_000_000.75, 5000.75),),
    "error": (Error("lease", "nothing acknowledged for 15 s"),),
    "bye": (Bye("the agent is stopping"),),
    "hello-1.2": (dataclasses.replace(HELLO_COCKPIT, minor=2),),
    "log": (Log(4, "replica:vllm:8000", 100),),
    "lines": (
        Lines(
            4,
            ("2026-11-22T23:01:58+0000 n1 vllm[4242]: INFO 11-22 engine.py:9] generated 812.4 tokens/s",),
            "the journal of vllm@0.service",
        ),
    ),
    "lines-none": (
        Lines(5, (), "", "vllm:8000 runs in a container: its runtime keeps the log; try: docker logs 0f3ac1"),
    ),
    "hello-1.1": (dataclasses.replace(HELLO_COCKPIT, minor=1),),
    "snapshot-1.1": (Snapshot({}, (dataclasses.replace(FINDING, incident="1f00baa2", level=2),)),),
    "history": (History(1, Scope.GPU, "GPU-b", ("gpu.power", "gpu.energy"), 1_700_000_000.0, 1_700_001_800.0, 10.0),),
    "series": (
        Series(
            1,
            "gpu.power",
            "watt",
            1_700_000_000.0,
            10.0,
            1.0,
            2,
            struct.pack("<2d", 612.5, math.nan),
            struct.pack("<2d", 590.0, math.nan),
            struct.pack("<2d", 655.25, math.nan),
            bytes((0, Quality.LOST)),
            False,
        ),
    ),
    "journal": (
        Journal(2, start=1_700_000_000.0, before=1002, kinds=("xid", "finding"), subject="gpu:GPU-b", limit=9),
    ),
    "page": (Page(2, (XID,), True, {"1001": "boot-1"}, 17),),
    "annotate": (
        Annotate(
            3,
            "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
            Mark.SILENCE,
            "kim",
            "rack work",
            subject="gpu:GPU-b",
            rule="pcie.*",
            until=1_700_007_200.0,
        ),
    ),
    "done": (Done(3, "4bf92f35", 1003, "silenced until 2023-11-15 00:13 UTC"),),
    "refused": (Refused(3, "denied", "viewers may look only"),),
    "text-of-the-world": (Bye("größer als 100 µs, 日本語, 🚀"),),
}
FROM_COCKPIT = (HELLO_COCKPIT, Subscribe(Level.DETAIL), Ping(7), Ack(1001), Bye("the operator left"))
FROM_AGENT = (
    HELLO_AGENT,
    *(SINGLE[name][0] for name in ("layout", "snapshot", "sample", "event", "synced", "pong")),
    Facts("labels", {"pool": "prod"}),
    Gap(1002, 1010, "the reader was behind"),
    Bye("the agent is stopping"),
)  # fmt: skip


def to_json(value: Any) -> Any:
    """A frame as JSON: fields by name, bytes as base64, enums as their values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {item.name: to_json(getattr(value, item.name)) for item in dataclasses.fields(value)}
        return {"frame": type(value).__name__, **fields} if type(value).__name__ in _BY_NAME else fields
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return value


@dataclasses.dataclass(frozen=True)
class Vector:
    """One stored vector."""

    name: str
    wire: bytes
    meaning: Any

    @property
    def preamble(self) -> bool:
        return bool(self.meaning["preamble"])

    def frames(self, data: bytes | None = None) -> list[Frame]:
        decoder = Decoder(limits.FROM_AGENT_BYTES, preamble=self.preamble)
        return decoder.feed(self.wire if data is None else data)


def stored() -> list[Vector]:
    """Every vector there is."""
    return [
        Vector(path.stem, path.with_suffix(".bin").read_bytes(), json.loads(path.read_text()))
        for path in sorted(FOLDER.glob("*.json"))
    ]


def write(name: str, frames: Iterable[Frame], *, preamble: bool) -> bool:
    """Store a vector, unless there is one of that name."""
    frames = list(frames)
    target = FOLDER / f"{name}.json"
    if target.exists():
        return False
    wire = (version.PREAMBLE if preamble else b"") + b"".join(encode(frame) for frame in frames)
    target.with_suffix(".bin").write_bytes(wire)
    meaning = {"protocol": [version.MAJOR, version.MINOR], "preamble": preamble, "frames": to_json(frames)}
    target.write_text(json.dumps(meaning, indent=1, ensure_ascii=False) + "\n")
    return True


def raw(body: bytes) -> bytes:
    """A length-prefixed frame around any bytes."""
    return struct.pack(">I", len(body)) + body


def main() -> None:
    from tests.wire.golden_actions import ACTIONS

    for name, frames in {**SINGLE, **ACTIONS}.items():
        if write(name, frames, preamble=False):
            sys.stdout.write(f"new: {name}\n")
    for name, frames in (("session-from-cockpit", FROM_COCKPIT), ("session-from-agent", FROM_AGENT)):
        if write(name, frames, preamble=True):
            sys.stdout.write(f"new: {name}\n")


if __name__ == "__main__":
    main()
