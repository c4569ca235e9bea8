"""``sansio-sse tail URL``: follow a stream and print what it says.

Events go to standard output, everything about them to standard error. What the caller gave in
confidence (headers, a password, values in the url's query) is never printed, not even when a server
sends it back.
"""

import argparse

from sansio_sse import ServerSentEvent, SSEError
from sansio_sse_asyncio import Connection, connect

from .arguments import add_end_arguments
from .news import News, add_news_arguments, plural
from .output import Format, add_format_arguments
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

SUMMARY = "Follow a stream and print its events"
"""What the command does, in a few words."""

EPILOG = """\
output: readable text on a terminal, else one JSON object a line; --json and --raw decide otherwise.
States, retries and a summary go to standard error; if that is a terminal, its last line says how
the stream is doing.

examples:
  sansio-sse tail localhost:8000/events
  sansio-sse tail -q https://example.com/events | jq -r .data
  sansio-sse tail -H @secrets -d @question.json --until '[DONE]' --raw https://api.example.com/chat

exit codes: 0 the stream finished, the server closed it (204), or --until or --count was met;
1 the stream failed; 2 wrong usage; 130 SIGINT; 143 SIGTERM; 141 nobody reads the output any more.
"""


# --- Arguments ---------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments: curl's, where curl has them."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("url", metavar="URL", help="what to follow; http:// if it has no scheme")

    add_request_arguments(parser)
    time_ = add_config_arguments(parser)
    add_end_arguments(time_)

    output = add_format_arguments(parser)
    output.add_argument(
        "--event",
        metavar="TYPE",
        dest="types",
        action="append",
        help="print (and count) only events of this type; may be repeated",
    )
    add_news_arguments(output)


# --- Running -----------------------------------------------------------------------------------


def run(args: argparse.Namespace) -> int:
    """Follow the stream that the arguments name, to its end or ours."""
    parser: argparse.ArgumentParser = args.parser
    try:
        tail = _Tail(args, Channel(1), Channel(2))
    except (SSEError, UsageError) as error:
        parser.error(escape(str(error)))
    return run_command(tail.follow)


class _Tail:
    def __init__(self, args: argparse.Namespace, out: Channel, err: Channel) -> None:
        config = read_config(args)
        request = read_request(args, args.url, config)
        self._news = News(args, err, hider(request.secrets, config=config))
        narrator = self._news.narrator
        self._connection: Connection = connect(
            request.url,
            **request.for_connect(),
            config=config,
            until=args.until,
            on_change=narrator.on_change,
            on_error=narrator.on_error,
            wait=False,
        )
        self._out = out
        self._err = err
        self._format = Format(args, out)
        self._types: frozenset[str] | None = frozenset(args.types) if args.types else None
        self._count: int | None = args.count
        self._given = 0
        self._printed = 0

    async def follow(self) -> int:
        """Print events until there are no more, and say how it ended."""
        self._out.when_broken(self._leave)
        self._news.begin(self._connection, self._out)
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
            self._news.end()
            if not self._out.broken:
                self._summarize()

    def _leave(self) -> None:
        self._news.narrator.ending = True
        self._connection.close()

    async def _print_events(self) -> None:
        async with self._connection:
            try:
                async for event in self._connection:
                    assert isinstance(event, ServerSentEvent)  # nothing else was included
                    self._given += 1
                    self._news.touch()
                    if self._types is None or event.event in self._types:
                        await self._out.write(self._format(event))
                        self._printed += 1
                        if self._printed == self._count:
                            return
            finally:
                self._news.narrator.ending = True

    def _summarize(self) -> None:
        events = plural(self._given, "event")
        if self._printed != self._given:
            events += f" ({self._printed} printed)"
        self._news.summarize(self._connection, events)
