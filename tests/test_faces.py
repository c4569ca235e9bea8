"""The two faces of a connection, without a loop: what they wait for is moved on by hand."""

from collections import deque
from collections.abc import Coroutine, Generator
from contextlib import nullcontext
from types import coroutine
from typing import Any, TypeVar

import pytest

from driver_diary import HEAD, URL, Diary, S, events, state_of
from sansio_sse import (
    AsyncConnectionDriver,
    Comment,
    ConnectError,
    ConnectionClosed,
    ConnectionConfig,
    LocalProtocolError,
    ReconnectionPolicy,
    ServerSentEvent,
    WireMachine,
)
from sansio_sse.faces import SyncConnectionDriver

T = TypeVar("T")


@coroutine
def suspended(until: float | None) -> Generator[float | None, None, None]:
    yield until


class AsyncDiary(AsyncConnectionDriver, Diary):
    """Waits until the test goes on."""

    started = 0

    def _start(self) -> None:
        self.started += 1

    async def _wait(self, until: float | None) -> None:
        await suspended(until)
        if until is not None and self.time >= until:
            raise TimeoutError

    def serve(self, *numbers: int) -> None:
        self.opened()
        self.receives(HEAD + events(*numbers))


class Running:
    """A coroutine that is taken one step further at a time."""

    def __init__(self, waiting: Coroutine[Any, None, Any]) -> None:
        self.waiting = waiting
        self.until: float | None = None

    def step(self) -> "Running":
        """Go on until it waits again."""
        self.until = self.waiting.send(None)
        return self

    def result(self) -> Any:
        """Go on to the end."""
        with pytest.raises(StopIteration) as stopped:
            self.waiting.send(None)
        return stopped.value.value


def running(waiting: Coroutine[Any, None, Any]) -> Running:
    return Running(waiting).step()


def entered(*numbers: int, **options: Any) -> AsyncDiary:
    connection = AsyncDiary(URL, **options)
    entering = running(connection._enter())
    connection.serve(*numbers)
    entering.result()
    return connection


def done(waiting: Coroutine[Any, None, Any]) -> Any:
    return Running(waiting).result()


# --- Async -------------------------------------------------------------------------------------


def test_entering_waits_for_acceptance_unless_told_not_to() -> None:
    connection = entered()
    assert connection.state is S.CONNECTED
    assert connection.started == 1
    connection = AsyncDiary(URL, wait=False)
    done(connection._enter())
    assert connection.state is S.CONNECTING


def test_connecting_waits_and_raises_what_ended_it() -> None:
    connection = AsyncDiary(
        URL, config=ConnectionConfig(reconnection=ReconnectionPolicy(enabled=False))
    )
    connecting = running(connection.connect())
    connection.turn()
    connecting.step()
    connection.fails()
    with pytest.raises(ConnectError):
        connecting.step()
    connecting = running(connection.connect())
    connection.turn()
    connecting.step()
    connection.serve()
    connecting.result()
    again = running(connection.connect())
    connection.turn()
    with pytest.raises(LocalProtocolError):
        again.step()


def test_iterating_gives_what_is_there_waits_for_more_and_ends() -> None:
    connection = entered(1)
    assert connection.__aiter__() is connection
    assert done(connection.__anext__()).data == "1"
    waiting = running(connection.__anext__())
    connection.receives(events(2))
    assert waiting.result().data == "2"
    connection._disconnect_now()
    with pytest.raises(StopAsyncIteration):
        Running(connection.__anext__()).step()


def test_iterating_reads_on_when_half_of_a_full_buffer_is_free() -> None:
    connection = entered(1, 2, 3, 4, config=ConnectionConfig(buffer_size=4))
    assert ("stop reading", 1) in connection.done
    assert done(connection.__anext__()).data == "1"
    assert ("read", 1) not in connection.done
    assert done(connection.__anext__()).data == "2"
    assert ("read", 1) in connection.done


def test_a_callback_has_the_events_and_an_iterator_says_so() -> None:
    connection = entered(on_event=lambda connection, event: None)
    with pytest.raises(LocalProtocolError, match="on_event"):
        Running(connection.__anext__()).step()


def test_receiving_may_time_out_or_be_cancelled_and_loses_nothing() -> None:
    connection = entered()
    waiting = running(connection.receive(timeout=2.0))
    assert waiting.until == 2.0
    connection.time = 2.0
    with pytest.raises(TimeoutError):
        waiting.step()
    waiting = running(connection.receive())
    with pytest.raises(LocalProtocolError):
        Running(connection.receive()).step()
    with pytest.raises(LocalProtocolError):
        Running(connection.__anext__()).step()
    connection.receives(events(1))
    waiting.waiting.close()  # cancelled in the turn in which the event came
    assert done(connection.receive()).data == "1"


def test_changes_and_errors_are_iterated_to_the_close() -> None:
    connection = entered()
    changes, errors = connection.state_changes(), connection.errors()
    assert changes.__aiter__() is changes
    assert done(changes.__anext__()).new is S.CONNECTED
    waiting = running(changes.__anext__())
    connection._take(WireMachine.transport_failed, 1, ConnectionResetError())
    assert waiting.result().new is S.RECONNECTING
    assert done(errors.__anext__()).category == "network"
    assert (changes.dropped, errors.dropped) == (0, 0)
    connection.close()
    connection.turn()
    assert done(changes.__anext__()).new is S.CLOSED
    for watch in (changes, errors):
        with pytest.raises(StopAsyncIteration):
            Running(watch.__anext__()).step()


def test_an_iterator_somebody_broke_out_of_does_not_collect_for_ever() -> None:
    connection = entered()
    changes = connection.state_changes()
    done(changes.__anext__())
    del changes
    assert connection._watchers == []


def test_waiting_for_a_state_has_a_timeout() -> None:
    connection = entered()
    done(connection.wait_for(S.CONNECTED))
    waiting = running(connection.wait_for(S.ERROR, timeout=1.0))
    connection.time = 1.0
    with pytest.raises(TimeoutError):
        waiting.step()


def test_a_post_is_awaited_and_abandoned_when_cancelled() -> None:
    connection = entered()
    waiting = running(connection.post("/up", json={"a": 1}))
    connection.opened()
    connection.receives(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert waiting.result().status == 200
    waiting = running(connection.post("/up"))
    waiting.waiting.close()
    assert connection.done[-1] == ("drop", 3)


def test_leaving_closes_and_waits_for_the_release() -> None:
    connection = entered(1)
    leaving = running(connection.__aexit__(None, None, None))
    assert state_of(connection) is S.CONNECTED
    connection.turn()
    leaving.result()
    assert connection.state is S.CLOSED
    with pytest.raises(ConnectionClosed):
        Running(connection.receive()).step()


# --- Sync --------------------------------------------------------------------------------------


class SyncDiary(SyncConnectionDriver, Diary):
    """Each turn of the crank does the next thing of a script; None lets the time pass."""

    def _set_up(self) -> None:
        super()._set_up()
        self._inside = nullcontext()
        self.script: list[Any] = []
        self.turned: list[float | None] = []

    def _start(self) -> None:
        pass

    def _turn(self, seconds: float | None) -> None:
        self.turned.append(seconds)
        if self.commands:
            self.turn()
        elif self.script and (item := self.script.pop(0)) is not None:
            item()
        else:
            assert seconds is not None, "nothing would ever happen"
            self.time += seconds

    def serve(self, *numbers: int) -> None:
        self.opened()
        self.receives(HEAD + events(*numbers))


def opened(*numbers: int, **options: Any) -> SyncDiary:
    connection = SyncDiary(URL, **options)
    connection.script = [lambda: connection.serve(*numbers)]
    assert connection.open() is connection
    return connection


def test_opening_turns_the_crank_until_acceptance() -> None:
    connection = SyncDiary(URL)
    connection.script = [connection.fails, None, connection.serve]
    connection.open()
    assert connection.state is S.CONNECTED
    assert connection.transport == 2
    assert connection.time > 0


def test_opening_without_waiting_only_begins() -> None:
    connection = SyncDiary(URL, wait=False).open()
    assert connection.state is S.CONNECTING
    assert connection.turned == []


def test_opening_that_fails_closes() -> None:
    policy = ReconnectionPolicy(enabled=False)
    connection = SyncDiary(URL, config=ConnectionConfig(reconnection=policy))

    def is_gone() -> None:
        connection.transport = 0

    connection.script = [connection.fails, is_gone]
    with pytest.raises(ConnectError):
        connection.open()
    assert connection.state is S.CLOSED
    assert not connection.script, "it waits until nothing is left"


def test_whoever_reads_turns_the_crank() -> None:
    connection = opened(1)
    assert iter(connection) is connection
    connection.script = [lambda: connection.receives(events(2)), connection._disconnect_now]
    assert [event.data for event in connection if isinstance(event, ServerSentEvent)] == ["1", "2"]


def test_what_is_no_event_moves_no_cursor() -> None:
    connection = opened(1, include=["comments"])
    connection.receives(b": a comment\n\n" + events(2))
    found: list[Any] = [next(connection) for _ in range(3)]
    assert isinstance(found[1], Comment)
    assert connection.last_event_id == found[2].id


def test_an_event_that_another_thread_has_thrown_away_is_not_missed() -> None:
    class Emptied(deque[Any]):
        """As it looks to who has seen an event in it just before."""

        def popleft(self) -> Any:
            if "an event" in self:
                self.clear()
            return super().popleft()

    connection = opened()
    connection._buffer = Emptied(["an event"])
    connection.script = [lambda: connection.receives(events(2))]
    assert next(connection).data == "2"


def test_whose_turn_it_is_no_more_takes_nobody_elses_away() -> None:
    connection = opened()
    somebody = object()

    def taken_over() -> None:
        connection._reading_now = somebody
        connection.receives(events(1))

    connection.script = [taken_over]
    assert next(connection).data == "1"
    assert connection._reading_now is somebody


def test_timers_fire_while_somebody_waits() -> None:
    connection = opened()
    connection._take(WireMachine.transport_failed, 1, ConnectionResetError())
    with pytest.raises(TimeoutError):
        connection.receive(timeout=1.0)
    assert connection.transport == 2
    assert connection.time == 1.0


def test_what_has_arrived_comes_before_the_timeout() -> None:
    connection = opened()
    connection.script = [lambda: connection.receives(events(1))]
    event = connection.receive(timeout=0.0)
    assert isinstance(event, ServerSentEvent)


def test_connecting_again_and_waiting_for_a_state() -> None:
    connection = opened()
    connection._disconnect_now()
    connection.script = [connection.serve]
    connection.connect()
    connection.wait_for(S.CONNECTED)
    with pytest.raises(TimeoutError):
        connection.wait_for(S.CLOSED, timeout=1.0)


def test_changes_errors_and_posts_turn_the_crank() -> None:
    connection = opened()
    changes, errors = connection.state_changes(), connection.errors()
    assert iter(changes) is changes
    assert next(changes).new is S.CONNECTED
    reset = ConnectionResetError()
    connection.script = [lambda: connection._take(WireMachine.transport_failed, 1, reset)]
    assert next(changes).new is S.RECONNECTING
    assert next(errors).cause is reset

    def answer() -> None:
        connection.opened()
        connection.receives(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    connection.script = [answer]
    assert connection.post("/up").status == 200
    connection.close()
    connection.wait_closed()
    assert [change.new for change in changes] == [S.CLOSED]
    assert list(errors) == []


def test_a_with_block_opens_and_closes() -> None:
    connection = SyncDiary(URL)
    connection.script = [connection.serve]
    with connection as inside:
        assert inside is connection
        assert state_of(connection) is S.CONNECTED
    assert state_of(connection) is S.CLOSED
    assert connection._released()


@pytest.mark.parametrize("face", [AsyncConnectionDriver, SyncConnectionDriver])
def test_the_verbs_of_a_face_are_the_drivers_to_write(face: Any) -> None:
    bare = face.__new__(face)
    with pytest.raises(NotImplementedError):
        bare._start()
    with pytest.raises(NotImplementedError):
        Running(bare._wait(None)).step() if face is AsyncConnectionDriver else bare._turn(None)


def test_an_async_reader_is_given_what_is_no_event_and_its_cursor_stays() -> None:
    connection = AsyncDiary(URL, include=["comments"])
    connection._connect_now()
    connection.opened()
    connection.receives(HEAD + b": a comment\n\n")
    with pytest.raises(StopIteration) as done:
        connection.__anext__().send(None)
    assert isinstance(done.value.value, Comment)
    assert connection.last_event_id == ""
