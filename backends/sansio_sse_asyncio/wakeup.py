"""How a reader is woken by what arrives: at once.

A future that is set wakes its task in the loop's *next* turn, and that turn (a look at all sockets
first) is a third of what an event costs when events come one by one. A :class:`Wakeup` is a future
as far as a task can tell, but its task can go on right where the bytes are: in a callback of the
loop, in which no other task is running.

Each Python function on that way costs a quarter of a microsecond, and more when the processor was
asleep, so what a task asks of a future is answered without one where it can be.
"""

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context
from typing import TYPE_CHECKING, Any

__all__ = ["Wakeup"]

_go_on: Callable[[], None] = type(None)  # returns None, and is no Python function


class Wakeup(list[Any]):
    """What the reader of a connection awaits, again and again; one task at a time.

    A list, because ``await`` wants an iterator: the one of a list with itself in it yields what a
    task takes for a future, and ends when the task goes on.
    """

    __slots__ = ("_asyncio_future_blocking", "_loop", "callback", "context", "free", "result")

    if TYPE_CHECKING:

        def __await__(self) -> Generator[Any, None, None]: ...
    else:
        __await__ = list.__iter__

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__((self,))
        self._asyncio_future_blocking = True  # what a task knows a future by
        self._loop = loop  # where a task looks, too
        self.free: bool = True
        """Whether it may be awaited; after a cancellation never again."""
        self.callback: Callable[[Any], object] | None = None
        """How the task goes on that waits, if one does."""
        self.context: Any = None
        self.result: Callable[[], object] = _go_on
        """Called by the task as it goes on; raises CancelledError if it was cancelled."""

    def wake(self) -> None:
        """Let the task go on soon, if one waits."""
        if self.callback is not None:
            self.free = True
            self._go_on_soon()

    def _go_on_soon(self) -> None:
        callback, self.callback = self.callback, None
        assert callback is not None
        self._loop.call_soon(callback, self, context=self.context)

    # --- For the task --------------------------------------------------------------------------

    def add_done_callback(
        self, callback: Callable[[Any], object], *, context: Context | None = None
    ) -> None:
        """Note how the task goes on."""
        self._asyncio_future_blocking = True  # the task has unset it
        self.free = False
        self.callback = callback
        self.context = context

    def done(self) -> bool:
        """Whether there is nothing to wait for."""
        return self.callback is None

    def cancel(self, msg: Any = None) -> bool:
        """Let the task go on with CancelledError; return whether it was still waiting."""
        if self.callback is None:
            return False

        def cancelled() -> None:
            raise asyncio.CancelledError(*(() if msg is None else (msg,)))

        self.result = cancelled
        self._go_on_soon()
        return True
