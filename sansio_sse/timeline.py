"""What a connection has been through: its states, since when, and what led there.

Kept small, because ten thousand quiet connections have one each: two spans of a connection that
never failed, at most :data:`TIMELINE_LENGTH` of one that never stops failing. Of an error only the
message stays, cut to length: the error itself may hold a body and a traceback.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from .actions import StateChanged
from .states import ConnectionState

__all__ = ["TIMELINE_LENGTH", "StateSpan"]

TIMELINE_LENGTH = 100
"""How many spans a timeline has at most; older ones are forgotten."""

_MAX_CAUSE = 200  # characters

History: TypeAlias = tuple[Any, ...]
"""State, time, cause; state, time, cause; ... in one flat tuple, the smallest there is."""


@dataclass(frozen=True, slots=True)
class StateSpan:
    """A state that a connection is or was in; times are seconds since 1970.

    >>> span = StateSpan(ConnectionState.CONNECTED, 100.0, 160.0)
    >>> span.ended - span.began
    60.0
    """

    state: ConnectionState
    began: float
    ended: float | None = None
    """None: it is the present one."""
    cause: str = ""
    """The message of the error that led here, if one did."""


def with_change(history: History, change: StateChanged) -> History:
    """Return a history and one more change, without the oldest if there are too many."""
    cause = "" if change.error is None else change.error.message
    if len(cause) > _MAX_CAUSE:
        cause = cause[: _MAX_CAUSE - 1] + "…"
    return (*history, change.new, change.at, cause)[-3 * TIMELINE_LENGTH :]


def spans(history: History, offset: float) -> Iterator[StateSpan]:
    """Return a history as spans, its times moved by ``offset``."""
    for place in range(0, len(history), 3):
        state, began, cause = history[place : place + 3]
        ended = history[place + 4] + offset if place + 4 < len(history) else None
        yield StateSpan(state, began + offset, ended, cause)
