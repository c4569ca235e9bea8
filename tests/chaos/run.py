"""Members of a pool, borrowed again and again, while their servers are killed and come back.

Run it from the checkout::

    PYTHONPATH=backends python -m tests.chaos.run --driver asyncio --seconds 60 --seed 1

It prints a report, and exits with 1 if anything was lost, given twice, stuck or left over.
"""

import argparse
import asyncio
import gc
import os
import sys
import threading
import time
from collections.abc import Awaitable
from typing import Any

import trio

import sansio_sse_asyncio
import sansio_sse_sockets
import sansio_sse_trio
from sansio_sse import MemberDriver, PoolTimeout

from .book import HOLDERS, PATIENCE, SCOPES, SLACK, Book, Step, config, steps
from .servers import Monkey, Servers

_TURN = 0.05
_SILENCE = 5.0  # seconds after which a healthy member should have given what is due

_TOO_LATE = (TimeoutError, trio.TooSlowError)


# --- With coroutines -------------------------------------------------------------------------


class Loop:
    """What asyncio and trio call differently: here asyncio's way."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def within(self, seconds: float, waiting: Awaitable[Any]) -> Any:
        """Wait for something, and cancel it if it takes too long."""
        async with asyncio.timeout(seconds):
            return await waiting


class TrioLoop(Loop):
    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def within(self, seconds: float, waiting: Awaitable[Any]) -> Any:
        with trio.fail_after(seconds):
            return await waiting


async def acquire_async(loop: Loop, pool: Any, book: Book, step: Step, turn: int) -> Any:
    began = time.monotonic()
    try:
        if step.timeout == PATIENCE or turn % 2:
            lease = await pool.acquire(step.scope, timeout=step.timeout)
        else:
            lease = await loop.within(step.timeout, pool.acquire(step.scope))
    except PoolTimeout:
        book.waited("timed out", began, step)
        return None
    except _TOO_LATE:
        book.waited("cancelled", began, step)
        return None
    book.waited("granted", began, step)
    return lease


async def hold_async(loop: Loop, pool: Any, book: Book, seed: int, holder: int, end: float) -> None:
    for turn, step in enumerate(steps(seed, holder)):
        if time.monotonic() >= end:
            return
        lease = await acquire_async(loop, pool, book, step, turn)
        if lease is not None:
            member = book.begin(lease, step.scope)
            try:
                for _ in range(step.events):
                    if time.monotonic() >= end:
                        break
                    if turn % 3:
                        event = await lease.receive(timeout=step.seconds)
                    else:
                        event = await loop.within(step.seconds, lease.receive())
                    book.take(member, event)
            except _TOO_LATE:
                pass
            except Exception as error:
                book.failed(error)
            book.end(member, step.unread)
            lease.release(unread=step.unread)
        await loop.sleep(step.pause)


async def watch_async(loop: Loop, pool: Any, book: Book, monkey: Monkey, end: float) -> None:
    while time.monotonic() < end:
        book.check_stats(pool.stats())
        await loop.sleep(_TURN)
    while monkey.is_alive():
        monkey.over.set()
        await loop.sleep(_TURN)


async def settle_async(loop: Loop, pool: Any, book: Book) -> None:
    """Take all members, and read all that is due: none was forgotten, none is deaf."""
    leases: list[tuple[int, Any]] = []
    end = time.monotonic() + PATIENCE
    while len(leases) < (stats := pool.stats()).total or stats.connecting:
        for scope in SCOPES:
            try:
                while True:
                    lease = await pool.acquire(scope, timeout=0)
                    leases.append((book.begin(lease, scope), lease))
            except PoolTimeout:
                book.tries += 1
        if time.monotonic() > end:
            book.complain("stuck", f"{len(leases)} members in hand: {pool.stats()}")
            break
        await loop.sleep(_TURN)
    now = time.time()
    for member, lease in leases:
        while book.behind(member, now):
            try:
                book.take(member, await lease.receive(timeout=_SILENCE))
            except TimeoutError:
                book.complain("silent", f"{lease!r} at {book.members[member]}")
                break
    book.settled(pool.stats(), len(leases))
    for member, lease in leases:
        book.end(member, "keep")
        lease.release()


async def run_asyncio(servers: Servers, book: Book, monkey: Monkey, seconds: float) -> None:
    def complain(loop: object, context: dict[str, Any]) -> None:
        book.complain("unhandled", f"{context}")

    asyncio.get_running_loop().set_exception_handler(complain)
    loop = Loop()
    before = asyncio.all_tasks()
    end = time.monotonic() + seconds
    async with sansio_sse_asyncio.ConnectionPool(config(servers.urls)) as pool:
        async with asyncio.TaskGroup() as group:
            group.create_task(watch_async(loop, pool, book, monkey, end))
            for holder in range(HOLDERS):
                group.create_task(hold_async(loop, pool, book, monkey.seed, holder, end))
        await settle_async(loop, pool, book)
    book.closed(pool.stats())
    await asyncio.sleep(0)
    book.left("tasks", len(asyncio.all_tasks() - before))


async def run_trio(servers: Servers, book: Book, monkey: Monkey, seconds: float) -> None:
    loop = TrioLoop()
    before = trio.lowlevel.current_statistics().tasks_living
    end = time.monotonic() + seconds
    async with sansio_sse_trio.ConnectionPool(config(servers.urls)) as pool:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch_async, loop, pool, book, monkey, end)
            for holder in range(HOLDERS):
                nursery.start_soon(hold_async, loop, pool, book, monkey.seed, holder, end)
        await settle_async(loop, pool, book)
    book.closed(pool.stats())
    book.left("tasks", trio.lowlevel.current_statistics().tasks_living - before)


# --- With threads ----------------------------------------------------------------------------


def acquire(pool: Any, book: Book, step: Step) -> Any:
    began = time.monotonic()
    try:
        lease = pool.acquire(step.scope, timeout=step.timeout)
    except PoolTimeout:
        book.waited("timed out", began, step)
        return None
    book.waited("granted", began, step)
    return lease


def hold(pool: Any, book: Book, seed: int, holder: int, end: float) -> None:
    try:
        for step in steps(seed, holder):
            if time.monotonic() >= end:
                return
            lease = acquire(pool, book, step)
            if lease is not None:
                member = book.begin(lease, step.scope)
                try:
                    for _ in range(step.events):
                        if time.monotonic() >= end:
                            break
                        book.take(member, lease.receive(timeout=step.seconds))
                except TimeoutError:
                    pass
                book.end(member, step.unread)
                lease.release(unread=step.unread)
            time.sleep(step.pause)
    except Exception as error:
        book.failed(error)


def settle(pool: Any, book: Book) -> None:
    """Take all members, and read all that is due: none was forgotten, none is deaf."""
    leases: list[tuple[int, Any]] = []
    end = time.monotonic() + PATIENCE
    while len(leases) < (stats := pool.stats()).total or stats.connecting:
        for scope in SCOPES:
            try:
                while True:
                    lease = pool.acquire(scope, timeout=0)
                    leases.append((book.begin(lease, scope), lease))
            except PoolTimeout:
                book.tries += 1
        if time.monotonic() > end:
            book.complain("stuck", f"{len(leases)} members in hand: {pool.stats()}")
            break
        time.sleep(_TURN)
    now = time.time()
    for member, lease in leases:
        while book.behind(member, now):
            try:
                book.take(member, lease.receive(timeout=_SILENCE))
            except TimeoutError:
                book.complain("silent", f"{lease!r} at {book.members[member]}")
                break
    book.settled(pool.stats(), len(leases))
    for member, lease in leases:
        book.end(member, "keep")
        lease.release()


def run_sockets(servers: Servers, book: Book, monkey: Monkey, seconds: float) -> None:
    end = time.monotonic() + seconds
    with sansio_sse_sockets.ConnectionPool(config(servers.urls)) as pool:
        crank = threading.Thread(target=pool.run)
        crank.start()
        holders = [
            threading.Thread(target=hold, args=(pool, book, monkey.seed, holder, end))
            for holder in range(HOLDERS)
        ]
        for thread in holders:
            thread.start()
        while time.monotonic() < end:
            book.check_stats(pool.stats())
            time.sleep(_TURN)
        monkey.stop()
        for thread in holders:
            thread.join(PATIENCE + SLACK)
            if thread.is_alive():
                book.complain("stuck", "a holder does not come back")
        settle(pool, book)
    crank.join(SLACK)
    book.left("cranks", crank.is_alive())
    book.closed(pool.stats())


# --- Both ------------------------------------------------------------------------------------


def run(driver: str, seconds: float, seed: int) -> Book:
    """Return what was seen; ``wrong`` is to be empty."""
    book = Book()
    gc.collect()
    files, threads = len(os.listdir("/dev/fd")), set(threading.enumerate())
    before = [one for one in gc.get_objects() if isinstance(one, MemberDriver)]
    servers = Servers()
    monkey = Monkey(servers, seed)
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    sys.excepthook = lambda *about: book.complain("unhandled", f"{about}")
    threading.excepthook = lambda about: book.complain("unhandled", f"{about}")
    sys.unraisablehook = lambda about: book.complain("unhandled", f"{about}")
    try:
        monkey.start()
        if driver == "asyncio":
            asyncio.run(run_asyncio(servers, book, monkey, seconds))
        elif driver == "trio":
            trio.run(run_trio, servers, book, monkey, seconds)
        else:
            run_sockets(servers, book, monkey, seconds)
        gc.collect()
    finally:
        monkey.stop()
        servers.close()
        sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    book.counts["kills"], book.counts["freezes"] = monkey.kills, monkey.freezes
    book.left("files", len(os.listdir("/dev/fd")) - files)
    book.left("threads", len(set(threading.enumerate()) - threads))
    left = [one for one in gc.get_objects() if isinstance(one, MemberDriver)]
    # Other tests of the same process may have left what has nothing to do with this.
    book.left("members", sum(all(one is not other for other in before) for one in left))
    return book


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--driver", choices=["asyncio", "trio", "sockets"], default="asyncio")
    arguments.add_argument("--seconds", type=float, default=60.0)
    arguments.add_argument("--seed", type=int, default=1)
    options = arguments.parse_args()
    began, cpu = time.monotonic(), time.process_time()
    book = run(options.driver, options.seconds, options.seed)
    took, cpu = time.monotonic() - began, time.process_time() - cpu
    name = f"{options.driver}, seed {options.seed}"
    sys.stdout.write(f"{name}: {took:.1f} s, {cpu:.1f} s of CPU time\n{book.report()}\n")
    sys.exit(bool(book.wrong))


if __name__ == "__main__":
    main()
