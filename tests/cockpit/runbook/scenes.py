"""A fleet that serves chat behind a balancer and embed without one, as frames: what plans are made of."""

from dataclasses import replace
from typing import Any

from agent.wire.actions import Acted, ActionFacts, Guard
from agent.wire.frames import Facts
from agent.wire.specs import Schema
from cockpit.clock import Instant
from cockpit.fleet.state import Fleet
from cockpit.inventory import HostEntry, PoolEntry, UnixTarget
from cockpit.runbook.expand import expand, meant
from cockpit.runbook.plan import Answer, Draft, assembled, questions
from cockpit.runbook.records import Plan
from cockpit.runbook.shelf import shelf
from tests.cockpit.test_replicas import LIVE
from tests.fakes.hosts import EPOCH
from tests.fakes.serving import SCHEMA, ServingHost, backend
from tests.fakes.town import specs

KEEPERS = ("gpu-a01", "gpu-a02", "gpu-a03")
NAMES = ("gpu-a01", "gpu-a02", "gpu-a03", "gpu-a04")


def instant(seconds: float = 0.0) -> Instant:
    return Instant(EPOCH + seconds, 100.0 + seconds)


class Place:
    """Four hosts with a vLLM (pool chat, behind lb-01) and a triton (pool embed, with keepers) each."""

    def __init__(self, **pools: PoolEntry) -> None:
        self.hosts = [ServingHost(name, 0, f"10.0.0.{at}") for at, name in enumerate(NAMES, 1)]
        for host in self.hosts:
            host.add("vllm", 8000, (), pool="chat", unit="vllm@0.service")
            host.add("triton", 8010, (), pool="embed", container="triton-0")
        self.lb = ServingHost("lb-01", 0, "10.0.0.99")
        everybody = (*self.hosts, self.lb)
        entries = [HostEntry(host.name, UnixTarget(f"/{host.name}")) for host in everybody]
        self.fleet = Fleet(entries, pools=pools or {"chat": PoolEntry(4, 2), "embed": PoolEntry(4, 2)})
        schema = Schema(SCHEMA.signals, (), tuple(spec for spec, _ in specs()))
        may = tuple(spec.id for spec, _ in specs())
        kept = [{"name": "embed", "keepers": list(KEEPERS), "floor": 2}]
        for number, host in enumerate(everybody):
            self.fleet.link_changed(number, LIVE, instant())
            hello = host.hello(EPOCH, schema, may=may, role="operator", schema_id="place")
            for frame in (hello, host.layout(), host.snapshot(pools=kept), *host.opening()[3:]):
                self.fleet.apply(number, frame, instant())
        self.balance(*(self.server(host.name) for host in self.hosts))
        self.at(0.5)

    def server(self, name: str, **more: Any) -> dict[str, Any]:
        address = next(host.address for host in self.hosts if host.name == name)
        return backend(name, address, 8000, **{"lb": "edge", "backend": "llm", **more})

    def balance(self, *servers: dict[str, Any]) -> None:
        self.fleet.apply(4, Facts("backends", list(servers)), instant())

    def at(self, seconds: float) -> None:
        self.fleet.age(instant(seconds))

    def numbers(self, seconds: float, **values: Any) -> None:
        """All replicas are read again; `values` as for `ServingHost.numbers`, of all hosts alike."""
        for number, host in enumerate(self.hosts):
            self.fleet.apply(number, host.numbers(EPOCH + seconds, **values), instant(seconds))
        self.at(seconds)

    def turn(self, name: str, identity: str, state: str, seconds: float = 1.0) -> None:
        """A replica is something else, and its agent says so."""
        number = self.fleet.numbers[name]
        host = self.hosts[number]
        host.turn(identity, state)
        self.fleet.apply(number, host.told(), instant(seconds))
        self.fleet.apply(number, host.numbers(EPOCH + seconds), instant(seconds))
        self.at(seconds)

    def row(self, name: str, identity: str = "vllm:8000") -> int:
        row = self.fleet.replicas.row(self.fleet.numbers[name], identity)
        assert row is not None
        return row

    def draft(self, runbook: str, name: str = "gpu-a01", subject: str = "replica:vllm:8000", **params: str) -> Draft:
        host, books = self.fleet.numbers[name], shelf()
        recipe = books.find(runbook, self.fleet.hosts[host].hands.specs)
        about = meant(self.fleet, recipe, host, subject)
        return Draft("1a2b3c4d", recipe, about, expand(self.fleet, books, recipe, about, params), asked_at=EPOCH)

    def plan(
        self, runbook: str, name: str = "gpu-a01", subject: str = "replica:vllm:8000",
        guards: tuple[Guard, ...] = (), **params: str,
    ) -> Plan:  # fmt: skip
        """With agents that answer every dry run alike."""
        draft = self.draft(runbook, name, subject, **params)
        answers = {}
        for step, act in questions(draft):
            before = {"state": "ready", "in_flight": "3", "queued": "0", "status": "UP"}
            entry = ActionFacts(act.key, act.action, act.subject, act.params, command=(f"do {act.action}",),
                                before=before, undo="back")  # fmt: skip
            answers[step.n] = Answer(Acted(0, entry, guards, {"boot": "b", "pid": "7"}, "it is done"))
        return assembled(replace(draft, answers=answers), self.fleet, EPOCH + 1.0)
