"""Servers for SDKs: streams as OpenAI, Anthropic and MCP send them, cut wherever a test wants.

A :class:`Stage` is the script of a :class:`contract.server.Server`. It plays one stream at a time,
begins behind the Last-Event-ID where there is one, and cuts each response as told. :data:`app` is
the real server of the MCP SDK, for uvicorn; a :class:`Proxy` before it cuts what it says.
"""

import json
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore

from contract.server import Peer, Seen, Server
from sansio_sse import encode_event

__all__ = ["ANTHROPIC_STREAM", "CHAT", "MCP_STREAM", "RESPONSES", "Cut", "Proxy", "Stage", "app"]

How = Literal["torn", "ended", "reset", "silent"]

# --- What the APIs send ------------------------------------------------------------------------


def _chunk(delta: dict[str, Any], finish: str | None = None) -> tuple[None, str]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return None, json.dumps({**head, "choices": [choice]}, ensure_ascii=False)


CHAT: list[tuple[str | None, str]] = [
    _chunk({"role": "assistant", "content": ""}),
    _chunk({"content": "Hwyl"}),
    _chunk({"content": " fawr,\n"}),
    _chunk({"content": " fyd é"}),
    _chunk({}, "stop"),
    (None, "[DONE]"),
]


def _typed(kind: str, **fields: Any) -> tuple[str, str]:
    return kind, json.dumps({"type": kind, **fields}, ensure_ascii=False)


def _response(status: str, *output: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "r1",
        "object": "response",
        "created_at": 1,
        "model": "m",
        "status": status,
        "error": None,
        "output": list(output),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }


def _message(status: str, *content: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "m1",
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": list(content),
    }


def _text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": []}


_AT = {"item_id": "m1", "output_index": 0, "content_index": 0}
RESPONSES: list[tuple[str | None, str]] = [
    _typed("response.created", sequence_number=0, response=_response("in_progress")),
    _typed(
        "response.output_item.added",
        sequence_number=1,
        output_index=0,
        item=_message("in_progress"),
    ),
    _typed("response.content_part.added", sequence_number=2, part=_text(""), **_AT),
    _typed("response.output_text.delta", sequence_number=3, delta="Hwyl", logprobs=[], **_AT),
    _typed("response.output_text.delta", sequence_number=4, delta=" fawr é", logprobs=[], **_AT),
    _typed("response.output_text.done", sequence_number=5, text="Hwyl fawr é", logprobs=[], **_AT),
    _typed(
        "response.completed",
        sequence_number=6,
        response=_response("completed", _message("completed", _text("Hwyl fawr é"))),
    ),
]

_USAGE = {"input_tokens": 3, "output_tokens": 1}
ANTHROPIC_STREAM: list[tuple[str | None, str]] = [
    _typed(
        "message_start",
        message={
            "id": "m1",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": _USAGE,
        },
    ),
    _typed("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    _typed("ping"),
    _typed("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hwyl"}),
    _typed("content_block_delta", index=0, delta={"type": "text_delta", "text": " fawr é"}),
    _typed("content_block_stop", index=0),
    _typed(
        "message_delta",
        delta={"stop_reason": "end_turn", "stop_sequence": None},
        usage={"output_tokens": 5},
    ),
    _typed("message_stop"),
]


def _rpc(**fields: Any) -> tuple[str, str]:
    return "message", json.dumps({"jsonrpc": "2.0", **fields})


def _progress(done: int) -> tuple[str, str]:
    # The token is filled in by the server.
    return _rpc(
        method="notifications/progress",
        params={"progressToken": "TOKEN", "progress": done, "total": 3, "message": f"step {done}"},
    )


MCP_STREAM: list[tuple[str | None, str]] = [
    (None, ""),  # the priming event
    *map(_progress, (1, 2, 3)),
    _rpc(id="TOKEN", result={"content": [{"type": "text", "text": "done"}], "isError": False}),
]

# --- The server that cuts ----------------------------------------------------------------------


@dataclass(frozen=True)
class Cut:
    """Where a response is cut, counted in what this response has to send, and how."""

    whole: int
    """After so many whole events; if there are no more, it is not cut."""
    part: float = 0.0
    """And after this part of the next one, from 0 to 1."""
    how: How = "torn"


@dataclass
class Stage:
    """The script of a server: one stream, and how each response of it is cut in turn."""

    blocks: list[bytes] = field(default_factory=list)
    cuts: list[Cut] = field(default_factory=list)
    requests: list[Seen] = field(default_factory=list)
    """Since the stream is played."""
    plain: list[tuple[int, bytes]] = field(default_factory=list)
    """Answers in JSON that come first."""

    def play(
        self, stream: Sequence[tuple[str | None, str]], *cuts: Cut, ids: bool, before: bytes = b""
    ) -> Self:
        """Play a stream from now on; ``before``: bytes that stand before each event."""
        self.blocks = [
            before + encode_event(data, event=event, id=str(number) if ids else None)
            for number, (event, data) in enumerate(stream, 1)
        ]
        self.cuts = list(cuts)
        self.requests = []
        return self

    def __call__(self, peer: Peer, seen: Seen) -> None:
        self.requests.append(seen)
        if self.plain:
            status, body = self.plain.pop(0)
            soon = ("Retry-After-Ms", "1")  # what both SDKs wait before a retry
            peer.respond(status, ("Content-Type", "application/json"), soon, body=body)
            peer.again = True
            return
        self.send(peer, self.blocks[int(seen.cursor or 0) :])

    def send(self, peer: Peer, blocks: list[bytes]) -> None:
        """Send a stream, up to where it is to be cut."""
        cut = self.cuts.pop(0) if self.cuts else Cut(len(blocks))
        body = b"".join(blocks[: cut.whole])
        if cut.whole < len(blocks):
            peer.stream(("Connection", "close"), chunked=True)
            cut_one = blocks[cut.whole]
            body += cut_one[: int(len(cut_one) * cut.part)]
        else:
            peer.stream(chunked=True)
        if body:
            peer.body(body)
        if cut.whole >= len(blocks):
            peer.send(b"0\r\n\r\n")
            peer.again = True
        elif cut.how == "ended":
            peer.end()
        elif cut.how == "reset":
            peer.reset()
        elif cut.how == "silent":
            peer.stall()
        else:
            peer.close()


@dataclass
class McpStage(Stage):
    """The same as a server of MCP, with a session and one tool. (Its client is the real one.)"""

    notes: int = 0
    """How many streams are still to be heard, each of one note. (Who listens has a session.)"""

    def __call__(self, peer: Peer, seen: Seen) -> None:
        if seen.method == "GET" and seen.cursor is not None:
            self.requests.append(seen)
            token, _, number = seen.cursor.partition("-")
            self.send(peer, self._blocks(token, int(number)))
            return
        if seen.method == "GET" and self.notes:
            self.notes -= 1
            note = f'{{"jsonrpc":"2.0","method":"notifications/message","params":{_NOTE}}}'
            peer.stream(("Connection", "close"), chunked=True)
            peer.body(encode_event(note, retry=1))
            peer.end()
            return
        if seen.method in ("GET", "DELETE"):
            peer.respond(405)
            peer.again = True
            return
        message = json.loads(seen.body)
        method = message["method"]
        if method == "tools/call":
            self.requests.append(seen)
            self.send(peer, self._blocks(str(message["id"]), 0))
            return
        if "id" not in message:
            peer.respond(202)
        else:
            result = _RESULTS.get(method)
            answer: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"]}
            answer |= {"result": result} if result else {"error": _NO_METHOD}
            body = json.dumps(answer).encode()
            session = [("Mcp-Session-Id", "s")] if self.notes else []
            peer.respond(200, ("Content-Type", "application/json"), *session, body=body)
        peer.again = True

    def _blocks(self, token: str, begin: int) -> list[bytes]:
        """Return the events behind one, as those of this call: its id is in theirs."""
        return [
            block.replace(b'"TOKEN"', token.encode()).replace(b"id: ", f"id: {token}-".encode())
            for block in self.blocks[begin:]
        ]


_NOTE = '{"level":"info","data":"note"}'
_NO_METHOD = {"code": -32601, "message": "no such method"}
_RESULTS: dict[str, dict[str, Any]] = {
    "initialize": {
        "protocolVersion": "2025-11-25",
        "capabilities": {"logging": {}, "tools": {}},
        "serverInfo": {"name": "stage", "version": "1"},
    },
    "tools/list": {"tools": [{"name": "count", "inputSchema": {"type": "object"}}]},
}

# --- The real server of MCP --------------------------------------------------------------------


class Store(EventStore):
    """All events of all sessions."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, Any]] = []

    async def store_event(self, stream_id: str, message: Any) -> str:
        self.rows.append((stream_id, message))
        return str(len(self.rows))

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str:
        begin = int(last_event_id)
        stream = self.rows[begin - 1][0]
        for number, (owner, message) in enumerate(self.rows[begin:], begin + 1):
            if owner == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


_mcp = MCPServer("real")


@_mcp.tool()
async def count(ctx: Context) -> str:
    """Report progress three times, and be done."""
    for done in (1, 2, 3):
        await ctx.report_progress(done, 3, f"step {done}")
    return "done"


def app() -> Any:
    """Make the application, for ``uvicorn --factory``."""
    return _mcp.streamable_http_app(event_store=Store(), retry_interval=1)


class Proxy:
    """Passes HTTP/1.1 on to a server, and cuts the streams of calls after so many chunks.

    ``cuts``: for each such response in turn, how many chunks it has before the cut, and whether a
    part of the next one follows.
    """

    def __init__(self, port: int) -> None:
        self.cuts: list[tuple[int, bool]] = []
        self.calls: list[Seen] = []
        self._port = port
        self._server = Server(welcome=self._welcome)
        self._lock = threading.Lock()

    @property
    def origin(self) -> str:
        return self._server.origin

    def _welcome(self, peer: Peer) -> None:
        with (
            socket.create_connection(("127.0.0.1", self._port)) as behind,
            behind.makefile("rb") as answer,
        ):
            going = True
            while going:
                seen = peer.request()
                if seen.method == "GET" and seen.cursor is None:
                    peer.respond(405)  # a stream that would outlive the test
                    continue
                lines = [f"{name}: {value}" for name, value in seen.headers]
                first = f"{seen.method} {seen.target} HTTP/1.1"
                head = "\r\n".join([first, *lines, "", ""])
                behind.sendall(head.encode("latin-1") + seen.body)
                call = b'"tools/call"' in seen.body or seen.cursor is not None
                if call:
                    self.calls.append(seen)
                going = self._pass_on(peer, answer, self._next_cut(call))

    def _next_cut(self, call: bool) -> tuple[int, bool] | None:
        with self._lock:
            return self.cuts.pop(0) if call and self.cuts else None

    def _pass_on(self, peer: Peer, answer: Any, cut: tuple[int, bool] | None) -> bool:
        """Pass a response on; return whether it came to its end."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += answer.readline()
        peer.send(head)
        lower = head.lower()
        if b"transfer-encoding: chunked" not in lower:
            size = lower.partition(b"content-length: ")[2].partition(b"\r\n")[0]
            peer.send(answer.read(int(size)))
            return True
        chunks = 0
        while True:
            line = answer.readline()
            data = answer.read(int(line, 16) + 2)
            if cut is not None and chunks == cut[0]:
                peer.send((line + data)[: len(data) // 2] if cut[1] else b"")
                peer.close()
                return False
            peer.send(line + data)
            chunks += 1
            if line == b"0\r\n":
                return True

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *about: object) -> None:
        self._server.close()
