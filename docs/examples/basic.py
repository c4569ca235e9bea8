"""Follow a stream and use what its events say, as objects of your own.

    python basic.py https://api.example.com/prices

The data of each event is JSON, such as ``{"symbol": "EUR", "rate": 1.07}``. The loop sees prices
and nothing else: a stream that is cut is connected anew and goes on after the last event, and an
event that makes no sense is told of and passed over. Ctrl-C ends the program; so does a server that
answers 204, or one that refuses for good.
"""

import asyncio
import json
import sys
from dataclasses import dataclass

from sansio_sse import EventDecodeError, SSEError, typed
from sansio_sse_asyncio import connect


@dataclass(frozen=True)
class Price:
    symbol: str
    rate: float


def decode(data: str) -> Price:
    """Return what the data of an event stands for; what this raises is about that event alone."""
    fields = json.loads(data)
    return Price(str(fields["symbol"]), float(fields["rate"]))


def passed_over(error: EventDecodeError) -> None:
    print(error, file=sys.stderr)


async def follow(url: str) -> None:
    async with connect(url) as connection:
        async for price in typed(connection, decode, on_error=passed_over):
            print(f"{price.symbol} {price.rate:.2f}", flush=True)


if __name__ == "__main__":
    try:
        asyncio.run(follow(sys.argv[1]))
    except SSEError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
