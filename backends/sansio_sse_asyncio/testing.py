"""Testing an application without waiting: a scripted network, and an event loop whose time jumps.

The application stays as it is: it calls ``sansio_sse_asyncio.connect(...)``, sleeps, sets timeouts.
The loop it runs on opens transports in a :class:`~sansio_sse.testing.ScriptedNetwork` instead of
the world, https included, and when everybody waits, its time jumps to the next thing that is due::

    from sansio_sse_asyncio.testing import sse_network  # the fixture, for pytest


    def test_an_outage(sse_network):
        sse_network.server("https://api.example.com", [Respond(), send_event("hello"), Stall()])
        sse_network.outage(10, 40)
        sse_network.run(app)

Only what is scripted takes time. Threads and real sockets live in another time, which would pass at
random; on this loop they are refused. Outside of pytest, ``sse_network`` is a plain generator
function.
"""

import asyncio
import random
import selectors
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

from sansio_sse import Origin
from sansio_sse.testing import (
    ApplicationNetwork,
    DeadlockError,
    ScriptedNetwork,
    ScriptedTransport,
    VirtualClock,
    VirtualRun,
)

from .transport import Link

__all__ = ["DeadlockError", "SSENetwork", "VirtualTimeLoop", "sse_network"]

T = TypeVar("T")


class _VirtualSelector(selectors.DefaultSelector):
    """Instead of waiting, lets the clock jump.

    The only descriptor is the loop's own, by which threads and signal handlers wake it.
    """

    def __init__(self, run: VirtualRun) -> None:
        super().__init__()
        self._run = run

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            self._run.turn(self._run.clock.now)
            return ready
        try:
            self._run.wait(timeout)
        except DeadlockError:
            names = [task.get_name() for task in asyncio.all_tasks()]
            raise DeadlockError.among(names) from None
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop on a :class:`~sansio_sse.testing.VirtualClock`.

    Sleeping, timeouts and timers take no time; when all tasks wait, the clock jumps to what is due
    next. Where nothing is, it raises :class:`DeadlockError` instead of hanging, and TimeoutError
    after ``limit`` virtual seconds. What needs real time (threads, sockets, processes) raises
    RuntimeError.

    >>> import asyncio
    >>> clock = VirtualClock()
    >>> with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(clock)) as runner:
    ...     runner.run(asyncio.sleep(3600, "an hour later"))
    'an hour later'
    >>> clock.now
    3600.0
    """

    def __init__(self, clock: VirtualClock | None = None, *, limit: float | None = None) -> None:
        self._virtual_clock = VirtualClock() if clock is None else clock
        super().__init__(_VirtualSelector(VirtualRun(self._virtual_clock, limit)))

    def time(self) -> float:
        """Return what time it is on the clock."""
        return self._virtual_clock.now


def _refusal(name: str) -> Callable[..., NoReturn]:
    def refuse(self: VirtualTimeLoop, *args: object, **kwargs: object) -> NoReturn:
        raise RuntimeError(f"loop.{name}() needs real time, and time is virtual here")

    return refuse


for _name in (
    "add_reader",
    "add_writer",
    "connect_accepted_socket",
    "connect_read_pipe",
    "connect_write_pipe",
    "create_connection",
    "create_datagram_endpoint",
    "create_server",
    "create_unix_connection",
    "create_unix_server",
    "getaddrinfo",
    "getnameinfo",
    "run_in_executor",
    "sock_accept",
    "sock_connect",
    "sock_recv",
    "sock_recv_into",
    "sock_recvfrom",
    "sock_sendall",
    "sock_sendto",
    "subprocess_exec",
    "subprocess_shell",
):
    setattr(VirtualTimeLoop, _name, _refusal(_name))


class _NetworkLoop(VirtualTimeLoop):
    """A loop on which connections lead into a scripted network."""

    def __init__(self, network: ScriptedNetwork, limit: float | None) -> None:
        super().__init__(network.clock, limit=limit)
        self._network = network

    async def sansio_sse_open_link(
        self, link: Link, origin: Origin, *, uds: object, context: object, handshake: object
    ) -> None:
        """Stand in for ``open_link``: a name, TCP and TLS are all one to a script."""
        await _Transport(self, self._network, link, origin).wait_opened()


class _Transport(asyncio.Transport):
    """asyncio's side of a scripted transport: what the network tells, a protocol is told."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, network: ScriptedNetwork, link: Link, origin: Origin
    ) -> None:
        super().__init__()
        self._loop = loop
        self._link = link
        self._lost = False
        self._waiter: asyncio.Future[None] = loop.create_future()
        self._wire: ScriptedTransport = network.open(origin, self)

    async def wait_opened(self) -> None:
        try:
            await self._waiter
        except asyncio.CancelledError:
            self._wire.close()
            raise

    # What the network tells.

    def transport_opened(self) -> None:
        # The waiter may have been cancelled in this very turn: then the link knows, and aborts.
        self._link.connection_made(self)
        if not self._waiter.done():
            self._waiter.set_result(None)

    def transport_failed(self, error: BaseException) -> None:
        if self._link.transport is not None:
            self._lose(error)
        elif not self._waiter.done():
            self._waiter.set_exception(error)

    def bytes_received(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            view = self._link.get_buffer(-1)
            piece, rest = rest[: len(view)], rest[len(view) :]
            view[: len(piece)] = piece
            self._link.buffer_updated(len(piece))

    def end_received(self) -> None:
        self._link.eof_received()
        self._lose(None)  # a protocol that does not ask for more loses its transport with the EOF

    # What the link asks for.

    def write(self, data: Any) -> None:
        if not self._wire.send(bytes(data)):
            self._link.pause_writing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is kept here."""

    def pause_reading(self) -> None:
        self._wire.pause()

    def resume_reading(self) -> None:
        self._wire.resume()

    def abort(self) -> None:
        self._lose(None)

    def _lose(self, error: BaseException | None) -> None:
        self._wire.close()
        if not self._lost:
            self._lost = True
            told: Any = error  # an Exception, whatever a script may raise
            self._loop.call_soon(self._link.connection_lost, told)


class SSENetwork(ApplicationNetwork):
    """A scripted network, and :meth:`run`, which runs an application over it.

    >>> import asyncio
    >>> from sansio_sse.testing import Respond, Stall, send_event
    >>> from sansio_sse_asyncio import connect
    >>> async def app():
    ...     async with connect("https://api.example.com/events") as connection:
    ...         async for event in connection:
    ...             return event.data
    >>> network = SSENetwork()
    >>> script = [Respond(), send_event("hello", after=60), Stall()]
    >>> network.server("https://api.example.com", script)
    <ScriptedServer https://api.example.com>
    >>> network.run(app), network.clock.now
    ('hello', 60.0)
    """

    def run(
        self,
        app: Callable[[], Coroutine[Any, Any, T]] | Coroutine[Any, Any, T],
        *,
        limit: float | None = 86400.0,
    ) -> T:
        """Run a coroutine, or a function without arguments that makes one, and return its result.

        The clock goes on from where it stands, and chance (the module ``random``, from which jitter
        is drawn) begins at the seed. ``limit`` is how many virtual seconds it may take, or
        TimeoutError is raised: an application that reconnects for ever would otherwise run for
        ever. None: no limit.

        Raises :class:`DeadlockError` if the application waits for what cannot come, and what it
        raises itself.
        """

        async def main() -> T:
            return await (app() if callable(app) else app)

        with (
            self.running(random),
            asyncio.Runner(loop_factory=lambda: _NetworkLoop(self, limit)) as runner,
        ):
            return runner.run(main())


sse_network: Any = SSENetwork.fixture(sys.modules.get("pytest"))
"""A pytest fixture: a fresh :class:`SSENetwork`. Import it where tests are, or in ``conftest.py``.

After the test it fails if a transport was left open: some connection was not closed.
"""
