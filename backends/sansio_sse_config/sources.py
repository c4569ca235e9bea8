"""Configuration from a mapping and from a TOML file."""

import os
import re
import tomllib
from codecs import BOM_UTF8
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any, TypeVar, cast, overload

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

from .building import build
from .problems import Problems, quoted

__all__ = ["KINDS", "ConfigT", "checked_kind", "from_mapping", "from_toml"]

KINDS: tuple[type[Any], ...] = (
    BreakerConfig,
    ConnectionConfig,
    Endpoint,
    HeartbeatConfig,
    Limits,
    PoolConfig,
    ReconnectionPolicy,
    Timeouts,
)
"""What can be configured."""

ConfigT = TypeVar(
    "ConfigT",
    bound=BreakerConfig
    | ConnectionConfig
    | Endpoint
    | HeartbeatConfig
    | Limits
    | PoolConfig
    | ReconnectionPolicy
    | Timeouts,
)
"""One of ``KINDS``."""

_MOST_BYTES = 1024 * 1024  # of a file
_POSITION = re.compile(r" *\(at (?:line (\d+), column (\d+)|end of document)\)$")


@overload
def from_mapping(mapping: Mapping[str, Any], *, place: str = "") -> ConnectionConfig: ...
@overload
def from_mapping(
    mapping: Mapping[str, Any], kind: type[ConfigT], *, place: str = ""
) -> ConfigT: ...
def from_mapping(
    mapping: Mapping[str, Any], kind: type[Any] = ConnectionConfig, *, place: str = ""
) -> Any:
    """Return a configuration made from plain values.

    Keys are the names of the fields; a part is a mapping again, or an object of its own class.
    Durations are seconds, ``timedelta`` or Go's syntax. Raises :class:`~sansio_sse.ConfigError`
    with a line for each thing that is wrong; ``place`` is where that says they are from.

    Args:
        mapping: What to read.
        kind: What to make: ``ConnectionConfig``, ``PoolConfig``, or a part of them.
        place: Where the mapping is from, for the messages.

    >>> config = from_mapping({"buffer_size": 10, "timeouts": {"idle": "2m"}})
    >>> config.buffer_size, config.timeouts.idle
    (10, 120.0)
    >>> from_mapping({"timeouts": {"idel": 60}, "buffer_size": 0}, place="settings")
    Traceback (most recent call last):
    sansio_sse.errors.ConfigError: settings: timeouts.idel: unknown key, did you mean idle?
    settings: buffer_size: must be a whole number, at least 1, not 0
    """
    checked_kind(kind)
    where = _printable(place)
    problems = Problems(lambda _path: where)
    made = build(kind, mapping, (), problems)
    problems.check()
    return made


@overload
def from_toml(path: str | os.PathLike[str], *, table: str | None = None) -> ConnectionConfig: ...
@overload
def from_toml(
    path: str | os.PathLike[str], kind: type[ConfigT], *, table: str | None = None
) -> ConfigT: ...
def from_toml(
    path: str | os.PathLike[str],
    kind: type[Any] = ConnectionConfig,
    *,
    table: str | None = None,
) -> Any:
    """Return a configuration read from a TOML file.

    Raises :class:`~sansio_sse.ConfigError`: with the line for what is not TOML, with a line for
    each thing that is wrong in it, and for a file or a table that is not there.

    Args:
        path: The file, of at most 1 MiB.
        kind: What to make: ``ConnectionConfig``, ``PoolConfig``, or a part of them.
        table: Which table of the file to read, such as ``"tool.sse"``; None: all of it.

    >>> from_toml("no-such-file.toml")
    Traceback (most recent call last):
    sansio_sse.errors.ConfigError: no-such-file.toml: cannot be read: No such file or directory
    """
    checked_kind(kind)
    where = _printable(os.fspath(path))
    document: Any = _parse(_read(path, where), where)
    if table is not None:
        document = _table(document, table, where)
        where += f" [{_printable(table)}]"
    return from_mapping(document, kind, place=where)


def checked_kind(kind: type[Any]) -> None:
    """Raise :class:`ConfigError` for what cannot be configured."""
    if kind not in KINDS:
        names = ", ".join(one.__name__ for one in KINDS)
        raise ConfigError(f"kind must be one of {names}, not {kind!r}")


def _read(path: str | os.PathLike[str], where: str) -> str:
    try:
        with FilePath(path).open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"{where}: cannot be read: no file has such a name") from None
    if len(content) > _MOST_BYTES:
        raise ConfigError(f"{where}: is larger than {_MOST_BYTES} bytes")
    content = content.removeprefix(BOM_UTF8)  # nobody sees it, but some editors write it
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{where}, line {line}: is not UTF-8") from None


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        position = _POSITION.search(message)
        line = position[1] if position and position[1] else text.count("\n") + 1
        what = quoted(_POSITION.sub("", message), 200)[1:-1]  # it may have keys of the file in it
        raise ConfigError(f"{where}, line {line}: {what}") from None
    except (ValueError, RecursionError):
        raise ConfigError(f"{where}: has a number too long or lists too deep to be read") from None


def _table(document: Any, table: str, where: str) -> Any:
    """What a dotted name leads to; that it is a table is for others to check."""
    for name in table.split("."):
        inner = cast("dict[str, Any]", document) if isinstance(document, dict) else {}
        if name not in inner:
            raise ConfigError(f"{where}: there is no table [{_printable(table)}]")
        document = inner[name]
    return document


def _printable(text: str) -> str:
    """A name that the caller gave, on one line and without control characters."""
    return "".join(char if char.isprintable() else "?" for char in text)
