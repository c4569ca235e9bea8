"""Against an agent as there are many: ag_ui's encoder, starlette and uvicorn."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from ag_ui.core import (
    PROTOCOL_VERSION,
    RunAgentInput,
    RunErrorEvent,
    RunStartedEvent,
    TextMessageContentEvent,
    ToolMessage,
    UserMessage,
)

from contract.face import Face
from sansio_sse_agui import RunState, RunStatus
from uvicorn_process import uvicorn_with

from .support import read, start

pytestmark = pytest.mark.timeout(30)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with uvicorn_with("agent_app:app", Path(__file__).parent) as port:
        yield f"http://127.0.0.1:{port}/run"


def ask(text: str, *, run_id: str = "one", after: RunState | None = None) -> RunAgentInput:
    """The next run of a conversation."""
    said = UserMessage(id=f"said-{run_id}", content=text)
    return RunAgentInput(
        thread_id="thread",
        run_id=run_id,
        protocol_version=PROTOCOL_VERSION,
        messages=[*(after.messages if after else []), said],
        state=after.state if after else None,
    )


async def converse(sse: Face, url: str, asked: RunAgentInput) -> RunState:
    state = RunState(asked)
    async with start(sse, url, asked) as events:
        async for event in events:
            state.feed(event)
    return state


async def test_a_conversation_of_two_runs(sse: Face, url: str) -> None:
    first = await converse(sse, url, ask("héllo"))
    assert first.status is RunStatus.FINISHED
    assert first.state == {"runs": 1}
    assert [message.content for message in first.messages] == ["héllo", "héllo", None]
    [call] = first.pending_tool_calls
    assert (call.function.name, call.function.arguments) == ("show", '{"text": 1}')

    asked = ask("again", run_id="two", after=first)
    asked.messages.insert(-1, ToolMessage(id="shown", tool_call_id=call.id, content="done"))
    second = await converse(sse, url, asked)
    assert second.state == {"runs": 2}
    assert [message.content for message in second.messages] == [
        *["héllo", "héllo", None, "done", "again", "again"]
    ]


async def test_a_run_that_fails(sse: Face, url: str) -> None:
    asked = ask("fail")
    async with start(sse, url, asked) as events:
        started, failed = await read(events)
    assert isinstance(started, RunStartedEvent)
    assert failed == RunErrorEvent(message="as you wish", code="asked")


async def test_an_agent_notices_that_nobody_listens_any_more(sse: Face, url: str) -> None:
    run_id = f"left-{sse.name}"
    async with start(sse, url, ask("talk", run_id=run_id)) as events:
        async for event in events:
            if isinstance(event, TextMessageContentEvent):
                break
    await sse.until(lambda: run_id in runs_left(url))


def runs_left(url: str) -> list[str]:
    with urlopen(f"{url}s-left", timeout=10) as response:
        left: list[str] = json.load(response)
    return left
