"""The root helper and a real HAProxy: it counts before it changes, changes one server alone, and looks again."""

import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.actuator import haproxy, stats_socket
from agent.actuator.family import Argv, Entry, Job, Outcome, Ran, Refused
from agent.actuator.values import checked
from tests.agent.actuator.balancing import Balancer, balancer

ACTIONS = {action.id: action for action in haproxy.FAMILY.actions}
WHO = {"uid": 1000, "user": "alice", "claimed": "Alice", "role": "operator"}


@dataclass
class Hands:
    state: Path
    entries: tuple[Entry, ...] = ()
    lines: list[str] = field(default_factory=list)

    def say(self, line: str) -> None:
        self.lines.append(line)

    def run(self, argv: Argv, deadline_s: float, quiet: bool = False) -> Ran:
        raise AssertionError(f"nothing is executed: {argv}, {deadline_s}, {quiet}")


@dataclass
class Asker:
    """One operator's run against one balancer; as the root helper would, it checks the arguments first."""

    balancer: Balancer
    hands: Hands
    floor: int = 1
    run: str = "run1"

    def job(self, action: str, server: str, expect: Mapping[str, str] | None = None, **args: Any) -> Job:
        keys = {"socket": str(self.balancer.admin), "backends": ("llm",), "servers": ("*",), "floor": self.floor}
        entry = Entry(1, ("haproxy.*",), "operator", keys)
        self.hands.entries = (entry,)
        values = checked(ACTIONS[action].args, {"lb": "edge", "backend": "llm", "server": server, **args})
        return Job(action, entry, values, expect or {}, self.hands, f"{self.run}/1", self.run, WHO)

    def act(self, action: str, server: str, expect: Mapping[str, str] | None = None, **args: Any) -> Outcome:
        perform = ACTIONS[action].perform
        assert perform is not None
        return perform(self.job(action, server, expect, **args))

    def plan(self, action: str, server: str, **args: Any) -> Mapping[str, Any]:
        more = ACTIONS[action].more
        assert more is not None
        return more(self.job(action, server, **args))

    def look(self, server: str) -> Mapping[str, Any]:
        self.job("haproxy.drain", server)
        look = haproxy.FAMILY.looks["haproxy"]
        return look.see(self.hands, checked(look.args, {"lb": "", "backend": "llm", "server": server})).data


@pytest.fixture
def asker(tmp_path: Path) -> Iterator[Asker]:
    with balancer() as running:
        yield Asker(running, Hands(tmp_path))


def test_a_drain_is_done_when_the_balancer_shows_it_and_says_what_is_left(asker: Asker) -> None:
    done = asker.act("haproxy.drain", "r1")
    assert (done.end, done.data["changed"], done.data["state"], done.data["ready"]) == ("done", True, "drain", 2)
    assert done.data["before"] == {"admin": "0", "state": "ready", "weight": "1", "status": "no check"}
    assert asker.balancer.states() == {"r1": (8, 1), "r2": (0, 1), "r3": (0, 1)}
    assert asker.hands.lines == [f"haproxy {asker.balancer.admin}: set server llm/r1 state drain"]
    assert asker.look("r1")["drained"] is True
    assert asker.look("r2")["drained"] is False


def test_a_server_is_drained_only_once_nothing_runs_on_it(asker: Asker) -> None:
    """A request that streams when it is drained ends whole, and until then it is counted."""
    go_on = threading.Event()

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nhello")
            go_on.wait(20)
            connection.sendall(b"world")

    with ExitStack() as stack:
        for name in ("r2", "r3"):
            asker.balancer.tell(f"set server llm/{name} state maint")
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(asker.balancer.folder / "r1.sock"))
        listener.listen()
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        client = stack.enter_context(socket.socket(socket.AF_UNIX))
        client.settimeout(20)
        client.connect(str(asker.balancer.folder / "door.sock"))
        client.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        said = client.recv(65536)
        while b"hello" not in said:
            said += client.recv(65536)
        asker.floor = 0
        done = asker.act("haproxy.drain", "r1")
        assert (done.data["in_flight"], asker.look("r1")["drained"]) == (1, False)
        go_on.set()
        assert client.recv(65536) == b"world"
        server.join(5)
        end = time.monotonic() + 10
        while not asker.look("r1")["drained"] and time.monotonic() < end:
            time.sleep(0.02)
        seen = asker.look("r1")
    assert (seen["in_flight"], seen["queued"], seen["drained"]) == (0, 0, True)


def test_below_the_floor_nothing_is_changed_and_the_sentence_has_the_numbers(asker: Asker) -> None:
    asker.floor = 2
    asker.act("haproxy.drain", "r1")
    for action in ("haproxy.drain", "haproxy.maint"):
        with pytest.raises(Refused, match="backend llm has 1 ready servers besides r2, and its floor is 2"):
            asker.act(action, "r2")
    with pytest.raises(Refused, match="its floor is 2"):
        asker.act("haproxy.weight", "r2", weight=0)
    assert asker.balancer.states()["r2"] == (0, 1)
    assert "its floor is 2" in asker.plan("haproxy.drain", "r2")["refused"]


def test_the_higher_of_the_policys_floor_and_the_plans_counts(asker: Asker) -> None:
    with pytest.raises(Refused, match="its floor is 3"):
        asker.act("haproxy.drain", "r1", floor=3)
    asker.floor = 3
    with pytest.raises(Refused, match="its floor is 3"):
        asker.act("haproxy.drain", "r1", floor=1)


def test_backups_weightless_and_servers_that_are_out_do_not_count(tmp_path: Path) -> None:
    with balancer("r1", "r2 backup", "r3 disabled", "r4", "r5") as running:
        running.tell("set weight llm/r4 0")
        running.tell("set server llm/r5 state drain")
        asker = Asker(running, Hands(tmp_path))
        with pytest.raises(Refused, match=re.escape("has 0 ready servers besides r1 (backups do not count: 1)")):
            asker.act("haproxy.drain", "r1")


def test_a_server_that_serves_nobody_may_be_taken_out_below_the_floor(tmp_path: Path) -> None:
    """A broken replica of a pool that is at its floor must be restarted: it takes no ready server away."""
    with balancer("r1", "r2 check inter 50ms fall 1 init-addr none") as running:
        asker = Asker(running, Hands(tmp_path))
        for _ in range(200):
            if asker.plan("haproxy.drain", "r2")["status"].startswith("DOWN"):
                break
            time.sleep(0.01)
        assert asker.act("haproxy.drain", "r2").end == "done"
        assert running.ready() == 1


def test_a_drain_that_somebody_else_set_is_neither_claimed_nor_lifted_by_this_run(asker: Asker) -> None:
    asker.balancer.tell("set server llm/r1 state drain")
    done = asker.act("haproxy.drain", "r1")
    assert (done.end, done.data["changed"], done.data["by"]) == ("done", False, {})
    assert "set by somebody who did not go through gpu-cockpit" in done.says
    back = asker.act("haproxy.ready", "r1")
    assert (back.end, back.data["changed"]) == ("done", False)
    assert "stays so" in back.says
    assert asker.balancer.states()["r1"] == (8, 1)


def test_who_took_a_server_out_through_us_is_said_to_the_next(asker: Asker) -> None:
    asker.act("haproxy.drain", "r1")
    asker.run = "run2"
    done = asker.act("haproxy.drain", "r1")
    assert done.data["changed"] is False
    assert "set by Alice (alice) in run run1 at 2" in done.says
    assert asker.act("haproxy.ready", "r1").data["changed"] is False, "run2 found it out"
    asker.run = "run3"  # an operator's own wish to have it back
    assert asker.act("haproxy.ready", "r1").data["changed"] is True
    assert asker.balancer.states()["r1"] == (0, 1)


def test_a_run_can_be_told_to_lift_what_it_found(asker: Asker) -> None:
    asker.balancer.tell("set server llm/r1 state maint")
    asker.act("haproxy.drain", "r1")
    assert asker.balancer.states()["r1"][0] == 1, "maintenance is not weakened into a drain"
    assert asker.act("haproxy.ready", "r1", lift="yes").data["changed"] is True
    assert asker.balancer.states()["r1"] == (0, 1)


def test_maintenance_of_what_was_drained_before_goes_back_to_the_drain(asker: Asker) -> None:
    asker.balancer.tell("set server llm/r1 state drain")
    done = asker.act("haproxy.maint", "r1")
    assert (done.data["changed"], done.data["before"]["state"]) == (True, "drain")
    assert asker.balancer.states()["r1"][0] == 1
    asker.act("haproxy.ready", "r1")
    assert asker.balancer.states()["r1"][0] == 8


def test_what_somebody_sets_by_hand_after_us_is_not_lifted_by_our_putting_it_back(asker: Asker) -> None:
    asker.act("haproxy.drain", "r1")
    asker.balancer.tell("set server llm/r1 state maint")
    back = asker.act("haproxy.ready", "r1")
    assert (back.data["changed"], asker.balancer.states()["r1"][0]) == (False, 1)
    assert "somebody set it so after it was taken out" in back.says
    assert asker.act("haproxy.ready", "r1", lift="yes").data["changed"] is True


def test_maintenance_after_our_own_drain_is_still_ours(asker: Asker) -> None:
    asker.act("haproxy.drain", "r1")
    asker.act("haproxy.maint", "r1")
    assert asker.act("haproxy.ready", "r1").data["changed"] is True
    assert asker.balancer.ready() == 3


def test_what_another_haproxy_was_told_is_nobodys_any_more(asker: Asker) -> None:
    asker.act("haproxy.drain", "r1")
    asker.balancer.restart()
    assert asker.balancer.ready() == 3
    asker.balancer.tell("set server llm/r1 state drain")
    asker.run = "run2"
    assert asker.act("haproxy.drain", "r1").data["by"] == {}


def test_a_weight_that_rounds_to_nothing_is_refused_as_a_drain_without_a_word(asker: Asker) -> None:
    with pytest.raises(Refused, match="50 % of the configured weight 1 of llm/r1 rounds to 0"):
        asker.act("haproxy.weight", "r1", percent=50)
    assert asker.balancer.states()["r1"] == (0, 1)


def test_a_weight_is_set_and_taken_back_exactly(tmp_path: Path) -> None:
    with balancer("r1 weight 30", "r2 weight 10") as running:
        asker = Asker(running, Hands(tmp_path))
        running.tell("set weight llm/r1 17")
        done = asker.act("haproxy.weight", "r1", percent=50)
        assert (done.data["weight"], done.data["before"]["weight"]) == (15, "17")
        assert asker.act("haproxy.weight", "r1", weight=17).data["weight"] == 17
        assert asker.act("haproxy.weight", "r1", weight=17).data["changed"] is False
        assert running.states() == {"r1": (0, 17), "r2": (0, 10)}


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({"server": "r9"}, "no server r9 in its backend llm"),
        ({"server": "r1", "expect": {"address": "10.0.0.1:80"}}, "at no address now and not at 10.0.0.1:80"),
    ],
)
def test_another_server_than_the_plan_saw_is_left_alone(asker: Asker, args: dict[str, Any], says: str) -> None:
    with pytest.raises(Refused, match=says):
        asker.act("haproxy.drain", args["server"], args.get("expect"))
    assert asker.balancer.ready() == 3


def test_a_balancer_that_is_gone_or_is_none_is_a_sentence(asker: Asker) -> None:
    asker.balancer.stop()
    with pytest.raises(Refused, match=r"HAProxy's socket .* cannot be asked: .*: nothing was changed"):
        asker.act("haproxy.drain", "r1")
    assert "cannot be asked" in asker.plan("haproxy.drain", "r1")["refused"]


def test_two_sockets_for_one_backend_are_refused_unless_the_balancer_is_named(asker: Asker) -> None:
    job = asker.job("haproxy.drain", "r1")
    other = Entry(2, ("haproxy.*",), "operator", {**job.entry.keys, "socket": "/run/other.sock"})
    asker.hands.entries = (job.entry, other)
    with pytest.raises(Refused, match="say in its entries which balancer is meant"):
        haproxy.FAMILY.actions[0].commands(job)


STAT = "# pxname,svname,qcur,scur,status,weight,bck,type,\nllm,r1,0,0,{0},1,0,2,\nllm,r2,0,0,UP,1,0,2,\n"
STATE = (
    "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_port\n"
    "3 llm 1 r1 - 2 {1} 1 1 0\n3 llm 2 r2 - 2 0 1 1 0\n"
)


class Odd:
    """A HAProxy that does one thing wrong when it is told something."""

    def __init__(self, folder: Path, answer: str | None, admin: int = 0) -> None:
        self.admin_socket, self.told = folder / "odd.sock", False
        self._answer, self._admin = answer, admin
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.admin_socket))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                command = connection.recv(4096).decode().strip()
                if command.startswith("set"):
                    self.told = True
                    if self._answer is None:
                        self._listener.close()
                        return
                connection.sendall(self._says(command).encode())

    def _says(self, command: str) -> str:
        admin = self._admin if self.told else 0
        if command.startswith("set"):
            return f"{self._answer}\n"
        if command == "show info":
            return "Name: HAProxy\nPid: 7\n"
        return (STAT if command.startswith("show stat") else STATE).format("DRAIN" if admin else "UP", admin)

    def close(self) -> None:
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._thread.join(5)
        self._listener.close()


@pytest.mark.parametrize(
    ("answer", "admin", "end", "says"),
    [
        ("", 8, "done", "server llm/r1 is DRAIN"),
        ("Permission denied", 0, "failed", "HAProxy answered 'Permission denied' to 'set server llm/r1 state drain'"),
        ("", 0, "failed", "HAProxy took 'set server llm/r1 state drain' and nevertheless says UP, weight 1"),
        (None, 0, "unknown", "'set server llm/r1 state drain' was sent, and then: HAProxy's socket"),
    ],
    ids=["taken", "not taken", "taken without effect", "gone meanwhile"],
)
def test_done_is_what_the_second_look_shows(tmp_path: Path, answer: str, admin: int, end: str, says: str) -> None:
    odd = Odd(tmp_path, answer, admin)
    try:
        asker = Asker(SimpleNamespace(admin=odd.admin_socket), Hands(tmp_path))  # type: ignore[arg-type]
        outcome = asker.act("haproxy.drain", "r1")
    finally:
        odd.close()
    assert (outcome.end, outcome.says[: len(says)]) == (end, says)
    assert outcome.data["before"]["state"] == "ready"


@given(name=st.text(max_size=40))
def test_no_name_becomes_a_second_command(name: str) -> None:
    """What is not refused is one word of one line."""
    args = ACTIONS["haproxy.drain"].args
    try:
        values = checked(args, {"backend": name, "server": name})
    except Refused:
        return
    entry = Entry(1, ("haproxy.*",), "operator", {"socket": "/s", "backends": ("*",)})
    job = Job("haproxy.drain", entry, values, {}, Hands(Path("/"), (entry,)))
    ((_, _, line),) = ACTIONS["haproxy.drain"].commands(job)
    assert line == f"set server {name}/{name} state drain"
    assert re.fullmatch(r"[\w.:\-]+", name, re.ASCII)
    assert not name.startswith("-")


@given(number=st.text(max_size=8))
def test_no_weight_becomes_a_second_command(number: str) -> None:
    args = ACTIONS["haproxy.weight"].args
    for what in ("percent", "weight"):
        try:
            values = checked(args, {"backend": "b", "server": "s", what: number})
        except Refused:
            continue
        assert values[what].isascii()
        assert values[what].isdigit()


def test_the_lock_of_a_balancer_keeps_others_out_and_is_given_back(asker: Asker, monkeypatch: Any) -> None:
    monkeypatch.setattr(stats_socket, "LOCK_S", 0.05)
    with stats_socket.alone(asker.balancer.admin), pytest.raises(Refused, match="has been changing") as refused:
        asker.act("haproxy.drain", "r1")
    assert refused.value.code == 423
    assert asker.act("haproxy.drain", "r1").end == "done"
