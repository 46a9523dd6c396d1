"""PURE. What the frames of one session build on, and what a layout may ask of a table.

A plan is worked out once per layout and block; what a session said before its layout changed means nothing after.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from agent.wire.errors import WireError
from agent.wire.frames import Block
from agent.wire.specs import Finding, Schema, Scope
from cockpit.clock import Instant
from cockpit.fleet.plan import Plan
from cockpit.fleet.table import Table

# Different rows ever seen on one host. A GPU stays; replicas of batch jobs come and go under ever new names.
MOST = {Scope.HOST: 1, Scope.GPU: 256, Scope.REPLICA: 4096}
_THEM = {Scope.HOST: "hosts", Scope.GPU: "GPUs", Scope.REPLICA: "replicas"}


@dataclass(slots=True)
class Session:
    """`shift` turns the agent's monotonic seconds into ours; `early` keeps finding transitions that came before
    `synced`."""

    schema: Schema
    shift: float
    layout: int = -1
    rows: dict[Scope, list[int]] = field(default_factory=dict)
    plans: dict[tuple[int, int, int], Plan] = field(default_factory=dict)
    early: dict[str, Finding] = field(default_factory=dict)

    def laid_out(self, version: int, rows: dict[Scope, list[int]]) -> None:
        """From now on blocks are about these rows."""
        self.layout, self.rows = version, rows
        self.plans.clear()

    def take(self, tables: Mapping[Scope, Table], block: Block, now: Instant) -> bool:
        """Write one block into its table; True if some cells were not OK.

        Raises:
            WireError: its sizes do not fit the layout.
        """
        scope = block.scope
        key = (scope, block.cadence, block.level)
        plan = self.plans.get(key)
        if plan is None:
            rows = self.rows.get(scope, [])
            plan = tables[scope].plan(self.schema.signals, block.cadence, block.level, rows)
            self.plans[key] = plan
        at = block.at_ms / 1000 + self.shift
        if at > now.mono:  # nothing is captured in the future: the hello was slower than this frame
            self.shift -= at - now.mono
            at = now.mono
        if not tables[scope].write(plan, block.data, block.exceptions, at):
            return False
        for other, known in self.plans.items():  # every plan over these cells has to wipe them once
            known.marked |= other[0] == scope
        return True


def seats(table: Table, host: int, ids: Sequence[str]) -> list[int]:
    """The rows of these identities of one host, added where new.

    Raises:
        WireError: one is named twice, or there are more than a host ever has.
    """
    if len(set(ids)) < len(ids):
        raise WireError("layout: a row is named twice")
    new = sum(table.row(host, identity) is None for identity in ids)
    most = MOST[table.scope]
    if new and new + np.count_nonzero(table.host == host) > most:
        raise WireError(f"layout: more than {most} {_THEM[table.scope]} on one host")
    return table.rows(host, ids)
