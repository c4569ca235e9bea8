"""The live page's HTTP: a page, its event stream, and a door; h11 for the heads.

It decides nothing about what is shown (:mod:`.board`) or to whom (:mod:`.gate`). Everything that a
client can make it hold is bounded: heads, bodies, connections, the time for a request, and what a
viewer has not read yet. Whoever reads slower than the page changes is dropped, and comes back for
the whole of it.

    GET  /       the page; it holds no secret, and is there for everybody
    GET  /feed   its event stream: ``state`` first, then a ``patch`` at each tick
    POST /enter  the token, as the body, for a cookie
"""

import asyncio
import base64
import contextlib
import hashlib
import re
import secrets
import socket
import time
from collections.abc import Callable, Coroutine
from functools import cache
from importlib.resources import files
from types import TracebackType
from typing import Any, Final, Self

import h11

from sansio_sse import encode_event, encode_retry

from ..listening import stop_listening
from .board import Board
from .gate import Gate
from .patches import Changes, to_json

__all__ = ["PageServer"]

TICK: Final = 0.5
"""Seconds between two patches."""

_REQUEST_TIME = 10.0  # seconds for a whole request, and for what is no stream to be taken
_FAREWELL = 1.0  # seconds for the rest of it, once it is over
_HEAD = 16 << 10  # bytes
_BODY = 1 << 10
_CONNECTIONS = 64  # beside the viewers
_UNREAD = 1 << 20  # bytes, beside the state that a viewer begins with
_SEND_BUFFER = 64 << 10  # the system's: what it holds nobody sees

_Headers = list[tuple[str, str]]

_COMMON: _Headers = [
    ("Cache-Control", "no-store"),
    ("Connection", "close"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
]


class PageServer:
    """Serves a board, ticking, while its context is open.

    Args:
        board: What is shown.
        gate: Who may see it.
        host: Where to listen.
        port: Where to listen; 0 is anywhere.
        most_viewers: How many may look at one time.
        tick: Seconds between two looks at the board.
        clock: Returns seconds since 1970.
    """

    def __init__(
        self,
        board: Board,
        gate: Gate,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        most_viewers: int = 16,
        tick: float = TICK,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.host: str = host
        self.port: int = port
        """Where it listens."""
        self.dropped: int = 0
        """How many viewers were too slow."""
        self._board = board
        self._gate = gate
        self._most_viewers = most_viewers
        self._tick = tick
        self._clock = clock
        self._epoch = secrets.token_hex(4)  # numbers of another run mean something else
        self._viewers: set[_Viewer] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._closing = False
        self._changes = Changes(self._look())

    @property
    def url(self) -> str:
        """Where the page is."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/"

    async def open(self) -> None:
        """Listen; raises OSError where that cannot be."""
        self._server = await asyncio.start_server(self._accepted, self.host, self.port)
        self.port = self._gate.port = self._server.sockets[0].getsockname()[1]
        self._start(self._ticks())

    async def aclose(self) -> None:
        """Stop listening, and leave everybody."""
        self._closing = True
        if self._server is not None:
            await stop_listening(self._server)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    # --- The feed --------------------------------------------------------------------------------

    async def _ticks(self) -> None:
        while True:
            await asyncio.sleep(self._tick)
            patch = self._event("patch", self._changes.put(self._look()))
            for viewer in list(self._viewers):
                if not viewer.send(patch):
                    self.dropped += 1
                    self._viewers.discard(viewer)

    def _look(self) -> dict[str, Any]:
        viewers = {"now": len(self._viewers), "most": self._most_viewers, "slow": self.dropped}
        return self._board.look(self._clock(), viewers)

    def _event(self, kind: str, data: str, number: int | None = None) -> bytes:
        number = self._changes.number if number is None else number
        return encode_event(data, event=kind, id=f"{self._epoch}-{number}")

    def _beginning(self, last_event_id: str) -> bytes:
        """Return what a viewer has missed, or the whole state."""
        epoch, _, number = last_event_id.partition("-")
        changes = self._changes
        if epoch == self._epoch and number.isdecimal() and len(number) < 16:
            missed = changes.since(int(number))
            if missed is not None:
                first = int(number) + 1
                patches = [
                    self._event("patch", patch, first + place) for place, patch in enumerate(missed)
                ]
                return encode_retry(1000) + b"".join(patches)
        return encode_retry(1000) + self._event("state", to_json(changes.state))

    # --- Requests --------------------------------------------------------------------------------

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closing or len(self._tasks) > _CONNECTIONS + self._most_viewers:
            writer.transport.abort()
            return
        task = self._start(self._serve(_Exchange(reader, writer)))
        # Who is cancelled before it has begun closes nothing.
        task.add_done_callback(lambda task: writer.close())

    def _start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # A mistake of ours: who looks sees silence, who runs it sees this.
            task.get_loop().call_exception_handler(
                {"message": "the live page failed", "exception": error, "task": task}
            )

    async def _serve(self, exchange: "_Exchange") -> None:
        try:
            async with asyncio.timeout(_REQUEST_TIME):
                request = await exchange.receive()
                if request is not None:
                    await self._answer(request, exchange)
            if exchange.viewer is not None:
                await self._show(exchange, exchange.viewer)
        except (ConnectionError, TimeoutError):
            pass  # the client went away, or sleeps
        except h11.ProtocolError:
            exchange.respond(400, "this is not HTTP as it should be")
        finally:
            await exchange.close()

    async def _answer(self, request: "_Request", exchange: "_Exchange") -> None:
        refusal = self._gate.stranger(request.headers, top=request.path == "/")
        if refusal is not None:
            exchange.respond(403, refusal)
            return
        match request.method, request.path:
            case "GET" | "HEAD", "/":
                page, policy = _page()
                headers = [("Content-Security-Policy", policy)]
                exchange.respond(200, page, "text/html; charset=utf-8", headers)
            case "GET" | "HEAD", "/feed":
                self._answer_feed(request, exchange)
            case "POST", "/enter":
                self._answer_enter(request, exchange)
            case _, "/" | "/feed" | "/enter":
                exchange.respond(405, "that is not done here")
            case _:
                exchange.respond(404, "there is nothing here")
        if exchange.viewer is None:
            await exchange.drain()

    def _answer_feed(self, request: "_Request", exchange: "_Exchange") -> None:
        if not self._gate.admits(request.headers):
            headers = [("WWW-Authenticate", "Bearer")]
            exchange.respond(401, "a token is needed", headers=headers)
        elif len(self._viewers) >= self._most_viewers:
            exchange.respond(503, "there are enough viewers", headers=[("Retry-After", "5")])
        elif request.method == "HEAD":
            exchange.respond(204)
        else:
            beginning = self._beginning(request.headers.get("last-event-id", ""))
            exchange.viewer = _Viewer(exchange, _UNREAD + len(beginning))
            exchange.begin_stream()
            exchange.viewer.send(beginning)
            self._viewers.add(exchange.viewer)

    def _answer_enter(self, request: "_Request", exchange: "_Exchange") -> None:
        token = request.body.decode("utf-8", "replace").strip()
        if self._gate.is_open:
            exchange.respond(204)
        elif self._gate.opens(token):
            exchange.respond(204, headers=[("Set-Cookie", self._gate.cookie())])
        else:
            exchange.respond(401, "that is not the token")

    async def _show(self, exchange: "_Exchange", viewer: "_Viewer") -> None:
        try:
            await exchange.until_client_leaves()
        finally:
            self._viewers.discard(viewer)
            exchange.end()


class _Request:
    """A request as far as it matters here; header names in lower case, a repeated one's last."""

    def __init__(self, head: h11.Request, body: bytes) -> None:
        self.method = head.method.decode("ascii")
        # A query has no meaning here: what somebody put there is looked at by nobody.
        self.path = head.target.decode("ascii", "replace").partition("?")[0]
        self.headers = {
            name.decode("ascii"): value.decode("latin-1") for name, value in head.headers
        }
        self.body = body


class _Exchange:
    """One connection, one request."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.viewer: _Viewer | None = None
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD)

    async def receive(self) -> _Request | None:
        """Return the request, or None if the client left before it was whole."""
        head: h11.Request | None = None
        body = b""
        while True:
            event = self._http.next_event()
            match event:
                case h11.Request():
                    head = event
                case h11.Data():
                    body += event.data
                    if len(body) > _BODY:
                        raise h11.RemoteProtocolError("the body is too long")
                case h11.EndOfMessage():
                    assert head is not None
                    return _Request(head, body)
                case h11.NEED_DATA:
                    self._http.receive_data(await self._reader.read(_HEAD))
                case _:
                    return None

    def respond(
        self,
        status: int,
        body: str | bytes = b"",
        kind: str = "text/plain; charset=utf-8",
        headers: _Headers | None = None,
    ) -> None:
        """Send a whole response, if none was begun."""
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        data = body.encode() if isinstance(body, str) else body
        fields = [*_COMMON, *(headers or [])]
        if status != 204:
            fields += [("Content-Type", kind), ("Content-Length", str(len(data)))]
        self._write(h11.Response(status_code=status, headers=fields))
        if data:
            self._write(h11.Data(data=data))  # h11 leaves it out for HEAD
        self._write(h11.EndOfMessage())

    def begin_stream(self) -> None:
        """Send the head of an event stream."""
        system: Any = self._writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            system.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        fields = [*_COMMON, ("Content-Type", "text/event-stream"), ("X-Accel-Buffering", "no")]
        self._write(h11.Response(status_code=200, headers=fields))

    def send(self, data: bytes) -> int:
        """Send a piece of the stream, and return how many bytes are unsent now."""
        self._write(h11.Data(data=data))
        return self._writer.transport.get_write_buffer_size()

    def end(self) -> None:
        """End the stream as HTTP wants it."""
        self._write(h11.EndOfMessage())

    def abort(self) -> None:
        """Close at once, without what is unsent."""
        self._writer.transport.abort()

    async def until_client_leaves(self) -> None:
        """Wait for the client to close; nothing that it says is of interest."""
        while await self._reader.read(_HEAD):
            pass

    async def drain(self) -> None:
        """Wait until what was sent is on its way."""
        await self._writer.drain()

    async def close(self) -> None:
        """Close, if that has not happened; what is unsent has a moment to be taken."""
        self._writer.close()
        try:
            async with asyncio.timeout(_FAREWELL):
                await self._writer.wait_closed()
        except TimeoutError:
            self.abort()
        except ConnectionError:
            pass

    def _write(self, event: h11.Event) -> None:
        if not self._writer.transport.is_closing():
            self._writer.write(self._http.send(event) or b"")


class _Viewer:
    """Somebody who looks; ``most``: bytes that may be unsent."""

    def __init__(self, exchange: _Exchange, most: int) -> None:
        self._exchange = exchange
        self._most = most

    def send(self, data: bytes) -> bool:
        """Send, and return whether the viewer keeps up; if not, it is cut off."""
        if self._exchange.send(data) <= self._most:
            return True
        self._exchange.abort()
        return False


@cache
def _page() -> tuple[bytes, str]:
    """Return the page and its policy: its own style and script, known by their hashes."""
    page = files("sansio_sse_cli.live_page").joinpath("page.html").read_bytes()
    policy = (
        "default-src 'none'",
        f"style-src {_hashes(page, b'style')}",
        f"script-src {_hashes(page, b'script')}",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
    return page, "; ".join(policy)


def _hashes(page: bytes, element: bytes) -> str:
    found = re.findall(b"<%s>(.*?)</%s>" % (element, element), page, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(text).digest()).decode() for text in found]
    return " ".join(f"'sha256-{digest}'" for digest in digests)
