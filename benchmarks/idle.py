"""What a connection costs while nothing happens: every driver, beside a bare transport of its kind.

Run::

    python benchmarks/idle.py                      # 1000 connections, about six minutes
    python benchmarks/idle.py --short              # fewer rounds
    python benchmarks/idle.py --connections 5000

Linux only; needs ``trio`` and ``uvloop`` beside this library. The server is another process. Each
measurement is a process of its own, in which connections are opened one after the other and then
left alone; the contestants take turns within each round, and the table shows the medians of the
rounds. Connections have the default configuration. What the columns say, per connection:

* *KiB*: by how much the resident memory of the process (``/proc/self/statm``) has grown. The same
  process has opened and closed twenty connections before, so imports and caches are not in it. The
  memory of the system's own socket buffers is not in it either;
* *beyond bare*: the same, without what the bare transport costs in the same round. *Bare* is what
  one needs to be told of bytes at all: a transport whose protocol only counts (asyncio, uvloop), a
  stream with the task that reads it (trio), a socket in a selector, a thread that receives;
* *µs per keep-alive*: CPU time to be woken by a comment of one line (ten times, then by an event);
* *µs per quiet minute*: CPU time when nothing comes, taken over three seconds and scaled. Most of
  it is the process waking up at the end of these;
* *files*: file descriptors.

A connection of plain sockets lives only while somebody is in a call of it. So it stands here twice:
with a thread each, which reads, and without, where one thread looks at all of them in turn after
each broadcast.

At the end one event is sent to all. A contestant whose connections have not all received it exactly
once gets no result.
"""

import argparse
import asyncio
import gc
import json
import os
import resource
import select
import selectors
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "backends")]

WARM_UP = 20
COMMENTS = 10
FILES = 4  # the most that a connection takes
THREADS = 2000  # more of them are nothing that anybody should measure


class Trial:
    """What is done and measured with connections, whatever kind they are of.

    ``script`` yields seconds to be waited in the contestant's own way.
    """

    def __init__(self, host: str, port: int, count: int, quiet: float) -> None:
        self.host = host
        self.port = port
        self.count = count
        self.quiet = quiet
        self.url = f"http://{host}:{port}/idle"
        self.breath = max(0.3, count * 0.0003)
        self.seen: Counter[Any] = Counter()  # events, by connection
        self.told = 0  # broadcasts
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

    def script(self) -> Iterator[float]:
        """Measure, with all connections open."""
        yield 0.5
        gc.collect()
        self.put("kib", (resident() - self.memory) / 1024)
        self.put("files", len(os.listdir("/proc/self/fd")) - self.files)

        before = time.process_time()
        yield self.quiet
        self.put("quiet", (time.process_time() - before) * 1e6 * 60 / self.quiet)

        before = time.process_time()
        for _ in range(COMMENTS):
            self.tell("comment")
            yield self.breath
        self.tell("tell")
        patience = time.monotonic() + 20
        while len(self.seen) < self.count and time.monotonic() < patience:
            yield self.breath
        self.put("wake", (time.process_time() - before) * 1e6 / (COMMENTS + 1))
        if sorted(self.seen.values()) != [1] * self.count:
            raise SystemExit(f"{len(self.seen)} of {self.count} got the event: not a result")

    def put(self, name: str, total: float) -> None:
        self.result[name] = total / self.count

    def tell(self, what: str) -> None:
        """Ask the server to send something to all."""
        with socket.create_connection((self.host, self.port)) as sock:
            sock.sendall(f"GET /{what} HTTP/1.1\r\n\r\n".encode())
            answer = sock.makefile("rb").read()
        told = int(answer.partition(b"\r\n\r\n")[2])
        if told != self.count:
            raise SystemExit(f"the server has {told} of {self.count} connections: not a result")
        self.told += 1

    @property
    def request(self) -> bytes:
        return f"GET /idle HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode()


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
        __slots__ = ()

        def get_buffer(self, sizehint: int) -> memoryview:
            return view

        def buffer_updated(self, nbytes: int) -> None:
            trial.on_bytes(self, bytes(view[:nbytes]))

    loop = asyncio.get_running_loop()
    kept: list[Any] = []
    for _ in range(count):
        transport, _ = await loop.create_connection(Bare, trial.host, trial.port)
        transport.write(trial.request)
        kept.append(transport)
    return kept


async def keep_callback(trial: Trial, count: int) -> list[Any]:
    from sansio_sse_asyncio import connect

    return [await connect(trial.url, on_event=trial.on_event).open() for _ in range(count)]


async def keep_reading(trial: Trial, count: int) -> list[Any]:
    from sansio_sse_asyncio import connect

    async def read(opened: "list[asyncio.Future[Any]]") -> None:
        async with connect(trial.url) as connection:
            opened.pop().set_result(None)
            async for event in connection:
                trial.on_event(connection, event)

    kept: list[Any] = []
    for _ in range(count):
        opened = asyncio.get_running_loop().create_future()
        kept.append(asyncio.create_task(read([opened])))
        await opened
    return kept


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


async def keep_trio_bare(trial: Trial, count: int, nursery: Any) -> None:
    import trio

    async def read(stream: Any) -> None:
        async with stream:
            while data := await stream.receive_some(65536):
                trial.on_bytes(stream, data)

    for _ in range(count):
        stream = await trio.open_tcp_stream(trial.host, trial.port)
        await stream.send_all(trial.request)
        nursery.start_soon(read, stream)


async def keep_trio_callback(trial: Trial, count: int, nursery: Any) -> None:
    from sansio_sse_trio import connect

    for _ in range(count):
        await connect(trial.url, on_event=trial.on_event).open(nursery)


async def keep_trio_reading(trial: Trial, count: int, nursery: Any) -> None:
    import trio

    from sansio_sse_trio import connect

    async def read(*, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        async with connect(trial.url) as connection:
            task_status.started()
            async for event in connection:
                trial.on_event(connection, event)

    for _ in range(count):
        await nursery.start(read)


# Plain sockets


def on_selector(trial: Trial) -> None:
    """Sockets in a selector, which one thread turns."""
    with selectors.DefaultSelector() as selector:

        def keep(count: int) -> list[socket.socket]:
            socks = []
            for _ in range(count):
                sock = socket.create_connection((trial.host, trial.port))
                sock.sendall(trial.request)
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


def in_turn(trial: Trial) -> None:
    """Connections without a thread: one looks at all of them."""
    from sansio_sse_sockets import connect

    for connection in [connect(trial.url).open() for _ in range(WARM_UP)]:
        connection.close()
    trial.start()
    connections = [connect(trial.url).open() for _ in range(trial.count)]
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
    """Run a thread for each of what ``begin`` opens, and returns with what the thread does."""

    def keep(count: int) -> list[tuple[Any, threading.Thread]]:
        kept = []
        for _ in range(count):
            what, read = begin(trial)
            thread = threading.Thread(target=read)
            thread.start()
            kept.append((what, thread))
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
        self.sock = socket.create_connection((trial.host, trial.port))
        self.sock.sendall(trial.request)

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

    connection = connect(trial.url).open()

    def read() -> None:
        for event in connection:
            trial.on_event(connection, event)

    return connection, read


# Each with the bare one that it is compared with, which comes first.
CONTESTANTS: dict[str, tuple[str, Callable[[Trial], None]]] = {
    "asyncio, bare": ("asyncio, bare", lambda t: on_loop(t, asyncio.run, keep_bare)),
    "asyncio, on_event": ("asyncio, bare", lambda t: on_loop(t, asyncio.run, keep_callback)),
    "asyncio, async for": ("asyncio, bare", lambda t: on_loop(t, asyncio.run, keep_reading)),
    "uvloop, bare": ("uvloop, bare", lambda t: on_loop(t, run_uvloop, keep_bare)),
    "uvloop, on_event": ("uvloop, bare", lambda t: on_loop(t, run_uvloop, keep_callback)),
    "uvloop, async for": ("uvloop, bare", lambda t: on_loop(t, run_uvloop, keep_reading)),
    "trio, bare": ("trio, bare", lambda t: on_trio(t, keep_trio_bare)),
    "trio, on_event": ("trio, bare", lambda t: on_trio(t, keep_trio_callback)),
    "trio, async for": ("trio, bare", lambda t: on_trio(t, keep_trio_reading)),
    "selector, bare": ("selector, bare", on_selector),
    "sockets, in turn": ("selector, bare", in_turn),
    "threads, bare": ("threads, bare", lambda t: in_threads(t, begin_socket)),
    "sockets, a thread each": ("threads, bare", lambda t: in_threads(t, begin_connection)),
}


def measure(name: str, port: int, count: int, quiet: float) -> dict[str, float]:
    """Return what one contestant costs per connection, in a fresh process."""
    command = [sys.executable, str(Path(__file__)), "--contestant", name, "--port", str(port)]
    command += ["--connections", str(count), "--quiet", str(quiet)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed")
    result: dict[str, float] = json.loads(done.stdout)
    return result


def allow_files(connections: int) -> None:
    """Raise the limit of open files, also for the processes to come, as far as it may be."""
    wanted = connections * FILES + 200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and wanted > hard:
        most = (hard - 200) // FILES
        raise SystemExit(
            f"{connections} connections need {wanted} open files, and the hard limit is {hard}: "
            f"raise it (ulimit -Hn), or ask for --connections {most} at most"
        )
    if soft != resource.RLIM_INFINITY and wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--connections", type=int, default=1000, metavar="N")
    arguments.add_argument("--short", action="store_true", help="fewer rounds")
    arguments.add_argument("--contestant", help=argparse.SUPPRESS)
    arguments.add_argument("--port", type=int, help=argparse.SUPPRESS)
    arguments.add_argument("--quiet", type=float, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    count: int = options.connections
    if options.contestant:
        trial = Trial("127.0.0.1", options.port, count, options.quiet)
        CONTESTANTS[options.contestant][1](trial)
        print(json.dumps(trial.result))
        return
    if not Path("/proc/self/statm").exists():
        raise SystemExit("this needs /proc/self/statm, which only Linux has")
    allow_files(count)
    rounds, quiet = (1, 1.0) if options.short else (3, 3.0)
    names = list(CONTESTANTS)
    if count > THREADS:
        print(f"more than {THREADS} connections: none with a thread each", file=sys.stderr)
        names = [name for name in names if "thread" not in name]
    server = subprocess.Popen(
        [sys.executable, str(HERE / "server.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    results: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
            for name in names:
                result = measure(name, port, count, quiet)
                bare = results[CONTESTANTS[name][0]]
                result["beyond"] = result["kib"] - bare[-1]["kib"] if bare else 0.0
                results[name].append(result)
    finally:
        assert server.stdin is not None
        server.stdin.close()
        server.wait(10)

    print(
        f"\n| {count} connections | KiB | beyond bare | µs per keep-alive | µs per quiet minute "
        "| files |\n|---|---|---|---|---|---|"
    )
    for name in names:
        median = {
            column: statistics.median(result[column] for result in results[name])
            for column in results[name][0]
        }
        more = "" if name == CONTESTANTS[name][0] else f"{median['beyond']:.1f}"
        print(
            f"| {name} | {median['kib']:.1f} | {more} | {median['wake']:.1f} "
            f"| {median['quiet']:.1f} | {median['files']:.0f} |"
        )


if __name__ == "__main__":
    main()
