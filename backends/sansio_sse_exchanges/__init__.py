"""What the HTTP-client backends share: exchanges as tasks (asyncio, trio) and as threads.

For those who write a backend for an HTTP client of their own: an object with the one method of
:class:`AsyncClient` or :class:`Client`, and a subclass of :class:`AsyncClientConnection` or
:class:`ClientConnection` (and of the pools and sets) whose ``_client`` it is.
"""

from .client import AsyncClient, Client, LetGo, Told, extensions_of, failure_of, response_of
from .groups import AsyncClientPool, AsyncClientStreamSet, ClientPool, ClientStreamSet
from .tasks import AsyncClientConnection
from .threads import ClientConnection

__all__ = [
    "AsyncClient",
    "AsyncClientConnection",
    "AsyncClientPool",
    "AsyncClientStreamSet",
    "Client",
    "ClientConnection",
    "ClientPool",
    "ClientStreamSet",
    "LetGo",
    "Told",
    "extensions_of",
    "failure_of",
    "response_of",
]
