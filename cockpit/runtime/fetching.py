"""Bytes that an agent keeps: what an action collected, and the plans of runs. Rule: what arrives is bounded, in order,
and compared with the hash that its agent gave; a damaged file is said, never handed on as whole."""

import hashlib
from collections.abc import Callable

from agent.wire.actions import PLAN, PLAN_BYTES, Chunk, Fetch
from agent.wire.errors import WireError
from cockpit.errors import RequestError
from cockpit.runbook.packing import unpacked
from cockpit.runbook.records import Plan
from cockpit.runtime.base import DOUBT, Owner

CHUNK_S = 10.0
MOST_BYTES = 4 << 30
TRIES = 5
AGAIN_S = 1.0

Sink = Callable[[bytes], None]
Progress = Callable[[int, int], None]


async def fetch(
    owner: Owner, host: int, key: str, part: str, sink: Sink, progress: Progress | None = None, *, begun: bytes = b""
) -> int:
    """The bytes of `part` in order; how many in all. `begun`: those that were had before, which are not asked for.

    Raises:
        RequestError: it is not there, cannot be had, or arrived damaged.
    """
    had, total, digest, wanted = len(begun), len(begun) + 1, hashlib.sha256(begun), ""
    while had < total:
        chunk = await _chunk(owner, host, Fetch(0, key, part, had))
        other = (chunk.total, chunk.sha256) != (total, wanted) if wanted else chunk.total < had
        if chunk.total > MOST_BYTES or (had and other):
            raise RequestError("changed", f"{part} is another file now; fetch it again")
        total, wanted = chunk.total, chunk.sha256
        if not chunk.data and had < total:
            raise RequestError("cut", f"{part} ends after {had} of {total} bytes; fetch it again")
        digest.update(chunk.data)
        sink(chunk.data)
        had += len(chunk.data)
        if progress is not None:
            progress(had, total)
    if wanted and digest.hexdigest() != wanted:
        raise RequestError("damaged", f"{part} arrived damaged: its hash is not the one that its agent gave")
    return had


async def fetch_plan(owner: Owner, host: int, run: str, wanted: str) -> Plan:
    """The plan of a run, as the journal of one of its hosts has it.

    Raises:
        RequestError: it cannot be had.
        WireError: it is no plan, or another one.
    """
    parts: list[bytes] = []

    def take(data: bytes) -> None:
        if sum(map(len, parts)) + len(data) > PLAN_BYTES:
            raise WireError("the plan in the journal is larger than a plan")
        parts.append(data)

    await fetch(owner, host, run, PLAN, take)
    plan = unpacked(b"".join(parts), wanted)
    if plan.id != run:
        raise WireError(f"the plan in the journal is that of run {plan.id[:32]}")
    return plan


async def _chunk(owner: Owner, host: int, wish: Fetch) -> Chunk:
    """One piece, asked for again where the link was lost: to look changes nothing."""
    for number in range(TRIES):
        try:
            answer = (await owner.request(host, wish, CHUNK_S))[-1]
        except RequestError as error:
            if number == TRIES - 1 or error.code not in DOUBT | {"offline"}:
                raise
            await owner.clock.sleep(AGAIN_S)
            continue
        if isinstance(answer, Chunk):
            return answer
        break
    raise RequestError("odd", f"{owner.fleet.hosts[host].name} answers a fetch with something else; update its agent")
