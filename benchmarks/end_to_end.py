"""What an event costs from the socket to the reader: every driver, its peers, and the floors.

Run::

    pip install -e . --group bench
    python benchmarks/end_to_end.py            # about a quarter of an hour
    python benchmarks/end_to_end.py --short    # fewer events and rounds, about four minutes
    python benchmarks/end_to_end.py --kind tls --only trio --only httpx2

What is measured is what is installed. The server is another process, and so is each measurement;
all take turns within each round. The kinds:

* *burst*: as fast as the server can send, many events to a read;
* *paced*: one event to a read, with a breath between, so that each costs a turn of the loop;
* *tls*: burst over TLS, with a certificate that is verified.

The cost of an event is the CPU time that many events take more than a few, by how many more they
are: to import, to make a client and its TLS context, to connect costs nothing here. The columns:

* *CPU µs per event*: for a sense of the size. It means nothing on a shared machine;
* *times httpx + httpx-sse*: the time of that pair, async, over that of the row;
* *over the floor*: the time of the row over that of *floor: asyncio*.

Both are the median over the rounds of the ratios within each. A row whose count of events is not
what the server sent says so and is no result.

Our drivers run complete, with limits, metrics, timers and heartbeat on, and are read by ``for`` or
``async for`` unless the row says ``on_event``. What the peers are, and how each is driven, stands
in ``peers.py``. The floors do what nobody can do without, with this library's body reader and
parser, and nothing else: *floor: asyncio* is a bare BufferedProtocol, *floor: sockets* a blocking
recv. *With a timer* the loop has one to look at, three hundred seconds away: whoever wants to know
of silence needs one, and each wait of the loop is dearer for it.
"""

import argparse
import asyncio
import json
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peers import CLIENTS, acounted, based, counted, trusting
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

COUNTS = {"burst": 200_000, "paced": 5_000, "tls": 200_000}
SHORT = {"burst": 50_000, "paced": 2_000, "tls": 50_000}
FEW = {"burst": 1_000, "paced": 200, "tls": 1_000}
TLS_RECORD = 16384
PATIENCE = 60.0  # seconds, with one measurement


# Our own: like the peers, each reads a url to its end, and trusts an authority if there is one.


def ours(ca: str | None) -> dict[str, Any]:
    from sansio_sse import ConnectionConfig, HeartbeatConfig

    config = ConnectionConfig(on_end="finish", heartbeat=HeartbeatConfig(enabled=True))
    return {"config": config, "ssl_context": trusting(ca) if ca else None}


async def read_async(connect: Any, url: str, ca: str | None) -> int:
    async with connect(url, **ours(ca)) as connection:
        return await acounted(connection)


def with_asyncio(url: str, ca: str | None) -> int:
    from sansio_sse_asyncio import connect

    return asyncio.run(read_async(connect, url, ca))


def with_uvloop(url: str, ca: str | None) -> int:
    import uvloop

    from sansio_sse_asyncio import connect

    return uvloop.run(read_async(connect, url, ca))


def with_trio(url: str, ca: str | None) -> int:
    import trio

    from sansio_sse_trio import connect

    return trio.run(read_async, connect, url, ca)


def with_sockets(url: str, ca: str | None) -> int:
    from sansio_sse_sockets import connect

    with connect(url, **ours(ca)) as connection:
        return counted(connection)


def with_callback(url: str, ca: str | None) -> int:
    from sansio_sse import ConnectionState
    from sansio_sse_asyncio import connect

    count = 0

    def on_event(connection: Any, event: Any) -> None:
        nonlocal count
        count += 1

    async def run() -> int:
        async with connect(url, on_event=on_event, **ours(ca)) as connection:
            await connection.wait_for(ConnectionState.DISCONNECTED)
        return count

    return asyncio.run(run())


def with_json(url: str, ca: str | None) -> int:
    from sansio_sse_asyncio import connect

    async def run() -> int:
        count = 0
        async with connect(url, **ours(ca)) as connection:
            async for event in connection:
                event.json()
                count += 1
        return count

    return asyncio.run(run())


# The floors.


class Stream:
    """The body reader and the parser, and as much of a head as there is to a known one."""

    def __init__(self) -> None:
        from sansio_sse import EventStreamParser
        from sansio_sse.http1_body import ChunkedBody

        self.head: bytes | None = b""
        self.body = ChunkedBody()
        self.parser = EventStreamParser()
        self.count = 0

    def take(self, data: bytes) -> bool:
        """Take what was read; return whether that is all."""
        if self.head is not None:
            head, end, data = (self.head + data).partition(b"\r\n\r\n")
            self.head = None if end else head
        for _ in self.parser.feed(self.body.feed(data)):
            self.count += 1
        return self.body.complete


def request(url: str) -> tuple[str, int, bytes]:
    origin, path = based(url)
    host, port = origin.rpartition("/")[2].split(":")
    return host, int(port), f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def floor_asyncio(url: str, ca: str | None, timer: bool = False) -> int:
    class Floor(asyncio.BufferedProtocol):
        def __init__(self, done: "asyncio.Future[int]") -> None:
            self.done = done
            self.view = memoryview(bytearray(65536))
            self.stream = Stream()

        def get_buffer(self, sizehint: int) -> memoryview:
            # TLS hints at how much it holds. What does not fit would be read in a later turn, and
            # an end that comes first makes asyncio forget it.
            if sizehint > len(self.view) - TLS_RECORD:
                self.view = memoryview(bytearray(sizehint + TLS_RECORD))
            return self.view

        def buffer_updated(self, nbytes: int) -> None:
            if self.stream.take(bytes(self.view[:nbytes])) and not self.done.done():
                self.done.set_result(self.stream.count)

        def connection_lost(self, exc: Exception | None) -> None:
            if not self.done.done():
                self.done.set_result(self.stream.count)

    async def run() -> int:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[int] = loop.create_future()
        if timer:
            loop.call_later(300, done.cancel)
        host, port, asked = request(url)
        context = trusting(ca) if ca else None
        transport, _ = await loop.create_connection(lambda: Floor(done), host, port, ssl=context)
        transport.write(asked)
        count = await done
        transport.abort()
        return count

    return asyncio.run(run())


def floor_timer(url: str, ca: str | None) -> int:
    """The same in a loop that has to look at a timer, as who wants to know of silence must."""
    return floor_asyncio(url, ca, timer=True)


def floor_sockets(url: str, ca: str | None) -> int:
    stream = Stream()
    host, port, asked = request(url)
    with socket.create_connection((host, port)) as plain:
        sock = trusting(ca).wrap_socket(plain, server_hostname=host) if ca else plain
        sock.sendall(asked)
        while (data := sock.recv(65536)) and not stream.take(data):
            pass
    return stream.count


BASELINE = "httpx + httpx-sse"
FLOOR = "floor: asyncio"
OURS: dict[str, tuple[list[str], Callable[[str, str | None], int]]] = {
    "asyncio": ([], with_asyncio),
    "asyncio, on_event": ([], with_callback),
    "asyncio, JSON": ([], with_json),
    "uvloop": (["uvloop"], with_uvloop),
    "trio": (["trio"], with_trio),
    "sockets": ([], with_sockets),
}
FLOORS: dict[str, tuple[list[str], Callable[[str, str | None], int]]] = {
    FLOOR: ([], floor_asyncio),
    "floor: asyncio, with a timer": ([], floor_timer),
    "floor: sockets": ([], floor_sockets),
}
CONTESTANTS = OURS | CLIENTS | FLOORS


def contest(name: str, url: str, ca: str | None, few: int, many: int) -> None:
    """Measure one contestant, in this process, and print the result."""
    run = CONTESTANTS[name][1]
    run(f"{url}/{few}", ca)  # imports, caches
    times = []
    events = []
    for count in (few, many):
        before = time.process_time()
        events.append(run(f"{url}/{count}", ca))
        times.append(time.process_time() - before)
    print(json.dumps({"events": events, "cpu": (times[1] - times[0]) / (many - few)}))


class Row:
    """What is known of a contestant."""

    def __init__(self) -> None:
        self.costs: list[float] = []
        self.wrong = ""

    def measure(self, name: str, kind: str, url: str, ca: str, few: int, many: int) -> None:
        """Take one measurement, in a fresh process."""
        if self.wrong:
            return
        command = [sys.executable, __file__, "--contestant", name, "--url", url]
        command += ["--few", str(few), "--many", str(many)]
        if kind == "tls":
            command += ["--ca", ca]
        out = output_of(*command, patience=PATIENCE)
        if out is None:
            self.wrong = "fails"
            return
        result = json.loads(out)
        self.costs.append(result["cpu"])
        if result["events"] != [few, many]:
            self.wrong = f"WRONG {result['events'][1]}/{many}"

    def cells(self, rows: dict[str, "Row"]) -> list[str]:
        if self.wrong:
            return [self.wrong, "", ""]
        return [
            f"{statistics.median(self.costs) * 1e6:.2f}",
            shown(ratio(rows[BASELINE].costs, self.costs)),
            shown(ratio(self.costs, rows[FLOOR].costs)),
        ]


@contextmanager
def serving() -> Iterator[tuple[dict[str, str], str]]:
    """Run the server; give where each kind is, and the file of the authority to trust."""
    import trustme

    with tempfile.TemporaryDirectory() as directory:
        authority = trustme.CA()
        ca, certificate = Path(directory, "ca.pem"), Path(directory, "server.pem")
        authority.cert_pem.write_to_path(str(ca))
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
            str(certificate)
        )
        with child(sys.executable, str(HERE / "server.py"), str(certificate)) as server:
            plain, secure = (int(server.stdout.readline()) for _ in range(2))
            urls = {
                "burst": f"http://127.0.0.1:{plain}/burst",
                "paced": f"http://127.0.0.1:{plain}/paced",
                "tls": f"https://127.0.0.1:{secure}/burst",
            }
            yield urls, str(ca)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--short", action="store_true", help="fewer events and rounds")
    arguments.add_argument("--kind", action="append", choices=COUNTS, help="only this kind")
    arguments.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="contestants whose name contains this, beside what all are compared with",
    )
    arguments.add_argument("--contestant", help=argparse.SUPPRESS)
    for hidden in ("--url", "--ca"):
        arguments.add_argument(hidden, help=argparse.SUPPRESS)
    for hidden in ("--few", "--many"):
        arguments.add_argument(hidden, type=int, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.contestant:
        contest(options.contestant, options.url, options.ca, options.few, options.many)
        return
    need = {name: needs for name, (needs, _) in CONTESTANTS.items()}
    wanted = chosen(need, options.only, always=[BASELINE, FLOOR])
    names = installed({name: need[name] for name in wanted})
    if BASELINE not in names:
        raise SystemExit("there is nothing to compare with")
    print(
        heading(["sansio-sse", *sorted({one for name in names for one in need[name]})]), flush=True
    )
    rounds = 3 if options.short else 5
    with serving() as (urls, ca):
        for kind in options.kind or COUNTS:
            many = (SHORT if options.short else COUNTS)[kind]
            rows = {name: Row() for name in names}
            for number in range(rounds):
                print(f"{kind}: round {number + 1} of {rounds}", file=sys.stderr)
                for name in in_turn(names, number):
                    rows[name].measure(name, kind, urls[kind], ca, FEW[kind], many)
            for name in (BASELINE, FLOOR):
                if rows[name].wrong:
                    raise SystemExit(f"{name}: {rows[name].wrong}")
            table(
                [kind, "CPU µs per event", f"times {BASELINE}", "over the floor"],
                [[name, *rows[name].cells(rows)] for name in names],
            )


if __name__ == "__main__":
    to_the_end(main)
