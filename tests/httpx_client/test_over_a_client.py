"""``connect(client, url)``: what is the client's is used, what is the core's is not left to it."""

from types import ModuleType
from typing import Any, assert_type

import anyio
import httpx
import httpx2
import pytest

from contract.common import drop, quick, resume, stay
from contract.server import Peer, Seen, Server
from sansio_sse import (
    OPENAI,
    ConfigError,
    ConnectionLost,
    ConnectionState,
    ConnectTimeout,
    HTTPStatusError,
    ReconnectionPolicy,
    ResponseTimeout,
    StreamTruncated,
    Timeouts,
)
from sansio_sse.config import ConnectionConfig
from sansio_sse_httpx import AsyncConnection, Connection, connect

MODULES = [pytest.param(module, id=module.__name__) for module in (httpx, httpx2)]
EVENTS = {"Content-Type": "text/event-stream"}
ONCE = ReconnectionPolicy(enabled=False)


@pytest.fixture(params=MODULES)
def module(request: pytest.FixtureRequest) -> ModuleType:
    found: ModuleType = request.param
    return found


def read(connection: Any, count: int) -> list[str]:
    with connection:
        return [connection.receive(5).data for _ in range(count)]


# --- What is the client's ------------------------------------------------------------------------


def test_base_url_parameters_headers_cookies_and_auth_come_along(module: ModuleType) -> None:
    with Server(resume(6, cut=3)) as server:
        base = server.url.rsplit("/", 1)[0]
        with module.Client(
            base_url=base,
            params={"tenant": "7"},
            headers={"X-Api-Key": "k3y"},
            cookies={"session": "abc"},
            auth=("me", "pw"),
        ) as client:
            connection = connect(client, "/events", headers={"X-Own": "1"}, config=quick())
            assert read(connection, 6) == list("123456")
        for seen in server.requests:
            assert seen.target == "/events?tenant=7"
            assert seen.header("X-Api-Key") == "k3y"
            assert seen.header("X-Own") == "1"
            assert seen.header("Cookie") == "session=abc"
            assert seen.header("Authorization") == "Basic bWU6cHc="
            assert seen.header("Accept") == "text/event-stream"
            assert seen.header("Accept-Encoding") == "identity"
            assert (
                seen.header(
                    "User-Agent",
                )
                == client.headers["User-Agent"]
            )
        assert [seen.cursor for seen in server.requests] == [None, "3"]


def test_headers_of_the_call_win_over_the_clients(module: ModuleType) -> None:
    with Server(stay("hello")) as server, module.Client(headers={"X-Key": "old"}) as client:
        options = {"headers": [("x-key", "new"), ("Accept-Encoding", "gzip")]}
        assert read(connect(client, server.url, **options), 1) == ["hello"]
    assert server.requests[0].header("X-Key") == "new"
    assert server.requests[0].header("Accept-Encoding") == "gzip"


def test_a_cookie_that_is_set_is_sent_the_next_time(module: ModuleType) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        peer.stream(("Set-Cookie", "turn=1"))
        peer.event("x")
        peer.close()

    with Server([script, stay("hello")]) as server, module.Client() as client:
        assert read(connect(client, server.url, config=quick()), 2) == ["x", "hello"]
    assert server.requests[0].header("Cookie") is None
    assert server.requests[1].header("Cookie") == "turn=1"


def test_hooks_are_called(module: ModuleType) -> None:
    heard: list[Any] = []
    hooks = {
        "request": [lambda request: heard.append(request.method)],
        "response": [lambda response: heard.append(response.status_code)],
    }
    with Server(stay("hello")) as server, module.Client(event_hooks=hooks) as client:
        assert read(connect(client, server.url), 1) == ["hello"]
    assert heard == ["GET", 200]


def test_the_client_stays_open(module: ModuleType) -> None:
    with Server(stay("hello")) as server, module.Client() as client:
        for _ in range(2):
            assert read(connect(client, server.url), 1) == ["hello"]
        assert not client.is_closed


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_async_client_runs_on_either_loop(module: ModuleType, backend: str) -> None:
    async def main() -> list[str]:
        with Server(resume(6, cut=2)) as server:
            async with (
                module.AsyncClient() as client,
                connect(client, server.url, config=quick()) as connection,
            ):
                return [(await connection.receive(5)).data for _ in range(6)]

    assert anyio.run(main, backend=backend) == list("123456")


# --- What is not left to it ----------------------------------------------------------------------


def test_the_clients_timeouts_do_not_end_a_quiet_stream(module: ModuleType) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        peer.stream()
        peer.event("one")
        peer.sleep(0.3)
        peer.event("two")
        peer.stall()

    with Server(script) as server, module.Client(timeout=0.1) as client:
        assert read(connect(client, server.url), 2) == ["one", "two"]
    assert len(server.requests) == 1


def test_a_redirect_to_another_origin_carries_no_credentials(module: ModuleType) -> None:
    with Server(stay("hello")) as other:
        port = other.url.rpartition(":")[2]

        def move(peer: Peer, seen: Seen) -> None:
            peer.respond(302, ("Location", f"http://localhost:{port}"))

        with (
            Server(move) as server,
            module.Client(
                auth=("me", "pw"), headers={"X-Api-Key": "k3y"}, cookies={"session": "abc"}
            ) as client,
        ):
            assert read(connect(client, server.url, config=quick()), 1) == ["hello"]
            assert server.requests[0].header("Authorization") is not None
    [seen] = other.requests
    for name in ("Authorization", "X-Api-Key"):
        assert seen.header(name) is None


def test_what_the_client_has_cannot_be_given(module: ModuleType) -> None:
    with module.Client() as client:
        for name in ("ssl_context", "uds", "proxy"):
            with pytest.raises(ConfigError, match=name):
                connect(client, "http://127.0.0.1:1/", **{name: "x"})


def test_what_is_no_client_is_refused() -> None:
    nothing: Any = object()
    with pytest.raises(TypeError):
        connect(nothing, "http://127.0.0.1:1/")


def test_a_type_checker_knows_which_connection_it_is() -> None:
    with httpx2.Client() as client:
        assert_type(connect(client, "http://127.0.0.1:1/"), Connection)
    assert_type(connect(httpx.AsyncClient(), "http://127.0.0.1:1/"), AsyncConnection)


# --- A transport that tells nothing --------------------------------------------------------------


def answering(module: ModuleType, *answers: Any) -> tuple[Any, list[Any]]:
    """Return a client over a transport without traces, and the requests that it gets."""
    requests: list[Any] = []
    left = list(answers)

    def handle(request: Any) -> Any:
        requests.append(request)
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer

    return module.Client(transport=module.MockTransport(handle)), requests


def test_a_stream_over_any_transport(module: ModuleType) -> None:
    answer = module.Response(200, headers=EVENTS, content=b"id: 1\ndata: a\n\ndata: [DONE]\n\n")
    client, requests = answering(module, answer)
    with client, connect(client, "https://a.example/x", until=OPENAI) as connection:
        assert [event.data for event in connection] == ["a", "[DONE]"]
        assert connection.state is ConnectionState.DISCONNECTED
    assert len(requests) == 1


def test_a_post_that_may_have_been_sent_is_not_sent_again(module: ModuleType) -> None:
    client, requests = answering(module, module.ReadError("reset"))
    options = {"method": "POST", "json": {}, "config": quick()}
    with client, pytest.raises(ConnectionLost) as caught:
        connect(client, "https://a.example/x", **options).open()
    assert caught.value.request_sent
    assert len(requests) == 1


def test_a_post_that_was_certainly_not_sent_is_sent_again(module: ModuleType) -> None:
    def answer() -> Any:
        return module.Response(200, headers=EVENTS, content=b"data: a\n\n")

    client, requests = answering(module, module.ConnectError("refused"), answer)
    options = {"method": "POST", "json": {}, "config": quick()}
    with client, connect(client, "https://a.example/x", **options) as connection:
        assert [event.data for event in connection] == ["a"]
    assert len(requests) == 2


def test_an_answer_that_is_cut_is_truncated(module: ModuleType) -> None:
    answer = module.Response(200, headers=EVENTS, content=b"data: a\n\n")
    client, requests = answering(module, answer)
    options = {"method": "POST", "json": {}, "until": OPENAI, "config": quick()}
    with client, connect(client, "https://a.example/x", **options) as connection:
        assert connection.receive(5).data == "a"
        with pytest.raises(StreamTruncated):
            connection.receive(5)
    assert len(requests) == 1


@pytest.mark.parametrize(
    ("name", "kind"), [("ConnectTimeout", ConnectTimeout), ("ReadTimeout", ResponseTimeout)]
)
def test_the_clients_timeouts_are_told_in_our_words(
    module: ModuleType, name: str, kind: type[Exception]
) -> None:
    client, _ = answering(module, getattr(module, name)("x"))
    config = ConnectionConfig(reconnection=ONCE, timeouts=Timeouts(connect=3, response=4))
    with client, pytest.raises(kind, match=r"within [34] s"):
        connect(client, "https://a.example/x", config=config).open()


def test_an_error_has_the_body(module: ModuleType) -> None:
    client, _ = answering(module, module.Response(404, content=b"no such stream"))
    with client, pytest.raises(HTTPStatusError) as caught:
        connect(client, "https://a.example/x").open()
    assert caught.value.body == b"no such stream"


def test_endpoints_are_tried_in_their_order(module: ModuleType) -> None:
    with (
        Server(stay("second")) as second,
        Server(drop()) as first,
        module.Client(headers={"X-Key": "1"}) as client,
    ):
        first.close()
        connection = connect(client, endpoints=[first.url, second.url], config=quick())
        assert read(connection, 1) == ["second"]
        assert second.requests[0].header("X-Key") == "1"
