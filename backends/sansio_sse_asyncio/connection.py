"""``Connection`` and ``connect()`` for asyncio, and for uvloop unchanged."""

import asyncio
import random
import ssl
import time
from collections.abc import Callable, Collection
from typing import Any, Self

from sansio_sse import (
    AsyncConnectionDriver,
    ConfigError,
    ConnectionConfig,
    Decide,
    Event,
    HeadersInput,
    Include,
    Origin,
    PrepareRequestHook,
    StateChanged,
    Until,
    WireMachine,
)

from .transport import Link, open_link, shared_view

__all__ = ["Connection", "connect"]


class Connection(AsyncConnectionDriver):
    """One event stream that survives; made by :func:`connect`.

    An async context manager, and an async iterator of events. Every method that is not a coroutine
    may be called from any thread, callback or signal handler.
    """

    __slots__ = (
        "__weakref__",
        "_link",
        "_links",
        "_loop",
        "_ssl_context",
        "_timer",
        "_uds",
        "_unreleased",
        "_waiters",
    )

    def __init__(
        self,
        url: str,
        *,
        ssl_context: ssl.SSLContext | None = None,
        uds: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(url, **options)
        self._ssl_context = ssl_context
        self._uds = uds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiters: list[asyncio.Future[bool]] | None = None
        # Most connections have one transport at a time; only those that ping or post get a dict.
        self._link: tuple[int, Link | asyncio.Future[Any]] | None = None
        self._links: dict[int, Link | asyncio.Future[Any]] | None = None
        self._unreleased = 0

    async def open(self) -> Self:
        """Enter without a block: begin, and (unless ``wait=False``) return when accepted."""
        try:
            await self._enter()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aenter__(self) -> Self:
        return await self.open()

    # --- Verbs ---------------------------------------------------------------------------------

    def _start(self) -> None:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()

    def _now(self) -> float:
        return time.monotonic() if self._loop is None else self._loop.time()

    def _wall_clock(self) -> float:
        return time.time()

    _random = staticmethod(random.random)

    def _arm(self, at: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        assert self._loop is not None
        self._timer = None if at is None else self._loop.call_at(at, self._fired)

    def _fired(self) -> None:
        self._timer = None
        self._deadline_reached()

    def _wake(self) -> None:
        for waiter in self._waiters or ():
            if not waiter.done():
                waiter.set_result(True)

    async def _wait(self, until: float | None) -> None:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(waiter)
        timer = None if until is None else loop.call_at(until, _time_out, waiter)
        try:
            if not await waiter:
                raise TimeoutError
        finally:
            self._waiters.remove(waiter)
            if timer is not None:
                timer.cancel()

    def _from_elsewhere(self, command: Callable[[], None]) -> None:
        if self._loop is None:
            command()  # never started: there is no other place
            return
        try:
            self._loop.call_soon_threadsafe(command)
        except RuntimeError:
            pass  # the loop has ended, and all transports with it

    def _open(self, transport: int, origin: Origin) -> None:
        assert self._loop is not None
        link = Link(self, transport, shared_view(self._loop))
        self._put_link(transport, link)
        self._unreleased += 1
        # The core bounds the handshake; asyncio insists on a limit too, so it gets a later one.
        handshake = self._machine.config.timeouts.connect + 1
        opening = open_link(
            link, origin, uds=self._uds, context=self._ssl_context, handshake=handshake
        )
        link.opening = self._loop.create_task(opening)
        link.opening.add_done_callback(link.opened)

    def _send(self, transport: int, data: bytes) -> None:
        link = self._get_link(transport)
        assert isinstance(link, Link)
        link.send(data)

    def _drop(self, transport: int) -> None:
        link = self._take_link(transport)
        if isinstance(link, Link):
            link.drop()
        elif link is not None:
            link.cancel()

    def _reading(self, transport: int, on: bool) -> None:
        link = self._get_link(transport)
        assert isinstance(link, Link)
        if on:
            link.transport.resume_reading()
        else:
            link.transport.pause_reading()

    def _prepare(self, awaitable: Any, attempt: int) -> None:
        task = asyncio.ensure_future(awaitable)
        self._put_link(attempt, task)
        self._unreleased += 1

        def prepared(task: asyncio.Future[Any]) -> None:
            given_up = self._take_link(attempt) is not task
            error = None if task.cancelled() else task.exception()
            if not given_up:
                if task.cancelled():
                    error = RuntimeError("prepare_request was cancelled")
                if error is None:
                    self._take(WireMachine.request_prepared, attempt, task.result())
                else:
                    self._take(WireMachine.prepare_failed, attempt, error)
            self._released_one()

        task.add_done_callback(prepared)

    def _unhandled(self, error: BaseException) -> None:
        assert self._loop is not None
        self._loop.call_exception_handler(
            {"message": f"a callback of {self!r} raised", "exception": error}
        )

    # --- Links ---------------------------------------------------------------------------------

    def _put_link(self, number: int, link: "Link | asyncio.Future[Any]") -> None:
        if self._link is None:
            self._link = (number, link)
            return
        if self._links is None:
            self._links = {}
        self._links[number] = link

    def _get_link(self, number: int) -> "Link | asyncio.Future[Any] | None":
        if self._link is not None and self._link[0] == number:
            return self._link[1]
        return None if self._links is None else self._links.get(number)

    def _take_link(self, number: int) -> "Link | asyncio.Future[Any] | None":
        if self._link is not None and self._link[0] == number:
            link = self._link[1]
            self._link = None
            return link
        return None if self._links is None else self._links.pop(number, None)

    def _link_released(self, number: int, link: Link) -> None:
        if self._get_link(number) is link:
            self._take_link(number)
        self._released_one()

    def _released_one(self) -> None:
        self._unreleased -= 1
        if not self._unreleased:
            self._wake()

    def _released(self) -> bool:
        return self._unreleased == 0


def _time_out(waiter: "asyncio.Future[bool]") -> None:
    if not waiter.done():
        waiter.set_result(False)


def connect(
    url: str,
    *,
    method: str = "GET",
    headers: HeadersInput = None,
    content: bytes | str | None = None,
    json: Any = None,
    last_event_id: str = "",
    config: ConnectionConfig | None = None,
    ssl_context: ssl.SSLContext | None = None,
    until: Until | None = None,
    decide: Decide | None = None,
    prepare_request: PrepareRequestHook | None = None,
    include: Collection[Include] = (),
    on_event: Callable[[Connection, Event], object] | None = None,
    on_change: Callable[[Connection, StateChanged], object] | None = None,
    on_error: Callable[[Connection, BaseException], object] | None = None,
    name: str | None = None,
    uds: str | None = None,
    proxy: str | None = None,
    wait: bool = True,
) -> Connection:
    """Make a connection to an event stream; ``async with`` (or ``open()``) begins it.

    The block is entered when the stream is first accepted, retrying by policy until then; with
    ``wait=False`` at once. Leaving it closes the connection.

    :param url: http or https; joined to ``config.base_url``. Userinfo becomes Basic auth.
    :param method, headers, content, json: the request; ``json`` is encoded and given its content
        type.
    :param last_event_id: the cursor to begin with.
    :param config: timeouts, reconnection, heartbeat, limits, buffer; see
        :class:`~sansio_sse.ConnectionConfig`.
    :param ssl_context: for https; by default one that verifies, and honours SSL_CERT_FILE and
        SSL_CERT_DIR.
    :param until: what ends a finite stream: a predicate on events, or a string equal to an event's
        data or type.
    :param decide: ``decide(response, attempt)`` may overrule what a response means.
    :param prepare_request: ``prepare_request(request, attempt)`` runs before each attempt and
        returns the request, perhaps changed (a fresh token); it may be async.
    :param include: ``"connected"``, ``"comments"``, ``"ids"`` join the events, each in its place.
    :param on_event: called with each event in place of iteration.
    :param on_change, on_error: called with each state change, and with each error or exception of a
        callback.
    :param name: for people, in ``info()`` and ``repr()``.
    :param uds: connect to this Unix socket, whatever the url's host.
    :param proxy: not offered here: proxies come with the HTTP-client backends. HTTPS_PROXY is not
        read.
    :param wait: whether entering waits for the stream to be accepted.

    Raises :class:`~sansio_sse.ConfigError` for what cannot be.
    """
    if proxy is not None:
        raise ConfigError(
            "proxy: this driver has no proxies; use sansio_sse_httpcore, whose HTTP client has"
        )
    return Connection(
        url,
        method=method,
        headers=headers,
        content=content,
        json=json,
        last_event_id=last_event_id,
        config=config,
        ssl_context=ssl_context,
        until=until,
        decide=decide,
        prepare_request=prepare_request,
        include=include,
        on_event=on_event,
        on_change=on_change,
        on_error=on_error,
        name=name,
        uds=uds,
        wait=wait,
    )
