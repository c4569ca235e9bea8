"""Content codings: what to do with gzip and deflate that nobody asked for.

The client asks for ``Accept-Encoding: identity``, because compression delays events and a
compressed body can be a bomb. Some servers and proxies compress anyway, so gzip and deflate are
decoded, as early as the data allows and within limits; everything else is refused by name.

Nothing here raises for what a peer sends, and nothing is ever decompressed without a bound. It
must not know where the bytes come from: HTTP/1.1 here and HTTP clients elsewhere use it alike.
"""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

from .errors import ContentEncodingError, LimitExceeded, RemoteProtocolError, redact_text

__all__ = ["MAX_CODINGS", "ContentDecoder", "make_decoder"]

MAX_CODINGS = 5
"""Codings on top of each other that are decoded (curl has the same limit, and learned it)."""

_ALLOWANCE = 1024 * 1024  # output that is free: a short stream may well shrink a thousandfold
# zlib copies what is behind the end of a gzip member. Small steps keep a flood of empty members
# linear; a sync-flushed event is far smaller than a step.
_STEP = 16 * 1024


def make_decoder(
    codings: Sequence[str], *, max_ratio: float, max_size: int
) -> "ContentDecoder | None":
    """Make the decoder for the codings of a Content-Encoding header, in the order of the header.

    ``max_ratio`` bounds decompressed bytes per compressed byte, beyond the first MiB; ``max_size``
    bounds the decompressed bytes out of one read. ``identity`` needs no decoder: None. Raises
    :class:`ContentEncodingError` for a coding other than identity, gzip, x-gzip and deflate
    (RFC 9110 8.4.1), and for more than :data:`MAX_CODINGS`.

    >>> make_decoder(["Identity"], max_ratio=100, max_size=65536) is None
    True
    >>> decoder = make_decoder(["gzip"], max_ratio=100, max_size=65536)
    >>> decoder.feed(zlib.compress(b"data: hi", wbits=31)), decoder.end(), decoder.error
    (b'data: hi', None, None)
    >>> make_decoder(["br"], max_ratio=100, max_size=65536)
    Traceback (most recent call last):
    sansio_sse.errors.ContentEncodingError: content coding 'br' is not decoded
    """
    names = [name.lower() for name in codings if name.lower() != "identity"]
    for name in names:
        if name not in _DECODED:
            shown = redact_text(name[:40])
            raise ContentEncodingError(f"content coding {shown!r} is not decoded")
    if len(names) > MAX_CODINGS:
        raise ContentEncodingError(
            f"{len(names)} content codings on top of each other: at most {MAX_CODINGS} are decoded"
        )
    if not names:
        return None
    return ContentDecoder(names, max_ratio, max_size)


class ContentDecoder:
    """Undoes one or more content codings; made by :func:`make_decoder`.

    >>> decoder = make_decoder(["gzip"], max_ratio=100, max_size=65536)
    >>> decoder.feed(b"data: hi"), decoder.error
    (b'', RemoteProtocolError('the body is not gzip although Content-Encoding says so'))
    """

    __slots__ = ("_inflaters", "_max_ratio", "_max_size", "_received", "error")

    def __init__(self, names: Sequence[str], max_ratio: float, max_size: int) -> None:
        # The header lists codings in the order in which they were applied.
        self._inflaters = [_DECODED[name]() for name in reversed(names)]
        self._max_ratio = max_ratio
        self._max_size = max_size
        self._received = 0
        self.error: RemoteProtocolError | LimitExceeded | None = None
        """Why decoding stopped; ``feed`` returns ``b""`` from then on."""

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the body; return all that can be decoded of them, up to an error if any.

        Never raises. What is wrong with the data is a :class:`RemoteProtocolError`; a bomb is a
        :class:`LimitExceeded`, and trying again would not help.
        """
        if self.error is not None:
            return b""
        self._received += len(data)
        error: RemoteProtocolError | LimitExceeded | None = None
        for inflater in self._inflaters:
            # Also what stands between two codings is bounded by what came over the wire.
            by_ratio = int(self._received * self._max_ratio) + _ALLOWANCE - inflater.produced
            limit = min(by_ratio, self._max_size)
            data = inflater.feed(data, limit + 1)
            # An error further in stands earlier in the stream, so the last one counts.
            if len(data) > limit:
                data = data[:limit]
                error = LimitExceeded(
                    f"the body decompresses to more than {self._max_size} bytes in one read"
                    if limit == self._max_size
                    else f"the body decompresses to more than {self._max_ratio:g} times its size"
                )
            elif inflater.error is not None:
                error = inflater.error
        if error is not None:
            self._stop(error)
        return data

    def end(self) -> None:
        """Take note that the body ended: in the middle of a coding that is an error."""
        for inflater in self._inflaters:
            if inflater.unfinished:
                self._stop(RemoteProtocolError(f"the {inflater.name} body is cut short"))
                break

    def _stop(self, error: RemoteProtocolError | LimitExceeded) -> None:
        self.error = error
        self._inflaters = []  # some 40 KiB each


class _Engine(Protocol):
    """What ``zlib.decompressobj`` returns: its class has no public name."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...
    def copy(self) -> "_Engine": ...


class _Inflater(ABC):
    """Undoes one coding."""

    __slots__ = ("_begun", "_engine", "_held", "_over", "error", "produced")

    name = ""

    def __init__(self) -> None:
        self._engine: _Engine | None = None
        self._begun = False
        self._over = False
        self._held = b""  # a first byte that does not tell yet what follows
        self.error: RemoteProtocolError | None = None
        self.produced = 0

    @property
    def unfinished(self) -> bool:
        """Whether more must come. Nothing at all is an empty body, and fine."""
        return self._engine is not None or (not self._begun and self._held != b"")

    def feed(self, data: bytes, room: int) -> bytes:
        """Return what ``data`` decodes to, at most ``room`` bytes; the rest is then lost."""
        data = self._held + data
        self._held = b""
        output: list[bytes] = []
        position = 0
        while room > 0 and position < len(data) and not self._over:
            engine = self._engine or self._open(data[position : position + 2])
            if engine is None:
                break
            step = data[position : position + _STEP]
            before = engine.copy()
            piece = _decompress(engine, step, room)
            if piece is None:
                # zlib keeps to itself what it had decoded before the error: find it once more,
                # byte by byte. After the error nothing but the error follows.
                pieces = (_decompress(before, step[i : i + 1], room) for i in range(len(step)))
                piece = b"".join(filter(None, pieces))
                self._over = True
            self.produced += len(piece)
            output.append(piece)
            room -= len(piece)
            position += len(step) - len(engine.unused_data)
            self._engine = None if engine.eof else engine
            if self._over:
                self._fail()
        return b"".join(output)

    @abstractmethod
    def _open(self, head: bytes) -> _Engine | None:
        """Make the engine for what begins with ``head`` (two bytes, or one), or None."""

    def _fail(self) -> None:
        """Say what is wrong: it is another thing altogether, or it was damaged."""
        self.error = RemoteProtocolError(
            f"the {self.name} body is corrupt"
            if self.produced
            else f"the body is not {self.name} although Content-Encoding says so"
        )


def _decompress(engine: _Engine, data: bytes, room: int) -> bytes | None:
    try:
        return engine.decompress(data, room)
    except zlib.error:
        return None


class _Gzip(_Inflater):
    """RFC 1952: members in a row. What follows the last member is ignored, as browsers do.

    (Chrome and Firefox ignore it, curl refuses it; a server that pads a block loses nothing.)
    """

    __slots__ = ()

    name = "gzip"

    def _open(self, head: bytes) -> _Engine | None:
        if head == b"\x1f\x8b":
            self._begun = True
            return zlib.decompressobj(31)
        if head == b"\x1f":
            self._held = head
        elif self._begun:
            self._over = True
        else:
            self._fail()
        return None


class _Deflate(_Inflater):
    """RFC 1950, as HTTP says, or RFC 1951 without its wrapper, as some servers understood it."""

    __slots__ = ()

    name = "deflate"

    def _open(self, head: bytes) -> _Engine | None:
        if self._begun:
            self._over = True  # one stream and no more; what follows is ignored
            return None
        # RFC 1950 2.2: method 8, a window of at most 32 KiB, and a check of these two bytes. No
        # encoder begins a raw stream like this: it would be a stored block with padding not 0.
        wrapped = head[0] & 0x0F == 8 and head[0] >> 4 <= 7
        if wrapped and len(head) == 1:
            self._held = head
            return None
        self._begun = True
        wrapped = wrapped and (head[0] << 8 | head[1]) % 31 == 0
        return zlib.decompressobj(15 if wrapped else -15)


_DECODED: dict[str, type[_Inflater]] = {"gzip": _Gzip, "x-gzip": _Gzip, "deflate": _Deflate}
