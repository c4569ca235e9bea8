"""The proxy that the documentation speaks of, and behind it the hosts of docs_server.

It speaks HTTP (CONNECT, and requests for whole urls) and SOCKS5, and there is no net behind it: it
plays the hosts that a page is ``serving`` by itself. For https it has certificates of an authority
of its own, as a proxy of a company has that looks into TLS. To who offers HTTP/2 it says one event.
"""

import asyncio
import base64
import functools
import queue
import ssl
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

import trustme
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived

import docs_server
from sansio_sse import encode_event

__all__ = ["CompanyProxy", "proxying"]

_TURN = 65536


@dataclass
class CompanyProxy:
    """A proxy that is running on loopback."""

    login: str
    """What it wants, as ``user:password``; empty: nothing."""
    address: str = ""
    """Host and port."""
    seen: list[str] = field(default_factory=list)
    """What it was asked for, in the order of asking."""
    authority: trustme.CA = field(default_factory=trustme.CA)

    def url(self, scheme: str, login: str = "") -> str:
        """Return its url, perhaps with userinfo."""
        return f"{scheme}://{login}{'@' if login else ''}{self.address}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            first = await reader.readexactly(1)
            speak = self._socks if first == b"\x05" else functools.partial(self._http, first)
            await speak(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # the client has gone
        except asyncio.CancelledError:
            pass  # the page is over
        finally:
            writer.close()

    async def _http(
        self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        head = first + await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.decode().split("\r\n")[0].split(" ")
        self.seen.append(f"{method} {target}")
        known = base64.b64encode(self.login.encode()).decode()
        if (
            self.login
            and f"proxy-authorization: basic {known}".lower() not in head.decode().lower()
        ):
            writer.write(docs_server.status(407))
        elif method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await self._tunnel(target, reader, writer)
        else:
            whole = asyncio.StreamReader()
            whole.feed_data(head)
            whole.feed_eof()
            await self._play(target.split("/")[2].partition(":")[0], whole, writer)

    async def _socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """RFC 1928, with user and password after RFC 1929 if there is a login."""
        await reader.readexactly((await reader.readexactly(1))[0])
        writer.write(b"\x05\x02" if self.login else b"\x05\x00")
        if self.login:
            await reader.readexactly(1)
            parts = [await self._sized(reader) for _ in range(2)]
            writer.write(b"\x01\x00" if ":".join(parts) == self.login else b"\x01\x01")
        assert await reader.readexactly(4) == b"\x05\x01\x00\x03"  # connect, to a name
        host, port = await self._sized(reader), int.from_bytes(await reader.readexactly(2))
        self.seen.append(f"SOCKS5 {host}:{port}")
        writer.write(b"\x05\x00\x00\x01" + bytes(6))
        await self._tunnel(f"{host}:{port}", reader, writer)

    @staticmethod
    async def _sized(reader: asyncio.StreamReader) -> str:
        return (await reader.readexactly((await reader.readexactly(1))[0])).decode()

    async def _tunnel(
        self, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        host, _, port = target.partition(":")
        if port == "443":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.set_alpn_protocols(["h2", "http/1.1"])
            self.authority.issue_cert(host).configure_cert(context)
            await writer.start_tls(context)
            if writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2":
                await self._http2(reader, writer)
                return
        await self._play(host, reader, writer)

    @staticmethod
    async def _play(host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await docs_server._answer(docs_server.SERVERS[host], reader, writer)

    @staticmethod
    async def _http2(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = H2Connection(H2Configuration(client_side=False))
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        while data := await reader.read(_TURN):
            for event in connection.receive_data(data):
                if isinstance(event, RequestReceived):
                    head = [(":status", "200"), ("content-type", "text/event-stream")]
                    connection.send_headers(event.stream_id, head)
                    connection.send_data(event.stream_id, encode_event("hello over HTTP/2"))
            writer.write(connection.data_to_send())


@contextmanager
def proxying(login: str = "") -> Generator[CompanyProxy]:
    """Run a proxy on loopback, in a thread."""
    started: queue.SimpleQueue[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]]
    started = queue.SimpleQueue()
    proxy = CompanyProxy(login)

    async def listen() -> None:
        over = asyncio.Event()
        server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
        started.put((asyncio.get_running_loop(), over, server.sockets[0].getsockname()[1]))
        await over.wait()
        server.close()

    thread = threading.Thread(target=asyncio.run, args=(listen(),), daemon=True)
    thread.start()
    loop, over, port = started.get(timeout=10)
    proxy.address = f"127.0.0.1:{port}"
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
