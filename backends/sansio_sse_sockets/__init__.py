"""Event streams for plain sockets: ``connect()`` and the ``Connection`` it makes, without a loop.

Everything that is decided is decided in :mod:`sansio_sse`; here are sockets and one selector.
"""

from .connection import Connection, connect

__all__ = ["Connection", "connect"]
