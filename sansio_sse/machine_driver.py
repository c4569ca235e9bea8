"""How a machine is fed, whatever machine it is: one input, all its actions, then the next input.

The order of inputs, the deadline, and the mailboxes of those who watch: what a driver of one
connection and a driver of many have in common. It knows no machine's inputs and no action.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

from .errors import ConnectionClosed, SSEError
from .logs import Log

__all__ = ["NO_SLOTS", "MachineDriver", "Observer", "Waiting", "Watcher"]

T = TypeVar("T")

Waiting: TypeAlias = Generator[float | None, None, T]
"""Something to wait for: yields whenever it has to wait, with the time to wait until (None: for
ever), and returns what was waited for."""

Observer: TypeAlias = Callable[[Any, Any], object]
"""``observer(source, news)``: see :meth:`MachineDriver.observe`."""

NO_SLOTS: tuple[str, ...] = ()
"""The ``__slots__`` of a class whose subclasses have its slots: two bases with slots of their own
cannot have one class. (By this name type checkers do not take it for the whole truth.)"""

# A loop's timer may be early by its resolution: uvloop counts in milliseconds.
_EARLY = 0.002
_WATCHED = 1000  # items held for a watcher that does not look


class Watcher(Generic[T]):
    """The bounded mailbox of one iterator over changes or errors.

    The oldest are dropped and counted.
    """

    __slots__ = ("dropped", "items", "kind")

    def __init__(self, kind: type[T] | tuple[type[T], ...], first: Iterable[T] = ()) -> None:
        self.kind: type[T] | tuple[type[T], ...] = kind
        self.items: deque[T] = deque(first, _WATCHED)
        self.dropped: int = 0

    def put(self, item: T) -> None:
        """Add one, in place of the oldest if there are too many."""
        self.dropped += len(self.items) == _WATCHED
        self.items.append(item)


class MachineDriver:
    """Feeds a machine and performs its actions; see the module's text.

    A subclass sets ``_wire``, which takes the news, and ``_machine``, whose deadline counts (the
    same, where there is only one), and writes:

    ============================ ===================================================================
    ``_perform(actions)``        do them, in order
    ``_report(error)``           tell the user of an error that has no caller
    ``_unhandled(error)``        a callback raised and nobody takes errors
    ``_is_over()``               whether nothing more can come for watchers
    ``_now()``                   monotonic seconds
    ``_arm(at)``                 call ``_deadline_reached()`` at ``at``; ``None``: call it no more
    ``_wake()``                  whoever waits should look again: soon, not within this call
    ============================ ===================================================================
    """

    __slots__ = ("_armed", "_busy", "_inputs", "_machine", "_observers", "_watchers", "_wire")

    _log: ClassVar[Log | None] = None
    """What a driver hands in where it logs."""
    _wire: Any
    _machine: Any

    def _prepare_feeding(self) -> None:
        self._busy = False
        self._inputs: deque[tuple[Callable[..., Sequence[Any]], tuple[Any, ...]]] | None = None
        self._armed: float | None = None
        self._watchers: list[Watcher[Any]] | None = None
        self._observers: tuple[Observer, ...] = ()

    # --- Inputs --------------------------------------------------------------------------------

    def _take(self, news: Callable[..., Sequence[Any]], *args: Any) -> None:
        """Give the machine one input and perform all its actions; one born meanwhile waits.

        ``news`` is a function of the machine's class (``WireMachine.bytes_received``), called with
        the machine, ``args`` and the time.
        """
        if self._busy:
            if self._inputs is None:
                self._inputs = deque()
            self._inputs.append((news, args))
            return
        self._busy = True
        try:
            actions = news(self._wire, *args, self._now())
            if actions:
                self._perform(actions)
        finally:
            # Also where a callback was interrupted (Ctrl-C): what waits has to be taken, too.
            try:
                if self._inputs is not None:
                    self._take_waiting()
            finally:
                self._busy = False
                self._rearm()

    def _rearm(self) -> None:
        deadline, armed = self._machine.deadline, self._armed
        if deadline is None:
            if armed is not None:
                self._armed = None
                self._arm(None)
        elif armed is None or deadline < armed:
            self._armed = deadline
            self._arm(deadline)

    def _take_waiting(self) -> None:
        while self._inputs:
            self._next_input()
        self._inputs = None  # an empty deque is three quarters of a KiB

    def _next_input(self) -> None:
        assert self._inputs is not None
        news, args = self._inputs.popleft()
        try:
            actions = news(self._wire, *args, self._now())
        except SSEError as error:  # a command out of order by now, and its caller is gone
            self._report(error)
            return
        if actions:
            self._perform(actions)

    def _deadline_reached(self) -> None:
        """The armed time has come; tell the machine, which may find it too early and ask again."""
        armed = self._armed
        if armed is None:
            return
        if armed - self._now() > _EARLY:
            self._arm(armed)  # armed anew while the old time was being told
            return
        self._armed = None
        self._take(_tick_at_least, armed)

    # --- Watching ------------------------------------------------------------------------------

    def _watch(self, watcher: Watcher[T]) -> Watcher[T]:
        if self._watchers is None:
            self._watchers = []
        self._watchers.append(watcher)
        return watcher

    def _unwatch(self, watcher: Watcher[Any]) -> None:
        if self._watchers is not None and watcher in self._watchers:
            self._watchers.remove(watcher)

    def _watched(self, item: Any) -> None:
        for watcher in tuple(self._watchers or ()):  # one may go meanwhile, in a garbage collection
            if isinstance(item, watcher.kind):
                watcher.put(item)
                self._wake()

    def _poll_watcher(self, watcher: Watcher[T]) -> T | None:
        """Return the next item, None while there is none yet; raise ConnectionClosed at the end."""
        if watcher.items:
            return watcher.items.popleft()
        if self._is_over():
            self._unwatch(watcher)
            raise ConnectionClosed("the connection is closed")
        return None

    def _watching(self, watcher: Watcher[T]) -> Waiting[T]:
        while (item := self._poll_watcher(watcher)) is None:
            yield None
        return item

    # --- Observing -----------------------------------------------------------------------------

    def observe(self, observer: Observer) -> None:
        """Call ``observer(source, news)`` with all that happens from now on but events and data.

        For monitoring. It is called in order, on the driver's own thread, and must not wait. Of a
        connection the news are the core's own actions :class:`StateChanged`, :class:`ErrorOccurred`
        and :class:`ScheduleReconnect`, and :class:`OpenTransport`, :class:`StartExchange` and
        :class:`CloseTransport`. A pool and a set tell those of all their members, each with the
        member as ``source``; a pool tells its own too, :class:`MemberChanged` and
        :class:`EndpointChanged`. Where threads share a pool, each member's news come on the thread
        that turns it: in order for each, and of several at once. What an observer raises goes to
        the loop's own handler.
        """
        self._observers = (*self._observers, observer)

    def unobserve(self, observer: Observer) -> None:
        """Call ``observer`` no more; one that is not there is no mistake."""
        self._observers = tuple(each for each in self._observers if each != observer)

    def _tell_observers(self, source: Any, news: object) -> None:
        for observer in self._observers:
            try:
                observer(source, news)
            except Exception as error:
                self._unhandled(error)

    def _write_down(self, write: Callable[..., None], *news: Any) -> None:
        """Log; a handler or a filter that raises must not cost what else there is to do."""
        try:
            write(self, *news)
        except Exception as error:
            with suppress(Exception):  # many report by logging, which is what has failed
                self._unhandled(error)

    # --- What a subclass writes ----------------------------------------------------------------

    def _perform(self, actions: Sequence[Any]) -> None:
        raise NotImplementedError

    def _report(self, error: BaseException) -> None:
        raise NotImplementedError

    def _unhandled(self, error: BaseException) -> None:
        raise NotImplementedError

    def _is_over(self) -> bool:
        raise NotImplementedError

    def _now(self) -> float:
        raise NotImplementedError

    def _arm(self, at: float | None) -> None:
        raise NotImplementedError

    def _wake(self) -> None:
        raise NotImplementedError


def _tick_at_least(machine: Any, armed: float, now: float) -> Sequence[Any]:
    # A loop's timer may fire a hair early, and asking again for the same hair would spin.
    answer: Sequence[Any] = machine.tick(max(armed, now))
    return answer
