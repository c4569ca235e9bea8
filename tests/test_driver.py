"""What every driver shares, shown by the smallest of drivers."""

import weakref
from typing import Any

import pytest

from driver_diary import HEAD, URL, Diary, S, diary, events, result, state_of, step, streaming
from sansio_sse import (
    BufferOverflow,
    Comment,
    ConfigError,
    Connected,
    ConnectError,
    ConnectionClosed,
    ConnectionLost,
    Event,
    EventDecodeError,
    ExchangeMachine,
    HTTPStatusError,
    KeepTransport,
    LocalProtocolError,
    Origin,
    PostResponse,
    Request,
    RequestAdmission,
    Response,
    ServerSentEvent,
    SSEError,
    StateChanged,
    WireMachine,
)
from sansio_sse.driver import ConnectionDriver
from sansio_sse.machine_driver import Watcher
from sansio_sse.testing import describe_action

# --- The order ---------------------------------------------------------------------------------


def test_an_input_born_while_performing_waits_its_turn() -> None:
    connection = diary()
    connection.at_once = True
    changes: list[tuple[str, int]] = []

    def on_change(connection: Diary, change: StateChanged) -> None:
        changes.append((change.new.value, len(connection.done)))

    connection = Diary(URL, on_change=on_change)
    connection.at_once = True
    connection._connect_now()
    assert connection.done == [("open", 1), ("send", 1), ("arm", 60.0)]
    assert changes == [("connecting", 0)]


def test_all_actions_of_one_input_come_before_the_next_input() -> None:
    class Breaks(Diary):
        def _send(self, transport: int, data: bytes) -> None:
            self.done.append(("send", transport))
            self._take(WireMachine.transport_failed, transport, ConnectionResetError("reset"))
            self.done.append(("sent", transport))
            assert self.state is S.CONNECTING

    connection = Breaks(URL)
    connection._connect_now()
    connection._take(WireMachine.transport_opened, 1)
    assert connection.done[-3:] == [("send", 1), ("sent", 1), ("arm", pytest.approx(0.075))]
    assert connection.state is S.RECONNECTING


def test_events_and_changes_are_performed_in_their_order() -> None:
    seen: list[Any] = []
    connection = streaming(
        on_event=lambda connection, event: seen.append(event.data),
        on_change=lambda connection, change: seen.append(change.new),
        on_end="finish",
    )
    connection.receives(events(1, 2))
    connection._take(WireMachine.end_received, 1)
    assert seen == [S.CONNECTING, S.CONNECTED, "1", "2", S.DISCONNECTED]


def test_events_between_other_actions_keep_their_place() -> None:
    seen: list[Any] = []
    connection = diary(
        on_event=lambda connection, event: seen.append(type(event).__name__),
        on_change=lambda connection, change: seen.append(change.new.value),
        include=["connected", "comments"],
        until="1",
    )
    connection._connect_now()
    connection.opened()
    connection.receives(HEAD + b": hi\n" + events(1))
    assert seen == [
        "connecting",
        "connected",
        "Connected",
        "Comment",
        "ServerSentEvent",
        "disconnected",
    ]


def test_a_queued_command_which_is_out_of_order_by_then_is_told_to_on_error() -> None:
    told: list[BaseException] = []

    def on_change(connection: Diary, change: StateChanged) -> None:
        if change.new is S.CONNECTED:
            connection._connect_now()

    streaming(on_change=on_change, on_error=lambda connection, error: told.append(error))
    [error] = told
    assert isinstance(error, LocalProtocolError)


def test_misuse_raises_at_the_caller_and_leaves_the_driver_sound() -> None:
    connection = streaming()
    with pytest.raises(LocalProtocolError):
        connection._connect_now()
    assert connection._poll_entry()
    connection.receives(events(1))
    assert connection.read() == ["1"]


# --- The deadline ------------------------------------------------------------------------------


def test_the_deadline_is_armed_when_it_comes_nearer_and_not_when_it_goes_away() -> None:
    connection = streaming(idle=5)
    assert connection.done[-1] == ("arm", 5.0)
    connection.done.clear()
    for _ in range(5):
        connection.time += 1
        connection.receives(events(1))
    assert connection.done == [], "data costs no timer"
    connection._deadline_reached()
    assert connection.armed_at == 10.0
    connection.time = 9.99
    connection._take(WireMachine.transport_failed, 1, ConnectionResetError())
    assert connection.armed_at == 10.0, "a tick too early is harmless"
    connection.due()
    assert connection.armed_at == pytest.approx(10.09)


def test_a_deadline_that_goes_away_is_disarmed() -> None:
    connection = streaming()
    assert connection.armed_at is not None
    connection._disconnect_now()
    assert connection.armed_at is None
    connection._deadline_reached()
    assert connection.state is S.DISCONNECTED
    connection.done.clear()
    connection._disconnect_now()
    assert connection.done == []


def test_the_deadline_is_armed_also_when_a_callback_is_interrupted() -> None:
    def on_change(connection: Diary, change: StateChanged) -> None:
        if change.new is S.RECONNECTING:
            raise KeyboardInterrupt

    connection = streaming(on_change=on_change)
    with pytest.raises(KeyboardInterrupt):
        connection.fails()
    assert connection.armed_at == connection._machine.deadline == connection._machine.reconnect_at


@pytest.mark.parametrize("way", ["the way of bytes", "the way of all other news"])
def test_what_came_while_a_callback_was_interrupted_is_taken_all_the_same(way: str) -> None:
    def on_event(connection: Diary, event: object) -> None:
        connection._take(WireMachine.end_received, connection.transport)
        raise KeyboardInterrupt

    connection = streaming(on_event=on_event)

    def receive(data: bytes) -> None:
        if way == "the way of bytes":
            connection.receives(data)
        else:
            connection._take(WireMachine.bytes_received, connection.transport, data)

    with pytest.raises(KeyboardInterrupt):
        receive(events(1))
    assert connection.state is S.RECONNECTING


def test_a_timer_that_fires_a_hair_early_counts_as_in_time() -> None:
    connection = diary()
    connection._connect_now()
    assert connection.armed_at == 10.0
    connection.time = 9.9999
    connection._deadline_reached()
    assert connection.state is S.RECONNECTING


def test_a_timer_that_fires_far_too_early_is_armed_again() -> None:
    connection = diary()
    connection._connect_now()
    connection.done.clear()
    connection.time = 5.0
    connection._deadline_reached()
    assert connection.done == [("arm", 10.0)]
    assert connection.state is S.CONNECTING


# --- The buffer --------------------------------------------------------------------------------


def test_events_wait_for_a_reader() -> None:
    connection = streaming(events(1, 2))
    connection.receives(events(3))
    assert connection.read() == ["1", "2", "3"]
    assert connection._poll() is None


def test_a_full_buffer_stops_reading_and_half_a_buffer_reads_again() -> None:
    connection = streaming(buffer_size=4)
    for number in (1, 2, 3):
        connection.receives(events(number))
    assert ("stop reading", 1) not in connection.done
    connection.receives(events(4, 5, 6))  # at most the size plus one read
    assert connection.done[-2:] == [("stop reading", 1), ("arm", None)]
    connection.receives(events(7))  # was on its way
    assert connection.done.count(("stop reading", 1)) == 1
    for _ in range(4):
        assert connection._poll()
        assert ("read", 1) not in connection.done
    assert connection._poll()
    assert ("read", 1) in connection.done
    assert connection.read() == ["6", "7"]
    assert connection.done.count(("read", 1)) == 1
    assert connection.dropped == 0


def test_a_full_buffer_of_one_reads_again_when_it_is_empty() -> None:
    connection = streaming(buffer_size=1)
    connection.receives(events(1))
    assert ("stop reading", 1) in connection.done
    assert connection.read() == ["1"]
    assert ("read", 1) in connection.done


def test_a_buffer_stays_full_over_a_reconnect() -> None:
    connection = streaming(events(1, 2), buffer_size=2)
    connection._take(WireMachine.transport_failed, 1, ConnectionResetError())
    connection.due()
    connection.opened()
    connection.receives(HEAD)
    assert ("stop reading", 2) in connection.done
    connection.read()
    assert ("read", 2) in connection.done


def test_the_oldest_make_room_and_are_counted_and_told() -> None:
    told: list[BaseException] = []
    connection = streaming(
        buffer_size=3, overflow="drop_oldest", on_error=lambda connection, error: told.append(error)
    )
    watcher = connection._watch(Watcher(SSEError))
    connection.receives(events(1, 2, 3))
    connection.receives(events(4))
    connection.receives(events(5, 6))
    assert connection.dropped == 3
    assert connection.metrics.errors == {"usage": 2}
    assert [str(error) for error in told] == [
        "the buffer of 3 events was full: 1 event was dropped",
        "the buffer of 3 events was full: 2 events were dropped",
    ]
    assert list(watcher.items) == told
    assert connection.read() == ["4", "5", "6"]
    assert connection.last_event_id == "6"


def test_a_read_larger_than_the_buffer_replaces_all_of_it() -> None:
    connection = streaming(buffer_size=2, overflow="drop_oldest")
    connection.receives(events(1, 2, 3))
    assert connection.dropped == 0, "what overflows is judged by what was left before the read"
    connection.receives(events(4, 5, 6, 7))
    assert connection.dropped == 3
    assert connection.read() == ["4", "5", "6", "7"]


def test_overflow_can_be_an_error_that_advances_no_cursor() -> None:
    connection = streaming(buffer_size=2, overflow="error")
    connection.receives(events(1, 2, 3))
    connection.receives(events(4, 5))
    assert connection.state is S.ERROR
    assert connection.received_event_id == "3"
    assert connection.dropped == 2
    assert connection._poll()
    assert connection.last_event_id == "1"
    assert connection._poll()
    assert connection._poll()
    for _ in range(2):
        with pytest.raises(BufferOverflow):
            connection._poll()
    assert connection.last_event_id == "3"


def test_overflow_of_items_without_ids_falls_back_on_what_was_delivered() -> None:
    connection = streaming(
        events(1), buffer_size=1, overflow="error", include=["comments"], last_event_id="0"
    )
    connection.read()
    connection.receives(b": only a comment\n")
    connection.receives(events(2))
    assert connection.received_event_id == "1"


def test_overflow_in_the_last_read_of_a_stream_is_not_skipped() -> None:
    connection = streaming(events(1), buffer_size=1, overflow="error")
    connection._busy = True  # two reads that arrive while something else is performed
    connection.receives(events(2))
    connection._take(WireMachine.end_received, 1)
    connection._busy = False
    connection._take(WireMachine.tick)
    assert connection.state is S.ERROR
    assert connection.received_event_id == "1"


def test_overflow_in_the_read_that_ends_a_stream_well_is_not_taken_for_a_good_end() -> None:
    connection = streaming(events(1), buffer_size=1, overflow="error", until="3")
    connection.receives(events(2, 3))
    assert connection.state is S.DISCONNECTED
    assert connection._poll() is not None
    for _ in range(2):
        with pytest.raises(BufferOverflow):
            connection._poll()
    assert connection.received_event_id == connection.last_event_id == "1"
    connection._connect_now()
    assert connection._poll() is None


def test_dropped_comments_are_no_dropped_events() -> None:
    told: list[BaseException] = []
    connection = streaming(
        buffer_size=1,
        overflow="drop_oldest",
        include=["comments"],
        on_error=lambda connection, error: told.append(error),
    )
    connection.receives(b": a\n")
    connection.receives(b": b\n")
    assert (told, connection.dropped) == ([], 0)


def test_what_is_told_of_dropped_events_has_its_context() -> None:
    told: list[Any] = []
    connection = streaming(
        events(1),
        buffer_size=1,
        overflow="drop_oldest",
        on_error=lambda connection, error: told.append(error),
    )
    connection.receives(events(2))
    [error] = told
    assert (error.url, error.events_received, error.request_sent) == (URL, 2, True)


# --- What has been delivered -------------------------------------------------------------------


def test_received_is_ahead_of_delivered() -> None:
    connection = streaming(events(1, 2, 3))
    assert (connection.received_event_id, connection.last_event_id) == ("3", "")
    connection._poll()
    assert connection.last_event_id == "1"
    connection.read()
    assert connection.last_event_id == "3"
    connection.receives(b"id: 9\n\n")
    assert connection.last_event_id == "9", "an id without data has nothing to be delivered"


def test_a_callback_sees_the_cursor_of_what_it_was_given() -> None:
    seen: list[tuple[str, str]] = []

    def on_event(connection: Diary, event: Event) -> None:
        seen.append((connection.last_event_id, connection.received_event_id))

    streaming(events(1, 2), on_event=on_event)
    assert seen == [("1", "2"), ("2", "2")]


def test_a_change_before_the_events_of_the_same_read_is_before_their_cursor() -> None:
    seen: list[str] = []
    streaming(events(1), on_change=lambda connection, change: seen.append(connection.last_event_id))
    assert seen == ["", ""]


def test_the_cursor_does_not_move_any_more_after_close() -> None:
    connection = streaming(events(1))
    connection.read()
    connection.receives(b"id: 2\n\n")
    connection.close()
    assert connection.last_event_id == "2"
    connection.receives(events(3))
    connection.turn()
    assert connection.last_event_id == "2"
    connection = streaming(events(1, 2))
    connection._poll()
    connection.close()
    connection.turn()
    assert connection.last_event_id == "1"


# --- Callbacks ---------------------------------------------------------------------------------


def test_events_for_a_callback_cannot_be_read_as_well() -> None:
    connection = streaming(events(1), on_event=lambda connection, event: None)
    with pytest.raises(LocalProtocolError, match="on_event"):
        connection._poll()


def test_what_a_callback_raises_goes_to_on_error_and_the_stream_lives() -> None:
    told: list[BaseException] = []

    def on_event(connection: Diary, event: ServerSentEvent) -> None:
        raise ValueError(event.data)

    connection = streaming(
        events(1, 2), on_event=on_event, on_error=lambda connection, error: told.append(error)
    )
    assert [str(error) for error in told] == ["1", "2"]
    assert connection.state is S.CONNECTED
    assert not connection.raised


@pytest.mark.parametrize("error", [ValueError("mine"), ConfigError("of theirs")])
def test_what_nobody_takes_goes_to_the_loop(error: Exception) -> None:
    def raises(connection: Diary, change: Any) -> None:
        raise error

    connection = streaming(events(1), on_event=raises)
    assert connection.raised == [error]
    connection = diary(on_change=raises)
    connection._connect_now()
    assert connection.raised == [error]
    assert connection.state is S.CONNECTING


def test_what_on_error_raises_goes_to_the_loop() -> None:
    def on_error(connection: Diary, error: BaseException) -> None:
        raise ValueError("worse")

    connection = diary(on_error=on_error)
    connection._connect_now()
    connection.fails()
    assert [str(error) for error in connection.raised] == ["worse"]


def test_errors_of_the_stream_go_to_on_error_alone() -> None:
    told: list[BaseException] = []
    connection = diary(on_error=lambda connection, error: told.append(error))
    connection._connect_now()
    connection.fails()
    assert isinstance(told[0], ConnectError)
    connection = diary()
    connection._connect_now()
    connection.fails()
    assert connection.raised == []


# --- Closing -----------------------------------------------------------------------------------


def test_close_stops_delivery_at_once_and_closes_in_a_turn() -> None:
    connection = streaming(events(1, 2))
    connection.close()
    assert state_of(connection) is S.CONNECTED
    with pytest.raises(ConnectionClosed):
        connection._poll()
    connection.receives(events(3))
    woken = connection.woken
    connection.turn()
    assert connection.state is S.CLOSED
    assert connection.woken > woken
    assert connection.done[-2:] == [("drop", 1), ("arm", None)]
    assert connection.dropped == 3


def test_close_is_idempotent() -> None:
    connection = streaming(events(1))
    for _ in range(2):
        connection.close()
        connection.close()
        connection.turn()
    assert connection.dropped == 1
    assert connection.done.count(("drop", 1)) == 1


def test_close_in_the_middle_of_a_batch_ends_it() -> None:
    seen: list[str] = []

    def on_event(connection: Diary, event: ServerSentEvent) -> None:
        seen.append(event.data)
        if event.data == "2":
            connection.close()

    connection = streaming(events(1, 2, 3, 4), on_event=on_event)
    assert seen == ["1", "2"]
    assert connection.dropped == 2
    assert connection.last_event_id == "2"
    connection.turn()
    assert connection.state is S.CLOSED


def test_close_before_connect_closes() -> None:
    connection = diary()
    connection.close()
    connection.turn()
    assert connection.state is S.CLOSED


def test_buffered_events_come_before_the_end() -> None:
    connection = streaming(events(1, 2))
    connection.disconnect()
    assert state_of(connection) is S.CONNECTED
    connection.turn()
    assert connection.state is S.DISCONNECTED
    assert connection.read_to_the_end() == ["1", "2"]


def test_buffered_events_come_before_the_error() -> None:
    connection = streaming(events(1), retries=False)
    connection._take(WireMachine.transport_failed, 1, ConnectionResetError())
    assert connection._poll()
    raised = []
    for _ in range(2):
        with pytest.raises(ConnectionLost) as caught:
            connection._poll()
        raised.append((caught.value, len(caught.traceback)))
    assert raised[0] == raised[1], "the same error, and it does not grow"


def test_buffered_events_come_before_a_stop() -> None:
    connection = streaming(events(1))
    connection._take(WireMachine.transport_failed, 1, ConnectionResetError())
    connection.due()
    connection.opened()
    connection.receives(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert connection.state is S.CLOSED
    assert connection.read_to_the_end() == ["1"]


def test_reading_before_connecting_is_out_of_order() -> None:
    with pytest.raises(LocalProtocolError, match="not connected"):
        diary()._poll()


# --- Restarting --------------------------------------------------------------------------------


def test_restart_keeps_buffer_and_cursor() -> None:
    connection = streaming(events(1, 2))
    connection.restart()
    connection.turn()
    assert connection.state is S.RECONNECTING
    assert connection.read() == ["1", "2"]
    assert connection.dropped == 0


def test_restart_with_a_cursor_drops_the_buffer_at_once() -> None:
    connection = streaming(events(1, 2), buffer_size=2)
    connection._poll()
    connection.restart("5")
    assert connection._poll() is None, "what is buffered belongs to the old cursor"
    connection.receives(events(3))
    connection.turn()
    assert connection.last_event_id == connection.received_event_id == "5"
    assert connection.dropped == 2
    connection.opened()
    connection.receives(HEAD + events(6))
    assert connection.done.count(("stop reading", 2)) == 0, "an empty buffer reads"
    assert connection.read() == ["6"]


def test_what_comes_before_a_restart_is_done_counts_as_delivered_to_nobody() -> None:
    connection = streaming(events(1))
    connection.read()
    connection.restart("0")
    connection.receives(events(2))
    assert connection.last_event_id == "1"
    connection.close()
    connection.turn()
    assert connection.dropped == 1


def test_restart_in_the_middle_of_a_batch_ends_it() -> None:
    seen: list[str] = []

    def on_event(connection: Diary, event: ServerSentEvent) -> None:
        seen.append(event.data)
        connection.restart("0")

    connection = streaming(events(1, 2), on_event=on_event)
    assert seen == ["1"]
    connection.turn()
    assert connection.received_event_id == "0"


@pytest.mark.parametrize("ended", ["error", "disconnected"])
def test_a_reader_may_wait_for_what_restart_will_bring(ended: str) -> None:
    connection = streaming()
    if ended == "error":
        connection._take(WireMachine.events_refused, "")
    else:
        connection._disconnect_now()
    connection.restart()
    assert connection._poll() is None
    waiting = connection._waiting_for(S.CONNECTED, None)
    step(waiting)
    connection.turn()
    assert connection.state is S.CONNECTING
    connection.opened()
    connection.receives(HEAD + events(1))
    result(waiting)
    assert connection.read() == ["1"]


def test_restart_that_cannot_be_is_refused_at_the_call() -> None:
    connection = diary()
    with pytest.raises(LocalProtocolError, match="not connected"):
        connection.restart()
    connection = streaming()
    with pytest.raises(ConfigError):
        connection.restart("a\nb")
    connection.close()
    with pytest.raises(LocalProtocolError, match="closed"):
        connection.restart()
    connection.turn()
    with pytest.raises(LocalProtocolError, match="closed"):
        connection.restart()


def test_restart_overtaken_by_a_close_does_nothing() -> None:
    connection = streaming()
    connection.restart()
    connection._take(WireMachine.close)
    connection.turn()
    assert connection.state is S.CLOSED


# --- Entering ----------------------------------------------------------------------------------


def test_entering_lasts_until_the_first_acceptance() -> None:
    connection = diary()
    connection._connect_now()
    waiting = connection._entering()
    assert step(waiting) is None
    connection.fails()
    step(waiting)
    connection.due()
    connection.opened()
    connection.receives(HEAD)
    result(waiting)


def test_entering_is_latched_even_if_all_came_in_one_read() -> None:
    connection = diary(on_end="finish")
    connection._connect_now()
    connection.opened()
    sized = HEAD.replace(b"\r\n\r\n", b"\r\nContent-Length: 15\r\n\r\n")
    connection.receives(sized + events(1))
    assert connection.state is S.DISCONNECTED
    result(connection._entering())
    assert connection.read_to_the_end() == ["1"]


def test_entering_raises_what_ended_it() -> None:
    connection = diary()
    connection._connect_now()
    connection.opened()
    connection.receives(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(HTTPStatusError):
        connection._poll_entry()
    connection = diary()
    connection._connect_now()
    connection.disconnect()
    connection.turn()
    with pytest.raises(ConnectionClosed, match="disconnected"):
        connection._poll_entry()
    connection = diary()
    connection._connect_now()
    connection.close()
    with pytest.raises(ConnectionClosed, match="closed"):
        connection._poll_entry()


def test_a_server_that_says_stop_lets_one_enter() -> None:
    connection = diary()
    connection._connect_now()
    connection.opened()
    connection.receives(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert connection._poll_entry()
    assert connection.read_to_the_end() == []


def test_a_second_connect_enters_anew() -> None:
    connection = streaming()
    connection._disconnect_now()
    connection._connect_now()
    assert not connection._poll_entry()
    with pytest.raises(LocalProtocolError):
        connection._connect_now()
    assert not connection._poll_entry()


def test_connecting_comes_after_the_commands_before_it() -> None:
    connection = streaming()
    connection.disconnect()
    waiting = connection._connecting()
    step(waiting)
    assert state_of(connection) is S.CONNECTED
    connection.turn()
    step(waiting)
    assert connection.state is S.CONNECTING
    connection.opened()
    connection.receives(HEAD)
    result(waiting)


# --- Waiting -----------------------------------------------------------------------------------


def test_receiving_waits_until_its_timeout() -> None:
    connection = streaming()
    connection.time = 5.0
    waiting = connection._receiving(2.0)
    assert step(waiting) == 7.0
    woken = connection.woken
    connection.receives(events(1))
    assert connection.woken == woken + 1
    event = result(waiting)
    assert isinstance(event, ServerSentEvent)
    assert event.data == "1"
    assert step(connection._receiving(None)) is None


def test_nobody_is_woken_for_events_that_nobody_waits_for() -> None:
    connection = streaming()
    woken = connection.woken
    connection.receives(events(1))
    assert connection.woken == woken


def test_receiving_that_is_given_up_loses_nothing() -> None:
    connection = streaming()
    waiting = connection._receiving(None)
    step(waiting)
    connection.receives(events(1))
    waiting.close()
    assert connection.read() == ["1"]


def test_there_is_one_reader_at_a_time() -> None:
    connection = streaming()
    waiting = connection._receiving(None)
    step(waiting)
    with pytest.raises(LocalProtocolError, match="somebody else"):
        step(connection._receiving(None))
    waiting.close()
    step(connection._receiving(None))


def test_a_state_that_came_and_went_was_reached() -> None:
    connection = diary(on_end="finish")
    waiting = connection._waiting_for(S.CONNECTED, 3.0)
    assert step(waiting) == 3.0
    connection._connect_now()
    connection.opened()
    connection.receives(HEAD.replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"))
    assert connection.state is S.DISCONNECTED
    result(waiting)
    result(connection._waiting_for(S.DISCONNECTED, None))


@pytest.mark.parametrize("wanted", [S.CONNECTED, S.ERROR])
def test_a_state_that_cannot_come_is_not_waited_for(wanted: S) -> None:
    connection = streaming()
    waiting = connection._waiting_for(S.RECONNECTING, None)
    step(waiting)
    connection._disconnect_now()
    with pytest.raises(ConnectionClosed, match="by itself"):
        next(waiting)
    with pytest.raises(ConnectionClosed):
        next(connection._waiting_for(wanted, None))
    waiting = connection._waiting_for(S.CLOSED, None)
    step(waiting)
    connection.close()
    connection.turn()
    result(waiting)
    with pytest.raises(ConnectionClosed, match=wanted.value):
        next(connection._waiting_for(wanted, None))


def test_waiting_raises_the_error_that_ended_the_stream() -> None:
    connection = diary(retries=False)
    connection._connect_now()
    waiting = connection._waiting_for(S.CONNECTED, None)
    step(waiting)
    connection.fails()
    with pytest.raises(ConnectError):
        next(waiting)
    with pytest.raises(ConnectError):
        next(connection._waiting_for(S.CONNECTED, None))
    step(connection._waiting_for(S.CLOSED, None))
    result(connection._waiting_for(S.ERROR, None))


def test_a_state_may_be_waited_for_before_connecting() -> None:
    step(diary()._waiting_for(S.CONNECTED, None))


def test_waiting_for_no_state_at_all_is_refused() -> None:
    state: Any = "sleeping"
    with pytest.raises(ValueError, match=state):
        next(diary()._waiting_for(state, None))


def test_whoever_waits_leaves_no_watcher_behind() -> None:
    connection = streaming()
    waiting = connection._waiting_for(S.ERROR, None)
    step(waiting)
    waiting.close()
    assert connection._watchers == []


def test_closing_down_lasts_until_everything_is_released() -> None:
    connection = streaming()
    waiting = connection._closing_down()
    step(waiting)
    connection.close()
    step(waiting)
    connection.turn()
    result(waiting)


# --- Watching ----------------------------------------------------------------------------------


def test_changes_begin_with_the_present_state_and_end_with_closed() -> None:
    connection = streaming()
    watcher = connection._watch_states()
    first = result(connection._watching(watcher))
    assert (first.old, first.new) == (S.CONNECTED, S.CONNECTED)
    waiting = connection._watching(watcher)
    step(waiting)
    connection.close()
    connection.turn()
    assert result(waiting).new is S.CLOSED
    with pytest.raises(ConnectionClosed):
        next(connection._watching(watcher))
    assert connection._watchers == []
    connection._unwatch(watcher)


def test_watchers_are_independent_and_see_their_kind() -> None:
    connection = diary()
    states, errors = connection._watch_states(), connection._watch(Watcher(SSEError))
    connection._connect_now()
    connection.fails()
    assert [change.new for change in states.items] == [
        S.DISCONNECTED,
        S.CONNECTING,
        S.RECONNECTING,
    ]
    assert [type(error) for error in errors.items] == [ConnectError]


def test_a_watcher_that_goes_meanwhile_takes_nothing_from_the_next() -> None:
    class Collects(Diary):
        def _wake(self) -> None:
            self._unwatch(first)

    connection = Collects(URL)
    first, second = connection._watch_states(), connection._watch_states()
    connection._connect_now()
    assert [change.new for change in second.items] == [S.DISCONNECTED, S.CONNECTING]


def test_a_watcher_that_does_not_look_is_bounded() -> None:
    connection = diary()
    watcher = connection._watch_states()
    for _ in range(600):
        connection._connect_now()
        connection._disconnect_now()
    assert len(watcher.items) == 1000
    assert watcher.dropped == 201
    assert watcher.items[-1].new is S.DISCONNECTED


def test_nobody_need_watch() -> None:
    connection = diary()
    connection._unwatch(Watcher(SSEError))
    assert connection._watchers is None


# --- Preparing ---------------------------------------------------------------------------------


def test_a_plain_prepare_is_asked_and_answers_at_once() -> None:
    asked: list[tuple[str, int]] = []

    def prepare(request: Request, attempt: int) -> Request:
        asked.append((request.url, attempt))
        return request.with_header("Authorization", f"token {attempt}")

    connection = diary(prepare_request=prepare)
    connection._connect_now()
    assert connection.done[0] == ("open", 1)
    connection.fails()
    connection.due()
    assert asked == [(URL, 0), (URL, 1)]


def test_a_plain_prepare_that_raises_is_a_failed_attempt() -> None:
    def prepare(request: Request, attempt: int) -> Request:
        raise ValueError("no token")

    connection = diary(prepare_request=prepare)
    connection._connect_now()
    assert connection.state is S.RECONNECTING
    assert connection.metrics.connect_failures == 1


def test_an_async_prepare_is_refused_by_a_driver_that_is_not() -> None:
    async def prepare(request: Request, attempt: int) -> Request:
        raise AssertionError("never awaited")

    connection = diary(prepare_request=prepare)
    connection._connect_now()
    assert connection.state is S.ERROR
    with pytest.raises(LocalProtocolError, match="not async"):
        connection._poll()

    class Awaitable:
        def __await__(self) -> Any:
            raise AssertionError("never awaited")

    connection = diary(prepare_request=lambda request, attempt: Awaitable())
    connection._connect_now()
    assert connection.state is S.ERROR


# --- Posting -----------------------------------------------------------------------------------


def test_a_post_returns_its_answer_whatever_its_status() -> None:
    connection = streaming()
    waiting = connection._posting("/up", "PUT", {"X": "1"}, None, {"a": 1})
    assert step(waiting) is None
    connection.opened()
    connection.receives(b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\n{}")
    answer = result(waiting)
    assert answer == PostResponse(404, (("Content-Length", "2"),), b"{}")
    assert answer.json() == {}
    assert repr(answer) == "<PostResponse 404, 2 bytes>"


def test_a_post_raises_its_error() -> None:
    connection = streaming()
    waiting = connection._posting("/up", "POST", None, "text", None)
    step(waiting)
    connection.fails()
    with pytest.raises(ConnectError):
        next(waiting)


def test_a_post_given_up_is_abandoned() -> None:
    connection = streaming()
    waiting = connection._posting("/up", "POST", None, None, None)
    step(waiting)
    waiting.close()
    assert connection.done[-1] == ("drop", 2)
    assert connection.state is S.CONNECTED


def test_a_post_that_cannot_be_is_refused_at_the_call() -> None:
    connection = streaming()
    with pytest.raises(ConfigError):
        next(connection._posting("http://other.example/", "POST", None, None, None))
    with pytest.raises(ConfigError):
        next(connection._posting("/up", "PO ST", None, None, None))
    connection.close()
    with pytest.raises(LocalProtocolError, match="closed"):
        next(connection._posting("/up", "POST", None, None, None))


def test_a_post_cannot_wait_inside_a_callback() -> None:
    raised: list[BaseException] = []

    def on_event(connection: Diary, event: Event) -> None:
        next(connection._posting("/up", "POST", None, None, None))

    streaming(events(1), on_event=on_event, on_error=lambda connection, error: raised.append(error))
    assert isinstance(raised[0], LocalProtocolError)


# --- Looking -----------------------------------------------------------------------------------


def test_info_shows_everything_at_a_glance_in_wall_clock_time() -> None:
    connection = diary(url="http://me:pw@example.com/events?token=s3cr3t", name="prices")
    first = connection.info()
    assert (first.uptime, first.last_connect, first.next_reconnect) == (0.0, None, None)
    connection._connect_now()
    connection.time = 2.0
    connection.opened()
    connection.receives(HEAD + events(1))
    connection.time = 12.0
    info = connection.info()
    assert info.id == first.id
    assert (info.name, info.state, info.uptime) == ("prices", S.CONNECTED, 10.0)
    assert info.url == "http://example.com/events?token=…"
    assert info.last_connect == info.last_event == 1_000_002.0
    assert (info.connect_success_rate, info.heartbeat_success_rate) == (100.0, 0.0)
    assert info.metrics.events_received == 1
    connection._take(WireMachine.transport_failed, 1, ConnectionResetError())
    info = connection.info()
    assert info.next_reconnect == pytest.approx(1_000_012.1, abs=0.05)
    assert info.last_disconnect == 1_000_012.0
    assert (info.reconnect_attempts, info.missed_heartbeats) == (1, 0)
    assert diary().info().id != info.id


def test_the_repr_names_the_connection_and_no_secret() -> None:
    connection = diary(url="http://me:pw@example.com/?token=s3cr3t", name="prices")
    assert repr(connection) == "<Diary 'prices' disconnected http://example.com/?token=…>"
    assert repr(diary()) == f"<Diary disconnected {URL}>"


def test_the_response_and_the_metrics_are_those_of_the_machine() -> None:
    connection = streaming(events(1))
    assert connection.response is not None
    assert connection.response.status == 200
    assert connection.metrics.events_received == 1


def test_included_items_are_buffered_but_are_no_events() -> None:
    connection = streaming(b": hi\n" + events(1), include=["connected", "comments"])
    assert isinstance(connection._poll(), Connected)
    item: object = connection._poll()
    assert item == Comment("hi")
    connection.close()
    connection.turn()
    assert connection.dropped == 1


def test_headers_and_base_url_of_the_configuration_are_used() -> None:
    connection = diary(
        url="events?x=1", base_url="http://example.com/api/", json={"a": 1}, method="POST"
    )
    request = connection._machine.request
    assert request.url == "http://example.com/api/events?x=1"
    assert request.content == b'{"a":1}'


def test_a_proxy_is_refused_with_a_hint() -> None:
    with pytest.raises(ConfigError, match="httpcore"):
        diary(proxy="http://proxy.example")


def test_the_verbs_are_the_drivers_to_write() -> None:
    verbs: dict[str, tuple[Any, ...]] = {
        "_set_up": (),
        "_now": (),
        "_wall_clock": (),
        "_random": (),
        "_arm": (None,),
        "_wake": (),
        "_from_elsewhere": (print,),
        "_open": (1, Origin("http", "a", 80)),
        "_send": (1, b""),
        "_exchange": (1, Request("GET", URL)),
        "_drop": (1,),
        "_reading": (1, True),
        "_unhandled": (ValueError(),),
        "_released": (),
    }
    bare = ConnectionDriver.__new__(ConnectionDriver)
    for verb, arguments in verbs.items():
        with pytest.raises(NotImplementedError):
            getattr(bare, verb)(*arguments)
    bare._ended()  # is optional


def test_a_connection_holds_no_reference_to_itself() -> None:
    connection = streaming(events(1))
    gone = weakref.ref(connection)
    del connection
    assert gone() is None, "no cycle: it goes without the garbage collector"


def test_what_is_entered_already_is_refused_before_anything_is_closed() -> None:
    connection = streaming()
    with pytest.raises(LocalProtocolError, match="the connection is connected"):
        connection._check_idle()
    assert state_of(connection).value == "connected"


def test_a_connection_needs_a_url_or_endpoints() -> None:
    with pytest.raises(ConfigError, match="needs a url, or endpoints"):
        ConnectionDriver()


def test_only_members_ask_for_admission_or_keep_transports() -> None:
    driver = ConnectionDriver.__new__(ConnectionDriver)
    with pytest.raises(AssertionError, match="only members"):
        driver._act(RequestAdmission(1))
    asked, kept = RequestAdmission(1), KeepTransport(2, Origin("http", "a.example", 80), 4.0)
    assert [describe_action(action) for action in (asked, kept)] == ["ask 1", "keep 2 for 4 s"]


# --- Where an HTTP client makes the exchanges ----------------------------------------------------


class ExchangeDiary(Diary):
    """The same over an HTTP client, which is the test."""

    _carrier = ExchangeMachine

    def _exchange(self, exchange: int, request: Request) -> None:
        self.done.append(("exchange", exchange, request.url))
        self.transport = exchange


def test_exchanges_are_asked_for_and_dropped_by_their_number() -> None:
    connection = ExchangeDiary(URL)
    connection._connect_now()
    assert ("exchange", 1, URL) in connection.done
    head = Response(200, (("Content-Type", "text/event-stream"),), "2")
    connection._take(ExchangeMachine.response_received, 1, head)
    assert connection.response is head
    connection.receives(events(1, 2))
    assert connection.read() == ["1", "2"]
    connection.close()
    connection.turn()
    assert ("drop", 1) in connection.done


def test_what_is_received_while_it_is_busy_waits_its_turn() -> None:
    connection = ExchangeDiary(URL, on_change=lambda c, change: c.receives(events(1)))
    connection._connect_now()
    head = Response(200, (("Content-Type", "text/event-stream"),))
    connection._take(ExchangeMachine.response_received, 1, head)
    assert connection.read() == ["1"]


def test_an_event_that_is_of_no_use_is_an_error_like_any_other() -> None:
    told: list[BaseException] = []
    connection = streaming(on_error=lambda _, error: told.append(error))
    watcher = connection._watch(Watcher(SSEError))
    error = EventDecodeError("not what it should be")
    connection.event_failed(error)
    assert told == [error]
    assert list(watcher.items) == [error]
    assert connection.metrics.errors == {"protocol": 1}
    assert error.url == URL
