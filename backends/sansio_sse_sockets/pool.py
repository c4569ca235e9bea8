"""``ConnectionPool`` and ``StreamSet`` for plain sockets: one lock, and no thread of their own.

A leased connection is turned by its holder. All others are turned by whoever waits in the pool or
the set: one of the threads that do turns them all, in one selector over the selectors of the
members, and the rest wait for what comes of it. If nobody waits, nothing happens.
"""

import contextlib
import random
import selectors
import socket
import sys
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from sansio_sse import (
    NO_SLOTS,
    MemberDriver,
    SyncConnectionPool,
    SyncStreamSet,
    Waiting,
    WireMachine,
)

from .connection import Connection
from .transport import Link, world

__all__ = ["ConnectionPool", "StreamSet"]

T = TypeVar("T")


class Member(MemberDriver, Connection[Any]):
    """A connection of a pool or a set."""

    __slots__ = MemberDriver.SLOTS

    def _poke(self) -> None:
        """Take what has come, without waiting, unless somebody is inside and does."""
        if self._inside.acquire(blocking=False):
            try:
                if not self._over:
                    self._wait_once(0)
            finally:
                self._inside.release()
            self._left()

    def _patience(self, now: float) -> float | None:
        """How long this member can be left alone; None: until something comes."""
        seconds = self._look_before(None)[2]
        if self._armed is not None:
            left = max(0.0, self._armed - now)
            seconds = left if seconds is None else min(seconds, left)
        return seconds

    def _is_due(self, now: float, *, quiet: bool) -> bool:
        """Whether it has something to do although nothing came; ``quiet``: for others neither."""
        seconds = self._patience(now)
        return seconds == 0 or (quiet and seconds is not None)

    def _turn(self, seconds: float | None) -> None:
        # The group has a clock too: what this member waits for may be a matter of that one.
        group: Any = self._group
        left = group._seconds_left()
        if left is not None:
            seconds = left if seconds is None else min(seconds, left)
        super()._turn(seconds)
        group._ring()

    def _detach(self, transport: int, owner: Any) -> Link:
        link = self._links.pop(transport)
        link.leave()
        link.owner, link.number = owner, 0
        return link

    def _attach(self, transport: int, link: Link) -> bool:
        if not link.join(self.selector):
            group: Any = self._group
            group._drop_link(link)  # the server closes it, or says what nobody asked for
            return False
        link.owner, link.number = self, transport
        self._links[transport] = link
        self._take(WireMachine.transport_opened, transport)
        return True


class _Group:
    """What a pool and a set have in common here."""

    __slots__ = NO_SLOTS

    SLOTS: ClassVar[tuple[str, ...]] = (
        "_condition",
        "_leading",
        "_selector",
        "_shared",
        "_waker",
        "_wakes",
        "_wakeup",
        "_world",
    )

    if TYPE_CHECKING:
        _armed: float | None
        _guard: Any

        def _deadline_reached(self) -> None: ...

    def _set_up(self) -> None:
        self._guard = threading.RLock()
        self._condition = threading.Condition(self._guard)
        self._wakes = 0
        self._leading = False  # one of the threads that wait turns the crank
        self._shared: dict[int, Member] = {}  # the members that it turns
        self._world = world.get()
        self._selector: Any = None
        self._waker: Any = None
        self._wakeup: Any = None

    def _new_member(self) -> Member:
        return Member.__new__(Member)

    # --- The crank -----------------------------------------------------------------------------

    def _start(self) -> None:
        if self._selector is None:
            self._world = world.get()
            self._selector = self._world.selector()
            self._waker, self._wakeup = socket.socketpair()
            self._waker.setblocking(False)
            self._wakeup.setblocking(False)
            self._selector.register(self._wakeup, selectors.EVENT_READ, None)

    def _run(self, waiting: Waiting[T]) -> T:
        late = False
        try:
            while True:
                with self._guard:
                    until = next(waiting)
                    seen = self._wakes
                if late:
                    raise TimeoutError
                late = self._wait(until, seen)
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            with self._guard:
                waiting.close()

    def _wait(self, until: float | None, seen: int) -> bool:
        """Turn the crank, or wait for whoever does; return whether ``until`` has passed."""
        with self._condition:
            if self._wakes != seen:
                return False  # something has changed since the caller looked
            lead = not self._leading
            self._leading = True
            if not lead:
                self._condition.wait(None if until is None else max(0.0, until - self._now()))
        if lead:
            try:
                self._lead(until)
            finally:
                with self._condition:
                    self._leading = False
                    self._condition.notify_all()
        return until is not None and self._now() >= until

    def _lead(self, until: float | None) -> None:
        """Wait once for all shared members together, and let each take what has come."""
        now = self._now()
        members = tuple(self._shared.values())
        waits = [None if until is None else max(0.0, until - now), self._seconds_left()]
        waits += [member._patience(now) for member in members]
        seconds = min((wait for wait in waits if wait is not None), default=None)
        ready = {key.data for key, _ in self._selector.select(seconds)}
        if None in ready:
            with contextlib.suppress(OSError):
                self._wakeup.recv(4096)
        now = self._now()
        for member in members:
            if member in ready or member._is_due(now, quiet=not ready):
                member._poke()
        self._ring()

    def _seconds_left(self) -> float | None:
        return None if self._armed is None else max(0.0, self._armed - self._now())

    def _ring(self) -> None:
        if self._seconds_left() == 0:
            with self._guard:
                self._deadline_reached()

    def _shared_again(self, member: Member) -> None:
        with self._guard:
            if member._member not in self._shared:
                self._shared[member._member] = member
                member._start()
                if not member._over:
                    self._selector.register(member.selector, selectors.EVENT_READ, member)
            self._nudge()

    def _not_shared(self, member: Member) -> None:
        with self._guard:
            if self._shared.pop(member._member, None) is not None and member.selector is not None:
                self._selector.unregister(member.selector)

    def _ended(self) -> None:
        with self._guard:
            for mine in (self._selector, self._waker, self._wakeup):
                if mine is not None:
                    mine.close()

    # --- Verbs ---------------------------------------------------------------------------------

    def _take(self, news: Callable[..., Any], *args: Any) -> None:
        with self._guard:
            super()._take(news, *args)  # type: ignore[misc]  # of the class this is mixed into

    def _now(self) -> float:
        return self._world.now()

    _random = staticmethod(random.random)

    def _arm(self, at: float | None) -> None:
        self._nudge()

    def _wake(self) -> None:
        with self._condition:
            self._wakes += 1
            self._condition.notify_all()
            self._nudge()

    def _nudge(self) -> None:
        """Whoever leads should look again."""
        if self._leading and self._waker is not None:
            with contextlib.suppress(OSError):  # full is awake, and closed is over
                self._waker.send(b"\0")

    def _from_elsewhere(self, command: Callable[[], None]) -> None:
        # A thread that is inside already may be interrupted here: its inputs queue up.
        with self._guard:
            command()

    def _tell(self, member: MemberDriver, command: Callable[[], None]) -> None:
        member._from_elsewhere(command)
        self._nudge()

    def _unhandled(self, error: BaseException) -> None:
        sys.excepthook(type(error), error, error.__traceback__)


class ConnectionPool(_Group, SyncConnectionPool):
    """A pool of event streams for plain sockets: a context manager.

    Its arguments are those of :class:`~sansio_sse.pool_driver.PoolDriver`. Any number of threads
    may use it; each lease is turned by its holder.
    """

    __slots__ = ("__weakref__", *_Group.SLOTS)

    def _drop_link(self, link: Link) -> None:
        link.drop()
        self._shelf_released()

    def _warn(self, text: str) -> None:
        warnings.warn(text, ResourceWarning, stacklevel=2)


class StreamSet(_Group, SyncStreamSet):
    """Event streams with different urls, for plain sockets: a context manager.

    Its arguments are those of :class:`~sansio_sse.stream_set.StreamSetDriver`. Whoever reads
    ``events()``, or is in ``run()``, turns all of them.
    """

    __slots__ = ("__weakref__", *_Group.SLOTS)
