"""The picture of the states is drawn from the table, and the committed one is not stale."""

import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sansio_sse.members import MEMBER_TRANSITIONS, MemberState
from sansio_sse.states import TRANSITIONS, ConnectionState
from tree import ROOT, module_at


@pytest.fixture
def script() -> Any:
    return module_at(ROOT / "docs" / "draw_states.py")


def test_the_committed_picture_is_not_stale(script: Any) -> None:
    assert script.main(["--check"]) == 0


def test_a_stale_picture_is_found(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "PICTURE", tmp_path / "states.svg")
    monkeypatch.setattr(script, "MEMBERS_PICTURE", tmp_path / "members.svg")
    assert script.main(["--check"]) == 1
    assert script.main([]) == 0
    assert script.main(["--check"]) == 0
    less = {**TRANSITIONS, ConnectionState.ERROR: {ConnectionState.CLOSED: "close()"}}
    monkeypatch.setattr(script, "TRANSITIONS", less)
    assert script.main(["--check"]) == 1


def test_every_transition_is_in_the_picture(script: Any) -> None:
    picture = ET.fromstring(script.draw())
    drawn = Counter(element.text for element in picture.iter() if element.get("class") == "label")
    reasons = Counter(
        reason
        for targets in TRANSITIONS.values()
        for new, reason in targets.items()
        if new is not ConnectionState.CLOSED
    )
    # What leads to CLOSED is drawn as one arrow, each reason once.
    reasons.update({targets[ConnectionState.CLOSED] for targets in TRANSITIONS.values() if targets})
    assert drawn == reasons


def test_a_transition_without_a_place_is_refused(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {**TRANSITIONS, ConnectionState.ERROR: {ConnectionState.DISCONNECTED: "reset()"}}
    monkeypatch.setattr(script, "TRANSITIONS", more)
    with pytest.raises(NotImplementedError, match="ERROR -> DISCONNECTED"):
        script.draw()


def test_every_transition_of_a_member_is_in_its_picture(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = ET.fromstring(script.draw_members())
    drawn = Counter(element.text for element in picture.iter() if element.get("class") == "label")
    assert drawn == Counter(
        reason for targets in MEMBER_TRANSITIONS.values() for reason in targets.values()
    )
    more = {**MEMBER_TRANSITIONS, MemberState.FAILED: {MemberState.IDLE: "mended"}}
    monkeypatch.setattr(script, "MEMBER_TRANSITIONS", more)
    with pytest.raises(NotImplementedError, match="FAILED -> IDLE"):
        script.draw_members()
