"""The loggers of all that goes through HTTP clients; the core decides what is written to them."""

import logging

from sansio_sse import Log

__all__ = ["LOG"]

_NAME = "sansio_sse_exchanges"

# Who has not asked for logs gets none, not even on standard error.
logging.getLogger(_NAME).addHandler(logging.NullHandler())

LOG = Log(logging.getLogger, _NAME)
"""Of all connections and pools here."""
