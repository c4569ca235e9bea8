"""What a viewer is sent: whoever applies the patches has the state, from wherever it begins."""

import copy
import itertools
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sansio_sse_cli.live_page.patches import Changes, difference, to_json

KEYS = st.sampled_from("abcd")
VALUES = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(-2, 2),
        st.floats(allow_nan=False, allow_infinity=False, width=16),
        st.text(max_size=3),
        st.lists(st.integers(0, 2), max_size=2),
    ),
    lambda inner: st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)
STATES = st.dictionaries(KEYS, VALUES, max_size=4)


def merged(target: Any, patch: Any) -> Any:
    """MergePatch of RFC 7386, section 2, as it stands there."""
    if not isinstance(patch, dict):
        return patch
    if not isinstance(target, dict):
        target = {}
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        else:
            target[name] = merged(target.get(name), value)
    return target


def written(value: Any) -> str:
    """A value as JSON: there 1, 1.0 and true are three things."""
    return json.dumps(value, sort_keys=True)


@given(STATES, STATES)
def test_a_patch_makes_the_new_state_of_the_old(old: Any, new: Any) -> None:
    patch = json.loads(to_json(difference(old, new)))
    assert written(merged(copy.deepcopy(old), patch)) == written(new)


@given(STATES)
def test_of_what_has_not_changed_nothing_is_sent(state: Any) -> None:
    assert difference(state, copy.deepcopy(state)) == {}


@given(st.lists(STATES, min_size=1, max_size=8), st.integers(0, 60), st.data())
def test_who_missed_patches_catches_up_or_is_told_that_it_cannot(
    states: list[Any], most: int, data: st.DataObject
) -> None:
    changes = Changes(states[0], most=most)
    for state in states[1:]:
        changes.put(state)
    known = data.draw(st.integers(0, len(states) - 1))
    missed = changes.since(known)
    if missed is None:
        assert sum(len(patch) for patch in history(states)[known:]) > most
        return
    mine = copy.deepcopy(states[known])
    for patch in missed:
        merged(mine, json.loads(patch))
    assert written(mine) == written(states[-1])
    assert sum(map(len, missed)) <= most


def history(states: list[Any]) -> list[str]:
    return [to_json(difference(old, new)) for old, new in itertools.pairwise(states)]


def test_numbers_of_the_future_and_of_before_the_beginning_are_not_known() -> None:
    changes = Changes({}, most=10)
    changes.put({"a": 1})
    assert changes.since(-1) is None
    assert changes.since(2) is None
    assert changes.since(1) == []
