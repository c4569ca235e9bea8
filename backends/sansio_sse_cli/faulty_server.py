r"""An event server on loopback that fails on purpose, and writes down what it sent.

It plays a *script*: each request for the stream meets the next :class:`Fault`. It honours
Last-Event-ID, answers ``GET /ping``, and once the script is over it sends what is left; whoever
then asks for more gets 204. Same seed, same behaviour.

In a test, in the loop::

    async with FaultyServer(make_events(20, seed=1), [Fault.CUT_EVENT, Fault.RESET]) as server:
        ... connect(server.url)
        assert server.sent ...

As a process of its own (``python -m sansio_sse_cli.faulty_server``) it tells where it listens, what
it does, and, once its standard input ends, all that it sent. See :mod:`.server_process`.

For tests and demonstrations on loopback only: it trusts its clients.
"""

import argparse
import asyncio
import enum
import random
from collections.abc import Callable, Sequence

import h11

from sansio_sse import ServerSentEvent, encode_comment, encode_event, encode_retry

from .loopback import Exchange, LoopbackServer, last_event_id
from .server_process import serve_parent, tell, tell_sent

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


def make_events(count: int, seed: int, stream: str = "") -> list[ServerSentEvent]:
    """Return numbered events of many kinds: typed or not, one line or several, in many scripts.

    >>> [event.id for event in make_events(3, seed=1)]
    ['1', '2', '3']
    >>> [event.id for event in make_events(2, seed=1, stream="a1")]
    ['a1:1', 'a1:2']
    """
    chance = random.Random(f"events {seed}{stream}")
    prefix = f"{stream}:" if stream else ""
    return [_make_event(number, prefix, chance) for number in range(1, count + 1)]


def _make_event(number: int, prefix: str, chance: random.Random) -> ServerSentEvent:
    lines = [
        " ".join(chance.choices(_WORDS, k=chance.randint(1, 8)))
        for _ in range(chance.choice((1, 1, 1, 2, 4)))
    ]
    lines[0] = f"{number}: {lines[0]}"
    lines += [""] * chance.choice((0, 0, 0, 1))  # data may end in a line end
    kind = chance.choice(("message", "message", "note", "größe"))
    return ServerSentEvent(kind, "\n".join(lines), f"{prefix}{number}", has_id=True)


def make_script(seed: int) -> list[Fault]:
    """Return every fault at least once, in an order that depends on ``seed``."""
    chance = random.Random(f"script {seed}")
    script: list[Fault] = [fault for fault in Fault if fault is not Fault.NONE]
    script += [Fault.CUT_EVENT, Fault.CUT_CHUNK, Fault.RESET]
    chance.shuffle(script)
    return script


class FaultyServer(LoopbackServer):
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
        super().__init__()
        self.sent: list[ServerSentEvent] = []
        """Every event that was sent, or begun to be sent, each time that it was."""
        self.requests: list[tuple[str, str]] = []
        """Target and Last-Event-ID of each request for the stream."""
        self.pings: int = 0
        """How many pings came."""
        self._events = events
        self._script = list(script)
        self._seed = seed
        self._pace = pace
        self._note = note
        self._deaf = False
        self._newest = 0  # number of the newest event that anybody was sent
        streaming = sum(fault not in _WITHOUT_STREAM for fault in script)
        # So few for each that there are some left for the last.
        self._most = max(1, len(events) // (streaming + 1))

    # --- One connection ------------------------------------------------------------------------

    async def _answer(self, request: h11.Request, exchange: Exchange) -> None:
        if request.target == b"/ping":
            await self._answer_ping(exchange)
        else:
            await self._answer_stream(request, exchange)

    async def _answer_ping(self, exchange: Exchange) -> None:
        self.pings += 1
        if self._deaf:
            await exchange.until_client_leaves()
        else:
            exchange.head(204)

    async def _answer_stream(self, request: h11.Request, exchange: Exchange) -> None:
        target = request.target.decode("ascii")
        cursor = last_event_id(request)
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

    async def _refuse(self, fault: Fault, count: int, exchange: Exchange) -> None:
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
        self, fault: Fault, first: int, asked: str, chance: random.Random, exchange: Exchange
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
        exchange: Exchange,
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


# --- As a process ------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until standard input ends; then tell what was sent, all at once."""
    parser = argparse.ArgumentParser(prog="faulty_server", description=main.__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--events", type=int, default=150)
    parser.add_argument("--pace", type=float, default=0.015)
    asyncio.run(_serve_parent(parser.parse_args(argv)))


async def _serve_parent(args: argparse.Namespace) -> None:
    server = FaultyServer(
        make_events(args.events, args.seed),
        make_script(args.seed),
        seed=args.seed,
        pace=args.pace,
        note=lambda text: tell(note=text),
    )
    await serve_parent(server)
    for event in server.sent:
        tell_sent(event)
    tell(end=True)


if __name__ == "__main__":
    main()
