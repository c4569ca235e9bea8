"""One HTTP/1.1 request and its response over bytes.

The heads go through h11: they are where request smuggling and response splitting live, and h11 is
strict where it matters. It is dropped with the last head (it holds nearly a KiB), and the body is
read by :mod:`sansio_sse.http1_body`. Nothing is decided here about what a response means, and the
body is handed on as it was sent: redirects, statuses and content codings belong further up.
"""

import re
from functools import lru_cache

import h11

from .errors import ConfigError, LimitExceeded, LocalProtocolError, RemoteProtocolError
from .http import Request, Response
from .http1_body import (
    FORBIDDEN_IN_FIELDS,
    BodyReader,
    ChunkedBody,
    CloseDelimitedBody,
    SizedBody,
)

__all__ = ["Http1Exchange", "request_fields"]

# Framing is ours alone: two opinions about where a message ends are how requests are smuggled.
_OURS = frozenset(
    {"connection", "content-length", "expect", "te", "trailer", "transfer-encoding", "upgrade"}
)
_SHARED = frozenset(
    b"cache-control connection content-type date keep-alive server transfer-encoding vary via"
    b" x-accel-buffering access-control-allow-origin".split()
)
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_ODD_BLANK = re.compile(rb"[\x0b\x0c]")
_BLANK_LINE = re.compile(rb"\n\r?\n")
_BEGINNING = b"HTTP/"

# What h11 says, and what we say. Only what is known here is repeated: its messages quote the peer,
# whose headers may be credentials.
_REASONS = (
    ("illegal status line", "illegal status line"),
    ("illegal header line", "illegal header line"),
    ("continuation line at start of headers", "continuation line before the first header"),
    ("bad Content-Length", "bad Content-Length"),
    ("conflicting Content-Length", "conflicting Content-Length headers"),
    ("multiple Transfer-Encoding", "multiple Transfer-Encoding headers"),
    ("Only Transfer-Encoding: chunked", "a Transfer-Encoding other than chunked"),
    ("Received server _SWITCH_UPGRADE", "101 Switching Protocols, which was not asked for"),
)


class Http1Exchange:
    r"""One request, written at once, and its response, read as it comes.

    ``max_head`` bounds the bytes of the response's head, informational ones (1xx) included.

    >>> exchange = Http1Exchange(Request("GET", "http://example.com/events"))
    >>> exchange.start()
    b'GET /events HTTP/1.1\r\nHost: example.com\r\n\r\n'
    >>> exchange.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\ndata:")
    b'data:'
    >>> exchange.response, exchange.complete
    (<Response 200 HTTP/1.1>, False)
    >>> exchange.receive(b" hi\n\n"), exchange.complete, exchange.reusable
    (b' hi\n\n', True, True)

    Once ``body`` is there, it may be kept alone and the exchange dropped: all that ``receive`` and
    ``end`` then do is ``body.feed`` and ``body.end``. The bytes of the body that came in one read
    with the head have been returned by that very ``receive``.
    """

    __slots__ = (
        "_connection",
        "_error",
        "_head",
        "_max_head",
        "_request",
        "_room",
        "body",
        "keep_alive",
        "response",
    )

    def __init__(self, request: Request, *, max_head: int = 64 * 1024) -> None:
        self._request: Request | None = request
        self._connection: h11.Connection | None = None
        self._head = bytearray()
        self._max_head = max_head
        self._room = max_head
        self._error: RemoteProtocolError | LimitExceeded | None = None
        self.response: Response | None = None
        """The head of the final response; header names as the peer wrote them."""
        self.body: BodyReader | None = None
        """The reader of its body."""
        self.keep_alive: bool = False
        """Whether the head allows another exchange on this transport (RFC 9112 9.3)."""

    # Look

    @property
    def complete(self) -> bool:
        """Whether the response ended where HTTP says that it ends."""
        return self.body is not None and self.body.complete

    @property
    def reusable(self) -> bool:
        """Whether the transport may carry another exchange, if the request has been written.

        It may when the response is complete, nothing came after it, both sides keep the connection
        alive, and there is no doubt about where it ended (RFC 9112 9.3 and 6.1).
        """
        body = self.body
        return self.keep_alive and body is not None and body.complete and not body.leftover

    @property
    def error(self) -> RemoteProtocolError | LimitExceeded | None:
        """Why the response stopped short; ``receive`` returns ``b""`` from then on."""
        return self._error if self.body is None else self.body.error

    # Commands

    def start(self) -> bytes:
        """Return the whole request, once.

        Raises :class:`ConfigError` as :func:`request_fields` does, and for what cannot be written;
        no message shows a value.
        """
        request = self._request
        if request is None or self._connection is not None:
            raise LocalProtocolError("an exchange is started once")
        headers = request_fields(request)
        content = request.content
        # h11 takes VT and FF for white space, RFC 9110 5.5 and Fetch do not; only ids have them.
        held = [pair for pair in headers if _ODD_BLANK.search(pair[1])]
        headers = [pair for pair in headers if pair not in held]
        connection = h11.Connection(h11.CLIENT)
        try:
            head = connection.send(
                h11.Request(method=request.method, target=request.target, headers=headers)
            )
        except h11.LocalProtocolError:
            # Not h11's words: they quote values.
            raise ConfigError("the request cannot be written as HTTP/1.1") from None
        self._connection = connection
        for name, value in held:
            head = head.removesuffix(b"\r\n") + name + b": " + value + b"\r\n\r\n"
        return head + content if content else head

    # What happened

    def receive(self, data: bytes) -> bytes:
        """Take what the transport received; return the payload of the body in it.

        Never raises for what a peer sends: see ``error``.
        """
        if self.body is not None:
            return self.body.feed(data)
        while data and self._error is None:
            data = self._receive_head(data)
            if self.body is not None:
                return self.body.feed(data)
        return b""

    def end(self) -> None:
        """Take note that the peer ended the transport: the end of the body, or an error."""
        if self.body is not None:
            self.body.end()
        elif self._error is None:
            where = "within" if self._head else "before"
            self._fail(
                RemoteProtocolError(f"the server closed the connection {where} a response head")
            )

    # The head

    def _receive_head(self, data: bytes) -> bytes:
        """Take bytes up to the end of the head; return those behind it."""
        connection = self._connection
        if connection is None:
            raise LocalProtocolError("an exchange is started before it receives")
        head = self._head
        known = len(head)
        head += data[: self._room - known]
        if not _BEGINNING.startswith(head[: len(_BEGINNING)]):
            # Now, and not at a blank line that may never come: TLS, SSH and HTTP/2 have none.
            self._fail(RemoteProtocolError("the response does not begin with HTTP/1.x"))
            return b""
        blank_line = _BLANK_LINE.search(head, max(known - 2, 0))
        if blank_line is None:
            if len(head) == self._room:
                message = f"the response head is longer than {self._max_head} bytes"
                self._fail(LimitExceeded(message))
            return b""
        end = blank_line.end()
        self._head = bytearray()
        self._room -= end
        if FORBIDDEN_IN_FIELDS.search(head, 0, end):
            self._fail(RemoteProtocolError("malformed response head: a character no header has"))
            return b""
        connection.receive_data(bytes(head[:end]))
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            self._fail(_malformed(str(error)))
            return b""
        # Any number of informational responses may come first (RFC 9110 15.2).
        if isinstance(event, h11.Response):
            self._accept(event)
        return data[end - known :]

    def _accept(self, event: h11.Response) -> None:
        """Take the final head: find out how the body is framed (RFC 9112 6.3) and drop h11."""
        request = self._request
        self._forget()
        lengths: list[bytes] = []
        chunked = False
        options: set[bytes] = set()
        for name, value in event.headers:
            if name == b"content-length":
                lengths.append(value)  # at most one: h11 merges what is equal, refuses the rest
            elif name == b"transfer-encoding":
                chunked = True  # h11 refuses all other codings
            elif name == b"connection":
                options.update(option.strip(b" \t").lower() for option in value.split(b","))
        # A peer that gives two framings is obeyed as h11 obeys it, but not trusted further (6.1).
        keep_alive = b"close" not in options and not (chunked and lengths)
        if event.http_version < b"1.1":
            # HTTP/1.0 keeps nothing alive unless it says so, and knows no chunks (6.1).
            keep_alive = keep_alive and b"keep-alive" in options and not chunked
        if event.status_code in (204, 304) or (request is not None and request.method == "HEAD"):
            self.body = SizedBody(0)
        elif chunked:
            self.body = ChunkedBody()
        elif lengths:
            self.body = SizedBody(int(lengths[0]))
        else:
            keep_alive = False
            self.body = CloseDelimitedBody()
        self.keep_alive = keep_alive
        headers = tuple(event.headers.raw_items())
        shared = all(_may_be_shared(name, value) for name, value in headers)
        make = _shared_response if shared else _response
        self.response = make(event.status_code, headers, event.http_version)

    def _fail(self, error: RemoteProtocolError | LimitExceeded) -> None:
        self._error = error
        self._forget()

    def _forget(self) -> None:
        self._connection = None
        self._request = None
        self._head = bytearray()


def _response(status: int, headers: tuple[tuple[bytes, bytes], ...], version: bytes) -> Response:
    return Response(
        status,
        tuple(_header(name, value) for name, value in headers),
        _VERSIONS.get(version) or version.decode("ascii"),
    )


_shared_response = lru_cache(maxsize=256)(_response)
_VERSIONS = {b"1.0": "1.0", b"1.1": "1.1"}


def _may_be_shared(name: bytes, value: bytes) -> bool:
    """Tell whether ten thousand streams of one server may share a header.

    Not what is long, or may be a credential: that is to go when its response goes.
    """
    return len(value) <= 64 and name.lower() in _SHARED


def _header(name: bytes, value: bytes) -> tuple[str, str]:
    decode = _shared_header if _may_be_shared(name, value) else _decoded_header
    return decode(name, value)


def _decoded_header(name: bytes, value: bytes) -> tuple[str, str]:
    return name.decode("ascii"), value.decode("latin-1")


_shared_header = lru_cache(maxsize=1024)(_decoded_header)


def request_fields(request: Request) -> list[tuple[bytes, bytes]]:
    r"""Return the header fields of a request as they are written.

    Host comes first (RFC 9112 3.2; the caller's, if there is one), values are UTF-8, and
    Content-Length is there if the request has content or its method lets one expect it. Raises
    :class:`ConfigError` for headers that are not the caller's to give: they would change the
    framing.

    >>> request_fields(Request("GET", "http://example.com/", (("X-Name", "Zoë"),)))
    [(b'Host', b'example.com'), (b'X-Name', b'Zo\xc3\xab')]
    """
    if request.method == "CONNECT":
        raise ConfigError("method CONNECT asks for a tunnel, not for a response")
    headers = [(name.encode(), _value(name, value)) for name, value in request.headers]
    names = [name.lower() for name, _ in headers]
    if names.count(b"host") > 1:
        raise ConfigError("header 'Host' is given more than once")
    if b"host" not in names:
        headers.insert(0, (b"Host", request.origin.authority.encode()))
    if request.content is not None or request.method in ("POST", "PUT", "PATCH"):
        headers.append((b"Content-Length", b"%d" % len(request.content or b"")))
    return headers


def _value(name: str, value: str) -> bytes:
    """Encode a header's value, or say what is wrong with it without showing it."""
    if name.lower() in _OURS:
        raise ConfigError(f"header {name!r} belongs to the framing and cannot be given")
    try:
        encoded = value.strip(" \t").encode()
    except UnicodeEncodeError:
        raise ConfigError(f"header {name!r}: the value has a lone surrogate") from None
    # An id is the server's choice: what it gave us and Fetch would send must not end the stream.
    if _CONTROL.search(encoded) and name.lower() != "last-event-id":
        raise ConfigError(f"header {name!r}: the value has a control character")
    return encoded


def _malformed(text: str) -> RemoteProtocolError:
    for theirs, ours in _REASONS:
        if text.startswith(theirs):
            return RemoteProtocolError(f"malformed response head: {ours}")
    return RemoteProtocolError("malformed response head")
