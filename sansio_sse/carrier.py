"""What carries the exchanges that a connection machine asks for: the half that is the same for all.

A connection machine speaks of HTTP exchanges: connect, ping, post. Something below it makes them
real, and looks like the connection machine to a driver, but for the news that it takes: a
:class:`~sansio_sse.wire.WireMachine` makes HTTP/1.1 of them, over transports of bytes; an
:class:`~sansio_sse.exchange.ExchangeMachine` leaves that to an HTTP client. What both need is here:
what is asked of the connection machine itself is passed on, and what it answers is carried out.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from .actions import WireAction
from .connection import ConnectionMachine
from .http import Request
from .states import ConnectionState
from .timers import Timer

__all__ = ["Carrier"]

Actions = list[WireAction]


class Carrier:
    """A connection machine, at ``connection``, and what carries its exchanges."""

    __slots__ = ("connection",)

    def __init__(self, connection: ConnectionMachine) -> None:
        self.connection: ConnectionMachine = connection

    # --- Look ----------------------------------------------------------------------------------

    @property
    def state(self) -> ConnectionState:
        """Where the stream is in its life."""
        return self.connection.state

    @property
    def deadline(self) -> float | None:
        """When to call :meth:`tick` at the latest, or None; a lower bound."""
        return self.connection.deadline

    @property
    def deadline_reason(self) -> Timer | None:
        """Why a tick is wanted then."""
        return self.connection.deadline_reason

    # --- Commands ------------------------------------------------------------------------------

    def connect(self, now: float) -> Sequence[WireAction]:
        """Begin; see :meth:`ConnectionMachine.connect`."""
        return self._carry_out(self.connection.connect(now), now)

    def disconnect(self, now: float) -> Sequence[WireAction]:
        """End the stream; see :meth:`ConnectionMachine.disconnect`."""
        return self._carry_out(self.connection.disconnect(now), now)

    def restart(self, now: float, last_event_id: str | None = None) -> Sequence[WireAction]:
        """Connect anew at once; see :meth:`ConnectionMachine.restart`."""
        return self._carry_out(self.connection.restart(now, last_event_id), now)

    def close(self, now: float) -> Sequence[WireAction]:
        """End for good; see :meth:`ConnectionMachine.close`."""
        return self._carry_out(self.connection.close(now), now)

    def pause(self, now: float) -> Sequence[WireAction]:
        """Stop reading; see :meth:`ConnectionMachine.pause`."""
        return self._carry_out(self.connection.pause(now), now)

    def resume(self, now: float) -> Sequence[WireAction]:
        """Read again; see :meth:`ConnectionMachine.resume`."""
        return self._carry_out(self.connection.resume(now), now)

    def post(
        self,
        token: object,
        url: str,
        now: float,
        *,
        method: str = "POST",
        headers: tuple[tuple[str, str], ...] = (),
        content: bytes | None = None,
    ) -> Sequence[WireAction]:
        """Send something up; see :meth:`ConnectionMachine.post`."""
        actions = self.connection.post(
            token, url, now, method=method, headers=headers, content=content
        )
        return self._carry_out(actions, now)

    def abandon_post(self, token: object, now: float) -> Sequence[WireAction]:
        """Give a post up; see :meth:`ConnectionMachine.abandon_post`."""
        return self._carry_out(self.connection.abandon_post(token, now), now)

    # --- What happened -------------------------------------------------------------------------

    def admitted(
        self, attempt: int, request: Request, now: float, *, keep_cursor: bool = True
    ) -> Sequence[WireAction]:
        """An attempt may begin; see :meth:`ConnectionMachine.admitted`."""
        actions = self.connection.admitted(attempt, request, now, keep_cursor=keep_cursor)
        return self._carry_out(actions, now)

    def request_prepared(self, attempt: int, request: Request, now: float) -> Sequence[WireAction]:
        """``prepare_request`` returned; see :meth:`ConnectionMachine.request_prepared`."""
        return self._carry_out(self.connection.request_prepared(attempt, request, now), now)

    def prepare_failed(
        self, attempt: int, error: BaseException, now: float
    ) -> Sequence[WireAction]:
        """``prepare_request`` raised; see :meth:`ConnectionMachine.prepare_failed`."""
        return self._carry_out(self.connection.prepare_failed(attempt, error, now), now)

    def events_refused(self, last_id: str, now: float) -> Sequence[WireAction]:
        """The reader's buffer overflowed; see :meth:`ConnectionMachine.events_refused`."""
        return self._carry_out(self.connection.events_refused(last_id, now), now)

    def tick(self, now: float) -> Sequence[WireAction]:
        """Time has passed; see :meth:`ConnectionMachine.tick`."""
        return self._carry_out(self.connection.tick(now), now)

    def _carry_out(self, actions: Iterable[Any], now: float, gone: int = 0) -> Sequence[WireAction]:
        """Turn what the connection machine asks for into work for a driver.

        ``gone`` is an exchange that failed by itself: it needs no closing.
        """
        raise NotImplementedError
