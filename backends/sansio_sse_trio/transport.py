"""Transports of trio: one task each, from opening to closing.

Nothing here decides anything. Waiting is bounded by the core, which drops what takes too long; name
resolution and the race of addresses are trio's own, and the one wait it cannot see into.
"""

import os
import ssl
from typing import TYPE_CHECKING, Any

import trio

from sansio_sse import Origin, WireMachine

if TYPE_CHECKING:
    from .connection import Connection

_READ_SIZE = 65536

_FAILURES = (OSError, ValueError, trio.BrokenResourceError, trio.ClosedResourceError)

_contexts: dict[tuple[str | None, str | None], ssl.SSLContext] = {}


class Link:
    """One transport of a connection."""

    __slots__ = ("_connection", "_dropped", "_gate", "_number", "_scope", "_stream")

    def __init__(self, connection: "Connection[Any]", number: int) -> None:
        self._connection = connection
        self._number = number
        self._dropped = False
        self._gate: trio.Event | None = None  # what a pause waits for
        self._scope = trio.CancelScope()
        self._stream: Any = None

    async def run(self, origin: Origin) -> None:
        """Open, read until the end, close: the task of a transport."""
        try:
            with self._scope:
                await self._open(origin)
                self._connection._take(WireMachine.transport_opened, self._number)
                await self._read()
        except _FAILURES as error:
            self._fail(error)
        finally:
            try:
                if self._stream is not None:
                    await trio.aclose_forcefully(self._stream)
            finally:
                self._connection._link_released(self._number, self)

    async def _open(self, origin: Origin) -> None:
        uds = self._connection._uds
        if uds is not None:
            self._stream = await trio.open_unix_socket(uds)
        else:
            self._stream = await trio.open_tcp_stream(origin.host, origin.port)
        if origin.secure:
            context = self._connection._ssl_context or default_context()
            self._stream = trio.SSLStream(
                self._stream, context, server_hostname=origin.host, https_compatible=True
            )
            await self._stream.do_handshake()

    async def _read(self) -> None:
        while not self._dropped:
            if self._gate is not None:
                await self._gate.wait()
            data = await self._stream.receive_some(_READ_SIZE)
            if not data:
                self._connection._take(WireMachine.end_received, self._number)
                return
            self._connection._take(WireMachine.bytes_received, self._number, data)

    async def write(self, data: bytes) -> None:
        """Write, and report when all has left; beside the reading, for an answer may be early."""
        try:
            await self._stream.send_all(data)
        except _FAILURES as error:
            self._fail(error)
        else:
            if not self._dropped:
                self._connection._take(WireMachine.bytes_sent, self._number)
        finally:
            self._connection._task_released()

    def reading(self, on: bool) -> None:
        """Read, or do not."""
        if self._gate is not None:
            self._gate.set()
        self._gate = None if on else trio.Event()

    def drop(self) -> None:
        """Close at once, or stop opening."""
        self._dropped = True
        self._scope.cancel()

    def _fail(self, error: BaseException) -> None:
        # trio tells what happened, and the system why: the why is the same in every driver.
        while isinstance(error.__cause__, OSError | ssl.SSLError):
            error = error.__cause__
        if isinstance(error.__cause__, ExceptionGroup):  # one for each address that was tried
            error = error.__cause__.exceptions[0]
        if not self._dropped:
            self._connection._take(WireMachine.transport_failed, self._number, error)


def default_context() -> ssl.SSLContext:
    """Return a verifying context; one for each setting of SSL_CERT_FILE and SSL_CERT_DIR."""
    key = (os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    context = _contexts.get(key)
    if context is None:
        context = _contexts[key] = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
    return context
