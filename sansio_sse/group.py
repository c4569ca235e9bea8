"""Many connections in one hand: what a pool and a set of streams have in common.

A :class:`MemberDriver` is a connection that does not decide by itself when and where it connects,
and tells its group what becomes of it. A :class:`GroupDriver` makes members, lets them go, and
waits until nothing is left of them. Neither needs a task or a thread for each member.

A driver writes a class for its members and one for each kind of group, and they are small: a
member is its ``Connection`` and a group has the verbs that its ``Connection`` has.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from .actions import (
    CloseTransport,
    ErrorOccurred,
    Event,
    KeepTransport,
    OpenTransport,
    RequestAdmission,
    StateChanged,
)
from .carrier import Carrier
from .config import ConnectionConfig
from .connection import ConnectionMachine
from .driver import ConnectionDriver
from .errors import ConfigError, LocalProtocolError, SSEError
from .event_stream import ServerSentEvent
from .http import Origin, Request
from .machine_driver import NO_SLOTS, MachineDriver, Waiting
from .metrics import ConnectionMetrics, Counters
from .states import ConnectionState

__all__ = ["GroupDriver", "MemberDriver", "Sink", "Spec"]

_CLOSED = ConnectionState.CLOSED

_LATELY = 100  # departures that a reader in another thread may overlook while it adds up


class Spec:
    """What a member is made of. Two of equal ``identity`` may stand in for each other."""

    __slots__ = ("config", "identity", "options", "requests", "reuse")

    def __init__(
        self,
        identity: object,
        requests: Sequence[Request],
        config: ConnectionConfig,
        options: dict[str, Any],
        *,
        reuse: bool = False,
    ) -> None:
        self.identity: object = identity
        self.requests: Sequence[Request] = requests
        self.config: ConnectionConfig = config
        self.options: dict[str, Any] = options
        self.reuse: bool = reuse

    def __hash__(self) -> int:
        return hash(self.identity)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spec) and self.identity == other.identity

    def __repr__(self) -> str:
        return f"<Spec {self.requests[0]!r}>"  # not its identity: that holds headers


class Sink(Protocol):
    """Where a member's events go, if not into its own buffer."""

    def deliver(self, member: "MemberDriver", events: Sequence[Event]) -> None:
        """Events came."""

    def changed(self, member: "MemberDriver", change: StateChanged) -> None:
        """The member's state changed."""


class MemberDriver(ConnectionDriver[Any]):
    """The member's half of a driver's ``Connection``; stands before it among the bases.

    The class that a driver makes of both has these slots, and two verbs more:

    ============================= ==================================================================
    ``_detach(transport, owner)`` leave a transport to another owner, who is told what happens to
                                  it; return what it is
    ``_attach(transport, link)``  take one over under this number, if it is alive: then
                                  ``_take(WireMachine.transport_opened, …)``; return whether it is
    ============================= ==================================================================
    """

    SLOTS: ClassVar[tuple[str, ...]] = ("_gave", "_group", "_idle", "_member", "_sink", "_spec")

    __slots__ = NO_SLOTS

    _group: "GroupDriver"
    _member: int
    _spec: Spec
    _gave: bool  # the stream has given an event since it was accepted
    _idle: bool  # nobody has it
    _sink: Sink | None

    def _join(self, group: "GroupDriver", member: int, spec: Spec) -> None:
        self._group, self._member, self._spec = group, member, spec
        self._gave = False
        self._idle = True
        self._sink = None
        options = dict(spec.options)
        driver_options = {
            name: options.pop(name)
            for name in ("prepare_request", "on_event", "on_change", "on_error", "name")
            if name in options
        }
        machine = ConnectionMachine(
            spec.requests[0],
            spec.config,
            random=group._random,
            prepare=driver_options.get("prepare_request") is not None,
            admission=True,
            reuse=spec.reuse,
            **options,
        )
        self._set_out(
            machine, **driver_options, ssl_context=group._ssl_context, uds=group._uds, wait=False
        )

    # --- What the group asks for, on this connection's own thread --------------------------------

    def _begin_now(self) -> None:
        self._start()
        self._connect_now()

    def _admit_now(self, attempt: int, request: Request, keep_cursor: bool) -> None:
        self._take(_admitted, attempt, request, keep_cursor)

    def _hold_back_now(self) -> None:
        """Read no more until somebody has read half of what there is."""
        if not self._paused:
            self._paused = True
            self._take(Carrier.pause)

    def _refresh_now(self) -> None:
        """Begin anew behind what was delivered; what is unread is thrown away."""
        # In its turn: in the middle of a read the rest of its events is still to come, and must not
        # be what the next reader finds first.
        self._take(self._refreshed)

    def _refreshed(self, wire: Carrier, now: float) -> Sequence[Any]:
        if self._machine.state is _CLOSED:
            return ()
        cursor = self.last_event_id
        self._discard()
        self._delivered = cursor
        self._stopped = self._closing
        self._drained()  # reads on after this
        return wire.restart(now, cursor)

    def _hush(self) -> None:
        """Deliver nothing more, even in the middle of a batch; from whatever thread."""
        self._delivered = self.last_event_id
        self._closing = self._stopped = True

    def _drop_unread_now(self) -> None:
        self._discard()
        self._delivered = self.received_event_id
        self._drained()

    def _pop(self) -> Event | None:
        """Take the next event, from whatever thread."""
        buffer = self._buffer
        if not buffer or self._stopped:
            return None
        event: Event = buffer.popleft()
        if isinstance(event, ServerSentEvent):
            self._delivered = event.id
        if self._paused:
            self._group._tell(self, self._drained)
        return event

    # --- What the group is told ------------------------------------------------------------------

    def _act(self, action: Any) -> None:
        match action:
            case RequestAdmission(attempt):
                self._group._member_asks(self, attempt)
            case OpenTransport(transport, origin):
                self._group._open_for(self, transport, origin)
            case KeepTransport(transport, origin, seconds):
                self._group._keep(self, transport, origin, seconds)
                self._wake()  # whoever waits for the rest of a body
            case CloseTransport():
                super()._act(action)
                self._wake()
            case StateChanged(new=new):
                if new is ConnectionState.CONNECTED:
                    self._gave = False
                super()._act(action)
                self._group._member_changed(self, action)
                if self._sink is not None:
                    self._sink.changed(self, action)
            case ErrorOccurred(error):
                super()._act(action)
                self._group._member_erred(self, error)
            case _:
                super()._act(action)

    def _notice(self, news: object, *, alone: bool = False) -> None:
        super()._notice(news, alone=alone)
        if self._group._observers:
            self._group._tell_observers(self, news)

    def _log_fields(self) -> dict[str, object]:
        return super()._log_fields() | {"sse_pool": self._group.name, "sse_member": self._member}

    def _bytes_received(self, transport: int, data: bytes) -> None:
        self._take(_bytes_received, transport, data)

    def _deliver(self, events: Sequence[Event]) -> None:
        if self._on_event is not None:
            super()._deliver(events)
        else:
            with self._group._guard:  # a sink may come or go in another thread
                if self._sink is None:
                    super()._deliver(events)
                else:
                    self._sink.deliver(self, events)
        self._group._member_received(self)

    def _buffer_up(self, events: Sequence[Event]) -> None:
        super()._deliver(events)

    def _wake(self) -> None:
        super()._wake()
        if self._machine.state is _CLOSED and self._released():
            self._group._member_released(self)

    # --- Verbs: what a driver writes -------------------------------------------------------------

    if TYPE_CHECKING:

        def _start(self) -> None: ...

    def _detach(self, transport: int, owner: Any) -> Any:
        raise NotImplementedError

    def _attach(self, transport: int, link: Any) -> bool:
        raise NotImplementedError


class GroupDriver(MachineDriver):
    """What makes members and lets them go; see the module's text.

    Beside the verbs of :class:`~sansio_sse.machine_driver.MachineDriver` a driver writes:

    ============================ ===================================================================
    ``_set_up()``                make the driver's own attributes
    ``_new_member()``            return a bare object of the class of its members
    ``_random()``                a number in [0, 1)
    ``_from_elsewhere(command)`` call ``command()`` soon, on the driver's own thread
    ``_tell(member, command)``   call ``command()`` where the member may be touched
    ``_unhandled(error)``        a callback raised and nobody takes errors
    ``_ended()``                 (optional) nothing is left
    ============================ ===================================================================
    """

    __slots__ = (
        "_closing",
        "_connections",
        "_departed",
        "_guard",
        "_leaving",
        "_on_change",
        "_on_error",
        "_opened",
        "_ssl_context",
        "_uds",
        "name",
    )

    def _gather(
        self,
        machine: Any,
        *,
        on_change: Callable[..., object] | None,
        on_error: Callable[..., object] | None,
        ssl_context: Any,
        uds: str | None,
        proxy: str | None,
        name: str | None,
    ) -> None:
        if proxy is not None:
            raise ConfigError(
                "proxy: this driver has no proxies; connect() of sansio_sse_httpcore has them"
            )
        self._machine = self._wire = machine
        self._prepare_feeding()
        # Held by whoever touches what the group's threads have in common; nothing to do for most.
        self._guard: AbstractContextManager[Any] = nullcontext()
        self._connections: dict[int, MemberDriver] = {}
        self._leaving: dict[int, MemberDriver] = {}  # closed, and not yet released
        # What those had counted who are gone, and the numbers of the last of them.
        self._departed: tuple[Counters, tuple[int, ...]] = (Counters(), ())
        self._on_change = on_change
        self._on_error = on_error
        self._ssl_context = ssl_context
        self._uds = uds
        self._opened = False
        self._closing = False
        self.name: str | None = name
        self._set_up()

    # --- Look ----------------------------------------------------------------------------------

    @property
    def metrics(self) -> ConnectionMetrics:
        """What all members that ever were have counted, together; may be read from any thread."""
        # In this order: one that leaves meanwhile is there already, and its number tells that it is
        # among the departed too.
        members = self._connections | self._leaving
        departed, numbers = self._departed
        gone = frozenset(numbers)
        total, uptime, now = Counters(), 0.0, self._now()
        total.add(departed)
        for number, member in members.items():
            if number not in gone:
                comments = total.comments_received + member._machine.comments_received
                total.add(member._machine.metrics)
                total.comments_received = comments
                uptime = max(uptime, member._machine.uptime(now))
        return total.snapshot(uptime)

    def members(self) -> tuple[MemberDriver, ...]:
        """Return the connections there are now: to look at. Reading is for whoever has a lease."""
        return tuple(self._connections.values())

    # --- Members -------------------------------------------------------------------------------

    def _make_member(self, number: int, spec: Spec) -> MemberDriver:
        member = self._new_member()
        member._join(self, number, spec)
        self._connections[number] = member
        return member

    def _let_go(self, number: int) -> MemberDriver | None:
        """Close a member; it is waited for when everything is closed."""
        member = self._connections.get(number)
        if member is not None:
            self._leaving[number] = member
            del self._connections[number]
            member._hush()
            self._tell(member, member._close_now)
        return member

    def _member_asks(self, member: MemberDriver, attempt: int) -> None:
        raise NotImplementedError

    def _member_changed(self, member: MemberDriver, change: StateChanged) -> None:
        raise NotImplementedError

    def _member_erred(self, member: MemberDriver, error: SSEError) -> None:
        """Something failed; the state says what follows from it."""

    def _member_received(self, member: MemberDriver) -> None:
        """Events came."""

    def _member_released(self, member: MemberDriver) -> None:
        with self._guard:  # of two threads that end members, neither may forget the other's
            number = member._member
            if number not in self._leaving:
                return
            counters, numbers = self._departed
            self._departed = (
                counters.plus(member._machine.metrics),
                (*numbers[-_LATELY:], number),
            )
            del self._leaving[number]
        self._wake()

    def _open_for(self, member: MemberDriver, transport: int, origin: Origin) -> None:
        member._open(transport, origin)

    def _keep(self, member: MemberDriver, transport: int, origin: Origin, seconds: float) -> None:
        member._drop(transport)

    # --- Telling ---------------------------------------------------------------------------------

    def _changed(self, change: object) -> None:
        if self._log is not None:
            self._write_down(self._log.of_pool, change)
        if self._observers:
            self._tell_observers(self, change)
        self._watched(change)
        if self._on_change is not None:
            self._call_back(self._on_change, change)

    def _call_back(self, callback: Callable[..., object], *arguments: object) -> None:
        try:
            callback(self, *arguments)
        except Exception as error:
            if self._on_error is None:
                self._unhandled(error)
            else:
                self._report(error)

    def _report(self, error: BaseException) -> None:
        if self._on_error is not None:
            try:
                self._on_error(self, error)
            except Exception as raised:
                self._unhandled(raised)

    def _check_open(self) -> None:
        if not self._opened:
            kind = type(self).__name__
            raise LocalProtocolError(f"this {kind} is not open: use `with`, `async with` or open()")

    def _check_idle(self) -> None:
        """Refuse to enter what is entered already, before anything that a failure would close."""
        if self._opened:
            raise LocalProtocolError(f"this {type(self).__name__} is open already")

    # --- The end ---------------------------------------------------------------------------------

    def _closing_down(self) -> Waiting[None]:
        while not self._is_over() or not self._released():
            yield None
        self._ended()
        while not self._gone():
            yield None

    def _released(self) -> bool:
        return not self._leaving

    # --- Verbs: what a driver writes -------------------------------------------------------------

    def _set_up(self) -> None:
        raise NotImplementedError

    def _new_member(self) -> MemberDriver:
        raise NotImplementedError

    @staticmethod
    def _random() -> float:
        raise NotImplementedError

    def _from_elsewhere(self, command: Callable[[], None]) -> None:
        raise NotImplementedError

    def _tell(self, member: MemberDriver, command: Callable[[], None]) -> None:
        command()

    def _shared_again(self, member: Any) -> None:
        """Whoever turns the group's crank turns this member's. Optional."""

    def _not_shared(self, member: Any) -> None:
        """It has a holder, who turns its crank, or is gone. Optional."""

    def _ended(self) -> None:
        """Let go of what served all members. Optional."""

    def _gone(self) -> bool:
        """Whether it has been let go of. Optional."""
        return True


def _bytes_received(wire: Any, transport: int, data: bytes, now: float) -> Sequence[Any]:
    answer: Sequence[Any] = wire.bytes_received(transport, data, now)
    return answer


def _admitted(
    wire: Carrier, attempt: int, request: Request, keep_cursor: bool, now: float
) -> Sequence[Any]:
    return wire.admitted(attempt, request, now, keep_cursor=keep_cursor)
