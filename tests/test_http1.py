"""One HTTP/1.1 exchange: what is written, and heads against h11."""

import sys
import tracemalloc
from typing import NamedTuple

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_sse.errors import ConfigError, LimitExceeded, LocalProtocolError, RemoteProtocolError
from sansio_sse.http import Request, Response
from sansio_sse.http1 import Http1Exchange
from sansio_sse.http1_body import ChunkedBody, CloseDelimitedBody, SizedBody
from test_http1_body import Outcome, chunks, cut_anywhere, cuts, mutated, read_with_h11

# Where an exchange differs from h11, and why. The tests below name each where they allow for it.
DIFFERENCES = {
    "early": "a response that does not begin with HTTP/ is an error at once; h11 waits for a blank "
    "line, which TLS, SSH and HTTP/2 never send",
    "limit": "max_head counts all heads of a response, however they are cut into reads, and is a "
    "LimitExceeded; h11 allows any length if the end comes in the same read",
    "keep-alive": "HTTP/1.0 with Connection: keep-alive may be reused, two framings may not",
}

GET = Request("GET", "http://example.com/events")


def started(request: Request = GET, *, max_head: int = 64 * 1024) -> Http1Exchange:
    exchange = Http1Exchange(request, max_head=max_head)
    exchange.start()
    return exchange


def received(data: bytes, request: Request = GET, *, max_head: int = 64 * 1024) -> Http1Exchange:
    exchange = started(request, max_head=max_head)
    exchange.receive(data)
    return exchange


# --- The request ---------------------------------------------------------------------------------


def test_a_plain_request() -> None:
    assert Http1Exchange(GET).start() == b"GET /events HTTP/1.1\r\nHost: example.com\r\n\r\n"


def test_headers_are_written_as_given_in_order_after_host() -> None:
    request = Request(
        "GET",
        "https://[::1]:8443/a?b=c",
        headers=(
            ("accept", "text/event-stream"),
            ("X-Name", "zoë"),
            ("X-Name", " two words\t"),
            ("E", ""),
        ),
    )
    assert Http1Exchange(request).start() == (
        b"GET /a?b=c HTTP/1.1\r\nHost: [::1]:8443\r\naccept: text/event-stream\r\n"
        b"X-Name: zo\xc3\xab\r\nX-Name: two words\r\nE: \r\n\r\n"
    )


def test_the_callers_host_replaces_ours() -> None:
    request = Request("GET", "http://10.0.0.1/", headers=(("A", "b"), ("host", "example.com")))
    assert Http1Exchange(request).start() == b"GET / HTTP/1.1\r\nhost: example.com\r\nA: b\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "content", "end"),
    [
        ("POST", b'{"a":1}', b'\r\nContent-Length: 7\r\n\r\n{"a":1}'),
        ("POST", b"", b"\r\nContent-Length: 0\r\n\r\n"),
        ("POST", None, b"\r\nContent-Length: 0\r\n\r\n"),
        ("PUT", None, b"\r\nContent-Length: 0\r\n\r\n"),
        ("PATCH", None, b"\r\nContent-Length: 0\r\n\r\n"),
        ("GET", b"q", b"\r\nContent-Length: 1\r\n\r\nq"),
        ("GET", b"", b"\r\nContent-Length: 0\r\n\r\n"),
        ("DELETE", None, b"\r\nHost: example.com\r\n\r\n"),
    ],
)
def test_content_has_a_length(method: str, content: bytes | None, end: bytes) -> None:
    request = Request(method, "http://example.com/", content=content)
    assert Http1Exchange(request).start().endswith(end)


@pytest.mark.parametrize(
    "name",
    ["Content-Length", "transfer-encoding", "Connection", "UPGRADE", "TE", "Trailer", "Expect"],
)
def test_framing_is_not_the_callers(name: str) -> None:
    request = Request("POST", "http://example.com/", headers=((name, "s3cret"),))
    with pytest.raises(ConfigError, match=f"header '{name}' belongs to the framing") as caught:
        Http1Exchange(request).start()
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("character", ["\x01", "\x0b", "\x0c", "\x1f", "\x7f", "\ud800"])
def test_values_that_cannot_be_written_are_named_and_not_shown(character: str) -> None:
    request = Request("GET", "http://example.com/", headers=(("X-Key", f"s3cret{character}x"),))
    with pytest.raises(ConfigError, match="header 'X-Key': the value has a ") as caught:
        Http1Exchange(request).start()
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("character", ["\x01", "\x1b", "\x7f", "\x9b"])
def test_an_id_of_the_servers_choice_is_sent_back_as_it_is(character: str) -> None:
    request = Request("GET", "http://example.com/", headers=(("Last-Event-ID", f"a{character}b"),))
    assert f"Last-Event-ID: a{character}b\r\n".encode() in Http1Exchange(request).start()


def test_two_hosts_are_refused() -> None:
    request = Request("GET", "http://example.com/", headers=(("Host", "a"), ("host", "b")))
    with pytest.raises(ConfigError, match="'Host' is given more than once"):
        Http1Exchange(request).start()


def test_connect_is_refused() -> None:
    with pytest.raises(ConfigError, match="CONNECT"):
        Http1Exchange(Request("CONNECT", "http://example.com/")).start()


def test_what_h11_refuses_is_a_config_error_without_its_words() -> None:
    request = Request("GET", "http://example.com/")
    object.__setattr__(request, "method", "GET s3cret")  # nobody checks this twice but h11
    with pytest.raises(ConfigError, match="the request cannot be written") as caught:
        Http1Exchange(request).start()
    assert "s3cret" not in str(caught.value)


def test_an_exchange_is_started_once_and_first() -> None:
    exchange = Http1Exchange(GET)
    with pytest.raises(LocalProtocolError, match="before it receives"):
        exchange.receive(b"HTTP/1.1 200 OK\r\n\r\n")
    exchange.start()
    with pytest.raises(LocalProtocolError, match="once"):
        exchange.start()
    exchange.receive(b"HTTP/1.1 200 OK\r\n\r\n")
    with pytest.raises(LocalProtocolError, match="once"):
        exchange.start()


@given(
    st.sampled_from(["GET", "POST", "DELETE"]),
    st.lists(
        st.tuples(
            st.from_regex(r"X-[!#$%&'*+.^_`|~0-9A-Za-z-]{0,8}", fullmatch=True),
            st.text('aZ09 \t:;,="é\xa0\u2028\U0001f600', max_size=12),
        ),
        max_size=4,
    ),
    st.one_of(st.none(), st.binary(max_size=20)),
)
def test_a_server_reads_what_was_given(
    method: str, headers: list[tuple[str, str]], content: bytes | None
) -> None:
    request = Request(method, "http://example.com/a?b", headers=tuple(headers), content=content)
    server = h11.Connection(h11.SERVER)
    server.receive_data(Http1Exchange(request).start())
    head = server.next_event()
    assert isinstance(head, h11.Request)
    assert (head.method, head.target) == (method.encode(), b"/a?b")
    expected = [(name.encode(), value.strip(" \t").encode()) for name, value in headers]
    assert [pair for pair in head.headers.raw_items() if pair[0].startswith(b"X-")] == expected
    body = b""
    while isinstance(event := server.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert body == (content or b"")


# --- The response --------------------------------------------------------------------------------


def test_a_head_is_read_as_the_peer_wrote_it() -> None:
    exchange = started()
    assert exchange.response is None
    assert not exchange.complete
    assert not exchange.reusable
    payload = exchange.receive(
        b"HTTP/1.1 200 OK\r\nContent-Type:  text/event-stream \r\nx-Latin: \xe9\r\n"
        b"X-Twice: 1\r\nX-Twice: 2\r\nContent-Length: 20\r\n\r\ndata: "
    )
    assert payload == b"data: "
    assert exchange.response == Response(
        200,
        (
            ("Content-Type", "text/event-stream"),
            ("x-Latin", "é"),
            ("X-Twice", "1"),
            ("X-Twice", "2"),
            ("Content-Length", "20"),
        ),
        "1.1",
    )


def test_the_body_may_be_kept_alone() -> None:
    exchange = started()
    assert exchange.body is None
    assert (
        exchange.receive(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab") == b"ab"
    )
    body = exchange.body
    assert isinstance(body, ChunkedBody)
    assert body.feed(b"\r\n2\r\ncd\r\n0\r\n\r\n") == b"cd"
    assert exchange.complete
    assert exchange.reusable


def test_h11_is_dropped_with_the_head() -> None:
    exchange = received(b"HTTP/1.1 200 OK\r\n\r\n")
    held = [getattr(exchange, name) for name in Http1Exchange.__slots__]
    assert not any(isinstance(value, h11.Connection | Request) for value in held)
    assert not hasattr(exchange, "__dict__")


class Framing(NamedTuple):
    """A head, and what follows from it."""

    head: bytes
    body: type
    reusable: bool
    method: str = "GET"


FRAMINGS = [
    Framing(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", SizedBody, True),
    Framing(b"HTTP/1.1 200 OK\r\nContent-Length: 0, 0\r\nContent-Length: 0\r\n", SizedBody, True),
    Framing(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x, Close\r\n", SizedBody, False),
    Framing(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: closed\r\n", SizedBody, True),
    Framing(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n", SizedBody, False),
    Framing(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n", SizedBody, True),
    Framing(
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive, close\r\n",
        SizedBody,
        False,
    ),
    Framing(b"HTTP/1.1 200 OK\r\n", CloseDelimitedBody, False),
    Framing(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", CloseDelimitedBody, False),
    Framing(b"HTTP/1.1 204 No Content\r\n", SizedBody, True),
    Framing(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n", SizedBody, True),
    Framing(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n", SizedBody, True, "HEAD"),
    Framing(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", SizedBody, True, "HEAD"),
    Framing(b"HTTP/1.1 200 OK\r\n", SizedBody, True, "HEAD"),
]


@pytest.mark.parametrize("framing", FRAMINGS)
def test_framing_and_reuse(framing: Framing) -> None:
    exchange = received(framing.head + b"\r\n", Request(framing.method, "http://a/"))
    assert type(exchange.body) is framing.body
    exchange.end()
    assert exchange.complete
    assert exchange.error is None
    assert exchange.reusable is framing.reusable, DIFFERENCES["keep-alive"]


@pytest.mark.parametrize(
    ("head", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n", False),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n", False),
    ],
)
def test_chunks_win_over_a_length(head: bytes, reusable: bool) -> None:
    exchange = started()
    assert exchange.receive(head + b"\r\n5\r\nhello\r\n0\r\n\r\n") == b"hello"
    assert exchange.complete
    assert exchange.reusable is reusable, DIFFERENCES["keep-alive"]


def test_bytes_after_the_end_are_not_delivered_and_forbid_reuse() -> None:
    exchange = started()
    assert (
        exchange.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK") == b"hi"
    )
    assert exchange.complete
    assert not exchange.reusable
    assert exchange.receive(b"more") == b""
    assert exchange.error is None


def test_informational_heads_are_skipped() -> None:
    exchange = started()
    assert (
        exchange.receive(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r") == b""
    )
    assert exchange.response is None
    assert exchange.receive(b"\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi") == b"hi"
    assert exchange.response == Response(200, (("Content-Length", "2"),), "1.1")


MALFORMED = [
    (b"SSH-2.0-OpenSSH_9.6\r\n", "the response does not begin with HTTP/1.x"),
    (b"\x15\x03\x03\x00\x02\x02\x16", "the response does not begin with HTTP/1.x"),
    (b"\r\nHTTP/1.1 200 OK\r\n\r\n", "the response does not begin with HTTP/1.x"),
    (b"HTTX", "the response does not begin with HTTP/1.x"),
    (b"HTTP/1.1 s3cret\r\n\r\n", "malformed response head: illegal status line"),
    (b"HTTP/1.1 99 s3cret\r\n\r\n", "malformed response head: illegal status line"),
    (b"HTTP/1.1 099 s3cret\r\n\r\n", "malformed response head"),
    (b"HTTP/1.1 200 OK\r\ns3cret\r\n\r\n", "malformed response head: illegal header line"),
    (b"HTTP/1.1 200 OK\r\nA : s3cret\r\n\r\n", "malformed response head: illegal header line"),
    (
        b"HTTP/1.1 200 OK\r\n s3cret: x\r\n\r\n",
        "malformed response head: continuation line before the first header",
    ),
    (
        b"HTTP/1.1 200 OK\r\nA: \x00s3cret\r\n\r\n",
        "malformed response head: a character no header has",
    ),
    (
        b"HTTP/1.1 200 OK\r\nA: a\rs3cret\r\n\r\n",
        "malformed response head: a character no header has",
    ),
    (
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "malformed response head: bad Content-Length",
    ),
    (
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "malformed response head: conflicting Content-Length headers",
    ),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "malformed response head: multiple Transfer-Encoding headers",
    ),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "malformed response head: a Transfer-Encoding other than chunked",
    ),
    (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
        "malformed response head: 101 Switching Protocols, which was not asked for",
    ),
]


@pytest.mark.parametrize(("data", "message"), MALFORMED)
def test_malformed_heads_are_errors_that_show_nothing(data: bytes, message: str) -> None:
    for pieces in cuts(data):
        exchange = started()
        assert b"".join(exchange.receive(piece) for piece in pieces) == b""
        assert isinstance(exchange.error, RemoteProtocolError)
        assert str(exchange.error) == message
        assert exchange.error.retryable
        assert exchange.error.__context__ is None
        assert exchange.response is None
        assert exchange.receive(b"HTTP/1.1 200 OK\r\n\r\n") == b""


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the server closed the connection before a response head"),
        (
            b"HTTP/1.1 100 Continue\r\n\r\n",
            "the server closed the connection before a response head",
        ),
        (b"HTTP/1.1 200 OK\r\nA", "the server closed the connection within a response head"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx",
            "the server closed the connection 1 bytes before the end of the body",
        ),
    ],
)
def test_an_early_end_is_an_error(data: bytes, message: str) -> None:
    exchange = received(data)
    assert exchange.error is None
    exchange.end()
    assert isinstance(exchange.error, RemoteProtocolError)
    assert str(exchange.error) == message
    assert exchange.error.retryable
    error = exchange.error
    exchange.end()
    assert exchange.error is error
    assert not exchange.complete
    assert not exchange.reusable


def test_h11_would_wait_for_a_blank_line() -> None:
    assert not read_with_h11([b"SSH-2.0-OpenSSH_9.6\r\n"], eof=False).failed, DIFFERENCES["early"]


# --- Against h11 ---------------------------------------------------------------------------------


def read_with_exchange(pieces: list[bytes], *, eof: bool, method: str = "GET") -> Outcome:
    exchange = started(Request(method, "http://a/"))
    payload = b"".join(exchange.receive(piece) for piece in pieces)
    if eof:
        exchange.end()
    head = None
    if exchange.response is not None:
        head = (
            exchange.response.status,
            tuple((n.encode(), v.encode("latin-1")) for n, v in exchange.response.headers),
        )
    leftover = exchange.body is not None and exchange.body.leftover
    return Outcome(payload, exchange.complete, exchange.error is not None, leftover, head)


LINES = st.sampled_from(
    [
        b"Content-Type: text/event-stream",
        b"content-length: 5",
        b"Content-Length: 5, 5",
        b"Content-Length: 6",
        b"Content-Length: +5",
        b"Content-Length: 123456789012345678901",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: CHUNKED",
        b"Transfer-Encoding: gzip",
        b"Connection: close",
        b"A:b",
        b"A:\t \xe9 b\x01 ",
        b" folded",
        b"A : b",
        b"A",
        b": b",
        b"A: \x0b",
        b"A: b\r",
        b"Upgrade: h2c",
    ]
)
STATUS_LINES = st.sampled_from(
    [b"HTTP/1.1 200 OK"] * 8
    + [
        b"HTTP/1.0 200 OK",
        b"HTTP/1.1 204 ",
        b"HTTP/1.1 304",
        b"HTTP/1.1 503 \xe9 b",
        b"HTTP/2.0 200 OK",
    ]
    + [
        b"HTTP/1.1  200 OK",
        b"http/1.1 200 OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 200 O\x00K",
        b" HTTP/1.1 200",
    ]
)
LINE_ENDS = st.sampled_from([b"\r\n"] * 9 + [b"\n"])


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    informational = draw(
        st.sampled_from(
            [b""] * 4
            + [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\nLink: x\n\n" * 2]
            + [
                b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
                b"HTTP/1.1 100 \r\nContent-Length: 5\r\n\r\n",
            ]
        )
    )
    lines = [draw(STATUS_LINES), *draw(st.lists(LINES, max_size=4)), b""]
    head = b"".join(line + draw(LINE_ENDS) for line in lines)
    return informational + head + draw(st.one_of(chunks(), st.binary(max_size=12)))


@given(st.data(), st.sampled_from(["GET", "GET", "HEAD", "POST"]))
def test_responses_equal_h11(data: st.DataObject, method: str) -> None:
    stream = data.draw(st.one_of(responses(), mutated(responses())))
    pieces = data.draw(cut_anywhere(stream))
    ended = read_with_exchange(pieces, eof=True, method=method)
    assert ended == read_with_h11(pieces, eof=True, method=method)
    unended = read_with_exchange(pieces, eof=False, method=method)
    judged = read_with_h11(pieces, eof=False, method=method)
    if unended != judged:
        assert unended == judged._replace(failed=True), DIFFERENCES["early"]
    assert read_with_exchange([stream], eof=False, method=method) == unended
    bytewise = [stream[i : i + 1] for i in range(len(stream))]
    assert read_with_exchange(bytewise, eof=False, method=method) == unended


@pytest.mark.parametrize(
    "stream",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nA: b\r\n  c\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n"
        b"\r\n5;x=y\r\nhello\r\n0\r\nT: r\r\n\r\nleft",
        b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabcdef",
        b"HTTP/1.0 200 OK\r\n\r\nabc\r\n\r\ndef",
    ],
)
def test_responses_cut_everywhere_equal_h11(stream: bytes) -> None:
    expected = read_with_h11([stream], eof=True)
    for pieces in cuts(stream):
        assert read_with_exchange(pieces, eof=True) == expected, pieces


# --- Limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1 << 20, 1000, 1])
@pytest.mark.parametrize("excess", [0, 1])
def test_the_head_has_a_limit(step: int, excess: int) -> None:
    early = b"HTTP/1.1 100 Continue\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nA: ".ljust(4092 - len(early) + excess, b"x") + b"\r\n\r\n"
    stream = early + head + b"data: hi\n\n"
    exchange = started(max_head=4096)
    pieces = [stream[i : i + step] for i in range(0, len(stream), step)]
    payload = b"".join(exchange.receive(piece) for piece in pieces)
    if excess:
        assert payload == b""
        assert isinstance(exchange.error, LimitExceeded), DIFFERENCES["limit"]
        assert not exchange.error.retryable
        assert str(exchange.error) == "the response head is longer than 4096 bytes"
    else:
        assert payload == b"data: hi\n\n"


def test_endless_informational_heads_are_bounded() -> None:
    exchange = started(max_head=4096)
    for _ in range(1000):
        exchange.receive(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert isinstance(exchange.error, LimitExceeded)


@pytest.mark.parametrize(
    ("piece", "times"),
    [
        (b"x" * 65536, 1024),  # 64 MiB of one header
        (b"A: b\r\n" * 10922, 1024),  # 64 MiB of headers
        (b"A: b\r\n" * 100, 1000),
        (b"x", 70_000),  # dribbled
        (b"A: " + b"x" * (64 * 1024 * 1024), 1),
    ],
)
def test_endless_heads_take_little_memory(piece: bytes, times: int) -> None:
    exchange = started()
    exchange.receive(b"HTTP/1.1 200 OK\r\nX: y")
    tracemalloc.start()
    try:
        for _ in range(times):
            assert exchange.receive(piece) == b""
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(exchange.error, LimitExceeded)
    assert peak < 1024 * 1024


def test_a_head_full_of_headers_takes_little_memory() -> None:
    head = b"HTTP/1.1 200 OK\r\n" + b"A:b\r\n" * 13_000 + b"\r\n"
    tracemalloc.start()
    try:
        exchange = received(head)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert exchange.response is not None
    assert len(exchange.response.headers) == 13_000
    assert peak < 16 * 1024 * 1024


def test_heads_that_h11_reads_in_quadratic_time_are_refused_before() -> None:
    # See FORBIDDEN_IN_FIELDS: this takes ten seconds if it reaches h11.
    exchange = received(b"HTTP/1.1 200 OK\r\nA:" + b" " * 65_000 + b"\x0b\r\n\r\n")
    assert str(exchange.error) == "malformed response head: a character no header has"


def test_an_exchange_is_small_after_the_head() -> None:
    exchange = received(b"HTTP/1.1 200 OK\r\n\r\n")
    assert sys.getsizeof(exchange) <= 128


@pytest.mark.parametrize("blank", ["\x0b", "\x0c"])
def test_an_id_with_an_odd_blank_is_sent_as_it_is(blank: str) -> None:
    headers = (("Last-Event-ID", f"a{blank}b"),)
    head = Http1Exchange(Request("GET", "http://a.example/", headers)).start()
    assert b"Last-Event-ID: a" + blank.encode() + b"b\r\n" in head
    assert head.endswith(b"\r\n\r\n")
