"""What happens to real engines, and how soon the host says so: stopped, wedged, killed, started again, drained.

Takes minutes, for a replica is called stuck only when its engine is older than two: part of `make test-more`.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.network import eventually
from tests.e2e.serving import MODEL, Dynamo, Private, ServingAgent, llama_model, require_engines, start_llama
from tests.fakes.client import Picture

pytestmark = [pytest.mark.lab, pytest.mark.more, pytest.mark.timeout(500)]

Note = Callable[[str, object], None]
LLAMA, FRONTEND, WORKER = "llamacpp:18080", "dynamo:18002", "dynamo-worker:18003"
SETTLED_S = 125.0  # an engine is old enough to be called stuck


@dataclass
class Host:
    """Engines that run since `began`, and every state and phase that was seen of each, in order and without repeats."""

    private: Private
    agent: ServingAgent
    dynamo: Dynamo
    model: Path
    engines: dict[str, subprocess.Popen[bytes]]
    began: float
    seen: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def look(self) -> Picture:
        """What a console sees now."""
        picture = self.agent.look()
        for one in picture.facts.get("replicas") or ():
            line = self.seen.setdefault(one["id"], [])
            now = (one["state"], one["phase"])
            if line[-1:] != [now]:
                line.append(now)
        return picture

    def until(self, name: str, state: str, seconds: float) -> tuple[float, dict[str, Any]]:
        """Look until the replica is in that state; how long it took, and its facts."""
        began = time.monotonic()
        for _ in eventually(f"{name} is {state}", seconds):
            facts = {one["id"]: one for one in self.look().facts["replicas"]}[name]
            if facts["state"] == state:
                return time.monotonic() - began, facts
            time.sleep(0.1)
        raise AssertionError

    def watch(self, seconds: float) -> None:
        """Look on for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.look()
            time.sleep(0.3)

    def states(self, name: str) -> list[str]:
        """The states that were seen of it, since `forget`."""
        return [state for state, _ in self.seen.get(name, ())]

    def forget(self) -> None:
        """What comes from now on is a story of its own."""
        self.seen.clear()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    require_engines()
    folder = tmp_path_factory.mktemp("serving")
    with Private(folder) as private:
        dynamo, model = Dynamo(private), llama_model(folder, "512", "8", "8")
        engines = {LLAMA: start_llama(private, model, 18080), FRONTEND: dynamo.frontend()}
        engines[WORKER] = dynamo.worker(18003, speedup=1.0)
        with ServingAgent(private, folder / "agent") as agent:
            agent.ready(*engines)
            yield Host(private, agent, dynamo, model, engines, time.monotonic())


def test_a_stopped_llama_cpp_is_unready_because_nobody_answers_and_never_down(
    host: Host, record_property: Note
) -> None:
    host.engines[LLAMA].send_signal(signal.SIGSTOP)
    took, facts = host.until(LLAMA, "unready", 20)
    record_property("seconds from SIGSTOP of llama.cpp to unready", round(took, 1))
    assert facts["phase"] == "scrape-lost"
    host.watch(15)
    host.engines[LLAMA].send_signal(signal.SIGCONT)
    host.until(LLAMA, "ready", 15)
    assert host.states(LLAMA) == ["ready", "unready", "ready"], host.seen


def test_a_killed_llama_cpp_is_down_and_starts_and_is_ready_again(host: Host, record_property: Note) -> None:
    host.forget()
    host.engines[LLAMA].kill()
    host.engines[LLAMA].wait(5)
    took, facts = host.until(LLAMA, "down", 5)
    record_property("seconds from SIGKILL of llama.cpp to down", round(took, 1))
    assert facts["says"].startswith("its process is gone")
    host.engines[LLAMA] = start_llama(host.private, host.model, 18080, slow_disk_s=8.0)
    _, facts = host.until(LLAMA, "ready", 30)
    assert facts["pids"][0] == host.engines[LLAMA].pid
    assert host.states(LLAMA)[-3:] == ["down", "starting", "ready"], host.seen
    told = [event.data["to"] for event in host.look().events if event.subject == f"replica:{LLAMA}"]
    assert told[-3:] == ["down", "starting", "ready"]


def test_the_only_worker_stopped_under_load_makes_the_frontend_stuck_with_evidence(
    host: Host, record_property: Note
) -> None:
    while time.monotonic() - host.began < SETTLED_S:
        host.watch(1)
    host.forget()
    load = host.private.load(host.dynamo.port, MODEL, 100_000, 200, workers=8)
    host.watch(15)
    assert set(host.states(FRONTEND)) == {"ready"}, "busy is not stuck"
    host.engines[WORKER].send_signal(signal.SIGSTOP)
    began, subject = time.monotonic(), f"replica:{FRONTEND}"
    try:
        took, facts = host.until(FRONTEND, "stuck", 75)
        record_property("seconds from SIGSTOP of the worker to the frontend stuck", round(took, 1))
        status, _ = host.private.get(host.dynamo.port, "/health")
        assert status == 200, "its health page says that all is well"
        assert facts["counter"] == "dynamo_frontend_output_tokens_total"
        _, worker = host.until(WORKER, "unready", 20)
        assert worker["phase"] == "scrape-lost"
        for _ in eventually("a finding says so, with evidence", 75 - (time.monotonic() - began)):
            found = [one for one in host.look().findings if (one.rule, one.subject) == ("replica.stuck", subject)]
            if found:
                break
        (stuck,) = found
        evidence = {one["what"]: one for one in stuck.evidence}
        assert evidence["dynamo_frontend_output_tokens_total"]["window_s"] >= 30, evidence
        assert evidence["demand"]["value"] >= 1, evidence
    finally:
        host.engines[WORKER].send_signal(signal.SIGCONT)
        host.private.end(load.process)
    host.until(WORKER, "ready", 20)
    assert "down" not in host.states(WORKER) + host.states(FRONTEND)
    # Its frontend has forgotten it meanwhile, and what finishes its requests now never registers again.
    _, facts = host.until(FRONTEND, "unready", 30)
    assert facts["says"] == "it answers, and no worker stands behind it"
    host.private.end(host.engines[WORKER])
    host.until(WORKER, "down", 5)
    host.engines[WORKER] = host.dynamo.worker(18003, speedup=1.0)
    host.until(FRONTEND, "ready", 30)
    host.until(WORKER, "ready", 20)


def test_a_worker_that_is_told_to_end_finishes_its_work_and_is_down(host: Host, record_property: Note) -> None:
    host.forget()
    load = host.private.load(host.dynamo.port, MODEL, 8, 600, workers=8)
    for _ in eventually("requests are under way", 20):
        if _in_flight(host.look()) >= 4:
            break
        time.sleep(0.2)
    worker = host.engines[WORKER]
    worker.send_signal(signal.SIGTERM)
    for _ in eventually("it has ended", 90):
        host.look()
        if worker.poll() is not None:
            break
        time.sleep(0.2)
    took, _ = host.until(WORKER, "down", 5)
    record_property("seconds from the end of the worker to down", round(took, 1))
    done = load.done(30)
    assert done["failed"] == [], done
    for _ in eventually("nothing is in flight at the frontend", 15):
        if _in_flight(host.look()) == 0:
            break
        time.sleep(0.2)
    before = host.states(WORKER)[:-1]
    assert set(before) <= {"ready", "draining", "drained"}, host.seen


def _in_flight(picture: Picture) -> float:
    values = [picture.cells[f"replica.{name}", FRONTEND][0] for name in ("running", "waiting")]
    return sum(value or 0 for value in values)


def test_idle_and_loading_were_never_called_stuck(host: Host) -> None:
    picture = host.look()
    told = [event for event in picture.events if event.kind == "replica" and event.data["to"] == "stuck"]
    assert [event.subject for event in told if event.subject.removeprefix("replica:") in host.engines] == [
        f"replica:{FRONTEND}"
    ]
    assert host.engines[LLAMA].poll() is None
    assert os.path.exists(f"/proc/{host.engines[FRONTEND].pid}")
