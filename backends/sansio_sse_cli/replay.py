"""``sansio-sse replay FILE``: a recorded server once more, or what a client would make of it.

As a server, each request gets the next recorded response, whatever it asks for; :mod:`.playback` is
what prints, and plays to a client of its own.
"""

import argparse
import asyncio
import time
from typing import Any

from sansio_sse import ConnectionState, ServerSentEvent, SSEError

from .arguments import port
from .event_server import ClientRequest, EventServer, Reply
from .narrator import STYLES
from .news import plural
from .output import Format, add_format_arguments
from .playback import PATIENCE, REDIRECTS, play
from .process import Exit, run_command
from .recording_file import Attempt, Recording, RecordingError, read_recording
from .request_options import UsageError, add_config_arguments, read_config
from .terminal import Channel, duration, escape, shorten

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "Serve a recording once more, or print what a client would see"
"""What the command does, in a few words."""

EPILOG = """\
As a server, on loopback: the first request gets the first response that was recorded, the second
the second, and so on, whatever they ask for. After the last there is a 204, then the first again.
With --print there is no server and no waiting: a client is played the recording in virtual time.

examples:
  sansio-sse replay night.jsonl.gz --port 8000 --speed 10
  sansio-sse replay night.jsonl.gz --print --idle-timeout 30
  sansio-sse replay night.jsonl.gz --print --quiet --json | jq -r .data

exit codes: 0 all was served (--once), or the printed client was not left in error; 1 it was, the
file is no recording, or one cannot listen or write; 2 wrong usage; 130 SIGINT; 143 SIGTERM;
141 nobody reads the output any more.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument(
        "file", metavar="FILE", help="what `sansio-sse record` wrote; -: standard input"
    )

    server = parser.add_argument_group("as a server")
    server.add_argument("--port", type=port, metavar="N", help="where to listen; any that is free")
    server.add_argument(
        "--speed",
        type=_speed,
        metavar="N",
        help="so many times as fast as it was recorded; max: without waiting; 1",
    )
    server.add_argument(
        "--once", action="store_true", help="end when the last response has been served"
    )

    parser.add_argument_group("as a client").add_argument(
        "--print", action="store_true", help="print what a client would see, at once"
    )
    add_config_arguments(parser)
    output = add_format_arguments(parser)
    output.add_argument(
        "-q",
        "--quiet",
        action="store_true",
        help="no news: of the server's clients, or of the client",
    )


def _speed(text: str) -> float:
    try:
        speed = float("inf" if text == "max" else text)
    except ValueError:
        speed = 0.0
    if not speed > 0:
        raise argparse.ArgumentTypeError("this is a number above 0, or max")
    return speed


def run(args: argparse.Namespace) -> int:
    """Serve or print the recording."""
    parser: argparse.ArgumentParser = args.parser
    for name in ("port", "speed", "once"):
        if args.print and getattr(args, name):
            parser.error(f"--{name} does not go with --print")
    for name in ("config", "connect_timeout", "idle_timeout", "max_attempts", "json", "raw"):
        if not args.print and getattr(args, name) not in (None, False):
            parser.error(f"--{name.replace('_', '-')} does not go without --print")
    err = Channel(2)
    try:
        config = read_config(args)
        recording = read_recording(args.file)
    except (SSEError, UsageError) as error:
        parser.error(escape(str(error)))
    except RecordingError as error:
        return _fail(err, f"cannot use {args.file}: {error}")
    except OSError as error:
        return _fail(err, f"cannot read {args.file}: {error.strerror}")
    if recording.cut:
        err.say(f"sansio-sse: {escape(args.file)} ends in the middle of a line")
    if args.print:
        return run_command(lambda: _Print(args, recording, err).play(config))
    return run_command(lambda: _Serve(args, recording, err).serve())


def _fail(err: Channel, text: str) -> int:
    err.say(f"sansio-sse: {escape(text)}")
    return Exit.FAILED


# --- As a client -------------------------------------------------------------------------------


class _Print:
    def __init__(self, args: argparse.Namespace, recording: Recording, err: Channel) -> None:
        self._out = Channel(1)
        self._err = err
        self._format = Format(args, self._out)
        self._quiet: bool = args.quiet
        self._file: str = args.file
        self._recording = recording

    async def play(self, config: Any) -> int:
        """Print everything; return how it ended."""
        state = ConnectionState.DISCONNECTED
        events = 0
        at = 0.0
        began = time.monotonic()
        try:
            for at, what in play(self._recording, config):
                await asyncio.sleep(0)  # signals have their turn, however long it is
                if isinstance(what, ServerSentEvent):
                    events += 1
                    await self._out.write(self._format(what, self._recording.began + at))
                else:
                    state, news = what
                    self._tell(at, state, news)
        except BrokenPipeError:
            return Exit.CLOSED_PIPE
        except RecordingError as error:
            return _fail(self._err, f"cannot use {self._file}: {error}")
        except OSError as error:
            return _fail(self._err, f"cannot write to standard output: {error.strerror}")
        if not self._quiet:
            took = duration(time.monotonic() - began)
            summary = f"{plural(events, 'event')}, {duration(at)} in {took}"
            self._err.say(self._err.paint("bold", summary))
        return Exit.FAILED if state is ConnectionState.ERROR else Exit.OK

    def _tell(self, at: float, state: ConnectionState, news: str) -> None:
        if self._quiet and state is not ConnectionState.ERROR:
            return
        word = self._err.paint(STYLES[state], f"{state.value:12}")
        self._err.say(f"{at:10.3f} s {word} {escape(news)}")


# --- As a server -------------------------------------------------------------------------------


class _Serve:
    def __init__(self, args: argparse.Namespace, recording: Recording, err: Channel) -> None:
        self._err = err
        self._quiet: bool = args.quiet
        self._once: bool = args.once
        self._port: int = args.port or 0
        self._speed: float = args.speed or 1.0
        self._attempts = recording.playable
        self._next = 0
        self._served = 0
        self._all_served = asyncio.Event()

    async def serve(self) -> int:
        """Serve until all has been served, or for good."""
        server = EventServer(self._answer, port=self._port)
        try:
            await server.__aenter__()
        except OSError as error:
            return _fail(self._err, f"cannot listen at port {self._port}: {error.strerror}")
        try:
            self._err.say(f"serving {plural(len(self._attempts), 'response')} at {server.url}")
            if not self._attempts:
                self._all_served.set()
            await self._all_served.wait()
            return Exit.OK
        finally:
            await server.__aexit__(None, None, None)

    async def _answer(self, request: ClientRequest, reply: Reply) -> None:
        if request.path == "/ping":
            await reply.whole(204)
            return
        number = self._next
        self._next = (number + 1) % (len(self._attempts) + 1)
        last_id = shorten(request.last_event_id)
        after = f", after event {last_id}" if last_id else ""
        if number == len(self._attempts):
            self._say(f"a request{after}: 204, that was the last")
            await reply.whole(204)
            return
        self._say(f"a request{after}: response {number + 1}")
        try:
            await self._play(number, self._attempts[number], reply)
        finally:
            self._served += 1
            if self._once and self._served == len(self._attempts):
                self._all_served.set()

    async def _play(self, number: int, attempt: Attempt, reply: Reply) -> None:
        began = time.monotonic()

        async def wait_for(at: float) -> None:
            due = began + (at - attempt.asked) / self._speed
            await asyncio.sleep(max(0.0, due - time.monotonic()))

        if attempt.status is not None and attempt.answered is not None:
            await wait_for(attempt.answered)
            headers = list(attempt.headers)
            if attempt.status in REDIRECTS:
                headers.append(("Location", f"/hop-{number + 1}"))
            await reply.head(attempt.status, *headers)
        for at, data in attempt.pieces:
            await wait_for(at)
            await reply.send(data)
        await wait_for(attempt.asked if attempt.ended is None else attempt.ended)
        await self._end(attempt, reply)

    async def _end(self, attempt: Attempt, reply: Reply) -> None:
        last = attempt is self._attempts[-1]
        if attempt.end == "left" and not last:
            await asyncio.sleep(PATIENCE)  # a client with the same settings leaves by itself
        well = attempt.end == "complete" or (attempt.end == "left" and last)
        if well and attempt.status is not None:
            await reply.end()
        else:
            reply.abort()

    def _say(self, text: str) -> None:
        if not self._quiet:
            self._err.say(escape(text))
