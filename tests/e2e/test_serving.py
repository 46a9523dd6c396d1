"""Must hold on every machine: real engines are found, read to the exact number, and joined to a real load balancer."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.network import eventually
from tests.e2e.serving import (
    MODEL,
    READY_S,
    Dynamo,
    Haproxy,
    Private,
    ServingAgent,
    llama_model,
    require_engines,
    start_llama,
)
from tests.lab import has_command, require

pytestmark = pytest.mark.lab

LLAMA, SECOND, FRONTEND, WORKER = "llamacpp:18080", "llamacpp:18081", "dynamo:18002", "dynamo-worker:18003"
REQUESTS, TOKENS = 60, 48


@dataclass
class Host:
    """What runs, and what was sent to it: all of it has ended, and the agent has read the pages since."""

    agent: ServingAgent
    haproxy: Haproxy
    pids: dict[str, int]
    sent: dict[str, dict[str, Any]]
    replicas: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    require_engines()
    require("haproxy", has_command("haproxy"))
    folder = tmp_path_factory.mktemp("serving")
    with Private(folder) as private:
        model, dynamo = llama_model(folder), Dynamo(private)
        engines = {LLAMA: start_llama(private, model, 18080), SECOND: start_llama(private, model, 18081)}
        engines |= {FRONTEND: dynamo.frontend(), WORKER: dynamo.worker(18003)}
        haproxy = Haproxy(private, {"r1": 18080, "r2": 18081})
        haproxy.start()
        with ServingAgent(
            private, folder / "agent", f'[[balancer]]\nsocket = "{haproxy.stats}"\nname = "edge"'
        ) as agent:
            agent.ready(*engines)
            ports = {LLAMA: 18080, FRONTEND: dynamo.port}
            loads = {name: private.load(port, MODEL, REQUESTS, TOKENS) for name, port in ports.items()}
            sent = {name: load.done() for name, load in loads.items()}
            replicas = _read_since(agent, sent)
            yield Host(agent, haproxy, {name: process.pid for name, process in engines.items()}, sent, replicas)


def _read_since(agent: ServingAgent, sent: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The replicas by id, once the pages were read that count what was sent: a table holds the last page of each."""
    for _ in eventually(f"the agent has read the pages that count {sent}", READY_S):
        found = {item["replica"]: item for item in agent.replicas()}
        if all(_counts(found[name], load) for name, load in sent.items()):
            break
        time.sleep(0.2)
    return found


def _counts(item: dict[str, Any], load: dict[str, Any]) -> bool:
    requests = _said(item, "requests")
    ended = requests is None or requests >= load["ok"]
    return ended and (_said(item, "tokens.out") or 0) >= 0.98 * load["tokens_out"]


def _said(item: dict[str, Any], signal: str) -> float | None:
    found: dict[str, Any] = item["signals"][f"replica.{signal}"]
    return found["value"]


def test_real_engines_are_found_with_engine_model_port_pids_and_state(host: Host) -> None:
    found = {name: host.replicas[name] for name in host.pids}
    shown = {name: (one["engine"], one["model"], one["port"], one["state"]) for name, one in found.items()}
    assert shown == {
        LLAMA: ("llamacpp", MODEL, 18080, "ready"),
        SECOND: ("llamacpp", MODEL, 18081, "ready"),
        FRONTEND: ("dynamo", MODEL, 18002, "ready"),
        WORKER: ("dynamo-worker", MODEL, 18003, "ready"),
    }
    assert {name: one["pids"][0] for name, one in found.items()} == host.pids


def test_after_a_finished_load_requests_of_dynamo_are_the_generators_to_the_last(host: Host) -> None:
    assert host.sent[FRONTEND]["failed"] == []
    assert _said(host.replicas[FRONTEND], "requests") == host.sent[FRONTEND]["ok"] == REQUESTS
    assert _said(host.replicas[FRONTEND], "errors") == 0


def test_requests_of_llama_cpp_are_unsupported_and_not_zero(host: Host) -> None:
    assert host.sent[LLAMA]["failed"] == []
    signals = host.replicas[LLAMA]["signals"]
    for name in ("replica.requests", "replica.errors", "replica.ttft.p50", "replica.kv.usage"):
        assert (signals[name]["value"], signals[name]["quality"]) == (None, "unsupported"), name


@pytest.mark.parametrize("name", [LLAMA, FRONTEND])
def test_tokens_are_the_generators_within_two_percent(host: Host, name: str) -> None:
    for counted in ("tokens.in", "tokens.out"):
        key = counted.replace(".", "_")
        assert _said(host.replicas[name], counted) == pytest.approx(host.sent[name][key], rel=0.02), counted


def test_what_has_ended_is_in_flight_nowhere(host: Host) -> None:
    for name in (LLAMA, FRONTEND, WORKER):
        assert (_said(host.replicas[name], "running"), _said(host.replicas[name], "waiting")) == (0, 0), name


def _joined(item: dict[str, Any]) -> list[tuple[str, ...]]:
    return [(one["lb"], one["backend"], one["server"], one["state"]) for one in item["backends"]]


def test_servers_behind_a_real_haproxy_are_joined_to_their_replicas(host: Host) -> None:
    assert _joined(host.replicas[LLAMA]) == [("edge", "chat", "r1", "up")]
    assert _joined(host.replicas[SECOND]) == [("edge", "chat", "r2", "up")]
    assert [one["in_flight"] for name in (LLAMA, SECOND) for one in host.replicas[name]["backends"]] == [0, 0]
    assert host.replicas[FRONTEND]["backends"] == []


def _seen(host: Host, claim: str, states: list[str]) -> list[dict[str, Any]]:
    """The servers r1 and r2 as their replicas have them, once they stand like this."""
    for _ in eventually(claim, READY_S):
        found = {item["replica"]: item for item in host.agent.replicas()}
        servers = [found[name]["backends"][0] for name in (LLAMA, SECOND)]
        if [server["state"] for server in servers] == states:
            return servers
        time.sleep(0.2)
    raise AssertionError


def test_what_its_operator_does_to_a_server_is_seen_at_the_replica(host: Host) -> None:
    assert host.haproxy.tell("set server chat/r1 state drain") == ""
    assert host.haproxy.tell("set server chat/r2 state maint") == ""
    _seen(host, "one drains and one is in maintenance", ["draining", "maintenance"])
    found = {item["replica"]: item["state"] for item in host.agent.replicas()}
    assert {found[LLAMA], found[SECOND]} == {"ready"}, "the engines are as they were"


@pytest.mark.more
def test_requests_under_way_and_a_server_that_died_are_seen_at_the_replica(host: Host) -> None:
    for server in ("r1", "r2"):
        assert host.haproxy.tell(f"set server chat/{server} state ready") == ""
    load = host.haproxy.private.load(host.haproxy.port, MODEL, 1_000_000, 200, workers=6)
    _seen(host, "both are up", ["up", "up"])
    for _ in eventually("requests are under way", READY_S):
        servers = _seen(host, "both are up", ["up", "up"])
        if all(server["in_flight"] and server["requests"] for server in servers):
            break
    host.haproxy.private.end(load.process)
    os.kill(host.pids[SECOND], signal.SIGKILL)
    assert _seen(host, "the second is down", ["up", "down"])[1]["errors"] is not None
