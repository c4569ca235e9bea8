"""The servers that the snippets of the documentation speak of, where there is no net.

A page says, in an invisible block, what a host does with each request::

    @serving("api.example.com")
    async def answer(asked: Asked, out: asyncio.StreamWriter) -> None:
        out.write(STREAM + encode_event("hello"))

From then on a connection to that host, http or https, leads to a pair of sockets at whose other end
the function runs, on the same loop. When it returns, the connection is closed. All other hosts are
what they are.

That is for asyncio. Other drivers reach a host by the url that ``reachable("api.example.com")``
gives.
"""

import asyncio
import functools
import queue
import socket
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from sansio_sse import Origin
from sansio_sse_asyncio import transport

__all__ = ["SERVERS", "STREAM", "Asked", "open_link", "reachable", "serving", "status"]


@dataclass(frozen=True)
class Asked:
    """One request; the names of its headers are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    content: bytes

    @property
    def cursor(self) -> str:
        return self.headers.get("last-event-id", "")


Server = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]

SERVERS: dict[str, Server] = {}
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"

_open_link: Any = transport.open_link
_tasks: set[asyncio.Task[None]] = set()


def serving(host: str) -> Callable[[Server], Server]:
    """Let the decorated function answer for ``host``."""

    def remember(server: Server) -> Server:
        SERVERS[host] = server
        return server

    return remember


def status(code: int, content: bytes = b"", **headers: str) -> bytes:
    """A whole response that is no stream."""
    lines = [f"HTTP/1.1 {code} {HTTPStatus(code).phrase}", f"Content-Length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


@contextmanager
def reachable(host: str) -> Generator[str]:
    """Serve a host on loopback, from a thread, and yield its url without a path."""
    started: queue.SimpleQueue[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]]
    started = queue.SimpleQueue()

    async def listen() -> None:
        over = asyncio.Event()
        answer = functools.partial(_answer, SERVERS[host])
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port: int = server.sockets[0].getsockname()[1]
        started.put((asyncio.get_running_loop(), over, port))
        await over.wait()
        server.close()

    thread = threading.Thread(target=asyncio.run, args=(listen(),))
    thread.start()
    loop, over, port = started.get(timeout=10)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()


async def open_link(link: Any, origin: Origin, **options: Any) -> None:
    """Stand in for the driver's own way of opening a transport."""
    server = SERVERS.get(origin.host)
    if server is None:
        await _open_link(link, origin, **options)
        return
    ours, theirs = socket.socketpair()
    task = asyncio.ensure_future(_serve(server, theirs))
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    await asyncio.get_running_loop().create_connection(lambda: link, sock=ours)


async def _serve(server: Server, theirs: socket.socket) -> None:
    await _answer(server, *await asyncio.open_connection(sock=theirs))


async def _answer(server: Server, reader: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, target, _ = head[0].split(" ")
        pairs = (line.partition(":") for line in head[1:-2])
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        content = await reader.readexactly(int(headers.get("content-length", "0")))
        await server(Asked(method, target, headers, content), out)
        await out.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass  # the client has gone, as clients do
    finally:
        out.close()
