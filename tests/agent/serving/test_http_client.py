"""The client against real sockets on loopback: what a hostile endpoint does is one sentence, and costs nobody else."""

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from agent.clock import SystemClock
from agent.engines.answer import Answer, Ask, Failure
from agent.sources.serving.client import Endpoint
from agent.sources.serving.http import HttpClient

Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: x\r\nContent-Type: Text/Plain; version=0.0.4\r\n\r\nok"
ASK = Ask("/metrics", deadline_s=0.4)


@asynccontextmanager
async def served(speak: Speak, context: ssl.SSLContext | None = None) -> AsyncIterator[Endpoint]:
    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await speak(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0, ssl=context)
    try:
        yield Endpoint("127.0.0.1", server.sockets[0].getsockname()[1], tls=context is not None)
    finally:
        server.close()


def always(answer: bytes, requests: list[bytes] | None = None) -> Speak:
    """Answers every request on a connection with the same bytes."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await reader.readuntil(b"\r\n\r\n")
            if requests is not None:
                requests.append(request)
            writer.write(answer)
            await writer.drain()

    return speak


def once(answer: bytes) -> Speak:
    """Answers one request and hangs up."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    return speak


async def fetched(speak: Speak, ask: Ask = ASK, limit: int = 100_000) -> Answer:
    client = HttpClient(SystemClock(), limit=limit)
    async with served(speak) as endpoint:
        answer = await client.fetch(endpoint, ask)
        client.close()
    return answer


async def test_a_page_comes_with_its_kind_server_and_time() -> None:
    answer = await fetched(always(OK))
    assert (answer.status, answer.body, answer.kind, answer.server) == (200, b"ok", "text/plain", "x")
    assert answer.ok
    assert 0 < answer.took_s < 0.4


async def test_the_request_asks_for_plain_text_and_no_compression_on_one_kept_connection() -> None:
    requests: list[bytes] = []
    connections = 0

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await always(OK, requests)(reader, writer)

    client = HttpClient(SystemClock())
    async with served(speak) as endpoint:
        for _ in range(3):
            assert (await client.fetch(endpoint, ASK)).ok
        client.close()
    assert connections == 1
    assert requests[0].startswith(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"Accept: text/plain;version=0.0.4" in requests[0]
    assert b"Accept-Encoding: identity" in requests[0]
    assert b"Authorization" not in requests[0]


async def test_a_fresh_ask_has_a_connection_of_its_own_and_leaves_the_kept_one() -> None:
    connections: list[int] = []

    async def counted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mine = len(connections)
        connections.append(0)
        while True:
            await reader.readuntil(b"\r\n\r\n")
            connections[mine] += 1
            if mine and mine != 1:
                return  # a server that ends hangs up on whoever comes now
            writer.write(OK)
            await writer.drain()

    client = HttpClient(SystemClock())
    async with served(counted) as endpoint:
        fresh = replace(ASK, fresh=True)
        answers = [await client.fetch(endpoint, ask) for ask in (ASK, fresh, ASK, fresh, ASK)]
        client.close()
    assert [answer.failure for answer in answers] == [*[Failure.NONE] * 3, Failure.CLOSED, Failure.NONE]
    assert connections == [3, 1, 1]


async def test_a_kept_connection_that_the_other_side_closed_is_replaced_unseen() -> None:
    client = HttpClient(SystemClock())
    async with served(once(OK)) as endpoint:
        for _ in range(3):
            assert (await client.fetch(endpoint, ASK)).ok
            await asyncio.sleep(0.02)
        client.close()


async def test_a_post_carries_its_body_and_a_token_only_if_there_is_one() -> None:
    requests: list[bytes] = []
    client = HttpClient(SystemClock())
    async with served(always(OK, requests)) as endpoint:
        secret = Endpoint(endpoint.address, endpoint.port, token="s3cret")
        await client.fetch(secret, Ask("/v2/repository/index", method="POST", body=b""))
        client.close()
    assert requests[0].startswith(b"POST /v2/repository/index ")
    assert b"Authorization: Bearer s3cret\r\n" in requests[0]
    assert b"Content-Length: 0" in requests[0]
    assert "s3cret" not in repr(secret)


async def test_a_token_does_not_go_to_a_socket_that_took_the_port_while_it_was_connected_to() -> None:
    requests: list[bytes] = []
    looks: list[tuple[int, str]] = []

    def still(port: int, key: str) -> bool:
        looks.append((port, key))
        return key == "77"

    async with served(always(OK, requests)) as endpoint:
        client = HttpClient(SystemClock(), still=still)
        answer = await client.fetch(replace(endpoint, token="s3cret", key="76"), ASK)
        assert (answer.failure, requests) == (Failure.REFUSED, [])
        assert answer.says.startswith("another socket listens at")
        for _ in range(2):
            assert (await client.fetch(replace(endpoint, token="s3cret", key="77"), ASK)).ok
        assert (await client.fetch(endpoint, ASK)).ok
        client.close()
    assert looks == [(endpoint.port, "76"), (endpoint.port, "77")], "once for each connection that carries it"


async def test_connections_of_engines_that_are_gone_make_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.sources.serving.http.client.KEPT", 1)
    client = HttpClient(SystemClock())
    async with served(once(OK)) as gone:
        assert (await client.fetch(gone, ASK)).ok
        await asyncio.sleep(0.02)
    connections: list[int] = []

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        await always(OK)(reader, writer)

    async with served(speak) as endpoint:
        for _ in range(3):
            assert (await client.fetch(endpoint, ASK)).ok
        client.close()
    assert len(connections) == 1


@pytest.mark.parametrize(
    ("speak", "failure", "says"),
    [
        (once(b""), Failure.CLOSED, "said nothing"),
        (once(OK[:-1]), Failure.CLOSED, "in the middle of its answer"),
        (once(b"SSH-2.0-x\r\n"), Failure.GARBAGE, "no HTTP"),
        (once(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n"), Failure.TOO_LARGE, "100.0 MiB"),
        (once(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 200_000), Failure.TOO_LARGE, "the most that is read"),
    ],
)
async def test_a_broken_answer_is_one_sentence(speak: Speak, failure: Failure, says: str) -> None:
    answer = await fetched(speak)
    assert (answer.status, answer.failure) == (0, failure)
    assert says in answer.says
    assert "127.0.0.1" in answer.says
    assert "\n" not in answer.says


async def test_a_redirect_is_reported_and_not_followed() -> None:
    requests: list[bytes] = []
    moved = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://10.0.0.1/metrics/\r\nContent-Length: 0\r\n\r\n"
    answer = await fetched(always(moved, requests))
    assert (answer.status, answer.location, len(requests)) == (307, "http://10.0.0.1/metrics/", 1)


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while not reader.at_eof():
        writer.write(b"a 1\n")
        await writer.drain()
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("speak", [silent, dripping])
async def test_what_never_ends_is_given_up_at_the_deadline(speak: Speak) -> None:
    began = asyncio.get_running_loop().time()
    answer = await fetched(speak)
    assert answer.failure is Failure.TIMEOUT
    assert "did not answer within 0.4 s" in answer.says
    assert asyncio.get_running_loop().time() - began < 3


async def test_an_endless_answer_is_cut_at_the_cap_long_before_its_end() -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while sent < 100 << 20:
            writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            sent += 65536
            await writer.drain()

    answer = await fetched(flood, Ask("/metrics", deadline_s=5), limit=1 << 20)
    assert answer.failure is Failure.TOO_LARGE
    assert sent < 16 << 20


async def test_a_port_on_which_nobody_listens_is_refused() -> None:
    async with served(silent) as endpoint:
        pass
    answer = await HttpClient(SystemClock()).fetch(endpoint, ASK)
    assert answer.failure is Failure.REFUSED


@pytest.mark.parametrize(
    "address", ["192.0.2.1", "10.0.0.1", "::ffff:192.0.2.1", "2001:db8::1", "localhost", "0.0.0.0"]
)
async def test_no_address_but_loopback_and_the_hosts_own_is_ever_contacted(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr("agent.sources.serving.http.talk.socket.socket", never)
    client = HttpClient(SystemClock())
    client.allow(frozenset({"192.0.2.7"}))
    answer = await client.fetch(Endpoint(address, 8000), ASK)
    assert answer.failure is Failure.DENIED
    assert address in answer.says


async def test_an_address_of_the_host_may_be_asked() -> None:
    client = HttpClient(SystemClock())
    async with served(always(OK)) as endpoint:
        client.allow(frozenset({"127.0.0.1"}))
        assert (await client.fetch(endpoint, ASK)).ok
        client.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for `engine.test` and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "engine.test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("engine.test")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(made.public_bytes(Encoding.PEM) + secret)
    return file


async def over_tls(certificate: Path, name: str, ca_file: str) -> Answer:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    client = HttpClient(SystemClock())
    async with served(always(OK), context) as endpoint:
        asked = Endpoint(endpoint.address, endpoint.port, tls=True, server_name=name, ca_file=ca_file)
        for _ in range(2):
            answer = await client.fetch(asked, Ask("/metrics", deadline_s=5))
        client.close()
    return answer


async def test_tls_is_read_when_the_certificate_stands_for_the_name(certificate: Path) -> None:
    assert (await over_tls(certificate, "engine.test", str(certificate))).body == b"ok"


@pytest.mark.parametrize(("name", "trusted"), [("other.test", True), ("engine.test", False)])
async def test_a_wrong_name_or_an_unknown_signer_is_one_sentence(certificate: Path, name: str, trusted: bool) -> None:
    answer = await over_tls(certificate, name, str(certificate) if trusted else "")
    assert answer.failure is Failure.TLS
    assert name in answer.says
    assert "certificate" in answer.says
    assert len(answer.says) < 250


async def test_a_plain_port_where_tls_was_agreed_is_one_sentence() -> None:
    async with served(always(OK)) as endpoint:
        client = HttpClient(SystemClock())
        answer = await client.fetch(Endpoint(endpoint.address, endpoint.port, tls=True), ASK)
    assert answer.failure in (Failure.TLS, Failure.TIMEOUT)
