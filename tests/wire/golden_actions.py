"""Golden vectors of what acts, since minor 3: see `tests.wire.golden`."""

from agent.wire.actions import (
    Act,
    Acted,
    ActionFacts,
    ActMode,
    ActState,
    Audit,
    AuditLines,
    Chunk,
    Claim,
    Claimed,
    Fetch,
    Guard,
    Orphan,
    Out,
    ParamSpec,
    Risk,
    RunSays,
    Said,
    Wanted,
)
from agent.wire.block import pack_schema
from agent.wire.frames import Frame, Hello
from agent.wire.specs import ActionSpec, Schema, Scope

DRAIN = ActionSpec(
    "haproxy.weight", Scope.HOST, "sends it fewer requests", "weigh the server", ("backend",),
    (ParamSpec("percent", "whole", "of its configured weight", "", needed=True, low=0.0, high=100.0),), Risk.LOW,
    "the weight that it had before",
)  # fmt: skip
LINE = b'{"action":"haproxy.drain","at":1700000000.5,"by":"actuator","n":3,"what":"began"}'
ENTRY = ActionFacts(
    "1a2b3c4d/2", "haproxy.drain", "backend:edge/llm/r1", {"floor": "2"}, ActState.DONE,
    "server llm/r1 is DRAIN: 12 in flight", "eva", "ops-eva", "XID 79 on GPU 3", "1a2b3c4d", "2", "restart-replica",
    "9a180c1710f7bb6f", "23965168", 1_700_000_010.0, 1_700_000_010.25, 1_700_000_010.5,
    ("haproxy /run/haproxy/admin.sock: set server llm/r1 state drain",), {"state": "ready", "weight": "100"},
    "set server llm/r1 state ready", lease=1_700_000_130.0, on_orphan=Orphan.UNDO, overrides=("quorum",),
    parts={"bundle.tar.gz": 4096},
)  # fmt: skip

ACTIONS: dict[str, tuple[Frame, ...]] = {
    "hello-1.3": (
        Hello(
            "gpu-cockpit-agent 0.1.0", host_id="a3035ccb35056a28", host="gpu-node-01", boot_id="boot-1", epoch=7,
            minor=3, role="operator", schema_id="fedcba9876543210", schema=pack_schema(Schema((), (), (DRAIN,))),
            audit_count=9, audit_head="00" * 32, may=("haproxy.weight",),
        ),
    ),
    "act-dry": (Act(1, "dry/1", ActMode.DRY, "systemd.restart", "replica:vllm:8000", author="eva"),),
    "act-run": (
        Act(
            2, "1a2b3c4d/2", ActMode.RUN, "haproxy.drain", "backend:edge/llm/r1", {"floor": "2"}, author="eva",
            reason="XID 79 on GPU 3", run="1a2b3c4d", step="2", runbook="restart-replica", plan="9a180c1710f7bb6f",
            incident="23965168", expect={"boot": "boot-1"}, not_after=1_700_000_060.0, lease_s=120.0,
            on_orphan=Orphan.UNDO, overrides=("quorum",),
        ),
    ),
    "act-undo": (Act(3, "1a2b3c4d/2/undo", ActMode.UNDO, of="1a2b3c4d/2", author="kim"),),
    "acted": (
        Acted(
            2, ENTRY, (Guard("floor", True, "3 others are ready, the floor is 2"), Guard("killmode", False, "", True)),
            {"boot": "boot-1"}, "what runs there goes on",
        ),
    ),
    "run-begun": (
        RunSays(
            4, "1a2b3c4d/begun", "1a2b3c4d", Said.BEGUN, "eva", runbook="restart-replica", subject="replica:vllm:8000",
            plan=b"\x81\xa1n\x01", plan_hash="9a180c1710f7bb6f", reason="XID 79 on GPU 3", incident="23965168",
        ),
    ),
    "run-step": (RunSays(5, "1a2b3c4d/3", "1a2b3c4d", Said.STEP, "eva", "3", "done", "nothing in flight"),),
    "claim-lock": (Claim(6, "embed", "1a2b3c4d", Wanted.LOCK, "eva", for_s=20.0),),
    "claim-out": (Claim(7, "embed", "1a2b3c4d", Wanted.OUT, "eva", "h1/triton:8010", 180.0, 4, 3),),
    "claimed": (
        Claimed(
            7, True, "", (Out("h1/triton:8010", "1a2b3c4d", "eva", 1_700_000_190.0),), ("n1", "n2", "n3"), 3,
            1_700_000_190.0,
        ),
    ),
    "audit": (Audit(8, 3, 100),),
    "audit-lines": (AuditLines(8, 3, (LINE,), 3, "00" * 32),),
    "fetch": (Fetch(9, "1a2b3c4d/1", "bundle.tar.gz", 262_144),),
    "chunk": (Chunk(9, b"\x1f\x8b\x08", 262_147, "00" * 32),),
}  # fmt: skip
