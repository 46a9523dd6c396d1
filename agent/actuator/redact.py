"""Command lines for viewers: secrets out, then cut. PURE.

Two passes: over the arguments as they were given, where boundaries are certain, and over the joined text, for what is
packed inside one argument (a shell's script, JSON, a title that the process gave itself). When in doubt, it goes.
"""

import re
from collections.abc import Sequence
from functools import cache

from agent.actuator.secret_table import (
    ENDINGS,
    HARMLESS,
    HOLDS_TOKENS,
    LAST_WORDS,
    PEM,
    PLACE_HEADS,
    PLACES,
    SECRET_IDS,
    SHAPE_HEADS,
    SHAPES,
    WORDS,
)

MARK = "***"
CHARS = 256
_TOTAL = 64 * 1024  # of an endless command line, more is not looked at

_SEVERAL = re.compile(
    r"--?(?:api[-_]?keys?|keys|secrets|passwords|(?:[a-z]{1,16}[-_])?tokens)", re.I
)  # flags that take several values
_KEY = re.compile(r"(?=[^\d]*\d)(?=[\d_\-]*[A-Za-z])[\w\-]{8,}")  # what may be such a value, and hardly a word
_SPLIT = re.compile(r"[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])")
_NAME = re.compile(r"[\w.\-]{1,64}")
_NUMBER = re.compile(r"[\d_.]{1,12}")
# What looks like a flag: of words that are short or have digits at their end alone, as passwords do not.
_PART = r"(?:[A-Za-z]{1,24}\d{0,3}|[A-Za-z0-9]{1,4})"
_FLAG = re.compile(rf"--{_PART}(?:[-_.]{_PART}){{0,9}}(?:=.*)?", re.S)
_VALUED = re.compile(r"(?:password|passwd|passphrase|secret|api-?_?key|secret-?_?key)$", re.I)  # never without a value
# Words that are followed by a secret without being flags: `aws configure set aws_secret_access_key ...`.
_PLAIN = r"(?:\w{1,48}_)?(?:password|passwd|passphrase|authtoken|apikey)|\w{1,48}_(?:key|token|secret)"
_BARE = re.compile(_PLAIN, re.I)
_VALUE = re.compile(
    r"\"(?:[^\"\\]|\\.)*\"?|'(?:[^'\\]|\\.)*'?|\[[^\]]*\]?|\{[^}]*\}?|[^\s\"'&;,}\]]+"
)  # quoted, a list, a map, a word
_ASSIGNED = re.compile(r"([A-Za-z_][A-Za-z0-9_.\-]{0,63})[\"']?\]?\s*(?::=|=>|[=:])\s*")
_SPACED = re.compile(rf"(?<![\w/-])(--?[A-Za-z][A-Za-z0-9_.\-]{{0,63}}|{_PLAIN})\s+", re.I)
_HEADER = re.compile(
    r"\b((?:Proxy-)?Authorization[\"']?\s*[:=]\s*[\"']?)(?:(Basic|Bearer|Token|Digest|ApiKey)\s+)?[^\s\"',}]+", re.I
)
_BEARER = re.compile(r"\b(Bearer\s+)[^\s\"',}]+", re.I)
# What stands before the last @ of the authority; a password may hold a slash, a port is no password.
_USERINFO = re.compile(
    r"\b([A-Za-z][A-Za-z0-9+.\-]{1,31}://)(?:[^\s/?#\"']{0,256}@"
    r"|[^\s/@:\"']{0,128}:(?!\d{1,5}(?![^\s/\"']))[^\s\"']{0,256}@)"
)
_PEM = re.compile(PEM, re.S)
_WORD = r"(?:\"[^\"]*\"?|'[^']*'?|[^\s\"']+)"
_WORDS_BUT_FLAGS = re.compile(rf"(?<!\S)(?!-){_WORD}")


def redact(args: Sequence[str]) -> str:
    """The command as one line of at most 256 characters with every secret replaced by `***`."""
    shown: list[str] = []
    owner, several, room = "", False, _TOTAL
    for arg in args:
        room -= len(arg)
        if room < 0:
            break
        hidden = _is_value(owner, arg) or (several and _KEY.fullmatch(arg) is not None)
        shown.append(MARK if hidden else _whole(arg))
        owner = arg if _wants_value(arg) and not (hidden and not arg.startswith("-")) else ""
        if not hidden:
            several = bool(owner) and _SEVERAL.fullmatch(arg) is not None
    text = redact_text(" ".join(shown))
    text = "".join(char if char.isprintable() else " " for char in text)
    return text if len(text) <= CHARS else text[: CHARS - 1] + "…"


def redact_text(text: str) -> str:
    """`text` without what looks like a secret inside it."""
    if "-----BEGIN" in text:
        text = _PEM.sub(MARK, text)
    if _holds(text, PLACE_HEADS):
        text = _commands().sub(_placed, text)
    if "@" in text:
        text = _USERINFO.sub(rf"\1{MARK}@", text)
    if _holds(text.lower(), ("authorization", "bearer")):
        text = _HEADER.sub(rf"\1{MARK}", text)
        text = _BEARER.sub(rf"\1{MARK}", text)
    if _holds(text, SHAPE_HEADS):
        text = _shapes().sub(MARK, text)
    return _values(_values(text, _ASSIGNED), _SPACED)


def _holds(text: str, heads: Sequence[str]) -> bool:
    """Whether one of these is in `text`: microseconds, where the patterns that begin with them take milliseconds."""
    return any(head in text for head in heads)


def redact_value(name: str, value: str) -> str:
    """A named value for viewers."""
    return MARK if is_secret(name) else redact_text(value)


def is_secret(name: str) -> bool:
    """Whether a flag's or variable's name says that its value is secret."""
    words = [word.lower() for word in _SPLIT.split(name) if word]
    if name.lower().lstrip("-").endswith(SECRET_IDS):
        return True
    if not words or (words[-1] in HARMLESS and not name.isupper()):
        return False
    return words[-1] in LAST_WORDS or any(word in WORDS or word.endswith(ENDINGS) for word in words)


def _holds_tokens(name: str) -> bool:
    """Whether `tokens` in this name may be secret ones; how many there are is not."""
    words = [word.lower() for word in _SPLIT.split(name) if word]
    return bool(words) and words[-1] == "tokens" and "".join(words[:-1]) in HOLDS_TOKENS


def _wants_value(arg: str) -> bool:
    """Whether the argument after this one is a secret, if there is one."""
    if not arg.startswith("-"):
        return _BARE.fullmatch(arg) is not None
    return "=" not in arg and " " not in arg and (is_secret(arg) or _holds_tokens(arg))


def _is_value(owner: str, arg: str) -> bool:
    """Whether `arg` is the secret that `owner` is followed by; "" owns nothing."""
    if not owner or (arg.startswith("-") and not owner.startswith("-")):
        return False
    if not is_secret(owner):
        return not arg.startswith("--") and _NUMBER.fullmatch(arg) is None
    if arg.startswith("--"):
        return _VALUED.search(owner) is not None or _FLAG.fullmatch(arg) is None
    return True


@cache
def _shapes() -> re.Pattern[str]:
    """Every known shape, where a word begins. Compiled when first needed: `once` starts in milliseconds."""
    begins = r"(?:(?<![A-Za-z0-9_])|(?<=%[0-9A-Fa-f]{2}))"
    return re.compile(f"{begins}(?:{'|'.join(shape.pattern for shape in SHAPES)})")


@cache
def _commands() -> re.Pattern[str]:
    """A program of `PLACES` and its words as far as the command goes; also behind sudo, env or in a shell's script."""
    programs = "|".join(f"(?P<p{number}>{place.program})" for number, place in enumerate(PLACES))
    return re.compile(rf"(?<![\w.\-])(?:{programs})(?=\s)[^|;&\n]*")


def _placed(found: re.Match[str]) -> str:
    """A command of a program that is known to take secrets, without them."""
    number = int((found.lastgroup or "p0")[1:])
    if PLACES[number].flags:
        return _flagged(number).sub(rf"\1{MARK}", found[0])
    start = found.end(f"p{number}") - found.start()
    return found[0][:start] + _WORDS_BUT_FLAGS.sub(MARK, found[0][start:])


@cache
def _flagged(number: int) -> re.Pattern[str]:
    """The flags of this program with the word that follows; one-letter flags may have it glued on."""
    flags = PLACES[number].flags
    ends = (flag + (r"[=\s]" if flag.startswith("--") else r"[=\s]?") for flag in flags)
    return re.compile(rf"(?<!\S)({'|'.join(ends)})\s*{_WORD}")


def _whole(arg: str) -> str:
    """An argument `NAME=value` whose value may hold blanks."""
    name, equals, value = arg.partition("=")
    if equals and value and _NAME.fullmatch(name) and is_secret(name):
        return f"{name}={MARK}"
    return arg


def _values(text: str, named: re.Pattern[str]) -> str:
    """`text` without the value that follows each secret name. Harmless values are looked into in turn."""
    parts: list[str] = []
    done = at = 0
    while found := named.search(text, at):
        at = found.end()
        value = _VALUE.match(text, at) if is_secret(found[1]) or _holds_tokens(found[1]) else None
        if value is None or not _follows(found[1], value[0], named):
            continue
        parts += [text[done:at], MARK]
        done = at = value.end()
    return "".join([*parts, text[done:]])


def _follows(name: str, value: str, named: re.Pattern[str]) -> bool:
    if not is_secret(name) and _NUMBER.fullmatch(value):
        return False
    if named is _ASSIGNED or not value.startswith("-"):
        return True
    return value.startswith("--") and _is_value(name, value)
