"""The table of transitions, and what follows from it."""

from typing import Any

import pytest

from sansio_sse import TRANSITIONS, ConnectionState

S = ConnectionState


def test_the_states_are_the_six_and_their_values_the_lower_case_words() -> None:
    names = "DISCONNECTED CONNECTING CONNECTED RECONNECTING ERROR CLOSED".split()
    assert [state.name for state in S] == names
    assert [state.value for state in S] == [name.lower() for name in names]


def test_every_state_has_its_row_and_every_transition_its_reason() -> None:
    assert list(TRANSITIONS) == list(S)
    for row in TRANSITIONS.values():
        assert all(isinstance(new, S) and reason for new, reason in row.items())


def test_nothing_leaves_closed_and_everything_else_may_enter_it() -> None:
    assert not TRANSITIONS[S.CLOSED]
    for state in S:
        assert (S.CLOSED in TRANSITIONS[state]) is (state is not S.CLOSED)


def test_only_what_is_at_rest_can_connect() -> None:
    assert {old for old, row in TRANSITIONS.items() if S.CONNECTING in row} == {
        S.DISCONNECTED,
        S.ERROR,
    }


def test_an_attempt_is_accepted_from_where_attempts_are_made() -> None:
    assert {old for old, row in TRANSITIONS.items() if S.CONNECTED in row} == {
        S.CONNECTING,
        S.RECONNECTING,
    }


def test_no_state_leads_to_itself_and_all_can_be_reached() -> None:
    reached = {S.DISCONNECTED}
    for _ in S:
        reached |= {new for old in reached for new in TRANSITIONS[old]}
    assert reached == set(S)
    assert all(state not in TRANSITIONS[state] for state in S)


def test_the_table_cannot_be_changed() -> None:
    table: Any = TRANSITIONS
    with pytest.raises(TypeError):
        table[S.CLOSED] = {}
    with pytest.raises(TypeError):
        table[S.CLOSED][S.CONNECTING] = ""
