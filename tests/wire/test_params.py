"""Parameters are judged in one place: one spelling out, one sentence when they are not taken."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.wire.actions import ParamSpec
from agent.wire.params import WrongParam, settled

SPECS = (
    ParamSpec("grace_s", "seconds", "the grace", "10", False, 0, 3600),
    ParamSpec("percent", "whole", "per cent", "", True, 0, 100),
    ParamSpec("hard", "flag", "harder", "no"),
    ParamSpec("mode", "choice", "how", "wait", choices=("wait", "abort")),
    ParamSpec("model", "text", "which", ""),
)


def test_what_is_left_out_has_its_default_and_all_is_spelled_one_way() -> None:
    assert settled(SPECS, {"percent": "007", "hard": "True"}) == {
        "grace_s": "10",
        "percent": "7",
        "hard": "yes",
        "mode": "wait",
        "model": "",
    }


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", "90"), ("1.5s", "1.5"), ("2m", "120"), ("1h", "3600"), ("0", "0")]
)
def test_seconds_are_said_in_units(text: str, seconds: str) -> None:
    assert settled(SPECS, {"percent": "1", "grace_s": text})["grace_s"] == seconds


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ({}, "percent is needed: per cent"),
        ({"percent": "101"}, "percent is '101'; it takes 0 to 100"),
        ({"percent": "-1"}, "percent is '-1'; it takes 0 to 100"),
        ({"percent": "1e1"}, "it takes 0 to 100"),
        ({"percent": "1", "grace_s": "2h"}, "it takes 0 to 3600 seconds"),
        ({"percent": "1", "grace_s": "nan"}, "it takes 0 to 3600 seconds"),
        ({"percent": "1", "hard": "maybe"}, "it takes yes or no"),
        ({"percent": "1", "mode": "kill"}, "it takes wait, abort"),
        ({"percent": "1", "model": "a\nb"}, "printable characters on one line"),
        ({"percent": "1", "grace": "1"}, "there is no parameter 'grace'; it takes grace_s, percent"),
    ],
)
def test_what_is_not_taken_is_refused_in_one_sentence(given_: dict[str, str], says: str) -> None:
    with pytest.raises(WrongParam, match=re.escape(says)):
        settled(SPECS, given_)


@given(st.dictionaries(st.sampled_from([spec.name for spec in SPECS]), st.text(max_size=300)))
def test_anything_else_is_either_taken_within_its_bounds_or_refused(given_: dict[str, str]) -> None:
    try:
        found = settled(SPECS, given_)
    except WrongParam as wrong:
        says = str(wrong)
        found = {}
    if not found:
        assert len(says.splitlines()) == 1
        return
    assert 0 <= float(found["grace_s"]) <= 3600
    assert 0 <= int(found["percent"]) <= 100
    assert found["mode"] in ("wait", "abort")
    assert settled(SPECS, found) == found
