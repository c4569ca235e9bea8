"""Event streams over an HTTP client of your own: httpx or httpx2, sync or async.

A drop-in for httpx-sse: change the import, and the code stays as it is.
"""

from sansio_sse import ServerSentEvent

from .event_source import EventSource, aconnect_sse, connect_sse
from .modules import SSEError

__all__ = ["EventSource", "SSEError", "ServerSentEvent", "aconnect_sse", "connect_sse"]
