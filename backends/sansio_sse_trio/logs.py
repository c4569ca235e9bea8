"""The loggers of this driver; what is written to them is decided in :mod:`sansio_sse.logs`."""

import logging

from sansio_sse import Log

__all__ = ["LOG"]

_NAME = "sansio_sse_trio"

# Who has not asked for logs gets none, not even on standard error.
logging.getLogger(_NAME).addHandler(logging.NullHandler())

LOG = Log(logging.getLogger, _NAME)
"""Of all connections and pools here."""
