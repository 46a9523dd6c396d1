"""Every example is accepted by the program that it is for."""

import grp
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agent.config import KEYS, parse
from agent.server.roles import Caller, read
from cockpit.inventory import PoolEntry, SshTarget, load
from tests.lab import has_command, has_root, require
from tests.packaging.builds import PACKAGING

EXAMPLES = PACKAGING / "examples"
SSHD = "/usr/sbin/sshd"
BIN = Path(sys.executable).parent


def test_every_example_has_a_test() -> None:
    text = Path(__file__).read_text()
    assert [path.name for path in EXAMPLES.iterdir() if f'"{path.name}"' not in text] == []


def test_the_agents_configuration_is_right_and_names_every_key() -> None:
    text = (EXAMPLES / "agent.toml").read_text()
    done = subprocess.run(
        [BIN / "gpu-cockpit-agent", "check-config", EXAMPLES / "agent.toml"], capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 0, done.stderr
    assert [key for key in KEYS if not re.search(rf"^#? ?{key} = ", text, re.MULTILINE)] == []


def test_what_is_commented_out_in_the_agents_configuration_is_right_too() -> None:
    text = (EXAMPLES / "agent.toml").read_text()
    config = parse(re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE).encode(), "agent.toml")
    assert (config.gpus_expected, config.labels["rack"]) == (8, "a")


def test_the_policy_is_right_and_makes_operators_of_those_it_names(tmp_path: Path) -> None:
    require("root", has_root())  # nobody else's file counts
    policy = tmp_path / "policy.toml"
    policy.write_text((EXAMPLES / "policy.toml").read_text().replace("%oncall", "%daemon"))
    policy.chmod(0o644)
    found, unknown = read(policy)
    assert unknown == ()
    group = frozenset({grp.getgrnam("daemon").gr_gid})
    assert found.role(Caller(12345, group)) == "operator"
    assert found.role(Caller(12345)) == "viewer"


@pytest.mark.parametrize("commented", [True, False], ids=["as it is", "with all that is commented out"])
def test_the_root_helper_understands_the_policy(tmp_path: Path, commented: bool) -> None:
    require("root", has_root())
    policy = tmp_path / "policy.toml"
    text = (EXAMPLES / "policy.toml").read_text()
    policy.write_text(text if commented else re.sub(r"^# (\[\[|\w+ = )", r"\1", text, flags=re.MULTILINE))
    policy.chmod(0o644)
    words = [sys.executable, "-I", PACKAGING.parent / "agent/actuator/__main__.py", "--check-policy", policy]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    kinds = ("container", "diagnostics", "engine", "gpu", "haproxy", "process", "systemd")
    assert f"ok, {0 if commented else len(kinds)} [[allow]]" in done.stdout
    assert commented or all(f"{kind}." in done.stdout for kind in kinds)


def test_the_fleet_file_is_right_with_its_comments_and_without() -> None:
    plain = load(EXAMPLES / "fleet.toml")
    assert [host.name for host in plain.hosts] == ["gpu-a01", "gpu-lab"]
    assert plain.pools == {"chat-70b": PoolEntry(12, 8)}
    lab = plain.hosts[1].target
    assert isinstance(lab, SshTarget)
    assert (lab.user, lab.port, lab.jumps) == ("root", 2222, ())


def test_what_is_commented_out_in_the_fleet_file_is_right_too(tmp_path: Path) -> None:
    text = re.sub(r"^# (\w+ = )", r"\1", (EXAMPLES / "fleet.toml").read_text(), flags=re.MULTILINE)
    (tmp_path / "fleet.toml").write_text(text)
    assert load(tmp_path / "fleet.toml").hosts[0].labels["site"] == "fra1"


@pytest.mark.parametrize("name", ["10-gpu-cockpit.conf", "20-gpu-cockpit-bastion.conf"])
def test_sshd_accepts_the_drop_ins(name: str, tmp_path: Path) -> None:
    require("openssh-server", Path(SSHD).exists() and has_command("ssh-keygen"))
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    config = tmp_path / "sshd_config"
    config.write_text(f"HostKey {tmp_path}/key\nUsePAM no\nInclude {EXAMPLES / name}\n")
    run = Path("/run/sshd")
    if os.geteuid() == 0:
        run.mkdir(exist_ok=True)
    who = "user=nobody,host=h,addr=10.0.0.1"
    done = subprocess.run([SSHD, "-T", "-C", who, "-f", config], capture_output=True, text=True, timeout=10)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_the_authorized_keys_are_keys_with_options_that_sshd_knows(tmp_path: Path) -> None:
    require("openssh-client", has_command("ssh-keygen"))
    lines = [line for line in (EXAMPLES / "authorized_keys").read_text().splitlines() if line and line[0] != "#"]
    assert len(lines) == 2
    for line in lines:
        (tmp_path / "keys").write_text(f"{line}\n")
        done = subprocess.run(["ssh-keygen", "-l", "-f", tmp_path / "keys"], capture_output=True, text=True, timeout=10)
        assert done.returncode == 0, done.stderr
        assert "ED25519" in done.stdout
        assert line.startswith("restrict,")


def test_ssh_accepts_the_operators_configuration(tmp_path: Path) -> None:
    require("openssh-client", shutil.which("ssh") is not None)
    done = subprocess.run(
        ["ssh", "-G", "-F", EXAMPLES / "ssh_config", "gpu-a01"], capture_output=True, text=True, timeout=10
    )
    assert done.returncode == 0, done.stderr
    for line in ("hostname gpu-a01.internal", "user ops", "proxyjump bastion"):
        assert line in done.stdout.splitlines()


@pytest.mark.parametrize("drop_in", ["announce.conf", "serving.conf"])
def test_a_systemd_drop_in_fits_the_unit(drop_in: str, tmp_path: Path) -> None:
    require("systemd", has_command("systemd-analyze"))
    unit = "gpu-cockpit-agent.service"
    folder = tmp_path / f"{unit}.d"
    folder.mkdir()
    text = (PACKAGING / "systemd" / unit).read_text()
    (tmp_path / unit).write_text(text.replace("/usr/bin/gpu-cockpit-agent", "/bin/true"))  # verify asks for the program
    shutil.copy(EXAMPLES / drop_in, folder)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / unit], capture_output=True, text=True, timeout=20
    )
    assert (done.returncode, done.stderr) == (0, "")
