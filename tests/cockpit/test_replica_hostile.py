"""Whatever an agent says of replicas, balancers and latencies: a refusal, or something that every list can show."""

import json

import pytest

from agent.wire.codec import Decoder, encode
from agent.wire.errors import WireError
from agent.wire.frames import Facts, Frame, Layout, Sample, Synced
from agent.wire.limits import FROM_AGENT_BYTES
from agent.wire.specs import Severity
from cockpit.cli import replica_items
from cockpit.fleet import rollup
from cockpit.fleet.order import need_order, sort_order
from cockpit.fleet.pools import pools
from cockpit.fleet.problems import problems
from cockpit.fleet.query import parse_filter
from cockpit.fleet.state import Fleet
from cockpit.incidents import Book
from tests.cockpit.test_fleet_state import Hostile
from tests.cockpit.test_replicas import LIVE, fleet_of, instant
from tests.fakes.hosts import EPOCH
from tests.fakes.serving import ServingHost, backend, latency


class HostileServing(Hostile):
    """Facts that are nearly right: one field of one item is anything at all."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.serving = ServingHost("gpu-bad", address="10.0.0.9")
        self.host = self.serving

    def frame(self) -> Frame:
        return self.dice.choice(
            (self.replicas, self.replicas, self.backends, self.latencies, self.addresses, self.laid_out, self.numbers,
             self.judged, lambda: Synced(0), lambda: self.host.snapshot(replicas=self.tree()))
        )()  # fmt: skip

    def replicas(self) -> Frame:
        items = self.serving.replica_facts()
        item = self.dice.choice(items)
        item[self.dice.choice(list(item))] = self.tree()
        return Facts("replicas", self.dice.choice([items, items[:2], self.tree()]))

    def backends(self) -> Frame:
        items = [backend("s1", "10.0.0.1", 8000), backend("s2", self.text(), 8000), backend("s3", "127.0.0.1", 8010)]
        item = self.dice.choice(items)
        item[self.dice.choice(list(item))] = self.tree()
        return Facts("backends", items)

    def latencies(self) -> Frame:
        told = latency([self.real() for _ in range(4)])
        told[self.dice.choice(list(told))] = self.dice.choice([self.tree(), [self.real() for _ in range(4)]])
        return Facts("latencies", {self.dice.choice(["vllm:8000", "", "x"]): {"ttft": told, "itl": latency([5, 5, 5])}})

    def addresses(self) -> Frame:
        return Facts("host", {"addresses": self.dice.choice([[self.tree()], self.tree(), ["10.0.0.1", "::1%x"]])})

    def laid_out(self) -> Layout:
        named = self.dice.sample(list(self.serving.replicas), self.dice.randrange(6))
        return self.serving.layout(replicas=[*named, self.text()])

    def numbers(self) -> Sample:
        return self.serving.numbers(EPOCH + self.dice.randrange(100), running={"vllm:8000": self.real()})

    def judged(self) -> Frame:
        ids = (*self.serving.replicas, self.text())
        return self.host.transition(
            self.serving.ill(self.dice.choice(ids), self.dice.choice(["replica.down", "replica.x", ""]), id=self.text())
        )


@pytest.mark.parametrize("seed", range(6))
def test_a_hostile_agent_ends_its_own_session_and_nothing_else(seed: int) -> None:
    bad, good = HostileServing(seed), ServingHost("gpu-good")
    fleet = fleet_of(good, bad.serving)
    refused = taken = 0
    for step in range(120):
        try:
            for arrived in Decoder(FROM_AGENT_BYTES, preamble=False).feed(encode(bad.frame())):
                fleet.apply(1, arrived, instant(step))
                taken += 1
        except WireError:
            refused += 1
            for frame in (bad.serving.hello(), bad.serving.layout()):
                fleet.apply(1, frame, instant(step))
        if step % 10 == 0:
            fleet.age(instant(step))
            fleet.link_changed(1, LIVE, instant(step))
            _everything(fleet)
    assert refused > 5
    assert taken > 5
    record = fleet.hosts[0]
    assert (record.severity, record.replicas_expected, record.replicas_present) == (Severity.OK, 5, 5)


def _everything(fleet: Fleet) -> None:
    """All that lists say, as strict JSON."""
    now = fleet.now
    found = pools(fleet, now)
    shown = [replica_items.replica(fleet, int(row), now) for row in need_order(fleet)]
    together = [replica_items.pool(fleet, one, now) for one in found]
    json.dumps([shown, together, rollup.status(fleet, now)], allow_nan=False)
    for item, row in zip(shown, need_order(fleet), strict=True):
        assert len(replica_items.replica_row(fleet, int(row), item)) == len(replica_items.REPLICA_HEADS)
    for key in ("state", "model", "ttft", "temp", "port"):
        assert len(sort_order(fleet, fleet.replicas, key)) == fleet.replicas.n
    for text in ("stuck", "engine=vllm", "pool=chat*", "gpu=1", "x", "rule=replica.*", "command=x", "waiting>1"):
        wanted = parse_filter(text)
        assert len(wanted.replicas(fleet)) == fleet.replicas.n
        assert len(wanted.gpus(fleet)) == fleet.gpus.n
        wanted.pools(fleet, found)
    problems(fleet, now)
    Book().look(fleet, now)
    fleet.backends.strangers(fleet.hosts)
