"""Two thousand streams in one process: to connect them, to feed them, to lose a server.

Run::

    python benchmarks/load.py                   # 2000 streams, about half a minute
    python benchmarks/load.py --members 500

Linux only. A ``StreamSet`` with a url for each stream, and a ``ConnectionPool`` with as many
members, on asyncio; each in a process of its own, with three servers in three more. A server takes
20 ms to answer, so that attempts have something to wait for. What the rows say:

* *connect*: from the first attempt until all are connected, at most ``--connecting`` at a time;
* *peak*: the most requests that all servers together had before them without having answered;
* *memory*: by how much the resident memory has grown, for each member;
* *event*: one event is sent to all, twenty times: CPU time for each that one of them was given;
* *again*: one of the servers is killed. The members of the pool go to the other two. The streams
  of the set cannot: their server is started again at once, and they come back to it.
"""

import argparse
import asyncio
import gc
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from idle import allow_files, resident

HERE = Path(__file__).resolve().parent
SERVERS = 3
ANSWER = 0.02
EVENTS = 20
PATIENCE = 60.0
WARM_UP = 20
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\r\n"


# A server


class Server:
    def __init__(self) -> None:
        self.streams: set[asyncio.StreamWriter] = set()
        self.visits: list[tuple[float, float]] = []  # from the connection to the answer
        self.told = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came = time.monotonic()
        try:
            path = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1]
            if path == b"/tell":
                self.told += 1
                event = b"id: %d\ndata: hello\n\n" % self.told
                for stream in self.streams:
                    stream.write(event)
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n%d" % len(self.streams))
            elif path == b"/visits":
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + json.dumps(self.visits).encode())
                self.visits.clear()
            else:
                await asyncio.sleep(ANSWER)
                writer.write(HEAD)
                self.visits.append((came, time.monotonic()))
                self.streams.add(writer)
                await reader.read()  # until the client leaves
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.streams.discard(writer)
            writer.close()


async def serve(port: int) -> None:
    server = await asyncio.start_server(Server().serve, sock=bound(port), backlog=4096)
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), over.set)
    print("ready", flush=True)
    await over.wait()
    server.close()


def bound(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    return sock


class Servers:
    """Servers in processes of their own."""

    def __init__(self) -> None:
        # Bound here too, and never listening: else the system might give the port of a dead server
        # to one of its clients, which would then talk to itself.
        self.kept = [bound(0) for _ in range(SERVERS)]
        self.ports: list[int] = [sock.getsockname()[1] for sock in self.kept]
        self.processes: dict[int, subprocess.Popen[str]] = {}
        for port in self.ports:
            self.begin(port)
        for port in self.ports:
            self.wait(port)

    def begin(self, port: int) -> None:
        command = [sys.executable, str(HERE / "load.py"), "--serve", str(port)]
        self.processes[port] = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def wait(self, port: int) -> None:
        out = self.processes[port].stdout
        assert out is not None
        if out.readline() != "ready\n":
            raise SystemExit("a server did not start")

    def kill(self, port: int) -> None:
        process = self.processes.pop(port)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=10)

    def ask(self, path: str) -> list[Any]:
        """Ask each server that lives for something; return the answers."""
        answers = []
        for port in self.processes:
            with socket.create_connection(("127.0.0.1", port)) as sock:
                sock.sendall(f"GET {path} HTTP/1.1\r\n\r\n".encode())
                answers.append(json.loads(sock.makefile("rb").read().partition(b"\r\n\r\n")[2]))
        return answers

    def peak(self) -> int:
        """Return how many requests there were at one time at most, since it was last asked."""
        changes: list[tuple[float, int]] = []
        for visits in self.ask("/visits"):
            for came, answered in visits:
                changes += [(came, 1), (answered, -1)]
        now = most = 0
        for _, change in sorted(changes):
            now += change
            most = max(most, now)
        return most

    def close(self) -> None:
        for port in tuple(self.processes):
            self.kill(port)
        for sock in self.kept:
            sock.close()


# What is measured


class Trial:
    """What is done with streams, whoever has them."""

    def __init__(self, servers: Servers, members: int) -> None:
        self.servers = servers
        self.members = members
        self.events = 0
        self.result: dict[str, float] = {}

    async def until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not done():
            if time.monotonic() > deadline:
                raise SystemExit("this takes too long: not a result")
            await asyncio.sleep(0.005)

    def start(self) -> None:
        gc.collect()
        self.memory = resident()
        self.servers.peak()
        self.began, self.cpu = time.monotonic(), time.process_time()

    async def connected(self, done: Callable[[], bool]) -> None:
        await self.until(done)
        self.result["connect"] = time.monotonic() - self.began
        self.result["connect cpu"] = time.process_time() - self.cpu
        self.result["peak"] = self.servers.peak()
        await asyncio.sleep(0.3)
        gc.collect()
        self.result["memory"] = (resident() - self.memory) / 1024 / self.members

    async def feed(self) -> None:
        self.events = 0
        cpu = time.process_time()
        for number in range(EVENTS):
            asked = time.process_time()
            if sum(self.servers.ask("/tell")) != self.members:
                raise SystemExit("the servers have other streams: not a result")
            cpu += time.process_time() - asked
            await self.until(lambda wanted=number + 1: self.events >= wanted * self.members)
        self.result["event"] = (time.process_time() - cpu) / EVENTS / self.members * 1e6
        if self.events != EVENTS * self.members:
            raise SystemExit(f"{self.events} events came: not a result")

    async def lose(self, done: Callable[[], bool], *, again: bool) -> None:
        port = self.servers.ports[0]
        began, cpu = time.monotonic(), time.process_time()
        self.servers.kill(port)
        if again:
            self.servers.begin(port)
        await self.until(lambda: not done())
        if again:
            await asyncio.to_thread(self.servers.wait, port)
        self.result["started"] = time.monotonic() - began if again else 0.0
        await self.until(done)
        self.result["again"] = time.monotonic() - began
        self.result["again cpu"] = time.process_time() - cpu
        self.result["again peak"] = self.servers.peak()


async def try_set(trial: Trial, connecting: int) -> None:
    from sansio_sse import ConnectionState
    from sansio_sse_asyncio import StreamSet

    connected = 0

    def on_event(streams: Any, key: Any, event: Any) -> None:
        trial.events += 1

    def on_change(streams: Any, key: Any, change: Any) -> None:
        nonlocal connected
        connected += change.new is ConnectionState.CONNECTED
        connected -= change.old is ConnectionState.CONNECTED

    ports = trial.servers.ports

    def add(streams: Any, number: int) -> None:
        streams.add(number, f"http://127.0.0.1:{ports[number % SERVERS]}/streams/{number}")

    def all_there() -> bool:
        return connected == trial.members

    async with StreamSet(
        max_connecting=connecting, on_event=on_event, on_change=on_change
    ) as streams:
        for number in range(WARM_UP):
            add(streams, number)
        await trial.until(lambda: connected == WARM_UP)
        for number in range(WARM_UP):
            streams.remove(number)
        await asyncio.sleep(0.3)
        connected = 0
        trial.start()
        for number in range(trial.members):
            add(streams, number)
        await trial.connected(all_there)
        await trial.feed()
        await trial.lose(all_there, again=True)


async def try_pool(trial: Trial, connecting: int) -> None:
    from sansio_sse import PoolConfig
    from sansio_sse_asyncio import ConnectionPool

    urls = [f"http://127.0.0.1:{port}/stream" for port in trial.servers.ports]

    async def read(merged: Any) -> None:
        async for _ in merged:
            trial.events += 1

    async with ConnectionPool(PoolConfig(urls, min_size=WARM_UP, max_size=WARM_UP)) as pool:
        await trial.until(lambda: pool.healthy_count == WARM_UP)
    trial.start()
    config = PoolConfig(
        urls, min_size=trial.members, max_size=trial.members, max_connecting=connecting
    )
    async with ConnectionPool(config) as pool:
        await trial.connected(lambda: pool.healthy_count == trial.members)
        merged = pool.events(members=trial.members)
        reading = asyncio.create_task(read(merged))
        await trial.feed()
        await trial.lose(lambda: pool.healthy_count == trial.members, again=False)
        merged.close()
        await reading


CONTESTANTS = {"StreamSet": try_set, "ConnectionPool": try_pool}

ROWS = (
    ("connect all, s", "connect", ".2f"),
    ("connect one, ms of CPU", "connect cpu", ".2f"),
    ("peak of connects, as servers saw it", "peak", ".0f"),
    ("memory per member, KiB", "memory", ".1f"),
    ("an event, µs of CPU", "event", ".1f"),
    ("a third lost: all connected again, s", "again", ".2f"),
    ("the server itself was back after, s", "started", ".2f"),
    ("connect one again, ms of CPU", "again cpu", ".2f"),
    ("peak of connects meanwhile", "again peak", ".0f"),
)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--members", type=int, default=2000, metavar="N")
    arguments.add_argument("--connecting", type=int, default=50, metavar="N")
    arguments.add_argument("--contestant", help=argparse.SUPPRESS)
    arguments.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.serve:
        asyncio.run(serve(options.serve))
        return
    if options.contestant:
        servers = Servers()
        try:
            trial = Trial(servers, options.members)
            asyncio.run(CONTESTANTS[options.contestant](trial, options.connecting))
        finally:
            servers.close()
        trial.result["connect cpu"] *= 1000 / options.members
        trial.result["again cpu"] *= 1000 / (options.members / SERVERS)
        print(json.dumps(trial.result))
        return
    if not Path("/proc/self/statm").exists():
        raise SystemExit("this needs /proc/self/statm, which only Linux has")
    allow_files(options.members)
    results = []
    for name in CONTESTANTS:
        command = [sys.executable, str(Path(__file__)), "--contestant", name]
        command += ["--members", str(options.members), "--connecting", str(options.connecting)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{name} failed")
        results.append(json.loads(done.stdout))
    print(f"| {options.members} members, {options.connecting} connecting at most ", end="")
    print(f"| {' | '.join(CONTESTANTS)} |\n|---|---|---|")
    for text, key, form in ROWS:
        print(f"| {text} | {' | '.join(format(result[key], form) for result in results)} |")


if __name__ == "__main__":
    main()
