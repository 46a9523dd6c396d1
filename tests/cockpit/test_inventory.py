"""Fleet files and targets: what is read, and which sentence refuses what is not."""

from pathlib import Path

import pytest

from cockpit.errors import InventoryError
from cockpit.inventory import (
    AGENT_SOCKET,
    Hop,
    HostEntry,
    PoolEntry,
    SshTarget,
    UnixTarget,
    from_hosts,
    load,
    parse_target,
)

FLEET = """
[clock]
epoch = 1700000000.5
speed = 60

[defaults]
user = "oncall"
port = 2222
jump = "bast"
identity = "keys/id"
known_hosts = "known_hosts"
labels = {site = "ams", pool = "spare"}

[[jump]]
name = "bast"
host = "bastion.example"
port = 22
user = "hop"

[[jump]]
name = "inner"
host = "10.0.0.1"

[[host]]
name = "n01"
address = "10.77.2.11"
pool = "prod"
rack = "r1"
role = "serving"
labels = {team = "vision"}
gpus = 8

[[host]]
name = "n02"
address = "ssh://root@[fd00::2]:22"
jump = ["bast", "inner"]
identity = "/abs/id"
socket = "/tmp/a.sock"

[[host]]
name = "direct.example"
jump = ""

[[host]]
name = "here"
address = "unix:///run/x/agent.sock"
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.toml"
    path.write_text(FLEET)
    return path


def refused(tmp_path: Path, text: str) -> str:
    path = tmp_path / "fleet.toml"
    path.write_text(text)
    with pytest.raises(InventoryError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_a_fleet_file_gives_hosts_in_order_with_defaults_applied(fleet: Path, tmp_path: Path) -> None:
    inventory = load(fleet)
    assert [entry.name for entry in inventory.hosts] == ["n01", "n02", "direct.example", "here"]
    assert inventory.clock == (1700000000.5, 60.0)
    identity, known = str(tmp_path / "keys/id"), str(tmp_path / "known_hosts")
    bastion = Hop("bastion.example", 22, "hop", identity, known, "bast")
    inner = Hop("10.0.0.1", 2222, "oncall", identity, known, "inner")
    first, second, direct, here = inventory.hosts
    assert first.target == SshTarget(
        Hop("10.77.2.11", 2222, "oncall", identity, known, "n01"), (bastion,), AGENT_SOCKET
    )
    assert dict(first.labels) == {"site": "ams", "pool": "prod", "rack": "r1", "role": "serving", "team": "vision"}
    assert first.gpus_expected == 8
    assert second.target == SshTarget(
        Hop("fd00::2", 22, "root", "/abs/id", known, "n02"), (bastion, inner), "/tmp/a.sock"
    )
    assert dict(second.labels) == {"site": "ams", "pool": "spare"}
    assert isinstance(direct.target, SshTarget)
    assert (direct.target.host, direct.target.jumps) == ("direct.example", ())
    assert here == HostEntry("here", UnixTarget("/run/x/agent.sock"), {"site": "ams", "pool": "spare"})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[host]]\nname = 'a'\nadress = 'b'", "[[host]] 1: unknown key 'adress'; did you mean 'address'?"),
        ("[default]\nuser = 'a'", "unknown key 'default'; did you mean 'defaults'?"),
        ("[clock]\nspeeed = 2", "[clock]: unknown key 'speeed'; did you mean 'speed'?"),
        ("[[jump]]\nname='b'\nhost='h'\nprot=3", "[[jump]] 1: unknown key 'prot'; did you mean 'port'?"),
        ("[[host]]\nname='a'\n[[host]]\nname='a'", "[[host]] 2: name 'a' is already taken"),
        (
            "[[jump]]\nname='bastion'\nhost='h'\n[[host]]\nname='a'\njump='bastoin'",
            "[[host]] 1 a: unknown jump 'bastoin'; did you mean 'bastion'?",
        ),
        ("[[host]]\nname='a'\njump='b'", "[[host]] 1 a: unknown jump 'b'; there is no [[jump]]"),
        ("[[host]]\nname='a'\njump=3", "jump must be the name of a [[jump]]"),
        ("[[host]]\nname='a'\naddress='unix:///s'\njump='b'", "a unix socket is on this machine: it takes no jump"),
        ("[[host]]\nname = 'a'\naddress = \n", "not valid TOML: Invalid value (at line 3, column 11)"),
        ("", "it names no host; add [[host]]"),
        ("[[host]]\nname='a b'", "no blanks and no slash"),
        ("[[host]]\naddress='h'", "name ''"),
        ("[[host]]\nname='a'\naddress='h:0'", "'0' is no port from 1 to 65535"),
        ("[[host]]\nname='a'\ngpus=-1", "gpus must be a whole number from 0 to 1024, not -1"),
        ("[[host]]\nname='a'\ngpus=true", "gpus must be a whole number from 0 to 1024, not True"),
        ("[[host]]\nname='a'\npool=1", "pool must be text, not 1"),
        ("[[host]]\nname='a'\nlabels={x=[1]}", "labels must be a table of text"),
        ("[[jump]]\nname='a'", "[[jump]] 1: needs a name and a host"),
        ("[[jump]]\nname='a'\nhost='h'\nport=0", "port must be a whole number from 1 to 65535, not 0"),
        ("[[jump]]\nname='a'\nhost='-oProxyCommand=x'", "'-oProxyCommand=x' is no host name or address"),
        ("[clock]\nspeed=0\nepoch=1", "[clock]: speed must be above 0, not 0"),
        ("[clock]\nspeed=nan", "[clock]: speed must be a number, not nan"),
        ("[pools.chat]\nexpcted = 3", "[pools.chat]: unknown key 'expcted'; did you mean 'expected'?"),
        ("[pools.chat]\nexpected = '3'", "[pools.chat]: expected must be a whole number from 0 to 100000, not '3'"),
        ("[pools.chat]\nfloor = -1", "[pools.chat]: floor must be a whole number from 0 to 100000, not -1"),
        ("[pools.chat]\nexpected = 3\nfloor = 4", "[pools.chat]: floor 4 is more than the 3 that are expected"),
        ("pools = 3", "[pools]: must be written [pools.NAME], once for each"),
        ("pools = {chat = 3}", "[pools.chat]: must be a table"),
        ("host = 3", "host must be written [[host]], once for each"),
        ("host = [3]", "[[host]] 1: must be a table"),
        ("[defaults]\nuser='a b'\n[[host]]\nname='x'", "[defaults]: 'a b' is no user name"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_place_and_the_nearest_word(tmp_path: Path, text: str, says: str) -> None:
    assert says in refused(tmp_path, text)


def test_a_fleet_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match="there is no such fleet file"):
        load(tmp_path / "missing.toml")
    with pytest.raises(InventoryError, match="cannot be read: Is a directory"):
        load(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"name = '\xe9'")
    with pytest.raises(InventoryError, match="byte 8 is not UTF-8"):
        load(tmp_path / "latin.toml")


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("unix:///run/a.sock", UnixTarget("/run/a.sock")),
        ("unix:/run/a%20b.sock", UnixTarget("/run/a b.sock")),
        ("me@gpu01", SshTarget(Hop("gpu01", 22, "me"))),
        ("ssh://me@gpu01:2222/", SshTarget(Hop("gpu01", 2222, "me"))),
        ("me@[::1]:2222", SshTarget(Hop("::1", 2222, "me"))),
        ("me@fe80::1%eth0", SshTarget(Hop("fe80::1%eth0", 22, "me"))),
        ("me@corp@gpu01", SshTarget(Hop("gpu01", 22, "me@corp"))),
    ],
)
def test_a_target_is_read(text: str, target: object) -> None:
    assert parse_target(text) == target


def test_a_target_without_a_user_is_oneself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "alice")
    assert parse_target("gpu01") == SshTarget(Hop("gpu01", 22, "alice"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("http://x", "unknown scheme 'http'"),
        ("unix://run/a.sock", "needs its whole path"),
        ("unix:///" + "x" * 107, "the path has 108 bytes, unix sockets stop at 107"),
        ("unix:///a%00b", "no NUL byte"),
        ("", "'' is no host name"),
        ("a b", "'a b' is no host name"),
        ("-v", "'-v' is no host name"),
        ("-x@host", "'-x' is no user name"),
        ("host:", "'' is no port"),
        ("host:65536", "'65536' is no port"),
        ("[::1", "is no host name"),
        ("[gpu01]:22", "'gpu01' is no host name or address"),
        ("host:22:22", "'host:22:22' is no host name"),
    ],
)
def test_a_target_that_is_none_is_refused_with_its_reason(text: str, says: str) -> None:
    with pytest.raises(InventoryError) as caught:
        parse_target(text)
    assert says in str(caught.value)


def test_hosts_of_the_command_line_get_short_names_where_they_are_free() -> None:
    names = [
        entry.name
        for entry in from_hosts(
            ["a@n1", "b@n1", "a@n1", "unix:///tmp/d/n2.sock", "unix:///tmp/n3/agent.sock", f"unix://{AGENT_SOCKET}"]
        ).hosts
    ]
    assert names == ["n1", "ssh://b@n1", "n2", "n3", "localhost"]


def test_picking_takes_names_of_the_fleet_and_whole_targets_beside_it(fleet: Path) -> None:
    inventory = load(fleet)
    picked = inventory.pick(["n02", "unix:///tmp/x.sock"])
    assert picked.hosts == (inventory.hosts[1], HostEntry("x", UnixTarget("/tmp/x.sock")))
    assert picked.clock == inventory.clock
    with pytest.raises(InventoryError, match=r"no host 'n0' in .*; did you mean 'n0[12]'\?"):
        inventory.pick(["n0"])


def test_what_is_promised_of_pools_holds_for_the_whole_fleet_alone(tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    hosts = "".join(f"[[host]]\nname = '{name}'\n" for name in ("a", "b"))
    file.write_text(f"{hosts}[pools.chat-70b]\nexpected = 12\nfloor = 8\n[pools.embed]\nfloor = 1\n")
    inventory = load(file)
    assert inventory.pools == {"chat-70b": PoolEntry(12, 8), "embed": PoolEntry(None, 1)}
    assert inventory.pick(["a", "b"]).pools == inventory.pools
    assert inventory.pick(["a"]).pools == {}, "of a part of the hosts nothing was promised"
