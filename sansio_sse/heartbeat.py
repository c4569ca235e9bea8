"""When to ping, what counts as life, and when a stream is called dead.

A ping is a short exchange on a connection of its own. It can prove that the *server* is alive,
which is what a silent stream leaves open; it cannot prove that *this stream* is. So an answered
ping takes back earlier misses, but never moves the idle deadline, and a half-open stream whose
server answers every ping still dies of silence.
"""

from functools import lru_cache

from .config import HeartbeatConfig
from .http import Origin, Request, join_url, strip_credentials
from .metrics import HeartbeatCounters

__all__ = ["Heartbeat", "ping_request"]


class Heartbeat:
    """The pings of one accepted stream; times are monotonic seconds."""

    __slots__ = ("answer_by", "last_sent", "missed", "ping")

    def __init__(self) -> None:
        self.last_sent: float = float("-inf")
        self.missed: int = 0
        self.ping: int = 0
        """Number of the exchange under way, 0 if none."""
        self.answer_by: float = 0.0

    def due(self, config: HeartbeatConfig, last_life: float) -> float:
        """Return when the next ping is due: an interval after the last sign of life or ping."""
        return max(last_life, self.last_sent) + config.interval

    def sent(
        self, ping: int, config: HeartbeatConfig, now: float, counters: HeartbeatCounters
    ) -> None:
        """Note that a ping is on its way."""
        self.ping = ping
        self.last_sent = now
        self.answer_by = now + config.timeout
        counters.sent += 1
        counters.last = now

    def in_a_row(self, last_life: float) -> int:
        """Return the misses in a row; bytes since the latest ping have cleared them."""
        return 0 if last_life > self.last_sent else self.missed

    def answered(self, counters: HeartbeatCounters) -> None:
        """Note a good answer in time."""
        self.ping = 0
        self.missed = 0
        counters.succeeded += 1

    def missed_one(self, last_life: float, counters: HeartbeatCounters) -> int:
        """Note a missing or bad answer; return the misses in a row.

        Bytes on the stream since the ping was sent outweigh its failure: they are the better proof.
        """
        self.ping = 0
        counters.failed += 1
        self.missed = 0 if last_life > self.last_sent else self.missed + 1
        return self.missed


def ping_request(stream: Request, endpoint: str) -> Request:
    """Return the request of a ping: GET, with the stream's own credentials at its own origin.

    >>> stream = Request("POST", "https://a.example/chat?x=1", (("Authorization", "t"),), b"{}")
    >>> ping = ping_request(stream, "/ping")
    >>> ping, ping.header("authorization"), ping.content
    (<Request GET https://a.example/ping>, 't', None)
    """
    return side_request(stream, "GET", ping_url(stream.origin, endpoint))


@lru_cache(maxsize=256)
def ping_url(origin: Origin, endpoint: str) -> str:
    """Return where to ping, or raise ConfigError."""
    url = join_url(f"{origin}/", endpoint)
    Request("GET", url)  # raises
    return url


def side_request(stream: Request, method: str, url: str, content: bytes | None = None) -> Request:
    """Return a request beside ``stream``.

    Its headers, less those that speak of the stream itself.
    """
    url = join_url(stream.url, url)
    headers = tuple(
        (name, value)
        for name, value in stream.headers
        if name.lower() not in ("accept", "last-event-id", "idempotency-key")
        and not name.lower().startswith("content-")
    )
    request = Request(method, url, headers, content)
    if request.origin != stream.origin:
        request = request.replace(headers=strip_credentials(headers))
    return request
