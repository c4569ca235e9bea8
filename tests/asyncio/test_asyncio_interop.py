"""Against servers that nobody here wrote: uvicorn and sse-starlette, plain and over TLS."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from contract.common import quick
from contract.face import Face
from contract.fixtures import Certificates
from sansio_sse import Comment, ConnectionState, HeartbeatConfig, HTTPStatusError
from uvicorn_process import uvicorn_with


@dataclass(frozen=True)
class Uvicorn:
    origin: str
    options: dict[str, Any]


@pytest.fixture(scope="module", params=["plain", "tls"])
def uvicorn(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[Uvicorn]:
    secure = request.param == "tls"
    options: list[str] = []
    if secure:
        options += ["--ssl-keyfile", str(certificates.key_file)]
        options += ["--ssl-certfile", str(certificates.chain_file)]
    with uvicorn_with("interop_app:app", Path(__file__).parent, *options) as port:
        yield Uvicorn(
            f"{'https' if secure else 'http'}://127.0.0.1:{port}",
            {"ssl_context": certificates.client()} if secure else {},
        )


async def test_runs_of_events_are_joined_by_the_cursor(sse: Face, uvicorn: Uvicorn) -> None:
    async with sse.connect(
        f"{uvicorn.origin}/events", until="[DONE]", config=quick(), **uvicorn.options
    ) as connection:
        events = [event async for event in connection]
        assert connection.response.http_version == "1.1"
    assert [event.id for event in events[:-1]] == [str(n) for n in range(1, 101)]
    assert events[0].event == "tick"
    assert events[0].data == "event\n1 é"
    assert connection.metrics.reconnect_successes == 9


async def test_a_permanent_redirect(sse: Face, uvicorn: Uvicorn) -> None:
    async with sse.connect(
        f"{uvicorn.origin}/moved", config=quick(), **uvicorn.options
    ) as connection:
        assert (await connection.receive(5)).id == "1"


async def test_a_finite_stream_in_answer_to_a_post(sse: Face, uvicorn: Uvicorn) -> None:
    words = ["one", "zwei", "três"]
    async with sse.connect(
        f"{uvicorn.origin}/chat",
        method="POST",
        json={"words": words},
        until="[DONE]",
        **uvicorn.options,
    ) as connection:
        assert [event.data async for event in connection] == [*words, "[DONE]"]
        assert connection.state is ConnectionState.DISCONNECTED


async def test_comments_heartbeats_and_a_post_beside_a_quiet_stream(
    sse: Face, uvicorn: Uvicorn
) -> None:
    config = quick(heartbeat=HeartbeatConfig(enabled=True, interval=0.1))
    async with sse.connect(
        f"{uvicorn.origin}/quiet", config=config, include={"comments"}, **uvicorn.options
    ) as connection:
        answer = await connection.post("/say", json={"hello": "world"})
        assert answer.json() == {"got": {"hello": "world"}}
        comment = await connection.receive(10)
        assert isinstance(comment, Comment)
        assert comment.text.startswith("ping")
        metrics = connection.metrics
        assert metrics.heartbeats_succeeded >= 2
        assert metrics.heartbeats_failed == 0


async def test_what_is_not_there(sse: Face, uvicorn: Uvicorn) -> None:
    began = time.monotonic()
    with pytest.raises(HTTPStatusError) as caught:
        async with sse.connect(f"{uvicorn.origin}/none", **uvicorn.options):
            pytest.fail("entered")
    assert (caught.value.status, caught.value.body) == (404, b"Not Found")
    assert time.monotonic() - began < 5
