"""One of several event servers, on loopback, that serve the same streams.

Whoever brings no Last-Event-ID begins a new stream: the first of a server called ``a`` is ``a1``.
Its events are ``a1:1``, ``a1:2``, ... and happen by the clock, whether somebody listens or not, to
the last one; they follow from the stream's name, so that every replica has the same. Hence any of
them can go on with any stream.

As a process of its own (``python -m sansio_sse_cli.replica``) it tells of each event before it is
sent: what was told survives a SIGKILL. See :mod:`.server_process`.
"""

import argparse
import asyncio
import random
import time
from collections.abc import Callable, Sequence

import h11

from sansio_sse import ServerSentEvent, encode_event

from .faulty_server import make_events
from .loopback import Exchange, LoopbackServer, header, last_event_id
from .server_process import serve_parent, tell, tell_sent

__all__ = ["BEGAN", "END", "SERVED_BY", "Replica", "main"]

END = "end"
"""The type of a stream's last event."""
BEGAN = "Clock-Began"
"""The request's header that says when the event number 0 was, in seconds since 1970."""
SERVED_BY = "Served-By"
"""The response's header that names the server."""


class Replica(LoopbackServer):
    """The server; an async context manager that listens on loopback.

    Args:
        name: What it is called, and what the names of the streams begin with that begin here.
        port: Where it listens; 0 is anywhere.
        begun: How many streams began here in an earlier life: their names are taken.
        seed: What the events are made of.
        last: The number of the last event of each stream.
        pace: Seconds between events.
        log: Called with each event before it is sent.
    """

    def __init__(
        self,
        name: str,
        *,
        port: int = 0,
        begun: int = 0,
        seed: int = 0,
        last: int,
        pace: float,
        log: Callable[[ServerSentEvent], object],
    ) -> None:
        super().__init__(port)
        self._name = name
        self._seed = seed
        self._last = last
        self._pace = pace
        self._log = log
        self._begun = begun

    async def _answer(self, request: h11.Request, exchange: Exchange) -> None:
        began = float(header(request, BEGAN))
        stream, _, number = last_event_id(request).rpartition(":")
        first = int(number or 0) + 1
        if not stream:
            self._begun += 1
            stream = f"{self._name}{self._begun}"
            happened = int((time.time() - began) / self._pace)
            first = min(max(0, happened) + 1, self._last)
        exchange.head(200, ("Content-Type", "text/event-stream"), (SERVED_BY, self._name))
        await self._stream(stream, first, began, exchange)
        await exchange.until_client_leaves()

    async def _stream(self, stream: str, first: int, began: float, exchange: Exchange) -> None:
        chance = random.Random(f"{stream} {first}")
        *events, last = make_events(self._last, self._seed, stream)
        events.append(ServerSentEvent(END, last.data, last.id, has_id=True))
        for number, event in enumerate(events[first - 1 :], first):
            await asyncio.sleep(max(0.0, began + number * self._pace - time.time()))
            self._log(event)
            exchange.data(encode_event(event), chance)
            await exchange.drain()


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(prog="replica", description=main.__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--begun", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--last", type=int, required=True)
    parser.add_argument("--pace", type=float, required=True)
    options = vars(parser.parse_args(argv))
    asyncio.run(_serve_parent(Replica(options.pop("name"), **options, log=tell_sent)))


async def _serve_parent(server: Replica) -> None:
    await serve_parent(server)
    tell(end=True)


if __name__ == "__main__":
    main()
