"""``sansio-sse demo``: a hostile server, a client that survives it, and a verdict.

The server (:mod:`.faulty_server`) is a process of its own, on loopback. The client is the public
driver with short timeouts, and nothing else. What the server says it sent, and what came out of the
client, meet only at the end, in :func:`judge`, which knows neither.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from sansio_sse import (
    ConnectionConfig,
    ConnectionState,
    HeartbeatConfig,
    ReconnectionPolicy,
    Request,
    ServerSentEvent,
    SSEError,
    Timeouts,
)
from sansio_sse_asyncio import Connection, connect

from .narrator import STYLES, Narrator
from .process import Exit, run_command
from .terminal import Channel, duration, escape

__all__ = ["SUMMARY", "Verdict", "add_arguments", "judge", "run"]

SUMMARY = "Watch a stream survive a hostile server; needs no network"
"""What the command does, in a few words."""

_TIME_LIMIT = 18.0  # what should take nine seconds, on a machine that is busy with something else

# Everything is shorter than anybody would want it outside of a demonstration.
_CONFIG = ConnectionConfig(
    reconnection=ReconnectionPolicy(max_attempts=0, initial_delay=0.05, max_delay=0.5),
    timeouts=Timeouts(connect=2.0, response=1.0, idle=1.2),
    heartbeat=HeartbeatConfig(enabled=True, interval=0.3, timeout=0.25, max_missed=2),
)


# --- The verdict -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was sent, against what came out; lists are of the events' numbers."""

    sent: int
    """Distinct events in the server's log."""
    received: int
    """Events that came out, repetitions included."""
    lost: tuple[int, ...] = ()
    duplicated: tuple[int, ...] = ()
    out_of_order: tuple[int, ...] = ()
    altered: tuple[int, ...] = ()
    """Came out with another type or other data than was sent, or was never sent."""

    @property
    def good(self) -> bool:
        """Whether every event came out, once, in order, as it was sent."""
        return not (self.lost or self.duplicated or self.out_of_order or self.altered)


def judge(sent: Iterable[ServerSentEvent], received: Iterable[ServerSentEvent]) -> Verdict:
    """Compare a server's log, in which an event may stand several times, with what a client got.

    >>> one, two, three = (ServerSentEvent(data=f"no. {n}", id=str(n)) for n in (1, 2, 3))
    >>> judge([one, two, two, three], [one, two, three]).good
    True
    >>> verdict = judge([one, two, three], [three, one, one])
    >>> verdict.lost, verdict.duplicated, verdict.out_of_order
    ((2,), (1,), (1,))
    """
    log = {int(event.id): (event.event, event.data) for event in sent}
    came: Counter[int] = Counter()
    altered: list[int] = []
    out_of_order: list[int] = []
    newest = 0
    for event in received:
        number = int(event.id) if event.id.isdecimal() else 0
        if log.get(number) != (event.event, event.data):
            altered.append(number)
        elif number < newest and not came[number]:
            out_of_order.append(number)
        newest = max(newest, number)
        came[number] += 1
    return Verdict(
        sent=len(log),
        received=came.total(),
        lost=tuple(sorted(log.keys() - came.keys())),
        duplicated=tuple(sorted(number for number, count in came.items() if count > 1)),
        out_of_order=tuple(out_of_order),
        altered=tuple(altered),
    )


def _ranges(numbers: Sequence[int]) -> str:
    """Return numbers for people.

    >>> _ranges([1, 2, 3, 7])
    '1-3, 7'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


# --- The server's process ----------------------------------------------------------------------


class _DidNotStart(Exception):
    """The server's process ended before it listened, or there is none."""


class _ServerProcess:
    """The faulty server, as a child that ends when its standard input does: with us, or before."""

    def __init__(self, args: argparse.Namespace, note: Callable[[str], object]) -> None:
        self.url = ""
        self.sent: list[ServerSentEvent] = []
        self._args: argparse.Namespace = args
        self._note = note
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._whole = False

    async def __aenter__(self) -> Self:
        # -P and our own path: the child finds what we found, and nothing that lies in the current
        # folder.
        path = os.pathsep.join(entry for entry in sys.path if entry)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "sansio_sse_cli.faulty_server"),
                *("--seed", str(self._args.seed), "--events", str(self._args.events)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C is for us
            )
        except OSError as error:
            raise _DidNotStart(str(error)) from None
        try:
            first = await self._message()
            if "listening" not in first:
                raise _DidNotStart("it ended at once")
        except BaseException:
            await self.__aexit__()
            raise
        self.url = first["listening"]
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        process.stdin.close()
        if process.returncode is None:
            process.kill()
        if self._reading is not None:
            await self._reading
        await process.wait()

    async def finish(self) -> bool:
        """Ask for the log and wait for the end; return whether the log is whole."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._reading is not None
        self._process.stdin.close()
        await self._reading
        await self._process.wait()
        return self._whole

    async def _read(self) -> None:
        while message := await self._message():
            match message:
                case {"note": str(text)}:
                    self._note(text)
                case {"sent": [str(kind), str(data), str(id_)]}:
                    self.sent.append(ServerSentEvent(kind, data, id_))
                case _:
                    self._whole = "end" in message

    async def _message(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        message: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {}
        return message


# --- The command -------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.set_defaults(run=run, parser=parser)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        "exit codes: 0 every event came out, once, in order; 1 not so; 2 wrong usage; 130 SIGINT."
    )
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="another number, other faults"
    )
    parser.add_argument(
        "--events", type=_at_least_one, default=150, metavar="N", help="how many; 150"
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


def run(args: argparse.Namespace) -> int:
    """Play the demonstration."""
    out, err = Channel(1), Channel(2)
    random.seed(args.seed)  # the driver's jitter, so that delays are the same each time
    return run_command(_Demo(args, out, err if args.json else out).play)


def _forget_cursor(request: Request, attempt: int) -> Request:
    kept = (pair for pair in request.headers if pair[0].lower() != "last-event-id")
    return request.replace(headers=tuple(kept))


class _Demo:
    def __init__(self, args: argparse.Namespace, out: Channel, story: Channel) -> None:
        self._args: argparse.Namespace = args
        self._out = out
        self._story = story
        self._paint = story.paint
        self._received: list[ServerSentEvent] = []
        self._began = time.monotonic()
        self._narrator = Narrator(self._client_says)
        self._connection: Connection | None = None

    async def play(self) -> int:
        """Let the client meet the server, and judge."""
        try:
            return await self._play()
        except _DidNotStart as error:
            self._say(f"the server's process did not start: {error}", "red")
            return Exit.FAILED

    async def _play(self) -> int:
        self._say("    time events", "dim")
        async with _ServerProcess(self._args, self._server_says) as server:
            self._connection = connection = connect(
                server.url,
                config=_CONFIG,
                prepare_request=_forget_cursor if self._args.sabotage == "cursor" else None,
                on_change=self._narrator.on_change,
                on_error=self._narrator.on_error,
                wait=False,
            )
            self._out.when_broken(connection.close)
            ended = await self._follow(connection)
            if self._out.broken:
                return Exit.CLOSED_PIPE
            whole = await server.finish()
        if not whole:
            self._say("the server's process ended before it had told what it sent", "red")
        verdict = judge(server.sent, self._received)
        self._print_verdict(verdict, connection)
        return Exit.OK if verdict.good and whole and ended else Exit.FAILED

    async def _follow(self, connection: Connection) -> bool:
        """Take events until the server has no more; return whether that was how it ended."""
        try:
            async with asyncio.timeout(_TIME_LIMIT), connection:
                async for event in connection:
                    assert isinstance(event, ServerSentEvent)  # nothing else was included
                    self._received.append(event)
                self._narrator.ending = True
        except TimeoutError:
            self._say(f"the stream did not end within {_TIME_LIMIT:g} s", "red")
            return False
        except SSEError:
            return False  # has been told as the state ERROR
        return True

    def _server_says(self, text: str) -> None:
        self._line(self._paint("magenta", "server"), text)

    def _client_says(self, state: ConnectionState, text: str) -> None:
        self._line("client", f"{self._paint(STYLES[state], f'{state.value:12}')} {escape(text)}")

    def _line(self, who: str, text: str) -> None:
        now = f"{time.monotonic() - self._began:6.2f} s"
        self._story.say(f"{self._paint('dim', now)} {len(self._received):6} {who} {text}")

    def _say(self, text: str, style: str) -> None:
        self._story.say(self._paint(style, text))

    def _print_verdict(self, verdict: Verdict, connection: Connection) -> None:
        metrics = connection.metrics
        reconnects = self._narrator.reconnects
        took = time.monotonic() - self._began
        if self._args.json:
            extra = {"reconnects": reconnects, "seconds": round(took, 2), "good": verdict.good}
            self._out.say(json.dumps({**asdict(verdict), **extra}))
            return
        pings = f"{metrics.heartbeats_succeeded} of {metrics.heartbeats_sent} pings answered"
        self._say(f"took {duration(took)}, seed {self._args.seed}, {pings}", "dim")
        for name in ("lost", "duplicated", "out_of_order", "altered"):
            numbers = getattr(verdict, name)
            if numbers:
                self._say(f"{name.replace('_', ' ')}: {_ranges(numbers)}", "red")
        figures = (
            f"events sent {verdict.sent}, received {verdict.received}, lost {len(verdict.lost)},"
            f" duplicated {len(verdict.duplicated)}, reconnects {reconnects}"
        )
        self._out.say(self._out.paint("green" if verdict.good else "red", figures))
