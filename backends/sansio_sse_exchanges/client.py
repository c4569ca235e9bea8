"""What a driver of exchanges asks of an HTTP client, and how httpcore and its kin are understood.

An HTTP client is used through one method: make an exchange. Here are its two forms, and the facts
that httpcore, httpcore2 and what is built on them (httpx, httpx2) have in common: the extensions of
requests and responses, what a trace tells, the names of exceptions. None of these packages is
imported: a client is what it looks like.
"""

from collections.abc import AsyncIterable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Protocol

from sansio_sse import (
    ConfigError,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    RemoteProtocolError,
    Request,
    Response,
    ResponseTimeout,
    SSEError,
    Timeouts,
    WriteTimeout,
    describe,
)

__all__ = ["AsyncClient", "Client", "LetGo", "Told", "extensions_of", "failure_of", "response_of"]


class LetGo(Exception):
    """Nobody wants this exchange any more; nobody is told of it either."""


class Told(Protocol):
    """Whom a client tells how far an exchange has got, as far as it can tell."""

    timeouts: Timeouts
    dropped: bool
    """Whether nobody wants the exchange any more: a client that notices may raise LetGo."""
    trusted: bool
    """Whether the client's own credentials may go with the request."""

    def opened(self, *, shared: bool) -> None:
        """It has a connection, which others may share; a byte of the request may leave now."""

    def sent(self) -> None:
        """The whole request has left."""

    def connected(self, stream: Any) -> None:
        """This is the stream of its connection to be, or of the one that it has."""


class AsyncClient(Protocol):
    """An async HTTP client, as a driver uses it."""

    tells: bool
    """Whether it tells when an exchange has a connection, or cannot."""

    def exchange(
        self, request: Request, told: Told
    ) -> AbstractAsyncContextManager[tuple[Response, AsyncIterable[bytes]]]:
        """Make an exchange: its head and its body; leaving the block lets go of it."""
        ...

    async def aclose(self) -> None:
        """Close what was made for this client alone."""


class Client(Protocol):
    """An HTTP client of plain calls, as a driver uses it; called from several threads."""

    tells: bool
    """Whether it tells when an exchange has a connection, or cannot."""

    def exchange(
        self, request: Request, told: Told
    ) -> AbstractContextManager[tuple[Response, Iterable[bytes]]]:
        """Make an exchange: its head and its body; leaving the block lets go of it."""
        ...

    def close(self) -> None:
        """Close what was made for this client alone."""


# --- What httpcore and its kin have in common ----------------------------------------------------


class _Trace:
    """Listens to what httpcore says of a request (its extension ``trace``)."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._opened = False

    def hear(self, name: str, info: dict[str, Any]) -> None:
        layer, _, event = name.partition(".")
        if event in ("connect_tcp.complete", "connect_unix_socket.complete"):
            self._told.connected(info["return_value"])
        elif event == "send_request_headers.started" and info["request"].method != b"CONNECT":
            self._opened = True
            self._told.opened(shared=layer == "http2")
        elif event == "send_request_body.complete" and self._opened:
            self._told.sent()

    async def ahear(self, name: str, info: dict[str, Any]) -> None:
        self.hear(name, info)


def extensions_of(told: Told, *, asynchronous: bool) -> dict[str, Any]:
    """Return the extensions of a request.

    The core's timers are what counts. The client's own timeouts, which do not come before them, are
    for what the core cannot see or end: a client that does not tell how far it has got, and a
    thread. That for reading is a thread's, and for the head alone: for the body it is taken out.
    """
    trace = _Trace(told)
    timeouts = told.timeouts
    bounds: dict[str, float] = {
        "connect": timeouts.connect,
        "pool": timeouts.connect,
        "write": timeouts.write,
    }
    if asynchronous:
        return {"trace": trace.ahear, "timeout": bounds}
    return {"trace": trace.hear, "timeout": bounds | {"read": timeouts.response}}


def response_of(status: int, headers: Sequence[tuple[bytes, bytes]], extensions: Any) -> Response:
    """Return the head of a response."""
    version = extensions.get("http_version", b"HTTP/1.1")
    return Response(
        status,
        tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers),
        version.decode("latin-1").removeprefix("HTTP/"),
    )


# Their words quote headers, which may be credentials: ours are put in their place.
_QUOTING: dict[str, tuple[type[SSEError], str]] = {
    "RemoteProtocolError": (
        RemoteProtocolError,
        "what the server sent is not valid HTTP, or was cut short",
    ),
    "LocalProtocolError": (ConfigError, "the HTTP client cannot write this request"),
    # Of HTTP/2, where httpcore lets it through as it is.
    "H2Error": (RemoteProtocolError, "what the server sent is not valid HTTP/2"),
}
# What h2 says of a connection that others use too, and not of the request.
_CROWDED = frozenset(
    {"NoSuchStreamError", "StreamClosedError", "StreamIDTooLowError", "TooManyStreamsError"}
)
_TIMEOUTS: dict[str, tuple[type[SSEError], str, str]] = {
    "ConnectTimeout": (ConnectTimeout, "could not connect", "connect"),
    "PoolTimeout": (ConnectTimeout, "the HTTP client had no free connection", "connect"),
    "WriteTimeout": (WriteTimeout, "could not write the request", "write"),
    "ReadTimeout": (ResponseTimeout, "no response head", "response"),
}
_BEFORE = frozenset(
    {
        "ConnectError",
        "ConnectTimeout",
        "LocalProtocolError",
        "PoolTimeout",
        "ProxyError",
        "UnsupportedProtocol",
    }
)

_DEPTH = 10  # of a chain of exceptions
_KINDS: dict[str, type[SSEError]] = {
    "ProxyError": ConnectError,
}


def _said_by_h2(error: BaseException) -> str:
    """Return the name of the exception that a client's own was made of."""
    own = error.__cause__ or error  # httpx has made another of it
    return type(own.args[0]).__name__ if own.args else ""


def before_sending(error: BaseException) -> bool:
    """Tell whether a client's exception says that nothing of the request has left."""
    return isinstance(error, SSEError) or any(
        kind.__name__ in _BEFORE for kind in type(error).__mro__
    )


def failure_of(error: BaseException, timeouts: Timeouts, *, sent: bool = False) -> BaseException:
    """Return what is behind a client's exception: an error of ours, or what the system said.

    ``sent``: the whole request has left, so that it is not what is wrong.
    """
    if isinstance(error, SSEError):
        return error
    if type(error).__name__ == "LocalProtocolError":
        if _said_by_h2(error) in _CROWDED:
            return ConnectionLost("the connection takes no other request")
        if sent:
            ours, text = _QUOTING["H2Error"]
            return ours(text, cause=type(error).__name__)
    for kind in type(error).__mro__:
        if kind.__name__ in _QUOTING:
            ours, text = _QUOTING[kind.__name__]
            return ours(text, cause=kind.__name__)
        if kind.__name__ in _TIMEOUTS:
            late, text, field = _TIMEOUTS[kind.__name__]
            return late(f"{text} within {getattr(timeouts, field):g} s", cause=kind.__name__)
        if kind.__name__ in _KINDS:
            return _KINDS[kind.__name__](describe(error), cause=error)
    # The client tells what happened, and the system why: the why is the same in every driver.
    for _ in range(_DEPTH):
        group: Any = error
        if hasattr(group, "exceptions"):  # one for each address that was tried
            error = group.exceptions[0]
        # httpcore raises some "from None", and the cause is to be found in the context alone.
        behind = error.__cause__ or error.__context__
        if isinstance(error, OSError) and error.errno is not None:
            break
        if not isinstance(behind, Exception):  # nothing, or that something else was cancelled
            break
        error = behind
    return error
