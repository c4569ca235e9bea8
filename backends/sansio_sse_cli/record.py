"""``sansio-sse record URL FILE``: write down what a server sends, and when.

The client is the one of ``tail``; beside what it does, each byte and each end that reaches it is
put on a :class:`~.recording_file.Tape`. What is written down must never hold up the stream without
bound: lines wait in memory, up to a limit, for a file that is full or a pipe that is slow.
"""

import argparse
import asyncio
import gzip
import io
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Protocol

from sansio_sse import HeartbeatConfig, ServerSentEvent, SSEError, StateChanged, WireMachine
from sansio_sse_asyncio import Connection

from .arguments import add_end_arguments, seconds, whole_number
from .narrator import Narrator
from .news import News, add_news_arguments, plural
from .process import Exit, run_command
from .recording_file import Tape, title
from .request_options import (
    UsageError,
    add_config_arguments,
    add_request_arguments,
    hider,
    read_config,
    read_request,
)
from .terminal import Channel, escape, size

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "Write down what a server sends, and when, for replay"
"""What the command does, in a few words."""

EPILOG = """\
The file is JSON lines; with a name that ends in .gz it is compressed. It has the bytes of all
responses with their times, but no request header, no cookie and no value of the url's query.

examples:
  sansio-sse record localhost:8000/events night.jsonl.gz --duration 3600
  sansio-sse record localhost:8000/events - -n 100 | gzip > hundred.jsonl.gz
  sansio-sse replay night.jsonl.gz --print

exit codes: 0 the stream finished, or --count, --until, --duration or --max-bytes was met;
1 the stream failed, or the file could not be written; 2 wrong usage; 130 SIGINT; 143 SIGTERM;
141 nobody reads the output any more. After each of them the file is whole.
"""

_FLUSH = 0.5  # seconds after which what was recorded is in the file
_PATIENCE = 1.0  # seconds for what is left at the end
_LAG = 1 << 20  # bytes of lines that wait before the reader of events waits too
_MOST_LAG = 64 << 20  # and that end it all: a stream of comments alone has no reader to wait


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments: those of ``tail``, and the file."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("url", metavar="URL", help="what to follow; http:// if it has no scheme")
    parser.add_argument("file", metavar="FILE", help="where to write it; -: standard output")
    parser.add_argument("--force", action="store_true", help="overwrite a file that exists")

    add_request_arguments(parser)
    time_ = add_config_arguments(parser)
    add_end_arguments(time_)
    time_.add_argument(
        "--duration", metavar="SECONDS", type=seconds, help="finish after so long a time"
    )
    time_.add_argument(
        "--max-bytes",
        metavar="N",
        type=whole_number,
        help="finish after N bytes of bodies, and what came in one read with them",
    )
    add_news_arguments(parser.add_argument_group("output"))


def run(args: argparse.Namespace) -> int:
    """Record the stream that the arguments name, to its end or ours."""
    parser: argparse.ArgumentParser = args.parser
    try:
        recorder = _Recorder(args, Channel(2))
    except (SSEError, UsageError) as error:
        parser.error(escape(str(error)))
    return run_command(recorder.follow)


class _Recorder:
    def __init__(self, args: argparse.Namespace, err: Channel) -> None:
        config = read_config(args)
        # A ping is an exchange beside the stream, and a recording has the stream alone.
        config = replace(config, heartbeat=HeartbeatConfig(enabled=False))
        request = read_request(args, args.url, config)
        hide = hider(request.secrets, config=config)
        self._args = args
        self._err = err
        self._began = time.monotonic()
        self._writer = _Writer(self._leave)
        tape = Tape(self._take, self._elapsed, config.limits.head, hide)
        self._tape = tape
        self._news = News(args, err, hide)
        self._narrators = (
            self._news.narrator,
            Narrator(lambda state, text: tape.tell(state, hide(text)), hide),
        )
        self._connection: Connection[ServerSentEvent] = _recorded_by(tape)(
            request.url,
            **request.for_connect(),
            config=config,
            until=args.until,
            on_change=self._on_change,
            on_error=self._on_error,
            wait=False,
        )
        self._title = (self._connection.info().url, request.method)
        self._events = 0
        # Last: what is refused above leaves no file behind.
        self._writer.open(args.file, force=args.force)

    def _on_change(self, connection: Connection[ServerSentEvent], change: StateChanged) -> None:
        for narrator in self._narrators:
            narrator.on_change(connection, change)

    def _on_error(self, connection: Connection[ServerSentEvent], error: BaseException) -> None:
        for narrator in self._narrators:
            narrator.on_error(connection, error)

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _take(self, line: bytes) -> None:
        self._writer.add(line)
        self._news.touch()
        most: int | None = self._args.max_bytes
        if most is not None and self._tape.received_bytes >= most:
            self._leave()

    def _leave(self) -> None:
        for narrator in self._narrators:
            narrator.ending = True
        self._connection.close()

    async def follow(self) -> int:
        """Record until there is no more, and say how it ended."""
        loop = asyncio.get_running_loop()
        self._began = time.monotonic()
        self._writer.add(title(*self._title, time.time()))
        self._writer.start(self._leave)
        if self._args.duration is not None:
            loop.call_later(self._args.duration, self._leave)
        self._news.begin(self._connection, *self._writer.channels, more=self._recorded)
        code = Exit.OK
        try:
            await self._follow()
        except SSEError:
            code = Exit.FAILED  # has been told as the state ERROR
        finally:
            error = await self._writer.finish()
            self._news.end()
            self._say_how(error)
        if isinstance(error, BrokenPipeError):
            return Exit.CLOSED_PIPE
        return Exit.FAILED if error is not None else code

    async def _follow(self) -> None:
        async with self._connection:
            try:
                async for _ in self._connection:
                    self._events += 1
                    if self._events == self._args.count:
                        return
                    await self._writer.room()
            finally:
                for narrator in self._narrators:
                    narrator.ending = True

    def _recorded(self) -> str:
        return f"{size(self._writer.written)} recorded"

    def _say_how(self, error: OSError | None) -> None:
        if isinstance(error, BrokenPipeError):
            return
        if error is not None:
            where = "standard output" if self._args.file == "-" else escape(self._args.file)
            self._err.say(f"sansio-sse: cannot write to {where}: {error.strerror}")
        self._news.summarize(self._connection, plural(self._events, "event"), self._recorded())


def _recorded_by(tape: Tape) -> "type[Connection[ServerSentEvent]]":
    """Return a Connection whose driver's verbs and news are put on a tape, and are as ever."""

    class RecordedConnection(Connection[ServerSentEvent]):
        __slots__ = ("_opened",)

        def _set_up(self) -> None:
            super()._set_up()
            self._opened: set[int] = set()

        def _open(self, transport: int, origin: Any) -> None:
            tape.asked(transport, self.received_event_id)
            super()._open(transport, origin)

        def _drop(self, transport: int) -> None:
            tape.left(transport)
            self._opened.discard(transport)
            super()._drop(transport)

        def _bytes_received(self, transport: int, data: bytes) -> None:
            tape.received(transport, data)
            super()._bytes_received(transport, data)

        def _take(self, news: Callable[..., Any], *arguments: Any) -> None:
            if news is WireMachine.transport_opened:
                self._opened.add(arguments[0])
            elif news is WireMachine.end_received:
                tape.ended(arguments[0])
            elif news is WireMachine.transport_failed:
                tape.failed(arguments[0], opened=arguments[0] in self._opened)
                self._opened.discard(arguments[0])
            super()._take(news, *arguments)

    return RecordedConnection


class _File(Protocol):
    def write(self, data: bytes, /) -> Any: ...
    def flush(self) -> Any: ...
    def close(self) -> Any: ...


class _Compressed:
    """A compressed file; what was flushed can be read, whatever happens next."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._gzip = gzip.GzipFile(filename="", mode="wb", fileobj=raw)

    def write(self, data: bytes) -> None:
        self._gzip.write(data)

    def flush(self) -> None:
        self._gzip.flush(zlib.Z_SYNC_FLUSH)
        self._raw.flush()

    def close(self) -> None:
        try:
            self._gzip.close()
        finally:
            self._raw.close()


class _Writer:
    """Takes lines to a file or to standard output, in a task of its own.

    ``stop`` is called when they cannot be written.
    """

    def __init__(self, stop: Callable[[], object]) -> None:
        self.written: int = 0
        """Bytes of lines so far, before they are compressed."""
        self.channels: list[Channel] = []
        """Standard output, if it is that."""
        self._stop = stop
        self._file: _File | None = None
        self._pending: list[bytes] = []
        self._waiting = 0
        self._more = asyncio.Event()
        self._room = asyncio.Event()
        self._error: OSError | None = None
        self._task: asyncio.Task[None] | None = None

    def open(self, path: str, *, force: bool) -> None:
        """Open the file; raises UsageError when that is not possible."""
        if path == "-":
            out = Channel(1)
            if out.is_terminal:
                raise UsageError("a recording is not for a terminal: name a file, or use a pipe")
            self.channels.append(out)
            return
        if Path(path).is_fifo():
            # Written to as a file it would stop the loop, and signals with it.
            raise UsageError(f"{path} is a pipe: record to -, and send standard output there")
        try:
            raw = io.BufferedWriter(io.FileIO(path, "w" if force else "x"))
        except FileExistsError:
            raise UsageError(f"{path} exists; --force overwrites it") from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no such name is possible"
            raise UsageError(f"cannot write to {path}: {reason}") from None
        self._file = _Compressed(raw) if path.endswith(".gz") else raw

    def start(self, when_broken: Callable[[], object]) -> None:
        """Begin to write."""
        for channel in self.channels:
            channel.when_broken(when_broken)
        self._task = asyncio.get_running_loop().create_task(self._run())

    def add(self, line: bytes) -> None:
        """Take a line, to be written soon."""
        if self._error is not None:
            return
        self._pending.append(line)
        self._waiting += len(line)
        self._more.set()
        if self._waiting > _LAG:
            self._room.clear()
        if self._waiting > _MOST_LAG:
            self._fail(OSError(0, "it takes too long; more waits to be written than there is room"))

    async def room(self) -> None:
        """Wait while too much waits to be written."""
        if self._waiting > _LAG:
            await self._room.wait()

    async def finish(self) -> OSError | None:
        """Write what is left and close; return why that was not possible."""
        if self._task is None:
            return None
        self._pending.append(b"")
        self._more.set()
        try:
            # A file takes no time; a pipe that nobody reads would take for ever.
            async with asyncio.timeout(_PATIENCE):
                await self._task
        except (asyncio.CancelledError, TimeoutError):
            pass  # the last line is cut
        if self.channels and self.channels[0].broken:
            self._error = self._error or BrokenPipeError()
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                self._error = self._error or error
        return self._error

    def _fail(self, error: OSError) -> None:
        self._error = error
        self._pending.clear()
        self._waiting = 0
        self._room.set()
        self._stop()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        flushed = loop.time()
        dirty = False
        last = False
        try:
            while not last and self._error is None:
                try:
                    async with asyncio.timeout(flushed + _FLUSH - loop.time() if dirty else None):
                        await self._more.wait()
                except TimeoutError:
                    pass
                self._more.clear()
                lines, self._pending = self._pending, []
                last = b"" in lines
                if lines:
                    await self._write(b"".join(lines))
                    dirty = True
                if dirty and self._file is not None and loop.time() >= flushed + _FLUSH:
                    self._file.flush()
                    flushed, dirty = loop.time(), False
        except OSError as error:
            self._fail(error)

    async def _write(self, data: bytes) -> None:
        if self._file is None:
            await self.channels[0].write_bytes(data)
        else:
            self._file.write(data)
        self.written += len(data)
        self._waiting = max(0, self._waiting - len(data))
        if self._waiting <= _LAG:
            self._room.set()
