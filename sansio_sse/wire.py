"""The wire machine: a connection machine at the level of bytes.

It turns what the connection machine asks for (connect, ping, post) into HTTP/1.1 exchanges over
transports, and what happens on transports into news for it. It has no timers and no opinions: every
wait and every decision is the connection machine's.

One transport carries one exchange at a time, and both have the same number: a transport is opened
for each exchange, or given to it again by whoever kept one. Whatever concerns a number nobody knows
any more is ignored, with one exception: a transport that opens after it was given up is answered
with :class:`~sansio_sse.actions.CloseTransport`, or it would leak.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from .actions import (
    CloseTransport,
    Connect,
    ConnectionAction,
    Disconnect,
    KeepTransport,
    OpenTransport,
    PauseReading,
    PauseTransport,
    Release,
    ResumeReading,
    ResumeTransport,
    SendBytes,
    SendPing,
    SendPost,
    WireAction,
)
from .carrier import Actions, Carrier
from .connection import NO_ACTIONS, ConnectionMachine
from .errors import LimitExceeded, SSEError, from_transport
from .http import Origin, Request, Response, keep_alive_timeout
from .http1 import Http1Exchange
from .http1_body import BodyReader
from .states import ConnectionState

__all__ = ["WireMachine"]

_CONNECTED = ConnectionState.CONNECTED

_DRAIN_ROOM = 65536  # bytes of a body nobody wants that are read to save a transport
# Servers close what is idle, uvicorn after 5 s; a request that meets the closing is lost.
_KEEP = 4.0


class _Side:
    """A ping or a post: a short exchange beside the stream."""

    __slots__ = ("content", "exchange", "opened", "ping", "to_send")

    def __init__(self, exchange: Http1Exchange, to_send: bytes, *, ping: bool) -> None:
        self.exchange = exchange
        self.to_send = to_send
        self.ping = ping
        self.opened = False
        self.content = bytearray()


class _Drain:
    """A stream that ended well, while the rest of its body is read."""

    __slots__ = ("body", "keep", "number", "origin", "room", "written")

    def __init__(
        self, number: int, body: BodyReader, origin: Origin, keep: float, *, written: bool
    ) -> None:
        self.number = number
        self.written = written  # the whole request, as far as we have been told
        self.body = body
        self.origin = origin
        self.keep = keep
        self.room = _DRAIN_ROOM


class WireMachine(Carrier):
    r"""One event stream's whole life over transports of bytes; see the module's text.

    Look, commands and ticks are those of :class:`~sansio_sse.connection.ConnectionMachine`, which
    is at ``connection``; the news is about transports.

    >>> machine = WireMachine(ConnectionMachine(Request("GET", "http://example.com/events")))
    >>> changed, opening = machine.connect(now=0.0)
    >>> opening
    OpenTransport(transport=1, origin=Origin(scheme='http', host='example.com', port=80))
    >>> [send] = machine.transport_opened(1, now=0.1)
    >>> send.data.splitlines()[0]
    b'GET /events HTTP/1.1'
    >>> list(machine.bytes_sent(1, now=0.2))
    []
    >>> head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    >>> changed, event = machine.bytes_received(1, head + b"data: hello\n\n", now=0.3)
    >>> changed.new, event.data
    (<ConnectionState.CONNECTED: 'connected'>, 'hello')
    """

    __slots__ = (
        "_body",
        "_drain",
        "_exchange",
        "_opened",
        "_sides",
        "_stream",
        "_to_send",
        "_usable",
    )

    def __init__(self, connection: ConnectionMachine) -> None:
        super().__init__(connection)
        self._stream = 0  # the stream's transport
        self._opened = False
        self._exchange: Http1Exchange | None = None  # until its head is complete
        self._to_send = b""
        self._body: BodyReader | None = None
        self._usable = 0  # 1: the head allows another exchange, 2: and the request is written
        self._drain: _Drain | None = None
        self._sides: dict[int, _Side] | None = None

    # --- What happened -------------------------------------------------------------------------

    def transport_opened(self, transport: int, now: float) -> Sequence[WireAction]:
        """A transport is open, TLS included: its request is written."""
        if transport and transport == self._stream:
            if self._opened:
                return NO_ACTIONS
            self._opened = True
            data, self._to_send = self._to_send, b""
            actions = self._carry_out(self.connection.transport_opened(transport, now), now)
            return [SendBytes(transport, data), *actions]
        if self._drain is not None and self._drain.number == transport:
            return NO_ACTIONS  # it has been open for long
        side = self._side(transport)
        if side is None:
            return [CloseTransport(transport)]
        if side.opened:
            return NO_ACTIONS
        side.opened = True
        data, side.to_send = side.to_send, b""
        actions = self._carry_out(self.connection.transport_opened(transport, now), now)
        return [SendBytes(transport, data), *actions]

    def transport_failed(
        self, transport: int, error: BaseException, now: float
    ) -> Sequence[WireAction]:
        """A transport could not be opened, or broke."""
        if transport == self._stream:
            opened = self._opened
            self._forget_stream()
            if opened:
                lost: Sequence[ConnectionAction] = self.connection.connection_lost(
                    transport, error, now
                )
            else:
                lost = self.connection.connect_failed(transport, error, now)
            return self._carry_out(lost, now, gone=transport)
        if self._drain is not None and self._drain.number == transport:
            self._drain = None
            return self._carry_out(self.connection.drained(transport, now), now)
        return self._side_failed(transport, error, now, gone=transport)

    def bytes_sent(self, transport: int, now: float) -> Sequence[WireAction]:
        """All bytes of the last :class:`SendBytes` have left."""
        if self._drain is not None and self._drain.number == transport:
            self._drain.written = True
            return self._drain_on(self._drain, now)
        if transport != self._stream:
            return NO_ACTIONS
        self._usable |= 2
        return self._carry_out(self.connection.request_sent(transport, now), now)

    def bytes_received(self, transport: int, data: bytes, now: float) -> Sequence[WireAction]:
        """Bytes arrived."""
        body = self._body
        connection = self.connection
        if body is None or transport != self._stream:
            return self._other_received(transport, data, now)
        payload = body.feed(data)
        parser = connection._parser
        answer: Any  # news for a connection are news for its wire, unless something else comes up
        if not connection._settled or parser is None or connection._decoder is not None:
            # An empty payload is reported too: the bytes of a chunk header are a sign of life.
            answer = connection.body_received(transport, payload, now)
        else:
            # The way of nearly every event: what body_received would do, without the call.
            if now > connection._now:
                connection._now = now
            else:
                now = connection._now
            metrics = connection.metrics
            silence = now - connection._last_life
            if silence > metrics.longest_silence:
                metrics.longest_silence = silence
            connection._last_life = now
            metrics.bytes_received += len(payload)
            answer = parser.feed(payload)
            if answer:
                metrics.events_received += len(answer)
                metrics.last_event = now
            if parser.error is not None:
                answer = connection._after_data(answer)
        if body.complete or body.error is not None or connection._state is not _CONNECTED:
            return self._after_body(transport, body, answer, now)
        actions: Sequence[WireAction] = answer
        return actions

    def end_received(self, transport: int, now: float) -> Sequence[WireAction]:
        """The peer ended its side.

        EOF, which may be a good end or a bad one, but is no failure of the transport.
        """
        if transport == self._stream and self._opened:
            body = self._body
            if body is not None:
                body.end()
                return self._after_body(transport, body, NO_ACTIONS, now)
            assert self._exchange is not None
            self._exchange.end()
            error = self._exchange.error
            assert error is not None  # there is no head, so EOF is an error
            return self._carry_out(self.connection.connection_lost(transport, error, now), now)
        if self._drain is not None and self._drain.number == transport:
            return self._end_drain(self._drain, now)
        side = self._side(transport)
        if side is None or not side.opened:
            return NO_ACTIONS
        side.exchange.end()
        return self._side_progressed(transport, side, now)

    # --- The stream ----------------------------------------------------------------------------

    def _other_received(self, transport: int, data: bytes, now: float) -> Sequence[WireAction]:
        """Bytes arrived that are not of an accepted stream's body."""
        if transport == self._stream and self._exchange is not None and self._opened:
            return self._head_received(transport, self._exchange, data, now)
        if self._drain is not None and self._drain.number == transport:
            return self._drain_received(self._drain, data, now)
        return self._side_received(transport, data, now)

    def _head_received(
        self, transport: int, exchange: Http1Exchange, data: bytes, now: float
    ) -> Sequence[WireAction]:
        payload = exchange.receive(data)
        response, body = exchange.response, exchange.body
        connection = self.connection
        if response is None or body is None:
            if exchange.error is None:
                return NO_ACTIONS
            return self._carry_out(connection.connection_lost(transport, exchange.error, now), now)
        self._body = body
        self._usable |= exchange.keep_alive
        self._exchange = None  # what is left of it is the body's reader
        actions: list[Any] = [
            *self._carry_out(connection.response_received(transport, response, now), now)
        ]
        if payload and transport == self._stream:
            actions += self._carry_out(connection.body_received(transport, payload, now), now)
        if transport == self._stream and (body.complete or body.error is not None):
            return self._after_body(transport, body, actions, now)
        return actions

    def _after_body(
        self, transport: int, body: BodyReader, done: Sequence[Any], now: float
    ) -> Sequence[WireAction]:
        """Go on after data at which the body ended, or the stream did."""
        actions = self._carry_out(done, now)
        if transport != self._stream:
            return actions
        end: Sequence[ConnectionAction] = NO_ACTIONS
        if body.error is not None:
            end = self.connection.connection_lost(transport, body.error, now)
        elif body.complete:
            end = self.connection.body_ended(transport, now)
        return [*actions, *self._carry_out(end, now)]

    def _forget_stream(self) -> None:
        self._stream = 0
        self._opened = False
        self._exchange = None
        self._to_send = b""
        self._body = None
        self._usable = 0

    # --- The rest of a body --------------------------------------------------------------------

    def _release(self, now: float) -> Sequence[WireAction]:
        """The stream ended well: keep its transport, or read on until it can be kept, or close."""
        number, body, connection = self._stream, self._body, self.connection
        response = connection.response
        assert body is not None
        assert response is not None
        seconds = keep_alive_timeout(response)
        keep = _KEEP if seconds is None else seconds
        # A transport that is paused can neither be read to the end nor used by somebody else.
        usable = self._usable & 1 and keep and not connection.paused
        written = self._usable & 2 != 0
        self._forget_stream()
        if not usable:
            return self._released([CloseTransport(number)], number, now)
        self._drain = _Drain(number, body, connection.request.origin, keep, written=written)
        return self._drain_on(self._drain, now)

    def _drain_received(self, drain: _Drain, data: bytes, now: float) -> Sequence[WireAction]:
        drain.room -= len(data)
        drain.body.feed(data)
        return self._drain_on(drain, now)

    def _drain_on(self, drain: _Drain, now: float) -> Sequence[WireAction]:
        """Go on, until the body has ended and the request is known to be written."""
        body = drain.body
        if body.error is not None or body.leftover or drain.room < 0:
            return self._end_drain(drain, now)
        return self._end_drain(drain, now) if body.complete and drain.written else NO_ACTIONS

    def _end_drain(self, drain: _Drain, now: float) -> Sequence[WireAction]:
        self._drain = None
        clean = drain.body.complete and not drain.body.leftover and drain.written
        last: WireAction = (
            KeepTransport(drain.number, drain.origin, drain.keep)
            if clean
            else CloseTransport(drain.number)
        )
        return self._released([last], drain.number, now)

    def _released(self, last: Actions, number: int, now: float) -> Sequence[WireAction]:
        return [*last, *self._carry_out(self.connection.drained(number, now), now)]

    # --- Pings and posts -----------------------------------------------------------------------

    def _side(self, transport: int) -> _Side | None:
        return None if self._sides is None else self._sides.get(transport)

    def _forget_side(self, transport: int) -> _Side | None:
        if self._sides is None:
            return None
        side = self._sides.pop(transport, None)
        if not self._sides:
            self._sides = None
        return side

    def _side_received(self, transport: int, data: bytes, now: float) -> Sequence[WireAction]:
        side = self._side(transport)
        if side is None or not side.opened:
            return NO_ACTIONS
        payload = side.exchange.receive(data)
        if not side.ping:
            limit = self.connection.config.limits.post_body
            if len(side.content) + len(payload) > limit:
                error = LimitExceeded(f"the answer to a post is larger than {limit} bytes")
                return self._side_failed(transport, error, now)
            side.content += payload
        return self._side_progressed(transport, side, now)

    def _side_progressed(self, transport: int, side: _Side, now: float) -> Sequence[WireAction]:
        exchange = side.exchange
        if exchange.error is not None and not (side.ping and exchange.response):
            return self._side_failed(transport, exchange.error, now)
        response: Response | None = exchange.response
        # The head is answer enough to a ping; a post wants the body too.
        if response is None or not (side.ping or exchange.complete):
            return NO_ACTIONS
        self._forget_side(transport)
        if side.ping:
            answered = self.connection.ping_answered(transport, response, now)
        else:
            answered = self.connection.post_answered(transport, response, bytes(side.content), now)
        return [CloseTransport(transport), *self._carry_out(answered, now)]

    def _side_failed(
        self, transport: int, error: BaseException, now: float, gone: int = 0
    ) -> Sequence[WireAction]:
        side = self._forget_side(transport)
        if side is None:
            return NO_ACTIONS
        failure = from_transport(error, opening=not side.opened)
        if side.ping:
            failed = self.connection.ping_failed(transport, failure, now)
        else:
            failed = self.connection.post_failed(transport, failure, now)
        first: Actions = [] if gone == transport else [CloseTransport(transport)]
        return [*first, *self._carry_out(failed, now)]

    # --- From exchanges to transports ----------------------------------------------------------

    def _carry_out(self, actions: Iterable[Any], now: float, gone: int = 0) -> Sequence[WireAction]:
        """Turn what the connection machine asks for into work on transports.

        The rest passes through. ``gone`` is a transport that failed by itself: it needs no closing.
        """
        if not actions:
            return NO_ACTIONS
        out: Actions = []
        for action in actions:
            match action:
                case Connect(request, number):
                    out += self._open(request, number, now)
                case SendPing(request, number):
                    out += self._open_side(request, number, now, ping=True)
                case SendPost(request, number):
                    out += self._open_side(request, number, now, ping=False)
                case Disconnect(number):
                    if number == self._stream:
                        self._forget_stream()
                    elif self._drain is not None and self._drain.number == number:
                        self._drain = None
                    else:
                        self._forget_side(number)
                    if number != gone:
                        out.append(CloseTransport(number))
                case Release():
                    out += self._release(now)
                case PauseReading():
                    out.append(PauseTransport(self._stream))
                case ResumeReading():
                    out.append(ResumeTransport(self._stream))
                case _:
                    out.append(action)
        return out

    def _open(self, request: Request, number: int, now: float) -> Sequence[WireAction]:
        exchange = Http1Exchange(request, max_head=self.connection.config.limits.head)
        try:
            to_send = exchange.start()
        except SSEError as error:  # a header that no HTTP/1.1 request can carry
            return self._carry_out(self.connection.connect_failed(number, error, now), now, number)
        self._stream = number
        self._opened = False
        self._exchange = exchange
        self._to_send = to_send
        self._body = None
        self._usable = 0
        return [OpenTransport(number, request.origin)]

    def _open_side(
        self, request: Request, number: int, now: float, *, ping: bool
    ) -> Sequence[WireAction]:
        exchange = Http1Exchange(request, max_head=self.connection.config.limits.head)
        try:
            to_send = exchange.start()
        except SSEError as error:
            if ping:
                failed = self.connection.ping_failed(number, error, now)
            else:
                failed = self.connection.post_failed(number, error, now)
            return self._carry_out(failed, now, number)
        if self._sides is None:
            self._sides = {}
        self._sides[number] = _Side(exchange, to_send, ping=ping)
        return [OpenTransport(number, request.origin)]
