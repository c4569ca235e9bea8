"""No loop at all: a recorded capture is fed to the machine by hand, each piece at its own time.

    python no_loop.py

Nothing is opened and nothing is waited for: five minutes pass in a moment. What is printed is what
a client would have asked for, seen and scheduled. That is how to look into a capture from
production, or into one that came with a bug report.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from sansio_sse import (
    CloseTransport,
    ConnectionMachine,
    OpenTransport,
    Request,
    ScheduleReconnect,
    SendBytes,
    ServerSentEvent,
    StateChanged,
    WireAction,
    WireMachine,
)

# One line for each thing that happened: seconds, what, on which connection, with which bytes. The
# server asks for five seconds between attempts, sends two and a half events, and breaks.
CAPTURE = r"""
{"at": 0.031, "what": "opened", "number": 1}
{"at": 0.074, "what": "bytes", "number": 1, "data": "HTTP/1.1 200 OK\r\nContent-Type: te"}
{"at": 0.075, "what": "bytes", "number": 1, "data": "xt/event-stream\r\n\r\nretry: 5000\n\n"}
{"at": 1.500, "what": "bytes", "number": 1, "data": "id: 41\nevent: price\ndata: 12.5\n\n"}
{"at": 2.250, "what": "bytes", "number": 1, "data": "id: 42\nevent: price\ndata: 12.7\n\nid: 43\n"}
{"at": 2.251, "what": "failed", "number": 1, "data": "Connection reset by peer"}
{"at": 8.600, "what": "opened", "number": 2}
{"at": 8.750, "what": "bytes", "number": 2, "data": "HTTP/1.1 200 OK\r\nContent-Type: text/"}
{"at": 8.751, "what": "bytes", "number": 2, "data": "event-stream\r\n\r\nid: 43\ndata: back\n\n"}
""".strip().splitlines()

Input = Callable[[float], Sequence[WireAction]]


def replay(url: str, capture: Iterable[str], until: float) -> Iterator[str]:
    """Say what a client of ``url`` would have done, had this happened to it."""
    machine = WireMachine(ConnectionMachine(Request("GET", url), random=lambda: 0.5))
    yield from take(machine, machine.connect, 0.0)
    for line in capture:
        entry: dict[str, Any] = json.loads(line)
        yield from pass_time(machine, entry["at"])
        yield from take(machine, news_of(machine, entry), entry["at"])
    yield "          the capture ends here, and nothing more is heard"
    yield from pass_time(machine, until)


def pass_time(machine: WireMachine, until: float) -> Iterator[str]:
    """Tick at each deadline on the way; what comes at the same time comes first."""
    while (deadline := machine.deadline) is not None and deadline < until:
        yield from take(machine, machine.tick, deadline)


def news_of(machine: WireMachine, entry: dict[str, Any]) -> Input:
    number: int = entry["number"]
    data: str = entry.get("data", "")
    match entry["what"]:
        case "opened":
            return partial(machine.transport_opened, number)
        case "bytes":
            return partial(machine.bytes_received, number, data.encode())
        case "ended":
            return partial(machine.end_received, number)
        case _:
            return partial(machine.transport_failed, number, OSError(data))


def take(machine: WireMachine, first: Input, now: float) -> Iterator[str]:
    """One input, then all its actions, then the next input."""
    inputs = deque([first])
    while inputs:
        for action in inputs.popleft()(now):
            text = told(action)
            if text:
                yield f"{now:8.3f}  {text}"
            if isinstance(action, SendBytes):
                inputs.append(partial(machine.bytes_sent, action.transport))


def told(action: WireAction) -> str:
    match action:
        case ServerSentEvent(event, data, id):
            return f"event {event!r}, id {id!r}: {data}"
        case StateChanged(old, new):
            return f"{old.value} -> {new.value}"
        case ScheduleReconnect(delay=delay, attempt=attempt, error=error):
            return f"retry {attempt} in {delay:g} s, because {error}"
        case OpenTransport(number, origin):
            return f"open transport {number} to {origin}"
        case SendBytes(number, data):
            lines = data.decode().splitlines()
            cursor = [line for line in lines if line.lower().startswith("last-event-id")]
            return ", ".join([f"send {lines[0]}", *cursor])
        case CloseTransport(number):
            return f"close transport {number}"
        case _:
            return ""  # an error, told with the retry it leads to


if __name__ == "__main__":
    for line in replay("http://prices.example/stream", CAPTURE, until=310.0):
        print(line)
