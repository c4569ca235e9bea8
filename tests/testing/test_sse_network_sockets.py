"""What only a plain application does: sleep by itself, threads, and signals."""

import contextvars
import signal
import threading
import time
from types import FrameType

import pytest

from sansio_sse import ConnectionClosed, ConnectionConfig, ServerSentEvent, Timeouts
from sansio_sse.testing import Respond, Stall, send_event
from sansio_sse_sockets import Connection, connect
from sansio_sse_sockets.testing import SSENetwork, sse_network
from sansio_sse_sockets.transport import World, world

__all__ = ["sse_network"]  # a fixture works where it is imported

URL = "https://api.example.com/events"
HOUR = 3600.0


def test_sleeping_can_be_virtual(sse_network: SSENetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    sse_network.server(URL, [Respond(), send_event("early", after=1), Stall()])
    monkeypatch.setattr(time, "sleep", sse_network.sleep)

    def app() -> str:
        with connect(URL) as connection:
            time.sleep(200)
            event = connection.receive(timeout=0)
            assert isinstance(event, ServerSentEvent)
            return event.data

    assert sse_network.run(app) == "early"
    assert sse_network.clock.now == 200.0


def test_several_connections_are_heard_when_they_are_listened_to(sse_network: SSENetwork) -> None:
    sse_network.server(URL, [Respond(), send_event("slow", after=100), Stall()])
    sse_network.server("http://b.example.com", [Respond(), send_event("fast", after=1), Stall()])

    def app() -> None:
        with connect(URL) as slow, connect("http://b.example.com") as fast:
            assert [slow.receive(), fast.receive()]
            assert sse_network.clock.now == 100.0
            with pytest.raises(TimeoutError):
                fast.receive(timeout=5)

    sse_network.run(app)
    assert sse_network.clock.now == 105.0


def test_a_connection_may_be_made_before_the_run(sse_network: SSENetwork) -> None:
    sse_network.server(URL, [Respond(), send_event("x", after=HOUR), Stall()])
    connection = connect(URL, config=ConnectionConfig(timeouts=Timeouts(idle=0)))

    def app() -> None:
        with connection:
            connection.receive()

    sse_network.run(app)
    assert sse_network.clock.now == HOUR


def test_a_signal_handler_may_close_it(sse_network: SSENetwork) -> None:
    sse_network.server(URL, [Respond(), Stall()])
    connections: list[Connection] = []

    def handler(number: int, frame: FrameType | None) -> None:
        connections[0].close()

    def app() -> None:
        with connect(URL) as connection:
            connections.append(connection)
            sse_network.clock.call_at(HOUR / 60, signal.raise_signal, signal.SIGUSR1)
            with pytest.raises(ConnectionClosed):
                connection.receive()

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        sse_network.run(app)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert sse_network.clock.now == 60.0


def test_another_thread_may_close_but_not_wait(sse_network: SSENetwork) -> None:
    sse_network.server(URL, [Respond(), Stall()])
    errors: list[BaseException] = []

    def app() -> None:
        with connect(URL) as connection:

            def beside() -> None:
                try:
                    connection.receive()
                except RuntimeError as error:
                    errors.append(error)
                connection.close()

            thread = threading.Thread(target=contextvars.copy_context().run, args=(beside,))
            thread.start()
            thread.join()
            with pytest.raises(ConnectionClosed):
                connection.receive()

    sse_network.run(app)
    assert [str(error) for error in errors] == [
        "a thread needs real time, and time is virtual here"
    ]


def test_a_failure_shows_where_the_application_waited(sse_network: SSENetwork) -> None:
    sse_network.server(URL, [Respond(), Stall()])

    def where_it_waits() -> None:
        with connect(URL) as connection:
            connection.receive()

    with pytest.raises(TimeoutError) as caught:
        sse_network.run(where_it_waits, limit=1)
    assert "where_it_waits" in [entry.name for entry in caught.traceback]


def test_elsewhere_the_world_is_real() -> None:
    assert world.get() == World()


def test_the_fixture_reports_a_connection_that_was_not_closed() -> None:
    fixture = SSENetwork.fixture(None)()
    network = next(fixture)
    network.server(URL, [Respond(), Stall()])
    connection = network.run(lambda: connect(URL).open())
    with pytest.raises(AssertionError, match="1 transports were left open"):
        next(fixture)
    connection.close()
