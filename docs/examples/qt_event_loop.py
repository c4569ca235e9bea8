"""An event stream in a Qt program: QTcpSocket and QTimer behind the verbs of a driver.

    python qt_event_loop.py http://127.0.0.1:8000/events

A window shows the events and, in its title, the state. There is no thread and no second loop.
Plain http only. Needs PySide6-Essentials.
"""

import math
import random
import sys
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from PySide6.QtCore import QMetaObject, Qt, QTimer
from PySide6.QtNetwork import QAbstractSocket, QTcpSocket
from PySide6.QtWidgets import QApplication, QListWidget

from sansio_sse import (
    ConnectionDriver,
    ConnectionState,
    Event,
    Origin,
    ServerSentEvent,
    StateChanged,
    WireMachine,
)

OVER = (ConnectionState.DISCONNECTED, ConnectionState.ERROR, ConnectionState.CLOSED)
READ_SIZE = 65536


class Link:
    """One transport: what a QTcpSocket signals, it tells the machine."""

    def __init__(self, connection: "Connection", number: int) -> None:
        self.connection = connection
        self.number = number
        self.reading = True
        self.socket = socket = QTcpSocket()
        socket.setReadBufferSize(READ_SIZE)  # what is not read stays with the server
        socket.connected.connect(partial(self.tell, WireMachine.transport_opened))
        socket.bytesWritten.connect(self.written)
        socket.readyRead.connect(self.readable)
        socket.errorOccurred.connect(self.ended)

    def tell(self, news: Callable[..., Any], *args: object) -> None:
        self.connection._take(news, self.number, *args)

    def written(self, _count: int) -> None:
        if not self.socket.bytesToWrite():
            self.tell(WireMachine.bytes_sent)

    def readable(self) -> None:
        if self.reading and self.socket.bytesAvailable():
            self.tell(WireMachine.bytes_received, bytes(self.socket.readAll().data()))

    def ended(self, error: QAbstractSocket.SocketError) -> None:
        self.read(True)  # what came before the end is read before it
        if error is QAbstractSocket.SocketError.RemoteHostClosedError:
            self.tell(WireMachine.end_received)
        else:
            self.tell(WireMachine.transport_failed, OSError(self.socket.errorString()))
            self.connection._drop(self.number)

    def read(self, on: bool) -> None:
        self.reading = on
        self.readable()

    def drop(self) -> None:
        self.socket.blockSignals(True)
        self.socket.abort()
        self.socket.deleteLater()  # it may be in the middle of a signal


class Connection(ConnectionDriver):
    """One event stream, told to ``on_event``, ``on_change`` and ``on_error``."""

    def _set_up(self) -> None:
        self._links: dict[int, Link] = {}
        self._commands: deque[Callable[[], None]] = deque()
        self._alarm = self._timer(self._deadline_reached)
        self._soon = self._timer(self._run_commands)

    def open(self) -> None:
        """Begin."""
        self._from_elsewhere(self._connect_now)

    @staticmethod
    def _timer(call: Callable[[], None]) -> QTimer:
        timer = QTimer(singleShot=True, timerType=Qt.TimerType.PreciseTimer)
        timer.timeout.connect(call)
        return timer

    # --- Time ----------------------------------------------------------------------------------

    def _now(self) -> float:
        return time.monotonic()

    def _wall_clock(self) -> float:
        return time.time()

    _random = staticmethod(random.random)

    def _arm(self, at: float | None) -> None:
        if at is None:
            self._alarm.stop()
        else:
            self._alarm.start(math.ceil(max(0.0, at - self._now()) * 1000))

    # --- Whoever waits -------------------------------------------------------------------------

    def _wake(self) -> None:
        pass  # nobody waits: everything is told by callbacks

    def _from_elsewhere(self, command: Callable[[], None]) -> None:
        self._commands.append(command)
        # From any thread; the timer fires in the thread that it was made in.
        QMetaObject.invokeMethod(self._soon, "start", Qt.ConnectionType.QueuedConnection)

    def _run_commands(self) -> None:
        while self._commands:
            self._commands.popleft()()

    def _unhandled(self, error: BaseException) -> None:
        sys.excepthook(type(error), error, error.__traceback__)

    # --- Transports ----------------------------------------------------------------------------

    def _open(self, transport: int, origin: Origin) -> None:
        if origin.secure:
            error = OSError("this driver speaks no TLS")
            self._take(WireMachine.transport_failed, transport, error)
        else:
            link = self._links[transport] = Link(self, transport)
            link.socket.connectToHost(origin.host, origin.port)

    def _send(self, transport: int, data: bytes) -> None:
        if transport in self._links:  # a dialog turns the loop meanwhile: it may have failed
            self._links[transport].socket.write(data)

    def _drop(self, transport: int) -> None:
        link = self._links.pop(transport, None)
        if link is not None:
            link.drop()

    def _reading(self, transport: int, on: bool) -> None:
        self._links[transport].read(on)

    def _released(self) -> bool:
        return not self._links


def main(url: str) -> None:
    app = QApplication(sys.argv)
    window = QListWidget()

    def on_event(_connection: Connection, event: Event) -> None:
        if isinstance(event, ServerSentEvent):  # other kinds come where they are included
            window.addItem(event.data)
            print(event.id, event.data, flush=True)

    def on_change(_connection: Connection, change: StateChanged) -> None:
        window.setWindowTitle(change.new.value)
        if change.new in OVER:
            app.quit()

    connection = Connection(url, on_event=on_event, on_change=on_change)
    connection.open()
    window.show()
    sys.exit(app.exec())


if __name__ == "__main__":
    main(sys.argv[1])
