"""Event streams for trio: ``connect()`` and the ``Connection`` it makes.

Everything that is decided is decided in :mod:`sansio_sse`; here are streams, one task each.
"""

from .connection import Connection, connect

__all__ = ["Connection", "connect"]
