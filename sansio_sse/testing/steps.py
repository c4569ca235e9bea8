"""What a scripted server can do, one step at a time: the vocabulary of scripts.

Steps are values: a script is written once, looked at, put together and used again. They say *what*
happens; :mod:`sansio_sse.testing.network` makes it happen. Times are seconds; ``after`` counts from
the step before, ``at`` and ``until`` are times on the clock.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from sansio_sse.encoder import encode_event
from sansio_sse.errors import TLSError
from sansio_sse.event_stream import ServerSentEvent
from sansio_sse.http import Headers, HeadersInput, make_request

__all__ = [
    "Accept",
    "Cut",
    "End",
    "Framing",
    "Refusal",
    "Refuse",
    "Reset",
    "Respond",
    "ScriptedCertificateError",
    "Send",
    "Stall",
    "Step",
    "send_event",
]

Framing = Literal["chunked", "close"]
"""How a body says where it ends: in chunks, or by the end of the transport."""

Refusal = Literal["refused", "unreachable", "reset", "dns", "tls", "certificate"]
"""Why a transport does not open."""


class ScriptedCertificateError(Exception):
    """A certificate which does not verify, in the shape in which ``ssl`` says so."""

    verify_code = 18
    verify_message = "self-signed certificate"


# New ones each time: an exception that is raised again grows.
_REFUSALS: dict[str, Callable[[], BaseException]] = {
    "refused": lambda: ConnectionRefusedError(111, "Connection refused"),
    "unreachable": lambda: OSError(101, "Network is unreachable"),
    "reset": lambda: ConnectionResetError(104, "Connection reset by peer"),
    "dns": lambda: OSError(-2, "Name or service not known"),
    "tls": lambda: TLSError("TLS failed: handshake failure"),
    "certificate": lambda: ScriptedCertificateError("certificate verify failed"),
}


@dataclass(frozen=True, slots=True)
class Refuse:
    """Do not open the transport: a first step, and the only one.

    >>> Refuse("dns").error()
    OSError(-2, 'Name or service not known')
    """

    why: Refusal | Callable[[], BaseException] = "refused"
    """A reason, or a function which makes the exception."""
    after: float = 0.0

    def error(self) -> BaseException:
        """Return the exception that the client is told."""
        return self.why() if callable(self.why) else _REFUSALS[self.why]()


@dataclass(frozen=True, slots=True)
class Accept:
    """Open the transport, TLS included, after a time: a first step; without it, at once."""

    after: float = 0.0
    reading: bool = True
    """False: take no byte of the request, so that writing it never ends."""


@dataclass(frozen=True, slots=True)
class Respond:
    r"""Answer with a head.

    A 200 without a content type of its own is an event stream. ``content`` is a whole body with its
    Content-Length; without it, what is sent next is framed as ``framing`` says, unless the headers
    frame it already.

    >>> Respond(503, {"Retry-After": "120"}, content=b"later").head()
    b'HTTP/1.1 503 \r\nRetry-After: 120\r\nContent-Length: 5\r\n\r\n'
    """

    status: int = 200
    headers: HeadersInput = None
    framing: Framing = "chunked"
    content: bytes | None = None
    after: float = 0.0

    def __post_init__(self) -> None:
        checked: Headers = make_request(
            "GET", "http://checked.invalid/", headers=self.headers
        ).headers
        object.__setattr__(self, "headers", checked)

    @property
    def chunked(self) -> bool:
        """Whether what follows is to be put into chunks."""
        return self.framing == "chunked" and self._framed_by_us()

    def head(self) -> bytes:
        """Return the bytes of the head."""
        headers = list(make_request("GET", "http://checked.invalid/", headers=self.headers).headers)
        given = {name.lower() for name, _ in headers}
        if self.status == 200 and self.content is None and "content-type" not in given:
            headers.insert(0, ("Content-Type", "text/event-stream"))
        if self._framed_by_us():
            chunked = self.framing == "chunked"
            headers.append(("Transfer-Encoding", "chunked") if chunked else ("Connection", "close"))
        elif self.content is not None and "content-length" not in given:
            headers.append(("Content-Length", str(len(self.content))))
        lines = [f"HTTP/1.1 {self.status} ", *(f"{name}: {value}" for name, value in headers)]
        return "\r\n".join([*lines, "", ""]).encode()

    def _framed_by_us(self) -> bool:
        if self.content is not None or self.status < 200 or self.status in (204, 304):
            return False
        names = {pair[0].lower() for pair in self.headers or ()}
        return not names & {"content-length", "transfer-encoding"}


@dataclass(frozen=True, slots=True)
class Send:
    r"""Send bytes: of the body, once there is a head.

    >>> list(Send(b"data: hello\\n\\n", splits=5).pieces())
    [b'data:', b' hell', b'o\\n\\n']
    """

    data: bytes
    after: float = 0.0
    at: float | None = None
    """Not before this time on the clock."""
    splits: int | Sequence[int] = ()
    """Where to split: every so many bytes, or at these positions; each piece is a read."""
    every: float = 0.0
    """Seconds between the pieces."""
    raw: bool = False
    """Past the framing: bytes that are no chunk."""

    def pieces(self) -> Iterator[bytes]:
        """Return the data in its pieces."""
        size = len(self.data)
        inner = (
            range(self.splits, size, self.splits) if isinstance(self.splits, int) else self.splits
        )
        starts = [0, *inner]
        for start, end in zip(starts, [*starts[1:], size], strict=True):
            yield self.data[start:end]


@dataclass(frozen=True, slots=True)
class Stall:
    """Do nothing: for some seconds, until a time on the clock, or (with neither) for ever."""

    seconds: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class End:
    """End the response well; so does a script that is at its end."""

    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Cut:
    """End the transport here and now, by an EOF, whatever the framing had promised."""

    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Reset:
    """Break the transport: what is on its way still arrives, then the client gets an error."""

    after: float = 0.0
    error: Callable[[], BaseException] = field(default=_REFUSALS["reset"], repr=False)


Step: TypeAlias = Refuse | Accept | Respond | Send | Stall | End | Cut | Reset
"""One step of a script."""


def send_event(
    data: str | ServerSentEvent = "",
    *,
    event: str | None = None,
    id: str | None = None,
    retry: int | None = None,
    after: float = 0.0,
    at: float | None = None,
) -> Send:
    r"""Return the step that sends one event, as :func:`~sansio_sse.encode_event` writes it.

    >>> send_event("hello", id="1", after=2.5)
    Send(data=b'id: 1\ndata: hello\n\n', after=2.5, at=None, splits=(), every=0.0, raw=False)
    """
    return Send(encode_event(data, event=event, id=id, retry=retry), after=after, at=at)
