"""What a machine asks of its driver, and what it tells its user.

Three kinds, each a small immutable object:

* **events**, which go to the reader: :class:`~sansio_sse.event_stream.ServerSentEvent` and, where
  they are included, :class:`Connected`, :class:`~sansio_sse.event_stream.Comment` and
  :class:`~sansio_sse.event_stream.LastEventIdChanged`;
* **news**, which go to whoever watches: :class:`StateChanged`, :class:`ErrorOccurred`,
  :class:`ScheduleReconnect`, :class:`PostAnswered`;
* **work**, which the driver does: at the level of HTTP :class:`Connect`, :class:`Disconnect`,
  :class:`Release`, :class:`SendPing`, :class:`SendPost`, :class:`PauseReading`,
  :class:`ResumeReading`; at the level of bytes :class:`OpenTransport`, :class:`SendBytes`,
  :class:`CloseTransport`, :class:`KeepTransport`, :class:`PauseTransport`,
  :class:`ResumeTransport`, and in place of the first two, where an HTTP client does the rest,
  :class:`StartExchange`; and at both :class:`RequestAdmission` and :class:`PrepareRequest`.

Numbers: every exchange (a connect, each hop of a redirect, a ping, a post) has a number which is
never used again, and so has every transport. Where a person sees a number (in ``ScheduleReconnect``
and ``Connected``), it is the 1-based count of retries instead; 0 is the first attempt.

Only :class:`~sansio_sse.event_stream.ServerSentEvent` is a tuple: two tuples of different types can
be equal, two dataclasses cannot.
"""

from dataclasses import dataclass, field
from typing import TypeAlias

from .errors import SSEError
from .event_stream import Comment, LastEventIdChanged, ServerSentEvent
from .http import Origin, Request, Response
from .states import ConnectionState

__all__ = [
    "CloseTransport",
    "Connect",
    "Connected",
    "ConnectionAction",
    "Disconnect",
    "ErrorOccurred",
    "Event",
    "KeepTransport",
    "OpenTransport",
    "PauseReading",
    "PauseTransport",
    "PostAnswered",
    "PrepareRequest",
    "Release",
    "RequestAdmission",
    "ResumeReading",
    "ResumeTransport",
    "ScheduleReconnect",
    "SendBytes",
    "SendPing",
    "SendPost",
    "StartExchange",
    "StateChanged",
    "WireAction",
]

# --- Events ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connected:
    """A stream was accepted; stands between the last event before and the first after.

    ``attempt`` counts the retries that led here, ``resumed`` says whether a cursor was sent.
    """

    attempt: int
    resumed: bool
    response: Response


Event: TypeAlias = ServerSentEvent | Connected | Comment | LastEventIdChanged
"""What a reader is given."""

# --- News --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The connection went from one state to another, at ``at``, perhaps for an error."""

    old: ConnectionState
    new: ConnectionState
    at: float
    error: SSEError | None = None


@dataclass(frozen=True, slots=True)
class ErrorOccurred:
    """Something failed; what follows from it is told by the other actions."""

    error: SSEError


@dataclass(frozen=True, slots=True)
class ScheduleReconnect:
    """The machine will try again at ``at``, ``delay`` seconds from now.

    Retry number ``attempt`` (from 1).
    """

    at: float
    delay: float
    attempt: int
    error: SSEError | None = None


@dataclass(frozen=True, slots=True)
class PostAnswered:
    """A post is over: ``response`` and ``content``, or ``error``.

    ``token`` is what the caller gave with it.
    """

    token: object
    response: Response | None = None
    content: bytes = field(default=b"", repr=False)
    error: SSEError | None = None


# --- Work, at the level of HTTP ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connect:
    """Send ``request`` as exchange ``attempt``; answer with its response or its failure."""

    request: Request
    attempt: int


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Abandon an exchange of any kind, at once and without an answer.

    (The command is ``disconnect()``.)
    """

    attempt: int


@dataclass(frozen=True, slots=True)
class Release:
    """The stream of an exchange ended as it should: read what is left of its body and keep its way.

    Only for machines with ``reuse=True``. Answer with ``drained`` when that is done, or cannot be;
    a :class:`Disconnect` of the same number takes it back.
    """

    attempt: int


@dataclass(frozen=True, slots=True)
class SendPing:
    """Send ``request`` as exchange ``ping``, beside the stream."""

    request: Request
    ping: int


@dataclass(frozen=True, slots=True)
class SendPost:
    """Send ``request`` as exchange ``post``, beside the stream, and collect its answer."""

    request: Request
    post: int


@dataclass(frozen=True, slots=True)
class RequestAdmission:
    """May exchange ``attempt`` begin, and where? Answer with ``admitted``, whenever that may be.

    Only for machines with ``admission=True``. A :class:`Disconnect` (in bytes:
    :class:`CloseTransport`) of the same number takes it back.
    """

    attempt: int


@dataclass(frozen=True, slots=True)
class PrepareRequest:
    """Ask the caller's ``prepare_request`` about ``request``.

    The answer is ``request_prepared`` or ``prepare_failed``.
    A :class:`Disconnect` (in bytes: :class:`CloseTransport`) of the same number takes it back.
    """

    request: Request
    attempt: int


@dataclass(frozen=True, slots=True)
class PauseReading:
    """Stop reading the stream's body; the peer's silence does not count from here."""


@dataclass(frozen=True, slots=True)
class ResumeReading:
    """Read the stream's body again."""


ConnectionAction: TypeAlias = (
    Event
    | StateChanged
    | ErrorOccurred
    | ScheduleReconnect
    | PostAnswered
    | Connect
    | Disconnect
    | Release
    | SendPing
    | SendPost
    | RequestAdmission
    | PrepareRequest
    | PauseReading
    | ResumeReading
)
"""What a :class:`~sansio_sse.connection.ConnectionMachine` answers."""

# --- Work, at the level of bytes ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenTransport:
    """Open TCP, and TLS where the origin is secure.

    Answer with ``transport_opened`` or ``transport_failed``.
    """

    transport: int
    origin: Origin


@dataclass(frozen=True, slots=True)
class SendBytes:
    """Write ``data``; answer with ``bytes_sent`` once it has left, or ``transport_failed``."""

    transport: int
    data: bytes = field(repr=False)  # it holds credentials


@dataclass(frozen=True, slots=True)
class StartExchange:
    """Have an HTTP client send ``request``, and tell what becomes of it.

    With ``transport_opened``, ``request_sent``, ``response_received``, ``bytes_received`` and
    ``end_received``, or ``exchange_failed``. For what is to be dropped, paused and resumed, the
    exchange is a transport of its own.
    """

    exchange: int
    request: Request


@dataclass(frozen=True, slots=True)
class CloseTransport:
    """Close at once, or stop opening; no answer."""

    transport: int


@dataclass(frozen=True, slots=True)
class KeepTransport:
    """The exchange is over and its transport could carry another to ``origin``, for ``seconds``.

    Keep it, or close it; no answer. Whoever keeps it gives it to a later
    :class:`OpenTransport` of that origin, under the number of that one.
    """

    transport: int
    origin: Origin
    seconds: float


@dataclass(frozen=True, slots=True)
class PauseTransport:
    """Stop reading; no answer."""

    transport: int


@dataclass(frozen=True, slots=True)
class ResumeTransport:
    """Read again; no answer."""

    transport: int


WireAction: TypeAlias = (
    Event
    | StateChanged
    | ErrorOccurred
    | ScheduleReconnect
    | PostAnswered
    | RequestAdmission
    | PrepareRequest
    | OpenTransport
    | SendBytes
    | StartExchange
    | CloseTransport
    | KeepTransport
    | PauseTransport
    | ResumeTransport
)
"""What a :class:`~sansio_sse.wire.WireMachine` answers, or one of its kind."""
