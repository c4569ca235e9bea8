"""Is anything slower, or larger, than it was? For a machine that checks every change.

Run::

    python benchmarks/guard.py                 # less than a minute; exits with 1 if so
    python benchmarks/guard.py --only parse    # figures by a part of their name
    python benchmarks/guard.py --update        # what is now is right: write it to baseline.json

Linux only. It measures the installed package, and needs nothing beside it. Times of different
machines cannot be compared, so each figure is a ratio of CPU times of two things that take turns,
many short rounds of them, and the median of the rounds' ratios:

* *parse*: ``EventStreamParser`` over a literal decoder, which is here in this file and does not
  change: chunks of 64 KiB, and an event to a chunk;
* *machine*: ``WireMachine.bytes_received`` over the body's reader and the parser by themselves, an
  event to a read;
* *end to end*: ``async for`` on asyncio over a bare protocol with the body's reader and the parser
  in it: as fast as the server can send (*burst*), and an event to a read (*paced*);
* *connect*: an asyncio connection with ``on_event``, until it is open, over a bare transport, until
  the response's head has come;
* *import*: ``import sansio_sse_asyncio`` over ``import asyncio``, without what the interpreter
  takes by itself.

*Memory* is no ratio: the bytes that are allocated for an idle asyncio connection with ``on_event``.

A figure may be above its baseline by its *margin*; both are in ``baseline.json``. What seems worse
is measured once more. All of it is another matter on another version of Python.
"""

import argparse
import asyncio
import codecs
import gc
import itertools
import json
import os
import re
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from sansio_sse import ConnectionConfig, ConnectionMachine, EventStreamParser, Request, WireMachine
from sansio_sse.http1_body import ChunkedBody
from sansio_sse_asyncio import connect

HERE = Path(__file__).resolve().parent
BASELINE = HERE / "baseline.json"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

TIME = 1.5
MEMORY = 1.05
BETTER = 1.25  # times as good as the baseline: it should be written anew

IN_FLIGHT = 50
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Cache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n"
)


# Judging


class BaselineError(Exception):
    """The file with the baseline is of no use."""


class Figure(NamedTuple):
    baseline: float
    margin: float

    @property
    def limit(self) -> float:
        return self.baseline * self.margin


class Row(NamedTuple):
    name: str
    figure: Figure | None
    now: float | None
    verdict: str

    @property
    def bad(self) -> bool:
        return self.verdict.isupper()


def compare(baseline: Mapping[str, Figure], found: Mapping[str, float]) -> list[Row]:
    """Judge what was found, and what was not: a figure that is not there guards nothing."""
    rows = []
    for name in [*found, *(name for name in baseline if name not in found)]:
        figure, now = baseline.get(name), found.get(name)
        if figure is None:
            verdict = "NO BASELINE"
        elif now is None:
            verdict = "NOT MEASURED"
        elif not now <= figure.limit:  # not a number is no good either
            verdict = "WORSE"
        else:
            verdict = "better" if now * BETTER < figure.baseline else "ok"
        rows.append(Row(name, figure, now, verdict))
    return rows


def read_baseline(path: Path) -> tuple[str, dict[str, Figure]]:
    """Return for which Python it is, and the figures; raise :class:`BaselineError`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BaselineError(f"{path.name}: {error.strerror}; --update makes it") from None
    except ValueError as error:
        raise BaselineError(f"{path.name} is not JSON: {error}") from None
    try:
        python = str(content["python"])
        figures = {
            str(name): Figure(float(one["baseline"]), float(one["margin"]))
            for name, one in content["figures"].items()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BaselineError(f"{path.name} is not what --update writes: {error!r}") from None
    for name, figure in figures.items():
        if not (figure.baseline > 0 and figure.margin >= 1):
            raise BaselineError(
                f"{path.name}: {name!r} needs a baseline above 0 and a margin of at least 1"
            )
    return python, figures


def write_baseline(path: Path, figures: Mapping[str, Figure]) -> None:
    content = {
        "python": PYTHON,
        "figures": {
            name: {"baseline": float(f"{figure.baseline:.4g}"), "margin": figure.margin}
            for name, figure in figures.items()
        },
    }
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def updated(
    old: Mapping[str, Figure], found: Mapping[str, float], margins: Mapping[str, float]
) -> dict[str, Figure]:
    """Return a baseline of what is known now; margins that were set by hand stay."""
    figures = {}
    for name, margin in margins.items():
        if name in found:
            kept = old[name].margin if name in old else margin
            figures[name] = Figure(found[name], kept)
        elif name in old:
            figures[name] = old[name]
    return figures


def show(rows: list[Row]) -> None:
    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.3f}"

    print("| figure | baseline | now | limit | |\n|---|---|---|---|---|")
    for name, figure, now, verdict in rows:
        was, limit = (None, None) if figure is None else (figure.baseline, figure.limit)
        print(f"| {name} | {number(was)} | {number(now)} | {number(limit)} | {verdict} |")


# Measuring

Timed = Callable[[], Awaitable[float]]
"""Does something, and returns the CPU seconds of what counts of it."""


async def ratio(ours: Timed, other: Timed, rounds: int) -> float:
    """Return the median of the ratios of many rounds, in which the two take turns."""
    ratios = []
    gc.collect()
    gc.disable()  # when it comes it is for everybody, and one of them pays
    try:
        for number in range(rounds + 1):
            if number % 2:
                one, of = await ours(), await other()
            else:
                of, one = await other(), await ours()
            if number:  # the first one warms up
                ratios.append(one / of)
            gc.collect()
    finally:
        gc.enable()
    return statistics.median(ratios)


def timed(run: Callable[[], object]) -> Timed:
    async def measure() -> float:
        before = time.process_time()
        run()
        return time.process_time() - before

    return measure


@contextmanager
def served() -> Iterator[int]:
    """Run the server, and give its port."""
    from ratios import child  # beside this file, which is on the path when this is run

    with child(sys.executable, str(HERE / "server.py")) as process:
        yield int(process.stdout.readline())


# The parser


class LiteralDecoder:
    """An event stream line by line, as the standard puts it (WHATWG HTML 9.2.6)."""

    LINE_END = re.compile("\r\n|\n|\r")

    def __init__(self) -> None:
        self.decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self.rest = ""
        self.data: list[str] = []
        self.event = ""
        self.id = ""

    def feed(self, chunk: bytes) -> list[tuple[str, str, str]]:
        text = self.rest + self.decode(chunk)
        held = "\r" if text.endswith("\r") else ""  # perhaps the half of a line's end
        *lines, rest = self.LINE_END.split(text.removesuffix(held))
        self.rest = rest + held
        events = []
        for line in lines:
            if not line:
                if self.data:
                    events.append((self.event or "message", "\n".join(self.data), self.id))
                self.data = []
                self.event = ""
                continue
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                self.data.append(value)
            elif name == "event":
                self.event = value
            elif name == "id" and "\0" not in value:
                self.id = value
        return events


def llm_deltas() -> list[bytes]:
    data = (
        '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" word %d"}}'
    )
    return [f"event: content_block_delta\ndata: {data % i}\n\n".encode() for i in range(1500)]


def tiny() -> list[bytes]:
    return [f"data: {i}\n\n".encode() for i in range(3000)]


def long_with_ids() -> list[bytes]:
    text = "copy edit, <a>Münchner Straßen</a>; " * 40
    return [f"event: change\nid: {i:032x}\ndata: {text}\n\n".encode() for i in range(400)]


def twenty_lines() -> list[bytes]:
    return [b"data: a line of some words\n" * 20 + b"\n" for _ in range(250)]


def crlf() -> list[bytes]:
    return [block.replace(b"\n", b"\r\n") for block in llm_deltas()]


def mixed() -> list[bytes]:
    blocks = []
    for i in range(1500):
        ident = f"id: {i}\n" if i % 3 == 0 else ""
        kind = "event: tick\n" if i % 2 else ""
        comment = ": keep-alive\n\n" if i % 10 == 0 else ""
        blocks.append(f"{ident}{kind}data: word {i}\n\n{comment}".encode())
    return blocks


WORKLOADS = {
    "deltas": llm_deltas,
    "tiny": tiny,
    "long, ids": long_with_ids,
    "20 lines": twenty_lines,
    "CRLF": crlf,
    "mixed": mixed,
}


def cut(blocks: list[bytes], size: int | None) -> list[bytes]:
    """Return chunks of ``size`` bytes, or an event to a chunk."""
    if size is None:
        return blocks
    stream = b"".join(blocks)
    return [stream[start : start + size] for start in range(0, len(stream), size)]


def events_of(decoder: EventStreamParser | LiteralDecoder, chunks: list[bytes]) -> list[Any]:
    events: Iterator[Any] = (event for chunk in chunks for event in decoder.feed(chunk))
    return [(kind, data, ident) for kind, data, ident, *_ in events]


def parse(workload: str, size: int | None) -> float:
    chunks = cut(WORKLOADS[workload](), size)
    if events_of(EventStreamParser(), chunks) != events_of(LiteralDecoder(), chunks):
        raise SystemExit(f"{workload}: the two do not see the same: not a result")

    def run(decoder: type[EventStreamParser | LiteralDecoder]) -> None:
        feed = decoder().feed
        for chunk in chunks:
            for _ in feed(chunk):
                pass

    ours, literal = timed(lambda: run(EventStreamParser)), timed(lambda: run(LiteralDecoder))
    return asyncio.run(ratio(ours, literal, 35))


# The machine


def machine() -> float:
    chunks = [b"%x\r\n%s\r\n" % (len(block), block) for block in llm_deltas()]

    def run_machine() -> None:
        machine = WireMachine(ConnectionMachine(Request("GET", "http://a.example/events")))
        machine.connect(0.0)
        machine.transport_opened(1, 0.0)
        machine.bytes_sent(1, 0.0)
        machine.bytes_received(1, HEAD, 0.0)
        now = 0.0
        for chunk in chunks:
            now += 0.001
            for _ in machine.bytes_received(1, chunk, now):
                pass
        if machine.connection.metrics.events_received != len(chunks):
            raise SystemExit("the machine does not see all events: not a result")

    def run_parts() -> None:
        body, parser = ChunkedBody(), EventStreamParser()
        for chunk in chunks:
            for _ in parser.feed(body.feed(chunk)):
                pass

    return asyncio.run(ratio(timed(run_machine), timed(run_parts), 81))


# From the socket to the reader


class Floor(asyncio.BufferedProtocol):
    """As little as can be between a socket and events."""

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


async def read_floor(port: int, path: str) -> int:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[int] = loop.create_future()
    transport, _ = await loop.create_connection(lambda: Floor(done), "127.0.0.1", port)
    transport.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    count = await done
    transport.abort()
    return count


async def read_ours(port: int, path: str) -> int:
    count = 0
    config = ConnectionConfig(on_end="finish")
    async with connect(f"http://127.0.0.1:{port}{path}", config=config) as connection:
        async for _ in connection:
            count += 1
    return count


def end_to_end(kind: str, events: int, rounds: int) -> float:
    def reading(port: int, read: Callable[[int, str], Awaitable[int]]) -> Timed:
        async def measure() -> float:
            before = time.process_time()
            if await read(port, f"/{kind}/{events}") != events:
                raise SystemExit(f"{kind}: not all events came: not a result")
            return time.process_time() - before

        return measure

    with served() as port:
        return asyncio.run(ratio(reading(port, read_ours), reading(port, read_floor), rounds))


# Connections

NUMBERS = itertools.count()  # each has a url of its own: what is remembered of one helps none


class Bare(asyncio.BufferedProtocol):
    """Is told of bytes, and does nothing."""

    __slots__ = ("begun",)

    VIEW = memoryview(bytearray(65536))

    def __init__(self, begun: "asyncio.Future[None]") -> None:
        self.begun = begun

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.VIEW

    def buffer_updated(self, nbytes: int) -> None:
        if not self.begun.done():
            self.begun.set_result(None)


async def open_bare(port: int) -> Any:
    loop = asyncio.get_running_loop()
    begun: asyncio.Future[None] = loop.create_future()
    transport, _ = await loop.create_connection(lambda: Bare(begun), "127.0.0.1", port)
    request = f"GET /idle/{next(NUMBERS)} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    transport.write(request.encode())
    await begun
    return transport


def ignore(connection: object, event: object) -> None:
    pass


async def open_ours(port: int) -> Any:
    url = f"http://127.0.0.1:{port}/idle/{next(NUMBERS)}"
    return await connect(url, on_event=ignore).open()


def connecting() -> float:
    async def close(one: Any) -> None:
        if isinstance(one, asyncio.Transport):
            one.abort()
        else:
            await one.aclose()

    def opening(port: int, open_one: Callable[[int], Awaitable[Any]]) -> Timed:
        async def measure() -> float:
            before = time.process_time()
            kept = await asyncio.gather(*(open_one(port) for _ in range(IN_FLIGHT)))
            took = time.process_time() - before
            for one in kept:
                await close(one)
            await asyncio.sleep(0.02)  # what has to be done for the end is not part of it
            return took

        return measure

    with served() as port:
        return asyncio.run(ratio(opening(port, open_ours), opening(port, open_bare), 41))


async def bytes_of_idle(port: int, count: int) -> float:
    async def open_some(number: int) -> list[Any]:
        kept: list[Any] = []
        for _ in range(0, number, IN_FLIGHT):
            kept += await asyncio.gather(*(open_ours(port) for _ in range(IN_FLIGHT)))
        return kept

    async def close_all(kept: list[Any]) -> None:
        for one in kept:
            await one.aclose()

    await close_all(await open_some(IN_FLIGHT))
    gc.collect()
    tracemalloc.start(1)
    try:
        kept = await open_some(count)
        await asyncio.sleep(0.1)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    await close_all(kept)
    return taken / count


def memory() -> float:
    with served() as port:
        return asyncio.run(bytes_of_idle(port, 500))


# Imports


@contextmanager
def compiling() -> Iterator[dict[str, str]]:
    """Give an environment in which what is imported is compiled once, wherever it lies."""
    with tempfile.TemporaryDirectory() as compiled:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        yield environment


def cpu_of(statement: str, environment: dict[str, str]) -> float:
    """Return the CPU seconds of an interpreter that does nothing else."""
    # -P: what is installed, and not what is in the folder from where this is run.
    command = [sys.executable, "-P", "-c", statement]
    pid = os.posix_spawn(command[0], command, environment, setpgroup=0)
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{statement!r} failed")
    return usage.ru_utime + usage.ru_stime


def importing() -> float:
    with compiling() as environment:
        ratios = []
        for number in range(14):
            nothing = cpu_of("pass", environment)
            ours = cpu_of("import sansio_sse_asyncio", environment)
            other = cpu_of("import asyncio", environment)
            if number:  # the first one compiles
                ratios.append((ours - nothing) / (other - nothing))
        return statistics.median(ratios)


# All of it

FIGURES: dict[str, tuple[float, Callable[[], float]]] = {
    **{
        f"parse {workload}: {text}": (TIME, partial(parse, workload, size))
        for text, size in (("64 KiB", 65536), ("an event each", None))
        for workload in WORKLOADS
    },
    "machine: an event each": (TIME, machine),
    "end to end: burst": (TIME, lambda: end_to_end("burst", 10_000, 41)),
    "end to end: paced": (TIME, lambda: end_to_end("paced", 250, 25)),
    "connect": (TIME, connecting),
    "import": (TIME, importing),
    "memory: bytes of an idle connection": (MEMORY, memory),
}
"""What is measured: the margin it gets at first, and how."""


def measure(names: list[str]) -> dict[str, float]:
    found = {}
    for name in names:
        print(name, file=sys.stderr)
        found[name] = FIGURES[name][1]()
    return found


def update(names: list[str]) -> int:
    """Write the baseline: of each figure the median of three measurements."""
    try:
        _, old = read_baseline(BASELINE)
    except BaselineError as error:
        print(error, file=sys.stderr)
        old = {}
    times = [measure(names) for _ in range(3)]
    found = {name: statistics.median(one[name] for one in times) for name in names}
    figures = updated(old, found, {name: margin for name, (margin, _) in FIGURES.items()})
    write_baseline(BASELINE, figures)
    show(compare(figures, found))
    return 0


def guard(names: list[str], *, everything: bool) -> int:
    """Return 1 if a figure is worse."""
    try:
        python, baseline = read_baseline(BASELINE)
    except BaselineError as error:
        print(error, file=sys.stderr)
        return 1
    if python != PYTHON:
        print(f"The baseline is of Python {python}, and this is {PYTHON}.", file=sys.stderr)
    if not everything:
        baseline = {name: baseline[name] for name in names if name in baseline}
    found = measure(names)
    again = [row.name for row in compare(baseline, found) if row.verdict == "WORSE"]
    if again:
        print("once more:", file=sys.stderr)
        for name, value in measure(again).items():
            found[name] = min(found[name], value)
    rows = compare(baseline, found)
    show(rows)
    if any(row.bad for row in rows):
        print("\nIf that is meant to be so: --update, and say why.", file=sys.stderr)
        return 1
    return 0


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--only", action="append", default=[], metavar="PART")
    arguments.add_argument("--update", action="store_true", help="write the baseline anew")
    options = arguments.parse_args()
    if not hasattr(os, "wait4"):
        raise SystemExit("this needs os.wait4, which only Unix has")
    names = [
        name for name in FIGURES if not options.only or any(one in name for one in options.only)
    ]
    if not names:
        raise SystemExit(f"there is no figure {' or '.join(options.only)}")
    began = time.monotonic()
    failed = update(names) if options.update else guard(names, everything=not options.only)
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
    sys.exit(failed)


if __name__ == "__main__":
    from ratios import to_the_end

    to_the_end(main)
