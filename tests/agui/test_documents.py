"""Patches of JSON documents: what jsonpatch makes of them, and nothing that was given out."""

import copy
from typing import Any

import jsonpatch
import pytest
from ag_ui.core import StateDeltaEvent
from hypothesis import given
from hypothesis import strategies as st

from sansio_sse import LimitExceeded
from sansio_sse_agui import PatchFailed
from sansio_sse_agui.budget import Budget, weight
from sansio_sse_agui.documents import Document

from .support import delta

Patch = list[dict[str, Any]]

keys = st.sampled_from(["a", "b", "0", "1", "a/b", "~", ""])
scalars = st.none() | st.booleans() | st.integers(-1, 2) | st.floats(0, 1) | st.text(max_size=3)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
pointers = st.lists(keys | st.sampled_from(["-", "2", "01", "-1", "x"]), max_size=4).map(
    lambda parts: jsonpatch.path_join(parts)
)
operations = st.one_of(
    st.fixed_dictionaries(
        {"op": st.sampled_from(["add", "replace", "test"]), "path": pointers, "value": values}
    ),
    st.fixed_dictionaries({"op": st.just("remove"), "path": pointers}),
    st.fixed_dictionaries(
        {"op": st.sampled_from(["move", "copy"]), "path": pointers, "from": pointers}
    ),
)


def places(document: Any, path: str = "") -> list[str]:
    """Every pointer to something that is there."""
    found = [path]
    items = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document)
        if isinstance(document, list)
        else ()
    )
    for key, value in items:
        token = str(key).replace("~", "~0").replace("/", "~1")
        found += places(value, f"{path}/{token}")
    return found


@st.composite
def documents_and_patches(draw: st.DrawFn) -> tuple[Any, list[Patch]]:
    """A document, and patches most of whose operations make sense in it."""
    document = current = draw(values)
    patches: list[Patch] = []
    for _ in range(draw(st.integers(1, 3))):
        patch: Patch = []
        for _ in range(draw(st.integers(0, 4))):
            operation = draw(operations)
            known = places(current)
            there = st.sampled_from(known)
            somewhere = there | there.map("{}/-".format) | there.map("{}/new".format) | pointers
            operation["path"] = draw(somewhere if operation["op"] in ("add", "copy") else there)
            if "from" in operation:
                operation["from"] = draw(there)
            if operation["op"] == "test" and draw(st.booleans()):
                operation["value"] = jsonpatch.JsonPointer(operation["path"]).resolve(current)
            patch.append(operation)
            try:
                current = jsonpatch.apply_patch(current, [operation])
            except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException):
                pass
        patches.append(patch)
    return document, patches


def parsed(patch: Patch) -> StateDeltaEvent:
    return delta(*patch)


def strict(value: Any) -> str:
    """Tell 1 from True and 1.0, and the order of the keys."""
    return repr(value)


@given(documents_and_patches())
def test_patches_do_what_jsonpatch_does_and_change_nothing_that_was_given_out(
    case: tuple[Any, list[Patch]],
) -> None:
    value, patches = case
    budget = Budget(10**6)
    document = Document(copy.deepcopy(value), budget)
    seen: list[tuple[Any, str]] = []
    for patch in patches:
        seen.append((document.value, strict(document.value)))
        try:
            value = jsonpatch.apply_patch(value, patch)
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException):
            with pytest.raises(PatchFailed):
                document.patch(parsed(patch).delta)
        else:
            document.patch(parsed(patch).delta)
        assert strict(document.value) == strict(value)
        assert [strict(earlier) for earlier, _ in seen] == [was for _, was in seen]
        assert budget.used >= weight(document.value)


@given(values, values)
def test_a_patch_made_from_two_documents_leads_from_one_to_the_other(old: Any, new: Any) -> None:
    document = Document(old, Budget(10**6))
    document.patch(parsed([*jsonpatch.make_patch(old, new)]).delta)
    assert document.value == new


def test_a_patch_shares_nothing_with_the_document() -> None:
    event = parsed([{"op": "add", "path": "/a", "value": {"b": []}}])
    document = Document({}, Budget(10**6))
    document.patch(event.delta)
    document.patch(parsed([{"op": "add", "path": "/a/b/-", "value": 1}]).delta)
    assert event == parsed([{"op": "add", "path": "/a", "value": {"b": []}}])


def test_a_move_out_of_a_list_shifts_what_it_passes_through() -> None:
    before = [{"n": 0}, {"n": 1}, {"n": 2}]
    document = Document(before, Budget(10**6))
    document.patch(parsed([{"op": "move", "from": "/0", "path": "/1/first"}]).delta)
    assert document.value == [{"n": 1}, {"n": 2, "first": {"n": 0}}]
    assert before == [{"n": 0}, {"n": 1}, {"n": 2}]


# --- Strangers ---------------------------------------------------------------------------------


def test_copies_of_copies_are_stopped_before_they_are_made() -> None:
    document = Document({"a": "x" * 100}, Budget(100_000))
    # Made, they would fill any memory.
    doubling = [{"op": "copy", "from": "", "path": f"/{number}"} for number in range(100)]
    with pytest.raises(LimitExceeded):
        document.patch(parsed(doubling).delta)
    assert document.value == {"a": "x" * 100}


def test_copies_count_for_good() -> None:
    document = Document({"big": "x" * 1000}, Budget(10_000))
    there_and_back = parsed(
        [{"op": "copy", "from": "/big", "path": "/copy"}, {"op": "remove", "path": "/copy"}]
    )
    for _ in range(8):
        document.patch(there_and_back.delta)
    with pytest.raises(LimitExceeded):
        document.patch(there_and_back.delta)


def test_what_patches_add_is_limited() -> None:
    document = Document([], Budget(10_000))
    more = parsed([{"op": "add", "path": "/-", "value": "x" * 1000}])
    for _ in range(9):
        document.patch(more.delta)
    with pytest.raises(LimitExceeded):
        document.patch(more.delta)
    assert len(document.value) == 9


@pytest.mark.parametrize(
    "operation",
    [{"op": "add", "value": 1}, {"op": "move", "from": "/a"}, {"op": "copy", "from": "/a"}],
    ids=lambda operation: operation["op"],
)
def test_names_count_too(operation: dict[str, Any]) -> None:
    document = Document({"a": 0}, Budget(10_000))
    with pytest.raises(LimitExceeded):
        document.patch(parsed([{**operation, "path": f"/{'x' * 10_000}"}]).delta)
    assert document.value == {"a": 0}


def test_what_patches_replace_is_no_more_than_what_is_there() -> None:
    document = Document({"progress": 0}, Budget(10_000))
    for number in range(1000):
        document.patch(parsed([{"op": "replace", "path": "/progress", "value": number}]).delta)
    assert document.value == {"progress": 999}


def test_a_document_that_takes_most_of_the_room_is_not_weighed_for_each_patch() -> None:
    document = Document({"big": "x" * 6000, "progress": 0}, Budget(10_000))
    progress = parsed([{"op": "replace", "path": "/progress", "value": 1}])

    def patch_for_ever() -> None:
        for _ in range(1000):
            document.patch(progress.delta)

    with pytest.raises(LimitExceeded):
        patch_for_ever()


def test_a_patch_that_fails_costs_nothing() -> None:
    document = Document({}, Budget(10_000))
    failing = parsed(
        [{"op": "add", "path": "/a", "value": "x" * 5000}, {"op": "remove", "path": "/b"}]
    )
    for _ in range(10):
        with pytest.raises(PatchFailed):
            document.patch(failing.delta)
    document.patch(parsed([{"op": "add", "path": "/a", "value": "x" * 5000}]).delta)


def test_the_value_of_a_failing_test_is_not_written_out() -> None:
    document = Document({"secret": "x" * 1000}, Budget(10_000))
    with pytest.raises(PatchFailed) as caught:
        document.patch(parsed([{"op": "test", "path": "", "value": {}}]).delta)
    assert "xxx" not in f"{caught.value} {caught.value.cause}"


def test_a_document_may_be_deeper_than_python_likes() -> None:
    document = Document({}, Budget(10**7))
    deep: Any = 0
    for _ in range(100):
        deep = {"a": deep}
    for _ in range(50):  # by moves it becomes 5000 deep
        document.patch(
            parsed(
                [
                    {"op": "add", "path": "/new", "value": deep},
                    *(
                        [{"op": "move", "from": "/old", "path": "/new" + "/a" * 100}]
                        if document.value
                        else []
                    ),
                    {"op": "move", "from": "/new", "path": "/old"},
                ]
            ).delta
        )
    assert weight(document.value) > 5000 * 64
    with pytest.raises(PatchFailed) as caught:
        document.patch(parsed([{"op": "copy", "from": "", "path": "/copy"}]).delta)
    assert isinstance(caught.value.cause, RecursionError)
    document.patch(parsed([{"op": "remove", "path": "/old"}]).delta)
    assert document.value == {}


@pytest.mark.parametrize("part", ["9" * 5000, "-", "01", "x", "2"])
def test_a_pointer_to_nowhere_in_a_list_is_a_failed_patch(part: str) -> None:
    document = Document({"list": [[0]]}, Budget(10**6))
    for path in (f"/list/{part}/0", f"/list/{part}"):
        for operation in (
            {"op": "remove", "path": path},
            {"op": "move", "from": path, "path": "/a"},
            {"op": "move", "from": "/list/0", "path": f"{path}/x/y"},
        ):
            with pytest.raises(PatchFailed):
                document.patch(parsed([operation]).delta)
    assert document.value == {"list": [[0]]}
