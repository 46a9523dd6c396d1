"""Questions of the operator's own ssh, brought to our prompter: ssh runs a helper for each, the helper asks us.

The helper and its socket lie in a directory of ours alone. A helper that is ended (ssh has what it waited for) takes
its question back. Whether a host key is believed is never a question here: the answer is no.
"""

import asyncio
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from cockpit.link.asking.prompts import PromptKind, PromptRequest, Questions, cleaned

_HELPER = """#!{python} -IS
import json, os, socket, sys
link = socket.socket(socket.AF_UNIX)
link.connect(os.environ["GPU_COCKPIT_ASK"])
words = [os.environ["GPU_COCKPIT_RUN"], os.environ.get("SSH_ASKPASS_PROMPT", ""), " ".join(sys.argv[1:]), os.getppid()]
link.sendall(json.dumps(words).encode() + b"\\n")
answer = link.makefile("rb").readline()
if not answer:
    sys.exit(1)
os.write(1, json.loads(answer).encode() + b"\\n")
"""
_LINE = 65536
_CLOSE_S = 1.0


class Run:
    """One ssh: whom its questions are about. `began` and `over`: its deadline stands still between; `declined` ends
    it."""

    def __init__(
        self, hop: str, began: Callable[[], None], over: Callable[[], None], declined: Callable[[PromptKind], None]
    ) -> None:
        self.hop = hop
        self.began = began
        self.over = over
        self.declined = declined
        self.asked = 0
        self.waited_s = 0.0  # for answers
        self.again: dict[tuple[int, str], int] = {}  # how often one ssh asked the same: answers that were wrong


class AskServer:
    """Listens while links run."""

    def __init__(self, folder: Path, questions: Questions) -> None:
        self._socket = folder / "ask"
        self._helper = folder / "askpass"
        self._questions = questions
        self._runs: dict[str, Run] = {}
        self._next = 0
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen."""
        self._helper.write_text(_HELPER.format(python=sys.executable))
        self._helper.chmod(0o700)
        self._server = await asyncio.start_unix_server(self._serve, self._socket, limit=_LINE)

    async def close(self) -> None:
        """Stop listening; questions that are open are taken back."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for writer in self._talks:
            writer.close()
        try:
            async with asyncio.timeout(_CLOSE_S):  # since Python 3.12 it waits for whoever is still connected
                await server.wait_closed()
        except TimeoutError:
            pass

    def register(self, run: Run) -> tuple[str, Mapping[str, str]]:
        """A name for the run, and what ssh's environment needs."""
        self._next += 1
        name = str(self._next)
        self._runs[name] = run
        asks = {"SSH_ASKPASS": str(self._helper), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}
        return name, {**asks, "GPU_COCKPIT_ASK": str(self._socket), "GPU_COCKPIT_RUN": name}

    def forget(self, name: str) -> None:
        """The run has ended."""
        self._runs.pop(name, None)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One helper, from its question to the answer."""
        self._talks.add(writer)
        try:
            name, mode, text, asker = json.loads(await reader.readline())
            run = self._runs[name]
            answer = await self._answer(run, kind_of(mode, text), (int(asker), str(text)), reader)
            if answer is not None:
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (OSError, ValueError, KeyError, TypeError):
            pass  # no helper of ours, or one that is gone
        finally:
            self._talks.discard(writer)
            writer.close()

    async def _answer(
        self, run: Run, kind: PromptKind | None, asked: tuple[int, str], reader: asyncio.StreamReader
    ) -> str | None:
        if kind is None:
            return None
        run.asked += 1
        attempt = run.again[asked] = run.again.get(asked, 0) + 1
        request = PromptRequest(run.hop, kind, said=cleaned(asked[1]), attempt=attempt)
        run.began()
        since = asyncio.get_running_loop().time()
        try:
            async with asyncio.TaskGroup() as group:
                asking = group.create_task(self._questions.ask(request))
                gone = group.create_task(reader.read(1))
                await asyncio.wait({asking, gone}, return_when=asyncio.FIRST_COMPLETED)
                withdrawn = not asking.done()
                asking.cancel()
                gone.cancel()
        finally:
            run.waited_s += asyncio.get_running_loop().time() - since
            run.over()
        if withdrawn:
            return None
        answer = asking.result()
        if answer is None:
            run.declined(kind)
        return answer


def kind_of(mode: str, text: str) -> PromptKind | None:
    """What a question of ssh wants; None for those that are never asked. `mode` is ssh's SSH_ASKPASS_PROMPT."""
    if mode == "none":
        return PromptKind.TOUCH
    if mode == "confirm" or "continue connecting" in text:
        return None
    if re.search(r"\bPIN\b", text):
        return PromptKind.PIN
    if "passphrase" in text.lower():
        return PromptKind.PASSPHRASE
    return PromptKind.PASSWORD if "password" in text.lower() else PromptKind.CODE
