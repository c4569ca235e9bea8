"""The live page over real sockets: what is sent, to whom, and what a client cannot do."""

import asyncio
import base64
import hashlib
import json
import re
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sansio_sse import ServerSentEvent
from sansio_sse_asyncio import connect
from sansio_sse_cli.live_page import Board, Gate, PageServer, server

from .support import BOUND
from .test_dash_patches import merged

TICK = 0.02
TOKEN = "correct horse battery"


class Answer:
    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(status.split(" ")[1]) if status else 0
        pairs = [line.partition(": ") for line in lines]
        self.headers = {name.lower(): value for name, _, value in pairs}


async def ask(
    page: PageServer,
    path: str = "/",
    *headers: str,
    method: str = "GET",
    body: bytes = b"",
    host: str = "127.0.0.1",
) -> Answer:
    """Ask for what is no stream, or for the beginning of one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", page.port)
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        is_stream = b"text/event-stream" in head
        return Answer(head + (b"" if is_stream else await reader.read()))
    finally:
        writer.close()
        await writer.wait_closed()


Use = Callable[[PageServer], Awaitable[None]]


def serving(use: Use, board: Board | None = None, gate: Gate | None = None, **options: Any) -> None:
    """Serve a page to whoever uses it, within bounds."""

    async def main() -> None:
        options.setdefault("tick", TICK)
        made = PageServer(board or Board(list), gate or Gate(), **options)
        async with asyncio.timeout(BOUND):
            async with made:
                await use(made)
            assert len(asyncio.all_tasks()) == 1  # nothing is left of it

    asyncio.run(main())


# --- The page ------------------------------------------------------------------------------------


def test_the_page_runs_its_own_script_and_nothing_else() -> None:
    async def use(page: PageServer) -> None:
        answer = await ask(page)
        assert answer.status == 200
        text = answer.body.decode()
        policy: dict[str, str] = {}
        for part in answer.headers["content-security-policy"].split("; "):
            name, _, policy[name] = part.partition(" ")
        assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
        assert policy["frame-ancestors"] == "'none'"
        assert policy["connect-src"] == "'self'"
        assert policy["require-trusted-types-for"] == "'script'"
        for element in ("style", "script"):
            (content,) = re.findall(f"<{element}>(.*?)</{element}>", text, re.DOTALL)
            digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
            assert policy[f"{element}-src"] == f"'sha256-{digest}'"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"

    serving(use)


def test_the_page_loads_nothing_and_writes_no_markup() -> None:
    async def use(page: PageServer) -> None:
        text = (await ask(page)).body.decode()
        urls = set(re.findall(r"https?://[^\s'\"<>)]+", text))
        assert urls == {"http://www.w3.org/2000/svg"}  # a name, not a place
        markup = text.partition("<script>")[0].partition("<body>")[2]
        assert not re.search(r"\son[a-z]+\s*=|\sstyle\s*=|\ssrc\s*=|<link|<iframe", markup)
        script = text.partition("<script>")[2]
        forbidden = ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(")
        assert not [word for word in forbidden if word in script]

    serving(use)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/", 200),
        ("HEAD", "/feed", 204),
        ("GET", "/?token=abc", 200),
        ("GET", "/nowhere", 404),
        ("GET", "/../../etc/passwd", 404),
        ("POST", "/", 405),
        ("DELETE", "/feed", 405),
        ("GET", "/enter", 405),
    ],
)
def test_what_there_is_and_what_there_is_not(method: str, path: str, status: int) -> None:
    async def use(page: PageServer) -> None:
        answer = await ask(page, path, method=method)
        assert answer.status == status
        assert answer.headers["x-content-type-options"] == "nosniff"
        if method == "HEAD":
            assert answer.body == b""

    serving(use)


# --- The feed ------------------------------------------------------------------------------------


async def take(page: PageServer, count: int, **options: Any) -> list[ServerSentEvent]:
    """Take events from the feed by our own client."""
    found: list[ServerSentEvent] = []
    async with connect(f"{page.url}feed", **options) as connection:
        async for event in connection:
            found.append(event)
            if len(found) == count:
                break
    return found


def test_the_feed_is_the_state_and_then_patches_of_it() -> None:
    now = iter(range(1000, 9999))
    board = Board(list)

    async def use(page: PageServer) -> None:
        events = await take(page, 5)
        assert [event.event for event in events] == ["state", *["patch"] * 4]
        state = json.loads(events[0].data)
        for event in events[1:]:
            before = state["now"]
            merged(state, json.loads(event.data))
            assert state["now"] == before + 1
            assert state["viewers"] == {"now": 1, "most": 16, "slow": 0}
        numbers = [int(event.id.partition("-")[2]) for event in events]
        assert numbers == list(range(numbers[0], numbers[0] + 5))

    serving(use, board, clock=lambda: next(now))


def test_who_comes_back_is_sent_what_it_missed() -> None:
    now = iter(range(1000, 9999))

    async def use(page: PageServer) -> None:
        first = await take(page, 3)
        state = json.loads(first[0].data)
        for event in first[1:]:
            merged(state, json.loads(event.data))
        await asyncio.sleep(5 * TICK)
        second = await take(page, 4, last_event_id=first[-1].id)
        assert {event.event for event in second} == {"patch"}
        numbers = [int(event.id.partition("-")[2]) for event in (first[-1], *second)]
        assert numbers == list(range(numbers[0], numbers[0] + 5))
        for event in second:
            before = state["now"]
            merged(state, json.loads(event.data))
            assert state["now"] == before + 1

    serving(use, clock=lambda: next(now))


@pytest.mark.parametrize(
    "id", ["other-1", "nonsense", "-1", "{epoch}-99999", "{epoch}-x", "{epoch}-" + "9" * 99]
)
def test_who_comes_from_another_run_is_sent_everything(id: str) -> None:
    async def use(page: PageServer) -> None:
        (event,) = await take(page, 1, last_event_id=id.format(epoch=page._epoch))
        assert event.event == "state"

    serving(use)


def test_there_are_no_more_viewers_than_that_and_there_is_room_again() -> None:
    async def use(page: PageServer) -> None:
        async with connect(f"{page.url}feed") as first, connect(f"{page.url}feed") as second:
            answer = await ask(page, "/feed")
            assert answer.status == 503
            assert answer.headers["retry-after"]
            assert (await ask(page, "/feed", method="HEAD")).status == 503
            assert (await ask(page)).status == 200  # and says so
            second.close()
            await second.wait_closed()
            async for event in first:
                if '"viewers":{"now":1' in event.data:
                    break
            assert (await ask(page, "/feed", method="HEAD")).status == 204

    serving(use, most_viewers=2)


class Talkative(Board):
    """A board of which much changes at every look."""

    def look(self, at: float, viewers: dict[str, Any] | None = None) -> dict[str, Any]:
        return {**super().look(at, viewers), "noise": f"{at:.9f}" * 10_000}


def test_a_viewer_that_does_not_read_is_dropped_and_counted_and_the_others_see_it() -> None:
    async def use(page: PageServer) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", page.port, limit=1024)
        writer.write(b"GET /feed HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with connect(f"{page.url}feed") as other:
            async for event in other:
                if '"slow":1' in event.data:
                    break
        assert page.dropped == 1
        try:
            while await reader.read(1 << 20):
                pass
        except ConnectionError:
            pass  # a reset is as good as an end
        writer.close()

    serving(use, Talkative(list))


# --- Strangers -----------------------------------------------------------------------------------


def test_a_stranger_is_refused_everywhere() -> None:
    async def use(page: PageServer) -> None:
        for path, method in (("/", "GET"), ("/feed", "GET"), ("/enter", "POST")):
            assert (await ask(page, path, method=method, host="evil.example")).status == 403
            other = await ask(page, path, "Origin: http://evil.example", method=method)
            assert other.status == 403
        assert (await ask(page, "/feed", "Sec-Fetch-Site: cross-site")).status == 403
        assert (await ask(page, "/", "Sec-Fetch-Site: cross-site")).status == 200

    serving(use)


def test_with_a_token_the_feed_is_for_who_knows_it() -> None:
    async def use(page: PageServer) -> None:
        answers = [await ask(page), await ask(page, "/feed")]
        assert [answer.status for answer in answers] == [200, 401]
        wrong = await ask(page, "/enter", method="POST", body=b"incorrect horse battery")
        assert wrong.status == 401
        assert "set-cookie" not in wrong.headers
        right = await ask(page, "/enter", method="POST", body=TOKEN.encode())
        assert right.status == 204
        cookie, *flags = right.headers["set-cookie"].split("; ")
        assert {"HttpOnly", "SameSite=Strict"} <= set(flags)
        assert (await ask(page, "/feed", f"Cookie: {cookie}")).status == 200
        assert (await ask(page, "/feed", f"Authorization: Bearer {TOKEN}")).status == 200
        assert (
            await ask(page, "/feed?token=" + TOKEN.replace(" ", "%20"))
        ).status == 401  # a url is no place for it
        for answer in (*answers, wrong, right):
            assert TOKEN.encode() not in answer.body
            assert TOKEN not in str(answer.headers)

    serving(use, gate=Gate(TOKEN))


def test_without_a_token_there_is_nothing_to_enter() -> None:
    async def use(page: PageServer) -> None:
        answer = await ask(page, "/enter", method="POST", body=b"whatever")
        assert answer.status == 204
        assert "set-cookie" not in answer.headers

    serving(use)


# --- Clients that are none -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"POST /enter HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n" + b"x" * 9999,
        b"POST /enter HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    ],
    ids=["TLS", "no host", "long head", "long body", "odd length"],
)
def test_what_is_no_proper_request_is_refused_and_the_page_lives(data: bytes) -> None:
    async def use(page: PageServer) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", page.port)
        try:
            writer.write(data)
            said = await reader.read()
            assert said == b"" or said.startswith(b"HTTP/1.1 400 ")
        except ConnectionError:
            pass  # cut off in the middle of what it says
        finally:
            writer.close()
        assert (await ask(page)).status == 200

    serving(use)


def test_who_never_asks_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_REQUEST_TIME", 0.1)

    async def use(page: PageServer) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", page.port)
        writer.write(b"GET / HTTP/1.1\r\n")
        assert await reader.read() == b""
        writer.close()

    serving(use)


def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_CONNECTIONS", 3)

    async def use(page: PageServer) -> None:
        open_: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        for _ in range(12):
            open_.append(await asyncio.open_connection("127.0.0.1", page.port))
        refused = 0
        for reader, _ in open_[5:]:
            try:
                refused += await asyncio.wait_for(reader.read(), BOUND) == b""
            except ConnectionError:
                refused += 1
        assert refused == 7
        for _, writer in open_:
            writer.close()

    serving(use, most_viewers=1)


def test_clients_that_leave_in_the_middle_are_no_news(capfd: pytest.CaptureFixture[str]) -> None:
    async def use(page: PageServer) -> None:
        for data in (b"", b"GET /feed HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET / HT"):
            for _ in range(5):
                _, writer = await asyncio.open_connection("127.0.0.1", page.port)
                writer.write(data)
                await writer.drain()
                writer.transport.abort()
        await asyncio.sleep(5 * TICK)
        assert (await ask(page)).status == 200

    serving(use)
    assert capfd.readouterr() == ("", "")


def test_closing_it_ends_every_feed() -> None:
    async def main() -> None:
        page = PageServer(Board(list), Gate(), tick=TICK)
        async with asyncio.timeout(BOUND):
            await page.open()
            reader, writer = await asyncio.open_connection("127.0.0.1", page.port)
            writer.write(b"GET /feed HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.readuntil(b"event: patch")
            await page.aclose()
            await reader.read()
            writer.close()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


class Hasty(PageServer):
    """A server that is closed in the very moment in which somebody comes."""

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super()._accepted(reader, writer)
        for task in self._tasks:
            task.cancel()


def test_who_comes_while_it_is_closed_is_left_too() -> None:
    async def main() -> None:
        async with asyncio.timeout(BOUND), Hasty(Board(list), Gate(), tick=TICK) as page:
            reader, writer = await asyncio.open_connection("127.0.0.1", page.port)
            assert await reader.read() == b""
            writer.close()

    asyncio.run(main())


@pytest.mark.parametrize("turns", range(6))
def test_nobody_who_comes_in_its_last_moment_is_kept(turns: int) -> None:
    async def main() -> None:
        page = PageServer(Board(list), Gate(), tick=TICK)
        await page.open()
        with socket.create_connection(("127.0.0.1", page.port)) as client:
            for _ in range(turns):
                await asyncio.sleep(0)
            await page.aclose()
            assert len(asyncio.all_tasks()) == 1
            client.setblocking(False)
            async with asyncio.timeout(BOUND):
                try:
                    assert await asyncio.get_running_loop().sock_recv(client, 1) == b""
                except ConnectionError:
                    pass  # a reset is as good as an end

    asyncio.run(main())


def test_closing_it_waits_for_nobody_who_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_FAREWELL", 0.1)
    monkeypatch.setattr(server, "_UNREAD", 1 << 30)

    async def main() -> None:
        page = PageServer(Talkative(list), Gate(), tick=TICK)
        await page.open()
        _, writer = await asyncio.open_connection("127.0.0.1", page.port, limit=1024)
        writer.write(b"GET /feed HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with connect(f"{page.url}feed") as other:
            await other.receive()
            while not any(viewer._exchange.send(b" ") for viewer in page._viewers):
                await other.receive()
        async with asyncio.timeout(BOUND / 4):
            await page.aclose()
        writer.close()
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def test_a_mistake_of_ours_is_told_to_the_loop() -> None:
    told: list[dict[str, Any]] = []

    class Broken(Board):
        looks = 0

        def look(self, at: float, viewers: dict[str, Any] | None = None) -> dict[str, Any]:
            self.looks += 1
            if self.looks > 3:
                raise RuntimeError("a mistake")
            return super().look(at, viewers)

    async def use(page: PageServer) -> None:
        failed = asyncio.Event()

        def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            told.append(context)
            failed.set()

        asyncio.get_running_loop().set_exception_handler(handle)
        await failed.wait()
        assert (await ask(page)).status == 200

    serving(use, Broken(list))
    assert [str(context["exception"]) for context in told] == ["a mistake"]


def test_a_place_that_is_taken_is_an_error() -> None:
    async def use(page: PageServer) -> None:
        other = PageServer(Board(list), Gate(), port=page.port)
        with pytest.raises(OSError, match=r"address already in use|in use"):
            await other.open()
        await other.aclose()

    serving(use)


def test_addresses_of_six_are_written_as_urls_want_them() -> None:
    assert PageServer(Board(list), Gate(), host="::1", port=80).url == "http://[::1]:80/"
