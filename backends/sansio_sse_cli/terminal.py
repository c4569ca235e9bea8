"""Text for terminals, pipes and files, and the way it gets there.

Two rules. Nothing that a peer sent reaches a terminal as it is: a control character in an event can
retitle the window, move the cursor over what was printed before, or swap what the eye reads; here
each becomes visible text. And a slow reader slows the stream, not the program: waiting for room is
done by the loop, which goes on hearing signals.

Nothing here knows of connections.
"""

import asyncio
import json
import os
import re
import select
import stat
import sys
import time
from collections.abc import Callable
from typing import Protocol

from sansio_sse import ServerSentEvent

__all__ = ["Channel", "Paint", "duration", "escape", "shorten", "size", "to_json", "to_readable"]

# C0, DEL and C1 are obeyed by terminals; bidirectional embeddings, overrides and isolates swap what
# is read; U+2028 and U+2029 end lines for some readers; lone surrogates (from a file name) cannot
# be written.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_STYLES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "magenta": 35, "cyan": 36}

# The size of a write that a pipe takes whole once it says that it is writable (POSIX: PIPE_BUF).
_PIECE = getattr(select, "PIPE_BUF", 512)


def escape(text: str, keep: str = "") -> str:
    r"""Return ``text`` with control characters as Python writes them, except those in ``keep``.

    >>> print(escape("\x1b[2Jgone\u202e\n"))
    \x1b[2Jgone\u202e\n
    """
    return _UNSAFE.sub(lambda match: match[0] if match[0] in keep else _visible(match[0]), text)


def _visible(char: str) -> str:
    return char.encode("unicode_escape").decode()


def shorten(text: str, most: int = 200) -> str:
    """Return ``text``, or its beginning if it has more than so many characters.

    >>> shorten("short"), shorten("0123456789", 4)
    ('short', '0123…')
    """
    return text if len(text) <= most else f"{text[:most]}…"


def to_json(event: ServerSentEvent) -> str:
    r"""Return an event as one line of JSON: event, data, id, and retry if the event carries one.

    Letters of all languages stay as they are; characters that a terminal could obey or at which a
    reader could split lines are escaped, so the line is safe wherever it is printed, and any parser
    gives the data back.

    >>> print(to_json(ServerSentEvent(data="é\x9b\u2028", id="7")))
    {"event":"message","data":"é\u009b\u2028","id":"7"}
    """
    fields: dict[str, object] = {"event": event.event, "data": event.data, "id": event.id}
    if event.retry is not None:
        fields["retry"] = event.retry
    line = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", line)


def to_readable(event: ServerSentEvent, paint: "Paint", at: float | None = None) -> str:
    r"""Return an event for people: time, type, id and data; data of several lines below, indented.

    The time is that of now, or of ``at``, in seconds since 1970.

    >>> text = to_readable(ServerSentEvent("note", "one\ntwo", "7"), Paint(on=False))
    >>> print(text.partition(" ")[2])
    note 7
        one
        two
    """
    clock = time.strftime("%H:%M:%S", time.localtime(at))
    head = [paint("dim", clock), paint("cyan", escape(event.event))]
    if event.id:
        head.append(paint("dim", escape(event.id)))
    lines = [escape(line, keep="\t") for line in event.data.split("\n")]
    if len(lines) == 1:
        return " ".join([*head, lines[0]])
    return "\n    ".join([" ".join(head), *lines])


def duration(seconds: float) -> str:
    """Return seconds for people.

    >>> duration(0.08), duration(12.3), duration(3725)
    ('0.08 s', '12.3 s', '1 h 2 min 5 s')
    """
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{f'{hours} h ' if hours else ''}{minutes} min {rest} s"


def size(count: int) -> str:
    """Return a number of bytes for people.

    >>> size(1), size(1536), size(5_000_000)
    ('1 byte', '1.5 KiB', '4.8 MiB')
    """
    if count < 1024:
        return f"{count} byte{'' if count == 1 else 's'}"
    value, unit = count / 1024, "KiB"
    for larger in ("MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.1f} {unit}"


class Paint:
    r"""Puts colours around text where they are wanted.

    >>> Paint(on=True)("red", "no"), Paint(on=False)("red", "no")
    ('\x1b[31mno\x1b[0m', 'no')
    """

    def __init__(self, *, on: bool) -> None:
        self._on = on

    def __call__(self, style: str, text: str) -> str:
        """Return ``text`` in a style, if styles are on."""
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self._on else text


def _wants_colors(fd: int) -> bool:
    # https://no-color.org: any value that is not empty. Windows' consoles have to be asked first;
    # they are not.
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or os.name != "posix"
    return os.isatty(fd) and not plain


class Footer(Protocol):
    """What stands below all else on a terminal."""

    def wrap(self, data: bytes) -> bytes:
        """Return ``data`` with what takes it away before, and puts it back after."""
        ...


class Channel:
    """Standard output or standard error, past Python's buffer: what is said is there at once."""

    def __init__(self, fd: int) -> None:
        self.is_terminal: bool = os.isatty(fd)
        """Whether a person reads it."""
        self.paint: Paint = Paint(on=_wants_colors(fd))
        """Adds colours, if they are wanted here."""
        self.broken: bool = False
        """Whether whoever read it has gone."""
        self.footer: Footer | None = None
        """What stands below what is written here."""
        self.mid_line: bool = False
        """Whether a line has been written in part."""
        self.fd: int = fd
        """The file descriptor."""
        self._encoding = "utf-8"
        if self.is_terminal:
            self._encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        self._poll: select.poll | None = None
        if hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(fd, select.POLLOUT)

    def say(self, line: str) -> None:
        """Write a line now; a remark that nobody can hear is lost, and that is all."""
        self.put(self._with_footer(line))

    def put(self, data: bytes) -> None:
        """Write bytes now, as :meth:`say` does."""
        try:
            while data:
                data = data[os.write(self.fd, data) :]
        except OSError:
            pass

    def has_room(self) -> bool:
        """Tell whether something can be written without waiting."""
        return self._poll is None or bool(self._poll.poll(0))

    def columns(self) -> int:
        """Return how wide the terminal is."""
        try:
            return os.get_terminal_size(self.fd).columns or 80
        except OSError:
            return 80

    def same_terminal(self, other: "Channel") -> bool:
        """Tell whether both lead to the same terminal."""
        both = self.is_terminal and other.is_terminal
        return both and os.fstat(self.fd).st_rdev == os.fstat(other.fd).st_rdev

    async def write(self, line: str) -> None:
        """Write a line when there is room for it; raises OSError, most often BrokenPipeError."""
        await self.write_bytes(self._with_footer(line))

    async def write_bytes(self, data: bytes) -> None:
        """Write bytes, as :meth:`write` does; of lines that are whole."""
        # Pieces, and a look before each, rather than a mode: O_NONBLOCK would be switched for all
        # who share the file with us, and the shell is one of them.
        self.mid_line = True
        try:
            while data:
                if not self.has_room():
                    await self._room()
                try:
                    data = data[os.write(self.fd, data[:_PIECE]) :]
                except BlockingIOError:  # somebody else switched it
                    await self._room()
        finally:
            self.mid_line = bool(data)

    def when_broken(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` when the reader of a pipe goes away, written to or not."""
        if not stat.S_ISFIFO(os.fstat(self.fd).st_mode):
            return
        loop = asyncio.get_running_loop()

        def gone() -> None:
            loop.remove_reader(self.fd)
            self.broken = True
            callback()

        try:
            # The writing end of a pipe becomes "readable" by its error alone.
            loop.add_reader(self.fd, gone)
        except (NotImplementedError, OSError):
            pass  # the next write will tell

    async def _room(self) -> None:
        loop = asyncio.get_running_loop()
        room: asyncio.Future[None] = loop.create_future()
        loop.add_writer(self.fd, _resolve, room)
        try:
            await room
        finally:
            loop.remove_writer(self.fd)

    def _with_footer(self, line: str) -> bytes:
        data = self._encode(line)
        return data if self.footer is None else self.footer.wrap(data)

    def _encode(self, line: str) -> bytes:
        return f"{line}\n".encode(self._encoding, "backslashreplace")


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
