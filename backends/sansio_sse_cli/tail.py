"""``sansio-sse tail URL``: follow a stream and print what it says.

Events go to standard output, everything about them to standard error. What the caller gave in
confidence (headers, a password, values in the url's query) is never printed, not even when a server
sends it back.
"""

import argparse
import base64
import getpass
import ssl
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from sansio_sse import (
    ConnectionConfig,
    ConnectionState,
    ReconnectionPolicy,
    ServerSentEvent,
    SSEError,
    Timeouts,
)
from sansio_sse_asyncio import Connection, connect

from .narrator import STYLES, Narrator
from .process import Exit, run_command
from .terminal import Channel, duration, escape, size, to_json, to_readable

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "Follow a stream and print its events"
"""What the command does, in a few words."""

EPILOG = """\
output: readable text on a terminal, else one JSON object a line; --json and --raw decide otherwise.
States, retries and a summary go to standard error.

exit codes: 0 the stream finished, the server closed it (204), or --until or --count was met;
1 the stream failed; 2 wrong usage; 130 SIGINT; 143 SIGTERM; 141 nobody reads the output any more.
"""

_FORM = "application/x-www-form-urlencoded"
# What a caller may put into these is no secret, and hiding it would spoil messages about it.
_PUBLIC_HEADERS = ("accept", "cache-control", "content-type", "user-agent", "last-event-id")
_SHORTEST_SECRET = 6  # to hide every "1" because of "?room=1" would hide the message

Headers = list[tuple[str, str]]


# --- Arguments ---------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments: curl's, where curl has them."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("url", metavar="URL", help="what to follow; http:// if it has no scheme")

    request = parser.add_argument_group("the request")
    request.add_argument(
        "-H",
        "--header",
        metavar="LINE",
        dest="headers",
        action="extend",
        type=_header_lines,
        default=[],
        help="'Name: value', 'Name;' for an empty one, or @FILE with one a line; may be repeated",
    )
    request.add_argument("-X", "--request", metavar="METHOD", help="GET; POST if there is data")
    request.add_argument(
        "-d",
        "--data",
        metavar="DATA",
        action="append",
        type=_data,
        help="send DATA, or @FILE or @- (standard input) without line ends, by POST; repeated, "
        f"they are joined by '&'; {_FORM} unless a header says otherwise",
    )
    request.add_argument(
        "--data-binary",
        metavar="DATA",
        dest="data",
        action="append",
        type=_binary_data,
        help="the same, byte for byte",
    )
    request.add_argument(
        "-u", "--user", metavar="USER:PASSWORD", help="Basic auth; asks if no password"
    )
    request.add_argument("-A", "--user-agent", metavar="NAME")
    request.add_argument("--last-event-id", metavar="ID", default="", help="go on after this event")

    way = parser.add_argument_group("the way there")
    way.add_argument("-k", "--insecure", action="store_true", help="do not verify certificates")
    way.add_argument("--cacert", metavar="FILE", help="verify against these certificates (PEM)")
    way.add_argument("--unix-socket", metavar="PATH", help="connect to this socket")

    time_ = parser.add_argument_group("when to give up")
    time_.add_argument("--connect-timeout", metavar="SECONDS", type=float, default=10.0, help="10")
    time_.add_argument(
        "--idle-timeout",
        metavar="SECONDS",
        type=float,
        help="reconnect after so much silence; 300, for a POST 600; 0: never",
    )
    time_.add_argument(
        "--max-attempts",
        metavar="N",
        type=int,
        default=0,
        help="retries without an event before giving up; 0, which is unlimited",
    )
    time_.add_argument(
        "--until", metavar="TEXT", help="finish with the first event of this data or type"
    )
    time_.add_argument("-n", "--count", metavar="N", type=_count, help="finish after N events")

    output = parser.add_argument_group("output")
    output.add_argument(
        "--event",
        metavar="TYPE",
        dest="types",
        action="append",
        help="print (and count) only events of this type; may be repeated",
    )
    form = output.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a line")
    form.add_argument("--raw", action="store_true", help="data alone, and a line end after each")
    output.add_argument("-q", "--quiet", action="store_true", help="no news but fatal ones")


def _header_lines(text: str) -> Headers:
    if not text.startswith("@"):
        return [_header(text)]
    lines = _read(text[1:]).decode("utf-8", "surrogateescape").splitlines()
    return [_header(line) for line in lines if line.strip()]


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon and line.endswith(";"):
        return line[:-1].strip(), ""
    if not colon or not value.strip():
        # Never the line itself: perhaps it is a credential with something missing.
        raise argparse.ArgumentTypeError("a header is 'Name: value', or 'Name;' for an empty value")
    return name.strip(), value.strip()


def _data(text: str) -> bytes:
    data = _binary_data(text)
    # As curl: files end in a line end that nobody means.
    return data.translate(None, b"\r\n\0") if text.startswith("@") else data


def _binary_data(text: str) -> bytes:
    return _read(text[1:]) if text.startswith("@") else text.encode("utf-8", "surrogateescape")


def _read(path: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot read {path}: {error.strerror}") from None


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError("a count is a whole number from 1")
    return int(text)


# --- From arguments to a connection ------------------------------------------------------------


class _Usage(Exception):
    """The arguments do not go together, or with this machine."""


def _url(args: argparse.Namespace) -> str:
    url: str = args.url
    return url if "://" in url.partition("?")[0] else f"http://{url}"


def _headers(args: argparse.Namespace) -> Headers:
    headers: Headers = list(args.headers)
    for text in (args.user_agent or "", args.last_event_id, *(value for _, value in headers)):
        if not _is_text(text):  # and a header has nothing to say in which coding it is
            raise _Usage("a header, a user agent or an id has bytes that are not UTF-8")
    given = {name.lower() for name, _ in headers}
    if args.user_agent is not None and "user-agent" not in given:
        headers.append(("User-Agent", args.user_agent))
    if args.user is not None and "authorization" not in given:
        credentials = base64.b64encode(
            _credentials(args.user).encode("utf-8", "surrogateescape")
        ).decode()
        headers.append(("Authorization", f"Basic {credentials}"))
    if args.data is not None and "content-type" not in given:
        headers.append(("Content-Type", _FORM))
    return headers


def _is_text(argument: str) -> bool:
    """Tell whether an argument's bytes were UTF-8: Python smuggles others in as lone surrogates."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def _credentials(user: str) -> str:
    if ":" in user:
        return user
    if not sys.stdin.isatty():
        raise _Usage("-u has no password, and there is no terminal to ask for it")
    return f"{user}:{getpass.getpass(f'Password for {escape(user)}: ')}"


def _ssl_context(args: argparse.Namespace) -> ssl.SSLContext | None:
    if not args.insecure and args.cacert is None:
        return None
    try:
        context = ssl.create_default_context(cafile=args.cacert)
    except OSError as error:  # SSLError, for what is no certificate, is one
        reason = "it has no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise _Usage(f"--cacert: cannot use {args.cacert}: {reason}") from None
    if args.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


def _connection(args: argparse.Namespace, headers: Headers, narrator: Narrator) -> Connection:
    data: list[bytes] | None = args.data
    config = ConnectionConfig(
        reconnection=ReconnectionPolicy(max_attempts=args.max_attempts),
        timeouts=Timeouts(connect=args.connect_timeout, idle=args.idle_timeout),
    )
    return connect(
        _url(args),
        method=args.request or ("GET" if data is None else "POST"),
        headers=headers,
        content=None if data is None else b"&".join(data),
        last_event_id=args.last_event_id,
        config=config,
        ssl_context=_ssl_context(args),
        until=args.until,
        on_change=narrator.on_change,
        on_error=narrator.on_error,
        uds=args.unix_socket,
        wait=False,
    )


def _secrets(url: str, headers: Headers) -> list[str]:
    """Return what must not be printed, longest first, in each form a server may send it back in."""
    found: set[str] = set()
    for name, value in headers:
        if name.lower() in _PUBLIC_HEADERS:
            continue
        scheme, _, token = value.partition(" ")
        found |= {value, token}
        if scheme.lower() == "basic":
            found |= _basic_secrets(token)
    parts = urlsplit(url)
    userinfo, at, _ = parts.netloc.rpartition("@")
    if at:
        _, _, password = userinfo.partition(":")
        token = base64.b64encode(unquote(userinfo).encode()).decode()
        found |= {token, userinfo, unquote(userinfo), password, unquote(password)}
    found |= {value for _, value in parse_qsl(parts.query)}
    # As it was written; without a "=", the whole of it is one value.
    found |= {pair.rpartition("=")[2] for pair in parts.query.split("&")}
    return sorted((s for s in found if len(s) >= _SHORTEST_SECRET), key=len, reverse=True)


def _basic_secrets(token: str) -> set[str]:
    try:
        decoded = base64.b64decode(token, validate=True).decode()
    except ValueError:
        return set()
    return {decoded, decoded.partition(":")[2]}


# --- Running -----------------------------------------------------------------------------------


def run(args: argparse.Namespace) -> int:
    """Follow the stream that the arguments name, to its end or ours."""
    parser: argparse.ArgumentParser = args.parser
    out, err = Channel(1), Channel(2)
    try:
        headers = _headers(args)
        tail = _Tail(args, out, err)
        tail.connection = _connection(args, headers, tail.narrator)
        tail.secrets = _secrets(_url(args), headers)
    except (SSEError, _Usage) as error:
        parser.error(escape(str(error)))
    return run_command(tail.follow)


class _Tail:
    connection: Connection
    secrets: Sequence[str]

    def __init__(self, args: argparse.Namespace, out: Channel, err: Channel) -> None:
        self.narrator = Narrator(self.tell, self._hide)
        self._out = out
        self._err = err
        self._quiet: bool = args.quiet
        self._raw: bool = args.raw
        self._json: bool = args.json or not out.is_terminal
        self._types: frozenset[str] | None = frozenset(args.types) if args.types else None
        self._count: int | None = args.count
        self._given = 0
        self._printed = 0

    async def follow(self) -> int:
        """Print events until there are no more, and say how it ended."""
        began = time.monotonic()
        self._out.when_broken(self.connection.close)
        try:
            await self._print_events()
            return Exit.CLOSED_PIPE if self._out.broken else Exit.OK
        except BrokenPipeError:
            self._out.broken = True
            return Exit.CLOSED_PIPE
        except OSError as error:
            self._err.say(f"sansio-sse: cannot write to standard output: {error.strerror}")
            return Exit.FAILED
        except SSEError:
            return Exit.FAILED  # has been told as the state ERROR
        finally:
            if not self._quiet and not self._out.broken:
                self._summarize(time.monotonic() - began)

    async def _print_events(self) -> None:
        async with self.connection:
            try:
                async for event in self.connection:
                    assert isinstance(event, ServerSentEvent)  # nothing else was included
                    self._given += 1
                    if self._types is None or event.event in self._types:
                        await self._out.write(self._format(event))
                        self._printed += 1
                        if self._printed == self._count:
                            return
            finally:
                self.narrator.ending = True

    def _format(self, event: ServerSentEvent) -> str:
        if self._raw:
            return escape(event.data, keep="\n\t") if self._out.is_terminal else event.data
        return to_json(event) if self._json else to_readable(event, self._out.paint)

    def tell(self, state: ConnectionState, text: str) -> None:
        """Say a piece of news: the state it belongs to, and the news."""
        if self._quiet and state is not ConnectionState.ERROR:
            return
        shown = escape(self._hide(text))
        self._err.say(f"{self._err.paint(STYLES[state], f'{state.value:12}')} {shown}")

    def _hide(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, "…")
        return text

    def _summarize(self, took: float) -> None:
        received = self.connection.metrics.bytes_received
        events = f"{self._given} event{'' if self._given == 1 else 's'}"
        if self._printed != self._given:
            events += f" ({self._printed} printed)"
        reconnects = self.narrator.reconnects
        parts = [
            events,
            size(received),
            f"{reconnects} reconnect{'' if reconnects == 1 else 's'}",
            duration(took),
        ]
        if self.connection.last_event_id:
            parts.append(f"last event id {escape(self.connection.last_event_id)}")
        self._err.say(self._err.paint("bold", ", ".join(parts)))
