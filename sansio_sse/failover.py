"""One stream that may come from several endpoints: failover, and the way back.

The life of the stream is the connection machine's, untouched. What is added stands at its seams:
where an attempt goes, what a failure says about the endpoint, and when to leave a good endpoint for
a better one. No member of a pool needs this: a pool tells its members where to go.

Whole events only are ever handed on, and a resumed stream begins behind the last of them. So any
moment is an event boundary to the reader, who finds ``Connected`` between two events, if included.
"""

from collections.abc import Callable, Collection, Sequence
from math import inf

from .actions import Event
from .attempt import Decide
from .config import ConnectionConfig, Endpoint
from .connection import Actions, ConnectionMachine, Include, Until, with_defaults
from .content_coding import ContentDecoder
from .endpoints import Endpoints, EndpointStats
from .errors import NoEndpoint, SSEError
from .http import Request, Response, is_idempotent
from .states import ConnectionState
from .timers import Due, Timer, earlier

__all__ = ["FailoverMachine"]

_CONNECTED = ConnectionState.CONNECTED
_RECONNECTING = ConnectionState.RECONNECTING


class FailoverMachine(ConnectionMachine):
    """A :class:`~sansio_sse.connection.ConnectionMachine` which chooses among endpoints by itself.

    The one with the lowest ``priority`` that is healthy is taken, those of equal priority in turn.
    The next attempt after a failure goes elsewhere, if there is an elsewhere. An event id goes only
    to endpoints of the same ``cursor_domain``.

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
    <Request GET http://b.example/>
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
        )
        self._requests = tuple(requests)
        self._endpoints = Endpoints(endpoints, "priority", self._config.breaker)
        self._place: int | None = None  # where the present attempt or stream is
        self._trying = False  # it is an attempt
        self._gave = False  # it is a stream, and has given an event
        self._avoid: int | None = None  # where the latest failure was
        self._prefer: int | None = None
        self._failed_for_good: set[int] = set()  # since the latest acceptance
        # Whose ids the cursor is: what the caller begins with belongs to the first endpoint.
        self._domain: str | None = endpoints[0].cursor_domain
        self._repeating = False  # a request that may have had an effect is being sent again

    # --- Look ----------------------------------------------------------------------------------

    @property
    def endpoints(self) -> tuple[EndpointStats, ...]:
        """All endpoints at a glance."""
        return self._endpoints.stats()

    # --- At the seams --------------------------------------------------------------------------

    def connect(self, now: float) -> Actions:
        """Begin; earlier failures for good are forgotten."""
        self._failed_for_good.clear()
        self._repeating = False
        return super().connect(now)

    def _find_way(self, actions: Actions) -> None:
        """Choose an endpoint; wait where none lets anything through."""
        exclude = self._failed_for_good
        if self._repeating:
            # Only what knows the cursor can tell that it has done this before.
            exclude = exclude | {
                index
                for index in range(len(self._endpoints))
                if self._endpoints.endpoint(index).cursor_domain != self._domain
            }
        chosen = self._endpoints.choose(
            self._now, exclude=exclude, avoid=self._avoid, prefer=self._prefer
        )
        self._endpoints.news.clear()  # nobody watches; `endpoints` shows it
        if chosen is None:
            self._began = self._now
            at = self._endpoints.next_at(exclude)
            if at == inf:
                self._fail(NoEndpoint("no endpoint is left to try", retryable=False), actions)
            else:
                self._wait(Timer.RECONNECT, at)
            return
        self._prefer = None
        self._place, self._trying, self._gave = chosen, True, False
        self._endpoints.joined(chosen)
        domain = self._endpoints.endpoint(chosen).cursor_domain
        if domain != self._domain:
            self._forget_cursor()
        self._domain = domain
        self._original = with_defaults(self._requests[chosen])
        self._set_out(actions)

    def _accept(
        self, response: Response, decoder: ContentDecoder | None, retries: int, actions: Actions
    ) -> None:
        assert self._place is not None
        self._trying = False
        self._avoid = None
        self._failed_for_good.clear()
        self._endpoints.accepted(self._place, self._now)
        super()._accept(response, decoder, retries, actions)

    def _examine(self, events: Sequence[Event]) -> Sequence[Event]:
        before = self.metrics.events_received
        events = super()._examine(events)
        if not self._gave and self.metrics.events_received > before and self._place is not None:
            self._gave = True
            self._endpoints.event_seen(self._place, self._now)
        return events

    def _failed_there(self, error: SSEError, accepted: bool) -> None:
        place = self._place
        if place is None:
            return
        if self._sent and not is_idempotent(self._request):
            self._repeating = True
        self._avoid = place
        if accepted:
            lived = self._now - self._accepted_at
            self._endpoints.lost(place, error, self._now, lived=lived, gave=self._gave)
        else:
            self._trying = False
            self._endpoints.failed(place, error, self._now)
        if not error.retryable and error.category != "usage":
            self._failed_for_good.add(place)

    def _is_worth_a_retry(self, error: SSEError) -> bool:
        """What will not work at this endpoint may work at another."""
        if error.retryable:
            return True
        elsewhere = len(self._failed_for_good) < len(self._endpoints)
        return elsewhere and error.category != "usage" and not isinstance(error, NoEndpoint)

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
        if self._state is _CONNECTED and self._place is not None:
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
        self._avoid = None
        self._abandon(actions)
        self._change(_RECONNECTING, actions)
        self._begin(actions)
