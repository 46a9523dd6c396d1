"""The filter language and sorting: what passes, what is refused, and in which words."""

import numpy as np
import pytest

from cockpit.errors import UsageError
from cockpit.fleet.query import parse_filter, sort_order
from cockpit.fleet.records import FleetEvent
from cockpit.fleet.state import Fleet
from tests.cockpit.fleets import mixed


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return mixed()[0]


def hosts_of(fleet: Fleet, text: str) -> list[str]:
    mask = parse_filter(text, ["site"]).hosts(fleet)
    return [record.name[4:] for record, passes in zip(fleet.hosts, mask, strict=True) if passes]


def gpus_of(fleet: Fleet, text: str) -> list[str]:
    mask = parse_filter(text, ["site"]).gpus(fleet)
    table = fleet.gpus
    return [f"{fleet.hosts[table.host[row]].name[4:]}/{table.index[row]}" for row in np.flatnonzero(mask)]


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("", ["a01", "a02", "b01"]),
        ("/pool:prod", ["a01", "a02"]),
        ("pool:dev,prod", ["a01", "a02", "b01"]),
        ("host:gpu-a*", ["a01", "a02"]),
        ("host:GPU-A01", ["a01"]),
        ("!pool:prod", ["b01"]),
        ("-pool:prod", ["b01"]),
        ("fault", ["a01", "a02", "b01"]),
        ("critical", ["a01"]),
        ("severity>=warning severity!=critical", ["a02", "b01"]),
        ("lost", ["a01"]),
        ("state:lost", ["a01"]),
        ("!state:lost", ["a02", "b01"]),
        ("unreachable", ["b01"]),
        ("link:live", ["a01", "a02"]),
        ("temp>80", ["a02"]),
        ("temp>80 pool:dev", []),
        ("user:alice", []),
        ("user:b*", ["a02"]),
        ("rule:xid.*", ["a01"]),
        ("text:*slows*", ["a02"]),
        ("expected>=4", ["a01", "a02"]),
        ("present=7", ["a01"]),
        ("rack:r9", ["b01"]),
        ("label.rack:r9", ["b01"]),
        ("site:x", ["a01", "a02", "b01"]),
        ("b01", ["b01"]),
    ],
)
def test_hosts_that_pass(fleet: Fleet, text: str, hosts: list[str]) -> None:
    assert hosts_of(fleet, text) == hosts


@pytest.mark.parametrize(
    ("text", "gpus"),
    [
        ("/pool:prod temp>80 fault", ["a02/1"]),
        ("temp>=93C", ["a02/1"]),
        ("gpu.temperature>90", ["a02/1"]),
        ("lost", ["a01/5"]),
        ("host:gpu-b01", ["b01/0", "b01/1"]),
        ("gpu:1 pool:prod", ["a01/1", "a02/1"]),
        ("user:bob", ["a02/0", "a02/1"]),
        ("index<1", ["a01/0", "a02/0", "b01/0"]),
        ("rule:gpu.lost", ["a01/5"]),
        ("critical", ["a01/5"]),
        ("train", ["a02/0", "a02/1"]),
        ("serial:165003", ["a01/3", "a02/3"]),
        ("host:gpu-a02 !temp>80", ["a02/0", "a02/2", "a02/3"]),
        ("host:gpu-a02 temp<52", ["a02/0", "a02/2"]),
        ("util>5000%", []),
    ],
)
def test_gpus_that_pass(fleet: Fleet, text: str, gpus: list[str]) -> None:
    assert gpus_of(fleet, text) == gpus


def test_what_has_no_value_satisfies_no_comparison(fleet: Fleet) -> None:
    assert gpus_of(fleet, "fan>0") == []
    assert gpus_of(fleet, "fan<=0") == []


def test_events_findings_and_processes_are_filtered_by_the_same_words(fleet: Fleet) -> None:
    def events(text: str) -> list[str]:
        passed: list[FleetEvent] = parse_filter(text).events(fleet, fleet.events)
        return [entry.event.text for entry in passed]

    assert events("xid:13") == events("kind:xid") == events("temp>80") == events("pool:prod") == ["XID 13 graphics"]
    assert events("user:bob") == ["XID 13 graphics"]
    assert events("!xid:13") == events("kind:link") == ["gpu-b01: no answer for 6 s"]
    assert events("!xid:13 pool:prod") == events("lost") == []
    found = parse_filter("rule:gpu.*").findings(fleet, fleet.findings())
    assert [entry.finding.rule for entry in found] == ["gpu.lost"]
    processes = [(record.number, item) for record in fleet.hosts for item in record.processes]
    assert [item.pid for _, item in parse_filter("user:bob fault").processes(fleet, processes)] == [9]
    assert parse_filter("user:alice").processes(fleet, processes) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tmp>80", "'tmp>80'.*no column 'tmp'; did you mean 'temp'"),
        ("pol:prod", "'pol:prod'.*did you mean 'pool'"),
        ("temp>hot", "'hot' is no number"),
        ("temp>80X", "'X' is no unit"),
        ("temp>", "nothing stands after '>'"),
        ("host>gpu", "host is a word and has no order"),
        ("severity:bad", "'bad' is no severity"),
        ("severity>=warnin", "did you mean 'warning'"),
        ("host:'gpu", "quote is not closed"),
        ("!", "nothing stands after the sign"),
    ],
)
def test_a_mistake_is_named_with_the_nearest_word(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_filter(text)


def test_a_signal_that_nobody_has_is_refused_when_it_is_looked_for(fleet: Fleet) -> None:
    with pytest.raises(UsageError, match=r"no signal 'gpu.temprature'; did you mean 'gpu.temperature'"):
        parse_filter("gpu.temprature>3").gpus(fleet)


def test_what_belongs_to_events_is_refused_for_hosts(fleet: Fleet) -> None:
    with pytest.raises(UsageError, match="kind belongs to events"):
        parse_filter("kind:xid").hosts(fleet)


def test_rules_are_filtered_by_what_rules_have() -> None:
    rule = {"id": "gpu.lost", "severity": "critical", "scope": "gpu", "when": "a GPU fell off the bus"}
    assert parse_filter("id:gpu.* critical !kind:host bus").rule(rule)
    assert not parse_filter("severity:warning").rule(rule)
    with pytest.raises(UsageError, match="rules have"):
        parse_filter("temp>80").rule(rule)


def test_sorting_keeps_what_has_no_value_last_either_way(fleet: Fleet) -> None:
    up = sort_order(fleet, fleet.gpus, "temp")
    down = sort_order(fleet, fleet.gpus, "temp", reverse=True)
    assert fleet.gpus.value("gpu.temperature")[down[0]] == 93.0
    assert fleet.gpus.value("gpu.temperature")[up[0]] == 10.0
    hosts = sort_order(fleet, fleet.host_table, "rack")
    assert hosts.tolist() == [2, 0, 1]
    assert sort_order(fleet, fleet.host_table, "rack", reverse=True).tolist() == [2, 0, 1]


def test_hosts_sort_by_their_worst_gpu_and_gpus_by_their_host(fleet: Fleet) -> None:
    assert sort_order(fleet, fleet.host_table, "temp", reverse=True)[0] == 1
    assert sort_order(fleet, fleet.host_table, "severity", reverse=True)[0] == 0
    assert sort_order(fleet, fleet.gpus, "pool")[0] == 12
    assert sort_order(fleet, fleet.gpus, "present", reverse=True)[0] == 0
    assert sort_order(fleet, fleet.gpus, "gpu").tolist()[:3] == [0, 8, 12]


def test_sorting_is_stable(fleet: Fleet) -> None:
    same = sort_order(fleet, fleet.gpus, "name")
    assert same.tolist() == list(range(fleet.gpus.n))


def test_an_unknown_column_is_refused_with_the_nearest(fleet: Fleet) -> None:
    with pytest.raises(UsageError, match=r"no column 'powr'.*did you mean 'power'"):
        sort_order(fleet, fleet.gpus, "powr")
