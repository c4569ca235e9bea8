"""The HTTP-client backend over httpx2 and httpx: on asyncio, on trio, and in threads."""

from collections.abc import Callable
from types import ModuleType
from typing import Any, ClassVar

import httpx
import httpx2

import sansio_sse_httpx

from .driver_asyncio import Asyncio
from .driver_httpcore import (
    LACKS,
    WHAT_CLIENTS_DIFFER_IN,
    Grouped,
    InThreads,
    opening_in,
)
from .driver_sockets import Connection
from .driver_trio import Trio
from .face import Face, Scenario

_LACKS = LACKS | {"groups", "tidy refusals"}
_ONLY = WHAT_CLIENTS_DIFFER_IN | {"test_answers", "test_hooks", "test_post"}


def _client(
    clients: dict[Any, Any], package: ModuleType, kind: str, options: dict[str, Any]
) -> Any:
    """Return a client of that package, as its user would have it for these options."""
    context, uds = options.pop("ssl_context", None), options.pop("uds", None)
    if (context, uds) not in clients:
        clients[context, uds] = _new_client(package, kind, context, uds)
    return clients[context, uds]


def _new_client(package: ModuleType, kind: str, context: Any, uds: Any) -> Any:
    make = getattr(package, "AsyncHTTPTransport" if kind == "AsyncClient" else "HTTPTransport")
    verify = True if context is None else context
    limits = package.Limits(max_keepalive_connections=0)
    transport = make(verify=verify, uds=None if uds is None else str(uds), limits=limits)
    return getattr(package, kind)(transport=transport)


class _OverHttpx(Grouped):
    lacks = _LACKS
    only = _ONLY
    package: ClassVar[ModuleType]

    def __init__(self) -> None:
        super().__init__()
        self._clients: dict[Any, Any] = {}

    def connect(self, url: str, **options: Any) -> Any:
        client = _client(self._clients, self.package, "AsyncClient", options)
        return opening_in(self, sansio_sse_httpx.AsyncConnection)(client, url, **options)

    async def _clean_up(self) -> None:
        for client in self._clients.values():
            await client.aclose()


class OnAsyncio(_OverHttpx, Asyncio):
    name = "httpx2-asyncio"
    package: ClassVar[ModuleType] = httpx2


class OnTrio(_OverHttpx, Trio):
    name = "httpx2-trio"
    package: ClassVar[ModuleType] = httpx2


class HttpxInThreads(InThreads):
    name = "httpx-threads"
    # This httpx looks at where a redirect leads, though it is not to follow it.
    lacks = InThreads.lacks | _LACKS | {"http://[::1/"}
    only = _ONLY
    package: ClassVar[ModuleType] = httpx

    def __init__(self) -> None:
        super().__init__()
        self._clients: dict[Any, Any] = {}

    def connect(self, url: str, **options: Any) -> Any:
        client = _client(self._clients, self.package, "Client", options)
        return Connection(sansio_sse_httpx.connect(client, url, **options))

    def run(self, scenario: Callable[[], Scenario]) -> None:
        try:
            super().run(scenario)
        finally:
            for client in self._clients.values():
                client.close()


DRIVERS: list[Callable[[], Face]] = [OnAsyncio, OnTrio, HttpxInThreads]
