"""Who may be on the roster when somebody wants all places: one user's engines never crowd out another's."""

import pytest

from agent.sources.serving import roster
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
