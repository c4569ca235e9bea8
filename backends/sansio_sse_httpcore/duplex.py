"""A network stream that one thread may read from while others write.

Those of httpcore and httpcore2 set the timeout of the socket at each call. Where streams of HTTP/2
share one, a thread that reads sees the timeout of another that writes, and gives up the connection
of all; and two threads are inside of TLS at once, which OpenSSL does not allow.

Here the socket never blocks, TLS is entered by one at a time, and who waits is not inside.
"""

import importlib
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

__all__ = ["Duplex"]

T = TypeVar("T")

_AGAIN = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Duplex:
    """Takes the place of a stream, whose own socket this is.

    ``package`` is whose exceptions it raises.
    """

    def __init__(self, stream: Any, sock: socket.socket, package: str) -> None:
        self._stream = stream
        self._sock = sock
        self._errors: Any = importlib.import_module(package)
        self._lock = threading.Lock()
        sock.setblocking(False)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what comes next, nothing at the end."""
        late, failed = self._errors.ReadTimeout, self._errors.ReadError
        return self._do(partial(self._sock.recv, max_bytes), False, timeout, late, failed)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of it."""
        late, failed = self._errors.WriteTimeout, self._errors.WriteError
        view = memoryview(buffer)
        while view:
            view = view[self._do(partial(self._sock.send, view), True, timeout, late, failed) :]

    def _do(
        self,
        step: Callable[[], T],
        writes: bool,
        timeout: float | None,
        late: type[Exception],
        failed: type[Exception],
    ) -> T:
        until = None if timeout is None else time.monotonic() + timeout
        try:
            while True:
                try:
                    with self._lock:
                        return step()
                except _AGAIN as again:
                    # TLS may have to write in order to read, and the other way round.
                    writing = isinstance(again, ssl.SSLWantWriteError) or (
                        writes and not isinstance(again, ssl.SSLWantReadError)
                    )
                left = None if until is None else until - time.monotonic()
                if not _ready(self._sock, writing, left):
                    raise late("timed out")
        except (OSError, ValueError) as error:  # ValueError: it has been closed
            raise failed(error) from error

    def close(self) -> None:
        """Close the socket; whoever waits for it is told that it has ended."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        with self._lock:
            self._sock.close()

    def get_extra_info(self, info: str) -> Any:
        """Return what the stream does."""
        return self._stream.get_extra_info(info)


def _ready(sock: socket.socket, writing: bool, seconds: float | None) -> bool:
    """Wait until a socket is ready; return whether it is."""
    if seconds is not None and seconds < 0:
        return False
    if not hasattr(select, "poll"):
        waiting: list[Any] = [sock]
        ready = select.select([] if writing else waiting, waiting if writing else [], [], seconds)
        return any(ready)
    poll = select.poll()
    poll.register(sock, select.POLLOUT if writing else select.POLLIN)
    return bool(poll.poll(None if seconds is None else seconds * 1000))
