r"""One request, and all that came back, with the time at which it came.

A :class:`Reception` is what a probe collects: the network tells it what happened and when, and
stops when it is ``done``. It looks at no clock, decides nothing about what it sees, and holds a
bounded amount whatever a server sends.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sansio_sse import Request, Response, ServerSentEvent, SSEError
from sansio_sse.content_coding import ContentDecoder, make_decoder
from sansio_sse.http import is_event_stream
from sansio_sse.http1 import Http1Exchange
from sansio_sse.http1_body import ChunkedBody, CloseDelimitedBody

from .scan import Place, StreamScan

__all__ = ["PAUSE", "Lump", "Reception", "Seen", "TLSFacts"]

PAUSE = 0.02
"""Seconds without a byte after which what comes is another lump: reads of one write are closer."""
MOST_EVENTS = 20_000
MOST_LUMPS = 20_000
MOST_BYTES = 16 * 1024 * 1024
MOST_AT_ONCE = 1024 * 1024  # out of one read, however well it was compressed


class Seen(NamedTuple):
    """An event as far as it is needed later: when it came, and what tells it from others."""

    at: float
    event: str
    id: str
    has_id: bool
    size: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Lump:
    """What came without a pause in between."""

    began: float
    ended: float
    size: int
    """Bytes of the body, any compression undone."""
    events: int
    comments: int
    heartbeats: int
    """Most comments in a row that differ in digits at most."""
    place: Place
    """Where in the stream it ends."""


@dataclass(frozen=True, slots=True)
class TLSFacts:
    """What a TLS connection was like."""

    version: str
    cipher: str
    expires: float | None
    """When the certificate does, in seconds since 1970; None if it was not verified."""
    lifetime: float | None
    """Seconds from when it was issued to when it expires."""


class Reception:
    r"""What came back for one request. Times are monotonic seconds of any origin.

    Args:
        request: What is asked.
        began: When the connection began to be opened.
        enough: So many events are enough. None: as many as there is room for.

    >>> reception = Reception(Request("GET", "http://example.com/"), began=0.0)
    >>> asked = reception.opened(0.1)
    >>> reception.receive(0.2, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    >>> reception.receive(1.0, b"data: x\n\n")
    >>> reception.end(2.0)
    >>> reception.streams, reception.framing, [seen.at for seen in reception.events]
    (True, 'close', [1.0])
    """

    def __init__(self, request: Request, *, began: float, enough: int | None = None) -> None:
        self.request: Request = request
        self.began: float = began
        self.opened_at: float | None = None
        """When there was a connection, TLS included."""
        self.head_at: float | None = None
        """When the response's head was whole."""
        self.over_at: float | None = None
        """When the end, a failure, or our leaving came."""
        self.last_at: float | None = None
        """When the last byte of the body came."""
        self.tls: TLSFacts | None = None
        self.error: SSEError | None = None
        """What went wrong with the connection or with HTTP."""
        self.ended: bool = False
        """Whether the response ended where HTTP says that it ends."""
        self.left: bool = False
        """Whether it was us who left."""
        self.full: bool = False
        """Whether we left because there was no room for more."""
        self.scan: StreamScan = StreamScan()
        self.events: list[Seen] = []
        self.wire_size: int = 0
        """Bytes of the body as they came, compressed or not."""
        self.longest_silence: float = 0.0
        """Seconds between two pieces of the body, or from the head to the first, or to the end."""
        self._enough = enough
        self._exchange = Http1Exchange(request)
        self._decoder: ContentDecoder | None = None
        self._lumps: list[Lump] = []

    # Look

    @property
    def response(self) -> Response | None:
        """The response's head."""
        return self._exchange.response

    @property
    def lumps(self) -> Sequence[Lump]:
        """What came, pause by pause."""
        return self._lumps

    @property
    def streams(self) -> bool:
        """Whether the response is an event stream."""
        response = self.response
        return response is not None and response.status == 200 and is_event_stream(response)

    @property
    def framing(self) -> str:
        """How the body is framed: ``chunked``, ``close`` or ``length``."""
        body = self._exchange.body
        if isinstance(body, ChunkedBody):
            return "chunked"
        return "close" if isinstance(body, CloseDelimitedBody) else "length"

    @property
    def opening(self) -> float:
        """Seconds that opening the connection took: no less than one round trip."""
        return 0.0 if self.opened_at is None else self.opened_at - self.began

    @property
    def listened(self) -> float:
        """Seconds from the head to the end."""
        if self.head_at is None or self.over_at is None:
            return 0.0
        return self.over_at - self.head_at

    @property
    def done(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.over_at is not None

    # What happened

    def opened(self, at: float, tls: TLSFacts | None = None) -> bytes:
        """Take note of the connection; return the request to be sent."""
        self.opened_at = at
        self.tls = tls
        return self._exchange.start()

    def receive(self, at: float, data: bytes) -> None:
        """Take what was received."""
        if self.done:
            return
        payload = self._exchange.receive(data)
        if self.head_at is None and self.response is not None:
            self._accept(at)
        if payload:
            self._take(at, payload)
        if self._exchange.error is not None:
            self._finish(at, self._exchange.error)
        elif self._exchange.complete:
            self.ended = True
            self._finish(at)
        elif self._is_enough():
            self.leave(at)

    def end(self, at: float) -> None:
        """Take note that the server ended the connection."""
        if self.done:
            return
        self._exchange.end()
        self.ended = self._exchange.complete
        self._finish(at, self._exchange.error)

    def fail(self, at: float, error: SSEError) -> None:
        """Take note that the connection could not be opened, or was lost."""
        if not self.done:
            self._finish(at, error)

    def leave(self, at: float) -> None:
        """Take note that we left."""
        if not self.done:
            self.left = True
            self._finish(at)

    # Within

    def _accept(self, at: float) -> None:
        self.head_at = at
        response = self.response
        assert response is not None
        if not self.streams:
            self.leave(at)  # what it says instead is nobody's event stream
            return
        try:
            self._decoder = make_decoder(
                response.header_values("content-encoding"), max_ratio=1000, max_size=MOST_AT_ONCE
            )
        except SSEError as error:
            self._finish(at, error)

    def _take(self, at: float, payload: bytes) -> None:
        self.wire_size += len(payload)
        self._note_silence(at)
        self.last_at = at
        if not self.streams or self.done:
            return
        if self._decoder is not None:
            payload = self._decoder.feed(payload)
            if self._decoder.error is not None:
                self._finish(at, self._decoder.error)
        if payload:
            self._add(at, payload)

    def _add(self, at: float, payload: bytes) -> None:
        """Let the stream's bytes join the lump before them, or begin one."""
        lump = self._lumps[-1] if self._lumps and at - self._lumps[-1].ended < PAUSE else None
        if lump is None:
            self.scan.new_lump()
        comments = self.scan.comments
        events = self.scan.feed(payload)
        self.events += [_seen(at, event) for event in events]
        if lump is not None:
            self._lumps.pop()
        self._lumps.append(
            Lump(
                began=at if lump is None else lump.began,
                ended=at,
                size=len(payload) + (lump.size if lump else 0),
                events=len(events) + (lump.events if lump else 0),
                comments=self.scan.comments - comments + (lump.comments if lump else 0),
                heartbeats=self.scan.heartbeats_at_once,
                place=self.scan.place,
            )
        )

    def _is_enough(self) -> bool:
        self.full = (
            self.scan.full
            or self.scan.size > MOST_BYTES
            or self.wire_size > MOST_BYTES
            or len(self.events) > MOST_EVENTS
            or len(self._lumps) > MOST_LUMPS
        )
        return self.full or (self._enough is not None and len(self.events) >= self._enough)

    def _note_silence(self, at: float) -> None:
        since = self.head_at if self.last_at is None else self.last_at
        if since is not None:
            self.longest_silence = max(self.longest_silence, at - since)

    def _finish(self, at: float, error: SSEError | None = None) -> None:
        if self.done:
            return
        self._note_silence(at)
        self.over_at = at
        self.error = error


def _seen(at: float, event: ServerSentEvent) -> Seen:
    digest = hashlib.blake2b(event.data.encode(), digest_size=8)
    size = len(event.data)
    return Seen(at, event.event, event.id, event.has_id, size, digest.digest())
