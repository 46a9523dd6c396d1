"""PURE. A plan as bytes, as the journals of its targets keep it, and its hash.

What comes back is from a host that may lie: it is bounded before it is unpacked, has to have its shape, and has to give
the hash that its run names. Many equal steps are long and alike, so they are packed.
"""

import hashlib
import json
import zlib
from typing import Any

from agent.wire.actions import PLAN_BYTES
from agent.wire.errors import WireError
from agent.wire.shape import pack, unpack
from cockpit.runbook.records import Plan

_MOST = 2 * 1024 * 1024  # characters of an unpacked plan
_COVERED = (
    "n", "kind", "target", "action", "params", "command", "expect", "condition", "deadline_s", "lease_s", "on_orphan",
    "group", "keep", "soft",
)  # fmt: skip


class TooLarge(Exception):
    """A plan that no journal would take."""


def hashed(plan: Plan) -> str:
    """16 hex digits over what would be done, in which order and to whom; guards and costs change by the second and
    are not covered."""
    steps = [{name: item for name, item in pack(step).items() if name in _COVERED} for step in plan.steps]
    whole = {"runbook": plan.runbook, "target": pack(plan.target), "params": plan.params, "steps": steps}
    return hashlib.sha256(_text(whole)).hexdigest()[:16]


def packed(plan: Plan) -> bytes:
    """The plan for a journal.

    Raises:
        TooLarge: it is more than a journal takes.
    """
    data = zlib.compress(_text(pack(plan)), 9)
    if len(data) > PLAN_BYTES:
        raise TooLarge
    return data


def unpacked(data: bytes, wanted: str = "") -> Plan:
    """The plan that a journal gave. `wanted`: the hash that its run names, if it names one.

    Raises:
        WireError: it is none, or another one.
    """
    try:
        unzip = zlib.decompressobj()
        text = unzip.decompress(data[:PLAN_BYTES], _MOST)
        if not unzip.eof:
            raise WireError("the plan in the journal is larger than a plan, or cut off")
        plan = unpack(Plan, json.loads(text))
    except (zlib.error, ValueError, RecursionError) as error:
        raise WireError(f"the plan in the journal cannot be read: {error}") from None
    if hashed(plan) != plan.hash or (wanted and plan.hash != wanted):
        raise WireError(f"the plan in the journal is not the one that was begun: its hash is {plan.hash[:16]}")
    return plan


def _text(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
