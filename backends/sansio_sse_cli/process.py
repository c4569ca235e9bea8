"""What a command is to its surroundings: exit codes, signals, and standard streams that are there.

Nothing here knows what a command does.
"""

import asyncio
import enum
import errno
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any

__all__ = ["Exit", "fill_standard_streams", "flush_standard_output", "run_command"]


class Exit(enum.IntEnum):
    """How a command ended; above 128 as a shell shows a program that a signal ended."""

    OK = 0
    """The stream finished, or what was asked for was seen."""
    FAILED = 1
    """The stream failed for good, or the output could not be written."""
    USAGE = 2
    """The command was given something it cannot work with."""
    INTERRUPTED = 130
    """SIGINT: somebody pressed Ctrl-C."""
    CLOSED_PIPE = 141
    """Whoever read the output has gone."""
    TERMINATED = 143
    """SIGTERM."""


def run_command(command: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run a command's coroutine and return its exit code; SIGINT and SIGTERM cancel it."""
    return asyncio.run(_under_signals(command))


async def _under_signals(command: Callable[[], Coroutine[Any, Any, int]]) -> int:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_report)
    task = loop.create_task(command())
    received: list[int] = []

    def stop(number: int) -> None:
        received.append(number)
        task.cancel()

    def stop_from_elsewhere(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(stop, number)

    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop, number)
        except NotImplementedError:  # on Windows
            signal.signal(number, stop_from_elsewhere)
        except (RuntimeError, ValueError):
            break  # not on the main thread: signals are somebody else's
    try:
        return await task
    except asyncio.CancelledError:
        if not received:
            raise
        return 128 + received[0]


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report what nobody handled, but for a server without descriptors for one more client.

    asyncio tries again in a second, and would print a hundred tracebacks each time.
    """
    error = context.get("exception")
    if not (isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)):
        loop.default_exception_handler(context)


def fill_standard_streams() -> None:
    """Put the null device where a standard stream was closed (``>&-``).

    The next socket would get its number, and the peer what was meant for the terminal.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)


def flush_standard_output() -> None:
    """Flush what Python has buffered, so that a reader who has gone is no news at exit."""
    try:
        sys.stdout.flush()
    except AttributeError:
        pass  # there is none
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
