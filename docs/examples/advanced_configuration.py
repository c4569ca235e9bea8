"""Every part of a configuration: in code, the same as TOML, and from the environment.

    pip install "sansio-sse[asyncio,config]"
    python advanced_configuration.py https://api.example.com/events
    python advanced_configuration.py https://api.example.com/events company-ca.pem
    SSE_TIMEOUTS_IDLE=2m SSE_HEADERS='X-Team: prices' python advanced_configuration.py URL

The second form trusts the certificates of that file, and no others. In the third the environment
is all there is: what it does not say has the library's defaults.
"""

import asyncio
import ssl
import sys
import tomllib
import uuid

from sansio_sse import (
    BreakerConfig,
    ConnectionConfig,
    HeartbeatConfig,
    Limits,
    ReconnectionPolicy,
    Request,
    SSEError,
    Timeouts,
)
from sansio_sse_asyncio import connect
from sansio_sse_config import from_env, from_mapping

IN_CODE = ConnectionConfig(
    headers={"X-Team": "prices"},
    reconnection=ReconnectionPolicy(max_attempts=0, initial_delay=0.1, max_delay=60),
    heartbeat=HeartbeatConfig(enabled=True, interval=20, timeout=5, ping_endpoint="/health"),
    timeouts=Timeouts(connect=5, response=30, idle=120, write=10),
    limits=Limits(event=1024 * 1024, redirects=3),
    buffer_size=200,
    overflow="drop_oldest",  # the latest price is what matters
    on_end="reconnect",
    replay="safe",
    retry_statuses={429, 502, 503, 504},
    breaker=BreakerConfig(failures=3, open_for=30),
)

AS_TOML = """
buffer_size = 200
overflow = "drop_oldest"
on_end = "reconnect"
replay = "safe"
retry_statuses = [429, 502, 503, 504]

[headers]
X-Team = "prices"

[reconnection]
max_attempts = 0
initial_delay = "100ms"
max_delay = "1m"

[heartbeat]
enabled = true
interval = "20s"
timeout = "5s"
ping_endpoint = "/health"

[timeouts]
connect = "5s"
response = "30s"
idle = "2m"
write = "10s"

[limits]
event = 1_048_576
redirects = 3

[breaker]
failures = 3
open_for = "30s"
"""


def identified(request: Request, attempt: int) -> Request:
    """Run before each attempt: what is different each time has its place here."""
    return request.with_header("X-Request-ID", f"{uuid.uuid4()}-{attempt}")


def trusting(authorities: str | None) -> ssl.SSLContext:
    """Return a context; the one that is made without one is the same, but for the last line."""
    context = ssl.create_default_context(cafile=authorities)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


async def follow(url: str, authorities: str | None = None) -> None:
    config = from_env()
    if config == ConnectionConfig():  # nothing is set
        config = from_mapping(tomllib.loads(AS_TOML))  # of a file: from_toml("streams.toml")
        assert config == IN_CODE
    print(config, file=sys.stderr)  # no header's value is shown
    async with connect(
        url, config=config, prepare_request=identified, ssl_context=trusting(authorities)
    ) as connection:
        async for event in connection:
            print(event.data, flush=True)


if __name__ == "__main__":
    try:
        asyncio.run(follow(*sys.argv[1:]))
    except SSEError as error:  # a ConfigError, too: it names every mistake
        sys.exit(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
