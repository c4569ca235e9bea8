"""Typed events: what is decoded, what becomes of what cannot be, and who hears of it."""

import asyncio
import json
import pickle
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, assert_type

import msgspec
import pytest
from pydantic import BaseModel, TypeAdapter

from sansio_sse import (
    Comment,
    Connected,
    LastEventIdChanged,
    Response,
    ServerSentEvent,
)
from sansio_sse.errors import ConfigError, EventDecodeError
from sansio_sse.typed import AsyncTyped, SyncTyped, typed

SECRET = "s3cr3t"


class Modelled(BaseModel):
    count: int


class Tick(msgspec.Struct):
    count: int


DECODERS: dict[str, tuple[Callable[[str], Any], Any]] = {
    "json": (json.loads, {"count": 1}),
    "pydantic": (TypeAdapter(Modelled).validate_json, Modelled(count=1)),
    "msgspec": (msgspec.json.Decoder(Tick).decode, Tick(1)),
}


def events(*data: str) -> list[ServerSentEvent]:
    return [ServerSentEvent(data=text) for text in data]


async def one_by_one(items: Iterable[object]) -> AsyncIterator[object]:
    for item in items:
        yield item


def all_of(how: str, items: Iterable[object], decoder: Callable[[str], Any], report: Any) -> Any:
    """Decode all items by one of the two ways; return what came, and how many did not."""
    if how == "plain":
        plain = typed(list(items), decoder, on_error=report)
        assert isinstance(plain, SyncTyped)
        return list(plain), plain.failures

    async def follow() -> Any:
        stream = typed(one_by_one(items), decoder, on_error=report)
        assert isinstance(stream, AsyncTyped)
        return [item async for item in stream], stream.failures

    return asyncio.run(follow())


both = pytest.mark.parametrize("how", ["plain", "async"])


@both
@pytest.mark.parametrize("name", DECODERS)
def test_data_becomes_what_it_stands_for(how: str, name: str) -> None:
    decoder, expected = DECODERS[name]
    errors: list[EventDecodeError] = []
    found, failures = all_of(how, events('{"count": 1}') * 2, decoder, errors.append)
    assert found == [expected, expected]
    assert (failures, errors) == (0, [])


@both
@pytest.mark.parametrize("name", DECODERS)
def test_what_cannot_be_decoded_is_reported_and_the_stream_goes_on(how: str, name: str) -> None:
    decoder, expected = DECODERS[name]
    wrong = ServerSentEvent("tick", f'{{"count": "{SECRET}', "7", None, True)
    errors: list[EventDecodeError] = []
    given = [*events('{"count": 1}'), wrong, wrong, *events('{"count": 1}')]
    found, failures = all_of(how, given, decoder, errors.append)
    assert found == [expected, expected]
    assert failures == len(errors) == 2
    for error in errors:
        assert error.event is wrong
        assert isinstance(error.cause, ValueError)
        assert (error.category, error.retryable) == ("protocol", False)
        assert str(error).startswith("event 'tick' (id '7') could not be decoded: ")
        assert str(error).endswith(type(error.cause).__name__)
        assert SECRET not in f"{error} {error!r}", "data has no business in a log"


@both
def test_what_is_no_event_is_left_out(how: str) -> None:
    others = [
        Connected(0, False, Response(200)),
        Comment("1"),
        LastEventIdChanged("1"),
    ]
    found, failures = all_of(how, [*others, *events("1"), *others, *events("2")], int, print)
    assert (found, failures) == ([1, 2], 0)


@both
def test_events_of_others_will_do(how: str) -> None:
    class Theirs:
        event, data, id = "message", "1", ""

    assert all_of(how, [Theirs()], int, print) == ([1], 0)


@both
def test_what_is_decoded_may_be_none_or_false(how: str) -> None:
    assert all_of(how, events("null", "false", "0"), json.loads, print) == ([None, False, 0], 0)


@both
def test_a_decoder_ends_nothing_however_it_fails(how: str) -> None:
    def decoder(data: str) -> str:
        raise {"stop": StopIteration, "async": StopAsyncIteration}.get(data, KeyError)(data)

    errors: list[EventDecodeError] = []
    assert all_of(how, events("stop", "async", "x"), decoder, errors.append) == ([], 3)
    assert [type(error.cause) for error in errors] == [StopIteration, StopAsyncIteration, KeyError]


@both
def test_an_interrupt_in_a_decoder_is_no_failure_of_the_event(how: str) -> None:
    def decoder(data: str) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        all_of(how, events("x"), decoder, print)


def test_a_reader_whose_report_raises_may_read_on() -> None:
    def report(error: EventDecodeError) -> None:
        raise error

    stream = typed(events("1", "x", "2"), int, on_error=report)
    assert next(stream) == 1
    with pytest.raises(EventDecodeError):
        next(stream)
    assert list(stream) == [2]
    assert stream.failures == 1


def test_a_message_is_of_one_line_and_not_long() -> None:
    errors: list[EventDecodeError] = []
    wrong = ServerSentEvent("x" * 100_000, "?", "\x1b[31m" * 100_000)
    assert list(typed([wrong], int, on_error=errors.append)) == []
    [error] = errors
    assert len(str(error)) < 600
    assert str(error).isprintable()


def test_an_error_can_be_sent_to_another_process() -> None:
    errors: list[EventDecodeError] = []
    list(typed(events("?"), int, on_error=errors.append))
    [error] = errors
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.event) == (str(error), error.event)
    assert type(copy) is EventDecodeError


class Heard:
    """Events that have a place for errors, as a connection has."""

    def __init__(self, *data: str) -> None:
        self.events = iter(events(*data))
        self.errors: list[EventDecodeError] = []

    def event_failed(self, error: EventDecodeError) -> None:
        self.errors.append(error)

    def __iter__(self) -> Any:
        return self.events


def test_without_a_report_of_its_own_the_stream_is_told() -> None:
    heard = Heard("1", "?", "2")
    assert list(typed(heard, int)) == [1, 2]
    assert [str(error.cause) for error in heard.errors] == [
        "invalid literal for int() with base 10: '?'"
    ]


def test_a_report_comes_before_the_stream_s_own() -> None:
    heard, errors = Heard("?"), list[EventDecodeError]()
    assert list(typed(heard, int, on_error=errors.append)) == []
    assert (len(errors), heard.errors) == (1, [])


@pytest.mark.parametrize("nobody", [tuple, iter, one_by_one])
def test_where_nobody_would_hear_it_is_refused(nobody: Callable[[Any], Any]) -> None:
    with pytest.raises(ConfigError, match="on_error"):
        typed(nobody([]), int)


def test_its_types_are_those_of_the_decoder() -> None:
    plain = typed(events("1"), int, on_error=print)
    assert_type(plain, SyncTyped[int])
    assert_type(next(plain), int)
    stream = typed(one_by_one(events("1")), Modelled.model_validate_json, on_error=print)
    assert_type(stream, AsyncTyped[Modelled])
    assert aiter(stream) is stream
    assert iter(plain) is plain
