"""What a command says about the stream it follows: news, a line at the foot, and a summary.

All of it goes to standard error, secrets taken out and control characters made visible.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

from sansio_sse import ConnectionDriver, ConnectionState

from .narrator import STYLES, Narrator
from .status_line import Glance, StatusLine
from .terminal import Channel, duration, escape, shorten, size

__all__ = ["News", "add_news_arguments", "plural"]


def add_news_arguments(group: argparse._ArgumentGroup) -> None:
    """Declare the options that say how much is said."""
    group.add_argument("-q", "--quiet", action="store_true", help="no news but fatal ones")
    group.add_argument(
        "--no-status",
        action="store_true",
        help="no live status line; there is none with --quiet or TERM=dumb either",
    )


def plural(count: int, what: str) -> str:
    """Return a number of things for people.

    >>> plural(1, "event"), plural(2, "event")
    ('1 event', '2 events')
    """
    return f"{count} {what}{'' if count == 1 else 's'}"


class News:
    """Tells of one connection; hand its ``narrator``'s two methods to ``connect()``.

    Args:
        args: With what :func:`add_news_arguments` declares.
        err: Where to.
        hide: Takes secrets out of a text.
    """

    def __init__(
        self, args: argparse.Namespace, err: Channel, hide: Callable[[str], str] = str
    ) -> None:
        self.narrator: Narrator = Narrator(self.tell, hide)
        self._err = err
        self._hide = hide
        self._quiet: bool = args.quiet
        self._with_status = not (args.quiet or args.no_status) and StatusLine.wanted_on(err)
        self._status: StatusLine | None = None
        self._began = time.monotonic()

    def begin(
        self, connection: ConnectionDriver[Any], *others: Channel, more: Callable[[], str] = str
    ) -> None:
        """Begin to measure the time, and to show the status line if it is wanted.

        ``others`` are what is written to besides; ``more`` returns what else the line should say.
        """
        self._began = time.monotonic()
        if self._with_status:
            glance = Glance(connection, lambda: self.narrator.reconnects, more)
            self._status = StatusLine(self._err, glance)
            self._status.start(self._err, *others)

    def touch(self) -> None:
        """Something came: the status line is out of date."""
        if self._status is not None:
            self._status.touch()

    def tell(self, state: ConnectionState, text: str) -> None:
        """Say a piece of news: the state it belongs to, and the news."""
        self.touch()
        if self._quiet and state is not ConnectionState.ERROR:
            return
        shown = escape(self._hide(text))
        self._err.say(f"{self._err.paint(STYLES[state], f'{state.value:12}')} {shown}")

    def end(self) -> None:
        """Take the status line away."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def summarize(self, connection: ConnectionDriver[Any], *parts: str) -> None:
        """Say what there was: ``parts``, and what there is to say of every connection."""
        if self._quiet:
            return
        words = [
            *parts,
            size(connection.metrics.bytes_received),
            plural(self.narrator.reconnects, "reconnect"),
            duration(time.monotonic() - self._began),
        ]
        if connection.last_event_id:
            words.append(f"last event id {escape(shorten(self._hide(connection.last_event_id)))}")
        self._err.say(self._err.paint("bold", ", ".join(words)))
