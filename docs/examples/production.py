"""A service that follows a stream where nobody watches: it drains, it says how it is, it resumes.

    pip install "sansio-sse[asyncio,prometheus]"
    python production.py 9400 cursor.txt https://eu.example.com/orders https://us.example.com/orders

* Events come from the first url that is well, are handled, and then the cursor is stored.
* SIGTERM or Ctrl-C: what is buffered is handled, the cursor is stored, exit code 0. Whatever fails
  for good is exit code 1, for the supervisor to start it anew.
* http://127.0.0.1:9400/ready is 200 while a stream is connected, /live while the loop turns, and
  /metrics is for Prometheus.
* Standard error is one JSON object a line, with the library's own fields.
"""

import asyncio
import json
import logging
import math
import os
import signal
import sys
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from sansio_sse import (
    AsyncLease,
    ConnectionClosed,
    ConnectionConfig,
    Endpoint,
    PoolClosed,
    PoolConfig,
    ReconnectionPolicy,
    ServerSentEvent,
    SSEError,
    Timeouts,
)
from sansio_sse_asyncio import ConnectionPool
from sansio_sse_metrics.prometheus import SSECollector

log = logging.getLogger("service")

DRAIN = 20.0  # seconds; less than the supervisor waits before it kills


class JSONLines(logging.Formatter):
    """One object a line. All fields that the library adds begin with ``sse_``."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": round(record.created, 3),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name.startswith("sse_")}
        return json.dumps(line, default=str)


class Cursor:
    """What has been handled, in a file that is always whole."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> str:
        return self.path.read_text() if self.path.exists() else ""

    def store(self, event_id: str) -> None:
        new = self.path.with_suffix(".new")
        new.write_text(event_id)
        os.replace(new, self.path)


async def handle(event: ServerSentEvent) -> None:
    """Do the work. If the process dies in here, the next one gets this event again."""
    await asyncio.to_thread(print, event.data, flush=True)  # what may block leaves the loop alone


class Service:
    def __init__(self, urls: list[str], cursor: Cursor) -> None:
        config = PoolConfig(
            [Endpoint(url, priority=place) for place, url in enumerate(urls)],
            strategy="priority",
            min_size=1,  # one stream: a second one would bring everything twice
            max_size=1,
            connection=ConnectionConfig(
                reconnection=ReconnectionPolicy(max_attempts=0),  # outages end
                timeouts=Timeouts(connect=5, idle=90),  # the server sends a comment each 30 s
            ),
        )
        self.cursor = cursor
        self.pool = ConnectionPool(config, last_event_id=cursor.load(), name="orders")
        self.stopping = False
        self.registry = CollectorRegistry()
        SSECollector(self.pool, registry=self.registry)

    def stop(self) -> None:
        log.info("draining")
        self.stopping = True  # and not ready any more
        self.pool.close(grace=DRAIN)

    async def run(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        async with self.pool, await asyncio.start_server(self.serve, "127.0.0.1", port):
            try:
                # As long as it takes: meanwhile the service is alive, and not ready.
                async with self.pool.acquire(timeout=math.inf) as lease:
                    await self.work(lease)
            except (ConnectionClosed, PoolClosed):
                pass  # the server said stop (204), or the time for draining is over
        log.info("stopped, next is what comes after %r", self.cursor.load())

    async def work(self, lease: AsyncLease) -> None:
        while True:
            try:
                event = await lease.receive(timeout=0 if self.stopping else 1)
            except TimeoutError:
                if self.stopping:
                    return  # nothing is left in the buffer
            else:
                await handle(event)
                self.cursor.store(event.id)

    # --- How it is -----------------------------------------------------------------------------

    def respond(self, path: str) -> tuple[str, str, bytes]:
        match path:
            case "/live":
                return "200 OK", "text/plain", b"alive\n"
            case "/ready" if self.pool.healthy_count and not self.stopping:
                return "200 OK", "text/plain", b"ready\n"
            case "/ready":
                return "503 Service Unavailable", "text/plain", b"not ready\n"
            case "/metrics":
                return "200 OK", CONTENT_TYPE_LATEST, generate_latest(self.registry)
            case _:
                return "404 Not Found", "text/plain", b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(5):
                head = await reader.readuntil(b"\r\n\r\n")
                status, content_type, body = self.respond(head.split(b" ")[1].decode("latin-1"))
                lines = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}"]
                lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
                writer.write("\r\n".join(lines).encode() + body)
                await writer.drain()
        except (OSError, EOFError, IndexError, asyncio.LimitOverrunError):
            pass  # a TimeoutError is an OSError
        finally:
            writer.close()


async def main(port: str, cursor: str, *urls: str) -> None:
    await Service(list(urls), Cursor(Path(cursor))).run(int(port))


if __name__ == "__main__":
    handler = logging.StreamHandler()
    handler.setFormatter(JSONLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    try:
        asyncio.run(main(*sys.argv[1:]))
    except SSEError as error:
        log.critical("%s: %s", type(error).__name__, error)
        sys.exit(1)
