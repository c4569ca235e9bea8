"""What an event costs from the socket to the reader: every driver, a usual peer, and the floor.

Run::

    python benchmarks/end_to_end.py            # about four minutes
    python benchmarks/end_to_end.py --short    # fewer rounds

Needs ``httpx``, ``httpx-sse``, ``trio`` and ``uvloop`` beside this library. The server is another
process. Each measurement is a process of its own; the contestants take turns within each round, and
the tables show the median of the rounds: CPU time per event, and its ratio to httpx + httpx-sse
within the round. Absolute times mean nothing on a shared machine.

* *burst*: as fast as the server can send, many events to a read;
* *paced*: one event to a read, with a breath between, so that each costs a turn of the loop.

Each driver runs complete, with limits, metrics, timers and heartbeat on. The *floor* is a bare
asyncio BufferedProtocol with this library's body reader and parser behind it, and nothing else.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "backends")]

COUNTS = {"burst": 200_000, "paced": 5_000}


def config() -> Any:
    from sansio_sse import ConnectionConfig, HeartbeatConfig

    return ConnectionConfig(on_end="finish", heartbeat=HeartbeatConfig(enabled=True))


async def read_async(connect: Any, url: str) -> int:
    count = 0
    async with connect(url, config=config()) as connection:
        async for _ in connection:
            count += 1
    return count


def with_asyncio(url: str) -> int:
    from sansio_sse_asyncio import connect

    return asyncio.run(read_async(connect, url))


def with_uvloop(url: str) -> int:
    import uvloop

    from sansio_sse_asyncio import connect

    return uvloop.run(read_async(connect, url))


def with_trio(url: str) -> int:
    import trio

    from sansio_sse_trio import connect

    return trio.run(read_async, connect, url)


def with_sockets(url: str) -> int:
    from sansio_sse_sockets import connect

    with connect(url, config=config()) as connection:
        return sum(1 for _ in connection)


def with_callback(url: str) -> int:
    from sansio_sse import ConnectionState
    from sansio_sse_asyncio import connect

    count = 0

    def on_event(connection: Any, event: Any) -> None:
        nonlocal count
        count += 1

    async def run() -> int:
        async with connect(url, config=config(), on_event=on_event) as connection:
            await connection.wait_for(ConnectionState.DISCONNECTED)
        return count

    return asyncio.run(run())


def with_httpx(url: str) -> int:
    import httpx
    from httpx_sse import aconnect_sse

    async def run() -> int:
        async with httpx.AsyncClient() as client, aconnect_sse(client, "GET", url) as source:
            count = 0
            async for _ in source.aiter_sse():
                count += 1
            return count

    return asyncio.run(run())


def with_floor(url: str) -> int:
    from sansio_sse import EventStreamParser
    from sansio_sse.http1_body import ChunkedBody

    class Floor(asyncio.BufferedProtocol):
        def __init__(self, done: "asyncio.Future[int]") -> None:
            self.done = done
            self.view = memoryview(bytearray(65536))
            self.body: ChunkedBody | None = None
            self.parser = EventStreamParser()
            self.count = 0

        def get_buffer(self, sizehint: int) -> memoryview:
            return self.view

        def buffer_updated(self, nbytes: int) -> None:
            data = bytes(self.view[:nbytes])
            if self.body is None:
                self.body = ChunkedBody()
                data = data.partition(b"\r\n\r\n")[2]
            for _ in self.parser.feed(self.body.feed(data)):
                self.count += 1
            if self.body.complete and not self.done.done():
                self.done.set_result(self.count)

    async def run() -> int:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[int] = loop.create_future()
        host, port = url.split("/")[2].split(":")
        transport, _ = await loop.create_connection(lambda: Floor(done), host, int(port))
        transport.write(b"GET /%s HTTP/1.1\r\n\r\n" % url.split("/", 3)[3].encode())
        count = await done
        transport.abort()
        return count

    return asyncio.run(run())


CONTESTANTS: dict[str, Callable[[str], int]] = {
    "httpx + httpx-sse": with_httpx,
    "asyncio": with_asyncio,
    "asyncio, on_event": with_callback,
    "uvloop": with_uvloop,
    "trio": with_trio,
    "sockets": with_sockets,
    "floor": with_floor,
}


def measure(name: str, url: str, count: int) -> float:
    """Return the CPU seconds per event of one contestant, in a fresh process; check the count."""
    command = [sys.executable, str(Path(__file__)), "--contestant", name, "--url", url]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    result = json.loads(out)
    if result["events"] != count:
        raise SystemExit(f"{name} read {result['events']} of {count} events: not a result")
    return result["cpu"] / count


def contest(name: str, url: str) -> None:
    contestant = CONTESTANTS[name]
    contestant(url.rsplit("/", 1)[0] + "/1000")  # imports, caches
    before = time.process_time()
    events = contestant(url)
    print(json.dumps({"events": events, "cpu": time.process_time() - before}))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--short", action="store_true", help="fewer rounds")
    arguments.add_argument("--contestant", help=argparse.SUPPRESS)
    arguments.add_argument("--url", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.contestant:
        contest(options.contestant, options.url)
        return
    rounds = 2 if options.short else 5
    server = subprocess.Popen(
        [sys.executable, str(HERE / "server.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        for kind, count in COUNTS.items():
            url = f"http://127.0.0.1:{port}/{kind}/{count}"
            cost: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
            ratio: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
            for number in range(rounds):
                print(f"{kind}: round {number + 1} of {rounds}", file=sys.stderr)
                for name in CONTESTANTS:
                    cost[name].append(measure(name, url, count))
                    ratio[name].append(cost["httpx + httpx-sse"][-1] / cost[name][-1])
            print(f"\n| {kind} | CPU µs per event | times httpx + httpx-sse |\n|---|---|---|")
            for name in CONTESTANTS:
                median = statistics.median(cost[name]) * 1e6
                print(f"| {name} | {median:.2f} | {statistics.median(ratio[name]):.1f} |")
    finally:
        assert server.stdin is not None
        server.stdin.close()
        server.wait(10)


if __name__ == "__main__":
    main()
