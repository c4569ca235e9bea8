"""An event stream on Twisted's reactor: the verbs of a driver, and a Connection comes out.

    python twisted_reactor.py http://127.0.0.1:8000/events

Plain http only: to Twisted a TLS transport is open before hands are shaken, and its certificate
errors are pyOpenSSL's, so https takes more than another endpoint.
"""

import random
import sys
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Self

from twisted.internet import error, reactor as running_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import react
from twisted.logger import Logger
from twisted.python.failure import Failure

from sansio_sse import AsyncConnectionDriver, Origin, WireMachine

reactor: Any = running_reactor  # a module to type checkers; Twisted puts the reactor in its place


class Link(Protocol):
    """One transport: what Twisted tells it, it tells the machine."""

    transport: Any = None

    def __init__(self, connection: "Connection", number: int) -> None:
        self.connection = connection
        self.number = number
        self.opening: Deferred[Any] | None = None

    def connectionMade(self) -> None:
        self.connection._take(WireMachine.transport_opened, self.number)

    def dataReceived(self, data: bytes) -> None:
        self.connection._take(WireMachine.bytes_received, self.number, data)

    def connectionLost(self, reason: Failure = error.ConnectionDone) -> None:
        if reason.check(error.ConnectionDone):
            self.connection._take(WireMachine.end_received, self.number)
        else:
            self.failed(reason)
        self.connection._link_gone(self.number)

    def failed(self, reason: Failure) -> None:
        self.connection._take(WireMachine.transport_failed, self.number, reason.value)
