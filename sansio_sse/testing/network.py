"""A network that exists only in a script: servers by origin, and the transports that lead to them.

It stands in for everything behind ``OpenTransport``: names, TCP, TLS and servers. A client opens a
transport and is told what happens to it through a :class:`TransportListener`; when, is the
business of a :class:`~sansio_sse.testing.clock.VirtualClock`. Both the simulation beside this
module and the virtual event loops of the drivers run over it, so that a script means the same in
each.

It must not know machines or drivers, and nothing here waits.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Protocol, Self, TypeAlias, assert_never

import h11

from sansio_sse.errors import ConnectError
from sansio_sse.http import Headers, Origin

from .chance import SeededRandom
from .clock import VirtualClock, VirtualTimer
from .steps import Accept, Cut, End, Refuse, Reset, Respond, Send, Stall, Step

__all__ = [
    "Behaviour",
    "Handler",
    "IncomingRequest",
    "ScriptedNetwork",
    "ScriptedServer",
    "ScriptedTransport",
    "TransportListener",
]

_WINDOW = 65536  # bytes which a client that does not read lets a server send


class TransportListener(Protocol):
    """What a client is told about a transport it opened; never from within a call of its own."""

    __slots__ = ()

    def transport_opened(self) -> None:
        """It is open, TLS included."""

    def transport_failed(self, error: BaseException) -> None:
        """It could not be opened, or broke; nothing follows."""

    def bytes_received(self, data: bytes) -> None:
        """Bytes arrived."""

    def end_received(self) -> None:
        """The server ended its side."""


@dataclass(frozen=True, slots=True, repr=False)
class IncomingRequest:
    """A request as a scripted server sees it."""

    method: str
    target: str
    headers: Headers
    content: bytes
    number: int
    """The how-manieth transport to this server it came by, from 1."""
    at: float
    """When it was complete."""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def last_event_id(self) -> str:
        """Where the client wants to go on, empty where it begins."""
        return self.header("last-event-id") or ""

    def header(self, name: str) -> str | None:
        """Return the first value of a header, by any case of its name."""
        values = (value for key, value in self.headers if key.lower() == name.lower())
        return next(values, None)

    def __repr__(self) -> str:
        return f"<IncomingRequest {self.number} {self.method} {self.path} at {self.at:g} s>"


Handler: TypeAlias = Callable[[IncomingRequest], Iterable[Step]]
"""Answers a request; a generator is asked for each step when the one before is done."""
Behaviour: TypeAlias = Sequence[Step] | Handler
"""How one incoming transport is answered: by the same steps for any request, or by a handler."""


class _Line:
    """Behaviours that wait for their turn; the last stays for good."""

    __slots__ = ("_behaviours",)

    def __init__(self, behaviours: Iterable[Behaviour]) -> None:
        self._behaviours = deque(behaviours)
        if not self._behaviours:
            raise ValueError("a server needs at least one behaviour")

    def add(self, behaviours: Iterable[Behaviour]) -> None:
        self._behaviours.extend(behaviours)

    def first_step(self) -> Step | None:
        behaviour = self._behaviours[0]
        return None if callable(behaviour) or not behaviour else behaviour[0]

    def take(self) -> Behaviour:
        if len(self._behaviours) > 1:
            return self._behaviours.popleft()
        return self._behaviours[0]


class ScriptedServer:
    """What answers at one origin; :meth:`ScriptedNetwork.server` makes it.

    Behaviours stand in a line. A transport takes the first one away: when it is refused by it, or
    when its request arrives. The last behaviour stays, for all who come later. Requests to a path
    with a :meth:`route` take from the line of that route instead, so that pings and posts do not
    disturb the stream's.
    """

    __slots__ = ("_line", "_routes", "connections", "latency", "origin", "refusals", "requests")

    def __init__(self, origin: Origin, behaviours: Iterable[Behaviour], latency: float) -> None:
        self.origin: Origin = origin
        self.latency: float = latency
        """Seconds from one side to the other."""
        self.connections: int = 0
        """Transports that were tried, refused ones and those of outages included."""
        self.refusals: int = 0
        """Transports that did not open."""
        self.requests: list[IncomingRequest] = []
        """All complete requests, in order."""
        self._line = _Line(behaviours)
        self._routes: dict[str, _Line] = {}

    def then(self, *behaviours: Behaviour) -> Self:
        """Add behaviours at the end of the line: the one that was last is now taken only once."""
        self._line.add(behaviours)
        return self

    def route(self, path: str, *behaviours: Behaviour) -> Self:
        """Answer requests to ``path`` (without a query) by a line of its own."""
        self._routes[path] = _Line(behaviours)
        return self

    def _answer(self, request: IncomingRequest) -> Iterable[Step]:
        self.requests.append(request)
        behaviour = self._routes.get(request.path, self._line).take()
        return behaviour(request) if callable(behaviour) else behaviour

    def __repr__(self) -> str:
        return f"<ScriptedServer {self.origin}>"


class ScriptedTransport:
    """The client's end of a transport; :meth:`ScriptedNetwork.open` makes it."""

    __slots__ = (
        "_closed",
        "_listener",
        "_mailbox",
        "_network",
        "_number",
        "_open",
        "_parser",
        "_paused",
        "_reading",
        "_script",
        "_server",
        "_timer",
        "_unread",
        "_window_full",
    )

    def __init__(
        self, network: "ScriptedNetwork", server: ScriptedServer, listener: TransportListener
    ) -> None:
        self._network = network
        self._server = server
        self._listener = listener
        self._number = server.connections
        self._open = False
        self._closed = False
        self._reading = True
        self._paused = False
        self._mailbox: deque[tuple[Callable[..., None], bytes | BaseException | None]] = deque()
        self._unread = 0
        self._window_full = False
        self._parser = h11.Connection(h11.SERVER)
        self._script: Iterator[float | bytes | Cut | Reset] = iter(())
        self._timer: VirtualTimer | None = self._later(server.latency, self._knock)

    # --- The client's commands -----------------------------------------------------------------

    def send(self, data: bytes) -> bool:
        """Write; return whether all of it has left (the server may not read)."""
        if self._reading:
            self._later(self._server.latency, self._sent, data)
        return self._reading

    def close(self) -> None:
        """Close at once, or stop opening; harmless when repeated."""
        self._closed = True
        # A handler which is a generator is closed with it.
        self._script = iter(())
        self._mailbox.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._network._forget(self)

    def pause(self) -> None:
        """Stop reading: what arrives waits, and when it is much, the server waits too."""
        self._paused = True

    def resume(self) -> None:
        """Read again."""
        self._paused = False
        if self._mailbox:
            self._later(0.0, self._flush)

    # --- Opening -------------------------------------------------------------------------------

    def _knock(self) -> None:
        server = self._server
        if self._network._is_down(server.origin):
            self._refused(Refuse())
            return
        first = server._line.first_step()
        if isinstance(first, Refuse):
            server._line.take()
            self._timer = self._later(first.after, self._refused, first)
            return
        accept = first if isinstance(first, Accept) else Accept()
        self._reading = accept.reading
        self._timer = self._later(accept.after, self._accepted)

    def _refused(self, refuse: Refuse) -> None:
        self._server.refusals += 1
        self._to_client(self._failed, refuse.error())

    def _accepted(self) -> None:
        self._to_client(self._opened)

    def _opened(self, _: None) -> None:
        self._open = True
        self._listener.transport_opened()

    def _failed(self, error: BaseException) -> None:
        self.close()
        self._listener.transport_failed(error)

    # --- The server's side ---------------------------------------------------------------------

    def _sent(self, data: bytes) -> None:
        """Read what the client wrote; when the request is complete, begin to answer."""
        if self._closed:
            return
        parser = self._parser
        parser.receive_data(data)
        head: h11.Request | None = None
        content = b""
        while True:
            event = parser.next_event()
            if isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                content += event.data
            else:
                break
        # A machine writes its request in one piece, so it is all here.
        assert head is not None
        assert isinstance(event, h11.EndOfMessage)
        headers = tuple(
            (name.decode(), value.decode(errors="replace"))
            for name, value in head.headers.raw_items()
        )
        request = IncomingRequest(
            head.method.decode(),
            head.target.decode(),
            headers,
            content,
            self._number,
            self._network.clock.now,
        )
        self._script = self._perform(self._server._answer(request))
        self._go_on()

    def _go_on(self) -> None:
        """Do what the script says, up to where it waits: for a time, or for the client to read."""
        clock = self._network.clock
        room = _WINDOW
        while not self._closed:
            if room <= 0:  # others have their turn, or an endless script would be the end of all
                self._timer = self._later(0.0, self._go_on)
                return
            if self._unread >= _WINDOW:
                self._window_full = True
                return
            match next(self._script, None):
                case bytes() as data:
                    room -= len(data) + 1
                    self._to_client(self._listener.bytes_received, data)
                case float() as at:
                    if at > clock.now:
                        self._timer = clock.call_at(at, self._go_on) if at < inf else None
                        return
                case Cut():
                    self._to_client(self._ended)
                case Reset() as reset:
                    self._to_client(self._failed, reset.error())
                case _:
                    return

    def _perform(self, steps: Iterable[Step]) -> Iterator[float | bytes | Cut | Reset]:
        """Turn steps into primitives: wait until a time, send bytes, end or break the transport."""
        clock = self._network.clock
        chunked = False
        for step in steps:
            match step:
                case Accept():
                    pass  # done when the transport was opened
                case Respond():
                    yield clock.now + step.after
                    yield step.head() + (step.content or b"")
                    chunked = step.chunked
                case Send():
                    at = clock.now + step.after
                    yield at if step.at is None else max(at, float(step.at))
                    for number, piece in enumerate(step.pieces()):
                        if number and step.every:
                            yield clock.now + step.every
                        if chunked and not step.raw:
                            yield b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
                        else:
                            yield piece
                case Stall(seconds, until):
                    if until is not None:
                        yield float(until)
                    else:
                        yield inf if seconds is None else clock.now + seconds
                case End():
                    yield clock.now + step.after
                    break
                case Cut():
                    yield clock.now + step.after
                    yield step
                    return
                case Reset():
                    yield clock.now + step.after
                    yield step
                    return
                case Refuse():  # it came too late to refuse
                    yield Reset(error=step.error)
                    return
                case _:
                    assert_never(step)
        if chunked:
            yield b"0\r\n\r\n"
        yield Cut()

    # --- What arrives at the client ------------------------------------------------------------

    def _later(
        self, seconds: float, callback: Callable[..., None], *arguments: Any
    ) -> VirtualTimer:
        clock = self._network.clock
        return clock.call_at(clock.now + seconds, callback, *arguments)

    def _to_client(self, news: Callable[..., None], content: Any = None) -> None:
        if self._server.latency:
            self._later(self._server.latency, self._arrived, news, content)
        else:
            self._arrived(news, content)

    def _arrived(self, news: Callable[..., None], content: bytes | BaseException | None) -> None:
        if self._closed:
            return
        if self._paused or self._mailbox:
            self._mailbox.append((news, content))
            self._unread += len(content) if isinstance(content, bytes) else 0
        elif content != b"":
            news(content)

    def _flush(self) -> None:
        while self._mailbox and not self._paused:
            news, content = self._mailbox.popleft()
            self._unread -= len(content) if isinstance(content, bytes) else 0
            news(content)
        if self._window_full and self._unread < _WINDOW:
            self._window_full = False
            self._go_on()

    def _ended(self, _: None) -> None:
        self._listener.end_received()


class ScriptedNetwork:
    """Servers by origin, and all transports that are open to them.

    :param seed: of :attr:`random`, from which everything left to chance is drawn.
    :param latency: seconds that anything takes from one side to the other; each server may have its
        own.
    :param clock: on which everything happens; by default a new one, from 0.

    >>> from sansio_sse.testing import Respond, ScriptedNetwork, Stall, send_event
    >>> network = ScriptedNetwork(seed=1)
    >>> network.server("https://api.example.com", [Respond(), send_event("hello"), Stall()])
    <ScriptedServer https://api.example.com>
    >>> network.outage(10.0, 40.0)
    """

    def __init__(
        self, seed: int = 0, *, latency: float = 0.0, clock: VirtualClock | None = None
    ) -> None:
        self.clock: VirtualClock = VirtualClock() if clock is None else clock
        """On which everything here happens."""
        self.random: SeededRandom = SeededRandom(seed)
        """From which everything left to chance is drawn."""
        self.seed: int = seed
        self.latency: float = latency
        self._servers: dict[Origin, ScriptedServer] = {}
        self._live: dict[ScriptedTransport, None] = {}
        self._down: list[Origin | None] = []

    def server(
        self, origin: str, *behaviours: Behaviour, latency: float | None = None
    ) -> ScriptedServer:
        """Put a server at an origin (any url of it will do), in place of one that is there."""
        key = Origin.of(origin)
        server = ScriptedServer(key, behaviours, self.latency if latency is None else latency)
        self._servers[key] = server
        return server

    def outage(self, start: float, end: float, origin: str | None = None) -> None:
        """Refuse every transport from ``start`` to ``end``; reset those that are open at ``start``.

        Without an origin it concerns all servers. Times are those of the clock.
        """
        if end < start:
            raise ValueError(f"an outage cannot end ({end:g} s) before it begins ({start:g} s)")
        where = None if origin is None else Origin.of(origin)
        self.clock.call_at(start, self._go_down, where)
        self.clock.call_at(end, self._down_no_more, where)

    def open(self, origin: Origin, listener: TransportListener) -> ScriptedTransport:
        """Open a transport; for drivers. What comes of it is told to the listener, never at once.

        Where no server is scripted, that is what the listener is told, as an error not worth a
        retry: it is a mistake in the test, not weather.
        """
        server = self._servers.get(origin)
        if server is None:
            known = ", ".join(map(str, self._servers)) or "none"
            text = f"no server is scripted for {origin}; there are: {known}"
            refuse = Refuse(lambda: ConnectError(text, retryable=False))
            server = ScriptedServer(origin, [[refuse]], self.latency)
        server.connections += 1
        transport = ScriptedTransport(self, server, listener)
        self._live[transport] = None
        return transport

    @property
    def transports(self) -> int:
        """How many transports are open or being opened: 0 when nothing leaked."""
        return len(self._live)

    def _is_down(self, origin: Origin) -> bool:
        return any(where in (None, origin) for where in self._down)

    def _go_down(self, where: Origin | None) -> None:
        self._down.append(where)
        for transport in list(self._live):
            if where in (None, transport._server.origin):
                transport._server.refusals += not transport._open
                error = Refuse("reset" if transport._open else "refused").error()
                transport._arrived(transport._failed, error)

    def _down_no_more(self, where: Origin | None) -> None:
        self._down.remove(where)

    def _forget(self, transport: ScriptedTransport) -> None:
        self._live.pop(transport, None)
