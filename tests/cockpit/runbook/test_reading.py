"""Runbook files: what they may say, and one sentence for each mistake: which file, which place, what to try."""

from pathlib import Path

import pytest

from cockpit.errors import ConfigError, UsageError
from cockpit.runbook.reading import read
from cockpit.runbook.records import StepKind
from cockpit.runbook.shelf import LIBRARY, library, shelf
from cockpit.runtime import own

GOOD = """
title = "park a replica"
says = "Drains it and waits."
subjects = ["replica"]
expected = "{replica} is parked for {reason}"

[[params]]
name = "drain_s"
kind = "seconds"
default = "5m"
low = 1
high = 3600

[[params]]
name = "reason"
needed = true

[[steps]]
title = "drain {server}"
action = "haproxy.drain"
for = "servers"
lease = 120
on_orphan = "undo"

[[steps]]
title = "wait for {server}"
wait = "server.idle"
for = "servers"
deadline = "{drain_s}"
soft = true

[[steps]]
ask = "is {replica} quiet?"

[[steps]]
note = "{replica} was parked: {reason}"
"""


def test_every_runbook_of_the_library_can_be_read_and_is_registered() -> None:
    files = Path(__file__).parents[3] / "cockpit/runbook/library"
    assert {path.stem for path in files.glob("*.toml")} == set(LIBRARY)
    found = library()
    assert list(found) == list(LIBRARY)
    assert all(recipe.steps and recipe.says and recipe.expected for recipe in found.values())


def test_a_runbook_says_its_parameters_and_steps() -> None:
    recipe = read("park", GOOD, "park.toml")
    assert [step.kind for step in recipe.steps] == [StepKind.ACTION, StepKind.WAIT, StepKind.ASK, StepKind.NOTE]
    drain, wait, ask, _ = recipe.steps
    assert (drain.what, drain.each, drain.lease, drain.on_orphan) == ("haproxy.drain", "servers", "120", "undo")
    assert (wait.deadline, wait.soft, ask.what) == ("{drain_s}", True, "is {replica} quiet?")
    assert [(param.name, param.kind, param.needed) for param in recipe.params] == [
        ("drain_s", "seconds", False), ("reason", "text", True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('title = "park a replica"', "", "park.toml: title is missing"),
        ('title = "park a replica"', 'titel = "x"', "park.toml: unknown key 'titel'; did you mean 'title'?"),
        ('title = "park a replica"', 'title = "a\\u001bb"', "title must be text on one line"),
        ("title", "title =", "park.toml: not valid TOML"),
        ('["replica"]', '["replika"]', "subjects: there is no word 'replika'; did you mean 'replica'?"),
        ('["replica"]', "[]", "needs subjects"),
        ("{replica} is parked", "{replic} is parked", "expected: nobody fills {replic}; did you mean 'replica'?"),
        ("{replica} is parked", "{replica.__class__} is", "nobody fills {replica.__class__}"),
        ("{replica} is parked", "{replica!r} is parked", "nobody fills {replica}"),
        ("{replica} is parked", "{replica is parked", "a placeholder is written {target}"),
        ('"5m"', '"5 years"', "[[params]] 1: default: drain_s is '5 years'; it takes 1 to 3600 seconds"),
        ('"5m"', '"2h"', "it takes 1 to 3600 seconds"),
        ("high = 3600", "high = 0", "drain_s needs low and high, and high above low"),
        ('kind = "seconds"', 'kind = "minutes"', "[[params]] 1: there is no word 'minutes'"),
        ('name = "reason"', 'name = "Reason"', "name 'Reason' must be small letters"),
        ('name = "reason"', 'name = "host"', "none of target"),
        ('kind = "seconds"', 'kind = "choice"', "drain_s needs choices"),
        ("haproxy.drain", "haproxy drain", "[[steps]] 1: action 'haproxy drain' is no action's id"),
        ("haproxy.drain", "owner.reboot", "there is no word 'reboot'"),
        ("server.idle", "server.idel", "there is no condition 'server.idel'; did you mean 'server.idle'?"),
        ('"servers"\nlease', '"server"\nlease', "there is no word 'server'; did you mean 'servers'?"),
        ('on_orphan = "undo"', 'on_orphan = "drop"', 'on_orphan is "keep", "undo"'),
        ('on_orphan = "undo"', 'on_failure = "go on"', 'on_failure can only be "stop"'),
        ('on_orphan = "undo"', 'undo = "maybe"', 'undo is "inverse"'),
        ('on_orphan = "undo"', 'when = "full moon"', "there is no word 'full moon'"),
        ('on_orphan = "undo"', 'params = ["a"]', "params must be a table"),
        ('on_orphan = "undo"', 'params = { floor = "{flor}" }', "nobody fills {flor}; did you mean 'floor'?"),
        ('on_orphan = "undo"', 'wait = "server.idle"', "exactly one of"),
        ("lease = 120", "lease = true", "lease must be seconds"),
        ("lease = 120", 'lease = "soon"', "lease is 'soon'; it takes 0 to 86400 seconds"),
        ('"{drain_s}"\nsoft', '"{drain}"\nsoft', "deadline is '{drain}'"),
        ("soft = true", "soft = 1", "soft must be true or false"),
        ("soft = true", "batch = 2\nfor = 1", "not valid TOML"),
        ('ask = "is {replica} quiet?"', 'ask = ""', "[[steps]] 3: ask is missing"),
        ('ask = "is {replica} quiet?"', 'use = "restart"', "there is no runbook 'restart'; did you mean"),
        ('ask = "is {replica} quiet?"', 'claim = "out"\nfor = "replicas"\ntitle = "x"', "a claim takes no for"),
        ('ask = "is {replica} quiet?"', 'claim = "away"\ntitle = "x"', "there is no word 'away'"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_with_its_place(old: str, new: str, says: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as error:
        read("park", GOOD.replace(old, new, 1), "park.toml", LIBRARY)
    assert says in str(error.value)
    assert str(error.value).startswith("park.toml: ")
    assert "\n" not in str(error.value)


def test_a_bad_own_runbook_is_said_and_hides_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "runbooks"
    folder.mkdir()
    (folder / "park.toml").write_text(GOOD)
    (folder / "broken.toml").write_text("title = 3")
    (folder / "latin.toml").write_bytes(b"title = '\xe4'")
    (folder / "huge.toml").write_text("#" * 70_000)
    (folder / "restart-replica.toml").write_text(GOOD)
    (folder / "Bad Name.toml").write_text(GOOD)
    (folder / "gone.toml").symlink_to("nowhere")
    found = own.load(folder)
    assert set(found.recipes) == {*LIBRARY, "park"}
    assert found.recipes["restart-replica"] is library()["restart-replica"]
    said = "\n".join(found.complaints)
    assert len(found.complaints) == 6
    for words in (
        "broken.toml: ", "latin.toml: byte 9 is not UTF-8", "huge.toml: ", "rename the file", "Bad Name.toml: ",
        "gone.toml: cannot be read",
    ):  # fmt: skip
        assert words in said


def test_without_a_folder_there_is_the_library(tmp_path: Path) -> None:
    found = own.load(tmp_path / "none")
    assert (set(found.recipes), found.complaints) == (set(LIBRARY), ())


def test_an_unknown_runbook_or_action_names_what_there_is() -> None:
    with pytest.raises(UsageError, match="no runbook 'restart-replca'; did you mean 'restart-replica'"):
        shelf().find("restart-replca", {})
    with pytest.raises(UsageError, match=r"offers no action 'systemd\.reboot'"):
        shelf().find("action:systemd.reboot", {})
