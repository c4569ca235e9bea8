"""A recording played to a client in virtual time: what it would have seen, and when.

The client is the core's own machine under the simulation of :mod:`sansio_sse.testing`, the server a
script made of the recording: each request gets the next recorded response, whatever it asks for. A
day passes as fast as what happens in it can be computed, and the same way each time.

Nothing here reads a clock, prints or connects.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

from sansio_sse import ConnectionConfig, ConnectionState, Request, ServerSentEvent, SSEError
from sansio_sse.testing import Cut, End, Refuse, Reset, Respond, Send, Simulation, Stall, Step

from .narrator import Narrator
from .recording_file import Attempt, Recording, RecordingError

__all__ = ["PATIENCE", "REDIRECTS", "Moment", "play"]

Moment = tuple[float, ServerSentEvent | tuple[ConnectionState, str]]
"""When, in seconds from the beginning; and an event, or a state with a piece of news."""

REDIRECTS = (301, 302, 303, 307, 308)
"""Statuses which need a Location; recorded ones are not kept, for they may lead anywhere."""

PATIENCE = 1.0
"""Seconds that a response goes on beyond the moment at which the recorded client left it."""

_EPOCH = 1_767_225_600.0  # what a simulation shows to people for 0 on its clock: 2026-01-01
_IN_PATHS = "/%:@!$&'()*+,;=~"  # RFC 3986 3.3
_LONGEST = 1e10
_OVER = (ConnectionState.CLOSED, ConnectionState.DISCONNECTED, ConnectionState.ERROR)


def play(recording: Recording, config: ConnectionConfig) -> Iterator[Moment]:
    """Yield what a client so configured makes of a recording, in order.

    Raises :class:`RecordingError` for a recording that no client can be played.
    """
    simulation = Simulation(traced=False)
    moments: deque[Moment] = deque()

    def tell(state: ConnectionState, news: str) -> None:
        moments.append((simulation.clock.now, (state, news)))

    def take(connection: Any, event: ServerSentEvent) -> None:
        moments.append((simulation.clock.now, event))

    narrator = Narrator(tell, clock=lambda: _EPOCH + simulation.clock.now)
    attempts = recording.playable
    try:
        url = _url(recording)
        script = [_steps(number, each, attempts) for number, each in enumerate(attempts, 1)]
        simulation.network.server(url, *script, [Respond(204)])
        connection = simulation.connect(
            url,
            method=recording.method,
            last_event_id=attempts[0].after if attempts else "",
            config=config,
            on_event=take,
            on_change=narrator.on_change,
            on_error=narrator.on_error,
        )
    except SSEError as error:
        raise RecordingError(f"it cannot be played: {error}") from None

    def something() -> bool:
        return bool(moments) or connection.state in _OVER

    while connection.state not in _OVER:
        simulation.run_until(something, limit=_LONGEST)
        while moments:
            yield moments.popleft()
    simulation.run(until=simulation.clock.now)  # what follows in the same instant
    yield from moments


def _url(recording: Recording) -> str:
    try:
        parts = urlsplit(recording.url)
        path = quote(parts.path, safe=_IN_PATHS) or "/"
    except ValueError:  # a lone surrogate in the path, for one
        raise RecordingError("its url cannot be read") from None
    url = f"{parts.scheme}://{parts.netloc}{path}"
    return Request(recording.method, url).url  # or it is no url for a request


def _steps(number: int, attempt: Attempt, attempts: list[Attempt]) -> list[Step]:
    ended = attempt.asked if attempt.ended is None else attempt.ended
    if attempt.end == "refused":
        return [Refuse(after=ended - attempt.asked)]
    steps: list[Step] = []
    now = attempt.asked
    if attempt.status is not None and attempt.answered is not None:
        headers = list(attempt.headers)
        if attempt.status in REDIRECTS:
            headers.append(("Location", f"/hop-{number}"))
        steps.append(Respond(attempt.status, headers, after=attempt.answered - now))
        now = attempt.answered
    for at, data in attempt.pieces:
        steps.append(Send(data, after=at - now))
        now = at
    rest = max(0.0, ended - now)
    match attempt.end:
        case "complete":
            steps.append(End(after=rest))
        case "reset":
            steps.append(Reset(after=rest))
        case "left" if attempt is attempts[-1]:
            steps.append(End(after=rest))  # there is no more
        case "left":
            # A client with the same settings leaves by itself, at the same moment or nearly so.
            steps += [Stall(rest + PATIENCE), Cut()]
        case _:
            steps.append(Cut(after=rest))
    return steps
