"""What the tests of configuration share: configurations that are valid, derived from the core's own
fields, and three ways to write one down."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from hypothesis import strategies as st

from sansio_sse import ConfigError
from sansio_sse_config.fields import (
    Boolean,
    Choice,
    Duration,
    Field,
    HeaderPairs,
    Integer,
    Integers,
    Number,
    Part,
    Parts,
    Text,
    fields_of,
)

SECRET = "hunter2"
WORDS = ["/ping", "eu-1", "http://a.example/events", f"https://me:{SECRET}@b.example/x?k={SECRET}"]
TOKENS = ["Authorization", "X-Key", "Accept-Language"]


# --- Valid configurations ----------------------------------------------------------------------


@cache  # making a strategy takes longer than drawing from it
def plain_values(field: Field) -> st.SearchStrategy[Any]:
    """Values of the right type for a field; some of them will be out of its range."""
    shape = field.shape
    match shape:
        case Boolean():
            made: st.SearchStrategy[Any] = st.booleans()
        case Integer():
            made = st.integers(0, 2000)
        case Number():
            made = st.floats(0.0, 200.0)
        case Duration():
            # Whole microseconds, so that every way to write it means the same.
            made = st.integers(0, 10**12).map(lambda micros: micros / 10**6)
        case Text():
            made = st.sampled_from(WORDS)
        case Choice(words):
            made = st.sampled_from(words)
        case HeaderPairs():
            values = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8)
            made = st.lists(st.tuples(st.sampled_from(TOKENS), values.map(str.strip)), max_size=3)
        case Integers():
            made = st.lists(st.integers(300, 599), max_size=4).map(frozenset)
        case Part(kind):
            made = valid(kind)
        case Parts(kind):
            made = st.lists(valid(kind), min_size=1, max_size=3)
    return made | st.none() if field.optional else made


@st.composite
def valid(draw: st.DrawFn, kind: type[Any]) -> Any:
    """A configuration that the core accepts: each field is kept if it goes with those before."""
    fields = fields_of(kind)
    given: dict[str, Any] = {name: WORDS[2] for name, field in fields.items() if field.required}
    for name in draw(st.lists(st.sampled_from(list(fields)), max_size=4)):
        more = {**given, name: draw(plain_values(fields[name]))}
        if accepts(kind, more):
            given = more
    return kind(**given)


def accepts(kind: type[Any], given: dict[str, Any]) -> bool:
    try:
        kind(**given)
    except ConfigError:
        return False
    return True


# --- Ways to write one down --------------------------------------------------------------------


def mapping_of(config: Any) -> dict[str, Any]:
    """The plain values of a configuration; what is nothing is left out, as TOML cannot say it."""
    made: dict[str, Any] = {}
    for name, field in fields_of(type(config)).items():
        value = getattr(config, name)
        if isinstance(field.shape, Part):
            made[name] = mapping_of(value)
        elif isinstance(field.shape, Parts):
            made[name] = [mapping_of(item) for item in value]
        elif value == ():
            continue  # no headers, which is the default
        elif isinstance(value, frozenset | tuple):
            made[name] = [list(item) if isinstance(item, tuple) else item for item in value]
        elif value is not None:
            made[name] = value
    return made


def toml_of(mapping: Mapping[str, Any]) -> str:
    """A TOML document for plain values: a line for each key, with all of its value."""
    return "".join(f"{toml_value(key)} = {toml_value(value)}\n" for key, value in mapping.items())


def toml_value(value: Any) -> str:
    if isinstance(value, Mapping):
        inner = ", ".join(f"{toml_value(key)} = {toml_value(item)}" for key, item in value.items())
        return f"{{{inner}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)


def environment_of(mapping: Mapping[str, Any], prefix: str) -> dict[str, str]:
    """Environment variables for plain values."""
    return dict(_variables(mapping, prefix))


def _variables(mapping: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in mapping.items():
        name = f"{prefix}{key.upper()}"
        if isinstance(value, Mapping):
            yield from _variables(value, f"{name}_")
        elif isinstance(value, list) and all(isinstance(item, int) for item in value):
            yield name, ",".join(map(str, value)) or ","
        elif isinstance(value, str):
            yield name, value
        else:
            yield name, json.dumps(value)
