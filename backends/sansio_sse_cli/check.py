"""``sansio-sse check URL``: a report about a server of event streams, and how it is operated.

It asks for the stream, listens for a while, and then asks a few more times: to go on after an event
it has seen, without a cursor, and compressed. Each connection is closed before the next is opened.
Here are arguments, the order of the probes, and exit codes; what is found is decided in
:mod:`.checking`.
"""

import argparse
import asyncio
import ssl
import time
from collections.abc import Callable

from sansio_sse import ConfigError, InsecureRedirect, Request, SSEError
from sansio_sse.errors import redact_url
from sansio_sse.http import is_idempotent, make_request, redirect_request
from sansio_sse.http1 import Http1Exchange

from .checking.findings import Severity
from .checking.judge import Facts, judge, unreachable
from .checking.probe import Way, listen, negotiate
from .checking.reception import Reception
from .checking.report import Report
from .checking.resumption import AFTER, choose_cursor, greeting
from .process import Exit, run_command
from .request_options import (
    StreamRequest,
    UsageError,
    add_request_arguments,
    hider,
    read_request,
)
from .terminal import Channel, escape

__all__ = ["SUMMARY", "UNREACHABLE", "add_arguments", "run"]

SUMMARY = "Check a server: is its stream as it should be"
"""What the command does, in a few words."""

UNREACHABLE = 3
"""The exit code where no connection could be made."""

EPILOG = """\
At most five connections are opened, one after the other, and one more for each redirect; a request
that may have an effect (POST) is sent once.

exit codes: 0 no problem was found; 1 there are problems, or with --strict warnings; 2 wrong usage;
3 no connection could be made; 130 SIGINT and 143 SIGTERM, after a report of what was seen by then;
141 nobody reads the output any more.
"""

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5
_COMPRESSED = 5  # events that show whether a compressor is flushed
_OURS = (
    ("Accept", "text/event-stream"),
    ("Cache-Control", "no-cache"),
    ("Accept-Encoding", "identity"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("url", metavar="URL", help="what to check; http:// if it has no scheme")
    add_request_arguments(parser)
    check = parser.add_argument_group("the check")
    check.add_argument(
        "--duration",
        metavar="SECONDS",
        type=_duration,
        default=10.0,
        help="listen so long; later probes take half of it at most, each; 10",
    )
    check.add_argument("--strict", action="store_true", help="fail for warnings, too")
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="one JSON object")
    output.add_argument(
        "-v", "--verbose", action="store_true", help="say of every finding why it matters"
    )


def _duration(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86400:
        raise argparse.ArgumentTypeError("a duration is a number of seconds, above 0, to a day")
    return seconds


def run(args: argparse.Namespace) -> int:
    """Check the server that the arguments name."""
    parser: argparse.ArgumentParser = args.parser
    try:
        stream = read_request(args, args.url)
        request = _request(stream)
        check = _Check(request, stream, args)
    except (SSEError, UsageError) as error:
        parser.error(escape(str(error)))
    return run_command(check.run)


def _request(stream: StreamRequest) -> Request:
    request = make_request(
        stream.method,
        stream.url,
        headers=stream.headers,
        default_headers=_OURS,
        content=stream.content,
    )
    request = _with_cursor(request, stream.last_event_id)
    Http1Exchange(request).start()  # raises what is wrong with a header, before anybody connects
    return request


def _with_cursor(request: Request, cursor: str) -> Request:
    if cursor:
        return request.with_header("Last-Event-ID", cursor)
    kept = tuple(pair for pair in request.headers if pair[0].lower() != "last-event-id")
    return request.replace(headers=kept)


class _Check:
    """One check: probes, one after the other, then the report."""

    def __init__(self, request: Request, stream: StreamRequest, args: argparse.Namespace) -> None:
        context = stream.ssl_context
        if context is None:
            context = ssl.create_default_context()
            context.set_alpn_protocols(["http/1.1"])
        self._request = request
        self._way = Way(context, stream.uds)
        self._facts = Facts(
            duration=args.duration,
            now=time.time(),
            hide=hider(stream.secrets),
            repeatable=is_idempotent(request),
        )
        self._connections = 0
        self._complete = False
        self._json: bool = args.json
        self._verbose: bool = args.verbose
        self._strict: bool = args.strict
        self._out = Channel(1)
        self._err = Channel(2)

    async def run(self) -> int:
        """Probe and report; a report of what there is comes also where it is cancelled."""
        interrupted: asyncio.CancelledError | None = None
        try:
            await self._probe()
            self._complete = True
        except asyncio.CancelledError as error:
            interrupted = error
        report = self._report()
        try:
            text = report.json() if self._json else self._text(report)
            await self._out.write(text)
        except BrokenPipeError:
            return Exit.CLOSED_PIPE
        except OSError as error:
            self._err.say(f"sansio-sse: cannot write to standard output: {error.strerror}")
            return Exit.FAILED
        if interrupted is not None:
            raise interrupted
        return self._exit_code(report)

    def _text(self, report: Report) -> str:
        return report.text(self._out.paint, verbose=self._verbose)

    def _report(self) -> Report:
        facts = self._facts
        heard = facts.heard
        return Report(
            url=facts.hide(redact_url(self._request.url)),
            findings=judge(facts),
            connections=self._connections,
            listened=0.0 if heard is None else heard.listened,
            complete=self._complete,
        )

    def _exit_code(self, report: Report) -> int:
        if unreachable(self._facts):
            return UNREACHABLE
        bad = report.count(Severity.PROBLEM)
        if self._strict:
            bad += report.count(Severity.WARNING)
        return Exit.FAILED if bad else Exit.OK

    # --- The probes ----------------------------------------------------------------------------

    async def _probe(self) -> None:
        facts = self._facts
        heard = await self._listen()
        if heard.streams and facts.repeatable:
            await self._ask_again(heard)
        if heard.opened_at is not None and heard.request.origin.secure:
            self._tell("asking for HTTP/2")
            self._connections += 1
            facts.alpn = await negotiate(heard.request.origin, self._way)

    async def _listen(self) -> Reception:
        """Listen to the stream, wherever redirects lead."""
        facts = self._facts
        request = self._request
        hops: list[Reception] = []
        facts.hops = hops
        self._tell(f"listening for {facts.duration:g} s")
        while True:
            heard = await self._ask(request, facts.duration, None, self._keep_heard)
            followed = _follow(heard) if len(hops) < _MOST_REDIRECTS else None
            if followed is None:
                return heard
            hops.append(heard)
            request = followed

    def _keep_heard(self, heard: Reception) -> None:
        self._facts.heard = heard

    async def _ask_again(self, heard: Reception) -> None:
        """Ask to go on, without a cursor, and compressed; not further once it is refused."""
        facts = self._facts
        request = _with_cursor(heard.request, "")
        short = facts.duration / 2
        cursor = choose_cursor(heard)
        if cursor is not None:
            self._tell("asking to go on after an event")
            resumed = _with_cursor(request, cursor)
            facts.resumed = await self._ask(resumed, short, AFTER)
            if _refused(facts.resumed):
                return
            self._tell("asking without Last-Event-ID")
            enough = greeting(heard, facts.resumed) + 1
            facts.control = await self._ask(request, short, enough)
            if _refused(facts.control):
                return
        self._tell("asking for compression")
        facts.compressed = await self._ask(
            request.with_header("Accept-Encoding", "gzip"), short, _COMPRESSED
        )

    async def _ask(
        self,
        request: Request,
        seconds: float,
        enough: int | None,
        keep: Callable[[Reception], object] = lambda reception: None,
    ) -> Reception:
        self._connections += 1
        return await listen(request, self._way, seconds, enough=enough, keep=keep)

    def _tell(self, what: str) -> None:
        if self._err.is_terminal:
            self._err.say(self._err.paint("dim", f"{what} ..."))


def _refused(asked: Reception) -> bool:
    return asked.response is None or asked.response.status >= 400


def _follow(heard: Reception) -> Request | None:
    """Return the request that a redirect leads to, or None if it is none, or one to refuse."""
    response = heard.response
    location = None if response is None else response.header("location")
    if response is None or location is None or response.status not in _REDIRECTS:
        return None
    try:
        followed = redirect_request(heard.request, response.status, location)
    except ConfigError:
        return None
    if heard.request.origin.secure and not followed.origin.secure:
        heard.error = InsecureRedirect("a redirect from https to http, which was not followed")
        return None
    return followed
