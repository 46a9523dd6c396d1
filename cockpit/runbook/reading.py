"""PURE. The text of a runbook file becomes a `Recipe`, or one sentence: file, place in it, what to try.

Nothing is guessed: an unknown key, a wrong type, an action or condition that does not exist, a placeholder that nobody
fills are all refused when the file is read, not in the middle of a run.
"""

import re
import string
import tomllib
from collections.abc import Collection, Mapping
from typing import Any, NoReturn

from agent.wire.actions import Orphan, ParamSpec
from agent.wire.params import CHOICE, KINDS, SECONDS, TEXT, WHOLE, WrongParam, one
from cockpit.errors import ConfigError
from cockpit.inventory import did_you_mean
from cockpit.runbook import whens
from cockpit.runbook.conditions import CONDITIONS
from cockpit.runbook.recipe import EACH, KEYS, OWNER, PLACES, SUBJECTS, Recipe, RecipeStep
from cockpit.runbook.records import StepKind

MOST_BYTES = 64 * 1024
_STEPS = 40
_ID = re.compile(r"[a-z][a-z0-9-]{0,47}")
_ACTION = re.compile(r"[a-z]+\.[a-z_]+")
_PARAM = re.compile(r"[a-z][a-z0-9_]{0,31}")
_TOP = ("title", "says", "subjects", "expected", "easing", "params", "steps")
_PARAM_KEYS = ("name", "kind", "help", "default", "needed", "low", "high", "choices")
_STEP_KEYS = (
    "title", *KEYS, "use", "for", "batch", "when", "params", "deadline", "lease", "on_orphan", "on_failure", "undo",
    "soft",
)  # fmt: skip
_OWNED = ("restart", "start", "stop")
_CLAIMS = ("out", "back")


def read(name: str, text: str, origin: str, known: Collection[str] = ()) -> Recipe:
    """The runbook `name` of a file's text. `known`: the runbooks that a step may use.

    Raises:
        ConfigError: it is none.
    """
    return _Reader(name, origin, known).recipe(text)


class _Reader:
    def __init__(self, name: str, origin: str, known: Collection[str]) -> None:
        self.name, self.origin, self.known = name, origin, known
        self.names: frozenset[str] = frozenset(PLACES)

    def recipe(self, text: str) -> Recipe:
        if not _ID.fullmatch(self.name):
            self.fail("", "a runbook's file is named by small letters, digits and dashes, such as restart-replica.toml")
        try:
            data = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            self.fail("", f"not valid TOML: {error}")
        self.keys(data, _TOP, "")
        subjects = self.texts(data, "subjects", "")
        for subject in subjects:
            self.one_of(subject, SUBJECTS, "subjects")
        params = tuple(self.param(item, number) for number, item in enumerate(self.tables(data, "params"), 1))
        self.names |= {param.name for param in params}
        steps = tuple(self.step(item, number) for number, item in enumerate(self.tables(data, "steps"), 1))
        if not subjects or not steps:
            self.fail("", 'it needs subjects, such as ["replica"], and at least one [[steps]]')
        expected = self.text(data, "expected", "")
        self.places(expected, "expected")
        return Recipe(
            self.name, self.text(data, "title", "", needed=True), self.text(data, "says", "", needed=True), subjects,
            steps, expected, params, self.flag(data, "easing", ""), self.origin,
        )  # fmt: skip

    def param(self, data: Any, number: int) -> ParamSpec:
        where = f"[[params]] {number}"
        self.keys(data, _PARAM_KEYS, where)
        name = self.text(data, "name", where, needed=True)
        if not _PARAM.fullmatch(name) or name in PLACES:
            self.fail(where, f"name {name!r} must be small letters, digits and _, and none of {', '.join(PLACES)}")
        kind = self.text(data, "kind", where) or TEXT
        self.one_of(kind, KINDS, where)
        spec = ParamSpec(
            name, kind, self.text(data, "help", where), self.text(data, "default", where),
            self.flag(data, "needed", where), self.number(data, "low", where), self.number(data, "high", where),
            self.texts(data, "choices", where),
        )  # fmt: skip
        if kind in (WHOLE, SECONDS) and spec.high <= spec.low:
            self.fail(where, f"{name} needs low and high, and high above low")
        if kind == CHOICE and not spec.choices:
            self.fail(where, f"{name} needs choices")
        if not spec.default and not spec.needed and kind != TEXT:
            self.fail(where, f"{name} needs a default, or needed = true")
        if spec.default:
            try:
                one(spec, spec.default)
            except WrongParam as wrong:
                self.fail(where, f"default: {wrong}")
        return spec

    def step(self, data: Any, number: int) -> RecipeStep:
        where = f"[[steps]] {number}"
        self.keys(data, _STEP_KEYS, where)
        kinds = [key for key in (*KEYS, "use") if key in data]
        if len(kinds) != 1:
            self.fail(where, f"it needs exactly one of {', '.join(KEYS)} and use; it has {', '.join(kinds) or 'none'}")
        if self.text(data, "on_failure", where) not in ("", "stop"):
            self.fail(where, 'on_failure can only be "stop": the run stops and asks the operator')
        word = kinds[0]
        what = self.text(data, word, where, needed=True)
        kind = KEYS.get(word)
        self.what(kind, what, where)
        each, batch = self.text(data, "for", where), self.text(data, "batch", where)
        if each:
            self.one_of(each, EACH, where)
        if batch and not each:
            self.fail(where, 'batch says how many at once of what "for" names')
        if kind is StepKind.CLAIM and each:
            self.fail(where, "keepers are asked for one replica after the other: a claim takes no for")
        when = self.text(data, "when", where)
        if when:
            self.one_of(when, whens.WHENS, where)
        undo = self.text(data, "undo", where)
        if undo not in ("", "inverse", "none"):
            self.fail(where, 'undo is "inverse" (what the action names, the default) or "none"')
        orphan = self.text(data, "on_orphan", where)
        if orphan not in ("", "keep", "undo"):
            self.fail(where, 'on_orphan is "keep", "undo", or left out: keep while a finding is open')
        title = self.text(data, "title", where, needed=kind not in (StepKind.ASK, StepKind.NOTE)) or what
        lease, deadline = self.seconds(data, "lease", where, "0"), self.seconds(data, "deadline", where, "60")
        params = self.params(data, where)
        for part in (title, batch, *params.values(), *((what,) if kind in (StepKind.ASK, StepKind.NOTE) else ())):
            self.places(part, where)
        return RecipeStep(
            title, kind, "" if word == "use" else what, what if word == "use" else "", each, batch, when, params,
            deadline, lease, Orphan(orphan), undo == "none", self.flag(data, "soft", where),
        )  # fmt: skip

    def what(self, kind: StepKind | None, what: str, where: str) -> None:
        """That a step names something there is."""
        if kind is None:
            self.one_of(what, self.known, where, "runbook")
        elif kind in (StepKind.WAIT, StepKind.CHECK):
            self.one_of(what, CONDITIONS, where, "condition")
        elif kind is StepKind.CLAIM:
            self.one_of(what, _CLAIMS, where)
        elif kind is StepKind.ACTION:
            if not _ACTION.fullmatch(what):
                self.fail(where, f"action {what!r} is no action's id such as systemd.restart")
            if what.startswith(OWNER):
                self.one_of(what.removeprefix(OWNER), _OWNED, where)

    def places(self, text: str, where: str) -> None:
        """That somebody fills each placeholder."""
        try:
            found = [(name, extra, turned) for _, name, extra, turned in string.Formatter().parse(text)]
        except ValueError as error:
            self.fail(where, f"{text[:60]!r}: {error}; a placeholder is written {{target}}")
        for name, extra, turned in found:
            if name is None:
                continue
            if extra or turned or name not in self.names:
                self.fail(where, f"nobody fills {{{name}}}{did_you_mean(name, sorted(self.names))}")

    def params(self, data: Mapping[str, Any], where: str) -> dict[str, str]:
        found = data.get("params", {})
        if not isinstance(found, dict) or not all(isinstance(item, (str, int, float)) for item in found.values()):
            self.fail(where, "params must be a table of texts and numbers")
        flags = {True: "yes", False: "no"}
        return {key: flags[item] if isinstance(item, bool) else str(item) for key, item in found.items()}

    def seconds(self, data: Mapping[str, Any], key: str, where: str, default: str) -> str:
        """A number of seconds, or a placeholder for one."""
        value = data.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            self.fail(where, f'{key} must be seconds, or a placeholder such as "{{drain_s}}"')
        text = str(value)
        if text.startswith("{") and text[1:-1] in self.names:
            return text
        try:
            return one(ParamSpec(key, SECONDS, low=0, high=86400), text)
        except WrongParam as wrong:
            self.fail(where, str(wrong))

    def tables(self, data: Mapping[str, Any], key: str) -> list[Any]:
        found = data.get(key, [])
        if not isinstance(found, list) or len(found) > _STEPS:
            self.fail(key, f"must be written [[{key}]], at most {_STEPS} times")
        return found

    def keys(self, data: Any, known: Collection[str], where: str) -> None:
        if not isinstance(data, dict):
            self.fail(where, "must be a table")
        for key in data:
            if key not in known:
                self.fail(where, f"unknown key {key!r}{did_you_mean(key, known)}")

    def text(self, data: Mapping[str, Any], key: str, where: str, *, needed: bool = False) -> str:
        value = data.get(key, "")
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or len(value) > 1000 or not value.isprintable():
            self.fail(where, f"{key} must be text on one line, at most 1000 characters")
        if needed and not value.strip():
            self.fail(where, f"{key} is missing")
        return value

    def texts(self, data: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
        value = data.get(key, [])
        if not isinstance(value, list) or len(value) > 32 or not all(isinstance(item, str) for item in value):
            self.fail(where, f"{key} must be a list of texts")
        return tuple(value)

    def flag(self, data: Mapping[str, Any], key: str, where: str) -> bool:
        value = data.get(key, False)
        if not isinstance(value, bool):
            self.fail(where, f"{key} must be true or false")
        return value

    def number(self, data: Mapping[str, Any], key: str, where: str) -> float:
        value = data.get(key, 0.0)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e12:
            self.fail(where, f"{key} must be a number")
        return float(value)

    def one_of(self, word: str, known: Collection[str], where: str, what: str = "word") -> None:
        if word not in known:
            self.fail(where, f"there is no {what} {word!r}{did_you_mean(word, sorted(known))}")

    def fail(self, where: str, says: str) -> NoReturn:
        raise ConfigError(f"{self.origin}: {f'{where}: ' if where else ''}{says}")
