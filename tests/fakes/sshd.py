"""An SSH server in the test's own loop: real protocol, real keys, and every refusal a real sshd can give."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import asyncssh


class FakeSshd:
    """Listens on 127.0.0.1. `forward`: streamlocal allowed; `onward`: direct-tcpip allowed (a bastion); `bridge`: what
    running `attach` does: "works", or (exit status, stderr text). `code`: what is wanted by keyboard-interactive after
    a key is accepted, or without one where `keys` is False; `password`: one that is taken instead of a key."""

    def __init__(self, folder: Path, name: str = "sshd", *, user_key: asyncssh.SSHKey | None = None) -> None:
        self.folder = folder
        self.name = name
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.certificate: asyncssh.SSHCertificate | None = None
        self.user_keys = [user_key] if user_key else []
        self.forward = True
        self.onward = True
        self.bridge: str | tuple[int, str] = "works"
        self.attach_to = ""
        self.version = "fake"
        self.code = ""
        self.keys = True
        self.password = ""
        self.says = ("", "", (("Verification code: ", False),))  # name, instructions, questions
        self.grace_s = 120.0
        self.answers: list[str] = []
        self.challenges = 0
        self.logins = 0  # that succeeded
        self.attempts = 0
        self.at_once = 0
        self.most_at_once = 0
        self.forwards: list[str] = []
        self.commands: list[str] = []
        self.users: list[str] = []
        self.port = 0
        self.addresses = ["127.0.0.1"]
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self._acceptor: asyncssh.SSHAcceptor | None = None

    async def __aenter__(self) -> "FakeSshd":
        host_keys = [(self.host_key, self.certificate)] if self.certificate else [self.host_key]
        self._acceptor = await asyncssh.listen(
            self.addresses,
            self.port,
            server_factory=lambda: _Server(self),
            server_host_keys=host_keys,
            process_factory=self._run,
            encoding=None,
            config=None,
            server_version=self.version,
            login_timeout=self.grace_s,
        )
        self.port = self._acceptor.get_port()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Close the listener and cut every connection."""
        if self._acceptor is not None:
            self._acceptor.close()
            await self._acceptor.wait_closed()
            self._acceptor = None
        await self.cut()

    async def restart(self) -> None:
        """Stop and listen again on the same port."""
        await self.stop()
        await self.__aenter__()

    async def cut(self) -> None:
        """Cut every connection, without a word."""
        connections = list(self.connections)
        for connection in connections:
            connection.abort()
        for connection in connections:
            await connection.wait_closed()

    def known_as(self, marker: str = "", key: asyncssh.SSHKey | None = None) -> str:
        """A known_hosts line for this server."""
        text = (key or self.host_key).export_public_key().decode().strip()
        return f"{marker} [127.0.0.1]:{self.port} {text}\n".lstrip()

    async def _run(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        command = process.command or f"subsystem {process.subsystem}"
        self.commands.append(command)
        if "attach" not in command:
            process.exit(0)
        elif self.bridge == "works":
            await self._attach(process)
        else:
            status, said = self.bridge
            process.stderr.write(str(said).encode())
            process.exit(int(status))

    async def _attach(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        reader, writer = await asyncio.open_unix_connection(self.attach_to)

        async def up() -> None:
            while data := await process.stdin.read(4096):
                writer.write(data)

        async with asyncio.TaskGroup() as group:
            task = group.create_task(up())
            while data := await reader.read(65536):
                process.stdout.write(data)
            task.cancel()
        writer.close()
        process.exit(0)


class _Server(asyncssh.SSHServer):
    """One connection."""

    def __init__(self, sshd: FakeSshd) -> None:
        self.sshd = sshd
        self.waiting = False
        self.half_in = False  # the key was accepted, the code is still to come

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.connection = conn
        self.sshd.connections.add(conn)
        self.sshd.at_once += 1
        self.waiting = True
        self.sshd.most_at_once = max(self.sshd.most_at_once, self.sshd.at_once)

    def connection_lost(self, exc: Exception | None) -> None:
        self.sshd.connections.discard(self.connection)
        self._done()

    def begin_auth(self, username: str) -> bool:
        self.sshd.users.append(username)
        self.sshd.attempts += 1
        return True

    def auth_completed(self) -> None:
        self.sshd.logins += 1
        self._done()

    def public_key_auth_supported(self) -> bool:
        return self.sshd.keys and not self.half_in

    def kbdint_auth_supported(self) -> bool:
        return bool(self.sshd.code) and (self.half_in or not self.sshd.keys)

    def password_auth_supported(self) -> bool:
        return bool(self.sshd.password)

    def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> object:
        self.sshd.challenges += 1
        name, instructions, questions = self.sshd.says
        return name, instructions, lang, questions

    def validate_kbdint_response(self, username: str, responses: list[str]) -> bool:
        self.sshd.answers += responses
        return responses[-1:] == [self.sshd.code]

    def validate_password(self, username: str, password: str) -> bool:
        self.sshd.answers.append(password)
        return password == self.sshd.password

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        if self.sshd.code and key in [mine.convert_to_public() for mine in self.sshd.user_keys]:
            self.half_in = True  # as OpenSSH's AuthenticationMethods publickey,keyboard-interactive
            return False
        return username != "nobody" and key in [mine.convert_to_public() for mine in self.sshd.user_keys]

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        if not self.sshd.onward:  # as OpenSSH says it
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "open failed")
        return True

    def unix_connection_requested(self, dest_path: str) -> bool | Callable[..., object]:
        self.sshd.forwards.append(dest_path)
        return self.sshd.forward

    def _done(self) -> None:
        if self.waiting:
            self.waiting = False
            self.sshd.at_once -= 1
