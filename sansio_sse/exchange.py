"""The exchange machine: a connection machine at the level of an HTTP client's exchanges.

It stands where a :class:`~sansio_sse.wire.WireMachine` stands if somebody else speaks HTTP: a
client with its own connections, proxies, versions of HTTP. It turns what the connection machine
asks for (connect, ping, post) into exchanges for that client to make, and what becomes of them into
news for it. Like the wire machine it has no timers and no opinions.

Each exchange has a number. Whatever concerns a number nobody knows any more is ignored.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from .actions import (
    CloseTransport,
    Connect,
    Disconnect,
    PauseReading,
    PauseTransport,
    Release,
    ResumeReading,
    ResumeTransport,
    SendPing,
    SendPost,
    StartExchange,
    WireAction,
)
from .carrier import Actions, Carrier
from .connection import NO_ACTIONS, ConnectionMachine
from .errors import LimitExceeded, from_transport
from .http import Request, Response
from .states import ConnectionState

__all__ = ["ExchangeMachine"]

_CONNECTED = ConnectionState.CONNECTED
_DRAIN_ROOM = 65536  # bytes of a body nobody wants that are read to save a connection


class _Side:
    """A ping or a post: a short exchange beside the stream."""

    __slots__ = ("content", "opened", "ping", "response")

    def __init__(self, *, ping: bool) -> None:
        self.ping = ping
        self.opened = False
        self.response: Response | None = None
        self.content = bytearray()


class ExchangeMachine(Carrier):
    r"""One event stream's whole life over an HTTP client; see the module's text.

    Look, commands and ticks are those of :class:`~sansio_sse.connection.ConnectionMachine`, which
    is at ``connection``; the news is about exchanges.

    >>> machine = ExchangeMachine(ConnectionMachine(Request("GET", "https://example.com/events")))
    >>> changed, start = machine.connect(now=0.0)
    >>> start
    StartExchange(exchange=1, request=<Request GET https://example.com/events>)
    >>> response = Response(200, (("content-type", "text/event-stream"),), "2")
    >>> [changed] = machine.response_received(1, response, now=0.3)
    >>> [event] = machine.bytes_received(1, b"data: hello\n\n", now=0.4)
    >>> changed.new, event.data
    (<ConnectionState.CONNECTED: 'connected'>, 'hello')
    """

    __slots__ = ("_draining", "_opened", "_room", "_sides", "_stream")

    def __init__(self, connection: ConnectionMachine) -> None:
        super().__init__(connection)
        self._stream = 0  # the stream's exchange
        self._opened = False  # bytes of its request may have left
        self._draining = 0  # the exchange whose body is read to its end, for its connection's sake
        self._room = 0
        self._sides: dict[int, _Side] | None = None

    # --- What happened -------------------------------------------------------------------------

    def transport_opened(self, exchange: int, now: float) -> Sequence[WireAction]:
        """An exchange has a connection: from here on a byte of its request may arrive.

        A client that cannot tell skips this and says :meth:`exchange_begun`.
        """
        side = self._side(exchange)
        if side is not None:
            side.opened = True
        elif exchange == self._stream:
            self._opened = True
        return self._carry_out(self.connection.transport_opened(exchange, now), now)

    def exchange_begun(self, exchange: int, now: float) -> Sequence[WireAction]:
        """An exchange has begun, and its client will not tell when it has a connection.

        ``timeouts.response`` bounds all of it then, and what the client itself was told.
        """
        return self._carry_out(self.connection.exchange_begun(exchange, now), now)

    def request_sent(self, exchange: int, now: float) -> Sequence[WireAction]:
        """The whole request of an exchange has left."""
        return self._carry_out(self.connection.request_sent(exchange, now), now)

    def response_received(
        self, exchange: int, response: Response, now: float
    ) -> Sequence[WireAction]:
        """The final response head of an exchange arrived."""
        if exchange == self._stream:
            self._opened = True
            return self._carry_out(self.connection.response_received(exchange, response, now), now)
        side = self._side(exchange)
        if side is None:
            return NO_ACTIONS
        side.opened, side.response = True, response
        # The head is answer enough to a ping; a post wants the body too.
        return self._side_answered(exchange, side, response, now) if side.ping else NO_ACTIONS

    def bytes_received(self, exchange: int, data: bytes, now: float) -> Sequence[WireAction]:
        """Bytes of an exchange's body arrived."""
        connection = self.connection
        if exchange == self._stream:
            answer: Any = connection.body_received(exchange, data, now)
            if connection._state is _CONNECTED:
                events: Sequence[WireAction] = answer
                return events
            return self._carry_out(answer, now)
        if exchange == self._draining and exchange:
            self._room -= len(data)
            return NO_ACTIONS if self._room >= 0 else self._drained(now)
        side = self._side(exchange)
        if side is None:
            return NO_ACTIONS
        limit = connection.config.limits.post_body
        if len(side.content) + len(data) > limit:
            error = LimitExceeded(f"the answer to a post is larger than {limit} bytes")
            return self._side_failed(exchange, error, now)
        side.content += data
        return NO_ACTIONS

    def end_received(self, exchange: int, now: float) -> Sequence[WireAction]:
        """The body of an exchange ended where HTTP says that it ends."""
        if exchange == self._stream:
            ended = self._carry_out(self.connection.body_ended(exchange, now), now)
            if exchange == self._draining and exchange:  # released just now: nothing is left
                return [*ended, *self._drained(now)]
            return ended
        if exchange == self._draining and exchange:
            return self._drained(now)
        side = self._side(exchange)
        if side is None or side.response is None:
            return NO_ACTIONS
        return self._side_answered(exchange, side, side.response, now)

    def exchange_failed(
        self, exchange: int, error: BaseException, now: float
    ) -> Sequence[WireAction]:
        """An exchange came to nothing, or broke."""
        if exchange == self._stream and exchange:
            opened = self._opened
            self._stream = 0
            told = self.connection.connection_lost if opened else self.connection.connect_failed
            return self._carry_out(told(exchange, error, now), now, gone=exchange)
        if exchange == self._draining and exchange:
            self._draining = 0
            return self._carry_out(self.connection.drained(exchange, now), now)
        return self._side_failed(exchange, error, now, gone=exchange)

    # --- The rest of a body --------------------------------------------------------------------

    def _release(self, now: float) -> Sequence[WireAction]:
        """The stream ended well: read on to the end of its body, and its connection is of use."""
        number, self._stream = self._stream, 0
        self._draining, self._room = number, _DRAIN_ROOM
        return self._drained(now) if self.connection.paused else NO_ACTIONS

    def _drained(self, now: float) -> Sequence[WireAction]:
        number, self._draining = self._draining, 0
        done = self.connection.drained(number, now)
        return [CloseTransport(number), *self._carry_out(done, now)]

    # --- Pings and posts -----------------------------------------------------------------------

    def _side(self, exchange: int) -> _Side | None:
        return None if self._sides is None else self._sides.get(exchange)

    def _forget_side(self, exchange: int) -> _Side | None:
        if self._sides is None:
            return None
        side = self._sides.pop(exchange, None)
        if not self._sides:
            self._sides = None
        return side

    def _side_answered(
        self, exchange: int, side: _Side, response: Response, now: float
    ) -> Sequence[WireAction]:
        self._forget_side(exchange)
        if side.ping:
            answered = self.connection.ping_answered(exchange, response, now)
        else:
            content = bytes(side.content)
            answered = self.connection.post_answered(exchange, response, content, now)
        return [CloseTransport(exchange), *self._carry_out(answered, now)]

    def _side_failed(
        self, exchange: int, error: BaseException, now: float, gone: int = 0
    ) -> Sequence[WireAction]:
        side = self._forget_side(exchange)
        if side is None:
            return NO_ACTIONS
        failure = from_transport(error, opening=not side.opened)
        if side.ping:
            failed = self.connection.ping_failed(exchange, failure, now)
        else:
            failed = self.connection.post_failed(exchange, failure, now)
        first: Actions = [] if gone == exchange else [CloseTransport(exchange)]
        return [*first, *self._carry_out(failed, now)]

    # --- What is asked for ---------------------------------------------------------------------

    def _carry_out(self, actions: Iterable[Any], now: float, gone: int = 0) -> Sequence[WireAction]:
        if not actions:
            return NO_ACTIONS
        out: Actions = []
        for action in actions:
            match action:
                case Connect(request, number):
                    self._stream, self._opened = number, False
                    out.append(StartExchange(number, request))
                case SendPing(request, number):
                    out.append(self._start_side(request, number, ping=True))
                case SendPost(request, number):
                    out.append(self._start_side(request, number, ping=False))
                case Disconnect(number):
                    if number == self._stream:
                        self._stream = 0
                    elif number == self._draining:
                        self._draining = 0
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

    def _start_side(self, request: Request, number: int, *, ping: bool) -> StartExchange:
        if self._sides is None:
            self._sides = {}
        self._sides[number] = _Side(ping=ping)
        return StartExchange(number, request)
