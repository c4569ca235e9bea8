"""``Connection`` and ``connect()`` for plain sockets: no loop, no thread, no ``await``.

Whoever is in a blocking call (iterating, ``receive``, ``wait_for``, ``post``, a state or error
iterator) turns the crank: one selector over the stream, its side exchanges and a wake-up pair. One
thread at a time may be in such a call; ``close``, ``disconnect``, ``restart`` and ``metrics`` are
for any thread, and for signal handlers.
"""

import contextlib
import random
import selectors
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

from sansio_sse import (
    EventT,
    LocalProtocolError,
    Log,
    Origin,
    SyncConnectionDriver,
)

from .logs import LOG
from .transport import LONG, Link, world

__all__ = ["Connection", "connect"]

_RACE_DELAY = 0.25  # RFC 8305 5: the recommended head start of an address over the next


class Connection(SyncConnectionDriver[EventT]):
    """One event stream that survives; made by :func:`connect`.

    A context manager, and an iterator of events.
    """

    __slots__ = (
        "_commander",
        "_commands",
        "_links",
        "_over",
        "_waker",
        "_wakeup",
        "_world",
        "selector",
    )

    _log: ClassVar[Log | None] = LOG

    def _set_up(self) -> None:
        self._links: dict[int, Link] = {}
        self._inside: Any = threading.Lock()
        self._calling = False
        self._commander = 0  # the thread which, from outside of any call, runs commands
        self._commands: deque[Callable[[], None]] = deque()
        self._over = False
        self._world = world.get()
        self.selector: Any = None
        self._waker: Any = None
        self._wakeup: Any = None

    # --- The crank -----------------------------------------------------------------------------

    def _alone(self) -> None:
        if self._calling or (self._commander and self._commander == threading.get_ident()):
            raise LocalProtocolError("another call of this connection is under way")

    def _left(self) -> None:
        if self._commands:
            self._run_commands()

    def _start(self) -> None:
        if self.selector is None and not self._over:
            self._world = world.get()
            self.selector = self._world.selector()
            self._waker, self._wakeup = socket.socketpair()
            self._waker.setblocking(False)
            self._wakeup.setblocking(False)
            self.selector.register(self._wakeup, selectors.EVENT_READ, self._woken)

    def _turn(self, seconds: float | None) -> None:
        pending: list[Link] = []
        racing: list[Link] = []
        steady = [link.steady for link in self._links.values()]
        if self._commands or not all(steady):
            pending, racing, seconds = self._look_before(seconds)
        ready = self.selector.select(None if seconds is None else min(seconds, LONG))
        for link in pending:
            link.ready()
        for key, _ in ready:
            key.data()
        if not ready:
            for link in racing:
                link.next_address()
        while self._commands:
            self._commands.popleft()()

    def _look_before(self, seconds: float | None) -> tuple[list[Link], list[Link], float | None]:
        """Return links that can go on at once, links that race, and how long to wait at most."""
        links = list(self._links.values())
        pending = [link for link in links if link.pending]
        racing = [link for link in links if link.racing]
        if pending or self._commands:
            seconds = 0
        elif racing:
            seconds = _RACE_DELAY if seconds is None else min(seconds, _RACE_DELAY)
        return pending, racing, seconds

    def _woken(self) -> None:
        with contextlib.suppress(OSError):
            self._wakeup.recv(4096)

    def _run_commands(self) -> None:
        """Run what others have asked for, here, unless somebody is inside and will."""
        while self._commands and self._inside.acquire(blocking=False):
            try:
                self._commander = threading.get_ident()
                while self._commands:
                    self._commands.popleft()()
            finally:
                self._commander = 0
                self._inside.release()

    # --- Verbs ---------------------------------------------------------------------------------

    def _now(self) -> float:
        return self._world.now()

    def _wall_clock(self) -> float:
        return time.time()

    _random = staticmethod(random.random)

    def _arm(self, at: float | None) -> None:
        pass  # whoever turns the crank looks at the deadline each time

    def _wake(self) -> None:
        pass  # and at everything else

    def _from_elsewhere(self, command: Callable[[], None]) -> None:
        self._commands.append(command)
        self._run_commands()
        if self._commands and self._waker is not None:
            with contextlib.suppress(OSError):  # full is awake, and closed is over
                self._waker.send(b"\0")

    def _open(self, transport: int, origin: Origin) -> None:
        link = self._links[transport] = Link(self, transport, origin)
        self._world.open(link)

    def _send(self, transport: int, data: bytes) -> None:
        self._links[transport].send(data)

    def _drop(self, transport: int) -> None:
        link = self._links.pop(transport, None)
        if link is not None:
            link.drop()

    def _reading(self, transport: int, on: bool) -> None:
        self._links[transport].reading(on)

    def _unhandled(self, error: BaseException) -> None:
        sys.excepthook(type(error), error, error.__traceback__)

    def _released(self) -> bool:
        return not self._links

    def _ended(self) -> None:
        self._over = True
        for mine in (self.selector, self._waker, self._wakeup):
            if mine is not None:
                mine.close()


connect = Connection
"""``connect(url, ...)``: the way in; see :class:`Connection`."""
