"""Profiles: which event is the last, where the cursor is, and how the rest is asked for."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from machine_play import URL, Play, S
from sansio_sse import (
    Connect,
    Connected,
    ConnectionLost,
    Disconnect,
    ErrorOccurred,
    Request,
    ScheduleReconnect,
    ServerSentEvent,
    StreamTruncated,
    encode_event,
)
from sansio_sse.errors import ConfigError
from sansio_sse.profiles import AG_UI, ANTHROPIC, MCP, OPENAI, PLAIN, Profile, ResumeCursor

KNOWN = {profile.name: profile for profile in (PLAIN, OPENAI, ANTHROPIC, AG_UI, MCP)}
BY_QUERY = ResumeCursor(field="seq", place="query", name="after")
BY_BODY = ResumeCursor(field="seq", place="body", name="after")
BY_HEADER = ResumeCursor(field="seq", name="X-After")
MINE = Profile(
    "mine",
    done=("bye",),
    terminal=("end",),
    errors=("failed",),
    terminal_fields=("result",),
    error_fields=("error",),
    cursor=BY_QUERY,
)


def event(data: Any = "", kind: str = "message") -> ServerSentEvent:
    return ServerSentEvent(kind, data if isinstance(data, str) else json.dumps(data))


# --- The last event ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "last"),
    [
        (OPENAI, event("[DONE]")),
        (OPENAI, event({"type": "response.completed", "response": {"error": None}})),
        (OPENAI, event({"type": "response.incomplete"})),
        (ANTHROPIC, event({"type": "message_stop"}, "message_stop")),
        (ANTHROPIC, event({"type": "message_stop"})),
        (AG_UI, event({"type": "RUN_FINISHED", "runId": "1"})),
        (MCP, event({"jsonrpc": "2.0", "id": 1, "result": {}})),
        (MCP, event({"jsonrpc": "2.0", "id": 1, "error": {"code": -32000}})),
        (MINE, event("bye")),
        (MINE, event("", "end")),
    ],
)
def test_a_profile_knows_the_last_event(profile: Profile, last: ServerSentEvent) -> None:
    assert profile.is_terminal(last)
    assert not profile.is_error(last)
    assert profile(last)


@pytest.mark.parametrize(
    ("profile", "report"),
    [
        (OPENAI, event({"error": {"message": "overloaded"}})),
        (OPENAI, event({"type": "error", "code": "x"}, "error")),
        (OPENAI, event({"type": "response.failed"})),
        (ANTHROPIC, event({"type": "error", "error": {"type": "overloaded_error"}}, "error")),
        (AG_UI, event({"type": "RUN_ERROR", "message": "no"})),
        (MINE, event("", "failed")),
    ],
)
def test_a_profile_knows_the_report_of_a_failure(profile: Profile, report: ServerSentEvent) -> None:
    assert profile.is_error(report)
    assert not profile.is_terminal(report)
    assert profile(report), "nothing comes behind it"


@pytest.mark.parametrize("profile", [OPENAI, ANTHROPIC, AG_UI, MCP, MINE], ids=lambda p: p.name)
@pytest.mark.parametrize(
    "other",
    [
        event(),
        event("DONE"),
        event(" [DONE]"),
        event("the string RUN_FINISHED, message_stop, bye"),
        event({"type": "content_block_delta", "delta": {"text": '"type": "message_stop"'}}),
        event({"delta": {"type": "message_stop", "error": 1, "result": 1}}),
        event({"type": ["message_stop"], "error": None, "result": None}),
        event({"choices": [{"delta": {"content": "[DONE]"}}]}),
        event({"text": "response.completed"}),
        event(["message_stop", "RUN_FINISHED", "result", "error"]),
        event(json.dumps({"type": "RUN_FINISHED"})[:-1]),
        event(json.dumps(json.dumps({"type": "RUN_FINISHED"}))),
        event({}, "ping"),
    ],
)
def test_whatever_else_looks_like_the_end_is_not_it(
    profile: Profile, other: ServerSentEvent
) -> None:
    assert not profile(other)


def test_nothing_is_known_of_a_plain_stream() -> None:
    for last in (event("[DONE]"), event({"error": 1}), event("", "error")):
        assert not PLAIN(last)


NAMES = ["type", "result", "error", "seq", "x"]
TYPES = ["message_stop", "RUN_FINISHED", "RUN_ERROR", "end", "failed", "error", "delta"]
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from([*TYPES, "é"])
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=12,
)
WRITERS: list[Callable[[Any], str]] = [
    json.dumps,
    lambda value: json.dumps(value, indent=1),
    lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")),
]
TEXTS = st.one_of(
    st.builds(lambda write, value: write(value), st.sampled_from(WRITERS), VALUES),
    st.text(),
    st.sampled_from(["[DONE]", "bye", *(f'{{"type":"{kind}"' for kind in TYPES)]),
)
EVENTS = st.builds(
    ServerSentEvent,
    st.sampled_from(["message", *TYPES]) | st.text(),
    TEXTS,
    st.text(max_size=3),
    st.none() | st.integers(0),
    st.booleans(),
)


def parsed(text: str) -> dict[Any, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


@pytest.mark.parametrize("profile", [*KNOWN.values(), MINE], ids=lambda p: p.name)
@given(given_event=EVENTS)
def test_the_rules_read_slowly_say_the_same(profile: Profile, given_event: ServerSentEvent) -> None:
    found = parsed(given_event.data)
    kinds = [given_event.event, found.get("type")]

    def has(types: tuple[str, ...], fields: tuple[str, ...]) -> bool:
        present = [name for name, value in found.items() if value is not None]
        return any(kind in types for kind in kinds if isinstance(kind, str)) or any(
            name in present for name in fields
        )

    terminal = given_event.data in profile.done or has(profile.terminal, profile.terminal_fields)
    error = has(profile.errors, profile.error_fields)
    assert profile.is_terminal(given_event) is terminal
    assert profile.is_error(given_event) is error
    assert profile(given_event) is (terminal or error)


# --- The cursor --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "cursor"),
    [
        (41, "41"),
        (0, "0"),
        (-1, "-1"),
        ("abc/é", "abc/é"),
        ("", ""),
        ("\x07", "\x07"),
        (True, None),
        (None, None),
        (1.5, None),
        ([1], None),
        ({"seq": 1}, None),
        ("a\nb", None),
        ("a\rb", None),
        ("a\0b", None),
        ("\ud800", None),
    ],
)
def test_a_cursor_is_a_string_or_a_number_that_can_be_sent(value: Any, cursor: str | None) -> None:
    assert BY_QUERY.read(event({"x": 1, "seq": value})) == cursor


def test_a_cursor_that_is_the_last_event_id_is_not_in_the_data() -> None:
    assert ResumeCursor().read(ServerSentEvent(data='{"id": "1"}', id="7")) is None


def request(**options: Any) -> Request:
    return Request("GET", "http://example.com/a?stream=true&x=%C3%A9", **options)


def test_without_a_cursor_the_request_is_what_it_was() -> None:
    for rule in (BY_QUERY, BY_BODY, BY_HEADER, MCP.cursor):
        asked = request()
        assert rule.resume(asked, "") is asked


def test_a_header_has_one_value_without_blanks_around_it() -> None:
    asked = BY_HEADER.resume(request(headers=(("x-after", "1"), ("X", "2"))), " 7\t")
    assert asked.headers == (("X", "2"), ("X-After", "7"))
    only_blanks = request()
    assert BY_HEADER.resume(only_blanks, " \t") is only_blanks


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "after=a%26b"),
        ("?", "after=a%26b"),
        ("?x=1", "x=1&after=a%26b"),
        ("?after=1&x=%20&after=2&y", "x=%20&y&after=a%26b"),
        ("?after&&before=1", "before=1&after=a%26b"),
        ("?%61fter=1&afterwards=2", "afterwards=2&after=a%26b"),
    ],
)
def test_a_parameter_stands_once_in_the_query(query: str, expected: str) -> None:
    asked = BY_QUERY.resume(Request("GET", f"http://example.com/a{query}"), "a&b")
    assert asked.url == f"http://example.com/a?{expected}"


@pytest.mark.parametrize(
    ("cursor", "written"),
    [
        ("41", 41),
        ("-1", -1),
        ("0", 0),
        ("007", "007"),
        ("1e3", "1e3"),
        ("٣", "٣"),
        ("abc", "abc"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_a_field_of_the_body_is_a_number_again_if_it_was_one(cursor: str, written: Any) -> None:
    asked = request(content='{"q":"é","after":1}'.encode())
    content = BY_BODY.resume(asked, cursor).content
    assert content is not None
    assert json.loads(content) == {"q": "é", "after": written}


def test_an_id_in_the_body_is_a_string() -> None:
    rule = ResumeCursor(place="body", name="after")
    assert rule.resume(request(), "41").content == b'{"after":"41"}'


def test_what_a_body_may_hold_it_may_hold_again() -> None:
    asked = request(content=b'{"q":"\\ud83d"}')
    assert BY_BODY.resume(asked, "1").content == b'{"q":"\\ud83d","after":1}'


def test_another_method_has_no_body() -> None:
    asked = Request(
        "POST",
        URL,
        (("Content-Type", "application/json"), ("Accept", "x"), ("content-language", "en")),
        b"{}",
    )
    resumed = MCP.cursor.resume(asked, "7")
    assert (resumed.method, resumed.content) == ("GET", None)
    assert resumed.headers == (("Accept", "x"), ("Last-Event-ID", "7"))
    assert MCP.cursor.resume(Request("GET", URL, (("Content-X", "1"),)), "7").headers == (
        ("Content-X", "1"),
        ("Last-Event-ID", "7"),
    )


@pytest.mark.parametrize(
    ("rule", "promises"),
    [
        (ResumeCursor(), False),
        (BY_QUERY, False),
        (BY_BODY, True),
        (ResumeCursor(method="GET"), True),
        (ResumeCursor(place="query", method="HEAD"), True),
        (ResumeCursor(method="PUT"), False),
    ],
)
def test_a_rule_says_whether_it_asks_for_the_rest_alone(rule: ResumeCursor, promises: bool) -> None:
    assert rule.promises is promises


@pytest.mark.parametrize(
    "wrong",
    [
        {"place": "cookie"},
        {"name": ""},
        {"name": "X After"},
        {"name": "X\r\nY"},
        {"place": "body", "method": "GET"},
        {"method": ""},
        {"method": "G T"},
    ],
)
def test_a_rule_that_cannot_be_followed_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        ResumeCursor(**wrong)


CURSORS = st.text(min_size=1, max_size=20) | st.integers()


@pytest.mark.parametrize("rule", [BY_QUERY, BY_BODY, BY_HEADER], ids=lambda rule: rule.place)
@given(value=CURSORS, text=EVENTS)
def test_a_cursor_that_was_read_can_be_sent(
    rule: ResumeCursor, value: str | int, text: ServerSentEvent
) -> None:
    for given_event in (event({"seq": value}), text):
        cursor = rule.read(given_event)
        asked = rule.resume(request(content=b'{"q":1}'), cursor or "")
        if not cursor:
            assert asked == request(content=b'{"q":1}')
        elif rule.place == "query":
            assert parse_qs(urlsplit(asked.url).query, keep_blank_values=True)["after"] == [cursor]
        elif rule.place == "header":
            assert asked.header("X-After") == (cursor.strip(" \t") or None)
        else:
            assert str(json.loads(asked.content or b"")["after"]) == cursor


# --- Hostile data ------------------------------------------------------------------------------

HOSTILE = {
    "deep lists": '{"type": ' + "[" * 200_000,
    "deep objects": '{"type":"seq","error":' * 50_000,
    "deep and whole": '{"seq":' * 5000 + "1" + "}" * 5000,
    "a huge number": '{"seq": ' + "9" * 5000 + "}",
    "a huge number as text": '{"seq": "' + "9" * 100_000 + '"}',
    "a huge text": '{"type": "' + "x" * 1_000_000 + '", "error": null}',
    "many fields": "{" + ",".join(f'"seq{n}": {n}' for n in range(50_000)) + ', "error": null}',
    "the same field": '{"type": "end", "type": 1, "seq": 1, "seq": null}',
    "no object": '["seq", "type", "error", "result", "message_stop", "RUN_FINISHED"]',
    "a string": '"seq"',
    "not a number": '{"seq": NaN, "error": null, "type": Infinity}',
    "surrogates": '{"seq": "\\ud800", "type": "\\udfff"}',
    "controls": '{"seq": "\x01", "type": "end"}',
    "nothing": "",
    "no JSON": '"type": "RUN_FINISHED", "error"',
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_hostile_data_is_no_end_and_ends_no_program(data: str) -> None:
    hostile = ServerSentEvent(data=data)
    for profile in (*KNOWN.values(), MINE):
        assert profile(hostile) is False
    for rule in (BY_QUERY, BY_BODY, BY_HEADER):
        cursor = rule.read(hostile)
        assert cursor is None or set(cursor) == {"9"}
        rule.resume(request(), cursor or "")


# --- In a stream -------------------------------------------------------------------------------


def following(profile: Profile, method: str = "GET", **options: Any) -> Play:
    content = b'{"q":1}' if method == "POST" else None
    headers = (("Content-Type", "application/json"),) if content else ()
    machine = {"until": profile} | options.pop("machine", {})
    return Play(method=method, headers=headers, content=content, machine=machine, **options)


def said(value: Any, kind: str | None = None, id: str | None = None) -> bytes:
    return encode_event(value if isinstance(value, str) else json.dumps(value), event=kind, id=id)


def resumed(play: Play) -> Request:
    """Break the stream; return the request for the rest."""
    play.lost()
    assert play.state is S.RECONNECTING
    [connect] = play.due()
    assert isinstance(connect, Connect)
    return connect.request


def mine(cursor: ResumeCursor) -> Profile:
    return Profile("mine", terminal=("end",), cursor=cursor)


def test_the_last_event_id_is_sent_where_nothing_else_is_said() -> None:
    play = following(ANTHROPIC).accepted(body=said({"type": "ping"}, "ping", id="7"))
    assert resumed(play).header("Last-Event-ID") == "7"


def test_a_cursor_in_the_data_is_sent_in_a_header() -> None:
    play = following(mine(BY_HEADER)).accepted(body=said({"seq": 1}, id="id") + said({"seq": 2}))
    asked = resumed(play)
    assert asked.header("X-After") == "2"
    assert asked.header("Last-Event-ID") is None
    assert play.machine.received_event_id == "2"


def test_a_cursor_in_the_data_is_sent_in_the_query_and_stands_there_once() -> None:
    play = following(mine(BY_QUERY)).accepted(body=said({"seq": 1}))
    assert resumed(play).url == f"{URL}?after=1"
    play.accepted(body=said({"seq": 2}) + said({"no": "cursor"}))
    assert resumed(play).url == f"{URL}?after=2"


def test_a_cursor_that_cannot_be_sent_leaves_the_one_before() -> None:
    play = following(mine(BY_QUERY)).accepted(body=said({"seq": 1}) + said({"seq": "\ud800"}))
    assert resumed(play).url == f"{URL}?after=1"


def test_a_cursor_to_begin_with_is_sent_where_it_belongs() -> None:
    play = following(mine(BY_QUERY), machine={"last_event_id": "5", "include": ["connected"]})
    play.connect()
    assert play.request.url == f"{URL}?after=5"
    play.accepted()
    [connected] = play.said(Connected)
    assert connected.resumed
    play.tell("disconnect")
    play.connect()
    assert play.request.url == f"{URL}?after=5"
    [again] = [one for one in play.machine.restart(play.now, "6") if isinstance(one, Connect)]
    assert again.request.url == f"{URL}?after=6"


@pytest.mark.parametrize("cursor", ["", "5"])
@pytest.mark.parametrize("rule", [BY_QUERY, BY_BODY, BY_HEADER], ids=lambda rule: rule.place)
def test_a_stream_is_resumed_if_a_cursor_was_sent(rule: ResumeCursor, cursor: str) -> None:
    play = following(mine(rule), machine={"last_event_id": cursor, "include": ["connected"]})
    [connected] = play.accepted().said(Connected)
    assert connected.resumed is (cursor != "")


def test_a_post_goes_on_with_its_cursor_in_the_body() -> None:
    play = following(mine(BY_BODY), "POST").accepted(body=said({"seq": 41}))
    asked = resumed(play)
    assert asked.method == "POST"
    assert json.loads(asked.content or b"") == {"q": 1, "after": 41}


def test_a_post_goes_on_as_a_get_where_that_is_the_rule() -> None:
    play = following(MCP, "POST").accepted(body=said({"method": "progress"}, id="7"))
    asked = resumed(play)
    assert (asked.method, asked.content) == ("GET", None)
    assert asked.header("Last-Event-ID") == "7"
    assert asked.header("Content-Type") is None
    play.accepted(body=said({"id": 1, "result": {}}))
    assert play.state is S.DISCONNECTED


def test_a_post_is_not_repeated_because_a_cursor_stands_in_its_query() -> None:
    play = following(mine(BY_QUERY), "POST").accepted(body=said({"seq": 1}))
    play.tell("request_sent", play.stream)
    play.lost()
    assert play.state is S.ERROR
    assert isinstance(play.error, StreamTruncated)


def test_a_get_is_repeated_with_a_cursor_in_its_query() -> None:
    play = following(mine(BY_QUERY)).accepted(body=said({"seq": 1}))
    play.tell("request_sent", play.stream)
    assert resumed(play).url == f"{URL}?after=1"


def test_a_post_is_not_repeated_before_it_gave_a_cursor() -> None:
    for rule in (BY_BODY, ResumeCursor(method="GET")):
        play = following(mine(rule), "POST").accepted(body=said("hello"))
        play.lost()
        assert play.state is S.ERROR


@pytest.mark.parametrize(
    ("profile", "last"),
    [
        (OPENAI, said("[DONE]")),
        (OPENAI, said({"error": {"message": "overloaded"}})),
        (ANTHROPIC, said({"type": "message_stop"}, "message_stop")),
        (ANTHROPIC, said({"type": "error"}, "error")),
        (AG_UI, said({"type": "RUN_FINISHED"})),
        (AG_UI, said({"type": "RUN_ERROR"})),
        (MCP, said({"id": 1, "result": {}})),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_last_event_is_given_and_ends_the_stream(
    profile: Profile, last: bytes, method: str
) -> None:
    play = following(profile, method).accepted()
    play.body(said("hello") + last + said("beyond"))
    assert len(play.events) == 2
    assert play.events[0] == "hello"
    assert play.said(Disconnect) == [Disconnect(play.stream)]
    assert play.changes == [S.DISCONNECTED]


@pytest.mark.parametrize("profile", [OPENAI, ANTHROPIC, AG_UI, MCP], ids=lambda p: p.name)
@pytest.mark.parametrize("how", ["end", "lost"])
def test_an_end_without_the_last_event_is_a_truncation(profile: Profile, how: str) -> None:
    play = following(profile, "POST").accepted(body=said("hello"))
    getattr(play, how)()
    assert isinstance(play.error, StreamTruncated)
    assert play.state is S.ERROR, "it may not be asked again"


@pytest.mark.parametrize("profile", [OPENAI, ANTHROPIC, AG_UI, MCP], ids=lambda p: p.name)
@pytest.mark.parametrize("how", ["end", "lost"])
def test_an_answer_does_not_begin_anew_once_a_part_of_it_was_given(
    profile: Profile, how: str
) -> None:
    play = following(profile).accepted(body=said("hello"))
    getattr(play, how)()
    assert isinstance(play.error, StreamTruncated)
    assert play.state is S.ERROR
    play = following(profile).accepted(body=b": nothing yet\n")
    getattr(play, how)()
    assert play.said(ScheduleReconnect)
    play = following(profile, replay="always").accepted(body=said("hello"))
    getattr(play, how)()
    assert play.said(ScheduleReconnect)


@pytest.mark.parametrize("how", ["end", "lost"])
def test_who_waits_for_something_in_a_live_stream_goes_on(how: str) -> None:
    play = Play(machine={"until": "stop"}).accepted(body=said("hello"))
    getattr(play, how)()
    assert play.said(ScheduleReconnect)


def test_a_plain_stream_that_ends_well_has_ended() -> None:
    play = following(PLAIN, "POST").accepted(body=said("hello"))
    play.end()
    assert play.changes == [S.DISCONNECTED]
    assert not play.said(ErrorOccurred)


def test_a_stream_without_a_profile_goes_on() -> None:
    play = Play().accepted(body=said("[DONE]") + said({"error": 1}))
    assert play.state is S.CONNECTED
    play.end()
    assert type(play.error) is ConnectionLost


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_hostile_data_does_not_disturb_the_stream(data: str) -> None:
    for rule in (BY_QUERY, BY_BODY, BY_HEADER):
        play = following(Profile("mine", terminal=("end",), errors=("error",), cursor=rule))
        play.accepted(body=said({"seq": 1}) + said(data) + said("still here"))
        assert play.events[-1] == "still here"
        resumed(play)


def test_what_a_full_buffer_refuses_does_not_move_a_cursor_of_the_data() -> None:
    profile = Profile(
        "mine", done=("end",), cursor=ResumeCursor(field="n", place="query", name="n")
    )
    play = following(profile).accepted(body=said({"n": 7}))
    play.tell("events_refused", "")
    assert play.machine.received_event_id == "7"
