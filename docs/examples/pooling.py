"""Three ways to use a pool, each for another job; one server or several that serve the same.

    python pooling.py ask       https://api.example.com/chat
    python pooling.py share     https://eu.example.com/prices https://us.example.com/prices
    python pooling.py work      https://jobs.example.com/queue

``ask``: finite streams, one request each (`stream`). ``share``: many readers of one stream
(`subscribe`). ``work``: a stream that deals its events out among its connections, each of which
one worker has for a while (`acquire`); where a server sends everything to everybody, three
workers would get everything three times. At the end the pool says what it did.
"""

import asyncio
import sys
from typing import Literal

from sansio_sse import PoolConfig, SSEError
from sansio_sse_asyncio import ConnectionPool


async def ask(pool: ConnectionPool) -> None:
    """Ask three questions, each by a POST, and put the answers together."""

    async def answer(question: str) -> None:
        words: list[str] = []
        asked = {"question": question}
        async with pool.stream(method="POST", json=asked, until="[DONE]") as stream:
            async for event in stream:
                if event.data != "[DONE]":
                    words.append(event.data)
        print(f"{question}: {' '.join(words)}")

    for question in ("one", "two", "three"):  # in turn: one connection carries them all
        await answer(question)


async def share(pool: ConnectionPool) -> None:
    """Read one stream in two places, of which one would rather miss something than be late."""

    async def read(name: str, overflow: Literal["block", "drop_oldest"]) -> None:
        async with pool.subscribe(overflow=overflow) as events:
            async for event in events:
                print(f"{name}: {event.data}", flush=True)

    await asyncio.gather(read("ledger", "block"), read("ticker", "drop_oldest"))


async def work(pool: ConnectionPool) -> None:
    """Let three workers have a connection each, for three events."""

    async def worker(name: str) -> None:
        async with pool.acquire() as lease:
            for _ in range(3):
                event = await lease.receive()
                print(f"{name} does {event.data}", flush=True)

    await asyncio.gather(worker("Ada"), worker("Bob"), worker("Cyd"))


async def main(job: str, *urls: str) -> None:
    async with ConnectionPool(PoolConfig(urls, max_size=3)) as pool:
        await {"ask": ask, "share": share, "work": work}[job](pool)
        stats = pool.stats()
        print(f"{stats.opens} members, {stats.handshakes} handshakes, {stats.reuses} reuses")


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except SSEError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
