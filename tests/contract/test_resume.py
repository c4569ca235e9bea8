"""Cut again and again, anywhere: nothing is lost, nothing comes twice."""

import random
from typing import Any

import pytest

from sansio_sse import encode_event

from .common import quick
from .face import Face
from .server import Peer, Seen, Server, chunk

EVENTS = 1000
CUTS = 100


class Unreliable:
    """Has a thousand events, honours Last-Event-ID, and cuts the stream anywhere, in many ways."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.cuts = 0
        # Ids that tell nothing about the order, with blanks inside and beyond ASCII.
        self.ids = [f"é{number * 7919 % 1009} {number}" for number in range(EVENTS)]

    def event(self, number: int) -> bytes:
        kind = None if number % 3 else "tick"
        lines = "\n".join(f"line {number}.{n}" for n in range(number % 4 + 1))
        return encode_event(lines, event=kind, id=self.ids[number])

    def __call__(self, peer: Peer, seen: Seen) -> None:
        choose = self.random
        start = 0 if seen.cursor is None else self.ids.index(seen.cursor) + 1
        if start == EVENTS:
            # All of it has come, only the goodbye had not.
            peer.stream()
            peer.event("[DONE]")
            peer.stall()
        chunked = choose.random() < 0.5
        peer.stream(chunked=chunked)
        body = b"".join(self.event(number) for number in range(start, EVENTS))
        body += encode_event("[DONE]")
        if self.cuts == CUTS:
            peer.body(body)
            peer.stall()
        self.cuts += 1
        # As long as a tenth of the stream, or so short that not even one event is whole.
        end = choose.randrange(1, min(len(body), choose.choice((40, 600, 1500))))
        position = 0
        while position < end:
            size = choose.randrange(1, 400)
            piece = body[position : min(position + size, end)]
            peer.send(chunk(piece) if chunked else piece)
            position += size
        match choose.choice(("close", "end", "reset", "inside a chunk", "status")):
            case "close":
                peer.close()
            case "end":
                peer.end()
            case "reset":
                peer.reset()
            case "inside a chunk" if chunked:
                peer.send(b"400\r\n" + body[end : end + 10])
                peer.close()
            case _:
                peer.sleep(0.002)
                peer.reset()


@pytest.mark.parametrize("seed", [1, 2])
async def test_nothing_is_lost_and_nothing_comes_twice(
    sse: Face, seed: int, tls: dict[str, Any]
) -> None:
    unreliable = Unreliable(seed)
    with Server(unreliable, tls=tls["server"]) as server:
        async with sse.connect(
            server.url,
            config=quick(max_attempts=0, initial_delay=0, max_delay=0),
            ssl_context=tls["client"],
            until="[DONE]",
        ) as connection:
            events = [event async for event in connection]
    assert [event.id for event in events[:-1]] == unreliable.ids
    assert events[-1].data == "[DONE]"
    assert b"".join(encode_event(event) for event in events[:-1]) == b"".join(
        unreliable.event(number) for number in range(EVENTS)
    )
    assert len(server.requests) > CUTS
    assert connection.metrics.reconnect_attempts >= CUTS


async def test_a_cursor_given_at_the_beginning_is_sent(sse: Face) -> None:
    unreliable = Unreliable(3)
    with Server(unreliable) as server:
        cursor = unreliable.ids[997]
        async with sse.connect(
            server.url,
            last_event_id=cursor,
            config=quick(max_attempts=0, initial_delay=0, max_delay=0),
            until="[DONE]",
        ) as connection:
            assert connection.last_event_id == cursor
            data = [event.data.partition(".")[0] async for event in connection]
    assert data == ["line 998", "line 999", "[DONE]"]
