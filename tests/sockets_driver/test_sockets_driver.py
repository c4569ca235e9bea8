"""What is the plain sockets' own: threads, signals, and no loop."""

import gc
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from contract.common import quick, stay
from contract.face import Face
from contract.server import Peer, Seen, Server, open_sockets
from sansio_sse import ConnectionClosed, ConnectionState, LocalProtocolError
from sansio_sse_sockets import connect

CLOSED = ConnectionState.CLOSED
PATIENCE = 10.0


def pour(peer: Peer, seen: Seen) -> None:
    """Send more events than anybody reads."""
    peer.stream()
    while True:
        peer.body(b"data: x\n\n" * 2000)


def beside(function: Any, *args: Any) -> threading.Thread:
    thread = threading.Thread(target=function, args=args, name="test-beside", daemon=True)
    thread.start()
    return thread


# --- Interrupts --------------------------------------------------------------------------------


@pytest.fixture
def alarm() -> Iterator[None]:
    """An alarm that rings is a Ctrl-C."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    left = signal.setitimer(signal.ITIMER_REAL, 0)
    # Python ignores what comes in a callback of the garbage collection, and Hypothesis leaves one.
    collecting = gc.callbacks[:]
    gc.callbacks.clear()
    yield
    gc.callbacks[:] = collecting
    signal.setitimer(signal.ITIMER_REAL, *left)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.timeout(30, method="thread")  # the other method is an alarm too
def test_an_interrupt_ends_a_blocked_reader(alarm: None) -> None:
    def follow(connection: Any) -> None:
        with connection:
            assert connection.receive(PATIENCE).data == "hello"
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            connection.receive(PATIENCE)

    before = open_sockets()
    with Server(stay("hello")) as server:
        connection = connect(server.url)
        with pytest.raises(KeyboardInterrupt):
            follow(connection)
        assert connection.state is CLOSED
        server.close()
    assert open_sockets() == before


@pytest.mark.timeout(30, method="thread")
def test_a_blocked_reader_that_was_interrupted_may_go_on(alarm: None) -> None:
    go = threading.Event()

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream()
        peer.wait(go)
        peer.event("hello")
        peer.stall()

    with Server(script) as server, connect(server.url) as connection:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(KeyboardInterrupt):
            connection.receive(PATIENCE)
        go.set()
        assert connection.receive(PATIENCE).data == "hello"


@pytest.mark.timeout(30, method="thread")
def test_an_interrupt_at_any_moment_of_a_busy_iteration_ends_it(alarm: None) -> None:
    chance = random.Random(1)

    def follow(connection: Any) -> None:
        with connection:
            # Again, should the first come where Python can only ignore it.
            signal.setitimer(signal.ITIMER_REAL, 0.002 + 0.004 * chance.random(), 0.5)
            for _ in connection:
                pass

    with Server(pour) as server:
        for _ in range(150):
            connection = connect(server.url)
            with pytest.raises(KeyboardInterrupt):
                follow(connection)
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert connection.state is CLOSED


# --- Threads -----------------------------------------------------------------------------------


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads take turns after each few instructions."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_commands_of_others_do_not_disturb_the_one_reader(hasty_threads: None) -> None:
    over = threading.Event()

    def restart_again_and_again(connection: Any) -> None:
        while not over.wait(0.003):
            connection.restart()

    with Server(pour) as server, connect(server.url, config=quick()) as connection:
        other = beside(restart_again_and_again, connection)
        give_up = time.monotonic() + 1.0
        while time.monotonic() < give_up:
            assert connection.receive(PATIENCE).data == "x"
        over.set()
        other.join(PATIENCE)


def test_a_close_of_another_at_any_moment_ends_the_iteration(hasty_threads: None) -> None:
    failures: list[BaseException] = []
    refusals: set[str] = set()

    def close(connection: Any, pause: float) -> None:
        try:
            time.sleep(pause)
            connection.close()
        except BaseException as error:
            failures.append(error)

    before = open_sockets()
    with Server(pour) as server:
        for number in range(300):
            connection = connect(server.url)
            other = beside(close, connection, 0.0001 * (number % 40))
            try:
                with connection:
                    for _ in connection:
                        pass
            except ConnectionClosed:
                pass  # while it was entered
            except LocalProtocolError as error:
                refusals.add(str(error))  # before that
            other.join(PATIENCE)
            connection.wait_closed()
            assert connection.state is CLOSED
        server.close()
    assert failures == []
    assert refusals <= {"cannot connect: the connection is closed"}
    assert open_sockets() == before


def test_a_call_in_a_callback_of_a_command_is_out_of_order(sse: Face) -> None:
    raised: list[BaseException] = []

    def wait(connection: Any, change: Any) -> None:
        if change.new is CLOSED:
            connection.wait_for(ConnectionState.CONNECTED)

    def note(connection: Any, error: BaseException) -> None:
        raised.append(error)

    with (
        Server(stay("hello")) as server,
        connect(server.url, on_change=wait, on_error=note) as connection,
    ):
        other = beside(connection.close)
        other.join(PATIENCE)
        assert not other.is_alive()
    assert [type(error) for error in raised] == [LocalProtocolError]


# --- Addresses ---------------------------------------------------------------------------------


def test_an_address_of_a_family_that_this_system_does_not_have_is_passed_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    look_up = socket.getaddrinfo

    class WithoutIPv6(socket.socket):
        def __init__(self, family: int = -1, *args: Any, **options: Any) -> None:
            if family == socket.AF_INET6:
                raise OSError(97, os.strerror(97))
            super().__init__(family, *args, **options)

    def both(host: str, port: int, **options: Any) -> Any:
        if options.get("flags"):
            raise socket.gaierror
        return [*look_up("::1", port, **options), *look_up("127.0.0.1", port, **options)]

    with Server(stay("hello")) as server:
        monkeypatch.setattr(socket, "getaddrinfo", both)
        monkeypatch.setattr(socket, "socket", WithoutIPv6)
        with connect(server.url.replace("127.0.0.1", "both.invalid")) as connection:
            assert connection.receive(PATIENCE).data == "hello"
        monkeypatch.undo()
