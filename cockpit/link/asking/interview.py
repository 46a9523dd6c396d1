"""What one sshd wants to know of the human during one login, and what its refusal means after that.

While a human is asked, the login's deadline stands still; the server's own (LoginGraceTime) does not, and a server that
hung up meanwhile is not tried again by itself: nobody is there to answer, and it would count each attempt against us.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import asyncssh

from cockpit.errors import LinkError
from cockpit.fleet.link_state import LinkState
from cockpit.inventory import Hop
from cockpit.link.asking.prompts import SAID_LINES, WORDS, PromptKind, PromptRequest, Questions, cleaned

AFTER_S = 60.0  # a second factor may go on where we cannot see it: a push to a phone waits that long
TOUCH_S = 0.4  # a signature that takes longer waits for a finger


class Interview(asyncssh.SSHClient):
    """The questions of one login. `first`: whether it may ask although no key was accepted, which means a password;
    where many hosts are behind one mistake, that is one question each and no help."""

    def __init__(self, questions: Questions, hop: Hop, *, first: bool, hosts: int) -> None:
        self.hop = hop
        self._questions = questions
        self._possible = questions.possible and not hop.ssh.batch
        self._first = first
        self._hosts = hosts
        self.tried: list[asyncssh.SSHKeyPair] = []  # every key that was offered
        self._limit: asyncio.Timeout | None = None
        self._keyless = False  # no key of ours is accepted
        self._rounds = 0
        self._answers = 0
        self._said: tuple[str, ...] = ()
        self._asked: PromptKind | None = None
        self._asking_since = 0.0  # of the loop's time; still set when the question was not answered
        self._declined: PromptKind | None = None
        self._unasked: PromptKind | None = None

    @asynccontextmanager
    async def within(self, limit: asyncio.Timeout) -> AsyncIterator[None]:
        """The login, and `limit` its deadline."""
        self._limit = limit
        try:
            yield
        finally:
            self._limit = None

    def verdict(self, error: Exception | None) -> LinkError | None:
        """What a failed login means if it came to questions; `error` None: its deadline has passed."""
        where, hop = self.hop.place, self.hop.title
        if self._declined is not None:
            says, hint = f"you declined to give {WORDS[self._declined]}", "a new attempt asks again: r in the screens"
        elif self._asking_since and self._asked is not None:
            waited = asyncio.get_running_loop().time() - self._asking_since
            says = f"hung up after waiting {waited:.0f} s for {WORDS[self._asked]}"
            hint = "its LoginGraceTime was over; a new attempt asks again: r in the screens"
        elif self._unasked is PromptKind.TOUCH:
            says, hint = "needs a touch of your security key, and nobody could be told", self._why_not()
        elif not isinstance(error, asyncssh.PermissionDenied):
            return None
        elif self._answers:
            words = f": {' / '.join(self._said)}" if self._said else ""
            says = f"user {self.hop.user!r} is not let in, {_refused(self._rounds)}{words}"
            hint = "check the code, the clock of the device that makes it, and the user"
        elif self._unasked is None:
            return None
        elif self._possible:
            says = f"no key of yours is accepted for {self.hop.user!r}, and passwords are not asked for host by host"
            hint = "ssh-add -l lists what you offer; or name this host alone with --host"
        elif self._keyless:
            says, hint = "no key of yours is accepted; it would take a one-time code or a password", self._why_not()
        else:
            says, hint = "needs a one-time code", self._why_not()
        return LinkError(LinkState.DENIED, f"{where}: {says}", hint, hop, "authentication")

    # What asyncssh calls.

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        """Have a look at each key that is tried: those of security keys wait for a finger."""
        requested = conn.public_key_auth_requested

        async def watched() -> object:
            key = await requested()
            if key is not None:
                self.tried.append(key)
            touched = key is not None and key.algorithm.startswith(b"sk-")
            return _Touched(key, self) if key is not None and touched else key

        conn.public_key_auth_requested = watched  # type: ignore[method-assign, assignment]

    @property
    def keyless(self) -> bool:
        """Whether the other side accepted none of our keys."""
        return self._keyless

    def keys_tried(self) -> None:
        """All keys were tried."""
        self._keyless = True

    def kbdint_auth_requested(self) -> str | None:
        """Whether to answer questions, in the server's choice of words."""
        return "" if self._next_round(PromptKind.CODE) else None

    async def kbdint_challenge_received(
        self, name: str, instructions: str, lang: str, prompts: Sequence[tuple[str, bool]]
    ) -> Sequence[str] | None:
        """Its questions, one after the other."""
        said = cleaned(name, instructions)[: SAID_LINES - 2]
        if not prompts:
            self._said = said or self._said
            return []
        answers = []
        for text, echo in prompts:
            kind = PromptKind.PASSWORD if "password" in text.lower() else PromptKind.CODE
            answer = await self._ask(kind, (*said, *cleaned(text)[:2]), echo=echo)
            if answer is None:
                return None
            answers.append(answer)
        return answers

    async def password_auth_requested(self) -> str | None:
        """A password, which this server takes by itself."""
        if not self._next_round(PromptKind.PASSWORD):
            return None
        return await self._ask(PromptKind.PASSWORD, ())

    async def touched(self, key: asyncssh.SSHKeyPair, data: bytes) -> bytes:
        """A signature that waits for a finger.

        Raises:
            ValueError: there is none, or the touch was declined.
        """
        if not self._possible:
            self._unasked = PromptKind.TOUCH
            signature = await _signed(key, data)
            self._unasked = None
            return signature
        signing = _Signing(key, data)
        with self._standing_still():
            async with asyncio.TaskGroup() as group:
                notice = group.create_task(self._notice(signing, group.create_task(signing.run())))
                await signing.done.wait()
                notice.cancel()
        self._asking_since = 0.0
        return signing.result()

    # How it is asked.

    def _why_not(self) -> str:
        """What keeps us from asking, as a hint."""
        if self._questions.possible:
            return f"ssh_config says BatchMode yes for {self.hop.title}: nobody is asked"
        return "run it in a terminal and without --batch to be asked"

    def _next_round(self, kind: PromptKind) -> bool:
        """Whether a human may be asked (again)."""
        if not self._possible or (self._keyless and not self._first):
            self._unasked = kind
            return False
        if self._declined is not None or self._rounds >= self.hop.ssh.prompts:
            return False
        if self._rounds and not self._answers:
            return False  # it asked nothing and refused: it would again
        self._rounds += 1
        if self._limit is not None:
            self._extend(self._limit, AFTER_S)
        return True

    async def _ask(self, kind: PromptKind, said: tuple[str, ...], *, echo: bool = False) -> str | None:
        hop = self.hop.place
        request = PromptRequest(hop, kind, said=said, echo=echo, attempt=max(1, self._rounds), hosts=self._hosts)
        with self._asking(kind):
            answer = await self._questions.ask(request)
        if answer is None:
            self._declined = kind
        else:
            self._answers += 1
        return answer

    async def _notice(self, signing: "_Signing", task: "asyncio.Task[None]") -> None:
        await asyncio.sleep(TOUCH_S)
        if await self._ask(PromptKind.TOUCH, ()) is None:
            task.cancel()
            signing.done.set()

    @contextmanager
    def _asking(self, kind: PromptKind) -> Iterator[None]:
        """A question is open; if it is cut short, `verdict` says how long it was."""
        self._asked, self._asking_since = kind, asyncio.get_running_loop().time()
        try:
            with self._standing_still():
                yield
        except asyncio.CancelledError:
            raise
        except BaseException:
            self._asking_since = 0.0
            raise
        self._asking_since = 0.0

    @contextmanager
    def _standing_still(self) -> Iterator[None]:
        """No deadline of ours runs; the server's does."""
        loop = asyncio.get_running_loop()
        limit, started = self._limit, loop.time()
        when = limit.when() if limit is not None else None
        if limit is not None:
            limit.reschedule(None)
        try:
            yield
        finally:  # also where nobody answered: the login goes on with the next key, and never without a deadline
            if limit is not None and limit is self._limit and when is not None:
                limit.reschedule(when + loop.time() - started)
                self._extend(limit, AFTER_S)

    @staticmethod
    def _extend(limit: asyncio.Timeout, seconds: float) -> None:
        when = limit.when()
        if when is not None:
            limit.reschedule(max(when, asyncio.get_running_loop().time() + seconds))


class _Signing:
    """One signature in the making; its error is kept for whoever asks for the result."""

    def __init__(self, key: asyncssh.SSHKeyPair, data: bytes) -> None:
        self.done = asyncio.Event()
        self._key = key
        self._data = data
        self._signature = b""
        self._error: Exception = ValueError("the touch was declined")

    async def run(self) -> None:
        try:
            self._signature = await _signed(self._key, self._data)
        except (OSError, ValueError, asyncssh.Error) as error:
            self._error = ValueError(str(error))
        finally:
            self.done.set()

    def result(self) -> bytes:
        if not self._signature:
            raise self._error
        return self._signature


class _Touched:
    """A key pair as asyncssh's public key login uses it, whose signature is watched."""

    def __init__(self, key: asyncssh.SSHKeyPair, interview: Interview) -> None:
        self.algorithm = key.algorithm
        self.public_data = key.public_data
        self._key = key
        self._interview = interview

    async def sign_async(self, data: bytes) -> bytes:
        return await self._interview.touched(self._key, data)


async def _signed(key: asyncssh.SSHKeyPair, data: bytes) -> bytes:
    """In the agent, or in a thread where the security key is ours to ask."""
    if isinstance(key, asyncssh.SSHAgentKeyPair):
        return await key.sign_async(data)
    return await asyncio.to_thread(key.sign, data)


def _refused(rounds: int) -> str:
    return "1 answer was refused" if rounds == 1 else f"{rounds} answers were refused"
