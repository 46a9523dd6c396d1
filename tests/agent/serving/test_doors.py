"""Where the other pages of a replica are: known, or found by what they print."""

from agent.engines.answer import Answer, Failure
from agent.engines.ray_serve import RAY_SERVE
from agent.engines.triton import TRITON
from agent.sources.serving.doors import Doors
from agent.sources.serving.landscape import Group, Listener, Process

MAIN = Listener("127.0.0.1", 8000)
RAY = Answer(200, b"# HELP ray_x y\n# TYPE ray_x gauge\nray_x 1\n")


def group(argv: str, *ports: int) -> Group:
    return Group("g", (Process(1, tuple(argv.split())),), tuple(Listener("127.0.0.1", port) for port in ports))


def ports_asked(doors: Doors, there: Group, answers: dict[int, Answer], rounds: int) -> list[int]:
    asked = []
    for _ in range(rounds):
        found = doors.listener("metrics", there, MAIN)
        asked.append(found.port if found else 0)
        if found:
            doors.heard("metrics", answers.get(found.port, Answer(failure=Failure.GARBAGE)))
    return asked


def test_a_port_of_chance_is_found_by_what_it_prints_and_then_kept() -> None:
    doors, there = Doors(RAY_SERVE), group("raylet", 8000, 31001, 31002, 31003)
    assert ports_asked(doors, there, {31002: RAY}, 5) == [31001, 31002, 31002, 31002, 31002]


def test_a_search_that_finds_nothing_ends_until_there_are_other_sockets() -> None:
    doors = Doors(RAY_SERVE)
    assert ports_asked(doors, group("raylet", 8000, 31001, 31002), {}, 6) == [31001, 31002, 31001, 31002, 0, 0]
    assert ports_asked(doors, group("raylet", 8000, 31001, 31009), {31009: RAY}, 3) == [31001, 31009, 31009]


def test_what_a_wrong_socket_says_is_none_of_the_replica() -> None:
    doors, there = Doors(RAY_SERVE), group("raylet", 8000, 31001)
    doors.listener("metrics", there, MAIN)
    heard = doors.heard("metrics", Answer(500, b"boom"))
    assert (heard.failure, heard.says) == (Failure.REFUSED, "no metrics port is known of it")


def test_a_port_that_an_option_names_is_believed_and_its_answer_kept() -> None:
    doors, there = Doors(TRITON), group("tritonserver --metrics-port=8012", 8000, 8001, 8012)
    found = doors.listener("metrics", there, MAIN)
    assert found is not None
    assert found.port == 8012
    assert doors.heard("metrics", Answer(500, b"boom")).status == 500


def test_the_page_of_the_serving_port_is_asked_there() -> None:
    doors = Doors(TRITON)
    assert doors.listener("", group("tritonserver", 8000), MAIN) is MAIN
    assert doors.listener("nowhere", group("tritonserver", 8000), MAIN) is None


def test_a_door_that_all_share_is_never_searched_for() -> None:
    doors, there = Doors(RAY_SERVE), group("raylet", 8000, 31001)
    found = doors.listener("dashboard", there, MAIN)
    assert found is not None
    assert (found.port, found.address) == (8265, "127.0.0.1")
