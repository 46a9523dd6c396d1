"""What a simulated engine writes to the journal of its unit: the lines of a vLLM, as far as it lives through what they
tell. An engine that is wedged writes nothing, which is how one sees it in a real log."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from agent.sim.machine import Machine
from agent.sim.serving.notes import Note
from agent.sources.units.log import elsewhere
from agent.wire.requests import Lines, Log


class SimLog:
    """The journal of one machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def read(self, wish: Log, facts: Mapping[str, Any]) -> Lines:
        """The newest lines of the replica with these facts."""
        says = elsewhere(str(facts.get("id")), facts)
        if says:
            return Lines(wish.id, (), "", says)
        unit = str(facts.get("unit"))
        for engine in self._machine.engines.values():
            if engine.replica.port == facts.get("port"):
                return Lines(wish.id, tuple(lines(list(engine.notes), wish.lines)), f"the journal of {unit}", "")
        return Lines(wish.id, (), "", f"the journal has nothing of {unit}: it may write to files of its own")


def lines(notes: Sequence[Note], most: int) -> list[str]:
    """The newest of them, as `journalctl` prints them."""
    found = []
    for note in notes[-most:]:
        moment = datetime.fromtimestamp(note.at, UTC)
        stamp, short = moment.strftime("%Y-%m-%dT%H:%M:%S+0000"), moment.strftime("%m-%d %H:%M:%S")
        found.append(f"{stamp} vllm[{note.pid}]: {note.level} {short} {note.text}")
    return found
