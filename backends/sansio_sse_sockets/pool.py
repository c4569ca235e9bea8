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
from typing import Any, ClassVar

from sansio_sse import (
    NO_SLOTS,
    Log,
    MemberDriver,
    SyncConnectionPool,
    SyncGroupDriver,
    SyncMemberDriver,
    SyncStreamSet,
    WireMachine,
)

from .connection import Connection
from .logs import LOG
from .transport import LONG, Link, world

__all__ = ["ConnectionPool", "StreamSet"]


class Member(SyncMemberDriver, Connection[Any]):
    """A connection of a pool or a set."""

    __slots__ = MemberDriver.SLOTS

    def _can_turn(self) -> bool:
        return not self._over

    def _urgency(self) -> float | None:
        return self._look_before(None)[2]

    def _ended(self) -> None:
        group: Any = self._group
        group._not_shared(self)  # while its selector still has a number of its own
        super()._ended()

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


class _Group(SyncGroupDriver):
    """What a pool and a set have in common here."""

    __slots__ = NO_SLOTS

    _log: ClassVar[Log | None] = LOG

    SLOTS: ClassVar[tuple[str, ...]] = (
        *SyncGroupDriver.SYNC_SLOTS,
        "__weakref__",
        "_selector",
        "_waker",
        "_wakeup",
        "_world",
    )

    def _set_up(self) -> None:
        super()._set_up()
        self._guard = threading.RLock()
        self._condition = threading.Condition(self._guard)
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

    def _select(self, seconds: float | None) -> set[Any]:
        seconds = None if seconds is None else min(seconds, LONG)
        ready = {key.data for key, _ in self._selector.select(seconds)}
        if None in ready:
            with contextlib.suppress(OSError):
                self._wakeup.recv(4096)
        return ready

    def _nudge(self) -> None:
        if self._leading and self._waker is not None:
            with contextlib.suppress(OSError):  # full is awake, and closed is over
                self._waker.send(b"\0")

    def _shared_again(self, member: Any) -> None:
        with self._guard:
            member._calling = False  # who is inside is on his way out, and not in anybody's way
            if member._member not in self._shared:
                self._shared[member._member] = member
                member._start()
                if not member._over:
                    self._selector.register(member.selector, selectors.EVENT_READ, member)
            self._nudge()

    def _not_shared(self, member: Any) -> None:
        with self._guard:
            if self._shared.pop(member._member, None) is not None and not member._over:
                self._selector.unregister(member.selector)

    def _gone(self) -> bool:
        if not self._leading:  # else somebody is in the selector, on his way out
            for mine in (self._selector, self._waker, self._wakeup):
                if mine is not None:
                    mine.close()
        return not self._leading

    # --- Verbs ---------------------------------------------------------------------------------

    def _take(self, news: Callable[..., Any], *args: Any) -> None:
        with self._guard:
            super()._take(news, *args)

    def _now(self) -> float:
        return self._world.now()

    _random = staticmethod(random.random)

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

    __slots__ = _Group.SLOTS

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

    __slots__ = _Group.SLOTS
