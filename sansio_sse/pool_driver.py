"""What every driver's ``ConnectionPool`` shares: the pool machine, and the connections it means.

The machine decides; here are the connections behind its numbers, the leases behind its leases, and
those who wait. As with single connections, what is waited for is written once, as generators, and
two faces run it: coroutines for asyncio and trio, plain calls elsewhere.
"""

from collections.abc import Callable, Collection, Sequence
from math import inf
from typing import Any, Generic, Self, TypeVar, assert_never

from .actions import StateChanged
from .attempt import Decide, may_replay
from .config import ConnectionConfig, Endpoint, Overflow, PoolConfig, make_endpoint_request
from .connection import Include, Until, with_defaults
from .driver import PrepareRequestHook
from .endpoints import EndpointChanged
from .errors import ConfigError, LocalProtocolError, PoolClosed, SSEError
from .event_stream import ServerSentEvent
from .group import GroupDriver, MemberDriver, Spec
from .http import HeadersInput, Origin, make_request
from .leases import Backlog, Hold
from .machine_driver import Waiting
from .members import (
    Admit,
    CloseKept,
    CloseMember,
    EndLease,
    GrantLease,
    MemberChanged,
    OpenMember,
    PauseMember,
    PoolAction,
    PoolStats,
    RejectWaiter,
    RestartMember,
    Unread,
)
from .pool import PoolMachine
from .sharing import Hub, Merge, Reader
from .states import ConnectionState

__all__ = ["PoolChange", "PoolDriver"]

AcquiringT = TypeVar("AcquiringT")
"""What ``acquire`` and ``stream`` return."""
MergedT = TypeVar("MergedT")
"""What ``events`` returns."""
SubscriptionT = TypeVar("SubscriptionT")
"""What ``subscribe`` returns."""

PoolChange = MemberChanged | EndpointChanged
"""What ``changes()`` tells of: a member, or the breaker of an endpoint."""

_CONNECTED = ConnectionState.CONNECTED
_RECONNECTING = ConnectionState.RECONNECTING
_ERROR = ConnectionState.ERROR
_DISCONNECTED = ConnectionState.DISCONNECTED
_CLOSED = ConnectionState.CLOSED


class _Ticket:
    """Somebody who waits for a lease."""

    __slots__ = ("error", "granted", "hold", "rejected")

    def __init__(
        self,
        granted: Callable[["_Ticket", Hold], None] | None = None,
        rejected: Callable[["_Ticket", SSEError], None] | None = None,
    ) -> None:
        self.hold: Hold | None = None
        self.error: SSEError | None = None
        self.granted = granted
        self.rejected = rejected


class _Shelf:
    """Who has a transport while no stream does: whatever happens to it then is its end."""

    __slots__ = ("_number", "_pool")

    _reader = None  # nobody waits for what comes

    def __init__(self, pool: "PoolDriver[Any, Any, Any]", number: int) -> None:
        self._pool = pool
        self._number = number

    def _take(self, news: object, number: int, *args: object) -> None:
        self._pool._kept_gone(self._number)

    def _bytes_received(self, number: int, data: bytes) -> None:
        self._pool._kept_gone(self._number)

    def _link_released(self, number: int, link: object) -> None:
        self._pool._shelf_released()

    def _task_released(self) -> None:
        self._pool._shelf_released()


class PoolDriver(GroupDriver, Generic[AcquiringT, MergedT, SubscriptionT]):
    """A pool of event streams; ``with`` or ``async with`` (or ``open()``) begins it.

    Which of its ways to use depends on the job: ``stream()`` for finite streams, one request each;
    ``subscribe()`` for many readers of one stream; ``acquire()`` for a connection of one's own for
    a while. On a broadcast stream N members deliver N copies.

    :param config: endpoints, sizes, times; see :class:`~sansio_sse.config.PoolConfig`.
    :param method: the members' method; the rest of their request likewise.
    :param headers: of every request; they win over ``config.connection.headers`` by name.
    :param content: the request's body.
    :param json: the request's body as JSON, with its content type.
    :param last_event_id: the cursor that every member begins with.
    :param ssl_context: an ``ssl.SSLContext`` for https; by default one that verifies.
    :param until: what ends a finite stream: a predicate on events, a string equal to an event's
        data or type, or a :class:`~sansio_sse.profiles.Profile`.
    :param decide: ``decide(response, attempt)`` may overrule what a response means.
    :param prepare_request: ``prepare_request(request, attempt)`` runs before each attempt of each
        member and returns the request, perhaps changed (a fresh token).
    :param include: ``"connected"``, ``"comments"``, ``"ids"`` join the events.
    :param on_change: called with the pool and each change of a member or an endpoint.
    :param on_error: called with the pool and each error, or exception of a callback.
    :param name: for people, in ``repr()``.
    :param uds: connect to this Unix socket, whatever the endpoints' hosts.
    :param proxy: only with ``sansio_sse_httpcore``; an httpx client has its own.

    Raises :class:`~sansio_sse.errors.ConfigError` for what cannot be.
    """

    __slots__ = (
        "_config",
        "_holds",
        "_hubs",
        "_kept_links",
        "_kept_number",
        "_on_shelf",
        "_options",
        "_request",
        "_spec",
    )

    _machine: PoolMachine

    def __init__(
        self,
        config: PoolConfig,
        *,
        method: str = "GET",
        headers: HeadersInput = None,
        content: bytes | str | None = None,
        json: Any = None,
        last_event_id: str = "",
        ssl_context: Any = None,
        until: Until | None = None,
        decide: Decide | None = None,
        prepare_request: PrepareRequestHook | None = None,
        include: Collection[Include] = (),
        on_change: Callable[[Self, PoolChange], object] | None = None,
        on_error: Callable[[Self, BaseException], object] | None = None,
        name: str | None = None,
        uds: str | None = None,
        proxy: str | None = None,
    ) -> None:
        if not isinstance(config, PoolConfig):
            raise ConfigError("a ConnectionPool is made of a PoolConfig")
        self._config = config
        self._options: dict[str, Any] = {
            "last_event_id": last_event_id,
            "until": until,
            "decide": decide,
            "prepare_request": prepare_request,
            "include": include,
            "on_error": self._member_reported,
        }
        self._request: dict[str, Any] = {
            "method": method,
            "headers": headers,
            "content": content,
            "json": json,
        }
        connection = config.connection
        requests = self._requests("", None, connection, **self._request)
        self._spec: Spec = Spec("", requests, connection, self._options)
        self._holds: dict[int, Hold] = {}
        self._hubs: dict[Spec, Hub] = {}
        self._kept_links: dict[int, Any] = {}
        self._kept_number = 0
        self._on_shelf = 0  # transports that no stream has, and that are not gone yet
        self._gather(
            PoolMachine(config, self._spec, random=self._random),
            on_change=on_change,
            on_error=on_error,
            ssl_context=ssl_context,
            uds=uds,
            proxy=proxy,
            name=name,
        )

    # --- Look ----------------------------------------------------------------------------------

    @property
    def healthy_count(self) -> int:
        """How many members have an accepted stream, in use or not: what readiness may ask for."""
        return self._machine.healthy_count

    def stats(self) -> PoolStats:
        """Return the pool at a glance: sizes, waiters, counters, endpoints."""
        with self._guard:
            return self._machine.stats()

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        stats = self._machine.stats()
        state = "closed" if self._machine.over else "closing" if self._closing else "open"
        if not self._opened:
            state = "not open"
        return (
            f"<{type(self).__name__}{name} {state}, {stats.active} in use of {stats.total},"
            f" at most {stats.max_size}>"
        )

    # --- Commands ------------------------------------------------------------------------------

    def release(self, lease: Any, unread: Unread = "keep") -> None:
        """Give a lease back; at once, and plain in every driver.

        What was handed out is consumed. What was not is kept for the next lease of the same scope,
        or dropped, or (``"close"``) closed with the connection. Raises
        :class:`LocalProtocolError` for a lease that is over, or of another pool.
        """
        if unread not in ("keep", "drop", "close"):
            raise ConfigError(f"unread must be 'keep', 'drop' or 'close', not {unread!r}")
        hold = getattr(lease, "_hold", None)
        if not isinstance(hold, Hold) or lease._pool is not self:
            raise LocalProtocolError("this is not a lease of this pool")
        if hold.over:
            raise LocalProtocolError("this lease is over already")
        self._give_back(hold, unread)

    def close(self, grace: float = 0.0) -> None:
        """Refuse whoever comes, reject whoever waits, close what is free; after ``grace`` the rest.

        Idempotent, never blocks, callable from any task, thread, callback or signal handler;
        ``wait_closed()`` returns when everything is released.
        """
        self._closing = True
        self._from_elsewhere(lambda: self._close_now(grace))

    def _close_now(self, grace: float) -> None:
        self._take(_close, grace)
        self._wake()

    def _start_now(self) -> None:
        self._check_idle()
        self._opened = True
        self._take(PoolMachine.start)

    def _check_idle(self) -> None:
        self._check_not_closed()
        super()._check_idle()

    def _check_not_closed(self) -> None:
        if self._closing:
            raise PoolClosed("the pool is closed")

    # --- Ways to use it --------------------------------------------------------------------------

    def acquire(self, scope: str = "", *, timeout: float | None = None) -> AcquiringT:
        """Wait for a connection of one's own, for a while.

        Where there is a loop, ``await`` it for a lease, or enter it with ``async with`` for one
        that ends with the block. Without one it returns the lease, which is a context manager.
        First come, first served. ``scope`` separates tenants: what was received for one cannot
        reach another. ``timeout``: seconds (None: ``acquire_timeout``; 0 tries once).

        Raises :class:`PoolTimeout`, :class:`PoolClosed`, and what every endpoint failed with.
        """
        return self._acquisition(self._shared_spec(scope), timeout, single=False)

    def stream(
        self,
        url: str = "",
        *,
        method: str = "GET",
        headers: HeadersInput = None,
        content: bytes | str | None = None,
        json: Any = None,
        last_event_id: str | None = None,
        config: ConnectionConfig | None = None,
        until: Until | None = None,
        decide: Decide | None = None,
        prepare_request: PrepareRequestHook | None = None,
        include: Collection[Include] | None = None,
        timeout: float | None = None,
    ) -> AcquiringT:
        """Open a stream for one use: ``async with pool.stream(...) as stream``, or ``with``.

        The request is this call's own; ``url`` is joined to the endpoint's. Its place in the pool
        and (after a complete response) its transport serve the next one. None: as the pool has it.
        A ``timeout`` of 0 cannot be met: a stream has to be connected first.
        """
        options = {
            "last_event_id": last_event_id,
            "until": until,
            "decide": decide,
            "prepare_request": prepare_request,
            "include": include,
        }
        spec = self._single_spec(
            url, config, options, method=method, headers=headers, content=content, json=json
        )
        return self._acquisition(spec, timeout, single=True)

    def events(self, scope: str = "", *, members: int | None = None) -> MergedT:
        """Return an iterator over the events of several members, fairly merged.

        It leases ``members`` of them (None: ``min_size``, at least one) until it is closed. On a
        broadcast stream that is as many copies of each event.
        """
        with self._guard:
            return self._merged(self._merge(scope, members))

    def subscribe(
        self, scope: str = "", *, overflow: Overflow = "block", buffer_size: int | None = None
    ) -> SubscriptionT:
        """Return an iterator over one connection that all subscribers of a scope share.

        It begins with the next event. ``overflow`` says what a full buffer of ``buffer_size``
        events means: the stream, and everybody, waits; the oldest are dropped; or this reader is
        given a :class:`BufferOverflow`.
        """
        with self._guard:
            return self._subscription(self._join_hub(scope, overflow, buffer_size))

    # --- What members are made of ----------------------------------------------------------------

    def _shared_spec(self, scope: str) -> Spec:
        """Return what members for a scope are made of; they may be leased again and again."""
        if not isinstance(scope, str):
            raise ConfigError(f"a scope is a string, not {type(scope).__name__}")
        return Spec(scope, self._spec.requests, self._config.connection, self._options)

    def _requests(
        self,
        url: str,
        more_headers: HeadersInput,
        config: ConnectionConfig,
        *,
        method: str,
        headers: HeadersInput,
        content: bytes | str | None,
        json: Any,
    ) -> list[Any]:
        defaults = make_request(
            "GET", "http://checked.invalid/", headers=headers, default_headers=config.headers
        ).headers
        return [
            with_defaults(
                make_endpoint_request(
                    endpoint,
                    method,
                    url,
                    headers=more_headers,
                    default_headers=defaults,
                    content=content,
                    json=json,
                )
            )
            for endpoint in self._config.endpoints
            if isinstance(endpoint, Endpoint)
        ]

    def _single_spec(
        self,
        url: str,
        config: ConnectionConfig | None,
        options: dict[str, Any],
        *,
        method: str,
        headers: HeadersInput,
        content: bytes | str | None,
        json: Any,
    ) -> Spec:
        """Return what one finite stream is made of."""
        config = config or self._config.connection
        requests = self._requests(
            url,
            headers,
            config,
            method=method,
            headers=self._request["headers"],
            content=content,
            json=json,
        )
        given = {name: value for name, value in options.items() if value is not None}
        return Spec(object(), requests, config, self._options | given, reuse=True)

    # --- Waiting for a lease ---------------------------------------------------------------------

    def _acquiring(
        self, spec: Spec, timeout: float | None, *, single: bool = False
    ) -> Waiting[Hold]:
        """Wait for a lease; whoever stops waiting leaves it to the next."""
        self._check_open()
        self._check_not_closed()
        if timeout is not None and not timeout >= 0:
            raise ConfigError(f"timeout must be a number of seconds, not {timeout!r}")
        ticket = _Ticket()
        taken = False
        try:
            self._take(_acquire, ticket, spec, timeout, single)
            while ticket.hold is None and ticket.error is None:
                yield None
            if ticket.error is not None:
                raise ticket.error.with_traceback(None)
            assert ticket.hold is not None
            taken = True
            return ticket.hold
        finally:
            if not taken:
                self._take_back(ticket)

    def _ticket(
        self,
        granted: Callable[[_Ticket, Hold], None],
        rejected: Callable[[_Ticket, SSEError], None],
    ) -> _Ticket:
        return _Ticket(granted, rejected)

    def _ask(self, ticket: _Ticket, spec: Spec) -> None:
        """Have the ticket's ``granted`` or ``rejected`` called, at once or later."""
        self._take(_acquire, ticket, spec, inf, False)

    def _take_back(self, ticket: _Ticket) -> None:
        """Nobody wants what was asked for any more."""
        if ticket.hold is None:
            self._take(_cancel, ticket)
        else:
            self._give_back(ticket.hold)

    def _give_back(self, hold: Hold, unread: Unread = "keep") -> None:
        with self._guard:
            if hold.over:
                return
            member = hold.member
            hold.over = True
            self._holds.pop(hold.number, None)
            member._sink = None
            member._idle = True
            member._reading_now = None  # who was reading is not any more
            backlog = _unread(member)
            if unread == "drop":
                self._tell(member, member._drop_unread_now)
            else:
                self._tell(member, member._drained)  # a hub may have paused it; it holds nothing
            # One that is paused, and half read, gets no fuller: it is as if it were full.
            full = member._paused or len(member._buffer or ()) >= member._size
            self._shared_again(member)
            self._take(_release, hold.number, unread, backlog, full, bool(member.last_event_id))
            self._tell(member, member._wake)

    def _lease_lost(self, hold: Hold) -> None:
        """A lease was thrown away without being released; may be called by a garbage collection."""
        self._from_elsewhere(lambda: self._reclaim(hold))

    def _reclaim(self, hold: Hold) -> None:
        if hold.over:
            return
        self._give_back(hold)
        try:
            self._warn(f"a lease of {self!r} was never released")
        except ResourceWarning as warning:  # where warnings are errors; there is no caller
            self._unhandled(warning)

    # --- What the machine asks for ---------------------------------------------------------------

    def _perform(self, actions: Sequence[PoolAction]) -> None:
        interrupt: BaseException | None = None
        for action in actions:
            try:
                self._act(action)
            except KeyboardInterrupt as error:
                # In a callback: the rest has to be done all the same.
                interrupt = error
        if interrupt is not None:
            try:
                raise interrupt
            finally:
                interrupt = None  # which holds this frame

    def _act(self, action: PoolAction) -> None:
        match action:
            case OpenMember(number, spec):
                member = self._make_member(number, spec)
                self._shared_again(member)
                self._tell(member, member._begin_now)
            case Admit(number, attempt, endpoint, keep_cursor):
                member = self._connections[number]
                request = member._spec.requests[endpoint]
                self._tell(member, lambda: member._admit_now(attempt, request, keep_cursor))
            case CloseMember(number):
                member = self._connections[number]
                self._machine.unread_dropped(_unread(member))
                self._not_shared(member)
                self._let_go(number)
            case PauseMember(number):
                member = self._connections[number]
                self._tell(member, member._hold_back_now)
            case RestartMember(number, drop):
                member = self._connections[number]
                if drop:
                    self._machine.unread_dropped(_unread(member))
                    self._tell(member, member._refresh_now)
                else:
                    self._tell(member, lambda: member._restart_now(None))
            case GrantLease(ticket, lease, number, age):
                self._granted(ticket, lease, self._connections[number], age)
            case RejectWaiter(ticket, error):
                ticket.error = error
                if ticket.rejected is not None:
                    ticket.rejected(ticket, error)
                self._wake()
            case EndLease(lease, number):
                hold = self._holds.pop(lease, None)
                if hold is not None:  # else its holder released it in a callback, just now
                    hold.over = True
                    hold.member._reading_now = None
                    self._tell(hold.member, hold.member._wake)
            case CloseKept(transport):
                self._close_kept(transport)
            case MemberChanged() | EndpointChanged():
                self._changed(action)
            case _:
                assert_never(action)

    def _granted(self, ticket: _Ticket, lease: int, member: MemberDriver, age: float) -> None:
        unread = _unread(member)
        hold = Hold(lease, member, Backlog(unread, age if unread else 0.0))
        hold.single = member._spec.reuse
        member._idle = False
        self._holds[lease] = hold
        ticket.hold = hold
        if ticket.granted is not None:
            ticket.granted(ticket, hold)
        else:
            self._not_shared(member)
        self._wake()

    # --- What members tell -----------------------------------------------------------------------

    def _member_asks(self, member: MemberDriver, attempt: int) -> None:
        self._take(PoolMachine.admission_requested, member._member, attempt)

    def _member_changed(self, member: MemberDriver, change: StateChanged) -> None:
        new, number = change.new, member._member
        if new is _CONNECTED:
            if not member._idle and member._sink is None:
                self._not_shared(member)
            self._take(PoolMachine.connected, number)
        elif new is _RECONNECTING:
            # Its holder may be busy, and an attempt that nobody turns is one that others wait for.
            self._shared_again(member)
            if change.old is _CONNECTED:
                self._take(_lost, number, change.error)
        elif new is _ERROR:
            assert change.error is not None
            self._take(_failed, number, change.error, _may_repeat(member, change.error))
        elif new is _DISCONNECTED:
            self._take(PoolMachine.finished, number)
        elif new is _CLOSED:
            self._take(PoolMachine.closed, number)

    def _member_erred(self, member: MemberDriver, error: SSEError) -> None:
        if error.accepted is False:
            self._take(PoolMachine.attempt_failed, member._member, error)

    def _member_received(self, member: MemberDriver) -> None:
        if not member._gave:
            member._gave = True
            self._take(PoolMachine.event_seen, member._member)
        if member._idle:
            buffer = member._buffer or ()
            full = len(buffer) >= member._size
            self._take(_backlog, member._member, full, bool(member.last_event_id))

    def _member_reported(self, member: MemberDriver, error: BaseException) -> None:
        self._report(error)

    def _is_over(self) -> bool:
        return self._machine.over

    # --- Transports that are kept ----------------------------------------------------------------

    def _open_for(self, member: MemberDriver, transport: int, origin: Origin) -> None:
        reused = False
        if member._spec.reuse and transport == member._wire._stream:
            while not reused and (kept := self._next_kept(origin)) is not None:
                reused = member._attach(transport, kept)
                if reused:
                    with self._guard:
                        self._on_shelf -= 1
        if transport == member._wire._stream:
            self._take(_opened, reused)
        if not reused:
            member._open(transport, origin)

    def _next_kept(self, origin: Origin) -> Any:
        with self._guard:
            number = self._machine.reuse_transport(origin, self._now())
            return None if number is None else self._kept_links.pop(number)

    def _keep(self, member: MemberDriver, transport: int, origin: Origin, seconds: float) -> None:
        with self._guard:
            self._kept_number += 1
            number = self._kept_number
            self._on_shelf += 1
            self._kept_links[number] = member._detach(transport, _Shelf(self, number))
            self._take(PoolMachine.transport_kept, number, origin, seconds)

    def _kept_gone(self, number: int) -> None:
        if number in self._kept_links:
            self._take(PoolMachine.transport_gone, number)
            self._close_kept(number)

    def _close_kept(self, number: int) -> None:
        link = self._kept_links.pop(number, None)
        if link is not None:
            self._drop_link(link)

    def _shelf_released(self) -> None:
        with self._guard:
            self._on_shelf -= 1
            if not self._on_shelf:
                self._wake()

    def _released(self) -> bool:
        return not self._leaving and not self._on_shelf

    # --- Sharing ---------------------------------------------------------------------------------

    def _merge(self, scope: str, members: int | None) -> Merge:
        self._check_open()
        self._check_not_closed()
        count = max(1, self._config.min_size) if members is None else members
        if not isinstance(count, int) or not 1 <= count <= self._config.max_size:
            most = self._config.max_size
            raise ConfigError(f"members must be a whole number from 1 to max_size, {most}")
        return Merge(self, self._shared_spec(scope), count)

    def _join_hub(self, scope: str, overflow: Overflow, buffer_size: int | None) -> Reader:
        self._check_open()
        self._check_not_closed()
        if overflow not in ("block", "drop_oldest", "error"):
            raise ConfigError(
                f"overflow must be 'block', 'drop_oldest' or 'error', not {overflow!r}"
            )
        size = self._config.connection.buffer_size if buffer_size is None else buffer_size
        if not isinstance(size, int) or size < 1:
            raise ConfigError(f"buffer_size must be a whole number, at least 1, not {size!r}")
        spec = self._shared_spec(scope)
        hub = self._hubs.get(spec)
        if hub is None:
            hub = self._hubs[spec] = Hub(self, spec)
        return hub.join(overflow, size)

    # --- Verbs: what a face and a driver write ----------------------------------------------------

    def _acquisition(self, spec: Spec, timeout: float | None, *, single: bool) -> AcquiringT:
        raise NotImplementedError

    def _merged(self, merge: Merge) -> MergedT:
        raise NotImplementedError

    def _subscription(self, reader: Reader) -> SubscriptionT:
        raise NotImplementedError

    def _drop_link(self, link: Any) -> None:
        """Close a transport that was kept."""
        raise NotImplementedError

    def _warn(self, text: str) -> None:
        """Issue a ResourceWarning."""
        raise NotImplementedError


def _unread(member: MemberDriver) -> int:
    """Count the events that wait in a member's buffer."""
    return sum(type(event) is ServerSentEvent for event in tuple(member._buffer or ()))


def _acquire(
    machine: PoolMachine,
    ticket: _Ticket,
    spec: Spec,
    timeout: float | None,
    single: bool,
    now: float,
) -> Sequence[PoolAction]:
    try:
        return machine.acquire(ticket, spec, now, timeout=timeout, single=single)
    except PoolClosed as error:  # meanwhile, and the answer goes where all answers go
        return [RejectWaiter(ticket, error)]


def _cancel(machine: PoolMachine, ticket: _Ticket, now: float) -> Sequence[PoolAction]:
    return machine.cancel(ticket, now)


def _release(
    machine: PoolMachine,
    lease: int,
    unread: Unread,
    backlog: int,
    full: bool,
    resumable: bool,
    now: float,
) -> Sequence[PoolAction]:
    try:
        return machine.release(
            lease, now, unread=unread, backlog=backlog, full=full, resumable=resumable
        )
    except LocalProtocolError:  # the pool ended it in the very moment
        return ()


def _close(machine: PoolMachine, grace: float, now: float) -> Sequence[PoolAction]:
    return machine.close(now, grace)


def _may_repeat(member: MemberDriver, error: SSEError) -> bool:
    """Tell whether a member's request may be sent once more, by another member."""
    return not error.request_sent or may_replay(
        member._spec.requests[0],
        error,
        member._spec.config,
        acted=member._machine._acted,
        gave_id=False,
        cursor=member.last_event_id,
    )


def _failed(
    machine: PoolMachine, member: int, error: SSEError, repeatable: bool, now: float
) -> Sequence[PoolAction]:
    return machine.failed(member, error, now, repeatable=repeatable)


def _lost(
    machine: PoolMachine, member: int, error: SSEError | None, now: float
) -> Sequence[PoolAction]:
    return machine.lost(member, now, error)


def _backlog(
    machine: PoolMachine, member: int, full: bool, resumable: bool, now: float
) -> Sequence[PoolAction]:
    return machine.backlog(member, now, full=full, resumable=resumable)


def _opened(machine: PoolMachine, reused: bool, now: float) -> Sequence[PoolAction]:
    return machine.transport_opened(now, reused=reused)
