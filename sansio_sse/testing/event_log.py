"""A server's numbered log of events, which a client can read from any place in it.

It is the honest server against which resuming is tested: each event has an id, Last-Event-ID is
honoured, and what was sent is known, so that it can be compared with what came out. Its only malice
is to cut, where chance has it.
"""

from collections.abc import Iterator

from sansio_sse.encoder import encode_comment, encode_event, encode_retry
from sansio_sse.event_stream import ServerSentEvent

from .chance import SeededRandom
from .network import IncomingRequest
from .steps import Cut, Framing, Reset, Respond, Send, Stall, Step

__all__ = ["EventLog"]


class EventLog:
    """A handler for :meth:`~sansio_sse.testing.ScriptedNetwork.server` that follows a log.

    Events have the ids ``"1"``, ``"2"``, ... A request with the id of one of them gets those after
    it, any other gets all from the beginning; what is not due yet is sent when it is. At the end
    the stream stays open.

    :param cut: the chance, for each event sent, that the transport is lost in the middle of it.
    :param random: where that chance comes from; :attr:`ScriptedNetwork.random` for instance.
    :param keep_alive: a comment is sent after so many seconds without an event.
    :param retry: the reconnection time in milliseconds that the server asks for.

    >>> log = EventLog()
    >>> log.add("first", at=1.0), log.add("second", at=2.5)
    ('1', '2')
    >>> [event.data for event in log.events]
    ['first', 'second']
    """

    def __init__(
        self,
        *,
        cut: float = 0.0,
        random: SeededRandom | None = None,
        framing: Framing = "chunked",
        keep_alive: float | None = None,
        retry: int | None = None,
    ) -> None:
        self.events: list[ServerSentEvent] = []
        """All events of the log, in order."""
        self.cuts: int = 0
        """How many transports were lost by chance."""
        self._times: list[float] = []
        self._cut = cut
        self._random = SeededRandom() if random is None else random
        self._framing: Framing = framing
        self._keep_alive = keep_alive
        self._retry = retry

    def add(self, data: str, *, at: float = 0.0, event: str = "message") -> str:
        """Add an event which is sent at ``at``, or after those before it; return its id.

        The log is to be complete before its time comes: a stream that has reached the end adds
        nothing.
        """
        identity = str(len(self.events) + 1)
        self.events.append(ServerSentEvent(event, data, identity, has_id=True))
        self._times.append(at)
        return identity

    def add_many(self, count: int, *, start: float = 0.0, every: float = 0.0) -> None:
        """Add ``count`` events whose data are their ids."""
        for number in range(count):
            self.add(str(len(self.events) + 1), at=start + number * every)

    def __call__(self, request: IncomingRequest) -> Iterator[Step]:
        """Answer a request."""
        yield Respond(framing=self._framing)
        if self._retry is not None:
            yield Send(encode_retry(self._retry))
        now = request.at
        known = request.last_event_id
        position = int(known) if known.isascii() and known.isdigit() else 0
        for number in range(position if position <= len(self.events) else 0, len(self.events)):
            at = self._times[number]
            if self._keep_alive is not None:
                while now + self._keep_alive < at:
                    now += self._keep_alive
                    yield Send(encode_comment(), at=now)
                now = max(now, at)
            data = encode_event(self.events[number])
            if self._cut and self._random() < self._cut:
                self.cuts += 1
                yield Send(data[: self._random.randrange(len(data))], at=at)
                yield Cut() if self._random() < 0.5 else Reset()
            yield Send(data, at=at)
        while self._keep_alive is not None:
            now += self._keep_alive
            yield Send(encode_comment(), at=now)
        yield Stall()
