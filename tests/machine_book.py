"""What the two model tests share: a server's log of events, and the book of what a machine did.

The book is told every answer of a machine. It asserts what has to hold whatever happens, and
counts, so that the machine's own counters can be compared with history.
"""

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import sansio_sse.connection
from sansio_sse import (
    TRANSITIONS,
    Comment,
    Connected,
    ConnectionMachine,
    ConnectionState,
    ErrorOccurred,
    EventStreamParser,
    LastEventIdChanged,
    ReconnectExhausted,
    RequestAdmission,
    ScheduleReconnect,
    ServerSentEvent,
    StateChanged,
)

S = ConnectionState
ACTIVE = (S.CONNECTING, S.CONNECTED, S.RECONNECTING)
EVENTS = (ServerSentEvent, Connected, Comment, LastEventIdChanged)
SECRET = "s3cr3t"
STOP = "stop"


class EventLog:
    """Everything a server has to say, numbered from 1; a cursor says where a client goes on.

    Each number has its own way of being written, so that all fields and line ends occur.
    """

    def __init__(self, *, with_stops: bool) -> None:
        self.with_stops = with_stops
        self.published = 0

    def publish(self, count: int) -> bytes:
        first = self.published + 1
        self.published += count
        return b"".join(self.block(number) for number in range(first, self.published + 1))

    def after(self, cursor: str) -> bytes:
        """All that a client with this cursor has not had."""
        first = number_of(cursor) + 1
        return b"".join(self.block(number) for number in range(first, self.published + 1))

    def event(self, number: int) -> ServerSentEvent:
        data = str(number)
        if self.with_stops and number % 9 == 0:
            data = STOP
        elif number % 4 == 1:
            data = f"{number}\nü{number}"
        event = "tick" if number % 3 == 0 else "message"
        retry = 250 if number % 7 == 2 else None
        return ServerSentEvent(event, data, str(number), retry, True)

    def block(self, number: int) -> bytes:
        event = self.event(number)
        lines = [f"data: {line}" for line in event.data.split("\n")]
        lines.insert(number % 2 * len(lines), f"id: {number}")
        if event.event != "message":
            lines.insert(0, f"event: {event.event}")
        if event.retry is not None:
            lines.append(f"retry: {event.retry}")
        if number % 5 == 3:
            lines.insert(1, f": comment {number}")
        lines.append("")
        if number % 6 == 4:
            lines += [f"id: {number}+", ""]  # a block without data moves the cursor too
        return ("\r\n" if number % 8 == 6 else "\n").join([*lines, ""]).encode()


def number_of(cursor: str) -> int:
    """The number of the last event which a client with this cursor has had."""
    return int(cursor.removesuffix("+") or 0)


class SpyParser(EventStreamParser):
    """A parser that remembers its latest answer, so that the machine's can be compared with it."""

    __slots__ = ("latest",)
    latest: object

    def feed(self, data: bytes) -> Any:
        self.latest = super().feed(data)
        return self.latest


@contextmanager
def spied_parsers() -> Generator[None]:
    module: Any = sansio_sse.connection
    module.EventStreamParser = SpyParser
    try:
        yield
    finally:
        module.EventStreamParser = EventStreamParser


class Book:
    """The history of one machine, and what has to hold after each of its answers."""

    def __init__(self, machine: ConnectionMachine, log: EventLog) -> None:
        self.machine = machine
        self.log = log
        self.state = S.DISCONNECTED
        self.now = 0.0  # the latest time that the machine was told
        self.next = 1  # number of the event which has to come next
        self.aside: int | None = None  # the same, while an attempt elsewhere may replace it
        self.counted: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.last_connect: float | None = None
        self.last_disconnect: float | None = None

    def write(self, actions: Sequence[Any], work: Callable[[Any], None]) -> None:
        """Enter an answer; ``work`` gets the actions that are work, in their place."""
        if self.state is S.CLOSED:
            assert not actions
        events_over = events_begun = False
        for action in actions:
            if isinstance(action, EVENTS):
                assert not events_over, "events stand together"
                events_begun = True
                self.received(action)
                continue
            events_over = events_begun
            if isinstance(action, ErrorOccurred | RequestAdmission) or (
                isinstance(action, StateChanged) and action.new is not S.CONNECTED
            ):
                self.next, self.aside = self.aside or self.next, None  # nothing came of it
            match action:
                case StateChanged():
                    self.changed(action)
                case ErrorOccurred(error):
                    self.errors[error.category] += 1
                    self.counted["failures"] += error.accepted is False and not isinstance(
                        error, ReconnectExhausted
                    )
                    assert None not in (error.url, error.attempt, error.elapsed, error.request_sent)
                    assert SECRET not in f"{error!r} {error}"
                case ScheduleReconnect(at, delay, attempt, error):
                    assert self.state is S.RECONNECTING
                    assert at == self.now + delay
                    assert delay >= 0
                    assert attempt >= 1
                    assert error is not None
                case _:
                    work(action)

    def changed(self, change: StateChanged) -> None:
        assert change.old is self.state
        assert change.new in TRANSITIONS[change.old], f"{change.old} -> {change.new}"
        assert change.at == self.now
        if change.old is S.CONNECTED:
            self.last_disconnect = self.now
        if change.new is S.CONNECTED:
            self.last_connect = self.now
            self.counted["successes"] += 1
            self.aside = None
        if change.new is S.ERROR:
            assert change.error is self.machine.error is not None
        self.state = change.new

    def received(self, event: Any) -> None:
        if isinstance(event, ServerSentEvent):
            # Nothing lost, nothing doubled, nothing changed.
            assert event == self.log.event(self.next)
            self.next += 1
            self.counted["events"] += 1
        elif isinstance(event, Comment):
            self.counted["comments"] += 1

    def told(self, now: float) -> None:
        """Note the time with which the machine is told the next thing."""
        self.now = max(self.now, now)

    def check(self) -> None:
        """What holds between any two inputs."""
        machine = self.machine
        assert machine.state is self.state
        if self.state not in (S.CLOSED, S.DISCONNECTED, S.ERROR):
            assert number_of(machine.received_event_id) == self.next - 1
        due = machine._next_due()
        if machine.deadline is None:
            assert due is None
            assert machine.deadline_reason is None
        else:
            assert machine.deadline_reason is not None
            # A lower bound; what it bounds may have gone away since.
            assert due is None or machine.deadline <= due[0]
        if self.state is S.CLOSED:
            assert machine.deadline is None
        assert (machine.error is not None) is (self.state is S.ERROR)

    def check_counters(self) -> None:
        counted = self.machine.snapshot(self.now)
        assert counted.connect_attempts + counted.reconnect_attempts == self.counted["attempts"]
        assert counted.connect_attempts == self.counted["first attempts"]
        successes = self.counted["successes"] + self.counted["stops"]
        assert counted.connect_successes + counted.reconnect_successes == successes
        failures = counted.connect_failures + counted.reconnect_failures
        assert failures == self.counted["failures"]
        assert successes + failures <= self.counted["attempts"]
        assert counted.events_received == self.counted["events"]
        assert counted.bytes_received == self.counted["bytes"]
        assert counted.heartbeats_sent == self.counted["pings"]
        assert counted.errors == self.errors
        assert counted.last_connect == self.last_connect
        assert counted.last_disconnect == self.last_disconnect
        assert counted.connect_durations.count == self.counted["successes"]
        assert sum(counted.connect_durations.buckets) == self.counted["successes"]
