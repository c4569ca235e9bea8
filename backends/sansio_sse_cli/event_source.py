"""Where the events of ``sansio-sse serve`` come from: lines of standard input.

Lines are read by a thread, because standard input may be a file, which no loop can wait for. It
never runs ahead by more than a few pieces.
"""

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

from sansio_sse import encode_event

__all__ = ["LineTooLong", "NoEvent", "event_of_json", "event_of_line", "lines_of_input"]

LONGEST_LINE = 32 << 20
_PIECE = 65536
_AHEAD = 4  # pieces that are read before they are wanted


class NoEvent(ValueError):
    """A line is no event; the text says why."""


class LineTooLong(NoEvent):
    """A line has no end within reason."""


def event_of_line(line: str, number: int, kind: str | None) -> tuple[bytes, str]:
    r"""Return the event whose data is a line, as bytes, and its id, which is its number.

    >>> event_of_line("hello", 7, None)
    (b'id: 7\ndata: hello\n\n', '7')
    """
    return _encoded(line, kind, str(number), None)


def event_of_json(line: str, number: int) -> tuple[bytes, str]:
    r"""Return an event in the form in which ``tail`` writes it; without ``id`` it is numbered.

    >>> event_of_json('{"event":"note","data":"one\\ntwo","id":"a7","retry":10}', 1)
    (b'event: note\nid: a7\nretry: 10\ndata: one\ndata: two\n\n', 'a7')
    """
    try:
        fields: Any = json.loads(line)
    except (ValueError, RecursionError):
        raise NoEvent("it is not JSON") from None
    match fields:
        case {"data": str(data)}:
            pass
        case _:
            raise NoEvent("it is no JSON object with a string named data")
    kind, id_ = fields.get("event"), fields.get("id", str(number))
    retry = fields.get("retry")
    if not isinstance(id_, str) or not (kind is None or isinstance(kind, str)):
        raise NoEvent("event and id must be strings")
    if retry is not None and type(retry) is not int:
        raise NoEvent("retry must be a number of milliseconds")
    return _encoded(data, kind, id_, retry)


def _encoded(data: str, kind: str | None, id_: str, retry: int | None) -> tuple[bytes, str]:
    try:
        return encode_event(data, event=kind, id=id_, retry=retry), id_
    except ValueError as error:
        raise NoEvent(str(error)) from None


async def lines_of_input(fd: int = 0) -> AsyncIterator[str | LineTooLong]:
    """Yield the lines of a file descriptor, without their ends; what is not UTF-8 is replaced.

    In place of a line that is too long there is an exception, not raised. Raises OSError.
    """
    rest: list[bytes] = []
    size = 0
    skipping = False
    async for piece in _pieces(fd):
        *ended, begun = piece.split(b"\n")
        for end in ended:
            if not skipping and size + len(end) <= LONGEST_LINE:
                yield b"".join((*rest, end)).removesuffix(b"\r").decode("utf-8", "replace")
            else:
                yield LineTooLong(f"it is longer than {LONGEST_LINE} bytes")
            rest, size, skipping = [], 0, False
        size += len(begun)
        skipping = skipping or size > LONGEST_LINE
        rest = [] if skipping else [*rest, begun] if begun else rest
    if rest:
        yield b"".join(rest).decode("utf-8", "replace")


async def _pieces(fd: int) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes | OSError] = asyncio.Queue()
    room = threading.Semaphore(_AHEAD)

    def read() -> None:
        # Not sys.stdin: a daemon thread that is inside it at exit holds its lock.
        while True:
            room.acquire()
            result: bytes | OSError
            try:
                result = os.read(fd, _PIECE)
            except OSError as error:
                result = error
            told = _told(loop, queue.put_nowait, result)
            if not told or isinstance(result, OSError) or not result:
                return

    threading.Thread(target=read, name="sansio-sse-stdin", daemon=True).start()
    while True:
        piece = await queue.get()
        room.release()
        if isinstance(piece, OSError):
            raise piece
        if not piece:
            return
        yield piece


def _told(loop: asyncio.AbstractEventLoop, take: Callable[..., object], what: object) -> bool:
    try:
        loop.call_soon_threadsafe(take, what)
    except RuntimeError:
        return False  # the loop has ended
    return True
