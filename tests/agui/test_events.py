"""From text to events, and what is none."""

import copy
import pickle
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from ag_ui.core import EventType
from pydantic import ValidationError

from sansio_sse_agui import UnknownEvent, decode

from .support import EVERY, encoded, through_the_wire


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.value)
def test_an_event_is_what_its_server_meant(kind: EventType) -> None:
    received = through_the_wire(EVERY[kind])
    assert type(received) is type(EVERY[kind])
    assert received == EVERY[kind]
    assert not isinstance(received, UnknownEvent)
    assert encoded(received) == encoded(EVERY[kind])


def test_an_unknown_type_is_kept_whole() -> None:
    event = decode('{"type": "NEWER", "messageId": 5, "more": [null]}')
    assert event == UnknownEvent("NEWER", {"type": "NEWER", "messageId": 5, "more": [None]})


def test_an_unknown_event_is_a_value() -> None:
    event = UnknownEvent("NEWER", {"a": 1})
    with pytest.raises(FrozenInstanceError):
        setattr(event, "type", "OLDER")  # noqa: B010 - the type checkers know that it is frozen
    assert pickle.loads(pickle.dumps(event)) == copy.deepcopy(event) == event


def test_what_the_protocol_does_not_say_of_an_event_is_kept() -> None:
    event: Any = decode('{"type": "STEP_STARTED", "stepName": "s", "newer": {"a": 1}}')
    assert event.model_extra == {"newer": {"a": 1}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not JSON",
        "null",
        "[]",
        '"RUN_STARTED"',
        "{}",
        '{"type": null}',
        '{"type": 5}',
        '{"type": ["RUN_STARTED"]}',
        '{"type": "RUN_STARTED"}',
        '{"type": "RUN_STARTED", "threadId": "t", "runId": 5}',
        '{"type": "STEP_STARTED", "stepName": "s"',
        '{"type": "STATE_DELTA", "delta": {"op": "add"}}',
        '{"type": "STATE_DELTA", "delta": [{"op": "add", "path": "no pointer", "value": 1}]}',
        '{"type": "STATE_DELTA", "delta": [{"op": "append", "path": "", "value": "x"}]}',
        '{"type": "MESSAGES_SNAPSHOT", "messages": [{"id": "m", "role": "nobody"}]}',
        '{"type": "STATE_SNAPSHOT", "snapshot": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"type": "NEWER", "deep": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"type": "NEWER", "half": "\\ud800"}',
        '{"type": "NEWER", "number": ' + "9" * 5000 + "}",
    ],
    ids=lambda text: text[:40],
)
def test_what_is_no_event_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        decode(text)
