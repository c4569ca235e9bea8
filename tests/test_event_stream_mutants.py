"""Bugs planted in the parser, each of which the vectors alone must find.

A planted bug is a piece of the parser's source replaced by another. The piece must occur exactly
once, so that a bug cannot quietly vanish when the parser is rewritten.
"""

import inspect
from types import ModuleType

import pytest

from event_stream_vectors import first_failure
from sansio_sse import event_stream

SOURCE = inspect.getsource(event_stream)

MUTANTS: dict[str, tuple[str, str]] = {
    # The start, and line ends.
    "a bom is not skipped": ("return data.removeprefix(_BOM)", "return data"),
    "a bom in two chunks is not skipped": (
        "if len(data) < 3 and _BOM.startswith(data):",
        "if False:",
    ),
    "a bom is skipped later too": (
        "not self._held and self._special is None and",
        "not self._held and",
    ),
    "an lf after a cr in the chunk before is a line end": (
        "return data[1:] if data[0] == 10 else data",
        "return data",
    ),
    "whatever comes after a cr is skipped": (
        "return data[1:] if data[0] == 10 else data",
        "return data[1:]",
    ),
    "a cr at the end of a chunk is forgotten": ("if data[-1] == 13:", "if False:"),
    "a cr is no line end": (
        r'data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")',
        r'data.replace(b"\r\n", b"\n")',
    ),
    "a crlf is two line ends": (
        r'data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")',
        r'data.replace(b"\r", b"\n")',
    ),
    "lines end where str.splitlines thinks they do": (
        r'return "\n", text.split("\n")',
        r'return "\n", text.splitlines()',
    ),
    "a blank line in a chunk of its own is missed": (
        "(data[0] == 10 and self._line == len(held))",
        "False",
    ),
    "a lone cr among crlf is no line end": (
        r'return "\n" not in text and "\r" not in text',
        r'return "\n" not in text',
    ),
    "a lone lf among crlf is no line end": (
        r'return "\n" not in text and "\r" not in text',
        r'return "\r" not in text',
    ),
    "a lone cr among data lines is no line end": (
        r'joined.count("\n") and "\r" not in joined',
        r'joined.count("\n")',
    ),
    "a lone cr in a read of one event is no line end": (
        '                and "\\r" not in rest\n',
        "",
    ),
    "a lone cr in a long event is no line end": (
        r'if blank == "\n\n" and "\r" in text:',
        "if False:",
    ),
    "a lone lf in a long event is no line end": (
        r'if crlf and "\n" in data:',
        "if False:",
    ),
    "a lone lf in an id is no line end": (
        r'!= middle or (crlf and "\n" in own_id):',
        "!= middle:",
    ),
    # Decoding.
    "broken utf-8 is dropped": (
        'return str(data, "utf-8", "replace")',
        'return str(data, "utf-8", "ignore")',
    ),
    "broken utf-8 is escaped": (
        'return str(data, "utf-8", "replace")',
        'return str(data, "utf-8", "backslashreplace")',
    ),
    "broken utf-8 raises": ('return str(data, "utf-8", "replace")', "raise"),
    # Data.
    "an event needs no blank line": ("                and block != text\n", ""),
    "data is taken from the chunk alone": ("not self._held and self._special", "self._special"),
    "all lines after data are data": ("usual = lost ==", "usual = lost > -1 or lost =="),
    "a long event has one line": ("elif text[end : end + over_blank] != blank:", "elif False:"),
    "all spaces before a value are dropped": (
        'line.partition(":")\n                value = value.removeprefix(" ")',
        'line.partition(":")\n                value = value.lstrip(" ")',
    ),
    "spaces after a value are dropped": (
        'line.partition(":")\n                value = value.removeprefix(" ")',
        'line.partition(":")\n                value = value.strip(" ")',
    ),
    "the space before a value is kept": (
        'line.partition(":")\n                value = value.removeprefix(" ")',
        'line.partition(":")',
    ),
    "data lines are joined by nothing": (
        r'data = "\n".join([data, *rows])',
        'data = "".join([data, *rows])',
    ),
    "data lines come again in the next event": ("                        rows = []\n", ""),
    "empty data is no event": (
        "if data is not None:\n                    if rows:",
        "if data:\n                    if rows:",
    ),
    "data lines of a large event are joined by nothing": (
        r'                data += b"\n"',
        "                pass",
    ),
    "a large event drops the first character": (
        'start += 6 if block.startswith(b" ", start + 5) else 5',
        "start += 6",
    ),
    "all lines of a large event are data": (
        r'if len(block) - len(joined) == 6 * (joined.count(b"\n") - 1):',
        "if True:",
    ),
    # Types.
    "a type outlives its event": (
        'event = "message"\n                data = new_id = retry = None',
        "data = new_id = retry = None",
    ),
    "an empty type is no message": (
        'event = event_value = line[7:] or "message"',
        "event = event_value = line[7:]",
    ),
    "an empty type without space is no message": ('event = value or "message"', "event = value"),
    "a type of another event is remembered": (
        "or len(lines) > _MANY) and event == event_value:",
        "or len(lines) > _MANY):",
    ),
    # IDs.
    "an id with nul counts": (r'if "\0" not in line:', "if True:"),
    "an id without space with nul counts": (r'if "\0" not in value:', "if True:"),
    "an id with nul in a run counts": (r'if self._ids or "\0" in text:', "if self._ids:"),
    "an id with nul in a large event counts": (r'return b"\0" not in value', "return True"),
    "an id in a run changes nothing": ("if has_id and start:", "if False:"),
    "an id does not stay": (
        "last_id = self.last_event_id\n        values",
        'last_id = ""\n        values',
    ),
    "an id belongs to all events after it": (
        "data = new_id = retry = None",
        "data = retry = None",
    ),
    "an id without data is an event": ("                and not shape[3]\n", ""),
    "the same id again is a change": ("if new_id != last_id and self._ids:", "if self._ids:"),
    "changes of the id in a run are not seen": (
        r'if self._ids or "\0" in text:',
        r'if "\0" in text:',
    ),
    # Reconnection times.
    "digits of all scripts are digits": ("value.isascii() and value.isdigit()", "value.isdigit()"),
    "anything is a reconnection time": ("value.isascii() and value.isdigit()", "value.isascii()"),
    "zeros in front are digits": ('digits = value.lstrip("0")', "digits = value"),
    "very many digits raise": (" if len(digits) < 20 else MAX_RETRY", ""),
    "a reconnection time has no bound": (
        'min(int(digits or "0"), MAX_RETRY)',
        'int(digits or "0")',
    ),
    "a reconnection time outlives its event": (
        "data = new_id = retry = None",
        "data = new_id = None",
    ),
    "a reconnection time waits for the event": (
        'held.startswith((b":", b"retry"), start)',
        'held.startswith(b":", start)',
    ),
    "a reconnection time behind a line waits for the event": (r' or b"\nretry" in data', ""),
    "a name that begins with retry is retry": (
        'if name == "retry":\n                    self._take_retry',
        "if True:\n                    self._take_retry",
    ),
    "an invalid reconnection time takes back another": (
        "            return otherwise",
        "            return None",
    ),
    # Comments.
    "a comment waits for the event": (
        'held.startswith((b":", b"retry"), start)',
        'held.startswith(b"retry", start)',
    ),
    "a comment behind a line waits for the event": (r' or b"\n:" in data', ""),
    "comments of a read are counted once": (
        "+= len(lines) - len(kept)",
        "+= len(lines) > len(kept)",
    ),
    "comments of a text are counted once": (
        "+= before - len(lines)",
        "+= before > len(lines)",
    ),
    "a small read may have a comment and more": (
        'text[text.find("\\n") :] in ("\\n", "\\n\\n")',
        'text[-1:] == "\\n"',
    ),
    "a small read with an id has no line behind its data": (
        ' and "\\n" not in value',
        "",
    ),
    "a small read sets the id": ("self._take_id(own_id)\n                    return", "return"),
    "a small read may be an id's own": (' and "\\n" not in own_id', ""),
    "a small read's id has no NUL": (' and "\\0" not in own_id', ""),
    "lines beside comments are lost": ("self._line = start + len(left)", "self._line = start"),
    "a comment keeps its space": ('Comment(text.removeprefix(" "))', "Comment(text)"),
}


def module_of(source: str) -> ModuleType:
    """Execute the parser's source as a module of its own."""
    module = ModuleType("sansio_sse.planted")
    module.__package__ = "sansio_sse"
    exec(compile(source, "planted.py", "exec"), module.__dict__)
    return module


def failure_of(source: str) -> str | None:
    """The first vector to fail, with blocks of the usual size and with all of them large."""
    module = module_of(source)
    found = first_failure(module)
    if found is None:
        module.__dict__["_LARGE"] = 12
        found = first_failure(module)
    return found


def test_the_parser_itself_passes() -> None:
    assert failure_of(SOURCE) is None


def test_there_are_enough_of_them() -> None:
    assert len(MUTANTS) >= 30


@pytest.mark.parametrize("name", MUTANTS)
def test_planted_bug_is_found(name: str) -> None:
    piece, planted = MUTANTS[name]
    assert SOURCE.count(piece) == 1, "the piece of source to replace must occur once"
    assert failure_of(SOURCE.replace(piece, planted)) is not None
