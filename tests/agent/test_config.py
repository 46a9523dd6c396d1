import re
from pathlib import Path

import pytest

from agent.config import KEYS, AgentConfig, identify, load, parse
from agent.errors import ConfigError


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text.encode(), "agent.toml")
    assert caught.value.exit_code == 2
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.startswith("agent.toml: ")
    return sentence


def test_an_empty_file_gives_the_defaults() -> None:
    assert parse(b"", "agent.toml") == AgentConfig()


def test_every_key_can_be_set() -> None:
    config = parse(
        b"""
        socket = "/tmp/a.sock"
        state_dir = "/tmp/state"
        interval_s = 2
        host_id = "h1"
        host_name = "gpu-node-01"
        gpus_expected = 8
        socket_mode = "0600"
        socket_group = "ops"
        kernel_log = "/tmp/kmsg"
        sysfs = "/tmp/sys"
        proc = "/tmp/proc"
        disks = ["/models", "/scratch"]
        kernel_modules = ["nvidia_peermem"]
        history_mib = 64
        journal_mib = 8
        policy = "/tmp/policy.toml"
        actuator = "/tmp/root.sock"
        thresholds_file = "/etc/gpu-cockpit/thresholds.toml"
        [labels]
        pool = "prod"
        rack = "r1"
        [discovery]
        announce = true
        [network]
        compute = ["mlx5_*"]
        exclude = ["mlx5_bond_0"]
        ports = 8
        [[thresholds]]
        rule = "xid.storm"
        set = { storm = 500 }
        [[serving]]
        port = 8000
        pool = "chat-70b"
        [[balancer]]
        socket = "/run/edge/stats.sock"
        name = "edge"
        [pools.chat]
        keepers = ["gpu-a01", "gpu-a02", "gpu-a03"]
        floor = 2
        """,
        "agent.toml",
    )
    assert config.interval_s == 2.0
    assert config.socket == Path("/tmp/a.sock")
    assert config.gpus_expected == 8
    assert (config.disks, config.kernel_modules) == (("/models", "/scratch"), ("nvidia_peermem",))
    assert config.socket_mode == 0o600
    assert dict(config.labels) == {"pool": "prod", "rack": "r1"}
    assert all(getattr(config, key) != getattr(AgentConfig(), key) for key in KEYS)


def test_an_unknown_key_is_refused_by_name_with_the_nearest_one() -> None:
    assert "'intervall_s'; did you mean 'interval_s'?" in refused("intervall_s = 1")


def test_an_unknown_key_like_no_other_lists_those_that_exist() -> None:
    sentence = refused("zzz = 1")
    assert all(key in sentence for key in KEYS)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("interval_s = '1'", "interval_s"),
        ("interval_s = 0.1", "interval_s"),
        ("interval_s = true", "interval_s"),
        ("interval_s = nan", "interval_s"),
        ("socket = 'relative.sock'", "socket"),
        ("socket = 5", "socket"),
        (f"socket = '/tmp/{'x' * 103}'", "socket"),
        ("gpus_expected = -1", "gpus_expected"),
        ("gpus_expected = 1.5", "gpus_expected"),
        ("socket_mode = 660", "socket_mode"),
        ("socket_mode = '0888'", "socket_mode"),
        ("socket_mode = '-1'", "socket_mode"),
        ("labels = 'prod'", "labels"),
        ("labels = {pool = 3}", "labels"),
        ('host_name = "a\\u001bb"', "host_name"),
        ("host_id = ''", "host_id"),
        (f"host_id = '{'x' * 500}'", "host_id"),
    ],
)
def test_a_wrong_value_is_one_sentence_with_file_and_key(text: str, key: str) -> None:
    sentence = refused(text)
    assert f" {key} must be " in sentence
    assert len(sentence) < 300


def test_malformed_toml_names_the_line() -> None:
    assert "line 2" in refused("interval_s = 1\nsocket = = 3\n")


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(ConfigError, match="UTF-8"):
        parse(b"\xff\xfe", "agent.toml")


def test_a_named_file_that_is_absent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load(tmp_path / "none.toml")


def test_an_absent_default_file_means_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.config.DEFAULT_FILE", tmp_path / "none.toml")
    assert load() == AgentConfig()


def test_a_directory_in_place_of_a_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path)


def test_configuration_cannot_be_changed_afterwards() -> None:
    config = parse(b"[labels]\npool = 'prod'", "agent.toml")
    with pytest.raises(TypeError):
        config.labels["pool"] = "other"  # type: ignore[index]


def test_what_the_configuration_names_wins_over_the_machine() -> None:
    identity = identify(AgentConfig(host_id="h1", host_name="n1"))
    assert (identity.host_id, identity.name) == ("h1", "n1")


def test_the_machines_own_identity_is_stable_and_not_its_machine_id() -> None:
    first, second = identify(AgentConfig()), identify(AgentConfig())
    assert first == second
    assert len(first.host_id) == 16
    machine = Path("/etc/machine-id")
    if machine.exists():
        assert machine.read_text().strip() not in first.host_id


def test_a_host_without_boot_id_still_has_an_identity(tmp_path: Path) -> None:
    assert identify(AgentConfig(proc=tmp_path)).boot_id == "unknown-boot"


def test_thresholds_know_their_place_and_a_second_file_adds_to_them(tmp_path: Path) -> None:
    (tmp_path / "more.toml").write_text('[[thresholds]]\nrule = "b"\n')
    (tmp_path / "agent.toml").write_text(f'thresholds_file = "{tmp_path}/more.toml"\n[[thresholds]]\nrule = "a"\n')
    found = load(tmp_path / "agent.toml").thresholds
    assert [(one.place, one.table["rule"]) for one in found] == [
        (f"{tmp_path}/agent.toml: thresholds 1", "a"),
        (f"{tmp_path}/more.toml: thresholds 1", "b"),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "there is no such file"),
        ("[[thresholds", "not valid TOML"),
        ("socket = '/tmp/a'", "unknown key 'socket'; this file has [[thresholds]] alone"),
        ("thresholds = 3", "thresholds must be at most 1024 tables"),
    ],
)
def test_a_wrong_thresholds_file_is_one_sentence(tmp_path: Path, text: str | None, says: str) -> None:
    if text is not None:
        (tmp_path / "more.toml").write_text(text)
    (tmp_path / "agent.toml").write_text(f'thresholds_file = "{tmp_path}/more.toml"')
    with pytest.raises(ConfigError, match=re.escape(says)) as caught:
        load(tmp_path / "agent.toml")
    assert str(caught.value).startswith(f"{tmp_path}/more.toml: ")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("balancer = 3", "balancer must be at most 16 tables: [[balancer]] with socket, and name, not 3"),
        ("[[balancer]]\nname = 'x'", "balancer 1: it needs a socket"),
        ("[[balancer]]\nsocket = 'stats.sock'", "balancer 1: socket must be an absolute path"),
        ("[[balancer]]\nsocket = '/a'\nsokcet = '/b'", "balancer 1: unknown key 'sokcet'; known keys: socket, name"),
        ("[[balancer]]\nsocket = '/a'\n[[balancer]]\nsocket = '/a'", "with a socket of its own each"),
        (f"[[balancer]]\nsocket = '/{'a' * 107}'", "at most 107 bytes"),
    ],
)
def test_what_is_wrong_with_a_balancer_is_said(text: str, says: str) -> None:
    assert says in refused(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pools = 3", "pools must be at most 64 tables: [pools.NAME] with keepers and floor, not 3"),
        ("[pools.a]\nfloor = 1", "pools.a: it needs a floor and 1 to 5 different keepers"),
        ("[pools.a]\nkeepers = ['k1']", "pools.a: it needs a floor and 1 to 5 different keepers"),
        ("[pools.a]\nkeepers = ['k1', 'k1']\nfloor = 1", "pools.a: it needs a floor and 1 to 5 different keepers"),
        ("[pools.a]\nkeepers = ['1', '2', '3', '4', '5', '6']\nfloor = 1", "1 to 5 different keepers"),
        ("[pools.a]\nkeepers = 'k1'\nfloor = 1", "pools.a: keepers must be a list of at most 32 texts"),
        ("[pools.a]\nkeepers = ['k1']\nfloor = -1", "pools.a: floor must be a whole number from 0 to 10000"),
        ("[pools.a]\nkeepers = ['k1']\nflor = 1", "pools.a: unknown key 'flor'; known keys: keepers, floor"),
    ],
)
def test_what_is_wrong_with_a_pool_is_said(text: str, says: str) -> None:
    assert says in refused(text)
