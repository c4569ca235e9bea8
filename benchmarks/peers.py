"""The peers: what they are, how each is driven, and why that is fair.

Each is what a release installs, with its own defaults, used as its README shows. Two things are
done to all alike: a limit that can be set is raised for lines that are longer than it, and TLS is
given the authority of the test certificate by the parameter that the documentation names for it.

*Decoders* are fed the chunks of a workload, with as little around them as they can live with:

* ``httpx-sse``: its ``EventSource.iter_sse`` over a response that does nothing but decode the
  chunks with httpx's text decoder;
* ``httpx2``: the fork of httpx that the SDKs below use has event streams of its own
  (``client.sse``). Its ``EventSource`` over the same kind of response. It refuses events of more
  than 1 MiB, unless it is told otherwise;
* ``openai``, ``anthropic``: the decoder that each SDK keeps privately (``_streaming.SSEDecoder``),
  by ``iter_bytes`` as in its ``Stream``. Both began as copies of httpx-sse's;
* ``launchdarkly-eventsource``: its two private readers, without the client around them, which would
  only make it slower. Comments, which it yields, are not counted;
* ``aiohttp-sse-client2``: parsing is a part of its client. A client without a session is given
  aiohttp's own ``StreamReader`` with all chunks in it, so ``async for`` never waits. It refuses
  lines longer than that reader's limit, unless the reader is made with a higher one.

*Clients* read a url to its end:

* ``httpx + httpx-sse``: ``connect_sse`` and ``aconnect_sse``;
* ``httpx2``: ``client.sse``, sync and async;
* ``aiohttp + aiohttp-sse-client2``: ``async for`` over its ``EventSource``. When the stream ends it
  waits and connects again; before that it calls ``on_error``, which ends it here;
* ``urllib3 + launchdarkly-eventsource``: ``SSEClient(url).events``. Its README says that its
  asyncio client should not be considered ready for use, so that has no row;
* ``openai``, ``anthropic``: what the SDKs document for endpoints that they do not know,
  ``client.get(..., stream=True)``, which is the way of every streamed answer. It decodes the JSON
  of each event and there is no way around it, so there is a row of ours that does so too. The
  pydantic models that answers of theirs are made into are left out.

None of them runs on uvloop, which no README asks for: compare our uvloop with our asyncio.
"""

import asyncio
import json
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from ratios import HERE, child

Chunks = list[bytes]
Event = tuple[str, str, str]  # type, data, last event ID


class Over(Exception):
    """A stream that would begin again has come to its end."""


def over() -> None:
    raise Over


def counted(events: Iterable[Any]) -> int:
    found = 0
    for _ in events:
        found += 1
    return found


async def acounted(events: AsyncIterable[Any]) -> int:
    found = 0
    try:
        async for _ in events:
            found += 1
    except Over:
        pass
    return found


# Decoders.


@dataclass(frozen=True, slots=True)
class Decoder:
    """Something that makes events of chunks; the second argument is the longest event, in bytes."""

    count: Callable[[Chunks, int | None], int]
    events: Callable[[Chunks, int | None], list[Event]]


def iterated(iterate: Callable[[Chunks, int | None], Iterable[Any]]) -> Decoder:
    """Make a decoder of what makes an iterator over events like those of httpx-sse."""

    def events(chunks: Chunks, limit: int | None) -> list[Event]:
        return [
            (event.event or "message", event.data, event.id or "")
            for event in iterate(chunks, limit)
        ]

    return Decoder(lambda chunks, limit: counted(iterate(chunks, limit)), events)


class Response:
    """As much of a response of httpx or httpx2 as their event sources look at."""

    request = None

    def __init__(self, chunks: Chunks, headers: Any, decoder: Any) -> None:
        self.chunks = chunks
        self.headers = headers
        self.decoder = decoder

    def iter_text(self) -> Iterator[str]:
        decode = self.decoder.decode
        for chunk in self.chunks:
            text = decode(chunk)
            if text:
                yield text


def httpx_sse_decoder() -> Decoder:
    import httpx
    from httpx._decoders import TextDecoder
    from httpx_sse import EventSource

    headers = httpx.Headers({"content-type": "text/event-stream"})

    def iterate(chunks: Chunks, limit: int | None) -> Iterable[Any]:
        response = Response(chunks, headers, TextDecoder(encoding="utf-8"))
        return EventSource(cast(httpx.Response, response)).iter_sse()

    return iterated(iterate)


def httpx2_decoder() -> Decoder:
    import httpx2
    from httpx2._decoders import TextDecoder

    headers = httpx2.Headers({"content-type": "text/event-stream"})

    def iterate(chunks: Chunks, limit: int | None) -> Iterable[Any]:
        response = cast(httpx2.Response, Response(chunks, headers, TextDecoder(encoding="utf-8")))
        if limit is None:
            return httpx2.EventSource(response)
        return httpx2.EventSource(response, max_event_size=limit)

    return iterated(iterate)


def openai_decoder() -> Decoder:
    from openai._streaming import SSEDecoder

    return iterated(lambda chunks, limit: SSEDecoder().iter_bytes(iter(chunks)))


def anthropic_decoder() -> Decoder:
    from anthropic._streaming import SSEDecoder

    return iterated(lambda chunks, limit: SSEDecoder().iter_bytes(iter(chunks)))


def launchdarkly_decoder() -> Decoder:
    from ld_eventsource.actions import Event as TheirEvent
    from ld_eventsource.reader import _BufferedLineReader, _SSEReader

    def iterate(chunks: Chunks) -> Any:
        return _SSEReader(_BufferedLineReader.lines_from(chunks)).events_and_comments()

    def count(chunks: Chunks, limit: int | None) -> int:
        found = 0
        for item in iterate(chunks):
            if isinstance(item, TheirEvent):
                found += 1
        return found

    def events(chunks: Chunks, limit: int | None) -> list[Event]:
        return [
            (item.event, item.data, item.last_event_id or "")
            for item in iterate(chunks)
            if isinstance(item, TheirEvent)
        ]

    return Decoder(count, events)


def aiohttp_decoder() -> Decoder:
    from aiohttp import StreamReader
    from aiohttp.helpers import DEFAULT_CHUNK_SIZE
    from aiohttp_sse_client2.client import EventSource

    loop = asyncio.new_event_loop()

    class Protocol:
        """There is no transport that would have to be told to pause."""

        _reading_paused = False

        def pause_reading(self) -> None:
            pass

        def resume_reading(self, resume_parser: bool = True) -> None:
            pass

    class Answer:
        status = 200

        def __init__(self, content: StreamReader) -> None:
            self.content = content

    def source_of(chunks: Chunks, limit: int | None) -> Any:
        protocol = cast(Any, Protocol())
        reader = StreamReader(protocol, limit or DEFAULT_CHUNK_SIZE, loop=loop)
        for chunk in chunks:
            reader.feed_data(chunk)
        reader.feed_eof()
        source: Any = EventSource("http://localhost/", session=cast(Any, loop), on_error=over)
        source._response = Answer(reader)
        return source

    async def events(chunks: Chunks, limit: int | None) -> list[Event]:
        found: list[Event] = []
        try:
            async for event in source_of(chunks, limit):
                found.append((event.type or "message", event.data, event.last_event_id))
        except Over:
            pass
        return found

    return Decoder(
        lambda chunks, limit: without_waiting(acounted(source_of(chunks, limit))),
        lambda chunks, limit: without_waiting(events(chunks, limit)),
    )


def without_waiting(coroutine: Any) -> Any:
    """Run a coroutine that never waits, without the price of a loop."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


# With the distributions that each of them needs.
DECODERS: dict[str, tuple[list[str], Callable[[], Decoder]]] = {
    "httpx-sse": (["httpx", "httpx-sse"], httpx_sse_decoder),
    "httpx2": (["httpx2"], httpx2_decoder),
    "openai": (["openai"], openai_decoder),
    "anthropic": (["anthropic"], anthropic_decoder),
    "launchdarkly-eventsource": (["launchdarkly-eventsource"], launchdarkly_decoder),
    "aiohttp-sse-client2": (["aiohttp", "aiohttp-sse-client2"], aiohttp_decoder),
}


# Clients: each reads a url to its end and returns how many events there were. The second argument
# is the file with the certificate of the authority to trust, None without TLS.


def trusting(ca: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca)


def httpx_async(url: str, ca: str | None) -> int:
    import httpx
    from httpx_sse import aconnect_sse

    async def run() -> int:
        client = httpx.AsyncClient(verify=trusting(ca)) if ca else httpx.AsyncClient()
        async with client, aconnect_sse(client, "GET", url) as source:
            return await acounted(source.aiter_sse())

    return asyncio.run(run())


def httpx_sync(url: str, ca: str | None) -> int:
    import httpx
    from httpx_sse import connect_sse

    client = httpx.Client(verify=trusting(ca)) if ca else httpx.Client()
    with client, connect_sse(client, "GET", url) as source:
        return counted(source.iter_sse())


def httpx2_async(url: str, ca: str | None) -> int:
    import httpx2

    async def run() -> int:
        client = httpx2.AsyncClient(verify=trusting(ca)) if ca else httpx2.AsyncClient()
        async with client, client.sse(url) as source:
            return await acounted(source)

    return asyncio.run(run())


def httpx2_sync(url: str, ca: str | None) -> int:
    import httpx2

    client = httpx2.Client(verify=trusting(ca)) if ca else httpx2.Client()
    with client, client.sse(url) as source:
        return counted(source)


def aiohttp_async(url: str, ca: str | None) -> int:
    from aiohttp_sse_client2.client import EventSource

    async def run() -> int:
        more = {"ssl": trusting(ca)} if ca else {}
        async with EventSource(url, on_error=over, **more) as source:
            return await acounted(source)

    return asyncio.run(run())


def launchdarkly_sync(url: str, ca: str | None) -> int:
    from ld_eventsource import SSEClient
    from ld_eventsource.config import ConnectStrategy
    from urllib3 import PoolManager

    connect = ConnectStrategy.http(url, pool=PoolManager(ca_certs=ca)) if ca else url
    with SSEClient(connect) as client:
        return counted(client.events)


def sdk_async(package: str, client: str) -> Callable[[str, str | None], int]:
    """Both SDKs are made by one generator, and have the same names."""

    def read(url: str, ca: str | None) -> int:
        sdk = import_module(package)

        async def run() -> int:
            base, path = based(url)
            own = sdk.DefaultAsyncHttpxClient(verify=trusting(ca)) if ca else None
            async with getattr(sdk, client)(
                api_key="none", base_url=base, http_client=own
            ) as connected:
                stream = await connected.get(
                    path, cast_to=object, stream=True, stream_cls=sdk.AsyncStream[object]
                )
                return await acounted(stream)

        return asyncio.run(run())

    return read


def based(url: str) -> tuple[str, str]:
    """Take a url apart into origin and path."""
    start = url.index("/", url.index("://") + 3)
    return url[:start], url[start:]


CLIENTS: dict[str, tuple[list[str], Callable[[str, str | None], int]]] = {
    "httpx + httpx-sse": (["httpx", "httpx-sse"], httpx_async),
    "httpx + httpx-sse, sync": (["httpx", "httpx-sse"], httpx_sync),
    "httpx2": (["httpx2"], httpx2_async),
    "httpx2, sync": (["httpx2"], httpx2_sync),
    "aiohttp + aiohttp-sse-client2": (["aiohttp", "aiohttp-sse-client2"], aiohttp_async),
    "urllib3 + launchdarkly-eventsource, sync": (
        ["urllib3", "launchdarkly-eventsource"],
        launchdarkly_sync,
    ),
    "openai SDK, JSON": (["openai", "httpx2"], sdk_async("openai", "AsyncOpenAI")),
    "anthropic SDK, JSON": (["anthropic", "httpx2"], sdk_async("anthropic", "AsyncAnthropic")),
}


# Node.

NODE = "eventsource-parser"


class NodeParser:
    """eventsource-parser in a process of node, which ``node/parse.mjs`` runs in."""

    def __init__(self, process: Any, heading: str) -> None:
        self._process = process
        self.heading = heading

    def ask(self, request: dict[str, Any]) -> Any:
        """Send one request, and wait for the answer."""
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())


@contextmanager
def node_parser() -> Iterator[NodeParser | None]:
    """Run the parser; None where there is no node, which is said on stderr."""
    try:
        directory = node_directory()
        version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        print(f"{NODE}: left out, {said.strip().splitlines()[-1]}", file=sys.stderr)
        yield None
        return
    with child("node", str(directory / "parse.mjs")) as process:
        package = json.loads((directory / "node_modules" / NODE / "package.json").read_text())
        asked = f"{NODE} {package['version']} (asks for node {package['engines']['node']})"
        yield NodeParser(process, f"node {version.stdout.strip()[1:]}, {asked}")


def node_directory() -> Path:
    """Install what ``node/package.json`` names in the user's cache; return where that is."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    directory = cache / "sansio-sse-benchmarks" / "node"
    directory.mkdir(parents=True, exist_ok=True)
    for path in (HERE / "node").iterdir():
        shutil.copy(path, directory)
    wanted = json.loads((directory / "package.json").read_text())["dependencies"][NODE]
    found = directory / "node_modules" / NODE / "package.json"
    if not found.exists() or json.loads(found.read_text())["version"] != wanted:
        command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"]
        subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True)
    return directory
