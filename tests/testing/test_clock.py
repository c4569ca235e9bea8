"""The clock jumps, never back; chance repeats itself."""

import pytest

from sansio_sse.testing import SeededRandom, VirtualClock


def test_what_is_due_happens_in_order_at_its_time() -> None:
    clock = VirtualClock(100)
    seen: list[tuple[str, float]] = []

    def note(what: str) -> None:
        seen.append((what, clock.now))

    clock.call_at(130, note, "third")
    clock.call_at(110, note, "first")
    clock.call_at(130, note, "fourth")
    clock.call_at(0, note, "past, so now")
    clock.call_at(120, note, "cancelled").cancel()
    clock.call_at(120, note, "second")
    assert clock.next_at == 100
    clock.advance_to(125)
    assert (clock.now, clock.next_at) == (125, 130)
    clock.advance(5)
    assert seen == [
        ("past, so now", 100),
        ("first", 110),
        ("second", 120),
        ("third", 130),
        ("fourth", 130),
    ]


def test_a_jump_does_what_is_due_at_one_instant_and_no_more() -> None:
    clock = VirtualClock()
    seen: list[str] = []
    clock.call_at(5, lambda: clock.call_at(5, seen.append, "asked for meanwhile"))
    clock.call_at(5, seen.append, "first")
    clock.call_at(6, seen.append, "later")
    assert clock.jump()
    assert (seen, clock.now) == (["first"], 5)
    assert clock.jump()
    assert (seen, clock.now) == (["first", "asked for meanwhile"], 5)
    assert clock.jump()
    assert not clock.jump()
    assert clock.now == 6


def test_what_is_cancelled_at_its_own_instant_does_not_happen() -> None:
    clock = VirtualClock()
    clock.call_at(1, lambda: late.cancel())
    late = clock.call_at(1, pytest.fail, "it was cancelled")
    assert late.pending
    assert repr(late) == "<VirtualTimer at 1>"
    clock.jump()
    assert not late.pending
    late.cancel()


def test_time_does_not_go_back() -> None:
    clock = VirtualClock(10)
    with pytest.raises(ValueError, match="does not go back to 9 s"):
        clock.advance_to(9)
    assert repr(clock) == "<VirtualClock 10 s>"


def test_time_that_stands_still_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sansio_sse.testing.clock._SPINS", 1000)
    clock = VirtualClock(3)

    def again() -> None:
        clock.call_at(clock.now, again)

    again()
    with pytest.raises(RuntimeError, match="1000 jumps, and it is still 3 s"):
        clock.advance(1)


def test_chance_is_the_same_for_the_same_seed() -> None:
    one, other = SeededRandom(42), SeededRandom(42)
    assert [one() for _ in range(100)] == [other() for _ in range(100)]
    assert SeededRandom(43)() != SeededRandom(42)()
    # The published first outputs of SplitMix64 for the seed 1234567.
    random = SeededRandom(1234567)
    assert [random.bits() for _ in range(2)] == [6457827717110365317, 3203168211198807973]


def test_chance_keeps_its_bounds() -> None:
    random = SeededRandom(1)
    assert all(0 <= random() < 1 for _ in range(1000))
    assert all(2 <= random.uniform(2, 3) <= 3 for _ in range(1000))
    assert {random.randrange(3) for _ in range(1000)} == {0, 1, 2}
    assert {random.randrange(-1, 2) for _ in range(1000)} == {-1, 0, 1}
    assert {random.choice("abc") for _ in range(1000)} == set("abc")
    with pytest.raises(ValueError, match="no number from 5 to below 5"):
        random.randrange(5, 5)


def test_shuffling_loses_nothing() -> None:
    items = list(range(50))
    SeededRandom(1).shuffle(items)
    assert sorted(items) == list(range(50)) != items


def test_a_fork_goes_its_own_way() -> None:
    random = SeededRandom(1)
    fork = random.fork()
    expected = SeededRandom(1)
    expected.fork()
    fork()
    assert random() == expected() != fork()
