"""Who a `Host` or `Match` line means: OpenSSH's patterns and criteria, one host at a time. Decides, changes nothing."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from cockpit.link.ssh_config.words import BINARY

_FLAGS = ("canonical", "final")


@dataclass(frozen=True, slots=True)
class Subject:
    """What a line is compared with. `final`: this is the second reading; `run`: whether a command ended well once its
    tokens are filled in; None if it did not end in time."""

    host: str
    original: str
    user: str
    local_user: str
    tag: str = ""
    final: bool = False
    run: Callable[[str], bool | None] = lambda _command: None


class Undecided(ValueError):
    """Nobody can say whether a line is meant; the text says why and what to do."""


def matches(text: str, pattern: str) -> bool:
    """OpenSSH's wildcard: `*` any characters, `?` one."""
    return _compiled(pattern).fullmatch(text) is not None


def in_list(text: str, patterns: str, *, fold: bool = False) -> bool:
    """Whether a comma list with negations means this text; `fold`: the patterns in lower case."""
    found = False
    for word in patterns.split(","):
        negated = word.startswith("!")
        pattern = word[negated:]
        if matches(text, pattern.lower() if fold else pattern):
            if negated:
                return False
            found = True
    return found


def host_line(words: tuple[str, ...], host: str) -> bool:
    """Whether `Host WORDS` means this host."""
    found = False
    for word in words:
        negated = word.startswith("!")
        if matches(host, word[negated:]):
            if negated:
                return False
            found = True
    return found


def match_line(text: str, subject: Subject) -> bool:
    """Whether `Match TEXT` means this host.

    Raises:
        Undecided: a criterion is unknown or malformed, or a command did not end in time.
    """
    result = True
    criteria = _criteria(text)
    for number, (name, negated, argument) in enumerate(criteria):
        if name == "all":
            if number != len(criteria) - 1 or number > 1 or (number and criteria[0][0] not in _FLAGS):
                raise Undecided("'all' must stand alone")
            return result and not negated
        if name == "exec" and not result:
            continue
        result = result and _holds(name, argument, subject) != negated
    if not criteria:
        raise Undecided("no criterion")
    return result


def wants_final(text: str) -> bool:
    """Whether this Match line asks for a second reading."""
    return re.search(r"(?i)(^|[\s!])final($|\s)", text) is not None


def _criteria(text: str) -> list[tuple[str, bool, str]]:
    words = [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|([^\s="]+)', text)]
    found: list[tuple[str, bool, str]] = []
    rest = iter(words)
    for word in rest:
        if word.startswith("#"):
            break
        negated = word.startswith("!")
        name = word[negated:].lower()
        if name == "all" or name in _FLAGS:
            found.append((name, negated, ""))
            continue
        argument = next(rest, "")
        if not argument or argument.startswith("#"):
            raise Undecided(f"{name} has no value")
        found.append((name, negated, argument))
    return found


def _holds(name: str, argument: str, subject: Subject) -> bool:
    if name in _FLAGS:
        return subject.final
    if name == "exec":
        return _ran(argument, subject)
    values = {
        "host": subject.host.lower(),
        "originalhost": subject.original.lower(),
        "user": subject.user,
        "localuser": subject.local_user,
        "tagged": subject.tag,
    }
    if name not in values:
        raise Undecided(f"the criterion {name!r} is not known here: {BINARY}")
    return in_list(values[name], argument, fold=name in ("host", "originalhost"))


def _ran(command: str, subject: Subject) -> bool:
    status = subject.run(command)
    if status is None:
        raise Undecided(f"exec {command!r} did not end in time: mend it, or {BINARY}")
    return status


def expand(text: str, tokens: Mapping[str, str]) -> str:
    """Fill in `%x`.

    Raises:
        Undecided: there is no such token here.
    """

    def value(match: re.Match[str]) -> str:
        letter = match[1]
        if letter == "%":
            return "%"
        if letter not in tokens:
            raise Undecided(f"%{letter} in {text!r} cannot be filled in: {BINARY}")
        return tokens[letter]

    return re.sub(r"%(.?)", value, text, flags=re.DOTALL) if "%" in text else text


@lru_cache(4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile("".join({"*": ".*", "?": "."}.get(char) or re.escape(char) for char in pattern), re.DOTALL)
