"""What keeps the streams of one HTTP/2 connection of httpcore or httpcore2 from each other's way.

Their HTTP/2 connections are made for responses that soon end. Event streams do not, and then:

* Of all the streams that wait, one reads from the network and the others queue for their turn. What
  it has read for another is noticed when that one's turn comes: after as many further frames as
  there are others before it. Quiet streams have none, so that a response or an event is late, for
  as long as you like.
* In the same queue stands a request that waits for room to send its body.
* Of frames that are not valid one stream hears, and the others wait on.
* A task that is cancelled while it writes leaves half a frame to all others.
* A stream that is given up is not reset. The server goes on with it, h2 goes on counting it (at
  100 it refuses the next), and what comes for it uses up the window that all streams share
  (encode/httpcore, issues 943 and 1022).

This is mended here, for a connection at a time, by methods that are put around its own: whoever has
something takes it at once, one of the others reads, what ends the connection ends all, what is
begun is written, and what is given up is reset. None of what is used here is public. A connection
that does not have it is left as it is.
"""

import importlib
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.lowlevel

from sansio_sse_exchanges import LetGo

from .duplex import Duplex

__all__ = ["mend"]

_PUT_AROUND = (
    "_receive_events",
    "_receive_stream_event",
    "_response_closed",
    "_wait_for_outgoing_flow",
)
_USED = (
    "_connection_error",
    "_events",
    "_h2_state",
    "_network_stream",
    "_read_exception",
    "_write_outgoing_data",
    *_PUT_AROUND,
)
_DEPTH = 4  # of connections in connections: a pool's, a proxy's, that of a version of HTTP
_CANCEL = 8  # RFC 9113 7
_FLUSH = 1.0  # seconds for a frame of 13 bytes


def _connections_of(pool: Any) -> list[Any]:
    """Return the HTTP/2 connections of a pool."""
    found: list[Any] = []
    for connection in getattr(pool, "connections", ()):
        inner = connection
        for _ in range(_DEPTH):
            if all(hasattr(inner, name) for name in _USED):
                found.append(inner)
            inner = getattr(inner, "_connection", None)
    return found


def mend(pool: Any, *, asynchronous: bool) -> None:
    """Mend the HTTP/2 connections of a pool that are not mended yet."""
    kind = _AsyncTurns if asynchronous else _Turns
    with _mending:
        for connection in _connections_of(pool):
            if not isinstance(getattr(connection._receive_events, "__self__", None), kind):
                kind(connection)


_mending = threading.Lock()


class _Mended:
    """A connection's own methods, and what stands around them."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._events: dict[int, list[Any]] = connection._events
        self._own_receive_events: Callable[..., Any] = connection._receive_events
        self._own_receive: Callable[..., Any] = connection._receive_stream_event
        self._own_flow: Callable[..., Any] = connection._wait_for_outgoing_flow
        self._own_closed: Callable[..., Any] = connection._response_closed
        self._own_write: Callable[..., Any] = connection._write_outgoing_data
        self._protocol_error: Any = importlib.import_module("h2.exceptions").ProtocolError
        self._reading = False  # somebody does, for all
        # Of each stream that waits, its bell, and what it waits for.
        self._waiting: dict[int, tuple[Any, Callable[[], bool]]] = {}
        for name in _PUT_AROUND:
            setattr(connection, name, getattr(self, name))

    def _has_event(self, stream_id: int) -> bool:
        return bool(self._events.get(stream_id))

    def _may_send(self, stream_id: int) -> bool:
        try:
            window: int = self._connection._h2_state.local_flow_control_window(stream_id)
        except self._protocol_error:
            return True  # and the connection's own method says so
        return window > 0

    def _ring(self) -> None:
        """Something has been read: whoever waited for it is to go on."""
        for bell, ready in list(self._waiting.values()):
            if ready():
                bell.set()

    def _next_reader(self) -> None:
        """Nobody reads any more: one of those who wait is to."""
        self._reading = False
        for bell, _ in self._waiting.values():
            if not bell.is_set():
                bell.set()
                return

    def _broken(self, error: BaseException) -> None:
        """What was read is not valid, and nothing that follows can be."""
        self._connection._read_exception = error
        self._connection._connection_error = True

    def _reset(self, stream_id: int) -> bool:
        """Reset a stream that has not ended; return whether there is something to be written."""
        h2_state = self._connection._h2_state
        try:
            h2_state.reset_stream(stream_id, error_code=_CANCEL)
            for event in self._events.get(stream_id, ()):  # what nobody will read takes no room
                h2_state.acknowledge_received_data(
                    getattr(event, "flow_controlled_length", None) or 0, stream_id
                )
        except self._protocol_error:
            return False  # it has ended, or never began
        return True


class _AsyncTurns(_Mended):
    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        connection._write_outgoing_data = self._write_outgoing_data

    async def _receive_stream_event(self, request: Any, stream_id: int) -> Any:
        ready = partial(self._has_event, stream_id)
        return await self._in_turn(self._own_receive, request, stream_id, ready)

    async def _wait_for_outgoing_flow(self, request: Any, stream_id: int) -> Any:
        ready = partial(self._may_send, stream_id)
        return await self._in_turn(self._own_flow, request, stream_id, ready)

    async def _in_turn(
        self, own: Callable[..., Any], request: Any, stream_id: int, ready: Callable[[], bool]
    ) -> Any:
        """Call a method of the connection's own when it need not read, or it is its turn to."""
        while self._reading and not ready():
            await self._wait(stream_id, ready)
        if ready():
            return await own(request, stream_id)
        self._reading = True
        try:
            return await own(request, stream_id)
        finally:
            self._next_reader()

    async def _wait(self, stream_id: int, ready: Callable[[], bool]) -> None:
        bell = anyio.Event()
        self._waiting[stream_id] = (bell, ready)
        try:
            await bell.wait()
        except BaseException:
            del self._waiting[stream_id]
            if not self._reading:
                self._next_reader()  # it might have been this one
            raise
        del self._waiting[stream_id]

    async def _receive_events(self, request: Any, stream_id: int | None = None) -> None:
        try:
            await self._own_receive_events(request, stream_id)
        except self._protocol_error as error:
            self._broken(error)
            raise
        finally:
            self._ring()

    async def _response_closed(self, stream_id: int) -> None:
        unsent = self._reset(stream_id)
        await self._own_closed(stream_id=stream_id)
        if unsent:
            with suppress(Exception):
                await self._write_outgoing_data(_ANYTHING)

    async def _write_outgoing_data(self, request: Any) -> None:
        await anyio.lowlevel.checkpoint_if_cancelled()
        # Half of a frame, or of a record of TLS, would be the end of all: what is begun is written,
        # within the time that there is to write.
        with anyio.CancelScope(shield=True):
            await self._own_write(request)


class _Turns(_Mended):
    def __init__(self, connection: Any) -> None:
        self._lock = threading.Lock()
        super().__init__(connection)
        stream = connection._network_stream
        sock = stream.get_extra_info("socket")
        # In TLS within TLS the socket is not what is read from: it is left as it is.
        within = isinstance(stream.get_extra_info("ssl_object"), ssl.SSLObject)
        if isinstance(sock, socket.socket) and not within:
            package = type(connection).__module__.partition(".")[0]
            connection._network_stream = Duplex(stream, sock, package)

    def _receive_stream_event(self, request: Any, stream_id: int) -> Any:
        ready = partial(self._has_event, stream_id)
        return self._in_turn(self._own_receive, request, stream_id, ready)

    def _wait_for_outgoing_flow(self, request: Any, stream_id: int) -> Any:
        ready = partial(self._may_send, stream_id)
        return self._in_turn(self._own_flow, request, stream_id, ready)

    def _in_turn(
        self, own: Callable[..., Any], request: Any, stream_id: int, ready: Callable[[], bool]
    ) -> Any:
        """Call a method of the connection's own when it need not read, or it is its turn to."""
        reads = self._wait(stream_id, ready, _wanted(request))
        try:
            return own(request, stream_id)
        finally:
            if reads:
                with self._lock:
                    self._next_reader()

    def _wait(self, stream_id: int, ready: Callable[[], bool], wanted: Callable[[], bool]) -> bool:
        """Wait until it is ready, or nobody reads; return whether this one is to read."""
        bell = threading.Event()
        while True:
            with self._lock:
                self._waiting.pop(stream_id, None)
                if ready():
                    return False
                if not wanted():
                    if not self._reading:
                        self._next_reader()  # it might have been this one
                    raise LetGo
                if not self._reading:
                    self._reading = True
                    return True
                bell.clear()
                self._waiting[stream_id] = (bell, lambda: ready() or not wanted())
            bell.wait()

    def _receive_events(self, request: Any, stream_id: int | None = None) -> None:
        try:
            self._own_receive_events(request, stream_id)
        except self._protocol_error as error:
            self._broken(error)
            raise
        finally:
            with self._lock:
                self._ring()
        if not _wanted(request)():
            raise LetGo

    def _response_closed(self, stream_id: int) -> None:
        unsent = self._reset(stream_id)
        self._own_closed(stream_id=stream_id)
        if unsent:
            with suppress(Exception):
                self._own_write(_ANYTHING)


def _wanted(request: Any) -> Callable[[], bool]:
    wanted: Callable[[], bool] = request.extensions.get("wanted", _always)
    return wanted


# What looks like the request that something is written for.
_ANYTHING = SimpleNamespace(extensions={"timeout": {"write": _FLUSH}})


def _always() -> bool:
    return True
