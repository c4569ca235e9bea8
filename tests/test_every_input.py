"""Every input in every state: an answer or a documented refusal, and only allowed transitions."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from machine_play import STREAM, URL, Play, S
from sansio_sse import (
    TRANSITIONS,
    ConfigError,
    LocalProtocolError,
    Request,
    Response,
    StateChanged,
)

EVENT = b"id: 1\ndata: hello\n\n"

# --- Every situation a machine can be in: the states, and the phases within them ----------------


def _new(play: Play) -> None:
    pass


def _beginning(play: Play) -> None:
    """Asked for admission, about a request to prepare, or already opening."""
    play.connect()
    play.after(0)


def _preparing(play: Play) -> None:
    play.connect()
    _admitted(play)
    play.after(0)


def _opening(play: Play) -> None:
    play.connect()
    _prepared(play)


def _admitted(play: Play) -> None:
    play.tell("admitted", play.asked, REQUEST)


def _prepared(play: Play) -> None:
    _admitted(play)
    if play.waits_for is not None and play.waits_for[0] == "PREPARE":
        play.tell("request_prepared", play.stream, play.request)


def _writing(play: Play) -> None:
    _opening(play)
    play.tell("transport_opened", play.stream)


def _waiting_for_the_head(play: Play) -> None:
    _opening(play)
    play.tell("request_sent", play.stream)


def _redirected(play: Play) -> None:
    _waiting_for_the_head(play)
    play.respond(302, ("Location", "/there"))


def _reading_an_error(play: Play) -> None:
    _waiting_for_the_head(play)
    play.respond(500)


def _connected(play: Play) -> None:
    _waiting_for_the_head(play)
    play.tell("response_received", play.stream, STREAM)


def _streaming(play: Play) -> None:
    _connected(play)
    play.body(EVENT + b"data: incompl")


def _paused(play: Play) -> None:
    _streaming(play)
    play.tell("pause")


def _pinging(play: Play) -> None:
    _streaming(play)
    play.due()
    assert play.ping


def _posting(play: Play) -> None:
    _streaming(play)
    play.post("token")


def _lost(play: Play) -> None:
    _streaming(play)
    play.lost()


def _retrying(play: Play) -> None:
    _lost(play)
    play.due()
    _prepared(play)


def _failed(play: Play) -> None:
    _waiting_for_the_head(play)
    play.refused(404)


def _finished(play: Play) -> None:
    """Ended well, which leaves something to drain where transports are reused."""
    _streaming(play)
    play.body(b"lete\n\ndata: stop\n\n")
    if play.state is S.CONNECTED:
        play.tell("disconnect")


def _beside_a_drain(play: Play) -> None:
    _finished(play)
    _streaming(play)


def _disconnected(play: Play) -> None:
    _streaming(play)
    play.tell("disconnect")


def _closed(play: Play) -> None:
    _streaming(play)
    play.tell("close")


SITUATIONS: dict[Callable[[Play], None], S] = {
    _new: S.DISCONNECTED,
    _beginning: S.CONNECTING,
    _preparing: S.CONNECTING,
    _opening: S.CONNECTING,
    _writing: S.CONNECTING,
    _waiting_for_the_head: S.CONNECTING,
    _redirected: S.CONNECTING,
    _reading_an_error: S.CONNECTING,
    _connected: S.CONNECTED,
    _streaming: S.CONNECTED,
    _paused: S.CONNECTED,
    _pinging: S.CONNECTED,
    _posting: S.CONNECTED,
    _lost: S.RECONNECTING,
    _retrying: S.RECONNECTING,
    _failed: S.ERROR,
    _finished: S.DISCONNECTED,
    _beside_a_drain: S.CONNECTED,
    _disconnected: S.DISCONNECTED,
    _closed: S.CLOSED,
}

# --- Every input, with arguments of every kind --------------------------------------------------

REQUEST = Request("GET", URL)
RESPONSES = [
    STREAM,
    Response(204),
    Response(302, (("Location", "/elsewhere"),)),
    Response(302),
    Response(404),
    Response(503, (("Retry-After", "1"),)),
    Response(200, (("Content-Type", "text/html"),)),
]
COMMANDS: dict[str, list[tuple[Any, ...]]] = {
    "connect": [()],
    "disconnect": [()],
    "close": [()],
    "pause": [()],
    "resume": [()],
    "tick": [()],
    "abandon_post": [("token",)],
    "events_refused": [("",), ("1",)],
}
NEWS: dict[str, list[tuple[Any, ...]]] = {
    "admitted": [(REQUEST,)],
    "drained": [()],
    "request_prepared": [(REQUEST,), (None,)],
    "prepare_failed": [(OSError("no"),)],
    "transport_opened": [()],
    "exchange_begun": [()],
    "request_sent": [()],
    "response_received": [(response,) for response in RESPONSES],
    "body_received": [(b"",), (EVENT,), (b"da",)],
    "body_ended": [()],
    "connect_failed": [(OSError("no"),)],
    "connection_lost": [(OSError("no"),)],
    "ping_answered": [(Response(200),), (Response(500),)],
    "ping_failed": [(OSError("no"),)],
    "post_answered": [(Response(200), b"done")],
    "post_failed": [(OSError("no"),)],
}
# Who may refuse what, and where.
REFUSED: dict[str, set[S]] = {
    "connect": {S.CONNECTING, S.CONNECTED, S.RECONNECTING, S.CLOSED},
    "restart": {S.CLOSED},
    "post": {S.CLOSED},
}


def inputs(play: Play) -> Iterator[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    for name, variants in COMMANDS.items():
        for arguments in variants:
            yield name, arguments, {}
    for cursor in (None, "", "9"):
        yield "restart", (), {"last_event_id": cursor}
    yield "post", ("token", "/up"), {}
    numbers = {0, 1, 99, play.asked, play.stream, play.ping, play.posted}
    for name, variants in NEWS.items():
        for number in sorted(numbers):
            for arguments in variants:
                yield name, (number, *arguments), {}


def settled(play: Play, name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    """Give one input and check all that holds for any."""
    before = play.state
    try:
        play.tell(name, *arguments, **options)
    except LocalProtocolError:
        assert before in REFUSED[name]
        assert play.state is before
        return
    assert before not in REFUSED.get(name, ())
    walked = before
    for change in play.said(StateChanged):
        assert change.old is walked
        assert change.new in TRANSITIONS[walked]
        walked = change.new
    assert play.state is walked
    if before is S.CLOSED:
        assert not play.answer
    if play.state in (S.CONNECTING, S.RECONNECTING) and not play.machine._asking:
        assert play.machine.deadline is not None
    due = play.machine._next_due()
    assert (due is None) or (play.machine.deadline is not None and play.machine.deadline <= due[0])


OPTIONS: list[dict[str, Any]] = [
    {"pings": True, "interval": 5},
    {"machine": {"prepare": True}, "pings": True, "interval": 5},
    {
        "pings": True,
        "interval": 5,
        "machine": {"admission": True, "prepare": True, "until": "stop", "reuse": True},
    },
    {"method": "POST", "machine": {"until": "stop", "include": ["comments", "ids"]}},
]


def arranged(situation: Callable[[Play], None], options: dict[str, Any]) -> Play:
    play = Play(**options)
    situation(play)
    assert play.state is SITUATIONS[situation]
    return play


@pytest.mark.parametrize("options", OPTIONS[:3], ids=["plain", "prepared", "admitted"])
@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.__name__)
def test_every_input_has_an_answer_in_every_situation(
    situation: Callable[[Play], None], options: dict[str, Any]
) -> None:
    for name, arguments, further in inputs(arranged(situation, options)):
        for later in (0.0, 1000.0):
            play = arranged(situation, options)
            play.now += later
            settled(play, name, arguments, further)
            # And whatever it led to, it can be ended from there.
            settled(play, "tick", (), {})
            settled(play, "close", (), {})
            assert play.state is S.CLOSED
            assert play.machine.deadline is None


def test_every_state_and_every_input_is_drawn() -> None:
    assert set(SITUATIONS.values()) == set(S)
    machine = type(Play().machine)
    public = {
        name
        for name, member in vars(machine).items()
        if callable(member) and not name.startswith("_")
    } - {"explain", "snapshot", "trusts", "uptime"}
    assert public == COMMANDS.keys() | NEWS.keys() | {"restart", "post"}


@settings(max_examples=200)
@given(st.data())
def test_any_walk_of_inputs_is_a_walk_of_the_table(data: st.DataObject) -> None:
    play = Play(**data.draw(st.sampled_from(OPTIONS)))
    for _ in range(data.draw(st.integers(1, 12))):
        play.now += data.draw(st.sampled_from([0.0, 0.0, 1.0, 6.0, 400.0]))
        choices = list(inputs(play))
        name, arguments, further = data.draw(st.sampled_from(choices))
        settled(play, name, arguments, further)


@pytest.mark.parametrize(
    ("name", "arguments", "options"),
    [
        ("restart", (), {"last_event_id": "a\nb"}),
        ("post", ("token", "http://other.example/"), {}),
        ("post", ("token", "http://["), {}),
        ("post", ("token", "/up"), {"method": "NO METHOD"}),
        ("post", ("token", "/up"), {"headers": (("a", "b\r\nc"),)}),
    ],
)
@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.__name__)
def test_what_cannot_be_is_refused_without_a_trace(
    situation: Callable[[Play], None],
    name: str,
    arguments: tuple[Any, ...],
    options: dict[str, Any],
) -> None:
    play = arranged(situation, OPTIONS[0])
    before = play.state, play.machine.deadline, play.machine.received_event_id
    with pytest.raises((ConfigError, LocalProtocolError)):
        play.tell(name, *arguments, **options)
    assert before == (play.state, play.machine.deadline, play.machine.received_event_id)
