"""What the virtual worlds of the drivers share: an unchanged application over a scripted network.

A driver's own ``testing`` module lets the application wait as it always does, on a loop or in a
selector, and comes here to learn what becomes of the waiting: time jumps to what is due next, or
nothing is, or it has been long enough. Drivers that pull take what arrives out of a
:class:`PulledTransport`.

It must not know loops, selectors or pytest: it is given what it needs of them.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Any, Protocol, Self

from sansio_sse.http import Origin

from .clock import VirtualClock
from .network import ScriptedNetwork

__all__ = ["ApplicationNetwork", "Chance", "DeadlockError", "PulledTransport", "VirtualRun"]

_TURNS = 1_000_000
_ROOM = 65536  # bytes which a system receives for a program that does not read


class DeadlockError(RuntimeError):
    """Everybody waits, and nothing is due that could wake anyone: outside, it would hang."""

    @classmethod
    def among(cls, tasks: Iterable[str]) -> Self:
        """Return one that names the tasks which wait."""
        waiting = ", ".join(sorted(tasks)) or "no tasks"
        return cls(f"nothing will ever happen any more, and there wait: {waiting}")


class VirtualRun:
    """How time passes while an application runs: it jumps when everybody waits.

    :param clock: on which it passes.
    :param limit: after how many seconds it is enough; None: never.

    >>> run = VirtualRun(VirtualClock(), limit=3600)
    >>> _ = run.clock.call_at(60.0, print, "a minute")
    >>> run.wait(None)
    a minute
    True
    >>> run.wait(30.0), run.clock.now
    (False, 90.0)
    """

    __slots__ = ("_at", "_limit", "_turns", "clock", "ends_at")

    def __init__(self, clock: VirtualClock, limit: float | None = None) -> None:
        self.clock: VirtualClock = clock
        """On which time passes."""
        self.ends_at: float = inf if limit is None else clock.now + limit
        """When it will have been enough; once it has been told, never."""
        self._limit = limit
        self._at = clock.now
        self._turns = 0

    def turn(self, now: float) -> None:
        """Let it be ``now`` on the clock, and do what is due first; for whoever need not wait.

        Raises RuntimeError when time does not pass any more, and TimeoutError after the limit.
        """
        clock = self.clock
        due = clock.next_at
        if due is not None and due <= now:
            clock.jump()
        else:
            clock.advance_to(now)
        if clock.now > self._at:
            self._at = clock.now
            self._turns = 0
        self._turns += 1
        if self._turns > _TURNS:
            self._turns = 0  # what is left to be done is to clean up
            raise RuntimeError(f"{_TURNS} turns, and it is still {now:g} s: time does not pass")
        if clock.now >= self.ends_at:
            raise self._enough()

    def wait(self, seconds: float | None) -> bool:
        """Let time pass until something was due, or that long; return whether something was.

        Raises :class:`DeadlockError` where nothing will be, and TimeoutError after the limit.
        """
        clock = self.clock
        due = inf if clock.next_at is None else clock.next_at
        until = inf if seconds is None else clock.now + seconds
        if due == until == inf:
            raise DeadlockError("nothing will ever happen any more, and somebody waits for it")
        if min(due, until) >= self.ends_at:
            clock.advance_to(self.ends_at)
            raise self._enough()
        if due <= until:
            return clock.jump()
        clock.advance_to(until)
        return False

    def _enough(self) -> TimeoutError:
        self.ends_at = inf  # cleaning up may take its time
        return TimeoutError(f"the application was not done after {self._limit:g} virtual seconds")


class PulledTransport:
    """A scripted transport for whoever pulls: what arrives is kept, to be taken read by read.

    It keeps about as much as a system would, and beyond that lets the server wait.

    :param changed: called when there is news.
    """

    __slots__ = ("_changed", "_ended", "_held", "_paused", "_pieces", "_wire", "error", "opened")

    def __init__(
        self, network: ScriptedNetwork, origin: Origin, changed: Callable[[], object] = lambda: None
    ) -> None:
        self.opened: bool = False
        """Whether it has been opened, TLS included."""
        self.error: BaseException | None = None
        """Why it could not be opened, or broke."""
        self._changed = changed
        self._pieces: deque[memoryview] = deque()
        self._held = 0
        self._ended = False
        self._paused = False
        self._wire = network.open(origin, self)

    @property
    def readable(self) -> bool:
        """Whether there is something to take: bytes, the end, or an error."""
        return bool(self._pieces) or self._ended or self.error is not None

    def read(self, size: int) -> bytes | None:
        """Take what came as one piece, or ``size`` bytes of it; empty at the end.

        None: there is nothing, and if there is an :attr:`error`, there will be nothing.
        """
        if not self._pieces:
            return b"" if self._ended else None
        piece = self._pieces.popleft()
        if len(piece) > size:
            self._pieces.appendleft(piece[size:])
            piece = piece[:size]
        self._held -= len(piece)
        if self._paused and self._held < _ROOM:
            self._paused = False
            self._wire.resume()
        return bytes(piece)

    def send(self, data: bytes) -> bool:
        """Write; return whether all of it has left (the server may not read)."""
        return self._wire.send(data)

    def close(self) -> None:
        """Close at once, or stop opening, and drop what is kept; harmless when repeated."""
        self._wire.close()
        self._pieces.clear()
        self._ended = False

    # What the network tells.

    def transport_opened(self) -> None:
        """It is open, TLS included."""
        self.opened = True
        self._changed()

    def transport_failed(self, error: BaseException) -> None:
        """It could not be opened, or broke; nothing follows."""
        self.error = error
        self._changed()

    def bytes_received(self, data: bytes) -> None:
        """Bytes arrived."""
        self._pieces.append(memoryview(data))
        self._held += len(data)
        if self._held >= _ROOM:
            self._paused = True
            self._wire.pause()
        self._changed()

    def end_received(self) -> None:
        """The server ended its side."""
        self._ended = True
        self._changed()


class Chance(Protocol):
    """Where numbers are drawn: the module ``random``, or one ``Random`` of its own."""

    def getstate(self) -> Any:
        """Return where it stands."""

    def setstate(self, state: Any, /) -> object:
        """Go back there."""

    def seed(self, a: int, /) -> object:
        """Begin anew."""


class ApplicationNetwork(ScriptedNetwork):
    """What the ``SSENetwork`` of each driver is made of; each adds a ``run(app)`` of its own."""

    _in_order = True  # whether the latest run returned

    @contextmanager
    def running(self, *chances: Chance) -> Generator[None, None, None]:
        """Run something in this block.

        ``chances`` begin at the seed, and afterwards stand where they stood.
        """
        states = [chance.getstate() for chance in chances]
        for chance in chances:
            chance.seed(self.seed)
        self._in_order = False
        try:
            yield
        finally:
            for chance, state in zip(chances, states, strict=True):
                chance.setstate(state)
        self._in_order = True

    @classmethod
    def fixture(cls, pytest: Any) -> Any:
        """Return the fixture ``sse_network``; without pytest (None), the generator it is made of.

        After the test it fails if the application left a transport open.
        """

        def sse_network() -> Iterator[ApplicationNetwork]:
            """A scripted network, over which ``sse_network.run(app)`` runs an application."""
            network = cls()
            yield network
            # An application that failed has been reported already.
            left = network.transports if network._in_order else 0
            assert not left, f"{left} transports were left open: was a connection not closed?"

        return sse_network if pytest is None else pytest.fixture(sse_network)
