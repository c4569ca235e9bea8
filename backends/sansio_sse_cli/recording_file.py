r"""What a server sent, and when, as a file: JSON lines, perhaps compressed.

The first line says what it is::

    {"recording":"sansio-sse","version":1,"began":1767225600.0,"method":"GET","url":"http://h/e?k=…"}

Each other line has a time, ``at``, in seconds since ``began``, and one of:

============= =====================================================================================
``request``   the how-manieth request begins; ``after``: the Last-Event-ID it brought
``head``      the status of its response; ``headers``: those of its headers that are kept
``text``      bytes of the response's body, as they came in one read, if they are UTF-8
``base64``    the same, if they are not
``end``       how the response ended: ``complete``; ``eof`` or ``reset`` (cut off), ``refused`` (the
              server could not be reached), ``left`` (the client ended it)
``state``     what the client made of it, for people; ``news``: the same in words
============= =====================================================================================

Bodies are recorded free of HTTP's chunks, but otherwise as they came, compression included. Of the
request there is its method and its redacted url; of response headers only those in
:data:`KEPT_HEADERS`, none of which carries a credential. What else a body holds is the server's
affair: look before you pass a recording on.

:class:`Tape` makes lines of what happens; :func:`read_recording` makes a :class:`Recording` of a
file, which may be a stranger's, and may end in the middle of a line. Nothing here connects.
"""

import base64
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, cast

from sansio_sse import ConnectionState, Request
from sansio_sse.errors import redact_url
from sansio_sse.http1 import Http1Exchange

__all__ = [
    "KEPT_HEADERS",
    "Attempt",
    "Ending",
    "Recording",
    "RecordingError",
    "Tape",
    "read_recording",
    "title",
]

KEPT_HEADERS = (
    "content-type",
    "content-encoding",
    "cache-control",
    "retry-after",
    "server",
    "vary",
    "via",
    "x-accel-buffering",
)
"""Response headers that are recorded and replayed, in lower case."""

Ending = Literal["complete", "eof", "reset", "refused", "left"]
"""How a response ended; see the module's text."""

_ENDINGS = frozenset({"complete", "eof", "reset", "refused", "left"})
_VERSION = 1
_LONGEST_LINE = 16 * 1024 * 1024
_LARGEST = 512 * 1024 * 1024  # bytes of all lines, decompressed: a recording is held in memory
_PER_LINE = 200  # and what a line costs there, however short it is
_LONGEST = 1e9  # seconds, thirty years
_LATEST = 1e11  # seconds since 1970
_VISIBLE = re.compile("[\x20-\x7e]{1,1000}")
# The request is not recorded: this one is there to be answered.
_STAND_IN = Request("GET", "http://recorded.invalid/")


class RecordingError(Exception):
    """A file cannot be read as a recording; the text is for the user."""


# --- Writing -----------------------------------------------------------------------------------


def title(url: str, method: str, began: float) -> bytes:
    """Return the first line of a recording; ``began`` is in seconds since 1970."""
    return _line(
        {
            "recording": "sansio-sse",
            "version": _VERSION,
            "began": round(began, 3),
            "method": method,
            "url": redact_url(url),
        }
    )


def _line(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


class Tape:
    r"""Makes lines of what happens on a client's transports.

    Args:
        write: Takes each line.
        clock: Returns the seconds since the beginning.
        max_head: How long a response's head may be.
        hide: Takes secrets out of a text: a header that is sent back with one is not kept.

    >>> lines = []
    >>> tape = Tape(lines.append, lambda: 0.5)
    >>> tape.asked(1, after="41")
    >>> tape.received(1, b"HTTP/1.1 200 OK\r\nSet-Cookie: secret\r\n\r\ndata: x\n\n")
    >>> tape.ended(1)
    >>> print(b"".join(lines).decode(), end="")
    {"at":0.5,"request":1,"after":"41"}
    {"at":0.5,"head":200,"headers":[]}
    {"at":0.5,"text":"data: x\n\n"}
    {"at":0.5,"end":"complete"}
    """

    def __init__(
        self,
        write: Callable[[bytes], object],
        clock: Callable[[], float],
        max_head: int = 64 * 1024,
        hide: Callable[[str], str] = str,
    ) -> None:
        self.received_bytes: int = 0
        """Bytes of bodies so far."""
        self._write = write
        self._clock = clock
        self._max_head = max_head
        self._hide = hide
        self._requests = 0
        self._exchanges: dict[int, Http1Exchange] = {}

    def asked(self, transport: int, after: str) -> None:
        """A transport is opened for the next request."""
        self._requests += 1
        exchange = Http1Exchange(_STAND_IN, max_head=self._max_head)
        exchange.start()
        self._exchanges[transport] = exchange
        self._note(request=self._requests, after=after)

    def received(self, transport: int, data: bytes) -> None:
        """Bytes came, of a head or a body."""
        exchange = self._exchanges.get(transport)
        if exchange is None:
            return
        had_head = exchange.response is not None
        payload = exchange.receive(data)
        if exchange.response is not None and not had_head:
            kept = [
                [name, value]
                for name, value in exchange.response.headers
                if name.lower() in KEPT_HEADERS and self._may_keep(value)
            ]
            self._note(head=exchange.response.status, headers=kept)
        if payload:
            self.received_bytes += len(payload)
            self._note(**_in_json(payload))
        if exchange.complete:
            self._end(transport, "complete")
        elif exchange.error is not None:
            self._end(transport, "eof")

    def _may_keep(self, value: str) -> bool:
        return _VISIBLE.fullmatch(value) is not None and self._hide(value) == value

    def ended(self, transport: int) -> None:
        """The server ended its side."""
        exchange = self._exchanges.get(transport)
        if exchange is not None:
            exchange.end()
            self._end(transport, "complete" if exchange.complete else "eof")

    def failed(self, transport: int, *, opened: bool) -> None:
        """A transport broke, or did not open."""
        self._end(transport, "reset" if opened else "refused")

    def left(self, transport: int) -> None:
        """The client closes a transport, which may have ended before."""
        self._end(transport, "left")

    def tell(self, state: ConnectionState, news: str) -> None:
        """Note what the client made of it."""
        self._note(state=state.value, news=news)

    def _end(self, transport: int, how: Ending) -> None:
        if self._exchanges.pop(transport, None) is not None:
            self._note(end=how)

    def _note(self, **fields: Any) -> None:
        self._write(_line({"at": round(self._clock(), 6), **fields}))


def _in_json(data: bytes) -> dict[str, str]:
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


# --- Reading -----------------------------------------------------------------------------------


@dataclass(slots=True)
class Attempt:
    """One request and what came of it; times are seconds since the recording began."""

    asked: float
    after: str = ""
    """The Last-Event-ID it brought."""
    answered: float | None = None
    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    pieces: list[tuple[float, bytes]] = field(default_factory=list[tuple[float, bytes]])
    """What was read, and when."""
    ended: float | None = None
    end: Ending = "left"


@dataclass(slots=True)
class Recording:
    """All attempts of a recording, in order."""

    url: str
    """Redacted."""
    method: str
    began: float
    """Seconds since 1970."""
    attempts: list[Attempt] = field(default_factory=list[Attempt])
    cut: bool = False
    """Whether the file ends in the middle of a line: its writer was killed."""

    @property
    def playable(self) -> list[Attempt]:
        """The attempts, without a last one of which nothing was seen before the recording ended."""
        last = self.attempts[-1:]
        unseen = [each for each in last if each.end == "left" and each.status is None]
        return self.attempts[:-1] if unseen else self.attempts


def read_recording(path: str | Path) -> Recording:
    """Read a recording, compressed or not; ``-`` is standard input.

    Raises :class:`RecordingError` for what is none, and OSError for what cannot be read.
    """
    from_stdin = path == "-"
    with open(0 if from_stdin else path, "rb", closefd=not from_stdin) as raw:
        compressed = raw.peek(2).startswith(b"\x1f\x8b")  # a pipe cannot be read twice
        file = cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if compressed else raw
        return _Reader(file).read()


class _Reader:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._number = 0
        self._now = 0.0
        self._size = 0
        self._cut = False

    def read(self) -> Recording:
        recording: Recording | None = None
        for fields in self._lines():
            if recording is None:
                recording = self._title(fields)
            else:
                self._take(recording, fields)
        if recording is None:
            raise RecordingError("it is no recording: it is empty")
        if recording.attempts and recording.attempts[-1].ended is None:
            recording.attempts[-1].ended = self._now
        recording.cut = self._cut
        return recording

    def _lines(self) -> Iterator[dict[str, Any]]:
        while True:
            line = self._next_line()
            if not line:
                return
            self._number += 1
            if len(line) > _LONGEST_LINE:
                raise self._wrong("is too long")
            self._size += len(line) + _PER_LINE
            if self._size > _LARGEST:
                raise RecordingError(f"it is larger than {_LARGEST >> 20} MiB, decompressed")
            try:
                fields: Any = json.loads(line)
            except (ValueError, RecursionError):
                if not line.endswith(b"\n") and self._number > 1:
                    self._cut = True
                    return
                raise self._wrong("is not JSON") from None
            if not isinstance(fields, dict):
                raise self._wrong("is no JSON object")
            yield cast("dict[str, Any]", fields)

    def _next_line(self) -> bytes:
        try:
            return self._file.readline(_LONGEST_LINE + 1)
        except EOFError:  # the rest of a compressed file is missing
            self._cut = True
            return b""
        except (gzip.BadGzipFile, zlib.error):
            raise self._wrong("cannot be decompressed") from None

    def _wrong(self, what: str) -> RecordingError:
        if self._number <= 1:
            return RecordingError(f"it is no recording: its first line {what}")
        return RecordingError(f"line {self._number} {what}")

    def _title(self, fields: dict[str, Any]) -> Recording:
        if fields.get("recording") != "sansio-sse":
            raise self._wrong("does not say so")
        if fields.get("version") != _VERSION:
            raise RecordingError("it is a recording of a version that is not known here")
        return Recording(
            self._text(fields, "url"), self._text(fields, "method"), self._time(fields, "began")
        )

    def _take(self, recording: Recording, fields: dict[str, Any]) -> None:
        at = self._time(fields, "at")
        if at > _LONGEST:
            raise self._wrong("has a time that is too late")
        self._now = max(self._now, at)  # times that go backwards are none
        if "request" in fields:
            if recording.attempts and recording.attempts[-1].ended is None:
                recording.attempts[-1].ended = self._now
            recording.attempts.append(Attempt(self._now, self._text(fields, "after")))
        elif "state" not in fields:
            if not recording.attempts:
                raise self._wrong("belongs to no request")
            self._add(recording.attempts[-1], fields)

    def _add(self, attempt: Attempt, fields: dict[str, Any]) -> None:
        if "head" in fields:
            if attempt.status is not None:
                raise self._wrong("is a second head")
            status = fields["head"]
            if type(status) is not int or not 200 <= status <= 599:
                raise self._wrong("has no status")
            attempt.answered, attempt.status = self._now, status
            attempt.headers = self._headers(fields.get("headers"))
        elif "end" in fields:
            if fields["end"] not in _ENDINGS:
                raise self._wrong("has an end that is not known here")
            attempt.ended, attempt.end = self._now, fields["end"]
        elif attempt.status is None:
            raise self._wrong("has a body before its head")
        else:
            attempt.pieces.append((self._now, self._body(fields)))

    def _headers(self, given: Any) -> tuple[tuple[str, str], ...]:
        if not isinstance(given, list):
            raise self._wrong("has no headers")
        kept: list[tuple[str, str]] = []
        for pair in cast("list[object]", given):
            match pair:
                case [str() as name, str() as value] if (
                    name.lower() in KEPT_HEADERS and _VISIBLE.fullmatch(value)
                ):
                    kept.append((name, value.strip()))
                case _:
                    raise self._wrong("has a header that no recording has")
        return tuple(kept)

    def _body(self, fields: dict[str, Any]) -> bytes:
        try:
            if "text" in fields:
                return self._text(fields, "text").encode()
            return base64.b64decode(self._text(fields, "base64"), validate=True)
        except ValueError:
            raise self._wrong("has a body that cannot be read") from None

    def _text(self, fields: dict[str, Any], name: str) -> str:
        text = fields.get(name)
        if not isinstance(text, str):
            raise self._wrong(f"has no {name}")
        return text

    def _time(self, fields: dict[str, Any], name: str) -> float:
        value = fields.get(name)
        # Neither a bool, nor NaN, which is not less than anything.
        if type(value) not in (int, float) or not 0 <= (time := cast("float", value)) < _LATEST:
            raise self._wrong(f"has no {name} that is a time")
        return float(time)
