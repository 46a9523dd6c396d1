"""Hosts named by patterns over ssh_config, on the command line and in a fleet file."""

from pathlib import Path

import pytest

from cockpit.errors import InventoryError
from cockpit.inventory import Inventory, SshTarget, from_hosts, load
from cockpit.inventory.ssh_files import read

CONFIG = """
Host gpu-a01 gpu-a02
  Hostname %h.example
Include more.d/*.conf
Host gpu-old1 bastion *.lab !no.lab web
Match originalhost gpu-match
  User nobody
Host *
  User oncall
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HOME", str(tmp_path))
    more = tmp_path / ".ssh" / "more.d"
    more.mkdir(parents=True)
    (more / "b.conf").write_text("Host gpu-b01 gpu-a01\n  Include nested\n")
    (tmp_path / ".ssh" / "nested").write_text("Host gpu-nested\n")
    file = tmp_path / ".ssh" / "config"
    file.write_text(CONFIG)
    file.chmod(0o600)
    return str(file)


def names(inventory: Inventory) -> list[str]:
    return [entry.name for entry in inventory.hosts]


def test_names_are_those_that_stand_in_full_includes_too(config: str) -> None:
    expected = ("gpu-a01", "gpu-a02", "gpu-b01", "gpu-nested", "gpu-old1", "bastion", "web")
    assert read(config).names() == expected
    assert read().names() == expected, "the user's own file is the usual one"
    assert read("none").names() == ()


def test_a_pattern_means_the_names_of_ssh_config(config: str) -> None:
    assert names(from_hosts(["gpu-*", "!gpu-old*"], config)) == ["gpu-a01", "gpu-a02", "gpu-b01", "gpu-nested"]
    assert names(from_hosts(["gpu-?01", "me@elsewhere:22"])) == ["gpu-a01", "gpu-b01", "elsewhere"]


def test_a_pattern_may_carry_user_and_port(config: str) -> None:
    (entry,) = from_hosts(["ssh://me@gpu-b*:2222"], config).hosts
    assert isinstance(entry.target, SshTarget)
    assert (entry.name, entry.target.user, entry.target.port) == ("gpu-b01", "me", 2222)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["gpx-*"], "pattern 'gpx-*' means no host of CONFIG; known: bastion, gpu-a01"),
        (["gpu-a0*x"], "pattern 'gpu-a0*x' means no host of CONFIG; did you mean 'gpu-a02'?"),
        (["gpu-*", "!gpu*"], "means no host of CONFIG but for those taken away (gpu-a01, gpu-a02, gpu-b01)"),
        (["!gpu-a01", "web"], "'!gpu-a01' takes hosts away, but no pattern names any"),
        (["gpu-*/x:y"], "use [user@]PATTERN[:port]"),
    ],
)
def test_a_pattern_that_means_nobody_is_refused(config: str, words: list[str], says: str) -> None:
    with pytest.raises(InventoryError) as refused:
        from_hosts(words, config)
    assert says.replace("CONFIG", config) in str(refused.value)


def test_without_ssh_config_no_pattern_means_anybody(config: str) -> None:
    with pytest.raises(InventoryError, match="it names no host in full"):
        from_hosts(["gpu-*"], "none")


def test_a_config_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match="there is no such ssh_config"):
        from_hosts(["gpu-*"], str(tmp_path / "missing"))


FLEET = """
[defaults]
user = "root"
labels = {site = "ams"}
ssh_config = "CONFIG"

[[jump]]
name = "outer"
host = "10.0.0.1"

[[ssh]]
hosts = ["gpu-a*", "gpu-old1"]
pool = "prod"
rack = "r1"
gpus = 8
user = "oncall"
jump = "outer"
socket = "/run/other.sock"

[[ssh]]
hosts = "gpu-*"
pool = "rest"

[[host]]
name = "gpu-a02"
address = "10.1.1.1"
"""


def test_a_fleet_file_takes_hosts_from_ssh_config_with_labels(config: str, tmp_path: Path) -> None:
    (tmp_path / "fleet.toml").write_text(FLEET.replace("CONFIG", ".ssh/config"))
    inventory = load(tmp_path / "fleet.toml")
    assert names(inventory) == ["gpu-a02", "gpu-a01", "gpu-old1", "gpu-b01", "gpu-nested"], (
        "a [[host]] of that name wins"
    )
    assert inventory.ssh_config == config
    entry = inventory.hosts[1]
    assert entry.labels == {"site": "ams", "pool": "prod", "rack": "r1"}
    assert entry.gpus_expected == 8
    assert isinstance(entry.target, SshTarget)
    assert (entry.target.user, entry.target.socket) == ("oncall", "/run/other.sock")
    assert [jump.name for jump in entry.target.jumps] == ["outer"]
    assert entry.target.hop.implied == {"port"}, "what the file says, ssh_config does not decide"
    rest = inventory.hosts[3].target
    assert isinstance(rest, SshTarget)
    assert rest.hop.implied == {"port", "jump"}, "the user comes from [defaults]"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[ssh]]\npool = 'x'", "[[ssh]] 1: needs hosts"),
        ("[[ssh]]\nhosts = []", "[[ssh]] 1: needs hosts"),
        ("[[ssh]]\nhosts = ['gpx-*']", "[[ssh]] 1: pattern 'gpx-*' means no host"),
        ("[[ssh]]\nhosts = ['gpu-*']\nadress = 'x'", "[[ssh]] 1: unknown key 'adress'"),
        ("[[ssh]]\nhosts = ['me@gpu-a01']", "user and port have keys of their own"),
        ("[ssh]\nhosts = ['gpu-*']", "ssh must be written [[ssh]]"),
        ("[[ssh]]\nhosts = ['gpu-*']\ngpus = -1", "gpus must be a whole number"),
    ],
)
def test_a_wrong_ssh_block_says_where(config: str, tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "fleet.toml").write_text(text)
    with pytest.raises(InventoryError) as refused:
        load(tmp_path / "fleet.toml", config)
    assert says in str(refused.value)


def test_picking_looks_in_the_fleet_first_and_then_in_ssh_config(config: str, tmp_path: Path) -> None:
    (tmp_path / "fleet.toml").write_text("[[host]]\nname = 'gpu-f1'\n[[host]]\nname = 'gpu-f2'\n")
    fleet = load(tmp_path / "fleet.toml")
    assert names(fleet.pick(["gpu-*"], config)) == ["gpu-f1", "gpu-f2"]
    assert names(fleet.pick(["gpu-*", "!gpu-f1"], config)) == ["gpu-f2"]
    assert names(fleet.pick(["gpu-a*", "gpu-f1", "web"], config)) == ["gpu-a01", "gpu-a02", "gpu-f1", "web"]
    with pytest.raises(InventoryError, match=r"no host 'wep'.*did you mean 'web'"):
        fleet.pick(["wep"], config)
    with pytest.raises(InventoryError, match=r"fleet.toml or of .*config.*"):
        fleet.pick(["xyz*"], config)
    assert names(fleet.pick(["gpu-f2"])) == ["gpu-f2"]


def test_a_config_that_others_may_write_is_not_used(config: str) -> None:
    Path(config).chmod(0o666)
    with pytest.raises(InventoryError, match=r"others may write it.*chmod go-w"):
        from_hosts(["gpu-*"])
    assert from_hosts(["gpu-a*"], config).hosts, "as ssh -F: a file that was named is taken as it is"
