"""The way to one host by the operator's own ssh: which form of it works is found out once and remembered.

A form that fails says whether another may (`OtherPath`); what ssh says before it is in becomes the link's state.
"""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cockpit.errors import InventoryError, LinkError
from cockpit.fleet.link_state import LinkState
from cockpit.inventory import SshTarget, parse_target
from cockpit.link.asking.interview import AFTER_S
from cockpit.link.asking.prompts import WORDS, PromptKind
from cockpit.link.binary import says
from cockpit.link.binary.askpass import Run
from cockpit.link.binary.process import Process
from cockpit.link.binary.streams import Bridge, Forward
from cockpit.link.binary.words import VERSION, Facts, Form, harmless
from cockpit.link.ssh import no_agent
from cockpit.link.way import Channel, OtherPath, Receiver, Way

if TYPE_CHECKING:
    from cockpit.link.binary.network import Network

_FACTS_S = 10.0  # `ssh -G` runs what the configuration matches with


class BinaryWay:
    """One host: one ssh while it works, and one stream on it at a time."""

    def __init__(self, network: "Network", host: str, target: SshTarget) -> None:
        self.host = host
        self.target = target
        self.hop = target.hop
        self.via = target.jumps
        self._network = network
        self._timing = network.shared.timing
        self._clock = network.shared.clock
        self._facts: Facts | None = None
        self._left: list[Form] = []
        self._best: Form | None = None
        self._process: Process | None = None
        self._form = Form.FORWARD
        self._local = ""
        self._run = Run(host, self._stand_still, self._go_on, self._decline)
        self._run_name = ""
        self._limit: asyncio.Timeout | None = None
        self._declined: PromptKind | None = None
        self._findings = no_agent.Findings()
        self._verdict: LinkError | None = None
        self._verdict_until = 0.0

    @property
    def path(self) -> str:
        """How the agent is reached, for doctor."""
        return f"{self._network.program.path}, {self._form.name.lower()}" if self._best is not None else ""

    async def reach(self, deadline_s: float) -> float:
        """See `Way.reach`."""
        if self._process is not None and self._process.alive:
            return 0.0
        if self._verdict is not None and self._clock.real() < self._verdict_until:
            raise self._verdict.again()
        self._left = []
        return await self._log_in(deadline_s)

    async def open(self, receiver: Receiver, deadline_s: float) -> Channel:
        """See `Way.open`."""
        if self._process is None:
            await self._log_in(deadline_s)
        process = self._process  # one that has ended meanwhile says why
        assert process is not None
        if self._form is not Form.FORWARD:
            return Bridge(self, process, receiver)
        try:
            async with asyncio.timeout(deadline_s):
                return await self._forwarded(process, receiver)
        except TimeoutError:
            self._drop()
            text = f"{self.host}: no answer within {deadline_s:.2g} s while opening the agent's socket through ssh"
            raise LinkError(LinkState.UNREACHABLE, text, f"try: {self._by_hand()}", self.host) from None

    def beside(self) -> Way | None:
        """See `Way.beside`; not where that would be another question, or the same shared connection."""
        if self._run.asked or (self._facts is not None and self._facts.mux):
            return None
        return self._network.another(self)

    def watch(self, closely: bool) -> None:
        """ssh's own ServerAliveInterval watches."""

    def retry(self) -> None:
        """See `Way.retry`."""
        self._facts, self._verdict, self._best = None, None, None

    async def close(self) -> None:
        """See `Way.close`."""
        process, self._process = self._process, None
        if process is not None:
            process.leave()
            await process.gone()
        self._forget()
        await self._network.release()

    # The login.

    async def _log_in(self, deadline_s: float) -> float:
        """Start ssh in the next form and wait until it is in; seconds that took without the queue.

        Raises:
            LinkError: it did not get in, or no form is left.
        """
        if not harmless(self.hop.host) or not all(harmless(jump.host) for jump in self.via):
            raise LinkError(LinkState.DENIED, f"{self.host}: ssh cannot be given such a host name", "", self.host)
        asks = await self._network.ready()
        facts = self._facts = self._facts or await self._ask_facts()
        self._drop()
        self._choose(facts)
        door = self._network.door(facts)
        async with door.place(), self._network.shared.logins.place():
            started = self._clock.real()
            self._local = self._network.local()
            words = self._network.program.run(self.target, self._form, facts, self._local, deadline_s)
            self._run = Run(self.host, self._stand_still, self._go_on, self._decline)
            self._declined = None
            self._run_name, environment = asks.register(self._run)
            process = self._process = self._start(words, environment)
            await process.begin()
            if self._form is Form.FORWARD:
                process.write(VERSION)
            await self._admitted(process, deadline_s)
            door.careful = door.careful and bool(self._run.asked)  # who was not asked shows that nobody will be
            return self._clock.real() - started

    async def _admitted(self, process: Process, deadline_s: float) -> None:
        try:
            async with asyncio.timeout(deadline_s) as self._limit:
                await process.until(lambda: process.said.logged_in or process.printed)
        except TimeoutError:
            self._drop()
            text = f"{self.host}: no answer within {deadline_s:.2g} s while ssh logs in"
            raise LinkError(LinkState.UNREACHABLE, text, f"try: {self._by_hand()}", self.host) from None
        except asyncio.CancelledError:
            self._drop()
            raise
        finally:
            self._limit = None
        if process.over:
            await process.last_words()
            if not process.said.logged_in:
                raise self._refused(process)

    def _refused(self, process: Process) -> LinkError:
        status, declined, run = process.status, self._declined, self._run
        self._drop()
        if declined is not None:
            text = f"{self.host}: you declined to give {WORDS[declined]} to ssh"
            return LinkError(LinkState.DENIED, text, "a new attempt asks again: r in the screens", self.host)
        error = says.failed(self.target, process.said, status, self._by_hand(), self._facts or Facts())
        if run.asked and LinkState(error.state) in (LinkState.UNREACHABLE, LinkState.BASTION_LOST):
            # It did not wait for the answer, or did not like it; nobody may be there to answer again.
            text = f"{error}; your answer took {run.waited_s:.0f} s (LoginGraceTime?)"
            return LinkError(LinkState.DENIED, text, "a new attempt asks again: r in the screens", error.hop)
        return error

    def _start(self, words: list[str], environment: Mapping[str, str]) -> Process:
        try:
            return Process(words, {**os.environ, **environment})
        except OSError as error:
            text = f"{self.host}: {words[0]} cannot be run: {error.strerror or error}"
            raise LinkError(LinkState.DENIED, text, "check --ssh-binary", self.host) from None

    async def _ask_facts(self) -> Facts:
        facts = Facts.of(await self._printed(self.target), self.via)
        if not facts.jumped or self._network.program.batch:
            return facts
        try:
            jump = SshTarget(self.via[0]) if self.via else parse_target(facts.first)
        except InventoryError:
            return facts
        assert isinstance(jump, SshTarget)
        return replace(facts, shares=Facts.of(await self._printed(jump), ()).mux)

    async def _printed(self, target: SshTarget) -> str:
        """What `ssh -G` says of a host."""
        process = self._start(self._network.program.asked(target), {})
        printed = bytearray()
        try:
            await process.begin()
            process.take(printed.extend, _nothing)
            async with asyncio.timeout(_FACTS_S):
                await process.until(lambda: False)
        except TimeoutError:
            text = f"{self.host}: ssh -G, which reads your configuration, does not end"
            raise LinkError(LinkState.DENIED, text, f"try: {self._network.program.path} -G {self.hop.host}") from None
        finally:
            await process.gone()
        if not printed:
            raise says.failed(self.target, process.said, process.status, self._by_hand())
        return printed.decode("utf-8", "replace")

    def _choose(self, facts: Facts) -> None:
        if not self._left:
            self._left = [form for form in facts.forms if form is not self._best]
            if self._best is not None:
                self._left.insert(0, self._best)
            self._findings = no_agent.Findings()
        self._form = self._left.pop(0)

    # The stream.

    async def _forwarded(self, process: Process, receiver: Receiver) -> Channel:
        await process.until(lambda: process.printed)  # the forward is made before the session
        if process.over or not self._bound():
            raise self.missed(None, process.said.last)
        stream = Forward(self, receiver)
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: stream, self._local)
        except OSError:
            raise self.missed(None, process.said.last) from None
        return stream

    def _bound(self) -> bool:
        return os.path.exists(self._local)

    def reached(self) -> None:
        """The stream leads to an agent."""
        self._best, self._verdict = self._form, None

    def lost(self) -> LinkError:
        """Why a stream that worked has ended."""
        process = self._process
        if process is not None and process.alive and self._form is Form.FORWARD:
            text = f"{self.host}: {self.target.socket} was closed by the agent"
            return LinkError(LinkState.AGENT_DOWN, text, "it may be restarting", self.host)
        last = process.said.last if process is not None else ""
        self._drop()
        text = f"{self.host}: ssh has ended{f': {last}' if last else ''}"
        return LinkError(LinkState.UNREACHABLE, text, f"host or network; try: {self._by_hand()}", self.host)

    def missed(self, status: int | None, said: str) -> LinkError:
        """This form leads to no agent: another may, or this is the verdict."""
        form = self._form
        self._drop()
        if form is not Form.FORWARD:
            proved = no_agent.proved(self.host, self.hop, self.target.socket, status, said)
            if proved is not None:
                return self._judge(proved)
            if form is Form.BRIDGE:
                missing = status in no_agent.NOT_FOUND
                self._findings = no_agent.Findings("missing" if missing else "other", status, said)
        self._best = None
        if self._left:
            return OtherPath(f"{self.host}: {form.name.lower()} leads nowhere")
        return self._judge(no_agent.no_path(self.host, self.hop, self.target.socket, self._findings))

    def _judge(self, verdict: LinkError) -> LinkError:
        self._left = []
        self._verdict = verdict
        self._verdict_until = self._clock.real() + self._timing.bridge_hold_s
        return verdict.again()

    def _drop(self) -> None:
        """This ssh is of no use any more."""
        process, self._process = self._process, None
        if process is not None:
            process.leave()
            self._network.ended(process)
        self._forget()

    def _forget(self) -> None:
        if self._network.asks is not None:
            self._network.asks.forget(self._run_name)
        if self._local:
            Path(self._local).unlink(missing_ok=True)
            self._local = ""

    # Questions.

    def _stand_still(self) -> None:
        if self._limit is not None:
            self._limit.reschedule(None)

    def _go_on(self) -> None:
        if self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time() + AFTER_S)

    def _decline(self, kind: PromptKind) -> None:
        self._declined = kind
        if self._process is not None:
            self._process.kill()

    def _by_hand(self) -> str:
        return self._network.program.by_hand(self.target)


def _nothing() -> None:
    """Nobody needs to know."""
