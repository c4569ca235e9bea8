"""Chance that repeats itself: a small generator of its own, the same on every Python.

The core draws no number by itself, and the standard library's generator is no part of it; what it
promises about its sequence of numbers, moreover, ends at some of its methods. Nothing here is fit
for secrets.
"""

from collections.abc import MutableSequence, Sequence
from typing import TypeVar

__all__ = ["SeededRandom"]

T = TypeVar("T")

_MASK = (1 << 64) - 1


class SeededRandom:
    """SplitMix64: numbers that look random, and are the same for the same seed everywhere.

    An instance is what machines take as ``random``: called, it returns a float in [0, 1).

    >>> random = SeededRandom(7)
    >>> [random.randrange(100) for _ in range(5)], SeededRandom(7).randrange(100)
    ([87, 4, 46, 3, 74], 87)
    """

    __slots__ = ("_state",)

    def __init__(self, seed: int = 0) -> None:
        self._state = seed & _MASK

    def bits(self) -> int:
        """Return 64 random bits as a number."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return mixed ^ (mixed >> 31)

    def __call__(self) -> float:
        """Return a float in [0, 1)."""
        return (self.bits() >> 11) * 2.0**-53

    def uniform(self, low: float, high: float) -> float:
        """Return a float from ``low`` to ``high``."""
        return low + (high - low) * self()

    def randrange(self, start: int, stop: int | None = None) -> int:
        """Return a whole number below ``start``, or from ``start`` to below ``stop``."""
        low, high = (0, start) if stop is None else (start, stop)
        if high <= low:
            raise ValueError(f"there is no number from {low} to below {high}")
        return low + self.bits() % (high - low)

    def choice(self, items: Sequence[T]) -> T:
        """Return one of the items."""
        return items[self.randrange(len(items))]

    def shuffle(self, items: MutableSequence[T]) -> None:
        """Bring the items into another order, in place."""
        for last in range(len(items) - 1, 0, -1):
            other = self.randrange(last + 1)
            items[last], items[other] = items[other], items[last]

    def fork(self) -> "SeededRandom":
        """Return another generator: what is drawn from it does not shift what comes from this."""
        return SeededRandom(self.bits())
