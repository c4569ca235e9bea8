"""Several connections for one reader, and several readers for one connection.

A :class:`Merge` takes events from many members in turn, one each, so that a busy one does not hide
the others. Every member keeps its own buffer, and a full one pauses its own member alone.

A :class:`Hub` gives each event of one member to all its readers. Each reader has a buffer of its
own, and says what happens when it is full: the stream waits for him (and with it all others), he
loses the oldest, or he is told that he is too slow.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .actions import Event, StateChanged
from .config import Overflow
from .errors import BufferOverflow, ConnectionClosed, PoolClosed, SSEError
from .event_stream import ServerSentEvent
from .group import GroupDriver, MemberDriver, Spec
from .leases import Hold
from .machine_driver import Waiting
from .states import ConnectionState

__all__ = ["FairQueue", "Hub", "Merge", "Reader"]

_ENDS = (ConnectionState.DISCONNECTED, ConnectionState.CLOSED)
_ERROR = ConnectionState.ERROR


class FairQueue:
    """A sink for many members; they are read in turn, one event each.

    Its group wakes whoever waits when there is something to read again.
    """

    __slots__ = ("_group", "_ready")

    def __init__(self, group: GroupDriver) -> None:
        self._group: Any = group
        self._ready: deque[MemberDriver] = deque()

    def deliver(self, member: MemberDriver, events: Sequence[Event]) -> None:
        """Events came: they go into the member's own buffer."""
        with self._group._guard:
            waited = bool(member._buffer)
            member._buffer_up(events)
            if not waited and member._buffer:
                self._ready.append(member)
                self._group._wake()

    def changed(self, member: MemberDriver, change: StateChanged) -> None:
        """What a state means is the group's business."""

    def add(self, member: MemberDriver) -> None:
        """Take a member in; what it holds already may be read."""
        member._sink = self
        if member._buffer:
            self._ready.append(member)
            self._group._wake()

    def next(self) -> tuple[MemberDriver, Event] | None:
        """Return the next event and where it is from, or None."""
        ready = self._ready
        while ready:
            member = ready.popleft()
            event = member._pop()
            if event is None:
                continue  # it was closed, or restarted, with what it held
            if member._buffer:
                ready.append(member)
            return member, event
        return None


class Merge(FairQueue):
    """The events of several members of a pool; one that fails for good is replaced."""

    __slots__ = ("_error", "_holds", "_spec", "_tickets", "over")

    def __init__(self, pool: Any, spec: Spec, members: int) -> None:
        super().__init__(pool)
        self._spec = spec
        self._holds: dict[MemberDriver, Hold] = {}
        self._tickets: dict[Any, None] = {}
        self._error: SSEError | None = None
        self.over: bool = False
        for _ in range(members):
            self._ask()

    def _ask(self) -> None:
        ticket = self._group._ticket(self._granted, self._rejected)
        self._tickets[ticket] = None
        self._group._ask(ticket, self._spec)

    def _granted(self, ticket: object, hold: Hold) -> None:
        self._tickets.pop(ticket, None)
        if self.over:
            self._group._give_back(hold)
            return
        self._holds[hold.member] = hold
        self.add(hold.member)

    def _rejected(self, ticket: object, error: SSEError) -> None:
        self._tickets.pop(ticket, None)
        if not isinstance(error, PoolClosed):
            self._error = error
        self._group._wake()

    def changed(self, member: MemberDriver, change: StateChanged) -> None:
        """Let go of a member that has come to an end, and replace one that failed."""
        if change.new not in (*_ENDS, _ERROR) or member not in self._holds:
            return
        if not member._buffer:
            self._lose(member)

    def _lose(self, member: MemberDriver) -> None:
        failed = member.state is _ERROR
        self._group._give_back(self._holds.pop(member))
        if failed and not self.over:
            self._ask()
        self._group._wake()

    def waiting(self) -> Waiting[tuple[MemberDriver, Event]]:
        """Wait for the next event."""
        while True:
            found = self.next()
            if found is not None:
                member = found[0]
                over = member.state in (*_ENDS, _ERROR)
                if over and not member._buffer and member in self._holds:
                    self._lose(member)
                return found
            if self._error is not None:
                error, self._error = self._error, None
                self.close()
                raise error
            if self.over or not (self._holds or self._tickets):
                raise ConnectionClosed("there is nothing more to read")
            yield None

    def close(self) -> None:
        """Give all members back."""
        self.over = True
        for ticket in tuple(self._tickets):
            self._group._take_back(ticket)
        for hold in tuple(self._holds.values()):
            self._group._give_back(hold)
        self._tickets.clear()
        self._holds.clear()
        self._ready.clear()  # what they hold is the next holder's
        self._group._wake()


class Reader:
    """One of several readers of a hub: its buffer, and what a full one means."""

    __slots__ = ("_error", "_hub", "_size", "dropped", "events", "overflow")

    def __init__(self, hub: "Hub", overflow: Overflow, size: int) -> None:
        self._hub: Hub | None = hub
        self._size = size
        self._error: SSEError | None = None
        self.overflow: Overflow = overflow
        self.events: deque[Event] = deque()
        self.dropped: int = 0

    @property
    def full(self) -> bool:
        """Whether the stream has to wait for this reader."""
        return self.overflow == "block" and len(self.events) >= self._size

    @property
    def drained(self) -> bool:
        """Whether the stream need not wait for this reader any more."""
        return self.overflow != "block" or len(self.events) <= self._size // 2

    def put(self, events: Sequence[Event]) -> None:
        """Take a read's events; what overflows is judged by what was left before it."""
        mine = self.events
        if self.overflow == "error" and len(mine) >= self._size:
            self.dropped += len(events)
            self.end(BufferOverflow(f"the buffer of {self._size} events is full"))
            return
        if self.overflow == "drop_oldest":
            surplus = min(len(mine), len(mine) + len(events) - max(self._size, len(events)))
            for _ in range(surplus):
                mine.popleft()
            self.dropped += max(surplus, 0)
        mine.extend(events)

    def end(self, error: SSEError) -> None:
        """There is nothing more to come; what is here can still be read."""
        self._error = self._error or error
        self.close()

    def waiting(self, now: Callable[[], float], timeout: float | None) -> Waiting[Event]:
        """Wait for the next event."""
        until = None if timeout is None else now() + timeout
        while not self.events:
            if self._error is not None:
                raise self._error.with_traceback(None)
            yield until
        event = self.events.popleft()
        if self._hub is not None:
            self._hub.drained()
        return event

    def close(self) -> None:
        """Read no more; harmless when repeated."""
        self._error = self._error or ConnectionClosed("the subscription is closed")
        hub, self._hub = self._hub, None
        if hub is not None:
            hub.leave(self)


class Hub:
    """One member of a pool and all who read it; made for the first, gone with the last."""

    __slots__ = ("_hold", "_pool", "_readers", "_spec", "_ticket", "last_event_id")

    def __init__(self, pool: Any, spec: Spec) -> None:
        self._pool = pool
        self._spec = spec
        self._readers: list[Reader] = []
        self._hold: Hold | None = None
        self.last_event_id: str = ""
        self._ticket = pool._ticket(self._granted, self._rejected)

    @property
    def member(self) -> Any:
        """The member, once there is one."""
        return None if self._hold is None else self._hold.member

    def join(self, overflow: Overflow, size: int) -> Reader:
        """Add a reader, from the next event on."""
        reader = Reader(self, overflow, size)
        self._readers.append(reader)
        if len(self._readers) == 1:
            self._pool._ask(self._ticket, self._spec)
        return reader

    def leave(self, reader: Reader) -> None:
        """A reader is gone; with the last one goes the lease."""
        self._readers.remove(reader)
        if self._readers:
            self.drained()
            return
        self._pool._hubs.pop(self._spec, None)
        if self._hold is not None:
            hold, self._hold = self._hold, None
            self._pool._give_back(hold)
        else:
            self._pool._take_back(self._ticket)
        self._pool._wake()

    def _granted(self, ticket: object, hold: Hold) -> None:
        if not self._readers:
            self._pool._give_back(hold)
            return
        self._hold = hold
        member = hold.member
        self.last_event_id = member.last_event_id
        member._sink = self
        while (event := member._pop()) is not None:
            self.deliver(member, [event])

    def _rejected(self, ticket: object, error: SSEError) -> None:
        closed = isinstance(error, PoolClosed)
        self._end(ConnectionClosed("the pool is closed") if closed else error)

    def deliver(self, member: MemberDriver, events: Sequence[Event]) -> None:
        """Events came: everybody gets them."""
        with self._pool._guard:
            self.last_event_id = _cursor(events, self.last_event_id)
            member._delivered = self.last_event_id
            for reader in tuple(self._readers):
                reader.put(events)
            if any(reader.full for reader in self._readers):
                self._pool._tell(member, self._hold_back)
            self._pool._wake()

    def _hold_back(self) -> None:
        """Read no more, if a reader is still behind when this comes to the member's thread."""
        with self._pool._guard:
            member = self.member
            if member is not None and any(reader.full for reader in self._readers):
                member._hold_back_now()

    def changed(self, member: MemberDriver, change: StateChanged) -> None:
        """The end of the stream is everybody's end."""
        if change.new is _ERROR and change.error is not None:
            self._end(change.error)
        elif change.new in _ENDS:
            self._end(ConnectionClosed("the stream has ended"))

    def drained(self) -> None:
        """Read on, if no reader is behind any more."""
        member = self.member
        if member is not None and member._paused and all(one.drained for one in self._readers):
            self._pool._tell(member, member._drained)

    def _end(self, error: SSEError) -> None:
        for reader in tuple(self._readers):
            reader.end(error)
        self._pool._wake()


def _cursor(events: Iterable[Event], otherwise: str) -> str:
    for event in reversed(tuple(events)):
        if isinstance(event, ServerSentEvent):
            return event.id
    return otherwise
