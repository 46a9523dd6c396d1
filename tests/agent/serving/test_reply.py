"""Answers are read the same however they are cut, and what is not one is said in one sentence."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sources.serving.http.reply import Garbage, Reply, TooLarge

LIMIT = 1000
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nTrailer: 1\r\n\r\n"
CLOSING = b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\nhello"


def read(data: bytes, *, end: bool = False) -> Reply:
    reply = Reply(LIMIT)
    reply.feed(data)
    if end:
        reply.end()
    return reply


@pytest.mark.parametrize(
    ("data", "end", "keeps"), [(PLAIN, False, True), (CHUNKED, False, True), (CLOSING, True, False)]
)
def test_an_answer_is_the_same_however_it_is_cut(data: bytes, end: bool, keeps: bool) -> None:
    for cut in range(1, len(data)):
        reply = Reply(LIMIT)
        reply.feed(data[:cut])
        reply.feed(data[cut:])
        if end:
            reply.end()
        assert (reply.done, reply.status, reply.body, reply.keeps) == (True, 200, b"hello", keeps)


def test_the_first_of_two_headers_counts_and_names_are_in_lower_case() -> None:
    reply = read(b"HTTP/1.1 307 Moved\r\nLocation: /metrics/\r\nLOCATION: /x\r\nContent-Length: 0\r\n\r\n")
    assert (reply.status, reply.headers["location"], reply.done) == (307, "/metrics/", True)


def test_interim_answers_are_skipped() -> None:
    assert read(b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN).body == b"hello"


def test_bare_line_feeds_end_a_head_too() -> None:
    assert read(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok").body == b"ok"


def test_an_answer_without_a_body_is_whole_at_once() -> None:
    assert read(b"HTTP/1.1 204 No Content\r\n\r\n").done


def test_what_follows_an_answer_unasked_ends_the_connection() -> None:
    assert not read(PLAIN + b"HTTP/1.1 200 OK").keeps
    reply = read(PLAIN)
    reply.feed(b"more")
    assert (reply.body, reply.keeps) == (b"hello", False)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no HTTP"),
        (b"\x00\x00\x00\x04zmq", "no HTTP"),
        (b"HTTP/2 200\r\n\r\n", "answered with"),
        (b"HTTP/1.1 abc\r\n\r\n", "answered with"),
        (b"HTTP/1.1 200 OK\r\n: x\r\n\r\n", "a header that is none"),
        (b"HTTP/1.1 200 OK\r\nnot a header\r\n\r\n", "a header that is none"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "how long"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "how long"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", "not asked for"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "not asked for"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "broken chunk"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n", "broken chunk"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 300, "broken chunk"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", "interim"),
        (b"HTTP/1.1 100 Go\r\n\r\n" * 20, "interim"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n", "headers"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 40_000, "headers"),
    ],
)
def test_what_is_no_answer_is_refused_with_a_reason(data: bytes, says: str) -> None:
    with pytest.raises(Garbage, match=says):
        read(data)


def test_an_answer_in_crumbs_is_refused_long_before_its_end_and_one_in_lines_is_read() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    crumbs = Reply(4 << 20)
    crumbs.feed(head)
    with pytest.raises(Garbage, match="crumbs"):
        crumbs.feed(b"1\r\na\r\n" * 2000)
    assert len(crumbs.body) < 2000
    lines = Reply(4 << 20)
    lines.feed(head + (b"50\r\n" + b"x" * 80 + b"\r\n") * 5000 + b"0\r\n\r\n")
    assert (lines.done, len(lines.body)) == (True, 400_000)


@pytest.mark.parametrize("data", [PLAIN[:-1], CHUNKED[:-2], b"HTTP/1.1 200", b""])
def test_an_answer_cut_off_is_told_from_a_whole_one(data: bytes) -> None:
    with pytest.raises(Garbage):
        read(data, end=True)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n" + b"x" * 1000 + b"\r\n1\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 1001,
    ],
)
def test_more_than_agreed_is_refused_before_it_is_held(data: bytes) -> None:
    with pytest.raises(TooLarge) as error:
        read(data)
    assert error.value.size == 1001


@given(
    st.lists(
        st.sampled_from([PLAIN, CHUNKED[:30], b"\r\n", b"0\r\n", b"HTTP/1.1 200 ", b":", b"ff\r\n"])
        | st.binary(max_size=40)
    ),
    st.integers(1, 7),
)
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_an_answer_or_a_refusal(parts: list[bytes], step: int) -> None:
    data = b"".join(parts)
    reply = Reply(LIMIT)
    try:
        for at in range(0, len(data), step):
            reply.feed(data[at : at + step])
        reply.end()
    except (Garbage, TooLarge):
        return
    assert reply.done
    assert len(reply.body) <= LIMIT
