"""What only a trio application does: nurseries, cancellation, and the order of its tasks."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from sansio_sse import Origin, Request, ServerSentEvent
from sansio_sse.testing import DeadlockError, Respond, Stall, send_event
from sansio_sse_trio import connect
from sansio_sse_trio.testing import SSENetwork, sse_network
from sansio_sse_trio.transport import open_stream, opener

__all__ = ["sse_network"]  # a fixture works where it is imported

URL = "https://api.example.com/events"


def test_a_coroutine_will_do_and_the_clocks_agree(sse_network: SSENetwork) -> None:
    async def app() -> float:
        await trio.sleep(10)
        return trio.current_time()

    assert sse_network.run(app()) == 10.0
    assert sse_network.run(app) == 20.0 == sse_network.clock.now


def test_the_limit_is_not_a_timeout_of_the_application(sse_network: SSENetwork) -> None:
    async def impatient() -> None:
        with trio.fail_after(1):
            await trio.sleep_forever()

    with pytest.raises(trio.TooSlowError):
        sse_network.run(impatient)
    sse_network.run(partial(trio.sleep, 10**6), limit=None)
    with pytest.raises(TimeoutError, match="not done after 60 virtual seconds"):
        sse_network.run(partial(trio.sleep, 10**6), limit=60)
    assert sse_network.clock.now == 1000061.0


def test_a_deadlock_names_the_tasks_and_they_clean_up(sse_network: SSENetwork) -> None:
    cleaned: list[float] = []

    async def waiter() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
                cleaned.append(trio.current_time())

    async def app() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiter, name="the waiter")
            await trio.testing.wait_all_tasks_blocked()  # which is no deadlock
            await trio.testing.wait_all_tasks_blocked(0.001)

    with pytest.raises(DeadlockError, match=r"there wait: the application, the waiter$"):
        sse_network.run(app)
    assert cleaned == [1.0]


def test_timeouts_tasks_and_several_connections(sse_network: SSENetwork) -> None:
    sse_network.server(URL, [Respond(), send_event("slow", after=100), Stall()])
    sse_network.server("http://b.example.com", [Respond(), send_event("fast", after=1), Stall()])
    seen: list[tuple[float, str]] = []

    async def first(url: str) -> None:
        async with connect(url) as connection:
            event = await connection.receive()
            assert isinstance(event, ServerSentEvent)
            seen.append((trio.current_time(), event.data))

    async def app() -> None:
        with trio.move_on_after(50):
            await first(URL)
        assert trio.current_time() == 50
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first, URL)
            nursery.start_soon(first, "http://b.example.com")

    sse_network.run(app)
    assert seen == [(51.0, "fast"), (150.0, "slow")]
    assert sse_network.clock.now == 150.0


def test_the_order_of_tasks_is_that_of_the_seed() -> None:
    def order(seed: int) -> list[int]:
        seen: list[int] = []

        async def task(number: int) -> None:
            for _ in range(5):
                await trio.sleep(1)
                seen.append(number)

        async def app() -> None:
            async with trio.open_nursery() as nursery:
                for number in range(5):
                    nursery.start_soon(task, number)

        SSENetwork(seed).run(app)
        return seen

    assert order(1) == order(1) != order(2)


def test_an_async_prepare_request_takes_its_time(sse_network: SSENetwork) -> None:
    server = sse_network.server(URL, [Respond(), Stall()])

    async def prepare(request: Request, attempt: int) -> Request:
        await trio.sleep(3)
        return request.with_header("Authorization", "fresh")

    async def app() -> float:
        async with connect(URL, prepare_request=prepare):
            return trio.current_time()

    assert sse_network.run(app) == 3.0
    assert server.requests[0].header("authorization") == "fresh"


def test_what_the_body_raises_comes_out_bare(sse_network: SSENetwork) -> None:
    sse_network.server(URL, [Respond(), Stall()])

    async def app() -> None:
        async with connect(URL):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        sse_network.run(app)


@pytest.mark.parametrize(
    "refused",
    [
        partial(trio.to_thread.run_sync, bool),
        partial(trio.open_tcp_stream, "127.0.0.1", 9),
        partial(trio.open_tcp_stream, "localhost", 9),
        partial(trio.open_tcp_listeners, 0),
        partial(trio.socket.getnameinfo, ("127.0.0.1", 9), 0),
    ],
)
def test_what_needs_real_time_is_refused(
    sse_network: SSENetwork, refused: Callable[[], Any]
) -> None:
    with pytest.raises(RuntimeError, match="needs real time, and time is virtual here"):
        sse_network.run(refused)


def test_time_that_stands_still_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sansio_sse.testing.application._TURNS", 1000)

    async def app() -> None:
        while True:
            await trio.lowlevel.checkpoint()

    with pytest.raises(RuntimeError, match="1000 turns, and it is still 0 s"):
        SSENetwork().run(app)


def test_a_stream_is_one_of_trios(sse_network: SSENetwork) -> None:
    """What trio's own helpers expect of a stream."""
    server = sse_network.server(URL, [Respond(content=b"x" * 100, framing="close")])

    async def app() -> None:
        stream = await opener.get()(Origin.of(URL), uds=None, context=None)
        await stream.wait_send_all_might_not_block()
        await stream.send_all(bytearray(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
        assert await stream.receive_some(4) == b"HTTP"
        assert len(b"".join([data async for data in stream])) > 100
        await stream.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_some()
        await stream.aclose()

    sse_network.run(app)
    assert len(server.requests) == 1


def test_other_runs_open_real_streams() -> None:
    async def app() -> None:
        assert opener.get() is open_stream

    trio.run(app)
