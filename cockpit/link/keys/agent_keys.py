"""The SSH agent, asked over one connection at a time: a thousand logins are not a thousand descriptors to it."""

import asyncio
from collections.abc import Sequence

import asyncssh

LIST_S = 5.0  # to list its keys; a signature may wait for a human
FRESH_S = 1.0  # how long a list is taken for true


class AgentKeys:
    """The keys of one agent; signs for the key pairs that it has handed out."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._turn = asyncio.Lock()
        self._listed: list[tuple[bytes, bytes, bytes | None]] = []
        self._listed_at = float("-inf")

    async def keys(self) -> list[asyncssh.SSHKeyPair]:
        """Its keys, newly made for one login. While it is busy with a signature, those of the last list.

        Raises:
            OSError: it cannot be reached or does not answer in time.
            ValueError: it refuses, or answers what nobody understands.
        """
        now = asyncio.get_running_loop().time()
        busy = self._turn.locked() and self._listed
        if not busy and now - self._listed_at > FRESH_S:
            async with asyncio.timeout(LIST_S), self._turn:
                client = asyncssh.SSHAgentClient(self.path)
                try:
                    found: Sequence[asyncssh.SSHKeyPair] = await client.get_keys()
                finally:
                    client.close()
            self._listed = [(pair.key_algorithm, pair.key_public_data, pair.get_comment_bytes()) for pair in found]
            self._listed_at = now
        return [
            asyncssh.SSHAgentKeyPair(self, algorithm, blob, comment or b"")  # type: ignore[arg-type]
            for algorithm, blob, comment in self._listed
        ]

    async def sign(self, key_blob: bytes, data: bytes, flags: int = 0) -> bytes:
        """A signature by one of its keys, as asyncssh's key pairs ask for it.

        Raises:
            ValueError: it does not give one.
        """
        async with self._turn:
            client = asyncssh.SSHAgentClient(self.path)
            try:
                return await client.sign(key_blob, data, flags)
            except OSError as error:
                raise ValueError(f"the SSH agent is gone: {error}") from None
            finally:
                client.close()
