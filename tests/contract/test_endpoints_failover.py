"""One stream that may come from several endpoints: where it goes, and when it returns."""

from typing import Any

import pytest

from sansio_sse import (
    BreakerConfig,
    ConfigError,
    Connected,
    ConnectionState,
    Endpoint,
    HTTPStatusError,
    PoolConfig,
    SSEError,
)

from .common import pooled, quick, read_all, stay, turn_away
from .face import Face
from .server import Peer, Seen, Server

HASTY = BreakerConfig(failures=1, successes=1, open_for=0.05, failback_after=0.1)


class Feed:
    """Numbered events that any number of servers have in common."""

    def __init__(self) -> None:
        self.last = 0

    def __call__(self, peer: Peer, seen: Seen) -> None:
        peer.stream()
        number = int(seen.cursor or 0)
        while True:
            while number < self.last:
                number += 1
                peer.event(str(number), id=str(number))
            peer.sleep(0.002)


def hasty(**options: Any) -> Any:
    return quick(breaker=HASTY, max_attempts=0, **options)


async def more(feed: Feed, connection: Any, count: int) -> list[int]:
    """Have the feed go on, and return what comes."""
    feed.last += count
    return [int((await connection.receive(5)).data) for _ in range(count)]


async def test_the_stream_goes_on_elsewhere_and_returns_and_nothing_is_lost_or_doubled(
    sse: Face, tls: dict[str, Any]
) -> None:
    feed = Feed()
    with Server(feed, tls=tls["server"]) as second:
        with Server(feed, tls=tls["server"]) as first:
            connection = sse.connect(
                "",
                endpoints=[first.url, Endpoint(second.url, priority=1)],
                config=hasty(),
                ssl_context=tls["client"],
            )
            await connection.open()
            got = await more(feed, connection, 10)
            assert (len(first.requests), len(second.requests)) == (1, 0)
        got += await more(feed, connection, 10)
        assert [seen.cursor for seen in second.requests] == ["10"]
        with Server(feed, tls=tls["server"], port=first.port) as first:
            await sse.until(lambda: first.requests, connection)
            got += await more(feed, connection, 10)
            assert [seen.cursor for seen in first.requests] == ["20"]
            assert got == list(range(1, 31))
            assert connection.state is ConnectionState.CONNECTED
            await connection.aclose()


async def test_it_goes_to_and_fro_under_load_and_nothing_is_lost_or_doubled(sse: Face) -> None:
    class Busy(Feed):
        """It goes on by itself; the first server ends each stream soon, and then has a rest."""

        def __call__(self, peer: Peer, seen: Seen) -> None:
            if peer.server is first and len(first.requests) % 2 == 0:
                peer.respond(503)
                return
            peer.stream()
            number = int(seen.cursor or 0)
            for _ in range(30 if peer.server is first else 10_000):
                number += 1
                peer.event(str(number), id=str(number))
                peer.sleep(0.001)
            peer.close()

    feed = Busy()
    with Server(feed) as first, Server(feed) as second:
        breaker = BreakerConfig(failures=1, successes=1, open_for=0.02, failback_after=0.03)
        async with sse.connect(
            "",
            endpoints=[first.url, Endpoint(second.url, priority=1)],
            config=quick(breaker=breaker, max_attempts=0),
        ) as connection:
            got = [int((await connection.receive(5)).data) for _ in range(300)]
        assert got == list(range(1, 301))
        assert len(first.requests) >= 2
        assert len(second.requests) >= 2


async def test_ids_do_not_cross_to_another_domain(sse: Face) -> None:
    one, two = Feed(), Feed()
    two.last = 3
    with Server(two) as second:
        with Server(one) as first:
            connection = sse.connect(
                "",
                endpoints=[
                    Endpoint(first.url, cursor_domain="one"),
                    Endpoint(second.url, priority=1, cursor_domain="two"),
                ],
                config=hasty(),
                include={"connected"},
            )
            await connection.open()
            began = await connection.receive(5)
            assert isinstance(began, Connected)
            assert not began.resumed
            assert await more(one, connection, 2) == [1, 2]
        again = await connection.receive(5)
        assert isinstance(again, Connected)
        assert not again.resumed
        assert [seen.cursor for seen in second.requests] == [None]
        assert [(await connection.receive(5)).data for _ in range(3)] == ["1", "2", "3"]
        with Server(one, port=first.port) as first:
            back = await connection.receive(5)
            assert isinstance(back, Connected)
            assert not back.resumed
            assert [seen.cursor for seen in first.requests] == [None]
            await connection.aclose()


async def test_what_fails_for_good_at_one_endpoint_may_work_at_another(sse: Face) -> None:
    with Server(turn_away(403)) as first, Server(stay("hello")) as second:
        async with sse.connect("", endpoints=[first.url, second.url], config=quick()) as one:
            assert (await one.receive(5)).data == "hello"
            names = [(place.endpoint, place.failures) for place in one.info().endpoints]
            assert [name for name, _ in names] == [first.url, second.url]
        assert len(first.requests) == 1


async def test_what_fails_for_good_everywhere_is_an_error(sse: Face) -> None:
    with Server(turn_away(403)) as first, Server(turn_away(401)) as second:
        with pytest.raises(HTTPStatusError):
            await sse.connect("", endpoints=[first.url, second.url], config=quick()).open()
        assert len(first.requests) == len(second.requests) == 1


async def test_the_url_is_joined_to_each_endpoint(sse: Face) -> None:
    with Server(turn_away(503)) as first, Server(stay("hello")) as second:
        places = [f"{first.origin}/eu/", f"{second.origin}/us/"]
        async with sse.connect("events?a=1", endpoints=places, config=quick()) as connection:
            assert (await connection.receive(5)).data == "hello"
    assert first.requests[0].target == "/eu/events?a=1"
    assert second.requests[0].target == "/us/events?a=1"


async def test_a_finite_stream_stays_where_it_is(sse: Face) -> None:
    """Even though a better endpoint has come back."""

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream(chunked=True)
        for number in range(10):
            peer.event(str(number))
            peer.sleep(0.03)
        peer.event("[DONE]")
        peer.end()

    with Server(turn_away(503)) as first, Server(script) as second:
        async with sse.connect(
            "",
            method="POST",
            endpoints=[first.url, Endpoint(second.url, priority=1)],
            config=hasty(),
            until="[DONE]",
        ) as connection:
            assert await read_all(connection) == [*map(str, range(10)), "[DONE]"]
        assert (len(first.requests), len(second.requests)) == (1, 1)


async def test_a_post_is_not_sent_to_a_second_endpoint(sse: Face) -> None:
    def die(peer: Peer, seen: Seen) -> None:
        peer.close()

    with Server(die) as first, Server(die) as second:
        with pytest.raises(SSEError) as caught:
            await sse.connect(
                "", method="POST", endpoints=[first.url, second.url], config=quick()
            ).open()
        assert caught.value.request_sent is True
        assert len(first.requests) + len(second.requests) == 1


async def test_no_endpoints_are_a_mistake(sse: Face) -> None:
    for endpoints in ([], ["http://a.example/", "http://a.example/"], [1]):
        with pytest.raises(ConfigError):
            sse.connect("", endpoints=endpoints)
    with pytest.raises(ConfigError):
        sse.connect("")


# --- The same for the members of a pool --------------------------------------------------------


@pytest.mark.needs("groups")
async def test_a_lease_heals_at_another_endpoint_and_its_member_returns(sse: Face) -> None:
    feed = Feed()
    with Server(feed) as second:
        with Server(feed) as first:
            config = PoolConfig(
                [first.url, Endpoint(second.url, priority=1)],
                connection=quick(max_attempts=0),
                strategy="priority",
                breaker=HASTY,
            )
            pool = await sse.pool(config).open()
            lease = await pool.acquire()
            got = await more(feed, lease, 10)
            assert (len(first.requests), len(second.requests)) == (1, 0)
        got += await more(feed, lease, 10)
        assert [seen.cursor for seen in second.requests] == ["10"]
        with Server(feed, port=first.port) as first:
            await sse.until(lambda: first.requests, lease)
            got += await more(feed, lease, 10)
            assert [seen.cursor for seen in first.requests] == ["20"]
            assert got == list(range(1, 31))
            lease.release()
            stats = pool.stats()
            assert (stats.opens, stats.moves, stats.idle) == (1, 1, 1)
            await pool.aclose()


@pytest.mark.needs("groups")
async def test_the_ids_of_a_member_do_not_cross_to_another_domain(sse: Face) -> None:
    one, two = Feed(), Feed()
    two.last = 2
    with Server(two) as second:
        with Server(one) as first:
            config = pooled(
                Endpoint(first.url, cursor_domain="one"),
                Endpoint(second.url, priority=1, cursor_domain="two"),
                connection=quick(max_attempts=0),
                strategy="priority",
            )
            pool = await sse.pool(config, include={"connected"}).open()
            lease = await pool.acquire()
            assert isinstance(await lease.receive(5), Connected)
            assert await more(one, lease, 3) == [1, 2, 3]
        again = await lease.receive(5)
        assert isinstance(again, Connected)
        assert not again.resumed
        assert [seen.cursor for seen in second.requests] == [None]
        assert [(await lease.receive(5)).data for _ in range(2)] == ["1", "2"]
        await pool.aclose()


@pytest.mark.needs("groups")
async def test_members_are_spread_over_all_endpoints(sse: Face) -> None:
    with Server(stay("hello")) as first, Server(stay("hello")) as second:
        async with sse.pool(pooled(first.url, second.url, max_size=4)) as pool:
            leases = [await pool.acquire() for _ in range(4)]
            assert len(first.visits) == len(second.visits) == 2
            for lease in leases:
                lease.release()
