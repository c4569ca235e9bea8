"""A server that is a process of its own, on loopback: both ends of what it and its parent say.

The child writes JSON lines to its standard output: first ``{"listening": url, "port": port}``, then
``{"note": text}`` as things happen and ``{"sent": [type, data, id]}`` for each event that it sent;
last, if it ended as it should, ``{"end": true}``. Its standard input says nothing, and ends when
the child is to end: it never outlives whoever holds that input.
"""

import asyncio
import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from sansio_sse import ServerSentEvent

from .loopback import LoopbackServer

__all__ = ["ServerDidNotStart", "ServerProcess", "serve_parent", "tell", "tell_sent"]

# --- The parent's end --------------------------------------------------------------------------


class ServerDidNotStart(Exception):
    """The server's process ended before it listened, or there is none."""


class ServerProcess:
    """A server, as a child that ends when its standard input does: with us, or before.

    Args:
        module: The module of this package that is the server.
        arguments: Its arguments.
        note: Called with each thing it says it does.
    """

    def __init__(
        self, module: str, *arguments: str, note: Callable[[str], object] = lambda text: None
    ) -> None:
        self.url: str = ""
        """Where its stream is."""
        self.port: int = 0
        """Where it listens."""
        self.sent: list[ServerSentEvent] = []
        """What it has said so far that it sent."""
        self.killed: bool = False
        """Whether it was told to end at once."""
        self._module = module
        self._arguments = arguments
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
                *(sys.executable, "-P", "-m", f"{__package__}.{self._module}", *self._arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C is for us
            )
        except OSError as error:
            raise ServerDidNotStart(str(error)) from None
        try:
            match await self._message():
                case {"listening": str(url), "port": int(port)}:
                    self.url, self.port = url, port
                case _:
                    raise ServerDidNotStart("it ended at once")
        except BaseException:
            await self.kill()
            raise
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.kill()

    async def kill(self) -> None:
        """End it at once (SIGKILL); what it had said before is heard."""
        assert self._process is not None
        if self._process.returncode is None:
            self.killed = True
            self._process.kill()
        await self.finish()

    async def finish(self) -> bool:
        """Ask it to end, and wait until it has; return whether it told all that it had to."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._reading is not None:
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


# --- The child's end ---------------------------------------------------------------------------


async def serve_parent(server: LoopbackServer) -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    parent_left = asyncio.Event()

    def wait_for_end() -> None:
        # Not sys.stdin: a thread that waits inside it holds a lock which the exit of Python needs.
        while os.read(0, 1024):
            pass
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            loop.call_soon_threadsafe(parent_left.set)

    threading.Thread(target=wait_for_end, daemon=True).start()
    async with server:
        tell(listening=server.url, port=server.port)
        await parent_left.wait()


def tell_sent(event: ServerSentEvent) -> None:
    """Tell the parent of an event that was sent, or is about to be."""
    tell(sent=[event.event, event.data, event.id])


def tell(**message: object) -> None:
    """Write a line for the parent; what is written survives us."""
    try:
        sys.stdout.write(f"{json.dumps(message)}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os._exit(1)  # the parent was killed: there is nobody left to be told anything
