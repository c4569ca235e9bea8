"""The SDKs of OpenAI, Anthropic and MCP as they are, over streams that are cut everywhere.

What each does with a resuming transport, and, so that the difference is known, what it does
without. The servers are in ``sdk_servers.py``.
"""

import json
import os
import random
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anthropic
import anyio
import httpx2
import mcp
import openai
import pytest
from mcp.client.streamable_http import streamable_http_client

from contract.common import quick
from contract.server import Server
from sansio_sse import (
    ANTHROPIC,
    MCP,
    OPENAI,
    ConnectionConfig,
    IdleTimeout,
    Profile,
    StreamTruncated,
    Timeouts,
)
from sansio_sse_httpx.resuming import AsyncResumingTransport, ResumingTransport
from sdk_servers import (
    ANTHROPIC_STREAM,
    CHAT,
    MCP_STREAM,
    RESPONSES,
    Cut,
    How,
    McpStage,
    Proxy,
    Stage,
)

Blocks = list[tuple[str | None, str]]
QUICK = quick(initial_delay=0.001, max_delay=0.01, timeouts=Timeouts(idle=0.3))
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # nobody needs it, and to make one takes its time
# Without a lock on time: a stream that is not silent is not to be taken for it on a busy machine.
PATIENT = quick(initial_delay=0.001, max_delay=0.01)

# --- The SDKs ----------------------------------------------------------------------------------


@dataclass
class Got:
    """What came out of an SDK: its events, as JSON, and what it raised."""

    events: list[str] = field(default_factory=list)
    error: BaseException | None = None

    @property
    def truncated(self) -> bool:
        """Whether it was told that this is not all, and in our words."""
        error = self.error
        if isinstance(error, openai.APIConnectionError):
            error = error.__cause__
        return isinstance(error, StreamTruncated) and isinstance(error, httpx2.TransportError)


@dataclass(frozen=True)
class Sdk:
    """A streaming call of an SDK; ``ask`` and ``ask_async`` make it with a client."""

    name: str
    profile: Profile
    stream: Blocks
    shown: list[int]
    """Which of the events the SDK shows."""
    client: Callable[..., Any]
    async_client: Callable[..., Any]
    ask: Callable[..., Any]

    def __str__(self) -> str:
        return self.name


def _openai_client(kind: Any) -> Callable[..., Any]:
    def make(origin: str, http_client: Any, **options: Any) -> Any:
        return kind(api_key="k", base_url=f"{origin}/v1", http_client=http_client, **options)

    return make


def _anthropic_client(kind: Any) -> Callable[..., Any]:
    def make(origin: str, http_client: Any, **options: Any) -> Any:
        return kind(api_key="k", base_url=origin, http_client=http_client, **options)

    return make


QUESTION: Any = [{"role": "user", "content": "Sut mae?"}]


def _chat(client: Any, **options: Any) -> Any:
    return client.chat.completions.create(model="m", messages=QUESTION, stream=True, **options)


def _responses(client: Any, **options: Any) -> Any:
    return client.responses.create(model="m", input="Sut mae?", stream=True, **options)


def _messages(client: Any, **options: Any) -> Any:
    return client.messages.create(
        model="m", max_tokens=9, messages=QUESTION, stream=True, **options
    )


SDKS = [
    Sdk(
        "openai-chat",
        OPENAI,
        CHAT,
        [0, 1, 2, 3, 4],
        _openai_client(openai.OpenAI),
        _openai_client(openai.AsyncOpenAI),
        _chat,
    ),
    Sdk(
        "openai-responses",
        OPENAI,
        RESPONSES,
        list(range(len(RESPONSES))),
        _openai_client(openai.OpenAI),
        _openai_client(openai.AsyncOpenAI),
        _responses,
    ),
    Sdk(
        "anthropic",
        ANTHROPIC,
        ANTHROPIC_STREAM,
        [0, 1, 3, 4, 5, 6, 7],
        _anthropic_client(anthropic.Anthropic),
        _anthropic_client(anthropic.AsyncAnthropic),
        _messages,
    ),
]

Run = Callable[[], Awaitable[Got]]
"""Makes one call, whose stream the stage has been told before."""


@dataclass(frozen=True)
class Way:
    """An SDK, sync or async."""

    sdk: Sdk
    loop: str

    def __str__(self) -> str:
        return f"{self.sdk}-{self.loop or 'sync'}"

    def use(
        self,
        server: Server,
        play: Callable[[Run], Awaitable[None]],
        *,
        config: ConnectionConfig | None = PATIENT,
        plain: bool = False,
        ask: Callable[..., Any] | None = None,
        timeout: float = 30.0,
        **options: Any,
    ) -> None:
        """Play with one client of the SDK: with a resuming transport, or ``plain`` without."""
        ask = ask or self.sdk.ask

        async def asynchronous() -> None:
            transport: Any = httpx2.AsyncHTTPTransport(verify=TLS)
            if not plain:
                transport = AsyncResumingTransport(
                    transport, profile=self.sdk.profile, config=config
                )
            http_client = httpx2.AsyncClient(transport=transport)
            made = self.sdk.async_client(server.origin, http_client, timeout=timeout)
            async with made as client:

                async def run() -> Got:
                    got = Got()
                    try:
                        stream = await ask(client, **options)
                        if stream is not None:
                            async for event in stream:
                                got.events.append(event.model_dump_json())
                    except Exception as error:
                        got.error = error
                    return got

                await play(run)

        async def sync() -> None:
            transport: Any = httpx2.HTTPTransport(verify=TLS)
            if not plain:
                transport = ResumingTransport(transport, profile=self.sdk.profile, config=config)
            http_client = httpx2.Client(transport=transport)
            with self.sdk.client(server.origin, http_client, timeout=timeout) as client:

                async def run() -> Got:
                    got = Got()
                    try:
                        for event in ask(client, **options) or ():
                            got.events.append(event.model_dump_json())
                    except Exception as error:
                        got.error = error
                    return got

                await play(run)

        # A sync client neither knows nor minds that it is called in a coroutine.
        anyio.run(asynchronous if self.loop else sync, backend=self.loop or "asyncio")


WAYS = [Way(sdk, loop) for sdk in SDKS for loop in ("", "asyncio")]


@pytest.fixture(scope="module", params=WAYS, ids=str)
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


@pytest.fixture(scope="module")
def stage(way: Way) -> Stage:
    return Stage()


@pytest.fixture(scope="module")
def server(stage: Stage) -> Iterator[Server]:
    with Server(stage) as server:
        yield server


@pytest.fixture
def alone() -> Iterator[tuple[Stage, Server]]:
    """A stage for a test that is not run with every SDK."""
    stage = Stage()
    with Server(stage) as server:
        yield stage, server


@pytest.fixture(scope="module")
def whole(way: Way, stage: Stage, server: Server) -> list[str]:
    """What the SDK makes of the stream, uncut and without us."""
    events: list[str] = []

    async def play(run: Run) -> None:
        stage.play(way.sdk.stream, ids=False)
        got = await run()
        assert got.error is None
        events.extend(got.events)

    way.use(server, play, plain=True)
    assert len(events) == len(way.sdk.shown)
    return events


def cuts_everywhere(stream: Blocks) -> list[Cut]:
    """At every boundary between events, and in every event: near its ends and in its middle."""
    return [Cut(whole, part, how) for whole in range(len(stream)) for part, how in _CUTS]


_CUTS: list[tuple[float, How]] = [
    (0.0, "torn"),
    (0.0, "ended"),
    (0.01, "torn"),
    (0.5, "ended"),
    (0.5, "torn"),
    (0.999, "ended"),
]


def shown_before(way: Way, cut: Cut) -> int:
    """How many events the SDK shows of a stream up to a cut."""
    return sum(index < cut.whole for index in way.sdk.shown)


# --- With ids: nothing is missing, nothing is there twice --------------------------------------


def test_every_cut_of_a_stream_with_ids_is_mended(
    way: Way, stage: Stage, server: Server, whole: list[str]
) -> None:
    async def play(run: Run) -> None:
        for cut in cuts_everywhere(way.sdk.stream):
            stage.play(way.sdk.stream, cut, ids=True)
            got = await run()
            if cut.whole == 0:
                # No id has arrived, and the question is not asked twice.
                assert got.truncated, cut
                assert (got.events, len(stage.requests)) == ([], 1), cut
            else:
                assert got.error is None, cut
                assert got.events == whole, cut
                cursors = [seen.cursor for seen in stage.requests]
                assert cursors == [None, str(cut.whole)], cut

    way.use(server, play)


def test_random_cuts_are_mended(way: Way, stage: Stage, server: Server, whole: list[str]) -> None:
    chance = random.Random(str(way))
    hows: list[How] = ["torn", "ended", "reset"]

    async def play(run: Run) -> None:
        cuts = 0
        while cuts < 100:  # and as many in the other kind of client
            count = chance.randint(1, 6)
            # The first leaves an id behind. (A reset may destroy what was not read yet.)
            first = Cut(chance.randint(1, 3), chance.random(), chance.choice(hows[:2]))
            more = [
                Cut(chance.randint(0, 3), chance.random(), chance.choice(hows))
                for _ in range(count - 1)
            ]
            stage.play(way.sdk.stream, first, *more, ids=True)
            got = await run()
            assert got.error is None, (first, more)
            assert got.events == whole, (first, more)
            cuts += count - len(stage.cuts)

    # Cuts before an event are no progress, and there may be five in a row.
    way.use(server, play, config=quick(initial_delay=0.001, max_delay=0.002, max_attempts=6))


def test_silence_is_mended(way: Way, stage: Stage, server: Server, whole: list[str]) -> None:
    async def play(run: Run) -> None:
        stage.play(way.sdk.stream, Cut(2, 0.5, "silent"), Cut(1, 0.0, "silent"), ids=True)
        began = time.monotonic()
        got = await run()
        assert got.error is None
        assert got.events == whole
        assert [seen.cursor for seen in stage.requests] == [None, "2", "3"]
        assert 0.6 <= time.monotonic() - began < 4.0

    way.use(server, play, config=QUICK)


# --- Without ids: never less than it seems -----------------------------------------------------


def test_every_cut_of_a_stream_without_ids_is_an_error_after_its_whole_events(
    way: Way, stage: Stage, server: Server, whole: list[str]
) -> None:
    async def play(run: Run) -> None:
        for cut in cuts_everywhere(way.sdk.stream):
            stage.play(way.sdk.stream, cut, ids=False)
            got = await run()
            assert got.truncated, cut
            assert got.events == whole[: shown_before(way, cut)], cut
            assert len(stage.requests) == 1, cut

    way.use(server, play)


def test_random_cuts_are_errors(way: Way, stage: Stage, server: Server, whole: list[str]) -> None:
    chance = random.Random(f"{way} without ids")
    hows: list[How] = ["torn", "ended"]

    async def play(run: Run) -> None:
        for _ in range(50):
            at = chance.randrange(len(way.sdk.stream))
            cut = Cut(at, chance.random(), chance.choice(hows))
            stage.play(way.sdk.stream, cut, ids=False)
            got = await run()
            assert got.truncated, cut
            assert got.events == whole[: shown_before(way, cut)], cut
            assert len(stage.requests) == 1, cut

    way.use(server, play)


def test_silence_is_an_error(way: Way, stage: Stage, server: Server, whole: list[str]) -> None:
    async def play(run: Run) -> None:
        stage.play(way.sdk.stream, Cut(2, 0.5, "silent"), ids=False)
        got = await run()
        assert got.truncated
        assert got.events == whole[:2]
        assert len(stage.requests) == 1
        error = got.error
        while error is not None and not isinstance(error, IdleTimeout):
            error = error.__cause__
        assert error is not None

    way.use(server, play, config=QUICK)


def test_an_idempotency_key_does_not_lead_to_a_second_answer(
    way: Way, stage: Stage, server: Server, whole: list[str]
) -> None:
    async def play(run: Run) -> None:
        stage.play(way.sdk.stream, Cut(2, 0.5), ids=False)
        got = await run()
        assert got.truncated
        assert got.events == whole[:2]
        (seen,) = stage.requests
        assert seen.header("Idempotency-Key") == "k"
        # Before the first event it is as good as asking for the first time.
        stage.play(way.sdk.stream, Cut(0, 0.5), ids=False)
        got = await run()
        assert (got.events, got.error) == (whole, None)
        assert len(stage.requests) == 2

    way.use(server, play, extra_headers={"Idempotency-Key": "k"})


# --- What is not ours --------------------------------------------------------------------------


def test_the_retries_of_an_sdk_are_its_own(way: Way, stage: Stage, server: Server) -> None:
    async def play(run: Run) -> None:
        stage.play(way.sdk.stream, ids=False)
        stage.plain = [(500, b"{}")]
        got = await run()
        assert got.error is None
        assert len(stage.requests) == 2
        stage.play(way.sdk.stream, ids=False)
        stage.plain = [(400, b'{"error":{"message":"no"}}')]
        got = await run()
        assert isinstance(got.error, openai.BadRequestError | anthropic.BadRequestError)
        assert len(stage.requests) == 1

    way.use(server, play)


def test_an_answer_in_json_is_the_sdks(stage: Stage, server: Server) -> None:
    stage.play(CHAT, ids=False)
    stage.plain = [
        (200, json.dumps({"id": "c", "object": "chat.completion", "choices": []}).encode())
    ]
    with openai.OpenAI(
        api_key="k",
        base_url=server.origin,
        http_client=httpx2.Client(transport=ResumingTransport(profile=OPENAI)),
    ) as client:
        assert client.chat.completions.create(model="m", messages=QUESTION).id == "c"


def test_a_failure_that_the_stream_reports_is_the_sdks(alone: tuple[Stage, Server]) -> None:
    stage, server = alone
    failure = '{"type":"error","error":{"type":"overloaded_error","message":"busy"}}'
    way = Way(SDKS[2], "")

    async def play(run: Run) -> None:
        stage.play([*ANTHROPIC_STREAM[:4], ("error", failure)], ids=False)
        got = await run()
        assert isinstance(got.error, anthropic.APIStatusError)
        assert len(got.events) == 3

    way.use(server, play)


def test_who_leaves_early_is_left_alone(way: Way, stage: Stage, server: Server) -> None:
    def leave(client: Any) -> None:
        with way.sdk.ask(client) as stream:
            next(stream)

    async def leave_async(client: Any) -> None:
        async with await way.sdk.ask(client) as stream:
            await anext(stream)

    async def play(run: Run) -> None:
        stage.play(way.sdk.stream, Cut(3, 0.0, "silent"), ids=True)
        got = await run()
        assert got.error is None
        assert len(stage.requests) == 1

    way.use(server, play, ask=leave_async if way.loop else leave)
    visit = server.visits[-1]
    deadline = time.monotonic() + 5
    while visit.ended is None and time.monotonic() < deadline:
        time.sleep(0.01)  # the server hears of it a moment later
    assert visit.left


@pytest.mark.parametrize("loop", ["", "asyncio"], ids=["sync", "asyncio"])
def test_a_helper_that_collects_an_answer_has_all_of_it_or_fails(
    alone: tuple[Stage, Server], loop: str
) -> None:
    stage, server = alone

    def ask(client: Any) -> None:
        with client.messages.stream(model="m", max_tokens=9, messages=QUESTION) as stream:
            texts.append(stream.get_final_text())

    async def ask_async(client: Any) -> None:
        async with client.messages.stream(model="m", max_tokens=9, messages=QUESTION) as stream:
            texts.append(await stream.get_final_text())

    texts: list[str] = []
    way = Way(SDKS[2], loop)

    results: list[Got] = []
    for ids, plain in ((True, False), (False, False), (False, True)):
        stage.play(way.sdk.stream, Cut(4, 0.0, "ended"), ids=ids)

        async def play(run: Run) -> None:
            results.append(await run())

        way.use(server, play, plain=plain, ask=ask_async if loop else ask)
    assert texts == ["Hwyl fawr é", "Hwyl"]  # the second is the plain SDK's, without a word
    assert [got.truncated for got in results] == [False, True, False]
    assert [got.error for got in (results[0], results[2])] == [None, None]


# --- What happens without it -------------------------------------------------------------------


def test_without_it_a_cut_may_go_unnoticed(
    way: Way, stage: Stage, server: Server, whole: list[str]
) -> None:
    async def play(run: Run) -> None:
        for cut in (Cut(3, 0.0, "ended"), Cut(3, 0.5, "ended")):
            for ids in (False, True):
                stage.play(way.sdk.stream, cut, ids=ids)
                got = await run()
                assert got.error is None
                assert got.events == whole[: shown_before(way, cut)] != whole
                assert len(stage.requests) == 1

    way.use(server, play, plain=True)


def test_without_it_a_cut_is_not_mended(
    way: Way, stage: Stage, server: Server, whole: list[str]
) -> None:
    async def play(run: Run) -> None:
        stage.play(way.sdk.stream, Cut(3, 0.5), ids=True)
        got = await run()
        error = got.error
        if isinstance(error, openai.APIConnectionError):
            error = error.__cause__
        assert isinstance(error, httpx2.RemoteProtocolError)  # Anthropic's SDK shows it as it is
        assert got.events == whole[: shown_before(way, Cut(3))]
        assert len(stage.requests) == 1

    way.use(server, play, plain=True)


def test_without_it_silence_lasts_as_long_as_a_read_may(
    way: Way, stage: Stage, server: Server
) -> None:
    async def play(run: Run) -> None:
        stage.play(way.sdk.stream, Cut(3, 0.5, "silent"), ids=True)
        got = await run()
        error = got.error
        if isinstance(error, openai.APIConnectionError):
            error = error.__cause__
        assert isinstance(error, httpx2.ReadTimeout)
        assert len(stage.requests) == 1

    way.use(server, play, plain=True, timeout=0.2)
    assert openai.DEFAULT_TIMEOUT.read == anthropic.DEFAULT_TIMEOUT.read == 600  # else ten minutes


@pytest.mark.parametrize("sdk", SDKS[:2], ids=str)
def test_without_it_a_comment_breaks_a_stream_with_ids(
    alone: tuple[Stage, Server], sdk: Sdk
) -> None:
    # The SDK takes every blank line for an event, once there was an id.
    stage, server = alone
    stage.play(sdk.stream, ids=True, before=b": keep-alive\n\n")
    results: list[Got] = []

    async def play(run: Run) -> None:
        results.append(await run())

    Way(sdk, "").use(server, play, plain=True)
    Way(sdk, "").use(server, play)
    assert isinstance(results[0].error, json.JSONDecodeError)
    assert results[1].error is None
    assert len(results[1].events) == len(sdk.shown)


# --- MCP ---------------------------------------------------------------------------------------

ALL: Any = ([1.0, 2.0, 3.0], "done")


@asynccontextmanager
async def session(
    origin: str,
    *,
    config: ConnectionConfig = PATIENT,
    plain: bool = False,
    mode: Any = "legacy",
    **options: Any,
) -> AsyncGenerator[mcp.Client]:
    transport: Any = httpx2.AsyncHTTPTransport(verify=TLS)
    if not plain:
        transport = AsyncResumingTransport(transport, profile=MCP, config=config)
    async with (
        httpx2.AsyncClient(transport=transport, timeout=30) as http_client,
        mcp.Client(
            streamable_http_client(f"{origin}/mcp", http_client=http_client), mode=mode, **options
        ) as client,
    ):
        yield client


async def call(client: mcp.Client, **options: Any) -> Any:
    """Call the tool; return the progress it reported, and its answer or its error."""
    reported: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        reported.append(progress)

    try:
        result = await client.call_tool("count", {}, progress_callback=on_progress, **options)
    except mcp.MCPError as error:
        return reported, error
    answer: Any = result.content[0]
    # Callbacks run beside the call.
    for _ in range(100):
        await anyio.lowlevel.checkpoint()
    return reported, answer.text


@pytest.fixture(scope="module")
def mcp_stage() -> McpStage:
    return McpStage()


@pytest.fixture(scope="module")
def mcp_server(mcp_stage: McpStage) -> Iterator[Server]:
    with Server(mcp_stage) as server:
        yield server


def test_every_cut_of_a_call_with_ids_is_mended(mcp_stage: McpStage, mcp_server: Server) -> None:
    async def main() -> None:
        async with session(mcp_server.origin) as client:
            for cut in cuts_everywhere(MCP_STREAM):
                mcp_stage.play(MCP_STREAM, cut, ids=True)
                reported, answer = await call(client)
                requests = [(seen.method, seen.cursor) for seen in mcp_stage.requests]
                if cut.whole == 0:
                    assert isinstance(answer, mcp.MCPError), cut
                    assert len(requests) == 1, cut
                    continue
                assert (reported, answer) == ALL, cut
                token = json.loads(mcp_stage.requests[0].body)["id"]
                assert requests == [("POST", None), ("GET", f"{token}-{cut.whole}")], cut

    anyio.run(main)


def test_two_hundred_random_cuts_of_calls_are_mended(
    mcp_stage: McpStage, mcp_server: Server
) -> None:
    chance = random.Random("mcp")
    hows: list[How] = ["torn", "ended", "reset"]

    async def main() -> None:
        cuts = 0
        async with session(
            mcp_server.origin, config=quick(initial_delay=0.001, max_delay=0.002, max_attempts=6)
        ) as client:
            while cuts < 200:
                count = chance.randint(1, 6)
                first = Cut(chance.randint(1, 2), chance.random(), chance.choice(hows[:2]))
                more = [
                    Cut(chance.randint(0, 2), chance.random(), chance.choice(hows))
                    for _ in range(count - 1)
                ]
                mcp_stage.play(MCP_STREAM, first, *more, ids=True)
                assert await call(client) == ALL, (first, more)
                cuts += count - len(mcp_stage.cuts)
                assert [seen.method for seen in mcp_stage.requests].count("POST") == 1

    anyio.run(main)


def test_every_cut_of_a_call_without_ids_is_an_error(
    mcp_stage: McpStage, mcp_server: Server
) -> None:
    async def main() -> None:
        async with session(mcp_server.origin) as client:
            for cut in cuts_everywhere(MCP_STREAM[1:]):
                mcp_stage.play(MCP_STREAM[1:], cut, ids=False)
                reported, answer = await call(client)
                assert reported == ALL[0][: cut.whole], cut
                assert isinstance(answer, mcp.MCPError), cut
                assert "SSE stream failed: the stream" in str(answer), cut
                assert len(mcp_stage.requests) == 1, cut

    anyio.run(main)


def test_a_call_that_falls_silent_is_mended_or_fails(
    mcp_stage: McpStage, mcp_server: Server
) -> None:
    async def main() -> None:
        async with session(mcp_server.origin, config=QUICK) as client:
            mcp_stage.play(MCP_STREAM, Cut(2, 0.5, "silent"), ids=True)
            assert await call(client) == ALL
            mcp_stage.play(MCP_STREAM[1:], Cut(2, 0.5, "silent"), ids=False)
            reported, answer = await call(client)
            assert reported == [1.0, 2.0]
            assert "nothing received for 0.3 s" in str(answer)
            assert len(mcp_stage.requests) == 1

    anyio.run(main)


@pytest.mark.parametrize("plain", [False, True], ids=["resuming", "plain"])
def test_who_listens_hears_one_stream_after_the_other(plain: bool) -> None:
    # Such a stream has no end that could be missing. An error would count as a failed attempt, of
    # which the SDK makes two in all.
    stage = McpStage(notes=5)
    heard: list[Any] = []

    async def on_note(note: Any) -> None:
        heard.append(note.data)

    async def main() -> None:
        with Server(stage) as server:
            async with session(server.origin, plain=plain, logging_callback=on_note):
                with anyio.fail_after(10):
                    while len(heard) < 5:  # noqa: ASYNC110 - the SDK tells nobody
                        await anyio.sleep(0.001)

    anyio.run(main)
    assert heard == ["note"] * 5


def test_without_it_the_sdk_of_mcp_gives_up_sooner(mcp_stage: McpStage, mcp_server: Server) -> None:
    # It reconnects by itself, after a second each, and when two in a row fail it gives up.
    cuts = [Cut(2, 0.5), *[Cut(0)] * 3]

    async def main(*, plain: bool) -> Any:
        async with session(mcp_server.origin, plain=plain) as client:
            mcp_stage.play(MCP_STREAM, *cuts, ids=True)
            began = time.monotonic()
            answer = await call(client)
            return answer, time.monotonic() - began

    (reported, answer), seconds = anyio.run(lambda: main(plain=True))
    assert reported == [1.0]
    assert "attempts were exhausted" in str(answer)
    assert seconds > 2
    (reported, answer), seconds = anyio.run(lambda: main(plain=False))
    assert (reported, answer) == ALL
    assert seconds < 2


def test_without_it_silence_is_for_the_caller_of_a_tool_to_notice(
    mcp_stage: McpStage, mcp_server: Server
) -> None:
    async def main() -> None:
        async with session(mcp_server.origin, plain=True) as client:
            mcp_stage.play(MCP_STREAM, Cut(2, 0.5, "silent"), ids=True)
            reported, answer = await call(client, read_timeout_seconds=0.3)
            assert reported == [1.0]
            assert "timed out" in str(answer)

    anyio.run(main)


@pytest.fixture(scope="module")
def uvicorn() -> Iterator[int]:
    """The real server of MCP, in a process of its own; its port."""
    command = [sys.executable, "-m", "uvicorn", "--factory", "sdk_servers:app"]
    command += ["--log-level", "warning", "--timeout-graceful-shutdown", "1"]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        process = subprocess.Popen(
            [*command, "--fd", str(listener.fileno())],
            pass_fds=[listener.fileno()],
            env={
                **os.environ,
                "PYTHONWARNINGS": "ignore",
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            },
        )
    try:
        # It is there when it answers, whatever it says.
        with socket.create_connection(("127.0.0.1", port), 60) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
            assert client.recv(1)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def test_every_cut_between_the_real_client_and_the_real_server_is_mended(uvicorn: int) -> None:
    async def main() -> None:
        with Proxy(uvicorn) as proxy:
            async with session(proxy.origin) as client:
                assert await call(client) == ALL
                for whole in range(1, 5):
                    for part in (False, True):
                        proxy.calls.clear()
                        proxy.cuts = [(whole, part)]
                        assert await call(client) == ALL, (whole, part)
                        assert [seen.method for seen in proxy.calls] == ["POST", "GET"]
                proxy.calls.clear()
                proxy.cuts = [(1, False), (0, True), (1, True), (1, False)]
                assert await call(client) == ALL
                assert len(proxy.calls) == 5

    anyio.run(main)


def test_the_newest_protocol_of_mcp_has_no_ids_and_says_so(uvicorn: int) -> None:
    async def main() -> None:
        with Proxy(uvicorn) as proxy:
            async with session(proxy.origin, mode="auto") as client:
                assert await call(client) == ALL
                proxy.calls.clear()
                proxy.cuts = [(2, True)]
                reported, answer = await call(client)
                assert reported == [1.0, 2.0]
                assert isinstance(answer, mcp.MCPError)
                assert len(proxy.calls) == 1

    anyio.run(main)
