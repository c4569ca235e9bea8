"""Transports of trio: one task each, from opening to closing.

Nothing here decides anything. Waiting is bounded by the core, which drops what takes too long; name
resolution and the race of addresses are trio's own, and the one wait it cannot see into.
"""

import os
import ssl
from typing import TYPE_CHECKING, Any, Protocol

import trio

from sansio_sse import Origin, WireMachine

if TYPE_CHECKING:
    from .connection import Connection

_READ_SIZE = 65536

_FAILURES = (OSError, ValueError, trio.BrokenResourceError, trio.ClosedResourceError)

_contexts: dict[tuple[str | None, str | None], ssl.SSLContext] = {}


class Link:
    """One transport of a connection."""

    __slots__ = ("_dropped", "_gate", "_scope", "number", "owner", "stream")

    def __init__(self, connection: "Connection[Any]", number: int) -> None:
        self.owner: Any = connection  # who is told; a pool may pass a transport on
        self.number: int = number
        self._dropped = False
        self._gate: trio.Event | None = None  # what a pause waits for
        self._scope = trio.CancelScope()
        self.stream: Any = None

    async def run(self, origin: Origin) -> None:
        """Open, read until the end, close: the task of a transport."""
        try:
            with self._scope:
                self.stream = await opener.get()(
                    origin, uds=self.owner._uds, context=self.owner._ssl_context
                )
                self.owner._take(WireMachine.transport_opened, self.number)
                await self._read()
        except _FAILURES as error:
            self._fail(error)
        finally:
            try:
                if self.stream is not None:
                    await trio.aclose_forcefully(self.stream)
            finally:
                self.owner._link_released(self.number, self)

    async def _read(self) -> None:
        while not self._dropped:
            while self._gate is not None:
                await self._gate.wait()
            data = await self.stream.receive_some(_READ_SIZE)
            if not data:
                self.owner._take(WireMachine.end_received, self.number)
                return
            self.owner._bytes_received(self.number, data)

    async def write(self, data: bytes) -> None:
        """Write, and report when all has left; beside the reading, for an answer may be early."""
        owner = self.owner
        try:
            await self.stream.send_all(data)
        except _FAILURES as error:
            self._fail(error)
        else:
            if not self._dropped:
                self.owner._take(WireMachine.bytes_sent, self.number)
        finally:
            owner._task_released()

    def reading(self, on: bool) -> None:
        """Read, or do not."""
        if self._gate is not None:
            self._gate.set()
        self._gate = None if on else trio.Event()

    def cancel(self) -> None:
        """Close at once, or stop opening."""
        self._dropped = True
        self._scope.cancel()

    def _fail(self, error: BaseException) -> None:
        # trio tells what happened, and the system why: the why is the same in every driver.
        while error.__cause__ is not None:
            error = error.__cause__
        group: Any = error
        if hasattr(group, "exceptions"):  # one for each address that was tried
            error = group.exceptions[0]
        if not self._dropped:
            self.owner._take(WireMachine.transport_failed, self.number, error)


class Opener(Protocol):
    """How streams are opened: :func:`open_stream`, or another way with the same outcome."""

    async def __call__(
        self, origin: Origin, *, uds: str | None, context: ssl.SSLContext | None
    ) -> trio.abc.Stream:
        """Return a stream that is open, TLS included, or raise and leave nothing open."""
        ...


async def open_stream(
    origin: Origin, *, uds: str | None, context: ssl.SSLContext | None
) -> trio.abc.Stream:
    """Connect: TCP or a Unix socket, and TLS where the origin is secure."""
    stream: trio.abc.Stream
    if uds is not None:
        stream = await trio.open_unix_socket(uds)
    else:
        stream = await trio.open_tcp_stream(origin.host, origin.port)
    if not origin.secure:
        return stream
    try:
        secure = trio.SSLStream(
            stream, context or default_context(), server_hostname=origin.host, https_compatible=True
        )
        await secure.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return secure


opener: trio.lowlevel.RunVar[Opener] = trio.lowlevel.RunVar("sansio_sse_opener", open_stream)
"""How streams are opened in this run; one which leads to a network of its own says so."""


def default_context() -> ssl.SSLContext:
    """Return a verifying context; one for each setting of SSL_CERT_FILE and SSL_CERT_DIR."""
    key = (os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    context = _contexts.get(key)
    if context is None:
        context = _contexts[key] = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
    return context
