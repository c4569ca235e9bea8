"""An event stream on a bare ``selectors`` loop: no driver, no framework, no thread.

    python selectors_loop.py http://127.0.0.1:8000/events

Plain http only. docs/howto/own-loop.md goes through it line by line.
"""

import os
import random
import selectors
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from sansio_sse import (
    CloseTransport,
    ConnectionMachine,
    ConnectionState,
    OpenTransport,
    Origin,
    Request,
    SendBytes,
    ServerSentEvent,
    WireAction,
    WireMachine,
)

OVER = (ConnectionState.DISCONNECTED, ConnectionState.ERROR, ConnectionState.CLOSED)
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class EventStream:
    """One event stream; whoever iterates turns the loop."""

    def __init__(self, url: str) -> None:
        self.connection = ConnectionMachine(Request("GET", url), random=random.random)
        self.machine = WireMachine(self.connection)
        self.selector = selectors.DefaultSelector()
        self.sockets: dict[int, socket.socket] = {}
        self.unsent: dict[int, bytes] = {}
        self.inputs: deque[Callable[[float], Sequence[WireAction]]] = deque()

    def __iter__(self) -> Iterator[ServerSentEvent]:
        self.inputs.append(self.machine.connect)
        try:
            while self.inputs or self.machine.state not in OVER:
                if not self.inputs:
                    self.wait()
                for action in self.inputs.popleft()(time.monotonic()):
                    match action:
                        case ServerSentEvent():
                            yield action
                        case OpenTransport(number, origin):
                            self.attempt(self.open, number, origin)
                        case SendBytes(number, data):
                            self.unsent[number] = data
                            self.selector.modify(self.sockets[number], READ | WRITE, number)
                        case CloseTransport(number):
                            self.close(number)
                        case _:
                            pass  # what is told to people: states, errors, delays
        finally:
            for number in list(self.sockets):
                self.close(number)
            self.selector.close()
        if self.connection.error is not None:
            raise self.connection.error

    def wait(self) -> None:
        deadline = self.machine.deadline
        patience = None if deadline is None else max(0.0, deadline - time.monotonic())
        for key, mask in self.selector.select(patience):
            self.attempt(self.ready, key.data, mask)
        looked = time.monotonic()
        self.inputs.append(lambda _: self.machine.tick(looked))

    def attempt(self, work: Callable[..., None], number: int, *args: Any) -> None:
        try:
            work(number, *args)
        except BlockingIOError:
            pass  # not yet
        except (OSError, ValueError) as error:
            self.close(number)
            self.inputs.append(partial(self.machine.transport_failed, number, error))

    def open(self, number: int, origin: Origin) -> None:
        if origin.secure:
            raise OSError("this loop speaks no TLS")
        found = socket.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        sock = self.sockets[number] = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        self.selector.register(sock, WRITE, number)
        sock.connect(address)

    def ready(self, number: int, mask: int) -> None:
        sock = self.sockets[number]
        if number not in self.unsent:
            self.opened(number, sock)
        elif mask & WRITE:
            self.unsent[number] = self.unsent[number][sock.send(self.unsent[number]) :]
            if not self.unsent[number]:
                self.selector.modify(sock, READ, number)
                self.inputs.append(partial(self.machine.bytes_sent, number))
        elif data := sock.recv(65536):
            self.inputs.append(partial(self.machine.bytes_received, number, data))
        else:
            self.inputs.append(partial(self.machine.end_received, number))

    def opened(self, number: int, sock: socket.socket) -> None:
        if failure := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(failure, os.strerror(failure))
        self.unsent[number] = b""
        self.selector.modify(sock, READ, number)
        self.inputs.append(partial(self.machine.transport_opened, number))

    def close(self, number: int) -> None:
        self.unsent.pop(number, None)
        if sock := self.sockets.pop(number, None):
            self.selector.unregister(sock)
            sock.close()


if __name__ == "__main__":
    for event in EventStream(sys.argv[1]):
        print(event.id, event.data, flush=True)
