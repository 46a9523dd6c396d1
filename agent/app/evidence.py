"""The agent's own part of a bundle: what it reads now, what it knows, what it recorded, and how it is itself.

Everything is what sessions are told too; texts go through the redactor once more. What cannot be read says so in its
file: a bundle with a hole is worth more than none.
"""

import asyncio
import json
import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agent.app.historian import Historian
from agent.clock import Clock
from agent.errors import Refusal
from agent.recorder import Recorder
from agent.sampler import Board, FactBook
from agent.sources.processes.redact import redact_text
from agent.wire.requests import SIGNALS, History, Journal, Series
from agent.wire.signals import Quality, Scope

FOLDER = "bundles"
STEP_S = 10.0  # of the recorded signals: the tier that is kept for a day
EVENTS = 5000
_PAGE = 1000
_ROWS = 256  # of each table: GPUs and replicas


class Memory:
    """See `agent.actions.evidence`."""

    def __init__(self, clock: Clock, recorder: Recorder, facts: FactBook, board: Board, historian: Historian) -> None:
        state = recorder.state.directory
        self.directory: Path | None = state / FOLDER if state else None
        self._clock = clock
        self._recorder = recorder
        self._facts = facts
        self._board = board
        self._historian = historian

    async def parts(self, since: float, until: float) -> Mapping[str, bytes]:
        """samples.json: what every GPU, replica and the host say now; facts.json: what is known by name, processes
        among it; events.json: what happened; history.json: recorded signals; agent.json: how the agent is."""
        facts = self._facts.small()
        agent = {name: facts.pop(name, None) for name in ("agent", "reasons")}
        samples = self._samples()
        told: dict[str, Any] = {
            "samples.json": samples,
            "facts.json": {**facts, "processes": self._facts.get("processes") or []},
            "events.json": await self._events(since, until),
            "agent.json": {**agent, "signals": _own(samples)},
        }
        history = await self._history(since, until)
        # In a thread: thousands of texts are looked through, and the host is watched meanwhile.
        return await asyncio.to_thread(_files, told, history)

    def _samples(self) -> dict[str, Any]:
        now = self._clock.now()
        said: dict[str, Any] = {"as_of": now.wall}
        units = {spec.name: spec.unit for spec in self._board.signals}
        for scope in Scope:
            rows = list(self._board.latest(scope).items())[:_ROWS]
            said[scope.word] = {
                row: {
                    name: {
                        "value": value,
                        "unit": units[name],
                        "quality": quality.name.lower(),
                        "age_s": round(now.mono - at, 3) if math.isfinite(at) else None,
                    }
                    for name, (value, quality, at) in cells.items()
                }
                for row, cells in rows
            }
        return said

    async def _events(self, since: float, until: float) -> Any:
        events: list[Any] = []
        before = 0
        while len(events) < EVENTS:
            wish = Journal(0, start=since, end=until, before=before, limit=_PAGE)
            try:
                page = await self._recorder.page(wish)
            except Refusal as refusal:
                return {"events": events, "missing": str(refusal)}
            events[:0] = [{**asdict(event), "severity": event.severity.name.lower()} for event in page.events]
            if not page.more or not page.events:
                return {"events": events}
            before = page.events[0].seq
        return {"events": events, "missing": f"events before these {len(events)}: only the newest are here"}

    async def _history(self, since: float, until: float) -> Any:
        found: dict[str, Any] = {"start": since, "end": until, "step_s": STEP_S, "series": []}
        for scope in Scope:
            names = [spec.name for spec in self._board.signals if spec.scope is scope]
            for row in self._board.rows(scope)[:_ROWS]:
                for first in range(0, len(names), SIGNALS):
                    some = tuple(names[first : first + SIGNALS])
                    place = "" if scope is Scope.HOST else row
                    wish = History(0, scope, place, some, since, until, STEP_S)
                    try:
                        told = await self._historian.ask(wish)
                    except Refusal as refusal:
                        return {**found, "missing": str(refusal)}
                    found["series"] += _series(scope, row, told)
        return found


def _files(told: Mapping[str, Any], history: Mapping[str, Any]) -> dict[str, bytes]:
    return {**{name: _json(value) for name, value in told.items()}, "history.json": _lines(history)}


def _series(scope: Scope, row: str, told: Iterable[Series]) -> list[dict[str, Any]]:
    """What was recorded, from the first point that was; a signal of which nothing was is left out."""
    found = []
    for one in told:
        columns = {name: _column(getattr(one, name)) for name in ("mean", "low", "high")}
        first = next((place for place, value in enumerate(columns["mean"]) if value is not None), None)
        if first is None:
            continue
        why = {
            place: Quality(code).name.lower() for place, code in enumerate(one.why[first:]) if code in _CODES and code
        }
        head = {"scope": scope.word, "row": row, "signal": one.signal, "unit": one.unit}
        at = {"start": one.start + first * one.step_s, "step_s": one.step_s}
        found.append({**head, **at, **{name: column[first:] for name, column in columns.items()}, "why": why})
    return found


_CODES = frozenset(int(quality) for quality in Quality)


def _column(packed: bytes) -> list[float | None]:
    values = struct.unpack(f"<{len(packed) // 8}d", packed)
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values]


def _own(samples: Mapping[str, Any]) -> dict[str, Any]:
    """What the agent says of itself."""
    rows = samples[Scope.HOST.word].values()
    return {name: cell for row in rows for name, cell in row.items() if name.startswith("agent.")}


def _lines(history: Mapping[str, Any]) -> bytes:
    """One JSON object with a signal a line: it is looked for with grep as often as it is parsed."""
    head = json.dumps({name: value for name, value in history.items() if name != "series"})
    series = ",\n".join(json.dumps(_clean(one)) for one in history["series"])
    return f'{head[:-1]}, "series": [\n{series}\n]}}\n'.encode()


def _json(value: Any) -> bytes:
    return json.dumps(_clean(value), indent=1, default=str).encode()


def _clean(value: Any) -> Any:
    """Without what looks like a secret in any text, and without numbers that JSON has no word for."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return {str(name): _clean(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_clean(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return f"{len(value)} bytes" if isinstance(value, bytes) else value
