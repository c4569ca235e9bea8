"""Event streams for asyncio: ``connect()`` and the ``Connection`` it makes.

Works unchanged on uvloop. Everything that is decided is decided in :mod:`sansio_sse`; here are
transports, timers and tasks.
"""

from .connection import Connection, connect

__all__ = ["Connection", "connect"]
