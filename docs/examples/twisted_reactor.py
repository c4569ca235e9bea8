"""An event stream on Twisted's reactor: write the verbs of a driver, and get a whole Connection.

    python twisted_reactor.py http://127.0.0.1:8000/events

Plain http only: a TLS transport of Twisted says that it is connected before hands are shaken, and
what it fails with is pyOpenSSL's, so https is more than another endpoint.
"""

import random
import sys
import time
from collections.abc import Callable
from typing import Any, Self

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import react

from sansio_sse import AsyncConnectionDriver, Origin, ServerSentEvent, WireMachine

reactor: Any = installed_reactor  # to type checkers it is a module


class Link(Protocol):
    """One transport: what Twisted tells it, it tells the machine."""

    transport: Any = None

    def __init__(self, connection: "Connection", number: int) -> None:
        self.connection = connection
        self.number = number
        self.unsent = b""
        self.opening: Deferred[Any] = Deferred()

    def open(self, origin: Origin) -> None:
        # Any, because type checkers cannot read the interfaces of Twisted, which are zope's.
        endpoint: Any = HostnameEndpoint(reactor, origin.host, origin.port)
        self.opening = endpoint.connect(Factory.forProtocol(lambda: self))
        self.opening.addErrback(self.connectionLost)

    def connectionMade(self) -> None:
        self.connection._take(WireMachine.transport_opened, self.number)

    def dataReceived(self, data: bytes) -> None:
        self.connection._bytes_received(self.number, data)

    def connectionLost(self, reason: Any = connectionDone) -> None:
        if isinstance(reason.value, ConnectionDone):  # an EOF, which is no failure
            self.connection._take(WireMachine.end_received, self.number)
        else:
            self.connection._take(WireMachine.transport_failed, self.number, reason.value)
        self.connection.released(self.number)

    def send(self, data: bytes) -> None:
        self.unsent = data
        self.transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """There is room in the transport: for the data, and the next time it has left."""
        data, self.unsent = self.unsent, b""
        if data:
            self.transport.write(data)
        else:
            self.transport.unregisterProducer()
            self.connection._take(WireMachine.bytes_sent, self.number)

    def stopProducing(self) -> None:
        """There will be no room any more; connectionLost says why."""

    def drop(self) -> None:
        if self.transport is None:
            self.opening.cancel()
        else:
            self.transport.abortConnection()


class Connection(AsyncConnectionDriver):
    """One event stream: an async context manager and iterator, for coroutines on the reactor."""

    def _set_up(self) -> None:
        self._links: dict[int, Link] = {}
        self._waiters: list[Deferred[None]] = []
        self._timer: Any = None

    async def __aenter__(self) -> Self:
        try:
            await self._enter()
        except BaseException:
            await self.aclose()
            raise
        return self

    # --- Time ----------------------------------------------------------------------------------

    def _now(self) -> float:
        return time.monotonic()  # not reactor.seconds(), which can go backwards

    def _wall_clock(self) -> float:
        return time.time()

    _random = staticmethod(random.random)

    def _arm(self, at: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if at is None else self._call_at(at, self._fired)

    def _fired(self) -> None:
        self._timer = None
        self._deadline_reached()

    def _call_at(self, at: float, call: Callable[..., object], *args: object) -> Any:
        return reactor.callLater(max(0.0, at - self._now()), call, *args)

    # --- Whoever waits -------------------------------------------------------------------------

    def _start(self) -> None:
        pass  # the reactor needs no introduction

    async def _wait(self, until: float | None) -> None:
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        timer = None if until is None else self._call_at(until, _settle, waiter, TimeoutError())
        try:
            await waiter
        finally:
            self._waiters.remove(waiter)
            if timer is not None and timer.active():
                timer.cancel()

    def _wake(self) -> None:
        # Not at once: a Deferred runs who waits for it in the middle of whatever fires it.
        for waiter in self._waiters:
            reactor.callLater(0, _settle, waiter, None)

    def _from_elsewhere(self, command: Callable[[], None]) -> None:
        reactor.callFromThread(command)

    def _unhandled(self, error: BaseException) -> None:
        sys.excepthook(type(error), error, error.__traceback__)

    # --- Transports ----------------------------------------------------------------------------

    def _open(self, transport: int, origin: Origin) -> None:
        if origin.secure:
            error = OSError("this driver speaks no TLS")
            self._take(WireMachine.transport_failed, transport, error)
        else:
            link = self._links[transport] = Link(self, transport)
            link.open(origin)

    def _send(self, transport: int, data: bytes) -> None:
        self._links[transport].send(data)

    def _drop(self, transport: int) -> None:
        if transport in self._links:
            self._links[transport].drop()

    def _reading(self, transport: int, on: bool) -> None:
        producer = self._links[transport].transport
        if on:
            producer.resumeProducing()
        else:
            producer.pauseProducing()

    def released(self, number: int) -> None:
        self._links.pop(number, None)
        self._wake()

    def _released(self) -> bool:
        return not self._links


def _settle(waiter: Deferred[None], failure: Exception | None) -> None:
    if waiter.called:
        return
    if failure is None:
        waiter.callback(None)
    else:
        waiter.errback(failure)


async def main(_reactor: object, url: str) -> None:
    async with Connection(url) as connection:
        async for event in connection:
            if isinstance(event, ServerSentEvent):  # other kinds come where they are included
                print(event.id, event.data, flush=True)


if __name__ == "__main__":
    react(main, sys.argv[1:])
