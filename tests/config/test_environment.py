"""Every field has a variable, and a variable that has no field is not passed over."""

import json
from typing import Any

import pytest

from sansio_sse import (
    ConfigError,
    ConnectionConfig,
    Endpoint,
    HeartbeatConfig,
    PoolConfig,
    ReconnectionPolicy,
    Timeouts,
)
from sansio_sse_config import from_env

A, B = "http://a.example/events", "http://b.example/events"


def lines(environ: dict[str, str], kind: Any = ConnectionConfig, **options: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        from_env(kind, environ=environ, **options)
    return str(caught.value).split("\n")


def line(environ: dict[str, str], kind: Any = ConnectionConfig) -> str:
    (only,) = lines(environ, kind)
    return only


# --- What is right -----------------------------------------------------------------------------


def test_variables_make_a_configuration() -> None:
    environ = {
        "SSE_BASE_URL": "https://api.example.com/v1/",
        "SSE_HEADERS": "Authorization: Bearer a:b\nX-Key: 1\n",
        "SSE_RECONNECTION_MAX_ATTEMPTS": "0",
        "SSE_RECONNECTION_JITTER_FACTOR": "1e-1",
        "SSE_HEARTBEAT_ENABLED": "true",
        "SSE_TIMEOUTS_IDLE": "1m30s",
        "SSE_TIMEOUTS_CONNECT": "2.5",
        "SSE_BUFFER_SIZE": "10",
        "SSE_OVERFLOW": "error",
        "SSE_RETRY_STATUSES": "500, 503",
        "PATH": "/bin",
        "sse_buffer_size": "3",
    }
    assert from_env(environ=environ) == ConnectionConfig(
        base_url="https://api.example.com/v1/",
        headers=[("Authorization", "Bearer a:b"), ("X-Key", "1")],
        reconnection=ReconnectionPolicy(max_attempts=0, jitter_factor=0.1),
        heartbeat=HeartbeatConfig(enabled=True),
        timeouts=Timeouts(idle=90, connect=2.5),
        buffer_size=10,
        overflow="error",
        retry_statuses={500, 503},
    )


def test_the_environment_is_that_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_OF_SSE_CONFIG_BUFFER_SIZE", "7")
    assert from_env(prefix="TEST_OF_SSE_CONFIG_") == ConnectionConfig(buffer_size=7)


@pytest.mark.parametrize(
    "text",
    [
        f"{A},{B}",
        f" {A} , {B} ,",
        json.dumps([A, B]),
        json.dumps([{"url": A}, B]),
    ],
)
def test_endpoints_are_a_list_or_json(text: str) -> None:
    assert from_env(PoolConfig, environ={"SSE_ENDPOINTS": text}) == PoolConfig([A, B])


def test_endpoints_with_more_than_a_url_are_json() -> None:
    text = json.dumps([{"url": A, "weight": 2, "cursor_domain": "eu"}])
    assert from_env(PoolConfig, environ={"SSE_ENDPOINTS": text}).endpoints == (
        Endpoint(A, weight=2, cursor_domain="eu"),
    )


@pytest.mark.parametrize(
    "text",
    [
        "A: 1\nB: 2",
        "\n A : 1 \r\n\nB:2\n",
        '{"A": "1", "B": "2"}',
        ' [["A", "1"], ["B", "2"]] ',
    ],
    ids=range(4),
)
def test_headers_are_lines_or_json(text: str) -> None:
    assert from_env(environ={"SSE_HEADERS": text}).headers == (("A", "1"), ("B", "2"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, True) for text in ("true", "Yes", "ON", "1")),
        *((text, False) for text in ("false", "No", "OFF", "0")),
    ],
)
def test_a_boolean_has_its_usual_words(text: str, value: bool) -> None:
    found = from_env(HeartbeatConfig, environ={"SSE_ENABLED": text})
    assert found == HeartbeatConfig(enabled=value)


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_an_empty_variable_counts_as_not_set(text: str) -> None:
    environ = {"SSE_BUFFER_SIZE": text, "SSE_HEADERS": text, "SSE_HEARTBEAT_PING_ENDPOINT": text}
    assert from_env(environ=environ) == ConnectionConfig()
    assert line({"SSE_ENDPOINTS": text}, PoolConfig) == "SSE_ENDPOINTS: endpoints: is required"


def test_none_is_a_word_where_it_is_a_value() -> None:
    environ = {"SSE_BASE_URL": "none", "SSE_HEADERS": "None", "SSE_TIMEOUTS_IDLE": "NONE"}
    assert from_env(environ=environ) == ConnectionConfig()
    assert line({"SSE_BUFFER_SIZE": "none"}) == (
        "SSE_BUFFER_SIZE: buffer_size: must be a whole number, not 'none'"
    )


def test_a_comma_is_the_empty_list() -> None:
    assert from_env(environ={"SSE_RETRY_STATUSES": ","}).retry_statuses == frozenset()


def test_the_space_around_a_value_does_not_count() -> None:
    environ = {"SSE_BASE_URL": f" {A}\r\n", "SSE_OVERFLOW": " error ", "SSE_TIMEOUTS_IDLE": " 2m "}
    assert from_env(environ=environ) == ConnectionConfig(
        base_url=A, overflow="error", timeouts=Timeouts(idle=120)
    )


# --- What is wrong -----------------------------------------------------------------------------


def test_all_that_is_wrong_is_said_at_once_by_variable_and_key() -> None:
    environ = {
        "SSE_CONNECTION_RECONNECTION_MAX_DELAY": "1ms",
        "SSE_CONNECTION_BUFFER_SIZE": "many",
        "SSE_BREAKER_OPENFOR": "1m",
        "SSE_ENDPOINTS": f"{A},ftp://b/",
        "SSE_MAX_IDLE": "1d",
    }
    assert lines(environ, PoolConfig) == [
        "SSE_BREAKER_OPENFOR: unknown variable, did you mean SSE_BREAKER_OPEN_FOR?",
        "SSE_ENDPOINTS: endpoints[1].url: the scheme must be http or https",
        "SSE_CONNECTION_RECONNECTION_MAX_DELAY: connection.reconnection.max_delay:"
        " must be a number at least 0.1, not 0.001 ('1ms')",
        "SSE_CONNECTION_BUFFER_SIZE: connection.buffer_size: must be a whole number, not 'many'",
        'SSE_MAX_IDLE: max_idle: must be a duration such as "100ms", "30s" or "1h30m", not \'1d\'',
    ]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("TIMEOUTS_IDLE", "nan", "timeouts.idle: must be a duration such as "),
        ("TIMEOUTS_IDLE", "-1", "timeouts.idle: must be a number at least 0, not -1.0"),
        ("TIMEOUTS_IDLE", "1e400", "timeouts.idle: must be a number at least 0, not inf"),
        ("BUFFER_SIZE", "1.0", "buffer_size: must be a whole number, not '1.0'"),
        ("BUFFER_SIZE", "1_0", "buffer_size: must be a whole number, not '1_0'"),
        ("BUFFER_SIZE", "\u0661", "buffer_size: must be a whole number, not '\u0661'"),
        ("BUFFER_SIZE", "9" * 39, "buffer_size: must be a number of at most 63 bits, not one of"),
        ("BUFFER_SIZE", "9" * 9999, "buffer_size: must be a whole number, not '9999"),
        ("HEARTBEAT_ENABLED", "maybe", "heartbeat.enabled: must be true or false, not 'maybe'"),
        ("RECONNECTION_JITTER_FACTOR", "half", "reconnection.jitter_factor: must be a number, no"),
        ("RETRY_STATUSES", "500,,x", "retry_statuses[1]: must be a whole number, not 'x'"),
        ("HEADERS", "A: 1\nhunter2", 'headers[1]: must be "Name: value"'),
        ("HEADERS", '{"A": "hunter2"', "headers: is not JSON: Expecting ',' delimiter (at charac"),
        ("HEADERS", '{"A": "1", "A": "hunter2"}', "headers: cannot be read as JSON: a name is th"),
        ("HEADERS", '{"A": ["hunter2"]}', "headers.A: must be a string, not a list"),
        ("HEADERS", "[" * 100_000, "headers: cannot be read as JSON: a number too long, or lists"),
        ("HEADERS", "[" + "9" * 5000, "headers: cannot be read as JSON: a number too long, or li"),
        ("HEADERS", "Bearer hunter2: x", "headers: name is not an HTTP token"),
        ("BASE_URL", "hunter2", "base_url: the scheme must be http or https"),
        ("BASE_URL", "\udcff", "base_url: has a lone surrogate"),
    ],
    ids=range(20),
)
def test_what_is_wrong_is_named_by_variable_and_key(name: str, text: str, expected: str) -> None:
    found = line({f"SSE_{name}": text})
    assert found.startswith(f"SSE_{name}: {expected}")
    assert "hunter2" not in found
    assert found.isprintable()
    assert len(found) < 300


def test_a_name_that_means_nothing_is_an_error() -> None:
    assert lines({"SSE_HEADER": "hunter2", "SSE_XYZ": "", "SSE_": "1"}) == [
        "SSE_: unknown variable",
        "SSE_HEADER: unknown variable, did you mean SSE_HEADERS?",
        "SSE_XYZ: unknown variable",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "SERVICE_HOST",
        "SERVICE_PORT",
        "SERVICE_PORT_HTTP",
        "PORT",
        "PORT_80_TCP",
        "PORT_80_TCP_PROTO",
        "PORT_80_TCP_PORT",
        "PORT_80_TCP_ADDR",
        "GATEWAY_SERVICE_HOST",
        "GATEWAY_PORT_443_UDP_ADDR",
    ],
)
def test_what_kubernetes_sets_for_services_is_passed_over(name: str) -> None:
    assert from_env(environ={f"SSE_{name}": "tcp://10.0.0.1:80"}) == ConnectionConfig()


@pytest.mark.parametrize("name", ["SERVICE", "PORTS", "PORT_X", "PORT_80_TCP_X", "SERVICE_HOSTS"])
def test_what_only_looks_like_it_is_not_passed_over(name: str) -> None:
    assert line({f"SSE_{name}": "1"}).startswith(f"SSE_{name}: unknown variable")


def test_another_prefix_keeps_others_apart() -> None:
    environ = {"SSE_THEIRS": "1", "APP_SSE_BUFFER_SIZE": "3", "APP_SSE_BUFFER": "x"}
    assert lines(environ, prefix="APP_SSE_") == [
        "APP_SSE_BUFFER: unknown variable, did you mean APP_SSE_BUFFER_SIZE?"
    ]


def test_a_prefix_is_not_empty() -> None:
    assert lines({}, prefix="") == [
        "prefix must not be empty: every variable there is would be meant"
    ]


def test_a_hostile_name_reaches_no_terminal() -> None:
    names = ["SSE_\x1b[2J", "SSE_" + "K" * 100_000, "SSE_" + "A_" * 50_000 + "PORT_"]
    for found in lines(dict.fromkeys(names, "1")):
        assert found.isprintable()
        assert len(found) < 150


def test_the_lines_have_a_bound() -> None:
    found = lines({f"SSE_KEY{number}": "1" for number in range(10_000)})
    assert len(found) == 21
    assert found[-1] == "and 9980 more"
