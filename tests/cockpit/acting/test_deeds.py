"""What was done lands in the incident's story: by its name or by what it touches, with who, why and how it ended."""

from typing import Any

from agent.wire.actions import ActionFacts, ActState, RunFacts
from agent.wire.actions import Mark as Judged
from agent.wire.frames import Facts
from agent.wire.shape import pack
from agent.wire.specs import Finding
from cockpit.clock import Instant
from cockpit.fleet.state import Fleet
from cockpit.incidents import Book, Incident, export
from cockpit.incidents.deeds import deeds
from cockpit.incidents.story import place, story
from cockpit.inventory import HostEntry, UnixTarget
from tests.cockpit.fleets import feed
from tests.fakes.hosts import EPOCH, FakeHost

NOW = Instant(EPOCH + 300, 400.0)
REPLICA = "replica:vllm:8000"


class Pair:
    """gpu-a01 with a stuck replica on its GPU 0, lb-1 with the balancer before it, and a book of both."""

    def __init__(self) -> None:
        self.hosts = [FakeHost("gpu-a01"), FakeHost("lb-1", gpus=1)]
        self.fleet = Fleet([HostEntry(host.name, UnixTarget(f"/run/{host.name}"), {}) for host in self.hosts])
        self.book = Book()
        replica = {"id": "vllm:8000", "engine": "vllm", "port": 8000, "pids": [7], "gpus": [self.hosts[0].uuids[0]],
                   "unit": "vllm@8000.service"}  # fmt: skip
        feed(self.fleet, 0, self.hosts[0], replicas=[replica])
        feed(self.fleet, 1, self.hosts[1])
        self.stuck = self.hosts[0].finding(
            None, "replica.stuck", id="aabb0001", subject=REPLICA, text="stuck", since=EPOCH, updated=EPOCH
        )
        self.tell(self.stuck)
        self.ledger: dict[int, dict[str, ActionFacts]] = {0: {}, 1: {}}

    def tell(self, finding: Finding) -> None:
        self.fleet.apply(0, self.hosts[0].transition(finding), NOW)

    def act(self, key: str, when: float, *, host: int = 0, event: bool = True, **more: Any) -> ActionFacts:
        """An entry of a ledger, as a fact and as an event."""
        fields: dict[str, Any] = {
            "action": "systemd.restart", "subject": REPLICA, "state": ActState.DONE, "by": "eva", "user": "alice",
            "at": EPOCH + when, "began": EPOCH + when, "ended": EPOCH + when, "says": "it runs again",
        }  # fmt: skip
        run, _, step = key.partition("/")
        facts = ActionFacts(key, **{**fields, "run": run if step else "", "step": step, **more})
        if event:
            self.event(facts, facts.ended or facts.at, host)
        self.ledger[host][key] = facts
        self.fleet.apply(host, Facts("actions", [pack(item) for item in self.ledger[host].values()]), NOW)
        return facts

    def event(self, facts: ActionFacts, at: float, host: int = 0) -> None:
        self.fleet.apply(host, self.hosts[host].event(at, "action", facts.subject, "x", action=pack(facts)), NOW)

    def run(self, run: RunFacts, *hosts: int) -> None:
        for host in hosts:
            self.fleet.apply(host, Facts("runs", [pack(run)]), NOW)

    def look(self) -> Incident:
        (incident,) = self.book.look(self.fleet, NOW)
        return incident


def lines(pair: Pair) -> list[tuple[str, str]]:
    return [(told.by, told.says) for told in story(pair.fleet, pair.look())]


def test_what_was_done_to_the_replica_of_an_open_incident_is_part_of_its_story() -> None:
    pair = Pair()
    pair.act("1a2b3c4d/1", 30, reason="leaks", ended=EPOCH + 104)
    assert lines(pair)[1:] == [
        ("eva (alice)", "eva (alice): systemd.restart of gpu-a01 vllm:8000 began: leaks"),
        ("eva (alice)", "eva (alice): systemd.restart of gpu-a01 vllm:8000 done after 1 min 14 s: it runs again"),
    ]
    assert lines(pair)[0][0] == "", "the finding happened: nobody did it"


def test_the_same_deed_from_ledger_events_and_facts_is_told_once() -> None:
    pair = Pair()
    for state in (ActState.ACCEPTED, ActState.RUNNING):
        pair.act("1a2b3c4d/1", 30, state=state, ended=None)
    pair.act("1a2b3c4d/1", 30, ended=EPOCH + 40)
    (deed,) = deeds(pair.fleet, pair.look())
    assert (deed.state, deed.ended) == ("done", EPOCH + 40)
    assert len(lines(pair)) == 3


def test_lines_of_progress_do_not_push_faults_out() -> None:
    pair = Pair()
    before = len(pair.fleet.hosts[0].past.events)
    told = pair.fleet.hosts[0].told
    pair.fleet.apply(0, pair.hosts[0].event(EPOCH + 1, "action", REPLICA, "", key="1/1", line="waiting"), NOW)
    assert len(pair.fleet.hosts[0].past.events) == before
    assert pair.fleet.hosts[0].told == told


def test_kin_counts_the_gpu_the_unit_and_the_process_of_the_replica() -> None:
    pair = Pair()
    pair.act("k1", 10, subject=f"gpu:{pair.hosts[0].uuids[0]}", action="gpu.holders")
    pair.act("k2", 11, subject="unit:vllm@8000.service")
    pair.act("k3", 12, subject="process:7", action="process.stop")
    pair.act("k4", 13, subject=f"gpu:{pair.hosts[0].uuids[3]}", action="gpu.holders")
    pair.act("k5", 14, subject="unit:other.service")
    assert [deed.key for deed in deeds(pair.fleet, pair.look())] == ["k1", "k2", "k3"]


def test_what_names_another_incident_or_came_long_before_is_no_part_of_it() -> None:
    pair = Pair()
    pair.act("k1", 10, incident="ffff0000")
    pair.act("k2", -3600)
    assert deeds(pair.fleet, pair.look()) == ()
    pair.act("k3", 10, incident="aabb0001", subject="host", action="diagnostics.collect")
    assert [deed.key for deed in deeds(pair.fleet, pair.look())] == ["k3"]


def test_what_was_under_way_when_the_fault_began_is_part_of_it() -> None:
    pair = Pair()
    pair.act("1a2b3c4d/4", -120, ended=EPOCH - 30)  # began long before, ended just before
    run = RunFacts("1a2b3c4d", "restart-replica", "h", REPLICA, "eva", at=EPOCH - 600, host="id-gpu-a01")
    pair.run(run, 0, 1)
    assert [deed.key for deed in deeds(pair.fleet, pair.look())] == ["1a2b3c4d", "1a2b3c4d/4"]
    other = RunFacts("5e6f7a8b", "restart-replica", "h", REPLICA, "eva", at=EPOCH - 600, host="id-lb-1")
    pair.run(other, 0, 1)
    found = [deed.key for deed in deeds(pair.fleet, pair.look())]
    assert found == ["1a2b3c4d/4"], "a run on a replica of the same name on another host is about another one"


def test_a_run_brings_its_steps_on_other_hosts_and_what_its_console_judged() -> None:
    pair = Pair()
    pair.act("1a2b3c4d/1", 10, host=1, subject="backend:haproxy/llm/s0", action="haproxy.drain", says="0 in flight")
    pair.act("1a2b3c4d/3", 20)
    pair.run(
        RunFacts(
            "1a2b3c4d", "restart-replica", "h", REPLICA, "eva", "alice", "eva", "leaks", "aabb0001", EPOCH + 9,
            EPOCH + 60, "done", "ready again", (Judged("2", "done", "nothing in flight", "eva", EPOCH + 15),),
        ), 0, 1,
    )  # fmt: skip
    found = [(deed.what, deed.state) for deed in deeds(pair.fleet, pair.look())]
    assert found == [
        ("restart-replica of gpu-a01 vllm:8000", "done"),
        ("haproxy.drain of lb-1 llm/s0 at haproxy", "done"),
        ("step 2", "done"),
        ("systemd.restart of gpu-a01 vllm:8000", "done"),
    ]
    incident = pair.look()
    drained = next(told for told in story(pair.fleet, incident) if "haproxy.drain" in told.says)
    assert place(pair.fleet, incident, drained) == "lb-1 llm/s0 at haproxy"


def test_a_run_of_a_single_action_is_told_once() -> None:
    pair = Pair()
    pair.act("1a2b3c4d/1", 20, action="gpu.holders")
    pair.run(RunFacts("1a2b3c4d", "action:gpu.holders", "h", REPLICA, "eva", at=EPOCH + 19, host="id-gpu-a01"), 0)
    assert [deed.action for deed in deeds(pair.fleet, pair.look())] == ["gpu.holders"]


def test_what_an_agent_did_by_itself_is_nobodys_deed() -> None:
    pair = Pair()
    pair.act("1a2b3c4d/1/orphan", 90, by="agent", user="", action="haproxy.ready", says="its lease ran out")
    by, says = lines(pair)[-1]
    assert (by, says) == ("", "the agent: haproxy.ready of gpu-a01 vllm:8000 done: its lease ran out")


def test_a_kept_orphan_and_a_failure_are_warnings() -> None:
    pair = Pair()
    pair.act("k1", 10, orphaned=True, action="haproxy.drain")
    pair.act("k2", 20, state=ActState.FAILED, says="unhealthy after the restart")
    pair.act("k3", 30, undone="k3/undo")
    assert [(deed.state, deed.severity.word) for deed in deeds(pair.fleet, pair.look())] == [
        ("orphaned", "warning"), ("failed", "warning"), ("undone", "info"),
    ]  # fmt: skip


def test_deeds_that_only_the_journal_knows_come_from_its_events() -> None:
    pair = Pair()
    facts = pair.act("k1", 10)
    pair.ledger[0].clear()
    pair.fleet.apply(0, Facts("actions", []), NOW)
    assert [deed.key for deed in deeds(pair.fleet, pair.look())] == [facts.key]


def test_show_marks_what_people_did_and_export_has_who_what_why_result_and_times() -> None:
    pair = Pair()
    pair.act("1a2b3c4d/1", 30, reason="leaks | badly", ended=EPOCH + 104, command=("systemctl restart -- v.service",))
    incident = pair.look()
    text = export.text(pair.fleet, incident, NOW.wall)
    assert "DONE  1 step" in text
    marked = [line for line in text if line.startswith("*")]
    assert len(marked) == 2
    assert "TIMELINE  1 events; * marks what people did" in text
    page = export.markdown(pair.fleet, incident, NOW.wall)
    row = next(line for line in page.split("\n") if "systemctl restart" in line)
    for cell in ("eva (alice)", "systemd.restart of gpu-a01 vllm:8000", r"leaks \| badly", "done: it runs again",
                 "1 min 14 s", "1a2b3c4d"):  # fmt: skip
        assert cell in row


def test_a_damaged_event_of_an_action_is_skipped() -> None:
    pair = Pair()
    event = pair.hosts[0].event(EPOCH + 5, "action", REPLICA, "x", action={"key": 7})
    pair.fleet.apply(0, event, NOW)
    assert deeds(pair.fleet, pair.look()) == ()
