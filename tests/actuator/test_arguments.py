"""Whatever an argument says: it is a name or a number, one word of an argv, and never an option, a path or a script."""

import os
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.actuator import child, container, proc
from agent.actuator.families import FAMILIES
from agent.actuator.family import Action, Arg, Argv, Entry, Job, Look, Ran, Refused
from agent.actuator.values import KEY, checked, expected, key_of, scalar, text_of, who_of

ACTIONS = [action for family in FAMILIES for action in family.actions]
LOOKS = [(name, look) for family in FAMILIES for name, look in family.looks.items()]
NASTY = [
    "-", "--", "-H", "--host=evil", "--no-block", "-t", "../x.service", "../../etc/passwd", "/etc/passwd",
    "a/../b.service", "$(reboot).service", "`reboot`.service", "a.service;reboot", "a.service && reboot", "a|b.service",
    "a b.service", "a\tb.service", "a.service\n", "\na.service", "a.service\nb.service", "a.service\0", "*.service",
    "a?.service", "[ab].service", "~root.service", "a'b.service", 'a"b.service', "a>b.service", "${IFS}.service",
    "a.service#", "%n.service", "é.service", "а.service", "０", "1e9", "-1", "+1", " 1", "1 ", "0x10", "1_000", "٣",
    "nan", "inf", "", " ", "\x1b[31m", "a" * 300 + ".service", "1" * 400,
]  # fmt: skip
RIGHT = {
    "unit": ["vllm@0.service", "a\\x2db.service", "_x.service"], "units": ["vllm@0.service"],
    "container": ["vllm-0", "0" * 64, "a.b_c"], "pid": ["4711", "1"], "replica": ["vllm:8000", "ns/pod-0"],
    "engine": ["vllm", ""], "grace_s": ["0", "10", "2.5"], "deadline_s": ["1", "60", "900"], "gpu": ["GPU-1-2", ""],
    "minor": ["-1", "0", "127"], "backend": ["llm", "a.b:c"], "server": ["r1"], "lb": ["edge", ""], "floor": ["0", "3"],
    "percent": ["100"], "weight": ["0", "256"], "lift": ["yes"], "minutes": ["15"], "max_mib": ["64"],
    "bug_report": ["no"], "runtime": ["docker", "podman"],
    "bundle": ["1a2b3c4d/2~2"], "part": ["units/a.service", "nvml.txt"], "offset": ["0", "262144"],
}  # fmt: skip
LABELS = ("lb",)  # compared with the policy's and with nothing else: any printable text
# What the shell or a program could take for more than a name. A backslash is a part of systemd's own names.
UNSAFE = set(string.whitespace) | set("\0;|&$`<>(){}[]*?!'\"#^%=,") | {chr(code) for code in range(32)} | {"\x7f"}
EXAMPLES = int(os.environ.get("ACTUATOR_EXAMPLES", "15"))  # 300 each were run when the patterns were written
ID = "0123456789abcdef" * 4


@dataclass
class Recorded:
    """Hands that do nothing and remember what they were asked for. A container is found under any name."""

    argvs: list[Argv] = field(default_factory=list)
    state: Path = Path("/nonexistent")
    entries: tuple[Entry, ...] = ()

    def say(self, line: str) -> None:
        """Progress."""

    def run(self, argv: Argv, deadline_s: float, quiet: bool = False) -> Ran:
        """What a container engine would say of a container, or systemd of a unit."""
        self.argvs.append(argv)
        said = f'{{"Id": "{ID}", "Name": "/{argv[-1]}", "State": {{}}, "Config": {{}}}}' if "inspect" in argv else ""
        return Ran(0, tuple(said.splitlines()), said.encode())


def texts() -> st.SearchStrategy[Any]:
    """Arguments of all kinds, many of them nearly right."""
    nearly = st.text(string.ascii_letters + string.digits + "-_.@:/\\;$ \n\0*", max_size=24)
    return st.one_of(
        st.sampled_from(NASTY), st.text(max_size=20), nearly, nearly.map(lambda text: f"{text}.service"),
        st.integers(), st.floats(), st.booleans(), st.none(), st.lists(st.text(max_size=4), max_size=3),
        st.dictionaries(st.text(max_size=2), st.integers(), max_size=2), st.integers(0, 99999).map(str),
    )  # fmt: skip


def argument(name: str, many: bool) -> st.SearchStrategy[Any]:
    """One argument: right, nearly right, or anything."""
    right = st.sampled_from(RIGHT[name])
    dirt = st.sampled_from(["-", "--", "/", "../", "\n", "\0", " ", ";", "$(x)", "*", "é", "\\", "0"])
    spoiled = st.builds(lambda text, one, at: text[:at] + one + text[at:], right, dirt, st.integers(0, 12))
    one = st.one_of(right, spoiled, texts())
    return st.one_of(st.lists(one, max_size=3), texts()) if many else one


def entry_of(action: Action) -> Entry:
    """An entry that allows everything that it can."""
    (family,) = [one for one in FAMILIES if action in one.actions]
    kinds = {"globs": ("*",), "path": "/run/lab.sock", "whole": 0, "text": "docker"}
    keys = {name: kinds[key.kind] for name, key in family.keys.items() if name != "lb"}
    return Entry(1, (action.id,), "operator", keys)


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.id)
@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data())
def test_no_argument_becomes_an_option_a_path_or_a_script(action: Action, data: st.DataObject) -> None:
    judge(action.args, data)


def judge(known: Mapping[str, Arg], data: st.DataObject) -> None:
    drawn = {name: argument(name, arg.many) for name, arg in known.items() if data.draw(st.integers(0, 9))}
    try:
        values = checked(known, data.draw(st.fixed_dictionaries(drawn)))
    except Refused as refused:
        assert (refused.code, "\n" in refused.says) == (400, False)  # noqa: PT017 - one of two good ends
        return
    for name, arg in known.items():
        for text in values[name] if arg.many else (values[name],):
            assert arg.fits(text) or text == arg.default
            if name in LABELS:
                continue
            assert not text.startswith("-") or re.fullmatch(r"-\d{1,4}", text), (name, text)
            assert not set(text) & UNSAFE, (name, text)
            assert not {".", ".."} & set(text.split("/")), (name, text)
            assert not text.startswith(("/", "~")), (name, text)
            assert text.isascii()


def commands(action: Action, values: Mapping[str, Any], patch: pytest.MonkeyPatch) -> list[Argv]:
    """All that would be executed."""
    me = proc.Process(
        4711,
        42,
        "S",
        "engine",
        1,
        1000,
        0,
        f"/system.slice/{values.get('unit') or 'x.scope'}/docker-{ID}",
        nested=False,
    )
    patch.setattr(child, "found", lambda name: f"/usr/bin/{name}")
    patch.setattr(proc, "look", lambda pid: me if pid == int(values["pid"]) else None)
    patch.setattr(proc, "below", lambda root: [])
    patch.setattr(proc, "gpus", lambda pid: ("/dev/nvidia0",))
    hands = Recorded()
    job = Job(action.id, entry_of(action), values, {}, hands, "1a2b3c4d/1")
    found = list(action.commands(job))
    return [*found, *hands.argvs]


@pytest.mark.parametrize(
    "action",
    [
        one
        for one in ACTIONS
        if one.perform and one.id.partition(".")[0] in ("systemd", "container", "engine", "process")
    ],
    ids=lambda action: action.id,
)
@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data())
def test_what_is_executed_is_a_program_of_roots_and_names_behind_two_dashes(
    action: Action, data: st.DataObject
) -> None:
    right = {name: st.sampled_from(RIGHT[name]).filter(arg.fits) for name, arg in action.args.items()}
    values = checked(action.args, data.draw(st.fixed_dictionaries(right)))
    with pytest.MonkeyPatch.context() as patch:
        argvs = commands(action, values, patch)
    assert argvs
    for argv in argvs:
        assert all(isinstance(word, str) and word and "\0" not in word and "\n" not in word for word in argv)
        if argv[0] == "kill":  # what is shown of a signal, which the kernel's handle of the process takes
            assert re.fullmatch(r"kill -(TERM|KILL) \d+", " ".join(argv))
            continue
        assert re.fullmatch(r"/usr/bin/(systemctl|systemd-run|docker|podman)", argv[0])
        assert argv[-2] == "--", argv
        assert not {"sh", "bash", "/bin/sh", "-c"} & set(argv)


@pytest.mark.parametrize(("name", "look"), LOOKS, ids=[name for name, _ in LOOKS])
@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data())
def test_no_look_leads_anywhere_else(name: str, look: Look, data: st.DataObject) -> None:
    assert name
    judge(look.args, data)


@pytest.mark.parametrize("text", NASTY)
def test_nothing_nasty_is_a_unit_or_a_container(text: str) -> None:
    restart = next(action for action in ACTIONS if action.id == "systemd.restart")
    with pytest.raises(Refused):
        checked(restart.args, {"unit": text})
    stop = next(action for action in ACTIONS if action.id == "container.stop")
    if not re.fullmatch(container.NAME, text, re.ASCII):
        with pytest.raises(Refused):
            checked(stop.args, {"runtime": "docker", "container": text})


def test_an_argument_that_is_not_known_or_missing_is_refused() -> None:
    restart = next(action for action in ACTIONS if action.id == "systemd.restart")
    with pytest.raises(Refused, match="there is no argument 'host'"):
        checked(restart.args, {"unit": "a.service", "host": "evil"})
    with pytest.raises(Refused, match="the argument unit is missing"):
        checked(restart.args, {})
    assert checked(restart.args, {"unit": "a.service"})["deadline_s"] == "180"
    with pytest.raises(Refused, match="cannot be the argument deadline_s"):
        checked(restart.args, {"unit": "a.service", "deadline_s": 1e9})


@settings(max_examples=4 * EXAMPLES, deadline=None)
@given(
    st.dictionaries(st.one_of(st.sampled_from(["key", "who", "run", "step", "reason"]), st.text(max_size=5)), texts())
)
@example({"who": {"uid": -1, "user": "a\nb", "by": "\x1b[31m" * 100, "role": 7}})
@example({"who": {"uid": True}})
def test_who_and_what_for_are_cleaned_whatever_they_say(request: dict[str, Any]) -> None:
    who = who_of(request)
    assert who["uid"] is None or (isinstance(who["uid"], int) and 0 <= who["uid"] < 2**32)
    for text in (who["user"], who["claimed"], who["role"], text_of(request, "reason", 500)):
        assert text.isprintable()
        assert len(text) <= 500
    try:
        key = key_of(request)
    except Refused:
        return
    assert re.fullmatch(KEY, key, re.ASCII)


@settings(max_examples=4 * EXAMPLES, deadline=None)
@given(texts())
def test_a_scalar_has_one_text_and_expectations_are_flat(value: Any) -> None:
    text = scalar(value)
    assert text is None or isinstance(text, str)
    try:
        found = expected({"started": value})
    except Refused:
        return
    assert found in ({}, {"started": text})
