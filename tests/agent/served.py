"""A host with replicas on its GPUs, as the rules see it: facts when they change, numbers every five seconds."""

from dataclasses import replace
from typing import Any

from agent.detect import Transition
from agent.sources.base import Batch, Value
from agent.wire.replicas import STATE_OF, Phase, ReplicaFacts, replica_subject
from agent.wire.shape import pack
from agent.wire.specs import Cadence, Event, Finding, Quality, Scope, Severity
from tests.agent.detecting import EPOCH, Watched, uuid_of

LLM, EMBED = "vllm:8000", "triton:8010"
NUMBERS: dict[str, Value] = {
    "state": 1, "phase": 13, "running": 2, "waiting": 0, "capacity": 16, "kv.usage": 0.4, "preemptions": 0,
    "requests": 1000, "errors": 0, "shed": 0, "tokens.in": 10_000, "tokens.out": 50_000, "progress": 100_000,
    "ttft.p50": 0.1, "ttft.p99": 0.4, "itl.p50": 0.02, "itl.p99": 0.04, "e2e.p50": 1.0, "e2e.p99": 4.0,
    "queue.p50": 0.1, "queue.p95": 0.2, "e2e.mean": 1.2, "quantiles.bound": 0, "uptime": 7200.0,
}  # fmt: skip
SLOPES = {"requests": 2.0, "tokens.in": 20.0, "tokens.out": 100.0, "progress": 50.0}
DOWN = (Phase.DOWN, Phase.CRASHLOOP)


class Served(Watched):
    """`numbers[id]` are the signals of a replica without `replica.`, `grows[id]` how much they move a second,
    `told[id]` its facts. Four GPUs: an LLM on the first two, an embedder on the third; nobody on the last."""

    def __init__(self, **more: Any) -> None:
        super().__init__(4, period=5, **more)
        self.numbers = {LLM: dict(NUMBERS), EMBED: dict(NUMBERS)}
        self.grows = {LLM: dict(SLOPES), EMBED: dict(SLOPES)}
        self.spoiled: dict[tuple[str, str], Quality] = {}
        self.told = {
            LLM: known(LLM, "vllm", "chat", (100, 101), (0, 1)),
            EMBED: known(EMBED, "triton", "e5", (200,), (2,)),
        }
        for identity in self.told:
            self.tell(identity, Phase.SERVING)

    def tell(
        self, identity: str, phase: Phase, why: list[dict[str, Any]] | None = None, **more: Any
    ) -> list[Transition]:
        """It stands so from now on; the event of the change comes with it, and `why` is its evidence."""
        before = self.told[identity]
        state = STATE_OF[phase].word
        since = before.since if state == before.state else self.now.wall
        self.told[identity] = replace(before, **{"state": state, "phase": phase.word, "since": since, **more})
        self.numbers[identity].update(state=int(STATE_OF[phase]), phase=int(phase))
        self.publish()
        if state != before.state:
            data: dict[str, Any] = {
                "replica": identity,
                "from": before.state,
                "to": state,
                "phase": phase.word,
                "says": "so",
            }
            data |= {"evidence": why} if why else {}
            self.events += 1
            subject, at = replica_subject(identity), self.now
            event = Event(self.events, at.wall, at.mono, "replica", subject, Severity.INFO, "a change", data)
            self.journal.append(event)
            self.engine.event(event)
        return self.judge()

    def publish(self) -> None:
        """The section of facts, whole."""
        self.engine.facts("replicas", [pack(facts) for facts in self.told.values()])

    def retire(self, identity: str) -> list[Transition]:
        """It leaves the facts for good."""
        del self.told[identity]
        self.publish()
        return self.judge()

    def tick(self) -> None:
        """One read of what is due; of replicas each time."""
        columns: dict[str, list[Value | None]] = {
            f"replica.{name}": [self.numbers[identity].get(name) for identity in self.told] for name in NUMBERS
        }
        exceptions = {(f"replica.{name}", identity): quality for (name, identity), quality in self.spoiled.items()}
        for identity, facts in self.told.items():
            if facts.state == "down":
                lost = [name for name in columns if not name.endswith(("state", "phase"))]
                exceptions |= {(name, identity): Quality.LOST for name in lost}
        rows = tuple(self.told)
        self.engine.observe(Batch(Scope.REPLICA, Cadence.MEDIUM, self.now, rows, columns, exceptions))
        super().tick()
        for identity, slopes in self.grows.items():
            if identity in self.told and self.told[identity].state != "down":
                for name, slope in slopes.items():
                    value = self.numbers[identity][name]
                    assert value is not None
                    self.numbers[identity][name] = value + slope * self.period

    def restart(self, *, reboot: bool = False, down: float = 5.0) -> None:
        """The agent is gone for a moment; then the source says at once what it remembers of its replicas."""
        super().restart(reboot=reboot, down=down)
        self.publish()

    def found(self, rule: str) -> list[Finding]:
        """What that rule has open."""
        return [finding for finding in self.engine.open() if finding.rule == rule]


def known(identity: str, engine: str, model: str, pids: tuple[int, ...], gpus: tuple[int, ...]) -> ReplicaFacts:
    """The facts of a replica that was just found."""
    uuids = tuple(map(uuid_of, gpus))
    return ReplicaFacts(identity, engine, models=(model,), pids=pids, pool=model, gpu_map="driver", gpus=uuids)


def started(time: float) -> float:
    """A moment of the test as wall time."""
    return EPOCH + time
