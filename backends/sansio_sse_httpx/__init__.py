"""Event streams over an HTTP client of your own: httpx or httpx2, sync or async.

* ``connect(client, url)`` is a whole connection: it reconnects, resumes, watches.
* ``connect_sse`` and its kin are a drop-in for httpx-sse: change the import, and the code stays.
* ``ResumingTransport`` gives an SDK that takes such a client streams that resume, or say that they
  were cut.
"""

from sansio_sse import ServerSentEvent

from .connection import AsyncConnection, Connection, connect
from .event_source import EventSource, aconnect_sse, connect_sse
from .modules import SSEError
from .resuming import AsyncResumingTransport, ResumingTransport

__all__ = [
    "AsyncConnection",
    "AsyncResumingTransport",
    "Connection",
    "EventSource",
    "ResumingTransport",
    "SSEError",
    "ServerSentEvent",
    "aconnect_sse",
    "connect",
    "connect_sse",
]
