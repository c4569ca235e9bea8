"""The bodies of resumed responses: they do what a :class:`~.resumption.Resumption` says.

Both are iterators, not generators: a read that was cancelled or interrupted can be made again, and
the stream goes on where it was.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from types import ModuleType
from typing import Any, Self, assert_never

import anyio

from .resumption import Open, Read, Resumption, Shut, Wait

__all__ = ["async_stream", "sync_stream"]

# A read that ends a hair early is none that took too long. (Besides, for a socket a timeout of 0
# means something else.)
_HAIR = 0.001


class _SyncStream:
    def __init__(self, inner: Any, resumption: Resumption, response: Any, sent: Any) -> None:
        self._inner = inner
        self._resumption = resumption
        self._response = response
        self._chunks: Iterator[bytes] = iter(response.stream)
        self._timeouts = _Timeouts(sent)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        while True:
            step = self._resumption.next(time.monotonic())
            match step:
                case bytes() as output:
                    return output
                case Read(until):
                    self._timeouts.lower(until)
                    self._read()
                case Open(request, until):
                    self._timeouts.lower(until)
                    self._open(request)
                case Wait(until):
                    time.sleep(max(0.0, until - time.monotonic()))
                    self._resumption.waited(time.monotonic())
                case Shut():
                    self._shut()
                case None:
                    raise StopIteration
                case _:
                    assert_never(step)

    def _read(self) -> None:
        try:
            data = next(self._chunks)
        except StopIteration:
            self._resumption.ended(time.monotonic())
        except BaseException as error:
            self._resumption.failed(error, time.monotonic())
            if not isinstance(error, Exception):
                raise
        else:
            self._resumption.received(data, time.monotonic())

    def _open(self, request: Any) -> None:
        try:
            self._response = self._inner.handle_request(request)
        except BaseException as error:
            self._resumption.failed(error, time.monotonic())
            if not isinstance(error, Exception):
                raise
        else:
            self._chunks = iter(self._response.stream)
            self._resumption.opened(self._response, time.monotonic())

    def _shut(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            response.close()

    def close(self) -> None:
        self._resumption.close(time.monotonic())
        self._shut()


class _AsyncStream:
    def __init__(self, inner: Any, resumption: Resumption, response: Any, sent: Any) -> None:
        self._inner = inner
        self._resumption = resumption
        self._response = response
        self._chunks: Any = aiter(response.stream)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while True:
            step = self._resumption.next(anyio.current_time())
            match step:
                case bytes() as output:
                    return output
                case Read(until):
                    await self._read(until)
                case Open(request, until):
                    await self._open(request, until)
                case Wait(until):
                    await anyio.sleep(max(0.0, until - anyio.current_time()))
                    self._resumption.waited(anyio.current_time())
                case Shut():
                    await self._shut()
                case None:
                    raise StopAsyncIteration
                case _:
                    assert_never(step)

    async def _read(self, until: float | None) -> None:
        data: bytes | None = None
        try:
            with _scope(until):
                data = await anext(self._chunks)
        except StopAsyncIteration:
            self._resumption.ended(anyio.current_time())
        except BaseException as error:
            self._resumption.failed(error, anyio.current_time())
            if not isinstance(error, Exception):
                raise
        else:
            if data is None:
                self._resumption.failed(TimeoutError("too late"), anyio.current_time())
            else:
                self._resumption.received(data, anyio.current_time())

    async def _open(self, request: Any, until: float | None) -> None:
        try:
            with _scope(until):
                self._response = await self._inner.handle_async_request(request)
        except BaseException as error:
            self._resumption.failed(error, anyio.current_time())
            if not isinstance(error, Exception):
                raise
        else:
            if self._response is None:
                self._resumption.failed(TimeoutError("too late"), anyio.current_time())
            else:
                self._chunks = aiter(self._response.stream)
                self._resumption.opened(self._response, anyio.current_time())

    async def _shut(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            await response.aclose()
            if hasattr(self._chunks, "aclose"):
                with suppress(RuntimeError):  # another task is reading, and finds it closed
                    await self._chunks.aclose()

    async def aclose(self) -> None:
        self._resumption.close(anyio.current_time())
        await self._shut()


def _scope(until: float | None) -> anyio.CancelScope:
    return anyio.CancelScope() if until is None else anyio.CancelScope(deadline=until)


class _Timeouts:
    """The timeouts of requests and reads to come, which transports look up when they need them."""

    def __init__(self, sent: Any) -> None:
        self._now: dict[str, float | None] = sent.extensions["timeout"]
        self._read = self._now.get("read")

    def lower(self, until: float | None) -> None:
        """Let a read last until then, and no longer than the client wants."""
        left = None if until is None else max(0.0, until - time.monotonic()) + _HAIR
        limits = [limit for limit in (left, self._read) if limit is not None]
        self._now["read"] = min(limits, default=None)


@cache
def sync_stream(module: ModuleType) -> Any:
    """Return the class of what a response of this module can have for its body."""
    return type("ResumingStream", (_SyncStream, module.SyncByteStream), {})


@cache
def async_stream(module: ModuleType) -> Any:
    """Return the same for an asynchronous client."""
    return type("AsyncResumingStream", (_AsyncStream, module.AsyncByteStream), {})
