"""What is wrong with a configuration: collected line by line, raised as one ``ConfigError``.

What is shown comes from files and variables that others may have written. So names and values are
cut and escaped before they reach a terminal, the number of lines has a bound, and what may be a
secret is not shown at all.
"""

import re
from collections.abc import Callable, Sequence
from datetime import date, time, timedelta
from difflib import get_close_matches

from sansio_sse import ConfigError
from sansio_sse.errors import redact_url

__all__ = ["Path", "Problems", "dotted", "quoted", "shown", "similar"]

Path = tuple[str | int, ...]
"""Where a value stands: names of tables and keys, and positions in lists."""

_LINES = 20
_LONGEST = 40  # characters of a key or a value
_LONGEST_TEXT = 400
_BARE = re.compile(rf"[A-Za-z0-9_-]{{1,{_LONGEST}}}")


class Problems:
    """All that is wrong, each with its place and its key; how many are kept is bounded."""

    def __init__(self, place: Callable[[Path], str]) -> None:
        self._place = place
        self._lines: list[str] = []
        self.count: int = 0

    def add(self, path: Path, text: str) -> None:
        """Note one problem."""
        self.count += 1
        if len(self._lines) < _LINES:
            parts = (self._place(path), dotted(path), _cut(text, _LONGEST_TEXT))
            self._lines.append(": ".join(part for part in parts if part))

    def add_unknown(self, path: Path, names: Sequence[object], known: Sequence[str]) -> None:
        """Note keys that mean nothing here; a likeness is only looked for where it is shown."""
        for name in names[:_LINES]:
            if isinstance(name, str):
                self.add((*path, name), f"unknown key{similar(name, known)}")
            else:
                self.add(path, f"keys must be strings, not {shown(name)}")
        self.count += len(names[_LINES:])

    def add_name(self, name: str, prefix: str, known: Sequence[str]) -> None:
        """Note a variable that means nothing; ``known`` are names without the prefix."""
        self.count += 1
        if len(self._lines) < _LINES:
            found = similar(name.removeprefix(prefix), known, prefix)
            self._lines.append(f"{dotted((name,))}: unknown variable{found}")

    def check(self) -> None:
        """Raise one :class:`ConfigError` if anything was noted."""
        if not self.count:
            return
        rest = self.count - len(self._lines)
        raise ConfigError("\n".join([*self._lines, *([f"and {rest} more"] if rest else [])]))


def dotted(path: Path) -> str:
    r"""Return a path as TOML writes it; what is no bare key is quoted and escaped.

    >>> dotted(("reconnection", "max_delay")), dotted(("endpoints", 1, "a\x1b"))
    ('reconnection.max_delay', "endpoints[1].'a\\x1b'")
    """
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            bare = _BARE.fullmatch(part)
            text += ("." if text else "") + (part if bare else quoted(part))
    return text


def quoted(text: str, longest: int = _LONGEST) -> str:
    """Return text in quotes, escaped and cut; a url, which is in a wrong place, is redacted."""
    text = text[:_LONGEST_TEXT]
    return repr(_cut(redact_url(text) if "://" in text else text, longest))


def shown(value: object) -> str:
    """Return a value as a message shows it: scalars in short, of all else only what it is.

    >>> shown("3 s"), shown(-1), shown([1, 2]), shown({})
    ("'3 s'", '-1', 'a list', 'a table')
    """
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, int) and value.bit_length() > 128:
        return f"one of {value.bit_length()} bits"  # Python refuses to write its digits
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, date | time | timedelta):
        return str(value)
    return kind_of(value)


def kind_of(value: object) -> str:
    """Return what kind of thing a value is, for where the value itself is not shown."""
    names: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (str, "a string"),
        (bool, "a boolean"),
        ((int, float), "a number"),
        (dict, "a table"),
        ((list, tuple), "a list"),
        (type(None), "None"),
    )
    for kind, name in names:
        if isinstance(value, kind):
            return name
    return f"an object of type {_cut(type(value).__name__, _LONGEST)}"


def similar(name: str, known: Sequence[str], prefix: str = "") -> str:
    """Return ", did you mean ...?" for what looks like a name that there is, else nothing."""
    found = get_close_matches(name[:_LONGEST], known, n=1)
    return f", did you mean {prefix}{found[0]}?" if found else ""


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[:longest] + "…"
