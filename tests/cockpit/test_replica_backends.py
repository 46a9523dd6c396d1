"""Servers of load balancers joined to replicas: by address and port, over hosts, and never to the wrong one."""

import pytest

from agent.wire.frames import Facts
from cockpit.fleet import replicas
from cockpit.fleet.serving.backends import parsed
from cockpit.fleet.state import Fleet
from tests.cockpit.test_replicas import fleet_of, instant, row_of
from tests.fakes.serving import ServingHost, backend


def two(**addresses: str) -> tuple[Fleet, ServingHost, ServingHost]:
    """gpu-a01 (10.0.0.1) and gpu-a02 (10.0.0.2) serve; lb-01 (10.0.0.9) balances and serves nothing."""
    first, second = ServingHost(), ServingHost("gpu-a02", address="10.0.0.2")
    balancer = ServingHost("lb-01", gpus=0, address="10.0.0.9")
    return fleet_of(first, second, balancer), first, second


def joins(fleet: Fleet) -> list[tuple[str, str]]:
    """(host/replica, server) of every join."""
    return [
        (f"{replicas.host_of(fleet, row).name}/{fleet.replicas.ids[row]}", found.facts.server)
        for row in range(fleet.replicas.n)
        for found in replicas.joined(fleet, row)
    ]


def balance(fleet: Fleet, *servers: dict[str, object], host: int = 2) -> list[tuple[str, str]]:
    fleet.apply(host, Facts("backends", list(servers)), instant(1))
    return joins(fleet)


@pytest.mark.parametrize(
    ("address", "port", "found"),
    [
        ("10.0.0.1", 8000, ["gpu-a01/vllm:8000"]),
        ("10.0.0.2", 8000, ["gpu-a02/vllm:8000"]),
        ("::ffff:10.0.0.2", 8000, ["gpu-a02/vllm:8000"]),
        ("gpu-a02", 8000, ["gpu-a02/vllm:8000"]),
        ("10.0.0.2", 8001, []),
        ("10.0.0.3", 8000, []),
        ("10.0.0.2", 0, []),
        ("127.0.0.1", 8000, []),  # the balancer's own host serves nothing
        ("0.0.0.0", 8000, []),
        ("", 8000, []),
        ("nonsense", 8000, []),
    ],
)
def test_a_server_is_found_by_address_and_port(address: str, port: int, found: list[str]) -> None:
    fleet, _, _ = two()
    assert [name for name, _ in balance(fleet, backend("s1", address, port))] == found
    assert len(fleet.backends.strangers(fleet.hosts)) == (not found)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "localhost", "0.0.0.0", ""])
def test_a_loopback_means_the_balancers_own_host(address: str) -> None:
    fleet, _, _ = two()
    assert balance(fleet, backend("s1", address, 8000), host=1) == [("gpu-a02/vllm:8000", "s1")]


def test_a_loopback_that_one_host_tells_as_its_own_means_that_host() -> None:
    fleet, _, second = two()
    fleet.apply(1, Facts("host", {"addresses": ["127.9.0.2"]}), instant(1))
    second.turn("vllm:8000", "ready", address="127.9.0.2")
    fleet.apply(1, second.told(), instant(1))
    assert balance(fleet, backend("s1", "127.9.0.2", 8000), host=0) == [("gpu-a02/vllm:8000", "s1")]
    assert balance(fleet, backend("s1", "127.9.0.3", 8000), host=0) == [("gpu-a01/vllm:8000", "s1")]


def test_that_hosts_tell_the_usual_loopback_joins_nothing_across_hosts() -> None:
    fleet, _, _ = two()
    fleet.apply(1, Facts("host", {"addresses": ["127.0.0.1", "10.0.0.2"]}), instant(1))
    assert balance(fleet, backend("s1", "127.0.0.1", 8000)) == []


def test_a_replica_that_listens_on_one_address_alone_gets_what_is_sent_there() -> None:
    fleet, first, second = two()
    first.turn("vllm:8000", "ready", address="127.3.0.1")
    second.turn("vllm:8000", "ready", address="10.0.0.2")
    fleet.apply(0, first.told(), instant(1))
    fleet.apply(1, second.told(), instant(1))
    assert balance(fleet, backend("s1", "127.3.0.1", 8000), backend("s2", "127.0.0.1", 8000), host=0) == [
        ("gpu-a01/vllm:8000", "s1")
    ]
    assert balance(fleet, backend("s3", "10.0.0.1", 8000), backend("s4", "10.0.0.2", 8000)) == [
        ("gpu-a01/vllm:8000", "s1"),
        ("gpu-a02/vllm:8000", "s4"),
    ]


def test_an_address_that_several_hosts_call_their_own_joins_nothing_beyond_the_balancers_host() -> None:
    fleet, _, _ = two()
    bridge = {"addresses": ["127.0.0.1", "172.17.0.1"]}
    fleet.apply(0, Facts("host", bridge), instant(1))
    fleet.apply(1, Facts("host", bridge), instant(1))
    assert balance(fleet, backend("s1", "172.17.0.1", 8000)) == []
    assert balance(fleet, backend("s1", "172.17.0.1", 8000), host=1) == [("gpu-a02/vllm:8000", "s1")]


def test_several_balancers_and_backends_may_name_one_replica_and_the_join_follows_what_changes() -> None:
    fleet, first, _ = two()
    balance(fleet, backend("s1", "10.0.0.1", 8000), backend("s1", "10.0.0.1", 8000, backend="batch"))
    fleet.apply(0, Facts("backends", [backend("own", "127.0.0.1", 8000)]), instant(1))
    row = row_of(fleet, "vllm:8000")
    assert [(found.host, found.facts.backend) for found in replicas.joined(fleet, row)] == [
        (0, "chat"), (2, "chat"), (2, "batch"),
    ]  # fmt: skip
    twin = fleet.frozen()
    del first.replicas["vllm:8000"]
    fleet.apply(0, first.told(), instant(2))
    assert joins(fleet) == []
    assert len(replicas.joined(twin, row)) == 3


@pytest.mark.parametrize(
    ("text", "address"),
    [("[::1]", "::1"), ("fe80::1%eth0", "fe80::1"), ("::ffff:10.0.0.1", "10.0.0.1"), ("10.0.0.256", None), ("", None)],
)
def test_addresses_are_compared_as_what_they_are(text: str, address: str | None) -> None:
    found = parsed(text)
    assert (None if found is None else str(found)) == address
