"""What an event costs over an HTTP client: our adapters and their peers, beside the client's lines.

Run::

    pip install -e . --group bench
    python benchmarks/adapters.py            # about eight minutes
    python benchmarks/adapters.py --short    # fewer events and rounds, half a minute of CPU time
    python benchmarks/adapters.py --kind paced --only httpcore2

What is measured is what is installed. The server is another process, and so is each client; those
who read by the same client share its process, and take turns in it within each round. The kinds:

* *burst*: as fast as the server can send, many events to a read of the socket. To the client each
  is a chunk of HTTP, and it gives them away one by one;
* *paced*: one event to a read, with a breath between, so that each costs a turn of the loop.

The cost of an event is the CPU time, of all threads, that many events take more than a few, by how
many more they are: to import, to make a client, to connect costs nothing here. The columns:

* *CPU µs per event*: for a sense of the size. It means nothing on a shared machine;
* *over its lines*: the time of the row over that of the client's own lines, the median over the
  rounds of the ratios within each;
* *events*: how many came, of how many the server sent. A row where these differ is no result.

The rows:

* *lines*: ``iter_lines()`` or ``aiter_lines()`` of the client's response. Blank ones are counted,
  nothing is understood. httpcore2 has no lines: there it is *body, parser*, the pieces of the body
  and this library's parser, with nothing else;
* *httpx-sse* and *its own SSE* (``client.sse``): the peers, as ``peers.py`` tells;
* *EventSource*: ours under the names of httpx-sse, ``connect_sse`` and ``aconnect_sse``;
* *connect()*: a complete connection, with limits, metrics, timers and heartbeat on, over the client
  (``sansio_sse_httpx.connection``) or a pool of its own (``sansio_sse_httpcore``). In a *sync* row
  one thread reads and another iterates;
* *ResumingTransport, lines*: the client's lines again, of a stream that is made whole below them.
  Its profile looks at each event for the end, and since the server sends none, the stream has to
  end in ``StreamTruncated``: else there is no result.
"""

import argparse
import asyncio
import gc
import json
import statistics
import sys
import time
import traceback
from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

from peers import acounted, counted
from ratios import (
    HERE,
    child,
    chosen,
    heading,
    in_turn,
    installed,
    output_of,
    ratio,
    shown,
    table,
    to_the_end,
)

FEW = {"burst": 200, "paced": 20}
MANY = {"burst": 20_000, "paced": 1_000}
SHORT = {"burst": 1_700, "paced": 170}
ROUNDS = 9
SHORT_ROUNDS = 5
PATIENCE = 300.0  # seconds, with one client

Reader = Callable[..., Any]  # takes a client and a url: reads that to its end, counts events
Run = Callable[[str], int]


def complete() -> Any:
    from sansio_sse import ConnectionConfig, HeartbeatConfig

    return ConnectionConfig(on_end="finish", heartbeat=HeartbeatConfig(enabled=True))


# Readers with ``async``, on any loop.


async def ablank(lines: AsyncIterable[str]) -> int:
    found = 0
    async for line in lines:
        if not line:
            found += 1
    return found


async def aread_lines(client: Any, url: str) -> int:
    async with client.stream("GET", url) as response:
        return await ablank(response.aiter_lines())


async def aread_source(package: str, client: Any, url: str) -> int:
    async with import_module(package).aconnect_sse(client, "GET", url) as source:
        return await acounted(source.aiter_sse())


async def aread_own(client: Any, url: str) -> int:
    async with client.sse(url) as source:
        return await acounted(source)


async def aread_connected(client: Any, url: str) -> int:
    from sansio_sse_httpx.connection import connect

    async with connect(client, url, config=complete()) as connection:
        return await acounted(connection)


async def aread_resuming(client: Any, url: str) -> int:
    from sansio_sse import StreamTruncated

    found = 0
    async with client.stream("GET", url) as response:
        try:
            async for line in response.aiter_lines():
                if not line:
                    found += 1
        except StreamTruncated:
            return found
    raise AssertionError("the stream had no end, and nobody said so")


async def aread_body(url: str) -> int:
    import httpcore2

    from sansio_sse import EventStreamParser

    found = 0
    parser = EventStreamParser()
    async with httpcore2.AsyncConnectionPool() as pool, pool.stream("GET", url) as response:
        async for chunk in response.aiter_stream():
            for _ in parser.feed(chunk):
                found += 1
    return found


async def aread_pool(url: str) -> int:
    from sansio_sse_httpcore import connect

    async with connect(url, config=complete()) as connection:
        return await acounted(connection)


# Readers without.


def blank(lines: Iterable[str]) -> int:
    found = 0
    for line in lines:
        if not line:
            found += 1
    return found


def read_lines(client: Any, url: str) -> int:
    with client.stream("GET", url) as response:
        return blank(response.iter_lines())


def read_source(package: str, client: Any, url: str) -> int:
    with import_module(package).connect_sse(client, "GET", url) as source:
        return counted(source.iter_sse())


def read_own(client: Any, url: str) -> int:
    with client.sse(url) as source:
        return counted(source)


def read_connected(client: Any, url: str) -> int:
    from sansio_sse_httpx.connection import connect

    with connect(client, url, config=complete()) as connection:
        return counted(connection)


def read_resuming(client: Any, url: str) -> int:
    from sansio_sse import StreamTruncated

    found = 0
    with client.stream("GET", url) as response:
        try:
            for line in response.iter_lines():
                if not line:
                    found += 1
        except StreamTruncated:
            return found
    raise AssertionError("the stream had no end, and nobody said so")


def read_body(url: str) -> int:
    import httpcore2

    from sansio_sse import EventStreamParser

    found = 0
    parser = EventStreamParser()
    with httpcore2.ConnectionPool() as pool, pool.stream("GET", url) as response:
        for chunk in response.iter_stream():
            for _ in parser.feed(chunk):
                found += 1
    return found


def read_pool(url: str) -> int:
    from sansio_sse_httpcore.sync import connect

    with connect(url, config=complete()) as connection:
        return counted(connection)


# The clients. The first reader of each is what the others of that client are compared with.

RESUMING = "ResumingTransport, lines"

AOURS: dict[str, Reader] = {
    "EventSource": partial(aread_source, "sansio_sse_httpx"),
    "connect()": aread_connected,
    RESUMING: aread_resuming,
}
OURS: dict[str, Reader] = {
    "EventSource": partial(read_source, "sansio_sse_httpx"),
    "connect()": read_connected,
    RESUMING: read_resuming,
}
AHTTPX = {"lines": aread_lines, "httpx-sse": partial(aread_source, "httpx_sse"), **AOURS}
HTTPX = {"lines": read_lines, "httpx-sse": partial(read_source, "httpx_sse"), **OURS}
AHTTPX2 = {"lines": aread_lines, "its own SSE": aread_own, **AOURS}
HTTPX2 = {"lines": read_lines, "its own SSE": read_own, **OURS}
AHTTPCORE2 = {"body, parser": aread_body, "connect()": aread_pool}
HTTPCORE2 = {"body, parser": read_body, "connect()": read_pool}


def client_of(module: ModuleType, kind: str, resuming: bool) -> Any:
    """Return a client that keeps no connection: the server closes each, and not at once."""
    from sansio_sse import ANTHROPIC
    from sansio_sse_httpx import resuming as transports

    limits = module.Limits(max_keepalive_connections=0)
    make = getattr(module, f"{kind}Client")
    if not resuming:
        return make(limits=limits)
    inner = getattr(module, f"{kind}HTTPTransport")(limits=limits)
    return make(transport=getattr(transports, f"{kind}ResumingTransport")(inner, profile=ANTHROPIC))


@contextmanager
def on_asyncio(package: str, readers: dict[str, Reader]) -> Iterator[dict[str, Run]]:
    """Read with an ``AsyncClient`` of httpx or httpx2, on one loop."""
    module = import_module(package)
    clients = {name: client_of(module, "Async", name == RESUMING) for name in readers}
    with asyncio.Runner() as runner:

        def bound(name: str) -> Run:
            return lambda url: runner.run(readers[name](clients[name], url))

        try:
            yield {name: bound(name) for name in readers}
        finally:
            for client in clients.values():
                runner.run(client.aclose())


@contextmanager
def plainly(package: str, readers: dict[str, Reader]) -> Iterator[dict[str, Run]]:
    """Read with a ``Client`` of httpx or httpx2."""
    module = import_module(package)
    with ExitStack() as stack:
        clients = {
            name: stack.enter_context(client_of(module, "", name == RESUMING)) for name in readers
        }
        yield {name: partial(reader, clients[name]) for name, reader in readers.items()}


@contextmanager
def pools(loop: str, readers: dict[str, Reader]) -> Iterator[dict[str, Run]]:
    """Read with a pool of httpcore2 each time."""

    def bound(reader: Reader) -> Run:
        if loop == "asyncio":
            return lambda url: asyncio.run(reader(url))
        if loop == "trio":
            return lambda url: import_module("trio").run(reader, url)
        return reader

    yield {name: bound(reader) for name, reader in readers.items()}


CLIENTS: dict[str, tuple[list[str], Callable[[], AbstractContextManager[dict[str, Run]]]]] = {
    "httpx": (["httpx", "httpx-sse"], partial(on_asyncio, "httpx", AHTTPX)),
    "httpx, sync": (["httpx", "httpx-sse"], partial(plainly, "httpx", HTTPX)),
    "httpx2": (["httpx2"], partial(on_asyncio, "httpx2", AHTTPX2)),
    "httpx2, sync": (["httpx2"], partial(plainly, "httpx2", HTTPX2)),
    "httpcore2": (["httpcore2"], partial(pools, "asyncio", AHTTPCORE2)),
    "httpcore2, trio": (["httpcore2", "trio"], partial(pools, "trio", AHTTPCORE2)),
    "httpcore2, sync": (["httpcore2"], partial(pools, "", HTTPCORE2)),
}


def attempt(run: Run, url: str, few: int, many: int) -> float | str:
    """Return the CPU seconds of an event, or what is wrong."""
    times: list[float] = []
    for count in (few, many):
        gc.collect()
        before = time.process_time()
        try:
            found = run(f"{url}/{count}")
        except Exception:
            traceback.print_exc()
            return "fails"
        times.append(time.process_time() - before)
        if found != count:
            return f"WRONG {found}/{count}"
    return (times[1] - times[0]) / (many - few)


def contest(client: str, url: str, kinds: list[str], short: bool) -> None:
    """Measure all that read by one client, in this process, and print what was found."""
    found: dict[str, dict[str, list[float | str]]] = {}
    with CLIENTS[client][1]() as runs:
        for kind in kinds:
            few, many = FEW[kind], (SHORT if short else MANY)[kind]
            found[kind] = {name: [] for name in runs}
            for run in runs.values():
                attempt(run, f"{url}/{kind}", 1, 2)  # imports, caches
            gc.collect()
            gc.freeze()  # to look at all modules before each run takes longer than the run
            for number in range(SHORT_ROUNDS if short else ROUNDS):
                for name in in_turn(list(runs), number):
                    found[kind][name].append(attempt(runs[name], f"{url}/{kind}", few, many))
    print(json.dumps(found))


def rows_of(client: str, found: dict[str, list[Any]], many: int) -> Iterator[list[str]]:
    """Return the rows of one client."""
    floor: list[Any] = next(iter(found.values()))
    for name, costs in found.items():
        wrong = next((cost for cost in costs if isinstance(cost, str)), None)
        if wrong is None:
            median = f"{statistics.median(costs) * 1e6:.2f}"
            yield [client, name, median, shown(ratio(costs, floor)), f"{many}/{many}"]
        elif costs is floor:
            raise SystemExit(f"{client}, {name}: {wrong}")
        else:
            yield [client, name, "", "", wrong]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--short", action="store_true", help="fewer events and rounds")
    arguments.add_argument("--kind", action="append", choices=MANY, help="only this kind")
    arguments.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="clients whose name contains this",
    )
    for hidden in ("--client", "--url"):
        arguments.add_argument(hidden, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    kinds = options.kind or list(MANY)
    if options.client:
        contest(options.client, options.url, kinds, options.short)
        return
    need = {name: needs for name, (needs, _) in CLIENTS.items()}
    names = installed({name: need[name] for name in chosen(need, options.only)})
    print(
        heading(["sansio-sse", *sorted({one for name in names for one in need[name]})]), flush=True
    )
    rows: dict[str, list[list[str]]] = {kind: [] for kind in kinds}
    with child(sys.executable, str(HERE / "server.py")) as server:
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        for name in names:
            print(f"{name}: {', '.join(kinds)}", file=sys.stderr)
            command = [sys.executable, __file__, "--client", name, "--url", url]
            command += [part for kind in kinds for part in ("--kind", kind)]
            out = output_of(*command, *["--short"] * options.short, patience=PATIENCE)
            if out is None:
                raise SystemExit(f"{name}: no result")
            for kind, found in json.loads(out).items():
                rows[kind] += rows_of(name, found, (SHORT if options.short else MANY)[kind])
    for kind in kinds:
        table([kind, "read by", "CPU µs per event", "over its lines", "events"], rows[kind])


if __name__ == "__main__":
    to_the_end(main)
