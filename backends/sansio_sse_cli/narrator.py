"""A stream's life put into words: what happened, and what will happen next.

Words only. Where they go, and whether they are safe to be shown there, is the business of whoever
is given them.
"""

import time
from collections.abc import Callable
from typing import Any

from sansio_sse import (
    ConnectionDriver,
    ConnectionState,
    ContentTypeError,
    HTTPStatusError,
    SSEError,
    StateChanged,
)
from sansio_sse.errors import redact_text

from .terminal import duration, shorten

__all__ = ["STYLES", "Narrator", "explain"]

STYLES = {
    ConnectionState.DISCONNECTED: "bold",
    ConnectionState.CONNECTING: "dim",
    ConnectionState.CONNECTED: "green",
    ConnectionState.RECONNECTING: "yellow",
    ConnectionState.ERROR: "red",
    ConnectionState.CLOSED: "bold",
}
"""The colour of each state."""


class Narrator:
    """Tells a stream's state changes and failures; its two methods are made for ``connect()``.

    ``say(state, text)`` is called with each piece of news; ``hide(text)`` takes secrets out of what
    a server says, before it is cut to length and half a secret remains. ``clock`` is the wall clock
    that the connection goes by. Set ``ending`` before closing the connection: an end that was
    wanted needs no explanation.
    """

    def __init__(
        self,
        say: Callable[[ConnectionState, str], object],
        hide: Callable[[str], str] = str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.ending: bool = False
        self.accepted: int = 0
        """How often a stream has been accepted."""
        self._say = say
        self._hide = hide
        self._clock = clock
        self._url = ""
        self._cursor = ""  # what the attempt under way asks to go on after

    @property
    def reconnects(self) -> int:
        """How often a stream was accepted again."""
        return max(0, self.accepted - 1)

    def on_change(self, connection: ConnectionDriver[Any], change: StateChanged) -> None:
        """Tell a state change."""
        match change.new:
            case ConnectionState.CONNECTING:
                self._url = connection.info().url
                self._cursor = connection.received_event_id
                self._say(change.new, self._url)
            case ConnectionState.CONNECTED:
                self.accepted += 1
                self._say(change.new, self._accepted(connection))
            case ConnectionState.ERROR if change.error is not None:
                self._say(change.new, explain(change.error, self._hide))
            case ConnectionState.DISCONNECTED if not self.ending:
                self._say(change.new, "the stream has ended")
            case ConnectionState.CLOSED if not self.ending:
                self._say(change.new, "the server has no more events for us (204)")
            case _:
                pass  # RECONNECTING: the error that led there has been told, with its consequence

    def on_error(self, connection: ConnectionDriver[Any], error: BaseException) -> None:
        """Tell a failure that another attempt follows; any other becomes a state change."""
        if not isinstance(error, SSEError):
            raise error  # a mistake of ours, for the loop's handler
        info = connection.info()
        self._cursor = connection.received_event_id
        if info.next_reconnect is not None:
            wait = duration(max(0.0, info.next_reconnect - self._clock()))
            text = f"retry {info.reconnect_attempts} in {wait}: {explain(error, self._hide)}"
            self._say(ConnectionState.RECONNECTING, text)

    def _accepted(self, connection: ConnectionDriver[Any]) -> str:
        response = connection.response
        words = [f"{response.status} HTTP/{response.http_version}"] if response is not None else []
        url = connection.info().url
        if url != self._url:
            self._url = url
            words.append(f"from {url}")
        if self._cursor:
            words.append(f"after event {shorten(self._hide(self._cursor))}")
        return ", ".join(words)


def explain(error: SSEError, hide: Callable[[str], str] = str) -> str:
    """Return an error's message, and the beginning of what the server said with it."""
    body = error.body if isinstance(error, HTTPStatusError | ContentTypeError) else b""
    said = redact_text(hide(body.decode("utf-8", "replace"))).strip()
    return f"{error.message}: {shorten(said)}" if said else error.message
