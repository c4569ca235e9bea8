"""What the core's dataclasses are made of, read off their type hints.

Nothing here knows a field by its name, but for the few floats that are no seconds. A field that is
added to the core can be configured at once, as long as its type is one of those below; a test sees
to that.
"""

import dataclasses
import types
import typing
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from sansio_sse.config import Endpoint
from sansio_sse.http import HeadersInput

__all__ = [
    "Boolean",
    "Choice",
    "Duration",
    "Field",
    "HeaderPairs",
    "Integer",
    "Integers",
    "Number",
    "Part",
    "Parts",
    "Scalar",
    "Shape",
    "Text",
    "fields_of",
]


@dataclass(frozen=True, slots=True)
class Boolean:
    """True or false."""


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number that is no duration: a factor, a ratio, a weight."""


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds, or how people write them."""


@dataclass(frozen=True, slots=True)
class Text:
    """A string."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some words."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HeaderPairs:
    """Names and values, or pairs of them."""


@dataclass(frozen=True, slots=True)
class Integers:
    """A list of whole numbers."""


@dataclass(frozen=True, slots=True)
class Part:
    """A dataclass within."""

    kind: type[Any]


@dataclass(frozen=True, slots=True)
class Parts:
    """A list of dataclasses; one of them may be written as a string, its first field."""

    kind: type[Any]


Scalar = Boolean | Integer | Number | Duration | Text | Choice
"""What is one value."""
Shape = Scalar | HeaderPairs | Integers | Part | Parts
"""What a field takes."""

_FACTORS = {"backoff_multiplier", "jitter_factor", "decompressed_ratio", "weight"}


class Field(NamedTuple):
    """One field of a dataclass, as configuration sees it."""

    shape: Shape
    optional: bool
    """Whether None is a value for it."""
    required: bool
    secret: bool
    """Whether its value may hold a credential, and is not shown."""


def fields_of(kind: type[Any]) -> dict[str, Field]:
    """Return the fields of one of the core's dataclasses by name, in order.

    Raises ``TypeError`` for a type that cannot be configured.

    >>> from sansio_sse import Timeouts
    >>> fields_of(Timeouts)["idle"]
    Field(shape=Duration(), optional=True, required=False, secret=False)
    """
    anything: Any = kind  # to mypy not every class is hashable
    return _fields_of(anything)


@cache
def _fields_of(kind: Any) -> dict[str, Field]:
    hints = typing.get_type_hints(kind)
    return {
        field.name: _field(kind, field, hints[field.name]) for field in dataclasses.fields(kind)
    }


def _field(kind: type[Any], field: "dataclasses.Field[Any]", hint: Any) -> Field:
    shape: Shape
    if hint == HeadersInput:
        shape, optional = HeaderPairs(), True
    else:
        members = _members(hint)
        optional = type(None) in members
        shape = _shape(field.name, [member for member in members if member is not type(None)])
    required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    # What the core keeps out of its reprs, and what its own repr of an endpoint redacts.
    secret = not field.repr or (kind is Endpoint and field.name == "url")
    return Field(shape, optional, required, secret)


def _members(hint: Any) -> tuple[Any, ...]:
    """The types of a union; those of any other type are itself."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return (hint,)


def _shape(name: str, hints: list[Any]) -> Shape:
    if len(hints) == 1:
        (hint,) = hints
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if hint is float:
            return Number() if name in _FACTORS else Duration()
        scalars: dict[Any, Shape] = {bool: Boolean(), int: Integer(), str: Text()}
        if hint in scalars:
            return scalars[hint]
        if _is_part(hint):
            return Part(hint)
        if origin is typing.Literal and all(isinstance(word, str) for word in arguments):
            return Choice(arguments)
        if origin is Collection and arguments == (int,):
            return Integers()
        if origin is Sequence:
            kinds = [member for member in _members(arguments[0]) if member is not str]
            if len(kinds) == 1 and _is_part(kinds[0]):
                return Parts(kinds[0])
    raise TypeError(f"{name}: no way is known to configure {hints}")


def _is_part(hint: Any) -> bool:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)
