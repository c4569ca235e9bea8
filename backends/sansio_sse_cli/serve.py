"""``sansio-sse serve``: lines in, events out, to everybody who asks.

What is told to whom, and what is kept for those who come later, is :mod:`.broadcast`; HTTP is
:mod:`.event_server`; what a line means is :mod:`.event_source`. For trying things: there is no TLS,
no authentication, and everybody gets everything.
"""

import argparse
import asyncio
import re
import time
from collections.abc import AsyncIterator

from sansio_sse import (
    ConnectionConfig,
    HeartbeatConfig,
    ReconnectionPolicy,
    ServerSentEvent,
    Timeouts,
    encode_comment,
    encode_event,
    encode_retry,
)

from .arguments import port, seconds, whole_number
from .broadcast import Broadcast
from .event_server import ClientRequest, EventServer, Reply, is_loopback
from .event_source import LineTooLong, NoEvent, event_of_json, event_of_line, lines_of_input
from .news import plural
from .playback import play
from .process import Exit, run_command
from .recording_file import Recording, RecordingError, read_recording
from .terminal import Channel, escape, shorten

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "Serve lines of standard input, or a recording, as a stream"
"""What the command does, in a few words."""

EPILOG = """\
Each line is an event, and its number is its id; with --json a line is an event as `sansio-sse tail`
writes it. Who comes without a Last-Event-ID gets all that is kept, who comes with one gets what
came after it. GET any path is the stream, /ping answers 204. There is no TLS and no authentication.

examples:
  ping localhost | sansio-sse serve --port 8000
  sansio-sse tail -q https://example.com/events | sansio-sse serve --json --port 8000
  sansio-sse serve --recording night.jsonl.gz --speed 10 --cors http://localhost:3000

exit codes: 0 all has been served (--end); 1 one cannot listen, or read the input or the recording;
2 wrong usage; 130 SIGINT; 143 SIGTERM.
"""

_LINGER = 3.0  # seconds in which those who come back after the end are told that there is no more
_ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[\x21-\x7e]+")
_PREFLIGHT = (
    ("Access-Control-Allow-Methods", "GET"),
    ("Access-Control-Allow-Headers", "Last-Event-ID, Cache-Control"),
    ("Access-Control-Max-Age", "600"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(run=run, parser=parser)

    source = parser.add_argument_group("what is served")
    source.add_argument("--json", action="store_true", help="lines are JSON objects")
    source.add_argument(
        "--event", metavar="TYPE", type=_event_type, help="the type of events made of plain lines"
    )
    source.add_argument(
        "--recording", metavar="FILE", help="not lines, but the events of a recording"
    )
    source.add_argument(
        "--speed", metavar="N", type=seconds, help="so many times as fast as it was recorded; 1"
    )
    source.add_argument(
        "--end",
        action="store_true",
        help="when the input has ended and everybody has everything, end too; else go on serving",
    )

    clients = parser.add_argument_group("to whom")
    clients.add_argument(
        "--host", metavar="HOST", default="127.0.0.1", help="where to listen; 127.0.0.1"
    )
    clients.add_argument(
        "--port", metavar="N", type=port, default=0, help="and the port; any that is free"
    )
    clients.add_argument(
        "--cors", metavar="ORIGIN", type=_origin, help="let pages of this origin (or *) read it"
    )

    stream = parser.add_argument_group("the stream")
    stream.add_argument(
        "--history",
        metavar="N",
        type=whole_number,
        default=1000,
        help="keep N events (in at most 64 MiB) for those who come later or are slow; 1000",
    )
    stream.add_argument(
        "--live", action="store_true", help="who comes without a Last-Event-ID gets new events only"
    )
    stream.add_argument(
        "--heartbeat",
        metavar="SECONDS",
        type=seconds,
        default=15.0,
        help="a comment after so much silence; 15",
    )
    stream.add_argument(
        "--retry", metavar="MS", type=whole_number, help="the reconnection time to ask for"
    )
    parser.add_argument_group("output").add_argument(
        "-q", "--quiet", action="store_true", help="do not tell who comes and goes"
    )


def _event_type(text: str) -> str:
    try:
        encode_event("", event=text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _origin(text: str) -> str:
    if not _ORIGIN.fullmatch(text):
        raise argparse.ArgumentTypeError("an origin is like https://example.com, or *")
    return text


def run(args: argparse.Namespace) -> int:
    """Serve until there is no more, or for good."""
    parser: argparse.ArgumentParser = args.parser
    err = Channel(2)
    if args.recording is not None and (args.json or args.event is not None):
        parser.error("--json and --event are about lines: they do not go with --recording")
    if args.json and args.event is not None:
        parser.error("--event does not go with --json, which has types of its own")
    if args.speed is not None and args.recording is None:
        parser.error("--speed does not go without --recording")
    recording: Recording | None = None
    if args.recording is not None:
        try:
            recording = read_recording(args.recording)
        except RecordingError as error:
            return _fail(err, f"cannot use {args.recording}: {error}")
        except OSError as error:
            return _fail(err, f"cannot read {args.recording}: {error.strerror}")
    return run_command(lambda: _Serve(args, recording, err).serve())


def _fail(err: Channel, text: str) -> int:
    err.say(f"sansio-sse: {escape(text)}")
    return Exit.FAILED


class _Serve:
    def __init__(self, args: argparse.Namespace, recording: Recording | None, err: Channel) -> None:
        self._args = args
        self._recording = recording
        self._err = err
        self._broadcast = Broadcast(args.history)
        self._server = EventServer(self._answer, host=args.host, port=args.port)
        self._served = 0
        self._streams = 0
        self._events = 0
        self._refused = 0
        self._quiet_since = time.monotonic()
        self._done = asyncio.Event()

    async def serve(self) -> int:
        """Serve; return how it ended."""
        args = self._args
        try:
            await self._server.__aenter__()
        except OSError as error:
            where = f"{args.host}, port {args.port}"
            return _fail(self._err, f"cannot listen at {where}: {error.strerror}")
        try:
            if not is_loopback(args.host):
                self._err.say(
                    f"sansio-sse: everybody who reaches {escape(args.host)} can read this"
                )
            self._err.say(f"serving at {escape(self._server.url)}")
            async with asyncio.TaskGroup() as group:
                feeding = group.create_task(self._feed())
                await self._done.wait()
            return feeding.result()
        finally:
            await self._server.__aexit__(None, None, None)
            self._summarize()

    # --- Events --------------------------------------------------------------------------------

    async def _feed(self) -> int:
        code: int = Exit.OK
        try:
            async for event, id_ in self._source():
                self._events += 1
                self._broadcast.add(event, id_)
                await asyncio.sleep(0)  # readers have their turn, however fast the input is
        except OSError as error:
            code = _fail(self._err, f"cannot read standard input: {error.strerror}")
        except RecordingError as error:
            code = _fail(self._err, f"cannot use {self._args.recording}: {error}")
        if code == Exit.OK:
            self._say(f"the input has ended after {plural(self._events, 'event')}")
            if not self._args.end:
                return code
            self._broadcast.finish()
            await self._until_all_is_served()
        self._done.set()
        return code

    def _source(self) -> AsyncIterator[tuple[bytes, str]]:
        return self._input() if self._recording is None else self._recorded(self._recording)

    async def _input(self) -> AsyncIterator[tuple[bytes, str]]:
        number = 0
        async for line in lines_of_input():
            number += 1
            try:
                if isinstance(line, LineTooLong):
                    raise line
                if self._args.json:
                    yield event_of_json(line, number)
                else:
                    yield event_of_line(line, number, self._args.event)
            except NoEvent as error:
                self._refused += 1
                self._err.say(f"sansio-sse: line {number} is left out: {escape(str(error))}")

    async def _recorded(self, recording: Recording) -> AsyncIterator[tuple[bytes, str]]:
        # As patient a client as there can be: what matters are the events.
        config = ConnectionConfig(
            reconnection=ReconnectionPolicy(max_attempts=0),
            timeouts=Timeouts(idle=0.0),
            heartbeat=HeartbeatConfig(enabled=False),
        )
        began = time.monotonic()
        speed: float = self._args.speed or 1.0
        for at, what in play(recording, config):
            await asyncio.sleep(0)  # readers and signals have their turn, also without an event
            if isinstance(what, ServerSentEvent):
                await asyncio.sleep(max(0.0, began + at / speed - time.monotonic()))
                yield (
                    encode_event(what.data, event=what.event, id=what.id, retry=what.retry),
                    what.id,
                )

    async def _until_all_is_served(self) -> None:
        """Wait until somebody has been served, and nobody has come for a while."""
        linger = max(_LINGER, 2 * (self._args.retry or 0) / 1000)
        while True:
            quiet = time.monotonic() - self._quiet_since
            if self._served and not self._streams and quiet >= linger:
                return
            await asyncio.sleep(0.05 if self._streams or not self._served else linger - quiet)

    # --- Clients -------------------------------------------------------------------------------

    async def _answer(self, request: ClientRequest, reply: Reply) -> None:
        allowed = self._cors()
        if request.method == "OPTIONS" and allowed:
            await reply.whole(204, "", *allowed, *_PREFLIGHT)
        elif request.method not in ("GET", "HEAD"):
            await reply.whole(405, "GET is what there is", ("Allow", "GET, HEAD"))
        elif request.path == "/ping":
            await reply.whole(204, "", *allowed)
        else:
            await self._stream(request, reply, allowed)

    def _cors(self) -> tuple[tuple[str, str], ...]:
        origin: str | None = self._args.cors
        if origin is None:
            return ()
        return (("Access-Control-Allow-Origin", origin), ("Vary", "Origin"))

    async def _stream(
        self, request: ClientRequest, reply: Reply, allowed: tuple[tuple[str, str], ...]
    ) -> None:
        place = self._place(request.last_event_id)
        self._quiet_since = time.monotonic()
        if self._is_all_over(place, request.last_event_id):
            self._count_served(request)
            await reply.whole(204, "", *allowed)
            return
        self._streams += 1
        last_id = shorten(request.last_event_id)
        began = f", after event {last_id}" if last_id else ""
        self._say(f"a client has come{began}: {plural(self._streams, 'client')} now")
        try:
            await reply.head(
                200,
                ("Content-Type", "text/event-stream"),
                ("Cache-Control", "no-store"),
                ("X-Accel-Buffering", "no"),
                *allowed,
            )
            if request.method == "GET":
                await self._send_all(place, reply)
            await reply.end()
            self._count_served(request)
        finally:
            self._streams -= 1
            self._quiet_since = time.monotonic()
            self._say(f"a client has gone: {plural(self._streams, 'client')} now")

    def _count_served(self, request: ClientRequest) -> None:
        self._served += request.method == "GET"  # a HEAD has been told nothing

    def _is_all_over(self, place: int, last_id: str) -> bool:
        """Tell whether a client is to be told that there is no more.

        Events need not have ids, so who comes without one may be somebody who has had everything.
        """
        broadcast = self._broadcast
        if not broadcast.finished:
            return False
        return place >= broadcast.end or (self._served > 0 and not last_id)

    async def _send_all(self, place: int, reply: Reply) -> None:
        retry: int | None = self._args.retry
        if retry is not None:
            await reply.send(encode_retry(retry))
        async for piece in self._broadcast.read(place, self._args.heartbeat):
            await reply.send(piece or encode_comment("still here"))

    def _place(self, last_id: str) -> int:
        broadcast = self._broadcast
        if last_id:
            # Who was away for too long gets what is left; there may be a gap.
            place = broadcast.after(last_id)
            return broadcast.oldest if place is None else place
        return broadcast.end if self._args.live else broadcast.oldest

    # --- Words ---------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        if not self._args.quiet:
            self._err.say(escape(text))

    def _summarize(self) -> None:
        parts = [plural(self._events, "event")]
        if self._refused:
            parts.append(f"{plural(self._refused, 'line')} left out")
        if self._broadcast.dropped:
            parts.append(f"{self._broadcast.dropped} dropped for slow clients")
        if not self._args.quiet:
            self._err.say(self._err.paint("bold", ", ".join(parts)))
