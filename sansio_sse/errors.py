"""Every error of this library, and the one place where foreign exceptions become ours.

The tree::

    SSEError
     +-- ConnectError             could not open a transport (refused, unreachable, DNS)
     |    +-- ConnectTimeout      ... within ``timeouts.connect``
     +-- TLSError                 the handshake failed, or the certificate does not verify
     +-- ResponseTimeout          no complete response head within ``timeouts.response``
     +-- WriteTimeout             the request could not be written within ``timeouts.write``
     +-- IdleTimeout              an accepted stream was silent for ``timeouts.idle``
     +-- HeartbeatTimeout         too many pings went unanswered
     +-- ConnectionLost           an open transport ended, cleanly or not
     |    +-- StreamTruncated     a finite stream ended without its terminal event
     +-- RemoteProtocolError      what came back is not HTTP, or not what it claims to be
     +-- HTTPStatusError          the status says no
     +-- ContentTypeError         not an event stream
     +-- ContentEncodingError     a content coding nobody asked for and nobody here decodes
     +-- TooManyRedirects
     +-- InsecureRedirect         a redirect that would leak or downgrade
     +-- LimitExceeded            something the peer sent is larger than a limit
     |    +-- EventTooLarge
     +-- BufferOverflow           the consumer is too slow and ``overflow="error"``
     +-- EventDecodeError         one event's data is not what ``typed`` was told it is
     +-- ReconnectExhausted       all retries are used up; ``cause`` is the last failure
     +-- PoolTimeout, PoolClosed, NoEndpoint
     +-- ConnectionClosed         there is nothing more to read
     +-- LocalProtocolError       the caller did something out of order
     +-- ConfigError              the caller asked for something impossible

No error ever holds or shows a credential: urls are redacted (no userinfo, no query values), headers
are not kept, and a foreign exception is shown by its type and its redacted text.

All of them pickle and unpickle. A cause which may not survive that becomes its redacted text.
"""

import re
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    from .http import Response

__all__ = [
    "BufferOverflow",
    "ConfigError",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionClosed",
    "ConnectionLost",
    "ContentEncodingError",
    "ContentTypeError",
    "EventDecodeError",
    "EventTooLarge",
    "HTTPStatusError",
    "HeartbeatTimeout",
    "IdleTimeout",
    "InsecureRedirect",
    "LimitExceeded",
    "LocalProtocolError",
    "NoEndpoint",
    "PoolClosed",
    "PoolTimeout",
    "ReconnectExhausted",
    "RemoteProtocolError",
    "ResponseTimeout",
    "SSEError",
    "StreamTruncated",
    "TLSError",
    "TooManyRedirects",
    "WriteTimeout",
    "describe",
    "from_transport",
    "is_connection_error",
    "is_streaming_error",
    "redact_text",
    "redact_url",
]

Category = Literal["network", "timeout", "protocol", "usage"]

_QUERY_VALUE = re.compile(r"(?<==)[^&]*|(?<![^&])[^&=]+(?![^&])")  # a part without "=" is a value
_URL_IN_TEXT = re.compile(r"\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s'\"<>]+")
_MAX_TEXT = 500


def redact_url(url: str) -> str:
    """Return ``url`` without userinfo, fragment and query values; the names in the query stay.

    >>> redact_url("https://me:secret@example.com/events?token=abc&room=7#x")
    'https://example.com/events?token=…&room=…'
    >>> redact_url("https://example.com/events?room=7&abc")
    'https://example.com/events?room=…&…'
    """
    url = url.partition("#")[0]
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    rest, question, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    authority = authority.rpartition("@")[2]
    port = authority.rpartition("]")[2].partition(":")[2]
    if separator and port and not port.isdecimal():
        # Half of a password with a "/", "?" or "#" in it: the other half may stand anywhere.
        return f"{scheme}{separator}…"
    if not (separator and authority) and ":" in path.rpartition("@")[0]:
        path = "…"  # a slash too few or too many: what was meant as userinfo
    query = _QUERY_VALUE.sub("…", query) if query or not question else "…"
    return f"{scheme}{separator}{authority}{slash}{path}{question}{query}"


def redact_text(text: str) -> str:
    """Return ``text`` on one line, at most 500 characters, with every url in it redacted."""
    text = _URL_IN_TEXT.sub(lambda match: redact_url(match[0]), text[: 4 * _MAX_TEXT])
    text = "".join(char if char.isprintable() else " " for char in text)
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"


class SSEError(Exception):
    """Base of all errors; catch this to catch them all.

    The context is filled in by the machine as far as it is known, else ``None``:

    * ``url``: where the attempt went, redacted;
    * ``attempt``: the count of retries at that moment (0: the first attempt);
    * ``elapsed``: seconds since the attempt began;
    * ``events_received``: events dispatched on this connection so far;
    * ``request_sent``: whether a byte of the request may have reached the server;
    * ``accepted``: whether the stream had been accepted when the error happened;
    * ``response``: the response's head, where there was one;
    * ``cause``: the exception behind this one.

    >>> error = ConnectionLost("the server ended the stream")
    >>> error.category, error.retryable, str(error)
    ('network', True, 'the server ended the stream')
    """

    category: Category = "network"
    """``network``, ``timeout``, ``protocol`` or ``usage``."""
    retryable: bool = True
    """Whether trying again can help."""

    def __init__(
        self,
        message: str,
        *,
        retryable: bool | None = None,
        cause: BaseException | str | None = None,
        response: "Response | None" = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause
        self.response = response
        self.url: str | None = None
        self.attempt: int | None = None
        self.elapsed: float | None = None
        self.events_received: int | None = None
        self.request_sent: bool | None = None
        self.accepted: bool | None = None
        if retryable is not None:
            self.retryable = retryable
        if isinstance(cause, BaseException):
            # By way of object, or type checkers think that the attribute is declared anew.
            object.__setattr__(self, "__cause__", cause)

    def with_context(
        self,
        *,
        url: str,
        attempt: int,
        elapsed: float,
        events_received: int,
        request_sent: bool,
        accepted: bool | None,
    ) -> Self:
        """Fill in what the machine knows, once: an error that has its context keeps it."""
        if self.url is None:
            self.url = url
            self.attempt = attempt
            self.elapsed = elapsed
            self.events_received = events_received
            self.request_sent = request_sent
            self.accepted = accepted
        return self

    def with_context_of(self, other: "SSEError") -> Self:
        """Take over the context of the error behind this one."""
        self.url = other.url
        self.attempt = other.attempt
        self.elapsed = other.elapsed
        self.events_received = other.events_received
        self.request_sent = other.request_sent
        self.accepted = other.accepted
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        state = self.__dict__ | {"cause": _picklable(self.cause)}
        return _rebuild, (type(self), self.args, state)


def _rebuild(cls: type[SSEError], args: tuple[Any, ...], state: dict[str, Any]) -> SSEError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    if isinstance(error.cause, BaseException):
        error.__cause__ = error.cause
    return error


def _picklable(cause: BaseException | str | None) -> BaseException | str | None:
    """Keep a cause that surely survives pickling.

    Others become text (the core cannot try it out).
    """
    if cause is None or isinstance(cause, str | SSEError):
        return cause
    simple = all(type(arg) in (str, int, float, bytes, bool, type(None)) for arg in cause.args)
    if simple and type(cause).__module__ == "builtins":
        return cause
    return describe(cause)


def describe(error: BaseException) -> str:
    """Show a foreign exception by its type and its redacted text.

    >>> describe(OSError("no way to http://me:pw@example.com/?token=1"))
    'OSError: no way to http://example.com/?token=…'
    """
    text = redact_text(str(error))
    return f"{type(error).__qualname__}: {text}" if text else type(error).__qualname__


class ConnectError(SSEError):
    """No transport could be opened: refused, unreachable, or the name did not resolve."""


class ConnectTimeout(ConnectError):
    """No transport was open within ``timeouts.connect`` (DNS and TLS included)."""

    category: Category = "timeout"


class TLSError(SSEError):
    """The TLS handshake failed; not retryable if the certificate does not verify."""


class ResponseTimeout(SSEError):
    """The whole response head did not arrive within ``timeouts.response``."""

    category: Category = "timeout"


class WriteTimeout(SSEError):
    """The request could not be written within ``timeouts.write``."""

    category: Category = "timeout"


class IdleTimeout(SSEError):
    """An accepted stream sent nothing for ``timeouts.idle``; pings do not count."""

    category: Category = "timeout"


class HeartbeatTimeout(SSEError):
    """``heartbeat.max_missed`` pings in a row went unanswered."""

    category: Category = "timeout"


class ConnectionLost(SSEError):
    """An open transport ended: reset, or closed where the stream was to go on."""


class StreamTruncated(ConnectionLost):
    """A stream with ``until=`` ended without its terminal event."""


class RemoteProtocolError(SSEError):
    """What came back is not valid HTTP/1.1, or its body is cut short or corrupt."""

    category: Category = "protocol"


class HTTPStatusError(SSEError):
    """The response's status says no.

    ``status`` is the code, ``body`` the first bytes of the body (at most ``limits.error_body``).
    """

    category: Category = "protocol"

    def __init__(
        self,
        message: str,
        *,
        status: int,
        body: bytes = b"",
        retryable: bool | None = None,
        response: "Response | None" = None,
    ) -> None:
        super().__init__(message, retryable=retryable, response=response)
        self.status = status
        self.body = body


class ContentTypeError(SSEError):
    """The response is no event stream; ``body`` holds its first bytes."""

    category: Category = "protocol"
    retryable: bool = False

    def __init__(
        self, message: str, *, body: bytes = b"", response: "Response | None" = None
    ) -> None:
        super().__init__(message, response=response)
        self.body = body


class ContentEncodingError(SSEError):
    """The body has a content coding other than identity, gzip and deflate."""

    category: Category = "protocol"
    retryable: bool = False


class TooManyRedirects(SSEError):
    """More redirects in one attempt than ``limits.redirects``."""

    category: Category = "protocol"
    retryable: bool = False


class InsecureRedirect(SSEError):
    """A redirect refused: to a lower security, another scheme, or another origin with a body."""

    category: Category = "protocol"
    retryable: bool = False


class LimitExceeded(SSEError):
    """The peer sent more than a limit allows."""

    category: Category = "protocol"
    retryable: bool = False


class EventTooLarge(LimitExceeded):
    """A line or an event is larger than ``limits.event``."""


class BufferOverflow(SSEError):
    """Events came faster than they were read, and ``overflow`` is ``"error"``."""

    category: Category = "usage"
    retryable: bool = False


class EventDecodeError(SSEError):
    """The data of one event could not be decoded; the stream goes on.

    ``event`` is the event as it came, ``cause`` what the decoder raised. The message holds neither:
    data has no business in a log.
    """

    category: Category = "protocol"
    retryable: bool = False

    def __init__(
        self, message: str, *, event: Any = None, cause: BaseException | str | None = None
    ) -> None:
        super().__init__(message, cause=cause)
        self.event = event


class ReconnectExhausted(SSEError):
    """As many retries as ``reconnection.max_attempts`` allows have failed.

    ``cause`` is the last failure.
    """

    retryable: bool = False


class PoolTimeout(SSEError):
    """No member of the pool became free in time."""

    category: Category = "timeout"


class PoolClosed(SSEError):
    """The pool is closed."""

    category: Category = "usage"
    retryable: bool = False


class NoEndpoint(SSEError):
    """None of the endpoints may be tried."""


class ConnectionClosed(SSEError):
    """There is nothing more to read: closed, disconnected, or finished."""

    category: Category = "usage"
    retryable: bool = False


class LocalProtocolError(SSEError):
    """The caller did something out of order, such as connecting a closed connection."""

    category: Category = "usage"
    retryable: bool = False


class ConfigError(SSEError, ValueError):
    """The caller asked for something impossible; the message names it."""

    category: Category = "usage"
    retryable: bool = False


def from_transport(error: BaseException, *, opening: bool, where: str = "") -> SSEError:
    """Translate what a transport raised into an error of ours, the same in every driver.

    ``opening`` says whether the transport was still being opened; ``where`` names the peer for the
    message. Judged by shape, since the core may not import ``ssl``: only a failed verification
    carries a ``verify_code``, and it is the one that trying again cannot mend.

    >>> refused = ConnectionRefusedError(111, "Connection refused")
    >>> from_transport(refused, opening=True, where="a:80")
    ConnectError('could not connect to a:80: Connection refused')
    """
    if isinstance(error, SSEError):
        return error
    peer = f" to {where}" if where else ""
    if hasattr(error, "verify_code"):
        reason = redact_text(str(getattr(error, "verify_message", "")) or str(error))
        message = f"the certificate does not verify{' for ' + where if where else ''}: {reason}"
        return TLSError(message, retryable=False, cause=error)
    reason = redact_text(getattr(error, "strerror", None) or str(error)) or type(error).__name__
    if type(error).__module__ == "ssl":
        return TLSError(f"TLS failed{peer}: {reason}", cause=error)
    if opening:
        return ConnectError(f"could not connect{peer}: {reason}", cause=error)
    return ConnectionLost(f"the connection{peer} was lost: {reason}", cause=error)


def is_connection_error(error: BaseException) -> bool:
    """Tell whether a stream failed before it was accepted.

    >>> is_connection_error(ConnectError("refused")), is_streaming_error(IdleTimeout("silent"))
    (True, True)
    """
    return _happened(error, accepted=False)


def is_streaming_error(error: BaseException) -> bool:
    """Tell whether a stream failed after it had been accepted."""
    return _happened(error, accepted=True)


_ONLY_AFTER = (IdleTimeout, HeartbeatTimeout, StreamTruncated, EventTooLarge, BufferOverflow)


def _happened(error: BaseException, *, accepted: bool) -> bool:
    if isinstance(error, ReconnectExhausted) and isinstance(error.cause, SSEError):
        error = error.cause
    if not isinstance(error, SSEError):
        return False
    if isinstance(error, PoolTimeout | NoEndpoint):
        return False
    if error.category == "usage" and not isinstance(error, BufferOverflow):
        return False
    if error.accepted is not None:
        return error.accepted is accepted
    return isinstance(error, (*_ONLY_AFTER, ConnectionLost)) is accepted
