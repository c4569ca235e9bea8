"""A thousand connections, one after the other, leave nothing behind."""

import gc
import os
import tracemalloc

from sansio_sse import ConnectionDriver

from .common import stay
from .face import Face
from .server import Server

WARM = 50


def held_by_us() -> int:
    """Return the bytes which the library's own lines have allocated and not freed."""
    gc.collect()
    ours = tracemalloc.Filter(inclusive=True, filename_pattern="*sansio_sse*")
    snapshot = tracemalloc.take_snapshot().filter_traces([ours])
    return sum(statistic.size for statistic in snapshot.statistics("filename"))


def connections() -> list[object]:
    """All connections that there are in this process."""
    return [one for one in gc.get_objects() if isinstance(one, ConnectionDriver)]


async def test_many_cycles_leave_descriptors_and_memory_where_they_were(sse: Face) -> None:
    with Server(stay("hello")) as server:

        async def cycle() -> None:
            async with sse.connect(server.url) as connection:
                assert (await connection.receive(5)).data == "hello"

        gc.collect()
        before = connections()  # what other tests of this process have left, if they have
        tracemalloc.start()
        try:
            for _ in range(WARM):
                await cycle()
            await sse.until(lambda: server.open_visits == 0)
            descriptors, held = len(os.listdir("/dev/fd")), held_by_us()
            for _ in range(sse.cycles):
                await cycle()
            await sse.until(lambda: server.open_visits == 0)
            assert len(os.listdir("/dev/fd")) == descriptors
            # Python keeps up to 2,000 freed tuples of each size, and they count as held.
            assert held_by_us() - held < 160 * 1024
        finally:
            tracemalloc.stop()
        gc.collect()
        assert [one for one in connections() if all(one is not other for other in before)] == []
