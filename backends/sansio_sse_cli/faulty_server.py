r"""An event server on loopback that fails on purpose, and writes down what it sent.

Built on the core's own encoder, and on h11 for requests and heads. It plays a *script*: each
request for the stream meets the next :class:`Fault`. It honours Last-Event-ID, answers ``GET
/ping``, and once the script is over it sends what is left; whoever then asks for more gets 204.
Same seed, same behaviour.

In a test, in the loop::

    async with FaultyServer(make_events(20, seed=1), [Fault.CUT_EVENT, Fault.RESET]) as server:
        ... connect(server.url)
        assert server.sent ...

As a process of its own (``python -m sansio_sse_cli.faulty_server``) it writes JSON lines: where it
listens, what it does, and, once its standard input ends, all that it sent. It never outlives
whoever holds that input.

For tests and demonstrations on loopback only: it trusts its clients.
"""

import argparse
import asyncio
import contextlib
import enum
import json
import os
import random
import socket
import struct
import sys
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import h11

from sansio_sse import ServerSentEvent, encode_comment, encode_event, encode_retry

__all__ = ["Fault", "FaultyServer", "main", "make_events", "make_script"]


class Fault(enum.Enum):
    """What happens to one request for the stream; the value says it in words."""

    NONE = "sends all the rest, and ends the response"
    END = "ends the response"
    CUT_EVENT = "ends the response in the middle of an event"
    CUT_CHUNK = "cuts the connection in the middle of a chunk"
    RESET = "resets the connection"
    STALL = "falls silent in the middle of an event, but answers pings"
    DEAF = "falls silent, and answers no pings"
    RETRY = "asks for a reconnection time of 300 ms, and ends the response"
    BUSY = "answers 503 with Retry-After: 1"
    FOUND = "answers 302"
    MOVED = "answers 308"
    SLAM = "closes without an answer"
    NO_HEAD = "accepts, and never answers"


_WITHOUT_STREAM = {Fault.BUSY, Fault.FOUND, Fault.MOVED, Fault.SLAM, Fault.NO_HEAD}
_WORDS = "amber birch cedar delta ember fjord größe häag ιδέα 川 東京 🌲 naïve œuvre".split()


def make_events(count: int, seed: int) -> list[ServerSentEvent]:
    """Return numbered events of many kinds: typed or not, one line or several, in many scripts.

    >>> [event.id for event in make_events(3, seed=1)]
    ['1', '2', '3']
    """
    chance = random.Random(f"events {seed}")
    return [_make_event(number, chance) for number in range(1, count + 1)]


def _make_event(number: int, chance: random.Random) -> ServerSentEvent:
    lines = [
        " ".join(chance.choices(_WORDS, k=chance.randint(1, 8)))
        for _ in range(chance.choice((1, 1, 1, 2, 4)))
    ]
    lines[0] = f"{number}: {lines[0]}"
    lines += [""] * chance.choice((0, 0, 0, 1))  # data may end in a line end
    kind = chance.choice(("message", "message", "note", "größe"))
    return ServerSentEvent(kind, "\n".join(lines), str(number), has_id=True)


def make_script(seed: int) -> list[Fault]:
    """Return every fault at least once, in an order that depends on ``seed``."""
    chance = random.Random(f"script {seed}")
    script: list[Fault] = [fault for fault in Fault if fault is not Fault.NONE]
    script += [Fault.CUT_EVENT, Fault.CUT_CHUNK, Fault.RESET]
    chance.shuffle(script)
    return script


class FaultyServer:
    """The server; an async context manager that listens on loopback.

    Args:
        events: What it has to send; each carries its number, from 1, as its id.
        script: What happens to the first, second, ... request for the stream. After it, no faults.
        seed: What line ends, comments and splits depend on.
        pace: Seconds between events.
        note: Called with each thing it does, in words.
    """

    def __init__(
        self,
        events: Sequence[ServerSentEvent],
        script: Sequence[Fault] = (),
        *,
        seed: int = 0,
        pace: float = 0.0,
        note: Callable[[str], object] = lambda text: None,
    ) -> None:
        self.sent: list[ServerSentEvent] = []
        """Every event that was sent, or begun to be sent, each time that it was."""
        self.requests: list[tuple[str, str]] = []
        """Target and Last-Event-ID of each request for the stream."""
        self.pings: int = 0
        """How many pings came."""
        self.port: int = 0
        self._events = events
        self._script = list(script)
        self._seed = seed
        self._pace = pace
        self._note = note
        self._deaf = False
        self._newest = 0  # number of the newest event that anybody was sent
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        streaming = sum(fault not in _WITHOUT_STREAM for fault in script)
        # So few for each that there are some left for the last.
        self._most = max(1, len(events) // (streaming + 1))

    @property
    def url(self) -> str:
        """Where the stream is."""
        return f"http://127.0.0.1:{self.port}/events"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- One connection ------------------------------------------------------------------------

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(_Exchange(reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, exchange: "_Exchange") -> None:
        try:
            request = await exchange.receive()
            if request is None:
                return
            if request.target == b"/ping":
                await self._answer_ping(exchange)
            else:
                await self._answer(request, exchange)
        except (ConnectionError, h11.RemoteProtocolError):
            pass  # the client went away, or is none
        finally:
            await exchange.close()

    async def _answer_ping(self, exchange: "_Exchange") -> None:
        self.pings += 1
        if self._deaf:
            await exchange.until_client_leaves()
        else:
            exchange.head(204)

    async def _answer(self, request: h11.Request, exchange: "_Exchange") -> None:
        target = request.target.decode("ascii")
        cursor = dict(request.headers).get(b"last-event-id", b"").decode()
        self.requests.append((target, cursor))
        count = len(self.requests)
        asked = f"request {count}, {target}, {f'after event {cursor}' if cursor else 'no event id'}"
        # Who brings no cursor gets what happens from now on: a live stream does not begin again.
        first = int(cursor) + 1 if cursor else self._newest + 1
        fault = self._script.pop(0) if self._script else Fault.NONE
        if fault is Fault.NONE and first > len(self._events):
            await self._announce(f"{asked}: answers 204, there is no more")
            exchange.head(204)
        elif fault in _WITHOUT_STREAM:
            await self._announce(f"{asked}: {fault.value}")
            await self._refuse(fault, count, exchange)
        else:
            chance = random.Random(f"{self._seed} {count}")
            await self._stream(fault, first, asked, chance, exchange)

    async def _refuse(self, fault: Fault, count: int, exchange: "_Exchange") -> None:
        match fault:
            case Fault.BUSY:
                exchange.head(503, ("Retry-After", "1"))
            case Fault.FOUND:
                exchange.head(302, ("Location", f"/found-{count}"))
            case Fault.MOVED:
                exchange.head(308, ("Location", f"/moved-{count}"))
            case Fault.NO_HEAD:
                await exchange.until_client_leaves()
            case _:
                pass  # SLAM: closed by whoever called

    async def _stream(
        self, fault: Fault, first: int, asked: str, chance: random.Random, exchange: "_Exchange"
    ) -> None:
        line_end = chance.choice(("LF", "CR", "CRLF"))
        bom = chance.random() < 0.5
        await self._announce(
            f"{asked}: a stream with {line_end}{', and a byte order mark' if bom else ''}"
        )
        count = len(self._events) if fault is Fault.NONE else chance.randint(1, self._most)
        events = self._events[first - 1 : first - 1 + count]
        encode = _Encoder(line_end)
        exchange.head(200, ("Content-Type", "text/event-stream"))
        opening = (b"\xef\xbb\xbf" if bom else b"") + encode(encode_comment("welcome"))
        exchange.data(opening + encode(encode_retry(20)), chance)
        for event in events:
            self._log(event)
            if chance.random() < 0.2:
                exchange.data(encode(encode_comment("still here")), chance)
            exchange.data(encode(encode_event(event)), chance)
            await exchange.drain()
            await asyncio.sleep(self._pace)
        await self._end_stream(fault, first - 1 + len(events), encode, chance, exchange)

    async def _end_stream(
        self,
        fault: Fault,
        last: int,
        encode: "_Encoder",
        chance: random.Random,
        exchange: "_Exchange",
    ) -> None:
        """Do what the script has for this request, after event number ``last``."""
        half = b""
        if last < len(self._events):
            whole = encode(encode_event(self._events[last]))
            # Often behind its id: an id in half an event must not count.
            half = whole[: chance.randrange(len(whole) // 2, len(whole) - 4)]
        where = f"after event {last}"
        if half and fault in (Fault.CUT_EVENT, Fault.CUT_CHUNK, Fault.STALL):
            where = f"event {last + 1}"
            self._log(self._events[last])
        await self._announce(f"{fault.value} ({where})")
        match fault:
            case Fault.CUT_EVENT:
                exchange.data(half, chance)
                exchange.end()
            case Fault.CUT_CHUNK:
                exchange.part_of_chunk(half or b": half a comment")
            case Fault.RESET:
                exchange.reset()
            case Fault.STALL:
                exchange.data(half, chance)
                await exchange.until_client_leaves()
            case Fault.DEAF:
                self._deaf = True
                try:
                    await exchange.until_client_leaves()
                finally:
                    self._deaf = False
            case Fault.RETRY:
                exchange.data(encode(encode_retry(300)), chance)
                exchange.end()
            case _:
                exchange.end()
        await exchange.drain()

    async def _announce(self, text: str) -> None:
        """Note what comes, a little before it does: so it is read first, too."""
        self._note(text)
        await asyncio.sleep(self._pace / 4)

    def _log(self, event: ServerSentEvent) -> None:
        self.sent.append(event)
        self._newest = max(self._newest, int(event.id))


class _Encoder:
    """Writes the encoder's output with another line end."""

    def __init__(self, line_end: str) -> None:
        self._line_end = {"LF": b"\n", "CR": b"\r", "CRLF": b"\r\n"}[line_end]

    def __call__(self, encoded: bytes) -> bytes:
        return encoded.replace(b"\n", self._line_end)


class _Exchange:
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


# --- As a process ------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until standard input ends; standard output gets JSON lines.

    First ``{"listening": url}``, then ``{"note": text}`` as things happen, and at the end one
    ``{"sent": [type, data, id]}`` for each entry of the log, and ``{"end": true}``.
    """
    parser = argparse.ArgumentParser(prog="faulty_server", description=main.__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--events", type=int, default=150)
    parser.add_argument("--pace", type=float, default=0.015)
    asyncio.run(_serve_parent(parser.parse_args(argv)))


async def _serve_parent(args: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    parent_left = asyncio.Event()

    def wait_for_end() -> None:
        # Not sys.stdin: a thread that waits inside it holds a lock which the exit of Python needs.
        while os.read(0, 1024):
            pass
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            loop.call_soon_threadsafe(parent_left.set)

    threading.Thread(target=wait_for_end, daemon=True).start()
    server = FaultyServer(
        make_events(args.events, args.seed),
        make_script(args.seed),
        seed=args.seed,
        pace=args.pace,
        note=lambda text: _tell(note=text),
    )
    async with server:
        _tell(listening=server.url)
        await parent_left.wait()
    for event in server.sent:
        _tell(sent=[event.event, event.data, event.id])
    _tell(end=True)


def _tell(**message: object) -> None:
    try:
        sys.stdout.write(f"{json.dumps(message)}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os._exit(1)  # the parent was killed: there is nobody left to be told anything


if __name__ == "__main__":
    main()
