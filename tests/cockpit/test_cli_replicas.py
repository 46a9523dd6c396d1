"""`replicas`, `pools`, `status` and `history` on hosts that serve models: what scripts get, and what people read."""

import json
from typing import Any

import pytest

from agent.sources.serving.signals import QUANTILES
from agent.wire.frames import Facts
from agent.wire.specs import Quality, Scope, Severity
from cockpit.cli import status
from cockpit.cli.arguments import Arguments
from cockpit.cli.collect import Look
from cockpit.cli.history import _rows, understood
from cockpit.cli.lists import Listed
from cockpit.errors import UsageError
from cockpit.fleet import replicas
from cockpit.fleet.state import Fleet
from cockpit.inventory import HostEntry, Inventory, PoolEntry, UnixTarget
from tests.cockpit.test_replicas import LIVE, fleet_of, instant, row_of
from tests.fakes.hosts import EPOCH, FakeHost
from tests.fakes.serving import ServingHost, backend, latency


@pytest.fixture
def fleet() -> Fleet:
    """gpu-a01: vllm:8000 stuck with 12 waiting and a finding, triton:8010 cannot tell its KV cache; gpu-a02 is well
    and has the balancer."""
    first, second = ServingHost(), ServingHost("gpu-a02", address="10.0.0.2")
    fleet = fleet_of(first, second, pools={"chat-70b": PoolEntry(2, 2)})
    first.turn("vllm:8000", "stuck", "no step for 60 s while 12 requests wait")
    fleet.apply(0, first.told(), instant(1))
    fleet.apply(0, first.transition(first.ill("vllm:8000")), instant(1))
    odd = [("replica.kv.usage", "triton:8010", Quality.UNSUPPORTED)]
    for at, tokens in ((5.0, 1000.0), (10.0, 2000.0)):
        sample = first.numbers(
            EPOCH + at, waiting={"vllm:8000": 12.0}, ttft_p99={"vllm:8000": 2.1}, exceptions=odd,
            tokens_out={"vllm:8000": tokens}, tokens_rate={"vllm:8000": 200.0}, quantiles_bound={"vllm:8000": 0b0100},
        )  # fmt: skip
        fleet.apply(0, sample, instant(at))
    servers = [backend("s1", "10.0.0.1", 8000, state="down", in_flight=0), backend("s2", "127.0.0.1", 8000)]
    fleet.apply(1, Facts("backends", servers), instant(10))
    fleet.apply(1, Facts("latencies", {"vllm:8000": {"ttft": latency([100, 50, 25, 25])}}), instant(10))
    fleet.age(instant(11))
    return fleet


def listed(fleet: Fleet, capsys: pytest.CaptureFixture[str], command: str, **options: Any) -> str:
    shown = Listed(Arguments(command=command, **options), Inventory(()))
    shown.show(Look(fleet, fleet.now, []), shown.entries(fleet))
    return capsys.readouterr().out


def items(fleet: Fleet, capsys: pytest.CaptureFixture[str], command: str, **options: Any) -> list[dict[str, Any]]:
    document = json.loads(listed(fleet, capsys, command, json=True, **options), parse_constant=pytest.fail)
    assert document["schema"] == 1
    found: list[dict[str, Any]] = document["items"]
    for item in found:
        assert {"id", "host", "severity", "age_s"} <= set(item)
    return found


def test_a_replica_as_scripts_read_it(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    found = items(fleet, capsys, "replicas")
    assert len(found) == 10
    item = found[0]
    assert (item["id"], item["host"], item["replica"], item["subject"]) == (
        "gpu-a01/vllm:8000", "gpu-a01", "vllm:8000", "replica:vllm:8000",
    )  # fmt: skip
    assert (item["severity"], item["state"], item["phase"], item["since"]) == (
        "critical", "stuck", "stuck", "2023-11-14T22:13:20.000Z",
    )  # fmt: skip
    assert (item["engine"], item["model"], item["version"], item["port"]) == ("vllm", "llama-3.3-70b", "0.32.0", 8000)
    assert (item["pids"], item["gpu_indices"], item["gpu_map"]) == ([8000, 8001], [0, 1, 2, 3], "driver")
    assert item["gpus"] == [f"GPU-gpu-a01-{index}" for index in range(4)]
    assert (item["pool"], item["unit"], item["age_s"]) == ("chat-70b", "vllm-chat.service", 1.0)
    assert item["findings"] == ["replica.stuck-vllm:8000"]
    assert [(one["lb"], one["backend"], one["server"], one["state"], one["in_flight"]) for one in item["backends"]] == [
        ("haproxy.service", "chat", "s1", "down", 0)
    ]
    assert item["signals"]["replica.waiting"] == {"value": 12, "unit": "count", "quality": "ok", "age_s": 1.0}
    assert item["signals"]["replica.tokens.out"]["rate"] == 200
    assert item["signals"]["replica.ttft.p99"]["bound"] == "<="
    assert "bound" not in item["signals"]["replica.ttft.p50"]


def test_what_an_engine_cannot_say_is_null_with_its_reason(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    (item,) = items(fleet, capsys, "replicas", filter="port=8010 host=gpu-a01")
    assert item["signals"]["replica.kv.usage"]["quality"] == "unsupported"
    assert item["backends"] == []


def test_the_bounds_of_quantiles_are_read_in_the_order_in_which_agents_write_them() -> None:
    assert tuple(f"replica.{name}" for name in QUANTILES) == replicas.QUANTILES


def test_people_read_what_needs_them_first(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    lines = listed(fleet, capsys, "replicas").splitlines()
    assert lines[0].split()[:4] == ["SEVERITY", "HOST", "REPLICA", "STATE"]
    assert "gpu-a01  vllm:8000    stuck" in lines[1]
    assert lines[1].endswith("no step for 60 s while 12 requests wait")
    assert "<=2.100s" in lines[1]
    assert "200.0" in lines[1]
    assert "down" in lines[1], "what the balancer says"
    assert all("ready" in line for line in lines[2:])


def test_why_a_replica_that_serves_needs_a_human_is_told_by_its_worst_finding(
    capsys: pytest.CaptureFixture[str],
) -> None:
    host = ServingHost()
    fleet = fleet_of(host)
    for rule, severity in (("replica.latency", Severity.WARNING), ("replica.errors", Severity.CRITICAL)):
        found = host.ill("vllm:8000", rule, severity=severity, text=f"what {rule} saw")
        fleet.apply(0, host.transition(found), instant(1))
    fleet.age(instant(2))
    lines = listed(fleet, capsys, "replicas").splitlines()
    assert "ready" in lines[1]
    assert lines[1].endswith("what replica.errors saw")
    assert lines[2].endswith("-"), "of one that is well there is nothing to say"


def test_seconds_have_no_more_digits_than_anybody_can_know(capsys: pytest.CaptureFixture[str]) -> None:
    host = ServingHost()
    fleet = fleet_of(host)
    fleet.apply(0, host.numbers(EPOCH + 1, ttft_p99={"vllm:8000": 2560.0}), instant(1))
    fleet.age(instant(2))
    assert " 2560.0s " in listed(fleet, capsys, "replicas")


@pytest.mark.parametrize(
    ("options", "first"),
    [
        ({"sort": "port"}, "gpu-a01/vllm:8000"),
        ({"sort": "-port"}, "gpu-a01/triton:8040"),
        ({"sort": "-waiting"}, "gpu-a01/vllm:8000"),
        ({"sort": "-replica.waiting"}, "gpu-a01/vllm:8000"),
        ({"filter": "engine:triton", "sort": "host"}, "gpu-a01/triton:8010"),
        ({"filter": "engine:vllm !stuck"}, "gpu-a02/vllm:8000"),
    ],
)
def test_replicas_are_sorted_and_filtered(
    fleet: Fleet, capsys: pytest.CaptureFixture[str], options: dict[str, str], first: str
) -> None:
    assert items(fleet, capsys, "replicas", **options)[0]["id"] == first


def test_a_pool_as_scripts_read_it(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    chat, embed = items(fleet, capsys, "pools")
    assert (chat["id"], chat["host"], chat["severity"], chat["hosts"]) == (
        "chat-70b", None, "critical", ["gpu-a01", "gpu-a02"],
    )  # fmt: skip
    assert (chat["ready"], chat["expected"], chat["floor"], chat["missing"]) == (1, 2, 2, 0)
    assert chat["replicas"] == ["gpu-a01/vllm:8000", "gpu-a02/vllm:8000"]
    assert (chat["states"]["stuck"], chat["states"]["ready"]) == (1, 1)
    assert chat["signals"]["waiting"]["value"] == 12
    assert (chat["signals"]["tokens"]["value"], chat["signals"]["tokens"]["unit"]) == (200, "1/second")
    ttft = chat["signals"]["ttft.p99"]
    assert (ttft["n"], ttft["said"], ttft["of"], ttft["age_s"], ttft["unit"]) == (200, 1, 2, 1.0, "second")
    assert 2.0 < ttft["value"] <= 2.5
    assert chat["says"].startswith("chat-70b: 1/2 ready, below its floor of 2, one stuck 11 s, p99 TTFT 2.4 s")
    assert (embed["floor"], embed["signals"]["tokens"]["value"]) == (None, 0)


def test_people_read_pools_and_sort_them(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    lines = listed(fleet, capsys, "pools").splitlines()
    assert lines[1].split()[2:6] == ["chat-70b", "1/2", "2", "(below)"]
    assert "one stuck 11 s" in lines[1]
    assert [item["id"] for item in items(fleet, capsys, "pools", sort="-ready")] == ["embed", "chat-70b"]
    assert [item["id"] for item in items(fleet, capsys, "pools", sort="-waiting")] == ["chat-70b", "embed"]
    assert [item["id"] for item in items(fleet, capsys, "pools", filter="engine:triton")] == ["embed"]


@pytest.mark.parametrize(
    ("command", "sort", "says"),
    [
        ("replicas", "waitin", "replicas --sort waitin: there is no such column; did you mean 'waiting'"),
        ("pools", "redy", "pools --sort redy: there is no such column; did you mean 'ready'"),
        ("processes", "gpu.power", "processes --sort gpu.power: there is no such column"),
    ],
)
def test_a_column_that_there_is_not_is_refused_at_once(command: str, sort: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Listed(Arguments(command=command, sort=sort), Inventory(()))


def test_an_empty_list_says_why_it_is_empty(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    old, bare = fleet_of(FakeHost()), fleet_of(ServingHost(gpus=1))
    assert listed(old, capsys, "replicas").splitlines() == [
        "no replicas", "agents that are too old to look for replicas: gpu-a01",
    ]  # fmt: skip
    assert "nothing that serves models was ever seen on 1 host" in listed(bare, capsys, "pools")
    reason = [{"what": "serving", "code": "denied", "says": "sockets of others are hidden.", "hint": "add CAP_X"}]
    bare.apply(0, Facts("reasons", reason), instant(1))
    assert "gpu-a01: sockets of others are hidden; add CAP_X" in listed(bare, capsys, "replicas")
    assert listed(fleet, capsys, "replicas", filter="engine:sglang") == "no replicas pass the filter 'engine:sglang'\n"


def test_status_says_who_serves_and_which_pool_needs_a_human(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    status._show(Look(fleet, fleet.now, []))
    lines = capsys.readouterr().out.splitlines()
    assert "serves 9 of 10 replicas ready: 1 stuck" in lines
    (chat,) = [line for line in lines if "chat-70b: 1/2 ready" in line]
    assert "critical" in chat
    assert any("gpu-a01 vllm:8000 is stuck: no step for 60 s" in line for line in lines)


def test_status_says_that_a_silent_host_may_serve_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    host = ServingHost()
    fleet = Fleet([HostEntry(name, UnixTarget(f"/{name}")) for name in ("gpu-a01", "gpu-a02")])
    fleet.link_changed(0, LIVE, instant())
    for frame in host.opening():
        fleet.apply(0, frame, instant())
    fleet.age(instant())
    status._show(Look(fleet, fleet.now, []))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("serves")]
    assert line == "serves 5 of 5 replicas ready; 1 host is silent: what may serve there is not counted"


def history(fleet: Fleet, *words: str) -> Any:
    own = {"since": "30m", "until": "", "step": "", "json": False, "csv": False}
    asked = understood(
        Arguments(command="history", own={**own, "target": words[0], "signal": words[1]}), fleet, fleet.now.wall
    )
    return asked, [name for name, _ in _rows(fleet, asked)]


def test_the_past_of_a_replica_is_asked_by_its_host_and_id(fleet: Fleet) -> None:
    asked, names = history(fleet, "gpu-a01/vllm:8000", "replica.waiting")
    assert (asked.scope, asked.about.subject, names) == (
        Scope.REPLICA, "replica:vllm:8000", ["gpu-a01/vllm:8000"],
    )  # fmt: skip
    _, names = history(fleet, "gpu-a01", "replica.waiting")
    assert names == [f"gpu-a01/{name}" for name in (
        "vllm:8000", "triton:8010", "triton:8020", "triton:8030", "triton:8040")]  # fmt: skip


def test_a_signal_that_there_is_not_is_answered_with_those_of_a_replica(fleet: Fleet) -> None:
    with pytest.raises(UsageError, match=r"no signal 'replica.tft.p99'; did you mean 'replica.ttft.p99'"):
        history(fleet, "gpu-a01/vllm:8000", "replica.tft.p99")
    with pytest.raises(UsageError, match=r"no signal 'xyz'; known: replica\."):
        history(fleet, "gpu-a01/vllm:8000", "xyz")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("gpu-a01/vllm:8000", "gpu.power"), "gpu.power is a signal of a GPU, not of a replica; name gpu-a01 alone"),
        (("gpu-a01/gpu1", "replica.waiting"), "replica.waiting is a signal of a replica, not of a GPU"),
        (("gpu-a01/vllm:8000", "replica.wating"), "no signal 'replica.wating'; did you mean 'replica.waiting'"),
        (("gpu-a01/vlm:8000", "replica.waiting"), "no such replica"),
    ],
)
def test_a_past_that_cannot_be_meant_is_one_sentence(fleet: Fleet, words: tuple[str, str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        history(fleet, *words)


def test_rows_are_those_of_the_replica_that_is_meant(fleet: Fleet) -> None:
    asked, _ = history(fleet, "gpu-a02/triton:8040", "replica.running")
    assert [row for _, row in _rows(fleet, asked)] == [row_of(fleet, "triton:8040", host=1)]
