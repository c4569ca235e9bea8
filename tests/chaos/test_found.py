"""What was found by chaos, each once more without it."""

import asyncio
import gc
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import sansio_sse_sockets
from sansio_sse import (
    BreakerConfig,
    ConnectionConfig,
    MemberDriver,
    PoolConfig,
    ReconnectionPolicy,
)
from sansio_sse_asyncio import ConnectionPool

Answer = Callable[[int], bytes]


async def serve(answer: Answer) -> tuple[asyncio.Server, str]:
    """Serve ``answer(cursor)`` to whoever comes, head and events in one write."""

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        cursor = request.partition("last-event-id: ")[2].partition("\r")[0]
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
        writer.write(head + answer(int(cursor or 0)))
        try:
            await reader.read()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(visit, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


def test_a_member_that_is_to_begin_anew_in_the_middle_of_a_read_gives_nothing_of_it() -> None:
    # Its response comes, with events in the same read, when its backlog is just too old. What is
    # unread is thrown away, and it begins anew: behind the rest of that read, not before it.
    cursors: list[int] = []

    def answer(cursor: int) -> bytes:
        cursors.append(cursor)
        if cursor == 6:
            time.sleep(0.5)  # holds the loop up: the answer and the timer come at one time
        last = 12 if cursor else 6
        return b"".join(b"id: %d\ndata: %d\n\n" % (n, n) for n in range(cursor + 1, last + 1))

    async def main() -> list[str]:
        server, url = await serve(answer)
        config = PoolConfig([url], connection=ConnectionConfig(buffer_size=4), max_backlog_age=0.3)
        async with server, ConnectionPool(config) as pool:
            async with pool.acquire() as lease:
                got = [(await lease.receive(5)).data]
            [member] = pool._connections.values()
            member._restart_now(None)  # as a move to a better endpoint does
            await asyncio.sleep(0.6)
            async with pool.acquire() as lease:
                while len(got) < 12:
                    got.append((await lease.receive(5)).data)
        return got

    assert asyncio.run(main()) == [str(n) for n in range(1, 13)]
    assert cursors == [0, 6, 1]


def test_what_has_waited_without_end_is_forgotten_when_it_is_over() -> None:
    async def main() -> int:
        server, url = await serve(lambda cursor: b"data: x\n\n")
        async with server, ConnectionPool(PoolConfig([url], max_size=1)) as pool:
            for number in range(5):
                subscription = pool.subscribe(f"tenant {number}")
                await subscription.receive(5)
                subscription.close()
            await asyncio.sleep(0.05)
            gc.collect()
            return sum(isinstance(one, MemberDriver) for one in gc.get_objects())

    gc.collect()
    before = sum(isinstance(one, MemberDriver) for one in gc.get_objects())
    assert asyncio.run(main()) - before <= 1


def test_streams_of_busy_holders_do_not_keep_others_from_connecting() -> None:
    # Plain sockets: five members are leased, and their holders do something else. An endpoint comes
    # back, a stream is moved there, and there is one attempt at a time. Nobody turns that one but
    # whoever waits in the pool; if he did not, he would wait for ever.
    def visit(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(9999)
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
            connection.sendall(head + b"id: 1\ndata: x\n\n")
            connection.recv(1)

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):  # until it is closed
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=visit, args=(connection,), daemon=True).start()

    listeners = [socket.socket() for _ in range(2)]
    for listener in listeners:
        listener.bind(("127.0.0.1", 0))
    broken, well = listeners
    well.listen()
    threading.Thread(target=accept, args=(well,), daemon=True).start()
    config = PoolConfig(
        [f"http://127.0.0.1:{listener.getsockname()[1]}/" for listener in listeners],
        max_connecting=1,
        connection=ConnectionConfig(
            reconnection=ReconnectionPolicy(initial_delay=0.01, max_delay=0.05, max_attempts=0)
        ),
        breaker=BreakerConfig(failures=1, successes=1, open_for=0.2, failback_after=0.1),
    )
    try:
        with sansio_sse_sockets.ConnectionPool(config) as pool:
            lent = threading.Thread(target=pool.run)
            lent.start()
            leases = [pool.acquire(timeout=5) for _ in range(5)]
            for lease in leases:
                lease.receive(5)
            broken.listen()
            threading.Thread(target=accept, args=(broken,), daemon=True).start()
            until = time.monotonic() + 5
            while pool.stats().moves < 2 and time.monotonic() < until:
                time.sleep(0.02)
            assert pool.stats().moves >= 2
            pool.acquire("other", timeout=5).release()
            for lease in leases:
                lease.release()
            pool.close()
            lent.join(5)
            assert not lent.is_alive()
    finally:
        for listener in listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
