"""How much is kept: a measure of JSON values, and a limit on the sum.

The measure is for limits, not for accounts: it is about the bytes that something takes, and never
far below them.
"""

from typing import Any

from pydantic import BaseModel

from sansio_sse import LimitExceeded

__all__ = ["Budget", "weight"]

_THING = 64  # what a value costs beside its characters, roughly


def weight(*values: Any) -> int:
    """Return how heavy values are: their characters, and 64 for each thing there is.

    >>> weight("four"), weight({"a": [1, 2]})
    (68, 257)
    """
    total = 0
    stack = [*values]
    while stack:  # no recursion: what is measured may be as deep as its sender likes
        value = stack.pop()
        parts: Any = value  # still anything, where the type checkers have seen what it is
        total += _THING
        if isinstance(value, str):
            total += len(value)
        elif isinstance(value, int):
            total += value.bit_length() // 8
        elif isinstance(value, list | tuple):
            stack.extend(parts)
        elif isinstance(value, dict):
            total += sum(map(len, parts))
            stack.extend(parts.values())
        elif isinstance(value, BaseModel):
            fields = {**vars(value), **(value.model_extra or {})}
            stack.extend(part for part in fields.values() if part is not None)
    return total


class Budget:
    """What is kept in all, and the most that may be."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit: int = limit
        self.used: int = 0

    def take(self, more: int, *, instead_of: int = 0) -> None:
        """Keep ``more``; raises :class:`~sansio_sse.errors.LimitExceeded` and keeps nothing then.

        ``instead_of``: what is given up for it.
        """
        used = self.used + more - instead_of
        if used > self.limit:
            raise LimitExceeded(f"what the run has sent is more than the limit of {self.limit}")
        self.used = used

    def give(self, less: int) -> None:
        """Keep ``less`` less."""
        self.used -= less
