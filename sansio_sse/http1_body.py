"""The body of an HTTP/1.1 response: chunked, sized or close-delimited bytes in, payload out.

This is the data path: every byte of every event passes through here, so h11, which costs several
times the parse inside, does not. What h11 accepts is accepted here and what it refuses is refused;
a differential test holds the two together and names the few places where they part.

Nothing here raises for what a peer sends: a reader returns the payload that stands before the
error and keeps the error. Nothing here grows with what a peer sends: a reader keeps a number, and
at most :data:`MAX_CHUNK_LINE` or :data:`MAX_TRAILERS` bytes of an unfinished line or trailer
section. It must not look at heads (that is :mod:`sansio_sse.http1`) nor into the payload (content
codings are :mod:`sansio_sse.content_coding`).
"""

import re
from typing import Protocol

import h11

from .errors import LimitExceeded, RemoteProtocolError

__all__ = [
    "FORBIDDEN_IN_FIELDS",
    "MAX_CHUNK_LINE",
    "MAX_TRAILERS",
    "BodyReader",
    "ChunkedBody",
    "CloseDelimitedBody",
    "SizedBody",
]

MAX_CHUNK_LINE = 16 * 1024
"""Bytes of a chunk-size line with its extensions, line end included (h11 buffers as much)."""
MAX_TRAILERS = 16 * 1024
"""Bytes of a trailer section, its blank line included (h11 buffers as much)."""

FORBIDDEN_IN_FIELDS = re.compile(rb"[\0\v\f]|\r(?!\n)")
"""What no header section may have, in the eyes of h11 too. Looked for beforehand, because h11 takes
quadratic time to find it behind a run of spaces: ten seconds in a head of 64 KiB."""


_Error = RemoteProtocolError | LimitExceeded


class BodyReader(Protocol):
    """What the three readers have in common.

    >>> reader: BodyReader = SizedBody(4)
    >>> reader.feed(b"da"), reader.complete
    (b'da', False)
    >>> reader.feed(b"ta and more"), reader.complete, reader.leftover
    (b'ta', True, True)
    """

    __slots__ = ()

    def feed(self, data: bytes) -> bytes:
        """Take what the transport received; return the payload in it, up to an error if any.

        Never raises. Returns ``b""`` after the end and after an error.
        """
        ...

    def end(self) -> None:
        """Take note that the peer ended the transport: the end of the body, or an error."""
        ...

    @property
    def complete(self) -> bool:
        """Whether the body ended where HTTP says that it ends (RFC 9112 6.3)."""
        ...

    @property
    def error(self) -> RemoteProtocolError | LimitExceeded | None:
        """Why reading stopped, if it stopped before the end."""
        ...

    @property
    def leftover(self) -> bool:
        """Whether bytes came after the end: nobody asked for them, and nobody gets them."""
        ...


class SizedBody:
    """A body of as many bytes as Content-Length says (RFC 9112 6.2); 0 is complete at once.

    >>> body = SizedBody(0)
    >>> body.complete
    True
    >>> body = SizedBody(10)
    >>> body.feed(b"cut"), body.end(), str(body.error)
    (b'cut', None, 'the server closed the connection 7 bytes before the end of the body')
    """

    __slots__ = ("_left", "complete", "error", "leftover")

    def __init__(self, length: int) -> None:
        self._left = length
        self.complete: bool = not length
        self.error: _Error | None = None
        self.leftover: bool = False

    def feed(self, data: bytes) -> bytes:
        """Return ``data`` itself, cut where the body ends."""
        left = self._left
        if len(data) < left:
            self._left = left - len(data)
            return data
        if self.error is None:
            self._left = 0
            self.complete = True
            if len(data) > left:
                self.leftover = True
            return data[:left]
        return b""

    def end(self) -> None:
        """A body with bytes missing is an error."""
        if not self.complete and self.error is None:
            self.error = RemoteProtocolError(
                f"the server closed the connection {self._left} bytes before the end of the body"
            )
            self._left = 0


class CloseDelimitedBody:
    """A body that ends when the server closes the connection (RFC 9112 6.3, rule 8).

    It cannot be told from one that was cut: that is what ``Transfer-Encoding: chunked`` is for.

    >>> body = CloseDelimitedBody()
    >>> body.feed(b"data"), body.end(), body.complete
    (b'data', None, True)
    """

    __slots__ = ("complete", "leftover")

    error: None = None

    def __init__(self) -> None:
        self.complete: bool = False
        self.leftover: bool = False

    def feed(self, data: bytes) -> bytes:
        """Return ``data`` itself."""
        if not self.complete:
            return data
        if data:
            self.leftover = True
        return b""

    def end(self) -> None:
        """The end of the transport is the end of the body."""
        self.complete = True


# What ``ChunkedBody._left`` means when it does not count bytes.
_AT_SIZE = 0  # a chunk-size line comes next, and nothing of it is here yet
_IN_SIZE = -1  # a chunk-size line is unfinished: its beginning is pending
_IN_TRAILERS = -2  # the last chunk is over, the trailer section is not
_OVER = -3  # the end, or an error
_LEFTOVER = -4  # the end, and bytes after it

# Looking a size up costs a third of reading it, and needs no second look at what int() would take
# beside hex digits: signs, blanks, underscores, 0x.
_USUAL_SIZES = {form % size: size for form in (b"%x", b"%X") for size in range(1, 1024)}

# As h11 reads RFC 9112 7.1: blanks behind the size are fine (some servers pad it), blanks before an
# extension are not, and an extension may hold anything but LF, since nobody looks into it.
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,20})(?:;[^\n]*|[ \t]*)")
_SIZE_LINE_BEGUN = re.compile(rb"[0-9A-Fa-f]{1,20}(?:;[^\n]*|[ \t]*\r?)")
_BLANK_LINE = re.compile(rb"\n\r?\n")


class ChunkedBody:
    r"""A body in chunks (RFC 9112 7.1). Extensions and trailers are checked and thrown away.

    >>> body = ChunkedBody()
    >>> body.feed(b"5\r\ndata:\r\n3;what=ever\r\n h")
    b'data: h'
    >>> body.feed(b"i\r\n0\r\n\r\n"), body.complete
    (b'i', True)
    >>> body = ChunkedBody()
    >>> body.feed(b"2\r\nok\r\nnonsense"), body.error
    (b'ok', RemoteProtocolError('malformed chunk size'))
    """

    # _left counts what is missing of a chunk *and of the line end behind it*: above 2 it is in the
    # payload, at 2 and 1 in the line end. So one number says where we are.
    __slots__ = ("_left", "_pending", "complete", "error")

    def __init__(self) -> None:
        self._left = _AT_SIZE
        self._pending = b""
        self.complete: bool = False
        self.error: _Error | None = None

    @property
    def leftover(self) -> bool:
        """Whether bytes came after the last chunk and its trailers."""
        return self._left == _LEFTOVER

    def feed(self, data: bytes) -> bytes:
        """Return the payload of the chunks, or of their parts, in ``data``."""
        # A live stream is this case: one event a write, one chunk an event, one read a chunk.
        if self._left == _AT_SIZE:
            at = data.find(b"\r\n")
            size = _USUAL_SIZES.get(data[:at])
            if size is not None:
                # Three bytes: they are equal only if nothing more is there. (Without a line end
                # at all this looks odd, but finds none here either.)
                stop = at + 2 + size
                if data[stop : stop + 3] == b"\r\n":
                    return data[at + 2 : stop]
        return self._feed(data)

    def end(self) -> None:
        """A body without its last chunk is an error."""
        if not self.complete and self.error is None:
            self._fail("the server closed the connection within a chunked body")

    def _fail(
        self, message: str, kind: type[RemoteProtocolError | LimitExceeded] = RemoteProtocolError
    ) -> None:
        self.error = kind(message)
        self._left = _OVER
        self._pending = b""

    def _feed(self, data: bytes) -> bytes:
        """Every other case: many chunks, parts of chunks, the end, errors."""
        left = self._left
        if left < _AT_SIZE:
            if left != _IN_SIZE:
                self._after_last_chunk(data)
                return b""
            data = self._pending + data
            self._pending = b""
            left = _AT_SIZE
        position = 0
        length = len(data)
        payload: list[bytes] = []
        usual_size = _USUAL_SIZES.get
        while position < length:
            if left == _AT_SIZE:
                at = data.find(b"\r\n", position)
                size = usual_size(data[position:at])
                if size is None or at < 0:
                    size = self._read_size(data, position, at)
                    if not size:
                        return b"".join(payload)
                position = at + 2
                stop = position + size
                if data[stop : stop + 2] == b"\r\n":
                    payload.append(data[position:stop])
                    position = stop + 2
                else:
                    left = size + 2
            else:
                here = data[position : position + left]
                line_end = here[max(left - 2, 0) :]
                payload.append(here[: max(left - 2, 0)])
                if not b"\r\n"[-left:].startswith(line_end):
                    self._fail("a chunk is longer than its size")
                    return b"".join(payload)
                position += len(here)
                left -= len(here)
        self._left = left
        return b"".join(payload)

    def _read_size(self, data: bytes, position: int, at: int) -> int:
        """Read any chunk-size line, from ``position`` to its line end at ``at`` (-1: not here yet).

        Returns 0 if no chunk follows: the line is unfinished, malformed, or the last chunk's.
        """
        line = data[position : at if at >= 0 else len(data)]
        length = len(line) + (2 if at >= 0 else 1)
        if length > MAX_CHUNK_LINE:
            # Judged by its beginning, so that it does not matter how much came in one read.
            line = line[:MAX_CHUNK_LINE]
            at = -1
        match = (_SIZE_LINE if at >= 0 else _SIZE_LINE_BEGUN).fullmatch(line)
        if not match:
            # What cannot become right is wrong now, and not when a line end comes, if one comes.
            self._fail("malformed chunk size")
        elif length > MAX_CHUNK_LINE:
            self._fail(f"a chunk-size line is longer than {MAX_CHUNK_LINE} bytes", LimitExceeded)
        elif at < 0:
            self._pending = line
            self._left = _IN_SIZE
        else:
            size = int(match[1], 16)
            if size:
                return size
            self._left = _IN_TRAILERS
            self._after_last_chunk(data[at + 2 :])
        return 0

    def _after_last_chunk(self, data: bytes) -> None:
        """Read the trailer section (RFC 9112 7.1.2), and what should not come after it."""
        if self._left != _IN_TRAILERS:
            if self.complete and data:
                self._left = _LEFTOVER
            return
        section = self._pending + data
        if section.startswith((b"\n", b"\r\n")):
            end = section.index(b"\n") + 1
        else:
            blank_line = _BLANK_LINE.search(section, max(len(self._pending) - 2, 0))
            end = blank_line.end() if blank_line else len(section) + 1
        if end > MAX_TRAILERS:
            self._fail(f"the trailers are longer than {MAX_TRAILERS} bytes", LimitExceeded)
        elif end > len(section):
            self._pending = section
        elif end > 2 and not _is_header_section(section[:end]):
            self._fail("malformed trailers")
        else:
            self._pending = b""
            self.complete = True
            self._left = _LEFTOVER if end < len(section) else _OVER


def _is_header_section(section: bytes) -> bool:
    """Tell whether trailers are header fields, by the judge of header fields: h11.

    They are so rare that it may take its time.
    """
    if FORBIDDEN_IN_FIELDS.search(section):
        return False
    connection = h11.Connection(h11.CLIENT)
    connection.receive_data(b"HTTP/1.1 200 OK\r\n" + section)
    try:
        connection.next_event()
    except h11.RemoteProtocolError:
        return False
    return True
