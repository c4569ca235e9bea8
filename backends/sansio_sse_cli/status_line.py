"""One line at the foot of a terminal that says how a stream is doing.

The line is drawn below everything else and is gone before anything else is written: whoever writes
to the same terminal wraps his text with :meth:`StatusLine.wrap`. The cursor waits at its beginning,
so that what the user types, a Ctrl-C, or the shell after a Ctrl-Z writes over it, and a terminal
that breaks lines anew at a resize still finds where it begins. It is ASCII and never as wide as the
terminal. In the background it is not drawn: the terminal is somebody else's.

What the line says is in :class:`Glance`, which draws nothing.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from sansio_sse import ConnectionDriver, ConnectionInfo

from .narrator import STYLES
from .terminal import Channel, Paint, size

__all__ = ["Glance", "Rates", "StatusLine", "fit"]

Part = tuple[str, str]
"""A style, empty for none, and a text in ASCII."""

_ERASE = b"\r\x1b[J"  # from the beginning of the line to the end of the screen
_SOON = 0.1  # seconds between drawings while there is something new
_QUIET = 1.0  # and while there is not: ages and countdowns go on
_WINDOW = 5.0  # seconds over which rates are taken


class Rates:
    """Events and bytes a second, over the last few seconds.

    >>> rates = Rates()
    >>> rates.add(0.0, 0, 0), rates.add(2.0, 10, 4096)
    (None, None)
    >>> rates.events, rates.bytes
    (5.0, 2048.0)
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int, int]] = deque()

    def add(self, now: float, events: int, received: int) -> None:
        """Note how many there have been so far."""
        self._samples.append((now, events, received))
        while len(self._samples) > 2 and self._samples[1][0] <= now - _WINDOW:
            self._samples.popleft()

    @property
    def events(self) -> float:
        """Events a second."""
        return self._rate(1)

    @property
    def bytes(self) -> float:
        """Bytes a second."""
        return self._rate(2)

    def _rate(self, which: int) -> float:
        if len(self._samples) < 2:
            return 0.0
        first, last = self._samples[0], self._samples[-1]
        took = last[0] - first[0]
        return (last[which] - first[which]) / took if took > 0 else 0.0


class Glance:
    """What there is to say of a connection, the most important first.

    Args:
        connection: Whose.
        reconnects: Returns how often it was accepted again.
        more: Returns what else there is to say.
    """

    def __init__(
        self,
        connection: ConnectionDriver[Any],
        reconnects: Callable[[], int],
        more: Callable[[], str] = str,
    ) -> None:
        self._connection = connection
        self._reconnects = reconnects
        self._more = more
        self._rates = Rates()

    def __call__(self) -> list[Part]:
        """Return the parts of the line as of now."""
        info = self._connection.info()
        metrics = info.metrics
        self._rates.add(time.monotonic(), metrics.events_received, metrics.bytes_received)
        parts = [(STYLES[info.state], info.state.value), ("", _age(info))]
        if info.next_reconnect is not None:
            wait = max(0.0, info.next_reconnect - time.time())
            parts.insert(1, ("yellow", f"retry {info.reconnect_attempts} in {wait:.0f} s"))
        parts += [
            ("", f"{self._rates.events:.1f} events/s"),
            ("", f"{size(round(self._rates.bytes))}/s"),
        ]
        reconnects = self._reconnects()
        if reconnects:
            parts.append(("yellow", f"{reconnects} reconnect{'' if reconnects == 1 else 's'}"))
        if more := self._more():
            parts.append(("", more))
        return parts


def _age(info: ConnectionInfo) -> str:
    if info.last_event is None:
        return "no event yet"
    age = int(time.time() - info.last_event)
    if age < 1:
        return "last event now"
    return f"last event {age} s ago" if age < 600 else f"last event {age // 60} min ago"


def fit(parts: list[Part], columns: int, paint: Paint) -> str:
    """Return as many parts as fit into so many columns.

    >>> fit([("", "connected"), ("", "last event now"), ("", "2.0 events/s")], 30, Paint(on=False))
    'connected | last event now'
    >>> fit([("", "connected")], 4, Paint(on=False))
    'conn'
    """
    shown: list[str] = []
    room = columns
    for style, text in parts:
        if shown and len(text) + 3 > room:
            break
        room -= len(text) + (3 if shown else 0)
        cut = text[:columns]
        shown.append(paint(style, cut) if style else cut)
    return " | ".join(shown)


class StatusLine:
    """The line; :meth:`wanted_on` tells whether there should be one."""

    def __init__(self, err: Channel, parts: Callable[[], list[Part]]) -> None:
        self._err = err
        self._parts = parts
        self._channels: list[Channel] = []
        self._text = b""
        self._columns = 0
        self._drawn = False
        self._last = -_QUIET
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    @staticmethod
    def wanted_on(err: Channel) -> bool:
        """Tell whether a channel leads to a terminal that can erase a line."""
        plain = os.environ.get("TERM", "dumb") in ("", "dumb") or os.name != "posix"
        return err.is_terminal and not plain

    def start(self, *channels: Channel) -> None:
        """Draw it from now on, below what is written to these channels, if they lead there too."""
        self._channels = [each for each in channels if each.same_terminal(self._err)]
        for channel in self._channels:
            channel.footer = self
        self._schedule(_SOON)

    def touch(self) -> None:
        """Something is new: draw it anew, soon."""
        if self._timer is not None and self._due > self._last + _SOON:
            self._timer.cancel()
            self._schedule(self._last + _SOON - time.monotonic())

    def stop(self) -> None:
        """Erase it, for good."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._drawn and not self._mid_line() and self._in_foreground():
            self._err.put(_ERASE)
        self._drawn = False

    def wrap(self, data: bytes) -> bytes:
        """Return ``data`` (whole lines) with what keeps the line below it."""
        if not self._drawn or self._mid_line():
            return data
        if not self._in_foreground():
            self._drawn = False
            return data
        if self._err.columns() != self._columns:
            self._compose()
        return _ERASE + data + self._text

    def _schedule(self, seconds: float) -> None:
        seconds = max(0.0, seconds)
        self._due = time.monotonic() + seconds
        self._timer = asyncio.get_running_loop().call_later(seconds, self._draw)

    def _draw(self) -> None:
        self._last = time.monotonic()
        self._schedule(_QUIET)
        # Not while half a line stands there, and not on a terminal that has been stopped (Ctrl-S):
        # the loop would stop with it.
        if self._mid_line() or not self._err.has_room() or not self._in_foreground():
            return
        self._compose()
        self._drawn = True
        self._err.put(_ERASE + self._text)

    def _compose(self) -> None:
        self._columns = self._err.columns()
        # One column less: a cursor behind the last one may or may not be on the next line.
        text = fit(self._parts(), max(1, self._columns - 1), self._err.paint)
        self._text = text.encode("ascii", "replace") + b"\r"

    def _mid_line(self) -> bool:
        return any(channel.mid_line for channel in self._channels)

    def _in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self._err.fd) == os.getpgrp()
        except OSError:
            return True  # not our controlling terminal: there is no background
