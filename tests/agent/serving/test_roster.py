"""Who may be on the roster when somebody wants all places: one user's engines never crowd out another's."""

import pytest

from agent.engines.answer import Answer
from agent.sources.serving import roster
from tests.agent.engines.fixtures import page
from tests.agent.serving.stage import Host, vllm


@pytest.mark.parametrize("answers", [False, True])
def test_a_user_who_starts_hundreds_of_engines_hides_nobody_elses(
    answers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roster, "MOST", 16)
    monkeypatch.setattr(roster, "MOST_APPLICANTS", 8)
    host = Host()
    for number in range(40):
        port = 20_000 + number
        host.runs(1000 + number, f"vllm serve m --port {port}", *([port] if answers else []), uid=666, user="eve")
        if answers:
            host.pages[port] = vllm()
    host.run(60)
    assert 0 < len(host.replicas) <= 8
    host.runs(70, "vllm serve m --port 8000", 8000)
    host.pages[8000] = vllm()
    host.run(15)
    assert host.state("vllm:8000")[0] == "ready"


def test_a_port_of_numbers_that_outlives_the_serving_one_is_no_replica_of_its_own() -> None:
    """As a Triton ends: its HTTP port closes first, before anybody had asked there what it is."""
    host = Host()
    young = host.runs(1000, "tritonserver --http-port=8010 --metrics-port=8012", age_s=5.0)
    host.run(4)
    host.opens(young, 8012)
    host.pages[8012] = {"/metrics": Answer(200, page("triton/03-load.prom"), "text/plain")}
    host.run(20)
    assert set(host.replicas) <= {"triton:8010"}
    host.opens(young, 8010, 8012)
    host.pages[8010] = {"/v2": Answer(200, b'{"name":"triton","version":"2.51.0"}', "application/json")}
    host.run(20)
    assert set(host.replicas) == {"triton:8010"}
