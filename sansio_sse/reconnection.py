"""How long to wait before trying again, and when to stop trying.

Three parties have a say. Our own policy backs off exponentially, with jitter *below* the computed
delay so that ``max_delay`` is a promise. The server may ask for more, by ``retry:`` for all later
attempts or by Retry-After for the next one; what it asks for is a floor, with jitter *above* it so
that a thousand clients told "30 seconds" do not come back in the same instant. And progress
forgives: an event received, or a long time up, sets the count of retries back. Being accepted is
not progress; a server that accepts and drops must not be hammered.
"""

from collections.abc import Callable

from .config import ReconnectionPolicy

__all__ = ["Reconnection", "backoff"]

# 2.0 ** 1024 overflows a float; long before that the delay is at its maximum.
_MAX_EXPONENT = 64


def backoff(
    policy: ReconnectionPolicy, retries: int, floor: float, random: Callable[[], float]
) -> float:
    """Return the seconds to wait before retry number ``retries`` (from 0).

    ``floor`` is what the server asked for, 0 if nothing; ``random`` returns a number in [0, 1).

    >>> policy = ReconnectionPolicy(initial_delay=1, max_delay=30, jitter_factor=0.5)
    >>> [backoff(policy, n, 0, lambda: 0.0) for n in range(6)]
    [1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
    >>> backoff(policy, 0, 10, lambda: 0.5)
    12.5
    """
    try:
        growth = float(policy.backoff_multiplier) ** min(retries, _MAX_EXPONENT)
    except OverflowError:  # beyond 1e308
        growth = float("inf")
    delay = min(policy.initial_delay * growth, policy.max_delay) if policy.initial_delay else 0.0
    delay *= 1 - policy.jitter_factor * random()
    floor = min(floor, policy.max_server_delay)
    if floor > delay:
        return floor * (1 + policy.jitter_factor * random())
    return delay


class Reconnection:
    """What one connection remembers from one failure to the next; made at its first failure."""

    __slots__ = ("retries", "retry_floor", "since")

    def __init__(self) -> None:
        self.retries: int = 0
        """Retries scheduled since the last progress."""
        self.retry_floor: float = 0.0
        """What the latest ``retry:`` asked for, in seconds; 0 takes an earlier one back."""

        self.since: float = 0.0
        """When the first of these retries was scheduled."""

    def progress(self) -> None:
        """Forgive: the stream delivered something, or has been up for long."""
        self.retries = 0

    def next_delay(
        self,
        policy: ReconnectionPolicy,
        retry_after: float,
        random: Callable[[], float],
        now: float,
    ) -> float | None:
        """Count one more retry and return its delay, or None when they are used up."""
        if policy.max_attempts and self.retries >= policy.max_attempts:
            return None
        if self.retries == 0:
            self.since = now
        delay = backoff(policy, self.retries, max(self.retry_floor, retry_after), random)
        self.retries += 1
        return delay
