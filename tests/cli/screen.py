"""A terminal with a screen that can be looked at: the command at one end, an emulator at the
other."""

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import pyte

from .support import BOUND, COMMAND, ENVIRONMENT


class Terminal:
    """A pseudo-terminal, what was written to it, and what its screen shows."""

    def __init__(self, columns: int, lines: int) -> None:
        self.leader, self.follower = os.openpty()
        self.screen: Any = pyte.HistoryScreen(columns, lines, history=10_000, ratio=0.5)
        self._stream: Any = pyte.ByteStream(self.screen)
        self.written = b""
        self._set_size(columns, lines)

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.leader, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns: int, lines: int) -> None:
        """Make the window another size."""
        self._set_size(columns, lines)
        self.screen.resize(lines, columns)

    @property
    def shown(self) -> list[str]:
        """The lines of the screen, empty ones at the end left out."""
        lines = [line.rstrip() for line in self.screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    @property
    def scrolled(self) -> list[str]:
        """The lines that have left the screen at its top."""
        top = self.screen.history.top
        return ["".join(line[x].data for x in sorted(line)).rstrip() for line in top]

    def read(self, seconds: float) -> bool:
        """Take what comes within that time; False where nobody holds the other end any more."""
        ready, _, _ = select.select([self.leader], [], [], seconds)
        if not ready:
            return True
        try:
            data = os.read(self.leader, 65536)
        except OSError:
            return False  # how Linux says so
        self.written += data
        self._stream.feed(data)
        return bool(data)

    def until(self, seen: Callable[[list[str]], object]) -> list[str]:
        """Read until the screen is as wanted, and return its lines."""
        give_up = time.monotonic() + BOUND
        while not seen(self.shown):
            assert time.monotonic() < give_up, self.shown
            assert self.read(0.05), self.shown
        return self.shown

    def to_the_end(self) -> list[str]:
        """Read until the command has gone, and return what the screen shows then."""
        give_up = time.monotonic() + BOUND
        while self.read(0.05):
            assert time.monotonic() < give_up, self.shown
        return self.shown


def last_line(pattern: str) -> Callable[[list[str]], object]:
    """Whether the last line that is shown begins like this."""
    return lambda lines: bool(lines) and re.match(pattern, lines[-1])


@contextmanager
def on_screen(
    *arguments: str,
    columns: int = 80,
    lines: int = 24,
    stdout: int | None = None,
    **environment: str,
) -> "Generator[tuple[Terminal, subprocess.Popen[bytes]]]":
    """Run the command on a terminal; standard output may go elsewhere."""
    terminal = Terminal(columns, lines)
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=terminal.follower if stdout is None else stdout,
        stderr=terminal.follower,
        env=ENVIRONMENT | environment,
    )
    os.close(terminal.follower)
    try:
        yield terminal, process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        os.close(terminal.leader)
