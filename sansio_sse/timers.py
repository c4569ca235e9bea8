"""The timers of a connection, and how the nearest of them is found.

A machine never sleeps. It says when it next wants to be ticked, and why: ``deadline`` and
``deadline_reason``. The reasons are the members below. At equal deadlines the one declared first
counts, and a tick stops at the first death; so a stream that is silent for exactly as long as it
would need to prove itself stable is dead, not stable, whatever order the code asks in.
"""

from enum import IntEnum

__all__ = ["Timer", "earlier"]


class Timer(IntEnum):
    """Why a machine wants a tick; deaths first."""

    PREPARE = 0
    """when to give up waiting for ``prepare_request``"""
    CONNECT = 1
    """when to give up opening a transport"""
    WRITE = 2
    """when to give up writing the request"""
    RESPONSE = 3
    """when to give up waiting for the whole response head, or for the body of an error"""
    IDLE = 4
    """when to call a silent stream dead"""
    PING_ANSWER = 5
    """when to count a ping as missed"""
    PING = 6
    """when to ping"""
    STABILITY = 7
    """when to forgive earlier failures, because the stream has been up long enough"""
    RECONNECT = 8
    """when to make the next attempt"""
    POST = 9
    """when to give up a post"""
    DRAIN = 10
    """when to give up reading the rest of a body that nobody wants"""
    FAILBACK = 11
    """when to return to a better endpoint"""


Due = tuple[float, Timer]


def earlier(one: Due | None, at: float, timer: Timer) -> Due:
    """Return the one which is due first; at equal times the one declared first.

    >>> earlier((300.0, Timer.STABILITY), 300.0, Timer.IDLE)[1].name
    'IDLE'
    """
    if one is None or (at, timer) < one:
        return (at, timer)
    return one
