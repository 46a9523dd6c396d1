"""Doctor on prepared breakages: real sshds behind a real bastion, real agents, one run over all of them. Each test asks
for the hop that was named and the command that was given."""

import json
import os
import socket
import subprocess
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.wire import version
from tests.e2e.accounts import Accounts, accounts
from tests.e2e.network import PORT, Network, Sshd
from tests.fakes.process import AGENT, AgentProcess
from tests.lab import has_command, require

pytestmark = pytest.mark.lab

CHANGED, UNKNOWN, LOCKED, CLOSED, SILENT = 2223, 2224, 2225, 2232, 2299
STEPS = ["name", "tcp", "ssh", "key", "authentication"]
BEHIND = ["forward", "socket", "agent", "driver", "kernel_log", "clock", "permissions"]
YEAR_S = 365.25 * 86400
SILENT_STATES = {
    "nowhere": "unreachable",
    "refused": "unreachable",
    "changed": "key_changed",
    "unknown": "denied",
    "stranger": "denied",
    "barred": "denied",
    "barred-too": "denied",
    "nobridge": "agent_down",
    "crashed": "agent_down",
    "stopped": "agent_down",
    "guest": "denied",
    "old": "incompatible",
    "new": "incompatible",
}


@pytest.fixture(scope="module")
def people() -> Iterator[Accounts]:
    with accounts() as found:
        yield found


@pytest.fixture(scope="module")
def sshds(network: Network, people: Accounts) -> Iterator[None]:
    """An open bastion, one that forwards nothing, and two hosts; n1 listens on several ports."""
    keys = people.folder / "oncall.pub"
    keys.write_text((network.folder / "oncall.pub").read_text())
    keys.chmod(0o644)
    started = [
        network.sshd("bast").start(),
        network.sshd("bast", "AllowTcpForwarding no", port=CLOSED).start(),
        network.sshd(
            "n1",
            *(f"Port {port}" for port in (CHANGED, UNKNOWN, LOCKED)),
            f"AuthorizedKeysFile {keys}",
            f"SetEnv PATH={people.bin}:/usr/bin:/bin",
            matches=(f"Match LocalPort {LOCKED}", "  DisableForwarding yes", "  SetEnv PATH=/usr/bin:/bin"),
            wrap=people.wrap,
        ).start(),
        network.sshd("n2").start(),
    ]
    yield
    for sshd in started:
        sshd.stop()


@contextmanager
def speaking(path: Path, major: int) -> Iterator[None]:
    """An agent of another major protocol, as far as a cockpit gets to know it."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        with ExitStack() as clients:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                clients.enter_context(client).sendall(version.MAGIC + bytes((major,)))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


@pytest.fixture(scope="module")
def blind(folder: Path) -> Iterator[AgentProcess]:
    """A real agent on a host without a driver that may not read the kernel log, whatever the machine of the test is."""
    require("setpriv of util-linux", has_command("setpriv"))
    home = folder / "blind"
    home.mkdir()
    agent = AgentProcess(home)
    (home / "kmsg").chmod(0)
    caps = "--bounding-set=-dac_override,-dac_read_search,-syslog"
    words = ["run", "--config", agent.config, "--socket", agent.socket, "--state", home / "state"]
    with (home / "log").open("ab") as log:
        agent.process = subprocess.Popen(["setpriv", caps, *AGENT, *map(str, words)], env=agent.env, stderr=log)
    yield agent
    agent.kill()


@pytest.fixture(scope="module")
def sockets(folder: Path, people: Accounts, fleet: Path) -> Iterator[dict[str, str]]:
    """Sockets by what is wrong with them."""
    simulated = [
        host["address"].removeprefix("unix://") for host in tomllib.loads((fleet / "fleet.toml").read_text())["host"]
    ]
    stale = people.folder / "stale.sock"
    crashed = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    crashed.bind(str(stale))
    crashed.close()
    private = people.folder / "private.sock"
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        listener.bind(str(private))
        listener.listen()
        people.share(private)
        for name, major in (("old", version.MAJOR - 1), ("new", version.MAJOR + 1)):
            stack.enter_context(speaking(folder / f"{name}.sock", major))
        yield {
            "well": simulated[0],
            "second": simulated[1],
            "stale": str(stale),
            "absent": str(people.folder / "absent.sock"),
            "private": str(private),
        }


def host(name: str, address: str, **keys: object) -> str:
    lines = [f"[[host]]\nname = {json.dumps(name)}\naddress = {json.dumps(address)}"]
    return "\n".join([*lines, *(f"{key} = {json.dumps(value)}" for key, value in keys.items())])


@pytest.fixture(scope="module")
def file(network: Network, folder: Path, sockets: dict[str, str], blind: AgentProcess) -> Path:
    n1, n2, bast = network.address("n1"), network.address("n2"), network.address("bast")
    known = [network.known("bast"), network.known("bast", CLOSED), network.known("n2")]
    known += [network.known("n1"), network.known("n1", LOCKED), network.known("n1", CHANGED, "stranger")]
    (network.folder / "known_hosts").write_text("".join(known))
    parts = [
        '[defaults]\nuser = "root"\nport = 2222\njump = "bast"\nidentity = "oncall"\nknown_hosts = "known_hosts"',
        f'[[jump]]\nname = "bast"\nhost = "{bast}"\nport = {PORT}',
        f'[[jump]]\nname = "closed"\nhost = "{bast}"\nport = {CLOSED}',
        host("well", n2, socket=sockets["well"]),
        host("nowhere", "gpu-nowhere.invalid", jump=""),
        host("refused", f"{bast}:{SILENT}", jump=""),
        host("noroute", "10.77.2.99"),
        host("changed", f"{n1}:{CHANGED}"),
        host("unknown", f"{n1}:{UNKNOWN}"),
        host("stranger", n1, identity="stranger"),
        host("barred", n1, jump="closed"),
        host("barred-too", n2, jump="closed"),
        host("nobridge", f"{n1}:{LOCKED}", socket=sockets["well"]),
        host("crashed", n2, socket=sockets["stale"]),
        host("stopped", n2, socket=sockets["absent"]),
        host("guest", f"guest@{n1}:{PORT}", socket=sockets["private"]),
        host("old", f"unix://{folder / 'old.sock'}"),
        host("new", f"unix://{folder / 'new.sock'}"),
        host("blind", f"unix://{blind.socket}", gpus=8),
        host("local", f"unix://{sockets['second']}"),
    ]
    path = network.folder / "doctor.toml"
    path.write_text("\n\n".join(parts) + "\n")
    return path


@pytest.fixture(scope="module")
def found(network: Network, sshds: None, file: Path) -> dict[str, Any]:
    """The items of one run, by host."""
    del sshds
    began = time.monotonic()
    done = network.operator("gpu-cockpit", "--fleet", str(file), "doctor", "--json")
    assert done.returncode == 1, done.stderr
    assert done.stderr == ""
    assert time.monotonic() - began < 12
    document = json.loads(done.stdout)
    assert document["schema"] == 1
    assert document["as_of"]
    return {item["host"]: item for item in document["items"]}


def broken(item: dict[str, Any]) -> dict[str, Any]:
    """The one step that is broken; everything behind it was skipped and says why."""
    steps = item["steps"]
    (at,) = [number for number, step in enumerate(steps) if step["state"] == "broken"]
    for step in steps[at + 1 :]:
        assert step["state"] == "skipped", step
        assert "broken" in step["says"]
        assert step["fix"] == ""
    assert item["severity"] == "critical"
    assert set(steps[at]) == {"step", "hop", "state", "says", "fix", "took_ms"}
    return dict(steps[at])


def states(item: dict[str, Any], hop: str) -> dict[str, str]:
    return {step["step"]: step["state"] for step in item["steps"] if step["hop"] == hop}


def test_a_healthy_host_has_every_step_of_every_hop_in_order(found: dict[str, Any]) -> None:
    item = found["well"]
    named = [(step["hop"], step["step"]) for step in item["steps"]]
    assert named == [("bast", step) for step in [*STEPS, "forward"]] + [("well", step) for step in [*STEPS, *BEHIND]]
    assert {step["state"] for step in item["steps"]} == {"ok"}
    assert (item["severity"], item["state"], item["bastions"]) == ("ok", "ok", ["bast"])
    assert 0 <= item["age_s"] < 10
    assert found["nowhere"]["age_s"] is None
    says = {(step["hop"], step["step"]): step["says"] for step in item["steps"]}
    assert says["bast", "name"] == "10.77.1.1 is an address"
    assert says["well", "tcp"] == "port 2222 takes connections through bast"
    assert says["well", "ssh"].startswith("SSH-2.0-OpenSSH")
    assert "ssh-ed25519 SHA256:" in says["well", "key"]
    assert says["well", "authentication"].startswith("root is let in with ssh-ed25519 SHA256:")
    assert says["well", "driver"].endswith("4 of 4 GPUs answer")
    assert "to within" in says["well", "clock"]


def test_a_host_on_this_machine_has_no_steps_of_ssh(found: dict[str, Any]) -> None:
    item = found["local"]
    assert states(item, "local") == dict.fromkeys([*STEPS, "forward"], "skipped") | dict.fromkeys(BEHIND[1:], "ok")
    assert item["severity"] == "ok"


def test_a_name_that_leads_nowhere(found: dict[str, Any]) -> None:
    step = broken(found["nowhere"])
    assert (step["hop"], step["step"], step["says"]) == ("nowhere", "name", "the name cannot be resolved")
    assert step["fix"].endswith(": getent hosts gpu-nowhere.invalid")


def test_a_port_where_no_sshd_listens(found: dict[str, Any]) -> None:
    step = broken(found["refused"])
    assert (step["hop"], step["step"]) == ("refused", "tcp")
    assert "no sshd listens there" in step["says"]
    assert step["fix"].startswith("on refused: systemctl start ssh")


def test_a_host_that_its_bastion_cannot_reach(found: dict[str, Any]) -> None:
    item = found["noroute"]
    step = broken(item)
    assert (step["hop"], step["step"]) == ("noroute", "tcp")
    assert step["fix"] == "on bast: nc -vz 10.77.2.99 2222"
    assert set(states(item, "bast").values()) == {"ok"}


def test_a_changed_host_key(found: dict[str, Any]) -> None:
    step = broken(found["changed"])
    assert (step["hop"], step["step"]) == ("changed", "key")
    assert "CHANGED" in step["says"]
    assert "ssh-keygen -R '[10.77.2.11]:2223' -f" in step["fix"]


def test_an_unknown_host_key(found: dict[str, Any]) -> None:
    step = broken(found["unknown"])
    assert (step["hop"], step["step"]) == ("unknown", "key")
    assert "SHA256:" in step["says"]
    assert "-p 2222 -W " in step["fix"], "the bastion is reached with its own key and known_hosts"
    assert "root@10.77.1.1' -p 2224 root@10.77.2.11 true" in step["fix"]


def test_a_key_that_the_host_does_not_know(found: dict[str, Any]) -> None:
    item = found["stranger"]
    step = broken(item)
    assert (step["hop"], step["step"]) == ("stranger", "authentication")
    assert ": ssh-copy-id -i " in step["fix"]
    assert "ProxyCommand=ssh -i " in step["fix"]
    assert states(item, "stranger")["key"] == "ok"


@pytest.mark.parametrize("name", ["barred", "barred-too"])
def test_a_bastion_that_forwards_nothing(name: str, found: dict[str, Any]) -> None:
    item = found[name]
    step = broken(item)
    assert (step["hop"], step["step"]) == ("closed", "forward")
    assert step["fix"].startswith("on closed: set AllowTcpForwarding yes")
    assert all(state == "ok" for step, state in states(item, "closed").items() if step != "forward")
    assert set(states(item, name).values()) == {"skipped"}


def test_a_host_that_forwards_nothing_and_has_no_bridge(found: dict[str, Any]) -> None:
    step = broken(found["nobridge"])
    assert (step["hop"], step["step"]) == ("nobridge", "forward")
    assert step["fix"].startswith("on nobridge: ")
    assert "AllowStreamLocalForwarding local in /etc/ssh/sshd_config, then: systemctl reload ssh" in step["fix"]


@pytest.mark.parametrize(("name", "says"), [("crashed", "onnection refused"), ("stopped", "o such file")])
def test_an_agent_that_does_not_run(name: str, says: str, found: dict[str, Any]) -> None:
    step = broken(found[name])
    assert (step["hop"], step["step"]) == (name, "socket")
    assert says in step["says"]
    assert step["fix"].startswith(f"on {name}: systemctl restart gpu-cockpit-agent")


def test_a_user_who_may_not_open_the_socket(found: dict[str, Any]) -> None:
    step = broken(found["guest"])
    assert (step["hop"], step["step"]) == ("guest", "socket")
    assert "guest may not open" in step["says"]
    assert step["fix"].startswith("on guest: usermod -aG gpu-cockpit-view guest")


@pytest.mark.parametrize(("name", "fix"), [("old", "on this machine: apt install --only-upgrade"), ("new", "pipx")])
def test_an_agent_of_another_protocol(name: str, fix: str, found: dict[str, Any]) -> None:
    step = broken(found[name])
    assert (step["hop"], step["step"]) == (name, "agent")
    assert f"too {name}" in step["says"]
    assert step["fix"].startswith(fix)


def test_no_driver_and_no_kernel_log(found: dict[str, Any]) -> None:
    steps = {step["step"]: step for step in found["blind"]["steps"]}
    assert {name for name, step in steps.items() if step["state"] == "broken"} == {"driver", "kernel_log"}
    assert "No NVIDIA driver" in steps["driver"]["says"]
    assert "modprobe nvidia" in steps["driver"]["fix"]
    assert "may not be read by this user" in steps["kernel_log"]["says"]
    assert "which has CAP_SYSLOG" in steps["kernel_log"]["fix"]
    assert steps["kernel_log"]["fix"].endswith(": systemctl restart gpu-cockpit-agent")
    assert steps["clock"]["state"] == steps["permissions"]["state"] == "ok"


def test_a_clock_that_is_a_year_off(network: Network, file: Path) -> None:
    """The console's clock is put a year ahead, which is the same as an agent a year behind."""
    text = file.read_text()
    epoch = time.time() - YEAR_S
    other = file.with_name("clock.toml")
    other.write_text(f"[clock]\nepoch = {epoch!r}\nspeed = 2.0\n\n{text}")
    done = network.operator("gpu-cockpit", "--fleet", str(other), "doctor", "blind", "--json")
    (item,) = json.loads(done.stdout)["items"]
    (clock,) = [step for step in item["steps"] if step["step"] == "clock"]
    assert (clock["state"], clock["hop"]) == ("broken", "blind")
    assert clock["says"].startswith("1.0 years behind, to within")
    assert clock["fix"] == "on this machine: timedatectl set-ntp true && timedatectl"


def test_people_read_a_list_of_80_columns_where_a_bastion_is_named_once(
    network: Network, sshds: None, file: Path
) -> None:
    done = network.operator("gpu-cockpit", "doctor", "barred", "barred-too", "local", "well", "--fleet", str(file))
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    commands = [line for line in lines if line.startswith(" " * 13 + "systemctl")]
    assert all(len(line) <= 80 for line in lines if line not in commands)
    assert commands == ["             systemctl reload ssh"]
    assert done.stdout.count("does not let root through") == 1
    assert "see bastion closed: barred, barred-too" in done.stdout
    assert lines[-1] == "4 hosts: 2 broken, 2 well"
    assert "\x1b" not in done.stdout


def test_nothing_broken_but_not_everything_known_is_3(network: Network, sshds: None, file: Path) -> None:
    done = network.operator("gpu-cockpit", "doctor", "well", "--fleet", str(file), "--json", "--timeout", "0.01")
    assert done.returncode == 3, done.stderr
    (item,) = json.loads(done.stdout)["items"]
    assert item["severity"] == "unknown"
    assert "broken" not in {step["state"] for step in item["steps"]}
    assert "--timeout" in item["steps"][-1]["says"]


def test_a_file_that_is_wrong_is_json_too(network: Network) -> None:
    bad = network.folder / "bad.toml"
    bad.write_text("[[host]]\nadress = 1\n")
    done = network.operator("gpu-cockpit", "doctor", "--json", "--fleet", str(bad))
    assert done.returncode == 2
    document = json.loads(done.stdout)
    assert (document["schema"], document["items"]) == (1, [])
    assert "adress" in document["error"]
    assert done.stderr.startswith("gpu-cockpit: ")


def test_what_ssh_config_asks_for_and_does_not_get_is_said(network: Network, sshds: None, file: Path) -> None:
    config = network.folder / "ssh_config"
    config.write_text("Host *\n  StrictHostKeyChecking no\n")
    asked = ("--fleet", str(file), "--ssh-config", str(config), "--host", "well")
    said = f"{config}:2: StrictHostKeyChecking no: host keys are always checked here"
    doctor = network.operator("gpu-cockpit", "doctor", *asked, "--json")
    (item,) = json.loads(doctor.stdout)["items"]
    assert [remark.startswith(said) for remark in item["remarks"]] == [True]
    assert doctor.returncode == 0
    hosts = network.operator("gpu-cockpit", "hosts", *asked, "--json")
    (item,) = json.loads(hosts.stdout)["items"]
    (reason,) = [reason for reason in item["reasons"] if reason["what"] == "ssh_config"]
    assert reason["says"].startswith(said)
    assert hosts.stderr.startswith(f"gpu-cockpit: {said}")
    assert hosts.stderr.count("\n") == 1


def test_an_ssh_of_the_operators_own_is_one_step_after_the_other_too(network: Network, sshds: None, file: Path) -> None:
    asked = ("doctor", "well", "stranger", "--fleet", str(file), "--ssh-binary", "--json")
    done = network.operator("gpu-cockpit", *asked)
    found = {item["host"]: item for item in json.loads(done.stdout)["items"]}
    well = {step["step"]: step for step in found["well"]["steps"]}
    assert {step["state"] for step in well.values()} == {"ok"}, done.stderr
    assert {well[step]["says"] for step in STEPS} == {"left to ssh"}
    step = broken(found["stranger"])
    assert (step["hop"], step["step"]) == ("stranger", "authentication")


def test_the_same_sshds_are_left_as_they_were(network: Network, sshds: None, found: dict[str, Any]) -> None:
    """Doctor logs in once at the bastion for all hosts behind it."""
    del found
    bastion: Sshd = next(sshd for sshd in network.sshds if sshd.place == "bast" and sshd.port == PORT)
    before = bastion.logins
    network.operator("gpu-cockpit", "doctor", "well", "crashed", "--fleet", os.fspath(network.folder / "doctor.toml"))
    assert bastion.logins - before == 1


def test_status_says_for_each_silent_host_what_and_what_next(network: Network, sshds: None, file: Path) -> None:
    asked = [word for name in SILENT_STATES for word in ("--host", name)]  # all but the one that takes 3 s
    done = network.operator("gpu-cockpit", "status", "--fleet", str(file), "--json", *asked)
    assert done.returncode == 3, "nobody of them answers"
    silent = {item["host"]: item for item in json.loads(done.stdout)["silent"]}
    assert {name: item["link"] for name, item in silent.items()} == SILENT_STATES
    assert all(item["says"] and item["try"] for item in silent.values())
    text = network.operator("gpu-cockpit", "status", "--fleet", str(file), "--host", "crashed").stdout
    assert "crashed agent down since" in text
    assert "on crashed: systemctl status gpu-cockpit-agent" in text
    assert "`gpu-cockpit doctor` goes the way to it step by step" in text
