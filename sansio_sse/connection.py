"""The connection machine: one event stream's whole life, at the level of HTTP.

Pure: it is told what happened and what time it is, and answers with what is to be done. It never
reads a clock, draws a number of its own, or does anything itself. Same inputs, same actions.

How to drive it, whatever the loop::

    perform(machine.connect(now))
    while machine.state is not ConnectionState.CLOSED:
        news = wait_for_news(until=machine.deadline)
        perform(news(machine, now) if news else machine.tick(now))

Members stand in the order *look, commands, what happened*; every command and every "what happened"
answers with the actions that follow, in order. What the peer does is never raised: it becomes an
action. A command out of order raises :class:`~sansio_sse.errors.LocalProtocolError`.

Three rules keep the path of data short; ``tests`` hold them as properties:

* While the stream stays CONNECTED and its body goes on, :meth:`ConnectionMachine.body_received`
  answers with the parser's own list, untouched: events only.
* Other actions stand only before the first or after the last event of an answer.
* ``deadline`` is a *lower bound*. Data moves the true deadlines later only, so an answer of events
  alone leaves it as it is; every other answer computes it anew. A tick that comes too early is
  harmless.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias, assert_never

from .actions import (
    Connect,
    Connected,
    ConnectionAction,
    Disconnect,
    ErrorOccurred,
    Event,
    PauseReading,
    PostAnswered,
    PrepareRequest,
    Release,
    RequestAdmission,
    ResumeReading,
    ScheduleReconnect,
    SendPing,
    SendPost,
    StateChanged,
)
from .attempt import (
    Accepted,
    Attempt,
    AttemptInProgress,
    Decide,
    Redirected,
    Refused,
    Stop,
    follow,
    judge,
    may_replay,
)
from .config import DEFAULT_CONFIG, ConnectionConfig
from .content_coding import ContentDecoder
from .errors import (
    BufferOverflow,
    ConfigError,
    ConnectError,
    ConnectionClosed,
    ConnectionLost,
    ConnectTimeout,
    HeartbeatTimeout,
    IdleTimeout,
    LocalProtocolError,
    ReconnectExhausted,
    ResponseTimeout,
    SSEError,
    StreamTruncated,
    WriteTimeout,
    describe,
    from_transport,
    redact_url,
)
from .event_stream import EventStreamParser, ServerSentEvent
from .heartbeat import Heartbeat, ping_request, ping_url, side_request
from .http import Request, Response, is_idempotent
from .metrics import ConnectionMetrics, Counters, HeartbeatCounters
from .profiles import PLAIN, Profile, ResumeCursor
from .reconnection import Reconnection
from .states import TRANSITIONS, ConnectionState
from .timers import Due, Timer, earlier

__all__ = ["ConnectionMachine", "Include", "Until", "with_defaults"]

Include: TypeAlias = Literal["connected", "comments", "ids"]
"""What can join the events: ``Connected``, ``Comment`` and ``LastEventIdChanged``."""

Until: TypeAlias = Callable[[ServerSentEvent], bool] | str
"""What ends a finite stream: a predicate on events, or an event's data or type.

A :class:`~sansio_sse.profiles.Profile` is such a predicate, and says how to ask for the rest."""

# Looking a member up on an Enum class costs 60 ns on 3.11, a global 10.
_DISCONNECTED = ConnectionState.DISCONNECTED
_CONNECTING = ConnectionState.CONNECTING
_CONNECTED = ConnectionState.CONNECTED
_RECONNECTING = ConnectionState.RECONNECTING
_ERROR = ConnectionState.ERROR
_CLOSED = ConnectionState.CLOSED

# The timers that wait for somebody else.
_PEERS = frozenset(
    {Timer.CONNECT, Timer.WRITE, Timer.RESPONSE, Timer.IDLE, Timer.PING_ANSWER, Timer.POST}
)

Actions = list[ConnectionAction]
NO_ACTIONS: Sequence[Any] = ()
_NOTHING: frozenset[str] = frozenset()  # one for all: each would be a fifth of a KiB

_FINITE_IDLE = 600.0
_STREAM_IDLE = 300.0
_DRAIN = 1.0  # seconds for the rest of a body nobody wants, so that its transport can be used again

DEFAULT_HEADERS = (
    ("Accept", "text/event-stream"),
    ("Cache-Control", "no-store"),
    # An intermediary that compresses also buffers, and a buffered event is a late event.
    ("Accept-Encoding", "identity"),
    ("User-Agent", "sansio-sse"),
)


class _Post:
    __slots__ = ("began", "give_up", "request", "sent", "token")

    def __init__(self, token: object, request: Request, began: float, give_up: float) -> None:
        self.token = token
        self.request = request
        self.began = began
        self.give_up = give_up
        self.sent = False


class ConnectionMachine:
    """One event stream's life, driven by news and ticks; see the module's text for how.

    :param request: what to ask for; headers it lacks (Accept, Cache-Control, Accept-Encoding,
        User-Agent) are added.
    :param config: everything else that can be configured.
    :param random: returns a number in [0, 1); the only source of chance, asked once per delay.
    :param last_event_id: the cursor to begin with.
    :param until: what ends a finite stream: a predicate on events, a string equal to an event's
        data or type, or a :class:`~sansio_sse.profiles.Profile`, which says where the cursor is and
        goes, too.
    :param decide: may overrule what a response means.
    :param prepare: ask for :class:`PrepareRequest` before each attempt.
    :param include: which of ``"connected"``, ``"comments"``, ``"ids"`` join the events.
    :param admission: ask with :class:`RequestAdmission` before each attempt whether it may begin,
        and where.
    :param reuse: end a finite stream that ended well with :class:`Release`, so that its transport
        can be used again.

    >>> machine = ConnectionMachine(Request("GET", "http://example.com/events"))
    >>> changed, connect = machine.connect(now=0.0)
    >>> connect
    Connect(request=<Request GET http://example.com/events>, attempt=1)
    >>> machine.state.value, machine.deadline, machine.deadline_reason.name
    ('connecting', 10.0, 'CONNECT')
    """

    __slots__ = (
        "_accepted_at",
        "_acted",
        "_admission",
        "_answered",
        "_aside",
        "_asking",
        "_attempt",
        "_base",
        "_began",
        "_config",
        "_cursor",
        "_doubted",
        "_decide",
        "_decoder",
        "_drain",
        "_error",
        "_finite",
        "_gave_id",
        "_heartbeat",
        "_idle",
        "_include",
        "_last_life",
        "_moved",
        "_now",
        "_number",
        "_original",
        "_parser",
        "_paused_at",
        "_phase",
        "_phase_at",
        "_posts",
        "_prepare",
        "_previous",
        "_random",
        "_reason",
        "_reconnection",
        "_request",
        "_response",
        "_reuse",
        "_sent",
        "_settled",
        "_state",
        "_stream",
        "_until",
        "deadline",
        "metrics",
    )

    deadline: float | None
    """When to call :meth:`tick` at the latest, or None; not for the caller to set.

    A lower bound, see the module's text. (A plain attribute: it is looked at after each input.)
    """

    def __init__(
        self,
        request: Request,
        config: ConnectionConfig | None = None,
        *,
        random: Callable[[], float] = lambda: 0.5,
        last_event_id: str = "",
        until: Until | None = None,
        decide: Decide | None = None,
        prepare: bool = False,
        include: Collection[Include] = (),
        admission: bool = False,
        reuse: bool = False,
    ) -> None:
        config = config or DEFAULT_CONFIG
        unknown = set(include) - {"connected", "comments", "ids"}
        if unknown:
            raise ConfigError(
                f"include knows 'connected', 'comments' and 'ids', not {sorted(unknown)}"
            )
        self._config = config
        self._random = random
        self._until = until
        self._decide = decide
        self._prepare = prepare
        self._admission = admission
        self._reuse = reuse
        self._include: frozenset[str] = frozenset(include) if include else _NOTHING
        given = request.header("last-event-id")
        self._cursor = _checked_cursor(last_event_id or given or "")
        self._original = with_defaults(request)
        if config.heartbeat.enabled:
            # Raises now, not in an hour.
            ping_url(self._original.origin, config.heartbeat.ping_endpoint)
        on_end = config.on_end or ("reconnect" if request.method == "GET" else "finish")
        self._finite = on_end == "finish"
        idle = config.timeouts.idle
        if idle is None:  # an answer may be thought about for longer
            idle = _FINITE_IDLE if self._finite or self._has_end else _STREAM_IDLE
        self._idle = idle

        self._state = _DISCONNECTED
        self._now = float("-inf")
        self.deadline = None
        self._reason: Timer | None = None
        self._number = 0  # of the newest exchange
        self._error: SSEError | None = None
        self._reconnection: Reconnection | None = None
        self._previous: tuple[int | None, SSEError | None] = (None, None)
        self._moved: tuple[str, tuple[tuple[int, str], ...]] | None = None  # permanent redirects
        self._gave_id = False
        self._base = self._cursor  # the cursor at `connect`, or a restart
        self._answered = False  # since then, a part of an answer was given
        self._posts: dict[int, _Post] | None = None
        self._paused_at: float | None = None
        self._drain: tuple[int, float] | None = None  # the exchange that drains, and until when

        # The attempt under way.
        self._aside: tuple[str, bool] | None = None  # a cursor that another place does not know
        self._asking = 0  # its number while its admission is waited for: nothing is under way yet
        self._attempt: AttemptInProgress | None = None  # None once accepted
        self._stream = 0  # number of its exchange, 0 if none
        self._request = self._original
        self._began = 0.0
        self._sent = False
        self._acted = False  # an earlier hop may have had an effect that is not to be repeated
        self._phase: Timer | None = None
        self._phase_at = 0.0

        # The accepted stream.
        self._response: Response | None = None
        self._parser: EventStreamParser | None = None
        self._decoder: ContentDecoder | None = None
        self._heartbeat: Heartbeat | None = None
        self._accepted_at = 0.0
        self._last_life = 0.0
        self._doubted: Due | None = None  # what a late tick did not act on
        self._settled = False
        self.metrics: Counters = Counters()

    # --- Look ----------------------------------------------------------------------------------

    @property
    def state(self) -> ConnectionState:
        """Where the stream is in its life."""
        return self._state

    @property
    def deadline_reason(self) -> Timer | None:
        """Why a tick is wanted then."""
        return self._reason

    @property
    def config(self) -> ConnectionConfig:
        """What this machine was configured with."""
        return self._config

    @property
    def request(self) -> Request:
        """The request of the present attempt, redirects followed.

        Before the first, what was asked for.
        """
        return self._request

    @property
    def response(self) -> Response | None:
        """The head of the latest accepted response."""
        return self._response

    @property
    def error(self) -> SSEError | None:
        """The reason of ERROR, while in it; after an end, why the last events were refused."""
        return self._error

    @property
    def received_event_id(self) -> str:
        """The last event ID in force: what a reconnect sends."""
        if self._parser is None or self._rule.field is not None:
            return self._cursor
        return self._parser.last_event_id

    @property
    def _rule(self) -> ResumeCursor:
        """Where the cursor is, and where it goes."""
        return self._until.cursor if isinstance(self._until, Profile) else PLAIN.cursor

    @property
    def _has_end(self) -> bool:
        """Whether the stream has a last event, so that one without it was cut."""
        until = self._until
        return until.has_end if isinstance(until, Profile) else until is not None

    def _would_repeat(self) -> bool:
        """Tell whether another attempt would give the reader a part of an answer once more.

        Only a profile says that it is one: who waits for something in a live stream goes on there.
        """
        return (
            self._answered
            and self._has_end
            and self._cursor in ("", self._base)
            and self._config.replay != "always"
        )

    @property
    def retries(self) -> int:
        """Retries scheduled since the last progress."""
        return 0 if self._reconnection is None else self._reconnection.retries

    @property
    def missed_heartbeats(self) -> int:
        """Pings in a row that went unanswered."""
        return 0 if self._heartbeat is None else self._heartbeat.in_a_row(self._last_life)

    @property
    def paused(self) -> bool:
        """Whether reading is paused."""
        return self._paused_at is not None

    @property
    def draining(self) -> bool:
        """Whether the rest of a body is being read, so that its transport can be used again."""
        return self._drain is not None

    @property
    def reconnect_at(self) -> float | None:
        """When the next attempt begins, while one is waited for."""
        return self._phase_at if self._phase is Timer.RECONNECT else None

    def trusts(self, request: Request) -> bool:
        """Tell whether what an HTTP client adds by itself, as credentials, may go with a request.

        To where the caller wanted to go, yes; to another origin, where a redirect leads, no.
        """
        return request.origin == self._original.origin

    def snapshot(self, now: float) -> ConnectionMetrics:
        """Return the counters as they stand at ``now``."""
        metrics = self.metrics.snapshot(self.uptime(now))
        comments = self.comments_received
        if comments == metrics.comments_received:
            return metrics
        return replace(metrics, comments_received=comments)

    @property
    def comments_received(self) -> int:
        """How many comments came so far: among the counters are those of past streams only."""
        # The parser counts on from there. So whoever looks from another thread in the middle of a
        # change finds the same number in the one as in the other, and no two parts to add.
        parser = self._parser
        return self.metrics.comments_received if parser is None else parser.comment_count

    def uptime(self, now: float) -> float:
        """Return the seconds since the present stream was accepted, 0 if there is none."""
        return max(0.0, now - self._accepted_at) if self._state is _CONNECTED else 0.0

    # --- Commands ------------------------------------------------------------------------------

    def connect(self, now: float) -> Actions:
        """Begin; from DISCONNECTED and ERROR only.

        Earlier failures and redirects are forgotten, the cursor is not.
        """
        self._clock(now)
        if self._state not in (_DISCONNECTED, _ERROR):
            raise LocalProtocolError(f"cannot connect: the connection is {self._state.value}")
        self._reconnection = None
        self._previous = (None, None)
        self._moved = None
        self._error = None
        self._base, self._answered = self._cursor, False
        actions: Actions = []
        self._change(_CONNECTING, actions)
        self._begin(actions)
        return self._armed(actions)

    def disconnect(self, now: float) -> Actions:
        """End the stream; ``connect()`` may begin again.

        Does nothing where there is nothing to end.
        """
        self._clock(now)
        actions: Actions = []
        if self._state in (_CONNECTING, _CONNECTED, _RECONNECTING):
            self._abandon(actions)
            self._change(_DISCONNECTED, actions)
        return self._armed(actions)

    def restart(self, now: float, last_event_id: str | None = None) -> Actions:
        """Drop what is under way and connect at once, without a delay.

        A value replaces the cursor.
        """
        self._clock(now)
        if self._state is _CLOSED:
            raise LocalProtocolError("cannot restart: the connection is closed")
        cursor = None if last_event_id is None else _checked_cursor(last_event_id)
        if self._state in (_DISCONNECTED, _ERROR):
            self._cursor = self._cursor if cursor is None else cursor
            return self.connect(now)
        actions: Actions = []
        self._abandon(actions)
        if cursor is not None:
            self._cursor = cursor
        self._base, self._answered = self._cursor, False
        if self._state is _CONNECTED:
            self._change(_RECONNECTING, actions)
        self._begin(actions)
        return self._armed(actions)

    def close(self, now: float) -> Actions:
        """End for good; harmless when repeated."""
        self._clock(now)
        actions: Actions = []
        if self._state is not _CLOSED:
            self._end_for_good(actions)
        return self._armed(actions)

    def pause(self, now: float) -> Actions:
        """Stop reading. The peer's silence does not count meanwhile, and no pings are sent.

        A pause belongs to the consumer, not to an attempt: it lasts over reconnects until
        ``resume()``.
        """
        now = self._clock(now)
        actions: Actions = []
        if self._paused_at is None:
            self._paused_at = now
            if self._state is _CONNECTED:
                self._abandon_ping(actions)
                actions.append(PauseReading())
        return self._armed(actions)

    def resume(self, now: float) -> Actions:
        """Read again, after :meth:`pause`."""
        now = self._clock(now)
        actions: Actions = []
        if self._paused_at is not None:
            if self._state is _CONNECTED:
                # The time we did not read is not the server's silence, nor is it a sign of life.
                unread = now - max(self._paused_at, self._last_life)
                self._last_life += unread
                if self._heartbeat is not None:
                    self._heartbeat.last_sent += unread
                actions.append(ResumeReading())
            self._paused_at = None
        return self._armed(actions)

    def post(
        self,
        token: object,
        url: str,
        now: float,
        *,
        method: str = "POST",
        headers: tuple[tuple[str, str], ...] = (),
        content: bytes | None = None,
    ) -> Actions:
        """Send something up beside the stream: same origin, same credentials, its own exchange.

        ``token`` comes back in :class:`PostAnswered`. ``headers`` win over the stream's by name.
        Raises :class:`ConfigError` for another origin, :class:`LocalProtocolError` on a closed
        connection.
        """
        now = self._clock(now)
        if self._state is _CLOSED:
            raise LocalProtocolError("cannot post: the connection is closed")
        request = side_request(self._request, method, url, content)
        if request.origin != self._request.origin:
            raise ConfigError(f"a post goes to the stream's own origin, {self._request.origin}")
        for name, value in headers:
            request = request.with_header(name, value)
        give_up = now + self._config.timeouts.connect + self._config.timeouts.response
        self._number += 1
        if self._posts is None:
            self._posts = {}
        self._posts[self._number] = _Post(token, request, now, give_up)
        return self._armed([SendPost(request, self._number)])

    def abandon_post(self, token: object, now: float) -> Actions:
        """Give a post up, because nobody waits for its answer any more.

        Unknown tokens are ignored.
        """
        self._clock(now)
        actions: Actions = []
        for number, post in list((self._posts or {}).items()):
            if post.token is token:
                self._take_post(number)
                actions.append(Disconnect(number))
        return self._armed(actions)

    # --- What happened -------------------------------------------------------------------------

    def admitted(
        self, attempt: int, request: Request, now: float, *, keep_cursor: bool = True
    ) -> Sequence[ConnectionAction]:
        """Exchange ``attempt`` may begin, with ``request``.

        ``keep_cursor=False``: what is there now does not know the ids of what was there before.
        """
        self._clock(now)
        if attempt != self._asking or not attempt:
            return NO_ACTIONS
        actions: Actions = []
        self._asking = 0
        if not keep_cursor:
            self._leave_cursor()
        self._original = with_defaults(request)
        self._set_out(attempt, actions)
        return self._armed(actions)

    def request_prepared(
        self, attempt: int, request: Request, now: float
    ) -> Sequence[ConnectionAction]:
        """``prepare_request`` returned this request for exchange ``attempt``."""
        self._clock(now)
        if attempt != self._stream or self._phase is not Timer.PREPARE:
            return NO_ACTIONS
        actions: Actions = []
        if self._now >= self._phase_at:
            self._timer_fired(Timer.PREPARE, actions)  # a plain function cannot be interrupted
        elif isinstance(request, Request):
            self._send(request, actions)
        else:
            text = f"prepare_request must return a Request, not {type(request).__name__}"
            self._fail(LocalProtocolError(text), actions)
        return self._armed(actions)

    def prepare_failed(
        self, attempt: int, error: BaseException, now: float
    ) -> Sequence[ConnectionAction]:
        """``prepare_request`` raised: a failed attempt."""
        self._clock(now)
        if attempt != self._stream or self._phase is not Timer.PREPARE:
            return NO_ACTIONS
        actions: Actions = []
        if not isinstance(error, SSEError):
            error = ConnectError(f"prepare_request failed: {describe(error)}", cause=error)
        self._fail(error, actions)
        return self._armed(actions)

    def transport_opened(self, attempt: int, now: float) -> Sequence[ConnectionAction]:
        """The way is open and the request is being written: from here on a byte of it may arrive.

        Told of a post, too. A client that cannot tell says :meth:`exchange_begun` instead.
        """
        now = self._clock(now)
        if attempt != self._stream or self._phase not in (Timer.CONNECT, Timer.RESPONSE):
            self._note_post_sent(attempt)
            return NO_ACTIONS
        self._note_sent()
        if self._phase is Timer.CONNECT:
            self._wait(Timer.WRITE, now + self._config.timeouts.write)
        return self._armed([])

    def exchange_begun(self, attempt: int, now: float) -> Sequence[ConnectionAction]:
        """An HTTP client is about it, and cannot tell when its way is open or its request written.

        ``timeouts.response`` then bounds it all. Nothing counts as sent yet.
        """
        now = self._clock(now)
        if attempt != self._stream or self._phase is not Timer.CONNECT:
            return NO_ACTIONS
        self._wait(Timer.RESPONSE, now + self._config.timeouts.response)
        return self._armed([])

    def request_sent(self, attempt: int, now: float) -> Sequence[ConnectionAction]:
        """The whole request has left; the response is waited for."""
        now = self._clock(now)
        if attempt != self._stream or self._phase not in (Timer.CONNECT, Timer.WRITE):
            self._note_post_sent(attempt)
            return NO_ACTIONS
        self._note_sent()
        self._wait(Timer.RESPONSE, now + self._config.timeouts.response)
        return self._armed([])

    def response_received(
        self, attempt: int, response: Response, now: float
    ) -> Sequence[ConnectionAction]:
        """The final response head of exchange ``attempt`` arrived."""
        now = self._clock(now)
        trying = self._attempt
        if attempt != self._stream or trying is None or trying.refused is not None:
            return NO_ACTIONS
        self._note_sent()
        actions: Actions = []
        judgement = judge(response, self._request, trying, self._config, self._decide)
        match judgement:
            case Accepted(decoder):
                self._accept(response, decoder, trying.facts.number, actions)
            case Redirected(request):
                if trying.permanent:
                    self._remember_move(trying.start, response.status, request.url)
                # What is remembered goes to the GET at once, if nobody gives another url by then.
                elsewhere = self._prepare or self._admission
                remembered = trying.permanent and self._moved and not elsewhere
                if request.method != self._request.method and not (
                    is_idempotent(self._request) or remembered
                ):
                    self._acted = True  # the POST before this GET is done; a retry would repeat it
                actions.append(Disconnect(self._stream))
                self._number += 1
                self._send_as(request, self._number, actions)
            case Stop():
                self._count_outcome(success=True)
                self._end_for_good(actions)
            case Refused() as refused:
                trying.refused = refused
                if self._phase is not Timer.RESPONSE:  # an answer before the request was written
                    self._wait(Timer.RESPONSE, now + self._config.timeouts.response)
                if self._config.limits.error_body == 0 or not refused.keeps_body:
                    self._refuse(actions)
            case _:
                assert_never(judgement)
        return self._armed(actions)

    def body_received(self, attempt: int, data: bytes, now: float) -> Sequence[ConnectionAction]:
        """Bytes of the body of exchange ``attempt`` arrived.

        Empty ones are a sign of life alone.
        """
        if attempt != self._stream:
            return NO_ACTIONS
        if now > self._now:
            self._now = now
        else:
            now = self._now
        parser = self._parser
        if parser is None:
            return self._refusing_body(data)
        metrics = self.metrics
        silence = now - self._last_life
        if silence > metrics.longest_silence:
            metrics.longest_silence = silence
        self._last_life = now
        metrics.bytes_received += len(data)
        if self._decoder is not None:
            data = self._decoder.feed(data)
        events: Sequence[Event] = parser.feed(data)
        if events:
            if self._settled:
                metrics.events_received += len(events)
                metrics.last_event = now
            else:
                events = self._examine(events)
        if parser.error is not None or self._parser is not parser or self._decoder is not None:
            return self._after_data(events)
        return events

    def body_ended(self, attempt: int, now: float) -> Sequence[ConnectionAction]:
        """The body of exchange ``attempt`` ended where HTTP says that it ends."""
        self._clock(now)
        if attempt != self._stream or not attempt:
            return NO_ACTIONS
        actions: Actions = []
        if self._parser is None:
            if self._attempt is not None and self._attempt.refused is not None:
                self._refuse(actions)
            else:
                self._fail(ConnectionLost("the exchange ended without a response"), actions)
            return self._armed(actions)
        if self._decoder is not None:
            self._decoder.end()
        if self._decoder is not None and self._decoder.error is not None:
            self._fail(self._decoder.error, actions)
        elif self._has_end:
            self._fail(StreamTruncated("the stream ended before its terminal event"), actions)
        elif self._finite:
            self._abandon(actions, well=True)
            self._change(_DISCONNECTED, actions)
        else:
            self._fail(ConnectionLost("the server ended the stream"), actions)
        return self._armed(actions)

    def drained(self, attempt: int, now: float) -> Sequence[ConnectionAction]:
        """What was released as exchange ``attempt`` is over, its transport kept or not."""
        self._clock(now)
        if self._drain is None or self._drain[0] != attempt:
            return NO_ACTIONS
        self._drain = None
        return self._armed([])

    def connect_failed(
        self, attempt: int, error: BaseException, now: float
    ) -> Sequence[ConnectionAction]:
        """Exchange ``attempt`` did not get as far as a transport.

        Foreign exceptions are translated.
        """
        return self._lost(attempt, from_transport(error, opening=True, where=self._where()), now)

    def connection_lost(
        self, attempt: int, error: BaseException, now: float
    ) -> Sequence[ConnectionAction]:
        """Exchange ``attempt`` broke after its transport was open.

        Foreign exceptions are translated.
        """
        return self._lost(attempt, from_transport(error, opening=False, where=self._where()), now)

    def ping_answered(
        self, ping: int, response: Response, now: float
    ) -> Sequence[ConnectionAction]:
        """A ping was answered; 2xx is life, anything else a miss."""
        self._clock(now)
        beat = self._heartbeat
        if beat is None or beat.ping != ping or not ping:
            return NO_ACTIONS
        actions: Actions = []
        if 200 <= response.status < 300:
            beat.answered(self._beat_counters())
        else:
            self._missed(beat, actions)
        return self._armed(actions)

    def ping_failed(
        self, ping: int, error: BaseException, now: float
    ) -> Sequence[ConnectionAction]:
        """A ping came to nothing."""
        self._clock(now)
        beat = self._heartbeat
        if beat is None or beat.ping != ping or not ping:
            return NO_ACTIONS
        actions: Actions = []
        self._missed(beat, actions)
        return self._armed(actions)

    def post_answered(
        self, post: int, response: Response, content: bytes, now: float
    ) -> Sequence[ConnectionAction]:
        """A post was answered, whatever its status."""
        self._clock(now)
        self._note_post_sent(post)
        taken = self._take_post(post)
        if taken is None:
            return NO_ACTIONS
        self.metrics.events_sent += 200 <= response.status < 300
        return self._armed([PostAnswered(taken.token, response, content)])

    def post_failed(
        self, post: int, error: BaseException, now: float
    ) -> Sequence[ConnectionAction]:
        """A post came to nothing."""
        self._clock(now)
        taken = self._take_post(post)
        if taken is None:
            return NO_ACTIONS
        failure = from_transport(error, opening=False, where=self._where())
        return self._armed([self._post_lost(taken, failure)])

    def events_refused(self, last_id: str, now: float) -> Sequence[ConnectionAction]:
        """The reader's buffer refused events.

        ``last_id`` is the cursor of the last that it took. The stream may have ended in the same
        read: what was refused is lost to the reader nevertheless.
        """
        self._clock(now)
        if self._state is _CLOSED:
            return NO_ACTIONS
        actions: Actions = []
        error = BufferOverflow(f"the buffer of {self._config.buffer_size} events is full")
        if self._state in (_DISCONNECTED, _ERROR):
            self.explain(error)
            self.metrics.count_error(error.category)
            actions.append(ErrorOccurred(error))
            self._error = self._error or error  # an end that looked good is none for the reader
        else:
            self._fail(error, actions)
        if self._rule.field is None:
            self._cursor = last_id
        return self._armed(actions)

    def tick(self, now: float) -> Sequence[ConnectionAction]:
        """Time has passed. Early, late and repeated ticks are harmless.

        A late tick does not yet blame the peer: only when it is repeated, and nothing has arrived
        in between, is silence taken for silence. Our own slowness is not the server's.
        """
        now = self._clock(now)
        if self.deadline is None or now < self.deadline:
            return NO_ACTIONS
        actions: Actions = []
        while True:
            due = self._next_due()
            if due is None or now < due[0]:
                break
            if now > due[0] and due[1] in _PEERS and due != self._doubted:
                # We are late ourselves: what the peer has sent meanwhile may be waiting to be read.
                # The deadline stays in the past, so that the driver reads and asks once more.
                self._doubted = due
                break
            if self._timer_fired(due[1], actions):
                break
        return self._armed(actions)

    # --- Attempts ------------------------------------------------------------------------------

    def _begin(self, actions: Actions) -> None:
        """Begin an attempt: ask whether and where, if somebody wants to be asked, or set out."""
        self._number += 1
        self._find_way(self._number, actions)

    def _find_way(self, number: int, actions: Actions) -> None:
        """Ask whether and where the attempt may go, if that is not known."""
        if self._admission:
            # It may take as long as it takes, without a timer: whoever admits has a clock too.
            self._asking = number
            actions.append(RequestAdmission(number))
        else:
            self._set_out(number, actions)

    def _set_out(self, number: int, actions: Actions) -> None:
        """Send the attempt's request; ask for it first if the caller wants to prepare it."""
        now = self._now
        status, error = self._previous
        facts = Attempt(self.retries, status, error, str(self._original.origin))
        self._attempt = AttemptInProgress(facts)
        self._stream = number
        self._sent = self._acted = False
        self._began = now
        self._request = self._original
        if self._state is _RECONNECTING:
            self.metrics.reconnect_attempts += 1
        else:
            self.metrics.connect_attempts += 1
        request = self._rule.resume(self._original, self._cursor)
        if self._prepare:
            self._wait(Timer.PREPARE, now + self._config.timeouts.connect)
            actions.append(PrepareRequest(request, self._stream))
        else:
            self._send(request, actions)

    def _send(self, request: Request, actions: Actions) -> None:
        """Send an attempt's request, to where it has moved for good if it has."""
        assert self._attempt is not None
        self._attempt.start = request.url
        if self._moved is not None and self._moved[0] == request.url:
            try:
                for status, location in self._moved[1]:
                    request = follow(request, status, location)
            except SSEError as error:
                # What was followed before can only be refused now if the request has changed.
                self._fail(error, actions)
                return
        self._send_as(request, self._stream, actions)

    def _remember_move(self, start: str, status: int, url: str) -> None:
        """Remember a permanent redirect as a hop to repeat, with its rules, at each attempt."""
        hops: tuple[tuple[int, str], ...] = ()
        if self._moved is not None and self._moved[0] == start:
            hops = self._moved[1]
        hops = (*hops, (status, url))
        # A server that moves for ever must not make us remember for ever: begin again.
        self._moved = None if len(hops) > self._config.limits.redirects else (start, hops)

    def _send_as(self, request: Request, number: int, actions: Actions) -> None:
        self._stream = number
        self._request = request
        self._sent = False
        self._wait(Timer.CONNECT, self._now + self._config.timeouts.connect)
        actions.append(Connect(request, number))

    def _note_sent(self) -> None:
        """A byte of the request may have left; its body counts once."""
        if not self._sent:
            self._sent = True
            self.metrics.bytes_sent += len(self._request.content or b"")

    def _accept(
        self, response: Response, decoder: ContentDecoder | None, retries: int, actions: Actions
    ) -> None:
        now = self._now
        include = self._include
        self._attempt = None
        self._aside = None
        self._phase = None
        self._previous = (None, None)
        self._response = response
        self._decoder = decoder
        parser = EventStreamParser(
            last_event_id="" if self._rule.field else self._cursor,
            max_event_size=self._config.limits.event,
            comments="comments" in include,
            ids="ids" in include,
        )
        parser.comment_count = self.metrics.comments_received
        self._parser = parser
        self._accepted_at = self._last_life = now
        self._phase_at = 0.0
        metrics = self.metrics
        metrics.last_connect = now
        metrics.count_connect(now - self._began)
        self._count_outcome(success=True)
        self._change(_CONNECTED, actions)
        if self._paused_at is not None:
            self._paused_at = now
            actions.append(PauseReading())
        if "connected" in include:
            rule = self._rule
            resumed = (
                self._request.header(rule.name) is not None
                if rule.place == "header"
                else self._cursor != ""
            )
            actions.append(Connected(retries, resumed, response))

    def _refusing_body(self, data: bytes) -> Sequence[ConnectionAction]:
        trying = self._attempt
        if trying is None or trying.refused is None:
            return NO_ACTIONS  # no head yet: whoever drives this has them out of order
        if not trying.capture(data, self._config.limits.error_body):
            return NO_ACTIONS
        actions: Actions = []
        self._refuse(actions)
        return self._armed(actions)

    def _refuse(self, actions: Actions) -> None:
        """The refusing response is captured: now its consequence."""
        trying = self._attempt
        assert trying is not None
        assert trying.refused is not None
        refused = trying.refused
        verdict = refused.verdict
        if verdict is not None and verdict.reset_cursor:
            self._cursor = ""
        self._fail(
            trying.refusal(),
            actions,
            retry_after=refused.retry_after,
            delay=None if verdict is None else verdict.delay,
            replay=verdict is not None,
        )

    # --- Data ----------------------------------------------------------------------------------

    def _examine(self, events: Sequence[Event]) -> Sequence[Event]:
        """Look at each event as long as something depends on it; then never again on this attempt.

        The first event is progress. ``until``, and events that are not the server's, need every one
        looked at.
        """
        own = sum(type(event) is ServerSentEvent for event in events)
        if own:
            self.metrics.events_received += own
            self.metrics.last_event = self._now
            if self._reconnection is not None:
                self._reconnection.progress()
        if self._until is not None:
            return self._up_to_terminal(events, self._until)
        self._settled = own > 0 and self._include <= {"connected"}
        return events

    def _up_to_terminal(self, events: Sequence[Event], until: Until) -> Sequence[Event]:
        """Cut after the terminal event, if it is here; what follows it is not ours."""
        rule = self._rule
        for position, event in enumerate(events):
            if type(event) is not ServerSentEvent:
                continue
            self._answered = self._answered or isinstance(until, Profile)
            if rule.field is not None and (cursor := rule.read(event)):
                self._cursor = cursor
                self._gave_id = self._gave_id or rule.promises
            try:
                if not _is_terminal(event, until):
                    continue
            except Exception as error:
                self._error = LocalProtocolError(f"until raised {describe(error)}", cause=error)
            rest = events[position + 1 :]
            self.metrics.events_received -= sum(type(later) is ServerSentEvent for later in rest)
            self._retire_parser(event.id)
            return events[: position + 1]
        return events

    def _after_data(self, events: Sequence[Event]) -> Sequence[ConnectionAction]:
        """Go on after data that may have ended the stream.

        A limit, a bad coding, the terminal event.
        """
        parser = self._parser
        if parser is None:
            error = self._error
        else:
            error = parser.error or (self._decoder.error if self._decoder is not None else None)
            if error is None:
                return events
        actions: Actions = [*events]
        if error is not None:
            self._fail(error, actions)
        else:
            self._abandon(actions, well=True)
            self._change(_DISCONNECTED, actions)
        return self._armed(actions)

    # --- Ends ----------------------------------------------------------------------------------

    def _lost(self, attempt: int, error: SSEError, now: float) -> Sequence[ConnectionAction]:
        self._clock(now)
        if attempt != self._stream or not attempt:
            return NO_ACTIONS
        actions: Actions = []
        trying = self._attempt
        if trying is not None and trying.refused is not None:
            self._refuse(actions)  # the answer counts, not how its body ended
        else:
            if trying is None and self._has_end and error.retryable:
                error = StreamTruncated(f"the stream was cut: {error}", cause=error)
            self._fail(error, actions)
        return self._armed(actions)

    def _fail(
        self,
        error: SSEError,
        actions: Actions,
        *,
        retry_after: float = 0.0,
        delay: float | None = None,
        replay: bool = False,
    ) -> None:
        """End the attempt or the stream with ``error``, and go to RECONNECTING or ERROR.

        ``delay`` replaces the policy's; ``replay`` says that the caller wants it whatever was sent.
        """
        accepted = self.explain(error)
        if not accepted:
            self._count_outcome(success=False)
        worth_it = self._failed_there(error, accepted)
        sent = self._sent or self._acted
        request = self._request
        self._abandon(actions)
        response = error.response
        self._previous = (None if response is None else response.status, error)
        policy = self._config.reconnection
        if (
            worth_it
            and policy.enabled
            and not self._would_repeat()
            and (
                replay
                or not sent
                or may_replay(
                    request,
                    error,
                    self._config,
                    acted=self._acted,
                    gave_id=self._gave_id,
                    cursor=self._cursor,
                )
            )
        ):
            memory = self._memory()
            scheduled = memory.next_delay(policy, retry_after, self._random, self._now)
            if scheduled is not None:
                wait = scheduled if delay is None else delay
                self.metrics.count_error(error.category)
                actions.append(ErrorOccurred(error))
                if self._state is not _RECONNECTING:
                    self._change(_RECONNECTING, actions, error)
                at = self._now + wait
                self._wait(Timer.RECONNECT, at)
                actions.append(ScheduleReconnect(at, wait, memory.retries, error))
                return
            self.metrics.count_error(error.category)
            actions.append(ErrorOccurred(error))
            error = self._exhausted(error, memory)
        self.metrics.count_error(error.category)
        actions.append(ErrorOccurred(error))
        self._error = error
        self._change(_ERROR, actions, error)

    def _failed_there(self, error: SSEError, accepted: bool) -> bool:
        """Return whether it is worth a retry; who could go elsewhere notes where it failed, too."""
        return error.retryable

    def explain(self, error: SSEError) -> bool:
        """Give an error its context; return whether the stream had been accepted."""
        accepted = self._attempt is None
        if accepted and error.response is None:
            error.response = self._response
        error.with_context(
            url=redact_url(self._request.url),
            attempt=self.retries,
            elapsed=self._now - self._began,
            events_received=self.metrics.events_received,
            request_sent=self._sent or self._acted,
            accepted=accepted,
        )
        return accepted

    def _exhausted(self, last: SSEError, memory: Reconnection) -> SSEError:
        what = "attempt" if memory.retries == 1 else "attempts"
        error = ReconnectExhausted(
            f"gave up after {memory.retries} reconnect {what} in {self._now - memory.since:.1f} s; "
            f"the last failure: {last}",
            cause=last,
            response=last.response,
        )
        return error.with_context_of(last)

    def _abandon(self, actions: Actions, *, well: bool = False) -> None:
        """Let go of the attempt or the stream, and of its ping; keep what the next one needs.

        ``well``: a stream ended as it should, and its transport may be of use.
        """
        if self._drain is not None:
            actions.append(Disconnect(self._drain[0]))
            self._drain = None
        if self._aside is not None:
            (self._cursor, self._gave_id), self._aside = self._aside, None
        if self._parser is not None:
            self._retire_parser(self._parser.last_event_id)
        if self._state is _CONNECTED:
            self.metrics.last_disconnect = self._now
            if self._paused_at is None:
                silence = self._now - self._last_life
                self.metrics.longest_silence = max(self.metrics.longest_silence, silence)
        self._abandon_ping(actions)
        if self._stream:
            if well and self._reuse:
                self._drain = (self._stream, self._now + _DRAIN)
                actions.append(Release(self._stream))
            else:
                actions.append(Disconnect(self._stream))
        if self._asking:
            actions.append(Disconnect(self._asking))
        self._stream = self._asking = 0
        self._attempt = None
        self._decoder = None
        self._heartbeat = None
        self._phase = None
        self._settled = False

    def _leave_cursor(self) -> None:
        """Begin from the beginning: what comes next has other ids.

        If nothing comes of it, the stream goes on where it was; unless the request may have had
        its effect there, and is to be repeated nowhere else.
        """
        if is_idempotent(self._original):
            self._aside = (self._cursor, self._gave_id)
        self._cursor = ""
        self._gave_id = False

    def _retire_parser(self, cursor: str) -> None:
        """Keep what outlives an attempt.

        The cursor, whether there were ids, what ``retry:`` asked for.
        """
        parser = self._parser
        assert parser is not None
        if self._rule.field is None:
            self._cursor = cursor
            self._gave_id = self._gave_id or parser.gave_id
        if parser.retry is not None:
            self._memory().retry_floor = parser.retry / 1000
        self.metrics.comments_received = parser.comment_count
        self._parser = None

    def _end_for_good(self, actions: Actions) -> None:
        self._abandon(actions)
        for number, post in (self._posts or {}).items():
            actions.append(Disconnect(number))
            closed = ConnectionClosed("the connection was closed before the post was answered")
            actions.append(self._post_lost(post, closed))
        self._posts = None
        self._error = None
        self._change(_CLOSED, actions)

    def _change(
        self, new: ConnectionState, actions: Actions, error: SSEError | None = None
    ) -> None:
        old = self._state
        assert new in TRANSITIONS[old], f"no transition from {old} to {new}"
        self._state = new
        actions.append(StateChanged(old, new, self._now, error))

    def _count_outcome(self, *, success: bool) -> None:
        metrics = self.metrics
        if self._state is _RECONNECTING:
            metrics.reconnect_successes += success
            metrics.reconnect_failures += not success
        else:
            metrics.connect_successes += success
            metrics.connect_failures += not success

    def _memory(self) -> Reconnection:
        if self._reconnection is None:
            self._reconnection = Reconnection()
        return self._reconnection

    # --- Pings and posts -----------------------------------------------------------------------

    def _missed(self, beat: Heartbeat, actions: Actions) -> bool:
        """Count a miss; return whether it was the one too many."""
        missed = beat.missed_one(self._last_life, self._beat_counters())
        if missed < self._config.heartbeat.max_missed:
            return False
        self._fail(HeartbeatTimeout(f"{missed} pings in a row went unanswered"), actions)
        return True

    def _abandon_ping(self, actions: Actions) -> None:
        beat = self._heartbeat
        if beat is not None and beat.ping:
            actions.append(Disconnect(beat.ping))
            beat.ping = 0

    def _beat_counters(self) -> HeartbeatCounters:
        if self.metrics.heartbeats is None:
            self.metrics.heartbeats = HeartbeatCounters()
        return self.metrics.heartbeats

    def _note_post_sent(self, number: int) -> None:
        post = None if self._posts is None else self._posts.get(number)
        if post is not None and not post.sent:
            post.sent = True
            self.metrics.bytes_sent += len(post.request.content or b"")

    def _post_lost(self, post: _Post, error: SSEError) -> PostAnswered:
        """Answer a post with an error, which says where it went and whether it may have arrived."""
        error.with_context(
            url=redact_url(post.request.url),
            attempt=self.retries,
            elapsed=self._now - post.began,
            events_received=self.metrics.events_received,
            request_sent=post.sent,
            accepted=None,  # that is said of streams
        )
        return PostAnswered(post.token, error=error)

    def _take_post(self, number: int) -> _Post | None:
        if self._posts is None or number not in self._posts:
            return None
        post = self._posts.pop(number)
        if not self._posts:
            self._posts = None
        return post

    # --- Time ----------------------------------------------------------------------------------

    def _clock(self, now: float) -> float:
        """Note the time; a clock that goes backwards is held."""
        if now > self._now:
            self._now = now
        return self._now

    def _wait(self, phase: Timer, until: float) -> None:
        """Enter a phase of an attempt: each has exactly one timer, and they follow each other."""
        self._phase = phase
        self._phase_at = until

    def _armed(self, actions: Actions) -> Actions:
        """Compute the deadline anew; every answer but plain events goes through here."""
        due = self._next_due()
        self.deadline, self._reason = (None, None) if due is None else due
        return actions

    def _next_due(self) -> Due | None:
        due: Due | None = None
        if self._phase is not None:
            due = (self._phase_at, self._phase)
        elif self._state is _CONNECTED:
            memory = self._reconnection
            if memory is not None and memory.retries:
                at = self._accepted_at + self._config.reconnection.reset_interval
                due = (at, Timer.STABILITY)
            if self._paused_at is None:
                due = self._next_life_due(due)
        if self._drain is not None:
            due = earlier(due, self._drain[1], Timer.DRAIN)
        if self._posts is not None:
            for post in self._posts.values():
                due = earlier(due, post.give_up, Timer.POST)
        return due

    def _next_life_due(self, due: Due | None) -> Due | None:
        if self._idle:
            due = earlier(due, self._last_life + self._idle, Timer.IDLE)
        config = self._config.heartbeat
        if config.enabled:
            beat = self._heartbeat
            if beat is None:
                due = earlier(due, self._last_life + config.interval, Timer.PING)
            elif beat.ping:
                due = earlier(due, beat.answer_by, Timer.PING_ANSWER)
            else:
                due = earlier(due, beat.due(config, self._last_life), Timer.PING)
        return due

    def _timer_fired(self, timer: Timer, actions: Actions) -> bool:
        """Act on one timer; return True for a death, after which a tick stops."""
        timeouts = self._config.timeouts
        match timer:
            case Timer.PREPARE:
                text = f"prepare_request took longer than {timeouts.connect:g} s"
                self._fail(ConnectTimeout(text), actions)
            case Timer.CONNECT:
                text = f"could not connect to {self._where()} within {timeouts.connect:g} s"
                self._fail(ConnectTimeout(text), actions)
            case Timer.WRITE:
                text = f"could not write the request within {timeouts.write:g} s"
                self._fail(WriteTimeout(text), actions)
            case Timer.RESPONSE:
                if self._attempt is not None and self._attempt.refused is not None:
                    self._refuse(actions)
                else:
                    text = f"no response head within {timeouts.response:g} s"
                    self._fail(ResponseTimeout(text), actions)
            case Timer.IDLE:
                self._fail(IdleTimeout(f"nothing received for {self._idle:g} s"), actions)
            case Timer.PING_ANSWER:
                beat = self._heartbeat
                assert beat is not None
                actions.append(Disconnect(beat.ping))
                return self._missed(beat, actions)
            case Timer.PING:
                if self._heartbeat is None:
                    self._heartbeat = Heartbeat()  # a stream that is never silent needs none
                beat = self._heartbeat
                self._number += 1
                config = self._config.heartbeat
                beat.missed = beat.in_a_row(self._last_life)
                beat.sent(self._number, config, self._now, self._beat_counters())
                request = ping_request(self._request, config.ping_endpoint)
                actions.append(SendPing(request, self._number))
                return False
            case Timer.STABILITY:
                self._memory().progress()
                return False
            case Timer.RECONNECT:
                self._phase = None
                self._begin(actions)
                return False
            case Timer.POST:
                self._expire_posts(actions)
                return False
            case Timer.DRAIN:
                assert self._drain is not None
                actions.append(Disconnect(self._drain[0]))
                self._drain = None
                return False
            case Timer.FAILBACK:
                self._go_back(actions)
            case _:
                assert_never(timer)
        return True

    def _go_back(self, actions: Actions) -> None:
        """Leave this endpoint for a better one; for those who have several."""

    def _expire_posts(self, actions: Actions) -> None:
        limit = self._config.timeouts.connect + self._config.timeouts.response
        for number, post in list((self._posts or {}).items()):
            if post.give_up <= self._now:
                self._take_post(number)
                actions.append(Disconnect(number))
                late = ResponseTimeout(f"a post was not answered within {limit:g} s")
                actions.append(self._post_lost(post, late))

    def _where(self) -> str:
        origin = self._request.origin
        return f"{origin.host}:{origin.port}"


def with_defaults(request: Request) -> Request:
    """Return the request with the headers of ours that it lacks.

    >>> with_defaults(Request("GET", "http://example.com/")).header("accept")
    'text/event-stream'
    """
    given = {name.lower() for name, _ in request.headers}
    if not given:
        return request.replace(headers=DEFAULT_HEADERS)  # one tuple for all connections
    defaults = tuple(pair for pair in DEFAULT_HEADERS if pair[0].lower() not in given)
    if not defaults and "last-event-id" not in given:
        return request  # it has them already, and many connections may share it
    kept = tuple(pair for pair in request.headers if pair[0].lower() != "last-event-id")
    return request.replace(headers=(*defaults, *kept))


def _checked_cursor(last_event_id: str) -> str:
    if "\r" in last_event_id or "\n" in last_event_id or "\0" in last_event_id:
        raise ConfigError("last_event_id has a CR, LF or NUL")
    return last_event_id


def _is_terminal(event: ServerSentEvent, until: Until) -> bool:
    if isinstance(until, str):
        return event.data == until or event.event == until
    return until(event)
