"""What a connection costs to open, and then while little happens: every driver, beside a bare
transport of its kind, and beside a usual peer.

Run::

    python benchmarks/idle.py                                  # 1000 connections, about ten minutes
    python benchmarks/idle.py --short                          # fewer rounds
    python benchmarks/idle.py --only asyncio --only httpx      # contestants by a part of their name
    python benchmarks/idle.py --connections 1000 5000 10000    # and how the costs grow

Linux only. It measures the installed packages: beside this library ``httpx``, ``httpx-sse``,
``trio`` and ``uvloop``; who needs one that is not there is left out. The server is another process.
Each measurement is a process of its own; the contestants take turns within each round, and the
tables show the medians of the rounds. A ratio is taken within its round. Each connection has a url
of its own. What the columns say, per connection:

* *KiB*: by how much the resident memory of the process (``/proc/self/statm``) has grown. The same
  process has opened and closed twenty connections before, so imports and caches are not in it. The
  memory of the system's own socket buffers is not in it either;
* *beyond bare*: the same, without what the bare transport costs in the same round. *Bare* is what
  one needs to be told of bytes at all: a transport whose protocol only counts (asyncio, uvloop), a
  stream with the task that reads it (trio), a socket in a selector, a thread that receives;
* *connect*: CPU time until the response's head is there, at most fifty being opened at a time, as
  an application would. Where one thread has all sockets it opens them one after the other, as it
  has no other way; a thread that has one opens it itself. *Over bare* is how many times as much it
  is as for the bare transport, *httpx takes* how many times as much ``httpx + httpx-sse`` needs;
* *event*: CPU time to be given an event that is sent to all, and *keep-alive* to be woken by a
  comment of one line, five times each;
* *quiet minute*: CPU time when nothing comes, taken over three seconds and scaled. Most of it is
  the process waking up at the end of these. (Not in it: a timer from the opening, which comes once,
  ten seconds later.)
* *files*: file descriptors.

``httpx + httpx-sse`` has a client for each connection, which a task reads. Its clients share a TLS
context, which they do not use here. *As released* they do not, and each loads the system's
certificates, which takes twenty times as long as all else; a hundred of these are enough. *One
client* has all connections in one, without a limit; as it looks through
all of them at each request, it is not asked to open more than 2000.

Connections have the default configuration. *All on* adds a heartbeat; limits, metrics and timers
are on in any case.

A connection of plain sockets lives only while somebody is in a call of it. So it stands here twice:
with a thread each, which reads, and without, where one thread looks at all of them in turn after
each broadcast.

A contestant whose connections have not all received every event once gets no result.
"""

import argparse
import asyncio
import gc
import itertools
import json
import os
import resource
import select
import selectors
import socket
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

from ratios import child, heading, in_turn, installed, output_of, table, to_the_end

HERE = Path(__file__).resolve().parent

WARM_UP = 20
IN_FLIGHT = 50
COMMENTS = 5
EVENTS = 5
FILES = 4  # the most that a connection takes
MORE_FILES = 200  # that a process has besides
FEW = 100  # clients that load certificates, fifty milliseconds and a megabyte each
MANY = 2000  # more threads, or streams of one httpx client, are nothing to wait for


class Trial:
    """What is done and measured with connections, whatever kind they are of.

    ``script`` yields seconds to be waited in the contestant's own way.
    """

    def __init__(self, host: str, port: int, count: int, quiet: float) -> None:
        self.host = host
        self.port = port
        self.count = count
        self.quiet = quiet
        self.numbers = itertools.count()
        self.breath = max(0.3, count * 0.0001)
        self.seen: Counter[Any] = Counter()  # events, by connection
        self.told = 0  # broadcasts
        self.telling = 0.0  # CPU time that they took
        self.result: dict[str, float] = {}

    def on_event(self, connection: Any, event: Any) -> None:
        self.seen[connection] += 1

    def on_bytes(self, connection: Any, data: bytes) -> None:
        events = data.count(b" hello")
        if events:
            self.seen[connection] += events

    def start(self) -> None:
        """Look at what there is before the first connection."""
        gc.collect()
        self.memory = resident()
        self.files = len(os.listdir("/proc/self/fd"))
        self.cpu = time.process_time()

    def script(self) -> Iterator[float]:
        """Measure, with all connections open."""
        self.put("connect", (time.process_time() - self.cpu) * 1e6)
        yield 0.5
        gc.collect()
        self.put("kib", (resident() - self.memory) / 1024)
        self.put("files", len(os.listdir("/proc/self/fd")) - self.files)

        self.tell("tell")  # the first one fills caches
        yield self.breath
        for key, what, times in (("wake", "comment", COMMENTS), ("event", "tell", EVENTS)):
            before = time.process_time() - self.telling
            for _ in range(times):
                self.tell(what)
                yield self.breath
            self.put(key, (time.process_time() - self.telling - before) * 1e6 / times)
        patience = time.monotonic() + 20
        while not self.all_seen() and time.monotonic() < patience:
            yield self.breath
        if not self.all_seen():
            wrong = self.count - list(self.seen.values()).count(EVENTS + 1)
            raise SystemExit(f"{wrong} of {self.count} got something else: not a result")

        before = time.process_time()
        yield self.quiet
        self.put("quiet", (time.process_time() - before) * 1e6 * 60 / self.quiet)

    def all_seen(self) -> bool:
        return list(self.seen.values()) == [EVENTS + 1] * self.count

    def put(self, name: str, total: float) -> None:
        self.result[name] = total / self.count

    def tell(self, what: str) -> None:
        """Ask the server to send something to all."""
        before = time.thread_time()
        with socket.create_connection((self.host, self.port)) as sock:
            sock.sendall(f"GET /{what} HTTP/1.1\r\n\r\n".encode())
            answer = sock.makefile("rb").read()
        told = int(answer.partition(b"\r\n\r\n")[2])
        if told != self.count:
            raise SystemExit(f"the server has {told} of {self.count} connections: not a result")
        self.told += 1
        self.telling += time.thread_time() - before

    def next_url(self) -> str:
        """Return a url that no other connection has: what is remembered of one helps none."""
        return f"http://{self.host}:{self.port}/idle/{next(self.numbers)}"

    def next_request(self) -> bytes:
        return f"GET /idle/{next(self.numbers)} HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode()


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


# asyncio and uvloop


def on_loop(trial: Trial, run: Any, keep: Callable[[Trial, int], Any]) -> None:
    async def main() -> None:
        await close_all(await keep(trial, WARM_UP))
        trial.start()
        kept = await keep(trial, trial.count)
        for seconds in trial.script():
            await asyncio.sleep(seconds)
        await close_all(kept)

    run(main())


async def open_some(count: int, open_one: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Open so many, at most ``IN_FLIGHT`` at a time."""
    kept: list[Any] = []
    numbers = iter(range(count))

    async def work() -> None:
        for _ in numbers:
            kept.append(await open_one())

    await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
    return kept


async def close_all(kept: list[Any]) -> None:
    for one in kept:
        if isinstance(one, asyncio.Task):
            one.cancel()
            await asyncio.wait([one])
        elif hasattr(one, "aclose"):
            await one.aclose()
        else:
            one.close()  # a transport
    await asyncio.sleep(0.1)


async def keep_bare(trial: Trial, count: int) -> list[Any]:
    view = memoryview(bytearray(65536))

    class Bare(asyncio.BufferedProtocol):
        __slots__ = ("begun",)

        def __init__(self, begun: "asyncio.Future[None]") -> None:
            self.begun: asyncio.Future[None] | None = begun

        def get_buffer(self, sizehint: int) -> memoryview:
            return view

        def buffer_updated(self, nbytes: int) -> None:
            if self.begun is not None:
                self.begun.set_result(None)
                self.begun = None
            trial.on_bytes(self, bytes(view[:nbytes]))

    loop = asyncio.get_running_loop()

    async def open_one() -> Any:
        begun: asyncio.Future[None] = loop.create_future()
        transport, _ = await loop.create_connection(lambda: Bare(begun), trial.host, trial.port)
        transport.write(trial.next_request())
        await begun
        return transport

    return await open_some(count, open_one)


async def keep_callback(trial: Trial, count: int, *, all_on: bool = False) -> list[Any]:
    from sansio_sse import ConnectionConfig, HeartbeatConfig
    from sansio_sse_asyncio import connect

    config = ConnectionConfig(heartbeat=HeartbeatConfig(enabled=True)) if all_on else None
    on_event = trial.on_event  # one for all, as a function would be

    async def open_one() -> Any:
        return await connect(trial.next_url(), config=config, on_event=on_event).open()

    return await open_some(count, open_one)


async def keep_all_on(trial: Trial, count: int) -> list[Any]:
    return await keep_callback(trial, count, all_on=True)


async def keep_tasks(count: int, read: Callable[[Callable[[], None]], Any]) -> list[Any]:
    """Open connections in tasks of their own, which are given what to call when one is open."""
    loop = asyncio.get_running_loop()

    async def open_one() -> Any:
        begun: asyncio.Future[None] = loop.create_future()
        calls = [lambda: begun.set_result(None)]  # taken out again, so that no task keeps it
        task = asyncio.create_task(read(lambda: calls.pop()()))
        await begun
        return task

    return await open_some(count, open_one)


async def keep_reading(trial: Trial, count: int) -> list[Any]:
    from sansio_sse_asyncio import connect

    async def read(begun: Callable[[], None]) -> None:
        async with connect(trial.next_url()) as connection:
            begun()
            del begun
            async for event in connection:
                trial.on_event(connection, event)

    return await keep_tasks(count, read)


async def keep_httpx(trial: Trial, count: int) -> list[Any]:
    import ssl

    return await keep_clients(trial, count, verify=ssl.create_default_context())


async def keep_clients(trial: Trial, count: int, **options: Any) -> list[Any]:
    import httpx
    from httpx_sse import aconnect_sse

    patient = httpx.Timeout(5, read=None)  # by default a stream may be silent for five seconds

    async def read(begun: Callable[[], None]) -> None:
        async with (
            httpx.AsyncClient(timeout=patient, **options) as client,
            aconnect_sse(client, "GET", trial.next_url()) as source,
        ):
            begun()
            del begun
            async for event in source.aiter_sse():
                trial.on_event(source, event)

    return await keep_tasks(count, read)


async def keep_one_httpx(trial: Trial, count: int) -> list[Any]:
    import httpx
    from httpx_sse import aconnect_sse

    limits = httpx.Limits(max_connections=None)
    client = httpx.AsyncClient(limits=limits, timeout=httpx.Timeout(5, read=None))

    async def read(begun: Callable[[], None]) -> None:
        async with aconnect_sse(client, "GET", trial.next_url()) as source:
            begun()
            del begun
            async for event in source.aiter_sse():
                trial.on_event(source, event)

    return [*await keep_tasks(count, read), client]


def run_uvloop(main: Any) -> None:
    import uvloop

    uvloop.run(main)


# trio


def on_trio(trial: Trial, keep: Callable[[Trial, int, Any], Any]) -> None:
    import trio

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await keep(trial, WARM_UP, nursery)
            nursery.cancel_scope.cancel()
        async with trio.open_nursery() as nursery:
            trial.start()
            await keep(trial, trial.count, nursery)
            for seconds in trial.script():
                await trio.sleep(seconds)
            nursery.cancel_scope.cancel()

    trio.run(main)


async def open_in_trio(count: int, open_one: Callable[[], Awaitable[Any]]) -> None:
    import trio

    numbers = iter(range(count))

    async def work() -> None:
        for _ in numbers:
            await open_one()

    async with trio.open_nursery() as nursery:
        for _ in range(IN_FLIGHT):
            nursery.start_soon(work)


async def keep_trio_bare(trial: Trial, count: int, nursery: Any) -> None:
    import trio

    async def read(stream: Any) -> None:
        async with stream:
            while data := await stream.receive_some(65536):
                trial.on_bytes(stream, data)

    async def open_one() -> None:
        stream = await trio.open_tcp_stream(trial.host, trial.port)
        await stream.send_all(trial.next_request())
        await stream.receive_some(65536)
        nursery.start_soon(read, stream)

    await open_in_trio(count, open_one)


async def keep_trio_callback(trial: Trial, count: int, nursery: Any) -> None:
    from sansio_sse_trio import connect

    on_event = trial.on_event

    async def open_one() -> None:
        await connect(trial.next_url(), on_event=on_event).open(nursery)

    await open_in_trio(count, open_one)


async def keep_trio_reading(trial: Trial, count: int, nursery: Any) -> None:
    import trio

    from sansio_sse_trio import connect

    async def read(*, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        async with connect(trial.next_url()) as connection:
            task_status.started()
            async for event in connection:
                trial.on_event(connection, event)

    await open_in_trio(count, lambda: nursery.start(read))


# Plain sockets


def open_socket(trial: Trial) -> socket.socket:
    sock = socket.create_connection((trial.host, trial.port))
    sock.sendall(trial.next_request())
    sock.recv(65536)
    return sock


def on_selector(trial: Trial) -> None:
    """Sockets in a selector, which one thread turns."""
    with selectors.DefaultSelector() as selector:

        def keep(count: int) -> list[socket.socket]:
            socks = []
            for _ in range(count):
                sock = open_socket(trial)
                sock.setblocking(False)
                selector.register(sock, selectors.EVENT_READ)
                socks.append(sock)
            return socks

        def drop(socks: list[socket.socket]) -> None:
            for sock in socks:
                selector.unregister(sock)
                sock.close()

        drop(keep(WARM_UP))
        trial.start()
        socks = keep(trial.count)
        for seconds in trial.script():
            until = time.monotonic() + seconds
            while (left := until - time.monotonic()) > 0:
                for key, _ in selector.select(left):
                    sock = key.fileobj
                    assert isinstance(sock, socket.socket)
                    trial.on_bytes(sock, sock.recv(65536))
        drop(socks)


def look_in_turn(trial: Trial) -> None:
    """Connections without a thread: one looks at all of them."""
    from sansio_sse_sockets import connect

    for connection in [connect(trial.next_url()).open() for _ in range(WARM_UP)]:
        connection.close()
    trial.start()
    connections = [connect(trial.next_url()).open() for _ in range(trial.count)]
    told = 0
    for seconds in trial.script():
        time.sleep(seconds)
        if trial.told > told:
            told = trial.told
            for connection in connections:
                try:
                    trial.on_event(connection, connection.receive(timeout=0))
                except TimeoutError:
                    pass
    for connection in connections:
        connection.close()


def in_threads(trial: Trial, begin: Callable[[Trial], tuple[Any, Callable[[], None]]]) -> None:
    """Run threads, each of which opens something by ``begin``, and does what that returns."""

    def keep(count: int) -> list[tuple[Any, threading.Thread]]:
        kept = []
        in_flight = threading.Semaphore(IN_FLIGHT)

        def live() -> None:
            try:
                what, read = begin(trial)
                kept.append((what, threading.current_thread()))
            finally:
                in_flight.release()
            read()

        for _ in range(count):
            in_flight.acquire()
            threading.Thread(target=live).start()
        for _ in range(IN_FLIGHT):  # until nobody is at it any more
            in_flight.acquire()
        return kept

    def drop(kept: list[tuple[Any, threading.Thread]]) -> None:
        for what, thread in kept:
            what.close()
            thread.join()

    drop(keep(WARM_UP))
    trial.start()
    kept = keep(trial.count)
    for seconds in trial.script():
        time.sleep(seconds)
    drop(kept)


class Received:
    """A socket that blocks, as something that can be closed from another thread."""

    def __init__(self, trial: Trial) -> None:
        self.sock = open_socket(trial)

    def close(self) -> None:
        self.sock.shutdown(socket.SHUT_RDWR)


def begin_socket(trial: Trial) -> tuple[Any, Callable[[], None]]:
    received = Received(trial)

    def read() -> None:
        poll = select.poll()  # a recv that blocks would hold its whole buffer meanwhile
        poll.register(received.sock, select.POLLIN)
        with received.sock as sock:
            while poll.poll() and (data := sock.recv(65536)):
                trial.on_bytes(sock, data)

    return received, read


def begin_connection(trial: Trial) -> tuple[Any, Callable[[], None]]:
    from sansio_sse_sockets import connect

    connection = connect(trial.next_url()).open()

    def read() -> None:
        for event in connection:
            trial.on_event(connection, event)

    return connection, read


class Contestant(NamedTuple):
    bare: str  # the one that it is compared with
    run: Callable[[Trial], None]
    files: int = 1  # that a connection takes
    most: float = inf  # connections, or it does not take part
    enough: int = 10**6  # connections, of whatever many there are of others


def of_asyncio(keep: Callable[[Trial, int], Any], most: float = inf) -> Contestant:
    return Contestant("asyncio, bare", lambda trial: on_loop(trial, asyncio.run, keep), most=most)


def of_uvloop(keep: Callable[[Trial, int], Any]) -> Contestant:
    return Contestant("uvloop, bare", lambda trial: on_loop(trial, run_uvloop, keep))


def of_trio(keep: Callable[[Trial, int, Any], Any]) -> Contestant:
    return Contestant("trio, bare", lambda trial: on_trio(trial, keep))


def of_threads(begin: Callable[[Trial], tuple[Any, Callable[[], None]]], files: int) -> Contestant:
    return Contestant("threads, bare", lambda trial: in_threads(trial, begin), files, MANY)


PEER = "httpx + httpx-sse"

# Of one kind the bare one comes first.
CONTESTANTS: dict[str, Contestant] = {
    "asyncio, bare": of_asyncio(keep_bare),
    PEER: of_asyncio(keep_httpx),
    "httpx + httpx-sse, as released": of_asyncio(keep_clients)._replace(enough=FEW),
    "httpx + httpx-sse, one client": of_asyncio(keep_one_httpx, MANY),
    "asyncio, on_event": of_asyncio(keep_callback),
    "asyncio, on_event, all on": of_asyncio(keep_all_on),
    "asyncio, async for": of_asyncio(keep_reading),
    "uvloop, bare": of_uvloop(keep_bare),
    "uvloop, on_event": of_uvloop(keep_callback),
    "uvloop, async for": of_uvloop(keep_reading),
    "trio, bare": of_trio(keep_trio_bare),
    "trio, on_event": of_trio(keep_trio_callback),
    "trio, async for": of_trio(keep_trio_reading),
    "selector, bare": Contestant("selector, bare", on_selector),
    "sockets, in turn": Contestant("selector, bare", look_in_turn, FILES),
    "threads, bare": of_threads(begin_socket, 1),
    "sockets, a thread each": of_threads(begin_connection, FILES),
}


def needed(name: str) -> list[str]:
    """Return the distributions that a contestant needs beside this library."""
    return [one for one in ("httpx", "httpx-sse", "trio", "uvloop") if one.split("-")[0] in name]


def chosen(only: list[str]) -> list[str]:
    """Return who takes part."""
    wanted = {name for name in CONTESTANTS if not only or any(part in name for part in only)}
    wanted |= {CONTESTANTS[name].bare for name in wanted}
    names = installed({name: needed(name) for name in CONTESTANTS if name in wanted})
    if not names:
        raise SystemExit("there is no such contestant")
    return names


def fitting(names: list[str], count: int) -> list[str]:
    """Return who of them takes part with so many connections."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    found = []
    for name in names:
        contestant = CONTESTANTS[name]
        files = count * contestant.files + MORE_FILES
        if count > contestant.most:
            print(f"{name}: not with more than {contestant.most} connections", file=sys.stderr)
        elif contestant.files > 1 and hard != resource.RLIM_INFINITY and files > hard:
            print(f"{name}: would need {files} open files, not {hard}", file=sys.stderr)
        else:
            found.append(name)
    return found


def measure(name: str, port: int, count: int, quiet: float) -> dict[str, float]:
    """Return what one contestant costs per connection, in a fresh process."""
    command = [sys.executable, str(Path(__file__)), "--contestant", name, "--port", str(port)]
    count = min(count, CONTESTANTS[name].enough)
    command += ["--connections", str(count), "--quiet", str(quiet)]
    out = output_of(*command, patience=120 + count / 10)
    if out is None:
        raise SystemExit(f"{name} failed")
    result: dict[str, float] = json.loads(out)
    return result


def allow_files(connections: int, each: int = FILES) -> None:
    """Raise the limit of open files, also for the processes to come, as far as it may be."""
    wanted = connections * each + MORE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and wanted > hard:
        most = (hard - MORE_FILES) // each
        raise SystemExit(
            f"{connections} connections need {wanted} open files, and the hard limit is {hard}: "
            f"raise it (ulimit -Hn), or ask for --connections {most} at most"
        )
    if soft != resource.RLIM_INFINITY and wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


Results = dict[str, list[dict[str, float]]]
"""Of each contestant what each round had."""


def run_round(
    number: int, names: list[str], port: int, count: int, quiet: float, results: Results
) -> None:
    """Measure each contestant once."""
    now = {name: measure(name, port, count, quiet) for name in in_turn(names, number)}
    for name in names:
        result, bare = now[name], now[CONTESTANTS[name].bare]
        result["beyond"] = result["kib"] - bare["kib"]
        result["over"] = result["connect"] / bare["connect"]
        if PEER in now:
            result["times"] = now[PEER]["connect"] / result["connect"]
        results.setdefault(name, []).append(result)


def show(count: int, results: Results) -> None:
    rows = []
    for name, rounds in results.items():
        median = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        bare = name == CONTESTANTS[name].bare
        rows.append(
            [
                name,
                f"{median['kib']:.1f}",
                "" if bare else f"{median['beyond']:.1f}",
                f"{median['connect']:.0f}",
                "" if bare else f"{median['over']:.1f}",
                f"{median['times']:.1f} times" if "times" in median else "",
                f"{median['event']:.1f}",
                f"{median['wake']:.1f}",
                f"{median['quiet']:.1f}",
                f"{median['files']:.0f}",
            ]
        )
    head = "KiB, beyond bare, connect µs, over bare, httpx takes, event µs, keep-alive µs"
    table(
        [f"{count:,} connections", *head.split(", "), "quiet minute µs", "files"],
        rows,
    )


def show_growth(small: int, large: int, results: dict[int, Results]) -> None:
    """Show what one connection of many costs next to one of few."""
    rows = []
    for name, rounds in results[large].items():
        if name in results[small]:
            pairs = list(zip(rounds, results[small][name], strict=True))
            ratios = [
                statistics.median(many[key] / few[key] for many, few in pairs)
                for key in ("connect", "event", "wake", "kib")
            ]
            rows.append([name, *(f"{ratio:.2f}" for ratio in ratios)])
    head = ["connect", "event", "keep-alive", "memory"]
    table([f"cost of one of {large:,}, over one of {small:,}", *head], rows)


def main() -> None:
    arguments = argparse.ArgumentParser(description="What a connection costs to open and to keep.")
    arguments.add_argument(
        "--connections", type=int, nargs="+", action="extend", metavar="N", help="how many"
    )
    arguments.add_argument("--short", action="store_true", help="fewer rounds")
    arguments.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="PART",
        help="contestants by a part of their name; the bare ones of the same kinds join them",
    )
    arguments.add_argument("--contestant", help=argparse.SUPPRESS)
    arguments.add_argument("--port", type=int, help=argparse.SUPPRESS)
    arguments.add_argument("--quiet", type=float, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    counts: list[int] = sorted(set(options.connections or [1000]))
    if counts[0] < 1:
        arguments.error("--connections must be at least 1")
    if options.contestant:
        trial = Trial("127.0.0.1", options.port, counts[0], options.quiet)
        CONTESTANTS[options.contestant].run(trial)
        print(json.dumps(trial.result))
        return
    if not Path("/proc/self/statm").exists():
        raise SystemExit("this needs /proc/self/statm, which only Linux has")
    everybody = chosen(options.only)
    names = {count: fitting(everybody, count) for count in counts}
    for count in counts:
        allow_files(count, max((CONTESTANTS[name].files for name in names[count]), default=1))
    print(heading(["sansio-sse", *sorted({one for name in everybody for one in needed(name)})]))
    rounds, quiet = (1, 1.0) if options.short else (3, 3.0)
    results: dict[int, Results] = {count: {} for count in counts}
    with child(sys.executable, str(HERE / "server.py")) as server:
        port = int(server.stdout.readline())
        for number in range(rounds):
            for count in counts:
                print(f"round {number + 1} of {rounds}, {count} connections", file=sys.stderr)
                run_round(number, names[count], port, count, quiet, results[count])
    for count in counts:
        show(count, results[count])
    if len(counts) > 1:
        show_growth(counts[0], counts[-1], results)


if __name__ == "__main__":
    to_the_end(main)
