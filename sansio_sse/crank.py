"""Who turns the crank of many connections where there is no loop: whoever waits.

A connection of plain calls is turned by whoever is in a call of it. In a group most members have
nobody in a call of them, and several threads may wait in the group at one time. One of these leads:
it waits for all shared members together, and lets each take what has come. The others wait until
something has changed, and when the leader has what it wanted, another leads. A member with a holder
is turned by its holder, who minds the group's clock too.

Threads and selectors are the driver's. What waits how long for what is decided here.
"""

from collections.abc import Callable, Collection
from typing import Any, ClassVar, TypeVar

from .group import GroupDriver, MemberDriver
from .machine_driver import NO_SLOTS, Waiting

__all__ = ["SyncGroupDriver", "SyncMemberDriver"]

T = TypeVar("T")


class SyncMemberDriver(MemberDriver):
    """A member that somebody has to turn; stands before a driver's ``Connection``."""

    __slots__ = ()

    _inside: Any

    def _poke(self) -> None:
        """Take what has come, without waiting, unless somebody is inside and does."""
        if self._inside.acquire(blocking=False):
            try:
                if self._can_turn():
                    self._wait_once(0)
            finally:
                self._inside.release()
            self._left()

    def _patience(self) -> float | None:
        """How many seconds it can be left alone; None: until something comes."""
        seconds = self._urgency()
        if self._armed is not None:
            left = max(0.0, self._armed - self._now())
            seconds = left if seconds is None else min(seconds, left)
        return seconds

    def _turn(self, seconds: float | None) -> None:
        # The group has a clock too: what this member waits for may be a matter of that one.
        group: Any = self._group
        left = group._seconds_left()
        if left is not None:
            seconds = left if seconds is None else min(seconds, left)
        turn: Any = super()
        turn._turn(seconds)
        group._ring()

    # Of the face and the driver.

    _wait_once: Callable[[float | None], None]
    _left: Callable[[], None]

    def _can_turn(self) -> bool:
        """Whether there is anything to turn (any more)."""
        raise NotImplementedError

    def _urgency(self) -> float | None:
        """For how many seconds the transports can be left alone; None: until something comes."""
        raise NotImplementedError


class SyncGroupDriver(GroupDriver):
    """A group that is turned by whoever waits in it.

    ============================ ===================================================================
    ``_condition``               a condition variable over ``_guard``
    ``_select(seconds)``         wait that long at most (None: for ever); return the members that
                                 something came for
    ``_nudge()``                 end such a wait in another thread
    ============================ ===================================================================
    """

    __slots__ = NO_SLOTS

    SYNC_SLOTS: ClassVar[tuple[str, ...]] = ("_condition", "_leading", "_shared", "_wakes")

    _condition: Any

    def _set_up(self) -> None:
        self._wakes = 0
        self._leading = False  # one of the threads that wait turns the crank
        self._shared: dict[int, Any] = {}  # the members that it turns

    def _run(self, waiting: Waiting[T]) -> T:
        late = False
        try:
            while True:
                with self._guard:
                    until = next(waiting)
                    seen = self._wakes
                if late:
                    raise TimeoutError
                late = self._wait(until, seen)
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            with self._guard:
                waiting.close()

    def _wait(self, until: float | None, seen: int) -> bool:
        """Turn the crank, or wait for whoever does; return whether ``until`` has passed."""
        with self._condition:
            if self._wakes != seen:
                return False  # something has changed since the caller looked
            lead = not self._leading
            self._leading = True
            if not lead:
                self._condition.wait(None if until is None else max(0.0, until - self._now()))
        if lead:
            try:
                self._lead(until)
            finally:
                with self._condition:
                    self._leading = False
                    self._condition.notify_all()
        return until is not None and self._now() >= until

    def _lead(self, until: float | None) -> None:
        """Wait once for all shared members together, and let each take what has come."""
        members = tuple(self._shared.values())
        waits = [None if until is None else max(0.0, until - self._now()), self._seconds_left()]
        waits += [member._patience() for member in members]
        ready = self._select(min((wait for wait in waits if wait is not None), default=None))
        for member in members:
            seconds = member._patience()
            # If nothing came for anybody, who is impatient has waited for long enough.
            if member in ready or seconds == 0 or (not ready and seconds is not None):
                member._poke()
        self._ring()

    def _seconds_left(self) -> float | None:
        return None if self._armed is None else max(0.0, self._armed - self._now())

    def _ring(self) -> None:
        if self._seconds_left() == 0:
            with self._guard:
                self._deadline_reached()

    def _wake(self) -> None:
        with self._condition:
            self._wakes += 1
            self._condition.notify_all()
            self._nudge()

    def _arm(self, at: float | None) -> None:
        self._nudge()  # who leads looks at the deadline anew

    def _select(self, seconds: float | None) -> Collection[Any]:
        raise NotImplementedError

    def _nudge(self) -> None:
        raise NotImplementedError
