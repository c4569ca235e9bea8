"""Who may connect now: never more than the limits, in line, the lines taking turns."""

from hypothesis import given
from hypothesis import strategies as st

from sansio_sse.admission import Admission, AdmitStream
from sansio_sse.http import Origin

ORIGINS = [Origin("http", f"{name}.example", 80) for name in "abc"]
A, B, C = ORIGINS


def test_who_asks_first_is_admitted_first() -> None:
    admission = Admission(limit=2)
    answers = [admission.asked(number, number + 10, A, 0.0) for number in range(4)]
    assert answers == [[AdmitStream(0, 10)], [AdmitStream(1, 11)], [], []]
    assert (admission.under_way, admission.waiting, admission.peak) == (2, 2, 2)
    assert admission.over(1, 1.0) == [AdmitStream(2, 12)]
    assert admission.over(0, 1.0) == [AdmitStream(3, 13)]


def test_a_full_origin_holds_up_its_own_line_alone() -> None:
    admission = Admission(limit=10, per_origin=1)
    for number in range(3):
        admission.asked(number, 1, A, 0.0)
    assert admission.asked(3, 1, B, 0.0) == [AdmitStream(3, 1)]
    assert admission.waiting == 2
    assert admission.over(0, 1.0) == [AdmitStream(1, 1)]


def test_lines_take_turns() -> None:
    admission = Admission(limit=1)
    admission.asked(0, 1, A, 0.0)
    for number, origin in ((1, A), (2, A), (3, B), (4, C)):
        admission.asked(number, 1, origin, 0.0)
    order = []
    now = 0
    while admission.under_way:
        [admitted] = admission.over(now, 1.0) or [AdmitStream(-1, 0)]
        order.append(now := admitted.stream)
    assert order == [1, 3, 4, 2, -1]


def test_who_thinks_better_of_it_holds_up_nobody() -> None:
    admission = Admission(limit=1)
    admission.asked(0, 1, A, 0.0)
    admission.asked(1, 1, A, 0.0)
    admission.asked(2, 1, A, 0.0)
    assert admission.over(1, 0.5) == []
    assert admission.asked(2, 2, B, 0.6) == [], "another attempt, at another place"
    assert admission.over(0, 1.0) == [AdmitStream(2, 2)]
    assert admission.over(7, 1.0) == [], "unknown"
    assert admission.tick(5.0) == ()
    assert admission.deadline is None


@given(st.data(), st.integers(1, 4), st.none() | st.integers(1, 3))
def test_the_limits_hold_and_nobody_is_forgotten(
    data: st.DataObject, limit: int, per_origin: int | None
) -> None:
    admission = Admission(limit, per_origin)
    wanting: dict[int, tuple[Origin, int]] = {}
    under_way: dict[int, Origin] = {}
    for step in range(data.draw(st.integers(0, 40))):
        stream = data.draw(st.integers(0, 7))
        wanting.pop(stream, None)
        under_way.pop(stream, None)
        if data.draw(st.booleans()):
            origin = data.draw(st.sampled_from(ORIGINS))
            wanting[stream] = (origin, step)
            answer = admission.asked(stream, step + 1, origin, float(step))
        else:
            answer = admission.over(stream, float(step))
        for admitted in answer:
            origin, asked = wanting.pop(admitted.stream)
            assert admitted.attempt == asked + 1
            under_way[admitted.stream] = origin
        assert admission.under_way == len(under_way) <= limit
        assert admission.waiting == len(wanting)
        for origin in ORIGINS:
            busy = sum(place == origin for place in under_way.values())
            assert per_origin is None or busy <= per_origin
            # Whoever waits has a reason to.
            if any(place == origin for place, _ in wanting.values()):
                assert len(under_way) == limit or busy == per_origin
