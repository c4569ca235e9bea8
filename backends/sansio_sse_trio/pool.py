"""``ConnectionPool`` and ``StreamSet`` for trio: all tasks of all members in one nursery."""

import select
import warnings
from typing import Any, Self

import trio

from sansio_sse import AsyncConnectionPool, AsyncStreamSet, MemberDriver, WireMachine

from .connection import Connection
from .loop import LoopVerbs
from .transport import Link

__all__ = ["ConnectionPool", "StreamSet"]


class Member(MemberDriver, Connection[Any]):
    """A connection of a pool or a set."""

    __slots__ = MemberDriver.SLOTS

    def _set_up(self) -> None:
        super()._set_up()
        group: Any = self._group
        self._nursery = group._nursery

    def _detach(self, transport: int, owner: Any) -> Link:
        link = self._links.pop(transport)
        assert isinstance(link, Link)
        link.owner, link.number = owner, 0
        self._task_released()
        return link

    def _attach(self, transport: int, link: Link) -> bool:
        if _readable(link.stream):
            link.cancel()  # the server closes it, or says what nobody asked for
            return False
        link.owner, link.number = self, transport
        self._links[transport] = link
        self._tasks += 1
        self._take(WireMachine.transport_opened, transport)
        return True


class _Group(LoopVerbs):
    """What a pool and a set have in common here."""

    __slots__ = ()

    _start_now: Any
    _check_idle: Any

    def _set_up(self) -> None:
        self._set_up_loop()

    def _new_member(self) -> Member:
        return Member.__new__(Member)

    async def __aenter__(self) -> Self:
        self._check_idle()
        return await super().__aenter__()

    async def open(self, nursery: trio.Nursery) -> Self:
        """Enter without a block, with tasks in ``nursery``; ``aclose()`` ends them."""
        self._check_idle()
        self._nursery = nursery
        await self._enter()
        return self

    async def _enter(self) -> None:
        self._start()
        self._start_now()

    def _gone(self) -> bool:
        return not self._tasks


class ConnectionPool(_Group, AsyncConnectionPool):
    """A pool of event streams for trio: an async context manager.

    Its arguments are those of :class:`~sansio_sse.pool_driver.PoolDriver`. ``acquire`` and
    ``stream`` wait, ``release`` and ``close`` do not.
    """

    __slots__ = ("__weakref__", *LoopVerbs.SLOTS)

    async def aclose(self, grace: float = 0.0) -> None:
        """Close, and wait until everything is released."""
        try:
            if grace:
                await AsyncConnectionPool.aclose(self, grace)
        finally:
            with trio.CancelScope(shield=True):  # all tasks are cancelled: it takes no time
                await AsyncConnectionPool.aclose(self)

    def _drop_link(self, link: Link) -> None:
        link.cancel()

    def _warn(self, text: str) -> None:
        warnings.warn(text, ResourceWarning, stacklevel=2)


class StreamSet(_Group, AsyncStreamSet):
    """Event streams with different urls, for trio: an async context manager.

    Its arguments are those of :class:`~sansio_sse.stream_set.StreamSetDriver`.
    """

    __slots__ = ("__weakref__", *LoopVerbs.SLOTS)

    async def aclose(self) -> None:
        """Close, and wait until everything is released."""
        with trio.CancelScope(shield=True):  # all tasks are cancelled: it takes no time
            await AsyncStreamSet.aclose(self)


def _readable(stream: Any) -> bool:
    while hasattr(stream, "transport_stream"):  # TLS
        stream = stream.transport_stream
    if not hasattr(stream, "socket"):
        return True  # it is scripted: such a server answers once
    poll = select.poll()
    poll.register(stream.socket.fileno(), select.POLLIN)
    return bool(poll.poll(0))
