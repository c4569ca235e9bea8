"""Transports of plain sockets: non-blocking, in one selector, turned by whoever is in a call.

Nothing here decides anything. Waiting is bounded by the core, which drops what takes too long; name
resolution and the race of addresses are the one wait it cannot see into.
"""

import errno
import os
import selectors
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sansio_sse import Origin, WireMachine

if TYPE_CHECKING:
    from .connection import Connection

Address = tuple[socket.AddressFamily, Any]
Found = Callable[[list[Address], Exception | None], None]

LONG = 1e6  # seconds: what can be waited for in one go; the system's own limit is not far

_READ_SIZE = 65536
_WRITE_SIZE = 65536
_READ = selectors.EVENT_READ
_WRITE = selectors.EVENT_WRITE

_contexts: dict[tuple[str | None, str | None], ssl.SSLContext] = {}


class Link:
    """One transport of a connection: racing addresses, shaking hands, then moving bytes."""

    __slots__ = (
        "_dropped",
        "_outgoing",
        "_racers",
        "_reading",
        "_selector",
        "_sent",
        "_tls",
        "_waiting",
        "number",
        "origin",
        "owner",
        "sock",
        "steady",
    )

    def __init__(self, connection: "Connection[Any]", number: int, origin: Origin) -> None:
        self.owner: Any = connection  # who is told; a pool may pass a transport on
        self.number: int = number
        self._selector: Any = connection.selector
        self.origin: Origin = origin
        self._dropped = False
        self._reading = True
        self._outgoing = b""
        self._sent = 0  # of what is outgoing
        self._waiting: deque[Address] = deque()  # addresses not tried yet
        self._racers: set[socket.socket] = set()  # attempts under way
        self.sock: Any = None
        self.steady: bool = False
        """All that can happen to it shows in the selector: it is open, and has no TLS."""
        self._tls = False  # it is carried by TLS, which may hold what the selector cannot see

    # --- Opening -------------------------------------------------------------------------------

    @property
    def racing(self) -> bool:
        """Whether another address may be tried beside those under way."""
        return bool(self._waiting)

    def found(self, addresses: list[Address], error: Exception | None) -> None:
        """Begin the race: the name is resolved, or is not."""
        if not self._dropped:
            self._waiting.extend(addresses)
            self.next_address(error)

    def next_address(self, error: Exception | None = None) -> None:
        """Try one more address, some time after the one before or when that failed (RFC 8305 5)."""
        while self._waiting:
            try:
                racer = _connecting(*self._waiting.popleft())
            except (OSError, ValueError) as refused:
                error = refused
                continue
            self._racers.add(racer)
            self._selector.register(racer, _WRITE, partial(self._raced, racer))
            return
        if not self._racers:
            self.failed(error or OSError("the name has no address"))

    def _raced(self, racer: socket.socket) -> None:
        if racer not in self._racers:
            return  # lost to another in this very turn
        failed = racer.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._racers.remove(racer)
        self._selector.unregister(racer)
        if failed:
            racer.close()
            self.next_address(OSError(failed, os.strerror(failed)))
            return
        self._stop_racing()
        self.sock = racer
        if self.origin.secure:
            self._wrap()
        else:
            self.opened()

    def _stop_racing(self) -> None:
        self._waiting.clear()
        while self._racers:
            racer = self._racers.pop()
            self._selector.unregister(racer)
            racer.close()

    def _wrap(self) -> None:
        context = self.owner._ssl_context or default_context()
        try:
            self.sock = context.wrap_socket(
                self.sock, server_hostname=self.origin.host, do_handshake_on_connect=False
            )
        except (OSError, ValueError) as error:
            self.failed(error)
            return
        self._tls = True
        self._selector.register(self.sock, _WRITE, self._shake_hands)
        self._shake_hands()

    def _shake_hands(self) -> None:
        if self._dropped:
            return
        selector = self._selector
        try:
            self.sock.do_handshake()
        except ssl.SSLWantReadError:
            selector.modify(self.sock, _READ, self._shake_hands)
        except ssl.SSLWantWriteError:
            selector.modify(self.sock, _WRITE, self._shake_hands)
        except (OSError, ValueError) as error:
            self.failed(error)
        else:
            self.opened()

    def opened(self) -> None:
        """It is open, TLS included: read."""
        self.steady = not self._tls
        self._register()
        if self.sock.family != socket.AF_UNIX:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.owner._take(WireMachine.transport_opened, self.number)

    def failed(self, error: BaseException) -> None:
        """It could not be opened, or broke."""
        self.owner._take(WireMachine.transport_failed, self.number, error)
        self.owner._drop(self.number)  # the core closes nothing that failed by itself

    # --- Moving bytes --------------------------------------------------------------------------

    @property
    def pending(self) -> bool:
        """Whether TLS holds bytes which the selector cannot see."""
        return self._tls and self._reading and bool(self.sock.pending())

    def ready(self) -> None:
        """The selector (or TLS) says that something can be done."""
        if self._outgoing:
            self._flush()
        while self._reading and not self._dropped:
            try:
                data = self.sock.recv(_READ_SIZE)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError as error:
                self.failed(error)
                return
            if not data:
                self.reading(False)
                self.owner._take(WireMachine.end_received, self.number)
                return
            self.owner._bytes_received(self.number, data)
            if not self._tls or not self.pending:
                return

    def send(self, data: bytes) -> None:
        """Write, and report when all of it has left."""
        self._outgoing, self._sent = data, 0
        self._flush()

    def _flush(self) -> None:
        try:
            # In pieces: what does not fit is not copied again and again.
            while piece := self._outgoing[self._sent : self._sent + _WRITE_SIZE]:
                self._sent += self.sock.send(piece)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self._register()
        except OSError as error:
            self.failed(error)
        else:
            self._outgoing = b""
            self._register()
            self.owner._take(WireMachine.bytes_sent, self.number)

    def reading(self, on: bool) -> None:
        """Read, or do not."""
        self._reading = on
        self._register()

    def _register(self) -> None:
        """Tell the selector what is waited for; a socket that waits for nothing is not in it."""
        selector = self._selector
        mask = (_READ if self._reading else 0) | (_WRITE if self._outgoing else 0)
        known = self.sock in selector.get_map()
        if known and mask:
            selector.modify(self.sock, mask, self.ready)
        elif known:
            selector.unregister(self.sock)
        elif mask:
            selector.register(self.sock, mask, self.ready)

    def drop(self) -> None:
        """Close at once, or stop opening."""
        self._dropped = True
        self._stop_racing()
        if self.sock is not None:
            self.leave()
            self.sock.close()

    # --- Between two streams -------------------------------------------------------------------

    def leave(self) -> None:
        """Be in no selector."""
        if self._selector is not None and self.sock in self._selector.get_map():
            self._selector.unregister(self.sock)
        self._selector = None

    def join(self, selector: selectors.BaseSelector) -> bool:
        """Be in this selector; return whether it is alive and nothing came meanwhile."""
        self._selector, self._reading = selector, True
        self._register()
        ready = selector.select(0)
        return not any(key.fileobj is self.sock for key, _ in ready)


def _connecting(family: socket.AddressFamily, address: Any) -> socket.socket:
    """Return a socket that has begun to connect; raise where the system will not even begin."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        failed = sock.connect_ex(address)
        if failed not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK):
            raise OSError(failed, os.strerror(failed))
    except BaseException:
        sock.close()
        raise
    return sock


def open_link(link: Link) -> None:
    """Begin to connect: a Unix socket, or TCP to what the name stands for."""
    connection, origin = link.owner, link.origin
    if connection._uds is not None:
        link.found([(socket.AF_UNIX, connection._uds)], None)
    else:
        resolve(origin.host, origin.port, link.found, connection._from_elsewhere)


@dataclass(frozen=True, slots=True)
class World:
    """What a connection asks of the outside."""

    now: Callable[[], float] = time.monotonic
    selector: Callable[[], selectors.BaseSelector] = selectors.DefaultSelector
    open: Callable[[Link], None] = open_link
    """Begin to open a link; then ``link.opened()`` or ``link.failed(error)``."""


_REAL = World()
world: ContextVar[World] = ContextVar("sansio_sse_world", default=_REAL)
"""Where connections begin: the real world, unless somebody runs this context in another."""


def default_context() -> ssl.SSLContext:
    """Return a verifying context; one for each setting of SSL_CERT_FILE and SSL_CERT_DIR."""
    key = (os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    context = _contexts.get(key)
    if context is None:
        context = _contexts[key] = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
    return context


def resolve(host: str, port: int, found: Found, run: Callable[[Callable[[], None]], None]) -> None:
    """Call ``found`` with addresses: at once for a number, else by ``run`` from a daemon thread."""
    try:
        addresses = _addresses(host, port, socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass
    else:
        found(addresses, None)
        return

    def look_up() -> None:
        addresses: list[Address] = []
        failure: Exception | None = None
        try:
            addresses = _addresses(host, port, 0)
        except (OSError, UnicodeError) as error:
            failure = error
        run(lambda: found(addresses, failure))

    threading.Thread(target=look_up, name="sansio-sse-dns", daemon=True).start()


def _addresses(host: str, port: int, flags: int) -> list[Address]:
    """Return addresses, families in turn, the system's favourite first (RFC 8305 4)."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    queues: dict[socket.AddressFamily, deque[Address]] = {}
    for family, _, _, _, address in found:
        queues.setdefault(family, deque()).append((family, address))
    ordered: list[Address] = []
    while any(queues.values()):
        ordered += [queue.popleft() for queue in queues.values() if queue]
    return ordered
