"""A pool's leases: who gets one, what is in it, and how it ends."""

import gc
import signal
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from sansio_sse import (
    ConfigError,
    ConnectionClosed,
    ConnectionState,
    HTTPStatusError,
    LocalProtocolError,
    PoolClosed,
    PoolTimeout,
    StateChanged,
)

from .common import drop, go_on, pooled, quick, resume, stay, turn_away
from .face import Face
from .server import Peer, Seen, Server, open_sockets

pytestmark = pytest.mark.needs("groups")

CLOSED = ConnectionState.CLOSED
CONNECTED = ConnectionState.CONNECTED

ENDED = "the lease has ended"


async def data_of(lease: Any, count: int) -> list[str]:
    """Return the data of the next events."""
    return [(await lease.receive(5)).data for _ in range(count)]


async def received(sse: Face, lease: Any, count: int) -> None:
    """Wait until a connection has received so many events."""
    await sse.until(lambda: lease.metrics.events_received >= count, lease)


# --- Granting ----------------------------------------------------------------------------------


async def test_a_lease_is_a_connection_of_ones_own(sse: Face) -> None:
    with Server(stay("hello")) as server:
        async with sse.pool(pooled(server.url, max_size=2)) as pool:
            async with pool.acquire() as first, pool.acquire() as second:
                assert await data_of(first, 1) == await data_of(second, 1) == ["hello"]
                assert first.state is CONNECTED
                assert first.response.status == 200
                assert pool.stats().active == pool.healthy_count == 2
            assert pool.stats().idle == 2
            lease = await pool.acquire()
            assert lease.last_event_id == "1"
            assert not lease.ended
            lease.release()
            assert lease.ended
        assert len(server.visits) == 2


async def test_a_lease_is_exclusive(sse: Face) -> None:
    with Server(stay("hello")) as server:
        async with sse.pool(pooled(server.url, max_size=1)) as pool:
            async with pool.acquire():
                for timeout in (0, 0.02):
                    with pytest.raises(PoolTimeout):
                        await pool.acquire(timeout=timeout)
            async with pool.acquire(timeout=0) as lease:
                assert await data_of(lease, 1) == ["hello"]
        assert len(server.visits) == 1


async def test_waiters_are_served_in_the_order_in_which_they_came(sse: Face) -> None:
    served: list[int] = []

    async def serve(number: int) -> None:
        async with pool.acquire(timeout=5):
            served.append(number)

    with Server(stay("hello")) as server:
        async with sse.pool(pooled(server.url, max_size=1)) as pool:
            lease = await pool.acquire()
            async with sse.beside(serve, 0):
                await sse.until(lambda: pool.stats().waiters == 1, pool)
                async with sse.beside(serve, 1):
                    await sse.until(lambda: pool.stats().waiters == 2, pool)
                    async with sse.beside(serve, 2):
                        await sse.until(lambda: pool.stats().waiters == 3, pool)
                        assert served == []
                        lease.release()
    assert served == [0, 1, 2]


async def test_what_nobody_gets_in_time_is_a_pool_timeout_that_says_why(sse: Face) -> None:
    with Server(stay("hello")) as server:
        async with sse.pool(pooled(server.url, max_size=1, acquire_timeout=0.03)) as pool:
            async with pool.acquire():
                with pytest.raises(PoolTimeout) as caught:
                    await pool.acquire()
            text = "no connection within 0.03 s: nobody waited before it, 1 of 1 are in use"
            assert text in str(caught.value)
            assert pool.stats().acquire_timeouts == 1
            with pytest.raises(ConfigError, match="timeout must be"):
                await pool.acquire(timeout=-1)
            with pytest.raises(ConfigError, match="a scope is a string"):
                await pool.acquire(3)


async def test_a_pool_timeout_names_the_latest_failure_of_each_endpoint(sse: Face) -> None:
    with Server(turn_away(503)) as first, Server(turn_away(502)) as second:
        config = pooled(first.url, second.url, connection=quick(max_attempts=0))
        async with sse.pool(config) as pool:
            with pytest.raises(PoolTimeout) as caught:
                await pool.acquire(timeout=0.3)
    for server, status in ((first, 503), (second, 502)):
        assert f"{server.url}: HTTPStatusError: the server answered {status}" in str(caught.value)


async def test_when_everything_failed_for_good_the_cause_comes_at_once(sse: Face) -> None:
    with Server(turn_away(403)) as server:
        async with sse.pool(pooled(server.url)) as pool:
            began = time.monotonic()
            for ask in (pool.acquire, pool.stream):
                with pytest.raises(HTTPStatusError) as caught:
                    await ask()
                assert caught.value.status == 403
            assert time.monotonic() - began < 5
            assert pool.stats().total == 0


async def test_a_very_long_timeout_is_no_problem(sse: Face) -> None:
    with Server(stay("hello")) as server:
        config = pooled(server.url, max_size=1, acquire_timeout=1e12, max_idle=1e12)
        async with sse.pool(config) as pool:
            lease = await pool.acquire()
            async with sse.beside(data_of, lease, 1):
                pass

            async def ask() -> None:
                async with pool.acquire(timeout=float("inf")):
                    pass

            async with sse.beside(ask):
                await sse.until(lambda: pool.stats().waiters == 1, pool)
                lease.release()
            async with pool.acquire():
                pass


# --- What is in it -----------------------------------------------------------------------------


async def test_the_next_lease_of_the_scope_begins_with_what_was_left_unread(sse: Face) -> None:
    with Server(stay("one", "two", "three")) as server:
        async with sse.pool(pooled(server.url, max_size=1)) as pool:
            async with pool.acquire("mine") as lease:
                assert lease.backlog.count == 0
                assert await data_of(lease, 1) == ["one"]
                await received(sse, lease, 3)
            await sse.sleep(0.03)
            async with pool.acquire("mine") as lease:
                assert lease.backlog.count == 2
                assert 0.02 < lease.backlog.age < 5
                assert lease.last_event_id == "1"
                assert await data_of(lease, 2) == ["two", "three"]
            async with pool.acquire("mine") as lease:
                assert lease.backlog == type(lease.backlog)(0, 0.0)
        assert len(server.visits) == 1


async def test_what_comes_while_nobody_has_it_is_the_next_ones_backlog(sse: Face) -> None:
    with Server(go_on("one", then="two")) as server:
        async with sse.pool(pooled(server.url, max_size=1)) as pool:
            async with pool.acquire() as lease:
                assert await data_of(lease, 1) == ["one"]
                member = getattr(lease, "plain", lease)._hold.member
            server.go.set()
            await sse.until(lambda: member.metrics.events_received == 2, pool)
            async with pool.acquire() as lease:
                assert lease.backlog.count == 1
                assert await data_of(lease, 1) == ["two"]


@pytest.mark.parametrize("places", [1, 2])
async def test_what_was_left_unread_never_reaches_another_scope(sse: Face, places: int) -> None:
    def whose(peer: Peer, seen: Seen) -> None:
        peer.stream()
        for number in range(3):
            peer.event(f"{seen.visit.number}.{number}")
        peer.stall()

    with Server(whose) as server:
        async with sse.pool(pooled(server.url, max_size=places)) as pool:
            async with pool.acquire("a") as lease:
                assert await data_of(lease, 1) == ["0.0"]
                await received(sse, lease, 3)
            async with pool.acquire("b") as lease:
                assert lease.backlog.count == 0
                assert await data_of(lease, 3) == ["1.0", "1.1", "1.2"]
            async with pool.acquire("a") as lease:
                visit = "0" if places == 2 else "2"
                expected = [f"{visit}.{number}" for number in range(3)]
                if places == 2:
                    assert lease.backlog.count == 2
                    expected.pop(0)
                assert await data_of(lease, len(expected)) == expected
            assert pool.stats().unread_dropped == (0 if places == 2 else 2)


@pytest.mark.parametrize("by", ["lease", "pool"])
@pytest.mark.parametrize("unread", ["keep", "drop", "close"])
async def test_a_release_says_what_becomes_of_what_is_unread(
    sse: Face, unread: str, by: str
) -> None:
    with Server(go_on("one", "two", then="three")) as server:
        async with sse.pool(pooled(server.url, max_size=1)) as pool:
            lease = await pool.acquire()
            assert await data_of(lease, 1) == ["one"]
            await received(sse, lease, 2)
            if by == "lease":
                lease.release(unread)
            else:
                pool.release(lease, unread=unread)
            async with pool.acquire() as lease:
                kept = unread == "keep"
                assert lease.backlog.count == kept
                assert lease.last_event_id == {"keep": "1", "drop": "2", "close": ""}[unread]
                server.go.set()
                expected = {
                    "keep": ["two", "three"],
                    "drop": ["three"],
                    "close": ["one", "two", "three"],
                }[unread]
                assert await data_of(lease, len(expected)) == expected
            assert pool.stats().unread_dropped == (not kept)
        assert len(server.visits) == (2 if unread == "close" else 1)


async def test_reconnecting_heals_within_the_lease(sse: Face) -> None:
    with Server(resume(12, cut=3)) as server:
        async with sse.pool(pooled(server.url, max_size=1)) as pool:
            async with pool.acquire() as lease:
                numbers = [(await lease.receive(5)).id for _ in range(12)]
                assert numbers == [str(number) for number in range(1, 13)]
                assert pool.stats().active == 1
            assert pool.stats().opens == 1
    assert [seen.cursor for seen in server.requests][:4] == [None, "3", "6", "9"]


async def test_an_error_is_raised_to_the_holder_and_the_member_replaced(sse: Face) -> None:
    with Server([drop("one"), turn_away(403), stay("two")]) as server:
        async with sse.pool(pooled(server.url, max_size=1)) as pool:
            async with pool.acquire() as lease:
                assert await data_of(lease, 1) == ["one"]
                for _ in range(2):
                    with pytest.raises(HTTPStatusError):
                        await lease.receive(5)
                with pytest.raises(HTTPStatusError):
                    await anext(lease)
                assert lease.state is ConnectionState.ERROR
                assert pool.stats().failed == 1
            async with pool.acquire() as lease:
                assert await data_of(lease, 1) == ["two"]
            assert pool.stats().opens == 2
            assert pool.stats().closes == {"failed": 1}


# --- Its end -----------------------------------------------------------------------------------


async def test_after_its_release_a_lease_is_of_no_use(sse: Face) -> None:
    with Server(stay("one", "two")) as server:
        async with sse.pool(pooled(server.url, max_size=1)) as pool:
            lease = await pool.acquire()
            changes = lease.state_changes()
            errors = lease.errors()
            assert isinstance(await anext(changes), StateChanged)
            lease.release()

            uses: list[Callable[[], Any]] = [
                lambda: lease.receive(1),
                lambda: lease.wait_for(CONNECTED, 1),
                lambda: lease.post("/ping"),
                lambda: lease.__aenter__(),
            ]
            for use in uses:
                with pytest.raises(ConnectionClosed, match=ENDED):
                    await use()
            looks: list[Callable[[], Any]] = [
                lambda: lease.state,
                lambda: lease.last_event_id,
                lambda: lease.received_event_id,
                lambda: lease.response,
                lambda: lease.metrics,
                lease.info,
                lease.state_changes,
                lease.errors,
            ]
            for look in looks:
                with pytest.raises(ConnectionClosed, match=ENDED):
                    look()
            assert [event async for event in lease] == []
            assert [change async for change in changes] == []
            assert [error async for error in errors] == []
            assert "ended" in repr(lease)
            async with pool.acquire() as again:
                assert await data_of(again, 2) == ["one", "two"]


def reading_of(member: Any) -> Callable[[], Any]:
    """Return what tells whether somebody reads a connection."""
    return lambda: member._reading_now


async def test_a_suspended_reader_is_told_and_takes_nothing_from_the_next_holder(
    sse: Face,
) -> None:
    rounds = 20

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream()
        for number in range(rounds):
            while len(ready) <= number:
                peer.sleep(0.001)
            peer.event(str(number))
        peer.stall()

    ready: list[int] = []
    ends: list[Any] = []

    async def read(lease: Any) -> None:
        try:
            ends.append(await lease.receive())
        except ConnectionClosed as error:
            ends.append(str(error))

    async def loop(lease: Any) -> None:
        ends.append([event async for event in lease])

    with Server(script) as server:
        async with sse.pool(pooled(server.url, max_size=1)) as pool:
            for number in range(rounds):
                lease = await pool.acquire()
                hold = getattr(lease, "plain", lease)._hold
                async with sse.beside(loop if number % 2 else read, lease):
                    await sse.until(reading_of(hold.member))
                    lease.release()
                    async with pool.acquire(timeout=5) as following:
                        if number % 3:
                            ready.append(number)
                        job = sse.beside(following.receive, 5)
                        async with job as reading:
                            if not number % 3:
                                await sse.until(reading_of(hold.member))
                                ready.append(number)
                            assert (await reading.result()).data == str(number)
    assert ends == [[] if number % 2 else ENDED for number in range(rounds)]


async def test_a_lease_that_nobody_has_any_more_is_reclaimed_with_a_warning(sse: Face) -> None:
    with Server(stay("one", "two")) as server:
        async with sse.pool(pooled(server.url, max_size=1, acquire_timeout=5)) as pool:
            lease = await pool.acquire()
            assert await data_of(lease, 1) == ["one"]
            await received(sse, lease, 2)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                del lease
                gc.collect()
                await sse.until(lambda: pool.stats().idle == 1, pool)
            [warning] = caught
            assert warning.category is ResourceWarning
            assert "was never released" in str(warning.message)
            async with pool.acquire() as lease:
                assert await data_of(lease, 1) == ["two"]
            del lease
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                gc.collect()
                await sse.let_run(pool, 0.005)


async def test_a_lost_lease_is_reclaimed_also_where_warnings_are_errors(sse: Face) -> None:
    with Server(stay("one")) as server:
        async with sse.pool(pooled(server.url, max_size=1, acquire_timeout=5)) as pool:
            lease = await pool.acquire()
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                del lease
                gc.collect()
                await sse.until(lambda: pool.stats().idle == 1, pool)
                async with pool.acquire():
                    pass
    [warning] = sse.unhandled
    assert isinstance(warning, ResourceWarning)
    sse.unhandled.clear()


async def test_a_holder_who_raises_gives_the_lease_back(sse: Face) -> None:
    with Server(stay("hello")) as server:
        async with sse.pool(pooled(server.url, max_size=1)) as pool:
            with pytest.raises(ZeroDivisionError):
                async with pool.acquire():
                    raise ZeroDivisionError
            assert pool.stats().idle == 1
            with pytest.raises(ZeroDivisionError) as caught:
                async with sse.pool(pooled(server.url)):
                    raise ZeroDivisionError
            assert caught.value.__context__ is None


# --- Those who stop waiting --------------------------------------------------------------------


async def test_a_waiter_who_is_cancelled_leaves_his_place_to_the_next(async_sse: Face) -> None:
    sse = async_sse
    served: list[int] = []

    async def serve(number: int) -> None:
        async with pool.acquire(timeout=5):
            served.append(number)

    with Server(stay("hello")) as server:
        async with sse.pool(pooled(server.url, max_size=1)) as pool:
            lease = await pool.acquire()
            async with sse.beside(serve, 0) as first, sse.beside(serve, 1):
                assert pool.stats().waiters == 2
                first.cancel()
                await sse.until(lambda: first.done)
                lease.release()
            assert served == [1]
            stats = pool.stats()
            assert (stats.acquire_cancellations, stats.waiters, stats.active) == (1, 0, 0)


@pytest.mark.parametrize("first", ["grant", "cancel"])
@pytest.mark.parametrize("how", ["await", "async with"])
async def test_a_grant_that_races_with_a_cancellation_goes_to_the_next_waiter(
    async_sse: Face, first: str, how: str
) -> None:
    sse = async_sse
    served: list[int] = []

    async def serve(number: int) -> None:
        if how == "await":
            lease = await pool.acquire(timeout=5)
            try:
                await sse.sleep(0)  # trio has given it by now; the cancellation comes here
                served.append(number)
            finally:
                lease.release()
        else:
            async with pool.acquire(timeout=5):
                await sse.sleep(0)
                served.append(number)

    with Server(stay("hello")) as server:
        async with sse.pool(pooled(server.url, max_size=1)) as pool:
            for _ in range(10):
                lease = await pool.acquire()
                async with sse.beside(serve, 0) as loser, sse.beside(serve, 1):
                    if first == "grant":
                        lease.release()
                        loser.cancel()
                    else:
                        loser.cancel()
                        lease.release()
            assert served == [1] * 10
            stats = pool.stats()
            assert (stats.waiters, stats.active, stats.idle, stats.total) == (0, 0, 1, 1)
        assert len(server.visits) == 1


async def test_a_cancelled_waiters_connection_serves_the_next(async_sse: Face) -> None:
    """Cancelled while its connection is being made, in each turn that this takes."""
    sse = async_sse
    with Server(stay("hello")) as server:
        for turns in range(12):
            async with sse.pool(pooled(server.url, max_size=1)) as pool:

                async def ask(pool: Any = pool) -> None:
                    async with pool.acquire(timeout=5):
                        await sse.sleep(5)

                async with sse.beside(ask) as job:
                    for _ in range(turns):
                        await sse.one_turn()
                    job.cancel()
                async with pool.acquire(timeout=5) as lease:
                    assert await data_of(lease, 1) == ["hello"]
                assert pool.stats().opens == 1
    assert len(server.visits) <= 12


# --- Bad use -----------------------------------------------------------------------------------


async def test_releasing_what_is_not_to_be_released(sse: Face) -> None:
    with Server(stay("hello")) as server:
        config = pooled(server.url, max_size=1)
        async with sse.pool(config) as pool, sse.pool(config) as other:
            lease = await pool.acquire()
            foreign = await other.acquire()
            for thing in (foreign, object(), None, pool):
                with pytest.raises(LocalProtocolError, match="not a lease of this pool"):
                    pool.release(thing)
            with pytest.raises(ConfigError, match="unread must be"):
                pool.release(lease, unread="perhaps")
            assert not lease.ended
            pool.release(lease)
            for again in (lease.release, lambda: pool.release(lease)):
                with pytest.raises(LocalProtocolError, match="over already"):
                    again()
            foreign.release()


async def test_a_lease_released_in_its_block_may_leave_the_block(sse: Face) -> None:
    with Server(stay("hello")) as server:
        async with sse.pool(pooled(server.url, max_size=1)) as pool:
            async with pool.acquire() as lease:
                lease.release()
                async with pool.acquire() as following:
                    assert await data_of(following, 1) == ["hello"]
            async with pool.acquire() as lease, lease:
                pass
            assert pool.stats().idle == 1


async def test_a_pool_that_is_not_open(sse: Face) -> None:
    pool = sse.pool(pooled("http://127.0.0.1:1/"))
    assert "not open" in repr(pool)
    asks: list[Callable[[], Any]] = [pool.acquire, pool.stream]
    for ask in asks:
        with pytest.raises(LocalProtocolError, match="not open"):
            await ask()
    for ask in (pool.subscribe, pool.events):
        with pytest.raises(LocalProtocolError, match="not open"):
            ask()
    pool.close()
    with pytest.raises(PoolClosed):
        await pool.open()
    await pool.wait_closed()


async def test_a_pool_that_is_closed(sse: Face) -> None:
    with Server(stay("hello")) as server:
        async with sse.pool(pooled(server.url)) as pool:
            pool.close()
            for ask in (pool.acquire, pool.stream):
                with pytest.raises(PoolClosed):
                    await ask()
            for share in (pool.subscribe, pool.events):
                with pytest.raises(PoolClosed):
                    share()
            pool.close()
        assert "closed" in repr(pool)
        with pytest.raises(PoolClosed):
            await pool.open()
        assert [change async for change in pool.changes()] == []
        await pool.wait_closed()


async def test_opening_twice_is_out_of_order(sse: Face) -> None:
    with Server(stay("hello")) as server:
        pool = await sse.pool(pooled(server.url)).open()
        with pytest.raises(LocalProtocolError):
            await pool.open()
        async with pool.acquire() as lease:
            assert await data_of(lease, 1) == ["hello"]
        await pool.aclose()


async def test_what_a_pool_is_not_made_of(sse: Face) -> None:
    with pytest.raises(ConfigError, match="made of a PoolConfig"):
        sse.pool("http://127.0.0.1:1/")


# --- Closing -----------------------------------------------------------------------------------


def _by_signal(function: Callable[[], Any]) -> None:
    previous = signal.signal(signal.SIGTERM, lambda *_: function())
    try:
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, previous)


def _here(function: Callable[[], Any]) -> None:
    function()


CALLERS = {"here": _here, "thread": Face.in_thread, "signal handler": _by_signal}


@pytest.mark.parametrize("call", CALLERS.values(), ids=CALLERS)
async def test_closing_leaves_nobody_hanging_and_nothing_behind(
    sse: Face, call: Callable[[Callable[[], Any]], None]
) -> None:
    ends: list[str] = []

    async def ended(asking: Callable[[], Any]) -> None:
        try:
            await asking()
        except (ConnectionClosed, PoolClosed) as error:
            ends.append(f"{type(error).__name__}: {error}")

    async def read(iterator: Any) -> None:
        ends.append(f"{len([one async for one in iterator])} read")

    with Server(stay()) as server:
        before = open_sockets()
        async with sse.pool(pooled(server.url, max_size=3)) as pool:
            lease, other = await pool.acquire(), await pool.acquire()
            async with (
                sse.beside(ended, lambda: lease.receive(10)),
                sse.beside(read, pool.subscribe()),
                sse.beside(read, other),
            ):
                await sse.until(lambda: pool.stats().active == 3, pool)
                async with sse.beside(ended, lambda: pool.acquire(timeout=10)):
                    await sse.until(lambda: pool.stats().waiters == 1, pool)
                    began = time.monotonic()
                    call(pool.close)
            await sse.released(pool, before)
            assert time.monotonic() - began < 5
            assert lease.ended
            with pytest.raises(ConnectionClosed, match=ENDED):
                await lease.receive(1)
            stats = pool.stats()
            assert (stats.total, stats.waiters, stats.active) == (0, 0, 0)
    assert sorted(ends) == [
        "0 read",
        "0 read",
        f"ConnectionClosed: {ENDED}",
        "PoolClosed: the pool was closed while this waited for a connection",
    ]


async def test_a_grace_lets_holders_finish(sse: Face) -> None:
    with Server(go_on("one", then="two")) as server:
        before = open_sockets()
        async with sse.pool(pooled(server.url, max_size=1)) as pool:
            lease = await pool.acquire()
            assert await data_of(lease, 1) == ["one"]
            pool.close(grace=10)
            with pytest.raises(PoolClosed):
                await pool.acquire()
            server.go.set()
            assert await data_of(lease, 1) == ["two"]
            began = time.monotonic()
            lease.release()
            await sse.released(pool, before)
            assert time.monotonic() - began < 5


@pytest.mark.parametrize("caller", ["waits", "does not wait"])
async def test_a_grace_ends(sse: Face, caller: str) -> None:
    """Also where nobody is in the pool, and the holder waits for a silent stream."""

    async def read() -> float:
        with pytest.raises(ConnectionClosed, match=ENDED):
            await lease.receive(10)
        return time.monotonic()

    with Server(stay()) as server:
        async with sse.pool(pooled(server.url, max_size=1)) as pool:
            lease = await pool.acquire()
            hold = getattr(lease, "plain", lease)._hold
            async with sse.beside(read) as job:
                await sse.until(lambda: hold.member._reading_now)
                await sse.sleep(0.01)
                began = time.monotonic()
                pool.close(grace=0.05)
                if caller == "waits":
                    await pool.wait_closed()
                assert 0.03 < await job.result() - began < 5
            await pool.wait_closed()
            pool.close(grace=10)
            await pool.wait_closed()


async def test_a_later_close_may_cut_a_grace_short(sse: Face) -> None:
    with Server(stay()) as server:
        async with sse.pool(pooled(server.url)) as pool:
            lease = await pool.acquire()
            began = time.monotonic()
            pool.close(grace=10)
            await sse.one_turn()
            assert not lease.ended
            pool.close()
            await pool.wait_closed()
            assert lease.ended
            assert time.monotonic() - began < 5


async def test_closing_from_a_callback(sse: Face) -> None:
    changes: list[Any] = []

    def on_change(pool: Any, change: Any) -> None:
        changes.append(change)
        pool.close()

    with Server(stay("hello")) as server:
        before = open_sockets()
        async with sse.pool(pooled(server.url), on_change=on_change) as pool:
            with pytest.raises(PoolClosed):
                await pool.acquire(timeout=5)
            await sse.released(pool, before)
    assert changes


async def test_a_lease_released_while_the_pool_ends_it(sse: Face) -> None:
    def on_change(pool: Any, change: Any) -> None:
        if change.new.value == "closed":
            for lease in leases:
                if not lease.ended:
                    lease.release()

    leases: list[Any] = []
    errors: list[Any] = []
    with Server(stay("hello")) as server:
        before = open_sockets()
        options = {"on_change": on_change, "on_error": lambda pool, error: errors.append(error)}
        async with sse.pool(pooled(server.url), **options) as pool:
            leases += [await pool.acquire() for _ in range(3)]
            pool.close()
            await sse.released(pool, before)
        assert errors == []
        assert all(lease.ended for lease in leases)


async def test_closing_while_a_connection_is_being_made(sse: Face) -> None:
    def silent(peer: Peer, seen: Seen) -> None:
        peer.stall()

    async def ask() -> None:
        with pytest.raises(PoolClosed):
            await pool.acquire(timeout=10)

    with Server(silent) as server:
        before = open_sockets()
        async with sse.pool(pooled(server.url)) as pool:
            async with sse.beside(ask):
                await sse.until(lambda: server.requests, pool)
                pool.close()
            await sse.released(pool, before)


# --- Members that nobody has -------------------------------------------------------------------


def member_of(lease: Any) -> Any:
    """Return a lease's connection, which outlives it."""
    return getattr(lease, "plain", lease)._hold.member


def plenty(total: int, *, ids: bool = True, size: int = 0) -> Any:
    """Send many numbered events, as fast as they are read, and count them."""

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream()
        begin = int(seen.cursor or 0) + 1
        for number in range(begin, total + 1):
            peer.event(f"{number}" + " " * size, id=str(number) if ids else None)
            sent.append(number)
        peer.stall()

    sent: list[int] = []
    return script, sent


async def test_a_member_that_nobody_reads_is_paused_at_a_full_buffer(sse: Face) -> None:
    total, size = 2000, 4000
    script, sent = plenty(total, size=size)
    with Server(script) as server:
        config = pooled(server.url, max_size=1, connection=quick(buffer_size=10))
        async with sse.pool(config) as pool:
            async with pool.acquire() as lease:
                member = member_of(lease)
            await sse.until(lambda: member.metrics.events_received >= 10, pool)
            await sse.let_run(pool, 0.05)
            assert member.metrics.events_received <= 10 + 2 * 65536 // size
            assert len(sent) < total
            async with pool.acquire() as lease:
                assert lease.backlog.count == member.metrics.events_received
                numbers = [data.strip() for data in await data_of(lease, total)]
                assert numbers == [str(number) for number in range(1, total + 1)]
        assert len(server.visits) == 1


@pytest.mark.parametrize("overflow", ["block", "drop_oldest"])
async def test_what_was_unread_for_too_long_is_asked_for_anew(sse: Face, overflow: Any) -> None:
    script, _ = plenty(50)
    with Server(script) as server:
        connection = quick(buffer_size=10, overflow=overflow)
        config = pooled(server.url, max_size=1, connection=connection, max_backlog_age=0.1)
        async with sse.pool(config) as pool:
            async with pool.acquire() as lease:
                first = await data_of(lease, 2)
                cursor = lease.last_event_id
            began = time.monotonic()
            await sse.until(lambda: len(server.requests) == 2, pool)
            assert time.monotonic() - began > 0.05
            assert server.requests[1].cursor == cursor == first[-1]
            await sse.until(lambda: pool.stats().idle == 1, pool)
            if overflow == "block":
                async with pool.acquire() as lease:
                    assert await data_of(lease, 48) == [str(number) for number in range(3, 51)]
            assert pool.stats().unread_dropped > 0
            assert pool.stats().opens == 1


async def test_what_was_unread_for_too_long_and_has_no_ids_is_closed(sse: Face) -> None:
    script, _ = plenty(50, ids=False)
    with Server(script) as server:
        connection = quick(buffer_size=10)
        config = pooled(server.url, max_size=1, connection=connection, max_backlog_age=0.05)
        async with sse.pool(config) as pool:
            async with pool.acquire() as lease:
                assert await data_of(lease, 1) == ["1"]
            await sse.until(lambda: pool.stats().total == 0, pool)
            assert pool.stats().closes == {"backlog": 1}
            async with pool.acquire() as lease:
                assert await data_of(lease, 1) == ["1"]


async def test_a_half_read_buffer_that_is_paused_is_not_kept_for_ever(sse: Face) -> None:
    """It is not full, and gets no fuller: nothing would ever tell that it is dead."""

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream()
        begin = int(seen.cursor or 0) + 1
        events = (f"id: {number}\ndata: {number}\n\n" for number in range(begin, 11))
        peer.body("".join(events).encode())
        peer.stall()

    with Server(script) as server:
        connection = quick(buffer_size=10)
        config = pooled(server.url, max_size=1, connection=connection, max_backlog_age=0.05)
        async with sse.pool(config) as pool:
            async with pool.acquire() as lease:
                await received(sse, lease, 10)
                assert await data_of(lease, 2) == ["1", "2"]
            await sse.until(lambda: len(server.requests) == 2, pool)
            assert server.requests[1].cursor == "2"
            async with pool.acquire() as lease:
                assert await data_of(lease, 8) == [str(number) for number in range(3, 11)]


async def test_members_that_nobody_uses_are_closed_after_a_while(sse: Face) -> None:
    with Server(stay("hello")) as server:
        config = pooled(server.url, max_idle=0.05, min_size=1)
        async with sse.pool(config) as pool:
            async with pool.acquire(), pool.acquire(), pool.acquire("other"):
                pass
            await sse.until(lambda: pool.stats().closes == {"idle": 2}, pool)
            await sse.let_run(pool, 0.08)
            assert pool.stats().idle == 1
            assert server.open_visits == 1


async def test_so_many_members_are_kept_warm_and_replaced(sse: Face) -> None:
    with Server([stay("a"), turn_away(403), stay("b")]) as server:
        async with sse.pool(pooled(server.url, min_size=2, max_size=3)) as pool:
            await sse.until(lambda: pool.stats().idle == 2, pool)
            assert pool.healthy_count == 2
            assert pool.stats().closes == {"failed": 1}
            async with pool.acquire(timeout=0) as one, pool.acquire(timeout=0) as two:
                data = [*await data_of(one, 1), *await data_of(two, 1)]
                assert sorted(data) == ["a", "b"]
                one.release("close")
                await sse.until(lambda: pool.stats().idle == 1, pool)
        assert len(server.visits) == 4


async def test_old_members_are_replaced_but_not_under_their_holders(sse: Face) -> None:
    with Server(stay("hello")) as server:
        async with sse.pool(pooled(server.url, max_lifetime=0.05, min_size=1)) as pool:
            async with pool.acquire() as lease:
                assert await data_of(lease, 1) == ["hello"]
                await sse.let_run(lease, 0.07)
                assert not lease.ended
                assert lease.state is CONNECTED
            await sse.until(lambda: pool.stats().closes.get("lifetime", 0) >= 2, pool)
            await sse.until(lambda: pool.stats().total == 1, pool)


async def test_a_member_that_is_lost_while_nobody_has_it_connects_again(sse: Face) -> None:
    with Server([resume(3, cut=2), resume(3)]) as server:
        async with sse.pool(pooled(server.url, max_size=1)) as pool:
            async with pool.acquire() as lease:
                assert await data_of(lease, 1) == ["1"]
            await sse.until(lambda: len(server.requests) == 2, pool)
            await sse.until(lambda: pool.stats().idle == 1, pool)
            async with pool.acquire() as lease:
                assert await data_of(lease, 2) == ["2", "3"]
            assert pool.stats().opens == 1
        assert server.requests[1].cursor == "2"


async def test_what_happened_while_nobody_looked_is_known_before_a_lease_begins(
    sse: Face,
) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        peer.stream()
        peer.event("1", id="1")
        if seen.cursor is None:
            peer.wait()
            peer.event("2", id="2")
            peer.close()
        peer.stall()

    with Server(script) as server:
        async with sse.pool(pooled(server.url, max_size=1)) as pool:
            async with pool.acquire() as lease:
                assert await data_of(lease, 1) == ["1"]
            server.go.set()
            await sse.until(lambda: server.visits[0].ended)
            await sse.sleep(0.02)  # nobody is in the pool
            async with pool.acquire(timeout=5) as lease:
                assert len(server.requests) == 2
                assert lease.state is CONNECTED
                assert lease.backlog.count >= 1
                assert (await lease.receive(5)).id == "2"


async def test_a_204_is_the_end_of_a_member(sse: Face) -> None:
    with Server([drop("a"), turn_away(204), stay("b")]) as server:
        async with sse.pool(pooled(server.url, max_size=1)) as pool:
            async with pool.acquire() as lease:
                assert await data_of(lease, 1) == ["a"]
            await sse.until(lambda: pool.stats().total == 0, pool)
            assert pool.stats().closes == {"finished": 1}
            async with pool.acquire() as lease:
                assert await data_of(lease, 1) == ["b"]


async def test_a_204_in_a_lease_ends_its_stream(sse: Face) -> None:
    with Server([drop("a"), turn_away(204), stay("b")]) as server:
        async with sse.pool(pooled(server.url, max_size=1)) as pool:
            async with pool.acquire() as lease:
                assert [event.data async for event in lease] == ["a"]
            async with pool.acquire() as lease:
                assert await data_of(lease, 1) == ["b"]


async def test_a_waiter_is_told_that_the_server_answers_204(sse: Face) -> None:
    with Server([turn_away(204), stay("b")]) as server:
        async with sse.pool(pooled(server.url, max_size=1)) as pool:
            with pytest.raises(ConnectionClosed, match="204"):
                await pool.acquire(timeout=5)
            async with pool.acquire() as lease:
                assert await data_of(lease, 1) == ["b"]


# --- Many at once ------------------------------------------------------------------------------


async def test_many_who_take_turns_read_every_event_once_and_in_order(sse: Face) -> None:
    events, workers = 100, 8

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream()
        for number in range(events):
            peer.event(f"{seen.visit.number} {number}", id=str(number))
            if number % 10 == 0:
                peer.sleep(0.001)
        peer.stall()

    got: list[tuple[int, int]] = []

    async def work(number: int) -> None:
        while len(got) < 3 * events:
            async with pool.acquire(timeout=5) as lease:
                for _ in range(3):
                    try:
                        event = await lease.receive(0.002)
                    except TimeoutError:
                        break
                    visit, number = map(int, event.data.split())
                    got.append((visit, number))

    with Server(script) as server:
        async with sse.pool(pooled(server.url, max_size=3)) as pool:
            leases = [await pool.acquire() for _ in range(3)]
            for lease in leases:
                lease.release()
            await sse.together(work, range(workers))
            assert pool.stats().total == 3
        assert len(server.visits) == 3
    for visit in range(3):
        assert [number for its, number in got if its == visit] == list(range(events))


async def test_who_turns_the_crank_hands_it_over_when_he_leaves(sync_sse: Face) -> None:
    sse = sync_sse
    gates = [threading.Event() for _ in range(2)]

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream()
        for number, gate in enumerate(gates):
            peer.wait(gate)
            peer.event(f"{number}")
        peer.stall()

    async def read(subscription: Any) -> str:
        return str((await subscription.receive(10)).data)

    with Server(script) as server:
        async with sse.pool(pooled(server.url)) as pool:
            one, two = pool.subscribe("one"), pool.subscribe("two")
            async with sse.beside(read, one) as first:
                await sse.until(lambda: pool.plain._leading)
                async with sse.beside(read, two) as second:
                    await sse.until(lambda: pool.stats().active == 2)
                    gates[0].set()
                    assert await first.result() == await second.result() == "0"
            async with sse.beside(read, one) as first:
                await sse.until(lambda: pool.plain._leading)
                async with sse.beside(pool.changes().__anext__):
                    gates[1].set()
                    assert await first.result() == "1"
                    # Who is left turns the crank by himself now.
                    one.close()
                assert await read(two) == "1"


async def test_a_lent_thread_serves_everybody(sync_sse: Face) -> None:
    sse = sync_sse

    async def lend() -> None:
        pool.run()

    with Server([resume(3, cut=1), resume(3, cut=1), resume(3)]) as server:
        async with sse.pool(pooled(server.url, max_size=1, min_size=1)) as pool:
            async with sse.beside(lend) as job:
                await sse.until(lambda: len(server.requests) == 3)  # nobody else is inside
                await sse.until(lambda: pool.stats().idle == 1)
                async with pool.acquire(timeout=5) as lease:
                    assert await data_of(lease, 3) == ["1", "2", "3"]
                assert not job.done
                pool.close()
            assert job.done


async def test_a_lent_thread_does_not_see_a_selector_that_is_closed(sync_sse: Face) -> None:
    sse = sync_sse

    async def lend() -> None:
        pool.run()

    for _ in range(50):
        async with sse.pool(pooled("http://127.0.0.1:1/")) as pool, sse.beside(lend):
            await pool.aclose()


@pytest.mark.parametrize("inside", ["acquire", "receive", "subscription", "events", "run"])
async def test_an_interrupt_leaves_the_pool_usable(sync_sse: Face, inside: str) -> None:
    sse = sync_sse
    main = threading.main_thread()
    assert threading.current_thread() is main

    async def interrupt() -> None:
        await sse.until(lambda: pool.plain._leading or (lease and member_of(lease)._calling))
        await sse.sleep(0.01)
        signal.pthread_kill(main.ident or 0, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, signal.default_int_handler)
    try:
        with Server(stay()) as server:
            async with sse.pool(pooled(server.url, max_size=2)) as pool:
                for _ in range(3):
                    lease = await pool.acquire()
                    other = await pool.acquire()
                    calls: dict[str, Callable[[], Any]] = {
                        "acquire": lambda: pool.acquire(timeout=10),
                        "receive": partial(lease.receive, 10),
                        "subscription": lambda: pool.subscribe().receive(10),
                        "events": lambda: anext(pool.events()),
                        "run": pool.run,
                    }
                    async with sse.beside(interrupt):
                        with pytest.raises(KeyboardInterrupt):
                            await calls[inside]()
                    gc.collect()
                    assert pool.stats().waiters == 0
                    lease.release()
                    other.release()
                    assert pool.stats().idle == 2
            assert len(server.visits) == 2
    finally:
        signal.signal(signal.SIGUSR1, before)
