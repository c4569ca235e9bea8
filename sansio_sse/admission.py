"""Who may connect now: the admission limit of a set of streams.

Ten thousand streams that lose one server must not come back to it in one instant. Each waits for
its own backoff, with its own jitter; then it asks here. So many attempts may be under way at a
time, and so many to one origin; who has to wait, waits in line, one line for each origin, the lines
taking turns. A dead origin holds up its own line at most.

It must not know streams, endpoints or clocks: a pool, which has endpoints to choose from, does its
own admitting.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from .http import Origin

__all__ = ["Admission", "AdmitStream"]


@dataclass(frozen=True, slots=True)
class AdmitStream:
    """Let an attempt of a stream begin."""

    stream: int
    attempt: int


class Admission:
    """A machine without time: attempts that ask, begin and end.

    >>> admission = Admission(limit=1)
    >>> here, there = Origin("http", "a.example", 80), Origin("http", "b.example", 80)
    >>> admission.asked(1, 7, here, now=0.0), admission.asked(2, 8, there, now=0.0)
    ([AdmitStream(stream=1, attempt=7)], [])
    >>> admission.over(1, now=0.5)
    [AdmitStream(stream=2, attempt=8)]
    """

    __slots__ = ("_busy", "_limit", "_lines", "_per_origin", "_streams", "_under_way", "peak")

    deadline = None

    def __init__(self, limit: int, per_origin: int | None = None) -> None:
        self._limit = limit
        self._per_origin = per_origin
        self._under_way = 0
        self._busy: dict[Origin, int] = {}  # attempts under way to each
        self._streams: dict[int, tuple[Origin, int]] = {}  # attempt, 0: it is under way
        # The lines that can move; one that is at its origin's limit is in none of both orders.
        self._lines: OrderedDict[Origin, OrderedDict[int, int]] = OrderedDict()
        self.peak: int = 0
        """The most attempts there ever were under way."""

    @property
    def under_way(self) -> int:
        """How many attempts are under way."""
        return self._under_way

    @property
    def waiting(self) -> int:
        """How many streams wait for theirs."""
        return len(self._streams) - self._under_way

    def asked(self, stream: int, attempt: int, origin: Origin, now: float) -> Sequence[AdmitStream]:
        """A stream wants to begin an attempt; the latest one counts."""
        self._forget(stream)
        self._streams[stream] = (origin, attempt)
        self._lines.setdefault(origin, OrderedDict())[stream] = attempt
        return self._admit()

    def over(self, stream: int, now: float) -> Sequence[AdmitStream]:
        """A stream's attempt is over, however it ended, or it does not want one any more."""
        self._forget(stream)
        return self._admit()

    def tick(self, now: float) -> Sequence[AdmitStream]:
        """Nothing here depends on time."""
        return ()

    def _forget(self, stream: int) -> None:
        known = self._streams.pop(stream, None)
        if known is None:
            return
        origin, attempt = known
        if attempt:
            line = self._lines[origin]
            del line[stream]
            if not line:
                del self._lines[origin]
            return
        self._under_way -= 1
        self._busy[origin] -= 1
        if not self._busy[origin]:
            del self._busy[origin]

    def _admit(self) -> Sequence[AdmitStream]:
        admitted: list[AdmitStream] = []
        blocked = 0
        while self._under_way < self._limit and blocked < len(self._lines):
            origin, line = self._lines.popitem(last=False)
            busy = self._busy.get(origin, 0)
            if self._per_origin is not None and busy >= self._per_origin:
                self._lines[origin] = line
                blocked += 1
                continue
            blocked = 0
            stream, attempt = line.popitem(last=False)
            if line:
                self._lines[origin] = line  # behind the others: they take turns
            self._streams[stream] = (origin, 0)
            self._busy[origin] = busy + 1
            self._under_way += 1
            self.peak = max(self.peak, self._under_way)
            admitted.append(AdmitStream(stream, attempt))
        return admitted
