"""Configuration from environment variables: one for each field, named by where it stands.

Everything in the environment is text, so each kind of field has a way to be written there. What
cannot be read as its kind is passed on as the text it is, for the builder to refuse like any other
wrong type.
"""

import json
import os
import re
from collections.abc import Mapping
from typing import Any, overload

from sansio_sse import ConfigError, ConnectionConfig

from .building import BAD, build
from .fields import (
    Boolean,
    Duration,
    Field,
    HeaderPairs,
    Integer,
    Integers,
    Number,
    Part,
    Parts,
    fields_of,
)
from .problems import Path, Problems
from .sources import ConfigT, checked_kind

__all__ = ["from_env"]

_WORDS = {"true": True, "yes": True, "on": True, "1": True} | {
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
_INTEGER = re.compile(r"[+-]?[0-9]{1,40}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
# Kubernetes sets these in every pod, for each service: nobody chose them.
_SERVICE_LINK = re.compile(
    r"(?:\w{1,200}_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w{1,200})?"
    r"|PORT(?:_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)",
    re.ASCII,
)


@overload
def from_env(
    *, prefix: str = "SSE_", environ: Mapping[str, str] | None = None
) -> ConnectionConfig: ...
@overload
def from_env(
    kind: type[ConfigT], *, prefix: str = "SSE_", environ: Mapping[str, str] | None = None
) -> ConfigT: ...
def from_env(
    kind: type[Any] = ConnectionConfig,
    *,
    prefix: str = "SSE_",
    environ: Mapping[str, str] | None = None,
) -> Any:
    """Return a configuration read from environment variables.

    A variable is the prefix and the path of a field, such as ``SSE_RECONNECTION_MAX_ATTEMPTS``. An
    empty one counts as not set. Raises :class:`~sansio_sse.ConfigError` with a line for each thing
    that is wrong; a name with the prefix that means nothing is an error too, unless Kubernetes has
    set it for a service (``SSE_SERVICE_HOST``).

    Args:
        kind: What to make: ``ConnectionConfig``, ``PoolConfig``, or a part of them.
        prefix: What the names begin with.
        environ: The variables; None: those of the process.

    >>> from_env(environ={"SSE_TIMEOUTS_IDLE": "2m", "SSE_BUFFER_SIZE": "10"}).timeouts.idle
    120.0
    >>> from_env(environ={"SSE_TIMEOUT_IDLE": "2m"})
    Traceback (most recent call last):
    sansio_sse.errors.ConfigError: SSE_TIMEOUT_IDLE: unknown variable, did you mean SSE_TIMEOUTS...
    """
    checked_kind(kind)
    if not prefix:
        raise ConfigError("prefix must not be empty: every variable there is would be meant")
    paths = _paths(kind)
    names = {path: prefix + name for name, path in paths.items()}
    problems = Problems(lambda path: _name(names, path) or f"{prefix}*")
    plain: dict[str, Any] = {}
    for name, text in sorted((os.environ if environ is None else environ).items()):
        rest = name.removeprefix(prefix)
        if rest == name or (rest not in paths and _SERVICE_LINK.fullmatch(rest)):
            continue
        if rest not in paths:
            problems.add_name(name, prefix, list(paths))
        elif text.strip():
            _put(plain, paths[rest], _read(kind, paths[rest], text.strip(), problems))
    made = build(kind, plain, (), problems)
    problems.check()
    return made


# --- Names -------------------------------------------------------------------------------------


def _paths(kind: type[Any]) -> dict[str, Path]:
    """Return where each variable leads, by its name without the prefix."""
    found: dict[str, Path] = {}
    for name, field in fields_of(kind).items():
        if isinstance(field.shape, Part):
            inner = _paths(field.shape.kind).items()
            found |= {f"{name.upper()}_{rest}": (name, *path) for rest, path in inner}
        else:
            found[name.upper()] = (name,)
    return found


def _name(names: Mapping[Path, str], path: Path) -> str:
    """Return the variable that a path comes from, which may lead on into its value."""
    while path and path not in names:
        path = path[:-1]
    return names.get(path, "")


def _put(plain: dict[str, Any], path: Path, value: Any) -> None:
    *tables, last = map(str, path)
    for table in tables:
        plain = plain.setdefault(table, {})
    plain[last] = value


def _field(kind: type[Any], path: Path) -> Field:
    *tables, last = map(str, path)
    for table in tables:
        shape = fields_of(kind)[table].shape
        assert isinstance(shape, Part)
        kind = shape.kind
    return fields_of(kind)[last]


# --- Values ------------------------------------------------------------------------------------


def _read(kind: type[Any], path: Path, text: str, problems: Problems) -> Any:
    """Return what a text means, the text itself if nothing, or ``BAD`` after noting why."""
    field = _field(kind, path)
    if field.optional and text.lower() == "none":
        return None
    match field.shape:
        case Boolean():
            return _WORDS.get(text.lower(), text)
        case Integer():
            return _integer(text)
        case Number() | Duration():
            return float(text) if _NUMBER.fullmatch(text) else text
        case Integers():
            return [_integer(item) for item in _items(text)]
        case Parts():
            return _json(text, path, problems) if text.startswith("[") else _items(text)
        case HeaderPairs():
            if text.startswith(("{", "[")):
                return _json(text, path, problems)
            return _header_lines(text, path, problems)
        case _:
            return text


def _integer(text: str) -> int | str:
    return int(text) if _INTEGER.fullmatch(text) else text


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _header_lines(text: str, path: Path, problems: Problems) -> Any:
    lines = [line for line in text.splitlines() if line.strip()]
    for position, line in enumerate(lines):
        if ":" not in line:
            problems.add((*path, position), 'must be "Name: value"')
            return BAD
    pairs = [line.split(":", maxsplit=1) for line in lines]
    return [(name.strip(), value.strip()) for name, value in pairs]


def _json(text: str, path: Path, problems: Problems) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        problems.add(path, f"is not JSON: {error.msg} (at character {error.pos + 1})")
    except (ValueError, RecursionError) as error:
        what = error if isinstance(error, _Twice) else "a number too long, or lists too deep"
        problems.add(path, f"cannot be read as JSON: {what}")
    return BAD


class _Twice(ValueError):
    """A name that stands twice in one JSON object, of which the first would be lost."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise _Twice("a name is there twice")
    return made
