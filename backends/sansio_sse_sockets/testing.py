"""Testing an application without waiting: a scripted network, and a selector whose time jumps.

The application stays as it is: it calls ``sansio_sse_sockets.connect(...)`` and waits in its
connections. These open sockets in a :class:`~sansio_sse.testing.ScriptedNetwork` instead of the
world, https included, and where they would wait, time jumps to the next thing that is due::

    from sansio_sse_sockets.testing import sse_network  # the fixture, for pytest


    def test_an_outage(sse_network):
        sse_network.server("https://api.example.com", [Respond(), send_event("hello"), Stall()])
        sse_network.outage(10, 40)
        sse_network.run(app)

Virtual is the time of the connections, and of nothing else: ``time.sleep`` and ``time.monotonic``
are what they always are. For an application that sleeps there is :meth:`SSENetwork.sleep`. Threads
live in another time: what runs in one has no part in the scripted network, and may not wait in a
connection that has. Outside of pytest, ``sse_network`` is a plain generator function.
"""

import contextvars
import random
import selectors
import socket
import sys
import threading
from collections.abc import Callable
from math import inf
from typing import Any, TypeVar

from sansio_sse.testing import (
    ApplicationNetwork,
    DeadlockError,
    PulledTransport,
    ScriptedNetwork,
    VirtualRun,
)

from .transport import Link, World, world

__all__ = ["DeadlockError", "SSENetwork", "sse_network"]

T = TypeVar("T")


class _Stopped(BaseException):
    """Ends the run; not an Exception, which the application might catch and wait again."""

    def __init__(self, why: Exception) -> None:
        self.why = why


class _Socket:
    """A scripted transport in the words of a non-blocking socket."""

    family = socket.AF_UNIX  # it has nothing of TCP

    def __init__(self, network: ScriptedNetwork, link: Link) -> None:
        self._link = link
        self._wire = PulledTransport(network, link.origin)
        self._blocked = False

    @property
    def ready(self) -> int:
        """What a selector would find."""
        wire = self._wire
        reading = selectors.EVENT_READ if wire.readable else 0
        opening_over = wire.opened or wire.error is not None
        return reading | (selectors.EVENT_WRITE if opening_over and not self._blocked else 0)

    def connected(self) -> None:
        """The opening is over."""
        if self._wire.opened:
            self._link.opened()
        else:
            self._fail()

    def recv(self, size: int) -> bytes:
        data = self._wire.read(size)
        if data is None:
            self._fail()
            raise BlockingIOError
        return data

    def send(self, data: bytes) -> int:
        self._blocked = not self._wire.send(data)
        if self._blocked:
            raise BlockingIOError
        return len(data)

    def close(self) -> None:
        self._wire.close()

    def _fail(self) -> None:
        if self._wire.error is not None:
            self._link.failed(self._wire.error)


class _VirtualSelector(selectors.BaseSelector):
    """Instead of waiting, lets the clock jump.

    The only real descriptor is the connection's own, by which signal handlers wake it.
    """

    def __init__(self, run: VirtualRun) -> None:
        self._run = run
        self._thread = threading.get_ident()
        self._keys: dict[_Socket, selectors.SelectorKey] = {}
        self._real = selectors.DefaultSelector()

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        if isinstance(fileobj, socket.socket):
            return self._real.register(fileobj, events, data)
        key = self._keys[fileobj] = selectors.SelectorKey(fileobj, -1, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def get_map(self) -> Any:
        return self._keys

    def close(self) -> None:
        self._real.close()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if threading.get_ident() != self._thread:
            raise RuntimeError("a thread needs real time, and time is virtual here")
        clock = self._run.clock
        until = inf if timeout is None else clock.now + timeout
        try:
            while True:
                self._run.turn(clock.now)
                ready = self._ready()
                if ready or clock.now >= until:
                    return ready
                self._run.wait(None if timeout is None else until - clock.now)
        except Exception as error:
            raise _Stopped(error) from None

    def _ready(self) -> list[tuple[selectors.SelectorKey, int]]:
        found = [(key, sock.ready & key.events) for sock, key in self._keys.items()]
        return self._real.select(0) + [(key, events) for key, events in found if events]


class SSENetwork(ApplicationNetwork):
    """A scripted network, and :meth:`run`, which runs an application over it.

    >>> from sansio_sse.testing import Respond, Stall, send_event
    >>> from sansio_sse_sockets import connect
    >>> def app():
    ...     with connect("https://api.example.com/events") as connection:
    ...         for event in connection:
    ...             return event.data
    >>> network = SSENetwork()
    >>> script = [Respond(), send_event("hello", after=60), Stall()]
    >>> network.server("https://api.example.com", script)
    <ScriptedServer https://api.example.com>
    >>> network.run(app), network.clock.now
    ('hello', 60.0)
    """

    def run(self, app: Callable[[], T], *, limit: float | None = 86400.0) -> T:
        """Call a function without arguments, and return what it returns.

        The clock goes on from where it stands, and chance (the module ``random``, from which jitter
        is drawn) begins at the seed. ``limit`` is how many virtual seconds it may take, or
        TimeoutError is raised: an application that reconnects for ever would otherwise run for
        ever. None: no limit.

        Raises :class:`DeadlockError` if the application waits for what cannot come, and what it
        raises itself.
        """
        run = VirtualRun(self.clock, limit)
        virtual = World(lambda: self.clock.now, lambda: _VirtualSelector(run), self._open_link)

        def main() -> T:
            world.set(virtual)
            return app()

        try:
            with self.running(random):
                return contextvars.copy_context().run(main)
        except _Stopped as stopped:
            raise stopped.why.with_traceback(stopped.__traceback__) from None

    def sleep(self, seconds: float) -> None:
        """Sleep as ``time.sleep`` does, in virtual time: put it in its place.

        Meanwhile the network goes on, and the connections do not: nobody turns their crank.
        """
        self.clock.advance(seconds)

    def _open_link(self, link: Link) -> None:
        """Stand in for ``open_link``: a name, TCP and TLS are all one to a script."""
        link.sock = _Socket(self, link)
        link.owner.selector.register(link.sock, selectors.EVENT_WRITE, link.sock.connected)


sse_network: Any = SSENetwork.fixture(sys.modules.get("pytest"))
"""A pytest fixture: a fresh :class:`SSENetwork`. Import it where tests are, or in ``conftest.py``.

After the test it fails if a transport was left open: some connection was not closed.
"""
