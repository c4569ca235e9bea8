"""What the examples of the guide talk to, and a way to run one that does not end by itself."""

import http.client
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import IO, Self, TypeVar

from contract.server import Peer, Script, Seen
from examples import EXAMPLES

__all__ = ["STOP", "Program", "cut", "free_port", "get", "held", "refuse", "until", "whole"]

T = TypeVar("T")

_PATIENCE = 20.0


def whole(*data: str, first: int = 1) -> Script:
    """Send events, numbered, and end well."""

    def script(peer: Peer, _seen: Seen) -> None:
        _events(peer, data, first)
        peer.end()

    return script


def cut(*data: str, first: int = 1) -> Script:
    """Send events, and break off in the middle of a chunked body."""

    def script(peer: Peer, _seen: Seen) -> None:
        _events(peer, data, first)
        peer.close()

    return script


def held(*data: str, first: int = 1) -> Script:
    """Send events, and then nothing any more."""

    def script(peer: Peer, _seen: Seen) -> None:
        _events(peer, data, first)
        peer.stall()

    return script


def refuse(status: int, *headers: tuple[str, str], body: bytes = b"") -> Script:
    """Answer with a status alone."""

    def script(peer: Peer, _seen: Seen) -> None:
        peer.respond(status, *headers, body=body)

    return script


STOP = refuse(204)
"""Do not come again."""


def _events(peer: Peer, data: tuple[str, ...], first: int) -> None:
    peer.stream(chunked=True)
    for number, item in enumerate(data, first):
        peer.event(item, id=str(number))


class Program:
    """An example as a program of its own, with warnings as errors, while it runs."""

    def __init__(self, name: str, *arguments: str, **environment: str) -> None:
        path = os.pathsep.join(entry for entry in sys.path if entry)
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments],
            env={**os.environ, "PYTHONPATH": path, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pipesize=4096,  # small, so that a program can be held up by not reading what it prints
            text=True,
        )
        self.lines = _Lines(self.process.stdout)
        self.errors = _Lines(self.process.stderr)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Return its exit code."""
        return self.process.wait(_PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(_PATIENCE)
        self.lines.close()
        self.errors.close()


class _Lines:
    """The lines of a pipe, read by a thread, so that waiting for one has an end."""

    def __init__(self, pipe: IO[str] | None) -> None:
        assert pipe is not None
        self._pipe = pipe
        self._new: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.seen: list[str] = []
        self.go = threading.Event()
        """Cleared, it reads no more."""
        self.go.set()
        self._thread = threading.Thread(target=self._read, name="guide-lines", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._pipe:
            self._new.put(line.rstrip("\n"))
            self.go.wait(_PATIENCE)
        self._new.put(None)

    def until(self, wanted: Callable[[str], object]) -> str:
        """Return the next line that is as wanted; the others go to ``seen`` with it."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                line = self._new.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no such line among {self.seen}") from None
            if line is None:
                raise AssertionError(f"the program has ended: {self.seen}")
            self.seen.append(line)
            if wanted(line):
                return line

    def rest(self) -> list[str]:
        """Return all its lines, once it has ended."""
        self._thread.join(_PATIENCE)
        while not self._new.empty():
            line = self._new.get()
            if line is not None:
                self.seen.append(line)
        return self.seen

    def close(self) -> None:
        """Let go of the pipe, once its writer has ended."""
        self.go.set()
        self._thread.join(_PATIENCE)
        self._pipe.close()


def get(port: int, path: str) -> tuple[int, str]:
    """Ask a program for something, and return the status and the body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
    with closing(connection):
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()


def until(wanted: Callable[[], T]) -> T:
    """Return what a function gives, once that is true; for what only asking again can tell."""
    deadline = time.monotonic() + _PATIENCE
    while not (found := wanted()):
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(0.02)
    return found


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
