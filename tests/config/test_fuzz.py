"""Whatever is written: a valid configuration or one ``ConfigError``, and never anything else.

More than 5,000 configurations in the default profile. What comes from
them is either equal to what the core would have made, or an error that is short and printable and
shows no secret.
"""

from collections.abc import Callable
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sansio_sse import ConfigError
from sansio_sse_config import from_env, from_mapping, from_toml
from sansio_sse_config.fields import Duration, Field, Part, fields_of
from sansio_sse_config.sources import KINDS

from .support import (
    SECRET,
    WORDS,
    environment_of,
    mapping_of,
    plain_values,
    toml_of,
    valid,
)

TIMES = 1700  # by three ways to write each: 5,100 configurations

SECRETS = [
    SECRET,
    f"{SECRET}\n",
    f"Bearer {SECRET}",
    f"Authorization {SECRET}: x",
    f"https://me:{SECRET}@a.example:99999/",
    f"https://me:{SECRET}@a.example/\x1b",
    f"http://[a/?k={SECRET}",
    f"/ping?\0{SECRET}",
]
DURATIONS = ["30s", "1h30m", "100ms", "-5s", "0", "1d", "1s x 1s", "1ns", "5.5.5s", "9e9s"]
TEXTS = [
    *DURATIONS,
    *WORDS,
    *("", "none", "true", "10", "-1", "1.5", "nan", "inf", "9" * 30, "a\0b", "\n", "\x1b[2J"),
    *("\u202e", ",", "[", "{", "[]", "{}", '{"A": "1"}', '["http://c/"]'),
]
NUMBERS = [
    0,
    1,
    -1,
    3,
    2**63,
    2**64,
    2**9000,
    -0.0,
    1e-300,
    1e300,
    float("nan"),
    float("inf"),
    True,
]
OBJECTS = [None, b"x", date(2026, 1, 2), timedelta(seconds=5), timedelta(-1), timedelta.max, object]
TABLES = [[], {}, [[]], [{}], [1, "x"], {"a": {}}, {"a": [{"b": None}]}, {1: 2}, {"url": {}}, ()]

wrong = (
    st.sampled_from([*TEXTS, *NUMBERS, *OBJECTS, *TABLES])
    | st.text(max_size=6)
    | st.integers()
    | st.floats()
)
secret = st.sampled_from(SECRETS)
BREAKS = st.sampled_from(["", "=", '"', "[", "]", "{", ".", "\n", "\\u", "0x", "\0", "\ud800"])
wrong_secret = secret | secret.map(lambda text: [text]) | secret.map(lambda text: {text: text})


@cache  # making a strategy takes longer than drawing from it
def candidates(field: Field) -> st.SearchStrategy[Any]:
    """What may stand at a field: what should, and what should not."""
    if isinstance(field.shape, Part):
        return tables(field.shape.kind) | tables(field.shape.kind) | wrong
    right = plain_values(field)
    if isinstance(field.shape, Duration):
        right |= st.sampled_from(DURATIONS)
    return right | (wrong_secret if field.secret else wrong)


@st.composite
def tables(draw: st.DrawFn, kind: type[Any]) -> Any:
    """A table for a ``kind``, some of it right and some of it wrong."""
    fields = fields_of(kind)
    names = draw(st.sets(st.sampled_from(list(fields)), max_size=3))
    required = {name for name, field in fields.items() if field.required}
    if draw(st.integers(0, 9)):
        names |= required
    made: dict[Any, Any] = {name: draw(candidates(fields[name])) for name in sorted(names)}
    if not draw(st.integers(0, 9)):
        made[draw(st.sampled_from(TEXTS))] = draw(wrong)
    return made


def check(make: Callable[[], Any], kind: type[Any]) -> bool:
    """Whether it was valid. If not, the error is fit to be shown."""
    try:
        config = make()
    except ConfigError as error:
        message = str(error)
        lines = message.split("\n")
        assert all(line and line.isprintable() and len(line) < 700 for line in lines)
        assert len(lines) <= 21
        assert SECRET not in message
        return False
    assert type(config) is kind
    assert kind(**{name: getattr(config, name) for name in fields_of(kind)}) == config
    return True


# --- Anything ----------------------------------------------------------------------------------

Written = tuple[type[Any], Any, bytes, dict[str, str]]


@st.composite
def written(draw: st.DrawFn) -> Written:
    """What to make, and how it is written: a mapping, a file, an environment."""
    kind = draw(st.sampled_from(KINDS))
    mapping = draw(tables(kind))
    plain = writable(mapping)
    text = toml_of(plain)
    if draw(st.booleans()):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(BREAKS) + text[at + 1 :]
    environ = environment_of(plain, "SSE_")
    if draw(st.booleans()):
        known = ["BUFFER_SIZE", "HEADERS", "ENDPOINTS", "WEIGHT", "IDLE", "ENABLED", ""]
        environ[f"SSE_{draw(st.sampled_from(known))}"] = draw(st.sampled_from(TEXTS))
    if not draw(st.integers(0, 9)):
        mapping = draw(wrong)
    return kind, mapping, text.encode("utf-8", "surrogatepass"), environ


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "fuzz.toml"


@settings(max_examples=max(TIMES, settings().max_examples))
@given(case=written())
def test_whatever_is_written_is_valid_or_a_config_error(path: Path, case: Written) -> None:
    kind, mapping, content, environ = case
    check(lambda: from_mapping(mapping, kind, place="fuzz"), kind)
    path.write_bytes(content)
    check(lambda: from_toml(path, kind), kind)
    check(lambda: from_env(kind, environ=environ), kind)


def test_what_is_drawn_is_neither_all_right_nor_all_wrong(path: Path) -> None:
    seen: list[tuple[bool, bool, bool]] = []

    @settings(max_examples=200, database=None)
    @given(case=written())
    def look(case: Written) -> None:
        kind, mapping, content, environ = case
        path.write_bytes(content)
        seen.append(
            (
                check(lambda: from_mapping(mapping, kind), kind),
                check(lambda: from_toml(path, kind), kind),
                check(lambda: from_env(kind, environ=environ), kind),
            )
        )

    look()
    for valid_ones in zip(*seen, strict=True):
        assert 0.1 < sum(valid_ones) / len(seen) < 0.9


def writable(value: Any) -> Any:
    """What a file can hold of a value: no None, no bytes, no numbers that Python will not write."""
    if isinstance(value, KINDS):
        return writable(mapping_of(value))
    if isinstance(value, dict):
        found = {str(key): writable(item) for key, item in value.items() if item is not None}
        return {key: item for key, item in found.items() if item is not None}
    if isinstance(value, list | tuple | frozenset):
        return [writable(item) for item in value if item is not None]
    if isinstance(value, timedelta | date | bytes | type):
        return str(value)
    if isinstance(value, int) and value.bit_length() > 64:
        return 2**64
    return value


# --- Round trips -------------------------------------------------------------------------------


@given(st.sampled_from(KINDS).flatmap(valid))
def test_what_is_valid_survives_every_way(path: Path, config: Any) -> None:
    kind, mapping = type(config), mapping_of(config)
    assert from_mapping(mapping, kind) == config
    assert from_env(kind, environ=environment_of(mapping, "X_"), prefix="X_") == config
    path.write_text(toml_of(mapping), encoding="utf-8")
    assert from_toml(path, kind) == config
    path.write_text(toml_of({"a": {"b": mapping}}), encoding="utf-8")
    assert from_toml(path, kind, table="a.b") == config


@given(st.sampled_from(KINDS).flatmap(valid))
def test_a_duration_means_the_same_however_it_is_written(config: Any) -> None:
    for write in (in_micros, in_hours, as_timedelta):
        mapping = rewritten(type(config), mapping_of(config), write)
        assert from_mapping(mapping, type(config)) == config


def rewritten(kind: type[Any], mapping: dict[str, Any], write: Callable[[int], Any]) -> Any:
    """The same mapping with its durations in another form, made from microseconds."""
    made = dict(mapping)
    for name, field in fields_of(kind).items():
        if isinstance(field.shape, Part):
            made[name] = rewritten(field.shape.kind, mapping[name], write)
        elif isinstance(field.shape, Duration) and name in mapping:
            made[name] = write(round(mapping[name] * 10**6))
    return made


def in_micros(micros: int) -> str:
    return f"{micros}us"


def in_hours(micros: int) -> str:
    seconds, micros = divmod(micros, 10**6)
    return f"{seconds // 3600}h{seconds // 60 % 60}m{seconds % 60}s{micros}µs"


def as_timedelta(micros: int) -> timedelta:
    return timedelta(microseconds=micros)


@pytest.mark.parametrize("secret", SECRETS, ids=range(len(SECRETS)))
def test_the_planted_secrets_would_be_seen(secret: str) -> None:
    assert SECRET in secret
    assert any(SECRET in word for word in WORDS)
