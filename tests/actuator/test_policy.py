"""A policy is understood whole or not at all, and what is wrong with it is one sentence."""

import os
import re
from pathlib import Path

import pytest

from agent.actuator.families import FAMILIES
from agent.actuator.policy import BYTES, Policy, Wrong, may, parse
from tests.lab import has_root, require

RIGHT = """
[roles]
operator = ["%oncall"]

[[allow]]
actions = ["systemd.restart", "systemd.stop"]
units = ["vllm@*.service"]

[[allow]]
actions = ["systemd.*"]
units = ["sglang.service"]
role = "admin"
"""
ACTIONS = {action.id: action for family in FAMILIES for action in family.actions}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "policy.toml"
    made.write_text(RIGHT)
    made.chmod(0o644)
    return made


def policy(path: Path) -> Policy:
    return Policy(path, FAMILIES, {0, os.geteuid()})


def test_an_entry_allows_what_it_names_to_its_role(path: Path) -> None:
    found = policy(path).decide(ACTIONS["systemd.restart"], {"unit": "vllm@0.service"})
    assert found.entry is not None
    assert (found.entry.number, found.role) == (1, "operator")
    assert found.rule == f"[[allow]] 1 of {path}"
    admin = policy(path).decide(ACTIONS["systemd.reload"], {"unit": "sglang.service"})
    assert (admin.role, admin.says) == ("admin", "")


def test_of_two_entries_the_one_that_takes_less_counts(path: Path) -> None:
    path.write_text(RIGHT.replace("sglang.service", "vllm@0.service"))
    assert policy(path).decide(ACTIONS["systemd.restart"], {"unit": "vllm@0.service"}).role == "operator"
    assert policy(path).decide(ACTIONS["systemd.start"], {"unit": "vllm@0.service"}).role == "admin"


@pytest.mark.parametrize(
    ("action", "values", "says"),
    [
        ("systemd.restart", {"unit": "sshd.service"}, "[[allow]] 1 allows units vllm@*.service, and not sshd.service"),
        ("systemd.start", {"unit": "vllm@0.service"}, "[[allow]] 2 allows units sglang.service, and not vllm@0"),
        ("process.stop", {"pid": "7"}, "no [[allow]] names process.stop"),
    ],
)
def test_a_refusal_names_the_file_and_the_nearest_entry(
    path: Path, action: str, values: dict[str, str], says: str
) -> None:
    found = policy(path).decide(ACTIONS[action], values)
    assert found.entry is None
    assert f"{action} is not allowed: in {path}, {says}" in found.says


def test_without_a_file_nobody_acts_and_looking_is_free(tmp_path: Path) -> None:
    none = policy(tmp_path / "none.toml")
    assert "there is no" in none.decide(ACTIONS["systemd.restart"], {"unit": "a.service"}).says
    assert none.decide(ACTIONS["gpu.holders"], {"gpu": "", "minor": "-1"}).role == "viewer"


def test_a_change_counts_for_the_next_question(path: Path) -> None:
    held = policy(path)
    assert held.decide(ACTIONS["systemd.restart"], {"unit": "vllm@0.service"}).entry is not None
    path.write_text(RIGHT.replace("vllm@*", "other"))
    assert held.decide(ACTIONS["systemd.restart"], {"unit": "vllm@0.service"}).entry is None


ALLOW = '[[allow]]\nactions = ["systemd.restart"]\nunits = ["a"]\n'
SENTENCES = [
    ("x = 1", "it has the unknown key 'x'; known are allow, roles"),
    ("[role]\n", "it has the unknown key 'role'; did you mean 'roles'?"),
    ("[roles]\noperators = []", "[roles] has the unknown key 'operators'; did you mean 'operator'?"),
    ('[roles]\noperator = "alice"', "roles.operator must be a list of names"),
    ("[allow]\n", "allow must be tables, each under [[allow]]"),
    ("allow = [1]", "allow must be tables, each under [[allow]]"),
    ("[[allow]]\n", "[[allow]] 1: actions must be a list of patterns"),
    ('[[allow]]\nactions = ["*"]', "[[allow]] 1: there is no action '*'"),
    (
        '[[allow]]\nactions = ["systemd.restrat"]',
        "there is no action 'systemd.restrat'; did you mean 'systemd.restart'?",
    ),
    ('[[allow]]\nactions = ["systemd.restart"]', "[[allow]] 1 lacks the key 'units', which systemd.restart cannot do"),
    (ALLOW + ALLOW + "unit = []", "[[allow]] 2 has the unknown key 'unit'; did you mean 'units'?"),
    (ALLOW + 'servers = ["*"]', "[[allow]] 1 has the unknown key 'servers'"),
    (ALLOW + 'role = "viewer"', "[[allow]] 1: role must be operator or admin, not 'viewer'"),
    (ALLOW.replace('["a"]', '"a"'), "[[allow]] 1: units must be a list of patterns"),
    (ALLOW.replace('["a"]', "[]"), "[[allow]] 1: units must be a list of patterns"),
    (ALLOW.replace('["a"]', "[1]"), "[[allow]] 1: units must be a list of patterns"),
    ('[[allow]]\nactions = ["container.*"]\ncontainers = ["a"]\nruntime = "lxc"', "runtime must be docker or podman"),
    ('[[allow]]\nactions = ["container.*"]\ncontainers = ["a"]\nsocket = "a"', "socket must be an absolute path"),
    (
        '[[allow]]\nactions = ["haproxy.*"]\nsocket="/s"\nbackends=["b"]\nservers=["*"]\nfloor=-1',
        "floor must be a whole",
    ),
    (
        '[[allow]]\nactions = ["haproxy.*"]\nsocket="/s"\nbackends=["b"]\nservers=["*"]\nfloor=true',
        "floor must be a whole",
    ),
    ("[[allow", "it is not valid TOML"),
    ("a" * (BYTES + 1), f"it is larger than {BYTES} bytes"),
]


@pytest.mark.parametrize(("text", "says"), SENTENCES, ids=[says[:40] for _, says in SENTENCES])
def test_what_is_wrong_in_it_is_one_sentence_and_nothing_is_allowed(path: Path, text: str, says: str) -> None:
    path.write_text(text)
    with pytest.raises(Wrong) as wrong:
        policy(path).read()
    assert str(wrong.value).startswith(f"{path}: ")
    assert says in str(wrong.value)
    assert str(wrong.value).endswith("; nobody may act on this host until it is corrected")
    assert "\n" not in str(wrong.value)
    found = policy(path).decide(ACTIONS["systemd.restart"], {"unit": "a"})
    assert (found.entry, found.says) == (None, str(wrong.value))


def test_bytes_that_are_no_text_are_no_policy(path: Path) -> None:
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(Wrong, match="is not valid TOML"):
        policy(path).read()
    path.write_text("a = " + "[" * 5000)
    with pytest.raises(Wrong, match="is not valid TOML"):
        policy(path).read()


def test_others_must_not_be_able_to_write_it(path: Path) -> None:
    path.chmod(0o664)
    with pytest.raises(Wrong, match="it can be written by others than root; chmod go-w"):
        policy(path).read()
    path.chmod(0o644)
    path.parent.chmod(0o775)
    with pytest.raises(Wrong, match=re.escape(f"the folder {path.parent} can be written by others than root")):
        policy(path).read()
    path.parent.chmod(0o1777)  # like /tmp: nobody can move what is root's
    assert policy(path).read()


def test_it_must_be_roots_and_no_link(path: Path) -> None:
    require("root", has_root())
    os.chown(path, 1, -1)
    with pytest.raises(Wrong, match="it belongs to user 1 and not to root; chown root"):
        policy(path).read()
    os.chown(path, 0, -1)
    os.chown(path.parent, 1, -1)
    with pytest.raises(Wrong, match="belongs to user 1"):
        policy(path).read()
    os.chown(path.parent, 0, -1)
    link = path.parent / "link.toml"
    link.symlink_to(path)
    with pytest.raises(Wrong, match="it cannot be read"):
        policy(link).read()
    link.unlink()
    os.mkfifo(link, 0o600)
    with pytest.raises(Wrong, match="it is not a regular file"):
        policy(link).read()


def test_a_folder_can_be_no_policy(path: Path) -> None:
    path.unlink()
    path.mkdir()
    path.chmod(0o755)
    with pytest.raises(Wrong, match="it is not a regular file"):
        policy(path).read()


def test_roles_include_those_below_them() -> None:
    assert may("admin", "operator")
    assert may("operator", "operator")
    assert not may("viewer", "operator")
    assert not may("", "viewer")
    assert not may("root", "viewer")


def test_every_action_has_a_family_that_a_policy_can_name() -> None:
    for family in FAMILIES:
        for action in family.actions:
            assert re.fullmatch(r"[a-z]+\.[a-z_]+", action.id)
    assert len(ACTIONS) == sum(len(family.actions) for family in FAMILIES)
    assert parse(b"", FAMILIES) == ()
