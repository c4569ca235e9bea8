"""The way of bytes is written twice: layer by layer, and for speed in one go. Both are one."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driver_diary import HEAD, URL, Diary
from machine_play import configured
from sansio_sse import ConnectionMachine, Request, Response, ServerSentEvent, WireMachine
from sansio_sse.http1_body import CloseDelimitedBody
from sansio_sse.testing import describe_action

BLOCKS = st.sampled_from(
    [
        b"data: hello\n\n",
        b"event: delta\ndata: one\n\n",
        b"id: 7\ndata: two\n\n",
        b"id\ndata: three\n\n",
        b"data: a\ndata: b\n\n",
        b"retry: 100\n\n",
        b": a comment\n\n",
        b"data: \xff\n\n",
        b"data: " + b"x" * 80 + b"\n\n",  # too large
    ]
)
PIECES = st.lists(BLOCKS, max_size=12).flatmap(
    lambda blocks: st.lists(st.integers(1, 40), max_size=12).map(
        lambda sizes: cut(b"".join(blocks), sizes)
    )
)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces: list[bytes] = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [piece for piece in [*pieces, data] if piece]


def accepted(machine: ConnectionMachine) -> WireMachine:
    wire = WireMachine(machine)
    wire.connect(0.0)
    wire.transport_opened(1, 0.1)
    wire.bytes_sent(1, 0.2)
    return wire


@given(PIECES, st.lists(st.floats(0.0, 50.0), min_size=40, max_size=40), st.booleans())
def test_a_wire_counts_and_answers_as_its_connection_does(
    pieces: list[bytes], waits: list[float], until: bool
) -> None:
    options: dict[str, Any] = {"until": "two"} if until else {}
    config = configured(event=60)
    wire = accepted(ConnectionMachine(Request("GET", URL), config, **options))
    alone = ConnectionMachine(Request("GET", URL), config, **options)
    alone.connect(0.0)
    alone.transport_opened(1, 0.1)
    alone.request_sent(1, 0.2)
    wire.bytes_received(1, HEAD, 0.3)
    alone.response_received(1, Response(200, (("Content-Type", "text/event-stream"),)), 0.3)
    body = CloseDelimitedBody()
    now = 0.3
    for piece, wait in zip(pieces, waits, strict=False):
        now += wait
        answer = wire.bytes_received(1, piece, now)
        expected = alone.body_received(1, body.feed(piece), now)
        assert [a for a in answer if isinstance(a, ServerSentEvent)] == [
            a for a in expected if isinstance(a, ServerSentEvent)
        ]
        assert wire.state is alone.state
        assert (wire.deadline, wire.deadline_reason) == (alone.deadline, alone.deadline_reason)
        assert wire.connection.snapshot(now) == alone.snapshot(now)
        assert wire.connection.received_event_id == alone.received_event_id
        if alone.state.value != "connected":
            return


def follow(take: Callable[[Diary, bytes], None], pieces: Sequence[bytes], **options: Any) -> Any:
    happened: list[Any] = []
    callbacks = options.pop("callbacks")
    if callbacks:
        options["on_event"] = lambda _, event: happened.append(describe_action(event))
    connection = Diary(
        URL,
        on_change=lambda _, change: happened.append(describe_action(change)),
        on_error=lambda _, error: happened.append(repr(error)),
        **options,
    )
    connection._connect_now()
    connection.opened()
    take(connection, HEAD)
    for number, piece in enumerate(pieces):
        connection.time += 1.5
        if connection.state.value == "connected":
            take(connection, piece)
        if not callbacks and number % 3 == 2 and connection._buffer:
            event = connection._poll()
            assert event is not None
            happened.append(describe_action(event))
        happened.append((connection.done[:], connection.woken, connection.last_event_id))
    return happened, connection.metrics, list(connection._buffer or ())


@pytest.mark.parametrize("overflow", ["block", "drop_oldest", "error"])
@given(pieces=PIECES, size=st.integers(1, 5), callbacks=st.booleans())
def test_a_driver_does_the_same_in_one_function_or_three(
    overflow: str, pieces: list[bytes], size: int, callbacks: bool
) -> None:
    config = configured(event=60, buffer_size=size, overflow=overflow)

    def in_three(connection: Diary, data: bytes) -> None:
        connection._take(WireMachine.bytes_received, connection.transport, data)

    both = [
        follow(take, pieces, config=config, callbacks=callbacks)
        for take in (Diary.receives, in_three)
    ]
    assert both[0] == both[1]
