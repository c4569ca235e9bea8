"""Several readers of one stream, and one reader of several streams."""

import gc
import threading
import time
from typing import Any

import pytest

from sansio_sse import (
    BreakerConfig,
    BufferOverflow,
    ConfigError,
    ConnectionClosed,
    EndpointChanged,
    HTTPStatusError,
    MemberChanged,
)

from .common import drop, pooled, quick, resume, stay, turn_away
from .face import Face
from .server import Peer, Script, Seen, Server

pytestmark = pytest.mark.needs("groups")

READ = 2 * 65536  # more than any driver reads at once


def paced(*counts: int, size: int = 0) -> tuple[Script, list[threading.Event]]:
    """Send so many numbered events at a time, each time the test says so."""
    gates = [threading.Event() for _ in counts]

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream()
        number = 0
        for count, gate in zip(counts, gates, strict=True):
            peer.wait(gate)
            for _ in range(count):
                number += 1
                peer.event(f"{number}" + " " * size, id=str(number))
        peer.stall()

    return script, gates


def plain(thing: Any) -> Any:
    """Return the driver's own object."""
    return getattr(thing, "plain", thing)


async def take(iterator: Any, count: int) -> list[str]:
    return [(await iterator.receive(5)).data.strip() for _ in range(count)]


def numbers(last: int, first: int = 1) -> list[str]:
    return [str(number) for number in range(first, last + 1)]


# --- Many readers of one stream ----------------------------------------------------------------


async def test_all_subscribers_see_the_same_events(sse: Face) -> None:
    async def read(subscription: Any) -> list[str]:
        async with subscription:
            return await take(subscription, 100)

    script, [gate] = paced(100)
    with Server(script) as server:
        async with sse.pool(pooled(server.url)) as pool:
            subscriptions = [pool.subscribe() for _ in range(5)]
            await sse.until(lambda: pool.stats().active == 1, pool)
            gate.set()
            assert await sse.together(read, subscriptions) == [numbers(100)] * 5
            assert pool.stats().active == 0
            assert [subscription.dropped for subscription in subscriptions] == [0] * 5
        assert len(server.visits) == 1


async def test_a_subscription_begins_with_the_next_event(sse: Face) -> None:
    script, [first, second] = paced(2, 2)
    with Server(script) as server:
        async with sse.pool(pooled(server.url)) as pool:
            early = pool.subscribe()
            first.set()
            assert await take(early, 2) == ["1", "2"]
            late = pool.subscribe()
            second.set()
            assert await take(late, 2) == await take(early, 2) == ["3", "4"]


async def test_each_scope_has_a_stream_of_its_own(sse: Face) -> None:
    with Server(stay("hello")) as server:
        async with sse.pool(pooled(server.url)) as pool:
            subscriptions = [pool.subscribe(scope) for scope in ("a", "b", "a", "")]
            for subscription in subscriptions:
                if subscription is not subscriptions[2]:
                    assert await take(subscription, 1) == ["hello"]
            assert pool.stats().active == 3
        assert len(server.visits) == 3


async def test_the_last_one_out_gives_the_connection_back(sse: Face) -> None:
    script, [first, second] = paced(1, 1)
    with Server(script) as server:
        async with sse.pool(pooled(server.url, max_size=1, acquire_timeout=5)) as pool:
            async with pool.subscribe() as one:
                two = pool.subscribe()
                first.set()
                assert await take(one, 1) == await take(two, 1) == ["1"]
            with pytest.raises(ConnectionClosed, match="the subscription is closed"):
                await one.receive(1)
            assert [event async for event in one] == []
            assert pool.stats().active == 1
            two.close()
            two.close()
            assert pool.stats().idle == 1
            async with pool.acquire() as lease:
                second.set()
                assert await take(lease, 1) == ["2"]
            again = pool.subscribe()
            await sse.until(lambda: pool.stats().active == 1, pool)
            again.close()
        assert len(server.visits) == 1


async def test_a_reader_who_is_behind_holds_up_the_stream_and_everybody(sse: Face) -> None:
    """With ``block``, which is how nobody loses anything."""
    total, size = 3000, 4000

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream()
        peer.wait()
        for number in range(1, total + 1):
            peer.event(f"{number}" + " " * size, id=str(number))
            sent.append(number)
        peer.stall()

    sent: list[int] = []
    read: list[str] = []

    async def follow(subscription: Any) -> None:
        while len(read) < total:
            read.extend(await take(subscription, 1))

    with Server(script) as server:
        async with sse.pool(pooled(server.url)) as pool:
            slow = pool.subscribe(buffer_size=10)
            fast = pool.subscribe()
            server.go.set()
            async with sse.beside(follow, fast):
                await sse.until(lambda: len(read) >= 10)
                await sse.sleep(0.1)
                # The sockets' own buffers hold some.
                assert len(read) <= 10 + READ // size
                assert len(sent) < total
                assert await take(slow, total) == numbers(total)
            assert read == numbers(total)
            assert slow.dropped == fast.dropped == 0


@pytest.mark.parametrize("overflow", ["drop_oldest", "error"])
async def test_a_reader_who_may_lose_events_holds_up_nobody(sse: Face, overflow: Any) -> None:
    script, [gate, last] = paced(500, 1)
    with Server(script) as server:
        async with sse.pool(pooled(server.url)) as pool:
            slow = pool.subscribe(overflow=overflow, buffer_size=10)
            other = pool.subscribe()
            gate.set()
            assert await take(other, 500) == numbers(500)
            last.set()
            assert await take(other, 1) == ["501"]
            if overflow == "error":
                left = len(plain(slow)._reader.events)
                assert 10 <= left <= 501 - slow.dropped
                assert await take(slow, left) == numbers(left)
                for _ in range(2):
                    with pytest.raises(BufferOverflow):
                        await slow.receive(1)
            else:
                assert slow.dropped > 0
                left = 501 - slow.dropped
                assert await take(slow, left) == numbers(501, slow.dropped + 1)


async def test_a_blocked_readers_leaving_lets_the_others_go_on(sse: Face) -> None:
    for how in ("close", "collected"):
        script, [gate] = paced(2000, size=1000)
        with Server(script) as server:
            async with sse.pool(pooled(server.url)) as pool:
                slow = pool.subscribe(buffer_size=5)
                fast = pool.subscribe()
                gate.set()
                assert await take(fast, 5) == numbers(5)
                await sse.let_run(pool, 0.02)
                if how == "close":
                    slow.close()
                else:
                    del slow
                    gc.collect()
                assert await take(fast, 1995) == numbers(2000, 6)


async def test_a_stream_that_a_reader_held_up_is_no_worse_for_the_next_holder(sse: Face) -> None:
    script, [gate, more] = paced(50, 1)
    with Server(script) as server:
        config = pooled(server.url, max_size=1, acquire_timeout=5)
        async with sse.pool(config) as pool:
            async with pool.subscribe(buffer_size=3) as reader:
                gate.set()
                assert await take(reader, 1) == ["1"]
                await sse.let_run(pool, 0.01)
            async with pool.acquire() as lease:
                more.set()
                assert (await take(lease, 1))[0] in numbers(51, 2)
                while (await take(lease, 1)) != ["51"]:
                    pass


async def test_a_waiting_reader_times_out_and_loses_nothing(sse: Face) -> None:
    script, [gate] = paced(1)
    with Server(script) as server:
        async with sse.pool(pooled(server.url)) as pool:
            subscription = pool.subscribe()
            for timeout in (0, 0.02):
                with pytest.raises(TimeoutError):
                    await subscription.receive(timeout)
            gate.set()
            assert await take(subscription, 1) == ["1"]


async def test_reconnecting_goes_unnoticed_by_subscribers(sse: Face) -> None:
    async def read(subscription: Any) -> list[str]:
        return await take(subscription, 20)

    with Server(resume(20, cut=3)) as server:
        async with sse.pool(pooled(server.url)) as pool:
            subscriptions = [pool.subscribe() for _ in range(3)]
            assert await sse.together(read, subscriptions) == [numbers(20)] * 3
    assert [seen.cursor for seen in server.requests][:3] == [None, "3", "6"]


async def test_the_end_of_a_stream_is_every_subscribers_end(sse: Face) -> None:
    async def read(subscription: Any) -> list[str]:
        return [event.data async for event in subscription]

    with Server(drop("a", "b")) as server:
        config = pooled(server.url, connection=quick(on_end="finish"))
        async with sse.pool(config) as pool:
            subscriptions = [pool.subscribe() for _ in range(3)]
            assert await sse.together(read, subscriptions) == [["a", "b"]] * 3
            assert pool.stats().total == 0
            again = pool.subscribe()
            assert [event.data async for event in again] == ["a", "b"]


async def test_an_error_comes_to_all_subscribers_behind_what_they_have(sse: Face) -> None:
    with Server([drop("a"), turn_away(403), stay("b")]) as server:
        async with sse.pool(pooled(server.url)) as pool:
            subscriptions = [pool.subscribe() for _ in range(3)]
            for subscription in subscriptions:
                assert await take(subscription, 1) == ["a"]
            for subscription in subscriptions:
                for _ in range(2):
                    with pytest.raises(HTTPStatusError):
                        await subscription.receive(5)
            again = pool.subscribe()
            assert await take(again, 1) == ["b"]


async def test_what_cannot_be_connected_is_told_to_subscribers(sse: Face) -> None:
    with Server(turn_away(403)) as server:
        async with sse.pool(pooled(server.url)) as pool:
            subscriptions = [pool.subscribe() for _ in range(2)]
            for subscription in subscriptions:
                with pytest.raises(HTTPStatusError):
                    await subscription.receive(5)
            assert pool.stats().waiters == pool.stats().total == 0


async def test_a_subscriber_who_leaves_before_there_is_a_stream(sse: Face) -> None:
    def silent(peer: Peer, seen: Seen) -> None:
        peer.stall()

    with Server([silent, stay("hello")]) as server:
        async with sse.pool(pooled(server.url, max_size=1)) as pool:
            subscription = pool.subscribe()
            assert pool.stats().waiters == 1
            subscription.close()
            assert pool.stats().waiters == 0
            assert pool.stats().active == 0


async def test_a_subscription_that_cannot_be(sse: Face) -> None:
    with Server(stay()) as server:
        async with sse.pool(pooled(server.url, max_size=2)) as pool:
            with pytest.raises(ConfigError, match="overflow must be"):
                pool.subscribe(overflow="sometimes")
            with pytest.raises(ConfigError, match="buffer_size must be"):
                pool.subscribe(buffer_size=0)
            for members in (0, 3, 1.5):
                with pytest.raises(ConfigError, match="members must be"):
                    pool.events(members=members)
            assert pool.stats().waiters == 0


# --- One reader of many streams ----------------------------------------------------------------


def first_busy(total: int, size: int = 0) -> Script:
    """Send many events on the first connection, and one on each of the others."""

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream()
        peer.wait()
        if seen.visit.number == 0:
            for number in range(total):
                peer.event(f"busy {number}" + " " * size)
        else:
            peer.event(f"quiet {seen.visit.number}")
        peer.stall()

    return script


async def test_a_busy_member_does_not_hide_a_quiet_one(sse: Face) -> None:
    with Server(first_busy(5000)) as server:
        config = pooled(server.url, max_size=3, connection=quick(buffer_size=100))
        async with sse.pool(config) as pool:
            events = pool.events(members=3)
            await sse.until(lambda: pool.stats().active == 3, pool)
            members = [hold.member for hold in plain(events)._merge._holds.values()]
            server.go.set()
            await sse.until(lambda: all(member._buffer for member in members), pool)
            first = [(await anext(events)).data for _ in range(6)]
            assert {"quiet 1", "quiet 2"} < set(first)
            rest = [(await anext(events)).data for _ in range(4996)]
            busy = [data for data in first + rest if data.startswith("busy")]
            assert busy == [f"busy {number}" for number in range(5000)]


async def test_a_full_queue_pauses_its_own_member_alone(sse: Face) -> None:
    total, size = 2000, 4000
    sent: list[int] = []

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream()
        peer.wait()
        if seen.visit.number == 0:
            for number in range(total):
                peer.event(f"busy {number}" + " " * size)
                sent.append(number)
        else:
            peer.sleep(0.1)
            peer.event("quiet")
        peer.stall()

    with Server(script) as server:
        config = pooled(server.url, max_size=2, connection=quick(buffer_size=10))
        async with sse.pool(config) as pool:
            async with pool.events(members=2) as events:
                await sse.until(lambda: pool.stats().active == 2, pool)
                members = [hold.member for hold in plain(events)._merge._holds.values()]
                server.go.set()
                await sse.until(lambda: all(member._buffer for member in members), pool)
                held = sorted(len(member._buffer) for member in members)
                assert held[0] == 1
                assert held[1] <= 10 + READ // size
                assert len(sent) < total
                data = {(await anext(events)).data.strip() for _ in range(total + 1)}
                assert "quiet" in data
                assert len(data) == total + 1
            assert pool.stats().active == 0


async def test_a_member_that_fails_for_good_is_replaced(sse: Face) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        number = len(server.requests)
        if number == 1:
            drop("a")(peer, seen)
        elif number == 2:
            turn_away(403)(peer, seen)
        else:
            stay("b")(peer, seen)

    with Server(script) as server:
        async with sse.pool(pooled(server.url, max_size=1)) as pool:
            events = pool.events()
            assert (await anext(events)).data == "a"
            assert (await anext(events)).data == "b"
            assert pool.stats().closes == {"failed": 1}
            assert pool.stats().opens == 2


async def test_when_no_member_can_be_had_the_cause_is_raised(sse: Face) -> None:
    with Server([drop("a"), turn_away(403)]) as server:
        async with sse.pool(pooled(server.url, max_size=2)) as pool:
            events = pool.events(members=1)
            assert (await anext(events)).data == "a"
            with pytest.raises(HTTPStatusError):
                await anext(events)
            assert [event async for event in events] == []
            assert pool.stats().total == pool.stats().waiters == 0


async def test_the_events_end_when_all_streams_have(sse: Face) -> None:
    with Server(drop("a", "b")) as server:
        config = pooled(server.url, max_size=3, connection=quick(on_end="finish"))
        async with sse.pool(config) as pool:
            events = pool.events(members=3)
            assert sorted([event.data async for event in events]) == ["a"] * 3 + ["b"] * 3
            assert pool.stats().total == 0


@pytest.mark.parametrize("how", ["close", "collected", "block"])
async def test_closing_the_events_gives_all_members_back(sse: Face, how: str) -> None:
    with Server(stay("hello")) as server:
        config = pooled(server.url, max_size=2, min_size=2, acquire_timeout=5)
        async with sse.pool(config) as pool:
            events: Any = pool.events()
            assert (await anext(events)).data == "hello"
            await sse.until(lambda: pool.stats().active == 2, pool)
            if how == "close":
                events.close()
                events.close()
            elif how == "block":
                async with events:
                    pass
            else:
                events = None
                gc.collect()
            await sse.until(lambda: pool.stats().idle == 2, pool)
            if events is not None:
                assert [event async for event in events] == []
            async with pool.acquire() as one, pool.acquire() as two:
                counts = one.backlog.count + two.backlog.count
                assert counts <= 1
        assert len(server.visits) == 2


async def test_closing_the_events_while_they_wait_for_members(sse: Face) -> None:
    """What one of its waiters gives up another is given, and must not keep."""
    with Server(stay("hello")) as server:
        async with sse.pool(pooled(server.url, max_size=3)) as pool:
            leases = [await pool.acquire() for _ in range(2)]
            events = pool.events(members=3)
            await sse.until(lambda: pool.stats().active == 3, pool)
            other = pool.events(members=3)
            assert pool.stats().waiters == 5
            events.close()
            await sse.until(lambda: pool.stats().waiters == 2, pool)
            other.close()
            await sse.until(lambda: pool.stats().waiters == 0, pool)
            for lease in leases:
                lease.release()
            assert pool.stats().idle == 3


async def test_closing_the_pool_ends_what_is_shared(sse: Face) -> None:
    async def read(iterator: Any) -> int:
        return len([event async for event in iterator])

    with Server(stay("hello")) as server:
        async with sse.pool(pooled(server.url, max_size=3)) as pool:
            one, two = pool.subscribe(), pool.subscribe("other")
            events = pool.events()
            async with sse.beside(read, one), sse.beside(read, two), sse.beside(read, events):
                await sse.until(lambda: pool.stats().active == 3, pool)
                pool.close()
            for iterator in (one, two):
                with pytest.raises(ConnectionClosed):
                    await iterator.receive(1)
            await pool.wait_closed()


async def test_closing_the_pool_ends_what_waits_to_be_shared(sse: Face) -> None:
    async def read(iterator: Any) -> int:
        return len([event async for event in iterator])

    with Server(stay("hello")) as server:
        async with sse.pool(pooled(server.url, max_size=1)) as pool:
            lease = await pool.acquire("mine")
            async with (
                sse.beside(read, pool.subscribe()) as one,
                sse.beside(read, pool.events()) as two,
            ):
                await sse.until(lambda: pool.stats().waiters == 2, pool)
                pool.close()
                assert await one.result() == await two.result() == 0
            assert lease.ended


# --- Changes -----------------------------------------------------------------------------------


async def test_changes_of_members_are_told_in_order(sse: Face) -> None:
    called: list[Any] = []
    with Server(stay("hello")) as server:
        pool = sse.pool(pooled(server.url), on_change=lambda pool, change: called.append(change))
        changes = pool.changes()
        async with pool, pool.acquire():
            pass
        seen = [change async for change in changes]
        assert seen == called
        assert [change.new.value for change in seen if isinstance(change, MemberChanged)] == [
            "connecting",
            "leased",
            "idle",
            "closed",
        ]
        assert {change.endpoint for change in seen} <= {None, server.url}
        assert changes.dropped == 0


async def test_changes_of_endpoints_are_told(sse: Face) -> None:
    async def watch() -> Any:
        async for change in changes:
            if isinstance(change, EndpointChanged):
                return change
        return None

    with Server(turn_away(503)) as server:
        config = pooled(
            server.url,
            connection=quick(max_attempts=0),
            breaker=BreakerConfig(failures=2, open_for=10),
        )
        async with sse.pool(config) as pool:
            changes = pool.changes()
            subscription = pool.subscribe()
            change = await watch()
            assert change.endpoint == server.url
            assert pool.stats().breaker_changes == 1
            subscription.close()


async def test_what_callbacks_raise_goes_to_on_error_or_to_the_loop(sse: Face) -> None:
    def fail(pool: Any, change: Any) -> None:
        raise ZeroDivisionError

    told: list[BaseException] = []
    with Server(stay("hello")) as server:
        options = {"on_change": fail, "on_error": lambda pool, error: told.append(error)}
        async with sse.pool(pooled(server.url), **options) as pool, pool.acquire():
            pass
        assert told
        assert {type(error) for error in told} == {ZeroDivisionError}
        async with sse.pool(pooled(server.url), on_change=fail) as pool, pool.acquire():
            pass
        await sse.one_turn()
        assert {type(error) for error in sse.unhandled} == {ZeroDivisionError}
        sse.unhandled.clear()


async def test_errors_of_members_are_told_to_on_error(sse: Face) -> None:
    told: list[Any] = []
    with Server([turn_away(503), stay("hello")]) as server:
        options = {"on_error": lambda pool, error: told.append(error)}
        async with sse.pool(pooled(server.url), **options) as pool:
            async with pool.acquire():
                assert [error.status for error in told] == [503]
            began = time.monotonic()
        assert time.monotonic() - began < 5
