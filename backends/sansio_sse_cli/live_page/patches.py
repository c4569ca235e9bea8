"""Differences between two states of a page: JSON merge patches (RFC 7386), and their history.

A state is nested dicts with JSON values and without nulls, because in a patch null means "gone".
Lists are values: they change as a whole, so whatever grows at its end is a dict by number here.
Parts that did not change may be the same object in both states, and cost nothing then.

Nothing here knows what a state means.
"""

import json
from collections import deque
from collections.abc import Mapping
from typing import Any, TypeGuard

__all__ = ["Changes", "difference", "to_json"]

State = Mapping[str, Any]


def difference(old: State, new: State) -> dict[str, Any]:
    """Return the merge patch that makes ``new`` of ``old``; empty if there is nothing to do.

    >>> difference({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"c": 4, "d": 3}})
    {'a': None, 'b': {'c': 4}}
    """
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if before is value:
            continue
        if _is_state(before) and _is_state(value):
            if inner := difference(before, value):
                patch[key] = inner
        # 1, 1.0 and True are equal here and different things in JSON.
        elif type(before) is not type(value) or before != value:
            patch[key] = value
    return patch


def _is_state(value: object) -> TypeGuard[State]:
    return isinstance(value, dict)


def to_json(value: object) -> str:
    r"""Return JSON in ASCII, on one line: as safe as text gets.

    >>> to_json({"é": [1, 0.5]})
    '{"\\u00e9":[1,0.5]}'
    """
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


class Changes:
    """A state, and the latest patches that led to it, so that who missed a few can catch up.

    >>> changes = Changes({"n": 1}, most=100)
    >>> changes.put({"n": 2}), changes.put({"n": 3})
    ('{"n":2}', '{"n":3}')
    >>> changes.number, changes.since(1), changes.since(7)
    (2, ['{"n":3}'], None)

    Args:
        state: What there is to begin with, at number 0.
        most: How many characters of patches are kept at most.
    """

    def __init__(self, state: State, most: int = 1 << 20) -> None:
        self.state: State = state
        self.number: int = 0
        """The number of the latest patch."""
        self._most = most
        self._kept: deque[str] = deque()
        self._size = 0

    def put(self, state: State) -> str:
        """Go on to another state and return the patch, which may be empty."""
        patch = to_json(difference(self.state, state))
        self.state = state
        self.number += 1
        self._kept.append(patch)
        self._size += len(patch)
        while self._size > self._most:
            self._size -= len(self._kept.popleft())
        return patch

    def since(self, number: int) -> list[str] | None:
        """Return the patches after number ``number``, or None if they are not all known."""
        missed = self.number - number
        if not 0 <= missed <= len(self._kept):
            return None
        return list(self._kept)[len(self._kept) - missed :]
