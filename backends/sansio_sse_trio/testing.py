"""Testing an application without waiting: a scripted network, and trio's own clock for tests.

The application stays as it is: it calls ``sansio_sse_trio.connect(...)``, sleeps, sets timeouts. It
runs under ``trio.testing.MockClock``; its connections open streams in a
:class:`~sansio_sse.testing.ScriptedNetwork` instead of the world, https included; and when
everybody waits, time jumps to the next thing that is due::

    from sansio_sse_trio.testing import sse_network  # the fixture, for pytest


    def test_an_outage(sse_network):
        sse_network.server("https://api.example.com", [Respond(), send_event("hello"), Stall()])
        sse_network.outage(10, 40)
        sse_network.run(app)

Only what is scripted takes time. Threads and real sockets live in another time, which would pass at
random; here they are refused. Outside of pytest, ``sse_network`` is a plain generator function.
"""

import random
import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from math import inf
from typing import Any, NoReturn, TypeVar

import trio
import trio.testing

from sansio_sse import Origin
from sansio_sse.testing import (
    ApplicationNetwork,
    DeadlockError,
    PulledTransport,
    ScriptedNetwork,
    VirtualRun,
)

from .transport import opener

__all__ = ["DeadlockError", "SSENetwork", "sse_network"]

T = TypeVar("T")

# The order of tasks that are ready at one instant is chance too; pytest-trio fixes it here as well.
_scheduler: Any = trio._core._run


class _Stream(trio.abc.Stream):
    """trio's side of a scripted transport."""

    def __init__(self, network: ScriptedNetwork, origin: Origin) -> None:
        self._changed = trio.lowlevel.ParkingLot()
        self._closed = False
        self._wire = PulledTransport(network, origin, self._changed.unpark_all)

    async def wait_opened(self) -> None:
        while not self._wire.opened:
            await self._news()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        if not self._wire.send(bytes(data)):
            while True:  # until it is closed: this server never reads
                await self._news()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        while (data := self._wire.read(max_bytes or 65536)) is None:
            await self._news()
        return data

    async def aclose(self) -> None:
        self._closed = True
        self._wire.close()
        self._changed.unpark_all()
        await trio.lowlevel.checkpoint()

    async def _news(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError
        if self._wire.error is not None:
            raise trio.BrokenResourceError from self._wire.error
        await self._changed.park()


class _Refusal(trio.abc.SocketFactory, trio.abc.HostnameResolver):
    """What trio asks for real sockets and names."""

    def __init__(self, fail: Callable[[BaseException], BaseException]) -> None:
        self._fail = fail

    def socket(self, *args: object, **kwargs: object) -> NoReturn:
        raise self._fail(RuntimeError("a socket needs real time, and time is virtual here"))

    async def getaddrinfo(self, *args: object, **kwargs: object) -> NoReturn:
        self.socket()

    async def getnameinfo(self, *args: object, **kwargs: object) -> NoReturn:
        self.socket()


class _Pacemaker(trio.abc.Instrument):
    """Keeps the network's clock and trio's together.

    The network is heard where real ones are: before trio waits, and before timers ring.
    """

    def __init__(self, run: VirtualRun) -> None:
        self._run = run
        self._alarm = trio.CancelScope()
        self._idle = 0  # turns in which nobody could ever be woken
        self.task: trio.lowlevel.Task | None = None  # the application's
        self.scope = trio.CancelScope()  # around it
        self.failure: BaseException | None = None

    async def hold_the_alarm(self) -> None:
        """Have a deadline that trio's clock jumps to: when something is due in the network."""
        while True:
            with trio.CancelScope() as self._alarm:
                await trio.sleep_forever()

    def before_io_wait(self, timeout: float) -> None:
        try:
            self._turn()
        except BaseException as error:  # an instrument must not raise
            self.fail(error)

    def fail(self, error: BaseException) -> BaseException:
        """End the run; return what will come out of it."""
        self.failure = self.failure or error
        self.scope.cancel()
        return self.failure

    def _turn(self) -> None:
        run, alarm = self._run, self._alarm
        run.turn(trio.current_time())
        alarm.deadline = inf if run.clock.next_at is None else run.clock.next_at
        if trio.to_thread.current_default_thread_limiter().borrowed_tokens:
            raise RuntimeError("a thread needs real time, and time is virtual here")
        statistics = trio.lowlevel.current_statistics()
        if statistics.tasks_runnable:
            self._idle = 0
        elif statistics.seconds_to_next_deadline < inf:
            self._idle = 0
            alarm.deadline = min(alarm.deadline, run.ends_at)
        else:
            self._idle += 1  # once is nothing: somebody may wait for all others to wait
            if self._idle > 1 and self.task is not None:
                raise DeadlockError.among(_names(self.task))


def _names(task: trio.lowlevel.Task) -> Iterator[str]:
    """Return the names of a task and of all that it began."""
    yield task.name
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield from _names(child)


class SSENetwork(ApplicationNetwork):
    """A scripted network, and :meth:`run`, which runs an application over it.

    >>> from sansio_sse.testing import Respond, Stall, send_event
    >>> from sansio_sse_trio import connect
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
        app: Callable[[], Awaitable[T]] | Coroutine[Any, Any, T],
        *,
        limit: float | None = 86400.0,
    ) -> T:
        """Run a coroutine, or a function without arguments that makes one, and return its result.

        The clock goes on from where it stands, and chance (the module ``random``, from which jitter
        is drawn, and trio's order of tasks) begins at the seed. ``limit`` is how many virtual
        seconds it may take, or TimeoutError is raised: an application that reconnects for ever
        would otherwise run for ever. None: no limit.

        Raises :class:`DeadlockError` if the application waits for what cannot come, and what it
        raises itself.
        """
        pacemaker = _Pacemaker(VirtualRun(self.clock, limit))

        async def main() -> T:
            pacemaker.task = trio.lowlevel.current_task()
            pacemaker.task.name = "the application"
            refusal = _Refusal(pacemaker.fail)
            trio.socket.set_custom_socket_factory(refusal)
            trio.socket.set_custom_hostname_resolver(refusal)
            opener.set(self._open_stream)
            trio.lowlevel.spawn_system_task(pacemaker.hold_the_alarm)
            try:
                with pacemaker.scope:
                    return await (app() if callable(app) else app)
            finally:
                if pacemaker.failure is not None:
                    raise pacemaker.failure
            raise AssertionError("nobody else cancels that scope")

        clock = trio.testing.MockClock(autojump_threshold=0)
        clock.jump(self.clock.now)
        with self.running(random, _scheduler._r), _in_order():
            return trio.run(main, clock=clock, instruments=[pacemaker])

    async def _open_stream(self, origin: Origin, *, uds: object, context: object) -> _Stream:
        """Stand in for ``open_stream``: a name, TCP and TLS are all one to a script."""
        stream = _Stream(self, origin)
        try:
            await stream.wait_opened()
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return stream


@contextmanager
def _in_order() -> Generator[None, None, None]:
    """Let the order of tasks depend on chance alone, and not on where they are in memory."""
    before = _scheduler._ALLOW_DETERMINISTIC_SCHEDULING
    _scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True
    try:
        yield
    finally:
        _scheduler._ALLOW_DETERMINISTIC_SCHEDULING = before


sse_network: Any = SSENetwork.fixture(sys.modules.get("pytest"))
"""A pytest fixture: a fresh :class:`SSENetwork`. Import it where tests are, or in ``conftest.py``.

After the test it fails if a transport was left open: some connection was not closed.
"""
