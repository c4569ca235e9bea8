"""``sansio-sse dash URL...``: follow streams, and show on a live page what they go through.

Here are the arguments; what the page shows, who may see it and how it gets there is the business of
:mod:`.live_page`.
"""

import argparse
import json
import secrets
import sys
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl

from sansio_sse import PoolConfig, SSEError
from sansio_sse_asyncio import ConnectionPool

from .arguments import port, whole_number
from .live_page import (
    SHORTEST_TOKEN,
    Gate,
    PageServer,
    PoolFollower,
    StreamsFollower,
    is_loopback,
)
from .process import Exit, run_command
from .request_options import (
    UsageError,
    add_config_arguments,
    add_request_arguments,
    hider,
    read_config,
    read_request,
)
from .terminal import Channel, escape

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "Show streams on a live page"
"""What the command does, in a few words."""

_LONGEST_TOKEN = 512  # characters; the page's server takes no more

EPILOG = """\
The page's address goes to standard output, once it is served. Streams that fail stay on the page:
the command runs until it is told to end. Who listens beyond this machine (--host) needs a token:
it opens the page, and without --token one is made and printed as a part of the address.

exit codes: 1 cannot listen there; 2 wrong usage; 130 SIGINT; 143 SIGTERM.
"""


# --- Arguments ---------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments: those of ``tail`` for the streams, and the page's own."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument(
        "urls", metavar="URL", nargs="+", help="what to follow; http:// if it has no scheme"
    )
    pool = parser.add_argument_group("the streams")
    pool.add_argument(
        "--pool",
        action="store_true",
        help="the urls are endpoints of one pool, whose members are followed",
    )
    pool.add_argument(
        "--members", metavar="N", type=whole_number, help="how many members; one for each url"
    )
    page = parser.add_argument_group("the page")
    page.add_argument(
        "--host", metavar="ADDRESS", default="127.0.0.1", help="where to serve it; 127.0.0.1"
    )
    page.add_argument("--port", metavar="N", type=port, default=0, help="0, which is a free one")
    page.add_argument(
        "--token",
        metavar="TEXT",
        help=f"what opens it; at least {SHORTEST_TOKEN} characters, or @FILE or @- (standard "
        "input), which no list of processes shows",
    )
    page.add_argument(
        "--allow-host",
        metavar="NAME",
        dest="hosts",
        action="append",
        default=[],
        help="a name under which it is asked for, beside addresses and localhost; may be repeated",
    )
    page.add_argument(
        "--viewers", metavar="N", type=whole_number, default=16, help="how many at one time; 16"
    )
    add_request_arguments(parser)
    add_config_arguments(parser)


def _token(args: argparse.Namespace) -> str | None:
    given: str | None = args.token
    if given is None:
        return None if is_loopback(args.host) else secrets.token_urlsafe(24)
    token = _token_of_file(given[1:]) if given.startswith("@") else given
    if not SHORTEST_TOKEN <= len(token) <= _LONGEST_TOKEN:
        raise UsageError(f"--token has from {SHORTEST_TOKEN} to {_LONGEST_TOKEN} characters")
    # A header has nothing to say in which coding others are, and loses spaces around what it has.
    if not (token.isascii() and token.isprintable()) or token != token.strip():
        raise UsageError("--token has characters of ASCII alone, all visible, no spaces around it")
    return token


def _token_of_file(path: str) -> str:
    try:
        return (sys.stdin.read() if path == "-" else Path(path).read_text("utf-8")).strip()
    except OSError as error:
        raise UsageError(f"--token: cannot read {path}: {error.strerror}") from None
    except ValueError:  # not UTF-8; or a path that cannot be
        raise UsageError(f"--token: cannot read {path}: it is no text") from None


# --- Running -----------------------------------------------------------------------------------


def run(args: argparse.Namespace) -> int:
    """Follow what the arguments name, and serve the page, until a signal comes."""
    parser: argparse.ArgumentParser = args.parser
    try:
        token = _token(args)
        follower = _follower(args)
    except (SSEError, UsageError) as error:
        parser.error(escape(str(error)))
    server = PageServer(
        follower.board,
        Gate(token, args.hosts),
        host=args.host,
        port=args.port,
        most_viewers=args.viewers,
    )
    # In the fragment a browser keeps it to itself: no log has it, on no server on the way. One that
    # was given is known already.
    shown = "" if token is None or args.token is not None else f"#token={token}"
    return run_command(lambda: _show(server, shown, follower))


def _follower(args: argparse.Namespace) -> StreamsFollower | PoolFollower:
    config = read_config(args)
    requests = [read_request(args, url, config) for url in args.urls]
    given = (request.secrets | _secrets_of_data(request.content) for request in requests)
    hide = hider(*given, config=config)
    if not args.pool:
        if args.members is not None:
            raise UsageError("--members goes with --pool")
        return StreamsFollower(
            [
                {"url": request.url, "config": config, **request.for_connect()}
                for request in requests
            ],
            hide,
        )
    members: int = args.members or len(requests)
    endpoints = [request.url for request in requests]
    pool = ConnectionPool(
        PoolConfig(endpoints, connection=config, max_size=members), **requests[0].for_connect()
    )
    return PoolFollower(pool, members, hide)


def _secrets_of_data(data: bytes | None) -> frozenset[str]:
    """Return what was sent by ``-d``, as a whole and in its parts: others may look at the page."""
    text = (data or b"").decode("utf-8", "replace")
    try:
        parts = _strings(json.loads(text))
    except (ValueError, RecursionError):
        pairs = text.split("&")
        parts = {value for _, value in parse_qsl(text)} | {
            pair.rpartition("=")[2] for pair in pairs
        }
    return frozenset({text} | parts)


def _strings(value: Any) -> set[str]:
    """Return the strings among JSON values; keys are no secrets."""
    if isinstance(value, str):
        return {value}
    if isinstance(value, dict):
        return _strings(list(cast("dict[str, Any]", value).values()))
    if isinstance(value, list):
        return {text for each in cast("list[object]", value) for text in _strings(each)}
    return set()


async def _show(server: PageServer, shown: str, follower: StreamsFollower | PoolFollower) -> int:
    try:
        await server.open()
    except (OSError, UnicodeError) as error:  # UnicodeError: nothing has such a name
        where = f"{escape(server.host)} port {server.port}"
        reason = (isinstance(error, OSError) and error.strerror) or "this is no address"
        Channel(2).say(f"sansio-sse: cannot listen on {where}: {reason}")
        return Exit.FAILED
    try:
        Channel(1).say(f"live page: {server.url}{shown}")
        await follower.follow()
    finally:
        await server.aclose()
    return Exit.OK
