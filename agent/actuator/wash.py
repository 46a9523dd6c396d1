"""What is collected, before it touches a disk: secrets out, control characters out, and not more than has room.

Two kinds of secrets: what looks like one (`redact`, the same text as the agent's own), and what is known to be one,
because a process on this host has it in its environment or arguments under a name that says so. The second finds a
token in a log line that says nothing of what it is.
"""

import base64
import re
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from agent.actuator.redact import MARK, is_secret, redact_text

SHORTEST = 8  # characters of a value that is looked for everywhere: shorter ones are words
VALUES = 4096
CHUNK = 32 * 1024  # looked at as one text
HELD = 256 * 1024  # the most that waits for the end of what it is about
_ENVIRON = 256 * 1024
_CONTROL = {code: " " for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
_DANGLING = re.compile(r"(?:[:=,\[({\\]|--?[\w.\-]{1,64}|[\w.\-]{0,48}(?:key|token|secret|passw\w*))[\"']?\s*\Z", re.I)


def known(processes: Iterable[Path], more: Iterable[str] = ()) -> frozenset[str]:
    """Values that these processes (folders of /proc) and these assignments `NAME=value` hold under a secret's name."""
    values: set[str] = set()
    for folder in processes:
        values.update(_assigned(_words(folder / "environ")))
        values.update(_given(_words(folder / "cmdline")))
        if len(values) > VALUES:
            break
    values.update(_assigned(more))
    return frozenset(value for value in values if _tells(value))


class Washer:
    """Text by text. `secrets` are replaced wherever they stand, also in base64 and in URLs."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        spellings = {spelling for secret in secrets for spelling in _spellings(secret)}
        longest = sorted(spellings, key=len, reverse=True)[: 4 * VALUES]
        self._known = re.compile("|".join(map(re.escape, longest))) if longest else None
        self._rest = b""

    def wash(self, text: str) -> str:
        """One whole text."""
        if self._known is not None:
            text = self._known.sub(MARK, text)
        return redact_text(text.translate(_CONTROL))

    def feed(self, data: bytes) -> bytes:
        """The next bytes of a stream: what is clean by now, cut where no line leads over to the next."""
        self._rest += data
        if len(self._rest) < CHUNK:
            return b""
        end = self._rest.rfind(b"\n") + 1
        if not end and len(self._rest) < HELD:
            return b""
        text = self._rest[: end or None].decode("utf-8", "replace")
        if len(self._rest) < HELD and _leads_over(text):
            return b""
        self._rest = self._rest[end:] if end else b""
        return self.wash(text).encode()

    def close(self) -> bytes:
        """The rest."""
        rest, self._rest = self._rest, b""
        return self.wash(rest.decode("utf-8", "replace")).encode()


class Room:
    """So many bytes of a stream: its beginning, and of the rest the newest. What is left out says so in its place."""

    def __init__(self, most: int) -> None:
        self._head_room = most // 4
        self._tail_room = most - self._head_room
        self._head: list[bytes] = []
        self._tail: deque[bytes] = deque()
        self._held = 0
        self.left_out = 0

    def add(self, data: bytes) -> None:
        """The next bytes."""
        if self._head_room > 0:
            first, data = data[: self._head_room], data[self._head_room :]
            self._head.append(first)
            self._head_room -= len(first)
        if not data:
            return
        self._tail.append(data)
        self._held += len(data)
        while self._held > self._tail_room and self._tail:
            oldest = self._tail.popleft()
            over = min(len(oldest), self._held - self._tail_room)
            self._held -= over
            self.left_out += over
            if over < len(oldest):
                self._tail.appendleft(oldest[over:])

    def parts(self) -> Iterable[bytes]:
        """What is kept, in order."""
        yield from self._head
        if self.left_out:
            yield f"\n[... {self.left_out} bytes are left out here: there is no room for more ...]\n".encode()
        yield from self._tail


def _leads_over(text: str) -> bool:
    opened = text.rfind("-----BEGIN")
    if opened >= 0 and "-----END" not in text[opened:]:
        return True
    return _DANGLING.search(text[-160:]) is not None


def _words(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            return file.read(_ENVIRON).decode("utf-8", "replace").split("\0")
    except OSError:
        return []


def _assigned(words: Iterable[str]) -> Iterable[str]:
    for word in words:
        name, equals, value = word.partition("=")
        if equals and is_secret(name):
            yield value


def _given(words: list[str]) -> Iterable[str]:
    """Values of flags: `--api-key=X` and `--api-key X`, as many as follow."""
    yield from _assigned(words)
    owner = False
    for word in words:
        if word.startswith("-"):
            owner = "=" not in word and is_secret(word)
        elif owner:
            yield word


def _tells(value: str) -> bool:
    """Whether a value is one that nothing else is called: no path, no number, no word of letters alone."""
    plain = value.strip("\"'")
    return len(plain) >= SHORTEST and not plain.startswith(("/", ".")) and not plain.isdigit() and not (
        plain.isalpha() and plain.islower())  # fmt: skip


def _spellings(secret: str) -> Iterable[str]:
    """As it is, as a URL spells it, and in base64 at each of the three places that it can begin there."""
    plain = secret.strip("\"'")
    yield plain
    yield quote(plain, safe="")
    data = plain.encode("utf-8", "replace")
    for before in range(3):
        text = base64.b64encode(b"\0" * before + data).decode("ascii")
        # Characters that its neighbours decide are not its own.
        inner = text[-(-before * 8 // 6) : len(text) - (4 if (before + len(data)) % 3 else 0)]
        if len(inner) >= SHORTEST:
            yield inner
            yield inner.replace("+", "-").replace("/", "_")
