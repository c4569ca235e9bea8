"""An agent of ag_ui's encoder and starlette, served by uvicorn in a process of its own."""

import asyncio
from collections.abc import AsyncIterator

from ag_ui.core import (
    PROTOCOL_VERSION,
    Event,
    RunAgentInput,
    RunErrorEvent,
    RunFinishedEvent,
    RunStartedEvent,
    StateSnapshotEvent,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TextMessageStartEvent,
    ToolCallChunkEvent,
)
from ag_ui.encoder import EventEncoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

LEFT: list[str] = []
"""The runs whose clients did not wait for the end."""


async def answer(asked: RunAgentInput) -> AsyncIterator[Event]:
    """Say again what was said last, in pieces, call a tool, and count in the state."""
    yield RunStartedEvent(
        thread_id=asked.thread_id, run_id=asked.run_id, protocol_version=PROTOCOL_VERSION
    )
    said = str(asked.messages[-1].content)
    if said == "fail":
        yield RunErrorEvent(message="as you wish", code="asked")
        return
    yield TextMessageStartEvent(message_id=asked.run_id, role="assistant")
    while said == "talk":
        yield TextMessageContentEvent(message_id=asked.run_id, delta="bla ")
        await asyncio.sleep(0.001)
    for char in said:
        yield TextMessageContentEvent(message_id=asked.run_id, delta=char)
    yield TextMessageEndEvent(message_id=asked.run_id)
    yield ToolCallChunkEvent(tool_call_id="call", tool_call_name="show", delta='{"text": ')
    yield ToolCallChunkEvent(delta="1}")
    runs = (asked.state or {}).get("runs", 0)
    yield StateSnapshotEvent(snapshot={"runs": runs + 1})
    yield RunFinishedEvent(thread_id=asked.thread_id, run_id=asked.run_id)


async def run(request: Request) -> Response:
    asked = RunAgentInput.model_validate_json(await request.body())
    encoder = EventEncoder(accept=request.headers["accept"])

    async def generate() -> AsyncIterator[str]:
        try:
            async for event in answer(asked):
                yield encoder.encode(event)
        except asyncio.CancelledError:
            LEFT.append(asked.run_id)
            raise

    return StreamingResponse(generate(), media_type=encoder.get_content_type())


async def left(request: Request) -> Response:
    return JSONResponse(LEFT)


app = Starlette(routes=[Route("/run", run, methods=["POST"]), Route("/runs-left", left)])
