"""The other ports of an engine: what its options say, else the usual places."""

import pytest

from agent.engines.engine import Door
from agent.engines.registry import ENGINES

METRICS = Door("metrics", ("--metrics-port",), offset=2, default=8002)


@pytest.mark.parametrize(
    ("argv", "port", "listening", "ports"),
    [
        (("tritonserver", "--metrics-port=8112"), 8010, (), (8112,)),
        (("tritonserver", "--metrics-port", "8112"), 8010, (8010, 8012), (8112,)),
        (("tritonserver",), 8000, (), (8002,)),
        (("tritonserver",), 8010, (8010, 8011, 8012), (8012,)),
        (("tritonserver",), 8010, (8010, 8002), (8002,)),
        (("tritonserver",), 8010, (8010,), ()),
        (("tritonserver",), 65535, (), (8002,)),
        (("tritonserver", "--metrics-port"), 8000, (8002,), (8002,)),
        (("tritonserver", "--metrics-port=65536"), 8000, (8002,), (8002,)),
        (("tritonserver", "--metrics-port=0"), 8000, (8002,), (8002,)),
    ],
)
def test_where_a_door_is(argv: tuple[str, ...], port: int, listening: tuple[int, ...], ports: tuple[int, ...]) -> None:
    assert METRICS.ports((argv,), port, listening) == ports


def test_an_option_inside_an_argument_that_is_a_command_line_counts() -> None:
    agent = "--dashboard_agent_command=/usr/bin/python agent.py --metrics-export-port=28090 --grpc-port=1"
    door = Door("metrics", ("--metrics-export-port",), default=8080)
    assert door.ports((("ray::ProxyActor",), ("raylet", agent)), 8000, (8000, 8080)) == (28090,)


def test_a_door_that_may_be_the_serving_port_is_tried_there_last() -> None:
    door = Door("metrics", (), offset=2, default=8082, own=True)
    assert door.ports((), 8080, (8080, 8082)) == (8082, 8080)
    assert door.ports((), 9000, (9000,)) == (9000,)


def test_every_ask_goes_through_a_door_that_its_engine_has() -> None:
    for engine in ENGINES:
        doors = {door.name for door in engine.doors}
        assert {ask.door for ask in engine.asks} <= doors | {""}, engine.name


def test_a_door_that_another_process_opens_is_not_looked_for_among_the_trees_own() -> None:
    dashboard = Door("dashboard", ("--dashboard-port",), default=8265, shared=True)
    assert dashboard.ports((("raylet",),), 8000, (8000, 28090)) == (8265,)
