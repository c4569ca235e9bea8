"""Transports of asyncio: opening one, and the protocol that passes its bytes on.

Nothing here decides anything. Waiting is bounded by the core, which drops what takes too long; name
resolution and the race of addresses are the one wait it cannot see into.
"""

import asyncio
import os
import socket
import ssl
import threading
from collections import deque
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

from sansio_sse import Origin, WireMachine

if TYPE_CHECKING:
    from .connection import Connection

Address = tuple[socket.AddressFamily, Any]

_READ_SIZE = 65536
_TLS_RECORD = 16384  # TLS may hold one decrypted record more than it hints at
_WRITE_SIZE = 65536
_RACE_DELAY = 0.25  # RFC 8305 5: the recommended head start of an address over the next

_buffers: "WeakKeyDictionary[asyncio.AbstractEventLoop, memoryview]" = WeakKeyDictionary()
_contexts: dict[tuple[str | None, str | None], ssl.SSLContext] = {}


class Link(asyncio.BufferedProtocol):
    """One transport of a connection.

    All transports of a loop read into one buffer: a loop reads one of them at a time, and hands
    over before it reads the next. That costs no memory per connection, and a third less time than
    ``data_received``.
    """

    __slots__ = (
        "_blocked",
        "_dropped",
        "_released",
        "_unsent",
        "_view",
        "below",
        "gone",
        "number",
        "opening",
        "owner",
        "transport",
    )

    def __init__(self, connection: "Connection[Any]", number: int, view: memoryview) -> None:
        self.owner: Any = connection  # who is told; a pool may pass a transport on
        self.number: int = number
        self._view = view
        self._blocked = False
        self._dropped = False
        self._released = False
        self._unsent: memoryview | None = None
        self.opening: asyncio.Task[None] | None = None
        self.transport: Any = None
        self.below: Any = None  # what carries TLS
        self.gone: Exception | None = None  # before it was open

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open, TLS included."""
        self.transport = transport
        if self._dropped:
            self.transport.abort()
            return
        # "Written" means handed to the system, else the write timeout watches our own buffer.
        # Not 0: TLS would take an empty buffer for a full one.
        self.transport.set_write_buffer_limits(high=1)
        self.owner._take(WireMachine.transport_opened, self.number)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to read to."""
        # TLS hints at how much it holds. What does not fit would be read in a later turn, and an
        # end that comes first makes asyncio and uvloop forget it.
        if sizehint > len(self._view) - _TLS_RECORD:
            self._view = shared_view(asyncio.get_running_loop(), sizehint)
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes came."""
        if self._dropped:
            return
        data = bytes(self._view[:nbytes])
        owner = self.owner
        reader = owner._reader
        if reader is None or reader.done():
            owner._bytes_received(self.number, data)
            return
        owner._handing_over = True
        try:
            owner._bytes_received(self.number, data)
        finally:
            owner._handing_over = False
        # All that follows from these bytes is done. To set the future would have its task go on in
        # the loop's next turn, and before that the loop looks at all its sockets: a third of what
        # an event costs, when events come one by one. This is a callback of the loop, in which no
        # task is running, so the task can go on right here.
        if owner._buffer and not reader.done():
            waiting = reader._callbacks
            if waiting is not None and len(waiting) == 1:
                [(callback, context)] = waiting
                reader.remove_done_callback(callback)
                reader.set_result(None)
                context.run(callback, reader)
            else:
                reader.set_result(None)  # who waits is no task, or not alone

    def eof_received(self) -> None:
        """The peer ended its side."""
        if not self._dropped:
            self.owner._take(WireMachine.end_received, self.number)

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone, by our doing or not."""
        error = exc or ConnectionResetError("the transport was closed")
        if self.transport is None:
            self.gone = error  # the opening, which is not over, will tell
            return
        if not self._dropped:
            self.owner._take(WireMachine.transport_failed, self.number, error)
        self._release()

    def _release(self) -> None:
        if not self._released:
            self._released = True
            self.owner._link_released(self.number, self)

    def reading(self, on: bool) -> None:
        """Read, or do not."""
        # Below TLS: whatever TLS holds when the peer ends would be lost.
        transport = self.below or self.transport
        if on:
            transport.resume_reading()
        else:
            transport.pause_reading()

    def pause_writing(self) -> None:
        """Not all of it has left."""
        self._blocked = True

    def resume_writing(self) -> None:
        """Now it has."""
        self._blocked = False
        if not self._dropped:
            self._write()

    def send(self, data: bytes) -> None:
        """Write, and report when all of it has left."""
        self._unsent = memoryview(data)
        self._write()

    def _write(self) -> None:
        # In pieces: TLS passes what it is given on to a buffer below, and tells only afterwards,
        # at the next piece, that it is full. A peer that reads nothing would go unnoticed.
        while self._unsent and not self._blocked:
            piece, self._unsent = self._unsent[:_WRITE_SIZE], self._unsent[_WRITE_SIZE:]
            self.transport.write(piece)
        if not self._blocked:
            self._unsent = None
            self.owner._take(WireMachine.bytes_sent, self.number)

    def opened(self, task: "asyncio.Task[None]") -> None:
        """The opening is over; if it came to nothing, so is the link."""
        self.opening = None
        error = None if task.cancelled() else task.exception()
        if error is None and not task.cancelled():
            return  # the end of the transport will be told by connection_lost
        # Perhaps there was a transport: what uvloop cancels while it makes one, it never tells of.
        if error is not None and not self._dropped:
            self.owner._take(WireMachine.transport_failed, self.number, error)
        self._release()

    def drop(self) -> None:
        """Close at once, or stop opening."""
        self._dropped = True
        if self.transport is not None:
            self.transport.abort()
        elif self.opening is not None:
            self.opening.cancel()


def shared_view(loop: asyncio.AbstractEventLoop, size: int = _READ_SIZE) -> memoryview:
    """Return the buffer that all transports of a loop read into; it has room for ``size`` bytes."""
    view = _buffers.get(loop)
    if view is None or size > len(view) - _TLS_RECORD:
        view = _buffers[loop] = memoryview(bytearray(size + _TLS_RECORD))
    return view


def default_context() -> ssl.SSLContext:
    """Return a verifying context.

    OpenSSL honours SSL_CERT_FILE and SSL_CERT_DIR, so one per setting of these.
    """
    key = (os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    context = _contexts.get(key)
    if context is None:
        context = _contexts[key] = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
    return context


class Opener(Protocol):
    """How links are opened: :func:`open_link`, or another way with the same outcome."""

    def __call__(
        self,
        link: Link,
        origin: Origin,
        *,
        uds: str | None,
        context: ssl.SSLContext | None,
        handshake: float,
    ) -> Coroutine[Any, Any, None]:
        """Return when ``link`` has been told of its transport; raise when there will be none."""
        ...


def opener_for(loop: asyncio.AbstractEventLoop) -> Opener:
    """Return how links are opened on this loop.

    A loop which leads to a network of its own, as the one of :mod:`.testing` does, says so.
    """
    opener: Opener = getattr(loop, "sansio_sse_open_link", open_link)
    return opener


async def open_link(
    link: Link, origin: Origin, *, uds: str | None, context: ssl.SSLContext | None, handshake: float
) -> None:
    """Connect ``link``: TCP or a Unix socket, and TLS where the origin is secure."""
    loop = asyncio.get_running_loop()
    below = _Below() if origin.secure else None
    protocol = below or link
    if uds is not None:
        sock = await _connected(socket.AF_UNIX, uds)
        connecting: Any = loop.create_unix_connection(lambda: protocol, sock=sock)
    else:
        addresses = await resolve(origin.host, origin.port)
        sock = await _race(addresses)
        connecting = loop.create_connection(lambda: protocol, sock=sock)
    transport: Any = None
    try:
        transport, _ = await connecting
        if below is not None:
            if transport.is_closing():
                raise ConnectionResetError("the transport was closed")
            transport.pause_reading()  # uvloop forgets that it was, and TLS must find it open
            secure = await loop.start_tls(
                transport,
                link,
                context or default_context(),
                server_hostname=origin.host,
                ssl_handshake_timeout=handshake,
            )
            if link.gone is not None or secure is None:
                raise link.gone or ConnectionResetError("the transport was closed")
            link.below = transport
            link.connection_made(secure)
    except BaseException:
        if transport is not None:
            transport.abort()  # TLS would say goodbye first, and wait for an answer
        # The loop closes the socket in a later turn; until then it is not released.
        for _ in range(10):
            if sock.fileno() == -1:
                break
            await asyncio.sleep(0)
        sock.close()
        raise


class _Below(asyncio.Protocol):
    """Holds a transport until TLS takes it over."""

    def connection_made(self, transport: Any) -> None:
        """Leave to TLS what comes."""
        transport.pause_reading()


async def resolve(host: str, port: int) -> list[Address]:
    """Resolve a name in a daemon thread.

    The loop's executor would hold up the end of the program.
    """
    try:
        return _addresses(host, port, socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass
    loop = asyncio.get_running_loop()
    future: asyncio.Future[list[Address]] = loop.create_future()

    def settle(result: list[Address] | None, error: OSError | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result or [])

    def look_up() -> None:
        result: list[Address] | None = None
        failure: OSError | None = None
        try:
            result = _addresses(host, port, 0)
        except OSError as error:
            failure = error
        except UnicodeError as error:
            failure = OSError(f"not a host name: {error}")
        try:
            loop.call_soon_threadsafe(settle, result, failure)
        except RuntimeError:
            pass  # the loop has ended, and nobody wants to know any more

    threading.Thread(target=look_up, name="sansio-sse-dns", daemon=True).start()
    return await future


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


async def _race(addresses: list[Address]) -> socket.socket:
    """Try each address some time after the one before, or at once when that failed (RFC 8305 5).

    Not the loop's own race, which uvloop does not have.
    """
    if len(addresses) == 1:
        return await _connected(*addresses[0])
    waiting = deque(addresses)
    trying: set[asyncio.Task[socket.socket]] = set()
    first_error: BaseException | None = None
    winner: socket.socket | None = None
    try:
        while winner is None and (waiting or trying):
            if waiting:
                trying.add(asyncio.create_task(_connected(*waiting.popleft())))
            done, trying = await asyncio.wait(
                trying,
                timeout=_RACE_DELAY if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                error = task.exception()
                if error is not None:
                    first_error = first_error or error
                elif winner is None:
                    winner = task.result()
                else:
                    task.result().close()
    finally:
        # Not awaited: a cancellation that came here would lose the winner's socket.
        for task in trying:
            task.cancel()
            task.add_done_callback(_close_late)
    if winner is None:
        raise first_error or OSError("the name has no address")
    return winner


def _close_late(task: "asyncio.Task[socket.socket]") -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _connected(family: socket.AddressFamily, address: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException as error:
        sock.close()
        if isinstance(error, OSError) and error.errno:
            # asyncio puts "Connect call failed" in place of what the system says, uvloop does not.
            raise OSError(error.errno, os.strerror(error.errno)) from None
        raise
    return sock
