"""Events for everybody: a history of bounded size, and readers who each have a place in it.

No reader has a queue of his own: he has a number, that of the next event he is to get. Who is so
slow that his event has left the history goes on with the oldest there is, and is told how many he
missed. So the memory is that of the history, however many readers there are.

Nothing here knows of connections.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from sansio_sse import encode_comment

__all__ = ["Broadcast"]

_BATCH = 65536  # bytes given to a reader at once
_MOST_BYTES = 64 << 20
_PER_EVENT = 300  # what an event costs in memory, however short it is


class Broadcast:
    r"""The latest events, as bytes, and who waits for more.

    Args:
        most: How many events are kept, in at most 64 MiB of memory.

    >>> broadcast = Broadcast(2)
    >>> for number in "123":
    ...     broadcast.add(f"data: {number}\n\n".encode(), number)
    >>> broadcast.oldest, broadcast.end, broadcast.after("2"), broadcast.after("1")
    (1, 3, 2, None)
    """

    def __init__(self, most: int) -> None:
        self.dropped: int = 0
        """How many events readers have missed because they were too slow, each counted."""
        self.finished: bool = False
        """Whether nothing will be added any more."""
        self._most = most
        self._events: deque[tuple[str, bytes]] = deque()
        self._size = 0
        self._oldest = 0
        self._places: dict[str, int] = {}  # the newest event of each id
        self._more = asyncio.Event()

    @property
    def oldest(self) -> int:
        """The number of the oldest event that is kept."""
        return self._oldest

    @property
    def end(self) -> int:
        """The number that the next event will get."""
        return self._oldest + len(self._events)

    def after(self, id_: str) -> int | None:
        """Return the number of the event after the one with this id; None: it is not kept."""
        place = self._places.get(id_)
        return None if place is None else place + 1

    def add(self, event: bytes, id_: str) -> None:
        """Give an event to all readers; an empty id is none."""
        if id_:
            self._places[id_] = self.end
        self._events.append((id_, event))
        self._size += len(event) + _PER_EVENT
        while len(self._events) > self._most or (
            self._size > _MOST_BYTES and len(self._events) > 1
        ):
            self._forget_oldest()
        self._wake()

    def finish(self) -> None:
        """Nothing more will come: readers end when they have had all."""
        self.finished = True
        self._wake()

    async def read(self, place: int, idle: float) -> AsyncIterator[bytes]:
        """Yield what there is from ``place`` on, in pieces; an empty one after ``idle`` seconds."""
        while True:
            if place < self._oldest:
                missed = self._oldest - place
                self.dropped += missed
                place = self._oldest
                yield encode_comment(f"{missed} events were dropped: too slow")
            elif place < self.end:
                place, piece = self._piece(place)
                yield piece
            elif self.finished:
                return
            elif not await self._wait(idle):
                yield b""

    def _piece(self, place: int) -> tuple[int, bytes]:
        parts: list[bytes] = []
        room = _BATCH
        while place < self.end:
            # A deque finds what is near either end fast, and readers are mostly at the new one.
            event = self._events[place - self._oldest][1]
            if parts and len(event) > room:
                break  # what is large goes alone: joined, each reader would have a copy
            parts.append(event)
            room -= len(event)
            place += 1
        return place, b"".join(parts)

    async def _wait(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._more.wait()
        except TimeoutError:
            return False
        return True

    def _wake(self) -> None:
        # Each wait has an event of its own: whoever comes later waits for the next.
        self._more.set()
        self._more = asyncio.Event()

    def _forget_oldest(self) -> None:
        id_, event = self._events.popleft()
        self._size -= len(event) + _PER_EVENT
        if self._places.get(id_) == self._oldest:
            del self._places[id_]
        self._oldest += 1
