"""What every driver shares: the pure half of a ``Connection``.

A driver *pushes* (asyncio: bytes arrive in callbacks) or *pulls* (trio, plain sockets: somebody
awaits or selects), but what has to happen with each piece of news is the same, and it is written
here once:

* **the order**: one input, all its actions, then the next input. Performing an action can itself
  bring news (a synchronous send, a callback that calls ``close()``), so such inputs queue up;
* **the deadline**: compared with what is armed after each input;
* **the buffer**: events wait here for a reader, within bounds; what overflow means; what has been
  *delivered*;
* **who watches**: readers, state and error watchers, callbacks, callers of ``wait_for`` and
  ``post``;
* **the end**: who is woken with what;
* **commands from elsewhere**: from another thread, task or signal handler.

A driver's ``Connection`` subclasses this by way of a *face* (:mod:`sansio_sse.faces`: async or not)
and writes the *verbs*, about ten small methods, none of which decides anything:

============================ =====================================================================
``_set_up()``                make the driver's own attributes
``_now()``                   monotonic seconds
``_wall_clock()``            seconds since 1970, for people
``_random()``                a number in [0, 1)
``_arm(at)``                 call ``_deadline_reached()`` at ``at``; ``None``: call it no more
``_wake()``                  whoever waits should look again: soon, not within this call
``_from_elsewhere(command)`` call ``command()`` soon, on the driver's own thread
``_open(transport, origin)`` then ``_take(WireMachine.transport_opened, …)``, or ``…_failed``
``_send(transport, data)``   then ``_take(WireMachine.bytes_sent, …)``, or ``transport_failed``
``_drop(transport)``         close at once, or stop opening, or stop preparing
``_reading(transport, on)``  read, or do not
``_prepare(request, n)``     only for an async ``prepare_request``
``_unhandled(error)``        a callback raised and nobody takes errors
``_exchange(n, request)``    (in place of ``_open`` and ``_send``, for a driver that has an HTTP
                             client make the exchanges of an ``ExchangeMachine``)
``_ended()``                 (optional) CLOSED: let go of what serves all transports
``_released()``              whether nothing is left of this connection outside of it
============================ =====================================================================

What a transport reads goes to ``_bytes_received(transport, data)``, all other news to ``_take(…)``.
"""

import itertools
import json as json_module
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeAlias, TypeVar, assert_never

from .actions import (
    CloseTransport,
    Connected,
    ErrorOccurred,
    Event,
    KeepTransport,
    OpenTransport,
    PauseTransport,
    PostAnswered,
    PrepareRequest,
    RequestAdmission,
    ResumeTransport,
    ScheduleReconnect,
    SendBytes,
    StartExchange,
    StateChanged,
)
from .attempt import Decide
from .carrier import Carrier
from .config import (
    DEFAULT_CONFIG,
    ConnectionConfig,
    Endpoint,
    make_endpoint_request,
    make_endpoints,
)
from .connection import ConnectionMachine, Include, Until
from .endpoints import EndpointStats
from .errors import (
    BufferOverflow,
    ConfigError,
    ConnectionClosed,
    LocalProtocolError,
    SSEError,
    redact_url,
)
from .event_stream import Comment, LastEventIdChanged, ServerSentEvent
from .failover import FailoverMachine
from .http import Headers, HeadersInput, Origin, Request, Response, make_request
from .machine_driver import MachineDriver, Waiting, Watcher
from .metrics import ConnectionMetrics, counted
from .states import ConnectionState
from .timeline import History, StateSpan, spans, with_change
from .wire import WireMachine

__all__ = [
    "ConnectionDriver",
    "ConnectionInfo",
    "PostResponse",
    "PrepareRequestHook",
    "Watcher",
]

T = TypeVar("T")
if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    EventT = TypeVarWithDefault("EventT", default=ServerSentEvent)
else:
    # Defaults come with Python 3.13.
    EventT = TypeVar("EventT")
    """What a connection's reader is given: ServerSentEvent, unless said otherwise."""
DriverT = TypeVar("DriverT", bound="ConnectionDriver")

WireNews: TypeAlias = (
    OpenTransport
    | SendBytes
    | StartExchange
    | CloseTransport
    | PauseTransport
    | ResumeTransport
    | KeepTransport
    | RequestAdmission
    | PrepareRequest
    | StateChanged
    | ErrorOccurred
    | PostAnswered
    | ScheduleReconnect
)

_CONNECTING = ConnectionState.CONNECTING
_CONNECTED = ConnectionState.CONNECTED
_CLOSED = ConnectionState.CLOSED
_DISCONNECTED = ConnectionState.DISCONNECTED
_RECONNECTING = ConnectionState.RECONNECTING
_ERROR = ConnectionState.ERROR

_NEWS = frozenset(
    {
        StateChanged,
        ErrorOccurred,
        ScheduleReconnect,
        OpenTransport,
        StartExchange,
        CloseTransport,
    }
)
"""What observers and logs are told of."""
_EVENT_TYPES = (ServerSentEvent, Connected, Comment, LastEventIdChanged)
_NOT_CONNECTED = "not connected: use `async with`, open() or connect() first"

PrepareRequestHook = Callable[[Request, int], Any]
"""``prepare_request(request, attempt)``: returns a Request, or an awaitable of one where the driver
is async."""


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """One connection at a glance; times are seconds since 1970, rates percent.

    >>> "uptime" in ConnectionInfo.__slots__
    True
    """

    id: int
    name: str | None
    url: str
    """Redacted."""
    state: ConnectionState
    uptime: float
    reconnect_attempts: int
    """Retries scheduled since the last progress."""
    missed_heartbeats: int
    connect_success_rate: float
    heartbeat_success_rate: float
    last_connect: float | None
    last_disconnect: float | None
    last_event: float | None
    last_heartbeat: float | None
    next_reconnect: float | None
    """When the next attempt begins, while one is waited for."""
    metrics: ConnectionMetrics
    endpoints: Sequence[EndpointStats] = ()
    """What is known of each, if the connection has several."""
    method: str = "GET"
    buffered: int = 0
    """Events that wait for a reader; ``buffer_size`` and more is a full buffer."""


@dataclass(frozen=True, slots=True)
class PostResponse:
    """The answer to a post, whatever its status.

    >>> PostResponse(200, (("Content-Type", "application/json"),), b'{"ok":true}').json()
    {'ok': True}
    """

    status: int
    headers: Headers = ()
    content: bytes = b""

    def __repr__(self) -> str:
        return f"<PostResponse {self.status}, {len(self.content)} bytes>"

    def json(self) -> Any:
        """Return the content read as JSON."""
        return json_module.loads(self.content)


class _Reply:
    """Where the answer to a post is put."""

    __slots__ = ("answer",)

    def __init__(self) -> None:
        self.answer: PostAnswered | None = None


class ConnectionDriver(MachineDriver, Generic[EventT]):
    """An event stream; ``with`` or ``async with`` (or ``open()``) begins it.

    The block is entered when the stream is first accepted, retrying by policy until then; with
    ``wait=False`` at once. Leaving it closes the connection. This is the pure half of every
    driver's ``Connection``; the module's text says what a driver adds.

    :param url: http or https; joined to ``config.base_url``. Userinfo becomes Basic auth.
    :param method: the request's method.
    :param headers: the request's headers; they win over ``config.headers`` by name.
    :param content: the request's body.
    :param json: the request's body as JSON, with its content type.
    :param last_event_id: the cursor to begin with.
    :param endpoints: several places where this stream is served, urls or
        :class:`~sansio_sse.config.Endpoint` objects; ``url`` is joined to each. The stream comes
        from the first by ``priority`` that is healthy, and returns to it.
    :param config: timeouts, reconnection, heartbeat, limits, buffer; see
        :class:`~sansio_sse.config.ConnectionConfig`.
    :param ssl_context: an ``ssl.SSLContext`` for https; by default one that verifies, and honours
        SSL_CERT_FILE and SSL_CERT_DIR.
    :param until: what ends a finite stream: a predicate on events, a string equal to an event's
        data or type, or a :class:`~sansio_sse.profiles.Profile`.
    :param decide: ``decide(response, attempt)`` may overrule what a response means.
    :param prepare_request: ``prepare_request(request, attempt)`` runs before each attempt and
        returns the request, perhaps changed (a fresh token); it may be async where the driver is.
    :param include: ``"connected"``, ``"comments"``, ``"ids"`` join the events, each in its place.
        Type checkers take what is read for ServerSentEvents; ``Connection[Event](url, include=…)``
        tells them that it is any :data:`~sansio_sse.actions.Event`.
    :param on_event: called with the connection and each event, in place of iteration.
    :param on_change: called with the connection and each state change.
    :param on_error: called with the connection and each error, or exception of a callback.
    :param name: for people, in ``info()`` and ``repr()``.
    :param uds: connect to this Unix socket, whatever the url's host.
    :param proxy: only with ``sansio_sse_httpcore``; an httpx client has its own. HTTPS_PROXY is
        not read.
    :param wait: whether entering waits for the stream to be accepted.

    Raises :class:`~sansio_sse.errors.ConfigError` for what cannot be.
    """

    __slots__ = (
        "_buffer",
        "_closing",
        "_delivered",
        "_entered",
        "_handing_over",
        "_history",
        "_id",
        "_on_change",
        "_on_error",
        "_on_event",
        "_paused",
        "_prepare_request",
        "_reading_now",
        "_restarting",
        "_size",
        "_ssl_context",
        "_started",
        "_stopped",
        "_uds",
        "_wait_entered",
        "name",
    )

    _ids: ClassVar[Iterable[int]] = itertools.count(1)
    _carrier: ClassVar[type[Carrier]] = WireMachine
    """What carries the exchanges: an ExchangeMachine, where an HTTP client does it."""

    def __init__(
        self,
        url: str = "",
        *,
        method: str = "GET",
        headers: HeadersInput = None,
        content: bytes | str | None = None,
        json: Any = None,
        last_event_id: str = "",
        endpoints: Sequence[Endpoint | str] | None = None,
        config: ConnectionConfig | None = None,
        ssl_context: Any = None,
        until: Until | None = None,
        decide: Decide | None = None,
        prepare_request: PrepareRequestHook | None = None,
        include: Collection[Include] = (),
        on_event: Callable[[Self, EventT], object] | None = None,
        on_change: Callable[[Self, StateChanged], object] | None = None,
        on_error: Callable[[Self, BaseException], object] | None = None,
        name: str | None = None,
        uds: str | None = None,
        proxy: str | None = None,
        wait: bool = True,
    ) -> None:
        if proxy is not None:
            raise ConfigError(
                "proxy: this driver has no proxies; connect() of sansio_sse_httpcore has them"
            )
        config = config or DEFAULT_CONFIG
        places = None if endpoints is None else make_endpoints("endpoints", endpoints)
        if places is None and not url:
            raise ConfigError("a connection needs a url, or endpoints")
        parts: dict[str, Any] = {
            "headers": headers,
            "default_headers": config.headers,
            "content": content,
            "json": json,
        }
        requests = (
            [make_request(method, url, base_url=config.base_url, **parts)]
            if places is None
            else [make_endpoint_request(place, method, url, **parts) for place in places]
        )
        options: dict[str, Any] = {
            "random": self._random,
            "last_event_id": last_event_id,
            "until": until,
            "decide": decide,
            "prepare": prepare_request is not None,
            "include": include,
        }
        self._set_out(
            ConnectionMachine(requests[0], config, **options)
            if places is None
            else FailoverMachine(requests, places, config, **options),
            prepare_request=prepare_request,
            on_event=on_event,
            on_change=on_change,
            on_error=on_error,
            name=name,
            ssl_context=ssl_context,
            uds=uds,
            wait=wait,
        )

    def _set_out(
        self,
        machine: ConnectionMachine,
        *,
        prepare_request: PrepareRequestHook | None = None,
        on_event: Callable[[Any, Any], object] | None = None,
        on_change: Callable[[Any, StateChanged], object] | None = None,
        on_error: Callable[[Any, BaseException], object] | None = None,
        name: str | None = None,
        ssl_context: Any = None,
        uds: str | None = None,
        wait: bool = True,
    ) -> None:
        """Make what a connection is made of, around its machine."""
        self._machine: ConnectionMachine = machine
        self._wire: Any = self._carrier(machine)
        self._prepare_request = prepare_request
        self._on_event: Callable[[Any, Any], object] | None = on_event
        self._on_change: Callable[[Any, StateChanged], object] | None = on_change
        self._on_error: Callable[[Any, BaseException], object] | None = on_error
        self.name: str | None = name
        self._id = next(iter(self._ids))

        self._prepare_feeding()
        self._size = machine.config.buffer_size
        self._history: History = ()
        self._buffer: deque[Any] | None = None  # made when the first event comes
        self._paused = False
        self._reading_now: object = None  # who waits for an event
        self._handing_over = False  # after this input the driver itself lets the reader go on
        self._delivered = machine.received_event_id
        self._started = False
        self._entered = False
        self._closing = False
        self._restarting = False  # a restart is on its way: what has ended will go on
        self._stopped = False  # nothing more is delivered: closing, or about to restart elsewhere
        self._wait_entered = wait
        self._ssl_context = ssl_context
        self._uds = uds
        self._set_up()

    # --- Look ----------------------------------------------------------------------------------

    @property
    def state(self) -> ConnectionState:
        """Where the stream is in its life."""
        return self._machine.state

    @property
    def last_event_id(self) -> str:
        """The cursor of what the reader has been *given*.

        A thousand received events may still be unread.
        """
        if self._buffer or self._stopped or self._busy:
            return self._delivered
        return self._machine.received_event_id

    @property
    def received_event_id(self) -> str:
        """The cursor of what has been received: what a reconnect sends."""
        return self._machine.received_event_id

    @property
    def response(self) -> Response | None:
        """Status, headers and HTTP version of the latest accepted response."""
        return self._machine.response

    @property
    def metrics(self) -> ConnectionMetrics:
        """A snapshot of all counters; may be read from any thread."""
        return self._machine.snapshot(self._now())

    def info(self) -> ConnectionInfo:
        """Return the connection at a glance, with wall-clock times."""
        now, wall = self._now(), self._wall_clock()
        machine = self._machine
        metrics = machine.snapshot(now)

        def on_the_wall(at: float | None) -> float | None:
            return None if at is None else wall - (now - at)

        return ConnectionInfo(
            id=self._id,
            name=self.name,
            url=redact_url(machine.request.url),
            state=machine.state,
            uptime=metrics.uptime,
            reconnect_attempts=machine.retries,
            missed_heartbeats=machine.missed_heartbeats,
            connect_success_rate=metrics.connect_success_rate,
            heartbeat_success_rate=metrics.heartbeat_success_rate,
            last_connect=on_the_wall(metrics.last_connect),
            last_disconnect=on_the_wall(metrics.last_disconnect),
            last_event=on_the_wall(metrics.last_event),
            last_heartbeat=on_the_wall(metrics.last_heartbeat),
            next_reconnect=on_the_wall(machine.reconnect_at),
            metrics=metrics,
            endpoints=machine.endpoints if isinstance(machine, FailoverMachine) else (),
            method=machine.request.method,
            buffered=len(self._buffer or ()),
        )

    def timeline(self) -> tuple[StateSpan, ...]:
        """Return which states the connection has been in, oldest first; the last is the present.

        At most :data:`~sansio_sse.timeline.TIMELINE_LENGTH` spans, in seconds since 1970. May be
        called from any thread.
        """
        return tuple(spans(self._history, self._wall_clock() - self._now()))

    def __repr__(self) -> str:
        machine = self._machine
        state = machine.state
        parts = [redact_url(machine.request.url)]
        if machine.metrics.events_received:
            parts.append(counted(machine.metrics.events_received, "event"))
        if machine.metrics.reconnect_successes:
            parts.append(counted(machine.metrics.reconnect_successes, "reconnect"))
        if state is _RECONNECTING:
            parts.append(f"retry {machine.retries}")
        if machine.error is not None:
            parts.append(f"{type(machine.error).__name__}: {machine.error.message}")
        name = f" {self.name!r}" if self.name else ""
        return f"<{type(self).__name__}{name} {state.value} {', '.join(parts)}>"

    # --- Commands ------------------------------------------------------------------------------

    def disconnect(self) -> None:
        """End the stream within one turn of the loop; buffered events are still delivered.

        Callable from any task, thread, callback or signal handler; ``connect()`` may begin again.
        """
        self._from_elsewhere(self._disconnect_now)

    def restart(self, last_event_id: str | None = None) -> None:
        """Drop what is under way and connect at once, without a delay, within one turn of the loop.

        ``None`` keeps buffer and cursor; a value replaces the cursor and drops the buffer. Raises
        :class:`LocalProtocolError` on a connection that is closed, or was never begun.
        """
        if self._closing or self._machine.state is _CLOSED:
            raise LocalProtocolError("cannot restart: the connection is closed")
        if not self._started:
            raise LocalProtocolError(_NOT_CONNECTED)  # there is no loop yet to do it on
        if last_event_id is not None:
            if any(char in last_event_id for char in "\r\n\0"):
                raise ConfigError("last_event_id has a CR, LF or NUL")
            self._delivered = self.last_event_id
            self._stopped = True  # what is buffered belongs to the old cursor
        self._restarting = True
        self._from_elsewhere(lambda: self._restart_now(last_event_id))

    def close(self) -> None:
        """End for good: nothing is delivered any more, CLOSED follows within a turn of the loop.

        Idempotent, never blocks, callable from any task, thread, callback or signal handler. Events
        not yet read are discarded and counted. ``wait_closed()`` returns when everything is
        released.
        """
        self._delivered = self.last_event_id
        self._closing = self._stopped = True
        # By way of the loop even on its own thread: a signal handler may interrupt an input.
        self._from_elsewhere(self._close_now)

    def _check_idle(self) -> None:
        """Refuse to enter what is entered already, before anything that a failure would close."""
        state = self._machine.state
        if state not in (_DISCONNECTED, _ERROR):
            raise LocalProtocolError(f"cannot connect: the connection is {state.value}")

    def _connect_now(self) -> None:
        self._take(Carrier.connect)

    def _disconnect_now(self) -> None:
        self._take(Carrier.disconnect)

    def _restart_now(self, last_event_id: str | None) -> None:
        self._restarting = False
        if self._machine.state is _CLOSED:
            return  # closed since it was asked for
        if last_event_id is not None:
            self._discard()
            self._delivered = last_event_id
            self._stopped = self._closing
        self._take(_restart, last_event_id)
        self._drained()

    def _close_now(self) -> None:
        self._discard()
        self._take(Carrier.close)
        self._wake()

    def _discard(self) -> None:
        self._machine.metrics.events_dropped += _count_events(self._buffer or ())
        self._buffer = None

    # --- What happened -------------------------------------------------------------------------

    def _bytes_received(self, transport: int, data: bytes) -> None:
        """Do what ``_take(WireMachine.bytes_received, …)`` does, in one function rather than three.

        A driver calls this for what it has read: it is the way of every event.
        """
        if self._busy:
            self._take(_bytes_received, transport, data)
            return
        self._busy = True
        try:
            actions: Sequence[Any] = self._wire.bytes_received(transport, data, self._now())
            if actions:
                buffer = self._buffer
                if (
                    self._stopped
                    or type(actions[0]) is not ServerSentEvent
                    or type(actions[-1]) is not ServerSentEvent
                ):
                    self._perform(actions)
                elif self._on_event is not None:
                    self._call_back_events(self._on_event, actions)
                elif buffer is None or len(buffer) >= self._size:
                    self._deliver(actions)
                else:
                    buffer.extend(actions)
                    if len(buffer) >= self._size and not self._paused:
                        self._full()
                    if self._reading_now and not self._handing_over:
                        self._wake()
        finally:
            try:
                if self._inputs is not None:
                    self._take_waiting()
            finally:
                self._busy = False
                deadline, armed = self._machine.deadline, self._armed
                if armed is None or deadline is None or deadline < armed:
                    self._rearm()

    def _perform(self, actions: Sequence[Any]) -> None:
        # Other actions stand only before the first or after the last event: two looks do.
        if type(actions[0]) is ServerSentEvent and type(actions[-1]) is ServerSentEvent:
            self._deliver(actions)
            return
        events: list[Event] = []
        interrupt: BaseException | None = None
        for action in actions:
            if isinstance(action, _EVENT_TYPES):
                events.append(action)
                continue
            if events:
                self._deliver(events)
                events = []
            if type(action) in _NEWS:
                try:
                    self._notice(action)
                except BaseException as error:
                    # Ctrl-C, in a log handler or an observer: no reason to leave a transport open.
                    interrupt = error
            self._act(action)
        if events:
            self._deliver(events)
        if interrupt is not None:
            try:
                raise interrupt
            finally:
                interrupt = None  # which holds this frame

    def _act(self, action: WireNews) -> None:
        """Do one thing that is not an event."""
        match action:
            case OpenTransport(transport, origin):
                self._open(transport, origin)
            case SendBytes(transport, data):
                self._send(transport, data)
            case StartExchange(exchange, request):
                self._exchange(exchange, request)
            case CloseTransport(transport):
                self._drop(transport)
            case PauseTransport(transport):
                self._reading(transport, False)
            case ResumeTransport(transport):
                self._reading(transport, True)
            case StateChanged():
                self._changed(action)
            case ErrorOccurred(error):
                self._watched(error)
                self._report(error)
            case PrepareRequest(request, attempt):
                self._prepare_now(request, attempt)
            case RequestAdmission() | KeepTransport():
                raise AssertionError("only members of a pool or a set ask for these")
            case PostAnswered(token):
                assert isinstance(token, _Reply)
                token.answer = action
                self._wake()
            case ScheduleReconnect():
                pass  # the timer is armed with the deadline; people see it in info()
            case _:
                assert_never(action)

    def _notice(self, news: object, *, alone: bool = False) -> None:
        """Keep a piece of news, write it down, tell of it: before anything follows from it.

        ``alone``: nothing follows from it that would be news.
        """
        if isinstance(news, StateChanged):
            self._history = with_change(self._history, news)
        if self._log is not None:
            self._write_down(self._log.of_connection, news, alone)
        if self._observers:
            self._tell_observers(self, news)

    def _log_fields(self) -> dict[str, object]:
        return {
            "sse_connection": self._id,
            "sse_name": self.name,
            "sse_url": redact_url(self._machine.request.url),
        }

    def _changed(self, change: StateChanged) -> None:
        if change.new is _CONNECTED:
            self._entered = True
        elif change.new is _CONNECTING:
            self._started = True
            self._entered = False
        self._watched(change)
        if self._on_change is not None:
            self._call_back(self._on_change, change)
        self._wake()
        if change.new is _CLOSED:
            self._ended()

    def _prepare_now(self, request: Request, attempt: int) -> None:
        """Ask ``prepare_request``.

        What it returns is a request, or (async drivers) something to be awaited.
        """
        assert self._prepare_request is not None
        try:
            prepared = self._prepare_request(request, self._machine.retries)
        except Exception as error:
            self._take(Carrier.prepare_failed, attempt, error)
            return
        if hasattr(prepared, "__await__"):
            self._prepare(prepared, attempt)
        else:
            self._take(Carrier.request_prepared, attempt, prepared)

    # --- Events --------------------------------------------------------------------------------

    def _deliver(self, events: Sequence[Event]) -> None:
        if self._stopped:
            self._machine.metrics.events_dropped += _count_events(events)
            return
        if self._on_event is not None:
            self._call_back_events(self._on_event, events)
            return
        buffer = self._buffer
        if buffer is None:
            buffer = self._buffer = deque()
        if len(buffer) >= self._size and not self._make_room(buffer, events):
            return
        buffer.extend(events)
        if len(buffer) >= self._size and not self._paused:
            self._full()
        if self._reading_now and not self._handing_over:
            self._wake()

    def _make_room(self, buffer: deque[Any], events: Sequence[Event]) -> bool:
        """A read comes although the buffer was full before it: follow the policy.

        Return whether to take it.
        """
        overflow = self._machine.config.overflow
        metrics = self._machine.metrics
        if overflow == "drop_oldest":
            left = len(buffer)
            surplus = min(left, left + len(events) - max(self._size, len(events)))
            dropped = _count_events([buffer.popleft() for _ in range(surplus)])
            metrics.events_dropped += dropped
            if dropped:  # else they were comments and the like
                self._dropped(dropped)
        elif overflow == "error":
            metrics.events_dropped += _count_events(events)
            taken = (event.id for event in reversed(buffer) if type(event) is ServerSentEvent)
            self._take(_refuse, next(taken, self._delivered))
            return False
        return True  # blocked, but this was already on its way

    def _dropped(self, events: int) -> None:
        """Tell that events were dropped; the stream goes on."""
        what = "event was" if events == 1 else "events were"
        error = BufferOverflow(
            f"the buffer of {self._size} events was full: {events} {what} dropped"
        )
        self.event_failed(error)

    def _full(self) -> None:
        if self._machine.config.overflow == "block":
            self._paused = True
            self._take(Carrier.pause)

    def _drained(self) -> None:
        """Read again once half of the buffer is free.

        Not at each event, or a slow reader toggles all day.
        """
        if self._paused and len(self._buffer or ()) <= self._size // 2:
            self._paused = False
            self._take(Carrier.resume)

    def _poll(self) -> EventT | None:
        """Return the next event, or None while there is none yet.

        Raises the error of ERROR, :class:`ConnectionClosed` when there will be no more, and
        :class:`LocalProtocolError` where nothing was begun.
        """
        buffer = self._buffer
        if buffer and not self._stopped:
            event: EventT = buffer.popleft()
            if isinstance(event, ServerSentEvent):
                self._delivered = event.id
            if self._paused:
                self._drained()
            return event
        if self._on_event is not None:
            raise LocalProtocolError("events go to on_event: they cannot be read as well")
        state = self._machine.state
        if self._closing or state is _CLOSED:
            raise ConnectionClosed("the connection is closed")
        if self._restarting:
            return None
        if state is _ERROR:
            raise self._machine_error()
        if state is _DISCONNECTED:
            if not self._started:
                raise LocalProtocolError(_NOT_CONNECTED)
            if self._machine.error is not None:
                raise self._machine_error()  # the last events were refused
            raise ConnectionClosed("the stream has ended")
        return None

    def _machine_error(self) -> SSEError:
        error = self._machine.error
        assert error is not None
        return error.with_traceback(None)  # raised again and again, it must not grow

    def _poll_entry(self) -> bool:
        """Return whether the stream has been accepted since ``connect()``.

        Raise when that cannot come.
        """
        if self._entered:
            return True
        state = self._machine.state
        if self._closing:
            raise ConnectionClosed("the connection was closed before it was accepted")
        if state is _CLOSED:
            return True  # the server said stop: nothing to read, and nothing wrong
        if state is _ERROR:
            raise self._machine_error()
        if state is _DISCONNECTED:
            raise ConnectionClosed("the connection was disconnected before it was accepted")
        return False

    def _begin_reading(self) -> object:
        if self._reading_now:
            raise LocalProtocolError("somebody else is reading this connection already")
        self._reading_now = reader = object()
        return reader

    # --- Watching ------------------------------------------------------------------------------

    def _watch_states(self) -> Watcher[StateChanged]:
        state = self._machine.state
        return self._watch(Watcher(StateChanged, [StateChanged(state, state, self._now())]))

    def _poll_state(self, watcher: Watcher[StateChanged], wanted: ConnectionState) -> bool:
        """Return whether ``wanted`` has been seen; raise when it can no longer come by itself."""
        while watcher.items:
            change = watcher.items.popleft()
            new = change.new
            if new is wanted:
                return True
            if new is _CLOSED:
                raise ConnectionClosed(f"the connection is closed: {wanted.value} cannot come")
            if wanted is _CLOSED or self._restarting:
                continue
            if new is _ERROR:
                raise self._machine_error() if change.error is None else change.error
            if new is _DISCONNECTED and (change.old is not new or self._started):
                raise ConnectionClosed(
                    f"the stream has ended: {wanted.value} cannot come by itself"
                )
        return False

    def _is_over(self) -> bool:
        return self._machine.state is _CLOSED

    # --- Callbacks -----------------------------------------------------------------------------

    def _call_back_events(
        self, callback: Callable[[Any, Event], object], events: Sequence[Event]
    ) -> None:
        for position, event in enumerate(events):
            if self._stopped:
                rest = events[position:]
                self._machine.metrics.events_dropped += _count_events(rest)
                return
            if type(event) is ServerSentEvent:
                self._delivered = event.id
            try:  # as _call_back does
                callback(self, event)
            except Exception as error:
                self._raised(error)

    def event_failed(self, error: SSEError) -> None:
        """Tell ``errors()``, ``on_error`` and the metrics of an event that is of no use.

        For what stands between the stream and its reader, as :func:`~sansio_sse.typed.typed` does.
        """
        self._machine.explain(error)
        self._machine.metrics.count_error(error.category)
        self._notice(ErrorOccurred(error), alone=True)
        self._watched(error)
        self._report(error)

    def _call_back(self, callback: Callable[[Any, Any], object], argument: object) -> None:
        try:
            callback(self, argument)
        except Exception as error:
            self._raised(error)

    def _raised(self, error: Exception) -> None:
        """Tell that a callback raised."""
        if self._on_error is None:
            self._unhandled(error)
        else:
            self._report(error)

    def _report(self, error: BaseException) -> None:
        """Tell ``on_error``; what it raises goes to the loop's own handler.

        The stream's own errors also end up in the states and iterators: where there is no
        ``on_error``, they need no other handler.
        """
        if self._on_error is not None:
            try:
                self._on_error(self, error)
            except Exception as raised:
                self._unhandled(raised)

    # --- Posts ---------------------------------------------------------------------------------

    def _begin_post(
        self,
        url: str,
        method: str,
        headers: HeadersInput,
        content: bytes | str | None,
        json: Any,
    ) -> _Reply:
        if self._closing:
            raise LocalProtocolError("cannot post: the connection is closed")
        if self._busy:
            raise LocalProtocolError("post() cannot be called from a callback")
        made = make_request(
            method, "http://checked.invalid/", headers=headers, content=content, json=json
        )
        reply = _Reply()
        self._take(_post, reply, url, made)
        return reply

    def _end_post(self, reply: _Reply) -> PostResponse | None:
        """Return the answer, None while there is none yet; raise its error."""
        answer = reply.answer
        if answer is None:
            return None
        if answer.error is not None:
            raise answer.error
        assert answer.response is not None
        return PostResponse(answer.response.status, answer.response.headers, answer.content)

    # --- Waiting -------------------------------------------------------------------------------
    #
    # Everything a caller can wait for, once for all drivers: a generator yields whenever it has to
    # wait, with the time to wait until (None: for ever), and returns what was waited for. A face
    # (async or not) does the waiting.

    def _connecting(self) -> Waiting[None]:
        """Connect after the commands that were given before and are still on their way."""
        arrived = False

        def arrive() -> None:
            nonlocal arrived
            arrived = True
            self._wake()

        self._from_elsewhere(arrive)
        while not arrived:
            yield None
        self._connect_now()
        yield from self._entering()

    def _entering(self) -> Waiting[None]:
        while not self._poll_entry():
            yield None

    def _receiving(self, timeout: float | None) -> Waiting[EventT]:
        reader = self._begin_reading()
        try:
            until = None if timeout is None else self._now() + timeout
            while (event := self._poll()) is None:
                yield until
            return event
        finally:
            if self._reading_now is reader:  # else it is somebody else's turn by now
                self._reading_now = None

    def _waiting_for(self, wanted: ConnectionState, timeout: float | None) -> Waiting[None]:
        until = None if timeout is None else self._now() + timeout
        watcher = self._watch_states()
        try:
            while not self._poll_state(watcher, ConnectionState(wanted)):
                yield until
        finally:
            self._unwatch(watcher)

    def _posting(
        self,
        url: str,
        method: str,
        headers: HeadersInput,
        content: bytes | str | None,
        json: Any,
    ) -> Waiting[PostResponse]:
        reply = self._begin_post(url, method, headers, content, json)
        try:
            while (response := self._end_post(reply)) is None:
                yield None
            return response
        finally:
            if reply.answer is None:
                self._take(Carrier.abandon_post, reply)

    def _closing_down(self) -> Waiting[None]:
        while self._machine.state is not _CLOSED or not self._released():
            yield None

    # --- Verbs: what a driver writes -----------------------------------------------------------

    def _set_up(self) -> None:
        raise NotImplementedError

    def _wall_clock(self) -> float:
        raise NotImplementedError

    @staticmethod
    def _random() -> float:
        raise NotImplementedError

    def _from_elsewhere(self, command: Callable[[], None]) -> None:
        raise NotImplementedError

    def _open(self, transport: int, origin: Origin) -> None:
        raise NotImplementedError

    def _send(self, transport: int, data: bytes) -> None:
        raise NotImplementedError

    def _exchange(self, exchange: int, request: Request) -> None:
        raise NotImplementedError

    def _drop(self, transport: int) -> None:
        raise NotImplementedError

    def _reading(self, transport: int, on: bool) -> None:
        raise NotImplementedError

    def _prepare(self, awaitable: Any, attempt: int) -> None:
        # Reached only where prepare_request is async and the driver is not.
        close = getattr(awaitable, "close", None)
        if close is not None:
            close()
        text = "this driver is not async: prepare_request must be a plain function"
        self._take(Carrier.prepare_failed, attempt, LocalProtocolError(text))

    def _released(self) -> bool:
        raise NotImplementedError

    def _ended(self) -> None:
        """Let go of what serves all transports; there will be none any more. Optional."""


def _bytes_received(wire: Any, transport: int, data: bytes, now: float) -> Sequence[Any]:
    answer: Sequence[Any] = wire.bytes_received(transport, data, now)
    return answer


def _restart(wire: Carrier, last_event_id: str | None, now: float) -> Sequence[Any]:
    return wire.restart(now, last_event_id)


def _refuse(wire: Carrier, last_id: str, now: float) -> Sequence[Any]:
    return wire.events_refused(last_id, now)


def _post(wire: Carrier, reply: _Reply, url: str, made: Request, now: float) -> Sequence[Any]:
    return wire.post(
        reply, url, now, method=made.method, headers=made.headers, content=made.content
    )


def _count_events(events: Iterable[Event]) -> int:
    return sum(type(event) is ServerSentEvent for event in events)
