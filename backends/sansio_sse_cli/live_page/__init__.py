"""The live page: what streams are going through, in a browser, over an event stream of its own.

From the inside out: :mod:`.board` keeps what the page shows (pure, bounded, takes the time as an
argument), :mod:`.patches` says what has changed (pure), :mod:`.gate` who may see it (pure),
:mod:`.followers` run the streams that it is about, and :mod:`.server` is the HTTP between all that
and a browser. ``page.html`` is the page: one file that loads nothing from anywhere.
"""

from .board import Board
from .followers import PoolFollower, StreamsFollower
from .gate import SHORTEST_TOKEN, Gate, is_loopback
from .server import PageServer

__all__ = [
    "SHORTEST_TOKEN",
    "Board",
    "Gate",
    "PageServer",
    "PoolFollower",
    "StreamsFollower",
    "is_loopback",
]
