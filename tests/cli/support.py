"""What the tests of the command line share: running it, and a server that says what it is told
to."""

import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

COMMAND = [sys.executable, "-P", "-m", "sansio_sse_cli"]
_UNSET = {"NO_COLOR", "PYTHONUNBUFFERED"}  # what people have set, and what would hide a mistake
# What a child finds is what this process finds: the checkout, or the installed wheel.
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name not in _UNSET},
    "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    "TERM": "xterm",
}
BOUND = 20.0  # seconds that nothing here should take; beyond them it hangs

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
GONE = b"HTTP/1.1 204 No Content\r\n\r\n"

Answer = bytes | Callable[[socket.socket], object]


def answer(status: str, body: bytes, *headers: str) -> bytes:
    """A whole response that is no stream."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def hold(data: bytes) -> Answer:
    """An answer that sends ``data`` and nothing more, until the client leaves."""

    def send_and_wait(connection: socket.socket) -> None:
        connection.sendall(data)
        while connection.recv(1024):
            pass

    return send_and_wait


class Server:
    """Answers the first connection with the first answer, and so on; afterwards with 204."""

    def __init__(
        self, listening: socket.socket, answers: Sequence[Answer], tls: ssl.SSLContext | None
    ) -> None:
        self.requests: list[bytes] = []
        self._listening = listening
        self._answers = list(answers)
        self._tls = tls
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    @property
    def address(self) -> str:
        """Host and port."""
        return "{}:{}".format(*self._listening.getsockname())

    def _start(self, target: Callable[..., object], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return  # closed
            self._connections.add(connection)
            chosen = self._answers.pop(0) if self._answers else GONE
            self._start(self._serve, connection, chosen)

    def _serve(self, connection: socket.socket, chosen: Answer) -> None:
        try:
            connection.settimeout(BOUND)
            if self._tls is not None:
                plain = connection
                connection = self._tls.wrap_socket(connection, server_side=True)
                self._connections.discard(plain)
                self._connections.add(connection)
            self.requests.append(receive_request(connection))
            if callable(chosen):
                chosen(connection)
            else:
                connection.sendall(chosen)
        except OSError:
            pass  # the client left, or refused our certificate
        finally:
            connection.close()

    def close(self) -> None:
        """End all threads and close all sockets."""
        # shutdown wakes whoever waits in accept() or recv(); close alone would not.
        for each in (self._listening, *self._connections):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._listening.close()
        for thread in self._threads:
            thread.join(BOUND)
            assert not thread.is_alive()
        for connection in self._connections:
            connection.close()


def receive_request(connection: socket.socket) -> bytes:
    """A request with its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += receive(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    while len(body) < length:
        body += receive(connection)
    return head + b"\r\n\r\n" + body


def receive(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionResetError
    return data


@contextmanager
def serving(
    *answers: Answer, tls: ssl.SSLContext | None = None, path: str | None = None
) -> Generator[Server]:
    """A server on loopback, or on a Unix socket."""
    if path is None:
        listening = socket.create_server(("127.0.0.1", 0))
    else:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(path)
        listening.listen()
    server = Server(listening, answers, tls)
    try:
        yield server
    finally:
        server.close()


def run(*args: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, *args],
        input=stdin,
        capture_output=True,
        env=ENVIRONMENT,
        timeout=BOUND,
        check=False,
    )


@contextmanager
def started(*args: str) -> "Generator[subprocess.Popen[bytes]]":
    """Start the command; at the end of the block it is gone."""
    with subprocess.Popen(
        [*COMMAND, *args],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    ) as process:
        try:
            yield process
        finally:
            process.kill()
