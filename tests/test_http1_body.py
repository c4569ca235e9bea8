"""The body readers against h11, the judge; against limits; and against bugs planted in them."""

import sys
import tracemalloc
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_sse import http1_body
from sansio_sse.errors import LimitExceeded, RemoteProtocolError
from sansio_sse.http1_body import (
    MAX_CHUNK_LINE,
    MAX_TRAILERS,
    BodyReader,
    ChunkedBody,
    CloseDelimitedBody,
    SizedBody,
)

# Where these readers differ from h11, and why. The tests below name each where they allow for it.
DIFFERENCES = {
    "early": "a chunk size that cannot become right is an error at once; h11 waits for a line end, "
    "so that a body which is not chunked at all hangs until a timeout",
    "limits": "a long chunk-size line or trailer section is an error however it is cut into reads, "
    "and always LimitExceeded; h11 allows any length if the end comes in the same read",
}


class Outcome(NamedTuple):
    """What a reader made of some bytes."""

    payload: bytes
    complete: bool
    failed: bool
    leftover: bool
    head: tuple[int, tuple[tuple[bytes, bytes], ...]] | None = None


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CLOSE_DELIMITED = b"HTTP/1.1 200 OK\r\n\r\n"


def sized_head(length: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length


def read_with_h11(pieces: Sequence[bytes], *, eof: bool, method: str = "GET") -> Outcome:
    """Read a response, head included, with nothing but h11."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_CHUNK_LINE)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    payload = bytearray()
    head = None
    complete = False
    inputs = [piece for piece in pieces if piece] + [b""] * eof
    for piece in inputs:
        connection.receive_data(piece)
        while not complete:
            try:
                event = connection.next_event()
            except h11.RemoteProtocolError:
                return Outcome(bytes(payload), False, True, False, head)
            if isinstance(event, h11.Response):
                head = (event.status_code, tuple(event.headers.raw_items()))
            elif isinstance(event, h11.Data):
                payload += event.data
            elif isinstance(event, h11.EndOfMessage):
                complete = True
            elif not isinstance(event, h11.InformationalResponse):
                break
    leftover = complete and connection.trailing_data[0] != b""
    return Outcome(bytes(payload), complete, False, leftover, head)


def read_with(reader: BodyReader, pieces: Sequence[bytes], *, eof: bool) -> Outcome:
    payload = b"".join(reader.feed(piece) for piece in pieces)
    if eof:
        reader.end()
    assert reader.error is None or not reader.complete
    return Outcome(payload, reader.complete, reader.error is not None, reader.leftover)


def cuts(data: bytes) -> Iterator[list[bytes]]:
    """Yield ``data`` whole, byte by byte, and in every two parts; empty reads change nothing."""
    yield [data] if data else []
    yield [b"", *(data[i : i + 1] for i in range(len(data))), b""]
    for i in range(1, len(data)):
        yield [data[:i], data[i:]]


@st.composite
def cut_anywhere(draw: st.DrawFn, data: bytes) -> list[bytes]:
    places = sorted(draw(st.lists(st.integers(0, len(data)), max_size=6)))
    return [data[i:j] for i, j in zip([0, *places], [*places, len(data)], strict=True)]


# --- Random streams ------------------------------------------------------------------------------

PAYLOADS = st.one_of(
    st.binary(min_size=1, max_size=40),
    st.sampled_from([b"data: a\n\n", b"data: b\r\n\r\n", b"\r\n", b"0\r\n\r\n", b"x" * 1500]),
)
EXTENSIONS = st.sampled_from([b""] * 12 + [b";", b";a=b", b'; q="\r;"', b" ", b"\t ", b";\x00\xff"])
TRAILERS = st.sampled_from(
    [b""] * 6
    + [b"A: b\r\n", b"A: b\nC:d\r\n", b"A:\r\n  folded\r\n", b"Content-Length: 3\r\n"]
    + [
        b"A : b\r\n",
        b" A: b\r\n",
        b"\x00: b\r\n",
        b"A: \rb\r\n",
        b"A\r\n",
        b"Content-Length: x\r\n",
    ]
)


@st.composite
def chunks(draw: st.DrawFn) -> bytes:
    size = draw(st.sampled_from([b"%x", b"%X", b"%05x", b"%020x"]))
    parts = [
        size % len(payload) + draw(EXTENSIONS) + b"\r\n" + payload + b"\r\n"
        for payload in draw(st.lists(PAYLOADS, max_size=4))
    ]
    last = draw(st.sampled_from([b"", b"0\r\n", b"000;x\r\n"]))
    end = draw(TRAILERS) + draw(st.sampled_from([b"\r\n", b"\n", b""])) if last else b""
    return b"".join(parts) + last + end + draw(st.sampled_from([b"", b"", b"HTTP/1.1 200 OK"]))


@st.composite
def mutated(draw: st.DrawFn, streams: st.SearchStrategy[bytes]) -> bytes:
    data = bytearray(draw(streams))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(data)))
        new = draw(
            st.sampled_from([b"", b"\r", b"\n", b"\r\n", b"0", b"F", b"g", b"_", b" ", b";"])
        )
        data[at : at + draw(st.integers(0, 2))] = new
    return bytes(data)


SOUP = st.lists(
    st.sampled_from(
        [
            b"\r\n",
            b"\r\n",
            b"\r",
            b"\n",
            b"0",
            b"1",
            b"a",
            b"x",
            b";",
            b" ",
            b"A: b",
            b"f" * 20,
            b"_",
        ]
    ),
    max_size=12,
).map(b"".join)


@given(st.data())
def test_chunked_bodies_equal_h11(data: st.DataObject) -> None:
    stream = data.draw(st.one_of(chunks(), mutated(chunks()), SOUP))
    pieces = data.draw(cut_anywhere(stream))
    expected = read_with_h11([CHUNKED, *pieces], eof=True)._replace(head=None)
    assert read_with(ChunkedBody(), pieces, eof=True) == expected
    unended = read_with(ChunkedBody(), pieces, eof=False)
    judged = read_with_h11([CHUNKED, *pieces], eof=False)._replace(head=None)
    if unended != judged:
        assert unended == judged._replace(failed=True), DIFFERENCES["early"]
    assert read_with(ChunkedBody(), [stream], eof=False) == unended
    bytewise = [stream[i : i + 1] for i in range(len(stream))]
    assert read_with(ChunkedBody(), bytewise, eof=False) == unended


@given(st.data(), st.binary(max_size=30), st.integers(0, 30), st.booleans())
def test_sized_bodies_equal_h11(data: st.DataObject, stream: bytes, size: int, eof: bool) -> None:
    pieces = data.draw(cut_anywhere(stream))
    expected = read_with_h11([sized_head(size), *pieces], eof=eof)._replace(head=None)
    assert read_with(SizedBody(size), pieces, eof=eof) == expected


@given(st.data(), st.binary(max_size=30), st.booleans())
def test_close_delimited_bodies_equal_h11(data: st.DataObject, stream: bytes, eof: bool) -> None:
    pieces = data.draw(cut_anywhere(stream))
    expected = read_with_h11([CLOSE_DELIMITED, *pieces], eof=eof)._replace(head=None)
    assert read_with(CloseDelimitedBody(), pieces, eof=eof) == expected


# --- Vectors: every rule once, each cut everywhere -----------------------------------------------

CHUNKED_VECTORS = [
    b"",
    b"5\r\nhello\r\n",
    b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
    b"a\r\n0123456789\r\nA\r\n0123456789\r\n",
    b"2\r\n\r\n\r\n2\r\n\r\n\r\n",
    b"1\r\n\r\r\n1\r\n\n\r\n",
    b"400\r\n" + b"x" * 1024 + b"\r\n3fF\r\n" + b"y" * 1023 + b"\r\n",
    b"0000000000000000000a\r\n0123456789\r\n",
    b"00000000000000000000a\r\n0123456789\r\n",
    b"ffffffffffffffffffff\r\nall of it",
    b'5;ext\r\nhello\r\n5;a="b;\r"\r\nhello\r\n5;\r\nhello\r\n0;last\r\n\r\n',
    b"5;a\nb\r\nhello\r\n",
    b"5 ;ext\r\nhello\r\n",
    b"5 \t\r\nhello\r\n0  \r\n\r\n",
    b"5\r \nhello\r\n",
    b"5\r\r\nhello\r\n",
    b"5\nhello\n",
    b" 5\r\nhello\r\n",
    b"+5\r\nhello\r\n",
    b"-5\r\nhello\r\n",
    b"0x5\r\nhello\r\n",
    b"1_0\r\n0123456789abcdef\r\n",
    b"5g\r\nhello\r\n",
    b"\r\nhello\r\n",
    b";a\r\nhello\r\n",
    b"\xd9\xa5\r\nhello\r\n",
    b"5\r\nhelloworld\r\n",
    b"5\r\nhello\rx",
    b"5\r\nhello\n5\r\nhello\r\n",
    b"5\r\nhel",
    b"5\r\nhello",
    b"5\r\nhello\r",
    b"2\r\nok\r\nzz\r\n",
    b"0\r\n",
    b"0\r\n\r",
    b"0\r\n\n",
    b"0\r\n\r\nleftover",
    b"0\r\nA: b\r\n\r\nleftover",
    b"0\r\nA: b\nC: d\n\n",
    b"0\r\nA: b\r\nC: d\r\n\r\n",
    b"0\r\nA: b\r\n  folded\r\n\tand again\r\n\r\n",
    b"0\r\n A: folded before the first\r\n\r\n",
    b"0\r\nA : b\r\n\r\n",
    b"0\r\nno colon\r\n\r\n",
    b"0\r\nA: \x00\r\n\r\n",
    b"0\r\nA: \x0b\r\n\r\n",
    b"0\r\nA: b\rc\r\n\r\n",
    b"0\r\nA: \x01\xff\r\n\r\n",
    b"0\r\nContent-Length: 5\r\n\r\n",
    b"0\r\nContent-Length: five\r\n\r\n",
    b"0\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"1\r\nx\r\n" * 30 + b"0\r\n\r\n",
]


def check_vectors(module: Any) -> None:
    """Hold a version of the module against h11, vector by vector."""
    for vector in CHUNKED_VECTORS:
        expected = read_with_h11([CHUNKED, vector], eof=True)._replace(head=None)
        judged = read_with_h11([CHUNKED, vector], eof=False)._replace(head=None)
        early = read_with(module.ChunkedBody(), [vector], eof=False)
        if early != judged:
            assert early == judged._replace(failed=True), DIFFERENCES["early"]
        for pieces in cuts(vector):
            assert read_with(module.ChunkedBody(), pieces, eof=True) == expected, pieces
            assert read_with(module.ChunkedBody(), pieces, eof=False) == early, pieces
    for stream, eof in product((b"", b"0123456789"), (False, True)):
        for pieces, size in product(cuts(stream), (0, 1, 9, 10, 11)):
            expected = read_with_h11([sized_head(size), *pieces], eof=eof)._replace(head=None)
            assert read_with(module.SizedBody(size), pieces, eof=eof) == expected, pieces
        for pieces in cuts(stream):
            expected = read_with_h11([CLOSE_DELIMITED, *pieces], eof=eof)._replace(head=None)
            assert read_with(module.CloseDelimitedBody(), pieces, eof=eof) == expected, pieces


def test_vectors_equal_h11_however_they_are_cut() -> None:
    check_vectors(http1_body)


PLANTED = [
    ("return data[:left]", "return data"),
    ("if len(data) > left:", "if len(data) >= left:"),
    ("if len(data) < left:", "if len(data) <= left:"),
    ("self.complete: bool = not length", "self.complete: bool = False"),
    ("{1,20})(?:;", "{1,21})(?:;"),
    ("{1,20})(?:;", "{1,19})(?:;"),
    ("([0-9A-Fa-f]{1,20})", "([0-9A-Fa-f_]{1,20})"),
    ("([0-9A-Fa-f]{1,20})", "(?:0x)?([0-9A-Fa-f]{1,20})"),
    (r"(?:;[^\n]*|[ \t]*)", r"(?:;[^\n]*)?"),
    (r"(?:;[^\n]*|[ \t]*)", r"(?:[ \t]*;[^\n]*|[ \t]*)"),
    (r"(?:;[^\n]*|[ \t]*)", r"(?:;[^\r\n]*|[ \t]*)"),
    (r"|[ \t]*\r?)", r"|[ \t]*)"),
    (r'rb"\n\r?\n"', r'rb"\r\n\r\n"'),
    ("range(1, 1024)", "range(0, 1024)"),
    ('(b"%x", b"%X")', '(b"%d",)'),
    ("if data[stop : stop + 3] ==", "if data[stop : stop + 2] =="),
    ("data = self._pending + data\n            self._pending", "self._pending"),
    ("if size is None or at < 0:", "if size is None:"),
    ("if data[stop : stop + 2] == b", "if True or b"),
    ("left = size + 2", "left = size"),
    ("left = size + 2", "left = size + 1"),
    ("position = stop + 2", "position = stop"),
    ("here[: max(left - 2, 0)]", "here"),
    (r'b"\r\n"[-left:].startswith(line_end)', "True"),
    (r'b"\r\n"[-left:].startswith(line_end)', r'b"\r\n".startswith(line_end)'),
    ("self._left = _IN_SIZE", "self._left = _AT_SIZE"),
    ("self._after_last_chunk(data[at + 2 :])", "self._after_last_chunk(data[at + 4 :])"),
    (r'section.startswith((b"\n", b"\r\n"))', r'section.startswith(b"\r\n")'),
    ("max(len(self._pending) - 2, 0)", "len(self._pending)"),
    ("elif end > 2 and not", "elif False and not"),
    ("_LEFTOVER if end < len(section) else _OVER", "_OVER"),
    ("if self.complete and data:", "if self.complete:"),
    ("self._pending = section", "self._pending = data"),
    ("        self._left = _OVER\n        self._pending", "        self._pending"),
    (
        "if not self.complete and self.error is None:\n            self._fail",
        "if False: self._fail",
    ),
]


@pytest.mark.parametrize(("right", "wrong"), PLANTED)
def test_planted_bugs_are_found_by_the_vectors(right: str, wrong: str) -> None:
    source = Path(http1_body.__file__).read_text(encoding="utf-8")
    assert source.count(right) == 1, "a planted bug must apply in one place"
    planted = ModuleType("sansio_sse.planted")
    planted.__package__ = "sansio_sse"
    exec(compile(source.replace(right, wrong), "<planted>", "exec"), vars(planted))
    with pytest.raises((AssertionError, TypeError, ValueError)):  # a wrong answer, or a crash
        check_vectors(planted)


# --- Examples ------------------------------------------------------------------------------------


def test_what_is_not_cut_is_not_copied() -> None:
    data = b"data: hi\n\n" * 100
    assert SizedBody(5000).feed(data) is data
    assert CloseDelimitedBody().feed(data) is data
    chunked = ChunkedBody()
    assert chunked.feed(b"ffff\r\n") == b""
    assert chunked.feed(data) is data


def test_readers_are_small() -> None:
    for reader in (SizedBody(10), ChunkedBody(), CloseDelimitedBody()):
        assert sys.getsizeof(reader) <= 64
        assert not hasattr(reader, "__dict__")


@pytest.mark.parametrize(
    ("reader", "data"),
    [
        (SizedBody(10), b"too few"),
        (ChunkedBody(), b"5\r\nhelloooo"),
        (ChunkedBody(), b"5\r\nhel"),
        (ChunkedBody(), b"0\r\nA : b\r\n\r\n"),
    ],
)
def test_after_an_error_nothing_more_comes(reader: BodyReader, data: bytes) -> None:
    reader.feed(data)
    reader.end()
    error = reader.error
    assert isinstance(error, RemoteProtocolError)
    assert error.retryable
    assert reader.feed(b"5\r\nhello\r\n") == b""
    assert reader.feed(b"") == b""
    reader.end()
    assert reader.error is error
    assert not reader.complete
    assert not reader.leftover


def test_what_comes_after_the_end_of_the_transport_is_leftover() -> None:
    body = CloseDelimitedBody()
    body.end()
    assert body.feed(b"") == b""
    assert not body.leftover
    assert body.feed(b"x") == b""
    assert body.leftover
    assert body.complete


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"secret", "malformed chunk size"),
        (b"2\r\nok\r\nsecret", "malformed chunk size"),
        (b"2\r\nokay", "a chunk is longer than its size"),
        (b"0\r\nsecret\r\n\r\n", "malformed trailers"),
        (b"5\r\nhel", "the server closed the connection within a chunked body"),
    ],
)
def test_errors_say_what_is_wrong_and_show_no_data(data: bytes, message: str) -> None:
    body = ChunkedBody()
    body.feed(data)
    body.end()
    assert str(body.error) == message


def test_a_body_that_is_not_chunked_at_all_is_noticed_at_once() -> None:
    body = ChunkedBody()
    assert body.feed(b"data: hello\n\n") == b""
    assert isinstance(body.error, RemoteProtocolError), DIFFERENCES["early"]


# --- Limits --------------------------------------------------------------------------------------


def in_pieces(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


@pytest.mark.parametrize("step", [1 << 20, 4096, 1])
@pytest.mark.parametrize("excess", [0, 1])
def test_a_chunk_size_line_has_a_limit(step: int, excess: int) -> None:
    line = b"5;".ljust(MAX_CHUNK_LINE - 2 + excess, b"x") + b"\r\n"
    body = ChunkedBody()
    payload = b"".join(body.feed(piece) for piece in in_pieces(line + b"hello\r\n", step))
    if excess:
        assert payload == b""
        assert isinstance(body.error, LimitExceeded), DIFFERENCES["limits"]
        assert str(body.error) == "a chunk-size line is longer than 16384 bytes"
    else:
        assert (payload, body.error) == (b"hello", None)


@pytest.mark.parametrize("step", [1 << 20, 4096, 1])
@pytest.mark.parametrize(
    "line", [b"5" + b" " * MAX_CHUNK_LINE, b"5;" + b"x" * MAX_CHUNK_LINE + b"\n"]
)
def test_too_long_or_malformed_does_not_depend_on_the_reads(step: int, line: bytes) -> None:
    body = ChunkedBody()
    for piece in in_pieces(line + b"\r\n", step):
        body.feed(piece)
    assert isinstance(body.error, LimitExceeded)


@pytest.mark.parametrize("step", [1 << 20, 4096, 1])
def test_malformed_and_too_long_is_malformed(step: int) -> None:
    body = ChunkedBody()
    for piece in in_pieces(b"5;\n" + b"x" * MAX_CHUNK_LINE + b"\r\n", step):
        body.feed(piece)
    assert isinstance(body.error, RemoteProtocolError)


@pytest.mark.parametrize("step", [1 << 20, 4096, 1])
@pytest.mark.parametrize("excess", [0, 1])
def test_trailers_have_a_limit(step: int, excess: int) -> None:
    trailers = b"A: ".ljust(MAX_TRAILERS - 4 + excess, b"x") + b"\r\n\r\n"
    body = ChunkedBody()
    for piece in in_pieces(b"0\r\n" + trailers, step):
        assert body.feed(piece) == b""
    if excess:
        assert isinstance(body.error, LimitExceeded), DIFFERENCES["limits"]
        assert str(body.error) == "the trailers are longer than 16384 bytes"
    else:
        assert body.complete


def test_h11_takes_long_lines_that_come_in_one_read() -> None:
    long = b"5;" + b"x" * (2 * MAX_CHUNK_LINE) + b"\r\nhello\r\n"
    assert read_with_h11([CHUNKED, long], eof=False).payload == b"hello", DIFFERENCES["limits"]
    assert read_with_h11([CHUNKED, *in_pieces(long, 4096)], eof=False).failed


@pytest.mark.parametrize("begin", [b"5;", b"5 ", b"0\r\nA: ", b"0\r\n"])
@pytest.mark.parametrize("filler", [b"x", b" ", b"A: b\r\n"])
def test_endless_lines_take_no_memory(begin: bytes, filler: bytes) -> None:
    piece = (filler * 65536)[:65536]
    body = ChunkedBody()
    body.feed(begin)
    tracemalloc.start()
    try:
        for _ in range(256):  # 16 MiB
            body.feed(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert body.error is not None
    assert peak < 1024 * 1024


@pytest.mark.parametrize("size", [10**9, 16**20 - 1])
def test_huge_chunks_take_no_memory(size: int) -> None:
    piece = b"x" * 65536
    body = ChunkedBody()
    body.feed(b"%x\r\n" % size)
    tracemalloc.start()
    try:
        for _ in range(256):
            assert body.feed(piece) is piece
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 * 1024


def test_trailers_that_h11_reads_in_quadratic_time_are_refused_before() -> None:
    # A run of spaces before a character which no field may have: h11 tries each way to share them
    # between the two places where blanks may stand. Ten seconds at 64 KiB; it never gets there.
    body = ChunkedBody()
    body.feed(b"0\r\nA:" + b" " * 16000 + b"\x0b\r\n\r\n")
    assert str(body.error) == "malformed trailers"
