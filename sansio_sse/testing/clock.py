"""A clock that stands still until it is told to jump, and what is due on the way.

Everything in :mod:`sansio_sse.testing` happens on a :class:`VirtualClock`: a day passes as fast as
what happens in it can be computed, and what is due at one instant happens in the order in which it
was asked for. It must not know what it is used for: networks, connections and event loops are its
callers.
"""

import heapq
from collections.abc import Callable
from typing import Any

__all__ = ["VirtualClock", "VirtualTimer"]

_SPINS = 100_000


class VirtualTimer:
    """Something that is due at a time; :meth:`VirtualClock.call_at` makes it."""

    __slots__ = ("_arguments", "_callback", "at")

    def __init__(
        self, at: float, callback: Callable[..., object], arguments: tuple[Any, ...]
    ) -> None:
        self.at: float = at
        """When it is due."""
        self._callback: Callable[..., object] | None = callback
        self._arguments = arguments

    @property
    def pending(self) -> bool:
        """Whether it is still to come: neither done nor cancelled."""
        return self._callback is not None

    def cancel(self) -> None:
        """Do not do it; harmless when it is done already."""
        self._callback = None
        self._arguments = ()

    def __repr__(self) -> str:
        return f"<VirtualTimer at {self.at}>"

    def _run(self) -> None:
        callback, arguments = self._callback, self._arguments
        self.cancel()
        if callback is not None:
            callback(*arguments)


class VirtualClock:
    """Monotonic seconds from ``now`` on; they pass when somebody jumps, and never backwards.

    >>> clock = VirtualClock()
    >>> clock.call_at(30.0, print, "half a minute later")
    <VirtualTimer at 30.0>
    >>> clock.advance(45)
    half a minute later
    >>> clock.now
    45.0
    """

    __slots__ = ("_heap", "_now", "_number", "_spins")

    def __init__(self, now: float = 0.0) -> None:
        self._now = float(now)
        self._heap: list[tuple[float, int, VirtualTimer]] = []
        self._number = 0
        self._spins = 0  # jumps that led nowhere

    @property
    def now(self) -> float:
        """What time it is."""
        return self._now

    @property
    def next_at(self) -> float | None:
        """When something is due next, or None."""
        heap = self._heap
        while heap and not heap[0][2].pending:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def call_at(self, at: float, callback: Callable[..., object], *arguments: Any) -> VirtualTimer:
        """Call ``callback(*arguments)`` at ``at``; what is past is due now.

        What is due at the same time keeps the order in which it was asked for.
        """
        timer = VirtualTimer(max(at, self._now), callback, arguments)
        self._number += 1
        heapq.heappush(self._heap, (timer.at, self._number, timer))
        return timer

    def jump(self) -> bool:
        """Jump to the next instant at which something is due, and do it; return whether there was.

        What is asked for meanwhile waits for the next jump, even if it is due at the same instant:
        so whoever turns the clock has a turn too. Raises RuntimeError when time does not pass any
        more: a script that lets none pass would hang for ever.
        """
        at = self.next_at
        if at is None:
            return False
        self._spins = self._spins + 1 if at == self._now else 0
        if self._spins > _SPINS:
            self._spins = 0
            raise RuntimeError(f"{_SPINS} jumps, and it is still {at:g} s: time does not pass")
        self._now = at
        heap, newest = self._heap, self._number
        while heap and heap[0][0] <= at and heap[0][1] <= newest:
            heapq.heappop(heap)[2]._run()
        return True

    def advance_to(self, at: float) -> None:
        """Let time pass until ``at``, doing what is due on the way.

        Raises ValueError for a time past.
        """
        if at < self._now:
            raise ValueError(f"it is {self._now:g} s already: a clock does not go back to {at:g} s")
        while (due := self.next_at) is not None and due <= at:
            self.jump()
        self._now = float(at)

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass, doing what is due on the way."""
        self.advance_to(self._now + seconds)

    def __repr__(self) -> str:
        return f"<VirtualClock {self._now:g} s>"
