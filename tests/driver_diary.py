"""The smallest of drivers: in virtual time, it writes down what it is told to do."""

from collections.abc import Callable, Generator
from typing import Any, TypeVar

import pytest

from machine_play import configured
from sansio_sse import (
    ConnectionClosed,
    ConnectionState,
    Origin,
    ServerSentEvent,
    WireMachine,
)
from sansio_sse.driver import ConnectionDriver

URL = "http://example.com/events"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
S = ConnectionState
T = TypeVar("T")


def events(*numbers: int) -> bytes:
    return b"".join(b"id: %d\ndata: %d\n\n" % (number, number) for number in numbers)


class Diary(ConnectionDriver):
    """A driver in virtual time that writes down what it is told to do."""

    at_once = False  # transports open, and take what is written, within the call

    def _set_up(self) -> None:
        self.time = 0.0
        self.done: list[tuple[Any, ...]] = []
        self.woken = 0
        self.commands: list[Callable[[], None]] = []
        self.raised: list[BaseException] = []
        self.awaited: list[tuple[Any, int]] = []
        self.transport = 0
        self.armed_at: float | None = None

    def _now(self) -> float:
        return self.time

    def _wall_clock(self) -> float:
        return 1_000_000.0 + self.time

    @staticmethod
    def _random() -> float:
        return 0.5

    def _arm(self, at: float | None) -> None:
        self.armed_at = at
        self.done.append(("arm", at))

    def _wake(self) -> None:
        self.woken += 1

    def _from_elsewhere(self, command: Callable[[], None]) -> None:
        self.commands.append(command)

    def _open(self, transport: int, origin: Origin) -> None:
        self.done.append(("open", transport))
        self.transport = transport
        if self.at_once:
            self._take(WireMachine.transport_opened, transport)

    def _send(self, transport: int, data: bytes) -> None:
        self.done.append(("send", transport))
        if self.at_once:
            self._take(WireMachine.bytes_sent, transport)

    def _drop(self, transport: int) -> None:
        self.done.append(("drop", transport))

    def _reading(self, transport: int, on: bool) -> None:
        self.done.append(("read" if on else "stop reading", transport))

    def _unhandled(self, error: BaseException) -> None:
        self.raised.append(error)

    def _released(self) -> bool:
        return ("drop", self.transport) in self.done or not self.transport

    # What the test does with it.

    def turn(self) -> None:
        """One turn of the loop: what came from elsewhere."""
        commands, self.commands = self.commands, []
        for command in commands:
            command()

    def opened(self) -> None:
        self._take(WireMachine.transport_opened, self.transport)
        self._take(WireMachine.bytes_sent, self.transport)

    def fails(self) -> None:
        self._take(WireMachine.transport_failed, self.transport, ConnectionRefusedError("no"))

    def receives(self, data: bytes) -> None:
        self._bytes_received(self.transport, data)

    def due(self) -> None:
        assert self.armed_at is not None
        self.time = max(self.time, self.armed_at)
        self._deadline_reached()

    def read(self) -> list[str]:
        """All that is there to be read."""
        data = []
        while (event := self._poll()) is not None:
            assert isinstance(event, ServerSentEvent)
            data.append(event.data)
        return data

    def read_to_the_end(self) -> list[str]:
        data = [event.data for event in self._buffer or () if isinstance(event, ServerSentEvent)]
        for _ in data:
            assert self._poll()
        with pytest.raises(ConnectionClosed):
            self._poll()
        return data

    @property
    def dropped(self) -> int:
        return self.metrics.events_dropped


def diary(url: str = URL, **options: Any) -> Diary:
    config = configured(
        **{
            key: options.pop(key)
            for key in list(options)
            if key
            in (
                "buffer_size",
                "overflow",
                "on_end",
                "max_attempts",
                "idle",
                "pings",
                "retries",
                "base_url",
            )
        }
    )
    return Diary(url, config=config, **options)


def streaming(body: bytes = b"", **options: Any) -> Diary:
    connection = diary(**options)
    connection._connect_now()
    connection.opened()
    connection.receives(HEAD + body)
    assert connection.state is S.CONNECTED
    return connection


def state_of(connection: Diary) -> ConnectionState:
    """The state, asked for in a way that type checkers do not remember."""
    return connection.state


def step(waiting: Generator[float | None, None, T]) -> float | None:
    """Run something that waits until it has to; return until when."""
    return next(waiting)


def result(waiting: Generator[float | None, None, T]) -> T:
    """Run something that need not wait any more, and return what it returns."""
    with pytest.raises(StopIteration) as stopped:
        next(waiting)
    value: T = stopped.value.value
    return value
