"""A scripted HTTP/1.1 server on loopback: plain blocking sockets, a thread per connection.

It knows nothing about event loops, so that it can stand beside any kind of client. What it says is
up to a *script*: a function called as ``script(peer, request)`` for each request, or a list of
them, one per request, of which the last one stays. All it sees goes into its log, with times.

It is bounded (connections, time) and tears itself down: :meth:`Server.close` ends every connection
and joins every thread, and an exception in a script fails the test.
"""

import os
import select
import socket
import ssl
import stat
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Literal, Self, TypeVar

from sansio_sse import encode_event

__all__ = ["Gone", "Peer", "Script", "Seen", "Server", "Visit", "open_sockets"]

PATIENCE = 20.0  # seconds; whatever a script waits for, it gives up then
_TURN = 0.02
_MAX_CONNECTIONS = 3000

T = TypeVar("T")
Family = Literal["ipv4", "ipv6", "unix"]


class Gone(Exception):
    """The client is gone, or the server is being closed: the script ends here."""


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    at: float
    visit: "Visit"

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def header(self, name: str) -> str | None:
        """Return the first value of a header, or None."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def cursor(self) -> str | None:
        """Return the Last-Event-ID, read as the UTF-8 it is."""
        value = self.header("Last-Event-ID")
        return None if value is None else value.encode("latin-1").decode()


@dataclass
class Visit:
    """One accepted connection."""

    number: int
    began: float
    ended: float | None = None
    left: bool = False
    """The client ended it before the script did."""
    requests: list[Seen] = field(default_factory=list)


class Peer:
    """The client, as a script sees it; every method raises :class:`Gone` once it is gone."""

    def __init__(self, server: "Server", sock: socket.socket, visit: Visit) -> None:
        self.server = server
        self.visit = visit
        self.sock = sock
        self._chunked = False
        self.again = False
        """Whether the script leaves the connection open for a next request."""

    # --- Saying something ----------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send bytes as they are, however long the client takes to read them."""
        view = memoryview(data)
        deadline = time.monotonic() + PATIENCE
        while view:
            self.server.check()
            try:
                view = view[self.sock.send(view) :]
            except (TimeoutError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                if time.monotonic() > deadline:
                    raise TimeoutError("the client does not read") from None
            except OSError as error:
                self.visit.left = True
                raise Gone from error

    def send_slowly(self, data: bytes, pause: float, step: int = 1) -> None:
        """Send a few bytes at a time."""
        for start in range(0, len(data), step):
            self.send(data[start : start + step])
            self.sleep(pause)

    def respond(
        self, status: int, *headers: tuple[str, str], body: bytes = b"", length: int | None = None
    ) -> None:
        """Send a whole response with a Content-Length (which ``length`` may make a lie)."""
        size = str(len(body) if length is None else length)
        self.send(head(status, ("Content-Length", size), *headers) + body)

    def stream(
        self,
        *headers: tuple[str, str],
        status: int = 200,
        chunked: bool = False,
        content_type: str = "text/event-stream",
    ) -> None:
        """Send the head of an event stream; the body ends with the connection, or has chunks."""
        self._chunked = chunked
        framing = [("Transfer-Encoding", "chunked")] if chunked else []
        self.send(head(status, ("Content-Type", content_type), *framing, *headers))

    def body(self, data: bytes) -> None:
        """Send a piece of the body, framed as the head said."""
        self.send(chunk(data) if self._chunked else data)

    def event(self, data: str, *, event: str | None = None, id: str | None = None) -> None:
        """Send one event."""
        self.body(encode_event(data, event=event, id=id))

    def end(self) -> None:
        """End the body well."""
        if self._chunked:
            self.send(b"0\r\n\r\n")
        self.close()

    def reply(self, *events: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Send a whole stream in one piece, and leave the connection open for a next request."""
        framing = [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")]
        body = b"".join(chunk(encode_event(data)) for data in events)
        self.send(head(200, *framing, *headers) + body + chunk(b""))
        self.again = True

    # --- Waiting -------------------------------------------------------------------------------

    def sleep(self, seconds: float) -> None:
        """Let time pass, unless the server is being closed."""
        if self.server.closing.wait(seconds):
            raise Gone

    def wait(self, event: threading.Event | None = None) -> None:
        """Wait for the test to say so."""
        event = event or self.server.go
        deadline = time.monotonic() + PATIENCE
        while not event.wait(_TURN):
            self.server.check()
            if time.monotonic() > deadline:
                raise TimeoutError("nobody set the event")

    def stall(self) -> None:
        """Say nothing more, keep the connection open, and return when the client has left."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            self.server.check()
            try:
                if not self.sock.recv(65536):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        self.visit.left = True
        raise Gone

    # --- Ending --------------------------------------------------------------------------------

    def close(self) -> None:
        """Close as a well-behaved server does."""
        try:
            if isinstance(self.sock, ssl.SSLSocket):
                self.sock.unwrap()
        except (OSError, ValueError):
            pass  # the client did not answer our goodbye
        self._shut(socket.SHUT_RDWR)

    def half_close(self) -> None:
        """End our side only."""
        self._shut(socket.SHUT_WR)

    def _shut(self, how: int) -> None:
        try:
            self.sock.shutdown(how)
        except OSError:
            pass

    def reset(self) -> None:
        """Break the connection: the client gets RST."""
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
        self.server.forget(self.sock)

    # --- Hearing something ---------------------------------------------------------------------

    def recv(self) -> bytes:
        """Return what the client sends next."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            self.server.check()
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                continue
            except OSError as error:
                self.visit.left = True
                raise Gone from error
            if not data:
                self.visit.left = True
                raise Gone
            return data
        raise TimeoutError("the client sends nothing")

    def request(self) -> Seen:
        """Read one request, body included."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self.recv()
        start, _, body = data.partition(b"\r\n\r\n")
        first, *lines = start.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        pairs = (line.partition(":") for line in lines)
        headers = tuple((name, value.strip()) for name, _, value in pairs)
        length = next((int(v) for k, v in headers if k.lower() == "content-length"), 0)
        while len(body) < length:
            body += self.recv()
        seen = Seen(method, target, headers, body, time.monotonic(), self.visit)
        self.visit.requests.append(seen)
        self.server.note(seen)
        return seen


Script = Callable[[Peer, Seen], None]
Welcome = Callable[[Peer], None]


class Server:
    """The server; a context manager.

    ``script`` answers every path but those given to :meth:`at`. ``welcome`` is called with each
    accepted connection in place of everything else (it may call ``peer.request()`` itself): for
    what happens before HTTP.
    """

    # Which sockets of this process are servers', so that a test can tell which are not.
    _lock: ClassVar[threading.RLock] = threading.RLock()
    _owned: ClassVar[set[int]] = set()

    def __init__(
        self,
        script: Script | Sequence[Script] = (),
        *,
        welcome: Welcome | Sequence[Welcome] = (),
        tls: ssl.SSLContext | None = None,
        family: Family = "ipv4",
        path: Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.requests: list[Seen] = []
        self.visits: list[Visit] = []
        self.errors: list[BaseException] = []
        self.closing = threading.Event()
        self.go = threading.Event()
        """For scripts that wait until the test says so."""
        self.tls = tls
        self.uds = None if path is None else str(path)
        self._scripts = {"": _list(script)}
        self._welcomes = _list(welcome)
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        with self._lock:
            if family == "unix":
                self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self._listener.bind(self.uds or "")
                self.host, self.port = "localhost", 80
            elif family == "ipv6":
                self._listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
                self._listener.bind(("::1", 0))
                self.host, self.port = "[::1]", self._listener.getsockname()[1]
            else:
                self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                self._listener.bind((host, port))
                self.host, self.port = self._listener.getsockname()
            self._owned.add(self._listener.fileno())
            self._sockets.add(self._listener)
        self._listener.listen(128)
        self._listener.setblocking(False)
        self._acceptor = threading.Thread(target=self._accept, name="test-server", daemon=True)
        self._acceptor.start()

    def at(self, path: str, *scripts: Script) -> Self:
        """Answer one path by scripts of its own."""
        self._scripts[path] = list(scripts)
        return self

    @property
    def origin(self) -> str:
        return f"{'http' if self.tls is None else 'https'}://{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.origin}/events"

    def to(self, path: str) -> list[Seen]:
        """Return the requests for one path so far."""
        return [seen for seen in self.requests if seen.path == path]

    @property
    def open_visits(self) -> int:
        """How many connections are open now."""
        return sum(visit.ended is None for visit in self.visits)

    # --- The thread that accepts ---------------------------------------------------------------

    def _accept(self) -> None:
        while not self.closing.is_set():
            ready, _, _ = select.select([self._listener], [], [], _TURN)
            if not ready:
                continue
            with self._lock:
                try:
                    sock, _ = self._listener.accept()
                except OSError:
                    continue  # gone before it was accepted
                self._owned.add(sock.fileno())
                self._sockets.add(sock)
            visit = Visit(len(self.visits), time.monotonic())
            self.visits.append(visit)
            if len(self.visits) > _MAX_CONNECTIONS:
                self.errors.append(AssertionError("the client does not stop connecting"))
                self.closing.set()
                return
            sock.settimeout(_TURN)
            thread = threading.Thread(
                target=self._serve, args=(sock, visit), name="test-server-peer", daemon=True
            )
            thread.start()
            self._threads = [old for old in self._threads if old.is_alive()]
            self._threads.append(thread)

    def _serve(self, sock: socket.socket, visit: Visit) -> None:
        peer = Peer(self, sock, visit)
        try:
            if self._welcomes:
                self._next(self._welcomes)(peer)
                return
            self.start_tls(peer)
            peer.again = True
            while peer.again:
                seen = peer.request()
                peer.again = False
                scripts = self._scripts.get(seen.path) or self._scripts[""]
                if not scripts:
                    peer.respond(404)
                    return
                self._next(scripts)(peer, seen)
        except Gone:
            pass
        except BaseException as error:
            self.errors.append(error)
        finally:
            visit.ended = time.monotonic()
            self.forget(peer.sock)

    @staticmethod
    def _next(scripts: list[T]) -> T:
        return scripts.pop(0) if len(scripts) > 1 else scripts[0]

    def start_tls(self, peer: Peer) -> None:
        """Shake hands, if this server speaks TLS."""
        if self.tls is None:
            return
        plain = peer.sock
        plain.settimeout(PATIENCE)
        with self._lock:
            self._sockets.discard(plain)
            try:
                # The descriptor stays the same, its owner changes.
                secure = self.tls.wrap_socket(
                    plain, server_side=True, do_handshake_on_connect=False
                )
            except OSError as error:
                self._owned.discard(plain.fileno())
                plain.close()
                raise Gone from error
            self._sockets.add(secure)
        peer.sock = secure
        try:
            secure.do_handshake()
        except OSError as error:
            peer.visit.left = True
            raise Gone from error
        secure.settimeout(_TURN)

    # --- What peers need -----------------------------------------------------------------------

    def check(self) -> None:
        if self.closing.is_set():
            raise Gone

    def note(self, seen: Seen) -> None:
        self.requests.append(seen)

    def forget(self, sock: socket.socket) -> None:
        """Close a socket."""
        with self._lock:
            self._owned.discard(sock.fileno())
            self._sockets.discard(sock)
            sock.close()

    # --- The end -------------------------------------------------------------------------------

    def close(self) -> None:
        """End everything, and join every thread."""
        self.closing.set()
        try:
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the acceptor, where it does
        except OSError:
            pass
        self._acceptor.join(PATIENCE)
        with self._lock:
            for sock in list(self._sockets):
                try:
                    sock.shutdown(socket.SHUT_RDWR)  # wakes a thread which is inside
                except OSError:
                    pass
        for thread in self._threads:
            thread.join(PATIENCE)
        self.forget(self._listener)
        alive = [thread for thread in [self._acceptor, *self._threads] if thread.is_alive()]
        assert not alive, f"threads of the server do not end: {alive}"
        if self.errors:
            raise self.errors[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except BaseException as failure:
            if error is None:
                raise
            error.add_note(f"and in the server: {failure!r}")


def _list(one_or_more: T | Sequence[T]) -> list[T]:
    return list(one_or_more) if isinstance(one_or_more, Sequence) else [one_or_more]


def head(status: int, *headers: tuple[str, str]) -> bytes:
    """Return a response head."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {status} Scripted\r\n{lines}\r\n".encode("latin-1")


def chunk(data: bytes) -> bytes:
    """Return one chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def open_sockets() -> set[tuple[int, int]]:
    """Return the sockets open in this process that are no server's, as (descriptor, inode)."""
    found = set()
    with Server._lock:
        for name in os.listdir("/dev/fd"):
            fd = int(name)
            try:
                about = os.fstat(fd)
            except OSError:
                continue  # the one that listed the folder
            if stat.S_ISSOCK(about.st_mode) and fd not in Server._owned:
                found.add((fd, about.st_ino))
    return found
