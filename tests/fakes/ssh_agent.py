"""An SSH agent on a unix socket: the real protocol for listing and signing, with keys that the test gives it."""

import asyncio
from pathlib import Path

import asyncssh
from asyncssh.packet import Byte, SSHPacket, String, UInt32

LIST, LISTED, SIGN, SIGNED, FAILED = 11, 12, 13, 14, 5


class FakeSshAgent:
    """Counts connections and requests; `silent` makes it accept and say nothing."""

    def __init__(self, folder: Path, *keys: asyncssh.SSHKey) -> None:
        self.path = folder / "ssh-agent.sock"
        self.keys = list(keys)
        self.certificates: list[tuple[asyncssh.SSHKey, asyncssh.SSHCertificate]] = []
        self.silent = False
        self.lists = 0
        self.signatures = 0
        self.open_now = 0
        self.open_most = 0
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "FakeSshAgent":
        self._server = await asyncio.start_unix_server(self._serve, str(self.path))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open_now += 1
        self.open_most = max(self.open_most, self.open_now)
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(4), "big")
                request = SSHPacket(await reader.readexactly(size))
                if not self.silent:
                    answer = self._answer(request)
                    writer.write(UInt32(len(answer)) + answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open_now -= 1
            writer.close()

    def _answer(self, request: SSHPacket) -> bytes:
        kind = request.get_byte()
        held = {key.public_data: key for key in self.keys}
        held |= {certificate.public_data: key for key, certificate in self.certificates}
        if kind == LIST:
            self.lists += 1
            return Byte(LISTED) + UInt32(len(held)) + b"".join(String(blob) + String("fake") for blob in held)
        blob, data = request.get_string(), request.get_string()
        key = held.get(blob) or next((key for key in self.keys if key.public_data == blob), None)
        if kind != SIGN or key is None:
            return Byte(FAILED)
        self.signatures += 1
        return Byte(SIGNED) + String(key.sign(data, key.sig_algorithms[0]))
