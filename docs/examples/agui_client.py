"""A conversation with an agent over AG-UI: text as it comes, a tool of ours, a shared state.

    python agui_client.py
    python agui_client.py http://127.0.0.1:8000/agent

Without a url it talks to an agent of its own, at the end of this file.
"""

import asyncio
import sys
from collections.abc import AsyncIterator

from ag_ui.core import (
    PROTOCOL_VERSION,
    Event,
    RunAgentInput,
    RunErrorEvent,
    RunFinishedEvent,
    RunStartedEvent,
    StateDeltaEvent,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TextMessageStartEvent,
    Tool,
    ToolCallChunkEvent,
    ToolCallEndEvent,
    ToolMessage,
    UserMessage,
)
from ag_ui.encoder import EventEncoder

from sansio_sse_agui import RunState, run
from sansio_sse_asyncio import connect

THERMOMETER = Tool(name="thermometer", description="The temperature in here, in degrees.")


async def converse(url: str, question: str) -> None:
    asked = RunAgentInput(
        thread_id="thread-1",
        run_id="run-1",
        protocol_version=PROTOCOL_VERSION,
        messages=[UserMessage(id="question", content=question)],
        tools=[THERMOMETER],
        state={"looked": 0},
    )
    for number in range(2, 6):
        state = await answer(url, asked)
        if not state.pending_tool_calls:
            print("state:", state.state)
            return
        # The agent waits for what only we can do; the next run brings it the results.
        results = [
            ToolMessage(id=f"result-{call.id}", tool_call_id=call.id, content="21")
            for call in state.pending_tool_calls
        ]
        update = {
            "run_id": f"run-{number}",
            "messages": [*state.messages, *results],
            "state": state.state,
        }
        asked = asked.model_copy(update=update)


async def answer(url: str, asked: RunAgentInput) -> RunState:
    """Show a run as it goes, and return what it adds up to."""
    state = RunState(asked)
    async with run(connect, url, asked) as events:
        async for received in events:
            for event in state.feed(received):
                match event:
                    case TextMessageContentEvent(delta=delta):
                        print(delta, end="", flush=True)
                    case TextMessageEndEvent():
                        print()
                    case ToolCallEndEvent(tool_call_id=name):
                        call = state.tool_call(name).function
                        print(f"{call.name}({call.arguments})")
                    case RunErrorEvent(message=message):
                        raise SystemExit(f"the agent has failed: {message}")
                    case _:
                        pass
    return state


# --- The agent: what is on the other side ------------------------------------------------------


async def think(asked: RunAgentInput) -> AsyncIterator[Event]:
    yield RunStartedEvent(
        thread_id=asked.thread_id, run_id=asked.run_id, protocol_version=PROTOCOL_VERSION
    )
    last = asked.messages[-1]
    if isinstance(last, ToolMessage):
        words = f"It has {last.content} degrees in here.".split(" ")
        yield TextMessageStartEvent(message_id="answer")
        for position, word in enumerate(words):
            text = word if position == 0 else f" {word}"
            yield TextMessageContentEvent(message_id="answer", delta=text)
        yield TextMessageEndEvent(message_id="answer")
        looked = {"op": "replace", "path": "/looked", "value": 1}
        yield StateDeltaEvent.model_validate({"delta": [looked]})
    else:
        name = THERMOMETER.name
        yield ToolCallChunkEvent(tool_call_id="look", tool_call_name=name, delta='{"unit": ')
        yield ToolCallChunkEvent(delta='"celsius"}')
    yield RunFinishedEvent(thread_id=asked.thread_id, run_id=asked.run_id)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.partition("content-length:")[2].partition("\r\n")[0])
    asked = RunAgentInput.model_validate_json(await reader.readexactly(length))
    encoder = EventEncoder()
    content_type = encoder.get_content_type()
    writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n\r\n".encode())
    async for event in think(asked):
        writer.write(encoder.encode(event).encode())
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def main() -> None:
    if len(sys.argv) > 1:
        await converse(sys.argv[1], "How warm is it?")
        return
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await converse(f"http://127.0.0.1:{port}/agent", "How warm is it?")


if __name__ == "__main__":
    asyncio.run(main())
