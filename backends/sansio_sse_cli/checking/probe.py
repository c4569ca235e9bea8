"""The network: one connection, one request, and what comes back, told to a reception.

The only module here that looks at a clock. Bytes are passed on as they come: a client would hide
what is looked for.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sansio_sse import ConnectTimeout, Origin, Request, SSEError
from sansio_sse.errors import from_transport

from .reception import Reception, TLSFacts

__all__ = ["Way", "listen", "negotiate"]

_CONNECT = 10.0  # s, for name, TCP and TLS together
_CLOSE = 1.0  # s for a polite goodbye
_READ = 65536


@dataclass(frozen=True, slots=True)
class Way:
    """How to get there."""

    context: ssl.SSLContext
    """For https."""
    uds: str | None = None
    """The Unix socket to connect to, whatever the url says."""


async def listen(
    request: Request,
    way: Way,
    seconds: float,
    *,
    enough: int | None = None,
    keep: Callable[[Reception], object] = lambda reception: None,
) -> Reception:
    """Send a request, and listen for so many seconds, or until there are so many events.

    ``keep`` is given the reception at once: what it has got by then outlives a cancellation.
    """
    now = asyncio.get_running_loop().time
    reception = Reception(request, began=now(), enough=enough)
    keep(reception)
    try:
        opened = await _open(request.origin, way)
    except OSError as error:
        reception.fail(now(), _translate(error, request.origin, opening=True))
        return reception
    except BaseException:
        reception.leave(now())
        raise
    reader, writer = opened
    try:
        writer.write(reception.opened(now(), _tls_facts(writer)))
        async with asyncio.timeout(seconds):
            await writer.drain()
            while not reception.done:
                data = await reader.read(_READ)
                if data:
                    reception.receive(now(), data)
                else:
                    reception.end(now())
    except OSError as error:
        if not _is_ours(error):
            reception.fail(now(), _translate(error, request.origin, opening=False))
    finally:
        reception.leave(now())
        await _close(writer)
    return reception


async def negotiate(origin: Origin, way: Way) -> str | None:
    """Offer HTTP/2 in a TLS handshake; return what the server chose, or None if that failed."""
    way.context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        _, writer = await _open(origin, way)
    except OSError:
        return None
    tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
    await _close(writer)
    return tls.selected_alpn_protocol() or ""


async def _open(origin: Origin, way: Way) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    tls: dict[str, Any] = {}
    if origin.secure:
        tls = {
            "ssl": way.context,
            "server_hostname": origin.host,
            "ssl_handshake_timeout": _CONNECT,
            "ssl_shutdown_timeout": _CLOSE,
        }
    async with asyncio.timeout(_CONNECT):
        if way.uds is not None:
            return await asyncio.open_unix_connection(way.uds, **tls)
        return await asyncio.open_connection(origin.host, origin.port, **tls)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        async with asyncio.timeout(_CLOSE):
            await writer.wait_closed()
    except OSError:
        writer.transport.abort()  # it does not take what we have to say


def _is_ours(error: OSError) -> bool:
    """Tell whether it was our own patience that ended; the system's has a number."""
    return isinstance(error, TimeoutError) and error.errno is None


def _translate(error: OSError, origin: Origin, *, opening: bool) -> SSEError:
    if opening and _is_ours(error):
        return ConnectTimeout(f"no connection to {origin.authority} within {_CONNECT:g} s")
    if opening and error.errno and not isinstance(error, ssl.SSLError | socket.gaierror):
        error = OSError(error.errno, os.strerror(error.errno))  # asyncio's own words say less
    return from_transport(error, opening=opening, where=f"{origin.host}:{origin.port}")


def _tls_facts(writer: asyncio.StreamWriter) -> TLSFacts | None:
    tls: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
    if tls is None:
        return None
    cipher = tls.cipher()
    certificate = tls.getpeercert() or {}
    expires, issued = _time(certificate.get("notAfter")), _time(certificate.get("notBefore"))
    return TLSFacts(
        version=tls.version() or "TLS",
        cipher=cipher[0] if cipher else "no cipher",
        expires=expires,
        lifetime=None if expires is None or issued is None else expires - issued,
    )


def _time(text: object) -> float | None:
    return ssl.cert_time_to_seconds(text) if isinstance(text, str) else None
