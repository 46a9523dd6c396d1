"""Bytes to one HTTP/1.x answer, sans-I/O. Everything is bounded, and what is not HTTP is said to be none.

Nothing is decoded that was not asked for: an answer in another encoding is refused, not inflated.
"""

HEAD_BYTES = 32 * 1024
HEADERS = 128
CHUNK_LINE = 256
FEW_CHUNKS = 1024  # beyond these they must be of some size: each costs more than its bytes
CHUNK_BYTES = 64
INTERIM = 8  # answers 1xx before the real one


class Garbage(Exception):
    """Not HTTP, or not an answer to what was asked; the sentence's end says why."""


class TooLarge(Exception):
    """More than was agreed; `size` bytes as far as is known."""

    def __init__(self, size: int) -> None:
        super().__init__(f"{size} bytes")
        self.size = size


class Reply:
    """One answer, fed as it comes. `limit`: body bytes at most.

    `done` once it is whole; then `status`, `headers` (names in lower case, the first of each), `body`, and `keeps` says
    whether the connection can be used again.
    """

    def __init__(self, limit: int) -> None:
        self.done = False
        self.keeps = False
        self.status = 0
        self.headers: dict[str, str] = {}
        self._limit = limit
        self._buffer = b""
        self._parts: list[bytes] = []
        self._size = 0
        self._chunks = 0
        self._interim = 0
        self._want = -1  # bytes of body, or of the chunk under way; -1 until the connection closes
        self._chunked = False
        self._chunk_ends = False  # the line break behind a chunk is due
        self._trailer = False
        self._headed = False

    @property
    def body(self) -> bytes:
        """What has come of it."""
        if len(self._parts) > 1:
            self._parts = [b"".join(self._parts)]
        return self._parts[0] if self._parts else b""

    @property
    def begun(self) -> bool:
        """Whether a byte has come."""
        return self._headed or bool(self._buffer) or self._interim > 0

    def feed(self, data: bytes) -> None:
        """Take more bytes.

        Raises:
            Garbage: this is no such answer.
            TooLarge: it is longer than agreed.
        """
        if self.done:
            self.keeps = False  # it talks on its own
            return
        if not self._headed:
            data = self._head(data)
            if not self._headed:
                return
        self._take(data)

    def end(self) -> None:
        """The connection was closed.

        Raises:
            Garbage: before the answer was whole.
        """
        self.keeps = False
        if self.done:
            return
        if not self._headed or self._want >= 0 or self._chunked:
            raise Garbage("closed the connection in the middle of its answer" if self.begun else "said nothing")
        self.done = True

    def _head(self, data: bytes) -> bytes:
        """Take what belongs to the head; the rest."""
        self._buffer += data
        while not self._headed:
            start = self._buffer[:5]
            if start != b"HTTP/"[: len(start)]:
                raise Garbage("answered with something that is no HTTP")
            at, gap = self._buffer.find(b"\r\n\r\n"), 4
            bare = self._buffer.find(b"\n\n", 0, at if at >= 0 else len(self._buffer))
            if bare >= 0:
                at, gap = bare, 2
            if at > HEAD_BYTES or (at < 0 and len(self._buffer) > HEAD_BYTES):
                raise Garbage(f"sent more than {HEAD_BYTES // 1024} KiB of headers")
            if at < 0:
                return b""
            head, self._buffer = self._buffer[:at], self._buffer[at + gap :]
            self._read_head(head)
        rest, self._buffer = self._buffer, b""
        return rest

    def _read_head(self, head: bytes) -> None:
        lines = head.decode("latin-1").replace("\r\n", "\n").split("\n")
        version, _, rest = lines[0].partition(" ")
        code = rest[:3]
        if version not in ("HTTP/1.0", "HTTP/1.1") or not (code.isascii() and code.isdecimal() and len(code) == 3):
            raise Garbage(f"answered with {lines[0][:40]!r}")
        if len(lines) > HEADERS:
            raise Garbage(f"sent more than {HEADERS} headers")
        self.status = int(code)
        if 100 <= self.status < 200:
            self._interim += 1
            if self._interim > INTERIM or self.status == 101:
                raise Garbage("sent interim answers alone")
            return
        self._headed = True
        self._read_headers(lines[1:], keeps=version == "HTTP/1.1")

    def _read_headers(self, lines: list[str], *, keeps: bool) -> None:
        lengths: set[str] = set()
        for line in lines:
            name, colon, value = line.partition(":")
            name, value = name.strip().lower(), value.strip()
            if not colon or not name:
                raise Garbage(f"sent a header that is none: {line[:40]!r}")
            if name == "content-length":
                lengths.add(value)
            self.headers.setdefault(name, value)
        word = self.headers.get("connection", "").lower()
        self.keeps = "close" not in word and (keeps or "keep-alive" in word)
        if self.headers.get("content-encoding", "identity").lower() not in ("identity", ""):
            raise Garbage(
                f"answered in the encoding {self.headers['content-encoding'][:20]!r}, which was not asked for"
            )
        self._frame(lengths)

    def _frame(self, lengths: set[str]) -> None:
        """How long the body is."""
        coding = self.headers.get("transfer-encoding", "").lower()
        if self.status in (204, 304):
            self.done = True
        elif coding:
            if coding != "chunked":
                raise Garbage(f"used the transfer encoding {coding[:20]!r}, which was not asked for")
            self._chunked, self._want = True, 0
            self.keeps = self.keeps and not lengths
        elif lengths:
            length = lengths.pop()
            if lengths or not (length.isascii() and length.isdecimal() and len(length) < 19):
                raise Garbage("did not say how long its answer is")
            self._want = int(length)
            if self._want > self._limit:
                raise TooLarge(self._want)
            self.done = not self._want
        else:
            self.keeps = False

    def _take(self, data: bytes) -> None:
        if self._chunked:
            self._take_chunks(data)
        elif self._want < 0:
            self._keep(data)
        elif data and not self.done:
            self._keep(data[: self._want])
            self.keeps = self.keeps and len(data) <= self._want
            self._want = max(0, self._want - len(data))
            self.done = not self._want
        elif data:
            self.keeps = False

    def _take_chunks(self, data: bytes) -> None:
        data, self._buffer = self._buffer + data, b""
        at = 0
        while not self.done:
            if self._want:
                part = data[at : at + self._want]
                if not part:
                    return
                self._keep(part)
                at += len(part)
                self._want -= len(part)
                self._chunk_ends = not self._want
                continue
            end = data.find(b"\n", at)
            if end < 0:
                if len(data) - at > CHUNK_LINE:
                    raise Garbage("sent a broken chunk")
                self._buffer = data[at:]
                return
            self._chunk_line(data[at:end].rstrip(b"\r"))
            at = end + 1
        self.keeps = self.keeps and at == len(data)

    def _chunk_line(self, line: bytes) -> None:
        if self._trailer:
            self._interim += 1
            if self._interim > HEADERS or len(line) > HEAD_BYTES:
                raise Garbage("sent endless trailers")
            self.done = not line
        elif self._chunk_ends:
            if line:
                raise Garbage("sent a broken chunk")
            self._chunk_ends = False
        else:
            size = line.partition(b";")[0].strip()
            if not 0 < len(size) <= 16 or not all(char in b"0123456789abcdefABCDEF" for char in size):
                raise Garbage("sent a broken chunk")
            self._want = int(size, 16)
            self._chunks += 1
            if self._chunks > FEW_CHUNKS and self._size < CHUNK_BYTES * self._chunks:
                raise Garbage("sent its answer in crumbs")
            if self._size + self._want > self._limit:
                raise TooLarge(self._size + self._want)
            self._trailer = not self._want

    def _keep(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._limit:
            raise TooLarge(self._size)
        if data:
            self._parts.append(data)
