"""Actions in words, one line each: the same for the same action, in every process.

Traces and recordings compare these lines, so nothing may be in them that differs from run to run:
no addresses in memory, no order of a set. What goes out may hold credentials and is shown by its
size alone.
"""

from typing import Any

from sansio_sse.actions import (
    CloseTransport,
    Connected,
    ErrorOccurred,
    KeepTransport,
    OpenTransport,
    PauseTransport,
    PostAnswered,
    PrepareRequest,
    RequestAdmission,
    ResumeTransport,
    ScheduleReconnect,
    SendBytes,
    StateChanged,
)
from sansio_sse.endpoints import EndpointChanged
from sansio_sse.event_stream import Comment, LastEventIdChanged, ServerSentEvent
from sansio_sse.members import MemberChanged

__all__ = ["describe_action", "describe_change"]


def describe_action(action: Any) -> str:
    """Return one line about an action of a :class:`~sansio_sse.WireMachine`.

    >>> describe_action(ServerSentEvent(data="hello", id="7", has_id=True))
    "event message id='7' 'hello'"
    >>> describe_action(ScheduleReconnect(at=12.5, delay=0.5, attempt=3))
    'reconnect 3 in 0.500000 s'
    """
    match action:
        case ServerSentEvent(event, data, identity):
            return f"event {event} id={identity!r} {data!r}"
        case Connected(attempt, resumed, response):
            return f"connected after {attempt} retries, resumed={resumed}, {response.status}"
        case Comment(text):
            return f"comment {text!r}"
        case LastEventIdChanged(identity):
            return f"last event id {identity!r}"
        case StateChanged(old, new):
            return f"state {old.value} -> {new.value}"
        case ErrorOccurred(error):
            return f"error {type(error).__name__}: {error}"
        case ScheduleReconnect(_, delay, attempt):
            return f"reconnect {attempt} in {delay:.6f} s"
        case PostAnswered(_, response, content, error):
            if response is None:
                return f"post failed {type(error).__name__}: {error}"
            return f"post answered {response.status}, {len(content)} bytes"
        case RequestAdmission(attempt):
            return f"ask {attempt}"
        case PrepareRequest(request, attempt):
            return f"prepare {attempt} {request.method}"
        case OpenTransport(transport, origin):
            return f"open {transport} {origin}"
        case SendBytes(transport, data):
            return f"send {transport} {len(data)} bytes"
        case CloseTransport(transport):
            return f"close {transport}"
        case KeepTransport(transport, _, seconds):
            return f"keep {transport} for {seconds:g} s"
        case PauseTransport(transport):
            return f"pause {transport}"
        case ResumeTransport(transport):
            return f"resume {transport}"
        case _:
            raise TypeError(f"not an action of a wire machine: {action!r}")


def describe_change(change: MemberChanged | EndpointChanged) -> str:
    """Return one line about a change that a pool tells of.

    >>> from sansio_sse.endpoints import BreakerState
    >>> old, new = BreakerState.OPEN, BreakerState.HALF_OPEN
    >>> describe_change(EndpointChanged("http://a.example/", old, new, at=1.0))
    'breaker http://a.example/ open -> half_open'
    """
    if isinstance(change, EndpointChanged):
        return f"breaker {change.endpoint} {change.old.value} -> {change.new.value}"
    old = "new" if change.old is None else change.old.value
    where = "" if change.endpoint is None else f" at {change.endpoint}"
    why = "" if change.reason is None else f", {change.reason}"
    return f"member {change.member} {old} -> {change.new.value}{where}{why}"
