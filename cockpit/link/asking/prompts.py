"""Questions to the human at the keys: one at a time, whoever has them; no answer is kept and none is logged.

The hop and the kind of a question are our own words. What a server wrote is `said`: cleaned here, and shown as its
words only, so that no server can put a question in another one's name.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from cockpit.errors import LinkError
from cockpit.fleet.link_state import LinkState

if TYPE_CHECKING:
    import asyncssh

TRIES = 3  # as OpenSSH's NumberOfPasswordPrompts: more would only bring fail2ban and MaxAuthTries upon us
SAID_LINES, SAID_CHARS = 8, 200
ANSWER_CHARS = 1024


class PromptKind(StrEnum):
    """What is wanted. `touch` wants a finger on a security key and no answer; it goes by itself."""

    PASSPHRASE = "passphrase"  # noqa: S105 - a word, as the next one
    PASSWORD = "password"  # noqa: S105
    CODE = "code"
    PIN = "pin"
    TOUCH = "touch"


WORDS = {
    PromptKind.PASSPHRASE: "the passphrase of a key",
    PromptKind.PASSWORD: "a password",
    PromptKind.CODE: "a one-time code",
    PromptKind.PIN: "the PIN of a security key",
    PromptKind.TOUCH: "a touch of your security key",
}


@dataclass(frozen=True, slots=True)
class PromptRequest:
    """One question. `hop`: who wants to know, by our own name for it. `subject`: what it is about, in our words, like
    a key file. `said`: lines of the server, cleaned. `attempt`: 1, more after wrong answers. `hosts`: how many wait.
    `more()`: how many questions wait behind this one."""

    hop: str
    kind: PromptKind
    subject: str = ""
    said: tuple[str, ...] = ()
    echo: bool = False
    attempt: int = 1
    hosts: int = 1
    more: Callable[[], int] = field(default=int, compare=False)


class Prompter(Protocol):
    """Where the human is: the screens, or a terminal."""

    async def ask(self, request: PromptRequest) -> str | None:
        """The answer; None if it is declined. Cancelled when the question has become pointless."""


class Questions:
    """All questions of one cockpit, in the order they came up."""

    def __init__(self, prompter: Prompter | None = None) -> None:
        self._prompter = prompter
        self._turn = asyncio.Lock()
        self._waiting = 0

    @property
    def possible(self) -> bool:
        """Whether anybody can be asked."""
        return self._prompter is not None

    async def ask(self, request: PromptRequest) -> str | None:
        """Wait for the turn and ask; None if it is declined, or if there is nobody to ask."""
        if self._prompter is None:
            return None
        self._waiting += 1
        try:
            async with self._turn:
                return await self._prompter.ask(replace(request, more=self._behind))
        finally:
            self._waiting -= 1

    def _behind(self) -> int:
        return self._waiting - 1


def cleaned(*texts: str) -> tuple[str, ...]:
    """Lines of a peer without control characters, none of them long, few of them, no empty ones."""
    lines = []
    for text in texts:
        for line in text[: SAID_LINES * SAID_CHARS * 4].splitlines():
            plain = "".join(char if char.isprintable() else " " for char in line)
            if plain.strip():
                lines.append(" ".join(plain.split())[:SAID_CHARS])
    return tuple(lines[:SAID_LINES])


async def unlocked(path: str, hop: str, questions: Questions, *, hosts: int = 1) -> "asyncssh.SSHKey":
    """The key of an encrypted identity file, by a passphrase that a human gives.

    Raises:
        LinkError: it was declined, or wrong three times, or there is nobody to ask.
        OSError: the file cannot be read any more.
    """
    import asyncssh

    hint = f"add it to your agent, try: ssh-add {path}"
    where = f"{hop}: identity {path} has a passphrase"
    if not questions.possible:
        raise LinkError(
            LinkState.DENIED, f"{where}, and nobody can be asked for it", f"{hint}; or run without --batch", hop
        )
    for attempt in range(1, TRIES + 1):
        request = PromptRequest(hop, PromptKind.PASSPHRASE, path, attempt=attempt, hosts=hosts)
        passphrase = await questions.ask(request)
        if passphrase is None:
            raise LinkError(LinkState.DENIED, f"{where}, and you declined to give it", hint, hop)
        try:
            # bcrypt takes a tenth of a second on purpose
            return await asyncio.to_thread(asyncssh.read_private_key, path, passphrase)
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
            if "bcrypt" in str(error):  # a library that is missing is no wrong answer
                raise LinkError(LinkState.DENIED, f"{where}, and this installation lacks bcrypt", hint, hop) from None
    raise LinkError(LinkState.DENIED, f"{where}, and none of {TRIES} answers opened it", hint, hop)
