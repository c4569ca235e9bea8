"""``close()``, ``disconnect()`` and ``restart()`` in every phase, from everywhere."""

import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from sansio_sse import ConnectionClosed, ConnectionState, LocalProtocolError

from .common import quick, stay
from .face import Face
from .fixtures import Certificates
from .phases import PHASES, hold
from .server import Peer, Seen, Server, open_sockets

CLOSED = ConnectionState.CLOSED
CONNECTED = ConnectionState.CONNECTED
DISCONNECTED = ConnectionState.DISCONNECTED
RECONNECTING = ConnectionState.RECONNECTING


@pytest.mark.parametrize("phase", PHASES)
async def test_close_takes_one_turn_and_leaves_nothing(
    sse: Face, phase: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with hold(phase, sse, certificates, monkeypatch) as held:
        held.connection.close()
        held.connection.close()
        await sse.one_turn()
        assert held.connection.state is CLOSED
        await sse.released(held.connection, held.before)
        with pytest.raises(ConnectionClosed):
            await held.connection.receive()
        with pytest.raises(LocalProtocolError):
            await held.connection.connect()


@pytest.mark.parametrize("phase", PHASES)
async def test_disconnect_takes_one_turn_and_leaves_nothing(
    sse: Face, phase: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with hold(phase, sse, certificates, monkeypatch) as held:
        held.connection.disconnect()
        held.connection.disconnect()
        await sse.one_turn()
        assert held.connection.state is DISCONNECTED
        await sse.until(held.dropped)
        # What had come is still given, then the iteration ends.
        async for event in held.connection:
            assert event.data
        assert held.connection.state is DISCONNECTED
        held.connection.close()
        await sse.released(held.connection, held.before)


@pytest.mark.parametrize("phase", PHASES)
async def test_restart_takes_one_turn_and_begins_anew_without_a_delay(
    sse: Face, phase: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with hold(phase, sse, certificates, monkeypatch) as held:
        before = held.attempts()
        held.connection.restart()
        await sse.one_turn()
        assert held.connection.state is (RECONNECTING if held.state is CONNECTED else held.state)
        await sse.until(lambda: held.attempts() == before + 1, held.connection)
        held.connection.close()
        await sse.released(held.connection, held.before)


def _by_signal(function: Callable[[], Any]) -> None:
    previous = signal.signal(signal.SIGTERM, lambda *_: function())
    try:
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, previous)


CALLERS = {"thread": Face.in_thread, "signal handler": _by_signal}


@pytest.mark.parametrize("command", ["close", "disconnect"])
@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("phase", ["connecting", "streaming", "paused", "waiting to reconnect"])
async def test_commands_may_come_from_anywhere(
    sse: Face,
    phase: str,
    caller: str,
    command: str,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with hold(phase, sse, certificates, monkeypatch) as held:
        CALLERS[caller](getattr(held.connection, command))
        await sse.one_turn()
        assert held.connection.state is (CLOSED if command == "close" else DISCONNECTED)
        held.connection.close()
        await sse.released(held.connection, held.before)


@pytest.mark.parametrize("caller", CALLERS)
async def test_a_close_from_elsewhere_wakes_a_reader(sse: Face, caller: str) -> None:
    """The reader is blocked for good: only the command itself can wake it."""
    with Server(stay()) as server:
        async with sse.connect(server.url) as connection:

            def close_soon() -> None:
                if caller == "thread":
                    connection.close()
                else:
                    signal.pthread_kill(main.ident or 0, signal.SIGTERM)

            main = threading.main_thread()
            previous = signal.signal(signal.SIGTERM, lambda *_: connection.close())
            timer = threading.Timer(0.05, close_soon)
            timer.start()
            try:
                with pytest.raises(ConnectionClosed):
                    await connection.receive()
            finally:
                timer.join()
                signal.signal(signal.SIGTERM, previous)


@pytest.mark.parametrize("command", ["close", "disconnect", "restart"])
@pytest.mark.parametrize("caller", ["directly", *CALLERS])
async def test_commands_may_come_from_on_event(sse: Face, caller: str, command: str) -> None:
    seen: list[str] = []

    def script(peer: Peer, request: Seen) -> None:
        peer.stream()
        # In one piece, so that the command comes in the middle of a batch.
        peer.body(b"".join(b"id: %d\ndata: %d\n\n" % (n, n) for n in range(1, 6)))
        peer.stall()

    def on_event(connection: Any, event: Any) -> None:
        seen.append(event.data)
        if event.data == "2" and len(seen) == 2:
            function = getattr(connection, command)
            CALLERS[caller](function) if caller in CALLERS else function()

    before = open_sockets()
    with Server(script) as server:
        connection = sse.connect(server.url, on_event=on_event, config=quick())
        async with connection:
            if command == "close":
                await connection.wait_for(CLOSED, 5)
                # The flag stops delivery at once, even in the middle of a batch.
                assert seen == ["1", "2"]
                assert connection.last_event_id == "2"
                assert connection.metrics.events_dropped == 3
            elif command == "disconnect":
                await sse.until(lambda: connection.state is DISCONNECTED, connection)
                assert seen == ["1", "2", "3", "4", "5"]
            else:
                await sse.until(lambda: len(seen) == 10, connection)
                assert [request.cursor for request in server.requests] == [None, "5"]
        await sse.released(connection, before)


async def test_commands_may_come_from_on_change(sse: Face) -> None:
    with Server(stay("hello")) as server:

        def on_change(connection: Any, change: Any) -> None:
            if change.new is CONNECTED:
                connection.close()

        connection = sse.connect(server.url, on_change=on_change)
        await connection.open()
        await connection.wait_closed()
        assert connection.state is CLOSED


async def test_commands_of_one_caller_take_effect_in_their_order(sse: Face) -> None:
    with Server(stay("hello")) as server:
        async with sse.connect(server.url) as connection:
            connection.disconnect()
            await connection.connect()
            assert connection.state is CONNECTED
            connection.restart()
            connection.disconnect()
            await connection.connect()
            assert connection.state is CONNECTED
    assert len(server.visits) >= 3


async def test_disconnect_and_connect_go_on_from_the_cursor(sse: Face) -> None:
    with Server(stay("a", "b")) as server:
        async with sse.connect(server.url) as connection:
            assert [(await connection.receive(5)).data for _ in range(2)] == ["a", "b"]
            connection.disconnect()
            with pytest.raises(ConnectionClosed):
                await connection.receive(5)
            await connection.connect()
            assert (await connection.receive(5)).data == "a"
    assert [seen.cursor for seen in server.requests] == [None, "2"]


async def test_restart_with_a_value_replaces_cursor_and_buffer(sse: Face) -> None:
    with Server(stay("a", "b", "c")) as server:
        async with sse.connect(server.url) as connection:
            await sse.until(lambda: connection.metrics.events_received == 3, connection)
            connection.restart("x/é")
            await sse.until(lambda: connection.metrics.events_received == 6, connection)
            assert connection.last_event_id == "x/é"
            assert connection.received_event_id == "3"
            assert connection.metrics.events_dropped == 3
            assert [(await connection.receive(5)).data for _ in range(3)] == ["a", "b", "c"]
    assert [seen.cursor for seen in server.requests] == [None, "x/é"]


async def test_restart_without_a_value_keeps_cursor_and_buffer(sse: Face) -> None:
    with Server(stay("a", "b")) as server:
        async with sse.connect(server.url) as connection:
            await sse.until(lambda: connection.metrics.events_received == 2, connection)
            connection.restart()
            data = [(await connection.receive(5)).data for _ in range(4)]
            assert data == ["a", "b", "a", "b"]
    assert [seen.cursor for seen in server.requests] == [None, "2"]


async def test_commands_before_the_context_is_entered(sse: Face) -> None:
    with Server(stay("hello")) as server:
        connection = sse.connect(server.url)
        connection.disconnect()
        assert connection.state is DISCONNECTED
        connection.close()
        assert connection.state is CLOSED
        await connection.wait_closed()
        with pytest.raises(LocalProtocolError):
            await connection.open()
        with pytest.raises(LocalProtocolError):
            connection.restart()
    assert server.visits == []


async def test_restart_before_the_context_is_entered_is_out_of_order(sse: Face) -> None:
    connection = sse.connect("http://127.0.0.1:1/")
    with pytest.raises(LocalProtocolError, match="not connected"):
        connection.restart()
