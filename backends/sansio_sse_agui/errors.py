"""What an agent's server can do wrong, in the tree of :mod:`sansio_sse.errors`."""

from typing import TYPE_CHECKING, Literal

from sansio_sse import SSEError

if TYPE_CHECKING:
    from .events import RunEvent

__all__ = ["PatchFailed", "ProtocolViolation", "quoted"]

Category = Literal["network", "timeout", "protocol", "usage"]

_SHOWN = 60


def quoted(name: str) -> str:
    """Return a name that a server has made up, fit for an error.

    >>> quoted("m-1"), len(quoted("m" * 1000))
    ("'m-1'", 63)
    """
    return repr(name if len(name) <= _SHOWN else name[:_SHOWN] + "…")


class ProtocolViolation(SSEError):
    """An event came where the protocol allows none such; what comes after it cannot be trusted.

    Content of a message that was never opened, a second start, a run that ends with its messages
    open, a chunk that contradicts the one before.
    """

    category: Category = "protocol"
    retryable: bool = False


class PatchFailed(SSEError):
    """A delta does not apply to what it changes, which stays as it was.

    One may go on: the next snapshot puts right what is different now. ``events`` is what the event
    brought about nevertheless, as :meth:`RunState.feed` would have returned it: the ends of items
    that came in chunks.
    """

    category: Category = "protocol"
    retryable: bool = False

    def __init__(self, message: str, *, cause: BaseException | str | None = None) -> None:
        super().__init__(message, cause=cause)
        self.events: list[RunEvent] = []
