"""Many different streams in one hand: one admission limit, one token hook, shared callbacks.

A set is no pool: every member has a url of its own, and nobody borrows one. Members come and go
while it runs. What they share is what a thousand separate connections could not: that they do not
all connect in one instant, and that one place sees them all.
"""

from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

from .actions import Event, StateChanged
from .admission import Admission, AdmitStream
from .attempt import Decide
from .config import DEFAULT_CONFIG, ConnectionConfig
from .connection import Include, Until, with_defaults
from .driver import PrepareRequestHook
from .errors import ConfigError, ConnectionClosed, LocalProtocolError, SSEError
from .group import GroupDriver, MemberDriver, Spec
from .group_faces import AsyncGroupFace, AsyncIteration, SyncGroupFace, SyncIteration
from .http import HeadersInput, make_request
from .machine_driver import Waiting
from .metrics import counted
from .sharing import FairQueue
from .states import ConnectionState

__all__ = [
    "AsyncSetEvents",
    "AsyncStreamSet",
    "StreamSetDriver",
    "StreamSetStats",
    "SyncSetEvents",
    "SyncStreamSet",
]

EventsT = TypeVar("EventsT")
"""What ``events`` returns."""

_ENDS = (ConnectionState.DISCONNECTED, ConnectionState.ERROR, ConnectionState.CLOSED)


@dataclass(frozen=True, slots=True, repr=False)
class StreamSetStats:
    """A set of streams at a glance. States are counted now, the rest only grows.

    >>> stats = StreamSetStats(total=3, states={"connected": 2, "error": 1})
    >>> stats, stats.connected
    (<StreamSetStats 3 streams, 2 connected, 1 error, 0 events>, 2)
    """

    total: int
    states: dict[str, int]
    """How many streams are in each state."""
    admission_waiters: int = 0
    attempts_under_way: int = 0
    peak_connecting: int = 0
    """The most attempts there ever were under way."""
    added: int = 0
    removed: int = 0
    events_received: int = 0
    """By all streams, those that were removed included; likewise the rest."""
    events_dropped: int = 0
    bytes_received: int = 0
    connect_attempts: int = 0
    """First ones and retries."""
    connect_successes: int = 0

    @property
    def connected(self) -> int:
        """How many streams are accepted."""
        return self.states.get("connected", 0)

    def __repr__(self) -> str:
        states = [f"{number} {state}" for state, number in self.states.items()]
        parts = [counted(self.total, "stream"), *states, counted(self.events_received, "event")]
        return f"<StreamSetStats {', '.join(parts)}>"


class StreamSetDriver(GroupDriver, Generic[EventsT]):
    """Event streams with different urls; ``with`` or ``async with`` (or ``open()``) begins.

    :param config: of every stream, unless ``add`` gives another.
    :param headers: of every request; they win over ``config.headers`` by name.
    :param max_connecting: attempts under way at one time, first ones and retries alike.
    :param max_connecting_per_origin: the same for each origin; None: no limit of its own.
    :param prepare_request: ``prepare_request(request, attempt)`` runs before each attempt of each
        stream and returns the request, perhaps changed (a fresh token).
    :param decide: ``decide(response, attempt)`` may overrule what a response means.
    :param include: ``"connected"``, ``"comments"``, ``"ids"`` join the events.
    :param on_event: called with the set, the key and each event, in place of ``events()``.
    :param on_change: called with the set, the key and each state change.
    :param on_error: called with the set, the key and each error, or exception of a callback.
    :param ssl_context: an ``ssl.SSLContext`` for https; by default one that verifies.
    :param name: for people, in ``repr()``.
    :param uds: connect to this Unix socket, whatever the urls' hosts.
    :param proxy: only with ``sansio_sse_httpcore``; an httpx client has its own.
    """

    __slots__ = (
        "_added",
        "_config",
        "_headers",
        "_keys",
        "_numbers",
        "_on_event",
        "_options",
        "_queue",
        "_reading",
        "_removed",
    )

    _machine: Admission

    def __init__(
        self,
        *,
        config: ConnectionConfig | None = None,
        headers: HeadersInput = None,
        max_connecting: int = 10,
        max_connecting_per_origin: int | None = None,
        prepare_request: PrepareRequestHook | None = None,
        decide: Decide | None = None,
        include: Collection[Include] = (),
        on_event: Callable[[Self, Any, Any], object] | None = None,
        on_change: Callable[[Self, Any, StateChanged], object] | None = None,
        on_error: Callable[[Self, Any, BaseException], object] | None = None,
        ssl_context: Any = None,
        name: str | None = None,
        uds: str | None = None,
        proxy: str | None = None,
    ) -> None:
        for what, number in (
            ("max_connecting", max_connecting),
            ("max_connecting_per_origin", max_connecting_per_origin),
        ):
            if number is not None and (not isinstance(number, int) or number < 1):
                raise ConfigError(f"{what} must be a whole number, at least 1, not {number!r}")
        self._config = config or DEFAULT_CONFIG
        self._headers = make_request("GET", "http://checked.invalid/", headers=headers).headers
        self._keys: dict[Hashable, int] = {}
        self._numbers = 0
        self._added = self._removed = 0
        self._on_event = on_event
        self._queue = FairQueue(self)
        self._reading = False
        self._options: dict[str, Any] = {
            "decide": decide,
            "prepare_request": prepare_request,
            "include": include,
            # One method for all members: one for each would be a few MiB with ten thousand.
            "on_event": None if on_event is None else self._event_of,
            "on_error": self._error_of,
        }
        self._gather(
            Admission(max_connecting, max_connecting_per_origin),
            on_change=on_change,
            on_error=on_error,
            ssl_context=ssl_context,
            uds=uds,
            proxy=proxy,
            name=name,
        )

    # --- Look ----------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._keys

    def __iter__(self) -> Iterator[Hashable]:
        return iter(tuple(self._keys))

    def __getitem__(self, key: Hashable) -> MemberDriver:
        """Return the connection with this key: to look at, to restart, to post."""
        try:
            return self._connections[self._keys[key]]
        except KeyError:
            raise KeyError(key) from None

    def stats(self) -> StreamSetStats:
        """Return the set at a glance."""
        with self._guard:
            metrics = self.metrics
            states: dict[str, int] = {}
            for member in tuple(self._connections.values()):
                states[member.state.value] = states.get(member.state.value, 0) + 1
            return StreamSetStats(
                total=len(self._keys),
                states=states,
                admission_waiters=self._machine.waiting,
                attempts_under_way=self._machine.under_way,
                peak_connecting=self._machine.peak,
                added=self._added,
                removed=self._removed,
                events_received=metrics.events_received,
                events_dropped=metrics.events_dropped,
                bytes_received=metrics.bytes_received,
                connect_attempts=metrics.connect_attempts + metrics.reconnect_attempts,
                connect_successes=metrics.connect_successes + metrics.reconnect_successes,
            )

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        return f"<{type(self).__name__}{name} of {len(self._keys)} streams>"

    # --- Commands ------------------------------------------------------------------------------

    def add(
        self,
        key: Hashable,
        url: str,
        *,
        method: str = "GET",
        headers: HeadersInput = None,
        content: bytes | str | None = None,
        json: Any = None,
        last_event_id: str = "",
        until: Until | None = None,
        config: ConnectionConfig | None = None,
    ) -> None:
        """Add a stream and begin to connect it, as soon as the limits allow.

        Raises :class:`LocalProtocolError` for a key that is there, or when it is not open, and
        :class:`ConfigError` for what cannot be.
        """
        self._check_open()
        if self._closing:
            raise LocalProtocolError("the set is closed")
        config = config or self._config
        request = with_defaults(
            make_request(
                method,
                url,
                base_url=config.base_url,
                headers=headers,
                default_headers=make_request(
                    "GET",
                    "http://checked.invalid/",
                    headers=self._headers,
                    default_headers=config.headers,
                ).headers,
                content=content,
                json=json,
            )
        )
        options = self._options | {"last_event_id": last_event_id, "until": until}
        with self._guard:
            if key in self._keys:
                raise LocalProtocolError(f"there is a stream with the key {key!r} already")
            self._numbers += 1
            spec = Spec(key, [request], config, options)
            member = self._make_member(self._numbers, spec)
            self._keys[key] = self._numbers
            self._added += 1
            if self._on_event is None:
                self._queue.add(member)
            self._shared_again(member)
            self._tell(member, member._begin_now)

    def remove(self, key: Hashable) -> None:
        """Close a stream; what was not read of it is dropped.

        Raises :class:`LocalProtocolError` for a key that is not there.
        """
        with self._guard:
            number = self._keys.pop(key, None)
            if number is None:
                raise LocalProtocolError(f"there is no stream with the key {key!r}")
            self._remove(number)

    def _remove(self, number: int) -> None:
        self._not_shared(self._connections[number])
        member = self._let_go(number)
        if member is not None:
            self._removed += 1

    def close(self) -> None:
        """Close all streams; plain, idempotent, callable from anywhere.

        ``wait_closed()`` returns when everything is released.
        """
        self._closing = True
        for member in tuple(self._connections.values()):
            member._hush()
        self._from_elsewhere(self._close_now)

    def _close_now(self) -> None:
        with self._guard:
            for number in tuple(self._connections):
                self._remove(number)
            self._keys.clear()
        self._wake()

    # --- What the machine asks for ---------------------------------------------------------------

    def _perform(self, actions: Sequence[AdmitStream]) -> None:
        for action in actions:
            member = self._connections.get(action.stream)
            if member is not None:
                self._admit_member(member, action.attempt)

    def _admit_member(self, member: MemberDriver, attempt: int) -> None:
        request = member._spec.requests[0]
        self._tell(member, lambda: member._admit_now(attempt, request, True))

    # --- What members tell -----------------------------------------------------------------------

    def _member_asks(self, member: MemberDriver, attempt: int) -> None:
        origin = member._spec.requests[0].origin
        self._take(Admission.asked, member._member, attempt, origin)

    def _member_changed(self, member: MemberDriver, change: StateChanged) -> None:
        if change.new is ConnectionState.CONNECTED or change.new in _ENDS:
            self._take(Admission.over, member._member)
        self._watched(change)
        if self._on_change is not None:
            self._call_back_for(self._on_change, member, change)

    def _member_erred(self, member: MemberDriver, error: SSEError) -> None:
        if error.accepted is False:
            self._take(Admission.over, member._member)

    def _event_of(self, member: MemberDriver, event: Event) -> None:
        assert self._on_event is not None
        on_event: Any = self._on_event
        on_event(self, member._spec.identity, event)

    def _error_of(self, member: MemberDriver, error: BaseException) -> None:
        if self._on_error is not None:
            self._on_error(self, member._spec.identity, error)
        elif not isinstance(error, SSEError):
            self._unhandled(error)

    def _call_back_for(
        self, callback: Callable[..., object], member: MemberDriver, argument: object
    ) -> None:
        key = member._spec.identity
        try:
            callback(self, key, argument)
        except Exception as error:
            try:
                self._error_of(member, error)
            except Exception as raised:
                self._unhandled(raised)

    def _is_over(self) -> bool:
        return self._closing and not self._connections

    # --- Events ----------------------------------------------------------------------------------

    def events(self) -> EventsT:
        """Return an iterator of ``(key, event)``, fairly merged; it ends when the set is closed.

        Every stream has its own buffer, and a full one pauses its own stream alone.
        """
        return self._events()

    def _events(self) -> EventsT:
        raise NotImplementedError

    def _next_event(self) -> Waiting[tuple[Any, Any]]:
        """Wait for the next event of any stream."""
        self._check_open()
        if self._on_event is not None:
            raise LocalProtocolError("events go to on_event: they cannot be read as well")
        if self._reading:
            raise LocalProtocolError("somebody else is reading this set already")
        self._reading = True
        try:
            while (found := self._queue.next()) is None:
                if self._closing:
                    raise ConnectionClosed("the set is closed")
                yield None
            member, event = found
            return member._spec.identity, event
        finally:
            self._reading = False

    def _check_idle(self) -> None:
        if self._closing:
            raise LocalProtocolError("the set is closed")
        super()._check_idle()

    def _start_now(self) -> None:
        self._check_idle()
        self._opened = True


class _SetEvents:
    __slots__ = ("_set",)

    def __init__(self, streams: Any) -> None:
        self._set = streams

    def close(self) -> None:
        """There is nothing to let go of: the streams are the set's."""


class AsyncSetEvents(_SetEvents, AsyncIteration[tuple[Any, Any]]):
    """The events of all streams of a set in turn, as ``(key, event)``: an async iterator."""

    __slots__ = ()

    async def _next(self) -> tuple[Any, Any]:
        found: tuple[Any, Any] = await self._set._run(self._set._next_event())
        return found


class SyncSetEvents(_SetEvents, SyncIteration[tuple[Any, Any]]):
    """The events of all streams of a set in turn, as ``(key, event)``: an iterator."""

    __slots__ = ()

    def _next(self) -> tuple[Any, Any]:
        found: tuple[Any, Any] = self._set._run(self._set._next_event())
        return found


class AsyncStreamSet(AsyncGroupFace, StreamSetDriver[AsyncSetEvents]):
    """The coroutines of a ``StreamSet``, over the verbs of its driver."""

    __slots__ = ()

    async def aclose(self) -> None:
        """Close, and wait until everything is released."""
        self.close()
        await self.wait_closed()

    def _events(self) -> AsyncSetEvents:
        return AsyncSetEvents(self)


class SyncStreamSet(SyncGroupFace, StreamSetDriver[SyncSetEvents]):
    """The plain calls of a ``StreamSet``, over the verbs of its driver."""

    __slots__ = ()

    def _events(self) -> SyncSetEvents:
        return SyncSetEvents(self)
