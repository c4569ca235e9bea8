"""From plain values to the core's dataclasses, with every mistake at its key.

Types are checked here, since files know fewer of them than code does. Values are checked by the
dataclasses, and by nothing else: one of them is made, and where it refuses, the field that it
refuses is noted and left out, until it is content.
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, assert_never

from sansio_sse import ConfigError
from sansio_sse.errors import redact_text

from .durations import seconds_of
from .fields import (
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
    Scalar,
    Text,
    fields_of,
)
from .problems import Path, Problems, dotted, kind_of, quoted, shown

__all__ = ["BAD", "build"]

BAD: Any = object()
"""Stands for a value about which a problem has been noted already."""

_STAND_IN = "http://stand-in.invalid/"  # for what has to be given, while the rest is looked at
_MOST_ITEMS = 1000  # in a list
_INTEGER_BITS = 63  # as in TOML
_LISTS: tuple[type[Any], ...] = (list, tuple)
_SETS: tuple[type[Any], ...] = (set, frozenset)
_MAPPINGS: tuple[type[Any], ...] = (Mapping,)
_QUOTED = re.compile(r""" ?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,40}")
_HEADER_VALUE = re.compile(rf"header (['\"]){_TOKEN.pattern}\1: the value .*")


class _Wrong(Exception):
    """A value of a wrong type; its text says what was expected."""


def build(kind: type[Any], mapping: Any, path: Path, problems: Problems) -> Any:
    """Return a ``kind`` made from a mapping, or ``BAD`` after noting all that is wrong with it."""
    if isinstance(mapping, kind):
        return mapping
    if not isinstance(mapping, _MAPPINGS):
        problems.add(path, f"must be a table, not {shown(mapping)}")
        return BAD
    before = problems.count
    fields = fields_of(kind)
    problems.add_unknown(path, [name for name in mapping if name not in fields], list(fields))
    given: dict[str, Any] = {}
    for name, field in fields.items():
        if name in mapping:
            value = mapping[name]
            made = BAD if value is BAD else _read(field, value, (*path, name), problems)
            if made is not BAD:
                given[name] = made
        elif field.required:
            problems.add((*path, name), "is required")
        if field.required:
            given.setdefault(name, _STAND_IN)
    made = _make(kind, given, mapping, path, problems)
    return made if problems.count == before else BAD


# --- One value ---------------------------------------------------------------------------------


def _read(field: Field, value: Any, path: Path, problems: Problems) -> Any:
    if value is None and field.optional:
        return None
    if isinstance(field.shape, Part):
        return build(field.shape.kind, value, path, problems)
    if isinstance(field.shape, Parts):
        return _parts(field.shape.kind, value, path, problems)
    if isinstance(field.shape, HeaderPairs):
        return _header_pairs(value, path, problems)
    if isinstance(field.shape, Integers):
        return _integers(value, path, problems)
    try:
        return _scalar(field.shape, value)
    except _Wrong as wrong:
        of = kind_of(value) if field.secret else shown(value)
        problems.add(path, f"{wrong}, not {of}")
        return BAD


def _scalar(shape: Scalar, value: Any) -> Any:
    match shape:
        case Boolean():
            return _typed(value, bool, "must be true or false")
        case Integer():
            return _integer(value)
        case Number():
            return _number(value, "must be a number")
        case Duration():
            return _duration(value)
        case Text():
            return _typed(value, str, "must be a string")
        case Choice(words):
            if not isinstance(value, str) or value not in words:
                raise _Wrong(f"must be one of {', '.join(map(repr, words))}")
            return value
        case _ as other:
            assert_never(other)


def _typed(value: Any, kind: type, text: str) -> Any:
    if not isinstance(value, kind):
        raise _Wrong(text)
    return value


def _integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _Wrong("must be a whole number")
    if value.bit_length() > _INTEGER_BITS:
        raise _Wrong(f"must be a number of at most {_INTEGER_BITS} bits")
    return value


def _number(value: Any, text: str) -> float:
    if isinstance(value, float):
        return value
    if not isinstance(value, int) or isinstance(value, bool):
        raise _Wrong(text)
    return _integer(value)


def _duration(value: Any) -> float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if not isinstance(value, str):
        return _number(value, 'must be a duration: a number of seconds, or a text such as "1m30s"')
    try:
        return seconds_of(value)
    except ValueError as error:
        raise _Wrong(str(error)) from None


def _integers(value: Any, path: Path, problems: Problems) -> Any:
    if not _is_list(value, _LISTS + _SETS, "whole numbers", path, problems):
        return BAD
    before = problems.count
    for position, item in enumerate(value):
        try:
            _integer(item)
        except _Wrong as wrong:
            problems.add((*path, position), f"{wrong}, not {shown(item)}")
    return frozenset(value) if problems.count == before else BAD


def _parts(kind: type[Any], value: Any, path: Path, problems: Problems) -> Any:
    if isinstance(value, str | kind):
        value = [value]
    if not _is_list(value, _LISTS, "strings and tables", path, problems):
        return BAD
    made = [_item(kind, item, (*path, position), problems) for position, item in enumerate(value)]
    return BAD if any(one is BAD for one in made) else made


def _item(kind: type[Any], value: Any, path: Path, problems: Problems) -> Any:
    if isinstance(value, str):
        value = {next(iter(fields_of(kind))): value}
    if not isinstance(value, (kind, *_MAPPINGS)):
        problems.add(path, f"must be a string or a table, not {kind_of(value)}")
        return BAD
    return build(kind, value, path, problems)


def _is_list(
    value: Any, kinds: tuple[type[Any], ...], of: str, path: Path, problems: Problems
) -> bool:
    if not isinstance(value, kinds):
        problems.add(path, f"must be a list of {of}, not {kind_of(value)}")
        return False
    if len(value) > _MOST_ITEMS:
        problems.add(path, f"must have at most {_MOST_ITEMS} items, not {len(value)}")
        return False
    return True


def _header_pairs(value: Any, path: Path, problems: Problems) -> Any:
    pairs: Any = list(value.items()) if isinstance(value, _MAPPINGS) else value
    if not isinstance(pairs, _LISTS):
        problems.add(path, f"must be a table of names and values, not {kind_of(value)}")
        return BAD
    before = problems.count
    for position, pair in enumerate(pairs):
        if not isinstance(pair, _LISTS) or len(pair) != 2:
            problems.add((*path, position), f"must be a name and a value, not {kind_of(pair)}")
        elif not isinstance(pair[0], str):
            problems.add((*path, position), f"the name must be a string, not {kind_of(pair[0])}")
        elif not isinstance(pair[1], str):
            # What cannot be a header's name may be its value, in the wrong place.
            name = pair[0] if _TOKEN.fullmatch(pair[0]) else position
            problems.add((*path, name), f"must be a string, not {kind_of(pair[1])}")
    return [tuple(pair) for pair in pairs] if problems.count == before else BAD


# --- All of them -------------------------------------------------------------------------------


def _make(
    kind: type[Any],
    given: dict[str, Any],
    written: Mapping[str, Any],
    path: Path,
    problems: Problems,
) -> Any:
    """Make a ``kind``; for each refusal note the field behind it, and try without."""
    fields = fields_of(kind)
    refusal = _refusal(kind, given)
    for _ in fields:
        if refusal is None:
            break
        name = _culprit(kind, given, refusal)
        if name is None:
            break
        partner = _partner(kind, given, name, refusal)
        text = _text(kind, name, given[name], written, refusal)
        if partner and partner not in text:
            text += f" (see {dotted((*path, partner))})"
        problems.add((*path, name), text)
        given = _without(kind, given, name)
        refusal = _refusal(kind, given)
    if refusal is None:
        return kind(**given)
    problems.add(path, redact_text(_QUOTED.sub("", refusal)))
    return BAD


def _refusal(kind: type[Any], given: dict[str, Any]) -> str | None:
    try:
        kind(**given)
    except ConfigError as error:
        return error.message
    return None


def _without(kind: type[Any], given: dict[str, Any], name: str) -> dict[str, Any]:
    rest = {other: value for other, value in given.items() if other != name}
    return rest | {name: _STAND_IN} if fields_of(kind)[name].required else rest


def _culprit(kind: type[Any], given: dict[str, Any], refusal: str) -> str | None:
    """The field that a refusal names, else the one without which it is another or none."""
    named = re.match(rf"{kind.__name__}\.(\w+)", refusal)
    if named and named[1] in given:
        return named[1]
    return _deciding(kind, given, list(given), refusal)


def _partner(kind: type[Any], given: dict[str, Any], name: str, refusal: str) -> str | None:
    """The other field that a field does not go together with, if it is about two."""
    return _deciding(kind, given, [other for other in given if other != name], refusal)


def _deciding(kind: type[Any], given: dict[str, Any], names: list[str], refusal: str) -> str | None:
    return next(
        (name for name in names if _refusal(kind, _without(kind, given, name)) != refusal), None
    )


def _text(kind: type[Any], name: str, value: Any, written: Mapping[str, Any], refusal: str) -> str:
    """What the core said, without the name of the class, and without what may be a secret."""
    text = re.sub(rf"^{kind.__name__}\.(?:{name}:? )?", "", refusal)
    if fields_of(kind)[name].secret:
        return _discreet(text, value)
    original = written.get(name)
    if original != value and isinstance(original, str | timedelta):
        text += f" ({shown(original)})"
    return redact_text(text)


def _discreet(text: str, value: Any) -> str:
    """What is wrong with a secret, and where a url leads; no other part of it is shown."""
    if _HEADER_VALUE.fullmatch(text):
        return text
    text = re.sub("^(?:url:?|header) ", "", _QUOTED.sub("", text))
    if isinstance(value, str) and re.match("https?://", value, re.IGNORECASE):
        text += f", not {quoted(value)}"
    return redact_text(text)
