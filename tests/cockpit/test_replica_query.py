"""The filter language and sorting over replicas, and what terms about replicas mean for everything else."""

import pytest

from agent.wire.frames import Facts
from agent.wire.specs import Quality
from cockpit.errors import UsageError
from cockpit.fleet.order import need_order, sort_order
from cockpit.fleet.query import parse_filter
from cockpit.fleet.state import Fleet
from tests.cockpit.test_replicas import fleet_of, instant
from tests.fakes.hosts import EPOCH, FakeHost
from tests.fakes.serving import ServingHost


@pytest.fixture
def fleet() -> Fleet:
    """gpu-a01: its vLLM is stuck with 12 waiting, triton:8020 down; gpu-a02 all well; gpu-b01 serves nothing."""
    hosts = [ServingHost(), ServingHost("gpu-a02", address="10.0.0.2"), FakeHost("gpu-b01", gpus=2)]
    fleet = fleet_of(*hosts)
    first = hosts[0]
    assert isinstance(first, ServingHost)
    first.turn("vllm:8000", "stuck", "no step for 60 s")
    first.turn("triton:8020", "down", models=("bge-m3", "rerank-v2"), unit="embed@2.service")
    fleet.apply(0, first.told(), instant(1))
    odd = [("replica.kv.usage", "triton:8010", Quality.UNSUPPORTED)]
    waiting = {"vllm:8000": 12.0, "triton:8010": 1.0}
    fleet.apply(0, first.numbers(EPOCH + 1, waiting=waiting, exceptions=odd, kv_usage={"vllm:8000": 0.97}), instant(1))
    vllm = {"pid": 8001, "user": "serve", "command": "VLLM::Worker_TP0", "gpus": list(first.uuids[:1])}
    other = {"pid": 77, "user": "eve", "command": "python train.py", "gpus": list(first.uuids[7:])}
    fleet.apply(0, Facts("processes", [vllm, other]), instant(1))
    fleet.apply(0, first.transition(first.ill("vllm:8000")), instant(2))
    fleet.age(instant(2))
    return fleet


def found(fleet: Fleet, text: str) -> list[str]:
    mask = parse_filter(text).replicas(fleet)
    return [
        f"{fleet.hosts[int(fleet.replicas.host[row])].name}/{fleet.replicas.ids[row]}"
        for row in range(fleet.replicas.n)
        if mask[row]
    ]


ALL = [f"{host}/{name}" for host in ("gpu-a01", "gpu-a02") for name in (
    "vllm:8000", "triton:8010", "triton:8020", "triton:8030", "triton:8040")]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ALL),
        ("state=stuck", ["gpu-a01/vllm:8000"]),
        ("stuck", ["gpu-a01/vllm:8000"]),
        ("state:stuck,down", ["gpu-a01/vllm:8000", "gpu-a01/triton:8020"]),
        ("engine=vllm", ["gpu-a01/vllm:8000", "gpu-a02/vllm:8000"]),
        ("engine=vllm !stuck", ["gpu-a02/vllm:8000"]),
        ("pool=chat-70b", ["gpu-a01/vllm:8000", "gpu-a02/vllm:8000"]),
        ("model=llama*", ["gpu-a01/vllm:8000", "gpu-a02/vllm:8000"]),
        ("model=rerank*", ["gpu-a01/triton:8020"]),
        ("unit=embed@*", ["gpu-a01/triton:8020"]),
        ("phase=stuck", ["gpu-a01/vllm:8000"]),
        ("port=8010 host=gpu-a02", ["gpu-a02/triton:8010"]),
        ("replica.waiting>10", ["gpu-a01/vllm:8000"]),
        ("waiting>0", ["gpu-a01/vllm:8000", "gpu-a01/triton:8010"]),
        ("kv>90", ["gpu-a01/vllm:8000"]),
        ("fault", ["gpu-a01/vllm:8000"]),
        ("rule=replica.*", ["gpu-a01/vllm:8000"]),
        ("gpu=2", ["gpu-a01/vllm:8000", "gpu-a02/vllm:8000"]),
        ("gpu=4 host=gpu-a01", ["gpu-a01/triton:8010"]),
        ("command=VLLM*", ["gpu-a01/vllm:8000"]),
        ("pid=8001", ["gpu-a01/vllm:8000", "gpu-a02/vllm:8000"]),
        ("rerank", ["gpu-a01/triton:8020"]),
        ("gpu-a02 vllm", ["gpu-a02/vllm:8000"]),
    ],
)
def test_terms_choose_replicas(fleet: Fleet, text: str, names: list[str]) -> None:
    assert found(fleet, text) == names


def test_terms_about_replicas_choose_the_hosts_and_gpus_under_them(fleet: Fleet) -> None:
    assert parse_filter("stuck").hosts(fleet).tolist() == [True, False, False]
    assert parse_filter("engine=vllm").hosts(fleet).tolist() == [True, True, False]
    assert parse_filter("pool=chat-70b").hosts(fleet).tolist() == [True, True, False]
    assert parse_filter("pool=chat-70b host=gpu-a01").gpus(fleet).sum() == 4
    held = parse_filter("stuck").gpus(fleet)
    assert [row for row in range(fleet.gpus.n) if held[row]] == [0, 1, 2, 3]
    assert parse_filter("engine=triton host=gpu-a02").gpus(fleet).sum() == 4
    assert parse_filter("waiting>10").gpus(fleet).sum() == 4


def test_terms_about_replicas_choose_findings_and_processes(fleet: Fleet) -> None:
    assert len(parse_filter("engine=vllm").findings(fleet, fleet.findings())) == 1
    assert parse_filter("engine=triton").findings(fleet, fleet.findings()) == []
    assert len(parse_filter("state=stuck").findings(fleet, fleet.findings())) == 1
    processes = [(0, process) for process in fleet.hosts[0].processes]
    assert [process.pid for _, process in parse_filter("engine=vllm").processes(fleet, processes)] == [8001]
    assert [process.pid for _, process in parse_filter("!engine=vllm").processes(fleet, processes)] == [77]


def test_events_of_a_change_of_state_are_found_by_the_state(fleet: Fleet) -> None:
    host = ServingHost()
    host.seq = 500
    event = host.event(EPOCH + 2, "replica", "replica:triton:8010", "triton:8010 is draining", to="draining")
    fleet.apply(0, event, instant(2))
    assert [entry.event.text for entry in parse_filter("draining").events(fleet, fleet.events)] == [event.event.text]
    assert [entry.event.seq for entry in parse_filter("engine=triton").events(fleet, fleet.events)] == [event.event.seq]


def test_need_puts_what_is_stuck_or_down_first(fleet: Fleet) -> None:
    names = [fleet.replicas.ids[row] for row in need_order(fleet)]
    assert names[:2] == ["vllm:8000", "triton:8020"]


@pytest.mark.parametrize(
    ("key", "reverse", "first"),
    [
        ("waiting", True, "vllm:8000"),
        ("state", True, "vllm:8000"),
        ("port", False, "vllm:8000"),
        ("port", True, "triton:8040"),
        ("engine", False, "triton:8010"),
        ("model", True, "vllm:8000"),
        ("host", True, "vllm:8000"),
        ("severity", True, "vllm:8000"),
        ("temp", False, "vllm:8000"),
    ],
)
def test_replicas_sort_by_their_own_columns_and_by_those_under_them(
    fleet: Fleet, key: str, reverse: bool, first: str
) -> None:
    order = sort_order(fleet, fleet.replicas, key, reverse)
    assert fleet.replicas.ids[int(order[0])] == first


def test_gpus_and_hosts_sort_by_what_waits_on_them(fleet: Fleet) -> None:
    assert sort_order(fleet, fleet.host_table, "waiting", reverse=True).tolist()[0] == 0
    assert set(sort_order(fleet, fleet.gpus, "waiting", reverse=True).tolist()[:4]) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("engin=vllm", "did you mean 'engine'"),
        ("replica.wating>1", "there is no signal 'replica.wating'"),
        ("engine>3", "engine is a word and has no order"),
        ("waiting>many", "'many' is no number"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_could_be_meant(fleet: Fleet, text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_filter(text).replicas(fleet)
