"""How doctor judges what links met: which step broke, what to type, what is left open. Real sshds are in tests/e2e."""

import dataclasses
import io
from typing import Any

import pytest

from cockpit.cli import doctor_text
from cockpit.cli.progress import Progress
from cockpit.clock import SystemClock
from cockpit.errors import LinkError
from cockpit.fleet.facts import Reason
from cockpit.fleet.link_state import LinkState, LinkStatus
from cockpit.fleet.records import HostRecord
from cockpit.inventory import Hop
from cockpit.link.clocks import Offset
from cockpit.link.doctor import Report, State, Step, agent_side, exit_status, remedy
from cockpit.link.doctor.agent_side import Machine, duration
from cockpit.link.doctor.hops import Sshd, failed_step, onward, steps
from cockpit.link.doctor.names import Name, in_hosts_file, is_address, look_up
from cockpit.link.ssh.trail import Trail
from tests.fakes.clock import FakeClock

HOP = Hop("gpu-a01", 22, "oncall", name="gpu-a01")
BASTION = Hop("bast.example", 2222, "jump", name="bast")
MACHINE = Machine("gpu-a01", "gpu-a01", "/run/gpu-cockpit/agent.sock", "oncall", "forward")


class Met(Trail):
    """A trail that came this far, without a connection behind it."""

    def __init__(self, *, connected: bool = False, version: str = "", cipher: str = "", inside: bool = False) -> None:
        super().__init__(1.0, 2.0 if connected or version else 0.0, 3.0 if inside else 0.0)
        self._texts = (version, cipher)

    version = property(lambda self: self._texts[0])  # type: ignore[assignment]
    cipher = property(lambda self: self._texts[1])  # type: ignore[assignment]


def sshd(met: Trail | None = None, *, via: tuple[Hop, ...] = (), known: Name | None = None) -> Sshd:
    met = met or Trail()
    return Sshd(HOP, via, met, bool(met.admitted), known)


def error(state: LinkState, says: str = "it failed", step: str = "", hop: str = "gpu-a01") -> LinkError:
    return LinkError(state, says, "a hint", hop, step)


@pytest.mark.parametrize(
    ("met", "failure", "step"),
    [
        (Met(), error(LinkState.UNREACHABLE), "tcp"),
        (Met(), error(LinkState.UNREACHABLE, step="name"), "name"),
        (Met(), error(LinkState.DENIED), "authentication"),
        (Met(), error(LinkState.DENIED, step="key"), "key"),
        (Met(connected=True), error(LinkState.UNREACHABLE), "ssh"),
        (Met(version="SSH-2.0-x"), error(LinkState.DENIED), "key"),
        (Met(version="SSH-2.0-x"), error(LinkState.INCOMPATIBLE, step="ssh"), "ssh"),
        (Met(version="SSH-2.0-x"), error(LinkState.KEY_CHANGED), "key"),
        (Met(version="SSH-2.0-x", cipher="aes"), error(LinkState.DENIED), "authentication"),
        (Met(version="SSH-2.0-x", cipher="aes"), error(LinkState.UNREACHABLE), "authentication"),
    ],
)
def test_the_step_that_broke_is_the_first_that_was_not_reached(met: Trail, failure: LinkError, step: str) -> None:
    assert failed_step(sshd(met), failure) == step
    found = steps(sshd(met), failure, "")
    assert [item.step for item in found if item.state is State.BROKEN] == [step]
    after = found[[item.step for item in found].index(step) + 1 :]
    assert {item.state for item in after} <= {State.SKIPPED}


def test_a_name_that_was_found_counts_although_nobody_answers_there() -> None:
    known = Name(("10.0.0.7",), "/etc/hosts", took_ms=0.2)
    name, tcp, *_ = steps(sshd(known=known), error(LinkState.UNREACHABLE, "no route to it"), "")
    assert (name.state, name.says) == (State.OK, "gpu-a01 is 10.0.0.7, by /etc/hosts")
    assert (tcp.state, tcp.fix) == (State.BROKEN, "nc -vz gpu-a01 22; ip route get gpu-a01")


def test_a_name_behind_a_bastion_is_the_bastions_business() -> None:
    name, tcp, *_ = steps(sshd(via=(BASTION,)), error(LinkState.UNREACHABLE), "")
    assert (name.state, name.says) == (State.SKIPPED, "bast looks it up, not this machine")
    assert tcp.fix == "on bast: nc -vz gpu-a01 22"


def test_when_the_time_is_over_nothing_is_called_broken() -> None:
    found = steps(sshd(Met(connected=True)), None, "not known after 1 s")
    assert [item.state for item in found] == [State.OK, State.OK, *[State.SKIPPED] * 3]
    assert {item.says for item in found[2:]} == {"not known after 1 s"}


def test_another_program_that_logs_in_is_named() -> None:
    found = steps(Sshd(HOP, (), Trail(), True, by="/usr/bin/ssh"), None, "")
    assert {(item.state, item.says) for item in found} == {(State.OK, "left to /usr/bin/ssh")}


def test_what_a_bastion_lets_through_is_its_last_step() -> None:
    bastion = Sshd(BASTION, (), Met(inside=True), True)
    following = sshd(via=(BASTION,))
    barred = onward(bastion, following, error(LinkState.DENIED, step="forward", hop="bast"))
    assert (barred.hop, barred.state) == ("bast", State.BROKEN)
    assert barred.fix.startswith("on bast: set AllowTcpForwarding yes and PermitOpen gpu-a01:22")
    assert onward(bastion, following, error(LinkState.UNREACHABLE)).state is State.OK
    assert onward(bastion, following, None).state is State.SKIPPED


def record(**changes: Any) -> HostRecord:
    made = HostRecord(0, "gpu-a01", "ssh://gpu-a01", {}, {}, link=LinkStatus(LinkState.LIVE))
    made.agent_version, made.role = "0.1.0", "viewer"
    made.facts = {"host": {"driver": "580.95.05"}}
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def judged(host: HostRecord, offset: Offset | None = None, *, ours: bool = False) -> dict[str, Step]:
    return {step.step: step for step in agent_side.live(MACHINE, host, offset, ours)}


@pytest.mark.parametrize(
    ("code", "owed", "state", "fix"),
    [
        ("driver_missing", 8, State.BROKEN, "modprobe nvidia"),
        ("driver_missing", 0, State.WARNING, "modprobe nvidia"),
        ("driver_not_loaded", 0, State.BROKEN, "on gpu-a01: modprobe nvidia; dmesg | grep NVRM"),
        ("let_go", 8, State.WARNING, "gpu-cockpit-agent let-go --resume"),
        ("nobody_knows_this_code", 8, State.BROKEN, "what the agent says"),
    ],
)
def test_a_driver_is_judged_by_what_the_agent_says_and_what_is_owed(
    code: str, owed: int, state: State, fix: str
) -> None:
    host = record(reasons=(Reason("nvml", code, "It is so", "what the agent says"),), gpus_expected=owed)
    driver = judged(host)["driver"]
    assert (driver.state, driver.says) == (state, "It is so")
    assert driver.fix.startswith("on gpu-a01: ")
    assert driver.fix.endswith(fix)


def test_gpus_that_are_owed_and_do_not_answer_are_a_warning() -> None:
    driver = judged(record(gpus_expected=8, gpus_present=7))["driver"]
    assert (driver.state, driver.says) == (State.WARNING, "driver 580.95.05, 7 of 8 GPUs answer")
    assert judged(record(gpus_expected=8, gpus_present=8))["driver"].state is State.OK


@pytest.mark.parametrize(
    ("seconds", "rtt", "state", "says"),
    [
        (0.002, 0.01, State.OK, "as ours, to within 5 ms"),
        (-0.2, 0.01, State.OK, "200 ms behind"),
        (0.9, 1.5, State.OK, "900 ms ahead, to within 750 ms"),
        (0.4, 0.01, State.WARNING, "400 ms ahead, to within 5 ms: its events carry wrong times"),
        (-90.0, 0.01, State.BROKEN, "90.0 s behind"),
        (-365.25 * 86400, 0.01, State.BROKEN, "1.0 years behind"),
    ],
)
def test_a_clock_is_judged_beyond_the_error_of_its_measurement(
    seconds: float, rtt: float, state: State, says: str
) -> None:
    clock = judged(record(), Offset(seconds, rtt, 0.0))["clock"]
    assert clock.state is state
    assert says in clock.says
    assert clock.fix == ("" if state is State.OK else "on gpu-a01: timedatectl set-ntp true && timedatectl")


def test_when_every_host_disagrees_it_is_our_clock() -> None:
    clock = judged(record(), Offset(-7200.0, 0.01, 0.0), ours=True)["clock"]
    assert clock.state is State.BROKEN
    assert "it is this machine's clock" in clock.says
    assert clock.fix.startswith("on this machine: timedatectl")


def test_a_clock_that_was_not_measured_is_not_guessed() -> None:
    assert judged(record())["clock"].state is State.SKIPPED


def test_an_agents_own_trouble_is_a_warning_of_the_agent() -> None:
    full = Reason("state", "state_unsaved", "/var is full", "make room")
    agent = judged(record(reasons=(full,)))["agent"]
    assert (agent.state, agent.says, agent.fix) == (State.WARNING, "/var is full", "on gpu-a01: make room")


@pytest.mark.parametrize(
    ("failure", "step", "fix"),
    [
        (error(LinkState.AGENT_DOWN, step="socket"), "socket", "systemctl restart gpu-cockpit-agent"),
        (error(LinkState.DENIED, step="socket"), "socket", "usermod -aG gpu-cockpit-view oncall"),
        (error(LinkState.AGENT_DOWN, step="forward"), "forward", "AllowStreamLocalForwarding local"),
        (error(LinkState.INCOMPATIBLE, "the agent is too old: it speaks protocol 0"), "agent", "only-upgrade"),
        (error(LinkState.INCOMPATIBLE, "the agent is too new: it speaks protocol 9"), "agent", "pipx upgrade"),
        (error(LinkState.INCOMPATIBLE, "no gpu-cockpit agent answers there"), "agent", "a hint"),
        (error(LinkState.AGENT_DOWN, "says no hello"), "socket", "systemctl restart"),
    ],
)
def test_behind_the_login_the_error_says_the_step(failure: LinkError, step: str, fix: str) -> None:
    found = {item.step: item for item in agent_side.failed(MACHINE, failure)}
    assert [name for name, item in found.items() if item.state is State.BROKEN] == [step]
    assert fix in found[step].fix


def test_an_agent_that_is_brought_along_has_no_socket() -> None:
    carried = dataclasses.replace(MACHINE, path=agent_side.CARRIED)
    found = {item.step: item for item in agent_side.live(carried, record(), None)}
    assert {found[step].state for step in ("forward", "socket")} == {State.SKIPPED}
    failed = {item.step: item for item in agent_side.failed(carried, error(LinkState.AGENT_DOWN, step="socket"))}
    assert (failed["agent"].state, failed["agent"].fix) == (State.BROKEN, "a hint")


def report(*states: State, undecided: bool = False) -> Report:
    made = tuple(Step(f"s{number}", "h", state, "") for number, state in enumerate(states))
    return Report("h", "ssh://h", made, undecided=undecided)


@pytest.mark.parametrize(
    ("reports", "status"),
    [
        ([report(State.OK)], 0),
        ([report(State.OK, State.WARNING)], 0),
        ([report(State.OK), report(State.BROKEN)], 1),
        ([report(State.OK), report(State.SKIPPED, undecided=True)], 3),
        ([report(State.BROKEN), report(State.SKIPPED, undecided=True)], 1),
    ],
)
def test_the_exit_status(reports: list[Report], status: int) -> None:
    assert exit_status(reports) == status


def test_severities_are_those_of_every_list() -> None:
    assert report(State.OK, State.SKIPPED).severity == "ok"
    assert report(State.WARNING, State.OK).severity == "warning"
    assert report(State.BROKEN, State.WARNING, undecided=True).severity == "critical"
    assert report(State.SKIPPED, undecided=True).severity == "unknown"


@pytest.mark.parametrize(
    ("hop", "via", "fix"),
    [
        (HOP, (), "ssh-copy-id oncall@gpu-a01"),
        (dataclasses.replace(HOP, identity="/k y", port=2222), (), "ssh-copy-id -i '/k y' -p 2222 oncall@gpu-a01"),
        (HOP, (BASTION,), "ssh-copy-id -o ProxyJump=jump@bast.example:2222 oncall@gpu-a01"),
    ],
)
def test_a_key_is_brought_there_the_same_way(hop: Hop, via: tuple[Hop, ...], fix: str) -> None:
    assert remedy.key_refused(hop, via).endswith(f": {fix}")


def test_what_an_inventory_says_is_never_a_command() -> None:
    evil = dataclasses.replace(HOP, host="x;reboot", user="a$(b)")
    for command in (remedy.unreachable(evil, ""), remedy.name_unknown(evil), remedy.key_refused(evil, ())):
        assert "'x;reboot'" in command or "'a$(b)@x;reboot'" in command


async def test_names_are_looked_up_once_and_say_where_from(tmp_path: Any) -> None:
    found = await look_up(["localhost", "localhost"], SystemClock(), 5.0)
    assert found["localhost"].addresses
    assert found["localhost"].source == "/etc/hosts"
    hosts = tmp_path / "hosts"
    hosts.write_text("# 10.0.0.1 gone\n10.0.0.7 GPU-a01.example gpu-a01 # rack 3\n")
    assert in_hosts_file("gpu-a01", hosts)
    assert not in_hosts_file("gone", hosts)
    assert not in_hosts_file("10.0.0.7", hosts)
    assert not in_hosts_file("gpu-a01", tmp_path / "none")


@pytest.mark.parametrize(("text", "yes"), [("10.0.0.1", True), ("fe80::1%eth0", True), ("gpu-a01", False), ("", False)])
def test_an_address_needs_no_look_up(text: str, yes: bool) -> None:
    assert is_address(text) is yes


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0004, "0.4 ms"), (0.25, "250 ms"), (1.5, "1.5 s"), (300, "5.0 minutes"), (3e7, "347.2 days")],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_people_see_remarks_and_warnings_of_a_host_that_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    noted = dataclasses.replace(report(State.OK), remarks=("~/.ssh/config:2: StrictHostKeyChecking no: ...",))
    doctor_text.show([noted])
    lines = capsys.readouterr().out.splitlines()
    assert any("warning  ssh_config" in line for line in lines)
    assert lines[-1] == "1 host: 1 well"


class Tty(io.StringIO):
    """A terminal that remembers what was drawn."""

    def isatty(self) -> bool:
        return True


async def test_progress_is_drawn_after_a_second_and_stands_still_while_somebody_is_asked() -> None:
    import asyncio

    clock, out, asked = FakeClock(), Tty(), [0.0]
    progress = Progress(clock, out, lambda: "3 of 8", lambda: asked[0])
    async with asyncio.TaskGroup() as group:
        task = group.create_task(progress.run())
        await clock.advance(0.9)
        assert out.getvalue() == ""
        asked[0] = 0.5
        await clock.advance(0.2)
        assert out.getvalue() == "", "a question stands on the terminal"
        await clock.advance(0.5)
        assert "gpu-cockpit: 3 of 8, 2 s ..." in out.getvalue()
        task.cancel()
    progress.clear()
    assert out.getvalue().endswith("\r\x1b[K")


async def test_progress_says_nothing_into_a_pipe() -> None:
    await Progress(FakeClock(), io.StringIO(), lambda: "3 of 8").run()
