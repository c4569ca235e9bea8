"""HTTP on loopback, for servers that do with a connection what no decent server would.

A :class:`LoopbackServer` listens, and hands each request with its :class:`Exchange` to the class
that derives from it. h11 reads requests, writes heads and frames chunks; the rest is up to that
class.

For tests and demonstrations on loopback only: it trusts its clients.
"""

import asyncio
import contextlib
import random
import socket
import struct
from types import TracebackType
from typing import Any, Self

import h11

from .listening import stop_listening

__all__ = ["Exchange", "LoopbackServer", "header", "last_event_id"]


class LoopbackServer:
    """An async context manager that listens; one request for each connection.

    Args:
        port: Where; 0 is anywhere.
    """

    def __init__(self, port: int = 0) -> None:
        self.port: int = port
        """Where it listens."""
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where the stream is."""
        return f"http://127.0.0.1:{self.port}/events"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        await stop_listening(self._server)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(Exchange(reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, exchange: "Exchange") -> None:
        try:
            request = await exchange.receive()
            if request is not None:
                await self._answer(request, exchange)
        except (ConnectionError, h11.RemoteProtocolError):
            pass  # the client went away, or is none
        finally:
            await exchange.close()

    async def _answer(self, request: h11.Request, exchange: "Exchange") -> None:
        raise NotImplementedError


def header(request: h11.Request, name: str) -> str:
    """Return the value of a header of a request, or the empty string."""
    return dict(request.headers).get(name.lower().encode(), b"").decode()


def last_event_id(request: h11.Request) -> str:
    """Return the cursor that a request brings, or the empty string."""
    return header(request, "Last-Event-ID")


class Exchange:
    """One request and what is done to its client; h11 writes heads and frames chunks."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER)

    async def receive(self) -> h11.Request | None:
        """Return the request, or None if the client left before it was whole."""
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                return event
            if event is not h11.NEED_DATA:
                return None
            self._http.receive_data(await self._reader.read(65536))

    def head(self, status: int, *headers: tuple[str, str]) -> None:
        """Send a response head; any but a stream's is the whole response."""
        fields = [*headers, ("Connection", "close")]
        if status not in (200, 204):
            fields.append(("Content-Length", "0"))
        self._send(h11.Response(status_code=status, headers=fields))
        if status != 200:
            self.end()

    def data(self, data: bytes, chance: random.Random) -> None:
        """Send a piece of the body, in one to three chunks that are cut anywhere."""
        cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice((0, 0, 1, 2))))
        for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
            if start < stop:
                self._send(h11.Data(data=data[start:stop]))

    def part_of_chunk(self, data: bytes) -> None:
        """Send a chunk of which the last bytes never come."""
        framed = self._http.send(h11.Data(data=data)) or b""
        self._writer.write(framed[: -1 - len(data) // 2])

    def end(self) -> None:
        """End the response as HTTP wants it."""
        self._send(h11.EndOfMessage())

    def reset(self) -> None:
        """Close so that the client sees a reset."""
        connection: Any = self._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def until_client_leaves(self) -> None:
        """Send nothing until the client closes."""
        await self._reader.read()

    async def drain(self) -> None:
        """Wait until what was sent is on its way."""
        await self._writer.drain()

    async def close(self) -> None:
        """Close, if that has not happened."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    def _send(self, event: h11.Event) -> None:
        self._writer.write(self._http.send(event) or b"")
