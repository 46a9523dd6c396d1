"""`fetch`: what an action collected on its host, into a file here.

Rule: nothing is replaced, what is not whole does not carry the file's name, and only its owner may read it. What a host
calls a file decides nothing about where it lands.
"""

import contextlib
import fcntl
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cockpit.cli.arguments import Arguments
from cockpit.cli.collect import CANNOT_KNOW, Look, meet
from cockpit.cli.inputs import inventory_of
from cockpit.cli.printing import emit, emit_json, plain
from cockpit.cli.progress import beside
from cockpit.cli.terminal import Terminal
from cockpit.errors import RequestError, UsageError
from cockpit.fleet.acting.rows import ActionItem
from cockpit.fleet.acting.rows import runs as all_runs
from cockpit.fleet.acting.words import entry_named, run_named
from cockpit.fleet.rollup import SCHEMA, iso
from cockpit.fleet.state import Fleet
from cockpit.inventory import did_you_mean
from cockpit.runtime import Runtime

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_AGAIN = frozenset({"changed", "damaged"})  # what was begun is of no use


def fetch(arguments: Arguments) -> int:
    """Bring it here; the exit status."""
    own = arguments.own

    async def work(runtime: Runtime, seen: Look, terminal: Terminal) -> int:
        seen.report_silent()
        if not seen.answered:
            return CANNOT_KNOW
        item, part = _meant(runtime.fleet, own["what"], own["part"])
        into = Path(own["output"]) if own["output"] else Path(_file_name(item, part))
        if into.is_dir():
            into = into / _file_name(item, part)
        had = [0, item.facts.parts[part]]
        says = lambda: f"{had[0]:,} of {had[1]:,} bytes of {plain(part)}"  # noqa: E731 - read again and again
        async with beside(runtime.clock, sys.stderr, says, lambda: terminal.asked_s):
            size = await _bring(runtime, item, part, into, had)
        if arguments.json:
            told = {"file": str(into), "bytes": size, "key": item.facts.key, "part": part}
            emit_json({"schema": SCHEMA, "as_of": iso(seen.now.wall), **told})
        else:
            emit(
                f"{plain(into)}: {size:,} bytes of {plain(part)}, collected by {plain(item.facts.key)}, as on its host"
            )
        return 0

    return meet(arguments, inventory_of(arguments), work)


def _meant(fleet: Fleet, word: str, part: str) -> tuple[ActionItem, str]:
    """The action and the part that are meant.

    Raises:
        UsageError: nothing was collected, or there are several.
    """
    if "/" in word or not any(item.facts.id.startswith(word) for item in all_runs(fleet)):
        items = [entry_named(fleet, word)]
    else:
        items = list(run_named(fleet, word).actions)
    known = [(item, name) for item in items for name in item.facts.parts]
    if not known:
        raise UsageError(f"{word} collected nothing; `gpu-cockpit run collect-diagnostics HOST` does")
    chosen = [(item, name) for item, name in known if not part or name == part]
    names = [name for _, name in known]
    if not chosen:
        raise UsageError(f"{word} has no part {part!r}{did_you_mean(part, names)}")
    if len(chosen) > 1:
        several = ", ".join(f"{item.facts.key} {name}" for item, name in chosen[:6])
        raise UsageError(f"{word} collected several: name one by its key or --part ({several})")
    return chosen[0]


def _file_name(item: ActionItem, part: str) -> str:
    """A name of ours: what a host calls it may hold anything."""
    name = part if _NAME.fullmatch(part) else "part"
    return f"{re.sub(r'[^A-Za-z0-9.-]', '-', item.facts.key)}-{name}"


async def _bring(runtime: Runtime, item: ActionItem, part: str, into: Path, had: list[int]) -> int:
    """Fetch into a file beside it, and give it its name when it is whole; what was begun of another file is begun anew.

    Raises:
        UsageError: the file is there, or cannot be written.
        RequestError: it cannot be had.
    """
    _must_be_free(into)
    with _begun(into) as (descriptor, waiting):
        try:
            size = await _rest(runtime, item, part, descriptor, had)
        except RequestError as error:
            if error.code not in _AGAIN or not os.fstat(descriptor).st_size:
                raise
            os.ftruncate(descriptor, 0)
            size = await _rest(runtime, item, part, descriptor, had)
        os.fsync(descriptor)
        _name(waiting, into)
    return size


async def _rest(runtime: Runtime, item: ActionItem, part: str, descriptor: int, had: list[int]) -> int:
    """What is missing in the file, which then is whole; its size."""

    def keep(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    def told(so_far: int, total: int) -> None:
        had[:] = [so_far, total]

    begun = _all(descriptor)
    return await runtime.hands.fetch(item.host, item.facts.key, part, keep, told, begun)


def _must_be_free(into: Path) -> None:
    if os.path.lexists(into):
        raise UsageError(f"{into} is there already, and nothing is replaced: move it away, or give another --output")


@contextmanager
def _begun(into: Path) -> Iterator[tuple[int, Path]]:
    """The file that waits for the rest, at its end; nobody else writes it meanwhile."""
    waiting = into.with_name(f"{into.name}.part")
    try:
        descriptor = os.open(waiting, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"{waiting} cannot be written ({error.strerror}); give another --output") from None
    try:
        os.fchmod(descriptor, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"{waiting} is being written by another fetch; wait for it") from None
        yield descriptor, waiting
    except OSError as error:
        raise UsageError(f"{waiting} cannot be written ({error.strerror}); what is there is kept") from None
    finally:
        os.close(descriptor)


def _all(descriptor: int) -> bytes:
    """What is there already; the file stands at its end then."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    parts = []
    while data := os.read(descriptor, 1 << 20):
        parts.append(data)
    return b"".join(parts)


def _name(waiting: Path, into: Path) -> None:
    """Give it its name; where one of that name came meanwhile, that stays."""
    try:
        os.link(waiting, into)
    except FileExistsError:
        raise UsageError(f"{into} came there meanwhile; it is whole in {waiting}") from None
    with contextlib.suppress(OSError):
        os.unlink(waiting)
