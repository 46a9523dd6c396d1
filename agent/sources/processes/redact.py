"""Command lines for viewers: secrets out, then cut. PURE.

Two passes: over the arguments as they were given, where boundaries are certain, and over the joined text, for what is
packed inside one argument (a shell's script, JSON, a title that the process gave itself). When in doubt, it goes.
"""

import re
from collections.abc import Sequence
from functools import cache

MARK = "***"
CHARS = 256
_TOTAL = 64 * 1024  # of an endless command line, more is not looked at

# The last words of a name that mean its value is secret. Whole words: `--tokenizer` and `--max-tokens` are harmless.
_WORDS = frozenset(
    (
        *("token", "key", "keys", "apikey", "secret", "secrets", "password", "passwords", "passwd", "passphrase"),
        *("pwd", "pass", "credential", "credentials", "cred", "creds", "auth", "authorization", "bearer", "cookie"),
        *("signature", "sig", "jwt", "pat", "webhook", "dsn", "sas", "otp", "totp", "passcode"),
    )
)
_ENDINGS = ("token", "apikey", "secret", "password", "passwd", "passphrase", "credential", "credentials", "accesskey")
_HARMLESS = frozenset(
    ("file", "path", "dir", "length", "count", "size", "cache", "dtype", "type", "name", "id", "bits")
)
_SECRET_IDS = ("secretid", "secret_id", "secret-id")  # of Vault's AppRole: an id by name alone
_SEVERAL = re.compile(r"--?(?:api[-_]?keys?|keys|secrets|passwords)", re.I)  # flags that take more than one value
_KEY = re.compile(r"(?=[^\d]*\d)(?=[\d_\-]*[A-Za-z])[\w\-]{8,}")  # what may be such a value, and hardly a word
_SPLIT = re.compile(r"[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])")
_NAME = re.compile(r"[\w.\-]{1,64}")
_VALUE = re.compile(
    r"\"(?:[^\"\\]|\\.)*\"?|'(?:[^'\\]|\\.)*'?|\[[^\]]*\]?|\{[^}]*\}?|[^\s\"'&;,}\]]+"
)  # quoted, a list, a map, a word
_ASSIGNED = re.compile(r"([A-Za-z_][A-Za-z0-9_.\-]{0,63})[\"']?\s*(?::=|=>|[=:])\s*")
_SPACED = re.compile(r"(?<![\w-])(--?[A-Za-z][A-Za-z0-9_.\-]{0,63})\s+(?!-)")
_HEADER = re.compile(
    r"\b((?:Proxy-)?Authorization[\"']?\s*[:=]\s*[\"']?)(?:(Basic|Bearer|Token|Digest|ApiKey)\s+)?[^\s\"',}]+", re.I
)
_BEARER = re.compile(r"\b(Bearer\s+)[^\s\"',}]+", re.I)
# What stands before the last @ of the authority; a password may hold a slash, a port is no password.
_USERINFO = re.compile(
    r"\b([A-Za-z][A-Za-z0-9+.\-]{1,31}://)(?:[^\s/?#\"']{0,256}@"
    r"|[^\s/@:\"']{0,128}:(?!\d{1,5}(?![^\s/\"']))[^\s\"']{0,256}@)"
)
_SHAPES = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_\-]{16,}|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w\-]{16,}"
    r"|xox[abprs]-[\w\-]{10,}|nvapi-[\w\-]{16,}|AIza[\w\-]{30,}|A(?:KIA|SIA)[A-Z0-9]{16}|npm_[A-Za-z0-9]{30,}"
    r"|eyJ[\w\-]{8,}\.[\w\-]{8,}(?:\.[\w\-]*)?)"
)
_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.S)
# Programs whose one-letter flags take a password.
_SHORT = {
    "sshpass": ("-p",),
    "mysql": ("-p",),
    "mysqldump": ("-p",),
    "redis-cli": ("-a",),
    "mongo": ("-p",),
    "mongosh": ("-p",),
    "curl": ("-u", "--user", "-U", "--proxy-user", "-b"),
    "wget": ("--user",),
    "ldapsearch": ("-w",),
    "smbclient": ("-U",),
}
# The same behind sudo, env or in a shell's script: the program and its words as far as the command goes.
_COMMAND = re.compile(rf"(?<![\w.\-])({'|'.join(_SHORT)})(?=\s)[^|;&\n]*")
_WORD = r"(?:\"[^\"]*\"?|'[^']*'?|[^\s\"']+)"


def redact(args: Sequence[str]) -> str:
    """The command as one line of at most 256 characters with every secret replaced by `***`."""
    shown: list[str] = []
    hide = several = False
    room = _TOTAL
    for arg in args:
        room -= len(arg)
        if room < 0:
            break
        if (hide and not arg.startswith("--")) or (several and _KEY.fullmatch(arg)):
            shown.append(MARK)
            hide = False
            continue
        hide = arg.startswith("-") and "=" not in arg and " " not in arg and is_secret(arg)
        several = hide and _SEVERAL.fullmatch(arg) is not None
        shown.append(_whole(arg))
    text = redact_text(" ".join(shown))
    text = "".join(char if char.isprintable() else " " for char in text)
    return text if len(text) <= CHARS else text[: CHARS - 1] + "…"


def redact_text(text: str) -> str:
    """`text` without what looks like a secret inside it."""
    text = _PEM.sub(MARK, text)
    text = _COMMAND.sub(lambda found: _flagged(found[1]).sub(rf"\1{MARK}", found[0]), text)
    text = _USERINFO.sub(rf"\1{MARK}@", text)
    text = _HEADER.sub(rf"\1{MARK}", text)
    text = _BEARER.sub(rf"\1{MARK}", text)
    text = _SHAPES.sub(MARK, text)
    return _values(_values(text, _ASSIGNED), _SPACED)


def redact_value(name: str, value: str) -> str:
    """A named value for viewers."""
    return MARK if is_secret(name) else redact_text(value)


@cache
def _flagged(program: str) -> re.Pattern[str]:
    """The flags of this program with the word that follows; one-letter flags may have it glued on."""
    flags = (flag + (r"[=\s]" if len(flag) > 2 else r"[=\s]?") for flag in _SHORT[program])
    return re.compile(rf"(?<!\S)({'|'.join(flags)})\s*{_WORD}")


def is_secret(name: str) -> bool:
    """Whether a flag's or variable's name says that its value is secret."""
    words = [word.lower() for word in _SPLIT.split(name) if word]
    if name.lower().lstrip("-").endswith(_SECRET_IDS):
        return True
    if not words or (words[-1] in _HARMLESS and not name.isupper()):
        return False
    return any(word in _WORDS or word.endswith(_ENDINGS) for word in words)


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
        value = _VALUE.match(text, at) if is_secret(found[1]) else None
        if value is None:
            continue
        parts += [text[done:at], MARK]
        done = at = value.end()
    return "".join([*parts, text[done:]])
