"""Configuration: frozen, validated dataclasses; seconds are floats, sizes are bytes.

Every value is checked when it is given. A mistake is a :class:`ConfigError` which names the field
and the value, at the line that made it, not an hour later in a reconnect.

There is no total timeout on a stream: it would kill healthy ones.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

from .errors import ConfigError, redact_url
from .http import Headers, HeadersInput, Origin, Request, join_url, make_request

__all__ = [
    "DEFAULT_CONFIG",
    "BreakerConfig",
    "ConnectionConfig",
    "Endpoint",
    "HeartbeatConfig",
    "Limits",
    "PoolConfig",
    "ReconnectionPolicy",
    "Timeouts",
    "make_endpoint_request",
    "make_endpoints",
]

OnEnd = Literal["reconnect", "finish"]
Overflow = Literal["block", "drop_oldest", "error"]
Replay = Literal["safe", "with_id", "always"]

RETRY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


_FAR = 1e15  # seconds: 30 million years; beyond that, adding to a time loses it


def _number(
    owner: object, name: str, *, low: float, above: bool = False, high: float = inf
) -> None:
    value = getattr(owner, name)
    ok = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _FAR
    if not ok or value < low or (above and value == low) or value > high:
        bound = f"above {low:g}" if above else f"at least {low:g}"
        bound += "" if high == inf else f" and at most {high:g}"
        raise ConfigError(f"{type(owner).__name__}.{name} must be a number {bound}, not {value!r}")


def _integer(owner: object, name: str, *, low: int) -> None:
    value = getattr(owner, name)
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise ConfigError(
            f"{type(owner).__name__}.{name} must be a whole number, at least {low}, not {value!r}"
        )


def _boolean(owner: object, name: str) -> None:
    value = getattr(owner, name)
    if not isinstance(value, bool):
        raise ConfigError(f"{type(owner).__name__}.{name} must be True or False, not {value!r}")


def _choice(owner: object, name: str, choices: Collection[object]) -> None:
    value = getattr(owner, name)
    if value not in choices:
        words = ", ".join(repr(choice) for choice in choices)
        raise ConfigError(f"{type(owner).__name__}.{name} must be one of {words}, not {value!r}")


def _instance(owner: object, name: str, kind: type) -> None:
    value = getattr(owner, name)
    if not isinstance(value, kind):
        raise ConfigError(f"{type(owner).__name__}.{name} must be a {kind.__name__}, not {value!r}")


@dataclass(frozen=True, slots=True)
class ReconnectionPolicy:
    """When to try again, and how long to wait before.

    The delay before retry ``n`` (from 0) is ``min(initial_delay * backoff_multiplier**n,
    max_delay)``, shortened by up to ``jitter_factor`` of itself; a server that asks for longer gets
    longer, up to ``max_server_delay``.

    >>> ReconnectionPolicy(max_attempts=0).max_attempts  # unlimited
    0
    >>> ReconnectionPolicy(jitter_factor=2)
    Traceback (most recent call last):
    sansio_sse.errors.ConfigError: ReconnectionPolicy.jitter_factor must be a number at least 0 ...
    """

    enabled: bool = True
    """False: the first failure is final."""
    max_attempts: int = 10
    """Retries without progress before giving up; 0 is unlimited. The first connect is not one."""
    initial_delay: float = 0.1
    max_delay: float = 30.0
    backoff_multiplier: float = 2.0
    jitter_factor: float = 0.5
    """0 to 1: which part of a delay is random."""
    reset_interval: float = 300.0
    """Seconds up after which earlier failures are forgiven, even without an event."""
    max_server_delay: float = 300.0
    """Cap on what ``retry:`` and Retry-After may ask for."""

    def __post_init__(self) -> None:
        _boolean(self, "enabled")
        _integer(self, "max_attempts", low=0)
        _number(self, "initial_delay", low=0)
        _number(self, "max_delay", low=self.initial_delay)
        _number(self, "backoff_multiplier", low=1)
        _number(self, "jitter_factor", low=0, high=1)
        _number(self, "reset_interval", low=0, above=True)
        _number(self, "max_server_delay", low=0)


@dataclass(frozen=True, slots=True)
class HeartbeatConfig:
    """Pings beside the stream.

    Off unless asked for, because most servers have no endpoint for them.
    """

    enabled: bool = False
    interval: float = 30.0
    """Seconds of silence before a ping."""
    timeout: float = 5.0
    """Seconds a ping may take, its connecting included."""
    max_missed: int = 3
    """Misses in a row that are death."""
    ping_endpoint: str = field(default="/ping", repr=False)  # its query may be a credential
    """Resolved against the url the stream really comes from."""

    def __post_init__(self) -> None:
        _boolean(self, "enabled")
        _number(self, "interval", low=0, above=True)
        _number(self, "timeout", low=0, above=True)
        _integer(self, "max_missed", low=1)
        join_url("http://checked.invalid/", self.ping_endpoint)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each phase may take, in seconds; none of them limits a healthy stream."""

    connect: float = 10.0
    """Name resolution, TCP and TLS together; also an async ``prepare_request``."""
    response: float = 60.0
    """From the request sent to the whole response head: a total, not per byte."""
    idle: float | None = None
    """Silence on an accepted stream; None: 300, for finite streams 600; 0: never."""
    write: float = 30.0
    """Writing the request."""

    def __post_init__(self) -> None:
        _number(self, "connect", low=0, above=True)
        _number(self, "response", low=0, above=True)
        _number(self, "write", low=0, above=True)
        if self.idle is not None:
            _number(self, "idle", low=0)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on all that a peer can make us keep, in bytes unless said otherwise."""

    event: int = 32 * 1024 * 1024
    """A line, and an event's data."""
    head: int = 64 * 1024
    """A response head, informational responses included."""
    redirects: int = 10
    """Redirects followed in one attempt."""
    error_body: int = 4 * 1024
    """How much of a refusing response's body the error keeps."""
    post_body: int = 1024 * 1024
    """The body of the answer to a post."""
    decompressed_ratio: float = 100.0
    """Decompressed bytes per compressed byte, beyond the first MiB."""
    decompressed_read: int = 4 * 1024 * 1024
    """Decompressed bytes out of one read."""

    def __post_init__(self) -> None:
        for name in ("event", "head", "post_body", "decompressed_read"):
            _integer(self, name, low=1)
        _integer(self, "redirects", low=0)
        _integer(self, "error_body", low=0)
        _number(self, "decompressed_ratio", low=1)


@dataclass(frozen=True, slots=True)
class BreakerConfig:
    """When an endpoint is taken for broken, when it is tried again, when streams return to it.

    >>> BreakerConfig(failures=0)
    Traceback (most recent call last):
    sansio_sse.errors.ConfigError: BreakerConfig.failures must be a whole number, at least 1, ...
    """

    failures: int = 5
    """Failures in a row that open the breaker."""
    successes: int = 3
    """Successes in a row that close it again, once it is half open."""
    open_for: float = 60.0
    """Seconds during which an open breaker lets nothing through."""
    half_open: int = 1
    """Attempts that a half-open breaker lets through at a time."""
    failback_after: float = 30.0
    """Seconds without a failure after which streams elsewhere return to a better endpoint."""

    def __post_init__(self) -> None:
        _integer(self, "failures", low=1)
        _integer(self, "successes", low=1)
        _number(self, "open_for", low=0)
        _integer(self, "half_open", low=1)
        _number(self, "failback_after", low=0)


@dataclass(frozen=True, slots=True)
class ConnectionConfig:
    """Everything about one connection that is not its request.

    >>> config = ConnectionConfig(headers={"Authorization": "Bearer secret"}, buffer_size=10)
    >>> "secret" in repr(config)
    False
    """

    base_url: str | None = field(default=None, repr=False)  # it may hold credentials
    """The url given to ``connect`` is joined to this one by RFC 3986."""
    headers: HeadersInput = field(default=None, repr=False)
    """Sent with every request unless ``connect`` gives the same name."""
    reconnection: ReconnectionPolicy = field(default_factory=ReconnectionPolicy)
    heartbeat: HeartbeatConfig = field(default_factory=HeartbeatConfig)
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)
    buffer_size: int = 1000
    """Events held for a reader; the buffer holds at most this plus one read."""
    overflow: Overflow = "block"
    """What a full buffer does: stop reading, drop the oldest, or end in ERROR."""
    on_end: OnEnd | None = None
    """What the good end of a body means; None: reconnect for GET, finish otherwise."""
    replay: Replay = "safe"
    """When a request that may have had an effect is sent again. ``safe``: never unless it is
    idempotent, has an Idempotency-Key, or the stream gave event ids; ``with_id``: also when the
    caller gave a cursor; ``always``."""
    retry_statuses: Collection[int] = RETRY_STATUSES
    """Statuses that are worth a retry."""
    breaker: BreakerConfig = field(default_factory=BreakerConfig)
    """For a connection with ``endpoints=``: when to turn away from one, and when to return."""

    def __post_init__(self) -> None:
        if self.base_url is not None:
            make_request("GET", self.base_url)
        # Kept as a tuple so that the caller's dict can change without changing us.
        object.__setattr__(self, "headers", _checked_headers(self.headers))
        _instance(self, "reconnection", ReconnectionPolicy)
        _instance(self, "heartbeat", HeartbeatConfig)
        _instance(self, "timeouts", Timeouts)
        _instance(self, "limits", Limits)
        _instance(self, "breaker", BreakerConfig)
        _integer(self, "buffer_size", low=1)
        _choice(self, "overflow", ("block", "drop_oldest", "error"))
        _choice(self, "on_end", (None, "reconnect", "finish"))
        _choice(self, "replay", ("safe", "with_id", "always"))
        try:
            statuses = frozenset(self.retry_statuses)
        except TypeError:
            raise ConfigError("ConnectionConfig.retry_statuses must be a set of statuses") from None
        for status in statuses:
            if not isinstance(status, int) or not 300 <= status <= 599:
                raise ConfigError(
                    f"ConnectionConfig.retry_statuses: {status!r} is no status from 300 to 599"
                )
        object.__setattr__(self, "retry_statuses", statuses)


def _checked_headers(headers: HeadersInput) -> Headers:
    return make_request("GET", "http://checked.invalid/", headers=headers).headers


DEFAULT_CONFIG = ConnectionConfig()
"""What a connection is configured with that is given nothing: one for all, as it cannot change."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One of several places where the same streams are served.

    >>> Endpoint("https://eu.example.com/events?key=secret", priority=1)
    Endpoint('https://eu.example.com/events?key=…', weight=1, priority=1, cursor_domain=None)
    """

    url: str
    weight: float = 1.0
    """Its share of the load, next to the others'."""
    priority: int = 0
    """For the strategy ``"priority"``: the lowest number that is healthy gets everything."""
    cursor_domain: str | None = None
    """Where its event ids mean something; an id never goes to an endpoint of another domain.

    ``None`` is a domain too, the one of replicas: all endpoints that say nothing share it."""

    def __post_init__(self) -> None:
        if not isinstance(self.url, str):
            raise ConfigError(f"Endpoint.url must be a string, not {type(self.url).__name__}")
        make_request("GET", self.url)
        _number(self, "weight", low=0, above=True)
        if not isinstance(self.priority, int) or isinstance(self.priority, bool):
            raise ConfigError(f"Endpoint.priority must be a whole number, not {self.priority!r}")
        if self.cursor_domain is not None:
            _instance(self, "cursor_domain", str)

    @property
    def origin(self) -> Origin:
        """Where its connections go."""
        return Origin.of(self.url)

    @property
    def name(self) -> str:
        """Its url without credentials: what people and metrics are shown."""
        return redact_url(self.url)

    def __repr__(self) -> str:
        return (
            f"Endpoint({self.name!r}, weight={self.weight:g}, priority={self.priority},"
            f" cursor_domain={self.cursor_domain!r})"
        )


def make_endpoints(owner: str, endpoints: Any) -> tuple[Endpoint, ...]:
    """Return endpoints for what a caller gave: urls and :class:`Endpoint` objects.

    Raises :class:`ConfigError` in the name of ``owner`` where there are none, or two alike.
    """
    if isinstance(endpoints, str | Endpoint):
        endpoints = [endpoints]
    if not _is_list(endpoints):
        raise ConfigError(f"{owner} must be a list of urls or Endpoint objects, at least one")
    made = tuple(item if isinstance(item, Endpoint) else Endpoint(item) for item in endpoints)
    for position, endpoint in enumerate(made):
        if endpoint.url in (other.url for other in made[:position]):
            raise ConfigError(f"{owner}: {endpoint.name} is there twice; give it a weight instead")
    return made


def make_endpoint_request(endpoint: Endpoint, method: str, url: str, **parts: Any) -> Request:
    """Return the request for ``url``, joined to an endpoint's; see ``make_request`` for the parts.

    Raises :class:`ConfigError` for a url that leads away from the endpoint: it would take the
    credentials along, to where no breaker and no limit is.

    >>> place = Endpoint("https://a.example/v1/")
    >>> make_endpoint_request(place, "GET", "events")
    <Request GET https://a.example/v1/events>
    """
    request = make_request(method, url, base_url=endpoint.url, **parts)
    if request.origin != make_request("GET", endpoint.url).origin:
        raise ConfigError(f"url {redact_url(url)!r} leads away from the endpoint {endpoint.name}")
    return request


def _is_list(value: Any) -> bool:
    return bool(value) and isinstance(value, Sequence)


Strategy = Literal["round_robin", "least_loaded", "priority"]


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """Everything about a pool: where its members connect, how many there are, how they live.

    ``endpoints`` are urls or :class:`Endpoint` objects; seconds are floats.

    >>> config = PoolConfig(["https://eu.example.com/events", "https://us.example.com/events"])
    >>> config.max_size, config.strategy
    (10, 'round_robin')
    >>> PoolConfig([])
    Traceback (most recent call last):
    sansio_sse.errors.ConfigError: PoolConfig.endpoints must be a list of urls or Endpoint ...
    """

    endpoints: Sequence[Endpoint | str]
    connection: ConnectionConfig = field(default_factory=ConnectionConfig)
    """For every member; its ``breaker`` is not used."""
    min_size: int = 0
    """Members of the pool's own scope that are kept connected, in use or not."""
    max_size: int = 10
    """Members at most, whatever they are doing."""
    max_idle: float = 90.0
    """Seconds after which a member that nobody uses is closed, beyond ``min_size``."""
    max_lifetime: float | None = None
    """Seconds after which a member is replaced, up to a tenth earlier by chance. One that is in
    use is not cut: it is closed when it is released."""
    max_connecting: int = 10
    """Attempts under way at one time, first ones and retries alike."""
    max_connecting_per_origin: int | None = None
    """The same for each origin; None: no limit of its own."""
    acquire_timeout: float = 30.0
    """Seconds that ``acquire`` and ``stream`` wait at most, unless told otherwise."""
    max_backlog_age: float = 30.0
    """Seconds for which a member that nobody reads may hold unread events in a full buffer."""
    strategy: Strategy = "round_robin"
    """How an endpoint is chosen among those that are healthy."""
    breaker: BreakerConfig = field(default_factory=BreakerConfig)

    def __post_init__(self) -> None:
        made = make_endpoints("PoolConfig.endpoints", self.endpoints)
        object.__setattr__(self, "endpoints", made)
        _instance(self, "connection", ConnectionConfig)
        _instance(self, "breaker", BreakerConfig)
        _integer(self, "max_size", low=1)
        _integer(self, "min_size", low=0)
        if self.min_size > self.max_size:
            raise ConfigError(
                f"PoolConfig.min_size must not be above max_size ({self.max_size}),"
                f" not {self.min_size}"
            )
        _number(self, "max_idle", low=0)
        if self.max_lifetime is not None:
            _number(self, "max_lifetime", low=0, above=True)
        _integer(self, "max_connecting", low=1)
        if self.max_connecting_per_origin is not None:
            _integer(self, "max_connecting_per_origin", low=1)
        _number(self, "acquire_timeout", low=0)
        _number(self, "max_backlog_age", low=0, above=True)
        _choice(self, "strategy", ("round_robin", "least_loaded", "priority"))
