"""Replicas are found, recognised, read and judged; what changes is told once, and what cannot be read says why."""

import itertools
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from agent.config.serving import Serving
from agent.engines.answer import Answer, Failure
from agent.engines.evidence import PROBES
from agent.sources.serving.landscape import Listener
from agent.wire.replicas import ReplicaFacts
from agent.wire.shape import unpack
from agent.wire.signals import Quality
from tests.agent.engines.fixtures import page
from tests.agent.serving.stage import ABSENT, ALL, LATE, REFUSED, Host, grown, vllm

LOAD = "vllm/02-load-t0.prom"


def serving_vllm(port: int = 8000, **known: object) -> Host:
    host = Host(known=(Serving(port=port, **known),) if known else ())  # type: ignore[arg-type]
    host.runs(70, f"vllm serve m --port {port}", port, gpus=("GPU-1", "GPU-0"), gpu_map="driver", unit="vllm.service")
    host.pages[port] = vllm()
    return host


def test_a_replica_is_found_recognised_and_read_at_the_first_tick() -> None:
    host = serving_vllm()
    host.run(1)
    facts = unpack(ReplicaFacts, host.replicas["vllm:8000"])
    assert (facts.engine, facts.version, facts.models, facts.port) == ("vllm", "0.32.0", ("m",), 8000)
    assert (facts.pids, facts.gpus, facts.gpu_map) == ((70,), ("GPU-1", "GPU-0"), "driver")
    assert (facts.unit, facts.user, facts.url) == ("vllm.service", "ml", "http://127.0.0.1:8000")
    assert host.state("vllm:8000") == ("ready", "serving")
    row = host.rows["vllm:8000"]
    assert (row["running"], row["waiting"], row["kv.usage"]) == (4.0, 3.0, pytest.approx(0.526, abs=1e-3))
    assert row["state"] == 1


def test_a_host_without_replicas_says_so() -> None:
    host = Host()
    host.run(1)
    assert host.readings[0].facts["replicas"] == []


def test_before_it_is_recognised_only_the_fixed_list_is_asked_and_afterwards_only_its_own_pages() -> None:
    host = serving_vllm()
    host.run(60)
    probes = {ask.path for ask in PROBES}
    own = {"/metrics", "/health", "/is_paused", "/load", "/v1/models", "/version"}
    assert {path for _, _, path in host.asked} <= probes | own
    first = [path for _, _, path in host.asked[: len(probes)]]
    assert set(first) <= probes
    assert {method for _, method, _ in host.asked} == {"GET"}


def test_each_page_is_asked_every_five_seconds_and_no_more_often() -> None:
    host = serving_vllm()
    host.run(61)
    metrics = sum(path == "/metrics" for _, _, path in host.asked)
    assert 12 <= metrics <= 15


def test_what_stays_the_same_is_told_once_and_rows_come_every_five_seconds() -> None:
    host = serving_vllm()
    host.run(120)
    told = [reading for reading in host.readings if "replicas" in reading.facts]
    assert len(told) <= 4
    assert 20 <= sum(bool(reading.batches) for reading in host.readings) <= 30


def test_quantiles_are_of_the_last_minute_and_hidden_before_there_is_one() -> None:
    host = serving_vllm()
    host.run(4)
    assert host.bad["vllm:8000", "ttft.p99"] is Quality.PENDING
    for second in range(70):
        host.pages[8000] = vllm(grown(page(LOAD), second * 5))
        host.run(1)
    row = host.rows["vllm:8000"]
    assert ("vllm:8000", "ttft.p50") not in host.bad
    assert 0 < row["ttft.p50"] <= row["ttft.p99"]
    assert len(host.latencies) == 1
    assert set(host.latencies[0]["vllm:8000"]) == {"ttft", "itl", "e2e", "queue", "at"}
    assert 0 <= host.clock.now().wall - host.latencies[0]["vllm:8000"]["at"] < 60
    assert host.latencies[0]["vllm:8000"]["ttft"]["total"] < 400  # of a minute, not of its life


def test_a_minute_that_is_long_over_is_not_told_again() -> None:
    host = serving_vllm()
    for second in range(70):
        host.pages[8000] = vllm(grown(page(LOAD), second * 5))
        host.run(1)
    assert "vllm:8000" in host.latencies[-1]
    host.pages[8000] = dict.fromkeys(host.pages[8000], LATE)
    host.run(150)
    assert host.state("vllm:8000") == ("unready", "scrape-lost")
    assert host.latencies[-1] == {}


def test_what_an_engine_cannot_say_is_unsupported_and_never_zero() -> None:
    host = Host()
    host.runs(80, "tritonserver --http-port=8010 --metrics-port=8012", 8010, 8011, 8012)
    host.pages[8010] = {
        "/v2": Answer(200, b'{"name":"triton","version":"2.51.0","extensions":[]}', "application/json"),
        "/v2/health/ready": Answer(200),
        "/v2/repository/index": Answer(200, b'[{"name":"delay","version":"1","state":"READY"}]', "application/json"),
    }
    host.pages[8012] = {"/metrics": Answer(200, page("triton/03-load.prom"), "text/plain")}
    host.run(12)
    assert host.state("triton:8010")[0] == "ready"
    assert host.bad["triton:8010", "tokens.out"] is Quality.UNSUPPORTED
    assert host.bad["triton:8010", "ttft.p99"] is Quality.UNSUPPORTED
    assert ("triton:8010", "requests") not in host.bad
    assert (8012, "GET", "/metrics") in host.asked
    assert {(method, path) for _, method, path in host.asked if method != "GET"} == {("POST", "/v2/repository/index")}
    assert list(host.replicas) == ["triton:8010"]


def test_one_whose_process_goes_is_down_at_the_next_tick_and_stays_on_the_roll() -> None:
    host = serving_vllm()
    host.run(30)
    host.ends(next(iter(host.groups.values())))
    host.run(1)
    assert host.state("vllm:8000") == ("down", "down")
    assert host.events[-1].kind == "replica"
    assert host.events[-1].data["from"] == "ready"
    assert host.events[-1].data["to"] == "down"
    assert host.replicas["vllm:8000"]["gpus"] == ["GPU-1", "GPU-0"]
    assert host.bad["vllm:8000", "running"] is Quality.LOST
    host.run(300)
    assert host.state("vllm:8000") == ("down", "down")


def test_a_restart_is_the_same_replica_starting_and_then_ready() -> None:
    host = serving_vllm()
    host.run(30)
    host.ends(next(iter(host.groups.values())))
    host.run(3)
    del host.pages[8000]
    again = host.runs(71, "vllm serve m --port 8000", age_s=1)
    host.run(6)
    assert host.state("vllm:8000") == ("starting", "loading")
    assert host.replicas["vllm:8000"]["pids"] == [71]
    host.pages[8000] = vllm()
    host.opens(again, 8000)
    host.run(10)
    assert host.state("vllm:8000")[0] == "ready"
    assert [event.data["to"] for event in host.events] == ["down", "starting", "ready"]


@pytest.mark.parametrize("asked_for", [True, False])
def test_what_an_action_starts_again_and_again_is_no_crash_loop(asked_for: bool) -> None:
    host = serving_vllm()
    host.run(30)
    for number in range(4):
        host.source.started(frozenset({"vllm:8000"} if asked_for else ()))
        host.ends(next(iter(host.groups.values())))
        host.run(2)
        host.runs(71 + number, "vllm serve m --port 8000", 8000, age_s=0)
        host.source.started(frozenset())
        host.run(20)
    assert host.state("vllm:8000") == (("ready", "serving") if asked_for else ("down", "crashloop"))
    assert host.replicas["vllm:8000"]["starts"] == (1 if asked_for else 4)


def test_a_port_taken_by_another_engine_is_a_replica_of_its_own_and_the_old_one_is_down() -> None:
    host = serving_vllm()
    host.run(30)
    host.ends(next(iter(host.groups.values())))
    host.runs(90, "tritonserver --http-port=8000 --allow-metrics=false", 8000, age_s=1)
    host.pages[8000] = {"/v2": Answer(200, b'{"name":"triton","version":"2"}', "application/json")}
    host.run(12)
    assert host.state("vllm:8000")[0] == "down"
    assert host.replicas["vllm:8000"]["says"].endswith("its port now belongs to triton:8000")
    assert "triton:8000" in host.replicas


def test_the_http_answer_is_believed_before_the_command_line() -> None:
    host = Host()
    host.runs(70, "vllm serve m --port 8000", 8000)
    host.pages[8000] = {"/v2": Answer(200, b'{"name":"triton","version":"2.51.0"}', "application/json")}
    host.run(12)
    assert list(host.replicas) == ["triton:8000"]


def test_a_page_that_is_late_twice_in_a_row_is_scrape_lost_and_never_down() -> None:
    host = serving_vllm()
    host.run(10)
    host.pages[8000] = dict.fromkeys(host.pages[8000], LATE)
    host.run(11)
    assert host.state("vllm:8000") == ("unready", "scrape-lost")
    assert host.bad["vllm:8000", "running"] is Quality.TIMEOUT
    assert host.rows["vllm:8000"]["running"] == 4.0  # the last value known
    host.pages[8000] = vllm()
    host.run(6)
    assert host.state("vllm:8000")[0] == "ready"


def works(host: Host, port: int, seconds: int) -> None:
    for _ in range(seconds):
        host.pages[port] = vllm(grown(page(LOAD), int(host.clock.mono)))
        host.run(1)


HOSTILE = {
    "html": (Answer(200, b"<!doctype html><title>hi</title>", "text/html"), ""),
    "json": (Answer(200, b'{"detail": "ok"}', "application/json"), ""),
    "500": (Answer(500, b"oops", "text/plain"), "HTTP 500"),
    "redirect": (Answer(307, b"", "", "", "/metrics/"), "redirect"),
    "401": (Answer(401, b""), "token"),
    "large": (Answer(failure=Failure.TOO_LARGE, says="sends 100 MiB, and 4 MiB is the most that is read"), "100 MiB"),
    "garbage": (Answer(failure=Failure.GARBAGE, says="answered with something that is no HTTP"), "no HTTP"),
    "tls": (Answer(failure=Failure.TLS, says="the certificate does not stand for 'x'"), "certificate"),
    "cut": (Answer(failure=Failure.CLOSED, says="closed the connection in the middle of its answer"), "middle"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_cannot_be_read_is_unknown_with_one_sentence_and_its_neighbour_untouched(name: str) -> None:
    answer, says = HOSTILE[name]
    host = serving_vllm()
    host.runs(71, "vllm serve m --port 8001", 8001)
    host.pages[8001] = vllm()
    host.run(10)
    host.pages[8000] = {**vllm(), "/metrics": answer}
    works(host, 8001, 25)
    assert host.state("vllm:8000")[0] in ("unknown", "unready")
    found = host.replicas["vllm:8000"]["says"]
    assert says in found
    assert "\n" not in found
    assert host.bad["vllm:8000", "running"] in (Quality.ERROR, Quality.DENIED)
    assert any(reason.startswith("replica_page: vllm:8000: ") for reason in host.reasons)
    assert host.state("vllm:8001")[0] == "ready"
    assert ("vllm:8001", "running") not in host.bad
    host.pages[8000] = vllm()
    works(host, 8001, 65)
    assert host.state("vllm:8000")[0] in ("ready", "stuck")  # its numbers stand still in this test
    assert host.reasons == []


def test_half_an_exposition_is_used_as_far_as_it_goes_and_said() -> None:
    body = page(LOAD)
    host = serving_vllm()
    host.pages[8000] = vllm(body[: len(body) // 2])
    host.run(30)
    assert host.state("vllm:8000")[0] in ("ready", "unknown")
    assert host.rows["vllm:8000"]["running"] == 4.0


def test_counters_that_go_back_give_no_negative_minute() -> None:
    host = serving_vllm()
    for second in range(40):
        host.pages[8000] = vllm(grown(page(LOAD), 400 if second < 20 else second))
        host.run(1)
    assert all(
        value is None or not name.startswith("ttft") or value >= 0 for name, value in host.rows["vllm:8000"].items()
    )


def test_a_router_is_left_out() -> None:
    host = Host()
    host.runs(60, "vllm-router --port 8000", 8000)
    host.pages[8000] = vllm()
    host.run(20)
    assert host.replicas == {}
    assert host.asked == []


def test_a_gpu_holder_that_serves_nothing_known_is_asked_a_few_times_and_then_left_in_peace() -> None:
    host = Host()
    host.runs(61, "python train.py", 6006, gpus=("GPU-0",), gpu_map="driver")
    host.pages[6006] = {}
    host.run(600)
    assert host.replicas == {}
    assert len(host.asked) <= 4 * len(PROBES)


def test_ports_that_speak_no_http_are_asked_once_each_and_the_named_one_alone_counts() -> None:
    host = Host()
    host.runs(70, "vllm serve m --port 8000", 5555, 8000, 29500)
    host.pages[8000] = vllm()
    host.run(20)
    assert {port for port, _, _ in host.asked} == {8000}


def test_without_a_named_port_the_listener_that_answers_is_the_replica() -> None:
    host = Host()
    host.runs(70, "python -m dynamo.frontend", 5555, 9000)
    host.pages[5555] = {}
    host.pages[9000] = vllm()
    host.run(20)
    assert list(host.replicas) == ["vllm:9000"] or list(host.replicas) == ["dynamo:9000"]


def test_a_containers_replica_has_its_address_in_its_name() -> None:
    host = Host()
    inside = (Listener("172.17.0.2", 8000, 1000, "9:8000", local=False),)
    host.runs(70, "vllm serve m", listeners=inside, container="c1")
    host.pages[8000] = vllm()
    host.run(3)
    assert list(host.replicas) == ["vllm:172.17.0.2:8000"]
    assert "172.17.0.2" in host.allowed


def test_the_configuration_names_pools_roles_and_objectives() -> None:
    host = serving_vllm(name="chat-1", pool="chat-70b", role="decode", objective=MappingProxyType({"ttft.p99": 0.0005}))
    for second in range(70):
        host.pages[8000] = vllm(grown(page(LOAD), second * 5))
        host.run(1)
    facts = host.replicas["chat-1"]
    assert (facts["pool"], facts["role"], facts["objectives"]) == ("chat-70b", "decode", {"ttft.p99": 0.0005})
    assert host.state("chat-1") == ("ready", "degraded")


def test_an_engine_without_a_port_in_its_table_is_matched_once_it_is_known() -> None:
    host = Host(known=(Serving(engine="vllm", pool="chat"),))
    host.runs(70, "vllm serve m --port 8000", 8000)
    host.pages[8000] = vllm()
    host.run(3)
    assert host.replicas["vllm:8000"]["pool"] == "chat"
    host.start_agent(host.source.memory())
    host.run(12)
    assert host.replicas["vllm:8000"]["pool"] == "chat"


def test_one_to_be_ignored_is_never_asked() -> None:
    host = serving_vllm(ignore=True)
    host.run(20)
    assert host.asked == []
    assert host.replicas == {}


def test_a_configured_port_whose_process_is_hidden_is_read_all_the_same() -> None:
    host = Host(known=(Serving(port=8000, pool="chat"),))
    host.listening = {8000: (Listener("127.0.0.1", 8000, 1001, "55"),)}
    host.pages[8000] = vllm()
    host.run(12)
    assert host.state("vllm:8000")[0] == "ready"
    assert host.replicas["vllm:8000"]["gpu_map"] == "hidden"
    host.listening = {}
    del host.pages[8000]
    host.run(30)
    assert host.state("vllm:8000")[0] == "down"


def test_generic_pages_are_read_by_their_mapping() -> None:
    names = MappingProxyType({"running": "my_running", "requests": "my_requests_total"})
    table = {"engine": "generic", "health": "/healthz", "metrics": "/stats", "names": names}
    host = Host(known=(Serving(port=9100, **table),))  # type: ignore[arg-type]
    host.runs(75, "my-server", 9100)
    host.pages[9100] = {
        "/healthz": Answer(200),
        "/stats": Answer(200, b"my_running 3\nmy_requests_total 7\n", "text/plain"),
    }
    host.run(12)
    assert host.rows["generic:9100"]["running"] == 3.0
    assert host.state("generic:9100")[0] == "ready"
    assert {path for _, _, path in host.asked} <= {"/healthz", "/stats"} | {ask.path for ask in PROBES}


def test_a_configured_server_that_starts_later_is_its_process_from_then_on() -> None:
    names = MappingProxyType({"running": "my_running"})
    table = {"engine": "generic", "health": "/healthz", "metrics": "/stats", "names": names}
    host = Host(known=(Serving(name="echo", port=9100, expected=True, **table),))  # type: ignore[arg-type]
    host.run(20)
    assert host.state("echo")[0] == "down"
    group = host.runs(75, "my-server", 9100, age_s=3.0)
    host.pages[9100] = {"/healthz": Answer(200), "/stats": Answer(200, b"my_running 3\n", "text/plain")}
    host.run(12)
    assert host.state("echo")[0] == "ready"
    assert host.replicas["echo"]["started"] == group.processes[0].started
    host.ends(group)
    host.run(2)
    assert host.replicas["echo"]["says"].startswith("its process is gone")


def test_those_known_before_the_agent_was_restarted_are_found_again_without_a_word() -> None:
    host = serving_vllm()
    host.run(30)
    memory, since = host.source.memory(), host.replicas["vllm:8000"]["since"]
    host.asked.clear()
    host.start_agent(memory)
    host.run(30)
    assert host.state("vllm:8000")[0] == "ready"
    assert host.replicas["vllm:8000"]["since"] == since
    assert host.events == []
    assert {path for _, _, path in host.asked}.isdisjoint({"/info", "/v2", "/-/routes"})  # not asked anew who it is


def test_those_known_before_are_on_the_roll_from_the_first_tick() -> None:
    host = serving_vllm()
    host.run(30)
    memory = host.source.memory()
    host.groups = {}
    host.runs(5, "tritonserver", 8100)
    host.pages[8100] = {}
    host.start_agent(memory)
    host.take(host.source.read_now(ALL))
    assert host.readings[0].facts["replicas"][0]["id"] == "vllm:8000"
    assert host.readings[0].batches[0].rows[0] == "vllm:8000"


def test_until_the_host_has_been_looked_at_nobody_is_called_gone() -> None:
    host = serving_vllm()
    host.run(30)
    host.looked = False
    host.start_agent(host.source.memory())
    host.run(120)
    assert host.state("vllm:8000") == ("unknown", "unknown")
    host.looked = True
    host.run(6)
    assert host.state("vllm:8000")[0] == "ready"
    assert host.events == []


def test_one_that_died_while_the_agent_was_down_is_told_as_down() -> None:
    host = serving_vllm()
    host.run(30)
    memory = host.source.memory()
    host.groups.clear()
    host.start_agent(memory)
    host.run(3)
    assert host.state("vllm:8000")[0] == "down"
    assert host.events[-1].data["from"] == "ready"
    assert host.replicas["vllm:8000"]["gpus"] == ["GPU-1", "GPU-0"]
    host.run(300)
    assert host.state("vllm:8000")[0] == "down"


def test_the_memory_of_what_stays_the_same_is_the_same() -> None:
    host = serving_vllm()
    host.run(20)
    memories = []
    for _ in range(50):
        host.run(1)
        memories.append(host.source.memory())
    assert sum(was != is_now for was, is_now in itertools.pairwise(memories)) <= 1


def test_a_memory_that_is_none_is_left_out() -> None:
    host = serving_vllm()
    host.start_agent({"replicas": [1, {"facts": 3}, {"facts": {"id": "x"}}, {}]})
    host.run(10)
    assert "vllm:8000" in host.replicas


def test_a_retired_replica_is_dropped_and_owed_again_when_it_is_back() -> None:
    host = serving_vllm()
    host.run(10)
    group = next(iter(host.groups.values()))
    host.ends(group)
    host.run(2)
    host.source.retire("vllm:8000", {})
    host.run(6)
    assert host.replicas == {}
    host.groups[group.key] = group
    host.run(6)
    assert host.state("vllm:8000")[0] == "ready"
    host.ends(group)
    host.run(2)
    assert host.state("vllm:8000")[0] == "down"


def test_a_dead_child_of_a_living_root_is_a_dead_engine() -> None:
    host = serving_vllm()
    host.run(10)
    group = next(iter(host.groups.values()))
    host.groups[group.key] = replace(group, missing="VLLM::EngineCore is gone")
    host.run(1)
    assert host.state("vllm:8000") == ("unready", "dead-engine")


def secret(folder: Path) -> Path:
    file = folder / "token"
    file.write_text("s3cret\n")
    file.chmod(0o600)
    return file


@pytest.mark.parametrize(
    ("user", "unit", "goes"),
    [
        ("ml", "vllm.service", True),
        ("1000", "vllm.service", True),
        ("root", "vllm.service", False),
        ("ml", "x.service", False),
    ],
)
def test_a_token_goes_only_to_a_listener_whose_user_and_unit_agree(
    tmp_path: Path, user: str, unit: str, goes: bool
) -> None:
    table = Serving(place="serving 1", port=8000, user=user, unit=unit, token_file=secret(tmp_path))
    host = Host(known=(table,))
    host.runs(70, "vllm serve m --port 8000", 8000, unit="vllm.service")
    host.pages[8000] = vllm()
    host.run(12)
    assert set(host.tokens[len(PROBES) :]) == ({"s3cret"} if goes else {""})
    assert ("replica_token" in " ".join(host.reasons)) is not goes


def test_a_token_is_kept_from_a_socket_of_another_user(tmp_path: Path) -> None:
    table = Serving(place="serving 1", port=8000, user="ml", unit="vllm.service", token_file=secret(tmp_path))
    host = Host(known=(table,))
    foreign = (Listener("127.0.0.1", 8000, 666, "x"),)
    host.runs(70, "vllm serve m --port 8000", listeners=foreign, unit="vllm.service")
    host.pages[8000] = vllm()
    host.run(12)
    assert set(host.tokens) == {""}
    assert any("uid 666" in reason for reason in host.reasons)


def test_a_token_is_kept_from_a_socket_that_took_the_port_since_the_last_look(tmp_path: Path) -> None:
    table = Serving(place="serving 1", port=8000, user="ml", unit="vllm.service", token_file=secret(tmp_path))
    host = Host(known=(table,))
    host.runs(70, "vllm serve m --port 8000", 8000, unit="vllm.service")
    host.pages[8000] = vllm()
    host.run(12)
    assert "s3cret" in host.tokens
    host.tokens.clear()
    host.taken.add(8000)
    host.run(12)
    assert host.tokens == []


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604])
def test_a_token_that_others_may_read_or_change_is_not_used(tmp_path: Path, mode: int) -> None:
    file = secret(tmp_path)
    file.chmod(mode)
    host = Host(known=(Serving(place="serving 1", port=8000, user="ml", unit="vllm.service", token_file=file),))
    host.runs(70, "vllm serve m --port 8000", 8000, unit="vllm.service")
    host.pages[8000] = vllm()
    host.run(12)
    assert set(host.tokens) == {""}
    assert any("chmod 0640" in reason for reason in host.reasons)


def test_an_expired_token_is_one_sentence(tmp_path: Path) -> None:
    file = secret(tmp_path)
    host = Host(known=(Serving(port=8000, user="ml", unit="vllm.service", token_file=file),))
    host.runs(70, "vllm serve m --port 8000", 8000, unit="vllm.service")
    host.pages[8000] = vllm()
    host.run(12)
    host.pages[8000] = dict.fromkeys(host.pages[8000], Answer(401))
    host.run(12)
    assert host.state("vllm:8000")[0] in ("unknown", "unready")
    assert "renew it" in host.replicas["vllm:8000"]["says"]


def test_a_refused_port_is_asked_no_further_page() -> None:
    host = serving_vllm()
    host.run(10)
    host.pages[8000] = dict.fromkeys(host.pages[8000], REFUSED)
    host.asked.clear()
    host.run(5)
    assert len(host.asked) == 1


def test_a_million_series_are_read_more_rarely() -> None:
    host = serving_vllm()
    host.run(10)
    host.pages[8000] = {**vllm(), "/metrics": Answer(200, page(LOAD) + b"# x\n" * 500_000, "text/plain")}
    host.run(10)
    host.asked.clear()
    host.run(60)
    assert sum(path == "/metrics" for _, _, path in host.asked) <= 4


def test_a_page_that_is_not_offered_is_asked_for_once_in_ten_minutes() -> None:
    host = serving_vllm()
    host.run(300)
    assert [path for _, _, path in host.asked].count("/is_paused") == 1
    assert ABSENT.failure is Failure.NONE


def test_a_worker_without_a_port_is_shown_and_says_why_nothing_is_known_of_it() -> None:
    host = Host()
    host.runs(77, "python -m dynamo.vllm --model m", gpus=("GPU-3",), gpu_map="driver")
    host.run(12)
    (found,) = host.replicas.values()
    assert found["id"].endswith(":pid-77")
    assert (found["state"], found["port"], found["gpus"]) == ("unknown", 0, ["GPU-3"])
    assert "DYN_SYSTEM_PORT" in found["says"]
    assert host.asked == []


def test_one_that_is_out_of_reach_is_unknown_and_never_asked() -> None:
    host = Host()
    host.runs(70, "vllm serve m --port 8000", apart="runs in a network namespace that cannot be reached")
    host.listening = {8000: (Listener("127.0.0.1", 8000, 5, "other"),)}
    host.pages[8000] = vllm()
    host.run(30)
    (found,) = host.replicas.values()
    assert (found["state"], found["says"]) == ("unknown", "it runs in a network namespace that cannot be reached")
    assert host.asked == []


def test_a_mistyped_command_is_not_owed_an_answer_for_ever() -> None:
    host = Host()
    group = host.runs(70, "vllm serve m --port 8000", age_s=5)
    host.run(3)
    assert host.replicas == {}
    host.run(10)
    assert host.state("vllm:8000") == ("starting", "loading")
    host.ends(group)
    host.run(2)
    assert host.state("vllm:8000")[0] == "down"
    host.run(130)
    assert host.replicas == {}


@pytest.mark.parametrize(("table", "identity"), [({"name": "chat-1"}, "chat-1"), ({}, "replica:8000")])
def test_one_that_is_promised_and_that_nobody_sees_is_down_until_it_comes(table: dict[str, str], identity: str) -> None:
    host = Host(known=(Serving(place="serving 1", port=8000, expected=True, **table),))  # type: ignore[arg-type]
    host.run(30)
    assert host.state(identity) == ("down", "down")
    host.runs(70, "vllm serve m --port 8000", 8000)
    host.pages[8000] = vllm()
    host.run(12)
    assert list(host.replicas) == [table.get("name", "vllm:8000")]
    assert host.state(table.get("name", "vllm:8000"))[0] == "ready"


def test_a_port_in_a_table_that_all_hosts_share_promises_nothing() -> None:
    host = Host(known=(Serving(port=8000, pool="chat"),))
    host.run(30)
    assert host.replicas == {}


async def test_what_an_operator_wants_of_a_replica_goes_to_its_port_with_its_token(tmp_path: Path) -> None:
    table = Serving(place="serving 1", port=8000, user="ml", unit="vllm.service", token_file=secret(tmp_path))
    host = Host(known=(table,))
    host.runs(70, "vllm serve m --port 8000", 8000, unit="vllm.service")
    host.pages[8000] = vllm() | {"/pause?mode=wait": Answer(200, b"{}")}
    host.run(12)
    host.asked.clear()
    host.tokens.clear()
    assert (await host.source.post("vllm:8000", "/pause?mode=wait", b"", 5.0)).status == 200
    assert host.asked == [(8000, "POST", "/pause?mode=wait")]
    assert host.tokens == ["s3cret"]


async def test_who_took_its_port_or_is_nobody_is_told_nothing() -> None:
    host = Host()
    group = host.runs(70, "vllm serve m --port 8000", 8000)
    host.pages[8000] = vllm()
    host.run(12)
    host.asked.clear()
    host.taken.add(8000)
    assert "another process has taken the port" in (await host.source.post("vllm:8000", "/pause", b"", 5.0)).says
    assert (await host.source.post("vllm:9999", "/pause", b"", 5.0)).failure is Failure.REFUSED
    host.ends(group)
    host.run(12)
    host.asked.clear()
    assert (await host.source.post("vllm:8000", "/pause", b"", 5.0)).failure is Failure.REFUSED
    assert host.asked == []
