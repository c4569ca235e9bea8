"""The history of a connection: complete, bounded, and in wall-clock time."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_sse import TRANSITIONS, ConnectionLost, ConnectionState, StateChanged, StateSpan
from sansio_sse.testing import Cut, Respond, Simulation, Stall, Step, send_event
from sansio_sse.timeline import TIMELINE_LENGTH, spans, with_change

S = ConnectionState
EPOCH = 1_767_225_600.0  # where the simulation's wall clock begins
URL = "https://api.example.com/events"


def history_of(changes: list[StateChanged]) -> tuple[object, ...]:
    history: tuple[object, ...] = ()
    for change in changes:
        history = with_change(history, change)
    return history


@st.composite
def walks(draw: st.DrawFn) -> list[StateChanged]:
    """Changes as a machine makes them, at times that never go back."""
    state, at, changes = S.DISCONNECTED, 0.0, []
    for _ in range(draw(st.integers(0, 3 * TIMELINE_LENGTH))):
        ways = sorted(TRANSITIONS[state])
        if not ways:
            break
        old, state = state, draw(st.sampled_from(ways))
        at += draw(st.floats(0, 1000))
        error = ConnectionLost(draw(st.text(max_size=300))) if draw(st.booleans()) else None
        changes.append(StateChanged(old, state, at, error))
    return changes


@given(walks(), st.floats(0, 2e9))
def test_spans_are_the_last_changes_each_beginning_where_the_one_before_ended(
    changes: list[StateChanged], offset: float
) -> None:
    timeline = list(spans(history_of(changes), offset))
    kept = changes[-TIMELINE_LENGTH:]
    assert [span.state for span in timeline] == [change.new for change in kept]
    assert [span.began for span in timeline] == [change.at + offset for change in kept]
    assert all(one.ended == other.began for one, other in itertools.pairwise(timeline))
    assert [span.ended for span in timeline[-1:]] == [None] * bool(kept)
    for span, change in zip(timeline, kept, strict=True):
        message = "" if change.error is None else change.error.message
        assert len(span.cause) <= 200
        assert message.startswith(span.cause.removesuffix("…")) or span.cause == message


def test_a_connection_tells_its_timeline() -> None:
    simulation = Simulation()
    head: list[Step] = [Respond(), send_event("one", id="1")]
    simulation.network.server(URL, [*head, Cut()], [*head, Stall()])
    connection = simulation.connect(URL)
    assert [span.state for span in connection.timeline()] == [S.CONNECTING]
    simulation.run(until=10.0)
    connection.close()
    simulation.run(until=10.0)
    first, second, third, fourth, last = connection.timeline()
    assert (first.state, first.began, first.cause) == (S.CONNECTING, EPOCH, "")
    assert second.state is S.CONNECTED
    assert third.state is S.RECONNECTING
    assert "closed the connection" in third.cause
    assert fourth.state is S.CONNECTED
    assert last == StateSpan(S.CLOSED, EPOCH + 10.0)


def test_a_connection_that_was_never_begun_has_no_timeline() -> None:
    assert Simulation().connection(URL).timeline() == ()


def test_a_stream_that_never_stops_failing_has_a_bounded_timeline() -> None:
    simulation = Simulation(traced=False)
    simulation.network.server(URL, lambda request: [Respond(), send_event("x"), Cut()])
    connection = simulation.connect(URL)
    simulation.run_until(lambda: connection.metrics.reconnect_successes > 2 * TIMELINE_LENGTH)
    timeline = connection.timeline()
    assert len(timeline) == TIMELINE_LENGTH
    assert timeline[-1].ended is None


@pytest.mark.parametrize(
    ("length", "shown"), [(199, "x" * 199), (200, "x" * 200), (201, "x" * 199 + "…")]
)
def test_a_long_cause_is_cut(length: int, shown: str) -> None:
    change = StateChanged(S.CONNECTED, S.RECONNECTING, 1.0, ConnectionLost("x" * length))
    assert [span.cause for span in spans(history_of([change]), 0.0)] == [shown]


def test_a_span_cannot_be_changed() -> None:
    span: Any = StateSpan(S.CLOSED, 1.0)
    with pytest.raises(AttributeError):
        span.began = 2.0
