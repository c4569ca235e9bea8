"""The events of a run: those of ``ag_ui.core``, and what a newer server may send besides.

From text to events, and nothing else: what follows from them is not known here.
"""

import json
from dataclasses import dataclass
from typing import Any, TypeAlias

from ag_ui.core import Event
from pydantic import TypeAdapter, ValidationError

__all__ = ["RunEvent", "UnknownEvent", "decode"]


@dataclass(frozen=True, slots=True)
class UnknownEvent:
    """An event of a type which this version of ``ag_ui.core`` does not have.

    The protocol grows by such events, so one is no error. It is to be left alone by whoever does
    not know it.
    """

    type: str
    data: dict[str, Any]
    """The whole event, as it came."""


RunEvent: TypeAlias = Event | UnknownEvent
"""What a run consists of."""

_EVENTS: TypeAdapter[Event] = TypeAdapter(Event)


def decode(text: str) -> RunEvent:
    """Return the event that a text stands for.

    Raises ``ValueError`` (pydantic's ``ValidationError``) for what is no event, and for an event of
    a known type that is not as it should be.

    >>> decode('{"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":"Hi"}').delta
    'Hi'
    >>> decode('{"type":"LAUGHTER","volume":11}')
    UnknownEvent(type='LAUGHTER', data={'type': 'LAUGHTER', 'volume': 11})
    >>> decode('{"type":"TEXT_MESSAGE_CONTENT","messageId":"m"}')
    Traceback (most recent call last):
    pydantic_core._pydantic_core.ValidationError: 1 validation error ...
    """
    try:
        return _EVENTS.validate_json(text)
    except ValidationError as error:
        unknown = _unknown(text, error)
        if unknown is None:
            raise
        return unknown


def _unknown(text: str, error: ValidationError) -> UnknownEvent | None:
    """Return the event if its type is all that is wrong with it."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] != "union_tag_invalid" or first["loc"]:
        return None
    data: dict[str, Any] = json.loads(text)
    kind = data["type"]
    # The protocol says that a type is a string: anything else is no newer event, but a mistake.
    return UnknownEvent(kind, data) if isinstance(kind, str) else None
