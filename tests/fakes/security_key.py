"""An SSH agent that holds a FIDO key: it signs when a finger touches the key, which is up to the test."""

import asyncio
import base64
import hashlib
import struct
from pathlib import Path
from types import TracebackType

import asyncssh
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_ALGORITHM, _APPLICATION = b"sk-ssh-ed25519@openssh.com", b"ssh:"
_LIST, _IDENTITIES, _SIGN, _SIGNATURE = 11, 12, 13, 14
_PRESENT = 1


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


class SecurityKeyAgent:
    """Listens at `path` (SSH_AUTH_SOCK). `touched` is the finger; `waiting` says that the key blinks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.touched = asyncio.Event()
        self.waiting = asyncio.Event()
        self._private = Ed25519PrivateKey.generate()
        public = self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self._blob = _string(_ALGORITHM) + _string(public) + _string(_APPLICATION)
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._serving = 0

    @property
    def public(self) -> asyncssh.SSHKey:
        """What a server has to accept."""
        return asyncssh.import_public_key(_ALGORITHM + b" " + base64.b64encode(self._blob))

    async def __aenter__(self) -> "SecurityKeyAgent":
        self._server = await asyncio.start_unix_server(self._serve, self.path)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()
        self.touched.set()
        for writer in self._writers:
            writer.close()
        while self._serving:
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self._serving += 1
        try:
            while True:
                (length,) = struct.unpack(">I", await reader.readexactly(4))
                reply = await self._reply(await reader.readexactly(length))
                writer.write(_string(reply))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
        finally:
            self._serving -= 1

    async def _reply(self, request: bytes) -> bytes:
        if request[0] == _LIST:
            return bytes([_IDENTITIES]) + struct.pack(">I", 1) + _string(self._blob) + _string(b"key ring")
        assert request[0] == _SIGN
        blob = 1 + 4 + len(self._blob)
        (length,) = struct.unpack(">I", request[blob : blob + 4])
        data = request[blob + 4 : blob + 4 + length]
        self.waiting.set()
        await self.touched.wait()
        counter = bytes([_PRESENT]) + struct.pack(">I", 7)
        signed = hashlib.sha256(_APPLICATION).digest() + counter + hashlib.sha256(data).digest()
        signature = _string(_ALGORITHM) + _string(self._private.sign(signed)) + counter
        return bytes([_SIGNATURE]) + _string(signature)
