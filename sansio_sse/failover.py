"""One stream that may come from several endpoints: failover, and the way back.

The life of the stream is the connection machine's, untouched. What is added stands at its seams:
where an attempt goes, what a failure says about the endpoint, and when to leave a good endpoint for
a better one. No member of a pool needs this: a pool tells its members where to go.

What has an end stays where it is until then, and so does what might have an effect twice: a healthy
stream is left only if asking for it anew costs nothing.

Whole events only are ever handed on, and a resumed stream begins behind the last of them. So any
moment is an event boundary to the reader, who finds ``Connected`` between two events, if included.
"""

from collections.abc import Callable, Collection, Sequence
from math import inf

from .actions import Event
from .attempt import Decide, may_replay
from .config import ConnectionConfig, Endpoint
from .connection import Actions, ConnectionMachine, Include, Until, with_defaults
from .content_coding import ContentDecoder
from .endpoints import Endpoints, EndpointStats
from .errors import SSEError
from .http import Request, Response, is_idempotent
from .states import ConnectionState
from .timers import Due, Timer, earlier

__all__ = ["FailoverMachine"]

_DISCONNECTED = ConnectionState.DISCONNECTED
_CONNECTED = ConnectionState.CONNECTED
_RECONNECTING = ConnectionState.RECONNECTING
_ERROR = ConnectionState.ERROR

_CAREFUL = ConnectionConfig()  # its `replay` allows only what cannot have an effect twice


class FailoverMachine(ConnectionMachine):
    """A :class:`~sansio_sse.connection.ConnectionMachine` which chooses among endpoints by itself.

    The one with the lowest ``priority`` that is healthy is taken, those of equal priority in turn.
    After a failure the next attempt goes elsewhere, if there is an elsewhere: to each endpoint once
    before it goes to one again. (A stream that is cut after it gave events is no failure yet.) An
    event id goes only to endpoints of the same ``cursor_domain``.

    :param requests: what to ask for, one for each endpoint.
    :param endpoints: as many endpoints.

    The rest is that of :class:`~sansio_sse.connection.ConnectionMachine`.

    >>> from sansio_sse.actions import Connect
    >>> places = [Endpoint("http://a.example"), Endpoint("http://b.example", priority=1)]
    >>> machine = FailoverMachine([Request("GET", place.url) for place in places], places)
    >>> [connect] = [a for a in machine.connect(0.0) if isinstance(a, Connect)]
    >>> _ = machine.connect_failed(connect.attempt, OSError("refused"), 0.1)
    >>> [connect] = [a for a in machine.tick(machine.deadline) if isinstance(a, Connect)]
    >>> connect.request
    <Request GET http://b.example>
    """

    __slots__ = (
        "_avoid",
        "_domain",
        "_endpoints",
        "_failed_for_good",
        "_gave",
        "_place",
        "_prefer",
        "_repeating",
        "_requests",
        "_tried",
        "_trying",
    )

    def __init__(
        self,
        requests: Sequence[Request],
        endpoints: Sequence[Endpoint],
        config: ConnectionConfig | None = None,
        *,
        random: Callable[[], float] = lambda: 0.5,
        last_event_id: str = "",
        until: Until | None = None,
        decide: Decide | None = None,
        prepare: bool = False,
        include: Collection[Include] = (),
    ) -> None:
        super().__init__(
            requests[0],
            config,
            random=random,
            last_event_id=last_event_id,
            until=until,
            decide=decide,
            prepare=prepare,
            include=include,
            admission=True,  # every attempt may go elsewhere; it is this class that answers
        )
        self._requests = tuple(requests)
        self._endpoints = Endpoints(endpoints, "priority", self._config.breaker)
        self._place: int | None = None  # where the present attempt or stream is
        self._trying = False  # it is an attempt
        self._gave = False  # it is a stream, and has given an event
        self._tried: set[int] = set()  # where it failed since all had a turn
        self._avoid: int | None = None  # where the latest failure was
        self._prefer: int | None = None
        self._failed_for_good: set[int] = set()  # since `connect`, or a stream that lasted
        # Whose ids the cursor is: what the caller begins with belongs to the first endpoint.
        self._domain: str | None = endpoints[0].cursor_domain
        self._repeating = False  # a request that may have had an effect is being sent again

    # --- Look ----------------------------------------------------------------------------------

    @property
    def endpoints(self) -> Sequence[EndpointStats]:
        """All endpoints at a glance."""
        return self._endpoints.stats()

    # --- At the seams --------------------------------------------------------------------------

    def connect(self, now: float) -> Actions:
        """Begin; earlier failures for good are forgotten."""
        if self._state in (_DISCONNECTED, _ERROR):  # else it is out of order, and changes nothing
            self._failed_for_good.clear()
            self._repeating = False
        return super().connect(now)

    def _excluded(self) -> set[int]:
        """Where this stream must not go, whatever the health there."""
        exclude = self._failed_for_good
        if self._repeating:
            # Only what knows the cursor can tell that it has done this before.
            exclude = exclude | {
                index
                for index in range(len(self._endpoints))
                if self._endpoints.endpoint(index).cursor_domain != self._domain
            }
        return exclude

    def _find_way(self, number: int, actions: Actions) -> None:
        """Choose an endpoint; wait where none lets anything through."""
        exclude = self._excluded()
        chosen = self._endpoints.choose(
            self._now, exclude=exclude | self._tried, prefer=self._prefer
        )
        if chosen is None:  # all have had their turn, or are broken
            self._tried.clear()
            chosen = self._endpoints.choose(self._now, exclude=exclude, avoid=self._avoid)
        self._endpoints.news.clear()  # nobody watches; `endpoints` shows it
        if chosen is None:
            at = self._endpoints.next_at(exclude)
            assert at < inf, "what has failed for good everywhere is not tried again"
            self._wait(Timer.RECONNECT, at)
            return
        self._prefer = None
        self._place, self._trying, self._gave = chosen, True, False
        self._endpoints.joined(chosen)
        self._original = with_defaults(self._requests[chosen])
        domain = self._endpoints.endpoint(chosen).cursor_domain
        if domain != self._domain:
            if not is_idempotent(self._original):
                self._domain = domain  # what may have its effect there is repeated nowhere else
            self._leave_cursor()
        self._set_out(number, actions)

    def _accept(
        self, response: Response, decoder: ContentDecoder | None, retries: int, actions: Actions
    ) -> None:
        assert self._place is not None
        self._trying = False
        self._tried.clear()
        self._avoid = None
        self._domain = self._endpoints.endpoint(self._place).cursor_domain
        self._endpoints.accepted(self._place, self._now)
        super()._accept(response, decoder, retries, actions)

    def _examine(self, events: Sequence[Event]) -> Sequence[Event]:
        before = self.metrics.events_received
        events = super()._examine(events)
        if not self._gave and self.metrics.events_received > before:
            assert self._place is not None
            self._gave = True
            self._endpoints.event_seen(self._place, self._now)
        return events

    def _failed_there(self, error: SSEError, accepted: bool) -> bool:
        """What will not work at this endpoint may work at another."""
        place = self._place
        if place is None or self._phase is Timer.PREPARE:
            return error.retryable  # no endpoint had a part in it
        if (self._sent or self._acted) and not may_replay(
            self._request, error, _CAREFUL, acted=self._acted, gave_id=False, cursor=""
        ):
            self._repeating = True
        blamed = True
        if accepted:
            lived = self._now - self._accepted_at
            blamed = self._endpoints.lost(place, error, self._now, lived=lived, gave=self._gave)
            if lived >= self._config.reconnection.reset_interval:
                self._failed_for_good.clear()
        else:
            self._trying = False
            self._endpoints.failed(place, error, self._now)
        if blamed:  # else it may well go on where it was: a server may rotate its streams
            self._tried.add(place)
            self._avoid = place
        if error.retryable or error.category == "usage":
            return error.retryable
        self._failed_for_good.add(place)
        return len(self._excluded()) < len(self._endpoints)

    def _abandon(self, actions: Actions, *, well: bool = False) -> None:
        place = self._place
        if place is not None:
            if self._trying:
                self._endpoints.given_up(place)
            self._endpoints.left(place)
            self._place, self._trying = None, False
        super()._abandon(actions, well=well)

    def _next_due(self) -> Due | None:
        due = super()._next_due()
        if (
            self._state is _CONNECTED
            and not self._finite
            and self._until is None
            and is_idempotent(self._original)
        ):
            at = self._endpoints.next_move_at(self._place)
            if at < inf:
                patience = self._config.breaker.failback_after
                due = earlier(due, max(at, self._accepted_at + patience), Timer.FAILBACK)
        return due

    def _go_back(self, actions: Actions) -> None:
        """The better endpoint has been left alone, or healthy, for long enough."""
        move = self._endpoints.move(self._now, self._place)
        assert move is not None, "nobody else uses these endpoints"
        self._prefer = move[1]
        self._abandon(actions)
        self._change(_RECONNECTING, actions)
        self._begin(actions)
