"""What the small things cost: to import, to reconnect, to borrow from a pool, to be there.

Run::

    python benchmarks/small.py                     # all of it, about three minutes
    python benchmarks/small.py --short             # fewer rounds
    python benchmarks/small.py memory imports      # some of it
    python benchmarks/small.py imports --explain   # and which modules and lines it comes from

Linux only. It measures the installed packages: beside this library ``httpx``, ``httpx-sse`` and
``trio``; what needs one that is not there is left out. The server is another process, and so is
each measurement; those that are compared take turns within each round, a ratio is taken within its
round, and the tables show the medians of the rounds. Times are CPU time.

* *imports*: a fresh interpreter that does nothing else, all of it compiled before. *More* is the
  time beyond that of another one in the same round, which imports only what is named there;
* *reconnect*: a stream that is ended by its server after one event, and asked for again at once.
  To the peer *one client* is given, which keeps its transport if the server does; then with a
  server that closes it; then a client for each request, all with one TLS context. *Bare* is an
  asyncio transport that looks for the end of the body. This library opens a transport for each
  attempt;
* *pool*: to acquire and to release the only member of a pool, which is connected, a thousand times.
  A semaphore of asyncio is there to compare with;
* *memory*: what one of a thousand quiet connections of asyncio with ``on_event`` is made of. All
  that was allocated while they were opened and is still there (``tracemalloc``), by what it is and
  by what it was found in, beginning with the connections, and then *elsewhere* (in the loop, in
  caches). *Bare* has the same for a transport that only counts. The resident memory
  is that of another process, which traces nothing.
"""

import argparse
import asyncio
import gc
import json
import selectors
import socket
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from types import BuiltinMethodType, MethodType
from typing import Any

from guard import compiling, cpu_of
from idle import Trial, allow_files, keep_bare, keep_callback, needed, resident
from ratios import child, heading, in_turn, installed, output_of, table, to_the_end

RECONNECTS = 300
BORROWED = 1000
CONNECTIONS = 1000
WARM_UP = 20
MANAGED_DICT = 1 << 4  # Py_TPFLAGS_MANAGED_DICT

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Cache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n"
)
END = b"0\r\n\r\n"
ONE = b"d\r\ndata: hello\n\n\r\n"


# A server


def serve() -> None:
    """Print the port and serve until standard input ends.

    ``/keep`` answers with one event and waits for the next request, ``/close`` with one event and
    ends, everything else with a stream on which nothing comes.
    """
    selector = selectors.DefaultSelector()
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    listener.setblocking(False)
    selector.register(listener, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)
    print(listener.getsockname()[1], flush=True)
    while True:
        for key, _ in selector.select():
            if key.fileobj is sys.stdin:
                return
            if key.fileobj is listener:
                selector.register(listener.accept()[0], selectors.EVENT_READ)
                continue
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            if not answer(sock):
                selector.unregister(sock)
                sock.close()


def answer(sock: socket.socket) -> bool:
    """Answer a request; return whether the transport is still of use."""
    try:
        asked = sock.recv(65536)
        if asked.startswith(b"GET /keep "):
            sock.sendall(HEAD + ONE + END)
        elif asked.startswith(b"GET /close "):
            sock.sendall(HEAD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + ONE + END)
            return False
        elif asked:
            sock.sendall(HEAD)
    except OSError:
        return False
    return bool(asked)


# Imports

# What is imported, and what a program would have imported without it.
IMPORTS = {
    "h11": "",
    "asyncio": "",
    "trio": "",
    "sansio_sse": "h11",
    "sansio_sse_asyncio": "asyncio, h11",
    "sansio_sse_trio": "trio, h11",
    "sansio_sse_sockets": "h11",
    "httpx, httpx_sse": "h11",
}


def importing(names: str) -> str:
    return f"import {names}" if names else "pass"


def modules_of(names: str) -> list[str]:
    statement = f"{importing(names)}; import sys; print(*sys.modules)"
    out = output_of(sys.executable, "-P", "-c", statement)
    if out is None:
        raise SystemExit(f"{statement!r} failed")
    return out.split()


def imports(options: argparse.Namespace) -> None:
    with compiling() as environment:
        show_imports(7 if options.short else 21, environment)
        if options.explain:
            explain_imports("sansio_sse_asyncio", environment)


def show_imports(rounds: int, environment: dict[str, str]) -> None:
    those = installed({names: needed(names) for names in IMPORTS})
    everything = sorted({"", *those, *(IMPORTS[names] for names in those)})
    times: dict[str, list[float]] = {names: [] for names in everything}
    for number in range(rounds + 1):
        for names in in_turn(everything, number):
            took = cpu_of(importing(names), environment)
            if number:  # the first one compiles
                times[names].append(took * 1000)

    def more(names: str, base: str) -> str:
        pairs = zip(times[names], times[base], strict=True)
        return f"{statistics.median(one - other for one, other in pairs):.1f}"

    bare = set(modules_of(""))
    rows = [["(nothing)", f"{statistics.median(times['']):.1f}", "", "", "", str(len(bare)), ""]]
    for names in those:
        base = IMPORTS[names]
        found = set(modules_of(names)) - bare
        own = {name for name in found if name.partition(".")[0] in names.split(", ")}
        row = [names, f"{statistics.median(times[names]):.1f}", more(names, "")]
        row += [more(names, base), base] if base else ["", ""]
        rows.append([*row, str(len(found)), str(len(own))])
    head = "import, ms, more than nothing, more, than, modules, of its own"
    table(head.split(", "), rows)


def explain_imports(names: str, environment: dict[str, str]) -> None:
    """Show where the time of an import goes, as the interpreter sees it."""
    rounds = []
    for _ in range(5):
        command = [sys.executable, "-P", "-X", "importtime", "-c", importing(names)]
        done = subprocess.run(
            command, env=environment, stderr=subprocess.PIPE, text=True, check=True
        )
        rounds.append(dict(import_times(done.stderr)))
    own = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    packages: Counter[str] = Counter()
    for name, took in own.items():
        packages[name.partition(".")[0]] += int(took)
    total = sum(own.values())
    most = sorted(own.items(), key=lambda item: -item[1])[:25]
    parts = [(f"{name}, all of it", took) for name, took in packages.most_common(15)] + most
    table(
        [f"`import {names}`, {len(own)} modules", "ms", "%"],
        ([name, f"{took / 1000:.2f}", f"{took / total * 100:.0f}"] for name, took in parts),
    )


def import_times(text: str) -> Iterator[tuple[str, float]]:
    """Return modules with the µs that each took by itself."""
    for line in text.splitlines():
        own, _, name = line.removeprefix("import time:").split("|")
        if own.strip().isdigit():
            yield name.strip(), float(own)


# Reconnecting: each does it ``RECONNECTS`` times


async def reconnect_bare(url: str) -> None:
    loop = asyncio.get_running_loop()
    host, port = url.split("/")[2].split(":")
    view = memoryview(bytearray(65536))

    class Bare(asyncio.BufferedProtocol):
        __slots__ = ("done",)

        def __init__(self, done: "asyncio.Future[None]") -> None:
            self.done = done

        def get_buffer(self, sizehint: int) -> memoryview:
            return view

        def buffer_updated(self, nbytes: int) -> None:
            if bytes(view[:nbytes]).endswith(END):
                self.done.set_result(None)

    for _ in range(RECONNECTS):
        done: asyncio.Future[None] = loop.create_future()
        transport, _ = await loop.create_connection(partial(Bare, done), host, int(port))
        transport.write(f"GET /close HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        await done
        transport.abort()


def reconnecting() -> Any:
    from sansio_sse import ConnectionConfig, ReconnectionPolicy

    at_once = ReconnectionPolicy(max_attempts=0, initial_delay=0, max_delay=0)
    return ConnectionConfig(reconnection=at_once)


async def reconnect_callback(url: str) -> None:
    from sansio_sse_asyncio import connect

    seen = 0
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_event(connection: Any, event: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == RECONNECTS:
            done.set_result(None)

    async with connect(url, config=reconnecting(), on_event=on_event):
        await done


async def reconnect_reading(url: str) -> None:
    from sansio_sse_asyncio import connect

    seen = 0
    async with connect(url, config=reconnecting()) as connection:
        async for _ in connection:
            seen += 1
            if seen == RECONNECTS:
                break


async def reopen_httpx(url: str) -> None:
    import httpx

    async with httpx.AsyncClient() as client:
        await read_some(client, url, RECONNECTS)


async def new_httpx(url: str) -> None:
    import ssl

    import httpx

    context = ssl.create_default_context()
    for _ in range(RECONNECTS):
        async with httpx.AsyncClient(verify=context) as client:
            await read_some(client, url, 1)


async def read_some(client: Any, url: str, count: int) -> None:
    from httpx_sse import aconnect_sse

    for _ in range(count):
        async with aconnect_sse(client, "GET", url) as source:
            assert [event.data async for event in source.aiter_sse()] == ["hello"]


BARE = "asyncio, bare"
PEER = "httpx + httpx-sse, one client, kept open"
RECONNECTING: dict[str, tuple[str, Callable[[str], Any]]] = {
    BARE: ("close", reconnect_bare),
    "asyncio, on_event": ("close", reconnect_callback),
    "asyncio, async for": ("close", reconnect_reading),
    PEER: ("keep", reopen_httpx),
    "httpx + httpx-sse, one client, closed": ("close", reopen_httpx),
    "httpx + httpx-sse, a client each": ("close", new_httpx),
}


def contest_reconnect(name: str, port: int) -> dict[str, float]:
    path, contestant = RECONNECTING[name]
    url = f"http://127.0.0.1:{port}/{path}"
    asyncio.run(contestant(url))  # imports, caches
    before = time.process_time()
    asyncio.run(contestant(url))
    return {"µs": (time.process_time() - before) * 1e6 / RECONNECTS}


def reconnect(options: argparse.Namespace, port: int) -> None:
    names = installed({name: needed(name) for name in RECONNECTING})
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(3 if options.short else 9):
        for name in in_turn(names, number):
            times[name].append(ask("reconnect", port, name)["µs"])

    def over(name: str, other: str) -> str:
        if name == other or other not in times:
            return ""
        pairs = zip(times[name], times[other], strict=True)
        return f"{statistics.median(one / of for one, of in pairs):.2f}"

    table(
        ["CPU per reconnect", "µs", "over bare", "over one client of httpx"],
        (
            [name, f"{statistics.median(times[name]):.0f}", over(name, BARE), over(name, PEER)]
            for name in names
        ),
    )


# The pool


def one_member_machine() -> Callable[[], None]:
    """Return what acquires and releases the one member of a pool machine."""
    from sansio_sse import PoolConfig, PoolMachine
    from sansio_sse.members import GrantLease, OpenMember

    machine = PoolMachine(PoolConfig(["http://a.example/events"], max_size=1))
    opened = machine.acquire("it", "key", 0.0)[-1]
    assert isinstance(opened, OpenMember)
    machine.admission_requested(opened.member, 1, 0.0)
    actions = machine.connected(opened.member, 0.0)
    lease = next(action.lease for action in actions if isinstance(action, GrantLease))
    machine.release(lease, 0.0)

    def borrow() -> None:
        for _ in range(BORROWED):
            granted = machine.acquire("it", "key", 1.0)[0]
            assert isinstance(granted, GrantLease)
            machine.release(granted.lease, 1.0)

    return borrow


POOLED = {
    "asyncio.Semaphore": "semaphore",
    "the machine alone": "machine",
    "`lease = await pool.acquire()`, `lease.release()`": "plain",
    "`async with pool.acquire()`": "with",
}


async def contest_pool(port: int) -> dict[str, float]:
    """Return the µs of one turn, of each; they take turns."""
    from sansio_sse import PoolConfig
    from sansio_sse_asyncio import ConnectionPool

    semaphore = asyncio.Semaphore()
    borrow = one_member_machine()
    times: dict[str, list[float]] = {key: [] for key in POOLED.values()}
    config = PoolConfig([f"http://127.0.0.1:{port}/idle"], min_size=1, max_size=1)

    async with ConnectionPool(config) as pool:

        async def try_semaphore() -> None:
            for _ in range(BORROWED):
                async with semaphore:
                    pass

        async def try_machine() -> None:
            borrow()

        async def try_plain() -> None:
            for _ in range(BORROWED):
                lease = await pool.acquire()
                lease.release()

        async def try_with() -> None:
            for _ in range(BORROWED):
                async with pool.acquire():
                    pass

        for number in range(10):
            for key, attempt in {
                "semaphore": try_semaphore,
                "machine": try_machine,
                "plain": try_plain,
                "with": try_with,
            }.items():
                before = time.process_time()
                await attempt()
                if number:
                    times[key].append((time.process_time() - before) * 1e6 / BORROWED)
    return {key: statistics.median(series) for key, series in times.items()}


def pool(options: argparse.Namespace, port: int) -> None:
    rounds = [ask("pool", port) for _ in range(3 if options.short else 9)]
    rows = []
    for name, key in POOLED.items():
        cost = statistics.median(one[key] for one in rounds)
        ratio = statistics.median(one[key] / one["machine"] for one in rounds)
        rows.append([name, f"{cost:.2f}", "" if key == "machine" else f"{ratio:.2f}"])
    table(["acquire and release", "µs", "over the machine alone"], rows)


# Memory


async def contest_memory(kind: str, port: int, *, traced: bool) -> dict[str, Any]:
    """Open connections; return what each is made of, or by how much the process has grown."""
    keep = {"bare": keep_bare, "ours": keep_callback}[kind]
    trial = Trial("127.0.0.1", port, CONNECTIONS, 0.0)
    for one in await keep(trial, WARM_UP):
        one.abort() if kind == "bare" else await one.aclose()
    await asyncio.sleep(0.1)
    gc.collect()
    if not traced:
        before = resident()
        kept = await keep(trial, CONNECTIONS)
        await asyncio.sleep(0.3)
        gc.collect()
        result: dict[str, Any] = {"resident": (resident() - before) / CONNECTIONS}
    else:
        old = managed(gc.get_objects())
        tracemalloc.start(1)
        kept = await keep(trial, CONNECTIONS)
        await asyncio.sleep(0.3)
        gc.collect()
        total = tracemalloc.get_traced_memory()[0]
        everything = gc.get_objects()
        result = {
            "traced": total / CONNECTIONS,
            "parts": parts_of(kept, everything, old),
            "lines": lines_of(tracemalloc.take_snapshot()),
        }
        tracemalloc.stop()
    for one in kept:
        one.abort() if kind == "bare" else await one.aclose()
    return result


def managed(objects: Iterable[Any]) -> set[int]:
    """Return the ids of objects whose attributes are with the interpreter.

    Python 3.11 has them in front of the object, and tracemalloc does not find it there.
    """
    return {id(one) for one in objects if type(one).__flags__ & MANAGED_DICT}


def parts_of(
    kept: list[Any], everything: list[Any], old: set[int]
) -> list[tuple[str, str, int, int]]:
    """Return new objects: what they are found in, what they are, how many, how many bytes."""
    managed_now = managed(everything) - old
    seen = {id(kept), id(everything)}
    count: Counter[tuple[str, str]] = Counter()
    size: Counter[tuple[str, str]] = Counter()

    def is_new(one: Any) -> bool:
        return tracemalloc.get_object_traceback(one) is not None or id(one) in managed_now

    def look(objects: Iterable[Any], owner: str) -> list[Any]:
        found = []
        for one in objects:
            if id(one) not in seen and is_new(one):
                seen.add(id(one))
                key = owner, name_of(one)
                count[key] += 1
                size[key] += sys.getsizeof(one)
                found.append(one)
        return found

    def look_behind(objects: list[Any]) -> None:
        while objects:
            objects = [
                inner
                for one in objects
                for inner in look(gc.get_referents(one), name_of(one, short=True))
            ]

    look_behind(look(kept, ""))
    for one in everything:
        if not is_new(one):
            look_behind(look(gc.get_referents(one), "elsewhere"))
    return [(*key, count[key], size[key]) for key in count]


def name_of(one: Any, *, short: bool = False) -> str:
    if not short and isinstance(one, MethodType):
        return f"method {one.__func__.__qualname__}"
    if not short and isinstance(one, BuiltinMethodType):
        return f"method {one.__qualname__}"
    return type(one).__qualname__


def lines_of(snapshot: tracemalloc.Snapshot) -> list[tuple[str, float, float]]:
    """Return the lines that allocated most: where, bytes and blocks per connection."""
    lines = []
    others = snapshot.filter_traces([tracemalloc.Filter(False, __file__)])
    for line in others.statistics("lineno")[:40]:
        frame = line.traceback[0]
        where = "/".join(Path(frame.filename).parts[-2:])
        lines.append((f"{where}:{frame.lineno}", line.size / CONNECTIONS, line.count / CONNECTIONS))
    return lines


def memory(options: argparse.Namespace, port: int) -> None:
    ours, bare = ask("memory", port, "ours"), ask("memory", port, "bare")
    grown = {
        kind: statistics.median(
            ask("resident", port, kind)["resident"] for _ in range(1 if options.short else 5)
        )
        for kind in ("ours", "bare")
    }

    def per_connection(result: dict[str, Any]) -> dict[tuple[str, str], tuple[float, float]]:
        # A few are the benchmark's own; what less than a tenth of connections has is one of them.
        return {
            (owner, what): (count / CONNECTIONS, size / CONNECTIONS)
            for owner, what, count, size in result["parts"]
            if count >= CONNECTIONS / 10 or size >= CONNECTIONS
        }

    found, other = per_connection(ours), per_connection(bare)
    rows = []
    keys = sorted(found, key=lambda key: -found[key][1])
    for owner, what in keys + [key for key in other if key not in found]:
        both = [*found.get((owner, what), (0.0, 0.0)), *other.get((owner, what), (0.0, 0.0))]
        rows.append([what, owner, *(f"{one:.1f}" if one else "" for one in both)])
    sums = [sum(size for _, size in each.values()) for each in (found, other)]
    rest = [result["traced"] - total for result, total in zip((ours, bare), sums, strict=True)]
    for text, mine, bares in (
        ("objects, all together", *sums),
        ("tables of attributes, of keys and the like", *rest),
        ("all that was allocated", ours["traced"], bare["traced"]),
        ("resident memory", grown["ours"], grown["bare"]),
    ):
        rows.append([f"**{text}**", "", "", f"{mine:.0f}", "", f"{bares:.0f}"])
    table(
        [f"of {CONNECTIONS:,} connections", "is in", "each", "bytes", "bare: each", "bytes"], rows
    )
    if options.explain:
        table(
            ["allocated by", "bytes", "blocks"],
            ([where, f"{size:.1f}", f"{blocks:.2f}"] for where, size, blocks in ours["lines"]),
        )


# All of it


def ask(section: str, port: int, name: str = "") -> dict[str, Any]:
    """Return what a fresh process measures."""
    command = [sys.executable, str(Path(__file__)), "--contestant", section, name]
    command += ["--port", str(port)]
    out = output_of(*command, patience=120)
    if out is None:
        raise SystemExit(f"{section} {name} failed")
    result: dict[str, Any] = json.loads(out)
    return result


def compete(contestant: list[str], port: int) -> dict[str, Any]:
    section, name = contestant
    if section == "reconnect":
        return contest_reconnect(name, port)
    if section == "pool":
        return asyncio.run(contest_pool(port))
    return asyncio.run(contest_memory(name, port, traced=section == "memory"))


SECTIONS: dict[str, Callable[[argparse.Namespace, int], None]] = {
    "imports": lambda options, _: imports(options),
    "reconnect": reconnect,
    "pool": pool,
    "memory": memory,
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    arguments.add_argument("--short", action="store_true", help="fewer rounds")
    arguments.add_argument("--explain", action="store_true", help="modules and lines, too")
    arguments.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments.add_argument("--contestant", nargs=2, help=argparse.SUPPRESS)
    arguments.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.serve:
        serve()
        return
    if options.contestant:
        print(json.dumps(compete(options.contestant, options.port)))
        return
    unknown = set(options.sections) - set(SECTIONS)
    if unknown:
        arguments.error(f"there is no section {', '.join(sorted(unknown))}")
    if not Path("/proc/self/statm").exists():
        raise SystemExit("this needs /proc/self/statm, which only Linux has")
    allow_files(CONNECTIONS, 1)
    there = installed({name: [name] for name in ("httpx", "httpx-sse", "trio")})
    print(heading(["sansio-sse", *there]))
    with child(sys.executable, str(Path(__file__)), "--serve") as server:
        port = int(server.stdout.readline())
        for name, section in SECTIONS.items():
            if not options.sections or name in options.sections:
                print(name, file=sys.stderr)
                section(options, port)


if __name__ == "__main__":
    to_the_end(main)
