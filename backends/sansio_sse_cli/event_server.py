"""A small HTTP/1.1 server for event streams: heads and framing, clients that come and go.

An :class:`EventServer` listens and hands each request, read to its end, to a function, together
with a :class:`Reply` that is written piece by piece. h11 reads requests and writes responses. What
is sent is the function's business.

Its clients are not trusted: heads, bodies, waiting times and the number of clients are bounded, and
who does not read is cut off. A server on loopback refuses requests for other hosts: a web page
somewhere that has its own name lead here (DNS rebinding) would be allowed to read the answer. There
is no TLS and no authentication.
"""

import asyncio
import contextlib
import ipaddress
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import h11

from .listening import stop_listening

__all__ = ["ClientRequest", "EventServer", "Reply", "is_loopback"]

_MOST_CLIENTS = 1000
_MOST_BODY = 1 << 20
_CHUNK = 1 << 16  # who is slow has no more than one waiting for him, however long the event
_REQUEST_TIME = 10.0  # seconds for a whole request
_WRITE_TIME = 60.0  # seconds in which a client has to read something

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ClientRequest:
    """What a client asks for."""

    method: str
    path: str
    """Without its query."""
    headers: Headers
    """Names in lower case."""

    def header(self, name: str) -> str:
        """Return the first value of a header, by its name in lower case, or the empty string."""
        return next((value for key, value in self.headers if key == name), "")

    @property
    def last_event_id(self) -> str:
        """Where the client wants to go on."""
        return self.header("last-event-id")


class Reply:
    """One response, written piece by piece; raises ConnectionError when the client has gone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER)
        self._bodiless = False

    async def receive(self) -> ClientRequest | None:
        """Return the request, or None if there is none; raises what h11 raises for nonsense."""
        request: h11.Request | None = None
        size = 0
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                size += len(event.data)
                if size > _MOST_BODY:
                    raise h11.RemoteProtocolError("the body is too large", error_status_hint=413)
            elif isinstance(event, h11.EndOfMessage):
                break
            elif event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    self._write(h11.InformationalResponse(status_code=100, headers=[]))
                self._http.receive_data(await self._reader.read(65536))
            else:
                return None
        assert request is not None
        self._bodiless = request.method == b"HEAD"
        return ClientRequest(
            request.method.decode(),
            _path(request.target.decode("ascii", "replace")),
            tuple(
                (name.decode(), value.decode("utf-8", "replace")) for name, value in request.headers
            ),
        )

    async def head(self, status: int, *headers: tuple[str, str]) -> None:
        """Send a head; a body may follow."""
        self._bodiless = self._bodiless or status in (204, 304)
        self._write(
            h11.Response(
                status_code=status, headers=[*headers, ("Connection", "close")], reason=b""
            )
        )
        await self._drain()

    async def send(self, data: bytes) -> None:
        """Send a piece of the body; return when there is room for more."""
        if self._bodiless:
            return
        for start in range(0, len(data), _CHUNK):
            self._write(h11.Data(data=data[start : start + _CHUNK]))
            await self._drain()

    async def whole(self, status: int, text: str = "", *headers: tuple[str, str]) -> None:
        """Send a whole response, with a line of text or none."""
        body = f"{text}\n".encode() if text else b""
        kind = [("Content-Type", "text/plain; charset=utf-8")] if text else []
        length = [] if status == 204 else [("Content-Length", str(len(body)))]
        await self.head(status, *kind, *length, *headers)
        await self.send(body)
        await self.end()

    async def end(self) -> None:
        """End the response as HTTP wants it."""
        self._write(h11.EndOfMessage())
        await self._drain()

    def abort(self) -> None:
        """Cut the connection."""
        self._writer.transport.abort()

    async def until_client_leaves(self) -> None:
        """Return when the client has closed its side; what it still sends is nobody's."""
        room = _MOST_BODY
        with contextlib.suppress(ConnectionError):
            while room > 0 and (data := await self._reader.read(65536)):
                room -= len(data)

    async def close(self) -> None:
        """Close; who does not let us is cut off."""
        self._writer.close()
        try:
            async with asyncio.timeout(1.0):
                await self._writer.wait_closed()
        except (ConnectionError, TimeoutError):
            self.abort()

    def _write(self, event: h11.Event) -> None:
        self._writer.write(self._http.send(event) or b"")

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(_WRITE_TIME):
                await self._writer.drain()
        except TimeoutError:
            self.abort()
            raise ConnectionAbortedError("the client does not read") from None


Answer = Callable[[ClientRequest, Reply], Coroutine[Any, Any, None]]


class EventServer:
    """An async context manager that listens.

    Args:
        answer: Called with each request; cancelled when the client leaves.
        host: Where to listen: a name or an address.
        port: 0 is any that is free.
    """

    def __init__(self, answer: Answer, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.port: int = port
        """Where it listens."""
        self._answer = answer
        self._host = host
        self._own_names_only = is_loopback(host)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def clients(self) -> int:
        """How many are connected."""
        return len(self._tasks)

    @property
    def url(self) -> str:
        """Where the stream is."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}/"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, self._host, self.port)
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
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(Reply(reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reply: Reply) -> None:
        try:
            async with asyncio.timeout(_REQUEST_TIME):
                request = await reply.receive()
            if request is not None:
                await self._respond(request, reply)
        except h11.RemoteProtocolError as error:
            with contextlib.suppress(ConnectionError, h11.LocalProtocolError):
                await reply.whole(error.error_status_hint)
        except (ConnectionError, TimeoutError):
            pass  # the client went away, or is none
        finally:
            await reply.close()

    async def _respond(self, request: ClientRequest, reply: Reply) -> None:
        if self._own_names_only and not _is_own_name(request.header("host"), self._host):
            await reply.whole(421, "this server answers for loopback names only")
        elif len(self._tasks) > _MOST_CLIENTS:
            await reply.whole(503, "there are too many clients", ("Retry-After", "5"))
        else:
            await self._while_connected(request, reply)

    async def _while_connected(self, request: ClientRequest, reply: Reply) -> None:
        loop = asyncio.get_running_loop()
        answering = loop.create_task(self._answer(request, reply))
        leaving = loop.create_task(reply.until_client_leaves())
        try:
            await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (answering, leaving):
                task.cancel()
            results = await asyncio.gather(answering, leaving, return_exceptions=True)
        if isinstance(results[0], Exception):
            raise results[0]


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach a server that listens at ``host``.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0"), is_loopback("box")
    (True, True, False, False)
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _path(target: str) -> str:
    path = target.partition("?")[0]
    if path.startswith(("http://", "https://")):  # a whole url: RFC 9112 3.2.2
        path = "/" + path.partition("://")[2].partition("/")[2]
    return path


def _is_own_name(authority: str, host: str) -> bool:
    name, colon, port = authority.rpartition(":")
    if not colon or not port.isdecimal():
        name = authority
    name = name.removeprefix("[").removesuffix("]")
    return not authority or name.lower() == host.lower() or is_loopback(name)
