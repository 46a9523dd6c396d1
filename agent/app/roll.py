"""The roll of one host: which GPUs and replicas there are, told at once to all who keep rows of them.

Board, engine, witness and state must never disagree about who is owed an answer, so one place tells them.
"""

from collections.abc import Mapping
from typing import Any

from agent.app.keeping import Keeping
from agent.clock import Clock
from agent.detect import Engine
from agent.recorder import Recorder
from agent.sampler import Board, FactBook
from agent.sources.base import Batch
from agent.wire.replicas import State
from agent.wire.specs import Scope
from agent.witness import Witness

AGENT = "agent"
EXPECTED = "host.gpus.expected"
GONE = frozenset({"lost", "missing"})


class Roll:
    """`expected`: GPUs that the configuration says there are, None where it does not."""

    def __init__(
        self,
        facts: FactBook,
        clock: Clock,
        board: Board,
        engine: Engine,
        witness: Witness,
        keeping: Keeping,
        *,
        expected: int | None,
    ) -> None:
        self._facts = facts
        self._clock = clock
        self._board = board
        self._engine = engine
        self._witness = witness
        self._keeping = keeping
        self._configured = expected or 0

    def recall(self, recorder: Recorder) -> None:
        """What an earlier start knew: whose address is whose. How each GPU is will be asked anew."""
        gpus = recorder.gpus
        known = {uuid: {**facts, "state": "unknown", "reset_required": False} for uuid, facts in gpus.items()}
        self._witness.gpus(slots(gpus))
        self._engine.roster(known, self._clock.now())

    def count(self, batch: Batch) -> None:
        """How many GPUs there should be is said to every cockpit, whatever signals it subscribes to."""
        counted = batch.columns.get(EXPECTED)
        if counted and isinstance(counted[0], int):
            expected = max(counted[0], self._configured)
            self._facts.set(AGENT, {**self._facts.get(AGENT), "gpus_expected": expected or None})

    def fact(self, section: str, data: Any) -> None:
        """Take a section of facts from a source."""
        if not self._facts.set(section, data):
            return
        if section == "gpus":
            self._gpus(self._facts.get("gpus"))
            return
        if section == "replicas":
            self._replicas(self._facts.get("replicas"))
        self._engine.facts(section, self._facts.get(section))

    def _gpus(self, gpus: dict[str, dict[str, Any]]) -> None:
        rows = sorted(gpus, key=lambda uuid: (_index(gpus[uuid]), uuid))
        self._board.forget(Scope.GPU, [row for row in self._board.rows(Scope.GPU) if row not in gpus])
        self._board.know(Scope.GPU, rows, [uuid for uuid in rows if gpus[uuid].get("state") in GONE])
        self._witness.gpus(slots(gpus))
        self._engine.roster(gpus, self._clock.now())
        self._keeping.gpus(gpus)

    def _replicas(self, replicas: list[dict[str, Any]]) -> None:
        """Rows stay while a replica is on the roll; what one that is down would say is lost."""
        states = {str(one["id"]): one.get("state") for one in replicas}
        self._board.forget(Scope.REPLICA, [row for row in self._board.rows(Scope.REPLICA) if row not in states])
        down = [row for row, state in states.items() if state == State.DOWN.word]
        self._board.know(Scope.REPLICA, list(states), down)


def slots(gpus: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Which GPU is at which bus id; of several that were there, the one that is."""
    by_presence = sorted(gpus.items(), key=lambda item: item[1].get("state") == "present")
    return {facts["bus_id"]: uuid for uuid, facts in by_presence if facts.get("bus_id")}


def _index(facts: dict[str, Any]) -> int:
    index = facts.get("index")
    return index if isinstance(index, int) and index >= 0 else 1 << 30
