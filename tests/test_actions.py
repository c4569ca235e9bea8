"""Actions and other values: small, immutable, comparable, picklable, and without secrets."""

import pickle
from dataclasses import FrozenInstanceError, fields, is_dataclass
from typing import Any

import pytest

import sansio_sse.actions
from sansio_sse import (
    Accept,
    Attempt,
    CloseTransport,
    Comment,
    Connect,
    Connected,
    ConnectionClosed,
    ConnectionLost,
    ConnectionState,
    Disconnect,
    ErrorOccurred,
    Fail,
    KeepTransport,
    LastEventIdChanged,
    OpenTransport,
    Origin,
    PauseReading,
    PauseTransport,
    PostAnswered,
    PostResponse,
    PrepareRequest,
    Release,
    Request,
    RequestAdmission,
    Response,
    ResumeReading,
    ResumeTransport,
    Retry,
    ScheduleReconnect,
    SendBytes,
    SendPing,
    SendPost,
    ServerSentEvent,
    StartExchange,
    StateChanged,
    Stop,
)

SECRET = "s3cr3t"
REQUEST = Request("POST", f"http://a.example/?key={SECRET}", (("X-Key", SECRET),), SECRET.encode())
RESPONSE = Response(200, (("Set-Cookie", SECRET),))
S = ConnectionState

ACTIONS: list[Any] = [
    Comment("hi"),
    LastEventIdChanged("7"),
    Connected(1, True, RESPONSE),
    StateChanged(S.CONNECTING, S.CONNECTED, 1.0),
    ErrorOccurred(ConnectionLost("gone")),
    ScheduleReconnect(5.0, 1.0, 2, ConnectionLost("gone")),
    PostAnswered("token", RESPONSE, SECRET.encode()),
    PostAnswered("token", error=ConnectionClosed("closed")),
    Connect(REQUEST, 1),
    Disconnect(1),
    Release(1),
    SendPing(REQUEST, 2),
    SendPost(REQUEST, 3),
    RequestAdmission(4),
    PrepareRequest(REQUEST, 4),
    PauseReading(),
    ResumeReading(),
    OpenTransport(1, Origin("http", "a.example", 80)),
    SendBytes(1, SECRET.encode()),
    StartExchange(1, REQUEST),
    CloseTransport(1),
    KeepTransport(1, Origin("http", "a.example", 80), 4.0),
    PauseTransport(1),
    ResumeTransport(1),
]
VALUES: list[Any] = [
    *ACTIONS,
    REQUEST,
    RESPONSE,
    PostResponse(200, (("Set-Cookie", SECRET),), SECRET.encode()),
    Attempt(1, 200, None, "http://a.example"),
    Accept(),
    Retry(1.5, True),
    Fail(),
    Stop(),
]


def test_every_action_is_among_the_examples() -> None:
    named = {
        name
        for name in sansio_sse.actions.__all__
        if name not in ("Event", "ConnectionAction", "WireAction")
    }
    assert named <= {type(action).__name__ for action in ACTIONS}


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_are_frozen_and_slotted(value: Any) -> None:
    assert is_dataclass(value)
    assert not hasattr(value, "__dict__")
    for field in fields(value):
        with pytest.raises(FrozenInstanceError):
            setattr(value, field.name, None)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_no_repr_shows_a_secret(value: Any) -> None:
    assert SECRET not in repr(value)
    assert SECRET not in str(value)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_pickle(value: Any) -> None:
    again = pickle.loads(pickle.dumps(value))
    if getattr(value, "error", None) is None:
        assert again == value
    else:  # errors are compared by identity
        assert str(again.error) == str(value.error)


def test_values_of_different_types_are_never_equal() -> None:
    for one in VALUES:
        for other in VALUES:
            assert type(one) is type(other) or one != other


def test_only_an_event_is_a_tuple() -> None:
    event: Any = ServerSentEvent(data="x")
    assert issubclass(ServerSentEvent, tuple)
    assert not any(isinstance(action, tuple) for action in ACTIONS)
    assert all(event != action for action in ACTIONS)
    with pytest.raises(AttributeError):
        event.data = "y"
