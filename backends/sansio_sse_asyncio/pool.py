"""``ConnectionPool`` and ``StreamSet`` for asyncio, and for uvloop unchanged."""

import select
import warnings
from typing import Any, Self

from sansio_sse import (
    AsyncConnectionPool,
    AsyncStreamSet,
    MemberDriver,
    WireMachine,
)

from .connection import Connection
from .loop import LoopVerbs
from .transport import Link

__all__ = ["ConnectionPool", "StreamSet"]


class Member(MemberDriver, Connection[Any]):
    """A connection of a pool or a set."""

    __slots__ = MemberDriver.SLOTS

    def _detach(self, transport: int, owner: Any) -> Link:
        link = self._take_link(transport)
        assert isinstance(link, Link)
        link.owner, link.number = owner, 0
        self._released_one()
        return link

    def _attach(self, transport: int, link: Link) -> bool:
        sock = link.transport.get_extra_info("socket")
        if sock is None or link.transport.is_closing() or _readable(sock.fileno()):
            link.drop()  # the server closes it, or says what nobody asked for
            return False
        link.owner, link.number = self, transport
        self._put_link(transport, link)
        self._unreleased += 1
        self._take(WireMachine.transport_opened, transport)
        return True


class _Group(LoopVerbs):
    """What a pool and a set have in common here."""

    __slots__ = ()

    def _set_up(self) -> None:
        self._set_up_loop()

    def _new_member(self) -> Member:
        return Member.__new__(Member)


class ConnectionPool(_Group, AsyncConnectionPool):
    """A pool of event streams for asyncio: an async context manager.

    Its arguments are those of :class:`~sansio_sse.pool_driver.PoolDriver`. ``acquire`` and
    ``stream`` wait, ``release`` and ``close`` do not.
    """

    __slots__ = ("__weakref__", *LoopVerbs.SLOTS)

    async def open(self) -> Self:
        """Enter without a block."""
        self._start()
        self._start_now()
        return self

    async def __aenter__(self) -> Self:
        return await self.open()

    def _drop_link(self, link: Link) -> None:
        link.drop()

    def _warn(self, text: str) -> None:
        warnings.warn(text, ResourceWarning, stacklevel=2)


class StreamSet(_Group, AsyncStreamSet):
    """Event streams with different urls, for asyncio: an async context manager.

    Its arguments are those of :class:`~sansio_sse.stream_set.StreamSetDriver`. There is no task for
    each stream: ten thousand fit into one process.
    """

    __slots__ = ("__weakref__", *LoopVerbs.SLOTS)

    async def open(self) -> Self:
        """Enter without a block."""
        self._start()
        self._start_now()
        return self

    async def __aenter__(self) -> Self:
        return await self.open()


def _readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
