"""Threads: which of their waits ``close()`` ends, and what becomes of the others."""

import gc
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from contract.common import quick, stay
from contract.fixtures import Certificates
from contract.phases import PHASES, BlackHole, hold
from contract.server import Peer, Seen, Server, open_sockets
from sansio_sse import ConnectionState, Timeouts
from sansio_sse_httpcore import sync

CLOSED = ConnectionState.CLOSED
PATIENCE = 10.0
INTERRUPTIBLE = [phase for phase in PHASES if phase not in ("resolving", "connecting")]


def exchanges() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "sansio-sse-exchange"]


def until_none(seconds: float = 5.0) -> float:
    """Wait until no exchange has a thread any more; return how long that took."""
    began = time.monotonic()
    while exchanges():
        assert time.monotonic() - began < seconds, "a thread does not end"
        time.sleep(0.002)
    return time.monotonic() - began


@pytest.mark.parametrize("phase", INTERRUPTIBLE)
@pytest.mark.parametrize("command", ["close", "disconnect"])
async def test_no_thread_is_left(
    sync_sse: Any,
    phase: str,
    command: str,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with hold(phase, sync_sse, certificates, monkeypatch) as held:
        getattr(held.connection, command)()
        until_none(2.0)  # less than any timeout here


# --- Waits that nothing ends -------------------------------------------------------------------


def quickly_closed(connection: Any) -> None:
    began = time.monotonic()
    connection.close()
    connection.wait_closed()
    assert connection.state is CLOSED
    assert time.monotonic() - began < 0.2


def test_a_race_of_addresses_lasts_as_long_as_a_connection_may_take(sync_sse: Any) -> None:
    with ExitStack() as stack:
        hole = BlackHole(stack)
        config = quick(timeouts=Timeouts(connect=0.5))
        url = f"http://127.0.0.1:{hole.address[1]}/"
        connection = sync.connect(url, config=config, wait=False).open()
        began = time.monotonic()
        quickly_closed(connection)
        assert exchanges(), "nobody can end its wait"
        until_none()
        assert 0.3 < time.monotonic() - began < 3


def test_what_connects_too_late_sends_nothing(
    sync_sse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = threading.Event()
    asked = threading.Event()
    look_up = socket.getaddrinfo

    def slowly(host: Any, *args: Any, **options: Any) -> Any:
        asked.set()
        answer.wait(PATIENCE)
        return look_up("127.0.0.1", *args, **options)

    with Server(stay("hello")) as server:
        monkeypatch.setattr(socket, "getaddrinfo", slowly)
        url = server.url.replace("127.0.0.1", "slow.invalid")
        options: dict[str, Any] = {"method": "POST", "content": b"once", "wait": False}
        connection = sync.connect(url, **options).open()
        assert asked.wait(PATIENCE)
        quickly_closed(connection)
        assert exchanges()
        answer.set()
        until_none()
    assert len(server.visits) == 1
    assert server.requests == []


def test_on_a_connection_that_was_kept_a_silent_server_is_waited_for(sync_sse: Any) -> None:
    silent = threading.Event()

    def script(peer: Peer, seen: Seen) -> None:
        if seen.path == "/first":
            peer.reply("hello")
        else:
            silent.set()
            peer.stall()

    with Server(script) as server, sync_sse.package.ConnectionPool() as pool:
        with sync.connect(
            f"{server.origin}/first", pool=pool, config=quick(on_end="finish")
        ) as one:
            assert [event.data for event in one] == ["hello"]
        config = quick(timeouts=Timeouts(response=0.5))
        second = sync.connect(server.url, pool=pool, config=config, wait=False).open()
        assert silent.wait(PATIENCE)
        began = time.monotonic()
        quickly_closed(second)
        assert exchanges()
        until_none()
        assert 0.3 < time.monotonic() - began < 3
        assert len(server.visits) == 1


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
def test_an_interrupt_ends_a_blocked_reader(sync_sse: Any, alarm: None) -> None:
    def follow(connection: Any) -> None:
        with connection:
            assert connection.receive(PATIENCE).data == "hello"
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            connection.receive(PATIENCE)

    before = open_sockets()
    with Server(stay("hello")) as server:
        connection = sync.connect(server.url)
        with pytest.raises(KeyboardInterrupt):
            follow(connection)
        assert connection.state is CLOSED
        until_none()
        assert open_sockets() == before


@pytest.mark.timeout(30, method="thread")
def test_a_blocked_reader_that_was_interrupted_may_go_on(sync_sse: Any, alarm: None) -> None:
    go = threading.Event()

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream()
        peer.wait(go)
        peer.event("hello")
        peer.stall()

    with Server(script) as server, sync.connect(server.url) as connection:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(KeyboardInterrupt):
            connection.receive(PATIENCE)
        go.set()
        assert connection.receive(PATIENCE).data == "hello"


@pytest.mark.timeout(30, method="thread")
def test_an_interrupt_at_any_moment_of_a_busy_iteration_ends_it(sync_sse: Any, alarm: None) -> None:
    def pour(peer: Peer, seen: Seen) -> None:
        peer.stream()
        while True:
            peer.body(b"data: x\n\n" * 500)

    def follow(connection: Any, after: float) -> None:
        with connection:
            # Again, should the first come where Python can only ignore it.
            signal.setitimer(signal.ITIMER_REAL, after, 0.5)
            for _ in connection:
                pass

    with Server(pour) as server:
        for number in range(20):
            connection = sync.connect(server.url)
            with pytest.raises(KeyboardInterrupt):
                follow(connection, 0.002 + 0.0005 * number)
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert connection.state is CLOSED
        until_none()


@pytest.mark.timeout(30, method="thread")
def test_an_interrupt_while_it_is_entered_leaves_nothing(sync_sse: Any, alarm: None) -> None:
    def silent(peer: Peer, seen: Seen) -> None:
        peer.stall()

    with Server(silent) as server:
        connection = sync.connect(server.url)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            connection.open()
        assert connection.state is CLOSED
        until_none()
