"""Tell a quiet stream from a dead one: pings beside the stream, and a limit to silence.

    python heartbeat.py https://api.example.com/events          # a ping after 15 silent seconds
    python heartbeat.py https://api.example.com/events 1        # after one, to see it happen

The server needs something that answers GET with 2xx, here ``/ping``. A line on standard error each
interval shows what is known of the stream. Two things are its death, and both lead to a reconnect:
three pings in a row that went unanswered, and silence for four times as long as that, even if pings
are answered all the while. A server that sends comments needs no pings: bytes are life.
"""

import asyncio
import sys
import time

from sansio_sse import ConnectionConfig, HeartbeatConfig, SSEError, StateChanged, Timeouts
from sansio_sse_asyncio import Connection, connect


def config_for(seconds: float) -> ConnectionConfig:
    return ConnectionConfig(
        heartbeat=HeartbeatConfig(
            enabled=True,
            interval=seconds,  # of silence, before a ping
            timeout=seconds / 2,  # for its answer
            max_missed=3,
            ping_endpoint="/ping",  # joined to the stream's own url; same headers
        ),
        timeouts=Timeouts(idle=12 * seconds),  # pings do not move this
    )


def changed(_connection: Connection, change: StateChanged) -> None:
    why = f": {type(change.error).__name__}: {change.error}" if change.error else ""
    print(f"{change.old} -> {change.new}{why}", file=sys.stderr)


async def report(connection: Connection, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        info = connection.info()
        quiet = "" if info.last_event is None else f", {time.time() - info.last_event:.1f} s quiet"
        print(
            f"{info.state}: {info.metrics.heartbeats_succeeded} of"
            f" {info.metrics.heartbeats_sent} pings answered,"
            f" {info.missed_heartbeats} missed in a row{quiet}",
            file=sys.stderr,
        )


async def follow(url: str, seconds: float) -> None:
    async with connect(url, config=config_for(seconds), on_change=changed) as connection:
        reporting = asyncio.create_task(report(connection, seconds))
        async for event in connection:
            print(event.data, flush=True)
        reporting.cancel()


if __name__ == "__main__":
    try:
        asyncio.run(follow(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 15.0))
    except SSEError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
