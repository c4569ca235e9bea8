"""A mapping becomes the core's own dataclass, or one error that says all that is wrong."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any, assert_type

import pytest

from sansio_sse import (
    BreakerConfig,
    ConfigError,
    ConnectionConfig,
    Endpoint,
    HeartbeatConfig,
    PoolConfig,
    ReconnectionPolicy,
    Timeouts,
)
from sansio_sse_config import from_env, from_mapping, from_toml
from sansio_sse_config.problems import dotted

A, B = "http://a.example/events", "http://b.example/events"
NAN, INF = float("nan"), float("inf")


def lines(mapping: Any, kind: Any = ConnectionConfig, place: str = "") -> list[str]:
    """The lines of the error that a mapping makes."""
    with pytest.raises(ConfigError) as caught:
        from_mapping(mapping, kind, place=place)
    return str(caught.value).split("\n")


def line(mapping: Any, kind: Any = ConnectionConfig) -> str:
    (only,) = lines(mapping, kind)
    return only


# --- What is right -----------------------------------------------------------------------------


def test_nothing_is_the_default() -> None:
    assert from_mapping({}) == ConnectionConfig()


def test_parts_are_tables_or_objects() -> None:
    policy = ReconnectionPolicy(max_attempts=3)
    expected = ConnectionConfig(reconnection=policy, timeouts=Timeouts(idle=60))
    given = {"reconnection": policy, "timeouts": {"idle": 60}}
    assert from_mapping(given) == expected


def test_a_pool_has_endpoints_as_strings_tables_and_objects() -> None:
    config = from_mapping(
        {
            "endpoints": [A, {"url": B, "weight": 2}, Endpoint("http://c.example/", priority=1)],
            "connection": {"heartbeat": {"enabled": True}},
            "breaker": {"failures": 2},
        },
        PoolConfig,
    )
    assert config == PoolConfig(
        [A, Endpoint(B, weight=2), Endpoint("http://c.example/", priority=1)],
        connection=ConnectionConfig(heartbeat=HeartbeatConfig(enabled=True)),
        breaker=BreakerConfig(failures=2),
    )
    assert from_mapping({"endpoints": A}, PoolConfig) == PoolConfig([A])
    assert from_mapping({"url": A}, Endpoint) == Endpoint(A)


@pytest.mark.parametrize("given", [90, 90.0, "1m30s", timedelta(minutes=1.5)])
def test_a_duration_is_seconds_a_timedelta_or_text(given: Any) -> None:
    assert from_mapping({"connect": given}, Timeouts) == Timeouts(connect=90)


def test_from_code_the_dataclasses_take_seconds_only() -> None:
    # The core has one unit. Who has a timedelta has total_seconds() as well.
    minute: Any = timedelta(minutes=1)
    with pytest.raises(ConfigError):
        Timeouts(connect=minute)


@pytest.mark.parametrize(
    "given", [{"A": "1", "B": "2"}, [["A", "1"], ["B", "2"]], (("A", "1"), ("B", "2"))]
)
def test_headers_are_a_table_or_pairs(given: Any) -> None:
    assert from_mapping({"headers": given}).headers == (("A", "1"), ("B", "2"))


@pytest.mark.parametrize("given", [[500, 503], (503, 500), {500, 503}, frozenset({500, 503})])
def test_statuses_are_any_collection(given: Any) -> None:
    assert from_mapping({"retry_statuses": given}).retry_statuses == {500, 503}


def test_none_is_given_where_the_dataclass_takes_it() -> None:
    nothing = {"base_url": None, "headers": None, "on_end": None, "timeouts": {"idle": None}}
    assert from_mapping(nothing) == ConnectionConfig()
    assert line({"buffer_size": None}) == "buffer_size: must be a whole number, not None"
    assert line({"timeouts": None}) == "timeouts: must be a table, not None"


def test_a_type_checker_knows_what_is_made() -> None:
    assert_type(from_mapping({}), ConnectionConfig)
    assert_type(from_mapping({"endpoints": A}, PoolConfig), PoolConfig)
    assert_type(from_env(environ={}), ConnectionConfig)
    assert_type(from_env(Timeouts, environ={}), Timeouts)


def test_a_type_checker_knows_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f"[a.b]\n[c]\nendpoints = '{A}'\n", encoding="utf-8")
    assert_type(from_toml(path, table="a.b"), ConnectionConfig)
    assert_type(from_toml(path, PoolConfig, table="c"), PoolConfig)


# --- What is wrong -----------------------------------------------------------------------------


def test_all_that_is_wrong_is_said_at_once() -> None:
    given = {
        "reconnection": {"initial_delay": 0.5, "max_delay": 0.1, "jitter_factor": 2, "retries": 3},
        "timeouts": {"idle": "5 min"},
        "buffer_size": "10",
        "overflow": "wait",
        "retry_statuses": [503, 42],
        "hedaers": {},
    }
    assert lines(given, place="config.toml") == [
        "config.toml: hedaers: unknown key, did you mean headers?",
        "config.toml: reconnection.retries: unknown key",
        "config.toml: reconnection.max_delay: must be a number at least 0.5, not 0.1"
        " (see reconnection.initial_delay)",
        "config.toml: reconnection.jitter_factor: must be a number at least 0 and at most 1, not 2",
        'config.toml: timeouts.idle: must be a duration such as "100ms", "30s" or "1h30m",'
        " not '5 min'",
        "config.toml: buffer_size: must be a whole number, not '10'",
        "config.toml: overflow: must be one of 'block', 'drop_oldest', 'error', not 'wait'",
        "config.toml: retry_statuses: 42 is no status from 300 to 599",
    ]


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        (Timeouts, {"connect": -1}, "connect: must be a number above 0, not -1"),
        (Timeouts, {"connect": True}, "connect: must be a duration: a number of seconds, or a"),
        (Timeouts, {"connect": NAN}, "connect: must be a number above 0, not nan"),
        (Timeouts, {"connect": INF}, "connect: must be a number above 0, not inf"),
        (Timeouts, {"connect": [1]}, "connect: must be a duration: a number of seconds, or a"),
        (Timeouts, {"connect": "30"}, "connect: must have a unit (ns, us, ms, s, m or h), not '30"),
        (Timeouts, {"connect": "-5s"}, "connect: must be a number above 0, not -5.0 ('-5s')"),
        (Timeouts, {"idle": timedelta(-1)}, "idle: must be a number at least 0, not -86400.0 (-1"),
        (Timeouts, {"idle": date(2026, 1, 2)}, "idle: must be a duration: a number of seconds, or"),
        (HeartbeatConfig, {"enabled": 1}, "enabled: must be true or false, not 1"),
        (HeartbeatConfig, {"max_missed": 0}, "max_missed: must be a whole number, at least 1, not"),
        (HeartbeatConfig, {"max_missed": 1.0}, "max_missed: must be a whole number, not 1.0"),
        (HeartbeatConfig, {"max_missed": True}, "max_missed: must be a whole number, not True"),
        (ReconnectionPolicy, {"jitter_factor": "0.5"}, "jitter_factor: must be a number, not '0.5"),
        (
            ReconnectionPolicy,
            {"jitter_factor": False},
            "jitter_factor: must be a number, not False",
        ),
        (ConnectionConfig, {"on_end": "stop"}, "on_end: must be one of 'reconnect', 'finish', not"),
        (ConnectionConfig, {"overflow": []}, "overflow: must be one of 'block', 'drop_oldest', 'e"),
        (ConnectionConfig, {"limits": 5}, "limits: must be a table, not 5"),
        (ConnectionConfig, {"limits": []}, "limits: must be a table, not a list"),
        (ConnectionConfig, {"retry_statuses": 500}, "retry_statuses: must be a list of whole numb"),
        (ConnectionConfig, {"retry_statuses": [500, "x"]}, "retry_statuses[1]: must be a whole nu"),
        (ConnectionConfig, {"headers": "A: 1"}, "headers: must be a table of names and values, no"),
        (ConnectionConfig, {"headers": ["A: 1"]}, "headers[0]: must be a name and a value, not a"),
        (ConnectionConfig, {"headers": {1: "a"}}, "headers[0]: the name must be a string, not a n"),
        (ConnectionConfig, {"headers": {"A": 1}}, "headers.A: must be a string, not a number"),
        (PoolConfig, {}, "endpoints: is required"),
        (PoolConfig, {"endpoints": []}, "endpoints: must be a list of urls or Endpoint objects, a"),
        (PoolConfig, {"endpoints": 5}, "endpoints: must be a list of strings and tables, not a nu"),
        (PoolConfig, {"endpoints": [A, 5]}, "endpoints[1]: must be a string or a table, not a num"),
        (PoolConfig, {"endpoints": [A, A]}, "endpoints: http://a.example/events is there twice; g"),
        (PoolConfig, {"endpoints": [A, {"url": B, "weight": 0}]}, "endpoints[1].weight: must be a"),
        (PoolConfig, {"endpoints": [{"wieght": 1, "url": A}]}, "endpoints[0].wieght: unknown key,"),
        (PoolConfig, {"endpoints": [{}]}, "endpoints[0].url: is required"),
        (PoolConfig, {"endpoints": "ftp://a/"}, "endpoints[0].url: the scheme must be http or htt"),
        (PoolConfig, {"endpoints": A, "max_size": 0}, "max_size: must be a whole number, at least"),
    ],
)
def test_what_is_wrong_is_named_by_its_key(kind: Any, given: Any, expected: str) -> None:
    assert line(given, kind).startswith(expected)


def test_a_default_that_does_not_go_with_a_value_is_the_fault_of_the_value() -> None:
    assert line({"reconnection": {"initial_delay": 60}}) == (
        "reconnection.initial_delay: max_delay must be a number at least 60, not 30.0"
    )


def test_two_values_that_do_not_go_together_are_named() -> None:
    found = line({"endpoints": A, "min_size": 5, "max_size": 3}, PoolConfig)
    assert found.startswith("min_size: ")
    assert "max_size (3)" in found


def test_what_is_missing_does_not_hide_the_rest() -> None:
    given = {"max_idle": -1, "connection": {"buffer_size": 0}}
    assert sorted(found.partition(":")[0] for found in lines(given, PoolConfig)) == [
        "connection.buffer_size",
        "endpoints",
        "max_idle",
    ]


@pytest.mark.parametrize("given", [None, [], "x", 5])
def test_what_is_no_mapping_is_refused(given: Any) -> None:
    assert line(given).startswith("must be a table, not ")


@pytest.mark.parametrize("kind", [int, dict, "ConnectionConfig", ConnectionConfig(), None])
def test_what_cannot_be_configured_is_refused(kind: Any) -> None:
    assert line({}, kind).startswith("kind must be one of BreakerConfig, ConnectionConfig, ")


# --- What others may have written --------------------------------------------------------------

HOSTILE = "\x1b]0;owned\x07\u202e\ud800\r\n" + "k" * 1_000_000


def test_a_hostile_key_reaches_no_terminal() -> None:
    (found,) = lines({HOSTILE: 1})
    assert found.isprintable()
    assert len(found) < 150


def test_a_hostile_value_reaches_no_terminal() -> None:
    found = lines(
        {
            "buffer_size": HOSTILE,
            "overflow": HOSTILE,
            "base_url": HOSTILE,
            "heartbeat": {"interval": HOSTILE, "ping_endpoint": HOSTILE},
            "headers": {HOSTILE: 1},
        }
    )
    assert len(found) == 6
    assert all(one.isprintable() and len(one) < 500 for one in found)


def test_a_place_is_shown_on_one_line() -> None:
    (found,) = lines({"x": 1}, place="a\x1b\nb.toml")
    assert found == "a??b.toml: x: unknown key"


def test_keys_that_are_no_strings_are_refused() -> None:
    assert line({1: 2}) == "keys must be strings, not 1"


@pytest.mark.parametrize("value", [10**5000, -(10**5000)], ids=["positive", "negative"])
def test_a_number_that_python_would_not_write_is_refused(value: int) -> None:
    given: list[tuple[Any, Any]] = [
        ({"buffer_size": value}, ConnectionConfig),
        ({"connect": value}, Timeouts),
        ({"jitter_factor": value}, ReconnectionPolicy),
    ]
    for mapping, kind in given:
        assert "must be a number of at most 63 bits, not one of 16610 bits" in line(mapping, kind)
    assert line({"retry_statuses": [value]}).startswith("retry_statuses[0]: must be a number of")
    assert line({"base_url": value}) == "base_url: must be a string, not a number"
    assert line({"limits": value}) == "limits: must be a table, not one of 16610 bits"


def test_the_lines_have_a_bound() -> None:
    found = lines({f"key{number}": 1 for number in range(100_000)})
    assert len(found) == 21
    assert found[-1] == "and 99980 more"


def test_the_lines_of_a_list_have_a_bound() -> None:
    found = lines({"endpoints": [5] * 1000}, PoolConfig)
    assert len(found) == 21
    assert found[-1] == "and 980 more"
    assert line({"endpoints": [A] * 1001}, PoolConfig) == (
        "endpoints: must have at most 1000 items, not 1001"
    )


def test_a_path_is_written_as_in_toml() -> None:
    assert dotted(()) == ""
    assert dotted(("a", 0, "b-c_1", 2)) == "a[0].b-c_1[2]"
    assert dotted(("a b", "c.d", "", "'")) == "'a b'.'c.d'.''.\"'\""


# --- Secrets -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        {"headers": {"Authorization": "Bearer hunter2\n"}},
        {"headers": {"Authorization": ["hunter2"]}},
        {"headers": {"Bearer hunter2": "x"}},
        {"headers": {"Bearer hunter2": 1}},
        {"headers": "Authorization: hunter2"},
        {"headers": ["Authorization: hunter2"]},
        {"headers": [["hunter2"]]},
        {"base_url": "hunter2"},
        {"base_url": "ftp://hunter2/"},
        {"base_url": "https://me:hunter2@a.example:99999/"},
        {"base_url": "https://me:hunter2@a.example/\n"},
        {"base_url": "https://[a.example/?k=hunter2"},
        {"base_url": ["hunter2"]},
        {"heartbeat": {"ping_endpoint": "/ping\0?hunter2"}},
        {"heartbeat": {"ping_endpoint": "http://[a?k=hunter2"}},
        {"heartbeat": {"ping_endpoint": {"hunter2": 1}}},
    ],
    ids=lambda given: str(next(iter(given))),
)
def test_a_secret_is_not_shown(given: Any) -> None:
    assert "hunter2" not in line(given)


@pytest.mark.parametrize(
    "url",
    [
        "hunter2",
        "https://me:hunter2@a.example:99999/",
        "https://a.example:0/?k=hunter2",
        "https://a.example:0/?k='\"hunter2",
        "https:/me:hunter2@a.example/",
    ],
    ids=range(5),
)
def test_the_secret_of_an_endpoint_is_not_shown(url: str) -> None:
    for endpoint in (url, {"url": url}):
        assert "hunter2" not in line({"endpoints": [endpoint]}, PoolConfig)
    twice = line({"endpoints": ["https://me:hunter2@a.example/?k=hunter2"] * 2}, PoolConfig)
    assert "hunter2" not in twice


def test_where_a_url_leads_is_shown() -> None:
    assert line({"base_url": "https://me:hunter2@a.example:0/events?k=hunter2"}) == (
        "base_url: port 0 cannot be connected to, not 'https://a.example:0/events?k=…'"
    )


def test_the_name_of_a_header_is_shown() -> None:
    assert line({"headers": {"X-Key": "hunter2\0"}}) == (
        "headers: header 'X-Key': the value has a CR, LF or NUL"
    )
