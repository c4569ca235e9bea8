"""What only an asyncio application does: tasks, and waiting while a request is prepared."""

import asyncio

import pytest

from sansio_sse import ConnectionState, Request, ServerSentEvent
from sansio_sse.testing import DeadlockError, Respond, Stall, send_event
from sansio_sse_asyncio import connect
from sansio_sse_asyncio.testing import SSENetwork, sse_network
from sansio_sse_asyncio.transport import open_link, opener_for

__all__ = ["sse_network"]  # a fixture works where it is imported

URL = "https://api.example.com/events"


def now() -> float:
    return asyncio.get_running_loop().time()


def test_a_coroutine_will_do_and_time_goes_on(sse_network: SSENetwork) -> None:
    assert sse_network.run(asyncio.sleep(10, "slept")) == "slept"
    sse_network.run(asyncio.sleep(5))
    assert sse_network.clock.now == 15.0


def test_the_limit_is_not_a_timeout_of_the_application(sse_network: SSENetwork) -> None:
    async def impatient() -> None:
        await asyncio.wait_for(asyncio.Event().wait(), 1)

    with pytest.raises(TimeoutError, match=r"^$"):
        sse_network.run(impatient)
    assert sse_network.run(asyncio.sleep(10**6, "no limit"), limit=None) == "no limit"


def test_a_deadlock_names_the_tasks_and_they_clean_up(sse_network: SSENetwork) -> None:
    cleaned: list[float] = []

    async def app() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.set_name("the one")
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1)
            cleaned.append(now())

    with pytest.raises(DeadlockError, match=r"there wait: the one$"):
        sse_network.run(app)
    assert cleaned == [1.0]


def test_timeouts_tasks_and_several_connections(sse_network: SSENetwork) -> None:
    sse_network.server(URL, [Respond(), send_event("slow", after=100), Stall()])
    sse_network.server("http://b.example.com", [Respond(), send_event("fast", after=1), Stall()])

    async def first(url: str) -> tuple[float, str]:
        async with connect(url) as connection:
            async for event in connection:
                assert isinstance(event, ServerSentEvent)
                return now(), event.data
        raise AssertionError

    async def app() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(50):
                await first(URL)
        assert now() == 50
        results = await asyncio.gather(first("http://b.example.com"), first(URL))
        assert list(results) == [
            (51.0, "fast"),
            (150.0, "slow"),
        ]
        async with connect(URL) as connection:
            with pytest.raises(TimeoutError):
                await connection.receive(timeout=5)
            await connection.wait_for(ConnectionState.CONNECTED, timeout=1)

    sse_network.run(app)
    assert sse_network.clock.now == 155.0


def test_an_async_prepare_request_takes_its_time(sse_network: SSENetwork) -> None:
    server = sse_network.server(URL, [Respond(), Stall()])

    async def prepare(request: Request, attempt: int) -> Request:
        await asyncio.sleep(3)
        return request.with_header("Authorization", "fresh")

    async def app() -> float:
        async with connect(URL, prepare_request=prepare):
            return now()

    assert sse_network.run(app) == 3.0
    assert server.requests[0].header("authorization") == "fresh"


def test_other_loops_open_real_transports() -> None:
    with asyncio.Runner() as runner:
        assert opener_for(runner.get_loop()) is open_link


def test_the_fixture_reports_a_connection_that_was_not_closed() -> None:
    async def forgetful() -> None:
        await connect(URL).open()

    fixture = SSENetwork.fixture(None)()
    network = next(fixture)
    network.server(URL, [Respond(), Stall()])
    network.run(forgetful)
    with pytest.raises(AssertionError, match="1 transports were left open"):
        next(fixture)
