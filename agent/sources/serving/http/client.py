"""Asks engines on this host, and nothing else: an address that is neither loopback nor its own is never contacted.

One kept connection an endpoint, one total deadline an ask, no redirect followed, no name looked up.
"""

import asyncio
import ipaddress
import ssl
from collections.abc import Callable
from functools import lru_cache

import agent
from agent.clock import Clock
from agent.engines.answer import Answer, Ask, Failure
from agent.sources.serving.client import Endpoint
from agent.sources.serving.http.reply import Garbage, Reply, TooLarge
from agent.sources.serving.http.talk import Talk
from agent.sources.serving.http.why import Taken, why

BODY_BYTES = 4 * 1024 * 1024
KEPT = 256
ACCEPT = "text/plain;version=0.0.4, application/json;q=0.9, */*;q=0.5"


class HttpClient:
    """The real client. `limit`: bytes of a body at most. `still` says whether a socket listens on a port: it is asked
    once more when a connection stands that shall carry a token, so that it stands to that very socket."""

    def __init__(
        self, clock: Clock, *, limit: int = BODY_BYTES, still: Callable[[int, str], bool] = lambda port, key: True
    ) -> None:
        self._clock = clock
        self._still = still
        self._limit = limit
        self._kept: dict[Endpoint, Talk] = {}
        self._own: frozenset[str] = frozenset()

    def allow(self, addresses: frozenset[str]) -> None:
        """These belong to this host or to a container on it; nothing but them and loopback is asked from now on."""
        self._own = addresses

    async def fetch(self, endpoint: Endpoint, ask: Ask) -> Answer:
        """The answer, or why there is none."""
        if not self._may(endpoint.address):
            says = f"{endpoint.address} is no address of this host, and no other is ever asked"
            return Answer(failure=Failure.DENIED, says=says)
        began = self._clock.real()
        try:
            async with asyncio.timeout(ask.deadline_s):
                reply = await self._ask(endpoint, ask)
        except (OSError, Garbage, TooLarge) as error:  # TimeoutError and ssl.SSLError are OSErrors
            failure, says = why(error, endpoint, ask, self._limit)
            return Answer(failure=failure, says=says, took_s=self._clock.real() - began)
        return Answer(
            reply.status,
            reply.body,
            kind=reply.headers.get("content-type", "").partition(";")[0].strip().lower()[:128],
            server=reply.headers.get("server", "")[:128],
            location=reply.headers.get("location", "")[:256],
            took_s=self._clock.real() - began,
        )

    def fetch_now(self, endpoint: Endpoint, ask: Ask) -> Answer | None:
        """Not without a loop."""
        return None

    def forget(self, endpoint: Endpoint) -> None:
        """Close what is kept open to it."""
        talk = self._kept.pop(endpoint, None)
        if talk is not None:
            talk.close()

    def close(self) -> None:
        """Close every connection."""
        for endpoint in list(self._kept):
            self.forget(endpoint)

    def _may(self, address: str) -> bool:
        return _is_loopback(address) or address in self._own

    async def _ask(self, endpoint: Endpoint, ask: Ask) -> Reply:
        """The whole answer. A kept connection that turns out to be closed is replaced once."""
        request = _request(endpoint, ask)
        talk = None if ask.fresh else self._kept.pop(endpoint, None)
        if talk is not None and not talk.is_idle:
            talk.close()
            talk = None
        if talk is not None:
            try:
                return await self._exchange(endpoint, talk, request)
            except _Stale:
                pass
        return await self._exchange(endpoint, await self._connect(endpoint), request)

    async def _connect(self, endpoint: Endpoint) -> Talk:
        talk = await Talk.open(endpoint.address, endpoint.port, self._clock)
        try:
            self._check(endpoint)
            if endpoint.tls:
                await talk.secure(_context(endpoint.ca_file), endpoint.server_name or endpoint.address)
        except BaseException:
            talk.close()
            raise
        return talk

    def _check(self, endpoint: Endpoint) -> None:
        if endpoint.token and not self._still(endpoint.port, endpoint.key):
            raise Taken

    def _drop_closed(self) -> None:
        """Let go of those that the other side has closed: of engines that are gone nobody asks again."""
        for endpoint, talk in list(self._kept.items()):
            if not talk.is_idle:
                self.forget(endpoint)

    async def _exchange(self, endpoint: Endpoint, talk: Talk, request: bytes) -> Reply:
        reply = Reply(self._limit)
        try:
            await talk.send(request)
            while not reply.done:
                data = await talk.receive()
                if data:
                    reply.feed(data)
                else:
                    reply.end()
        except (ConnectionResetError, BrokenPipeError, Garbage):
            talk.close()
            if talk.used and not reply.begun:
                raise _Stale from None
            raise
        except BaseException:
            talk.close()
            raise
        talk.used += 1
        if len(self._kept) >= KEPT:
            self._drop_closed()
        if reply.keeps and len(self._kept) < KEPT and endpoint not in self._kept:
            self._kept[endpoint] = talk
        else:
            talk.close()
        return reply


class _Stale(Exception):
    """The other side had closed the kept connection before the request came."""


def _request(endpoint: Endpoint, ask: Ask) -> bytes:
    host = endpoint.server_name or (f"[{endpoint.address}]" if ":" in endpoint.address else endpoint.address)
    lines = [
        f"{ask.method} {ask.path} HTTP/1.1",
        f"Host: {host}:{endpoint.port}",
        f"User-Agent: gpu-cockpit-agent/{agent.__version__}",
        f"Accept: {ACCEPT}",
        "Accept-Encoding: identity",
    ]
    if endpoint.token:
        lines.append(f"Authorization: Bearer {endpoint.token}")
    if ask.method != "GET":
        lines += ["Content-Type: application/json", f"Content-Length: {len(ask.body)}"]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + ask.body


@lru_cache(maxsize=1024)
def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=16)
def _context(ca_file: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file or None)
