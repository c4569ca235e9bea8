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
from .states import ConnectionState

__all__ = ["SyncGroupDriver", "SyncMemberDriver"]

T = TypeVar("T")

_CONNECTED = ConnectionState.CONNECTED
_HELP = 0.1  # seconds between two looks at the others, of a holder whose member is not connected

_LONG = 1e6  # seconds: as long as one can wait in one go
_ROUNDS = 100  # of catching up: a stream that never stops must not hold up its next reader


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
        connected = self._machine.state is _CONNECTED
        if not connected:
            # What it waits for may be another's attempt, and nobody else may be there to turn that.
            seconds = _HELP if seconds is None else min(seconds, _HELP)
        turn: Any = super()
        turn._turn(seconds)
        group._ring()
        if not connected:
            group._help()

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
    ``_start()``                 get ready, if it is not
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
            self._start()
            lead = not self._leading
            self._leading = True
            if not lead:
                left = None if until is None else min(_LONG, max(0.0, until - self._now()))
                self._condition.wait(left)
        if lead:
            try:
                self._lead(until)
            finally:
                self._step_down()
        return until is not None and self._now() >= until

    def _catch_up(self) -> None:
        """Take what has come while nobody was here, without waiting for more."""
        with self._condition:
            if self._leading:
                return  # somebody is here
            self._leading = True
        try:
            for _ in range(_ROUNDS):
                if not self._lead(self._now()):
                    break
        finally:
            self._step_down()

    def _step_down(self) -> None:
        with self._condition:
            self._leading = False
            self._condition.notify_all()

    def _lead(self, until: float | None) -> bool:
        """Wait once for all shared members together, and let each take what has come.

        Return whether something has.
        """
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
        return bool(ready)

    def _help(self) -> None:
        """Let shared members take what has come, if nobody leads."""
        with self._condition:
            if self._leading:
                return
            self._leading = True
        try:
            self._lead(self._now())
        finally:
            with self._condition:
                self._leading = False
                self._condition.notify_all()

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
        for member in tuple(self._connections.values()):
            if member._member not in self._shared:
                member._from_elsewhere(_nothing)  # and so does a holder, who may be all there is

    def _start(self) -> None:
        raise NotImplementedError

    def _select(self, seconds: float | None) -> Collection[Any]:
        raise NotImplementedError

    def _nudge(self) -> None:
        raise NotImplementedError


def _nothing() -> None:
    """Do nothing but look around."""
