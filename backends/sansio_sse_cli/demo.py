"""``sansio-sse demo``: a hostile server, a client that survives it, and a verdict.

The server (:mod:`.faulty_server`) is a process of its own, on loopback. The client is the public
driver with short timeouts, and nothing else. What the server says it sent, and what came out of the
client, meet only at the end, in :func:`.verdict.judge`, which knows neither. With ``--pool``, it is
:mod:`.pool_demo` that is played.
"""

import argparse
import asyncio
import random
from math import inf

from sansio_sse import (
    ConnectionConfig,
    ConnectionState,
    HeartbeatConfig,
    PrepareRequestHook,
    ReconnectionPolicy,
    Request,
    ServerSentEvent,
    SSEError,
    Timeouts,
)
from sansio_sse_asyncio import Connection, connect

from .narrator import STYLES, Narrator
from .pool_demo import SECONDS, PoolDemo
from .process import Exit, run_command
from .server_process import ServerDidNotStart, ServerProcess
from .story import Story
from .terminal import Channel, escape
from .verdict import judge

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "Watch a stream survive a hostile server; needs no network"
"""What the command does, in a few words."""

_EVENTS = 150
_LEAST_SECONDS = 2.0  # in less, there is no way back to be seen
_TIME_LIMIT = 18.0  # what should take nine seconds, on a machine that is busy with something else

# Everything is shorter than anybody would want it outside of a demonstration.
_CONFIG = ConnectionConfig(
    reconnection=ReconnectionPolicy(max_attempts=0, initial_delay=0.05, max_delay=0.5),
    timeouts=Timeouts(connect=2.0, response=1.0, idle=1.2),
    heartbeat=HeartbeatConfig(enabled=True, interval=0.3, timeout=0.25, max_missed=2),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.set_defaults(run=run, parser=parser)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        "exit codes: 0 every event came out, once, in order; 1 not so; 2 wrong usage; 130 SIGINT."
    )
    parser.add_argument(
        "--pool",
        action="store_true",
        help="several streams from three servers instead, one of which is killed and comes back",
    )
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="another number, other faults"
    )
    parser.add_argument(
        "--events", type=_at_least_one, metavar="N", help=f"how many; {_EVENTS}; not for --pool"
    )
    parser.add_argument(
        "--seconds",
        type=_seconds,
        metavar="S",
        help=f"how long the streams of --pool go on; {SECONDS:g}",
    )
    parser.add_argument(
        "--sabotage",
        choices=["cursor"],
        help="break the client, to see the verdict notice: it forgets its cursor",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="the verdict as one JSON object, all else to standard error",
    )


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError("this is a whole number from 1")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not _LEAST_SECONDS <= seconds < inf:
        raise argparse.ArgumentTypeError(f"this is a number of seconds from {_LEAST_SECONDS:g}")
    return seconds


def run(args: argparse.Namespace) -> int:
    """Play the demonstration."""
    for name, other in (("events", True), ("seconds", False)):
        if getattr(args, name) is not None and args.pool is other:
            args.parser.error(f"--{name} does not go {'with' if other else 'without'} --pool")
    random.seed(args.seed)  # the driver's jitter, so that delays are the same each time
    story = Story(Channel(1), Channel(2) if args.json else None)
    prepare = _forget_cursor if args.sabotage == "cursor" else None
    return run_command(lambda: _play(args, story, prepare))


async def _play(args: argparse.Namespace, story: Story, prepare: PrepareRequestHook | None) -> int:
    try:
        if args.pool:
            play = PoolDemo(story, args.seed, args.seconds or SECONDS, prepare).play
        else:
            play = _Demo(args, story, prepare).play
        return await play()
    except ServerDidNotStart as error:
        story.remark(f"the server's process did not start: {error}", "red")
        return Exit.FAILED


def _forget_cursor(request: Request, attempt: int) -> Request:
    kept = (pair for pair in request.headers if pair[0].lower() != "last-event-id")
    return request.replace(headers=tuple(kept))


class _Demo:
    def __init__(
        self, args: argparse.Namespace, story: Story, prepare: PrepareRequestHook | None
    ) -> None:
        self._args: argparse.Namespace = args
        self._story = story
        self._prepare = prepare
        self._narrator = Narrator(self._client_says)

    async def play(self) -> int:
        """Let the client meet the server, and judge."""
        story, seed = self._story, self._args.seed
        story.head()
        arguments = ("--seed", str(seed), "--events", str(self._args.events or _EVENTS))
        async with ServerProcess("faulty_server", *arguments, note=self._server_says) as server:
            connection = connect(
                server.url,
                config=_CONFIG,
                prepare_request=self._prepare,
                on_change=self._narrator.on_change,
                on_error=self._narrator.on_error,
                wait=False,
            )
            story.out.when_broken(connection.close)
            ended = await self._follow(connection)
            if story.out.broken:
                return Exit.CLOSED_PIPE
            whole = await server.finish()
        if not whole:
            story.remark("the server's process ended before it had told what it sent", "red")
        verdict = judge(server.sent, story.received)
        metrics = connection.metrics
        pings = f"{metrics.heartbeats_succeeded} of {metrics.heartbeats_sent} pings answered"
        story.verdict(verdict, f"seed {seed}, {pings}", reconnects=self._narrator.reconnects)
        return Exit.OK if verdict.good and whole and ended else Exit.FAILED

    async def _follow(self, connection: Connection) -> bool:
        """Take events until the server has no more; return whether that was how it ended."""
        try:
            async with asyncio.timeout(_TIME_LIMIT), connection:
                async for event in connection:
                    assert isinstance(event, ServerSentEvent)  # nothing else was included
                    self._story.received.append(event)
                self._narrator.ending = True
        except TimeoutError:
            self._story.remark(f"the stream did not end within {_TIME_LIMIT:g} s", "red")
            return False
        except SSEError:
            return False  # has been told as the state ERROR
        return True

    def _server_says(self, text: str) -> None:
        self._story.line(self._story.paint("magenta", "server"), text)

    def _client_says(self, state: ConnectionState, text: str) -> None:
        shown = self._story.paint(STYLES[state], f"{state.value:12}")
        self._story.line("client", f"{shown} {escape(text)}")
