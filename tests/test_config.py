"""Every value of a configuration is checked where it is given."""

import pickle
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest

from sansio_sse import (
    BreakerConfig,
    ConfigError,
    ConnectionConfig,
    Endpoint,
    HeartbeatConfig,
    Limits,
    PoolConfig,
    ReconnectionPolicy,
    Timeouts,
)
from sansio_sse.config import make_endpoint_request, make_endpoints

NAN, INF = float("nan"), float("inf")
A, B = "http://a.example/events", "http://b.example/events"


def test_the_defaults_are_those_of_the_documentation() -> None:
    assert ReconnectionPolicy() == ReconnectionPolicy(True, 10, 0.1, 30.0, 2.0, 0.5, 300.0, 300.0)
    assert HeartbeatConfig() == HeartbeatConfig(False, 30.0, 5.0, 3, "/ping")
    assert Timeouts() == Timeouts(10.0, 60.0, None, 30.0)
    limits = Limits()
    assert (limits.event, limits.head) == (32 * 1024 * 1024, 64 * 1024)
    assert (limits.redirects, limits.error_body) == (10, 4 * 1024)
    assert BreakerConfig() == BreakerConfig(5, 3, 60.0, 1, 30.0)
    assert Endpoint(A) == Endpoint(A, 1.0, 0, None)
    pool = PoolConfig([A])
    assert (pool.min_size, pool.max_size, pool.max_idle, pool.max_lifetime) == (0, 10, 90.0, None)
    assert (pool.max_connecting, pool.max_connecting_per_origin) == (10, None)
    assert (pool.acquire_timeout, pool.max_backlog_age) == (30.0, 30.0)
    assert (pool.strategy, pool.breaker) == ("round_robin", BreakerConfig())
    config = ConnectionConfig()
    assert config.breaker == BreakerConfig()
    assert (config.base_url, config.headers, config.buffer_size) == (None, (), 1000)
    assert (config.overflow, config.on_end, config.replay) == ("block", None, "safe")
    assert config.retry_statuses == {408, 425, 429, 500, 502, 503, 504}


WRONG: list[tuple[type, str, list[Any]]] = [
    (ReconnectionPolicy, "enabled", [1, None, "yes"]),
    (ReconnectionPolicy, "max_attempts", [-1, 1.5, True, "3", None]),
    (ReconnectionPolicy, "initial_delay", [-1, NAN, INF, "1", None, True]),
    (ReconnectionPolicy, "max_delay", [-1, NAN, INF, "1"]),
    (ReconnectionPolicy, "backoff_multiplier", [0.5, 0, NAN, INF]),
    (ReconnectionPolicy, "jitter_factor", [-0.1, 1.1, NAN]),
    (ReconnectionPolicy, "reset_interval", [0, -1, INF]),
    (ReconnectionPolicy, "max_server_delay", [-1, NAN, INF]),
    (HeartbeatConfig, "enabled", [1, None]),
    (HeartbeatConfig, "interval", [0, -1, NAN, "30"]),
    (HeartbeatConfig, "timeout", [0, -1]),
    (HeartbeatConfig, "max_missed", [0, 1.0, True]),
    (Timeouts, "connect", [0, -1, None, INF, 10**400]),
    (Timeouts, "response", [0, None]),
    (Timeouts, "idle", [-1, NAN, "5"]),
    (Timeouts, "write", [0, None]),
    (Limits, "event", [0, 1.5, None, True]),
    (Limits, "head", [0]),
    (Limits, "redirects", [-1, 1.0]),
    (Limits, "error_body", [-1]),
    (Limits, "post_body", [0]),
    (Limits, "decompressed_ratio", [0, NAN]),
    (Limits, "decompressed_read", [0]),
    (ConnectionConfig, "reconnection", [None, {}]),
    (ConnectionConfig, "heartbeat", [None, True]),
    (ConnectionConfig, "timeouts", [10, None]),
    (ConnectionConfig, "limits", [{}, None]),
    (ConnectionConfig, "breaker", [None, 5]),
    (ConnectionConfig, "buffer_size", [0, -1, 1.5, None]),
    (ConnectionConfig, "overflow", ["drop", None, []]),
    (ConnectionConfig, "on_end", ["stop", 1]),
    (ConnectionConfig, "replay", ["never", None, True]),
    (ConnectionConfig, "retry_statuses", [{200}, [600], ["503"], [503.0], 503, None]),
    (BreakerConfig, "failures", [0, -1, 1.5, True, None]),
    (BreakerConfig, "successes", [0, 2.0]),
    (BreakerConfig, "open_for", [-1, NAN, INF, "60", None]),
    (BreakerConfig, "half_open", [0, None]),
    (BreakerConfig, "failback_after", [-0.1, INF, None]),
    (Endpoint, "url", [None, 5, b"http://a.example/"]),
    (Endpoint, "weight", [0, -1, NAN, INF, "1", None, True]),
    (Endpoint, "priority", [1.5, "1", None, True]),
    (Endpoint, "cursor_domain", [5, b"x"]),
    (PoolConfig, "endpoints", [[], (), None, 5, {A}, [A, A], [A, Endpoint(A, 2)]]),
    (PoolConfig, "connection", [None, {}]),
    (PoolConfig, "min_size", [-1, 1.5, True, 11]),
    (PoolConfig, "max_size", [0, -1, None]),
    (PoolConfig, "max_idle", [-1, NAN, INF, None]),
    (PoolConfig, "max_lifetime", [0, -1, "1"]),
    (PoolConfig, "max_connecting", [0, None]),
    (PoolConfig, "max_connecting_per_origin", [0, 1.5]),
    (PoolConfig, "acquire_timeout", [-1, INF, None]),
    (PoolConfig, "max_backlog_age", [0, None]),
    (PoolConfig, "strategy", ["random", None, []]),
    (PoolConfig, "breaker", [None, 5]),
]
NEEDED: dict[type, dict[str, Any]] = {Endpoint: {"url": A}, PoolConfig: {"endpoints": [A]}}


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [(kind, name, value) for kind, name, values in WRONG for value in values],
)
def test_a_wrong_value_is_refused_by_name(kind: type, name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{kind.__name__}.{name}"):
        kind(**NEEDED.get(kind, {}) | {name: value})


def test_every_field_has_wrong_values() -> None:
    tried = {(kind, name) for kind, name, _ in WRONG}
    urls = {"ping_endpoint", "base_url", "headers"}
    for kind in {kind for kind, _, _ in WRONG}:
        for field in fields(kind):
            assert (kind, field.name) in tried or field.name in urls


def test_values_at_their_bounds_are_fine() -> None:
    ReconnectionPolicy(True, 0, 0, 0, 1, 0, 0.001, 0)
    ReconnectionPolicy(jitter_factor=1)
    HeartbeatConfig(True, 0.001, 0.001, 1)
    Timeouts(0.001, 0.001, 0, 0.001)
    Limits(1, 1, 0, 0, 1, 1, 1)
    BreakerConfig(1, 1, 0, 1, 0)
    Endpoint(A, 0.001, -5, "")
    PoolConfig([A], max_size=1, min_size=1, max_idle=0, max_lifetime=0.001, max_connecting=1)
    PoolConfig([A], max_connecting_per_origin=1, acquire_timeout=0, max_backlog_age=0.001)
    ConnectionConfig(buffer_size=1, retry_statuses=())
    ConnectionConfig(retry_statuses=[300, 599])


@pytest.mark.parametrize(
    "url", ["ftp://a.example/", "http://", "/events", "http://a b/", "http://[::"]
)
def test_a_base_url_has_to_be_a_url(url: str) -> None:
    with pytest.raises(ConfigError):
        ConnectionConfig(base_url=url)


@pytest.mark.parametrize("endpoint", ["http://[", "/a\nb", "http://exa mple/"])
def test_a_ping_endpoint_has_to_be_a_url(endpoint: str) -> None:
    with pytest.raises(ConfigError):
        HeartbeatConfig(ping_endpoint=endpoint)


@pytest.mark.parametrize(
    "headers", [{"a b": "x"}, {"a": "x\r\ny"}, {"a": 1}, [("a",)], {"": "x"}, [1], 5, ["ab"]]
)
def test_headers_are_checked(headers: Any) -> None:
    with pytest.raises(ConfigError):
        ConnectionConfig(headers=headers)


def test_headers_are_kept_apart_from_the_callers() -> None:
    headers = {"Authorization": " Bearer s3cr3t "}
    config = ConnectionConfig(headers=headers)
    headers["Authorization"] = "changed"
    assert config.headers == (("Authorization", "Bearer s3cr3t"),)
    assert "s3cr3t" not in repr(config)


def test_a_configuration_is_frozen_hashable_and_picklable() -> None:
    config: Any = ConnectionConfig(headers={"a": "b"}, base_url="http://a.example/")
    with pytest.raises(FrozenInstanceError):
        config.buffer_size = 5
    assert pickle.loads(pickle.dumps(config)) == config
    assert hash(config) == hash(replace(config))
    assert replace(config, buffer_size=5) != config


def test_replacing_a_part_checks_it() -> None:
    with pytest.raises(ConfigError):
        replace(Timeouts(), connect=-1)


def test_endpoints_are_urls_or_objects() -> None:
    assert make_endpoints("it", [A, Endpoint(B, 2)]) == (Endpoint(A), Endpoint(B, 2))
    assert make_endpoints("it", A) == make_endpoints("it", Endpoint(A)) == (Endpoint(A),)
    assert PoolConfig([A]).endpoints == (Endpoint(A),)
    with pytest.raises(ConfigError, match=r"^it must be a list"):
        make_endpoints("it", None)
    with pytest.raises(ConfigError, match=r"^it: http://a.example/\?k=… is there twice"):
        make_endpoints("it", ["http://a.example/?k=1", "http://a.example/?k=1"])


@pytest.mark.parametrize("url", ["ftp://a.example/", "/events", "http://", "http://a b/"])
def test_an_endpoint_has_to_have_a_url(url: str) -> None:
    with pytest.raises(ConfigError):
        Endpoint(url)
    with pytest.raises(ConfigError):
        PoolConfig([url])


def test_an_endpoint_shows_no_credentials() -> None:
    endpoint = Endpoint("https://me:s3cr3t@a.example:81/x?key=s3cr3t", 2, cursor_domain="eu")
    assert "s3cr3t" not in f"{endpoint!r} {endpoint.name} {endpoint.origin}"
    assert str(endpoint.origin) == "https://a.example:81"
    config = PoolConfig([endpoint], connection=ConnectionConfig(headers={"Key": "s3cr3t"}))
    assert "s3cr3t" not in repr(config)
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize("url", ["https://evil.example/", "//evil.example/x", "http://a.example/"])
def test_a_url_that_leads_away_from_its_endpoint_is_refused(url: str) -> None:
    place = Endpoint("https://a.example/?key=secret")
    with pytest.raises(ConfigError, match="leads away from the endpoint") as raised:
        make_endpoint_request(place, "GET", url)
    assert "secret" not in str(raised.value)
    assert make_endpoint_request(place, "GET", "https://a.example/other").target == "/other"
